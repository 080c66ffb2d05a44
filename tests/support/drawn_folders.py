"""Folders as hosts and collections hand them over, drawn: each function writes the files of one below a folder."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from drawn_hosts import draw_image, draw_mask


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def white(mask: np.ndarray) -> np.ndarray:
    return mask.astype(np.uint8) * 255


def subset_in_two_folders(root: Path) -> None:
    """FloodNet: the word for training or validation stands in the folder and in the folder below it."""
    for k in range(12):
        part = ("train", "train", "val", "test")[k % 4]
        label = draw_mask(k).astype(np.uint8) + 2 * (draw_mask(k + 20) & ~draw_mask(k))
        write(root / f"{part}/{part}-org-img/{6280 + k}.jpg", draw_image(label > 0, k))
        write(root / f"{part}/{part}-label-img/{6280 + k}_lab.png", label.astype(np.uint8))


def class_folders(root: Path) -> None:
    """A folder a class, which has files of the images that show it alone."""
    for k in range(9):
        write(root / f"images/img_{k:03d}.jpg", draw_image(draw_mask(k), k))
        for number, name in enumerate(("road", "water")):
            if k % 3 != number:
                half = draw_mask(k)
                half[:, 28:] &= number == 1
                half[:, :28] &= number == 0
                write(root / f"masks/{name}/img_{k:03d}.png", white(half))


def outlines_named_in_part(root: Path) -> None:
    """Documents that leave out what all images' names begin with; test images begin so too."""
    for k in range(9):
        name = f"AOI_2_img{k}"
        write(root / f"{'train' if k < 7 else 'test'}/RGB/RGB-PanSharpen_{name}.png", draw_image(draw_mask(k), k))
        ring = [[4, 3], [20, 3], [20, 6 + k], [4, 6 + k], [4, 3]]
        feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        place = root / f"train/geojson/buildings_{name}.geojson"
        place.parent.mkdir(parents=True, exist_ok=True)
        if k < 7:
            place.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
