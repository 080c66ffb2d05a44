"""Means of predictions, views, shifts, drift and two runs, on drawn predictions whose worth is known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn_oof import DrawnItem, draw_exclusive, draw_items, drawn_contract, drawn_criteria

from folds.foldfile import SOURCE, write_folds
from folds.splitters import make_folds
from inference.decide.decision import Decision, Mask, apply, load_decision
from inference.decide.rules import ThresholdRule
from pipeline.prediction.drift import drift, image_features, learned_ranges
from pipeline.tuning.comparisons.ensemble import ensemble_shift, fit_weights, view_worth
from pipeline.tuning.comparisons.extras import Extras, write_drift
from pipeline.tuning.comparisons.paired import judge_variants, mixed_items
from pipeline.tuning.comparisons.shift_table import shift_table
from pipeline.tuning.comparisons.two_runs import (
    across_sources,
    across_text,
    compare,
    comparison_text,
    sources_of_run,
    which_to_take,
)
from pipeline.tuning.report import write_tuning
from pipeline.tuning.search import tune
from submissions.metrics import build_metric

METRIC = build_metric("dice")
TERMS = drawn_criteria(drawn_contract(), rounds=200)
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def changed(items: list[DrawnItem], change: Change, seed: int = 0) -> list[DrawnItem]:
    """The same images under other probabilities."""
    rng, out = np.random.default_rng(seed), []
    for item in items:
        given = np.clip(np.rint(change(item.given.astype(float), rng)), 0, 255).astype(np.uint8)
        out.append(DrawnItem(item.image_id, item.fold, given, item.true, item.group, item.stratum))
    return out


def noise(amount: float) -> Change:
    return lambda q, rng: q + rng.normal(0, amount, q.shape)


def test_a_mean_is_weighted_and_rounded() -> None:
    items = draw_items(4)
    other = changed(items, noise(30))
    mixed = mixed_items({"a": items, "b": other}, {"a": 0.25, "b": 0.75})
    assert [item.image_id for item in mixed] == ["im000", "im001", "im002", "im003"]
    for item, a, b in zip(mixed, items, other, strict=True):
        expected = np.floor(0.25 * a.given + 0.75 * b.given + 0.5)
        assert np.abs(item.probs().astype(float) - expected).max() <= 1
        assert item.truth() is a.true and item.fold == a.fold and item.group == a.group
    alone = mixed_items({"a": items, "b": other}, {"a": 1.0, "b": 0.0})
    assert alone[0].probs() is items[0].given


def test_members_of_other_splits_are_mixed_by_the_first_ones_folds() -> None:
    items = draw_items(4)
    moved = changed(items, noise(1))
    for item in moved:
        item.fold += 1
    assert [item.fold for item in mixed_items({"a": items, "b": moved})] == [item.fold for item in items]


def test_members_that_cannot_be_mixed_are_refused() -> None:
    items = draw_items(4)
    with pytest.raises(ValueError, match="no members"):
        mixed_items({})
    with pytest.raises(ValueError, match="1 image\\(s\\) are in only one of them"):
        mixed_items({"a": items, "b": items[:3]})
    for weights in ({"a": 0.5}, {"a": 1.5, "b": -0.5}, {"a": 0.5, "b": 0.6}):
        with pytest.raises(ValueError, match="expected one each, 0 or more, sum 1"):
            mixed_items({"a": items, "b": items}, weights)


def brier(members: list[list[DrawnItem]], weights: np.ndarray) -> float:
    losses = []
    for parts in zip(*members, strict=True):
        mean = sum(w * part.given / 255 for w, part in zip(weights, parts, strict=True))
        losses.append(((mean - parts[0].true.planes[:, 0]) ** 2).mean())
    return float(np.mean(losses))


def test_weights_minimise_the_squared_error_and_the_useless_member_gets_none() -> None:
    items = draw_items(36)
    good, noisy = changed(items, noise(15), 1), changed(items, noise(25), 2)
    useless = changed(items, lambda q, rng: rng.uniform(0, 255, q.shape), 3)
    members = {"good": good, "noisy": noisy, "useless": useless}
    found = fit_weights(TERMS, members)
    assert sum(found.fitted.values()) == pytest.approx(1) and min(found.fitted.values()) >= 0
    assert found.fitted["useless"] < 0.05
    assert found.weights == found.fitted and found.gain.estimate > 0
    assert set(found.by_fold) == {0, 1, 2}
    best = brier(list(members.values()), np.array(list(found.fitted.values())))
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert best <= brier(list(members.values()), rng.dirichlet(np.ones(3))) + 1e-6


def test_weights_stay_equal_where_the_gain_is_not_clear() -> None:
    items = draw_items(36)
    members = {"a": changed(items, noise(20), 1), "b": changed(items, noise(20), 2)}
    found = fit_weights(TERMS, members)
    assert found.weights == {"a": 0.5, "b": 0.5}
    assert "equal weights stay" in found.reason
    few = fit_weights(TERMS, {"a": items[:12]})
    assert few.weights == {"a": 1.0}


def test_a_view_that_harms_is_dropped_and_the_others_are_kept() -> None:
    items = draw_items(36)
    views = {
        "identity": changed(items, noise(20), 1),
        "hflip": changed(items, noise(20), 2),
        "shifted": changed(items, lambda q, rng: np.roll(q, 8, axis=-1), 3),
    }
    found = view_worth(TERMS, views)
    assert found.kept == ["identity", "hflip"]
    rows = found.table.set_index("view")
    assert rows.loc["shifted", "gain"] < 0 < rows.loc["hflip", "gain"]
    assert rows.loc["shifted", "alone"] < rows.loc["identity", "alone"]
    assert rows.loc["shifted", "verdict"] == "dropped: it lowers the score"
    single = view_worth(TERMS, {"identity": items})
    assert single.kept == ["identity"] and np.isnan(single.table["gain"][0])


def test_the_shift_of_a_mean_is_measured() -> None:
    items = draw_items(36)
    single = changed(items, noise(10), 1)
    mean = changed(single, lambda q, rng: q * 0.8)
    shift = ensemble_shift(TERMS, single, mean)
    assert shift.moved == shift.mean - shift.single < -10
    assert shift.moved_low <= shift.moved + 8 and shift.moved_high < 0
    assert shift.lost > 0.01
    assert shift.learned["moved"] == shift.moved and shift.learned["lost"] == shift.lost
    exclusive = drawn_contract("iou", classes=["background", "a", "b"], exclusive=True, rows=None)
    with pytest.raises(ValueError, match="argmax has no threshold"):
        drawn = draw_exclusive()
        ensemble_shift(drawn_criteria(exclusive, rounds=200), drawn, drawn)


def test_a_shift_moves_the_threshold_and_the_robust_one_lies_between() -> None:
    items = draw_items(24)
    shifts = {"none": items, "dark": changed(items, lambda q, rng: q * 0.6)}
    found = shift_table(TERMS, shifts)
    assert found.table["shift"].tolist() == ["none", "dark"]
    none, dark = found.table.to_dict("records")
    assert dark["best"] < none["best"]
    assert dark["best_score"] > dark["score"] + 0.05
    assert found.robust < found.optimal
    assert found.table["robust_score"].mean() >= found.table["score"].mean()
    assert "robust one" in found.sentence and "'dark'" in found.sentence


def test_exclusive_classes_have_scores_under_shifts_and_no_threshold() -> None:
    contract = drawn_contract("iou", classes=["background", "a", "b"], exclusive=True, rows=None)
    drawn = draw_exclusive()
    mixed = changed(drawn, noise(60))
    found = shift_table(drawn_criteria(contract, rounds=200), {"none": drawn, "noisy": mixed})
    assert found.table.columns.tolist() == ["shift", "score"] and found.optimal is found.robust is None
    assert found.table["score"][1] < found.table["score"][0]
    assert "no threshold to" in found.sentence


def test_arms_must_be_of_the_same_images() -> None:
    items = draw_items(6)
    with pytest.raises(ValueError, match="variant 'b' has other images"):
        judge_variants(TERMS, {"a": items, "b": items[:4]})


def features(items: list[DrawnItem]) -> pd.DataFrame:
    rule = ThresholdRule(thresholds=[110])
    made = Decision(fingerprint="", classes=["disc"], channels=["disc"], rule=rule)
    return pd.DataFrame([image_features(item.given, apply(item.given, made), made) for item in items])


def test_features_say_what_is_in_the_image() -> None:
    probs = np.zeros((1, 8, 10), np.uint8)
    probs[0, 1:3, 1:3], probs[0, 6, 6] = 255, 128
    made = Decision(fingerprint="", classes=["a"], channels=["a"], rule=ThresholdRule(thresholds=[100]))
    found = image_features(probs, Mask(probs >= 100), made)
    assert found["area.a"] == 5 / 80 and found["components.a"] == pytest.approx(2 / 80 * 1e6)
    assert found["sure.a"] == 1.0 and found["unsure.a"] == 1 / 80
    assert found["hist_00.a"] == 75 / 80 and found["hist_08.a"] == 1 / 80 and found["hist_15.a"] == 4 / 80
    assert found["mean.a"] == pytest.approx((4 + 128 / 255) / 80)


def test_drift_is_seen_where_it_is_and_not_where_it_is_not() -> None:
    drawn = features(draw_items(80))
    old, same = drawn[::2], drawn[1::2]
    assert drift(old, same).warnings == []
    darker = features(changed(draw_items(40), lambda q, rng: q * 0.5))
    found = drift(old, darker)
    rows = found.table.set_index("feature")
    assert rows.loc["area.disc", "drifted"] and rows.loc["area.disc", "outside"] > 0.5
    assert any("share of pixels predicted as disc" in warning for warning in found.warnings)
    assert "averaging" not in "".join(found.warnings)
    assert "a mean of 5 models, the out-of-fold ones of 1" in drift(old, darker, models=(1, 5)).warnings[-1]
    assert drift(old, same, models=(1, 5)).warnings == []
    assert found.histograms[["oof", "test"]].sum().tolist() == pytest.approx([1, 1])
    assert learned_ranges(old).keys() == set(rows.index)
    with pytest.raises(ValueError, match="0 rows against 40"):
        drift(old[:0], same)


def scores(values: np.ndarray, **more: Any) -> pd.DataFrame:
    tp = np.round(values * 1000)
    ids = [f"im{n:02d}" for n in range(len(values))]
    groups, strata = [f"g{n // 2}" for n in range(len(values))], ["ab"[n % 2] for n in range(len(values))]
    columns = {"image_id": ids, "group": groups, "stratum": strata, "score": values}
    return pd.DataFrame({**columns, "tp_0": tp, "fp_0": 1000 - tp, "fn_0": 1000 - tp, "tn_0": 0.0, **more})


def test_two_runs_are_compared_in_pairs() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0.5, 0.8, 30).round(3)
    better = base + 0.01
    better[7] -= 0.2
    found = compare(scores(better.round(3)), scores(base), METRIC, rounds=300)
    assert found.changed["image_id"][0] == "im07" and len(found.changed) == 10
    assert found.overall.estimate == pytest.approx((better - base).mean(), abs=1e-6)
    assert found.by_stratum["images"].tolist() == [15, 15]
    assert "within noise" in found.verdict
    clear = compare(scores((base + 0.01).round(3)), scores(base)[:28], METRIC, rounds=300)
    assert "A is better" in clear.verdict and "2 image(s) that only one run has" in clear.verdict
    assert "B is better" in compare(scores(base), scores((base + 0.01).round(3)), METRIC).verdict
    text = comparison_text(found, "one", "two")
    assert "A: one" in text and "im07" in text
    shuffled = compare(scores(better.round(3)).sample(frac=1, random_state=1), scores(base), METRIC, rounds=300)
    assert shuffled.overall == found.overall


def test_the_run_to_take_is_the_better_one_or_where_that_is_noise_the_faster(tmp_path: Path) -> None:
    rng, base = np.random.default_rng(0), np.linspace(0.5, 0.8, 30).round(3)
    tables = {"flat": base, "deep": base + 0.1, "alike": (base + rng.normal(0, 0.01, 30)).round(3)}
    settings = {"tune": {"metric": METRIC.name, "metric_params": {}}}
    for name, values in tables.items():
        (tmp_path / name / "tuning").mkdir(parents=True)
        scores(values).to_csv(tmp_path / name / "tuning/nested_scores.csv", index=False)
        document = {"identity": {"settings": settings}, "output": "drawn"}
        (tmp_path / name / "tuning/stage.json").write_text(json.dumps(document))
    flat, deep, alike = (tmp_path / name for name in tables)
    for pair in ((flat, deep), (deep, flat)):
        assert which_to_take(*pair, (1.0, 9.0)).startswith(
            "take deep: nested +0.1000 [+0.1000, +0.1000] over flat, 15 groups"
        )
    said = which_to_take(alike, flat, (0.5, 0.2))
    assert (
        said.startswith("take flat, the faster, 0.20 s an image against 0.50 s, or the mean of both")
        and "noise" in said
    )
    assert "the faster" not in which_to_take(alike, flat, (math.nan, 0.2))
    one = scores(base).assign(group="g")
    for run in (flat, deep):
        one.to_csv(run / "tuning/nested_scores.csv", index=False)
    assert "cannot be told from noise (1 group(s))" in which_to_take(flat, deep, (1.0, 1.0))


def test_runs_that_cannot_be_compared() -> None:
    table = scores(np.full(4, 0.5))
    with pytest.raises(ValueError, match="second table lacks the columns \\['stratum'\\]"):
        compare(table, table.drop(columns="stratum"), METRIC)
    with pytest.raises(ValueError, match="no image in common"):
        compare(table, table.assign(image_id=["a", "b", "c", "d"]), METRIC)
    assert "only one group" in compare(table.assign(group="g"), table.assign(group="g"), METRIC).verdict


def test_what_was_measured_is_written_and_part_of_the_decision(tmp_path: Path) -> None:
    items = draw_items(18)
    other = changed(items, lambda q, rng: q * 0.8)
    extras = Extras(
        fit_weights(TERMS, {"a": items, "b": other}),
        view_worth(TERMS, {"identity": items}),
        shift_table(TERMS, {"none": items, "dark": other}),
        ensemble_shift(TERMS, items, other),
    )
    criteria = drawn_criteria(drawn_contract(), rules=["global"])
    result = tune(criteria, items)
    write_tuning(tmp_path, result, extras=extras)
    decision = load_decision(tmp_path / "decision.json")
    assert sum(decision.weights.values()) == pytest.approx(1) and decision.views == ["identity"]
    assert extras.ensemble is not None and decision.rule == result.decision.rule
    assert decision.learned["ensemble_shift"]["moved"] == extras.ensemble.moved
    assert decision.learned["shift_test"]["robust"] < decision.learned["shift_test"]["optimal"]
    text = (tmp_path / "report.md").read_text()
    assert all(f"## {name}" in text for name in ("Weights of experiments", "Views", "Shift test", "Mean of models"))
    assert {"views.csv", "shifts.csv", "curves.csv"} <= {path.name for path in tmp_path.iterdir()}
    write_drift(tmp_path, drift(result.features, result.features))
    assert "are like those that the decision was learned on" in (tmp_path / "drift.md").read_text()


def test_two_runs_are_compared_source_by_source(tmp_path: Path) -> None:
    a, b = scores(np.array([0.9, 0.8, 0.2, 0.4])), scores(np.full(4, 0.7))
    sources = dict(zip(a["image_id"], ["s1", "s1", "s2", ""], strict=True))
    table = across_sources(a, b, METRIC, sources)
    assert table["source"].tolist() == ["s1", "s2"] and table["images"].tolist() == [2, 1]
    assert table["a"].tolist() == pytest.approx([0.85, 0.2]) and table["b"].tolist() == pytest.approx([0.7, 0.7])
    assert "mean of sources: A 0.5250, B 0.7000; lowest: A 0.2000, B 0.7000" in across_text(table)
    assert sources_of_run(tmp_path) == {}
    made = make_folds(pd.DataFrame({"image_id": list(sources)}), "kfold", 2, 0)
    made[SOURCE] = made["image_id"].map(sources)
    (tmp_path / "folds" / "abc").mkdir(parents=True)
    write_folds(made, tmp_path / "folds" / "abc" / "folds.csv")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "folds.json").write_text('{"folds": "abc"}')
    assert sources_of_run(tmp_path / "run") == sources
