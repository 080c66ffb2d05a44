"""Losses of volumes and of middle lines, against references written out with numpy and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation, generate_binary_structure, maximum_filter, minimum_filter
from skimage.morphology import skeletonize

from pipeline.training.loss_terms import signed_distances
from pipeline.training.losses import build_loss, classes_present
from pipeline.training.skeleton_terms import soft_skeleton, tubed_skeletons

SIZE = (6, 9, 11)


def tubes(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (2, 2, 6, 9, 11), and planes with a bar along x, one along y, and an empty one; some are ignored."""
    logits = torch.randn(2, 2, *SIZE, generator=torch.Generator().manual_seed(seed)) * 2
    target = torch.zeros(2, 2, *SIZE, dtype=torch.uint8)
    target[0, 0, 1:4, 2:5, 1:10] = 1
    target[1, 1, 2:5, 1:8, 4:7] = 1
    target[0, 1, 2, 3, 1:9] = 1
    target[0, :, 0, :3] = 255
    return logits, target


def probabilities(logits: torch.Tensor) -> np.ndarray:
    return 1 / (1 + np.exp(-logits.double().numpy()))


def slow_skeleton(x: np.ndarray, iterations: int) -> np.ndarray:
    """Soft skeleton of one plane or volume, with filters of scipy's."""
    cross = generate_binary_structure(x.ndim, 1)
    full = np.ones((3,) * x.ndim, bool)

    def erode(a: np.ndarray) -> np.ndarray:
        return minimum_filter(a, footprint=cross, mode="constant", cval=np.inf)

    def opened(a: np.ndarray) -> np.ndarray:
        return maximum_filter(erode(a), footprint=full, mode="constant", cval=-np.inf)

    found = np.maximum(x - opened(x), 0)
    for _ in range(iterations):
        x = erode(x)
        ridge = np.maximum(x - opened(x), 0)
        found = found + np.maximum(ridge - found * ridge, 0)
    return found


@pytest.mark.parametrize("size", [(9, 11), SIZE])
def test_soft_skeletons_are_the_algorithms_of_the_paper(size: tuple[int, ...]) -> None:
    values = torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(3))
    found = soft_skeleton(values, 3)
    for mine, plane in zip(found[:, 0], values[:, 0], strict=True):
        np.testing.assert_allclose(mine.numpy(), slow_skeleton(plane.double().numpy(), 3), atol=1e-6)


def test_cl_dice_equals_the_written_out_one() -> None:
    logits, target = tubes()
    losses = []
    for logit, planes in zip(logits, target, strict=True):
        per_class = []
        for z, t in zip(probabilities(logit), planes.numpy(), strict=True):
            valid = t != 255
            p, truth = z * valid, (t == 1).astype(float)
            mp, mt = slow_skeleton(p, 2), slow_skeleton(truth, 2)
            precision = ((mp * truth).sum() + 1) / (mp.sum() + 1)
            sensitivity = ((mt * p).sum() + 1) / (mt.sum() + 1)
            per_class.append(1 - 2 * precision * sensitivity / (precision + sensitivity))
        losses.append(np.mean(per_class))
    loss = build_loss("compound", entropy=0, dice=0, cl_dice=1, iterations=2)
    np.testing.assert_allclose(loss(logits, target, reduction="none").numpy(), losses, rtol=1e-5)


def test_skeleton_recall_equals_the_written_out_one() -> None:
    logits, target = tubes(4)
    losses = []
    for logit, planes in zip(logits, target, strict=True):
        per_class = []
        for p, t in zip(probabilities(logit), planes.numpy(), strict=True):
            truth = t == 1
            tube = binary_dilation(skeletonize(truth) > 0, np.ones((3, 3, 3))) & truth
            per_class.append(1 - (p[tube].sum() + 1) / (tube.sum() + 1))
        losses.append(np.mean(per_class))
    loss = build_loss("compound", entropy=0, dice=0, skeleton_recall=1)
    np.testing.assert_allclose(loss(logits, target, reduction="none").numpy(), losses, rtol=1e-5)


def test_of_exclusive_classes_the_background_has_no_middle_line() -> None:
    logits = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    label = torch.zeros(1, *SIZE, dtype=torch.long)
    label[0, 2:5, 2:5, 1:10] = 1
    alone = build_loss("compound", mode="softmax", entropy=0, dice=0, skeleton_recall=1)
    weighed = build_loss("compound", mode="softmax", entropy=0, dice=0, skeleton_recall=1, class_weights=[0, 1, 1])
    assert alone(logits, label) == pytest.approx(float(weighed(logits, label)))
    other = build_loss("compound", mode="softmax", entropy=0, dice=0, skeleton_recall=1, class_weights=[1, 1, 1])
    assert other(logits, label) != pytest.approx(float(alone(logits, label)))


