"""Features of a prediction: against a slow reference, additive over slices, finite for anything."""

from __future__ import annotations

import numpy as np
import pytest

from inference.decide import components
from inference.forecast import features
from inference.forecast.features import FEATURES, SUMS, class_features, class_sums, joined_sums, unit_features


def drawn(seed: int = 0, shape: tuple[int, ...] = (31, 47)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    row, col = np.ogrid[: shape[-2], : shape[-1]]
    disc = (row - 12) ** 2 + (col - 18) ** 2 < 70
    blob = (row - 25) ** 2 + (col - 40) ** 2 < 9
    centre = np.where(disc | blob, 0.8, 0.15)
    q = np.rint(255 * np.clip(centre + rng.normal(0, 0.1, shape), 0, 1)).astype(np.uint8)
    return q, q >= 128


@pytest.mark.parametrize("rows", [31, 4])
def test_sums_are_those_of_a_slow_reference(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (components, features):
        monkeypatch.setattr(module, "STRIP_PIXELS", rows * 47)
    q, mask = drawn()
    p = q / 255
    sums = class_sums(q, mask)
    entropy = sum(-v * np.log2(v) - (1 - v) * np.log2(1 - v) for v in p.ravel() if 0 < v < 1)
    inner = outer = rim = beside = 0
    for y in range(31):
        for x in range(47):
            near = [(y + dy, x + dx) for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))]
            differs = any(mask[a, b] != mask[y, x] for a, b in near if 0 <= a < 31 and 0 <= b < 47)
            inner, outer = inner + (differs and mask[y, x]), outer + (differs and not mask[y, x])
            rim, beside = rim + p[y, x] * (differs and mask[y, x]), beside + p[y, x] * (differs and not mask[y, x])
    expected = {
        "pixels": 31 * 47, "area": mask.sum(), "total": p.sum(), "inside": p[mask].sum(), "entropy": entropy,
        "confidence": np.maximum(p, 1 - p).sum(), "border": inner, "beside": outer, "rim": rim, "beside_rim": beside,
        "unsure": ((q >= 64) & (q < 191)).sum(), "above_quarter": (q >= 64).sum(),
        "above_three_quarters": (q >= 191).sum(), "peak": p.max(),
    }  # fmt: skip
    for name, value in expected.items():
        assert sums[name] == pytest.approx(float(value)), name
    assert set(sums) == set(SUMS)


def test_features_mean_what_they_say() -> None:
    q, mask = drawn()
    p, found = q / 255, class_features(class_sums(q, mask))
    assert set(found) == set(FEATURES)
    assert found["soft_dice"] == pytest.approx(2 * p[mask].sum() / (p.sum() + mask.sum()))
    assert found["soft_iou"] == pytest.approx(p[mask].sum() / (mask.sum() + p[~mask].sum()))
    assert found["inside"] == pytest.approx(p[mask].mean())
    assert found["components"] == pytest.approx(np.log(3)) and found["largest"] < 1
    sure = np.where(mask, 250, 5).astype(np.uint8)
    better = class_features(class_sums(sure, mask))
    assert better["soft_dice"] > found["soft_dice"] and better["stable"] == 1 and better["sharpness"] > 0.9
    assert better["entropy"] < found["entropy"] and better["unsure"] == 0


@pytest.mark.parametrize("value", [0, 128, 255])
def test_constant_predictions_have_finite_features(value: int) -> None:
    q = np.full((9, 14), value, np.uint8)
    found = class_features(class_sums(q, q >= 128))
    assert all(np.isfinite(number) for number in found.values())
    assert found["empty"] == (value == 0)
    one = class_features(class_sums(q[:1, :1], q[:1, :1] >= 128))
    assert all(np.isfinite(number) for number in one.values())


def test_a_stack_is_the_sum_of_its_slices() -> None:
    q, mask = drawn(shape=(3, 31, 47))
    whole = class_sums(q, mask)
    parts = joined_sums([class_sums(one, of) for one, of in zip(q, mask, strict=True)])
    assert whole == pytest.approx(parts)
    assert whole["peak"] == q.max() / 255


def test_many_units_at_once_are_each_by_itself() -> None:
    each = [class_sums(*drawn(seed)) for seed in range(4)] + [
        class_sums(np.zeros((5, 8), np.uint8), np.zeros((5, 8), bool))
    ]
    arrays = {name: np.array([one[name] for one in each]) for name in SUMS}
    together = class_features(arrays)
    for index, one in enumerate(each):
        alone = class_features(one)
        assert {name: values[index] for name, values in together.items()} == pytest.approx(alone)


def test_absent_classes_do_not_count() -> None:
    there, empty = class_sums(*drawn()), class_sums(np.full((31, 47), 9, np.uint8), np.zeros((31, 47), bool))
    found = unit_features({"a": there, "b": empty}, ["a", "b"])
    assert found["soft_dice"] == class_features(there)["soft_dice"] == found["least_soft_dice"]
    assert found["classes"] == 1
    nothing = unit_features({"a": empty, "b": empty}, ["a", "b"])
    assert nothing["classes"] == 2 and nothing["empty"] == 1
    arrays = {of: {name: np.array([sums[name]] * 2) for name in SUMS} for of, sums in (("a", there), ("b", empty))}
    assert unit_features(arrays, ["a", "b"])["least_stable"] == pytest.approx([found["least_stable"]] * 2)


def test_what_is_no_prediction_is_refused() -> None:
    q, mask = drawn()
    for wrong in ((q / 255, mask), (q, mask[:-1]), (q, q), (q[0], mask[0])):
        with pytest.raises(ValueError, match="expected uint8 and bool of one shape"):
            class_sums(*wrong)
