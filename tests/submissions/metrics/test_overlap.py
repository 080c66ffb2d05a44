"""Pixel-count metrics against loops over single pixels, on small non-square masks."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from submissions.metrics import CountMetric, build_metric, overlap

SHAPE = (5, 7)


def drawn(seed: int, k: int = 2, shape: tuple[int, ...] = SHAPE, share: float = 0.4) -> np.ndarray:
    return np.random.default_rng(seed).random((k, *shape)) < share


def slow_counts(pred: np.ndarray, truth: np.ndarray, valid: np.ndarray | None) -> tuple[int, int, int, int]:
    out = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
    for index in np.ndindex(truth.shape):
        if valid is None or valid[index]:
            out[bool(pred[index]), bool(truth[index])] += 1
    return out[True, True], out[True, False], out[False, True], out[False, False]


def test_large_planes_are_counted_strip_by_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "_STRIP", 2 * SHAPE[1])
    for pred, truth, valid in units_with_corners():
        expected = [slow_counts(p, t, valid) for p, t in zip(pred, truth, strict=True)]
        assert overlap.pixel_counts(pred, truth, valid).T.tolist() == [list(counts) for counts in expected]


FORMULAS = {
    "dice": lambda tp, fp, fn: (2 * tp, 2 * tp + fp + fn),
    "iou": lambda tp, fp, fn: (tp, tp + fp + fn),
    "recall": lambda tp, fp, fn: (tp, tp + fn),
    "precision": lambda tp, fp, fn: (tp, tp + fp),
    "f_beta": lambda tp, fp, fn: (1.25 * tp, 1.25 * tp + 0.25 * fn + fp),
}


def slow_value(name: str, counts: tuple[int, int, int, int], empty: float) -> float:
    top, bottom = FORMULAS[name](*counts[:3])
    if sum(counts) == 0:
        return math.nan
    return top / bottom if bottom else empty


def slow_mean(values: list[float]) -> float:
    kept = [v for v in values if not math.isnan(v)]
    return sum(kept) / len(kept) if kept else math.nan


def table_of(metric: CountMetric, units: list[tuple]) -> pd.DataFrame:
    return pd.DataFrame([metric.rows(*unit) for unit in units])


def units_with_corners() -> list[tuple]:
    """Drawn units, with an empty truth, an empty pair, a void region and a unit that is all void."""
    units: list[tuple] = [(drawn(i), drawn(100 + i), drawn(200 + i, 1, share=0.8)[0]) for i in range(5)]
    none = np.zeros((2, *SHAPE), dtype=bool)
    units += [(drawn(7), none, None), (none, none, None), (drawn(8), drawn(9), np.zeros(SHAPE, dtype=bool))]
    half = none.copy()
    half[0] = drawn(11)[0]
    return [*units, (half, half, None)]


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("empty", [1.0, 0.0, "skip"])
def test_mean_over_images_is_that_of_loops(name: str, empty: float | str) -> None:
    units = units_with_corners()
    value = math.nan if empty == "skip" else float(empty)
    for average in ("macro", "micro"):
        metric = build_metric(name, average=average, empty=empty)
        scores = []
        for pred, truth, valid in units:
            per_class = [slow_counts(p, t, valid) for p, t in zip(pred, truth, strict=True)]
            if average == "micro":
                scores.append(slow_value(name, tuple(map(sum, zip(*per_class, strict=True))), value))
            else:
                scores.append(slow_mean([slow_value(name, counts, value) for counts in per_class]))
        table = table_of(metric, units)
        np.testing.assert_allclose(table["score"], scores, rtol=1e-14)
        assert metric.score(table) == pytest.approx(slow_mean(scores), rel=1e-14)


@pytest.mark.parametrize("name", FORMULAS)
def test_over_the_data_set_counts_are_summed_first(name: str) -> None:
    units = units_with_corners()
    total = np.zeros((2, 4), dtype=int)
    for pred, truth, valid in units:
        for k in range(2):
            total[k] += slow_counts(pred[k], truth[k], valid)
    macro = build_metric(name, over="dataset")
    table = table_of(macro, units)
    per_class = [slow_value(name, tuple(total[k]), math.nan) for k in range(2)]
    assert macro.score(table) == pytest.approx(slow_mean(per_class))
    micro = build_metric(name, over="dataset", average="micro")
    assert micro.score(table) == pytest.approx(slow_value(name, tuple(total.sum(axis=0)), math.nan))
    for k in range(2):
        assert build_metric(name, over="dataset", classes=k).score(table) == pytest.approx(per_class[k])
    assert build_metric(name, over="dataset", classes=[1, 0]).score(table) == pytest.approx(slow_mean(per_class))


def test_empty_rules_have_defaults() -> None:
    none = np.zeros((1, *SHAPE), dtype=bool)
    for name in ("dice", "iou", "f_beta", "tgs_precision"):
        metric = build_metric(name)
        assert metric.rows(none, none)["score"] == 1.0
        assert metric.rows(~none, none)["score"] == 0.0
        assert metric.rows(none, ~none)["score"] == 0.0
    table = table_of(build_metric("iou"), [(none, none)])
    assert math.isnan(build_metric("iou", over="dataset").score(table))
    assert build_metric("iou", over="dataset", empty=1).score(table) == 1.0


def test_a_class_in_neither_is_left_out_of_the_mean_over_the_data_set() -> None:
    pred, truth = drawn(1, 3), drawn(2, 3)
    pred[2] = truth[2] = False
    table = table_of(build_metric("iou"), [(pred, truth)])
    both = build_metric("iou", over="dataset", classes=[0, 1]).score(table)
    assert build_metric("iou", over="dataset").score(table) == both


def test_a_unit_without_valid_pixels_has_no_score() -> None:
    void = np.zeros(SHAPE, dtype=bool)
    for name in ("dice", "iou", "pixel_accuracy", "tgs_precision"):
        metric = build_metric(name)
        lost, kept = metric.rows(drawn(1), drawn(2), void), metric.rows(drawn(3), drawn(4))
        assert math.isnan(lost["score"])
        assert metric.score(pd.DataFrame([lost, kept])) == kept["score"]
        assert math.isnan(metric.score(pd.DataFrame([lost])))
    assert math.isnan(build_metric("dice").score(pd.DataFrame([kept]).iloc[:0]))


def test_void_pixels_change_nothing() -> None:
    truth, valid = drawn(2), drawn(3, 1)[0]
    pred, other = drawn(1), drawn(5)
    same = np.where(valid, pred, other)
    for name in ("dice", "iou", "pixel_accuracy", "recall"):
        assert build_metric(name).rows(pred, truth, valid) == build_metric(name).rows(same, truth, valid)


@pytest.mark.parametrize("exclusive", [True, False])
def test_pixel_accuracy(exclusive: bool) -> None:
    rng = np.random.default_rng(0)
    valid = rng.random(SHAPE) < 0.8
    for k in (1, 3):
        if k > 1 and exclusive:
            labels = rng.integers(0, k, (2, *SHAPE))
            pred, truth = (np.stack([label == c for c in range(k)]) for label in labels)
            right = [labels[0][i] == labels[1][i] for i in np.ndindex(SHAPE) if valid[i]]
        else:
            pred, truth = drawn(1, k), drawn(2, k)
            right = [pred[c][i] == truth[c][i] for c in range(k) for i in np.ndindex(SHAPE) if valid[i]]
        metric = build_metric("pixel_accuracy", exclusive=exclusive)
        row = metric.rows(pred, truth, valid)
        assert row["score"] == pytest.approx(sum(right) / len(right))
        twice = pd.DataFrame([row, row])
        assert build_metric("pixel_accuracy", over="dataset", exclusive=exclusive).score(twice) == row["score"]


def test_tgs_precision_counts_thresholds_below_the_iou() -> None:
    metric = build_metric("tgs_precision")
    for hits in range(21):
        truth, pred = np.zeros((1, 3, 9), dtype=bool), np.zeros((1, 3, 9), dtype=bool)
        truth.reshape(-1)[:20] = True
        pred.reshape(-1)[:hits] = True
        iou = Fraction(hits, 20)
        expected = sum(iou > Fraction(t, 100) for t in range(50, 100, 5)) / 10
        assert metric.rows(pred, truth)["score"] == expected
    assert metric.rows(truth, truth)["score"] == 1.0


def test_dice_and_iou_do_not_care_which_is_the_truth() -> None:
    a, b = drawn(1), drawn(2)
    for name in ("dice", "iou", "pixel_accuracy", "tgs_precision"):
        assert build_metric(name).rows(a, b)["score"] == build_metric(name).rows(b, a)["score"]
    assert build_metric("recall").rows(a, b)["score"] == build_metric("precision").rows(b, a)["score"]
    assert build_metric("f_beta", beta=1).rows(a, b)["score"] == pytest.approx(build_metric("dice").rows(a, b)["score"])


def test_a_volume_is_scored_as_its_slices_side_by_side() -> None:
    pred, truth = drawn(1, 2, (3, 4, 5)), drawn(2, 2, (3, 4, 5))
    flat = [x.reshape(2, 12, 5) for x in (pred, truth)]
    assert build_metric("dice").rows(pred, truth) == build_metric("dice").rows(*flat)


@pytest.mark.parametrize("over", ["images", "dataset"])
@pytest.mark.parametrize("average", ["macro", "micro"])
def test_weights_are_repeated_rows_and_bootstrap_is_many_of_them(over: str, average: str) -> None:
    metric = build_metric("dice", over=over, average=average, empty="skip")
    table = table_of(metric, units_with_corners())
    draws = np.random.default_rng(1).integers(0, 3, (6, len(table)))
    expected = [metric.score(table.iloc[np.repeat(np.arange(len(table)), n)]) for n in draws]
    np.testing.assert_allclose([metric.score(table, n) for n in draws], expected, rtol=1e-14)
    np.testing.assert_allclose(metric.bootstrap(table, draws), expected, rtol=1e-12)
    assert metric.score(table.sample(frac=1, random_state=2)) == metric.score(table)


def test_the_score_of_a_written_and_read_table_is_the_same(tmp_path) -> None:
    metric = build_metric("dice")
    table = table_of(metric, units_with_corners())
    table.to_csv(tmp_path / "rows.csv", index=False)
    assert metric.score(pd.read_csv(tmp_path / "rows.csv")) == metric.score(table)


def test_wrong_arrays_are_named() -> None:
    metric, a = build_metric("dice"), drawn(1)
    with pytest.raises(ValueError, match=r"prediction has dtype float32, expected bool"):
        metric.rows(a.astype(np.float32), a)
    with pytest.raises(ValueError, match=r"truth has dtype uint8"):
        metric.rows(a, a.astype(np.uint8))
    with pytest.raises(ValueError, match=r"shape \(2, 5, 7\), truth \(1, 5, 7\)"):
        metric.rows(a, a[:1])
    with pytest.raises(ValueError, match=r"\(classes, height, width\)"):
        metric.rows(a[0], a[0])
    with pytest.raises(ValueError, match=r"valid is bool \(7, 5\)"):
        metric.rows(a, a, np.ones((7, 5), dtype=bool))
    with pytest.raises(ValueError, match="valid is float64"):
        metric.rows(a, a, np.ones(SHAPE))


def test_wrong_tables_and_weights_are_named() -> None:
    metric = build_metric("dice")
    table = table_of(metric, [(drawn(1), drawn(2))] * 3)
    with pytest.raises(ValueError, match=r"lacks the columns \['tp_0'\]"):
        metric.score(table.drop(columns="tp_0"))
    with pytest.raises(ValueError, match=r"lacks the columns \['fn_1'\]"):
        metric.score(table.drop(columns="fn_1"))
    with pytest.raises(ValueError, match=r"shape \(2,\), expected \(3,\)"):
        metric.score(table, np.ones(2))
    with pytest.raises(ValueError, match=r"shape \(3,\), expected \(rounds, 3\)"):
        metric.bootstrap(table, np.ones(3))
    with pytest.raises(ValueError, match="must not be negative"):
        metric.bootstrap(table, -np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"classes=\[4\], but there are 2 planes"):
        build_metric("dice", classes=4).score(table)


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("dice", {"over": "image"}, "over='image', expected one of 'images', 'dataset'"),
        ("iou", {"average": "mean"}, "average='mean'"),
        ("iou", {"empty": "one"}, "empty='one', expected a score"),
        ("iou", {"empty": 2}, "empty=2"),
        ("iou", {"classes": []}, "expected indices of planes"),
        ("iou", {"classes": [True]}, "expected indices of planes"),
        ("f_beta", {"beta": 0}, "beta=0"),
        ("tgs_precision", {"over": "dataset"}, "over='dataset'"),
        ("tgs_precision", {"average": "micro"}, "average='micro'"),
    ],
)
def test_wrong_parameters_are_named(name: str, params: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("[", r"\[")):
        build_metric(name, **params)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_mcc_and_balanced_accuracy_are_scikit_learns() -> None:
    from sklearn.metrics import balanced_accuracy_score, matthews_corrcoef

    every, none = np.ones((1, *SHAPE), bool), np.zeros((1, *SHAPE), bool)
    units = [(drawn(i, 1), drawn(50 + i, 1)) for i in range(4)]
    units += [(none, drawn(1, 1)), (every, drawn(1, 1)), (drawn(1, 1), none), (drawn(1, 1), every)]
    for pred, truth in units:
        flat = truth.ravel(), pred.ravel()
        assert build_metric("mcc").rows(pred, truth)["score"] == pytest.approx(matthews_corrcoef(*flat))
        expected = balanced_accuracy_score(*flat)
        assert build_metric("balanced_accuracy").rows(pred, truth)["score"] == pytest.approx(expected)
    for same in (none, every):
        assert build_metric("mcc").rows(same, same)["score"] == 1
        assert math.isnan(build_metric("mcc", empty="skip").rows(same, same)["score"])
        assert build_metric("balanced_accuracy").rows(same, same)["score"] == 1


def test_mcc_of_counts_beyond_exact_products() -> None:
    counts = [np.array([n]) for n in (10**9, 10**8, 2 * 10**8, 10**10)]
    tp, fp, fn, tn = (Fraction(int(count[0])) for count in counts)
    expected = float(tp * tn - fp * fn) / math.sqrt(float((tp + fp) * (tp + fn))) / math.sqrt((tn + fp) * (tn + fn))
    assert build_metric("mcc").from_counts(*counts) == pytest.approx(expected)
