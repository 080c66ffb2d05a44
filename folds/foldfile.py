"""The frozen fold file: written whole or not at all, read with suspicion, known by its hash."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pandas as pd

from folds.blocks import BLOCK_COLUMNS
from folds.buffers import folds_set, folds_text
from folds.splitters import FOLD_COLUMNS, check_folds

SOURCE = "source"


def table_columns(folds: pd.DataFrame) -> list[str]:
    """The columns of a fold table in their order; block columns and `source` only where it has them."""
    source = (SOURCE,) if SOURCE in folds.columns else ()
    return [*FOLD_COLUMNS, *source, *(BLOCK_COLUMNS if "y0" in folds.columns else ())]


def folds_hash(folds: pd.DataFrame) -> str:
    """16 hexadecimal digits (of SHA-256) that change with any value of the table, not with its row order."""
    columns = table_columns(folds)
    numbers = {"fold", *BLOCK_COLUMNS}
    rows = [
        json.dumps([int(v) if c in numbers else str(v) for c, v in zip(columns, row, strict=True)])
        for row in folds[columns].itertuples(index=False)
    ]
    text = json.dumps(columns) + "\n" + "\n".join(sorted(rows))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def write_folds(folds: pd.DataFrame, path: Path) -> str:
    """Write the table as CSV (UTF-8, '\\n'), aside first and then renamed; returns `folds_hash`.

    Raises ValueError for a table without the columns `make_folds` gives.
    """
    missing = [column for column in table_columns(folds) if column not in folds.columns]
    if missing:
        raise ValueError(f"the fold table lacks columns {missing}, expected those of make_folds")
    order = [column for column in ("image_id", "y0", "x0") if column in folds.columns]
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")  # two processes may freeze the same table at once
    with partial.open("w", encoding="utf-8", newline="") as file:
        folds.sort_values(order)[table_columns(folds)].to_csv(file, index=False, lineterminator="\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    return folds_hash(folds)


def read_folds(path: Path, inventory: pd.DataFrame | None = None) -> pd.DataFrame:
    """A fold table from a CSV: ours, or a team's with at least the columns image_id and fold.

    Missing group, stratum and excluded_from are filled in (the image's id, '', ''); `source` is kept where it is
    given, other columns are dropped. With an inventory, the two must name the same images. Raises FileNotFoundError,
    and ValueError for a missing column, a repeated, missing or extra image_id, a fold that is no number from 0 on, an
    empty fold, a group on two sides, an `excluded_from` that names no other fold, or incomplete block columns.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no fold file at {path}; make one with stage 02 or correct the path")
    raw = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    for column in ("image_id", "fold"):
        if column not in raw.columns:
            raise ValueError(f"{path}: found columns {list(raw.columns)}, expected {column!r} too; add it")
    blocks = _block_columns(raw, path)
    table = pd.DataFrame({"image_id": raw["image_id"], "fold": _whole_numbers(raw["fold"], "fold", path)})
    table["group"] = raw["group"] if "group" in raw.columns else raw["image_id"]
    for column in ("stratum", "excluded_from"):
        table[column] = raw[column] if column in raw.columns else ""
    if SOURCE in raw.columns:
        table[SOURCE] = raw[SOURCE]
    for column in blocks:
        table[column] = _whole_numbers(raw[column], column, path)
    keys = [column for column in ("image_id", "y0", "x0") if column in table.columns]
    repeated = table[table.duplicated(keys)]
    if len(repeated):
        raise ValueError(
            f"{path}: image_id {repeated['image_id'].iloc[0]!r} and {len(repeated) - 1} more are repeated, expected a "
            "row an image; drop the repeated rows"
        )
    if inventory is not None:
        _same_images(table["image_id"], inventory["image_id"], path)
    n_folds = max(int(table["fold"].max()) + 1, 2) if len(table) else 2
    check_folds(table["image_id"].to_numpy(), table["fold"].to_numpy(), table["group"].to_numpy(), n_folds, str(path))
    table["excluded_from"] = _checked_exclusions(table, n_folds, path)
    return table.sort_values(keys).reset_index(drop=True)


def _block_columns(raw: pd.DataFrame, path: Path) -> list[str]:
    present = [column for column in BLOCK_COLUMNS if column in raw.columns]
    if present and len(present) < len(BLOCK_COLUMNS):
        lacking = sorted(set(BLOCK_COLUMNS) - set(present))
        raise ValueError(f"{path}: found block columns {present} without {lacking}, expected all or none")
    return present


def _whole_numbers(values: pd.Series, column: str, path: Path) -> pd.Series:
    wrong = ~values.str.fullmatch(r"\d+")
    if wrong.any():
        raise ValueError(
            f"{path}: column {column!r} holds {values[wrong].iloc[0]!r} (row {int(wrong.to_numpy().argmax()) + 2}), "
            "expected whole numbers from 0 on"
        )
    return values.astype("int64")


def _same_images(found: pd.Series, expected: pd.Series, path: Path) -> None:
    in_file, in_inventory = set(found), set(expected.astype(str))
    missing, extra = sorted(in_inventory - in_file), sorted(in_file - in_inventory)
    if missing or extra:
        raise ValueError(
            f"{path}: {len(missing)} images of the inventory have no fold (first: {missing[:3]}), {len(extra)} are not "
            f"in the inventory (first: {extra[:3]}); expected the same {len(in_inventory)} images in both: make the "
            "folds anew or use the file that belongs to this data"
        )


def _checked_exclusions(table: pd.DataFrame, n_folds: int, path: Path) -> list[str]:
    texts = []
    for image_id, fold, text in zip(table["image_id"], table["fold"], table["excluded_from"], strict=True):
        try:
            folds = folds_set(text)
        except ValueError:
            folds = {-1}
        if not folds <= set(range(n_folds)) - {fold}:
            raise ValueError(
                f"{path}: excluded_from of image {image_id!r} (fold {fold}) is {text!r}, expected folds other than its "
                f"own out of 0..{n_folds - 1}, joined by ';'"
            )
        texts.append(folds_text(folds))
    return texts
