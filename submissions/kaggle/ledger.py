"""The ledger: one row per submission, with what cross-validation promised and what the leaderboard said.

Cells that are not known yet are blank. Columns that a team adds are kept.
"""

from __future__ import annotations

import fcntl
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from submissions.host.atomic import write_atomic

LEDGER = Path("submissions/ledger.csv")  # where it lies unless told otherwise
COLUMNS = [
    "time", "competition", "experiment", "git", "fingerprint", "cv", "cv_low", "cv_high", "predicted_low",
    "predicted_high", "forecast", "forecast_low", "forecast_high", "folds", "decision", "description", "submission",
    "public", "private",
]  # fmt: skip
FORECAST = ("forecast", "forecast_low", "forecast_high")  # blank in ledgers from before there was one
NUMBERS = ("cv", "cv_low", "cv_high", "predicted_low", "predicted_high", *FORECAST, "public", "private")


@dataclass(frozen=True)
class Entry:
    """One submission.

    cv_low, cv_high: confidence interval of CV; predicted_low, predicted_high: where a leaderboard of the test
    set's size may fall; forecast, forecast_low, forecast_high: what stage 07 expected of these very
    test images; folds: score by fold; submission: hash of what was handed in; public, private: the leaderboard's
    scores, None until they are known.
    """

    competition: str
    experiment: str
    submission: str
    git: str = ""
    fingerprint: str = ""
    cv: float | None = None
    cv_low: float | None = None
    cv_high: float | None = None
    predicted_low: float | None = None
    predicted_high: float | None = None
    forecast: float | None = None
    forecast_low: float | None = None
    forecast_high: float | None = None
    folds: Mapping[str, float] = field(default_factory=dict)
    decision: str = ""
    description: str = ""
    public: float | None = None
    private: float | None = None
    time: datetime | None = None


def read_ledger(path: Path) -> pd.DataFrame:
    """The ledger as text, blank cells ''; an empty table where there is no file.

    Raises ValueError where a file of that name is no ledger.
    """
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS, dtype=object)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: no readable ledger ({error}); mend the file, or name another one") from error
    missing = [name for name in COLUMNS if name not in table and name not in FORECAST]
    if missing:
        raise ValueError(f"{path}: not a ledger, it has no column {missing}; name another file")
    return table.assign(**{name: "" for name in FORECAST if name not in table})


def record(path: Path, entry: Entry) -> pd.DataFrame:
    """Put a submission into the ledger and return the table.

    The same submission of the same experiment again fills that row's blank cells and renews its scores;
    everything else is a new row. Other processes wait meanwhile; the file is whole at every moment.
    """
    given = _cells(entry)
    with _locked(path):
        table = read_ledger(path)
        keys = ["competition", "experiment", "submission"]
        same = (table[keys] == [given[name] for name in keys]).all(axis=1).to_numpy().nonzero()[0]
        if len(same):
            row = int(same[-1])
            for name, text in given.items():
                renewed = name in ("public", "private", "description")
                if text and (renewed or not table.loc[row, name]):
                    table.loc[row, name] = text
        else:
            table = pd.concat([table, pd.DataFrame([given])], ignore_index=True).fillna("")
        write_atomic(path, table.to_csv(index=False, lineterminator="\n"))
    return table


def enter_scores(
    path: Path, submission: str, *, public: float | None = None, private: float | None = None
) -> pd.DataFrame:
    """Write leaderboard scores into the rows of a submission, named by its hash or the beginning of it.

    Raises ValueError where no row, or more than one submission, has it.
    """
    with _locked(path):
        table = read_ledger(path)
        rows = table["submission"].str.startswith(submission) if submission else pd.Series(False, table.index)
        found = sorted(set(table.loc[rows, "submission"]))
        if len(found) != 1:
            said = f"{len(found)} submissions begin so: {found}" if found else "no submission has it"
            raise ValueError(f"submission {submission!r}: {said}; see the column 'submission' of {path}")
        for name, value in (("public", public), ("private", private)):
            if value is not None:
                table.loc[rows, name] = _text(value)
        write_atomic(path, table.to_csv(index=False, lineterminator="\n"))
    return table


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time, over processes; the lock goes with the process that holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _cells(entry: Entry) -> dict[str, str]:
    cells = {name: _text(getattr(entry, name)) for name in NUMBERS}
    moment = entry.time or datetime.now(UTC)
    plain = ("competition", "experiment", "git", "fingerprint", "decision", "description", "submission")
    cells |= {name: str(getattr(entry, name)) for name in plain}
    cells["time"] = moment.isoformat(timespec="seconds")
    cells["folds"] = json.dumps(dict(entry.folds)) if entry.folds else ""
    return {name: cells[name] for name in COLUMNS}


def _text(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else repr(float(value))


def numbers(table: pd.DataFrame) -> pd.DataFrame:
    """The number columns as float64, NaN where blank; ValueError that names a cell that is no number."""
    found = {}
    for name in NUMBERS:
        try:
            found[name] = pd.to_numeric(table[name].replace("", np.nan)).astype(np.float64)
        except ValueError as error:
            raise ValueError(f"ledger column {name!r}: {error}; expected numbers or blanks") from error
    return pd.DataFrame(found, index=table.index)
