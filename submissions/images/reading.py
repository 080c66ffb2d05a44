"""What a contract says of how pixels are read, beside where the files lie."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """Choices that a file's own header leaves open; a format takes those that concern it.

    axes: of a bare array (.npy, .npz, Zarr, N5), a letter an axis: H, W, C channels, Z slices, T time.
    array: name of the array inside a .npz, Zarr or N5 container that holds several.
    frame: this position along time (or among the slices) alone. level: of a slide or pyramid, 0 the finest.
    window: (centre, width) in the units of a DICOM image, or 'file' for the window that the file proposes; pixels
    are then uint8. turned: EXIF orientation is applied.
    """

    axes: str | None = None
    array: str | None = None
    frame: int | None = None
    level: int = 0
    window: tuple[float, float] | str | None = None
    turned: bool = False


AS_STORED = Reading()
