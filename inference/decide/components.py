"""Connected components of masks. A label takes four bytes a pixel, so a large image is labelled strip by strip."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import scipy

STRIP_PIXELS = 1 << 22  # of an image that are labelled at once


def label_components(mask: np.ndarray, *, corners: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Label int32 of `mask` (bool (H, W) or (Z, H, W)), 1..n, and areas int64 (n + 1,).

    `areas[0]` is the background. `corners` False: only pixels that share an edge are neighbours.
    """
    if mask.ndim == 2:
        connectivity = 8 if corners else 4
        n, label = cv2.connectedComponents(
            np.ascontiguousarray(mask).view(np.uint8), connectivity=connectivity, ltype=cv2.CV_32S
        )
        return label, np.bincount(label.ravel(), minlength=n)  # half the time of connectedComponentsWithStats
    if mask.ndim != 3:
        raise ValueError(f"mask has shape {mask.shape}, expected (height, width) or (depth, height, width)")
    structure = scipy.ndimage.generate_binary_structure(3, 3 if corners else 1)
    label, _ = scipy.ndimage.label(mask, structure)
    label = label.astype(np.int32, copy=False)
    return label, np.bincount(label.ravel())


class Components:
    """The components of a mask, 1..n, as `label_components` finds them; `holes`: those of what is not set.

    Components touch at edges or corners, holes at edges alone. Of an image larger than STRIP_PIXELS no label is kept:
    strips are labelled when they are asked for, and joined where they meet.

    areas: int64 (n + 1,), pixels of the background and of each component.
    """

    def __init__(self, mask: np.ndarray, *, holes: bool = False) -> None:
        self.mask, self.holes = mask, holes
        step = max(1, STRIP_PIXELS // max(1, mask.shape[-1])) if mask.ndim == 2 else max(1, len(mask))
        self._rows = [slice(top, min(top + step, len(mask))) for top in range(0, len(mask), step)]
        self._label: np.ndarray | None = None
        if len(self._rows) == 1:
            self._label, self.areas = self._labelled(self._rows[0])
            self._names = [np.arange(len(self.areas))]
        else:
            self._names, self.areas = self._joined()

    def chosen(self, keep: np.ndarray) -> np.ndarray:
        """Mask, bool, of the components whose number is True in `keep`, bool (n + 1,)."""
        found = np.empty(self.mask.shape, bool)
        for rows, label, names in self._strips():
            np.take(keep[names], label, out=found[rows], mode="clip")  # "raise" would copy it
        return found

    def pixels_of(self, where: np.ndarray) -> np.ndarray:
        """int64 (n + 1,): how many pixels of each component are True in `where`, bool like the mask."""
        total = np.zeros(len(self.areas), np.int64)
        for rows, label, names in self._strips():
            np.add.at(total, names, np.bincount(label[where[rows]], minlength=len(names)))
        return total

    def at_border(self) -> np.ndarray:
        """bool (n + 1,): which components reach an end of the mask."""
        found = np.zeros(len(self.areas), bool)
        for rows, label, names in self._strips():
            ends = [label.take(end, axis=axis) for axis in range(1, label.ndim) for end in (0, -1)]
            ends += [label[:1]] * (rows.start == 0) + [label[-1:]] * (rows.stop == len(self.mask))
            for end in ends:
                found[names[np.unique(end)]] = True
        return found

    def _labelled(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        part = self.mask[rows]
        return label_components(~part if self.holes else part, corners=not self.holes)

    def _strips(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Rows, their label, and the number of each of its values."""
        for rows, names in zip(self._rows, self._names, strict=True):
            yield rows, self._labelled(rows)[0] if self._label is None else self._label, names

    def _joined(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Numbers of the values of each strip's label, and the areas of what they are part of."""
        parts: list[np.ndarray] = []
        seams: list[np.ndarray] = []
        count, above = 0, np.zeros(self.mask.shape[1], np.int64)
        for rows in self._rows:
            label, areas = self._labelled(rows)
            below = np.where(label[0] > 0, label[0] + count, 0)
            seams.append(_touching(above, below, corners=not self.holes))
            above = np.where(label[-1] > 0, label[-1] + count, 0)
            count += len(areas) - 1
            parts.append(areas)
        ends = np.concatenate(seams, axis=1) - 1
        graph = scipy.sparse.coo_array((np.ones(ends.shape[1], bool), (ends[0], ends[1])), shape=(count, count))
        number, root = scipy.sparse.csgraph.connected_components(graph, directed=False)
        cuts = np.cumsum([len(areas) - 1 for areas in parts])[:-1]
        names = [np.concatenate([[0], own + 1]) for own in np.split(root, cuts)]
        total = np.zeros(number + 1, np.int64)
        for own, areas in zip(names, parts, strict=True):
            np.add.at(total, own, areas)
        return names, total


def _touching(above: np.ndarray, below: np.ndarray, *, corners: bool) -> np.ndarray:
    """int64 (2, n): pairs of values, none 0, of two neighbouring rows (W,) that touch."""
    width = len(above)
    pairs = []
    for shift in (-1, 0, 1) if corners else (0,):
        one = above[max(0, -shift) : width - max(0, shift)]
        other = below[max(0, shift) : width - max(0, -shift)]
        both = (one > 0) & (other > 0)
        pairs.append(np.stack([one[both], other[both]]))
    return np.unique(np.concatenate(pairs, axis=1), axis=1)
