"""YOLO segmentation: one text file per image, one line per object (https://docs.ultralytics.com/datasets/segment)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from submissions.host.polygons.outlines import Entry, Outline, no_area

BOX = 4  # numbers of a line of the format for detection


def read_yolo(path: Path, shape: tuple[int, int]) -> dict[str, Entry]:
    """The entry of the file's image of `shape` (height, width); an object's name is its class's number.

    Coordinates are parts of the image's width and height.
    """
    outlines = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        name, *values = line.split() or [""]
        if not name:
            continue
        numbers = np.array([float(value) for value in values])
        if len(numbers) == BOX:
            outlines.append(no_area(name, "box"))
        elif len(numbers) < 6 or len(numbers) % 2 or not name.isdecimal():
            raise ValueError(f"line {number}: {line[:40]!r}, expected a class's number and at least three points")
        elif numbers.min() < 0 or numbers.max() > 1:
            raise ValueError(f"line {number}: coordinates from {numbers.min()} to {numbers.max()}, expected 0 to 1")
        else:
            outlines.append(Outline(name, [[numbers.reshape(-1, 2) * [shape[1], shape[0]]]], corners=True))
    return {"": Entry(outlines)}
