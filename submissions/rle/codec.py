"""Run-length dialects: a mask as the text that the host writes, and back. The only place that encodes.

A dialect says in which order pixels are read ('column': down the first column, then the second), from which
number they are counted, what the text holds, and how an empty mask is spelled:

    absolute         'start length start length ...' (most hosts; base 1)
    relative         the same, but a start counts from the end of the run before (SIIM pneumothorax; base 0)
    coco             '[background, foreground, background, ...]', lengths along columns
    coco_compressed  those counts as the string that pycocotools writes
    coco_zlib        base64 of zlib of that string (Human Protein Atlas single cell, HuBMAP vasculature)
    wkt, geojson     outlines with holes, in pixels: POLYGON ((x y, ...)), MULTIPOLYGON (see `polygon_text`)

In between stand runs: int64 (n, 2), start counted from 0 and length, sorted, not overlapping. Whoever needs
areas or overlaps only (a linter) stops at `read_runs` and paints no mask.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from submissions.rle import text as rle_text
from submissions.rle.polygon_text import mask_from_polygons, polygons_from_runs, read_outline
from submissions.rle.scan import Order, find_runs, thin_runs
from submissions.rle.text import I64, kernels

Bool = npt.NDArray[np.bool_]
Shape = tuple[int, int]
Kind = Literal["absolute", "relative", "coco", "coco_compressed", "coco_zlib", "wkt", "geojson"]

PLACEHOLDER = "1 1"
"""What sample submissions hold where a mask should stand: the table's reader takes it for 'no mask given'."""

POLYGONS = ("wkt", "geojson")
COUNTS = "counts"
"""As `Dialect.empty` of the COCO kinds: an empty mask is written like any other, as one count."""


