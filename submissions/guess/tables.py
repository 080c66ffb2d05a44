"""Which of a host's tables are about which images, and which column holds runs? Guesses for a first contract."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from submissions.guess.layout.files import near_files
from submissions.guess.layout.words import SUFFIXES
from submissions.host.patterns import fill
from submissions.host.text_tables import read_text_table

RUNS = re.compile(r"\s*-?[0-9]+(\s+[0-9]+)*\s*|\[[0-9, ]+\]|eN[A-Za-z0-9+/]+=*|(MULTI)?POLYGON.*")
TABLE = re.compile(r".*\.(csv|tsv|csv\.gz|tsv\.gz|parquet|pq)", re.IGNORECASE)
SAMPLE = re.compile(r"sample|submission", re.IGNORECASE)
USUAL_SAMPLE = re.compile(
    r"(sample|example)[_ -]?(sub|subm|submission)s?(?![a-z])|submission[_ -]?(format|sample|example)", re.I
)
MOST_TABLES, LOOKED_AT, MATCHED = 30, 400, 2000
FIRST_CELLS = 3
CLASS_COLUMN = re.compile(r"label|class|categor|species|kind|type", re.IGNORECASE)
FEW_CLASSES, MOST_CLASSES = 50, 1000  # in a column of any name, in one that its name says to be of classes


@dataclass
class FoundTable:
    """A table, and how its rows name images.

    train, test: share of its ids that are training and test images. id: template over its columns; strip: an
    ending to take off. row_class: ids end in '_<class>'. parts: column -> pattern that takes its cells apart. runs:
    column of run-length texts or WKT; more_runs: others of that kind; class_column: column that tells the rows of one
    image apart. fault: why the table cannot be used, '' where it can.
    """

    file: str
    frame: pd.DataFrame
    id: str
    strip: str
    train: float
    test: float
    row_class: bool = False
    parts: dict[str, str] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    runs: str | None = None
    more_runs: list[str] = field(default_factory=list)
    class_column: str | None = None
    fault: str = ""

    @property
    def is_sample(self) -> bool:
        """Whether the file's name says that it is a sample submission, and its rows name no training images."""
        name = Path(self.file).name
        return bool(USUAL_SAMPLE.search(name)) or (bool(SAMPLE.search(name)) and self.train <= self.test)

    @property
    def source(self) -> dict[str, Any]:
        """The table as a contract names it."""
        named = {"file": self.file, "parts": self.parts, "id": self.id, "strip": self.strip}
        return {key: value for key, value in named.items() if value and value != "{id}"}

    def label_column(self, most: int) -> str | None:
        """The last column with 2 to `most` values that is not the id; None if there is none, or if ids repeat."""
        named_by = re.findall(r"{(\w+)}", self.id)
        names = [str(name) for name in self.frame.columns if str(name) not in named_by]
        fitting = [name for name in names if 2 <= self.frame[name].nunique() <= most]
        return fitting[-1] if fitting and not self.repeats else None

    @property
    def numbers(self) -> list[str]:
        """Columns that number the rows of each image."""
        return [str(name) for name in self.frame if _counts_rows(list(zip(self.ids, self.frame[name], strict=True)))]

    @property
    def repeats(self) -> bool:
        """Whether an image has several rows."""
        return len(set(self.ids)) < len(self.ids)


@dataclass(frozen=True, eq=False)
class ReadTable:
    """A table as it is read, without rows that repeat others; fault: why it cannot be, '' where it can."""

    file: str
    frame: pd.DataFrame
    fault: str = ""

    @property
    def may_be_sample(self) -> bool:
        """Whether the file's name says sample or submission."""
        return SAMPLE.search(Path(self.file).name) is not None


def read_tables(root: Path) -> list[ReadTable]:
    """Tables in the folder and up to two below it, once for all that ask what they name."""
    found = []
    paths = near_files(root, 2, TABLE)
    beside = Counter(path.parent for path in paths)
    paths.sort(key=lambda path: beside[path.parent] > MOST_TABLES)  # folders of a table an image come last
    for path in paths[:MOST_TABLES]:
        file = path.relative_to(root).as_posix()
        try:
            found.append(ReadTable(file, read_text_table(path).drop_duplicates(ignore_index=True)))
        except (ValueError, OSError) as error:
            found.append(ReadTable(file, pd.DataFrame(), " ".join(str(error).split())))
    return found


