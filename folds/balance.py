"""How alike the folds are: a table a stage can print, write or draw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from folds.blocks import training_share
from folds.buffers import folds_set
from folds.strata import SEPARATOR, stratum_levels

WHOLE = "all"


def area_columns(inventory: pd.DataFrame) -> list[str]:
    """Columns `area_<class>` of an inventory: foreground pixels of a class in an image; background is none."""
    return [column for column in inventory.columns if column.startswith("area_") and column != "area_background"]


def balance_levels(folds: pd.DataFrame, inventory: pd.DataFrame) -> pd.DataFrame:
    """Levels that balance is judged by, in the rows of `folds`.

    They are the parts of `stratum` where the folds are stratified; else the foreground area, binned; else no column.
    """
    rows = _inventory_rows(folds, inventory)
    if (folds["stratum"].astype(str) != "").any():
        parts = [str(text).split(SEPARATOR) for text in folds["stratum"]]
        return pd.DataFrame(parts, index=rows.index).add_prefix("stratum_")
    areas = area_columns(rows)
    if areas and "y0" not in folds.columns:
        return stratum_levels(rows.assign(foreground=rows[areas].sum(axis=1)), ["foreground"])
    return pd.DataFrame(index=rows.index)


def level_shares(folds: pd.DataFrame, inventory: pd.DataFrame) -> pd.DataFrame:
    """Share of each level in each fold and in the whole: rows (column, level), columns 0, 1, ..., 'all'.

    Levels as `balance_levels`; the shares of one column sum to 1 in every fold.
    """
    levels = balance_levels(folds, inventory)
    fold = folds["fold"].to_numpy()
    parts = []
    for column in levels.columns:
        values = levels[column].to_numpy(dtype=object)
        table = pd.crosstab(values, fold)
        table[WHOLE] = table.sum(axis=1)
        table.index = pd.MultiIndex.from_product([[column], table.index], names=["column", "level"])
        parts.append(table / table.sum(axis=0))
    if not parts:
        return pd.DataFrame(columns=[*sorted(set(fold.tolist())), WHOLE])
    return pd.concat(parts).rename_axis(columns=None)


def fold_balance(folds: pd.DataFrame, inventory: pd.DataFrame) -> pd.DataFrame:
    """One row a fold and a last row 'all', indexed by `fold`.

    images, share (of all images), groups; train: images that the fold's model trains on, excluded: images that it
    may not train on because of a buffer. Where the inventory has sizes: pixels. Where it has `area_<class>`: these
    (pixels), share_<class> (of the foreground of all classes) and empty (share of images without foreground). Of
    blocks, instead: blocks (their number), pixels, train_pixels (share of all pixels that are beyond the buffer).
    distance: how far the fold's shares of the levels (`balance_levels`) are from those of all images (total variation
    distance, 0 to 1, mean over the columns); NaN without levels. Raises ValueError for an image that the inventory
    does not have.
    """
    rows = _inventory_rows(folds, inventory)
    fold = folds["fold"].to_numpy()
    numbers = sorted(int(number) for number in np.unique(fold))
    shares = level_shares(folds, inventory)
    train = training_share(folds) if "y0" in folds.columns else {}
    table = []
    every: list[int | str] = [*numbers, WHOLE]
    for number in every:
        inside = np.ones(len(folds), dtype=bool) if number == WHOLE else fold == number
        row: dict[str, object] = {"fold": number, **_counts(folds, inside, number)}
        if "y0" in folds.columns:
            row |= {"blocks": int(inside.sum()), "pixels": int(_block_pixels(folds)[inside].sum())}
            row["train_pixels"] = train[number] if isinstance(number, int) else np.nan
        else:
            row |= _areas(rows[inside])
        row["distance"] = _distance(shares, number)
        table.append(row)
    return pd.DataFrame(table).set_index("fold")


def unjudged_classes(balance: pd.DataFrame, used: Sequence[int] = ()) -> list[str]:
    """Sentences about the classes that cross-validation cannot judge, from the table of `fold_balance`.

    They are those whose pixels all lie in one fold, so that its network never trains on them, and those that no fold in
    `used` (empty: every fold) holds out. Tables of blocks, which have no areas of classes, give none.
    """
    folds = balance.drop(index=WHOLE)
    said = []
    for column in area_columns(balance):
        name, inside = column.removeprefix("area_"), [fold for fold in folds.index if folds.loc[fold, column] > 0]
        if not inside:
            continue
        if used and not set(used) & set(inside):
            said.append(f"no fold in use ({', '.join(map(str, used))}) holds out a pixel of {name}: CV cannot judge it")
        if len(inside) == 1 and len(folds) > 1:
            said.append(
                f"{name} is in fold {inside[0]} alone: the network that is scored on it never trains on it, the others "
                "are never scored on it"
            )
    return said


def _distance(shares: pd.DataFrame, number: int | str) -> float:
    if not len(shares):
        return float("nan")
    apart = (shares[number] - shares[WHOLE]).abs().groupby(level="column").sum() / 2
    return float(apart.mean())


def _inventory_rows(folds: pd.DataFrame, inventory: pd.DataFrame) -> pd.DataFrame:
    """Rows of the inventory in the order of the fold table's."""
    known = inventory.assign(image_id=inventory["image_id"].astype(str)).set_index("image_id", drop=False)
    unknown = sorted(set(folds["image_id"].astype(str)) - set(known.index))
    if unknown:
        raise ValueError(
            f"{len(unknown)} images of the fold table are not in the inventory (first: {unknown[:3]}); use the "
            "inventory the folds were made from"
        )
    return known.loc[folds["image_id"].astype(str).tolist()].reset_index(drop=True)


def _counts(folds: pd.DataFrame, inside: np.ndarray, number: int | str) -> dict[str, object]:
    ids = folds["image_id"]
    held_out = [number != WHOLE and number in folds_set(text) for text in folds["excluded_from"]]
    excluded = int(np.sum(held_out))
    return {
        "images": int(ids[inside].nunique()),
        "share": float(inside.sum() / len(folds)),
        "groups": int(folds["group"][inside].nunique()),
        "train": int(ids[~inside].nunique()) - excluded if number != WHOLE else int(ids.nunique()),
        "excluded": excluded,
    }


def _block_pixels(folds: pd.DataFrame) -> np.ndarray:
    return ((folds["y1"] - folds["y0"]) * (folds["x1"] - folds["x0"])).to_numpy()


def _areas(rows: pd.DataFrame) -> dict[str, object]:
    row: dict[str, object] = {}
    if {"height", "width"} <= set(rows.columns):
        depth = rows["depth"] if "depth" in rows.columns else 1
        row["pixels"] = int((rows["height"] * rows["width"] * depth).sum())
    areas = area_columns(rows)
    if not areas:
        return row
    total = float(rows[areas].to_numpy(dtype=np.float64).sum())
    for column in areas:
        row[column] = float(rows[column].sum())
        row["share_" + column.removeprefix("area_")] = float(rows[column].sum()) / total if total else np.nan
    row["empty"] = float((rows[areas].sum(axis=1) == 0).mean())
    return row