class Dialect(BaseModel):
    """How a host writes a mask as text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind = Field("absolute", description="what the text holds")
    order: Order = Field("column", description="'column': top to bottom, then left to right; 'row': as we read")
    base: Literal[0, 1] = Field(1, description="number of the first pixel: 1 for 'absolute', 0 for other kinds")
    loss: float = Field(
        0.0, ge=0, lt=1, description="wkt, geojson: IoU that simplified outlines may lose; 0 keeps each corner [share]"
    )
    span: tuple[str, str] | None = Field(
        None,
        description="wkt, geojson: [x, y] of the image's lower right corner in the host's coordinates, as columns or "
        "numbers; scaled by W * W / (W + 1) of W pixels, as Dstl has it; default: outlines are in pixels",
    )
    empty: str = Field(
        "", description="an empty mask: '', '-1', '-', '1 0', 'counts' (COCO), or 'missing' (it has no row)"
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_kind(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        kind = values.get("kind", "absolute")
        usual = {"absolute": (1, ""), "relative": (0, "-1"), "wkt": (0, "POLYGON EMPTY"), "geojson": (0, "")}.get(
            kind, (0, COUNTS)
        )
        return {"base": usual[0], "empty": usual[1], **values}

    @model_validator(mode="after")
    def _is_consistent(self) -> Dialect:
        coco = self.kind.startswith("coco")
        if self.kind != "absolute" and self.base != 0:
            raise ValueError(f"base is {self.base}, but kind {self.kind!r} counts from 0: leave base out")
        if coco and self.order != "column":
            raise ValueError(f"order is {self.order!r}, but COCO counts are read along columns: leave order out")
        if self.kind in POLYGONS and self.order != "column":
            raise ValueError(f"order is {self.order!r}, but kind {self.kind!r} has outlines and no order: leave it out")
        if (self.loss or self.span) and self.kind not in POLYGONS:
            raise ValueError(f"loss and span are for outlines ({', '.join(POLYGONS)}), not for kind {self.kind!r}")
        if self.empty == COUNTS and not coco:
            raise ValueError(f"empty is 'counts', which kind {self.kind!r} does not have: use '', '-1' or 'missing'")
        if re.fullmatch(r"\s*([0-9]+\s+0*[1-9][0-9]*\s*)+", self.empty):
            raise ValueError(f"empty is {self.empty!r}, which is the text of a mask with pixels in it")
        return self


DIALECTS: dict[str, Dialect] = {
    "kaggle": Dialect(),
    "row": Dialect(order="row"),
    "siim": Dialect(kind="relative"),
    "coco": Dialect(kind="coco"),
    "coco_compressed": Dialect(kind="coco_compressed"),
    "coco_zlib": Dialect(kind="coco_zlib"),
}


def encode(mask: Bool, dialect: Dialect) -> str:
    """Text of a mask, bool (H, W).

    The mask may be anything with `shape`, `dtype` and row slices (a memory map, an HDF5 data set): it is
    read in strips of rows. An empty mask becomes `dialect.empty` ('' for 'missing': the caller leaves the
    row out). Raises ValueError where it is not a bool array of two axes.
    """
    return write_runs(find_runs(mask, dialect.order), tuple(mask.shape), dialect)


def encode_instances(label: npt.NDArray[np.integer], dialect: Dialect) -> list[str]:
    """One text an instance of `label`, integer (H, W) with background 0, in ascending order of the values."""
    if label.ndim != 2 or label.dtype.kind not in "iu":
        raise ValueError(f"label has dtype {label.dtype} and shape {label.shape}, expected integers (H, W)")
    if label.size and label.min() < 0:
        raise ValueError(f"label has the value {label.min()}, expected 0 for background and positive instances")
    if not label.any():
        return []
    flat = (label.T if dialect.order == "column" else label).ravel()
    edges = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]]).astype(np.int64)
    runs = np.stack([edges[:-1], np.diff(edges)], axis=1)
    values = flat[edges[:-1]]
    by_value = np.argsort(values, kind="stable")
    by_value = by_value[np.searchsorted(values[by_value], 0, side="right") :]
    cuts = np.flatnonzero(np.diff(values[by_value])) + 1
    groups = np.split(runs[by_value], cuts) if by_value.size else []
    return [write_runs(group, label.shape, dialect) for group in groups]


def write_runs(runs: I64, shape: Shape, dialect: Dialect) -> str:
    """Text of runs, int64 (n, 2) from `find_runs` or `read_runs`, of a mask of `shape` = (H, W)."""
    if len(runs) == 0 and dialect.empty != COUNTS:
        return "" if dialect.empty == "missing" else dialect.empty
    if dialect.kind == "wkt" or dialect.kind == "geojson":
        return polygons_from_runs(runs, shape, dialect.order, dialect.kind, loss=dialect.loss, span=dialect.span)
    if dialect.kind == "absolute":
        return rle_text.text_from_numbers(runs + np.array([dialect.base, 0]))
    if dialect.kind == "relative":
        gaps = runs.copy()
        gaps[1:, 0] -= runs[:-1].sum(axis=1)
        return rle_text.text_from_numbers(gaps)
    counts = rle_text.counts_from_runs(runs, math.prod(shape))
    if dialect.kind == "coco":
        return "[" + rle_text.text_from_numbers(counts).replace(" ", ", ") + "]"
    if dialect.kind == "coco_compressed":
        return rle_text.compressed_from_counts(counts)
    return rle_text.zlib_from_counts(counts)


def read_outlines(texts: Sequence[str], shape: Shape, dialect: Dialect) -> list[Any]:
    """shapely's polygons of the texts that are not empty, of a dialect of POLYGONS. Raises as `read_outline`."""
    assert dialect.kind == "wkt" or dialect.kind == "geojson", "runs have no outline"
    drawn = (text for text in texts if not _is_empty(text, dialect))
    outlines = (read_outline(text, shape, dialect.kind, span=dialect.span) for text in drawn)
    return [outline for outline in outlines if not outline.is_empty]


def read_runs(text: object, shape: Shape, dialect: Dialect, *, where: str = "") -> I64:
    """Runs, int64 (n, 2): start from 0 along the dialect's order, length; (0, 2) for an empty mask.

    `text`: str, bytes, a list of COCO counts; None and NaN are blank cells. `where` names the row in errors.
    Raises ValueError naming row and value: an odd count, a zero or negative length, unsorted or overlapping
    runs, a run outside the image, anything that is not a whole number, a blank that the dialect does not
    declare.
    """
    height, width = _checked(shape)
    total = height * width
    try:
        if isinstance(text, bytes):
            text = text.decode("ascii", "replace")
        if isinstance(text, (list, tuple, np.ndarray)) and dialect.kind == "coco":
            return rle_text.runs_from_counts(text, total)
        if _is_empty(text, dialect):
            return np.zeros((0, 2), np.int64)
        if not isinstance(text, str):
            raise ValueError(f"{text!r} has type {type(text).__name__}, expected text: read the table with dtype=str")
        if dialect.kind == "wkt" or dialect.kind == "geojson":
            return find_runs(mask_from_polygons(text, (height, width), dialect.kind, span=dialect.span), dialect.order)
        if dialect.kind in ("absolute", "relative"):
            return rle_text.pairs_from_text(text, dialect.base, total, dialect.kind == "relative")
        if dialect.kind == "coco":
            return rle_text.runs_from_counts(rle_text.counts_from_text(text), total)
        if dialect.kind == "coco_compressed":
            return rle_text.runs_from_counts(rle_text.counts_from_compressed(text), total)
        return rle_text.runs_from_counts(rle_text.counts_from_zlib(text, total), total)
    except ValueError as error:
        raise ValueError(f"{where or 'run-length text'}: {error}") from None


