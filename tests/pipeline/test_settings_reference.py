"""docs/settings.md and the schemas say what the models check; every key is explained."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
import yaml
from pydantic import Field

from pipeline.__main__ import main
from pipeline.experiment import EXPERIMENTS
from pipeline.settings_reference import (
    DOCUMENTS,
    SCHEMAS,
    Key,
    find_keys,
    schema_line,
    schema_text,
    settings_keys,
    settings_page,
    type_text,
)
from submissions.host.competition import CONTRACTS
from submissions.host.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
RENEW = "a setting changed: run `make docs` and commit what it writes"


class Leaf(Settings):
    size: tuple[int, float] = Field((1, 0.5), description="how large [pixels]")
    kind: Literal["a", "b"] = Field(description="which")


class Tree(Settings):
    leaf: Leaf = Field(default_factory=lambda: Leaf(kind="a"))
    leaves: list[Leaf] = Field(default_factory=list, description="more of them")
    share: float | None = Field(None, gt=0, le=1, description="how much [share]")
    options: dict[str, Any] = Field(default_factory=dict, description="e.g. {a: [1]}")


def test_keys_of_a_drawn_model() -> None:
    leaf = [("size", "[int, float]", "[1, 0.5]", "how large", "pixels"), ("kind", "'a' | 'b'", "required", "which", "")]
    expected = [
        *(Key(f"leaf.{name}", *rest) for name, *rest in leaf),
        Key("leaves", "list of sections", "[]", "more of them", ""),
        *(Key(f"leaves[].{name}", *rest) for name, *rest in leaf),
        Key("share", "float or none", "none", "how much", "share, more than 0, at most 1"),
        Key("options", "text -> anything", "{}", "e.g. {a: [1]}", ""),
    ]
    assert list(settings_keys(Tree)) == expected
    assert type_text(list[str | list[bool]]) == "list of text or list of true | false"


def test_every_key_is_explained_and_every_number_has_a_unit() -> None:
    for document, model in DOCUMENTS.items():
        for key in settings_keys(model):
            where = f"{document} {key.name}: write its Field a description"
            assert key.meaning, where
            counts = re.fullmatch(r"(list of |\[)?(int|float)(, (int|float))*\]?( or none)?", key.type)
            unit = re.sub(r"(^|, )(at least|more than|at most|less than) .*", "", key.unit)
            assert unit or not counts, f'{where} that ends with the unit, as in "... [pixels]"'


def test_the_page_is_current() -> None:
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == settings_page(), RENEW


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_shipped_schema_is_current(document: str) -> None:
    assert (SCHEMAS / f"{document}.schema.json").read_text(encoding="utf-8") == schema_text(document), RENEW


@pytest.mark.parametrize(("document", "folder"), [("experiment", EXPERIMENTS), ("competition", CONTRACTS)])
def test_the_schemas_take_what_comes_with_the_package_and_refuse_a_typing_error(document: str, folder: Path) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(schema_text(document)))
    paths = sorted(folder.glob("*.yaml"))
    assert paths
    for path in paths:
        given = json.loads(json.dumps(yaml.safe_load(path.read_text(encoding="utf-8"))))
        assert [error.message for error in validator.iter_errors(given)] == [], path
        assert list(validator.iter_errors({**given, "mettric": 1}))


def test_a_part_is_found_in_the_document_that_has_it() -> None:
    assert list(find_keys("train.sampling")) == ["experiment"]
    assert [key.name for key in find_keys("images.kind")["competition"]] == ["images.kind"]
    assert {key.name for key in find_keys("external")["experiment"]} >= {"external", "external[].share"}
    with pytest.raises(ValueError, match=r"settings 'trian': no such key; expected one of experiment, .*train"):
        find_keys("trian")


def test_the_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["settings", "predict.overlap"])
    said = capsys.readouterr().out
    meaning = "least share of a tile that overlaps with its neighbour"
    assert f"predict.overlap   float; default 0.5; share, at least 0, less than 1\n      {meaning}" in said
    main(["settings", "--markdown"])
    assert capsys.readouterr().out == settings_page()
    main(["schema", str(tmp_path)])
    assert (tmp_path / "experiment.schema.json").read_text(encoding="utf-8") == schema_text("experiment")
    assert (tmp_path / "competition.schema.json").is_file()


def test_the_first_line_names_the_shipped_schema_from_the_documents_folder(tmp_path: Path) -> None:
    line = schema_line("experiment", tmp_path)
    assert line == f"# yaml-language-server: $schema={SCHEMAS}/experiment.schema.json\n"
    assert schema_line("competition", SCHEMAS.parents[1]).endswith("$schema=pipeline/schemas/competition.schema.json\n")
