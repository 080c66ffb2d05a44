"""Spatial folds inside huge images: blocks, and training windows that keep away from validation blocks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from folds.assignment import stable_number
from folds.strata import require_columns

BLOCK_COLUMNS = ("y0", "x0", "y1", "x1", "buffer")
BOX = ["y0", "x0", "y1", "x1"]


class Block(NamedTuple):
    """A rectangle of an image in pixels, half-open."""

    y0: int
    x0: int
    y1: int
    x1: int

    @property
    def rows(self) -> slice:
        """Its rows."""
        return slice(self.y0, self.y1)

    @property
    def cols(self) -> slice:
        """Its columns."""
        return slice(self.x0, self.x1)

    def named(self, image_id: str) -> str:
        """The id of this part of an image."""
        return f"{image_id}@y{self.y0}-{self.y1}x{self.x0}-{self.x1}"


def has_blocks(folds: pd.DataFrame) -> bool:
    """Whether the rows of a fold table are blocks of images, not whole images."""
    return set(BLOCK_COLUMNS) <= set(folds.columns)


def blocks_of(folds: pd.DataFrame) -> list[Block | None]:
    """The block of each row of a fold table; None where a row is a whole image."""
    if not has_blocks(folds):
        return [None] * len(folds)
    return [Block(*map(int, box)) for box in folds[BOX].to_numpy()]


def extent(block: Block | None) -> tuple[slice, slice]:
    """Rows and columns of a block; all of them where it is a whole image."""
    return (slice(None), slice(None)) if block is None else (block.rows, block.cols)


def cut_blocks(
    inventory: pd.DataFrame, n_folds: int, seed: int, *, grid: tuple[int, int] | None, buffer: int
) -> pd.DataFrame:
    """One row per block: image_id, fold, group, stratum, excluded_from, y0, x0, y1, x1 (half-open), buffer.

    grid: (rows, columns) of blocks an image; None: `n_folds` bands across the longer side of each image.
    Blocks of one image are dealt out in raster order, in an order of folds drawn from the seed and the
    image's id. Raises ValueError for missing sizes, an impossible grid, fewer blocks than folds, or a
    buffer that leaves a fold nothing to train on.
    """
    require_columns(inventory, ["height", "width"], "method 'blocks'")
    _check_grid(grid)
    rows: list[dict[str, object]] = []
    filled = np.zeros(n_folds)
    images = list(zip(inventory["image_id"], inventory["height"], inventory["width"], strict=True))
    for image_id, height, width in sorted(images, key=lambda image: stable_number(seed, image[0])):
        tie = np.random.default_rng(stable_number(seed, image_id, "blocks")).permutation(n_folds)
        order = np.lexsort((tie, filled))
        for number, box in enumerate(_image_blocks(str(image_id), int(height), int(width), grid, n_folds)):
            fold = int(order[number % n_folds])
            filled[fold] += (box[2] - box[0]) * (box[3] - box[1])
            values = dict(zip(BLOCK_COLUMNS, (*box, buffer), strict=True))
            group = f"{image_id}/block{number:03d}"
            rows.append(
                {"image_id": image_id, "fold": fold, "group": group, "stratum": "", "excluded_from": ""} | values
            )
    if len(rows) < n_folds:
        raise ValueError(
            f"method 'blocks': found {len(rows)} blocks, expected at least n_folds = {n_folds}; use a finer grid"
        )
    table = pd.DataFrame(rows).sort_values(["image_id", "y0", "x0"], kind="stable").reset_index(drop=True)
    for fold, share in training_share(table).items():
        if share == 0:
            raise ValueError(
                f"method 'blocks': a buffer of {buffer} px leaves fold {fold} no training pixel; "
                "use a smaller buffer or larger blocks"
            )
    return table


def _check_grid(grid: tuple[int, int] | None) -> None:
    if grid is None:
        return
    if len(grid) != 2 or any(not isinstance(n, int) or isinstance(n, bool) or n < 1 for n in grid):
        raise ValueError(f"grid is {grid!r}, expected (rows, columns), two integers of at least 1")


def _image_blocks(
    image_id: str, height: int, width: int, grid: tuple[int, int] | None, n_folds: int
) -> list[tuple[int, int, int, int]]:
    """Boxes (y0, x0, y1, x1) of one image in raster order; sizes differ by at most one pixel."""
    n_rows, n_cols = grid or ((n_folds, 1) if height >= width else (1, n_folds))
    if n_rows > height or n_cols > width:
        raise ValueError(
            f"image {image_id!r} of {height}×{width} px cannot be cut in {n_rows}×{n_cols} blocks; use a coarser grid"
        )
    ys = [height * i // n_rows for i in range(n_rows + 1)]
    xs = [width * i // n_cols for i in range(n_cols + 1)]
    return [(ys[r], xs[c], ys[r + 1], xs[c + 1]) for r in range(n_rows) for c in range(n_cols)]


def validation_blocks(folds: pd.DataFrame, fold: int, image_id: str) -> np.ndarray:
    """Blocks `(B, 4)` int64 (y0, x0, y1, x1), half-open, of one image that fold `fold` validates on."""
    missing = [column for column in BLOCK_COLUMNS if column not in folds.columns]
    if missing:
        raise ValueError(f"the fold table has no columns {missing}, expected one made with method 'blocks'")
    of_image = folds["image_id"] == str(image_id)
    if not of_image.any():
        raise ValueError(f"image {image_id!r} is not in the fold table ({folds['image_id'].nunique()} images)")
    rows = folds[of_image & (folds["fold"] == fold)]
    return rows[BOX].to_numpy(dtype=np.int64)


def _gap(windows: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Pixels `(N, B)` between window and block, along the axis where they are farther apart; < 0: overlap."""
    w, b = windows[:, None, :], blocks[None, :, :]
    rows = np.maximum(b[..., 0] - w[..., 2], w[..., 0] - b[..., 2])
    cols = np.maximum(b[..., 1] - w[..., 3], w[..., 1] - b[..., 3])
    return np.maximum(rows, cols)


