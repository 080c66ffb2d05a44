"""Every contract that comes along, on its own layout: stage 01, the masks, and a linted submission."""

from __future__ import annotations

import base64
import importlib
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from drawn_hosts import SHAPE
from drawn_layouts import LAYOUTS, Layout, slow_runs
from pycocotools import mask as coco

from inference.decide.decision import Decision
from inference.decide.instances import InstanceSettings
from inference.decide.rules import ThresholdRule
from inference.predict.store import prediction_path, write_prediction
from inference.submission import make_submission, open_test_images
from pipeline.data.image_faults import check_masks_aligned
from pipeline.inventory_table import MEASURED, read_inventory
from submissions.answers import answer_path, lint_answer
from submissions.answers.scoring import score_submission
from submissions.host.competition import Competition, list_competitions, load_competition
from submissions.host.contract.answer_form import SubmissionFormat, placed
from submissions.host.listed_images import pixel_size
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader
from submissions.metrics import build_metric
from submissions.rle.codec import decode
from submissions.table.lint import errors, lint_submission

WITH_OWN_TESTS = {
    *("camvid", "dsb2018", "hippocampus", "isbi2012", "mni-white-matter", "monuseg", "tgs-salt"),
    *("selma3d", "vesuvius-surface-2025"),  # volumes: test_volume_contracts.py
    *("byu-motors-2025", "czii-cryoet-2024"),  # points: test_points.py
}
OWN_SCORES = {"uw-madison-gi-2022": 0.4 * 2 / 3 + 0.6}  # Dice of a class that is empty on both sides is 0
WITH_SUBMISSION = [name for name in LAYOUTS if load_competition(name).submission]
WITH_TABLE = [name for name in WITH_SUBMISSION if (load_competition(name).submission or SubmissionFormat()).has_table]


@dataclass
class Host:
    competition: Competition
    data: Path
    layout: Layout
    runs: Path
    inventory: pd.DataFrame


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Host]:
    return {}


def suited(competition: Competition) -> dict[str, Any]:
    """The sections of an experiment whose defaults do not suit a contract; stage 01 refuses what stage 04 would."""
    if competition.masks.kind == "none":
        return {"task": "classify", "model": {"architecture": "lenet"}, "loss": {"name": "classify"}}
    return {"loss": {"name": "ce_dice"}} if competition.exclusive else {}


