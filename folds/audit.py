"""The leak audit: what lies on both sides of a fold table, and the grouping that would mend it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from folds.blocks import BOX
from folds.buffers import folds_set
from folds.near_duplicates import Progress, check_thumbnails, find_near_duplicates
from folds.places import neighbour_pairs, overlap_pairs
from folds.strata import require_columns

LEAK_COLUMNS = ("image_a", "image_b", "fold_a", "fold_b", "kind", "similarity", "distance")
DUPLICATE_COLUMNS = ("image_a", "image_b", "kind", "similarity", "shift_rows", "shift_cols")

Leak = tuple[str, str, int, int, str, float, float]


def find_duplicates(
    inventory: pd.DataFrame, thumbnails: np.ndarray, *, progress: Progress | None = None
) -> pd.DataFrame:
    """All duplicates among the images, whatever their folds: image_a, image_b, kind, similarity, shifts.

    thumbnails: `(N, 64, 64)` uint8, in the order of the inventory's rows (columns image_id, content_hash). kind:
    'exact' (same content hash; every copy is paired with the first, similarity 1; where the inventory has a
    column split, test images come after all others), 'near' (same place: other exposure, compression,
    neighbouring slice or frame), 'shifted' (another crop of the same scene; the shift is in thumbnail pixels),
    'turned' (by quarter turns, or mirrored) or 'rescaled' (a part of the other, magnified). similarity:
    correlation of the fine structure where the two overlap, less what all images have in common, in -1..1.
    The slow step of the audit: `progress` is told (images done, of how many).
    Raises ValueError for missing columns or thumbnails of another shape.
    """
    require_columns(inventory, ["image_id", "content_hash"], "audit")
    check_thumbnails(thumbnails, len(inventory))
    ids = inventory["image_id"].astype(str).to_numpy(dtype=object)
    test = inventory["split"].eq("test").to_numpy() if "split" in inventory else np.zeros(len(ids), bool)
    order = np.lexsort((np.unique(ids, return_inverse=True)[1], test))
    ids, hashes = ids[order], inventory["content_hash"].astype(str).to_numpy(dtype=object)[order]
    codes = pd.factorize(hashes)[0]
    first = np.unique(codes, return_index=True)[1]
    copies = np.flatnonzero(first[codes] != np.arange(len(ids)))
    exact = pd.DataFrame({"image_a": ids[first[codes[copies]]], "image_b": ids[copies]})
    exact = exact.assign(kind="exact", similarity=1.0, shift_rows=0, shift_cols=0)
    kept = np.sort(first)
    near = find_near_duplicates(thumbnails[order[kept]], progress=progress)
    near = near.assign(
        image_a=ids[kept][near["a"].to_numpy(dtype=int)],
        image_b=ids[kept][near["b"].to_numpy(dtype=int)],
        similarity=near["detail"].round(4),
    )
    parts = [part[list(DUPLICATE_COLUMNS)] for part in (exact, near) if len(part)]
    if not parts:
        return pd.DataFrame(columns=list(DUPLICATE_COLUMNS))
    return pd.concat(parts, ignore_index=True)


class _Sides:
    """Where an image is validated and where it may not be trained on; answers whether two images leak."""

    def __init__(self, folds: pd.DataFrame) -> None:
        self.members: dict[str, set[tuple[int, str]]] = {}
        for image_id, fold, text in zip(
            folds["image_id"].astype(str), folds["fold"], folds["excluded_from"], strict=True
        ):
            self.members.setdefault(image_id, set()).add((int(fold), str(text)))

    def leak(self, image_a: str, image_b: str) -> tuple[int, int] | None:
        """The folds of a and b where one trains on the other's validation image; None where all is well."""
        for fold_a, text_a in sorted(self.members[image_a]):
            for fold_b, text_b in sorted(self.members[image_b]):
                apart = fold_a != fold_b
                if apart and not (fold_a in folds_set(text_b) and fold_b in folds_set(text_a)):
                    return fold_a, fold_b
        return None

    def kinds(self, images: Sequence[str]) -> list[str]:
        """The first image of every different placement: enough to find a leak between two sets of images."""
        seen: dict[tuple[tuple[int, str], ...], str] = {}
        for image_id in images:
            seen.setdefault(tuple(sorted(self.members[image_id])), image_id)
        return list(seen.values())


def audit_folds(
    folds: pd.DataFrame,
    inventory: pd.DataFrame,
    duplicates: pd.DataFrame,
    *,
    group_columns: Sequence[str] = (),
    buffer: float = 0,
    series_column: str = "stack",
    z_column: str = "z",
) -> pd.DataFrame:
    """Every pair that lets validation leak into training, as a table with the columns `LEAK_COLUMNS`.

    Two images leak when they lie in different folds and at least one may be trained on where the other
    validates (`excluded_from` heeded). kind: 'group' (one pair for each group and pair of placements; the
    `group` column of the table and `group_columns` of the inventory), 'exact', 'near', 'shifted' (from
    `find_duplicates`), 'neighbour' (same series, at most `buffer` in z apart), 'overlap' (blocks of one
    image, or, where the inventory has y0, x0, y1, x1, tiles of one series, closer than `buffer` pixels).
    similarity: of duplicates, else NaN; distance: slices or pixels (below 0: overlap) of 'neighbour' and
    'overlap', else NaN. An empty table is a clean bill. Raises ValueError for an image without inventory or
    a missing column.
    """
    ids = set(inventory["image_id"].astype(str))
    strange = sorted(set(folds["image_id"].astype(str)) - ids)
    if strange:
        raise ValueError(
            f"{len(strange)} images of the fold table are not in the inventory (first: {strange[:3]}); audit the "
            "inventory the folds were made from"
        )
    table = inventory.assign(image_id=inventory["image_id"].astype(str))
    table = table[table["image_id"].isin(folds["image_id"].astype(str))].sort_values("image_id")
    sides = _Sides(folds)
    rows = list(_group_leaks(folds, table, group_columns, sides))
    rows += _duplicate_leaks(table, duplicates, sides)
    rows += _place_leaks(folds, table, buffer, series_column, z_column, sides)
    return pd.DataFrame(rows, columns=list(LEAK_COLUMNS))


