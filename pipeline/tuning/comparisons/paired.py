"""Several predictions of the same images (variants), each decided by the simplest rule, compared in pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd

from pipeline.prediction.oof import OofItem
from pipeline.settings.tuning import TuneSettings
from pipeline.tuning.rules.nested import RuleReport, assess
from pipeline.tuning.rules.selection import base_decision, build_learners, suitable_rules
from pipeline.tuning.scores.choice import Judge, selection_folds
from pipeline.tuning.scores.criteria import Criteria
from pipeline.tuning.scores.units import Scorer, make_units
from submissions.host.masks import Truth
from submissions.metrics.intervals import Interval, paired_bootstrap


@dataclass(frozen=True)
class Mixed(OofItem):
    """An item whose probabilities are the weighted mean of several items of the same image."""

    parts: tuple[OofItem, ...]
    weights: tuple[float, ...]

    def truth(self) -> Truth:
        """The image's."""
        return self.parts[0].truth()

    def probs(self) -> np.ndarray:
        """uint8: weighted mean, ties up; members without weight are not read."""
        used = [(part, weight) for part, weight in zip(self.parts, self.weights, strict=True) if weight > 0]
        if len(used) == 1:
            return used[0][0].probs()
        total = sum(np.float32(weight) * part.probs() for part, weight in used)
        return np.clip(np.floor(total + np.float32(0.5)), 0, 255).astype(np.uint8)


def mixed(parts: Sequence[OofItem], weights: Sequence[float]) -> Mixed:
    """The weighted mean of items of one image; all else is the first one's."""
    own = {one.name: getattr(parts[0], one.name) for one in fields(OofItem)}
    return Mixed(**own, parts=tuple(parts), weights=tuple(weights))


def mixed_items(members: Mapping[str, Iterable[OofItem]], weights: Mapping[str, float] | None = None) -> list[Mixed]:
    """Items of the mean of several experiments (or views), sorted by id; equal weights where none are given.

    Fold and group are the first member's. Raises ValueError where a member lacks an image of another, or the
    weights are not of these members, negative, or do not sum to 1.
    """
    if not members:
        raise ValueError("no members were given; name at least one experiment")
    given = {name: 1 / len(members) for name in members} if weights is None else dict(weights)
    if set(given) != set(members) or min(given.values()) < 0 or abs(sum(given.values()) - 1) > 1e-6:
        raise ValueError(f"weights {given} of the members {list(members)}: expected one each, 0 or more, sum 1")
    by_id = {name: {item.image_id: item for item in items} for name, items in members.items()}
    first, *others = by_id
    for name in others:
        differ = sorted(set(by_id[first]) ^ set(by_id[name]))
        if differ:
            raise ValueError(
                f"{first!r} and {name!r} cannot be averaged: {len(differ)} image(s) are in only one of them, such "
                f"as {differ[0]!r}"
            )
    scale = [given[name] for name in by_id]
    return [mixed([items[key] for items in by_id.values()], scale) for key in sorted(by_id[first])]


def judge_variants(
    criteria: Criteria, variants: Mapping[str, Iterable[OofItem]], pool: Executor | None = None
) -> dict[str, RuleReport]:
    """Each variant under the simplest rule that suits (global, grid, argmax), its threshold chosen by its own
    images.

    The variants' `nested_table`s hold the same units, so that they can be compared in pairs. Raises ValueError
    where they do not.
    """
    settings = criteria.settings.model_copy(update={"rules": [suitable_rules(criteria, 1)[0]], "rule": None})
    simple = replace(criteria, settings=settings)
    found: dict[str, RuleReport] = {}
    first: pd.DataFrame | None = None
    for name, items in variants.items():
        units, meta = make_units(items, criteria.competition.metric.unit)
        if first is not None and not meta.equals(first):
            raise ValueError(f"variant {name!r} has other images, folds or groups than {next(iter(variants))!r}")
        first = meta
        judge = Judge(selection_folds(meta)[0], settings.rounds, settings.seed)
        scorer = Scorer(simple, units, pool)
        found[name] = assess(build_learners(base_decision(simple, ""), scorer, judge), scorer, judge)[0]
    return found


def difference(criteria: Criteria, one: RuleReport, other: RuleReport) -> Interval:
    """Interval of nested(one) - nested(other), groups resampled alike."""
    settings, groups = criteria.settings, one.nested_table["group"]
    return paired_bootstrap(
        criteria.metric, one.nested_table, other.nested_table, groups, rounds=settings.rounds, seed=settings.seed,
        level=settings.level,
    )  # fmt: skip


def is_clear(gain: Interval, settings: TuneSettings) -> bool:
    """Whether a gain counts: enough groups, and its one-sided bound above zero."""
    return gain.groups >= settings.min_groups and gain.lower_bound(settings.confidence) > 0
