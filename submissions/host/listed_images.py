"""Opening the images of a listing: alone, with the neighbours of their stack, and how large their pixels are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd

from submissions.host.competition import Competition
from submissions.host.listing import LAYER_SEPARATOR, table_rows
from submissions.images.faults import FiniteReader
from submissions.images.opening import ImageReader, StackReader, UnreadableReader, open_image, path_inside
from submissions.images.readers import pixel_size_of

FROM_FILE = "file"  # images.pixel_size_um: as each file says


def open_row(competition: Competition, data: Path, row: Mapping[str, Any]) -> ImageReader:
    """The image of a listing's row, without its neighbours, as a reader (Z, H, W, C)."""
    images, paths = competition.images, row_paths(data, row)
    if images.layered:
        reader = open_image(paths, kind="channels", reading=images.reading)
    else:
        page = int(row["page"]) if int(row["page"]) >= 0 else None
        reader = open_image(paths[0], page=page, reading=images.reading)
    if reader.dtype.kind != "f":
        return reader
    return FiniteReader(reader, None if images.nan == "refuse" else float(images.nan), str(row["path"]))


def row_paths(data: Path, row: Mapping[str, Any]) -> list[Path]:
    """Files of a listing's row: one, or one a layer."""
    return [path_inside(data, path) for path in str(row["path"]).split(LAYER_SEPARATOR)]


class ListedImages:
    """Opens the images of a listing; of a stack, the neighbours too, so that 2.5D context can be read.

    The last opened stack stays open: images asked for in the order of the listing decode each slice once.
    """

    def __init__(self, competition: Competition, data: Path, listing: pd.DataFrame) -> None:
        self.competition = competition
        self.data = data
        ordered = listing.sort_values(["stack", "z", "image_id"], kind="stable")
        self._rows = {str(row["image_id"]): row for row in table_rows(ordered)}
        self._stacks: dict[str, list[str]] = {}
        for image_id, row in self._rows.items():
            self._stacks.setdefault(str(row["stack"]), []).append(image_id)
        self._open_stack: tuple[str, ImageReader] | None = None

    def row(self, image_id: str) -> dict[str, Any]:
        """The listing's row of an image."""
        if image_id not in self._rows:
            raise ValueError(f"{image_id!r}: no image with that id among the {len(self._rows)} listed ones")
        return self._rows[image_id]

    def open_alone(self, image_id: str) -> ImageReader:
        """The image without its neighbours, as a reader (Z, H, W, C)."""
        return open_row(self.competition, self.data, self.row(image_id))

    def shape_of(self, image_id: str) -> tuple[int, int, int, int]:
        """(Z, H, W, C) of one image or volume, from its header where that says it; raises like `open_alone`."""
        with closing(self.open_alone(image_id)) as reader:
            return reader.shape

    def open(self, image_id: str) -> tuple[ImageReader, list[int]]:
        """Reader and the slices of it that are the image: its place in the stack, or all slices of a volume.

        Of a stack only reading a damaged slice raises, not opening it.
        """
        stack = str(self.row(image_id)["stack"])
        members = self._stacks[stack]
        if len(members) == 1:
            reader = self.open_alone(image_id)
            return reader, list(range(reader.shape[0]))
        if self._open_stack is None or self._open_stack[0] != stack:
            self.close()
            self._open_stack = (stack, self._joined(members))
        return self._open_stack[1], [members.index(image_id)]

    def _joined(self, members: list[str]) -> ImageReader:
        """Members as one reader; one that cannot be opened has the size of the others, and raises when it is read."""
        opened: list[ImageReader | str] = []
        for name in members:
            try:
                opened.append(self.open_alone(name))
            except (ValueError, OSError) as error:
                opened.append(str(error))
        like = next((one for one in opened if not isinstance(one, str)), None)
        if like is None:
            raise ValueError(
                f"none of the {len(members)} slices of the stack can be opened; the first because: {opened[0]}"
            )
        return StackReader([UnreadableReader(like, one) if isinstance(one, str) else one for one in opened])

    @property
    def ids(self) -> list[str]:
        """Ids of all images, by stack and place."""
        return list(self._rows)

    def in_reading_order(self, image_ids: Iterable[str]) -> list[str]:
        """Ids sorted by stack and place, so that a stack's slices are decoded once."""
        wanted = set(image_ids)
        return [image_id for image_id in self._rows if image_id in wanted]

    def close(self) -> None:
        """Close the stack that is open."""
        if self._open_stack is not None:
            self._open_stack[1].close()
            self._open_stack = None


def pixel_size(competition: Competition, row: Mapping[str, Any], reader: ImageReader | None = None) -> float | None:
    """Pixel size of an image in µm, from the contract's number or column, or with 'file' from the opened `reader`.

    None where the contract says nothing of it. Raises ValueError for a value that is no positive number.
    """
    given = competition.images.pixel_size_um
    if given is None or isinstance(given, float):
        return given
    if given == FROM_FILE and given not in row:
        size = pixel_size_of(reader)
        if size is None:
            raise ValueError(f"{row['image_id']}: its file does not contain a pixel size (images.pixel_size_um)")
        return size
    if given not in row:
        raise ValueError(f"{row['image_id']}: images.pixel_size_um names the column {given!r}, which does not exist")
    try:
        size = float(row[given])
    except ValueError:
        size = math.nan
    if not size > 0:
        raise ValueError(f"{row['image_id']}: pixel size {row[given]!r}, expected µm above 0")
    return size * competition.images.pixel_size_factor
