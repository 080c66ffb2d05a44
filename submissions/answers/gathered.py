"""Slices on their way into one file per stack: kept on disk until a stack is whole, found again in its file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from submissions.answers.mask_formats import ReadMask, Shape3
from submissions.answers.packing import PackedFiles
from submissions.host.atomic import room_for
from submissions.host.competition import Competition
from submissions.host.listing import list_images
from submissions.host.problems import Problem
from submissions.images.opening import open_mask
from submissions.images.readers import ImageReader

Places = Mapping[str, tuple[int, int]]  # of each slice: its place in its stack, and how many slices that has


def stack_places(competition: Competition, data: Path) -> Places:
    """The place of every test image in its stack, counted from 0 in the order of z."""
    listing, _ = list_images(competition, data, "test")
    ordered = listing.sort_values(["stack", "z", "image_id"], kind="stable")
    return {
        str(image_id): (place, len(rows))
        for _, rows in ordered.groupby("stack", sort=False)
        for place, image_id in enumerate(rows["image_id"])
    }


def stack_problems(competition: Competition, data: Path, shapes: Mapping[str, Shape3]) -> list[Problem]:
    """Stacks that make no volume: slices of several sizes, or not all as far apart. shapes: by image, where known."""
    listing, _ = list_images(competition, data, "test")
    problems = []
    for stack, rows in listing.sort_values(["stack", "z"], kind="stable").groupby("stack"):
        sizes = {shapes[str(name)] for name in rows["image_id"] if str(name) in shapes}
        if len(sizes) > 1:
            found = f"slices of {' and '.join(f'{h} x {w}' for _, h, w in sorted(sizes)[:2])} pixels"
            problems.append(Problem(f"stack {stack}", found, "one size", "check images.stack, or hand in images"))
        apart = np.diff(rows["z"].astype(int))
        if len(set(apart.tolist())) > 1:
            after = int(rows["z"].iloc[int(np.argmax(apart))])
            found = f"z that goes from {after} to {after + int(apart.max())}"
            problems.append(Problem(f"stack {stack}", found, "slices equally far apart", "add the slices that lack"))
    return problems


class StackFiles:
    """Slices of stacks, one raw file per stack in a temporary folder beside the answer `out`."""

    def __init__(self, out: Path, dtype: np.typing.DTypeLike = np.int32) -> None:
        self.out, self.dtype = out, np.dtype(dtype)
        self.folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        self._paths: dict[str, Path] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._there: dict[str, set[int]] = {}

    def put(self, name: str, place: int, pixels: np.ndarray) -> int:
        """Keep slice `place` of the file `name`, integers (H, W); returns how many it has now.

        Raises ValueError for a slice of another size than those before it.
        """
        size = (int(pixels.shape[0]), int(pixels.shape[1]))
        if self._sizes.setdefault(name, size) != size:
            raise ValueError(f"{name}: a slice of {size} pixels, the others of its stack have {self._sizes[name]}")
        path = self._paths.setdefault(name, self.folder / f"{len(self._paths)}.raw")
        with room_for(self.out, pixels.size * self.dtype.itemsize), path.open("r+b" if path.exists() else "w+b") as raw:
            raw.seek(place * pixels.size * self.dtype.itemsize)
            raw.write(np.ascontiguousarray(pixels, self.dtype).tobytes())
        self._there.setdefault(name, set()).add(place)
        return len(self._there[name])

    def size(self, name: str) -> tuple[int, int] | None:
        """(height, width) of the file's slices, None where none is there yet."""
        return self._sizes.get(name)

    def slices(self, name: str, count: int) -> Iterator[np.ndarray]:
        """The slices of a whole file in order; the raw file is deleted behind the last one."""
        height, width = self._sizes[name]
        for place in range(count):
            offset = place * height * width * self.dtype.itemsize
            pixels = np.fromfile(self._paths[name], self.dtype, height * width, offset=offset)
            yield pixels.reshape(height, width)
        self._paths[name].unlink()

    def remove(self) -> None:
        """Delete what is left."""
        shutil.rmtree(self.folder, ignore_errors=True)


class OpenStack:
    """The file of one stack held open, so that its slices are read one after another without unpacking it again."""

    def __init__(self, packed: PackedFiles) -> None:
        self.packed, self._name = packed, ""
        self._held = ExitStack()
        self._reader: ImageReader | None = None

    def slice(self, name: str, place: int) -> ReadMask:
        """Slice `place` of a file as a mask whose shape is the whole file's; ValueError where that cannot be read."""
        if self._reader is None or self._name != name:
            self._held.close()
            self._reader = open_mask(self._held.enter_context(self.packed.file(name)))
            self._held.callback(self._reader.close)
            self._name = name
        reader = self._reader
        depth, height, width, _ = reader.shape
        spacing = getattr(reader, "spacing", None)
        return ReadMask((depth, height, width), reader.dtype, spacing, lambda: iter([reader.read(place)[..., 0]]))