@pytest.fixture
def host(request: pytest.FixtureRequest, hosts: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> Host:
    """The layout of a contract, written once, and what stage 01 says of it."""
    name = request.param
    if name not in hosts:
        root = tmp_path_factory.mktemp(name)
        (root / "data").mkdir()
        layout = LAYOUTS[name](root / "data")
        experiment = root / "quick.yaml"
        document = {"name": "quick", "competition": name, **suited(load_competition(name))}
        experiment.write_text(yaml.safe_dump(document))
        stage = importlib.import_module("pipeline.01_check_data")
        try:
            stage.main([str(experiment), "--data", str(root / "data"), "--runs", str(root / "runs")])
        except SystemExit:
            pytest.fail(f"stage 01 refuses the layout of {name}; its sentence is in the captured output")
        table, _ = read_inventory(root / "runs" / name / "inventory")
        hosts[name] = Host(load_competition(name), root / "data", layout, root / "runs", table)
    return hosts[name]


def test_every_contract_is_tested_and_says_what_was_verified() -> None:
    assert set(list_competitions()) == set(LAYOUTS) | WITH_OWN_TESTS
    for name in list_competitions():
        contract = load_competition(name)
        assert contract.name == name
        assert all((contract.title, contract.url, contract.download, contract.verified))
        build_metric(contract.metric.name, **contract.metric.params)


@pytest.mark.parametrize("host", LAYOUTS, indirect=True)
def test_stage_01_lists_every_image_with_its_mask(host: Host) -> None:
    train = host.inventory[host.inventory["split"] == "train"].set_index("image_id")
    assert sorted(train.index) == sorted(host.layout.truth)
    test = host.inventory[host.inventory["split"] == "test"].set_index("image_id")
    assert {name: (row["height"], row["width"]) for name, row in test.iterrows()} == host.layout.test
    if host.competition.masks.kind == "none":
        return
    for name, planes in host.layout.truth.items():
        for label, plane in zip(host.competition.classes, planes, strict=True):
            assert train.loc[name, f"area_{label}"] == plane.sum()
    if host.competition.group:
        assert (train[host.competition.group] != "").all()


@pytest.mark.parametrize("host", LAYOUTS, indirect=True)
def test_masks_are_read_pixel_for_pixel(host: Host) -> None:
    listing, problems = list_images(host.competition, host.data, "train")
    assert problems == []
    reader = MaskReader(host.competition, host.data)
    prepared = host.inventory[host.inventory["split"] == "train"]  # the rows that stage 03 reads masks by
    for row in [*listing.to_dict("records"), *prepared.to_dict("records")]:
        expected = host.layout.truth[row["image_id"]]
        truth = reader.read(row, (1, *expected.shape[1:]))
        np.testing.assert_array_equal(truth.planes[:, 0], expected)
        void = host.layout.valid.get(row["image_id"])
        assert (truth.valid is None) == (void is None)
        if truth.valid is not None:
            np.testing.assert_array_equal(truth.valid[0], void)
        if truth.instances is not None:
            assert len(np.unique(truth.instances)) - 1 == (2 if expected.any() else 0)


@pytest.mark.parametrize("host", LAYOUTS, indirect=True)
def test_the_inventory_says_what_the_listing_says(host: Host) -> None:
    for split in ("train", "test"):
        listing, _ = list_images(host.competition, host.data, split)  # type: ignore[arg-type]
        rows = host.inventory[host.inventory["split"] == split]
        said = [name for name in listing if name not in MEASURED]
        assert rows[said].to_numpy().tolist() == listing[said].to_numpy().tolist()
        assert all(isinstance(value, str) for value in rows[said].to_numpy().ravel())
        assert rows[["page", "z"]].to_numpy().tolist() == listing[["page", "z"]].to_numpy().tolist()


def constant(competition: Competition, shape: tuple[int, int]) -> np.ndarray:
    """bool (K, H, W): what the constant predictor says, two boxes a class; of the second class nothing."""
    planes = np.zeros((len(competition.classes), *shape), bool)
    for k, plane in enumerate(planes):
        if k != 1:
            plane[4 : 15 + k, 7:20], plane[20:28, 30 + k : 44] = True, True
    return planes


def fixed_decision(competition: Competition) -> Decision:
    form = competition.submission
    assert form is not None
    return Decision(
        fingerprint="constant", classes=competition.classes, channels=competition.classes,
        rule=ThresholdRule(thresholds=[128] * len(competition.classes)),
        instances=InstanceSettings(method="components") if form.wants_objects and not form.lists_classes else None,
    )  # fmt: skip


@pytest.mark.parametrize("host", WITH_SUBMISSION, indirect=True)
def test_constant_predictions_become_a_linted_submission(host: Host, tmp_path: Path) -> None:
    contract = host.competition
    for name in open_test_images(contract, host.data).ids:
        probs = constant(contract, host.layout.test[name]).astype(np.uint8) * 255
        write_prediction(prediction_path(tmp_path / "test", name), probs, contract.classes)
    out = answer_path(contract, tmp_path)
    summary = make_submission(
        contract, host.data, [], fixed_decision(contract), folder=tmp_path / "test", out=out, report=str
    )
    assert (summary.images, summary.failures) == (len(host.layout.test), [])
    assert errors(lint_answer(out, contract, host.data, training=host.inventory)) == []
    score = score_submission(contract, out, out, host.data).score
    assert score == pytest.approx(OWN_SCORES.get(contract.name, 1.0))
    if contract.name in WITH_TABLE:
        check_table(contract, host, out)


def check_table(contract: Competition, host: Host, out: Path) -> None:
    """Columns and ids against the sample, and every cell."""
    form = contract.submission
    assert form is not None
    said = pd.read_csv(out, dtype=str, keep_default_na=False)
    sample = pd.read_csv(host.data / form.sample, dtype=str, keep_default_na=False)
    assert list(said.columns) == list(sample.columns)
    order = said[form.id_column].drop_duplicates()
    assert order.tolist() == sample[form.id_column].drop_duplicates().tolist()
    for row in said.to_dict("records"):
        shape = host.layout.test.get(str(row[form.id_column]).split(".jpg")[0], SHAPE)
        check_cell(contract, row, constant(contract, shape))


def check_cell(contract: Competition, row: dict[str, str], planes: np.ndarray) -> None:
    """The mask cell against texts made pixel by pixel (COCO: against pycocotools)."""
    form, dialect = contract.submission, contract.dialect
    assert form is not None
    cell, plane = row[form.mask_column], planes[0]
    if form.rows == "label":
        assert cell == contract.classes[0]
        return
    if form.rows == "image_class":
        name = row[form.class_column] if form.class_column else row[form.id_column].rsplit("_", 1)[1]
        plane = planes[contract.classes.index(name)]
    if form.lists_classes:
        words, found = cell.split(" "), np.zeros_like(planes)
        for name, score, text in zip(words[::3], words[1::3], words[2::3], strict=True):
            count = {"size": plane.shape, "counts": zlib.decompress(base64.b64decode(text))}
            found[contract.classes.index(name)] |= coco.decode(count).astype(bool)
            assert score == "1.0000"
        np.testing.assert_array_equal(found, planes)
        assert (row["ImageHeight"], row["ImageWidth"]) == tuple(map(str, plane.shape))
        return
    if dialect.kind == "coco_zlib":
        words = cell.split(" ")
        assert words[::3] == ["0", "0"] and all(0 < float(score) <= 1 for score in words[1::3])
        counts = [{"size": plane.shape, "counts": zlib.decompress(base64.b64decode(text))} for text in words[2::3]]
        masks = [coco.decode(count).astype(bool) for count in counts]
        np.testing.assert_array_equal(np.any(masks, axis=0), plane)
        assert (row["height"], row["width"]) == tuple(map(str, plane.shape))
        return
    if dialect.span is not None:
        plane = planes[int(row["ClassType"]) - 1]
        size = {"Xmax": "0.0091", "Ymin": "-0.009"}
        assert cell.startswith("MULTIPOLYGON EMPTY" if not plane.any() else ("POLYGON", "MULTIPOLYGON"))
        read = decode(cell, plane.shape, placed(dialect, size))
        assert (read & plane).sum() >= 0.98 * (read | plane).sum()
        return
    if dialect.kind == "wkt":
        left = np.arange(plane.shape[1]) < 25
        read = decode(cell, plane.shape, dialect)
        assert any((read & part).sum() >= 0.98 * (read | part).sum() for part in (plane & left, plane & ~left))
        assert row["Confidence"] == "1.0000" and row["BuildingId"] in ("0", "1")
        return
    if form.rows == "instance":
        left = np.arange(plane.shape[1]) < 25
        assert cell in [slow_runs(plane & part, dialect.order) for part in (left, ~left)]
        return
    if form.size is not None:
        plane = cv2.resize(plane.astype(np.uint8) * 255, form.size[::-1], interpolation=cv2.INTER_LINEAR) >= 128
    expected = slow_runs(plane, dialect.order, relative=dialect.kind == "relative")
    assert cell == (expected or dialect.empty)


@pytest.mark.parametrize("host", ["uw-madison-gi-2022"], indirect=True)
def test_spacing_in_a_file_name_is_a_pixel_size(host: Host) -> None:
    listing, _ = list_images(host.competition, host.data, "test")
    row = listing.to_dict("records")[0]
    assert (row["case"], row["stack"], row["z"]) == ("case9", "case9_day3", 1)
    assert (row["columns"], row["rows"], pixel_size(host.competition, row)) == ("56", "40", 1630.0)


@pytest.mark.parametrize("host", ["uw-madison-gi-2022"], indirect=True)
def test_the_table_and_the_images_decide_against_the_hosts_page(host: Host) -> None:
    for order, verdict in (("row", "aligned"), ("column", "misaligned")):
        dialect = host.competition.masks.dialect.model_copy(update={"order": order})
        masks = host.competition.masks.model_copy(update={"dialect": dialect})
        found = check_masks_aligned(host.competition.model_copy(update={"masks": masks}), host.data, host.inventory)
        assert found is not None and found.verdict == verdict


@pytest.mark.parametrize("host", ["uw-madison-gi-2022"], indirect=True)
def test_hidden_test_images_and_a_sample_of_a_header_only(host: Host, tmp_path: Path) -> None:
    shutil.copytree(host.data / "train", tmp_path / "data/train")
    (tmp_path / "data/sample_submission.csv").write_text("id,class,predicted\n")
    out = tmp_path / "submission.csv"
    decision = fixed_decision(host.competition)
    summary = make_submission(host.competition, tmp_path / "data", [], decision, folder=tmp_path / "test", out=out)
    assert (summary.images, out.read_text()) == (0, "id,class,predicted\n")
    assert errors(lint_submission(out, host.competition, tmp_path / "data")) == []


@pytest.mark.parametrize("host", ["sennet-hoa-2024"], indirect=True)
def test_stacks_of_one_kidney_are_one_group(host: Host) -> None:
    train = host.inventory[host.inventory["split"] == "train"]
    pairs = set(zip(train["stack"], train["number"], strict=True))
    assert pairs == {("kidney_1_dense", "1"), ("kidney_2", "2")}


@pytest.mark.parametrize("host", ["cassava-2021"], indirect=True)
def test_a_class_that_the_contract_lacks_is_a_problem(host: Host) -> None:
    less = host.competition.model_copy(update={"classes": ["0", "1", "2", "3"]})
    _, problems = list_images(less, host.data, "train")
    assert [str(problem) for problem in problems if "label '4'" in str(problem)]
    assert len(problems) == 1
