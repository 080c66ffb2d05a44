"""Which rules suit a contract and a metric, how they are built, and which one decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from inference.config import level_channels
from inference.decide.decision import Decision
from inference.decide.instances import InstanceSettings
from inference.decide.rules import ArgmaxRule, ThresholdRule
from pipeline.settings.tuning import COUNT_RULES, EXCLUSIVE_RULES, GATES, GRID_RULES, IMAGE_RULES
from pipeline.tuning.rules.gate_rules import counted_gate, exclusive_gate, gate_rules, gated_grid, image_levels
from pipeline.tuning.rules.grouped_thresholds import FoldThresholds, PerClass, PerGroup
from pipeline.tuning.rules.histogram_rules import Evidence, Learner, gated_rule, global_rule, quantile_rule
from pipeline.tuning.rules.nested import RuleReport
from pipeline.tuning.rules.pixel_rules import argmax_grid, hysteresis_grid, prior_rule, priority_rule, threshold_grid
from pipeline.tuning.scores.choice import Judge
from pipeline.tuning.scores.criteria import Criteria
from pipeline.tuning.scores.score_tables import CountScoreTable
from pipeline.tuning.scores.units import Scorer, Unit, unit_histograms
from pipeline.tuning.scores.workers import over_units
from submissions.metrics import CountMetric
from submissions.metrics.intervals import paired_bootstrap


def base_decision(criteria: Criteria, fingerprint: str) -> Decision:
    """The decision before a rule is learned: which classes, which channels, whether instances are made.

    Raises ValueError where `tune.unknown` or `tune.instances` names a class or a channel that is not there.
    """
    competition, settings = criteria.competition, criteria.settings
    _check_named(criteria)
    form = competition.submission
    wanted = criteria.metric.needs == "instances" or (
        form is not None and form.wants_objects and len(competition.scored_classes) == 1
    )
    given = settings.instances or (InstanceSettings(plane=competition.scored_classes[0]) if wanted else None)
    k = len(competition.classes)
    return Decision(
        fingerprint=fingerprint,
        classes=competition.classes,
        channels=list(criteria.channels),
        exclusive=competition.exclusive,
        rule=ArgmaxRule() if competition.exclusive else ThresholdRule(thresholds=[128] * k),
        instances=given,
        classifier=settings.gate,
    )


def _check_named(criteria: Criteria) -> None:
    settings, classes = criteria.settings, criteria.competition.classes
    numbered = ", ".join(f"{number} ({name})" for number, name in enumerate(classes))
    if settings.unknown is not None and settings.unknown not in classes:
        raise ValueError(
            f"tune.unknown is {settings.unknown!r}, which is no class; expected one of {', '.join(classes)}"
        )
    given = settings.instances
    if given is not None and given.plane >= len(classes):
        raise ValueError(f"tune.instances.plane is {given.plane}, which is no class; expected one of {numbered}")
    if given is not None and given.channel is not None and given.channel not in criteria.channels:
        raise ValueError(
            f"tune.instances.method is {given.method!r}, but the predictions have no such channel, only "
            f"{', '.join(criteria.channels)}; have it learned by prepare.targets, or choose distance or components"
        )


def suitable_rules(criteria: Criteria, strata: int) -> list[str]:
    """Rules that can be learned for this contract, metric and number of strata, the simplest first.

    Gates by what is said of an image need images that are scored one by one, and a metric that counts pixels or a
    single class.
    """
    competition, metric, channels = criteria.competition, criteria.metric, criteria.channels
    if competition.masks.kind == "none":
        return ["argmax"] if competition.exclusive else ["global", "per_class"]
    gates = gate_rules(channels, competition.classes) if competition.metric.unit == "image" else []
    if competition.exclusive:
        names = [name for name in EXCLUSIVE_RULES if name != "argmax_reject" or "background" in competition.classes]
        return [*names, *(gates if "background" in competition.classes else [])]
    if not isinstance(metric, CountMetric):
        guides = [name for name in ("border", "centre") if name in channels]
        guided = ["grid", *(guides if metric.needs == "instances" else [])]
        return [*guided, *(gates if len(competition.classes) == 1 else [])]
    absent = {"per_class"} if len(competition.scored_classes) < 2 else set()
    absent |= {"per_group"} if strata < 2 else set()
    return [*(name for name in COUNT_RULES if name not in absent | set(misapplied(criteria, strata))), *gates]


def misapplied(criteria: Criteria, strata: int) -> dict[str, str]:
    """Rules of pixel counts that would suit, but decide test images otherwise than they are judged here; and why."""
    competition = criteria.competition
    if competition.exclusive or competition.masks.kind == "none" or not isinstance(criteria.metric, CountMetric):
        return {}
    found = {"per_group": criteria.ungrouped} if criteria.ungrouped and strata > 1 else {}
    if competition.metric.unit == "stack":
        reason = "it is learned on whole stacks, as they are scored, but applied to single slices"
        found |= dict.fromkeys(("quantile", "gated"), reason)
    return found


def left_out(criteria: Criteria, judge: Judge) -> list[str]:
    """A sentence about each rule that is `misapplied`; none where the rules were named."""
    found = {} if criteria.settings.rules else misapplied(criteria, judge.meta["stratum"].nunique())
    return [f"rule {name!r} is left out: {reason}" for name, reason in found.items()]


def compared_rules(criteria: Criteria, strata: int) -> list[str]:
    """Names of the rules that are compared: those of `tune.rules`, else all that suit, and `tune.rule`.

    Raises ValueError for a rule that does not suit, or would be `misapplied`, and for a gate that cannot be used.
    """
    competition, settings, metric = criteria.competition, criteria.settings, criteria.metric.name
    suits = suitable_rules(criteria, strata)
    if settings.gate is not None and "gated_classifier" not in suits:
        raise ValueError(
            f"tune.gate: an image-level gate cannot be used for {competition.name} with the metric {metric}; it needs "
            "images scored one by one and a metric that counts pixels, or a single class, or a background"
        )
    known = [*suits, "argmax_reject" if competition.exclusive else "hysteresis"]
    names = list(settings.rules or suits)
    names += [settings.rule] if settings.rule is not None and settings.rule not in names else []
    for name, reason in misapplied(criteria, strata).items():
        if name in names:
            raise ValueError(f"tune: rule {name!r} cannot decide {competition.name}: {reason}; leave it out")
    wrong = [name for name in names if name not in known]
    if wrong:
        raise ValueError(
            f"tune: rule {wrong[0]!r} does not suit {competition.name} with the metric {metric}; expected some of "
            f"{', '.join(dict.fromkeys(known))}"
        )
    return names


def build_learners(base: Decision, scorer: Scorer, judge: Judge) -> list[Learner]:
    """The rules to compare, in order; joint histograms are made where one of them needs them.

    Raises ValueError as `compared_rules`.
    """
    competition = scorer.criteria.competition
    strata = judge.meta["stratum"].to_numpy()
    names = compared_rules(scorer.criteria, len(set(strata)))
    counted = isinstance(scorer.metric, CountMetric) and not competition.exclusive
    if set(names) <= {*GRID_RULES, "argmax", "argmax_reject", *(() if counted else IMAGE_RULES)}:
        hists = np.zeros((len(scorer.units), 0, 3, 256), np.int64)
    else:
        indices = [base.channels.index(name) for name in base.classes]
        function = partial(unit_histograms, indices)
        hists = _of_units(function, scorer, "histograms")
    return [_learner(name, base, scorer, judge, hists, strata) for name in names]


def _of_units(function: Callable[[Unit], np.ndarray], scorer: Scorer, title: str) -> np.ndarray:
    """What a function finds of every unit, stacked: (N, ...)."""
    return np.stack(
        list(over_units(function, scorer.units, title, pool=scorer.pool, progress=scorer.criteria.progress))
    )


def _learner(name: str, base: Decision, scorer: Scorer, judge: Judge, hists: np.ndarray, strata: np.ndarray) -> Learner:
    settings, scored = scorer.criteria.settings, scorer.criteria.competition.scored_classes
    if name in IMAGE_RULES:
        return _image_gate(name.removeprefix("gated_"), base, scorer, judge, hists, strata)
    if name in ("grid", "border", "centre"):
        return threshold_grid(name, base, scorer, judge)
    if name == "hysteresis":
        return hysteresis_grid(base, scorer, judge)
    if name in ("argmax", "argmax_reject"):
        rejects = settings.rejects if name == "argmax_reject" else []
        background = "background" if "background" in base.classes else None
        return argmax_grid(base, scorer, judge, rejects, settings.unknown or background)
    if name == "prior":
        return prior_rule(base, scorer, hists[:, :, :2])
    if name == "priority":
        return priority_rule(base, scorer, hists[:, :, :2], judge)
    assert isinstance(scorer.metric, CountMetric)
    evidence = Evidence(scorer.metric, judge, hists, scored, strata, base)
    if name == "quantile":
        return quantile_rule(evidence)
    if name == "gated":
        return gated_rule(evidence, settings.areas)
    score_table = CountScoreTable.of_thresholds(scorer.metric, evidence.counted)
    if name == "global":
        return global_rule(evidence, score_table)
    if name == "per_class":
        return PerClass(evidence, score_table)
    if name == "per_group":
        return PerGroup(evidence, score_table)
    return FoldThresholds(evidence, score_table, name)


def _image_gate(
    source: str, base: Decision, scorer: Scorer, judge: Judge, hists: np.ndarray, strata: np.ndarray
) -> Learner:
    """A gate by image-level channels, as the contract and the metric allow it."""
    competition = scorer.criteria.competition
    if competition.exclusive:
        return exclusive_gate(base, source, scorer, judge)
    function = partial(image_levels, [base.channels.index(name) for name in level_channels(source, base.classes)])
    said = _of_units(function, scorer, "image levels")
    if isinstance(scorer.metric, CountMetric):
        evidence = Evidence(scorer.metric, judge, hists, competition.scored_classes, strata, base)
        return counted_gate(evidence, source, said)
    return gated_grid(threshold_grid("grid", base, scorer, judge), source, said[:, 0])


def pick_rule(reports: Sequence[RuleReport], criteria: Criteria, judge: Judge) -> tuple[RuleReport, list[str]]:
    """The rule that decides, and why: the one that was set, or the best nested score (to four decimals).

    A gate is something added: it decides where its nested gain over the best rule without one is clear
    (`settings.confidence`, one-sided, over at least `settings.min_groups` groups).
    """
    settings = criteria.settings
    if settings.rule is not None:
        found = next(report for report in reports if report.name == settings.rule)
        return found, [f"rule {found.name!r}: set by tune.rule, whatever the nested estimates say"]
    plain = [report for report in reports if report.name not in GATES] or list(reports)
    chosen = plain[int(np.nanargmax(np.round([_worth(report) for report in plain], 4)))]  # less is no difference
    shown = ", ".join(f"{report.name} {_worth(report):.4f}" for report in plain)
    reasons = [f"rule {chosen.name!r}: the best nested score ({shown})"]
    if chosen.gain is not None:
        bound = chosen.gain.lower_bound(settings.confidence)
        clear = "clear" if bound > 0 else "within noise"
        reasons.append(
            f"its nested gain over {reports[0].name!r} is {chosen.gain.estimate:+.4f}, {clear} (one-sided "
            f"{settings.confidence:.0%} bound {bound:+.4f})"
        )
    groups = judge.meta["group"].nunique()
    if groups < settings.min_groups and len(reports) > 1:
        reasons.append(f"not reliable: {groups} groups, but comparing rules needs at least {settings.min_groups}")
    gated, said = _pick_gate([report for report in reports if report not in plain], chosen, criteria, judge)
    return gated or chosen, [*reasons, *said]


def _worth(report: RuleReport) -> float:
    return report.score if np.isnan(report.nested) else report.nested


def _pick_gate(
    gates: Sequence[RuleReport], plain: RuleReport, criteria: Criteria, judge: Judge
) -> tuple[RuleReport | None, list[str]]:
    """The best of the gates whose gain over the rule without one is clear, and a sentence about each."""
    settings, found = criteria.settings, None
    said = []
    for gate in gates:
        gain = paired_bootstrap(
            criteria.metric, gate.nested_table, plain.nested_table, "group", rounds=judge.rounds, seed=judge.seed
        )
        bound = gain.lower_bound(settings.confidence)
        if gain.groups < settings.min_groups:
            verdict = f"not reliable: {gain.groups} groups"
        elif bound > 0:
            verdict = "clear"
            found = gate if found is None or _worth(gate) > _worth(found) else found
        else:
            verdict = "not used: no clear gain"
        said.append(
            f"{gate.name}: nested {_worth(gate):.4f}, gain over {plain.name!r} {gain.estimate:+.4f} (one-sided "
            f"{settings.confidence:.0%} bound {bound:+.4f}), {verdict}"
        )
    return found, [*said, *([f"rule {found.name!r} is chosen: the best gate with a clear gain"] if found else [])]
