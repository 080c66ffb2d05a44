"""What some training images of a host are like: the look on which a first experiment is guessed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from submissions.host.competition import Competition
from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images, spread
from submissions.images.opening import ImageReader

LOOKED_AT = 24
STRIDE = 31  # an array of some thousand pixels of each image is enough for its mean
LARGEST_SIDE = 2048
LARGEST_MASK = 1 << 25  # voxels: larger ones are not read for a look


@dataclass(frozen=True)
class ImagesSeen:
    """What some training images are like. sizes: (height, width) each; range: largest value that the type holds."""

    count: int
    sizes: list[tuple[int, int]]
    depths: list[int]
    channels: int
    dtypes: set[str]
    mean: float
    std: float

    @property
    def size(self) -> tuple[int, int]:
        """Median height and width."""
        return int(np.median([h for h, _ in self.sizes])), int(np.median([w for _, w in self.sizes]))

    @property
    def slices(self) -> int:
        """Slices of all training images."""
        return round(self.count * float(np.mean(self.depths)))


def look_at_images(competition: Competition, data: Path) -> ImagesSeen:
    """Sizes, types and values of some training images, spread over all; those that cannot be read are left out.

    Raises ValueError where there are none, or none can be read.
    """
    listing, _ = list_images(competition, data, "train")
    if not len(listing):
        raise ValueError(f"{competition.name}: no training image in {data}; correct images.train")
    images = ListedImages(competition, data, listing)
    sizes, depths, values = [], [], []
    channels, dtypes, fault = [], set(), ""
    for image_id in spread(images.ids, LOOKED_AT):
        try:
            reader = images.open_alone(image_id)
            some = _some_values(reader)
        except (ValueError, OSError) as error:  # stage 01 lists them all
            fault = str(error)
            continue
        depth, height, width, count = reader.shape
        sizes.append((height, width))
        depths.append(depth)
        channels.append(count)
        dtypes.add(str(reader.dtype))
        values.append(some)
        reader.close()
    if not values:
        raise ValueError(f"{competition.name}: none of the training images that were looked at is read: {fault}")
    seen = np.concatenate(values)
    return ImagesSeen(len(listing), sizes, depths, max(channels), dtypes, float(seen.mean()), float(seen.std()))


def rows_seen(competition: Competition, data: Path, count: int) -> Iterator[dict[str, Any]]:
    """Rows of at most `count` training images, spread over all, with depth, height and width: their masks can be read.

    Left out are images that cannot be read and those of more than LARGEST_MASK voxels.
    """
    listing, _ = list_images(competition, data, "train")
    images = ListedImages(competition, data, listing)
    for image_id in spread(images.ids, count):
        try:
            with closing(images.open_alone(image_id)) as reader:
                depth, height, width, _ = reader.shape
        except (ValueError, OSError):  # stage 01 lists them all
            continue
        if depth * height * width <= LARGEST_MASK:
            yield {**images.row(image_id), "depth": depth, "height": height, "width": width}


def _some_values(reader: ImageReader) -> np.ndarray:
    """Some pixels of the middle slice, as parts of the largest value of their type (floats as they are)."""
    depth, height, width, _ = reader.shape
    top, left = max(0, (height - LARGEST_SIDE) // 2), max(0, (width - LARGEST_SIDE) // 2)
    window = slice(top, min(height, top + LARGEST_SIDE)), slice(left, min(width, left + LARGEST_SIDE))
    pixels = reader.read(depth // 2, *window).ravel()[::STRIDE]
    largest = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "iu" else 1
    return pixels.astype(np.float64) / largest
