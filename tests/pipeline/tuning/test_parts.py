"""Score tables, the choice among candidates, and post-processing, each against a plain account of itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn_oof import draw_items, drawn_contract, drawn_criteria

from inference.decide.decision import Decision, PostStep, apply
from inference.decide.instances import InstanceSettings
from inference.decide.rules import ThresholdRule
from pipeline.tuning.postprocessing import with_step
from pipeline.tuning.rules.histogram_rules import score_table_at
from pipeline.tuning.scores.choice import Judge, selection_folds, widest_run
from pipeline.tuning.scores.score_tables import CountScoreTable, RowScoreTable
from pipeline.tuning.scores.units import make_units, unit_histograms
from pipeline.tuning.search import tune
from submissions.host.masks import Truth
from submissions.metrics import build_metric


def meta_of(n: int, *, groups: int, folds: int = 2) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": [f"i{k}" for k in range(n)],
            "fold": [k % folds for k in range(n)],
            "group": [f"g{k % groups}" for k in range(n)],
            "stratum": "all",
        }
    )


@pytest.mark.parametrize("over", ["images", "dataset"])
def test_a_count_board_scores_as_tables_do(over: str) -> None:
    items = draw_items(6, classes=2)
    units, _ = make_units(items, "image")
    hists = np.stack([unit_histograms([0, 1], unit)[:, :2] for unit in units])
    metric: Any = build_metric("dice", over=over)
    score_table = CountScoreTable.of_thresholds(metric, hists)
    levels = [0, 100, 255]
    tables = [pd.DataFrame([metric.rows(item.given >= t, item.true.planes[:, 0]) for item in items]) for t in levels]
    weights = np.array([[1, 1, 1, 1, 1, 1], [2, 0, 1, 3, 0, 0]], float)
    assert np.allclose(score_table.scores(weights)[:, levels], RowScoreTable(metric, tables).scores(weights))
    rows = np.array([True, False, True, True, False, True])
    made = score_table.table(100, rows)
    pd.testing.assert_frame_equal(made, tables[1][rows].reset_index(drop=True), check_dtype=False)
    pd.testing.assert_frame_equal(RowScoreTable(metric, tables).table(1, rows), made, check_dtype=False)


def test_levels_of_units_and_classes_are_cut_one_by_one() -> None:
    items = draw_items(4, classes=2)
    units, _ = make_units(items, "image")
    hists = np.stack([unit_histograms([0, 1], unit)[:, :2] for unit in units])
    metric: Any = build_metric("iou")
    levels = np.array([[[3, 256], [120, 90]], [[256, 256], [0, 255]], [[77, 5], [9, 9]], [[1, 2], [3, 4]]])
    score_table = score_table_at(metric, hists, levels)
    for candidate in (0, 1):
        table = score_table.table(candidate, np.ones(4, bool))
        for n, item in enumerate(items):
            cut = levels[n, candidate]
            pred = np.stack([item.given[k].astype(int) >= cut[k] for k in (0, 1)])
            assert table.iloc[n].to_dict() == pytest.approx(metric.rows(pred, item.true.planes[:, 0]))


def test_the_longest_run_is_found() -> None:
    within = np.array([True, False, True, True, False, True, True, False])
    assert widest_run(within, 2) == (2, 3)
    assert widest_run(within, 6) == (5, 6)
    assert widest_run(np.array([False, True, True, True]), 1) == (1, 3)


def scored(values: np.ndarray) -> RowScoreTable:
    """Score table whose candidates (columns) have these scores (N, C) under the mean over images."""
    metric: Any = build_metric("dice")
    tables = []
    for column in values.T:
        tp = np.round(column * 1000)
        rest = 1000 - tp
        tables.append(pd.DataFrame({"tp_0": tp, "fp_0": rest, "fn_0": rest, "tn_0": 0.0, "score": column}))
    return RowScoreTable(metric, tables)


def test_noise_is_that_of_the_paired_difference() -> None:
    rng = np.random.default_rng(0)
    image = rng.random(40) * 0.4
    values = np.stack(
        [image + 0.30, image + 0.299, image + 0.25, image + 0.29 + 0.2 * rng.permutation(np.linspace(-1, 1, 40))],
        axis=1,
    )
    judge = Judge(meta_of(40, groups=40), rounds=400)
    choice = judge.choose(scored(np.clip(values, 0, 1)), judge.everything, np.arange(4)[:, None])
    assert choice.best == 0
    assert choice.noise[2] < 0.01 < choice.noise[3]
    assert choice.within.tolist() == [True, False, False, True]
    assert choice.tops.shape == (400,) and set(choice.tops) <= {0, 3}


def test_of_a_grid_the_member_in_the_middle_of_the_plateau_is_chosen() -> None:
    grid = np.array([(t, a) for t in (1.0, 2.0, 3.0) for a in (10.0, 20.0, 30.0)])
    values = np.tile(np.full(9, 0.8), (12, 1))
    judge = Judge(meta_of(12, groups=6), rounds=100)
    assert judge.choose(scored(values), judge.everything, grid).chosen == 4
    values[:, :3] = 0.5
    assert judge.choose(scored(values), judge.everything, grid).chosen in (4, 7)


def test_groups_are_drawn_whole_and_only_those_asked_for() -> None:
    judge = Judge(meta_of(12, groups=4), rounds=50)
    rows = judge.of_fold(0)
    draws = judge.draws(rows)
    assert (draws[:, ~rows] == 0).all()
    assert (draws.sum(axis=1) == rows.sum()).all()
    first, second = (np.flatnonzero(rows & (judge.meta["group"] == g).to_numpy()) for g in ("g0", "g2"))
    for own in (first, second):
        assert (draws[:, own] == draws[:, own[:1]]).all()


def test_one_fold_is_parted_by_groups() -> None:
    meta, apart = selection_folds(meta_of(12, groups=4, folds=1))
    assert not apart and meta["fold"].nunique() == 4
    assert (meta.groupby("group")["fold"].nunique() == 1).all()
    assert selection_folds(meta_of(12, groups=4))[1]


def speckled(number: int = 36) -> list[Any]:
    """Items whose probabilities have single bright pixels outside the discs."""
    rng, items = np.random.default_rng(2), draw_items(number)
    for item in items:
        specks = (rng.random(item.given.shape) < 0.03) & ~item.true.planes[:, 0]
        item.given = np.where(specks, 220, np.where(item.true.planes[:, 0], 200, 30)).astype(np.uint8)
    return items


def run(items: list[Any], metric: str = "dice", **settings: Any) -> Any:
    instances = metric == "dsb2018_precision"
    contract = drawn_contract(metric, instances=instances, rows="instance" if instances else "image")
    return tune(drawn_criteria(contract, **settings), items)


def test_post_processing_that_gains_is_added_and_counts_in_the_nested_score() -> None:
    items = speckled()
    result = run(items, rules=["global"], post=["min_area", "largest"], areas=[1, 5])
    verdicts = {each.step: each.verdict for each in result.post}
    assert verdicts == {"min_area": "added", "largest": "not used: no clear gain"}
    assert result.decision.post == [PostStep(step="min_area", values=[5])]
    assert result.cv > result.chosen.score + 0.02
    assert result.nested == pytest.approx(result.cv)
    assert [each.used for each in result.post] == [True, False]


def test_a_smallest_instance_is_a_step_too() -> None:
    rng, items = np.random.default_rng(2), draw_items(36, instances=True)
    for item in items:
        specks = (rng.random(item.given.shape) < 0.02) & ~item.true.planes[:, 0]
        item.given = np.where(specks, 220, np.where(item.true.planes[:, 0], 200, 30)).astype(np.uint8)
    result = run(
        items, "dsb2018_precision", thresholds=[0.5], depths=[0.2], post=["min_area"], areas=[1, 6], min_groups=10
    )
    assert result.decision.instances is not None and result.decision.instances.min_area == 6
    assert result.cv > result.chosen.score


def test_a_step_of_nothing_changes_nothing() -> None:
    rule = ThresholdRule(thresholds=[9, 9])
    base = Decision(fingerprint="", classes=["a", "b"], channels=["a", "b"], rule=rule)
    assert with_step(base, "holes", 1, 0) is base
    assert with_step(base, "holes", 1, 7).post == [PostStep(step="holes", values=[0, 7])]
    split = base.model_copy(update={"instances": InstanceSettings(plane=1)})
    assert with_step(split, "min_area", 0, 7).instances == split.instances
    assert apply(np.full((2, 5, 7), 9, np.uint8), with_step(split, "min_area", 1, 99)).instances.max() == 0


def test_thresholds_by_group_need_test_images_that_say_their_group() -> None:
    items = draw_items(24)
    for item in items:
        if item.stratum == "b":
            item.given //= 3
    reason = "2 of 3 test images have no value in the column 'organ'"
    assert tune(drawn_criteria(drawn_contract(), rules=["global", "per_group"]), items).chosen.name == "per_group"
    result = tune(replace(drawn_criteria(drawn_contract()), ungrouped=reason), items)
    assert "per_group" not in [rule.name for rule in result.rules]
    assert f"rule 'per_group' is left out: {reason}" in result.reasons
    named: list[dict[str, Any]] = [{"rule": "per_group"}, {"rules": ["global", "per_group"]}]
    for change in named:
        with pytest.raises(ValueError, match="'per_group' cannot decide drawn: 2 of 3 test images have no value"):
            tune(replace(drawn_criteria(drawn_contract(), **change), ungrouped=reason), items)


def test_rules_of_one_image_are_left_out_where_stacks_are_scored() -> None:
    items = draw_items(12)
    for n, item in enumerate(items):
        item.stack, item.z, item.group, item.fold = f"s{n // 3}", n, f"s{n // 3}", n // 3 % 2
        item.given, item.true = item.given[:, :30, :41], Truth(item.true.planes[:, :, :30, :41])
    contract = drawn_contract(unit="stack")
    result = tune(drawn_criteria(contract), items)
    names = [rule.name for rule in result.rules]
    assert "global" in names and not {"quantile", "gated"} & set(names)
    for name in ("quantile", "gated"):
        assert any(reason.startswith(f"rule {name!r} is left out") for reason in result.reasons)
        with pytest.raises(ValueError, match=f"'{name}' cannot decide drawn: it is learned on whole stacks"):
            tune(drawn_criteria(contract, rules=["global", name]), items)