def _place_leaks(
    folds: pd.DataFrame, table: pd.DataFrame, buffer: float, series_column: str, z_column: str, sides: _Sides
) -> Iterator[Leak]:
    """Slices closer than the buffer; tiles of one series closer than it; blocks that overlap."""
    tiles = set(BOX) <= set(table.columns)
    if tiles:
        require_columns(table, [series_column], "audit of tiles")
        places = overlap_pairs(table["image_id"], table[series_column], table, buffer)
        for a, b, gap in places:
            if leak := sides.leak(a, b):
                yield a, b, *leak, "overlap", np.nan, float(gap)
    elif "y0" in folds.columns:
        names = folds["image_id"].astype(str) + " " + folds["fold"].astype(str)
        for a, b, gap in overlap_pairs(names, folds["image_id"], folds, 0):
            (image_a, fold_a), (image_b, fold_b) = a.rsplit(" ", 1), b.rsplit(" ", 1)
            if fold_a != fold_b:
                yield image_a, image_b, int(fold_a), int(fold_b), "overlap", np.nan, float(gap)
    elif buffer > 0:
        require_columns(table, [series_column, z_column], "audit of the buffer")
        for a, b, distance in neighbour_pairs(table, series_column, z_column, buffer):
            if leak := sides.leak(a, b):
                yield a, b, *leak, "neighbour", np.nan, distance


def _group_leaks(folds: pd.DataFrame, table: pd.DataFrame, columns: Sequence[str], sides: _Sides) -> Iterator[Leak]:
    require_columns(table, list(columns), "audit of groups")
    frames = [table[["image_id", column]].set_axis(["image_id", "group"], axis=1) for column in columns]
    if "y0" not in folds.columns:
        frames.insert(0, folds[["image_id", "group"]].astype(str))
    for frame in frames:
        for _, images in frame.groupby("group", sort=True)["image_id"]:
            kinds = sides.kinds(sorted(images))
            for i, a in enumerate(kinds):
                for b in kinds[i + 1 :]:
                    if leak := sides.leak(a, b):
                        yield a, b, *leak, "group", np.nan, np.nan


def _duplicate_leaks(table: pd.DataFrame, duplicates: pd.DataFrame, sides: _Sides) -> list[Leak]:
    """Copies: each with the first it leaks with. Near duplicates: one pair, if any copies of the two leak."""
    rows = []
    copies: dict[str, list[str]] = {}
    require_columns(table, ["content_hash"], "audit")
    for _, images in table.groupby("content_hash", sort=True)["image_id"]:
        members = sorted(images)
        kinds = sides.kinds(members)
        copies |= dict.fromkeys(members, kinds)
        done = set()
        for a in members if len(kinds) > 1 else ():
            for b in kinds:
                if frozenset((a, b)) not in done and (leak := sides.leak(a, b)):
                    done.add(frozenset((a, b)))
                    rows.append((a, b, *leak, "exact", 1.0, np.nan))
                    break
    near = duplicates[duplicates["kind"] != "exact"]
    for a, b, kind, similarity in zip(near["image_a"], near["image_b"], near["kind"], near["similarity"], strict=True):
        pairs = ((x, y) for x in copies.get(a, ()) for y in copies.get(b, ()))
        for x, y in pairs:
            if leak := sides.leak(x, y):
                rows.append((x, y, *leak, str(kind), float(similarity), np.nan))
                break
    return rows


def suggest_groups(
    duplicates: pd.DataFrame, inventory: pd.DataFrame, group: str | pd.Series | None = None
) -> pd.Series:
    """Groups that keep duplicates together: Series image_id -> name, to be given to `make_folds` as `group`.

    Every pair of `duplicates` (from `find_duplicates`; all of them, not only those that cross today's
    folds) joins the groups of its two images, and theirs the next: a merged group is called after the first
    of its groups. group: a column, or a Series image_id -> group, to start from; None: every image is its
    own. Raises ValueError for a missing column or value.
    """
    table = inventory.assign(image_id=inventory["image_id"].astype(str)).sort_values("image_id")
    if isinstance(group, pd.Series):
        series = pd.Series(group.to_numpy(), index=group.index.astype(str))
        table = table.assign(group=table["image_id"].map(series))
        require_columns(table, ["group"], "group given as a Series")
    else:
        require_columns(table, ["image_id" if group is None else group], "group")
        table = table.assign(group=table["image_id" if group is None else group].astype(str))
    names = dict(zip(table["image_id"], table["group"].astype(str), strict=True))
    groups = sorted(set(names.values()))
    place = {image_id: bisect_left(groups, name) for image_id, name in names.items()}
    ends = duplicates[["image_a", "image_b"]].map(place.get).dropna().to_numpy(dtype=int)
    graph = coo_matrix((np.ones(len(ends)), tuple(ends.T)), shape=(len(groups), len(groups)))
    label = connected_components(graph, directed=False)[1]
    first = np.unique(label, return_index=True)[1]
    merged = {image_id: groups[first[label[number]]] for image_id, number in place.items()}
    return pd.Series(merged, name="group", dtype=object)
