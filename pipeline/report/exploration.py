"""What the training images are like before anything is trained: tables for people, and checks of the host's masks."""

from __future__ import annotations

import json
from contextlib import closing

import numpy as np
import pandas as pd

from folds.blocks import has_blocks
from pipeline.report.finished_run import FinishedRun
from pipeline.report.image_pictures import Look, outline
from pipeline.shift.similar_images import training_duplicates
from submissions.host.contract.answer_form import placed
from submissions.host.listed_images import ListedImages
from submissions.host.listing import spread
from submissions.host.masks import MaskReader
from submissions.rle.codec import decode, encode
from submissions.table.show import PALETTE, shown

SAMPLE = 60  # images that are opened


def size_table(run: FinishedRun) -> pd.DataFrame:
    """One row per kind of image: depth, height, width, channels, dtype, images; the commonest first."""
    columns = ["depth", "height", "width", "channels", "dtype"]
    return run.training.groupby(columns).size().rename("images").sort_values(ascending=False).reset_index()


def area_shares(run: FinishedRun) -> dict[str, np.ndarray]:
    """Share of an image's pixels by class, float64 (N,) in the order of `run.training`."""
    table = run.training
    pixels = (table["depth"] * table["height"] * table["width"]).to_numpy(float)
    return {
        name: table[f"area_{name}"].to_numpy(float) / pixels
        for name in run.space.competition.classes
        if f"area_{name}" in table
    }


def class_table(run: FinishedRun) -> pd.DataFrame:
    """One row per class: images that show it, share of all pixels, median share where it is shown."""
    rows = []
    pixels = (run.training["depth"] * run.training["height"] * run.training["width"]).to_numpy(float)
    for name, shares in area_shares(run).items():
        inside = shares[shares > 0]
        share = float(np.nansum(shares * pixels) / pixels.sum())
        rows.append((name, len(inside), share, float(np.median(inside)) if len(inside) else float("nan")))
    return pd.DataFrame(rows, columns=["class", "images", "share of pixels", "median share"])


def group_table(run: FinishedRun) -> pd.DataFrame:
    """One row per group (patient, slab, block): images, fold, and the mean share of pixels that are foreground; for a
    block that of its whole image.
    """
    shares = area_shares(run)
    names = [run.space.competition.classes[index] for index in run.foreground]
    total = np.sum([shares[name] for name in names if name in shares], axis=0)
    own = pd.DataFrame({"image_id": run.training["image_id"].astype(str), "foreground": total})
    folds = run.runs[0].table(run.space).assign(image_id=lambda table: table["image_id"].astype(str))
    joined = folds.merge(own, on="image_id")
    grouped = joined.groupby("group", sort=True)
    made = grouped.agg(images=("image_id", "size"), fold=("fold", "first"), foreground=("foreground", "mean"))
    return made.reset_index()


def intensity_table(run: FinishedRun) -> pd.DataFrame:
    """Brightness and colour of images spread over the training set: image_id, group ('' where blocks are
    held out), mean and deviation (0..255) of the middle slice, and its saturation (0 where grey, up to 1)."""
    images = ListedImages(run.space.competition, run.space.data, run.training)
    table = run.runs[0].table(run.space)
    groups = {} if has_blocks(table) else dict(table[["image_id", "group"]].astype(str).to_numpy())
    rows = []
    for image_id in spread(images.ids, SAMPLE):
        with closing(images.open_alone(image_id)) as reader:
            pixels = shown(reader.read(reader.shape[0] // 2)).astype(np.float32)
        brightest = pixels.max(axis=2)
        saturation = float(np.mean((brightest - pixels.min(axis=2)) / np.maximum(brightest, 1)))
        rows.append((image_id, groups.get(image_id, ""), float(pixels.mean()), float(pixels.std()), saturation))
    return pd.DataFrame(rows, columns=["image_id", "group", "mean", "deviation", "saturation"])


def duplicate_table(run: FinishedRun) -> pd.DataFrame:
    """Pairs of training images that show the same, whatever their folds, the most similar first."""
    return (
        training_duplicates(run.space).sort_values("similarity", ascending=False, kind="stable").reset_index(drop=True)
    )


def mask_checks(run: FinishedRun) -> pd.DataFrame:
    """What was checked of the host's masks: check, result.

    Masks of images spread over the training set are encoded as the submission wants them and decoded again; what stage
    01 found when it laid masks over images in all turns and mirrors is told.
    """
    masks = MaskReader(run.space.competition, run.space.data)
    chosen = set(spread([str(name) for name in run.training["image_id"]], SAMPLE))
    dialect, same, number = run.space.competition.dialect, 0, 0
    for record in run.training[run.training["image_id"].astype(str).isin(chosen)].to_dict("records"):
        row = {str(name): value for name, value in record.items()}
        shape = (int(row["depth"]), int(row["height"]), int(row["width"]))
        truth = masks.read(row, shape)
        own = placed(dialect, row)
        for plane in truth.planes.reshape(-1, *shape[1:]):
            number += 1
            same += bool(np.array_equal(decode(encode(plane, own), shape[1:], own), plane))
    words = f"{same} of {number} planes come back the same ({dialect.order} order, first pixel {dialect.base})"
    rows = [("RLE out and in", words)]
    path = run.space.inventory / "alignment.json"
    if path.is_file():
        rows.append(("masks lie on their images", str(json.loads(path.read_text(encoding="utf-8"))["message"])))
    empty = int(run.training["empty"].sum()) if "empty" in run.training else 0
    rows.append(("images without foreground", f"{empty} of {len(run.training)}"))
    return pd.DataFrame(rows, columns=["check", "result"])


def contours(look: Look) -> np.ndarray:
    """uint8 (H, W, 3): the truth's borders over the image, a colour a class."""
    return outline(look.image, look.truth, [(int(red), int(green), int(blue)) for red, green, blue in PALETTE])
