"""Hosts whose tables say of which class an object of a mask file is: COCO panoptic and Open Images, in miniature."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from drawn_hosts import SHAPE, draw_image, draw_mask, write

CATEGORIES = [
    {"supercategory": "animal", "isthing": 1, "id": 17, "name": "cat"},
    {"supercategory": "ground", "isthing": 0, "id": 149, "name": "grass"},
    {"supercategory": "sky", "isthing": 0, "id": 187, "name": "sky-other-merged"},
]
LABELS = {"m01yrx": "Cat", "m0bt9lr": "Dog"}


def draw_segments(seed: int) -> tuple[np.ndarray, dict[int, int]]:
    """(int32 (H, W) of ids, 0 void, category by id): cats on grass under the sky, with a border that is void."""
    _, parts = cv2.connectedComponents(draw_mask(seed).astype(np.uint8))
    sky, grass = 70_000 + seed, 3_000_000 + seed
    ids = np.where(np.arange(SHAPE[0])[:, None] < SHAPE[0] // 2, sky, grass).repeat(SHAPE[1], 1)[:, : SHAPE[1]]
    ids = np.broadcast_to(ids, SHAPE).copy()
    kinds = {sky: 187, grass: 149}
    for part in range(1, int(parts.max()) + 1):
        ids[parts == part] = 300 * part + seed
        kinds[300 * part + seed] = 17
    ids[:2] = 0
    return ids, {one: kind for one, kind in kinds.items() if (ids == one).any()}


def panoptic(root: Path) -> dict[str, tuple[np.ndarray, dict[int, int]]]:
    """COCO's folders; returns `draw_segments` by image id."""
    drawn = {}
    for split, numbers in (("train", range(8)), ("val", range(8, 12)), ("test", range(12, 15))):
        images, annotations = [], []
        for k in numbers:
            name = f"{k * 37 + 9:012d}"
            ids, kinds = draw_segments(k)
            picture = draw_image(draw_mask(k), k)
            picture[SHAPE[0] // 2 :, :, 1] |= 64
            write(root / f"{split}2017/{name}.jpg", picture)
            images.append({"id": k * 37 + 9, "file_name": f"{name}.jpg", "height": SHAPE[0], "width": SHAPE[1]})
            if split == "test":
                continue
            drawn[name] = ids, kinds
            red, green, blue = ids & 255, ids >> 8 & 255, ids >> 16
            write(root / f"annotations/panoptic_{split}2017/{name}.png", np.dstack([blue, green, red]).astype(np.uint8))
            segments = [{"id": one, "category_id": kind, "iscrowd": 0} for one, kind in kinds.items()]
            about = {"image_id": k * 37 + 9, "file_name": f"{name}.png", "segments_info": segments}
            annotations.append(about)
        if split != "test":
            document = {"images": images, "annotations": annotations, "categories": CATEGORIES}
            (root / f"annotations/panoptic_{split}2017.json").write_text(json.dumps(document))
    return drawn


def open_images(root: Path, *, header: bool = False) -> dict[str, dict[str, np.ndarray]]:
    """Images, a mask an object, and their tables; returns bool (H, W) by class and image id."""
    drawn: dict[str, dict[str, np.ndarray]] = {}
    lines = ["MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks"]
    for k in range(12):
        name = f"{k * 7919 + 11:016x}"
        write(root / ("train" if k < 9 else "test") / f"{name}.jpg", draw_image(draw_mask(k), k))
        if k >= 9:
            continue
        _, parts = cv2.connectedComponents(draw_mask(k).astype(np.uint8))
        found = {one: np.zeros(SHAPE, bool) for one in LABELS.values()}
        for part in range(1, int(parts.max()) + 1):
            label = [*LABELS][(k + part) % 2]
            box = f"{(k * 31 + part) * 2654435761 % 2**32:08x}"
            file = f"{name}_{label}_{box}.png"
            write(root / f"train-masks/{file}", (parts == part).astype(np.uint8) * 255)
            found[LABELS[label]] |= parts == part
            code = f"/m/{label[1:]}"
            lines.append(f"{file},{name},{code},{box},0.1,0.5,0.2,0.6,0.83,0.1 0.2 1;0.3 0.4 0")
        drawn[name] = found
    lines.append("0000_m04rky_aa.png,0000000000000000,/m/04rky,aa,0,1,0,1,0.9,")
    (root / "train-annotations-object-segmentation.csv").write_text("\n".join(lines) + "\n")
    named = [f"/m/{label[1:]},{text}" for label, text in LABELS.items()] + ["/m/04rky,Mammal"]
    file = "oidv7-class-descriptions.csv" if header else "class-descriptions-boxable.csv"
    (root / file).write_text("\n".join([*(["LabelName,DisplayName"] if header else []), *named]) + "\n")
    return drawn
