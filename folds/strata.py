"""Columns of the inventory as levels to stratify by: numbers are binned, the rest is taken as it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

SEPARATOR = " | "


def require_columns(inventory: pd.DataFrame, columns: Sequence[str], purpose: str) -> None:
    """Raise ValueError where a column is missing or has missing or blank values, naming the first images concerned."""
    for column in columns:
        if column not in inventory.columns:
            raise ValueError(
                f"{purpose}: found no column {column!r}, expected one of {list(inventory.columns)}; "
                "name an existing column or add it to the inventory"
            )
        missing = (inventory[column].isna() | inventory[column].eq("")).to_numpy()
        if missing.any():
            ids = inventory.loc[missing, "image_id"].astype(str).tolist()
            raise ValueError(
                f"{purpose}: column {column!r} is missing for {int(missing.sum())} of {len(inventory)} images (first: "
                f"{ids[:3]}), expected a value for every image; fill it in or drop those images"
            )


def as_numbers(series: pd.Series) -> np.ndarray | None:
    """The column as float64 `(N,)` where all of it is numbers, written as text or not; None of anything else.

    Booleans and categories are no numbers, nor is text such as 'inf'.
    """
    if pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_bool_dtype(series):
        return series.to_numpy(dtype=np.float64)
    if isinstance(series.dtype, pd.CategoricalDtype):
        return None
    text = series.astype(str).to_numpy(dtype=object)
    numbers = np.asarray(pd.to_numeric(text, errors="coerce"), dtype=np.float64)
    return numbers if np.isfinite(numbers).all() else None


def bin_numeric(values: np.ndarray, bins: int) -> np.ndarray:
    """Names of quantile bins for `(N,)` numbers: exact zero is a level of its own, the rest is cut in `bins`.

    Few distinct values (at most `bins`, zero apart) are kept as they are. Equal numbers always share a bin.
    Returns an object array of str, such as '0', 'q1', 'q2'.
    """
    values = np.asarray(values, dtype=np.float64)
    levels = np.full(len(values), "0", dtype=object)
    rest = values != 0
    distinct = np.unique(values[rest])
    if len(distinct) <= bins:
        levels[rest] = [f"{v:g}" for v in values[rest]]
        return levels
    edges = np.unique(np.quantile(values[rest], np.linspace(0, 1, bins + 1)[1:-1], method="higher"))
    levels[rest] = [f"q{i + 1}" for i in np.searchsorted(edges, values[rest], side="left")]
    return levels


def stratum_levels(inventory: pd.DataFrame, columns: Sequence[str], *, bins: int = 4) -> pd.DataFrame:
    """Level of every image in every column, as str, in the order of the inventory.

    Booleans, names and categories are levels already; numbers (`as_numbers`) go through `bin_numeric`. Raises
    ValueError for a missing column, a missing or infinite value, or fewer than 2 bins.
    """
    if not isinstance(bins, int) or isinstance(bins, bool) or bins < 2:
        raise ValueError(f"bins is {bins!r}, expected an integer of at least 2")
    require_columns(inventory, columns, "strata")
    levels = {}
    for column in columns:
        series = inventory[column]
        values = as_numbers(series)
        if values is not None:
            if not np.isfinite(values).all():
                raise ValueError(f"strata: column {column!r} holds infinite numbers, expected finite ones; clip them")
            levels[column] = bin_numeric(values, bins)
        else:
            levels[column] = series.astype(str).to_numpy(dtype=object)
    return pd.DataFrame(levels, index=inventory.index)


def joined(levels: pd.DataFrame) -> np.ndarray:
    """One text a row out of several level columns: what the `stratum` column of a fold table holds."""
    return np.array([SEPARATOR.join(row) for row in levels.itertuples(index=False)], dtype=object)


def indicator_matrix(levels: pd.DataFrame) -> np.ndarray:
    """`(N, L)` int64 zeros and ones, a column for every level of every column."""
    parts = []
    for column in levels.columns:
        codes, names = pd.factorize(levels[column].to_numpy(dtype=object), sort=True)
        parts.append(np.eye(len(names), dtype=np.int64)[codes])
    return np.concatenate(parts, axis=1)
