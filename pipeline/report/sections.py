"""Sections of the page that are made of stage 06's tables and of the stages' own documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from inference.decide.rules import ThresholdRule
from pipeline.report.figures import bars_figure, intervals_figure, learning_figure, points_figure
from pipeline.report.finished_run import FinishedRun, fold_scores, learning_curves, ledger_rows, stage_documents
from pipeline.report.image_pictures import data_uri
from pipeline.report.markup import Safe, element, figure, number, picture, span, table, text
from pipeline.report.thresholds import plateau_of_run
from pipeline.shift.similar_images import pairs_to_show
from pipeline.stage import DONE, read_stage
from pipeline.tuning.comparisons.shift_table import ShiftTable
from pipeline.tuning.comparisons.two_runs import compare, metric_of, read_scores
from submissions.kaggle.leaderboard import relation
from submissions.kaggle.ledger import numbers

PAIRS = 12


def section(name: str, title: str, *inside: object) -> Safe:
    """A section of the page with its heading."""
    return element("section", element("h2", title), *inside, id_=name)


def absent(sentence: str) -> Safe:
    """What stands in the place of a part that was not made."""
    return element("p", sentence, class_="absent")


def headline(run: FinishedRun) -> Safe:
    """CV, nested estimate, prediction interval, rule and plateau, as cards; then why, and what to beware of."""
    learned, tuned = run.decision.learned, run.tuned
    low, high = tuned["interval"]
    level = f"{run.settings.level:.0%}"
    promised = (tuned["score"] or 0) - tuned["nested"] if tuned["nested"] is not None else float("nan")
    other = (
        f"CV is {'higher' if promised >= 0 else 'lower'} by {number(abs(promised))}" if promised == promised else "–"
    )
    cards = [
        _card(f"CV, {tuned.get('metric', run.metric.name)}", number(tuned["score"]),
              f"{span(low, high) or 'no'} interval at {level}, over {learned['groups']} groups"),
        _card("nested estimate", number(tuned["nested"]), f"each fold decided by the others; {other}"),
    ]  # fmt: skip
    if tuned["prediction"]:
        cards.append(_card("one leaderboard", span(*tuned["prediction"]) or "–", f"prediction interval at {level}"))
    cards.append(_card(f"rule: {learned['rule']}", *_rule(run), words=not isinstance(run.decision.rule, ThresholdRule)))
    found = plateau_of_run(run)
    if found is not None:
        edges = f"{found[0] / 255:.3f} to {found[1] / 255:.3f}"
        cards.append(_card("plateau", edges, "thresholds as good as the best within noise"))
    said = [element("li", reason) for reason in learned.get("reasons", [])]
    warnings = [element("p", sentence, class_="warning") for sentence in _warnings(run)]
    why = element("details", element("summary", "Why this decision"), element("ul", *said)) if said else ""
    return Safe(element("div", *cards, class_="cards") + "".join(warnings) + why)


def _card(name: str, value: str, more: str, *, words: bool = False) -> Safe:
    value_ = element("b", value, class_="words" if words or len(value) > 9 else "")
    return element("div", element("span", name, class_="name"), value_, element("div", more, class_="more"),
                   class_="card")  # fmt: skip


def _rule(run: FinishedRun) -> tuple[str, str]:
    """The rule's values in a few words, and what follows it."""
    rule, values = run.decision.rule, run.decision.learned["values"]
    more = [step.step for step in run.decision.post] + ["empty gate"] * bool(run.decision.gate)
    more += ["instances"] * bool(run.decision.instances)
    then = f"then {', '.join(more)}" if more else "no post-processing"
    if isinstance(rule, ThresholdRule) and not rule.groups and len(set(rule.thresholds)) == 1:
        return f"{rule.thresholds[0] / 255:.4f}", f"threshold {rule.thresholds[0]} of 255; {then}"
    return ", ".join(f"{name} {value}" for name, value in values.items()) or rule.kind, then


def _warnings(run: FinishedRun) -> list[str]:
    chosen = [title for title, made in stage_documents(run).items() if made.get("selected_on_held_out_fold") is True]
    found = [
        f"The weights of {', '.join(chosen)} were chosen on the fold that they are scored on: this CV is too high."
    ]
    leaks = run.of_folds("leaks.csv")
    lines = found if chosen else []
    if leaks is not None and len(leaks):
        lines.append(f"{len(leaks)} pair(s) of similar images lie in different folds; see the leak audit below.")
    return lines


