"""Instance metrics against sets of pixels, matched by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from submissions.metrics import build_metric
from submissions.metrics import instances as module
from submissions.metrics.instances import compact_labels, overlaps

SHAPE = (12, 17)
TWENTIETHS = [Fraction(t, 100) for t in range(50, 100, 5)]


def drawn(seed: int, n: int = 6) -> np.ndarray:
    """int32 label of n overlapping boxes, the last one on top; numbers with gaps."""
    rng = np.random.default_rng(seed)
    label = np.zeros(SHAPE, dtype=np.int32)
    for i in range(n):
        y, x = rng.integers(0, SHAPE[0] - 3), rng.integers(0, SHAPE[1] - 3)
        label[y : y + rng.integers(2, 6), x : x + rng.integers(2, 6)] = 3 * i + 1
    return label


def shaken(label: np.ndarray, seed: int) -> np.ndarray:
    """The label with a tenth of its pixels lost and one row of an instance added."""
    out = np.where(np.random.default_rng(seed).random(SHAPE) < 0.9, label, 0).astype(np.int32)
    out[0, :4] = out.max() + 1
    return out


def pixels(label: np.ndarray, valid: np.ndarray | None = None) -> list[set[tuple[int, ...]]]:
    seen = np.ones(SHAPE, dtype=bool) if valid is None else valid
    names = sorted({int(v) for v in label.reshape(-1)} - {0})
    sets = [{i for i in np.ndindex(label.shape) if label[i] == name and seen[i]} for name in names]
    return [s for s in sets if s]


def slow_iou(a: set, b: set) -> Fraction:
    return Fraction(len(a & b), len(a | b))


def slow_tp(pred: list[set], truth: list[set], threshold: Fraction) -> int:
    return sum(any(slow_iou(p, t) > threshold for p in pred) for t in truth)


def pairs() -> list[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    none = np.zeros(SHAPE, dtype=np.int32)
    valid = np.random.default_rng(9).random(SHAPE) < 0.9
    out: list[tuple] = [(shaken(drawn(i), i), drawn(i), valid if i % 2 else None) for i in range(6)]
    return [
        *out,
        (drawn(1), drawn(2), None),
        (none, none, None),
        (drawn(3), none, None),
        (none, drawn(3), None),
    ]


@pytest.mark.parametrize("table", [1 << 22, 0])
def test_overlaps_are_those_of_sets(table: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TABLE", table)
    for pred, truth, valid in pairs():
        found = overlaps(pred, truth, valid)
        p, t = pixels(pred, valid), pixels(truth, valid)
        assert [len(s) for s in t] == found.truth_areas.tolist()
        assert [len(s) for s in p] == found.pred_areas.tolist()
        slow = {(i, j): len(a & b) for i, a in enumerate(t) for j, b in enumerate(p) if a & b}
        assert slow == dict(zip(zip(found.truth, found.pred, strict=True), found.inter, strict=True))
        for i, j, iou in zip(found.truth, found.pred, found.ious(), strict=True):
            assert iou == pytest.approx(float(slow_iou(t[i], p[j])))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint64])
@pytest.mark.parametrize("name", ["dsb2018_precision", "panoptic_quality", "openimages_ap", "adapted_rand"])
def test_labels_of_any_whole_numbers_are_taken(name: str, dtype: type) -> None:
    pred, truth = shaken(drawn(2), 3), drawn(2)
    metric = build_metric(name)
    assert metric.rows(pred.astype(dtype), truth.astype(dtype)) == metric.rows(pred, truth)


def test_large_label_numbers_are_compacted() -> None:
    label = np.array([[0, 2_000_000_000, 7], [7, 0, 9]], dtype=np.int64)
    small, names = compact_labels(label)
    assert names.tolist() == [7, 9, 2_000_000_000]
    np.testing.assert_array_equal(small, [[0, 3, 1], [1, 0, 2]])
    small, names = compact_labels(np.zeros((0, 3), dtype=np.int32))
    assert small.shape == (0, 3) and len(names) == 0


@pytest.mark.parametrize("name", ["dsb2018_precision", "f2_over_iou"])
def test_sweeps_over_iou(name: str) -> None:
    metric = build_metric(name)
    rows = []
    for pred, truth, valid in pairs():
        p, t = pixels(pred, valid), pixels(truth, valid)
        scores = []
        for threshold in TWENTIETHS:
            tp = slow_tp(p, t, threshold)
            fp, fn = len(p) - tp, len(t) - tp
            top, bottom = (tp, tp + fp + fn) if name == "dsb2018_precision" else (5 * tp, 5 * tp + 4 * fn + fp)
            scores.append(top / bottom if bottom else 1.0)
        rows.append(metric.rows(pred, truth, valid))
        assert rows[-1]["score"] == pytest.approx(sum(scores) / 10)
        assert rows[-1]["tp_0.5"] == slow_tp(p, t, TWENTIETHS[0])
    table = pd.DataFrame(rows)
    assert table["score"].tolist()[-3:] == [1.0, 0.0, 0.0]
    assert metric.score(table) == pytest.approx(table["score"].mean())
    draws = np.random.default_rng(0).integers(0, 3, (5, len(table)))
    np.testing.assert_allclose(metric.bootstrap(table, draws), [np.average(table["score"], weights=w) for w in draws])


def test_an_iou_on_the_threshold_is_no_match() -> None:
    truth, pred = np.zeros((4, 5), dtype=np.int32), np.zeros((4, 5), dtype=np.int32)
    truth[:] = 1
    pred[:, :3] = 1  # 12 of 20 pixels: 0.6, above 0.5 and 0.55 only
    assert build_metric("dsb2018_precision").rows(pred, truth)["score"] == pytest.approx(0.2)
    assert build_metric("dsb2018_precision", thresholds=[0.6]).rows(pred, truth)["score"] == 0.0
    assert build_metric("openimages_ap").rows(pred, truth)["score"] == 1.0
    assert build_metric("openimages_ap", iou=0.6001).rows(pred, truth)["score"] == 0.0


@pytest.mark.parametrize("name", ["dsb2018_precision", "f2_over_iou", "object_f1", "panoptic_quality", "openimages_ap"])
def test_the_numbers_that_instances_bear_do_not_matter(name: str) -> None:
    metric, truth = build_metric(name), drawn(4)
    pred = shaken(truth, 4)
    names = np.random.default_rng(0).permutation(40) + 1
    again = metric.rows(np.where(pred > 0, names[pred], 0), np.where(truth > 0, names[::-1][truth], 0))
    assert again == pytest.approx(metric.rows(pred, truth))
    assert metric.rows(truth, truth)["score"] == 1.0
    if name != "openimages_ap":  # confidences are carried along, and change nothing
        confidences = np.linspace(0, 1, len(pixels(pred)))
        assert metric.rows((pred, confidences), truth) == metric.rows(pred, truth)


@pytest.mark.parametrize("over", ["images", "dataset"])
def test_panoptic_quality(over: str) -> None:
    metric = build_metric("panoptic_quality", over=over)
    rows, slow = [], []
    for pred, truth, valid in pairs():
        if valid is None:
            p, t = pixels(pred), pixels(truth)
            ious = [slow_iou(a, b) for a in p for b in t if slow_iou(a, b) > Fraction(1, 2)]
            rows.append(metric.rows(pred, truth))
            slow.append((float(sum(ious)), len(ious), len(p) - len(ious), len(t) - len(ious)))
            assert tuple(rows[-1][c] for c in ("iou_sum", "tp", "fp", "fn")) == pytest.approx(slow[-1])
    quality = [s[0] / (s[1] + s[2] / 2 + s[3] / 2) if sum(s) else math.nan for s in [*slow, np.sum(slow, axis=0)]]
    expected = quality[-1] if over == "dataset" else np.nanmean(quality[:-1])
    assert metric.score(pd.DataFrame(rows)) == pytest.approx(expected)
    none = np.zeros(SHAPE, dtype=np.int32)
    assert math.isnan(metric.rows(none, none)["score"])
    assert build_metric("panoptic_quality", empty=1).rows(none, none)["score"] == 1.0


def test_predictions_mostly_in_the_void_are_no_false_positives() -> None:
    truth, pred, valid = np.zeros(SHAPE, np.int32), np.zeros(SHAPE, np.int32), np.ones(SHAPE, bool)
    truth[:4, :4], pred[:4, :4] = 1, 1
    valid[8:] = False
    pred[7:10, 0] = 5  # two of three pixels void: ignored
    pred[6:9, 5] = 7  # one of three: a false positive
    pred[9, 9] = 8  # wholly void: ignored
    row = build_metric("panoptic_quality").rows(pred, truth, valid)
    assert (row["tp"], row["fp"], row["fn"]) == (1, 1, 0)
    valid[:2, :4] = False  # a match counts even where half of it is void
    assert build_metric("panoptic_quality").rows(pred, truth, valid)["tp"] == 1


def test_an_image_all_void_has_no_score() -> None:
    nothing = np.zeros(SHAPE, dtype=bool)
    for name in ("dsb2018_precision", "f2_over_iou", "object_f1", "panoptic_quality", "openimages_ap"):
        assert math.isnan(build_metric(name).rows(drawn(1), drawn(2), nothing)["score"])


def slow_ap(images: list[tuple[list[set], list[set], list[float]]], iou: float) -> float:
    """AP by its definition: a point for each distinct confidence, then the best precision at each recall."""
    found = []
    for pred, truth, confidences in images:
        taken: set[int] = set()
        for k in sorted(range(len(pred)), key=lambda k: -confidences[k]):
            ious = [float(slow_iou(pred[k], t)) for t in truth]
            best = max(range(len(truth)), key=lambda j: ious[j], default=None)
            hit = best is not None and ious[best] >= iou and best not in taken
            if hit:
                taken.add(best)
            found.append((confidences[k], hit))
    truths = sum(len(truth) for _, truth, _ in images)
    points = []
    for level in sorted({c for c, _ in found}, reverse=True):
        kept = [hit for c, hit in found if c >= level]
        points.append((sum(kept) / truths, sum(kept) / len(kept)))
    area, last = 0.0, 0.0
    for recall, _ in points:
        area += (recall - last) * max(p for r, p in points if r >= recall)
        last = recall
    return area


def ap_images(count: int = 6) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Predictions, truths and confidences, some of them equal."""
    out = []
    for i in range(count):
        truth = drawn(i + 20)
        pred = shaken(truth, i) if i != 2 else drawn(99)
        n = len(pixels(pred))
        out.append((pred, truth, np.random.default_rng(i).integers(1, 8, n) / 8))
    return out


