"""Is a table of points what the host wants? Columns, volumes, classes, places inside their volume, how many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from submissions.answers.point_answer import PointAnswer, PointRow, Volume
from submissions.host.listed_images import ListedImages
from submissions.host.sample import read_submission
from submissions.table.findings import SHOWN, Finding, rows_findings
from submissions.table.lint import file_findings, test_images
from submissions.table.rows import Shape3


def lint_points(answer: PointAnswer, path: Path, data: Path, training: pd.DataFrame | None) -> list[Finding]:
    """Findings of a table of points, errors first. FileNotFoundError where there is no such file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a table with the columns {[*answer.table.columns]}")
    try:
        frame = read_submission(path, answer.competition)
        findings = _order_findings(answer, frame, data)
    except ValueError as error:
        return [Finding("error", None, str(error))]
    images, shapes, found = test_images(answer.competition, data)
    findings += [*file_findings(path.stat().st_size, answer.form), *found]
    rows = list(answer.parsed(frame))
    findings += rows_findings("error", "rows with faults", _faults(answer, rows, images, shapes))
    findings += _count_findings(answer, frame, rows, images)
    if all(row.point is None for row in rows):
        findings.append(Finding("warning", None, "not one point in any volume; check the threshold"))
    return sorted(findings, key=lambda finding: finding.level != "error")


def _order_findings(answer: PointAnswer, frame: pd.DataFrame, data: Path) -> list[Finding]:
    """A warning where the columns are not those of the sample, or of the contract, in their order."""
    sample = answer.sample(data)
    expected = list(answer.table.columns) if sample is None else list(sample.columns)
    if list(frame.columns) == expected:
        return []
    return [Finding("warning", None, f"the file has the columns {list(frame.columns)}, expected {expected}")]


def _bounds(answer: PointAnswer, images: ListedImages, shapes: Mapping[str, Shape3]) -> dict[Volume, np.ndarray]:
    """First and last voxel (z, y, x) of each volume, none where its size is not known."""
    found: dict[Volume, list[np.ndarray]] = {answer.volume(images.row(name)): [] for name in images.ids}
    for name, shape in shapes.items():
        first = np.array([answer.first(images.row(name)), 0, 0])
        found[answer.volume(images.row(name))] += [first, first + shape - 1]
    return {
        key: np.stack([np.min(ends, axis=0), np.max(ends, axis=0)]) if ends else np.empty((0, 3))
        for key, ends in found.items()
    }


def _faults(
    answer: PointAnswer, rows: Sequence[PointRow], images: ListedImages, shapes: Mapping[str, Shape3]
) -> Iterator[tuple[int, str]]:
    """Rows of no test volume, that cannot be read, or whose place lies outside."""
    bounds = _bounds(answer, images, shapes)
    for index, row in enumerate(rows):
        if row.volume not in bounds:
            yield index, f"volume {'/'.join(row.volume)!r} is not among the test images"
        elif row.fault:
            yield index, row.fault
        elif row.point is not None and len(ends := bounds[row.volume]):
            place = np.array(row.point[1])
            if (place < ends[0] - 0.5).any() or (place > ends[1] + 0.5).any():
                said, last = (np.round(one * answer.unit, 2).tolist() for one in (place, ends[1]))
                yield index, f"{'/'.join(row.volume)}: place {said} (z, y, x) is outside; the last voxel is at {last}"


def _count_findings(
    answer: PointAnswer, frame: pd.DataFrame, rows: Sequence[PointRow], images: ListedImages
) -> list[Finding]:
    """Numbers that occur twice, volumes without a row that must have one, and points beyond the most."""
    number, most, found = answer.table.column_of("number"), answer.table.most, list[Finding]()
    if number is not None:
        twice = np.flatnonzero(frame[number].duplicated())
        found += rows_findings("error", "numbers twice", ((int(i), f"its {number} occurs before") for i in twice))
    if answer.table.none is not None:
        there, wanted = {row.volume for row in rows}, dict.fromkeys(answer.volume(images.row(n)) for n in images.ids)
        lacking = ["/".join(key) for key in wanted if key not in there]
        cause = f"{len(lacking)} volume(s) have no row: {', '.join(lacking[:SHOWN])}"
        found += [Finding("error", None, cause)] if lacking else []
    if most is not None:
        keys = pd.Series([repr((row.volume, row.point and row.point[0])) for row in rows], dtype=object)
        over = np.flatnonzero(keys.groupby(keys).cumcount() >= most)
        cause = f"the host takes {most} point(s) of a volume and class"
        found += rows_findings("error", "points too many", ((int(index), cause) for index in over))
    return found
