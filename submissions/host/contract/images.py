"""The section `images` of a contract: where images lie, and what they are named."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from submissions.host.patterns import FIELD, check_apart, check_inside
from submissions.host.settings import Positive, Settings
from submissions.images.axes import check_letters
from submissions.images.reading import Reading


class Images(Settings):
    """Where the images lie. A pattern is a path with {fields}: `train/{case}/slice_{z}.png`.

    A field stands for part of one file or folder name; `{z:d}` for digits only, `{part:*}` may be empty, `{eye:1}` is
    one character (see `submissions.host.patterns`). Ids, stack, z and masks may also name {rank} and {rank1}: the place
    of a file among those of its folder that are images, in the order of their names, counted from 0 and from 1.
    """

    kind: Literal["files", "pages", "volumes", "layers"] = Field(
        "files",
        description="files: one file per image; pages: an image is a page or slice of a file; volumes: one file per "
        "volume; layers: the files that differ in {layer} are the channels of one image; volumes may have {layer} too",
    )
    train: str = Field(description="path pattern of training images, relative to the data folder")
    test: str | None = Field(None, description="path pattern of test images; none where the host gives none")
    id: str = Field(
        "{id}", description="how the image id is made from the pattern's fields; kind pages also has {page}"
    )
    test_id: str | None = Field(None, description="the same for test images, where their ids are made differently")
    stack: str | None = Field(
        None, description="name of the stack an image is a slice of, from fields and table columns"
    )
    z: str | None = Field(
        None, description="position of the slice in its stack, a whole number, from fields and table columns"
    )
    series: str | None = Field(
        None, description="name of the series that z counts along, where several stacks are parts of one series"
    )
    pixel_size_um: Positive | str | None = Field(
        None,
        description="size of a pixel: a number, the column or field that holds it, or 'file' to read it "
        "from each image file [µm]",
    )
    pixel_size_factor: float = Field(1.0, gt=0, description="µm per unit of that column, e.g. 1000 for mm [µm]")
    only_listed: bool = Field(False, description="leave out images that no table lists, instead of reporting them")
    axes: str | None = Field(
        None,
        description=".npy, .npz, .mat, HDF5, Zarr, N5: one letter per axis, of H, W, C (channels), Z (slices), "
        "T (time); e.g. HWC",
    )
    array: str | None = Field(
        None, description=".npz, .mat, HDF5, Zarr, N5: name of the array, where a file holds several"
    )
    frame: int | None = Field(
        None, ge=0, description="read only this frame (or point of time, or slice) of each file [number, from 0]"
    )
    level: int = Field(0, ge=0, description="slides, OME-Zarr: pyramid level to read; 0 is the finest [number]")
    window: tuple[float, float] | Literal["file"] | None = Field(
        None,
        description="DICOM: window [centre, width] mapped to uint8; 'file' takes the window that each file names "
        "[stored values]",
    )

    exif: Literal["stored", "turned"] = Field(
        "stored",
        description="photos with an EXIF orientation, TIFFs with tag 274: use pixels as stored, or turned upright",
    )
    nan: Literal["refuse"] | float = Field(
        "refuse", description="float pixels that are NaN or infinite: refuse the image, or replace them by this value"
    )

    @property
    def layered(self) -> bool:
        """Whether several files are the channels of one image or volume."""
        return self.kind == "layers" or (self.kind == "volumes" and "layer" in FIELD.findall(self.train))

    @property
    def reading(self) -> Reading:
        """How pixels are read."""
        return Reading(
            axes=self.axes, array=self.array, frame=self.frame, level=self.level, window=self.window,
            turned=self.exif == "turned",
        )  # fmt: skip

    @field_validator("axes")
    @classmethod
    def _axes_are_letters(cls, axes: str | None) -> str | None:
        return None if axes is None else check_letters(axes)

    @field_validator("train", "test")
    @classmethod
    def _can_be_taken_apart(cls, pattern: str | None) -> str | None:
        return None if pattern is None else check_apart(check_inside(pattern))

    @model_validator(mode="after")
    def _stack_has_z(self) -> Images:
        if (self.stack is None) != (self.z is None):
            raise ValueError("images.stack and images.z go together: the stack of an image, and its position in it")
        return self
