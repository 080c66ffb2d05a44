"""Which images lie next to each other: along a stack, or in the plane of one large image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from folds.blocks import BOX


def neighbour_pairs(
    table: pd.DataFrame, series_column: str, z_column: str, buffer: float
) -> Iterator[tuple[str, str, float]]:
    """(image_a, image_b, distance) of images of one series at most `buffer` apart in z."""
    for _, stack in table.groupby(series_column, sort=True):
        stack = stack.sort_values([z_column, "image_id"])
        ids, z = stack["image_id"].to_numpy(dtype=object), stack[z_column].to_numpy(dtype=np.float64)
        ends = np.searchsorted(z, z + buffer, side="right")
        for i, end in enumerate(ends):
            for j in range(i + 1, end):
                yield str(ids[i]), str(ids[j]), float(z[j] - z[i])


def overlap_pairs(
    names: pd.Series, places: pd.Series, boxes: pd.DataFrame, buffer: float
) -> Iterator[tuple[str, str, int]]:
    """(name_a, name_b, gap in pixels) of boxes in one place that overlap or are closer than `buffer`.

    boxes: columns y0, x0, y1, x1, half-open, numbers or their text. The gap is along the axis
    where they are farther apart; below 0 they overlap.
    """
    corners = boxes[BOX].apply(pd.to_numeric).to_numpy(dtype=np.int64)
    labels = names.to_numpy(dtype=object)
    for rows in pd.Series(np.arange(len(labels))).groupby(places.astype(str).to_numpy()):
        index = rows[1].to_numpy()
        index = index[np.argsort(corners[index, 0], kind="stable")]
        for at, i in enumerate(index):
            later = index[at + 1 :]
            down = corners[later, 0] - corners[i, 2]
            across = np.maximum(corners[later, 1] - corners[i, 3], corners[i, 1] - corners[later, 3])
            gap = np.maximum(down, across)
            for j, pixels in zip(later[gap < buffer], gap[gap < buffer], strict=True):
                yield str(labels[i]), str(labels[j]), int(pixels)