def _as_windows(windows: np.ndarray) -> np.ndarray:
    array = np.asarray(windows)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"windows have shape {array.shape}, expected (N, 4): y0, x0, y1, x1, half-open")
    if (array[:, 2:] <= array[:, :2]).any():
        raise ValueError("some windows end before they begin, expected y0 < y1 and x0 < x1 (not y, x, height, width)")
    return array.astype(np.int64)


def training_windows_allowed(folds: pd.DataFrame, fold: int, image_id: str, windows: np.ndarray) -> np.ndarray:
    """Which windows fold `fold` may train on: bool `(N,)`.

    windows: `(N, 4)` int (y0, x0, y1, x1), half-open, in pixels of the host's image. Allowed is a window
    with at least `buffer` pixels (the column of the fold table) between it and every validation block of
    that fold, along rows or along columns. Raises ValueError for a table without blocks, an unknown image,
    malformed windows.
    """
    windows = _as_windows(windows)
    blocks = validation_blocks(folds, fold, image_id)
    if not len(blocks):
        return np.ones(len(windows), dtype=bool)
    far: np.ndarray = np.asarray(_gap(windows, blocks) >= int(folds["buffer"].iloc[0]))
    return np.asarray(far.all(axis=1))


def training_share(folds: pd.DataFrame) -> dict[int, float]:
    """Per fold, the share of all pixels that are farther than the buffer from its validation blocks."""
    buffer = int(folds["buffer"].iloc[0])
    total = float(((folds["y1"] - folds["y0"]) * (folds["x1"] - folds["x0"])).sum())
    shares = {}
    for fold in sorted(folds["fold"].unique()):
        kept = 0.0
        for _, image in folds.groupby("image_id", sort=True):
            boxes = image[BOX].to_numpy(dtype=np.int64)
            kept += _free_area(boxes, boxes[(image["fold"] == fold).to_numpy()], buffer)
        shares[int(fold)] = kept / total
    return shares


def _free_area(boxes: np.ndarray, blocked: np.ndarray, buffer: int) -> float:
    """Pixels of the image spanned by `boxes` outside every blocked box grown by `buffer` on all sides."""
    height, width = int(boxes[:, 2].max()), int(boxes[:, 3].max())
    grown = blocked + np.array([-buffer, -buffer, buffer, buffer])
    grown = np.clip(grown, 0, [height, width, height, width])
    ys = np.unique(np.r_[0, height, grown[:, 0], grown[:, 2]])
    xs = np.unique(np.r_[0, width, grown[:, 1], grown[:, 3]])
    free = np.ones((len(ys) - 1, len(xs) - 1), dtype=bool)
    for y0, x0, y1, x1 in grown:
        free[np.ix_((ys[:-1] >= y0) & (ys[:-1] < y1), (xs[:-1] >= x0) & (xs[:-1] < x1))] = False
    return float((np.diff(ys)[:, None] * np.diff(xs)[None, :] * free).sum())