@pytest.mark.parametrize("iou", [0.6, 0.75, 0.9])
def test_average_precision_by_its_definition(iou: float) -> None:
    metric = build_metric("openimages_ap", iou=iou)
    images = ap_images()
    table = pd.DataFrame([metric.rows((p, c), t) for p, t, c in images])
    slow = [(pixels(p), pixels(t), list(c)) for p, t, c in images]
    assert metric.score(table) == pytest.approx(slow_ap(slow, iou))
    assert metric.score(table.sample(frac=1, random_state=0)) == pytest.approx(metric.score(table), rel=1e-14)
    for row, image in zip(table["score"], slow, strict=True):
        assert row == pytest.approx(slow_ap([image], iou))


def test_resampled_average_precision_repeats_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("submissions.metrics.detections._CELLS", 50)  # several parts
    metric = build_metric("openimages_ap", iou=0.75)
    images = ap_images()
    table = pd.DataFrame([metric.rows((p, c), t) for p, t, c in images])
    draws = np.random.default_rng(3).integers(0, 3, (5, len(images)))
    slow = [(pixels(p), pixels(t), list(c)) for p, t, c in images]
    expected = [slow_ap([slow[i] for i in np.repeat(np.arange(6), n)], 0.75) for n in draws]
    np.testing.assert_allclose(metric.bootstrap(table, draws), expected)
    np.testing.assert_allclose([metric.score(table, n) for n in draws], expected)
    assert metric.bootstrap(table, draws[:0]).shape == (0,)


