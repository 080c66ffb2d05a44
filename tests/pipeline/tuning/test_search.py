"""From drawn out-of-fold predictions to a decision: against plain loops, in any order, through the table."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn_oof import DrawnItem, draw_exclusive, draw_items, drawn_contract, drawn_criteria

from inference.decide.decision import apply, load_decision
from inference.predict.store import quantise
from pipeline.settings.tuning import TuneSettings
from pipeline.tuning.report import fallen_folds, write_tuning
from pipeline.tuning.rules.pixel_rules import level
from pipeline.tuning.scores.criteria import tuning_metric
from pipeline.tuning.search import TuneResult, tune
from pipeline.tuning.submission_score import score_through_submission
from submissions.host.competition import Competition
from submissions.host.masks import Truth
from submissions.metrics import build_metric


def run(contract: Competition, items: list[Any], **settings: Any) -> TuneResult:
    return tune(drawn_criteria(contract, **settings), items, test_groups=5, fingerprint="abc")


def test_a_threshold_is_the_level_at_which_the_store_keeps_that_probability() -> None:
    given = np.linspace(0.05, 1, 20)
    assert [level(probability) for probability in given.round(2)] == quantise(given).tolist()
    assert level(0.3) == 77 and level(0.0) == 1  # 76.5 is stored as 77


KINDS = {
    "one class": (lambda: drawn_contract(), lambda: draw_items(empty_every=5), {"post": ["min_area"]}),
    "instances": (
        lambda: drawn_contract("dsb2018_precision", instances=True, rows="instance"),
        lambda: draw_items(12, instances=True),
        {"depths": [0.2], "thresholds": [0.4, 0.6]},
    ),
    "id x class": (
        lambda: drawn_contract("dice", classes=["a", "b", "c"], rows="image_class", params={"classes": [0, 1]}),
        lambda: draw_items(12, classes=3),
        {"rules": ["global", "per_class"]},
    ),
    "exclusive, no table": (
        lambda: drawn_contract(
            "iou", classes=["background", "a", "b"], exclusive=True, rows=None, params={"over": "dataset"}
        ),
        draw_exclusive,
        {},
    ),
    "boundary": (lambda: drawn_contract("boundary_f1"), lambda: draw_items(9), {"thresholds": [0.3, 0.5]}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_score_through_written_rows_equals_the_number_reported(kind: str, tmp_path: Path) -> None:
    contract, items, settings = KINDS[kind][0](), KINDS[kind][1](), KINDS[kind][2]
    result = run(contract, items, **settings)
    write_tuning(tmp_path, result)
    decision = load_decision(tmp_path / "decision.json", fingerprint="abc")
    table, score = score_through_submission(drawn_criteria(contract), items, decision)
    assert score == result.cv
    pd.testing.assert_frame_equal(table, result.table)
    assert 0 < result.cv <= 1
    assert result.prediction is not None
    wide, narrow = (x.high - x.low for x in (result.prediction, result.interval))
    assert wide > narrow
    assert decision.learned["cv"] == pytest.approx(result.cv)
    assert (tmp_path / "report.md").read_text().count("\n") > 20


def best_by_loop(items: list[DrawnItem], folds: set[int]) -> tuple[np.ndarray, float]:
    """Dice at every threshold over the images of `folds`, one threshold and image at a time."""
    scores = np.zeros(256)
    chosen = [item for item in items if item.fold in folds]
    for t in range(256):
        values = []
        for item in chosen:
            pred, truth = item.given >= t, item.true.planes[:, 0]
            both = pred.sum() + truth.sum()
            values.append(1.0 if both == 0 else 2 * (pred & truth).sum() / both)
        scores[t] = np.mean(values)
    return scores, float(scores.max())


def test_global_threshold_equals_a_plain_loop_nested_too() -> None:
    items = draw_items(12)
    result = run(drawn_contract(), items, rules=["global"])
    rule = result.rules[0]
    assert rule.fit.choice is not None
    scores, optimum = best_by_loop(items, {0, 1, 2})
    assert np.allclose(rule.fit.choice.scores, scores, atol=1e-12)
    assert rule.optimum == pytest.approx(optimum)
    values = []
    for fold in range(3):
        fit = rule.fits[fold]
        assert fit.choice is not None
        assert np.allclose(fit.choice.scores, best_by_loop(items, {0, 1, 2} - {fold})[0], atol=1e-12)
        t = fit.values["threshold"]
        values += [
            build_metric("dice").rows(i.given >= t, i.true.planes[:, 0])["score"] for i in items if i.fold == fold
        ]
    assert rule.nested == pytest.approx(np.mean(values))
    assert rule.optimism == pytest.approx(rule.optimum - rule.nested)


@pytest.mark.parametrize("rule", ["quantile", "gated"])
def test_what_is_not_scored_counts_for_rules_that_look_at_the_whole_image(rule: str) -> None:
    items = draw_items(8, empty_every=3)
    for item in items:
        valid = np.ones(item.given.shape, bool)
        valid[:, :, 12:] = False
        item.given[:, :12, 12:] = 250  # found, where nothing is scored
        item.true = Truth(item.true.planes, valid)
    report = run(drawn_contract(), items, rules=[rule], areas=[100]).rules[0]
    made = [apply(item.given, report.fit.decision).planes for item in items]
    metric = build_metric("dice")
    rows = [
        metric.rows(planes, item.true.planes[:, 0], item.true.valid[0])["score"]
        for planes, item in zip(made, items, strict=True)
    ]
    assert report.fit.choice is not None
    assert report.fit.choice.scores[report.fit.choice.chosen] == pytest.approx(np.mean(rows))


def test_the_middle_of_the_plateau_is_taken() -> None:
    items = draw_items(12)
    for item in items:
        item.given = np.where(item.true.planes[:, 0], 200, 40).astype(np.uint8)
    result = run(drawn_contract(), items, rules=["global"])
    choice = result.chosen.fit.choice
    assert choice is not None and (choice.low, choice.high, choice.chosen) == (41, 200, 120)
    assert result.cv == result.nested == 1.0


@pytest.mark.parametrize("kind", ["one class", "exclusive, no table"])
def test_the_order_of_images_changes_nothing(kind: str) -> None:
    contract, items, settings = KINDS[kind][0](), KINDS[kind][1](), KINDS[kind][2]
    first = run(contract, items, **settings)
    random.Random(5).shuffle(items)
    second = run(contract, items, **settings)
    assert first.decision == second.decision
    assert (first.cv, first.nested, first.interval) == (second.cv, second.nested, second.interval)
    pd.testing.assert_frame_equal(first.table, second.table)


def test_processes_give_the_same() -> None:
    contract, items = drawn_contract(), draw_items(9)
    results = [tune(drawn_criteria(contract, workers=n, rules=["global"]), items) for n in (1, 2)]
    assert results[0].decision == results[1].decision
    assert results[0].cv == results[1].cv


def test_a_gate_is_found_where_empty_images_are_noisy() -> None:
    rng, items = np.random.default_rng(1), draw_items(48, empty_every=3)
    for item in items:
        if not item.true.planes.any():
            item.given = (rng.random(item.given.shape) < 0.01).astype(np.uint8) * 150
    result = run(drawn_contract(), items, rules=["global", "gated"])
    assert result.chosen.name == "gated"
    assert result.decision.gate is not None
    assert result.rules[1].nested > result.rules[0].nested + 0.1
    empty = next(item for item in items if not item.true.planes.any())
    assert not apply(empty.given, result.decision).planes.any()


def test_thresholds_by_class_and_by_group_are_learned_where_they_differ() -> None:
    items = draw_items(24, classes=2)
    for item in items:
        item.given[1] //= 3
    contract = drawn_contract(classes=["a", "b"], rows="image_class")
    result = run(contract, items, rules=["global", "per_class"])
    assert result.chosen.name == "per_class"
    low, high = sorted(result.chosen.fit.values.values())
    assert low < 60 < high
    items = draw_items(24)
    for item in items:
        if item.stratum == "b":
            item.given //= 3
    result = run(drawn_contract(), items, rules=["global", "per_group"])
    assert result.chosen.name == "per_group"
    assert result.chosen.fit.values["threshold of b"] < 60 < result.chosen.fit.values["threshold of a"]


def test_quantile_wins_where_the_share_is_constant_and_the_scale_is_not() -> None:
    rng, items = np.random.default_rng(0), draw_items(18)
    for n, item in enumerate(items):
        mask = np.zeros(item.given.shape[1:], bool)
        mask[5:15, 5:25] = True
        item.true = Truth(mask[None, None])
        item.given = (np.where(mask, 0.9, 0.3) * rng.integers(60, 255) + n % 3)[None].astype(np.uint8)
    result = run(drawn_contract(), items, rules=["global", "quantile"])
    assert result.chosen.name == "quantile"
    assert result.cv > 0.9


def test_fold_thresholds_are_averaged() -> None:
    items = draw_items(18)
    for item in items:
        if item.fold == 0:
            item.given = np.clip(item.given.astype(int) + 30, 0, 255).astype(np.uint8)
    result = run(drawn_contract(), items, rule="fold_median")
    assert result.chosen.name == "fold_median"
    alone = [int(text) for text in result.chosen.fit.values["of the folds"].split(", ")]
    assert alone[0] > max(alone[1:]) + 15
    assert result.chosen.fit.values["threshold"] == int(np.median(alone))


def test_hysteresis_and_learned_channels_are_rules_as_well() -> None:
    items = draw_items(12)
    result = run(drawn_contract(), items, rules=["global", "hysteresis"], thresholds=[0.4, 0.5], tops=[0.6])
    assert [rule.name for rule in result.rules] == ["global", "hysteresis"]
    instances = draw_items(12, instances=True)
    for item in instances:
        border = np.where(item.true.planes[0, 0], 10, 0).astype(np.uint8)
        item.given = np.concatenate([item.given, border[None]])
    contract = drawn_contract("dsb2018_precision", instances=True, rows="instance")
    result = tune(drawn_criteria(contract, ["disc", "border"], thresholds=[0.5], depths=[0.2]), instances)
    assert [rule.name for rule in result.rules] == ["grid", "border"]
    assert result.decision.channels == ["disc", "border"]


def test_stacks_are_scored_whole() -> None:
    items = draw_items(12)
    for n, item in enumerate(items):
        item.stack, item.z, item.group, item.fold = f"s{n // 3}", -n, f"s{n // 3}", n // 3 % 2
        item.given, item.true = item.given[:, :30, :41], Truth(item.true.planes[:, :, :30, :41])
    contract = drawn_contract(unit="stack")
    result = run(contract, items, rules=["global"])
    assert result.table["image_id"].tolist() == ["s0", "s1", "s2", "s3"]
    t = result.decision.rule.thresholds[0]  # type: ignore[union-attr]
    first = [item for item in items if item.stack == "s0"]
    pred = np.stack([item.given[0] >= t for item in first])[None]
    truth = np.stack([item.true.planes[0, 0] for item in first])[None]
    assert result.table["score"][0] == build_metric("dice").rows(pred, truth)["score"]
    assert score_through_submission(drawn_criteria(contract), items, result.decision)[1] == result.cv


def test_volumes_go_slice_by_slice_through_the_table() -> None:
    items = draw_items(6, folds=2)
    for item in items:
        item.true = Truth(np.repeat(item.true.planes, 3, axis=1))
        item.given = np.repeat(item.given[:, None], 3, axis=1)
    contract = drawn_contract()
    result = run(contract, items, rules=["global"])
    assert score_through_submission(drawn_criteria(contract), items, result.decision)[1] == result.cv


def test_one_fold_alone_is_nested_over_parts_of_its_groups() -> None:
    items = draw_items(12, folds=1)
    result = run(drawn_contract(), items, rules=["global"])
    assert np.isfinite(result.nested)
    assert any("only one fold" in reason for reason in result.reasons)
    assert list(result.fold_scores) == [0]


def test_one_group_alone_has_a_decision_and_no_nested_score(tmp_path: Path) -> None:
    items = draw_items(4, folds=1)
    for item in items:
        item.group = "g"
    result = run(drawn_contract(), items, post=["min_area"])
    assert np.isnan(result.nested) and np.isnan(result.interval.low)
    assert result.post[0].verdict == "not reliable: 1 groups"
    write_tuning(tmp_path, result)
    assert "Nested not defined" in (tmp_path / "report.md").read_text()
    assert load_decision(tmp_path / "decision.json").learned["nested"] is None


def test_a_rule_that_is_set_is_taken_and_the_reason_says_so() -> None:
    result = run(drawn_contract(), draw_items(12), rule="quantile")
    assert result.chosen.name == "quantile"
    assert "set by tune.rule" in result.reasons[0]


def test_few_groups_are_called_not_reliable() -> None:
    result = run(drawn_contract(), draw_items(12), rules=["global", "gated"], post=["holes"])
    assert any(reason.startswith("not reliable: 6 groups") for reason in result.reasons)
    assert [each.verdict for each in result.post] == ["not reliable: 6 groups"]
    assert result.decision.post == []


def test_tuning_for_another_metric() -> None:
    settings = TuneSettings(metric="f_beta", metric_params={"beta": 2.0})
    assert tuning_metric(drawn_contract(), settings) == build_metric("f_beta", beta=2.0)
    assert tuning_metric(drawn_contract(), TuneSettings()) == build_metric("dice")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rules": ["argmax"]}, "'argmax' does not suit drawn"),
        ({"rules": ["per_class"]}, "'per_class' does not suit drawn"),
    ],
)
def test_rules_that_do_not_suit_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(drawn_contract(), draw_items(6), **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rules": ["best"]}, "unknown rule"),
        ({"rule": "best"}, "unknown rule"),
        ({"post": ["polish"]}, "unknown post-processing"),
        ({"thresholds": [1.5]}, "expected probabilities"),
        ({"treshold": 1}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_be(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TuneSettings(**change)


def test_too_many_candidates_are_refused() -> None:
    contract = drawn_contract("dsb2018_precision", instances=True, rows="instance")
    with pytest.raises(ValueError, match="has 15 candidates, expected 1 to 12"):
        run(
            contract,
            draw_items(6, instances=True),
            thresholds=[0.3, 0.4, 0.5, 0.6, 0.7],
            depths=[0.1, 0.2, 0.3],
        )


def test_items_that_cannot_be_learned_from() -> None:
    contract = drawn_contract()
    with pytest.raises(ValueError, match="no out-of-fold prediction"):
        run(contract, [])
    items = draw_items(6)
    with pytest.raises(ValueError, match="'im000' occurs twice"):
        run(contract, [*items, items[0]])
    for item in items:
        item.stack = "s"
    with pytest.raises(ValueError, match="lies in the folds"):
        run(drawn_contract(unit="stack"), items)
    void = [
        DrawnItem(i.image_id, i.fold, i.given, Truth(i.true.planes, np.zeros(i.true.planes.shape[1:], bool)))
        for i in draw_items(6)
    ]
    with pytest.raises(ValueError, match="undefined on every image"):
        run(contract, void, rules=["global"])


def test_a_fold_that_learned_nothing_is_named() -> None:
    assert not fallen_folds({0: 0.81, 1: 0.62, 2: 0.8}) and not fallen_folds({}) and not fallen_folds({0: math.nan})
    assert not fallen_folds({0: -12.0, 1: -3.0}), "distances are no shares"
    (line,) = fallen_folds({0: 0.8389, 1: 0.0})
    assert line.startswith("warning: fold 1 scores 0.0000, but 0.8389 is usual here: ") and "batch: true" in line
    assert len(fallen_folds({0: 0.1, 1: 0.8, 2: 0.79})) == 1
