"""One folder of images, divided into those for training and for test by what tables or masks name."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
from drawn_layouts import SHAPE, draw_image, draw_mask, slow_runs

from submissions.guess.first_contract import write_first_contract
from submissions.host.competition import Competition, load_competition
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader

NAMES = [f"im{number:02d}" for number in range(10)]
SPLITS: tuple[Literal["train", "test"], ...] = ("train", "test")
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


@pytest.mark.parametrize("names", [("train", "test"), ("training", "testing"), ("Train_EM", "Test_EM")])
@pytest.mark.parametrize("labelled", [False, True])
def test_names_of_two_stacks_say_which_is_for_training(tmp_path: Path, names: tuple[str, str], labelled: bool) -> None:
    """ISBI 2012 and SNEMI3D; EPFL's test stack has masks too."""
    (tmp_path / "host").mkdir()
    for k, name in enumerate(names):
        masks = np.stack([draw_mask(10 * k + z) for z in range(6)])
        images = np.stack([draw_image(mask, z)[..., 0] for z, mask in enumerate(masks)])
        tifffile.imwrite(tmp_path / f"host/{name}.tif", images)
        if k == 0 or labelled:
            tifffile.imwrite(tmp_path / f"host/{name}_groundtruth.tif", masks.astype(np.uint8) * 255)
    competition = guessed(tmp_path / "host")
    found = [list_images(competition, tmp_path / "host", split)[0]["stack"].unique().tolist() for split in SPLITS]
    assert found == [[name.removesuffix("_EM")] for name in names] and competition.images.kind == "pages"


def test_a_numbered_volume_alone_is_one_of_objects(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    label = np.zeros((6, *SHAPE), np.uint16)
    for number in range(8):
        label[:, 4 * number : 4 * number + 3, 5:40] = 50 * (number + 1)
    images = np.stack([draw_image(one > 0, z)[..., 0] for z, one in enumerate(label)])
    tifffile.imwrite(tmp_path / "host/train-input.tif", images)
    tifffile.imwrite(tmp_path / "host/train-labels.tif", label)
    competition = guessed(tmp_path / "host")
    assert competition.masks.instances and competition.classes == ["thing"]


def test_a_table_that_names_whole_files_gives_ids_and_patients(tmp_path: Path) -> None:
    """GlaS: train_1.bmp and testA_1.bmp in one folder, and their patients in a table."""
    rows = []
    for part, count in (("train", 8), ("testA", 3)):
        for k in range(1, count + 1):
            write_host_pair(tmp_path / "host", f"{part}_{k}", k)
            rows.append({"name": f"{part}_{k}", "patient ID": k // 2})
    pd.DataFrame(rows).to_csv(tmp_path / "host/Grade.csv", index=False)
    competition = guessed(tmp_path / "host")
    assert competition.group == "patient ID"
    for split, part, count in (("train", "train", 8), ("test", "testA", 3)):
        listing, problems = list_images(competition, tmp_path / "host", split)  # type: ignore[arg-type]
        assert (listing["image_id"].tolist(), problems) == ([f"{part}_{k}" for k in range(1, count + 1)], [])
        assert listing["patient ID"].astype(int).tolist() == [k // 2 for k in range(1, count + 1)]


def write_host_pair(folder: Path, name: str, seed: int) -> None:
    folder.mkdir(exist_ok=True)
    assert cv2.imwrite(str(folder / f"{name}.bmp"), draw_image(draw_mask(seed), seed))
    assert cv2.imwrite(str(folder / f"{name}_anno.bmp"), draw_mask(seed).astype(np.uint8))