def find_tables(tables: Sequence[ReadTable], train: Sequence[str], test: Sequence[str]) -> list[FoundTable]:
    """The tables whose rows name images, and sample submissions; of others why they are not used."""
    found = []
    for read in tables:
        if read.fault:
            found.append(_unused(read.file, read.fault))
            continue
        frame, parts = (read.frame, {}) if read.may_be_sample else _with_names_in_paths(read.frame)
        table = _named(read.file, frame, set(train), set(test), parts)
        if table is None:
            if len(frame) and not read.may_be_sample:
                cells = ", ".join(map(repr, frame.iloc[0, :FIRST_CELLS]))
                fault = f"{read.file} names none of these images; its first row begins with {cells}"
                found.append(_unused(read.file, fault))
            continue
        named_by = re.findall(r"{(\w+)}", table.id)
        runs = _runs_columns(frame, named_by)
        table.runs, table.more_runs = next(iter(runs), None), runs[1:]
        table.class_column = _class_column(table, named_by)
        found.append(
            _taken_apart(table, named_by[0]) if table.row_class and table.runs and not table.is_sample else table
        )
    return found


def columns_of_tables(tables: Sequence[ReadTable]) -> list[set[str]]:
    """Some cells of each column of the tables, samples left out."""
    found = []
    for frame in (read.frame for read in tables if not read.may_be_sample):
        some = frame.iloc[:: max(1, len(frame) // MATCHED)]
        found += [set(some[name].str.strip()) - {""} for name in some]
    return found


def _unused(file: str, fault: str) -> FoundTable:
    return FoundTable(file, pd.DataFrame(), "{id}", "", 0.0, 0.0, fault=fault)


def _with_names_in_paths(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """The table, for each column of paths with a column <name>_stem of the files' names alone, and their patterns."""
    parts = {}
    for name in [str(one) for one in frame if re.fullmatch(r"\w+", str(one)) and len(frame)]:
        first = str(frame[name].iloc[0])
        if "/" not in first or first.startswith("/") or not first.lower().endswith(SUFFIXES):
            continue
        paths = [PurePosixPath(cell) for cell in frame[name]]
        endings = {path.suffix for path in paths}
        if {len(path.parts) for path in paths} != {len(paths[0].parts)} or "" in endings:
            continue
        words = [{path.parts[k] for path in paths} for k in range(len(paths[0].parts) - 1)]
        folders = [one.pop() if len(one) == 1 else f"{{{name}_folder{k}}}" for k, one in enumerate(words)]
        ending = endings.pop() if len(endings) == 1 else f".{{{name}_ending}}"
        parts[name] = "/".join([*folders, f"{{{name}_stem}}{ending}"])
        frame = frame.assign(**{f"{name}_stem": [path.stem for path in paths]})
    return frame, parts


def _taken_apart(table: FoundTable, column: str) -> FoundTable:
    """A table of runs whose ids end in '_<class>', with image and class as columns: 'a.jpg_Fish' is a and Fish."""
    labels = [cell.strip().rpartition("_")[2] for cell in table.frame[column]]
    words = sorted(set(labels))
    if len(words) < 2 or not all(re.fullmatch(r"[\w-]+", word) for word in words):
        return table
    frame = table.frame.assign(image=table.ids, label=labels)
    parts = {column: f"{{image}}{table.strip}_{{label:{'|'.join(words)}}}"}
    return replace(table, frame=frame, id="{image}", strip="", row_class=False, parts=parts, class_column="label")


def of_other_stacks(table: FoundTable, known: set[str]) -> list[str]:
    """Ids of rows about no image, where none of the stacks that they are slices of has one: kidney_3_dense_0002."""
    strange = sorted({*table.ids} - known)
    stacks, others = ({name.rpartition("_")[0] for name in names} for names in (strange, known))
    slices = all(re.fullmatch(r".+_[0-9]+", name) for name in strange)
    return strange if slices and not stacks & others else []


def samples_of(tables: Sequence[FoundTable]) -> list[FoundTable]:
    """Sample submissions, the likeliest first: a usual name, readable, ids of the test images."""
    found = [table for table in tables if table.is_sample]
    return sorted(found, key=lambda one: (not USUAL_SAMPLE.search(Path(one.file).name), bool(one.fault), -one.test))


def _named(file: str, frame: pd.DataFrame, train: set[str], test: set[str], parts: dict[str, str]) -> FoundTable | None:
    """The table with the id template that fits images best; a sample without any fits by its first column."""
    columns = [str(name) for name in frame.columns if re.fullmatch(r"\w+", str(name))]
    templates = [f"{{{name}}}" for name in columns]
    templates += [f"{{{a}}}_{{{b}}}" for a, b in itertools.pairwise(columns[:4])]
    best: FoundTable | None = None
    most = 0.0
    some = _records(frame.iloc[:: max(1, len(frame) // MATCHED)])
    for template in templates:
        cells = [fill(template, row, file).strip() for row in some]
        for strip, row_class in itertools.product(("", *_endings(cells)), (False, True)):
            names = {_identity(cell, strip, row_class) for cell in cells}
            if not names:
                continue
            in_train, in_test = (len(names & known) / len(names) for known in (train, test))
            covered = max(len(names & known) / max(1, len(known)) for known in (train, test))
            if in_train + in_test > 0.5 and in_train + in_test + covered > most:
                most = in_train + in_test + covered
                best = FoundTable(file, frame, template, strip, in_train, in_test, row_class=row_class, parts=parts)
    if best is not None:
        cells = [fill(best.id, row, file).strip() for row in _records(frame)]
        best.ids = [_identity(cell, best.strip, best.row_class) for cell in cells]
    if best is None and columns and SAMPLE.search(Path(file).name):
        return FoundTable(file, frame, templates[0], "", 0.0, 0.0, ids=frame[columns[0]].tolist())
    return best


def _records(frame: pd.DataFrame) -> list[dict[str, str]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _endings(cells: Sequence[str]) -> list[str]:
    """File endings that the cells have, before a '_<class>' too."""
    some = cells[:LOOKED_AT]
    return [suffix for suffix in SUFFIXES if some and all(re.search(re.escape(suffix) + r"(_\w+)?\Z", c) for c in some)]


def _identity(cell: str, strip: str, row_class: bool) -> str:
    name = cell.rpartition("_")[0] if row_class else cell
    return name.removesuffix(strip) if strip else name


def _runs_columns(frame: pd.DataFrame, named_by: Sequence[str]) -> list[str]:
    return [str(name) for name in frame.columns if str(name) not in named_by and holds_runs(frame[name])]


def holds_runs(column: pd.Series) -> bool:
    """Whether the filled cells are runs, most of them of several numbers."""
    cells = [cell for cell in column.str.strip() if cell][:LOOKED_AT]
    if not cells or not all(RUNS.fullmatch(cell) for cell in cells):
        return False
    return 2 * sum(not cell.lstrip("-").isdigit() for cell in cells) > len(cells)


def _class_column(table: FoundTable, named_by: Sequence[str]) -> str | None:
    """The column of classes of a table with several rows an image: one whose name says so, or that no image repeats.

    It says something of every mask, and numbers no rows. One with the same word in all rows of an image is of images.
    """
    if not table.repeats or table.row_class:
        return None
    drawn = [True] * len(table.ids) if table.runs is None else list(table.frame[table.runs].str.strip() != "")
    found = None
    for name in (str(one) for one in table.frame if str(one) not in (*named_by, table.runs)):
        pairs = list(zip(table.ids, table.frame[name], strict=True))
        said = {word for (_, word), mask in zip(pairs, drawn, strict=True) if mask}
        if len(said) > MOST_CLASSES or "" in said or _counts_rows(pairs):
            continue
        if CLASS_COLUMN.search(name) and len(set(pairs)) > len(set(table.ids)):
            return name
        if found is None and len(set(pairs)) == len(pairs) and len(set(table.frame[name])) <= FEW_CLASSES:
            found = name
    return found


def _counts_rows(pairs: Sequence[tuple[str, str]]) -> bool:
    """Whether values number the rows of an image, 0, 1, 2, of which images have more or fewer; -1 where it has none."""
    by_image: dict[str, set[str]] = {}
    for image, value in pairs:
        by_image.setdefault(image, set()).add(value)
    counted = [values for values in by_image.values() if values != {"-1"}]
    sizes = {len(values) for values in counted}
    numbered = any(all(v == {str(k + first) for k in range(len(v))} for v in counted) for first in (0, 1))
    return numbered and (len(sizes) > 1 or len(counted) < len(by_image))
