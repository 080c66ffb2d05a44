"""Splitters by name: an inventory in, a fold table out, from the inventory's content and the seed only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from folds.blocks import cut_blocks
from folds.buffers import folds_text, near_validation, slab_folds, slab_of
from folds.methods import ASSIGN
from folds.strata import as_numbers, joined, require_columns, stratum_levels

FOLD_COLUMNS = ("image_id", "fold", "group", "stratum", "excluded_from")
GroupOption = str | pd.Series
_STACKS = frozenset({"buffer", "series_column", "z_column"})

# method -> (options it needs, further options it takes)
METHODS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "kfold": (frozenset(), _STACKS),
    "stratified": (frozenset({"strata"}), _STACKS | {"bins"}),
    "group": (frozenset({"group"}), _STACKS),
    "stratified_group": (frozenset({"group", "strata"}), _STACKS | {"bins"}),
    "multilabel_stratified_group": (frozenset({"strata"}), _STACKS | {"group", "bins"}),
    "leave_one_group_out": (frozenset({"group"}), _STACKS),
    "predefined": (frozenset({"fold_column"}), _STACKS | {"group"}),
    "slab": (frozenset({"buffer"}), _STACKS | {"slabs"}),
    "blocks": (frozenset({"buffer"}), frozenset({"grid"})),
}
WITHOUT_SEED = ("leave_one_group_out", "predefined")
_GROUPED = {
    "kfold": "group",
    "group": "group",
    "stratified": "stratified_group",
    "stratified_group": "stratified_group",
    "multilabel_stratified_group": "multilabel_stratified_group",
}


def with_groups(method: str, options: dict[str, Any], group: GroupOption) -> tuple[str, dict[str, Any]]:
    """Method and options for `make_folds` that split as asked and also keep `group` whole ('kfold' -> 'group').

    For the merged groups of `audit.suggest_groups`, which should start from the group column in use. Raises
    ValueError for methods whose folds are given by place, by a file or by the groups themselves.
    """
    if method not in _GROUPED:
        raise ValueError(
            f"method {method!r} cannot keep other groups whole, expected one of {sorted(_GROUPED)}; or give a file "
            "of folds whose column excluded_from keeps duplicates out of training (--folds)"
        )
    return _GROUPED[method], {**options, "group": group}


def make_folds(inventory: pd.DataFrame, method: str, n_folds: int, seed: int, **options: Any) -> pd.DataFrame:
    """Fold table of an inventory by image_id: image_id, fold, group, stratum, excluded_from (, blocks).

    `fold` (int64, 0..n_folds-1) is the fold an image is validated in; `group` the name that may not be on
    two sides (the image's own id where there are no groups); `excluded_from` folds, joined by ';', it may
    not be trained on in. Method 'blocks' gives a row for every block and adds y0, x0, y1, x1, buffer (see
    `blocks`).

    Options: `group` (a column, or a Series image_id -> group such as `audit.suggest_groups` returns),
    `strata` (one column or several; numbers are cut in `bins`, 4, quantile bins beside zero),
    `fold_column`, `buffer` (slices; for 'blocks' pixels), `series_column` (which images are one stack;
    'stack'), `z_column` ('z'; a time will do), `slabs` (per series; n_folds), `grid` (rows, columns of
    blocks). `METHODS` lists who takes what.

    Raises ValueError, saying what was found, what was expected and what to do, for an unknown method or
    option, a missing column or value, a repeated id, fewer groups than folds, an empty fold, a group on two
    sides, a buffer that leaves a fold without training images.
    """
    check_method(method, n_folds, seed, options)
    table = _sorted_inventory(inventory)
    if method == "blocks":
        _check_buffer(options["buffer"], whole=True)
        return cut_blocks(table, n_folds, seed, grid=options.get("grid"), buffer=int(options["buffer"]))
    groups = _groups(table, options.get("group"))
    levels = _levels(table, options)
    if method == "slab":
        series, z = _stack_positions(table, options)
        slab = slab_of(series, z, _slabs(options.get("slabs", n_folds)))
        groups = np.array([f"{name}/slab{k:03d}" for name, k in zip(series, slab, strict=True)], dtype=object)
        fold = slab_folds(series, slab, n_folds, seed)
    elif method == "predefined":
        fold = _predefined(table, options["fold_column"], n_folds)
    else:
        fold = ASSIGN[method](groups, levels, n_folds, seed)
    check_folds(table["image_id"].to_numpy(), fold, groups, n_folds, method)
    return pd.DataFrame(
        {
            "image_id": table["image_id"],
            "fold": fold.astype(np.int64),
            "group": groups.astype(str),
            "stratum": joined(levels).astype(str) if levels.shape[1] else "",
            "excluded_from": _excluded(table, fold, n_folds, options),
        },
        columns=list(FOLD_COLUMNS),
    )


def make_repeated_folds(
    inventory: pd.DataFrame, method: str, n_folds: int, seed: int, *, repeats: int, **options: Any
) -> list[pd.DataFrame]:
    """`repeats` fold tables that all split differently, from seeds `seed`, `seed + 1`, ...

    Models of several tables can be ensembled: each table keeps its own out-of-fold predictions honest. Raises
    ValueError as `make_folds`, for a method without a seed, and where there are not that many different
    splits.
    """
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}, expected at least 1")
    if repeats > 1 and method in WITHOUT_SEED:
        raise ValueError(f"method {method!r} splits in one way only, found repeats = {repeats}; use repeats = 1")
    tables: list[pd.DataFrame] = []
    seen: set[tuple[int, ...]] = set()
    for step in range(repeats * 20):
        table = make_folds(inventory, method, n_folds, seed + step, **options)
        partition = tuple(pd.factorize(table["fold"])[0].tolist())
        if partition not in seen:
            seen.add(partition)
            tables.append(table)
        if len(tables) == repeats:
            return tables
    raise ValueError(
        f"method {method!r}: found {len(tables)} different splits in {repeats * 20} seeds, expected {repeats}; there "
        "are too few images or groups for that many repeats"
    )


def check_folds(image_id: np.ndarray, fold: np.ndarray, groups: np.ndarray, n_folds: int, name: str) -> None:
    """Raise ValueError where a fold is empty or a group lies in two folds. Arrays are `(N,)`, by image."""
    sizes = np.bincount(fold, minlength=n_folds)
    if (sizes == 0).any():
        raise ValueError(
            f"{name}: fold {int(np.argmin(sizes))} is empty (images per fold: {sizes.tolist()}), expected at least one "
            "image in each; use fewer folds"
        )
    frame = pd.DataFrame({"image_id": image_id, "group": groups, "fold": fold})
    on_sides = frame.groupby("group")["fold"].nunique()
    torn = on_sides[on_sides > 1].index
    if len(torn):
        rows = frame[frame["group"] == torn[0]].drop_duplicates("fold")
        where = ", ".join(f"{i!r} in fold {f}" for i, f in zip(rows["image_id"], rows["fold"], strict=True))
        raise ValueError(
            f"{name}: {len(torn)} groups are on two sides (first: {torn[0]!r}: {where}), expected every group in one "
            "fold; correct the folds or the groups"
        )


def check_method(method: str, n_folds: int, seed: int, options: dict[str, Any]) -> None:
    """Raise ValueError for a method, a number or options that `make_folds` does not take, before any image is known."""
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}, expected one of {sorted(METHODS)}")
    needed, further = METHODS[method]
    unknown = sorted(set(options) - needed - further)
    if unknown:
        raise ValueError(f"method {method!r} takes no option {unknown[0]!r}, expected {sorted(needed | further)}")
    missing = sorted(needed - {name for name, value in options.items() if value is not None})
    if missing:
        raise ValueError(f"method {method!r} needs option {missing[0]!r}; add it (it also takes {sorted(further)})")
    for name, value, least in (("n_folds", n_folds, 2), ("seed", seed, 0)):
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or not least <= value < 2**32:
            raise ValueError(f"{name} is {value!r}, expected an integer of at least {least}")


def _sorted_inventory(inventory: pd.DataFrame) -> pd.DataFrame:
    """The inventory with image_id as str, in its order: from here on the order of the files is forgotten."""
    require_columns(inventory, ["image_id"], "inventory")
    if not len(inventory):
        raise ValueError("the inventory is empty, expected at least one image; check the data first")
    table = inventory.assign(image_id=inventory["image_id"].astype(str))
    repeated = table["image_id"][table["image_id"].duplicated()]
    if len(repeated):
        raise ValueError(
            f"inventory: image_id {repeated.iloc[0]!r} and {len(repeated) - 1} more occur twice, expected a row an "
            "image; drop the repeated rows"
        )
    return table.sort_values("image_id", kind="stable").reset_index(drop=True)


def _groups(table: pd.DataFrame, group: GroupOption | None) -> np.ndarray:
    if group is None:
        return table["image_id"].to_numpy(dtype=object)
    if isinstance(group, pd.Series):
        mapped = table["image_id"].map(dict(zip(group.index.astype(str), group, strict=True)))
        frame = table[["image_id"]].assign(group=mapped)
        require_columns(frame, ["group"], "group given as a Series")
        return frame["group"].astype(str).to_numpy(dtype=object)
    require_columns(table, [group], "group")
    return table[group].astype(str).to_numpy(dtype=object)


def _levels(table: pd.DataFrame, options: dict[str, Any]) -> pd.DataFrame:
    strata = options.get("strata")
    columns = [strata] if isinstance(strata, str) else list(strata or [])
    if strata is not None and not columns:
        raise ValueError("strata is an empty list, expected at least one column of the inventory")
    return stratum_levels(table, columns, bins=options.get("bins", 4))


def _slabs(slabs: Any) -> int:
    if not isinstance(slabs, int) or isinstance(slabs, bool) or slabs < 1:
        raise ValueError(f"slabs is {slabs!r}, expected an integer of at least 1: slabs a series is cut in")
    return slabs


def _predefined(table: pd.DataFrame, column: str, n_folds: int) -> np.ndarray:
    """Integers 0..n_folds-1 are taken as they are; names are numbered in sorted order."""
    require_columns(table, [column], "fold_column")
    values = table[column]
    numbers = as_numbers(values)
    if numbers is not None:
        wrong = (numbers != np.floor(numbers)) | (numbers < 0) | (numbers >= n_folds)
        if wrong.any():
            raise ValueError(
                f"fold_column {column!r} holds {numbers[wrong][0]:g} for image {table['image_id'][wrong].iloc[0]!r}, "
                f"expected integers 0..{n_folds - 1}; correct the column or n_folds"
            )
        return numbers.astype(np.int64)
    codes, names = pd.factorize(values.astype(str).to_numpy(dtype=object), sort=True)
    if len(names) != n_folds:
        raise ValueError(
            f"fold_column {column!r} names {len(names)} folds ({list(names)[:6]}), expected n_folds = {n_folds}; set "
            "n_folds to what the column holds"
        )
    return codes.astype(np.int64)


def _check_buffer(buffer: Any, *, whole: bool = False) -> None:
    number = isinstance(buffer, int | float | np.number) and not isinstance(buffer, bool)
    if not number or not np.isfinite(buffer) or buffer < 0 or (whole and buffer != int(buffer)):
        raise ValueError(f"buffer is {buffer!r}, expected a{' whole' if whole else ''} number of at least 0")


def _stack_positions(table: pd.DataFrame, options: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Series `(N,)` of str and z `(N,)` float64 of every image."""
    series_column, z_column = options.get("series_column") or "stack", options.get("z_column") or "z"
    require_columns(table, [series_column, z_column], "buffer or slab")
    z = pd.to_numeric(table[z_column], errors="coerce").to_numpy(dtype=np.float64)
    if not np.isfinite(z).all():
        raise ValueError(
            f"column {z_column!r} holds {table[z_column][~np.isfinite(z)].iloc[0]!r}, expected numbers: the position "
            "of each image in its stack"
        )
    return table[series_column].astype(str).to_numpy(dtype=object), z


def _excluded(table: pd.DataFrame, fold: np.ndarray, n_folds: int, options: dict[str, Any]) -> list[str]:
    buffer = options.get("buffer")
    if buffer is None:
        return [""] * len(table)
    _check_buffer(buffer)
    if buffer == 0:
        return [""] * len(table)
    series, z = _stack_positions(table, options)
    near = near_validation(series, z, fold, float(buffer))
    for held_out in range(n_folds):
        if not any(f != held_out and held_out not in folds for f, folds in zip(fold, near, strict=True)):
            raise ValueError(
                f"a buffer of {buffer} leaves fold {held_out} no training image; use a smaller buffer, longer slabs or "
                "a grouping by slab"
            )
    return [folds_text(folds) for folds in near]
