"""What stage 06 writes: decision.json, the curves, the scores, and a report for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from inference.decide.decision import save_decision
from inference.forecast.verdict import disagreement
from pipeline.tuning.comparisons.extras import Extras, decision_with, extras_report, markdown, write_extras
from pipeline.tuning.rules.nested import RuleReport
from submissions.host.atomic import write_atomic
from submissions.metrics.intervals import Interval

if TYPE_CHECKING:
    from pipeline.tuning.search import TuneResult

FALLEN = 0.5  # of what other folds score


def write_tuning(
    folder: Path, result: TuneResult, *, extras: Extras | None = None, sections: Sequence[str] = ()
) -> None:
    """Write decision.json, report.md and the tables curves, scores, nested_scores, features and prediction_sums (.csv).

    With `extras` also what else was measured. sections: further lines of the report.
    """
    more = extras or Extras()
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in (
        ("curves.csv", curves(result)),
        ("scores.csv", result.table),
        ("nested_scores.csv", result.nested_table),
        ("features.csv", result.features),
        ("prediction_sums.csv", result.sums),
    ):
        write_atomic(folder / name, frame.to_csv(index=False, lineterminator="\n"))
    write_extras(folder, more)
    write_atomic(folder / "report.md", report(result) + "\n".join(["", *extras_report(more), *sections]))
    save_decision(folder / "decision.json", decision_with(result.decision, more))


def curves(result: TuneResult) -> pd.DataFrame:
    """One row per rule and candidate of the rules that lie along one value: rule, value, score, noise, within,
    chosen.

    noise is the standard error of the difference to the best candidate, over resampled groups.
    """
    frames = []
    for rule in result.rules:
        choice = rule.fit.choice
        if choice is None or rule.coordinate is None:
            continue
        frames.append(
            pd.DataFrame(
                {
                    "rule": rule.name,
                    "candidate": np.arange(len(choice.scores)),
                    "score": choice.scores,
                    "noise": choice.noise,
                    "within": choice.within,
                    "chosen": np.arange(len(choice.scores)) == choice.chosen,
                }
            )
        )
    columns = ["rule", "candidate", "score", "noise", "within", "chosen"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def report(result: TuneResult) -> str:
    """The report as Markdown."""
    lines = [f"# Decision by {result.metric.name}", ""]
    lines += [f"- {reason}" for reason in result.reasons]
    lines += ["", f"Chosen: {_values(result.chosen)}.", "", *_plateau(result.chosen)]
    lines += ["## What it is worth", "", *_worth(result), ""]
    lines += ["## Rules", "", *_rules(result), ""]
    if result.post:
        lines += ["## Post-processing", "", *_post(result), ""]
    worst = result.table.sort_values(["score", "image_id"]).head(10)
    worst = worst[["image_id", "fold", "group", "score"]].rename(columns={"image_id": "image"})
    lines += ["## Lowest scores", "", *markdown(worst.assign(score=[_score(score) for score in worst["score"]]))]
    return "\n".join(lines) + "\n"


def fallen_folds(scores: Mapping[int, float]) -> list[str]:
    """A warning for each fold that scores less than FALLEN of the middle fold, as of a network that learned nothing."""
    known = sorted(score for score in scores.values() if math.isfinite(score))
    usual = known[len(known) // 2] if known else math.nan
    return [
        f"warning: fold {fold} scores {score:.4f}, but {usual:.4f} is usual here: look whether its network predicts "
        "anything (log.jsonl of the fold); if not, train it again with a longer train.warmup, loss.params.batch: true "
        "or another seed, before anything is decided"
        for fold, score in sorted(scores.items())
        if usual > 0 and score < FALLEN * usual
    ]


def worth_lines(cv: float, interval: Sequence[float], nested: float, prediction: Sequence[float] | None) -> list[str]:
    """What a decision is worth, for a terminal: CV with its interval (low, high), the nested score, the prediction
    interval where there is one, and a warning where these cannot all be true."""
    lines = [f"CV {cv:.4f} ({interval[0]:.4f} to {interval[1]:.4f}), nested {nested:.4f}"]
    if prediction is not None:
        lines.append(f"prediction interval of the leaderboard score: {prediction[0]:.4f} to {prediction[1]:.4f}")
    shaky = disagreement(cv, prediction)
    return [*lines, f"warning: {shaky}"] if shaky else lines


def _worth(result: TuneResult) -> list[str]:
    folds = ", ".join(f"fold {fold}: {_score(score)}" for fold, score in sorted(result.fold_scores.items()))
    spread = float(np.std(list(result.fold_scores.values()), ddof=1)) if len(result.fold_scores) > 1 else math.nan
    groups = int(result.table["group"].nunique())
    lines = [
        f"- CV {_score(result.cv)}, {_interval(result.interval)} by bootstrap over {groups} groups: where "
        "the metric lies over all images like these, for this decision.",
        f"- Nested {_score(result.nested)}: each fold is decided by what was learned from the others. CV minus nested "
        f"is {_signed(result.cv - result.nested)}; above 0 it is what choosing a decision on the images that it scores "
        "flatters, below 0 the decisions of the folds happened to suit their images better than the common one.",
        f"- {folds}; standard deviation between folds {_score(spread)}.",
    ]
    if result.prediction is not None:
        lines.append(
            f"- One leaderboard of {result.test_groups} groups: {_interval(result.prediction)}, the prediction "
            "interval around the nested score. It does not include a shift between these images and the test "
            "set, nor what averaging several models gains."
        )
    return [*lines, *(f"- {line}" for line in fallen_folds(result.fold_scores))]


def _rules(result: TuneResult) -> list[str]:
    rows = [
        (rule.name, _values(rule), *map(_score, (rule.score, rule.optimum, rule.nested)), _signed(rule.optimism),
         _interval(rule.interval), "" if rule.gain is None else f"{_signed(rule.gain.estimate)} {_interval(rule.gain)}")
        for rule in result.rules
    ]  # fmt: skip
    columns = ["rule", "learned", "score", "best candidate", "nested", "optimism", "interval", "gain on the first"]
    return markdown(pd.DataFrame(rows, columns=columns))


def _post(result: TuneResult) -> list[str]:
    rows = [
        (each.step, each.class_name, each.value, _signed(each.gain.estimate), _signed(each.bound), each.verdict)
        for each in result.post
    ]
    return markdown(pd.DataFrame(rows, columns=["step", "class", "value", "nested gain", "one-sided bound", "verdict"]))


def _plateau(rule: RuleReport) -> list[str]:
    choice = rule.fit.choice
    if choice is None:
        return []
    lost = f"{_score(choice.scores[choice.chosen])}, the best has {_score(choice.scores[choice.best])}"
    number = len(choice.scores)
    if rule.coordinate is None:
        return [
            f"{int(choice.within.sum())} of {number} candidates are as good as the best within noise; the one in "
            f"the middle has {lost}.",
            "",
        ]
    return [
        f"Plateau: candidates {choice.low} to {choice.high} of 0 to {number - 1} are as good as the best "
        f"({choice.best}) within noise; its middle, {choice.chosen}, has {lost}.",
        "",
    ]


def _values(rule: RuleReport) -> str:
    return f"{rule.name}: " + ", ".join(f"{name} {value}" for name, value in rule.fit.values.items())


def _score(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "not defined"


def _signed(value: float) -> str:
    return f"{value:+.4f}" if math.isfinite(value) else "not defined"


def _interval(interval: Interval) -> str:
    if not math.isfinite(interval.low):
        return f"no interval: {interval.groups} group(s)"
    return f"[{interval.low:.4f}, {interval.high:.4f}] at {interval.level:.0%}"