def learning(run: FinishedRun) -> Safe:
    """Loss and held-out score by epoch."""
    curves = learning_curves(run)
    if curves.empty:
        return section("learning", "Learning curves", absent("No fold left a log."))
    note = "Each dot is an epoch. The score is that of validation images, at their best threshold; it is not CV."
    if run.classifies:
        note = "Each dot is an epoch. The score is the share of validation images classified correctly; it is not CV."
    if not curves["score"].notna().any():
        note = "Nothing was validated while training (train.validate_every)."
    return section(
        "learning",
        "Learning curves",
        figure(learning_figure(curves), "learning-figure"),
        element("p", note, class_="note"),
    )


def folds(run: FinishedRun) -> Safe:
    """Balance of the folds, and pairs of images that lie on both sides."""
    scored = fold_scores(run)
    parts = [figure(bars_figure(scored.set_index("fold"), ["score"], ["score by fold"]), "scores-figure")]
    balance = run.of_folds("balance.csv")
    if balance is None:
        parts = [*parts, absent("Stage 02 left no balance.csv beside the fold file.")]
    else:
        columns = [str(name) for name in balance if str(name) in ("images", "groups", "train", "empty", "distance")]
        columns += [str(name) for name in balance if str(name).startswith("share_")]
        single = balance[balance["fold"] != "all"].set_index("fold")
        joined = single.join(scored.set_index(scored["fold"].astype(str))[["score"]])
        shown = ["score", *columns]
        parts = [figure(bars_figure(joined, shown[:6]), "balance-figure")]
        rows = [[row["fold"], *(row[name] for name in columns)] for row in balance.to_dict("records")]
        parts.append(table(["fold", *columns], rows))
    return section("folds", "Folds", *parts, element("h3", "Leak audit"), *_leaks(run))


def _leaks(run: FinishedRun) -> list[Safe]:
    leaks = run.of_folds("leaks.csv")
    if leaks is None:
        return [absent("Stage 02 left no leaks.csv beside the fold file.")]
    if leaks.empty:
        return [
            element("p", "No image lies on both sides of a fold: no copy, other exposure, shifted crop or neighbour.")
        ]
    kinds = ", ".join(f"{count} of kind {kind}" for kind, count in leaks["kind"].value_counts().items())
    said = element(
        "p", f"{len(leaks)} pair(s) lie on both sides of a fold ({kinds}), so CV is too high. Stage 02 with "
             "--group-duplicates keeps such images in one fold.", class_="warning",
    )  # fmt: skip
    boxes = []
    for row in pairs_to_show(leaks, PAIRS).to_dict("records"):
        names = [str(row["image_a"]), str(row["image_b"])]
        pictures = [picture(data_uri(small), name) for small, name in zip(run.thumbnails(names), names, strict=True)]
        words = f"{row['kind']} {number(row['similarity'], 2)}: {names[0]} (fold {row['fold_a']}), "
        caption = element("figcaption", words + f"{names[1]} (fold {row['fold_b']})")
        boxes.append(element("figure", *pictures, caption))
    return [said, element("div", *boxes, class_="strip")]


def averages(run: FinishedRun) -> Safe:
    """What views and the mean of models are worth."""
    views = run.table("views.csv")
    parts: list[object] = [element("h3", "Views")]
    if views is None:
        parts.append(absent("TTA views were not measured one by one: tune.sample is 0, or there is only one view."))
    else:
        known = views.rename(columns={"gain": "estimate"})
        if known["estimate"].notna().any():
            title = "gain: score of the mean of all views minus that without this one"
            parts.append(figure(intervals_figure(list(views["view"]), known, title), "views-figure"))
        parts.append(_plain(views))
    parts.append(element("h3", "Mean of models"))
    return section("averages", "Views and ensemble", *parts, *_ensemble(run))


def _ensemble(run: FinishedRun) -> list[Safe]:
    shift: dict[str, Any] | None = run.decision.learned.get("ensemble_shift")
    if not run.decision.weights and shift is None:
        return [absent("A single experiment without members, so no averaging was measured.")]
    parts = []
    if run.decision.weights:
        rows = [[name, weight, *_against(run, name)] for name, weight in run.decision.weights.items()]
        columns = ["experiment", "weight", "CV alone", "gain of the ensemble", "interval"]
        parts.append(table(columns, rows))
    if shift is not None:
        parts.append(element(
            "p", f"A mean of two models gains {number(shift['gain'], signed=True)} ({span(*shift['gain_interval'])}); "
            f"its best threshold is {shift['threshold_mean']} of 255, one model's {shift['threshold_single']}, which "
            f"costs the mean {number(shift['lost'])}.",
        ))  # fmt: skip
    return parts


