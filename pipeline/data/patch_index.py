"""The patch index: windows of stored images with the foreground of each class, and how to draw from it.

Validation and reports use the grid as it is. Training draws a row of it by weight and moves the window at
random, so that positions are not those of the grid.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from inference.predict.inputs import value_maximum
from inference.predict.tiles import has_tissue, tile_positions
from pipeline.data.store import Store, StoredImage
from pipeline.data.volume_axes import along
from pipeline.stage import digest
from submissions.host.atomic import write_atomic
from submissions.host.truth import SOFT_TOP, VOID

PREFIX = "foreground_"
POSITION = ["image_id", "axis", "z", "y", "x", "height", "width"]


def grid_index(
    stored: StoredImage, patch: tuple[int, int], classes: Sequence[str], *, tissue: bool = False, axis: str = "z"
) -> pd.DataFrame:
    """Windows that cover every pixel of a stored image, evenly spread, overlapping no more than that takes.

    Columns: image_id, axis, z, y, x, height, width (pixels; less than the patch where the image is smaller;
    z is the number of the plane across `axis`, y and x lie in the plane), foreground_<class> (share of the
    window, 0..1, void left out of both; by plane, or by value of a label), and with `tissue` whether the
    window shows any (bool). Windows of nothing but void teach nothing and are left out, unless all are such.
    Raises ValueError for a target with fewer planes than classes.
    """
    seen = along(stored, axis)
    depth, height, width, _ = seen.shape
    shape = seen.target_shape
    if shape is None or (len(shape) == 4 and shape[1] < len(classes)):
        raise ValueError(f"image {stored.image_id!r}: target {shape} for {len(classes)} classes; run stage 03 again")
    tall, wide = min(patch[0], height), min(patch[1], width)
    tops, lefts = tile_positions(height, tall, 0.0), tile_positions(width, wide, 0.0)
    rows: list[dict[str, object]] = []
    void: list[dict[str, object]] = []
    for z in range(depth):
        for top in tops:
            band = slice(top, top + tall)
            target = seen.read_target(z, band, slice(0, width))
            shares = _shares(target, len(classes), lefts, wide, soft=bool(stored.attrs.get("soft")))
            for left, share in zip(lefts, shares.T, strict=True):
                row: dict[str, object] = {
                    "image_id": seen.image_id, "axis": axis, "z": z, "y": top, "x": left, "height": tall,
                    "width": wide,
                }  # fmt: skip
                row.update({f"{PREFIX}{name}": value for name, value in zip(classes, share, strict=True)})
                if tissue:
                    pixels = seen.read(z, band, slice(left, left + wide))
                    row["tissue"] = has_tissue(pixels, value_maximum(pixels.dtype))  # as prediction judges it
                (rows if (target[..., left : left + wide] != VOID).any() else void).append(row)
    return pd.DataFrame(rows or void)


def _shares(target: np.ndarray, classes: int, lefts: Sequence[int], wide: int, *, soft: bool) -> np.ndarray:
    """Share of each class, float64 (classes, windows), in a band: label (h, W) or planes (K, h, W)."""
    found = np.empty((classes, len(lefts)))
    starts = np.asarray(lefts)
    for number in range(classes):
        plane = target if target.ndim == 2 else target[number]
        shown = plane == number if target.ndim == 2 else shown_in(plane, soft=soft)
        inside = np.concatenate([[0], np.cumsum(shown.sum(axis=0))])
        known = np.concatenate([[0], np.cumsum((plane != VOID).sum(axis=0))])
        counted = known[starts + wide] - known[starts]
        found[number] = (inside[starts + wide] - inside[starts]) / np.maximum(counted, 1)
    return found


def shown_in(plane: np.ndarray, *, soft: bool) -> np.ndarray:
    """bool: where a stored plane shows its class: 1, or of soft targets more than half of SOFT_TOP."""
    return np.asarray((plane > SOFT_TOP // 2) & (plane != VOID) if soft else plane == 1)


def keep_tissue(index: pd.DataFrame, share: float, generator: np.random.Generator) -> pd.DataFrame:
    """Leave out windows without tissue but for a `share` of them, drawn; foreground always stays."""
    if "tissue" not in index:
        raise ValueError("the patch index has no column 'tissue': make it with grid_index(..., tissue=True)")
    if not 0 <= share <= 1:
        raise ValueError(f"share of windows without tissue is {share}, expected 0 to 1")
    shares = index.filter(like=PREFIX).drop(columns=f"{PREFIX}background", errors="ignore")
    foreground = shares.to_numpy().sum(axis=1) > 0
    keep = index["tissue"].to_numpy(bool) | foreground | (generator.random(len(index)) < share)
    return index[keep].reset_index(drop=True)


def window_odds(
    index: pd.DataFrame,
    *,
    foreground: float | None = None,
    classes: Mapping[str, float] | None = None,
    images: Mapping[str, float] | None = None,
    groups: Mapping[str, str] | None = None,
) -> np.ndarray:
    """Probability of each window to be drawn, float64 (rows,), sum 1.

    Every image has the same odds, or those given in `images`, shared by its axes, and theirs by the windows;
    `groups` (image_id to group) are drawn equally often, each by what follows. The share `foreground` of the draws
    goes to windows that show a class, the classes evenly or by the weights in `classes` (only those named are
    drawn). None: half of them, and none where every image is one window, because to prefer windows is to
    prefer images there, and those without the class lose the share that they have in the test set. Raises
    ValueError for a class the index does not have, odds that are negative, and where nothing can be drawn.
    """
    names = [column.removeprefix(PREFIX) for column in index.columns if column.startswith(PREFIX)]
    unknown = sorted(set(classes or {}) - set(names))
    if unknown:
        raise ValueError(f"the patch index has no class {', '.join(unknown)}; it has {', '.join(names)}")
    ids = index["image_id"].astype(str)
    base = ids.map(lambda name: 1.0 if images is None else float(images.get(name, 0.0))).to_numpy(float)
    views = _views(index)
    base = base / views.map(views.value_counts()).to_numpy(float)
    base = base / index.groupby(ids.to_numpy())["axis"].transform("nunique").to_numpy(float)
    if (base < 0).any() or not base.sum() > 0:
        raise ValueError(
            f"no window can be drawn: the weights of {len(index)} windows sum to {base.sum()}; check train.sampling"
        )
    if foreground is None:
        foreground = 0.0 if classes is None and ids.is_unique else 0.5
    wanted = {name: 1.0 for name in names if name != "background"} if classes is None else dict(classes)
    shown = {name: index[f"{PREFIX}{name}"].to_numpy() > 0 for name in wanted if wanted[name] > 0}
    group = np.zeros(len(index), np.int64) if groups is None else pd.factorize(ids.map(groups))[0]
    odds = np.zeros(len(index))
    for number in np.unique(group):
        own = np.where(group == number, base, 0.0)
        if own.sum() > 0:
            odds += _preferring(own, shown, wanted, foreground)
    return odds / odds.sum()


def _preferring(
    base: np.ndarray, shown: Mapping[str, np.ndarray], wanted: Mapping[str, float], share: float
) -> np.ndarray:
    """`base` (rows,) scaled to sum 1, a `share` of it given to the rows that show a class, by the classes' weights."""
    parts = {name: base * rows for name, rows in shown.items()}
    parts = {name: part for name, part in parts.items() if part.sum() > 0}
    odds = base / base.sum()
    if not parts or share == 0:
        return odds
    total = sum(wanted[name] for name in parts)
    return (1 - share) * odds + share * sum(wanted[name] / total * part / part.sum() for name, part in parts.items())


