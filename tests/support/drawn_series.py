"""Hosts of DICOM slices with masks that are no slice's own: a volume a series, or pictures in another numbering."""

from __future__ import annotations

from pathlib import Path

import cv2
import nibabel
import numpy as np
from drawn_dicom import write_series
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

SERIES_SHAPE = (9, 40, 48)  # slices upwards, rows to the back, columns to the left


def draw_scan(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Stored values and label (0, 1, 2) of a scan, lopsided along every axis."""
    label = np.zeros(SERIES_SHAPE, np.uint8)
    top, left = 6 + number % 5, 8 + number % 7
    label[2:6, top : top + 10, left : left + 14] = 1
    label[4:8, top + 14 : top + 24, left + 4 : left + 16] = 2
    noise = np.random.default_rng(number).integers(0, 60, SERIES_SHAPE)
    return (noise + 300 * label.astype(int)).astype(np.uint16), label


def save_turned(path: Path, label: np.ndarray, affine: np.ndarray, axes: str = "PIR") -> None:
    """A label (slices, rows, columns) as NIfTI, stored along other axes, with the affine that says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(np.ascontiguousarray(label.transpose(2, 1, 0)), affine)
    nibabel.save(image.as_reoriented(ornt_transform(io_orientation(affine), axcodes2ornt(tuple(axes)))), path)


def volume_masks(root: Path, *, patients: bool = False) -> None:
    """train_images/<study>/1.dcm and on, the first slice lowest or highest, segmentations/<study>.nii for six of eight.

    patients: a folder of each patient around the series of it, as train_images/<patient>/<series>/1.dcm.
    """
    for number in range(10):
        image, label = draw_scan(number)
        study, part = f"1.2.826.0.1.{1000 + 37 * number}", "train_images" if number < 8 else "test_images"
        names = [f"{k + 1}.dcm" for k in range(len(image))][:: -1 if number % 2 else 1]
        place = root / part / (f"{10004 + number // 2}/{study}" if patients else study)
        affine = write_series(place, image, names=names, RescaleSlope=1, RescaleIntercept=-1024)
        if number < 6:
            save_turned(root / f"segmentations/{study}.nii", label, affine)


def ground_of_slices(root: Path, *, named_alike: bool = False) -> None:
    """CHAOS: <patient>/DICOM_anon/i0000,0000b.dcm and on, Ground/liver_GT_000.png and on, in the order of the names.

    named_alike: as its MR, <patient>/T2SPIR/DICOM_anon/IMG-0002-00001.dcm, Ground/IMG-0002-00001.png, four greys.
    """
    for number in range(6):
        image, label = draw_scan(number)
        series = f"{'MR' if named_alike else 'CT'}/{number + 1}" + ("/T2SPIR" if named_alike else "")
        place = root / ("Train_Sets" if number < 4 else "Test_Sets") / series
        other = named_alike or number % 2
        names = [f"IMG-{number + 2:04d}-{k + 1:05d}.dcm" if other else f"i{k:04d},0000b.dcm" for k in range(9)]
        write_series(place / "DICOM_anon", image, names=names)
        for k, name in enumerate(names if number < 4 else ()):
            path = place / "Ground" / (name.replace(".dcm", ".png") if named_alike else f"liver_GT_{k:03d}.png")
            path.parent.mkdir(exist_ok=True)
            values = np.array([0, 63, 126] if named_alike else [0, 255, 0], np.uint8)
            assert cv2.imwrite(str(path), values[label[k]])