def _against(run: FinishedRun, name: str) -> tuple[object, object, str]:
    """A member's own CV, and the ensemble's gain on it with the paired interval; None where it was not tuned alike."""
    folder = run.space.shared / name
    if not (folder / "tuning" / DONE).is_file():
        return None, None, "not tuned alone"
    own = read_stage(folder / "tuning", "")
    if metric_of(own["identity"]["settings"]) != run.metric:
        return None, None, "tuned for another metric"
    found = compare(run.scores, read_scores(folder), run.metric, rounds=run.settings.rounds, level=run.settings.level)
    return own["score"], found.overall.estimate, span(found.overall.low, found.overall.high)


def shifts(run: FinishedRun) -> Safe:
    """The score of the sample under declared shifts."""
    found = run.table("shifts.csv")
    if found is None:
        sentence = (
            "Not measured: set tune.sample, and stages 05 and 06 predict a sample under stain, brightness, blur "
            "and scale."
        )
        return section("shifts", "Shift test", absent(sentence))
    bars = found.set_index("shift")
    columns = ["score", *(["robust_score"] if "robust_score" in bars else [])]
    titles = ["score at the optimal threshold", "at the robust one"][: len(columns)]
    kept = run.decision.learned["shift_test"]
    said = element("p", f"In short: {ShiftTable(found, kept['optimal'], kept['robust']).sentence}.")
    return section(
        "shifts", "Shift test", said, figure(bars_figure(bars, columns, titles), "shifts-figure"), _plain(found)
    )


def ledger(run: FinishedRun, path: Path) -> Safe:
    """Submissions of this competition: CV against the leaderboards."""
    found = ledger_rows(run, path)
    if found.empty:
        return section("ledger", "CV and leaderboard", absent(
            f"No submission to {run.space.competition.name} is in the ledger; 09_submit.py writes a row."))  # fmt: skip
    values = numbers(found)
    rows = []
    for entry, value in zip(found.to_dict("records"), values.to_dict("records"), strict=True):
        name = element("b", entry["experiment"]) if entry["experiment"] == run.name else text(entry["experiment"])
        rows.append([entry["time"][:16].replace("T", " "), name, value["cv"], span(value["cv_low"], value["cv_high"]),
                     span(value["predicted_low"], value["predicted_high"]), value["public"], value["private"],
                     entry["description"]])  # fmt: skip
    columns = ["time", "experiment", "CV", "interval", "predicted", "public", "private", "description"]
    parts: list[object] = [table(columns, rows)]
    for board in ("public", "private"):
        related = relation(found, board)  # type: ignore[arg-type]
        if related.submissions:
            gap = f"gap {number(related.gap, signed=True)} over {related.submissions} submission(s)"
            parts.append(element("p", element("b", f"{board}: {related.verdict}. "), f"{gap}; {related.message}."))
        if related.submissions > 1:
            drawn = points_figure(values["cv"], values[board], list(found["experiment"]), ("CV", board), diagonal=True)
            parts.append(figure(drawn, f"ledger-{board}-figure"))
    return section("ledger", "CV and leaderboard", *parts)


def made(run: FinishedRun) -> Safe:
    """The commands, versions, settings and fingerprints that this run came from."""
    documents = stage_documents(run)
    facts = [document["made"] for document in documents.values() if "made" in document]
    commands = list(dict.fromkeys(fact["command"] for fact in facts))
    parts: list[object] = []
    if commands:
        parts += [element("h3", "Commands"), element("pre", "\n".join(commands))]
        versions = {json.dumps([fact["git"], fact["versions"]], sort_keys=True) for fact in facts}
        last = facts[-1]
        said = ", ".join(f"{name} {version}" for name, version in last["versions"].items())
        more = "" if len(versions) == 1 else " The stages were made under several versions; each one's own is below."
        parts += [
            element("h3", "Versions"),
            element("p", f"{said}; git {last['git'] or 'unknown'}.{more}", class_="note"),
        ]
    else:
        parts.append(absent("The stages of this run did not note their commands; it was made by an older version."))
    rows = [[name, document["identity"]["stage"], document["fingerprint"], round(document.get("seconds", 0)),
             (document.get("made") or {}).get("finished", "")] for name, document in documents.items()]  # fmt: skip
    parts += [element("h3", "Stages"), table(["folder", "stage", "fingerprint", "seconds", "finished"], rows)]
    parts.append(element("h3", "Settings, as they enter the fingerprints"))
    for name, document in documents.items():
        parts.append(element("details", element("summary", name), element("pre", json.dumps(document, indent=1))))
    return section("made", "How it was made", *parts)


def _plain(found: pd.DataFrame) -> Safe:
    names = [str(name) for name in found.columns]
    return table([name.replace("_", " ") for name in names], [list(row.values()) for row in found.to_dict("records")])
