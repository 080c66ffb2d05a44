"""One decision, one function: every rule against the plain sentence that describes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.decide.decision import (
    Decision,
    Gate,
    PostStep,
    apply,
    apply_each,
    load_decision,
    save_decision,
)
from inference.decide.instances import InstanceSettings
from inference.decide.rules import NEVER, ArgmaxRule, HysteresisRule, QuantileRule, ThresholdRule, quantile_threshold

CLASSES = ["one", "two"]
EXCLUSIVE = ["background", "one", "two"]


def decision(rule: Any, classes: list[str] | None = None, **more: Any) -> Decision:
    names = classes or CLASSES
    given = {"fingerprint": "abc", "classes": names, "channels": names, "rule": rule, **more}
    given["exclusive"] = rule.kind == "argmax"
    return Decision(**given)


@pytest.fixture(params=[(2, 11, 17), (2, 3, 11, 17)], ids=["image", "volume"])
def probs(request: pytest.FixtureRequest) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, request.param).astype(np.uint8)


def test_thresholds_by_class_and_group(probs: np.ndarray) -> None:
    rule = ThresholdRule(thresholds=[100, NEVER], groups={"lung": [7, 200]})
    common, lung = apply(probs, decision(rule)), apply(probs, decision(rule), group="lung")
    assert np.array_equal(common.planes, np.stack([probs[0] >= 100, np.zeros(probs.shape[1:], bool)]))
    assert np.array_equal(lung.planes, np.stack([probs[0] >= 7, probs[1] >= 200]))
    assert np.array_equal(apply(probs, decision(rule), group="spleen").planes, common.planes)
    assert common.instances is None and common.scores is None


def test_threshold_zero_is_everything(probs: np.ndarray) -> None:
    assert apply(probs, decision(ThresholdRule(thresholds=[0, 0]))).planes.all()


def test_quantile_takes_at_most_its_share(probs: np.ndarray) -> None:
    planes = apply(probs, decision(QuantileRule(shares=[0.1, 0.0]))).planes
    assert 0.08 <= planes[0].mean() <= 0.1
    assert probs[0][planes[0]].min() > probs[0][~planes[0]].max()
    assert not planes[1].any()
    assert quantile_threshold(np.bincount([3, 3, 9, 200], minlength=256), 0.5) == 4
    assert quantile_threshold(np.bincount([3, 3, 9, 200], minlength=256), 1.0) == 0
    hundred = np.bincount(range(100), minlength=256)
    assert [100 - int(quantile_threshold(hundred, share / 100)) for share in range(1, 101)] == list(range(1, 101))
    assert quantile_threshold(np.stack([hundred, hundred * 0]), 0.0).tolist() == [100, 0]


def test_hysteresis_by_class(probs: np.ndarray) -> None:
    rule = HysteresisRule(top=[250, 250], bottom=[120, NEVER], area=[1, 1])
    planes = apply(probs, decision(rule)).planes
    assert (planes[0] <= (probs[0] >= 120)).all() and planes[0].any()
    assert not planes[1].any()


def test_argmax_is_numpys_and_covers_everything() -> None:
    probs = np.random.default_rng(4).integers(0, 9, (3, 13, 19)).astype(np.uint8)
    planes = apply(probs, decision(ArgmaxRule(), EXCLUSIVE)).planes
    assert np.array_equal(planes, np.arange(3)[:, None, None] == probs.argmax(axis=0))
    weighted = apply(probs, decision(ArgmaxRule(weights=[1, 2.5, 0.5]), EXCLUSIVE)).planes
    expected = (probs * np.array([1, 2.5, 0.5], np.float32)[:, None, None]).argmax(axis=0)
    assert np.array_equal(weighted.argmax(axis=0), expected)


def test_reject_leaves_unsure_pixels_to_the_unknown_class() -> None:
    probs = np.random.default_rng(4).integers(0, 256, (3, 13, 19)).astype(np.uint8)
    unsure = probs.max(axis=0) < 150
    nothing = apply(probs, decision(ArgmaxRule(reject=150), EXCLUSIVE)).planes
    assert np.array_equal(~nothing.any(axis=0), unsure)
    named = apply(probs, decision(ArgmaxRule(reject=150, unknown="background"), EXCLUSIVE)).planes
    assert named[0][unsure].all() and (named.sum(axis=0) == 1).all()


def test_priority_claims_before_argmax() -> None:
    probs = np.zeros((3, 1, 4), np.uint8)
    probs[:, 0] = np.array([[200, 10, 45], [90, 60, 80], [100, 90, 10], [20, 250, 99]]).T
    rule = ArgmaxRule(thresholds=[0, 60, 70], priority=[2, 1])
    label = apply(probs, decision(rule, EXCLUSIVE)).planes.argmax(axis=0)[0]
    assert label.tolist() == [0, 2, 1, 2]
    never = ArgmaxRule(thresholds=[0, NEVER, NEVER], priority=[2, 1])
    assert apply(probs, decision(never, EXCLUSIVE)).planes.argmax(axis=0)[0].tolist() == [0, 0, 0, 1]


def test_gate_empties_a_class_that_is_nowhere_sure() -> None:
    probs = np.full((3, 6, 9), 140, np.uint8)
    probs[0, 2, 2:4] = 230
    probs[2] = 20
    rule = ThresholdRule(thresholds=[128, 128])
    own = Gate(top=[220, 220], area=[2, 2])
    made = decision(rule, gate=own, channels=[*CLASSES, "present"])
    planes = apply(probs, made).planes
    assert planes[0].all() and not planes[1].any()
    other = decision(rule, gate=Gate(channel="present", top=[20, 21], area=[1, 1]), channels=made.channels)
    planes = apply(probs, other).planes
    assert planes[0].all() and not planes[1].any()
    off = decision(rule, gate=Gate(top=[255, 255], area=[0, 0]), channels=made.channels)
    assert apply(probs, off).planes.all()


def test_gate_of_exclusive_classes_gives_the_pixels_to_background() -> None:
    probs = np.zeros((3, 4, 6), np.uint8)
    probs[1, :2], probs[0, 2:], probs[2, 0, 0] = 140, 200, 250
    made = decision(ArgmaxRule(), EXCLUSIVE, gate=Gate(top=[0, 200, 200], area=[0, 1, 1]))
    planes = apply(probs, made).planes
    assert (planes.sum(axis=0) == 1).all()
    assert not planes[1].any() and planes[2].sum() == 1


def test_post_processing_runs_in_order_and_by_class() -> None:
    probs = np.zeros((2, 12, 19), np.uint8)
    probs[:, 2:9, 2:9] = 255
    probs[:, 4, 4] = 0
    probs[:, 10, 15] = 255
    steps = [PostStep(step="min_area", values=[5, 0]), PostStep(step="holes", values=[1, 0])]
    planes = apply(probs, decision(ThresholdRule(thresholds=[128, 128]), post=steps)).planes
    assert planes[0].sum() == 49
    assert np.array_equal(planes[1], probs[1] >= 128)
    largest = [PostStep(step="largest", values=[1, 1])]
    planes = apply(probs, decision(ThresholdRule(thresholds=[128, 128]), post=largest)).planes
    assert planes.sum() == 2 * 48


def test_a_step_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown post-processing 'grow', expected one of opening, closing"):
        PostStep(step="grow", values=[1])


@pytest.mark.parametrize("step", ["opening", "closing", "holes", "min_area", "largest"])
def test_exclusive_classes_stay_exclusive(step: str) -> None:
    probs = np.random.default_rng(8).integers(0, 256, (3, 15, 22)).astype(np.uint8)
    post = [PostStep(step=step, values=[2, 2, 2])]
    planes = apply(probs, decision(ArgmaxRule(), EXCLUSIVE, post=post)).planes
    assert (planes.sum(axis=0) == 1).all()
    assert not np.array_equal(planes, apply(probs, decision(ArgmaxRule(), EXCLUSIVE)).planes)


def test_instances_come_with_confidences_and_their_own_plane() -> None:
    probs = np.zeros((3, 20, 41), np.uint8)
    probs[0, 4:16, 4:36], probs[0, 18, 38] = 204, 204
    probs[2, 8:12, 8:12], probs[2, 8:12, 26:30] = 230, 230
    made = decision(
        ThresholdRule(thresholds=[128, 128]),
        channels=[*CLASSES, "centre"],
        instances=InstanceSettings(method="centre", min_area=3),
    )
    mask = apply(probs, made)
    assert mask.instances is not None and mask.instances.max() == 2
    assert np.array_equal(mask.planes[0], mask.instances > 0)
    assert mask.scores == pytest.approx([0.8, 0.8])


RULES = [
    ThresholdRule(thresholds=[3, 4], groups={"a": [1, 2]}),
    QuantileRule(shares=[0.25, 1]),
    HysteresisRule(top=[200, 200], bottom=[100, 90], area=[5, 6]),
    ArgmaxRule(weights=[1, 0.7], thresholds=[9, 8], priority=[1], reject=40, unknown="one"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_json_round_trip_decides_the_same(rule: Any, tmp_path: Path, probs: np.ndarray) -> None:
    made = decision(
        rule,
        gate=Gate(top=[1, 2], area=[3, 4]),
        post=[PostStep(step="min_area", values=[2, 3])],
        instances=InstanceSettings(method="components"),
        weights={"x": 0.25, "y": 0.75},
        learned={"cv": 0.5},
    )
    save_decision(tmp_path / "decision.json", made)
    read = load_decision(tmp_path / "decision.json", fingerprint="abc")
    assert read == made
    assert not list(tmp_path.glob("*.partial"))
    one, other = apply(probs, made), apply(probs, read)
    assert np.array_equal(one.planes, other.planes) and one.scores == other.scores


def test_a_decision_of_another_experiment_format_or_place_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "decision.json"
    with pytest.raises(FileNotFoundError, match="run stage 06_tune"):
        load_decision(path)
    made = decision(ThresholdRule(thresholds=[1, 2]))
    save_decision(path, made)
    with pytest.raises(ValueError, match="learned from the predictions 'abc'"):
        load_decision(path, fingerprint="other")
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "format": 99}))
    with pytest.raises(ValueError, match="format 99, expected 2"):
        load_decision(path)
    path.write_text(json.dumps({**document, "treshold": 1}))
    with pytest.raises(ValueError, match="treshold: unknown key"):
        load_decision(path)


@pytest.mark.parametrize(
    ("rule", "more", "message"),
    [
        (ThresholdRule(thresholds=[1]), {}, "expected a value for each"),
        (ThresholdRule(thresholds=[1, 2], groups={"a": [1]}), {}, "expected a value for each"),
        (ThresholdRule(thresholds=[1, 2]), {"classes": ["one", "three"]}, "are not channels"),
        (ThresholdRule(thresholds=[1, 2]), {"exclusive": True}, "lets classes overlap"),
        (
            ThresholdRule(thresholds=[1, 2]),
            {"gate": Gate(channel="z", top=[1, 1], area=[1, 1])},
            "is not a channel",
        ),
        (ThresholdRule(thresholds=[1, 2]), {"instances": InstanceSettings(method="centre")}, "is not a channel"),
        (ThresholdRule(thresholds=[1, 2]), {"instances": InstanceSettings(plane=2)}, "class index 2"),
        (ArgmaxRule(priority=[5]), {}, "class index 5"),
        (ArgmaxRule(unknown="who"), {}, "rule.unknown is 'who'"),
    ],
)
def test_what_does_not_fit_the_classes_is_refused(rule: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Decision(**{"fingerprint": "abc", "classes": CLASSES, "channels": CLASSES, "rule": rule, **more})


def test_other_arrays_are_refused() -> None:
    made = decision(ThresholdRule(thresholds=[1, 2]))
    for wrong in (np.zeros((2, 4, 5)), np.zeros((3, 4, 5), np.uint8), np.zeros((4, 5), np.uint8)):
        with pytest.raises(ValueError, match="expected uint8 with the 2 channels"):
            apply(wrong, made)


def test_many_decisions_in_one_go_are_those_one_by_one(probs: np.ndarray) -> None:
    smooth = np.repeat(np.repeat(probs, 2, axis=-1), 2, axis=-2)
    splits = [
        InstanceSettings(plane=1, depth=0.0, floor=0.0), InstanceSettings(plane=1, depth=0.0, floor=0.0),
        InstanceSettings(plane=1, depth=0.9), InstanceSettings(plane=0, depth=0.9), InstanceSettings(smooth=0.0),
        InstanceSettings(method="components"), InstanceSettings(method="components", min_area=9), None,
        InstanceSettings(),
    ]  # fmt: skip
    rules = [ThresholdRule(thresholds=values) for values in ([90, 120], [90, 120], [180, 60])]
    asked = [
        decision(rule, instances=split, post=post)
        for rule in rules
        for post in ([], [PostStep(step="min_area", values=[3, 0])])
        for split in splits
    ]
    made = list(apply_each(smooth, asked))
    assert len(made) == len(asked)
    for mask, one in zip(made, asked, strict=True):
        alone = apply(smooth, one)
        np.testing.assert_array_equal(mask.planes, alone.planes)
        assert (mask.instances is None) == (alone.instances is None) and mask.scores == alone.scores
        if mask.instances is not None:
            np.testing.assert_array_equal(mask.instances, alone.instances)
    assert made[1] is made[0] and made[2] is not made[1]  # what is asked for twice is scored once