def test_masks_that_overlap_are_scored_like_labels_where_they_do_not() -> None:
    metric = build_metric("openimages_ap")
    valid = np.random.default_rng(1).random(SHAPE) < 0.7
    for pred, truth, confidences in ap_images():
        masks = np.stack([pred == n for n in np.unique(pred)[1:]])
        for seen in (None, valid):
            by_label = metric.rows((pred, confidences), truth, seen)
            assert metric.rows((masks, confidences), truth, seen) == by_label
    truth = drawn(2)
    one = np.stack([truth == truth.max()])
    twice = np.concatenate([one, one])
    assert metric.rows((twice, np.array([0.5, 0.9])), truth)["tp_1"] == 0.0


def test_mean_average_precision_is_the_mean_over_classes_that_exist() -> None:
    metric, none = build_metric("openimages_map", iou=0.75), np.zeros(SHAPE, dtype=np.int32)
    images = ap_images()
    turned = [(p[::-1], t[::-1], c[::-1]) for p, t, c in images[3:] + images[:3]]
    rows = [
        metric.rows([(p, c), (q, d), (q, d)], [t, u, none])  # of the last class there is nothing to find
        for (p, t, c), (q, u, d) in zip(images, turned, strict=True)
    ]
    table = pd.DataFrame(rows)
    slow = [[(pixels(p), pixels(t), list(c)) for p, t, c in of_class] for of_class in (images, turned)]
    assert metric.score(table) == pytest.approx(np.mean([slow_ap(one, 0.75) for one in slow]))
    for k, row in enumerate(rows):
        assert row["score"] == pytest.approx(np.mean([slow_ap([one[k]], 0.75) for one in slow]))
    draws = np.random.default_rng(5).integers(0, 3, (4, len(rows)))
    for drawn_again, got in zip(draws, metric.bootstrap(table, draws), strict=True):
        again = [np.repeat(np.arange(len(rows)), drawn_again)] * 2
        expected = np.mean([slow_ap([one[i] for i in chosen], 0.75) for one, chosen in zip(slow, again, strict=True)])
        assert got == pytest.approx(expected) == metric.score(table, drawn_again)
    assert math.isnan(metric.score(pd.DataFrame([metric.rows([drawn(1)], [none])])))
    single = build_metric("openimages_ap", iou=0.75)
    alone = pd.DataFrame([metric.rows([(p, c)], [t]) for p, t, c in images])
    assert metric.score(alone) == single.score(pd.DataFrame([single.rows((p, c), t) for p, t, c in images]))
    with pytest.raises(ValueError, match="of 1 classes were found, and the truth has 2"):
        metric.rows([none], [none, none])
    with pytest.raises(ValueError, match="lacks the columns"):
        metric.score(alone.drop(columns="truths_0"))


