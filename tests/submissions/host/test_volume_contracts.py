"""Contracts of volumes on drawn copies of their layouts: stage 01, the masks, the host's metric."""

from __future__ import annotations

import importlib
import io
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import tifffile

from inference.decide.decision import Decision
from inference.decide.rules import ThresholdRule
from inference.predict.store import prediction_path, write_prediction
from inference.submission import make_submission
from pipeline.inventory_table import read_inventory
from submissions.answers import answer_path, lint_answer
from submissions.answers.scoring import score_submission
from submissions.host.competition import load_competition
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader
from submissions.table.findings import errors
from submissions.table.scoring import Segmentation, host_metric, unit_row

SHAPE = (6, 18, 22)


def drawn(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Volume uint8, and a label of a sheet (1) with a part that is not labelled (2)."""
    label = np.zeros(SHAPE, np.uint8)
    label[:, 6 + number : 8 + number, 2:20] = 1
    label[:, :, :2] = 2
    noise = np.random.default_rng(number).integers(0, 50, SHAPE)
    return (noise + 150 * (label == 1)).astype(np.uint8), label


def vesuvius_surface(folder: Path) -> dict[str, np.ndarray]:
    rows = []
    for number, name in enumerate(("1004283650", "102536988", "11460685")):
        image, label = drawn(number)
        for kind, array in (("train_images", image), ("train_labels", label)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(folder / kind / f"{name}.tif", array, photometric="minisblack")
        rows.append({"id": name, "scroll_id": ["26002", "34117"][number % 2]})
    (folder / "test_images").mkdir()
    tifffile.imwrite(folder / "test_images/1407735.tif", drawn(5)[0], photometric="minisblack")
    pd.DataFrame(rows).to_csv(folder / "train.csv", index=False)
    return {str(row["id"]): drawn(number)[1] for number, row in enumerate(rows)}


def selma(folder: Path) -> dict[str, np.ndarray]:
    found = {}
    for number in range(2):
        image, label = drawn(number)
        for kind, array in (("raw", image), ("gt", (label == 1).astype(np.uint8))):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            volume = nibabel.Nifti1Image(np.ascontiguousarray(array.transpose(2, 1, 0)), np.eye(4))
            nibabel.save(volume, folder / kind / f"patchvolume_{number:03d}.nii.gz")
        found[f"patchvolume_{number:03d}"] = (label == 1).astype(np.uint8)
    return found


@pytest.mark.parametrize(("name", "write"), [("vesuvius-surface-2025", vesuvius_surface), ("selma3d", selma)])
def test_volumes_are_listed_read_and_scored(tmp_path: Path, name: str, write) -> None:
    labels = write(tmp_path / "data")
    experiment = tmp_path / "quick.yaml"
    experiment.write_text(f"name: quick\ncompetition: {name}\ntune: {{metric: dice}}\n")
    places = ["--data", str(tmp_path / "data"), "--runs", str(tmp_path / "runs")]
    importlib.import_module("pipeline.01_check_data").main([str(experiment), *places])
    table, _ = read_inventory(tmp_path / "runs" / name / "inventory")
    train = table[table["split"] == "train"].set_index("image_id")
    assert set(train.index) == set(labels) and (train["depth"] == SHAPE[0]).all()
    competition = load_competition(name)
    listing, problems = list_images(competition, tmp_path / "data", "train")
    assert not problems
    reader = MaskReader(competition, tmp_path / "data")
    metric = host_metric(competition.metric.model_copy(update={"params": QUICK.get(name, {})}))
    for row in listing.to_dict("records"):
        truth = reader.read(row, SHAPE)
        label = labels[row["image_id"]]
        np.testing.assert_array_equal(truth.planes[0], label == 1)
        assert (truth.valid is not None) == (2 in label)
        if truth.valid is not None:
            np.testing.assert_array_equal(truth.valid, label != 2)
        right = unit_row(metric, competition, Segmentation(truth.planes), truth)["score"]
        wrong = unit_row(metric, competition, Segmentation(np.roll(truth.planes, 8, axis=2)), truth)["score"]
        assert right == pytest.approx(1) and wrong < 0.7


def test_surfaces_are_handed_in_as_a_zip_of_volumes(tmp_path: Path) -> None:
    vesuvius_surface(tmp_path / "data")
    competition = load_competition("vesuvius-surface-2025")
    competition = competition.model_copy(
        update={"metric": competition.metric.model_copy(update={"params": QUICK["vesuvius-surface-2025"]})}
    )
    said = drawn(5)[1] == 1
    write_prediction(prediction_path(tmp_path / "test", "1407735"), said[None].astype(np.uint8) * 255, ["surface"])
    decision = Decision(fingerprint="", classes=["surface"], channels=["surface"], rule=ThresholdRule(thresholds=[128]))
    out = answer_path(competition, tmp_path)
    summary = make_submission(competition, tmp_path / "data", [], decision, folder=tmp_path / "test", out=out)
    assert out.name == "submission.zip" and str(summary) == f"1 images, 0 not predicted, 1 files -> {out}"
    assert errors(lint_answer(out, competition, tmp_path / "data")) == []
    with zipfile.ZipFile(out) as packed:
        assert packed.namelist() == ["1407735.tif"]
        stored = tifffile.imread(io.BytesIO(packed.read("1407735.tif")))
    assert stored.dtype == np.uint8
    np.testing.assert_array_equal(stored, said)
    (tmp_path / "solution").mkdir()
    tifffile.imwrite(tmp_path / "solution/1407735.tif", drawn(5)[1], photometric="minisblack")  # 2: not scored
    assert score_submission(competition, out, tmp_path / "solution", tmp_path / "data").score == pytest.approx(1)


QUICK = {"vesuvius-surface-2025": {"weights": (0, 0.35, 0.35)}}  # the topology has tests of its own, and a library
