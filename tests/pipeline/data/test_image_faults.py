"""Stage 01 on broken values, places without data, and photos with an EXIF orientation."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
from drawn_hosts import SHAPE, draw_image, draw_mask, rle_contract
from PIL import Image

from inference.config import InputConfig
from inference.predict.inputs import statistics
from pipeline.data.image_faults import check_masks_aligned, check_masks_shown, check_orientation, fault_lines
from pipeline.data.inventory import take_inventory, write_inventory
from pipeline.data.targets import build_target
from pipeline.inventory_table import inventory_digest, read_inventory
from submissions.host.competition import Competition
from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader
from submissions.host.problems import Problem
from submissions.images import rasters


def contract(images: dict[str, Any]) -> Competition:
    """Images of any kind with PNG masks."""
    return rle_contract(
        images=images, tables=[], group=None, submission=None,
        masks={"kind": "images", "path": "masks/{id}.png", "values": {0: [], 255: "thing"}},
    )  # fmt: skip


def look(competition: Competition, folder: Path) -> tuple[pd.DataFrame, list[Problem]]:
    found = [one for _, _, some in take_inventory(competition, folder) for one in some]
    (folder / "out").mkdir(exist_ok=True)
    return write_inventory(folder / "out", found)


def write_host(folder: Path, draw: Any, count: int = 3) -> None:
    """`draw(k, image, path)` writes image k of the host; its mask is written here."""
    (folder / "images").mkdir(), (folder / "masks").mkdir()
    for k in range(count):
        mask = draw_mask(k)
        cv2.imwrite(str(folder / "masks" / f"{k}.png"), mask.astype(np.uint8) * 255)
        draw(k, draw_image(mask, k), folder / "images" / f"{k}")


def test_broken_values_are_named_with_how_many_pixels(tmp_path: Path) -> None:
    def draw(k: int, image: np.ndarray, path: Path) -> None:
        grey = image[..., 0].astype(np.float32)
        if k == 0:
            grey[3, 3:6] = np.nan
        if k == 1:
            grey[7, 7] = np.inf
        stack = np.stack([grey] * 6).reshape(2, 3, *SHAPE)
        tifffile.imwrite(path.with_suffix(".tif"), stack if k == 2 else grey, imagej=k == 2)

    write_host(tmp_path, draw)
    _, problems = look(contract({"train": "images/{id}.tif"}), tmp_path)
    text = "\n".join(map(str, sorted(problems)))
    assert len(problems) == 3
    assert "images/0.tif: 3 pixels are not a number" in text and "images/1.tif: 1 pixels are not a number" in text
    assert "depth 1), expected (40, 56) (depth 2)" in text and "images.frame chooses one" in text
    table, problems = look(contract({"train": "images/{id}.tif", "nan": 5, "frame": 0}), tmp_path)
    assert table["nan"].tolist() == [3, 1, 0]
    lines = fault_lines(contract({"train": "images/{id}.tif", "nan": 5}), table)
    assert lines == ["4 pixels of 2 image(s) are no number: read as 5.0 (images.nan)"]


def _nodata_host(folder: Path) -> Competition:
    """Image 0 has no data in its left half, -9999 there."""

    def draw(k: int, image: np.ndarray, path: Path) -> None:
        grey = image[..., 0].astype(np.float32)
        if k == 0:
            grey[:, :28] = -9999
        tifffile.imwrite(path.with_suffix(".tif"), grey, extratags=[(42113, "s", 0, "-9999", True)])

    write_host(folder, draw)
    return contract({"train": "images/{id}.tif"})


def test_places_without_data_are_void_everywhere(tmp_path: Path) -> None:
    competition = _nodata_host(tmp_path)
    table, problems = look(competition, tmp_path)
    assert problems == [] and table["nodata"].tolist() == [40 * 28, 0, 0] == table["void"].tolist()
    assert table.loc[0, "area_thing"] == draw_mask(0)[:, 28:].sum()
    assert fault_lines(competition, table)[0].startswith("no data in 1120 pixels of 1 image(s)")
    listing, _ = list_images(competition, tmp_path, "train")
    images, masks = ListedImages(competition, tmp_path, listing), MaskReader(competition, tmp_path)
    truth = masks.read(images.row("0"), (1, *SHAPE))
    assert truth.valid is not None and not truth.valid[0, :, :28].any() and truth.valid[0, :, 28:].all()
    target = build_target(truth, (20, 28), exclusive=False, extra=[])
    assert (target[0, 0, :, :14] == 255).all() and (target[0, 0, :, 14:] < 255).all()
    assert masks.read(images.row("1"), (1, *SHAPE)).valid is None
    source = images.open_alone("0")
    measured = statistics(source, InputConfig(channels=1, mean=[0.5], std=[0.25], normalisation="image"))
    right = source.read(0, None, slice(28, 56))
    assert measured.low[0] == pytest.approx(right.mean(), rel=1e-4)
    assert measured.high[0] - measured.low[0] == pytest.approx(right.std(), rel=1e-3)


def test_a_class_that_no_mask_shows_is_named(tmp_path: Path) -> None:
    write_host(tmp_path, lambda k, image, path: tifffile.imwrite(path.with_suffix(".tif"), image[..., 0]))
    competition = contract({"train": "images/{id}.tif"}).model_copy(update={"classes": ["thing", "rare"]})
    lines = fault_lines(competition, look(competition, tmp_path)[0])
    assert [line.partition(",")[0] for line in lines] == ["class 'rare' is in no training mask"]


def test_faults_are_read_back_as_numbers_and_do_not_change_the_digest(tmp_path: Path) -> None:
    table, _ = look(_nodata_host(tmp_path), tmp_path)
    back, _ = read_inventory(tmp_path / "out")
    assert back["nodata"].tolist() == [1120, 0, 0] and back["orientation"].tolist() == [1, 1, 1]
    assert inventory_digest(table) == inventory_digest(table.drop(columns=["nodata", "saturated"]))


@pytest.mark.parametrize("drawn_on", ["stored", "turned"])
@pytest.mark.parametrize("read", ["stored", "turned"])
def test_the_alignment_test_decides_about_exif(tmp_path: Path, drawn_on: str, read: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3

    def draw(k: int, image: np.ndarray, path: Path) -> None:
        stored = image if drawn_on == "stored" else image[::-1, ::-1]
        Image.fromarray(stored).save(path.with_suffix(".jpg"), exif=exif, quality=95)

    write_host(tmp_path, draw, count=8)
    competition = contract({"train": "images/{id}.jpg", "exif": read})
    table, problems = look(competition, tmp_path)
    assert problems == [] and (table["orientation"] == 3).all()
    found = check_orientation(competition, tmp_path, table)
    if drawn_on == read:
        assert found == []
    else:
        assert len(found) == 1 and f"set images.exif: {drawn_on}" in str(found[0])


def test_a_photo_whose_mask_is_upright_names_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6

    def draw(k: int, image: np.ndarray, path: Path) -> None:
        Image.fromarray(np.rot90(image)).save(path.with_suffix(".jpg"), exif=exif)

    write_host(tmp_path, draw)
    _, problems = look(contract({"train": "images/{id}.jpg"}), tmp_path)
    assert len(problems) == 3 and "images.exif: turned" in str(problems[0])
    turned = contract({"train": "images/{id}.jpg", "exif": "turned"})
    table, problems = look(turned, tmp_path)
    assert problems == [] and check_orientation(turned, tmp_path, table) == []


def test_nothing_is_asked_where_no_photo_has_an_orientation(tmp_path: Path) -> None:
    competition = _nodata_host(tmp_path)
    table, _ = look(competition, tmp_path)
    assert check_orientation(competition, tmp_path, table) == []
    assert check_orientation(competition, tmp_path, table.drop(columns="orientation")) == []


def test_every_file_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(k: int, image: np.ndarray, path: Path) -> None:
        alpha = np.full(SHAPE, 255, np.uint8)
        alpha[:4, :5] = 0
        Image.fromarray(np.dstack([image, alpha])).save(path.with_suffix(".png"))

    write_host(tmp_path, draw, count=9)
    competition = contract({"train": "images/{id}.png"})
    read: Counter[str] = Counter()
    inside = rasters._decoded

    def counted(data: bytes, path: Path, *, as_mask: bool) -> Any:
        read[str(path.relative_to(tmp_path))] += 1
        return inside(data, path, as_mask=as_mask)

    monkeypatch.setattr(rasters, "_decoded", counted)
    parts = tmp_path / "parts"
    found = [one for _, _, some in take_inventory(competition, tmp_path, chunk=4, parts=parts) for one in some]
    (tmp_path / "out").mkdir()
    table, problems = write_inventory(tmp_path / "out", found)
    measured = {str(one.row["image_id"]): one.alignment for one in found if one.alignment is not None}
    alignment = check_masks_aligned(competition, tmp_path, table, measured)
    assert problems == [] and table["nodata"].tolist() == [20] * 9 == table["void"].tolist()
    assert read == Counter({f"{folder}/{k}.png": 1 for folder in ("images", "masks") for k in range(9)})
    assert alignment is not None and (alignment.verdict, alignment.images) == ("aligned", 9)
    again = check_masks_aligned(competition, tmp_path, table, {name: measured[name] for name in ("2", "7")})
    assert again is not None and again.scores == pytest.approx(alignment.scores, nan_ok=True)
    assert read["images/2.png"] == 1 and read["images/3.png"] == 2  # what was not measured is read


def test_masks_that_show_nothing_anywhere_stop_before_training() -> None:
    """Outlines in degrees taken for pixels, say, or ids of a table that name other images."""
    table = pd.DataFrame({"split": ["train", "train", "test"], "area_thing": [0.0, 0.0, np.nan]})
    (problem,) = check_masks_shown(rle_contract(), table)
    assert problem.found == "not a pixel of thing in any of 2 training images"
    assert check_masks_shown(rle_contract(), table.assign(area_thing=[0.0, 1.0, np.nan])) == []
    two = rle_contract(classes=["thing", "other"], metric={"name": "dice", "classes": ["other"]})
    assert check_masks_shown(two, table.assign(area_other=[3.0, 0.0, np.nan])) == [], "a warning names the class"
    assert check_masks_shown(two, table.drop(columns="area_thing")) == [], "of labels of whole images there is no area"
