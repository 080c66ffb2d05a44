"""DICOM files drawn with pydicom, for tests that have it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

PLAIN = "1.2.840.10008.1.2.1"  # explicit value representations, little endian, not compressed
AXIAL = np.array([[-0.5, 0, 0, 20], [0, -0.75, 0, 30], [0, 0, 2.5, -100], [0, 0, 0, 1]])


def write_dicom(path: Path, pixels: np.ndarray, *, syntax: str = PLAIN, coded: Any = None, **elements: Any) -> None:
    """A file of secondary capture; pixels (H, W), (H, W, 3) or (frames, H, W) with NumberOfFrames."""
    import pydicom
    from pydicom.encaps import encapsulate

    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    colour = pixels.ndim == 3 and "NumberOfFrames" not in elements
    dataset.Rows, dataset.Columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    dataset.BitsStored, dataset.PixelRepresentation = dataset.BitsAllocated, int(pixels.dtype.kind == "i")
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelData = pixels.tobytes() if coded is None else encapsulate(coded)
    dataset["PixelData"].VR = "OB" if coded is not None or dataset.BitsAllocated == 8 else "OW"
    dataset.save_as(path, enforce_file_format=True)


def write_series(
    folder: Path, slices: np.ndarray, *, names: Sequence[str] | None = None, affine: np.ndarray | None = None,
    **elements: Any,
) -> np.ndarray:  # fmt: skip
    """A file for each of some slices (n, H, W); returns the affine, (column, row, slice) to mm right, front and top.

    affine: default axial, columns to the left, rows to the back, slices to the top. names: default 1.dcm and on.
    """
    affine = AXIAL if affine is None else affine
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    steps = np.linalg.norm(lps[:3, :3], axis=0)
    directions = (lps[:3, :2] / steps[:2]).T.ravel().tolist()
    folder.mkdir(parents=True, exist_ok=True)
    for place, pixels in enumerate(slices):
        name = names[place] if names is not None else f"{place + 1}.dcm"
        own = {
            "ImagePositionPatient": (lps @ [0, 0, place, 1])[:3].tolist(), "ImageOrientationPatient": directions,
            "PixelSpacing": [steps[1], steps[0]], **elements,
        }  # fmt: skip
        write_dicom(folder / name, pixels, **{key: value for key, value in own.items() if value is not None})
    return affine
