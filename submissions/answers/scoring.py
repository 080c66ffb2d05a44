"""An answer against a solution of its form under the host's metric, over all units and over parts of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from submissions.answers.answer import Fields, Reader
from submissions.answers.kinds import answer_of
from submissions.answers.table_answer import TableReader
from submissions.host.competition import Competition
from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images
from submissions.host.problems import Problem, ProblemsError
from submissions.host.sample import row_keys, submission_format
from submissions.host.truth import Truth
from submissions.host_metric.parts import scored_part
from submissions.metrics import Metric
from submissions.table.host_tables import open_host_metric
from submissions.table.rows import answer_shape
from submissions.table.scoring import USAGE, Scored, Segmentation, by_unit, host_metric, score_units


@dataclass(frozen=True)
class ScoredParts:
    """A submission's score over all units, and over parts of them.

    parts: one row per part: `part` ('usage' or a column's name), `value`, `units`, `score`.
    """

    overall: Scored
    parts: pd.DataFrame


def score_submission(competition: Competition, submission: Path, solution: Path, data: Path) -> Scored:
    """The host's metric of a submission against a solution of its form, over the test images.

    Sizes come from the test images under `data`; rows of a solution table whose column `Usage` says 'Ignored' are
    left out. Raises ValueError where an id is missing, is of no test image, or does not decode, and ProblemsError with
    all images of the solution that cannot be read.
    """
    return score_parts(competition, submission, solution, data).overall


def score_parts(competition: Competition, submission: Path, solution: Path, data: Path) -> ScoredParts:
    """`score_submission`, and the scores of its parts: public and private where the solution has a column
    `Usage`, and each group and stratum that the solution or the test tables name.

    Where masks of instances overlap, the later one has the pixel. A host's own file scores the tables as they are, and
    rows of units are then those of its proxy. Raises as `score_submission`, and where one unit is both public and
    private.
    """
    listing, _ = list_images(competition, data, "test")
    images, answer = ListedImages(competition, data, listing), answer_of(competition)
    said, true = answer.open(submission, images), answer.open(solution, images)
    lacking = said.lacking(true)
    if lacking:
        raise ValueError(f"{submission}: {len(lacking)} id(s) of the solution are missing: {lacking[:3]} ...")
    wanted = true.image_ids
    if unreadable := list(_unreadable(images, wanted)):
        raise ProblemsError(unreadable)

    def read() -> Iterator[tuple[str, str, Segmentation, Truth]]:
        for image_id in images.in_reading_order(wanted):
            yield image_id, str(images.row(image_id)["stack"]), said.read(image_id), true.truth(image_id)

    metric = host_metric(competition.metric)
    scored = score_units(metric, competition, by_unit(competition, read()))
    units = _unit_attributes(competition, images, true)
    if competition.metric.file is not None:
        assert isinstance(said, TableReader) and isinstance(true, TableReader), "the contract was checked for it"
        score, parts = _scored_by_host_file(competition, said, true, images, units)
        return ScoredParts(Scored(scored.table, score), parts)
    return ScoredParts(scored, _part_scores(metric, scored.table, units))


def _unreadable(images: ListedImages, image_ids: Sequence[str]) -> Iterator[Problem]:
    """A problem for each image whose size, and so what its masks mean, is not known."""
    for image_id in image_ids:
        try:
            answer_shape(images, image_id)
        except (ValueError, OSError) as error:
            action = "mend the file, or leave the image out of the solution"
            yield Problem(str(images.row(image_id)["path"]), str(error), "an image to score", action)


def _unit_attributes(competition: Competition, images: ListedImages, solution: Reader) -> pd.DataFrame:
    """What divides units into parts, by unit: Usage, and the contract's group and strata; '' if unknown."""
    names = [name for name in (competition.group, *competition.strata) if name]
    values: dict[str, dict[str, set[str]]] = {}
    for image_id in solution.image_ids:
        listed = images.row(image_id)
        unit = str(listed["stack"]) if competition.metric.unit == "stack" else image_id
        known = values.setdefault(unit, {name: set() for name in (USAGE, *names)})
        rows: Sequence[Fields] = solution.attributes(image_id) or [{}]
        for row in rows:
            for name, seen in known.items():
                seen.add(str({**listed, **row}.get(name, "")).strip())
    for unit, known in values.items():
        if len(known[USAGE]) > 1:
            raise ValueError(f"{unit}: its rows in the solution have the Usage {sorted(known[USAGE])}; expected one")
    plain = {
        unit: {name: next(iter(seen)) if len(seen) == 1 else "" for name, seen in known.items()}
        for unit, known in values.items()
    }
    return pd.DataFrame.from_dict(plain, orient="index")


def _part_scores(metric: Metric, table: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for name in units:
        of_row = units[name].reindex(table["unit"]).to_numpy() if len(table) else np.array([])
        for value in sorted(set(of_row) - {""}):
            part = table[of_row == value]
            rows.append({"part": name, "value": value, "units": len(part), "score": metric.score(part)})
    return pd.DataFrame(rows, columns=["part", "value", "units", "score"])


def _scored_by_host_file(
    competition: Competition, said: TableReader, solution: TableReader, images: ListedImages, units: pd.DataFrame
) -> tuple[float, pd.DataFrame]:
    """The score of the host's own file over all rows, in the solution's order, and its parts by the `units`' columns.

    Raises HostMetricError where the whole has no score; a part without one has NaN.
    """
    form, stacked = submission_format(competition), competition.metric.unit == "stack"
    order = {key: index for index, key in enumerate(row_keys(solution.frame, form))}
    given = said.frame[[key in order for key in row_keys(said.frame, form)]]
    given = given.iloc[np.argsort([order[key] for key in row_keys(given, form)], kind="stable")].reset_index(drop=True)
    true = solution.frame.drop(columns=[USAGE], errors="ignore")
    names = []
    for frame in (true, given):
        ids = [said.places[key].image_id for key in row_keys(frame, form)]
        names.append(np.array([str(images.row(one)["stack"]) if stacked else one for one in ids], dtype=object))
    rows = []
    with open_host_metric(competition, true, given) as host:
        score = host.score()
        for name in units:
            for value in sorted(set(units[name]) - {""}):
                chosen = set(units.index[units[name] == value])
                both = [np.flatnonzero([one in chosen for one in part]) for part in names]
                rows.append({"part": name, "value": value, "units": len(chosen), "score": scored_part(host, *both)})
    return score, pd.DataFrame(rows, columns=["part", "value", "units", "score"])
