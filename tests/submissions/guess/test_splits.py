"""One folder of images, divided into those for training and for test by what tables or masks name."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from drawn_layouts import SHAPE, draw_image, draw_mask, slow_runs

from submissions.guess.first_contract import write_first_contract
from submissions.host.competition import Competition, load_competition
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader

NAMES = [f"im{number:02d}" for number in range(10)]
TRAIN, TEST = NAMES[:7], NAMES[7:]


def write_host(folder: Path, *, masks: bool = False, **tables: dict[str, object]) -> Path:
    """All images in one folder, masks of those for training in another, and the tables."""
    for number, name in enumerate(NAMES):
        (folder / "images").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"images/{name}.png"), draw_image(draw_mask(number), number))
        if masks and name in TRAIN:
            (folder / "masks").mkdir(exist_ok=True)
            cv2.imwrite(str(folder / f"masks/{name}.png"), draw_mask(number).astype(np.uint8) * 255)
    for file, columns in tables.items():
        pd.DataFrame(columns).to_csv(folder / f"{file}.csv", index=False)
    return folder


def guessed(host: Path) -> Competition:
    return load_competition(write_first_contract(host, out=host.parent / "first.yaml"))


RUNS = {"id": TRAIN, "rle": [slow_runs(draw_mask(number), "column") for number in range(7)]}
HOSTS = {
    "runs, a sample": {"train": RUNS, "sample_submission": {"id": TEST, "rle": ""}},
    "runs, a list": {"train": RUNS, "test": {"id": TEST}},
    "labels": {"train": {"id": TRAIN, "label": ["a", "b", *"ababa"]}, "test": {"id": TEST}},
    "masks, a sample": {"masks": True, "sample_submission": {"id": TEST, "rle": ""}},
    "masks, tables": {"masks": True, "train": {"id": TRAIN, "depth": range(7)}, "test": {"id": TEST}},
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTS)
def test_tables_divide_the_images_of_one_folder(name: str, tmp_path: Path) -> None:
    host = write_host(tmp_path / "host", **HOSTS[name])  # type: ignore[arg-type]
    contract = guessed(host)
    assert contract.images.train == contract.images.test == "images/{id}.png"
    listing, problems = list_images(contract, host, "train")
    assert (list(listing["image_id"]), problems) == (TRAIN, [])
    if name != "labels":
        truth = MaskReader(contract, host).read(listing.to_dict("records")[0], (1, *SHAPE))
        np.testing.assert_array_equal(truth.planes[0, 0], draw_mask(0))
    listing, problems = list_images(contract, host, "test")
    assert (list(listing["image_id"]), problems) == (TEST, [])


@pytest.mark.parametrize(
    "tables",
    [
        {"train": RUNS},  # no table of test images
        {"train": RUNS, "sample_submission": {"id": ["a", "b"], "rle": ""}},  # whose images are not here
        {"train": RUNS, "sample_submission": {"id": NAMES[5:], "rle": ""}},  # of which some are labelled
        {"train": RUNS, "latest": {"id": TEST, "value": range(3)}},  # which is no table of test images
    ],
)
def test_images_stay_together_where_tables_do_not_divide_them(tables: dict[str, object], tmp_path: Path) -> None:
    host = write_host(tmp_path / "host", **tables)  # type: ignore[arg-type]
    contract = guessed(host)
    assert not contract.images.only_listed
    assert "the training images stand in for them" in (tmp_path / "first.yaml").read_text(encoding="utf-8")
