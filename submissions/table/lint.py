"""Is a submission what the host wants? Columns, ids, every mask, sizes, the images: all findings at once.

Errors are what the host refuses or scores wrongly; warnings are what looks like a mistake.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from submissions.host.competition import Competition
from submissions.host.contract.answer_form import SubmissionFormat, placed
from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images
from submissions.host.sample import columns, read_sample, row_keys, sample_keys, submission_format
from submissions.rle.codec import Dialect, decode
from submissions.table.findings import Finding, errors, rows_findings
from submissions.table.lint_masks import extra_column_findings, read_masks
from submissions.table.plausible import alignment_findings, size_findings
from submissions.table.rows import Place, Shape3, answer_shape, assumed_shape, row_places
from submissions.table.submission_table import cell_masks

__all__ = ["Finding", "errors", "lint_submission"]

Keys = list[tuple[str, ...]]


def lint_submission(
    path: Path, competition: Competition, data: Path, *, training: pd.DataFrame | None = None
) -> list[Finding]:
    """Findings of a submission file against the contract, the sample and the test images under `data`.

    `training`: a table with height, width and area_<class> (the inventory, or `plausible.sample_training`),
    against which sizes are compared; without it they are not. An empty list: nothing was found.

    Raises FileNotFoundError for a missing file and ValueError where the contract takes no submission; what is
    wrong with the file itself is a finding.
    """
    form = submission_format(competition)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a submission, a table with {columns(form)}")
    findings = file_findings(path.stat().st_size, form)
    frame, found = _read(path)
    findings += found
    sample = read_sample(competition, data)
    if frame is None:
        return findings
    findings += _column_findings(frame, form, sample)
    if errors(findings) and any(name not in frame for name in columns(form)):
        return findings
    images, shapes, found = test_images(competition, data)
    findings += found
    places = row_places(competition, images, shapes)
    keys = row_keys(frame, form)
    named = sample_keys(sample, form, nothing=frame.empty and not images.ids)
    wanted = sorted(_expected(images, shapes, places)) if named is None else named
    findings += _id_findings(competition, keys, wanted, ordered=named is not None)
    rows = {image_id: images.row(image_id) for image_id in images.ids}
    read = read_masks(competition, frame, keys, places=places, shapes=shapes, rows_by_id=rows)
    findings += read.findings
    findings += extra_column_findings(competition, frame, keys, rows_by_id=rows, places=places, shapes=shapes)
    if form.rows != "label":
        if training is not None:
            findings += size_findings(competition, read, shapes, training)
        paint = partial(_painted, competition, frame[form.mask_column], _dialects(competition, keys, places, rows))
        findings += alignment_findings(competition, read, images, shapes, paint)
    return sorted(findings, key=lambda finding: finding.level != "error")


def _dialects(
    competition: Competition,
    keys: Keys,
    places: Mapping[tuple[str, ...], Place],
    rows: Mapping[str, Mapping[str, Any]],
) -> list[Dialect]:
    """How each row's mask is written: with its image's span, where it has one."""
    plain = competition.dialect
    if plain.span is None:
        return [plain] * len(keys)
    return [placed(plain, rows[places[key].image_id]) if key in places else plain for key in keys]


def _painted(
    competition: Competition,
    cells: pd.Series,
    dialects: Sequence[Dialect],
    rows: Sequence[int],
    shape: tuple[int, int],
) -> npt.NDArray[np.bool_]:
    """bool (H, W): the masks of these rows together."""
    form, mask = submission_format(competition), np.zeros(shape, bool)
    for row in rows:
        for text, _ in cell_masks(form, cells.iloc[row]):
            mask |= decode(text, shape, dialects[row])
    return mask


def file_findings(size: int, form: SubmissionFormat) -> list[Finding]:
    """An error where the answer has more bytes than the host takes."""
    if form.max_bytes is None or size <= form.max_bytes:
        return []
    return [Finding("error", None, f"the file has {size:,} bytes, but the host accepts at most {form.max_bytes:,}")]


def _read(path: Path) -> tuple[pd.DataFrame | None, list[Finding]]:
    """The table as text, and what is wrong with it as a CSV file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)
    except (
        pd.errors.EmptyDataError,
        pd.errors.ParserError,
        pd.errors.ParserWarning,
        UnicodeDecodeError,
    ) as error:
        return None, [Finding("error", None, f"not readable as a CSV table in UTF-8: {error}")]
    return frame, []