def _views(index: pd.DataFrame) -> pd.Series:
    """A name for each image and axis along which it is sliced, row for row."""
    return index["image_id"].astype(str) + "\n" + index["axis"].astype(str)


@dataclass(frozen=True)
class Window:
    """A window of a stored image: slice z, first row y, first column x, height and width in pixels.

    Along another axis than z these count planes across it, and rows and columns there (see `volume_axes.along`).
    """

    image_id: str
    z: int
    y: int
    x: int
    height: int
    width: int
    axis: str = "z"


class WindowSampler:
    """Draws windows by their odds and moves them by up to half their side, inside the image."""

    def __init__(self, index: pd.DataFrame, odds: np.ndarray) -> None:
        if len(index) != len(odds) or not len(index):
            raise ValueError(f"{len(odds)} odds for {len(index)} windows of the patch index")
        self._ids = index["image_id"].astype(str).to_list()
        self._axes = index["axis"].astype(str).to_list()
        self._places = index[POSITION[2:]].to_numpy(np.int64)
        ends = pd.DataFrame({"y": index["y"] + index["height"], "x": index["x"] + index["width"]})
        self._ends = ends.groupby(_views(index).to_numpy()).transform("max").to_numpy(np.int64)
        self._sums = np.cumsum(np.asarray(odds, np.float64))

    def draw(self, generator: np.random.Generator) -> Window:
        """One window; the generator decides everything."""
        row = int(np.searchsorted(self._sums, generator.random() * self._sums[-1], side="right"))
        z, y, x, height, width = (int(value) for value in self._places[row])
        bottom, right = self._ends[row]
        y = int(np.clip(y + generator.integers(-(height // 2), height // 2 + 1), 0, bottom - height))
        x = int(np.clip(x + generator.integers(-(width // 2), width // 2 + 1), 0, right - width))
        return Window(self._ids[row], z, y, x, height, width, self._axes[row])


@dataclass(frozen=True)
class PatchGrid:
    """Which windows of stored images are indexed: of one size along some axes, with `tissue` also whether any shows."""

    patch: tuple[int, int]
    classes: Sequence[str]
    tissue: bool = False
    axes: Sequence[str] = ("z",)

    def path(self, store: Store) -> Path:
        """Where the patch index of a store lies."""
        return store.folder / f"patches-{self.patch[0]}x{self.patch[1]}-{''.join(self.axes)}.csv"

    @property
    def measured(self) -> list[str]:
        """The columns beside those of `POSITION`."""
        return [*(f"{PREFIX}{name}" for name in self.classes), *(["tissue"] if self.tissue else [])]

    def index(self, store: Store, image_ids: Sequence[str]) -> pd.DataFrame:
        """The index of some stored images, made anew."""
        grids = [
            grid_index(store.image(name), self.patch, self.classes, tissue=self.tissue, axis=axis)
            for name in image_ids
            for axis in self.axes
        ]
        return pd.concat(grids, ignore_index=True)


def write_index(store: Store, grid: PatchGrid) -> int:
    """Index every stored image and write the table into the store's folder, aside and then renamed; returns its rows.

    What shards left in parts is put together, and only the rest indexed.
    """
    path, place = grid.path(store), {name: number for number, name in enumerate(store.ids())}
    columns = [*POSITION, *grid.measured]
    tables: list[pd.DataFrame] = []
    left = dict(place)
    for part in sorted(_parts_folder(path).glob("*.csv")):
        table = _read_text(part)
        if list(table.columns) == columns:
            tables.append(table[table["image_id"].isin(left)])
            found = set(table["image_id"])
            left = {name: number for name, number in left.items() if name not in found}
    if left or not tables:
        tables.append(_as_text(grid.index(store, list(left))))
    joined = pd.concat(tables, ignore_index=True)
    joined = joined.iloc[np.argsort(joined["image_id"].map(place).to_numpy(), kind="stable")]
    write_atomic(path, joined.to_csv(index=False, lineterminator="\n"))
    shutil.rmtree(_parts_folder(path), ignore_errors=True)
    return len(joined)


def write_index_part(store: Store, image_ids: Sequence[str], grid: PatchGrid) -> int:
    """Index some stored images in a table of their own, which `write_index` finds; returns its rows."""
    path = _parts_folder(grid.path(store)) / f"{digest(list(image_ids))}.csv"
    if not path.is_file() and image_ids:
        write_atomic(path, grid.index(store, image_ids).to_csv(index=False, lineterminator="\n"))
    return len(_read_text(path)) if image_ids else 0


def _parts_folder(path: Path) -> Path:
    return path.with_suffix(".parts")


def _read_text(path: Path | io.StringIO) -> pd.DataFrame:
    """A table as it is written, no number changed."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _as_text(index: pd.DataFrame) -> pd.DataFrame:
    """A table as it would be read back by `_read_text`."""
    return _read_text(io.StringIO(index.to_csv(index=False)))


def read_index(store: Store, image_ids: Sequence[str], grid: PatchGrid) -> pd.DataFrame:
    """Index of some stored images, in the order of `image_ids`; made anew where the store's table does not serve."""
    written = written_rows(grid.path(store), image_ids, set(grid.measured))
    return grid.index(store, image_ids) if written is None else written


def written_rows(path: Path, image_ids: Sequence[str], columns: set[str]) -> pd.DataFrame | None:
    """Rows of some images, in their order, out of an index file; None where it lacks an image or a column."""
    if not path.is_file():
        return None
    table = pd.read_csv(path, dtype={"image_id": str}, float_precision="round_trip", keep_default_na=False)
    if not columns <= set(table.columns) or not set(image_ids) <= set(table["image_id"]):
        return None
    parts = dict(tuple(table.groupby("image_id", sort=False)))
    return pd.concat([parts[name] for name in image_ids], ignore_index=True)
