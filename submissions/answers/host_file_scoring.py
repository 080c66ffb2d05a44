"""A submission table scored by the host's own file: the whole, and its parts."""

from __future__ import annotations

import numpy as np
import pandas as pd

from submissions.answers.table_answer import TableReader
from submissions.host.competition import Competition
from submissions.host.listing import ListedImages
from submissions.host.sample import row_keys, submission_format
from submissions.host_metric.parts import scored_part
from submissions.table.host_tables import open_host_metric
from submissions.table.scoring import USAGE


def scored_by_host_file(
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
