"""The inventory that stage 01 wrote, read back."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from submissions.images.faults import FAULTS
from submissions.images.measures import measured_columns

SOURCE = "source"
MEASURED = ("page", "z", "depth", "height", "width", "channels", "pixel_size_um", "void", "instances", "empty")


def read_inventory(folder: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """The inventory table and its thumbnails uint8 (N, 64, 64), row for row.

    What stage 01 measured are numbers, NaN where it measured nothing; what the host says is text as `list_images` gives
    it, '' where there is none.
    """
    path = folder / "inventory.csv"
    columns = pd.read_csv(path, nrows=0).columns
    known = {*MEASURED, *FAULTS}
    measured = [name for name in columns if name in known or name.startswith("area_")] + measured_columns(columns)
    table = pd.read_csv(
        path, dtype={name: str for name in columns if name not in measured}, keep_default_na=False,
        na_values={name: [""] for name in measured},
    )  # fmt: skip
    return table, np.load(folder / "thumbnails.npy", mmap_mode="r")


def inventory_digest(table: pd.DataFrame) -> str:
    """Hash of what images and masks are: ids, contents, sizes, areas, the host's columns; not of the order of rows.

    Nor of what images are like and where they come from: that follows from the contents, to the last digit or nearly.
    """
    follows = {SOURCE, *FAULTS, *measured_columns(table.columns)}
    ordered = table.sort_values(["split", "image_id"])[sorted(set(table.columns) - follows)]
    return hashlib.sha256(ordered.to_csv(index=False).encode()).hexdigest()[:16]