def slow_f1(images: list[tuple[list[set], list[set]]], iou: float, min_area: int) -> tuple[int, int, int, float]:
    """As solaris counts: proposals one after another, each against the truths that are left."""
    tp = fp = fn = 0
    for pred, truth in images:
        left = [one for one in truth if len(one) >= min_area]
        for proposal in [one for one in pred if len(one) > min_area]:
            ious = [slow_iou(proposal, one) for one in left]
            if ious and max(ious) > Fraction(iou):
                left.pop(ious.index(max(ious)))
                tp += 1
            else:
                fp += 1
        fn += len(left)
    precision, recall = tp / max(1, tp + fp), tp / max(1, tp + fn)
    return tp, fp, fn, 2 * precision * recall / (precision + recall) if tp else 0.0


@pytest.mark.parametrize("min_area", [0, 6])
def test_f1_of_objects_as_the_hosts_library_counts_it(min_area: int) -> None:
    metric = build_metric("object_f1", min_area=min_area)
    found = [(p, t) for p, t, _ in ap_images()]
    table = pd.DataFrame([metric.rows(p, t) for p, t in found])
    slow = [(pixels(p), pixels(t)) for p, t in found]
    tp, fp, fn, f1 = slow_f1(slow, 0.5, min_area)
    assert table[["tp", "fp", "fn"]].sum().tolist() == [tp, fp, fn] and tp and fp and fn
    assert metric.score(table) == pytest.approx(f1) != table["score"].mean()
    for row, one in zip(table["score"], slow, strict=True):
        assert row == pytest.approx(slow_f1([one], 0.5, min_area)[3])
    draws = np.random.default_rng(0).integers(0, 3, (3, len(slow)))
    again = [slow_f1([slow[i] for i in np.repeat(np.arange(len(slow)), n)], 0.5, min_area)[3] for n in draws]
    np.testing.assert_allclose(metric.bootstrap(table, draws), again)
    none = np.zeros(SHAPE, dtype=np.int32)
    nothing = metric.rows(none, none)
    assert math.isnan(nothing["score"]) and metric.score(pd.DataFrame([nothing])) == 0.0


def test_an_object_of_exactly_half_is_no_match_and_small_ones_are_left_out() -> None:
    truth, pred = np.zeros(SHAPE, np.int32), np.zeros(SHAPE, np.int32)
    truth[:4, :5], pred[:4, :5], pred[2:4, :5] = 1, 1, 2  # two halves
    truth[8, :5], pred[10, :5] = 2, 3
    assert [build_metric("object_f1").rows(pred, truth)[name] for name in ("tp", "fp", "fn")] == [0, 3, 2]
    assert [build_metric("object_f1", min_area=5).rows(pred, truth)[name] for name in ("tp", "fp", "fn")] == [0, 2, 2]
    assert [build_metric("object_f1", min_area=6).rows(pred, truth)[name] for name in ("tp", "fp", "fn")] == [0, 2, 1]
    assert build_metric("object_f1", iou=0.5).rows(truth, truth)["score"] == 1


def test_detections_and_truths_that_are_not_there() -> None:
    metric, none = build_metric("openimages_ap"), np.zeros(SHAPE, dtype=np.int32)
    missed, extra, nothing = metric.rows(none, drawn(1)), metric.rows(drawn(1), none), metric.rows(none, none)
    assert missed["score"] == 0.0
    assert math.isnan(extra["score"]) and math.isnan(nothing["score"])
    assert metric.score(pd.DataFrame([missed, nothing])) == 0.0
    assert math.isnan(metric.score(pd.DataFrame([nothing])))
    good = metric.rows(drawn(1), drawn(1))
    assert metric.score(pd.DataFrame([good, nothing])) == 1.0
    assert metric.score(pd.DataFrame([good, extra])) == pytest.approx(0.5)  # all confidences equal


