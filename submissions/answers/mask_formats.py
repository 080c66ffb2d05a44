"""Mask files as hosts take them back: pictures, TIFF and NIfTI, on the grid and with the geometry of their source."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import tifffile

from submissions.host.listed_images import ListedImages, row_paths
from submissions.images.nifti import load_nifti
from submissions.images.opening import ImageReader, open_image, open_mask
from submissions.images.oriented import OrientedReader

Slices = Iterator[np.ndarray]
Shape3 = tuple[int, int, int]
TOLERANCE = 1e-4  # of an affine or a resolution, relative: what float32 headers keep


class Printing(NamedTuple):
    """Resolution of a TIFF: pixels in a unit across and down, the unit's number; ImageJ's unit and slice spacing."""

    resolution: tuple[float, float]
    unit: int
    imagej: dict[str, Any]


def write_mask(path: Path, slices: Slices, shape: Shape3, dtype: str, *, source: Any = None) -> None:
    """Write labels (Z, H, W), given slice by slice, in the format of the ending.

    source: the opened image they belong to, whose affine or resolution the file keeps where its format has it.
    Raises ValueError where a value does not fit `dtype`.
    """
    _writer(path)(path, _fitting(slices, dtype), shape, dtype, source)


def _writer(path: Path) -> Callable[[Path, Slices, Shape3, str, Any], None]:
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return _write_nifti
    return _write_tiff if name.endswith((".tif", ".tiff")) else _write_picture


def _fitting(slices: Slices, dtype: str) -> Slices:
    most = np.iinfo(dtype).max
    for one in slices:
        if one.size and int(one.max()) > most:
            raise ValueError(f"submission.files.dtype {dtype} holds at most {most}, found {int(one.max())}")
        yield one.astype(dtype, copy=False)


def _write_picture(path: Path, slices: Slices, shape: Shape3, dtype: str, source: Any) -> None:
    ending = path.suffix
    ok, data = cv2.imencode(ending, next(slices))
    assert ok, f"{ending} holds {dtype}, which the contract was checked for"
    path.write_bytes(data.tobytes())


def _write_tiff(path: Path, slices: Slices, shape: Shape3, dtype: str, source: Any) -> None:
    known = kept_printing(source.path, dtype) if getattr(source, "path", None) is not None else None
    options: dict[str, Any] = {"metadata": None}
    if known is not None:
        options = {"resolution": known.resolution, "resolutionunit": known.unit, "metadata": None}
        if known.imagej:
            options |= {"imagej": True, "metadata": {"axes": "ZYX"[-2 if shape[0] == 1 else -3 :], **known.imagej}}
    size = shape if shape[0] > 1 else shape[1:]
    tifffile.imwrite(path, slices, shape=size, dtype=dtype, photometric="minisblack", compression="zlib", **options)


def printing_of(path: Path) -> Printing | None:
    """Resolution of a TIFF file; None of another file, or where its tags say nothing."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    with tifffile.TiffFile(path) as tiff:
        tags = tiff.pages[0].tags  # type: ignore[union-attr]
        given = [tags[name].value for name in ("XResolution", "YResolution") if name in tags]
        if len(given) < 2 or any(not value[1] or not value[0] for value in given):
            return None
        unit = int(tags["ResolutionUnit"].value) if "ResolutionUnit" in tags else 2
        about = dict(tiff.imagej_metadata or {}) if tiff.is_imagej else {}
    kept = {name: about[name] for name in ("spacing", "unit") if name in about}
    return Printing((given[0][0] / given[0][1], given[1][0] / given[1][1]), unit, kept)


def kept_printing(source: Path, dtype: str) -> Printing | None:
    """What a mask file of `dtype` keeps of its image's resolution; ImageJ has no int32, and says nothing of that."""
    known = printing_of(source)
    return known._replace(imagej={}) if known is not None and dtype == "int32" else known


def _write_nifti(path: Path, slices: Slices, shape: Shape3, dtype: str, source: Any) -> None:
    import nibabel

    volume = np.empty(shape, dtype)
    for number, one in enumerate(slices):
        volume[number] = one
    if isinstance(source, OrientedReader):
        image = nibabel.Nifti1Image(source.to_file_axes(volume), source.affine)
        _keep_codes(image, source.path)
    else:
        z, y, x = getattr(source, "spacing", None) or (1.0, 1.0, 1.0)
        image = nibabel.Nifti1Image(volume.transpose(2, 1, 0), np.diag([x, y, z, 1.0]))
        image.header.set_xyzt_units("mm")
    data = image.to_bytes()
    path.write_bytes(gzip.compress(data, compresslevel=4, mtime=0) if path.name.lower().endswith(".gz") else data)


def _keep_codes(image: Any, path: Path) -> None:
    """The source's units, and what its affine is said to be of (scanner, template); of NIfTI sources alone."""
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        image.header.set_xyzt_units("mm")
        return
    header = load_nifti(path).header
    image.header.set_xyzt_units(*header.get_xyzt_units())
    image.set_sform(image.affine, int(header["sform_code"]) or 1)
    image.set_qform(image.affine, int(header["qform_code"]))


def open_source(images: ListedImages, image_id: str) -> ImageReader:
    """An image's own file, of layers the first: it says where its pixels are. ValueError or OSError where damaged."""
    path = row_paths(images.data, images.row(image_id))[0]
    return open_image(path, reading=images.competition.images.reading)


class ReadMask(NamedTuple):
    """A mask file: shape (Z, H, W), type of its pixels, spacing in mm where known, slices read when asked for."""

    shape: Shape3
    dtype: np.dtype
    spacing: tuple[float, float, float] | None
    slices: Callable[[], Slices]


def read_mask(path: Path) -> ReadMask:
    """Open a mask file; ValueError that says what is wrong with it."""
    source = open_mask(path)
    source.close()

    def slices() -> Slices:
        with closing(open_mask(path)) as opened:
            for z in range(opened.shape[0]):
                yield opened.read(z)[..., 0]

    depth, height, width, _ = source.shape
    return ReadMask((depth, height, width), source.dtype, getattr(source, "spacing", None), slices)


def geometry_fault(path: Path, source: Any, dtype: str) -> str | None:
    """What the place in space of a file of `dtype` differs in from its image's, as a sentence; None where it agrees or
    has none."""
    if path.name.lower().endswith((".nii", ".nii.gz")):
        wanted = _affine(source)
        found = load_nifti(path).affine
        if not np.allclose(found, wanted, rtol=TOLERANCE, atol=TOLERANCE):
            return f"its affine is {np.round(found, 4).tolist()}, its image's {np.round(wanted, 4).tolist()}"
        return None
    wanted_tags, found_tags = kept_printing(source.path, dtype), printing_of(path)
    if wanted_tags is None or not wanted_tags.imagej:  # a plain TIFF's resolution is for printers
        return None
    if (
        found_tags is None
        or found_tags.imagej != wanted_tags.imagej
        or not np.allclose(found_tags.resolution, wanted_tags.resolution, rtol=TOLERANCE)
    ):
        return f"its resolution and spacing are {found_tags}, its image's {wanted_tags}"
    return None


def _affine(source: Any) -> np.ndarray:
    if isinstance(source, OrientedReader):
        return source.affine
    z, y, x = getattr(source, "spacing", None) or (1.0, 1.0, 1.0)
    return np.diag([x, y, z, 1.0])
