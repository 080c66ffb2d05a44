"""What only the test images have: sizes, types, values of the host's columns that training does not show."""

from __future__ import annotations

import numpy as np
import pandas as pd

from folds.strata import as_numbers
from submissions.images.measures import measured_columns

MANY = 20  # values of a column in training beyond which its range counts, not each value
SHOWN = 5
UNIQUE = 0.9  # share of different values beyond which a column names single images
FIRST = ("size", "depth", "channels", "dtype", "pixel_size_um")
INTERNAL = {
    "image_id", "split", "path", "page", "stack", "z", "series", "content_hash", "mask_hash", "height", "width",
    "void", "instances", "empty", "source",
}  # fmt: skip


def only_in_test(training: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """One row per property that training does not show: property, images (of test), values (the first few), training.

    Numbers with more than 20 different values in training, and sizes and depths that vary from image to image, count
    where they lie outside of its range; anything else where the value is not among training's. Properties are size,
    depth, channels, dtype, pixel size, and the columns of the host's tables that both sets fill in; a column that names
    single images is none.
    """
    rows = []
    for name, ours, theirs in _properties(training, test):
        strange, shown = _strange(ours, theirs)
        if strange.any():
            values = sorted(set(theirs[strange].astype(str)))
            more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
            rows.append((name, int(strange.sum()), ", ".join(values[:SHOWN]) + more, shown))
    return pd.DataFrame(rows, columns=["property", "images", "values", "training"])


def _properties(training: pd.DataFrame, test: pd.DataFrame) -> list[tuple[str, pd.Series, pd.Series]]:
    """Name, values in training and in test; without those that one of the sets leaves blank."""
    tables = [
        table.assign(size=table["height"].astype(int).astype(str) + " x " + table["width"].astype(int).astype(str))
        for table in (training, test)
    ]
    own = {*INTERNAL, *FIRST, *measured_columns(training.columns)}
    own |= {str(name) for name in training if name not in own and names_single_images(training, str(name))}
    names = [*FIRST, *(name for name in training if name not in own and not str(name).startswith("area_"))]
    found = []
    for name in names:
        if all(name in table and not (table[name].isna() | table[name].astype(str).eq("")).any() for table in tables):
            found.append((str(name), tables[0][name], tables[1][name]))
    return found


def names_single_images(table: pd.DataFrame, column: str) -> bool:
    """Whether (nearly) every image has a value of its own that is no measure: a file name, a part of the id."""
    values = table[column].astype(str)
    if values.nunique() <= UNIQUE * len(values):
        return False
    if as_numbers(table[column]) is None or "image_id" not in table:
        return True
    return all(value in name for value, name in zip(values, table["image_id"].astype(str), strict=True))


def _strange(ours: pd.Series, theirs: pd.Series) -> tuple[np.ndarray, str]:
    """Which values of test training does not show, bool (N,), and what it shows in words."""
    numbers, asked = as_numbers(ours), as_numbers(theirs)
    known = ours.astype(str).value_counts()
    many, single = len(known) > MANY, len(known) > len(ours) / 2  # single: values vary from image to image
    varies = single and ours.name in ("size", "depth")
    if numbers is not None and asked is not None and (varies or len(np.unique(numbers)) > MANY):
        low, high = numbers.min(), numbers.max()
        return (asked < low) | (asked > high), f"{low:g} to {high:g}"
    if many and single and ours.name != "size":
        return np.zeros(len(theirs), bool), ""  # names of single images say nothing
    if ours.name == "size" and (varies or many):
        return _strange_sizes(ours, theirs)
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return ~theirs.astype(str).isin(known.index).to_numpy(), ", ".join(map(str, known.index[:SHOWN])) + more


def _strange_sizes(ours: pd.Series, theirs: pd.Series) -> tuple[np.ndarray, str]:
    """Where sizes vary from image to image: those larger or smaller than any of training, in pixels."""
    areas = [side.str.split(" x ").map(lambda pair: int(pair[0]) * int(pair[1])) for side in (ours, theirs)]
    low, high = areas[0].min(), areas[0].max()
    return ((areas[1] < low) | (areas[1] > high)).to_numpy(), f"{low} to {high} pixels, {ours.nunique()} sizes"