def test_no_detection_at_all_as_masks() -> None:
    row = build_metric("openimages_ap").rows((np.zeros((0, *SHAPE), bool), np.zeros(0)), drawn(1))
    assert row["score"] == 0.0 and list(row) == ["truths", "score"]


def test_a_detection_wholly_in_the_void_is_left_out_with_its_confidence() -> None:
    truth, pred, valid = np.zeros(SHAPE, np.int32), np.zeros(SHAPE, np.int32), np.ones(SHAPE, bool)
    truth[:3, :3], pred[:3, :3], pred[8, 8] = 1, 4, 2
    valid[8] = False
    row = build_metric("openimages_ap").rows((pred, np.array([0.9, 0.4])), truth, valid)
    assert row == {"truths": 1.0, "conf_0": 0.4, "tp_0": 1.0, "score": 1.0}


def test_wrong_input_is_named() -> None:
    metric, a = build_metric("dsb2018_precision"), drawn(1)
    with pytest.raises(ValueError, match="prediction is float64"):
        metric.rows(a.astype(float), a)
    with pytest.raises(ValueError, match=r"prediction has shape \(12, 17\), truth \(1, 12, 17\)"):
        metric.rows(a, a[None])
    with pytest.raises(ValueError, match=r"truth is int32 \(1, 1, 12, 17\)"):
        metric.rows(a, a[None, None])
    with pytest.raises(ValueError, match="holds the label -1"):
        metric.rows(a, np.where(a == 0, -1, a))
    with pytest.raises(ValueError, match=r"shape \(17, 12\), truth \(12, 17\)"):
        metric.rows(a.T, a)
    with pytest.raises(ValueError, match="valid is int32"):
        metric.rows(a, a, a)
    ap = build_metric("openimages_ap")
    with pytest.raises(ValueError, match=r"confidences have shape \(2,\), expected 6"):
        ap.rows((a, np.ones(2)), a)
    with pytest.raises(ValueError, match="finite numbers"):
        ap.rows((a, np.full(6, np.nan)), a)
    with pytest.raises(ValueError, match=r"masks are bool \(2, 5, 5\), expected bool \(n, 12, 17\)"):
        ap.rows(np.ones((2, 5, 5), dtype=bool), a)
    with pytest.raises(ValueError, match=r"lacks the columns \['tp_0'\]"):
        ap.score(pd.DataFrame([ap.rows(a, a)]).drop(columns="tp_0"))


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("dsb2018_precision", {"thresholds": [0.4]}, "expected IoUs in"),
        ("f2_over_iou", {"thresholds": []}, "expected IoUs in"),
        ("f2_over_iou", {"thresholds": [0.55555]}, "four decimals"),
        ("openimages_ap", {"iou": 0}, "iou=0"),
        ("openimages_ap", {"iou": 0.61234}, "four decimals"),
        ("openimages_map", {"iou": 1.5}, "iou=1.5"),
        ("object_f1", {"iou": 0.4}, "iou=0.4"),
        ("object_f1", {"min_area": -1}, "min_area=-1"),
        ("panoptic_quality", {"over": "all"}, "over='all'"),
        ("panoptic_quality", {"empty": -1}, "empty=-1"),
    ],
)
def test_wrong_parameters_are_named(name: str, params: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build_metric(name, **params)


@pytest.mark.parametrize(
    "name", ["panoptic_quality", "openimages_ap", "object_f1", "dsb2018_precision", "voi", "adapted_rand"]
)
def test_a_volume_is_scored_as_its_pixels_whichever_way_they_are_laid_out(name: str) -> None:
    pred, truth = shaken(drawn(2), 3), drawn(2)
    valid = np.random.default_rng(4).random(SHAPE) < 0.9
    metric = build_metric(name)
    boxes = [array.reshape(3, 4, 17) for array in (pred, truth, valid)]
    assert metric.rows(*boxes) == metric.rows(pred, truth, valid)


def test_masks_of_volumes_are_scored_like_labels() -> None:
    pred, truth = shaken(drawn(2), 3).reshape(3, 4, 17), drawn(2).reshape(3, 4, 17)
    masks = np.stack([pred == name for name in np.unique(pred)[1:]])
    metric = build_metric("openimages_ap", iou=0.5)
    assert metric.rows(masks, truth) == metric.rows(pred, truth)