def test_a_compound_is_the_weighted_sum_of_its_terms() -> None:
    logits, target = tubes(2)
    terms = {"entropy": 0.5, "dice": 2.0, "cl_dice": 0.25, "skeleton_recall": 3.0, "border": 0.01, "focal": 1.5}
    none = dict.fromkeys([*terms, "lovasz"], 0.0)
    parts = [weight * build_loss("compound", **{**none, name: 1.0})(logits, target) for name, weight in terms.items()]
    assert build_loss("compound", **{**none, **terms})(logits, target) == pytest.approx(float(sum(parts)), rel=1e-5)


@pytest.mark.parametrize("name", ["bce_dice", "soft_bce", "focal", "tversky", "lovasz"])
def test_a_volume_is_judged_as_its_pixels_laid_out_in_a_plane(name: str) -> None:
    logits, target = tubes(5)
    flat = (2, 2, SIZE[0] * SIZE[1], SIZE[2])
    loss = build_loss(name)
    assert loss(logits, target) == pytest.approx(float(loss(logits.reshape(flat), target.reshape(flat))), rel=1e-6)


def test_labels_of_volumes_and_what_is_ignored() -> None:
    logits = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(7))
    label = torch.randint(0, 3, (1, *SIZE), generator=torch.Generator().manual_seed(8))
    label[0, 0] = 255
    loss = build_loss("ce_dice")
    moved = logits.clone()
    moved[:, :, 0] = 9.0
    assert loss(moved, label) == loss(logits, label)
    assert classes_present(label, "softmax", 3).tolist() == [[1.0, 1.0, 1.0]]
    plain = torch.nn.functional.cross_entropy(logits, label, ignore_index=255)
    assert build_loss("compound", mode="softmax", dice=0)(logits, label) == pytest.approx(float(plain), rel=1e-5)


@pytest.mark.parametrize("mode", ["sigmoid", "softmax"])
@pytest.mark.parametrize("term", ["entropy", "dice", "cl_dice", "skeleton_recall", "border", "focal", "lovasz"])
def test_voxels_that_are_not_labelled_teach_nothing(term: str, mode: str) -> None:
    logits, target = tubes(9)
    if mode == "softmax":
        target = torch.where(target[:, 0] == 255, 255, target[:, 0].long())
    ignored = (target == 255) if mode == "sigmoid" else (target == 255)[:, None].expand_as(logits)
    terms = dict.fromkeys(["entropy", "dice", "cl_dice", "skeleton_recall", "border", "focal", "lovasz"], 0.0)
    loss = build_loss("compound", **{**terms, term: 1.0}, mode=mode)
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, target)
    value.backward()
    assert leaf.grad is not None and not leaf.grad[ignored].any() and leaf.grad.any()
    assert loss(torch.where(ignored, 8.0, logits), target) == pytest.approx(float(value.detach()))


def test_distances_are_in_the_unit_of_the_spacing() -> None:
    truth = torch.zeros(1, 1, *SIZE)
    truth[0, 0, 2:4, 3:6, 4:8] = 1
    steps = (3.0, 1.0, 0.5)
    found = signed_distances(truth.reshape(1, 1, -1), SIZE, steps).reshape(SIZE).numpy()
    inside = np.argwhere(truth[0, 0].numpy() > 0) * steps
    outside = np.argwhere(truth[0, 0].numpy() == 0) * steps
    for place in ((0, 0, 0), (2, 4, 5), (3, 5, 7), (1, 3, 4)):
        there = np.array(place) * steps
        if truth[0, 0][place]:
            expected = 0.5 - min(math.dist(there, other) for other in outside)
        else:
            expected = min(math.dist(there, other) for other in inside)
        assert found[place] == pytest.approx(expected)
    with pytest.raises(ValueError, match="expected 3 distances above 0"):
        signed_distances(truth.reshape(1, 1, -1), SIZE, (1.0, 1.0))


def test_tubes_of_an_empty_truth_are_empty_and_gradients_flow() -> None:
    assert not tubed_skeletons(torch.zeros(1, 1, 20), (4, 5)).any()
    logits, target = tubes()
    logits.requires_grad_()
    build_loss("compound", cl_dice=1, skeleton_recall=1)(logits, target).backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all() and logits.grad.abs().sum() > 0
