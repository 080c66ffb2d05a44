"""The page's section about the test images: what to expect of them, worst first, and how they differ from training."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from folds.foldfile import read_folds
from inference.decide.decision import apply, decision_group
from inference.forecast.test_images import SUMMARY, TABLE
from inference.predict.store import open_prediction, prediction_path
from pipeline.inventory_table import read_inventory
from pipeline.report.finished_run import FinishedRun
from pipeline.report.image_pictures import data_uri, fitted, paint
from pipeline.report.markup import Safe, element, picture, span, table
from pipeline.report.sections import absent, section
from pipeline.stage import read_stage
from pipeline.tuning.scores.workers import Progress, quiet
from submissions.host.answer_size import probs_at_answer
from submissions.host.listed_images import ListedImages
from submissions.table.show import shown

TITLE = "Test images"
PICTURED = 24
SOURCE = "source"


def test_images(run: FinishedRun, *, progress: Progress = quiet) -> Safe:
    """The forecast of every test image, the worst with image and mask; shares by source; the drift table."""
    path = run.folder / "test" / TABLE
    if not path.is_file():
        return section("test-images", TITLE, absent("Stage 07 has not predicted the test images."))
    units = pd.read_csv(path, dtype={"unit": str}, keep_default_na=False, na_values=[""])
    facts = json.loads((run.folder / "test" / SUMMARY).read_text(encoding="utf-8"))
    listing = _listing(run)
    said = [element("p", _sentence(facts, units, run.decision.learned.get("cv")), class_="note")]
    said += [element("p", f"The forecast: {doubt}.", class_="note") for doubt in facts["doubts"]]
    colours = read_stage(run.folder / "test", "07_predict_test.py").get("colours", [])
    said += [element("p", f"Colours: {sentence}.", class_="note") for sentence in colours]
    return section("test-images", TITLE, *said, _units(run, units, listing, progress), *_sources(run, units, listing),
                   *_drift(run))  # fmt: skip


def _sentence(facts: dict[str, Any], units: pd.DataFrame, cv: float | None) -> str:
    strange = int(units["strange"].sum())
    unlike = (
        f"By what is predicted, {strange} of {len(units)} are unlike all training images. How many look foreign is "
        "another count (Test against training): a network may be sure of an image that looks foreign, and unsure of "
        "one that does not."
    )
    if facts["forecast"] is None:
        return f"No forecast. {unlike}"
    ends = span(facts["forecast_low"], facts["forecast_high"])
    beside = "" if cv is None else f"; of images like the training images, by cross-validation, {cv:.4f}"
    return f"Expected of these test images: {facts['forecast']:.4f} ({ends}){beside}. {unlike}"


def _listing(run: FinishedRun) -> pd.DataFrame:
    """Rows of the inventory's test images, by the id of what is scored as one."""
    table, _ = read_inventory(run.space.inventory)
    test = table[table["split"] == "test"].reset_index(drop=True)
    unit = "stack" if run.space.competition.metric.unit == "stack" else "image_id"
    return test.assign(unit=test[unit].astype(str))


def _units(run: FinishedRun, units: pd.DataFrame, listing: pd.DataFrame, progress: Progress) -> Safe:
    """One row per unit, worst first."""
    drawn = _pictures(run, units, listing, progress)
    nearest = nearest_training(run, list(units["unit"].head(PICTURED)), listing)
    sources = dict(zip(listing["unit"], listing[SOURCE], strict=True)) if SOURCE in listing else {}
    known = "forecast" in units
    heads = ["image", "picture", "prediction", *(["forecast", "from", "to"] if known else []), "predicted unlike",
             "most like", *(["source"] if sources else [])]  # fmt: skip
    rows = []
    for row in units.to_dict("records"):
        name = str(row["unit"])
        numbers = [row["forecast"], row["low"], row["high"]] if known else []
        rows.append([name, *drawn.get(name, ["", ""]), *numbers, "yes" if row["strange"] else "", nearest.get(name, ""),
                     *([str(sources.get(name, ""))] if sources else [])])  # fmt: skip
    return table(heads, rows, id_="test-table", sortable=True, unsorted=heads[1:3])


