"""Would other maps or other features forecast better, and how near could any come?

    python benchmarks/forecast_caches.py CACHE --data ../shared/data          (an hour on a core, once)
    python benchmarks/forecast_candidates.py CACHE [--splits dsb-stain ...]   (some minutes)

All splits of a data set are either of group A (dsb2018, monuseg, camvid) or of B (the others): a candidate that is
chosen because it errs least on the test images of one group is judged by those of the other. A line a candidate: mean
absolute error over the like and foreign test images of A and of B; then what such a choice would have brought.

as it is: of the five kinds of map the one with the least error on what was left out of training. KIND: always this
kind. mean, median: of the ridge, the forest and the neighbours. no sizes: without what says how much, how many and how
large; overlaps: only features that are a score themselves (both where units have scores of their own, not counts).
taught by half: no candidate, but a bound: half of the test images, with their truth, teach the forecast of the other.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))

from forecast import PARTS, Cache, criteria_of, decided_units, read_cache
from forecast_caches import SPLITS, Split, split_parser

from inference.forecast.features import FEATURES
from inference.forecast.forecast import said_of_set
from pipeline.tuning.forecast import lessons
from pipeline.tuning.forecast.fitting import KINDS
from pipeline.tuning.forecast.judging import judged_kinds
from pipeline.tuning.forecast.known_units import joined, scored_names
from pipeline.tuning.forecast.lessons import (
    Known,
    Lesson,
    aims_of,
    fit_maps,
    left_out,
    span_of,
    stand_ins,
    targets_of,
    way_of,
)
from pipeline.tuning.scores.criteria import Criteria
from pipeline.tuning.search import tune

GROUP_A = ("dsb", "monuseg", "camvid")
LEARNING = ("ridge", "forest", "neighbours")
SIZES = ("share", "mean", "components", "size", "largest", "roughness")
SETS = {
    "": FEATURES,
    "no sizes": tuple(name for name in FEATURES if name not in SIZES),
    "overlaps": ("soft_dice", "soft_iou", "inside", "outside", "stable", "low_stable", "peak", "empty"),
}
AS_IT_IS, HALF = "as it is", "taught by half"


def known_of(cache: Cache, criteria: Criteria) -> tuple[Known, dict[str, Known]]:
    """What the held-out images and their copies teach, and the units of the test parts."""
    decision = tune(criteria, cache.own).decision
    copies = [decided_units(criteria, decision, items, shift) for shift, items in cache.copies.items()]
    tests = {part: decided_units(criteria, decision, cache.test[part]) for part in PARTS}
    return joined([decided_units(criteria, decision, cache.own), *copies]).ordered(), tests


def said_by(kind: str, known: Known, asked: Known, cache: Cache, criteria: Criteria) -> float:
    """The metric that a map of a kind, taught on `known`, expects of the units asked."""
    metric, classes, span = criteria.metric, scored_names(cache.competition), span_of(known)
    maps = fit_maps(kind, targets_of(aims_of(known, metric, classes, span), known.own))
    options: dict[str, Any] = {"classes": classes, "span": span, "known": stand_ins(known, maps, metric, span)}
    return said_of_set(way_of(metric), maps, metric, asked.units, **options)


def half_taught(kind: str, known: Known, test: Known, cache: Cache, criteria: Criteria) -> float:
    """The same of test units, each half of whose groups is asked when the other half has been learned from too."""
    code = pd.factorize(test.meta["group"].astype(str))[0]
    half = np.random.default_rng(0).permutation(code.max() + 1)[code] % 2 == 0
    parts = [(test.at(chosen), test.at(~chosen)) for chosen in (half, ~half) if chosen.any()]
    said = [
        len(asked.units) * said_by(kind, joined([known, taught]), asked, cache, criteria) for asked, taught in parts
    ]
    return sum(said) / len(test.units)


def candidates(cache: Cache, criteria: Criteria) -> Iterator[tuple[str, str, float]]:
    """Candidate, part of the test images, and the absolute error of what it says of them."""
    known, tests = known_of(cache, criteria)
    truth = {part: float(criteria.metric.score(test.rows)) for part, test in tests.items()}
    for name, features in SETS.items():
        kinds = KINDS if "doc" in features else ("soft", *LEARNING)
        with mock.patch.object(lessons, "FEATURES", features):
            known, classes = replace(known), scored_names(cache.competition)  # it keeps the features that it found
            lesson = Lesson(known, criteria.metric, classes, left_out(known), span_of(known))
            chosen = min(judged_kinds(kinds, lesson), key=lambda one: one.error).kind
            for part, test in tests.items():
                said = {kind: said_by(kind, known, test, cache, criteria) for kind in {*LEARNING, chosen}}
                learned = [said[kind] for kind in LEARNING]
                more = {} if name else {**said, "mean": np.mean(learned), "median": np.median(learned)}
                if not name:
                    more |= {f"{HALF}, {kind}": half_taught(kind, known, test, cache, criteria) for kind in LEARNING}
                for candidate, value in {name or AS_IT_IS: said[chosen], **more}.items():
                    yield candidate, part, abs(float(value) - truth[part])


def measured(split: Split, folder: Path) -> pd.DataFrame:
    """A row a candidate and part."""
    cache = read_cache(folder, split)
    table = pd.DataFrame(candidates(cache, criteria_of(cache.competition)), columns=["candidate", "part", "error"])
    return table.assign(split=split.name, group="A" if split.name.startswith(GROUP_A) else "B")


def choices(errors: pd.DataFrame) -> list[str]:
    """What choosing by one group brings on the other; errors: candidate by group."""
    real = errors[[not str(name).startswith(HALF) for name in errors.index]]
    lines = []
    for one, other in (("A", "B"), ("B", "A")):
        best = real[one].idxmin()
        lines.append(f"least on {one}: {best}; on {other} it errs by {real.loc[best, other]:.4f}, as it is by "
                     f"{real.loc[AS_IT_IS, other]:.4f}")  # fmt: skip
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    arguments = split_parser(__doc__).parse_args(argv)
    tables = []
    for name in arguments.splits:
        tables.append(measured(SPLITS[name], arguments.cache / name))
        print(name, tables[-1].pivot(index="candidate", columns="part", values="error").round(3).to_dict("index"),
              flush=True)  # fmt: skip
    table = pd.concat(tables)
    by_part = table.pivot_table(index="candidate", columns=["group", "part"], values="error", sort=False)
    errors = table.pivot_table(index="candidate", columns="group", values="error", sort=False)
    print(by_part.assign(all=table.groupby("candidate")["error"].mean()).round(4).to_string())
    if set(errors) == {"A", "B"}:
        print("\n".join(choices(errors)))


if __name__ == "__main__":
    main()
