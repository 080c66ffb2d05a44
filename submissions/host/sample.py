"""The host's sample submission: the columns of the table, the ids it names, and tables of that form read as text."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from submissions.host.competition import Competition
from submissions.host.contract.answer_form import SubmissionFormat
from submissions.host.text_tables import UTF16, first_bytes, lacking_columns, likely_separator, read_text_table
from submissions.images.opening import path_inside


def submission_format(competition: Competition) -> SubmissionFormat:
    """The contract's submission section; ValueError where the host takes none."""
    if competition.submission is None:
        raise ValueError(
            f"{competition.name}: the contract has no section `submission`, so no submission can be written"
        )
    return competition.submission


def columns(form: SubmissionFormat) -> list[str]:
    """Column names of the table, in order: id, class, extra ones, mask; of points those that the contract names."""
    if form.kind == "points":
        return list(form.points.columns)
    names = [
        form.id_column,
        *([form.class_column] if form.class_column else []),
        *form.extra,
        form.mask_column,
    ]
    return list(dict.fromkeys(names))


def read_sample(competition: Competition, data: Path) -> pd.DataFrame | None:
    """The host's sample submission, None where there is no such file, or the answer has no table."""
    form = submission_format(competition)
    if not form.has_table or not form.sample:
        return None
    path = path_inside(data, form.sample)
    return read_submission(path, competition) if path.is_file() else None


def read_submission(path: Path, competition: Competition) -> pd.DataFrame:
    """A submission, sample or solution as text, comma-separated UTF-8 as it is written; blank cells are ''.

    Raises FileNotFoundError, or ValueError that names the file, what is wrong with it and the cure.
    """
    form = submission_format(competition)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a table with the columns {columns(form)}")
    head = first_bytes(path)
    if head.startswith(UTF16):
        raise ValueError(f"{path}: encoded as UTF-16; save it as UTF-8")
    frame = read_text_table(path, separator=",")
    missing = [name for name in columns(form) if name not in frame]
    if not missing:
        return frame
    separator = likely_separator(str(frame.columns[0]))
    if len(frame.columns) == 1 and separator != ",":
        raise ValueError(f"{path}: columns are separated by {separator!r}, expected ','; save it with commas")
    raise ValueError(f"{path}: {lacking_columns(missing, frame)}")


def row_keys(frame: pd.DataFrame, form: SubmissionFormat) -> list[tuple[str, ...]]:
    """What identifies a row: the id, together with the class where there is a row per id and class."""
    names = [form.id_column, *([form.class_column] if form.class_column else [])]
    return list(zip(*(frame[name] for name in names), strict=True))


def sample_keys(
    sample: pd.DataFrame | None, form: SubmissionFormat, *, nothing: bool = False
) -> list[tuple[str, ...]] | None:
    """What identifies the sample's rows, each once; None where it says nothing of rows.

    There is no sample, or a code competition shows its header alone, or an example of rows while its test images are
    hidden (nothing: neither a test image nor a row of an answer is there).
    """
    if sample is None or (form.code_competition and (nothing or sample.empty)):
        return None
    return list(dict.fromkeys(row_keys(sample, form)))
