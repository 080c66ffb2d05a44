"""Stage 08 around the bundle: what is uploaded under which name, sizes, refusals that leave nothing behind."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
from tiny_run import space_of, write_tiny_experiment

from pipeline.delivery import bundling
from pipeline.delivery.bundling import dataset_slug, parse_size, size_table, template_notebook, write_upload_files
from pipeline.sequence import run_stages


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments of a tiny experiment that stage 06 finished."""
    arguments = write_tiny_experiment(tmp_path_factory.mktemp("bundling"))
    run_stages(arguments, ("01", "02", "03", "04", "05", "06"))
    return arguments


def bundle(arguments: list[str]) -> None:
    importlib.import_module("pipeline.08_bundle").main([*arguments, "--no-wheels", "--overwrite"])


def test_stage_08_writes_what_the_host_is_told(tuned: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    bundle([*tuned, "--user", "me", "--slug", "drawn-things", "--fp16"])
    own = space_of(tuned).own
    manifest = json.loads((own / "bundle/MANIFEST.json").read_text())
    assert manifest["cv"]["interval"] and manifest["git"] and manifest["weights"]["precision"] == "fp16"
    assert manifest["taught_by"] == json.loads((own / "bundle/decision.json").read_text())["fingerprint"]
    assert json.loads((own / "bundle/experiments/tiny.json").read_text())["train"]["epochs"] == 2
    assert "dataset-metadata.json" not in manifest["files"]
    dataset = json.loads((own / "bundle/dataset-metadata.json").read_text())
    assert dataset == {"title": "drawn-things", "id": "me/drawn-things", "licenses": [{"name": "other"}]}
    kernel = json.loads((own / "kernel/kernel-metadata.json").read_text())
    assert kernel["dataset_sources"] == ["me/drawn-things"] and kernel["competition_sources"] == ["drawn"]
    assert kernel["enable_internet"] == "false"
    assert (own / "kernel" / kernel["code_file"]).read_bytes() == (own / "bundle/submit.ipynb").read_bytes()
    said = capsys.readouterr().out
    assert f"kaggle datasets create -p {own / 'bundle'} --dir-mode zip" in said
    assert "2 model(s)" in said and "(weights " in said


def test_a_bundle_over_its_cap_leaves_the_one_before(tuned: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    bundle(tuned)
    before = (space_of(tuned).own / "bundle/MANIFEST.json").read_bytes()
    with pytest.raises(SystemExit):
        bundle([*tuned, "--max-size", "1MB"])
    assert "--max-size is 0.001 GB; the largest files are weights/tiny/fold_" in capsys.readouterr().err
    assert [path.name for path in space_of(tuned).own.glob("bundle*")] == ["bundle"]
    assert (space_of(tuned).own / "bundle/MANIFEST.json").read_bytes() == before


def test_experiments_without_a_common_decision_are_told_how_to_get_one(
    tuned: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    older = space_of(tuned).shared / "older/tuning"  # of no concern to the two
    older.mkdir(parents=True)
    (older / "decision.json").write_text('{"format": 1}')
    with pytest.raises(SystemExit):
        bundle([tuned[0], *tuned])
    assert "write an experiment with `members: [tiny, tiny]`" in capsys.readouterr().err


def test_without_a_user_name_that_is_said_first(tuned: list[str]) -> None:
    bundle(tuned)
    lines = write_upload_files(space_of(tuned), space_of(tuned).own / "bundle", None, "drawn-tiny")
    assert "first replace your-user-name by your user name in both metadata files" in lines[0]


def test_a_code_competition_is_told_of_stage_09(tuned: list[str]) -> None:
    bundle(tuned)
    space = space_of(tuned)
    assert space.competition.submission is not None
    space.competition.submission.code_competition = True
    lines = write_upload_files(space, space.own / "bundle", "me", "drawn-tiny")
    assert "09_submit.py --upload" in lines[-1]


def test_names_are_those_that_the_host_takes(tuned: list[str]) -> None:
    space = space_of(tuned)
    assert dataset_slug(space, None) == "drawn-tiny"
    for name in ("short", "Capital-Letters", "x" * 44, "ends-with-"):
        with pytest.raises(ValueError, match="expected 6 to 43 of a-z"):
            dataset_slug(space, name)


def test_sizes_are_read_and_shown() -> None:
    assert [parse_size(text) for text in ("20GB", "1.5 MB", "3kB", "7")] == [20e9, 1.5e6, 3e3, 7]
    for text in ("", "big", "-1GB", "0GB"):
        with pytest.raises(ValueError, match="expected kB, MB or GB"):
            parse_size(text)
    files = {"code/a/b.py": {"bytes": 10**6}, "code/c.py": {"bytes": 10**6}, "decision.json": {"bytes": 5 * 10**6}}
    assert size_table({"files": files}) == "files 5.0 MB, code 2.0 MB"


def test_the_notebook_is_five_cells_of_calls_without_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = json.loads(template_notebook().read_text())["cells"]
    assert [cell["cell_type"] for cell in cells] == ["code"] * 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    source = "".join(line for cell in cells for line in cell["source"])
    assert not any(word in source for word in ("def ", "class ", "while ", "try:"))
    assert source.count("if ") == 1  # what says that no bundle is there cannot come from a bundle
    monkeypatch.setattr(bundling.pipeline, "__path__", [str(tmp_path / "pipeline")])
    monkeypatch.setattr(bundling.metadata, "files", lambda name: [])
    with pytest.raises(FileNotFoundError, match="run stage 08 in a checkout"):
        template_notebook()


@pytest.mark.parametrize("bundles", [0, 2])
def test_the_notebook_says_which_input_it_lacks(bundles: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(bundles):
        (tmp_path / "datasets" / str(number)).mkdir(parents=True)
        (tmp_path / "datasets" / str(number) / "MANIFEST.json").write_text("{}")
    monkeypatch.setenv("INPUT_FOLDER", str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)
    first = json.loads(template_notebook().read_text())["cells"][0]
    with pytest.raises(FileNotFoundError, match=f"{bundles} bundles, expected one; add to the inputs what 08_bundle"):
        exec("".join(first["source"]), {})
