"""Tables as hosts and spreadsheets write them, read as text: any separator, UTF-8 or UTF-16, gzip, Parquet."""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence
from importlib import util
from pathlib import Path
from typing import Any

import pandas as pd

from submissions.images.damaged import naming

SEPARATORS = (",", ";", "\t", "|")
WHOLE = re.compile(r"-?[0-9]+\.0")
UTF16 = (b"\xff\xfe", b"\xfe\xff")
PARQUET = (".parquet", ".pq")
PARQUET_READERS = ("pyarrow", "fastparquet")


def read_text_table(path: Path, *, separator: str | None = None, columns: list[str] | None = None) -> pd.DataFrame:
    """A table as text, '' in blank cells; `columns` are its names where the file has no header.

    Whole numbers that pandas wrote as floats because cells of their column are blank are whole again: '7', not '7.0'.
    The separator is the one that the first line shows most often where none is given. Raises FileNotFoundError, or
    ValueError that names the file, what is wrong with it and the cure.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a table")
    if path.suffix.lower() in PARQUET:
        return _parquet(path)
    head = first_bytes(path)
    if not head.strip():
        raise ValueError(f"{path}: the file is empty, expected a table with a header; copy it again from the host")
    encoding = "utf-16" if head.startswith(UTF16) else "utf-8-sig"
    first = head.decode(encoding, errors="replace").splitlines()[0]
    options: dict[str, Any] = {"header": None if columns else "infer", "names": columns}
    try:
        frame = pd.read_csv(
            path,
            sep=separator or likely_separator(first),
            dtype=str,
            keep_default_na=False,
            encoding=encoding,
            **options,
        )
        return _with_whole_numbers(_unindexed(frame, named=columns is not None))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: byte {error.start} is not UTF-8 ({error.reason}); save the table as UTF-8"
        ) from error
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path}: not readable as a table: {error}") from error


def first_bytes(path: Path, size: int = 1 << 16) -> bytes:
    """The first bytes of a table, unpacked where it is gzip; ValueError where that is damaged."""
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as stream:
            return stream.read(size)
    except (OSError, EOFError) as error:
        raise ValueError(f"{path}: damaged gzip file ({error}); copy it again from the host") from error


def lacking_columns(missing: Sequence[str], frame: pd.DataFrame) -> str:
    """The sentence about columns that a table does not have, with those that differ in capitals or blanks only."""
    alike = {str(name).strip().lower(): str(name) for name in frame.columns}
    near = [f"{alike[name.strip().lower()]!r} for {name!r}" for name in missing if name.strip().lower() in alike]
    hint = f"; capitals and blanks count: write {', '.join(near)}" if near else ""
    return f"no column {list(missing)}; it has {list(frame.columns)}{hint}"


def likely_separator(line: str) -> str:
    """The separator that a header shows most often outside of quotes; ',' where it shows none."""
    plain = "".join(line.split('"')[::2])
    return max(SEPARATORS, key=lambda one: (plain.count(one), -SEPARATORS.index(one)))


def _unindexed(frame: pd.DataFrame, *, named: bool) -> pd.DataFrame:
    """The table where its rows have more cells than its header: behind the last separator, or a row's name before.

    named: the header was not in the file; ValueError where its names are too few.
    """
    if isinstance(frame.index, pd.RangeIndex):
        return frame
    names, cells = list(frame.columns), frame.reset_index()
    if (cells.iloc[:, len(names) :] == "").all(axis=None):
        return cells.iloc[:, : len(names)].set_axis(names, axis=1)
    if named:
        raise ValueError(f"rows of {cells.shape[1]} cells, and {len(names)} names: {names}")
    return frame.reset_index(drop=True)


def _parquet(path: Path) -> pd.DataFrame:
    if not any(util.find_spec(name) for name in PARQUET_READERS):
        raise ValueError(
            f"{path}: Parquet needs fastparquet or pyarrow, and neither is installed: pip install "
            "'segmentation-pipeline[parquet]', or save it as CSV"
        )
    with naming(path):
        frame = pd.read_parquet(path)
    frame.columns = [str(name) for name in frame.columns]
    return _with_whole_numbers(frame.astype(object).where(frame.notna(), "").map(_cell))


def _cell(value: object) -> str:
    """A value as CSV would have it; bytes are text."""
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _with_whole_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    for name in [str(one) for one in frame]:
        filled = frame[name] != ""
        if filled.all():
            continue
        cells = frame.loc[filled, name]
        if WHOLE.fullmatch("".join(cells.head(1))) and cells.str.fullmatch(WHOLE).all():
            frame[name] = frame[name].str.removesuffix(".0")
    return frame
