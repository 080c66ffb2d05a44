"""Hosts whose masks lie in structs and cells of MATLAB's files, in miniature: SBD, BSDS500, and SBD in version 7.3."""

from __future__ import annotations

from pathlib import Path

import cv2
import h5py
import numpy as np
import scipy
from drawn_hosts import SHAPE, draw_image, draw_mask, write


def draw_classes(seed: int) -> np.ndarray:
    """uint8 (H, W) of 0, 8 (cat) and 12 (dog)."""
    return (draw_mask(seed) * np.where(np.arange(SHAPE[1]) > 28, 12, 8)).astype(np.uint8)


def sbd(root: Path, *, version: str = "5") -> None:
    """The classes of VOC in `GTcls.Segmentation`, objects in `GTinst.Segmentation`, lists of images."""
    for folder in ("cls", "inst"):
        (root / f"dataset/{folder}").mkdir(parents=True)
    names = [f"2008_{k * 7 + 2:06d}" for k in range(10)]
    for k, name in enumerate(names):
        write(root / f"dataset/img/{name}.jpg", draw_image(draw_mask(k), k))
        label = draw_classes(k)
        objects = cv2.connectedComponents((label > 0).astype(np.uint8))[1].astype(np.uint8)
        for folder, held, mask in (("cls", "GTcls", label), ("inst", "GTinst", objects)):
            path = root / f"dataset/{folder}/{name}.mat"
            present = np.unique(mask[mask > 0]).reshape(-1, 1)
            if version == "5":
                borders = np.empty((20, 1), object)
                borders[:, 0] = [scipy.sparse.csc_matrix(mask == value) for value in range(1, 21)]
                about = {"Segmentation": mask, "Boundaries": borders, "CategoriesPresent": present}
                scipy.io.savemat(path, {held: about})
                continue
            with h5py.File(path, "w", userblock_size=512) as file:
                file[f"{held}/Segmentation"], file[f"{held}/CategoriesPresent"] = mask.T, present.T
            with path.open("r+b") as stream:
                stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(128))
    (root / "dataset/train.txt").write_text("\n".join(names[:7]) + "\n")
    (root / "dataset/val.txt").write_text("\n".join(names[7:]) + "\n")


def sbd_hdf5(root: Path) -> None:
    """The same in version 7.3."""
    sbd(root, version="7.3")


def bsds(root: Path) -> None:
    """Regions as three or more observers drew them, in the cells `groundTruth{1}` and on."""
    for k in range(12):
        split = ("train", "val", "test")[k // 5]
        write(root / f"images/{split}/{k * 1003 + 17}.jpg", draw_image(draw_mask(k), k))
        cells = np.empty((1, 3 + k % 3), object)
        for observer in range(cells.shape[1]):
            parts = cv2.connectedComponents(draw_mask(k).astype(np.uint8))[1]
            shifted = np.roll(parts, observer, axis=0)
            regions = (shifted + 1 + (np.arange(SHAPE[1]) > 20 + 8 * (k % 4)) * (shifted.max() + 1)).astype(np.uint16)
            edges = (np.diff(regions, axis=0, prepend=regions[:1]) != 0) | (np.diff(regions, prepend=0) != 0)
            cells[0, observer] = {"Segmentation": np.unique(regions, return_inverse=True)[1].reshape(SHAPE) + 1.0,
                                  "Boundaries": edges}  # fmt: skip
        path = root / f"groundTruth/{split}/{k * 1003 + 17}.mat"
        path.parent.mkdir(parents=True, exist_ok=True)
        scipy.io.savemat(path, {"groundTruth": cells})


def nyu(root: Path, count: int = 6) -> None:
    """NYU Depth v2: pictures, labels and depths one behind the other in one file of version 7.3, names in a cell."""
    root.mkdir(parents=True)
    path = root / "nyu_depth_v2_labeled.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["images"] = np.stack([draw_image(draw_mask(k), k) for k in range(count)], axis=3).T
        file["labels"] = np.stack([draw_classes(k).astype(np.uint16) for k in range(count)], axis=2).T
        file["depths"] = np.random.default_rng(0).random((count, *SHAPE[::-1])).astype("f4")
        references = np.empty((1, 2), h5py.ref_dtype)
        for place, name in enumerate(("wall", "bed")):
            file[f"#refs#/{name}"] = np.array([[ord(letter)] for letter in name], np.uint16)
            references[0, place] = file[f"#refs#/{name}"].ref
        file["names"] = references
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(128))