def decode(text: object, shape: Shape, dialect: Dialect, *, where: str = "", step: int = 1) -> Bool:
    """Mask, bool (H, W), C-contiguous; with `step` every step-th row and column of it, the others never painted.

    Takes and raises what `read_runs` does.
    """
    runs = read_runs(text, shape, dialect, where=where)
    if step > 1:
        runs = thin_runs(runs, shape, dialect.order, step)
    return paint(runs, thinned(shape, step), dialect.order)


def thinned(shape: Shape, step: int) -> Shape:
    """(height, width) of every `step`-th row and column."""
    return -(-shape[0] // step), -(-shape[1] // step)


def decode_instances(
    texts: Sequence[object],
    shape: Shape,
    dialect: Dialect,
    *,
    overlap: Literal["error", "last"] = "error",
    where: Sequence[str] | None = None,
    step: int = 1,
) -> npt.NDArray[np.int32]:
    """Label, int32 (H, W): text i becomes the value i + 1, background is 0; an empty text leaves its value unused.

    With `step` only every step-th row and column is painted. Where two instances share a pixel: ValueError that names
    both, or with `overlap='last'` the later text has it.
    """
    if overlap not in ("error", "last"):
        raise ValueError(f"overlap is {overlap!r}, expected 'error' or 'last'")
    height, width = _checked(shape)
    names = where if where is not None else [f"row {i}" for i in range(len(texts))]
    runs = [read_runs(text, shape, dialect, where=name) for text, name in zip(texts, names, strict=True)]
    shared = find_overlap(runs) if overlap == "error" else None
    if shared is not None:
        first, second, pixel = shared
        at = (pixel % height, pixel // height) if dialect.order == "column" else divmod(pixel, width)
        raise ValueError(
            f"{names[first]} and {names[second]} share the pixel (row {at[0]}, col {at[1]}); "
            "expected instances apart, or pass overlap='last'"
        )
    if step > 1:
        runs = [thin_runs(group, shape, dialect.order, step) for group in runs]
        height, width = thinned(shape, step)
    flat = np.zeros(height * width, np.int32)
    for value, group in enumerate(runs, start=1):
        for start, length in group.tolist():
            flat[start : start + length] = value
    if dialect.order == "column":
        return np.ascontiguousarray(flat.reshape(width, height).T)
    return flat.reshape(height, width)


def find_overlap(runs: Sequence[I64]) -> tuple[int, int, int] | None:
    """First pixel (in reading order) in two of several masks' runs: (i, j, pixel) with i < j, or None."""
    owner = np.repeat(np.arange(len(runs)), [len(group) for group in runs])
    if owner.size == 0:
        return None
    every = np.concatenate(runs)
    order = np.argsort(every[:, 0], kind="stable")
    starts, ends, owner = every[order, 0], every[order].sum(axis=1), owner[order]
    reach = np.maximum.accumulate(ends)
    bad = np.flatnonzero(starts[1:] < reach[:-1])
    if bad.size == 0:
        return None
    second = int(bad[0]) + 1
    first = int(np.flatnonzero(ends[:second] > starts[second])[0])
    pair = sorted((int(owner[first]), int(owner[second])))
    return pair[0], pair[1], int(starts[second])


def paint(runs: I64, shape: Shape, order: Order) -> Bool:
    """Mask, bool (H, W), C-contiguous, of sorted runs within the image."""
    height, width = _checked(shape)
    draw = kernels().paint_columns if order == "column" else kernels().paint_rows
    return draw(runs, height, width).view(np.bool_)


def _is_empty(text: object, dialect: Dialect) -> bool:
    if rle_text.is_blank(text):
        if dialect.empty not in ("", "missing"):
            raise ValueError(f"blank, but an empty mask is spelled {dialect.empty!r} in this dialect")
        return True
    return isinstance(text, str) and len(text) < 40 and text.split() == dialect.empty.split()


def _checked(shape: Shape) -> Shape:
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"shape is {tuple(shape)}, expected (height, width), both at least 1")
    return int(shape[0]), int(shape[1])


def one_shape_each(shapes: Shape | Sequence[Shape], n: int) -> list[Shape]:
    """A shape (H, W) for each of `n` texts, from one for all or a list of n; else ValueError."""
    single = len(shapes) == 2 and all(isinstance(side, (int, np.integer)) for side in shapes)
    sizes = [shapes] * n if single else list(shapes)
    if len(sizes) != n:
        raise ValueError(f"{len(sizes)} shapes for {n} texts: expected one (height, width), or one per text")
    return sizes  # type: ignore[return-value]
