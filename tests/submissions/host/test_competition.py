from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from submissions.host.competition import Competition, list_competitions, load_competition
from submissions.host.settings import validate
from submissions.metrics import build_metric

MINIMAL: dict[str, Any] = {
    "name": "own",
    "images": {"train": "train/{id}.png", "test": "test/{id}.png"},
    "masks": {"kind": "images", "path": "masks/{id}.png"},
    "classes": ["thing"],
    "metric": {"name": "dice"},
    "submission": {},
}


@pytest.mark.parametrize("name", list_competitions())
def test_every_contract_loads_and_names_a_known_metric(name: str) -> None:
    competition = load_competition(name)
    assert competition.name == name
    assert competition.verified and competition.download
    build_metric(competition.metric.name, **competition.metric.params)


def test_unknown_contract_lists_the_known_ones() -> None:
    with pytest.raises(FileNotFoundError, match="tgs-salt"):
        load_competition("no-such")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": ["a", "a"]}, "repeat"),
        ({"classes": [str(k) for k in range(256)], "exclusive": True}, "a label holds at most 255"),
        ({"name": ""}, "expected letters"),
        ({"name": "../own"}, "expected letters"),
        ({"metric": {"name": "dice", "proxy": "iou"}}, "metric.proxy goes with metric.name 'host', found 'dice'"),
        ({"metric": {"name": "host", "proxy": "iou"}}, "needs metric.file"),
        ({"metric": {"name": "host", "file": "metric.py"}}, "needs metric.proxy, the nearest built-in metric"),
        ({"metric": {"name": "host", "file": "m.py", "proxy": "host"}}, "needs metric.proxy"),
        ({"metric": {"name": "host", "file": "m.py", "proxy": "iou"}, "submission": None}, "scores tables"),
        ({"images": {"train": "a/{id}.png"}}, "needs images.test"),
        ({"images": {"train": "a/{id}.png", "test": "b/{id}.png", "stack": "{id}"}}, "images.z go together"),
        ({"masks": {"kind": "rle"}}, "needs masks.table"),
        ({"masks": {"kind": "images", "path": "m/{id}.png", "values": {1: "other"}}}, "which are not among classes"),
        ({"masks": {"kind": "images", "path": "m/{id}.png", "instances": True}, "classes": ["a", "b"]}, "one class"),
        ({"metric": {"name": "dice", "classes": ["nothing"]}}, "which are not among classes"),
        (
            {"metric": {"name": "dice", "classes": []}},
            "metric.classes: found .*; expected at least one class, each once",
        ),
        ({"metric": {"name": "dice", "classes": ["a", "a"]}}, "expected at least one class, each once"),
        ({"images": {"train": "a/{id}.png", "pixel_size_um": 0}}, "images.pixel_size_um.*greater than 0"),
        ({"masks": {"kind": "points", "file": "a.json", "points": {"radius": 0}}}, "points.radius.*greater than 0"),
        ({"submission": {"mask_template": "0 {score}"}}, "expected {mask} in it, and no other fields than mask, score"),
        ({"submission": {"mask_template": "{mask} {h}"}}, "no other fields than mask, score, class where"),
        ({"submission": {"mask_template": "{class} {mask}", "rows": "instance"}}, "than mask, score where"),
        ({"submission": {"mask_template": "0 {mask}"}}, "a cell of submission.rows 'image' is one mask"),
        ({"colour": "red"}, "unknown key"),
    ],
)
def test_what_does_not_fit_together_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        validate(Competition, {**MINIMAL, **change}, "own.yaml")


@pytest.mark.parametrize("kind", ["images", "volumes", "coco", "geojson"])
def test_a_hosts_file_scores_tables_alone(kind: str) -> None:
    images = {"train": "a/{s}_{z}.png", "test": "b/{s}_{z}.png", "id": "{s}_{z}", "stack": "{s}", "z": "{z}"}
    form = {"kind": kind, **({"files": {"path": "{stack}.tif"}} if kind == "volumes" else {})}
    document = {**MINIMAL, "images": images, "submission": form}
    validate(Competition, document, "own.yaml")
    metric = {"name": "host", "file": "m.py", "proxy": "iou"}
    with pytest.raises(ValueError, match=f"scores tables, and submission.kind is '{kind}': name a built-in metric, or"):
        validate(Competition, {**document, "metric": metric}, "own.yaml")


def test_scored_classes_and_dialect_follow_the_contract() -> None:
    document = {**MINIMAL, "classes": ["background", "a", "b"], "metric": {"name": "dice", "classes": ["b", "a"]}}
    document.pop("submission", None)
    competition = validate(Competition, document, "own.yaml")
    assert competition.scored_classes == [2, 1]
    assert competition.dialect == competition.masks.dialect
    other = {
        **document,
        "submission": {"dialect": {"order": "row"}, "rows": "image_class", "id_template": "{id}_{class}"},
    }
    assert validate(Competition, other, "own.yaml").dialect.order == "row"


def test_a_row_an_image_answers_one_class() -> None:
    document = {**MINIMAL, "classes": ["background", "a", "b"], "submission": {}}
    with pytest.raises(
        ValueError, match="'image' answers one class, and the metric counts \\['a', 'b'\\]: name the one"
    ):
        validate(Competition, document, "own.yaml")
    one = {**document, "metric": {"name": "dice", "classes": ["b"]}}
    assert validate(Competition, one, "own.yaml").scored_classes == [2]


def test_masks_that_cannot_be_meant() -> None:
    soft = {"kind": "images", "path": "{id}.png", "threshold": 128, "values": {0: [], 255: "thing"}}
    with pytest.raises(ValueError, match=r"masks\.threshold is for soft masks, one file per image"):
        validate(Competition, {**MINIMAL, "masks": soft}, "own")
    named = {"kind": "polygons", "file": "a.json", "polygon_classes": {"x": "other"}}
    with pytest.raises(ValueError, match="name \\['other'\\], which are not among classes"):
        validate(Competition, {**MINIMAL, "masks": named}, "own")


def test_the_host_s_metric_lies_beside_the_contract_and_counts_by_content(tmp_path: Path) -> None:
    metric = {"name": "host", "file": "metric.py", "proxy": "f_beta", "proxy_params": {"beta": 2.0}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({**MINIMAL, "metric": metric}))
    with pytest.raises(FileNotFoundError, match=r"metric.file: .*metric.py: no such file; the path is as seen from"):
        load_competition(tmp_path / "own.yaml")
    identities = []
    for text in ("def score(a, b, c): return 1\n", "def score(a, b, c): return 2\n"):
        (tmp_path / "metric.py").write_text(text)
        found = load_competition(tmp_path / "own.yaml").metric
        assert found.file == str(tmp_path.resolve() / "metric.py") and found.built_in == ("f_beta", {"beta": 2.0})
        identities.append(found.identity())
    assert identities[0] != identities[1] and str(tmp_path) not in str(identities)
    assert found.without_file().name == "f_beta" and found.without_file().identity()["params"] == {"beta": 2.0}