def _column_findings(frame: pd.DataFrame, form: SubmissionFormat, sample: pd.DataFrame | None) -> list[Finding]:
    expected = columns(form) if sample is None else [str(name) for name in sample.columns]
    has = [str(name) for name in frame.columns]
    missing = [name for name in dict.fromkeys([*columns(form), *expected]) if name not in has]
    if missing:
        return [Finding("error", None, f"no column {missing}; the file has {has}, expected {expected}")]
    extra = [name for name in has if name not in expected]
    if extra:
        return [Finding("error", None, f"columns {extra} are not in the sample, which has {expected}")]
    if has != expected:
        return [Finding("warning", None, f"columns are in the order {has}; the sample has {expected}")]
    return []


def test_images(competition: Competition, data: Path) -> tuple[ListedImages, dict[str, Shape3], list[Finding]]:
    """The test images at hand and their sizes; one that cannot be read is a warning and has no size."""
    listing, problems = list_images(competition, data, "test")
    findings = [Finding("warning", None, f"test images: {problem}") for problem in problems[:5]]
    if not len(listing):
        listing = pd.DataFrame(columns=["image_id", "path", "page", "stack", "z"])
    images, shapes = ListedImages(competition, data, listing), {}
    faults = []
    for image_id in images.ids:
        try:
            shapes[image_id] = answer_shape(images, image_id)
        except (ValueError, OSError) as error:
            faults.append(f"the size of {image_id} is not known, so its masks are not checked: {error}")
    findings += [Finding("warning", None, cause) for cause in faults[:5]]
    return images, shapes, findings


def _expected(images: ListedImages, shapes: Mapping[str, Shape3], places: Mapping[tuple[str, ...], Place]) -> Keys:
    """Keys of the rows of all test images, those of unknown size included: an empty mask is theirs."""
    if len(shapes) == len(images.ids):
        return list(places)
    every = {image_id: shapes.get(image_id) or assumed_shape(images, image_id, {}) for image_id in images.ids}
    return list(row_places(images.competition, images, every))


def _id_findings(competition: Competition, keys: Keys, wanted: Keys, *, ordered: bool) -> list[Finding]:
    """Rows missing, too many, twice, or out of the sample's order."""
    form = submission_format(competition)
    if not wanted:
        return [
            Finding(
                "warning",
                None,
                "there are no test images and no sample submission that names them, so ids are not checked",
            )
        ]
    origin = f"the sample {form.sample}" if ordered else "the test images"
    findings = rows_findings("error", "unknown ids", _extra(keys, set(wanted), origin))
    may_lack = competition.dialect.empty == "missing" and form.rows != "image"
    given = set(keys)
    lacking = [] if may_lack else [key for key in wanted if key not in given]
    if lacking:
        some = ", ".join("/".join(key) for key in lacking[:5])
        more = ", ..." if len(lacking) > 5 else ""
        findings.append(Finding("error", None, f"{len(lacking)} id(s) of {origin} have no row: {some}{more}"))
    if form.rows != "instance":
        findings += rows_findings("error", "ids that occur twice", _twice(keys))
    if ordered:
        findings += _order_findings(keys, wanted)
    return findings


def _extra(keys: Keys, wanted: set[tuple[str, ...]], origin: str) -> Iterator[tuple[int, str]]:
    for index, key in enumerate(keys):
        if key not in wanted:
            stripped = tuple(part.strip() for part in key)
            hint = "; without the blanks around it, it would be" if stripped in wanted else ""
            yield index, f"id {'/'.join(key)!r} is not in {origin}{hint}"


def _twice(keys: Keys) -> Iterator[tuple[int, str]]:
    first: dict[tuple[str, ...], int] = {}
    for index, key in enumerate(keys):
        before = first.setdefault(key, index)
        if before != index:
            yield index, f"id {'/'.join(key)} already has row {before + 1}"


def _order_findings(keys: Keys, wanted: Keys) -> list[Finding]:
    rank = {key: index for index, key in enumerate(wanted)}
    reached = -1
    for index, key in enumerate(keys):
        place = rank.get(key, reached)
        if place < reached:
            cause = f"id {'/'.join(key)} comes before the previous row's id in the sample: the order differs"
            return [Finding("warning", index + 1, cause)]
        reached = place
    return []


def summary(findings: Sequence[Finding]) -> str:
    """'2 errors, 1 warning'."""
    wrong = len(errors(findings))
    rest = len(findings) - wrong
    return f"{wrong} error{'s' * (wrong != 1)}, {rest} warning{'s' * (rest != 1)}"
