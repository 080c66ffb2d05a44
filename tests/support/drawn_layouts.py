"""Known competitions' files in miniature: each builder lays drawn images and masks out as that host does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import tifffile
from drawn_dicom import write_dicom
from drawn_hosts import SHAPE, draw_image, draw_mask
from PIL import Image

NONE = np.zeros(SHAPE, bool)
WIDE = (32, 72)


@dataclass
class Layout:
    """What a builder wrote: truth bool (K, H, W) of each training image, shapes of the test images, void."""

    truth: dict[str, np.ndarray]
    test: dict[str, tuple[int, int]] = field(default_factory=dict)
    valid: dict[str, np.ndarray] = field(default_factory=dict)


def slow_runs(mask: np.ndarray, order: str = "column", *, relative: bool = False) -> str:
    """Run-length text, pixel by pixel: the reference the tests compare with."""
    height, width = mask.shape
    columns = [(row, col) for col in range(width) for row in range(height)]
    rows = [(row, col) for row in range(height) for col in range(width)]
    numbers: list[int] = []
    length, end = 0, 0
    for place, (row, col) in enumerate([*(columns if order == "column" else rows), (-1, -1)]):
        if row >= 0 and mask[row, col]:
            length += 1
        elif length:
            start = place - length
            numbers += [start - end if relative else start + 1, length]
            length, end = 0, place
    return " ".join(map(str, numbers))


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.startswith(".tif"):
        tifffile.imwrite(path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
    else:
        cv2.imwrite(str(path), pixels)


def _grey16(mask: np.ndarray, seed: int) -> np.ndarray:
    return draw_image(mask, seed)[..., 0].astype(np.uint16) * 200


def _table(folder: Path, name: str, rows: list[dict[str, object]], columns: list[str] | None = None) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=columns).to_csv(folder / name, index=False)


def _masks(count: int) -> list[np.ndarray]:
    """Drawn masks, the last one empty."""
    return [draw_mask(seed) for seed in range(count - 1)] + [NONE]


def hubmap_organs(folder: Path) -> Layout:
    truth, rows, tests = {}, [], []
    shared = {"data_source": "HPA", "tissue_thickness": 4}
    for number, mask in zip((62, 1044, 27803), _masks(3), strict=True):
        _save(folder / f"train_images/{number}.tiff", draw_image(mask, number))
        row = {"id": number, "organ": "lung", "img_height": SHAPE[0], "img_width": SHAPE[1], "pixel_size": 0.4}
        rows.append({**row, **shared, "rle": slow_runs(mask), "age": 70.0, "sex": "Male"})
        truth[str(number)] = mask[None]
    for number, shape, size in ((10078, WIDE, 0.229), (99, SHAPE, 6.263)):
        _save(folder / f"test_images/{number}.tiff", draw_image(draw_mask(9, shape), 9))
        tests.append({"id": number, "organ": "prostate", "pixel_size": size, **shared})
    _table(folder, "train.csv", rows)
    _table(folder, "test.csv", tests)
    _table(folder, "sample_submission.csv", [{"id": row["id"], "rle": "1 1"} for row in tests])
    return Layout(truth, {"10078": WIDE, "99": SHAPE})


def hubmap_kidney(folder: Path) -> Layout:
    truth, rows, about = {}, [], []
    for name, mask in zip(("2f6ecfcdf", "e79de561c"), _masks(2), strict=True):
        (folder / "train").mkdir(exist_ok=True, parents=True)
        planes = np.moveaxis(draw_image(mask, 3), 2, 0)
        tifffile.imwrite(folder / f"train/{name}.tiff", planes, photometric="rgb", planarconfig="separate")
        (folder / f"train/{name}.json").write_text("[]")
        rows.append({"id": name, "encoding": slow_runs(mask)})
        about.append({"image_file": f"{name}.tiff", "width_pixels": 56, "patient_number": 68138})
        truth[name] = mask[None]
    _save(folder / "test/b9a3865fc.tiff", draw_image(draw_mask(8), 8))
    about.append({"image_file": "b9a3865fc.tiff", "width_pixels": 56, "patient_number": 67026})
    _table(folder, "train.csv", rows)
    _table(folder, "HuBMAP-20-dataset_information.csv", about)
    _table(folder, "sample_submission.csv", [{"id": "b9a3865fc", "predicted": ""}])
    return Layout(truth, {"b9a3865fc": SHAPE})


def _box(mask: np.ndarray, top: int, left: int, bottom: int, right: int) -> list[list[int]]:
    """Sets a rectangle, its last row and column included; returns its corners as (x, y)."""
    mask[top : bottom + 1, left : right + 1] = True
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def hubmap_vasculature(folder: Path) -> Layout:
    vessels, unsure, other = NONE.copy(), NONE.copy(), NONE.copy()
    objects = [
        {"type": "blood_vessel", "coordinates": [_box(vessels, 3, 5, 12, 20)]},
        {"type": "blood_vessel", "coordinates": [_box(vessels, 20, 30, 35, 41)]},
        {"type": "glomerulus", "coordinates": [_box(other, 3, 40, 10, 50)]},
        {"type": "unsure", "coordinates": [_box(unsure, 28, 3, 35, 9)]},
    ]
    lines = [{"id": "0006ff2aa7cd", "annotations": objects}, {"id": "00e5d", "annotations": objects[:2]}]
    (folder / "polygons.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    tiles = []
    for name, part in (("0006ff2aa7cd", 2), ("00e5d", 1), ("notdrawn", 3)):
        _save(folder / f"train/{name}.tif", draw_image(vessels, len(name)))
        tiles.append({"id": name, "source_wsi": part, "dataset": part, "i": 512, "j": 0})
    _save(folder / "test/72e40acccadf.tif", draw_image(draw_mask(5), 5))
    _table(folder, "tile_meta.csv", tiles)
    sample = {"id": "72e40acccadf", "height": SHAPE[0], "width": SHAPE[1], "prediction_string": "0 1.0 eNoL"}
    _table(folder, "sample_submission.csv", [sample])
    truth = {"0006ff2aa7cd": vessels[None], "00e5d": vessels[None]}
    return Layout(truth, {"72e40acccadf": SHAPE}, {"0006ff2aa7cd": ~unsure})


def sennet(folder: Path) -> Layout:
    truth, sample = {}, []
    for stack in ("kidney_1_dense", "kidney_2"):
        for z, mask in enumerate(_masks(3)):
            _save(folder / f"train/{stack}/images/{z:04d}.tif", _grey16(mask, z))
            _save(folder / f"train/{stack}/labels/{z:04d}.tif", mask.astype(np.uint8) * 255)
            truth[f"{stack}_{z:04d}"] = mask[None]
    _save(folder / "train/kidney_3_dense/labels/0496.tif", NONE.astype(np.uint8))
    for z in range(3):
        _save(folder / f"test/kidney_5/images/{z:04d}.tif", _grey16(draw_mask(z + 7), z))
        sample.append({"id": f"kidney_5_{z:04d}", "rle": "1 0"})
    _table(folder, "sample_submission.csv", sample)
    _table(folder, "train_rles.csv", [{"id": name, "rle": "1 0"} for name in truth])
    return Layout(truth, {str(row["id"]): SHAPE for row in sample})


def uw_madison(folder: Path) -> Layout:
    organs = ("large_bowel", "small_bowel", "stomach")
    truth, rows, sample = {}, [], []
    for case, day in (("case123", "day20"), ("case2", "day0")):
        for z in range(1, 7):
            masks = np.stack([draw_mask(z), NONE, draw_mask(z + 10)])
            scans = f"train/{case}/{case}_{day}/scans"
            _save(folder / scans / f"slice_{z:04d}_56_40_1.50_1.50.png", _grey16(masks.any(axis=0), z))
            name = f"{case}_{day}_slice_{z:04d}"
            rows += [
                {"id": name, "class": organ, "segmentation": slow_runs(mask, "row")}
                for organ, mask in zip(organs, masks, strict=True)
            ]
            truth[name] = masks
    for z in (1, 2):
        _save(folder / f"test/case9/case9_day3/scans/slice_{z:04d}_56_40_1.63_1.63.png", _grey16(draw_mask(z), z))
        sample += [{"id": f"case9_day3_slice_{z:04d}", "class": organ, "predicted": ""} for organ in organs]
    _table(folder, "train.csv", rows)
    _table(folder, "sample_submission.csv", sample)
    return Layout(truth, {f"case9_day3_slice_{z:04d}": SHAPE for z in (1, 2)})


def vesuvius(folder: Path) -> Layout:
    truth, valid = {}, {}
    papyrus = NONE.copy()
    papyrus[2:38, 3:50] = True
    for part, fragments in (("train", ("1", "2")), ("test", ("a", "b"))):
        for number, fragment in enumerate(fragments):
            ink, place = draw_mask(number), folder / part / fragment
            for layer in range(65):
                _save(place / f"surface_volume/{layer:02d}.tif", _grey16(ink, layer))
            _save(place / "mask.png", papyrus.astype(np.uint8) * 255)
            if part == "train":
                _save(place / "inklabels.png", ink.astype(np.uint8) * 255)
                _save(place / "ir.png", draw_image(ink, 2))
                truth[fragment], valid[fragment] = ink[None], papyrus
    _table(folder, "sample_submission.csv", [{"Id": name, "Predicted": "1 1 5 1"} for name in "ab"])
    return Layout(truth, {"a": SHAPE, "b": SHAPE}, valid)


def siim(folder: Path) -> Layout:
    left, right = draw_mask(1), draw_mask(1)
    left[:, 28:], right[:, :28] = False, False
    masks = {"1.2.276.0.1": [left, right], "1.2.276.0.2": [draw_mask(2)], "1.2.276.0.3": []}
    rows, truth = [], {}
    for name, parts in masks.items():
        joined = np.any([NONE, *parts], axis=0)
        path = folder / f"dicom-images-train/{name}.1/{name}.2/{name}.dcm"
        path.parent.mkdir(parents=True)
        write_dicom(path, draw_image(joined, 4)[..., 0], PhotometricInterpretation="MONOCHROME2")
        texts = [slow_runs(mask, relative=True) for mask in parts] or ["-1"]
        rows += [{"ImageId": name, " EncodedPixels": f" {text}"} for text in texts]
        truth[name] = joined[None]
    path = folder / "dicom-images-test/1.2.276.0.9.1/1.2.276.0.9.2/1.2.276.0.9.dcm"
    path.parent.mkdir(parents=True)
    write_dicom(path, draw_image(draw_mask(9), 9)[..., 0])
    _table(folder, "train-rle.csv", rows)
    _table(folder, "sample_submission.csv", [{"ImageId": "1.2.276.0.9", "EncodedPixels": "-1"}])
    return Layout(truth, {"1.2.276.0.9": SHAPE})


def severstal(folder: Path) -> Layout:
    rows, truth = [], {}
    for number, defects in enumerate(((3,), (1, 4), ())):
        planes = np.stack([draw_mask(number + k) if k in defects else NONE for k in (1, 2, 3, 4)])
        name = f"0002cc93b{number}"
        _save(folder / f"train_images/{name}.jpg", draw_image(planes.any(axis=0), number))
        rows += [{"ImageId": f"{name}.jpg", "ClassId": k, "EncodedPixels": slow_runs(planes[k - 1])} for k in defects]
        truth[name] = planes
    names = ("01bfb3d1c", "00a0b7730")
    for name in names:
        _save(folder / f"test_images/{name}.jpg", draw_image(draw_mask(6), 6))
    ids = [f"{name}.jpg_{k}" for name in names for k in (1, 2, 3, 4)]
    _table(folder, "train.csv", rows)
    _table(folder, "sample_submission.csv", [{"ImageId_ClassId": name, "EncodedPixels": "1 1"} for name in ids])
    return Layout(truth, dict.fromkeys(names, SHAPE))


def airbus(folder: Path) -> Layout:
    ships = []
    for top, left, bottom, right in ((3, 5, 12, 20), (20, 30, 35, 41)):
        ships.append(NONE.copy())
        _box(ships[-1], top, left, bottom, right)
    rows, truth = [], {}
    for name, inside in (("000155de5", ships), ("00003e153", [])):
        joined = np.any([NONE, *inside], axis=0)
        _save(folder / f"train_v2/{name}.jpg", draw_image(joined, 1))
        rows += [{"ImageId": f"{name}.jpg", "EncodedPixels": text} for text in map(slow_runs, inside or [NONE])]
        truth[name] = joined[None]
    names = ("00dc34840", "00c3db267")
    for name in names:
        _save(folder / f"test_v2/{name}.jpg", draw_image(draw_mask(2), 2))
    sample = [{"ImageId": f"{name}.jpg", "EncodedPixels": ""} for name in names]
    _table(folder, "train_ship_segmentations_v2.csv", rows)
    _table(folder, "sample_submission_v2.csv", sample)
    return Layout(truth, dict.fromkeys(names, SHAPE))


def clouds(folder: Path) -> Layout:
    kinds, rows, truth = ("Fish", "Flower", "Gravel", "Sugar"), [], {}
    for number, shown in enumerate(((0, 3), (1,), ())):
        planes = np.stack([draw_mask(number + k) if k in shown else NONE for k in range(4)])
        name = f"00111{number}5"
        _save(folder / f"train_images/{name}.jpg", draw_image(planes.any(axis=0), number))
        rows += [
            {"Image_Label": f"{name}.jpg_{kind}", "EncodedPixels": slow_runs(plane)}
            for kind, plane in zip(kinds, planes, strict=True)
        ]
        truth[name] = planes
    names = ("002f507", "0035ae9")
    for name in names:
        _save(folder / f"test_images/{name}.jpg", draw_image(draw_mask(6), 6))
    ids = [f"{name}.jpg_{kind}" for name in names for kind in kinds]
    _table(folder, "train.csv", rows)
    _table(folder, "sample_submission.csv", [{"Image_Label": name, "EncodedPixels": "1 1"} for name in ids])
    return Layout(truth, dict.fromkeys(names, SHAPE))


def sartorius(folder: Path) -> Layout:
    cells = [NONE.copy(), NONE.copy()]
    for mask, corners in zip(cells, ((3, 5, 12, 20), (20, 30, 35, 41)), strict=True):
        _box(mask, *corners)
    rows, truth = [], {}
    for number, name in enumerate(("0030fd0e6066", "0140b3c8f445")):
        _save(folder / f"train/{name}.png", draw_image(cells[0] | cells[1], number)[..., 0])
        about = {"width": SHAPE[1], "height": SHAPE[0], "cell_type": ["shsy5y", "astro"][number]}
        about |= {"plate_time": "11h30m00s", "sample_id": f"sample_{number}"}
        rows += [{"id": name, "annotation": slow_runs(mask, "row"), **about} for mask in cells]
        truth[name] = (cells[0] | cells[1])[None]
    names = ("7ae19de7bc2a", "d48ec7815252")
    for name in names:
        _save(folder / f"test/{name}.png", draw_image(draw_mask(2), 2)[..., 0])
    _table(folder, "train.csv", rows)
    _table(folder, "sample_submission.csv", [{"id": name, "predicted": ""} for name in names])
    return Layout(truth, dict.fromkeys(names, SHAPE))


def hpa(folder: Path) -> Layout:
    rows, truth, colours = [], {}, ("red", "green", "blue", "yellow")
    for number, labels in enumerate(((8, 5, 0), (18,))):
        name, cells = f"5c27f04c-bb99-11e8-b2b9-ac1f6b6435d{number}", draw_mask(number)
        planes, numbers = np.zeros((19, *SHAPE), bool), cells.astype(np.uint16) * 300
        numbers[:, SHAPE[1] // 2 :][cells[:, SHAPE[1] // 2 :]] = 301  # cells that touch
        for label in labels:
            planes[label] = cells
            _save(folder / f"cell_masks/{label}/{name}.png", numbers)
        for k, colour in enumerate(colours):
            _save(folder / f"train/{name}_{colour}.png", draw_image(cells, 4 * number + k)[..., 0])
        rows.append({"ID": name, "Label": "|".join(map(str, labels))})
        truth[name] = planes
    test = "0040581b-f1f2-4fbe-b043-b6bfea5404bb"
    for k, colour in enumerate(colours):
        _save(folder / f"test/{test}_{colour}.png", draw_image(draw_mask(6), k)[..., 0])
    _table(folder, "train.csv", rows)
    about = {"ImageWidth": SHAPE[1], "ImageHeight": SHAPE[0], "PredictionString": "0 1 eNoLCAgIMAEABJkBdQ=="}
    _table(folder, "sample_submission.csv", [{"ID": test, **about}])
    return Layout(truth, {test: SHAPE})


def spacenet(folder: Path) -> Layout:
    rows, truth = [], {}
    for number, boxes in enumerate((((3, 5, 12, 20), (20, 30, 35, 41)), ())):
        name, houses = f"AOI_2_Vegas_img{number + 1}", NONE.copy()
        for k, (top, left, bottom, right) in enumerate(boxes):
            corners = ((left, top), (right + 1, top), (right + 1, bottom + 1), (left, bottom + 1), (left, top))
            _box(houses, top, left, bottom, right)
            outline = ",".join(f"{x} {y} 0" for x, y in corners)
            rows.append({"ImageId": name, "BuildingId": k, "PolygonWKT_Pix": f"POLYGON (({outline}))"})
        if not boxes:
            rows.append({"ImageId": name, "BuildingId": -1, "PolygonWKT_Pix": "POLYGON EMPTY"})
        pixels = draw_image(houses, number).astype(np.uint16) * 8
        _save(folder / f"train/RGB-PanSharpen/RGB-PanSharpen_{name}.tif", pixels)
        truth[name] = houses[None]
    test = "AOI_2_Vegas_img7"
    _save(folder / f"test/RGB-PanSharpen/RGB-PanSharpen_{test}.tif", draw_image(draw_mask(6), 6).astype(np.uint16) * 8)
    _table(folder, "train/summaryData/buildings.csv", rows)
    sample = {"ImageId": test, "BuildingId": 0, "PolygonWKT_Pix": "POLYGON EMPTY", "Confidence": 1}
    _table(folder, "sample_submission.csv", [sample])
    return Layout(truth, {test: SHAPE})


def dstl(folder: Path) -> Layout:
    rows, truth = [], {}
    span, (height, width) = (0.0091, -0.0090), SHAPE
    scale = (span[0] / (width * width / (width + 1)), span[1] / (height * height / (height + 1)))
    for number, name in enumerate(("6010_1_2", "6040_4_4")):
        planes = np.zeros((10, *SHAPE), bool)
        corners = {number: _box(planes[number], 3, 5, 12, 20), 4: _box(planes[4], 20, 30, 35, 41)}
        for k in range(10):
            ring = np.array(corners.get(k, []))
            ring = ring + (ring > ring.min(axis=0)) if len(ring) else ring  # the outer corner of the last pixel
            text = ", ".join(f"{x * scale[0]:.9f} {y * scale[1]:.9f}" for x, y in [*ring, *ring[:1]])
            wkt = f"MULTIPOLYGON ((({text})))" if len(ring) else "MULTIPOLYGON EMPTY"
            rows.append({"ImageId": name, "ClassType": k + 1, "MultipolygonWKT": wkt})
        _save(folder / f"three_band/{name}.tif", draw_image(planes.any(axis=0), number).astype(np.uint16) * 8)
        truth[name] = planes
    test = "6120_1_1"
    _save(folder / f"three_band/{test}.tif", draw_image(draw_mask(6), 6).astype(np.uint16) * 8)
    grid = [{"": name, "Xmax": span[0], "Ymin": span[1]} for name in (*truth, test, "6180_9_9")]
    _table(folder, "train_wkt_v4.csv", rows)
    _table(folder, "grid_sizes.csv", grid)
    sample = [{"ImageId": test, "ClassType": k, "MultipolygonWKT": "MULTIPOLYGON EMPTY"} for k in range(1, 11)]
    _table(folder, "sample_submission.csv", sample)
    return Layout(truth, {test: SHAPE})


def ultrasound(folder: Path) -> Layout:
    rows, truth = [], {}
    for number, mask in enumerate(_masks(4)):
        subject, img = 1 + number // 2, 1 + number % 2 * 9
        _save(folder / f"train/{subject}_{img}.tif", draw_image(mask, number)[..., 0])
        _save(folder / f"train/{subject}_{img}_mask.tif", mask.astype(np.uint8) * 255)
        rows.append({"subject": subject, "img": img, "pixels": slow_runs(mask)})
        truth[f"{subject}_{img}"] = mask[None]
    for img in (2, 10, 1):
        _save(folder / f"test/{img}.tif", draw_image(draw_mask(img), img)[..., 0])
    _table(folder, "train_masks.csv", rows)
    _table(folder, "sample_submission.csv", [{"img": img, "pixels": ""} for img in (1, 2, 10)])
    return Layout(truth, {str(img): SHAPE for img in (1, 2, 10)})


def carvana(folder: Path) -> Layout:
    rows, truth = [], {}
    for view in (1, 2):
        name, mask = f"00087a6bd4dc_{view:02d}", draw_mask(view)
        _save(folder / f"train/{name}.jpg", draw_image(mask, view))
        (folder / "train_masks").mkdir(exist_ok=True)
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"train_masks/{name}_mask.gif")
        rows.append({"img": f"{name}.jpg", "rle_mask": slow_runs(mask, "row")})
        truth[name] = mask[None]
    _save(folder / "test/0004d4463b50_01.jpg", draw_image(draw_mask(6), 6))
    _table(folder, "train_masks.csv", rows)
    _table(folder, "sample_submission.csv", [{"img": "0004d4463b50_01.jpg", "rle_mask": ""}])
    return Layout(truth, {"0004d4463b50_01": SHAPE})


def trash(folder: Path) -> Layout:
    glass, lid, lost = NONE.copy(), NONE.copy(), NONE.copy()
    boxes = [_box(glass, 3, 5, 30, 40), _box(lid, 10, 10, 15, 20), _box(lost, 32, 44, 38, 50)]
    corners = [np.add(box, [[0, 0], [1, 0], [1, 1], [0, 1]]) for box in boxes]  # COCO counts from pixels' corners
    objects = [
        {"id": 1, "image_id": 0, "category_id": 4, "segmentation": [np.ravel(corners[1]).tolist()]},
        {"id": 2, "image_id": 0, "category_id": 5, "segmentation": [np.ravel(corners[i]).tolist() for i in (0, 2)]},
    ]
    names = ["General trash", "Paper", "Paper pack", "Metal", "Glass"]
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    files = ["batch_01_vt/0002.jpg", "batch_02_vt/0002.jpg", "batch_02_vt/0003.jpg"]
    images = [{"id": i, "file_name": name, "height": 40, "width": 56} for i, name in enumerate(files)]
    for name in files:
        _save(folder / name, draw_image(glass, 3))
    train = {"images": images[:2], "categories": categories, "annotations": objects}
    (folder / "train_all.json").write_text(json.dumps(train))
    (folder / "test.json").write_text(json.dumps({"images": images[2:], "categories": categories}))
    first, second = np.zeros((2, 11, *SHAPE), bool)
    first[4], first[5], first[0] = lid, (glass & ~lid) | lost, ~(glass | lost)
    second[0] = True
    return Layout({"batch_01_vt/0002": first, "batch_02_vt/0002": second}, {"batch_02_vt/0003": SHAPE})


def pets(folder: Path) -> Layout:
    truth, lines = {}, []
    for number, name in enumerate(("Abyssinian_100", "beagle_12", "not_listed_1")):
        pet = draw_mask(number)
        border = cv2.dilate(pet.astype(np.uint8), np.ones((3, 3))).astype(bool) & ~pet
        _save(folder / f"images/{name}.jpg", draw_image(pet, number))
        trimap = np.select([pet, border], [1, 3], 2).astype(np.uint8)
        _save(folder / f"annotations/trimaps/{name}.png", trimap)
        if number < 2:
            lines.append(f"{name} {number + 1} 1 1\n")
            truth[name] = np.stack([trimap == 2, trimap == 1, trimap == 3])
    (folder / "annotations/trainval.txt").write_text("".join(lines))
    (folder / "annotations/trimaps/._beagle_12.png").write_bytes(b"")
    return Layout(truth)


def pets_species(folder: Path) -> Layout:
    truth, valid, lines = {}, {}, []
    for number, (name, species) in enumerate((("Abyssinian_100", 1), ("beagle_12", 2))):
        pet = draw_mask(number)
        border = cv2.dilate(pet.astype(np.uint8), np.ones((3, 3))).astype(bool) & ~pet
        _save(folder / f"images/{name}.jpg", draw_image(pet, number))
        _save(folder / f"annotations/trimaps/{name}.png", np.select([pet, border], [1, 3], 2).astype(np.uint8))
        lines.append(f"{name} {number + 1} {species} 1\n")
        truth[name] = np.stack([~pet & ~border, pet & (species == 1), pet & (species == 2)])
        valid[name] = ~border
    (folder / "annotations/trainval.txt").write_text("".join(lines))
    _save(folder / "images/pug_7.jpg", draw_image(draw_mask(7), 7))
    (folder / "annotations/test.txt").write_text("pug_7 3 2 1\n")
    return Layout(truth, {"pug_7": SHAPE}, valid)


def cub(folder: Path) -> Layout:
    truth = {}
    for number, species in enumerate(("001.Black_footed_Albatross", "002.Laysan_Albatross")):
        bird, name = draw_mask(number), f"{species[4:].title()}_00{number}_796111"
        _save(folder / f"images/{species}/{name}.jpg", draw_image(bird, number))
        votes = np.where(bird, 204, 51).astype(np.uint8)
        _save(folder / f"segmentations/{species}/{name}.png", votes)
        truth[name] = bird[None]
    return Layout(truth)


def voc(folder: Path) -> Layout:
    thing = draw_mask(1)
    label = np.where(thing, 12, 0).astype(np.uint8)
    label[:2] = 255
    planes = np.zeros((21, *SHAPE), bool)
    planes[12], planes[0] = label == 12, label == 0
    for name in ("2007_000032", "2008_000001"):
        _save(folder / f"JPEGImages/{name}.jpg", draw_image(thing, 1))
    (folder / "SegmentationClass").mkdir()
    picture = Image.fromarray(label, mode="P")
    picture.putpalette([value * 37 % 256 for value in range(768)])
    picture.save(folder / "SegmentationClass/2007_000032.png")
    (folder / "ImageSets/Segmentation").mkdir(parents=True)
    (folder / "ImageSets/Segmentation/trainval.txt").write_text("2007_000032\n")
    return Layout({"2007_000032": planes}, valid={"2007_000032": label != 255})


def cassava(folder: Path) -> Layout:
    rows = []
    for number in range(3):
        _save(folder / f"train_images/100{number}.jpg", draw_image(draw_mask(number), number))
        rows.append({"image_id": f"100{number}.jpg", "label": number + 2})
    _save(folder / "test_images/2216849948.jpg", draw_image(draw_mask(4), 4))
    _table(folder, "train.csv", rows)
    _table(folder, "sample_submission.csv", [{"image_id": "2216849948.jpg", "label": 4}])
    truth = np.arange(5)[:, None, None] == np.arange(2, 5)[:, None, None, None]
    return Layout({f"100{n}": np.tile(truth[n], (1, *SHAPE)) for n in range(3)}, {"2216849948": SHAPE})


def mnist(folder: Path) -> Layout:
    labels = {"00000": 7, "00001": 0, "00010": 9}
    for number, name in enumerate(labels):
        _save(folder / f"train/{name}.png", draw_image(draw_mask(number), number)[..., 0])
    _save(folder / "test/05000.png", draw_image(draw_mask(4), 4)[..., 0])
    _table(folder, "train.csv", [{"image_id": name, "label": label} for name, label in labels.items()])
    _table(folder, "sample_submission.csv", [{"image_id": "05000", "label": 0}])
    shown = {name: np.arange(10)[:, None, None] == label for name, label in labels.items()}
    return Layout({name: np.tile(one, (1, *SHAPE)) for name, one in shown.items()}, {"05000": SHAPE})


LAYOUTS: dict[str, Callable[[Path], Layout]] = {
    "airbus-ships-2018": airbus,
    "carvana-2017": carvana,
    "cassava-2021": cassava,
    "cub-birds": cub,
    "dstl-satellite-2017": dstl,
    "hpa-single-cell-2021": hpa,
    "hubmap-kidney-2021": hubmap_kidney,
    "hubmap-organs-2022": hubmap_organs,
    "hubmap-vasculature-2023": hubmap_vasculature,
    "mnist": mnist,
    "oxford-pets": pets,
    "oxford-pets-species": pets_species,
    "sartorius-cells-2021": sartorius,
    "sennet-hoa-2024": sennet,
    "severstal-2019": severstal,
    "siim-pneumothorax-2019": siim,
    "spacenet-buildings": spacenet,
    "trash-segmentation": trash,
    "ultrasound-nerve-2016": ultrasound,
    "understanding-clouds-2019": clouds,
    "uw-madison-gi-2022": uw_madison,
    "vesuvius-ink-2023": vesuvius,
    "voc2012": voc,
}