def _pictures(
    run: FinishedRun, units: pd.DataFrame, listing: pd.DataFrame, progress: Progress
) -> dict[str, list[Safe]]:
    """Image and mask of the units of the lowest forecasts; none where the host's files or predictions are not there."""
    if run.unpictured or run.decision.classifier is not None:
        return {}
    images = ListedImages(run.space.competition, run.space.data, listing)
    found = {}
    for name in progress(list(units["unit"].head(PICTURED)), desc="test pictures"):
        rows = listing[listing["unit"] == name]
        row = {str(key): value for key, value in rows.iloc[len(rows) // 2].to_dict().items()}
        path = prediction_path(run.folder / "test", str(row["image_id"]))
        if path.is_file():
            image, mask = _look(run, images, row)
            found[name] = [picture(data_uri(image), name), picture(data_uri(mask), f"{name}: prediction")]
    return found


def _look(run: FinishedRun, images: ListedImages, row: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (H, W, 3): the slice of a test image with the largest mask, plain and with its mask."""
    with open_prediction(prediction_path(run.folder / "test", str(row["image_id"]))) as prediction:
        probs = probs_at_answer(run.space.competition, prediction.read())
    mask = apply(probs, run.decision, group=decision_group(run.space.competition, row))
    planes = mask.planes[run.foreground]
    z = int(planes.any(axis=0).sum(axis=(1, 2)).argmax()) if planes.ndim == 4 else 0
    reader, slices = images.open(str(row["image_id"]))
    image = fitted(shown(reader.read(slices[z])), planes.shape[-2:])
    reader.close()
    if planes.ndim == 4:
        return image, paint(image, planes[:, z], None if mask.instances is None else mask.instances[z])
    return image, paint(image, planes, mask.instances)


def nearest_training(run: FinishedRun, names: list[str], listing: pd.DataFrame) -> dict[str, str]:
    """Unit -> the training image whose thumbnail differs least from its first image's, each brought to unit spread."""
    whole, thumbnails = read_inventory(run.space.inventory)
    train = np.flatnonzero(whole["split"] == "train")
    place = dict(zip(whole["image_id"].astype(str), range(len(whole)), strict=True))
    known = _standard(np.asarray(thumbnails)[train])
    found = {}
    for name in names:
        first = str(listing.loc[listing["unit"] == name, "image_id"].iloc[0])
        off = known - _standard(np.asarray(thumbnails)[[place[first]]])
        found[name] = str(whole["image_id"].iloc[train[int((off**2).sum(axis=1).argmin())]])
    return found


def _standard(thumbnails: np.ndarray) -> np.ndarray:
    """float32 (N, 4096) of mean 0 and spread 1 each."""
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(flat.std(axis=1, keepdims=True), 1.0)


def _sources(run: FinishedRun, units: pd.DataFrame, listing: pd.DataFrame) -> list[Safe]:
    """Test images and their forecast by source, where sources are known, beside each source's training images."""
    if SOURCE not in listing or "forecast" not in units:
        return []
    joined = units.merge(listing.drop_duplicates("unit")[["unit", SOURCE]], on="unit", how="left")
    used = run.training["image_id"].astype(str).isin(read_folds(run.beside_folds("folds.csv"))["image_id"].astype(str))
    trained = run.training.loc[used, SOURCE].astype(str).value_counts()
    rows = [
        [str(source), len(rows), int(trained.get(str(source), 0)), float(rows["forecast"].mean())]
        for source, rows in joined.groupby(SOURCE, sort=True)
    ]
    return [element("h3", "By source"), table(["source", "test images", "training images", "forecast"], rows)]


def _drift(run: FinishedRun) -> list[Safe]:
    """What has drifted between out-of-fold and test predictions."""
    path = run.folder / "test" / "drift.csv"
    if not path.is_file():
        return []
    found = pd.read_csv(path)
    columns = ["feature", "oof_mean", "test_mean", "outside", "distance", "drifted"]
    rows = [[("yes" if value else "") if name == "drifted" else value for name, value in row.items()]
            for row in found[columns].to_dict("records")]  # fmt: skip
    heads = ["feature", "mean out of fold", "mean on test", "share outside", "distance", "drifted"]
    return [element("h3", "Drift of the predictions"), table(heads, rows)]
