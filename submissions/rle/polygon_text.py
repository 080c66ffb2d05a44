"""A mask as polygons, WKT or GeoJSON, in pixels, and back: outlines with holes through shapely (the extra `polygons`).

x grows to the right and y downwards from the outer corner of the first pixel: pixel (row, col) covers x from col to
col + 1 and y from row to row + 1. A pixel is inside where its centre is. Formats: OGC 06-103r4 and RFC 7946.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from submissions.rle.text import I64

Bool = npt.NDArray[np.bool_]
Shape = tuple[int, int]
Form = Literal["wkt", "geojson"]
Span = tuple[str, str] | None
STEPS = (8.0, 4.0, 2.0, 1.5, 1.0, 0.75, 0.5)  # tolerances of simplifying that are tried [pixels]
DIGITS, FINE = 3, 9  # of coordinates, in pixels and in a span's units


def require_shapely() -> Any:
    """The library; ValueError that names the extra where it is missing."""
    try:
        import shapely
    except ImportError as error:
        raise ValueError(
            "WKT and GeoJSON need shapely, which is not installed: pip install 'segmentation-pipeline[polygons]'"
        ) from error
    return shapely


def polygons_from_runs(runs: I64, shape: Shape, order: str, form: Form, *, loss: float, span: Span = None) -> str:
    """Text of runs, int64 (n, 2) along `order`, of a mask of `shape` = (H, W).

    span: see `_scale`. loss: share of intersection over union, with the mask itself, that simplifying may cost; 0 keeps
    every corner.
    """
    shapely = require_shapely()
    along, across = (shape[0], shape[1]) if order == "column" else (shape[1], shape[0])
    start, length = _cut_at_lines(runs, along)
    line, first = np.divmod(start, along)
    low, high = (line, first), (line + 1, first + length)
    boxes = (*low, *high) if order == "column" else (low[1], low[0], high[1], high[0])
    assert not len(line) or line.max() < across, "runs lie within the mask"
    outline = shapely.union_all(shapely.box(*boxes))
    outline = _simplified(shapely, outline, shape, loss) if loss > 0 and len(line) else outline
    if span is not None:
        outline = shapely.transform(outline, lambda xy: xy / _scale(span, shape))
    if form == "geojson":
        return str(shapely.to_geojson(outline))
    return str(shapely.to_wkt(outline, rounding_precision=DIGITS if span is None else FINE, trim=True))


def _scale(span: tuple[str, str], shape: Shape) -> npt.NDArray[np.float64]:
    """float64 (2,): pixels a unit of x and y. ValueError where a span is no number but 0.

    span: x and y that W * W / (W + 1) of W columns and H * H / (H + 1) of H rows reach (Dstl's page of 2017).
    """
    try:
        x, y = (float(one) for one in span)
    except ValueError:
        x = y = 0.0
    if not x or not y or not np.isfinite([x, y]).all():
        raise ValueError(f"span {list(span)}, expected two numbers that are not 0 (columns of the image's tables)")
    height, width = shape
    return np.array([width * width / (width + 1) / x, height * height / (height + 1) / y])


def _cut_at_lines(runs: I64, along: int) -> tuple[I64, I64]:
    """Runs cut where one column or row ends and the next begins."""
    starts, lengths = [], []
    for start, length in runs.tolist():
        while length > 0:
            part = min(length, along - start % along)
            starts.append(start)
            lengths.append(part)
            start, length = start + part, length - part
    return np.array(starts, np.int64), np.array(lengths, np.int64)


def _simplified(shapely: Any, outline: Any, shape: Shape, loss: float) -> Any:
    """The outline with the fewest corners, of the tolerances that are tried, that costs no more than `loss`."""
    exact = _painted(shapely, outline, shape)
    for tolerance in STEPS:
        simple = shapely.simplify(outline, tolerance, preserve_topology=True)
        mask = _painted(shapely, simple, shape)
        if (mask & exact).sum() >= (1 - loss) * (mask | exact).sum():
            return simple
    return outline


def mask_from_polygons(text: str, shape: Shape, form: Form, *, span: Span = None) -> Bool:
    """bool (H, W) of a text; raises as `read_outline`."""
    return _painted(require_shapely(), read_outline(text, shape, form, span=span), shape)


def read_outline(text: str, shape: Shape, form: Form, *, span: Span = None) -> Any:
    """shapely's polygon of a text, in pixels of an image of `shape` = (H, W); what crosses itself is mended.

    ValueError for a text that is no polygon, and for one that reaches beyond the image.
    """
    shapely = require_shapely()
    try:
        outline = shapely.from_wkt(text) if form == "wkt" else shapely.from_geojson(text)
    except shapely.errors.ShapelyError as error:
        raise ValueError(f"{text[:60]!r} is no {form} ({str(error)[:80]})") from None
    if outline is None or outline.geom_type not in ("Polygon", "MultiPolygon", "GeometryCollection"):
        kind = "nothing" if outline is None else outline.geom_type
        raise ValueError(f"{text[:60]!r} is a {kind}, expected POLYGON or MULTIPOLYGON")
    if span is not None:
        outline = shapely.transform(shapely.force_2d(outline), lambda xy: xy * _scale(span, shape))
    if not outline.is_valid:
        outline = shapely.make_valid(outline)
    left, top, right, bottom = shapely.bounds(outline) if not outline.is_empty else (0, 0, 0, 0)
    if min(left, top) < -0.5 or right > shape[1] + 0.5 or bottom > shape[0] + 0.5:
        raise ValueError(
            f"a polygon from x {left:g} to {right:g}, y {top:g} to {bottom:g} in an image of {shape} (height, width)"
        )
    return outline


def _painted(shapely: Any, outline: Any, shape: Shape) -> Bool:
    """Pixels whose centres are inside."""
    mask = np.zeros(shape, np.bool_)
    if outline.is_empty:
        return mask
    left, top, right, bottom = shapely.bounds(outline)
    cols = np.arange(max(0, int(left)), min(shape[1], int(right) + 1))
    rows = np.arange(max(0, int(top)), min(shape[0], int(bottom) + 1))
    shapely.prepare(outline)
    inside = shapely.contains_xy(outline, *np.meshgrid(cols + 0.5, rows + 0.5))
    mask[rows[:, None], cols] = inside
    return mask
