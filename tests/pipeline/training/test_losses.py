"""Losses against loops written out pixel by pixel; what they promise of samples, ignored pixels, empties."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
import torch
from elsewhere import GPU
from scipy.ndimage import distance_transform_edt
from torch._subclasses.fake_tensor import FakeTensorMode

from pipeline.training.losses import LOSSES, build_loss, classes_present, training_loss

N, K, H, W = 3, 2, 5, 7
SIGMOID = ["bce_dice", "soft_bce", "focal", "tversky", "lovasz", "boundary", "compound"]
SOFTMAX = [
    ("ce_dice", {}),
    ("focal", {"mode": "softmax"}),
    ("tversky", {"mode": "softmax"}),
    ("lovasz", {"mode": "softmax"}),
    ("boundary", {"mode": "softmax"}),
    ("compound", {"mode": "softmax", "cl_dice": 1.0, "skeleton_recall": 1.0}),
]


def drawn_planes(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and a target with blobs, an empty plane, and ignored pixels."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(N, K, H, W, generator=generator, dtype=torch.float64).float() * 2
    target = torch.zeros(N, K, H, W, dtype=torch.uint8)
    target[0, 0, 1:4, 2:6] = 1
    target[1, 1, 0:2, :] = 1
    target[2, 0, 3:, 4:] = 1
    target[0, :, 0, 0:3] = 255
    target[2, 1, 4, :] = 255
    return logits, target


def drawn_label(seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(N, 3, H, W, generator=generator) * 2
    target = torch.randint(0, 3, (N, H, W), generator=generator)
    target[1] = torch.where(target[1] == 2, 0, target[1])  # class 2 is absent from sample 1
    target[0, 0, :4] = 255
    return logits, target


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def planes_reference(logits: torch.Tensor, target: torch.Tensor, plane_loss) -> list[float]:
    """Mean over classes of `plane_loss(list of (logit, truth))` for every sample."""
    losses = []
    for sample, truth in zip(logits.double().tolist(), target.tolist(), strict=True):
        per_class = []
        for plane, plane_truth in zip(sample, truth, strict=True):
            pairs = [
                (x, t)
                for row, row_truth in zip(plane, plane_truth, strict=True)
                for x, t in zip(row, row_truth, strict=True)
                if t != 255
            ]
            per_class.append(plane_loss(pairs))
        losses.append(sum(per_class) / len(per_class))
    return losses


def bce(x: float, t: float) -> float:
    p = sigmoid(x)
    return -(t * math.log(p) + (1 - t) * math.log(1 - p))


def mean_bce(pairs, smoothing: float = 0.0) -> float:
    return sum(bce(x, t * (1 - smoothing) + smoothing / 2) for x, t in pairs) / len(pairs)


def dice_loss(pairs, smooth: float = 1.0) -> float:
    overlap = sum(sigmoid(x) * t for x, t in pairs)
    return 1 - (2 * overlap + smooth) / (sum(sigmoid(x) for x, _ in pairs) + sum(t for _, t in pairs) + smooth)


def focal_loss(pairs, gamma: float = 2.0, alpha: float = 0.25) -> float:
    total = 0.0
    for x, t in pairs:
        p = sigmoid(x)
        p_t, a_t = (p, alpha) if t == 1 else (1 - p, 1 - alpha)
        total -= a_t * (1 - p_t) ** gamma * math.log(p_t)
    return total / len(pairs)


def tversky_loss(pairs, alpha: float = 0.3, beta: float = 0.7, gamma: float = 1.0) -> float:
    hit = sum(sigmoid(x) for x, t in pairs if t == 1)
    false_alarm = sum(sigmoid(x) for x, t in pairs if t == 0)
    missed = sum(1 - sigmoid(x) for x, t in pairs if t == 1)
    return (1 - (hit + 0.5) / (hit + alpha * false_alarm + beta * missed + 0.5)) ** gamma


def jaccard_extension(errors: list[float], truth: list[int]) -> float:
    """Lovász extension by its definition: errors in falling order times the growth of the Jaccard loss."""

    def jaccard_loss(wrong: set[int]) -> float:
        foreground = {i for i, t in enumerate(truth) if t}
        union = foreground | wrong
        return len(wrong) / len(union) if union else 0.0

    order = sorted(range(len(errors)), key=lambda i: -errors[i])
    total, wrong = 0.0, set()
    for i in order:
        before = jaccard_loss(wrong)
        wrong = wrong | {i}
        total += errors[i] * (jaccard_loss(wrong) - before)
    return total


def lovasz_hinge(pairs) -> float:
    errors = [max(0.0, 1 - x * (2 * t - 1)) for x, t in pairs]
    return jaccard_extension(errors, [t for _, t in pairs])


@pytest.mark.parametrize(
    ("name", "params", "plane_loss"),
    [
        ("bce_dice", {}, lambda pairs: mean_bce(pairs) + dice_loss(pairs)),
        ("bce_dice", {"entropy": 0.3, "dice": 0.0}, lambda pairs: 0.3 * mean_bce(pairs)),
        ("bce_dice", {"entropy": 0, "dice": 2, "smooth": 0.1}, lambda pairs: 2 * dice_loss(pairs, 0.1)),
        ("soft_bce", {"label_smoothing": 0.2}, lambda pairs: mean_bce(pairs, 0.2)),
        ("focal", {}, focal_loss),
        ("focal", {"gamma": 1.5, "alpha": 0.6}, lambda pairs: focal_loss(pairs, 1.5, 0.6)),
        ("focal", {"gamma": 0.0, "alpha": None}, mean_bce),
        ("focal", {"dice": 1.0}, lambda pairs: focal_loss(pairs) + dice_loss(pairs)),
        ("tversky", {}, tversky_loss),
        ("tversky", {"gamma": 0.75}, lambda pairs: tversky_loss(pairs, gamma=0.75)),
        ("lovasz", {}, lovasz_hinge),
        ("lovasz", {"entropy": 0.5}, lambda pairs: lovasz_hinge(pairs) + 0.5 * mean_bce(pairs)),
    ],
)
def test_sigmoid_losses_equal_the_written_out_ones(name, params, plane_loss) -> None:
    logits, target = drawn_planes()
    losses = build_loss(name, **params)(logits, target, reduction="none")
    assert losses.shape == (N,)
    assert losses.tolist() == pytest.approx(planes_reference(logits, target, plane_loss), rel=1e-5)


def softmax_pixels(logits: torch.Tensor, target: torch.Tensor, sample: int) -> list[tuple[list[float], int]]:
    """(probabilities, label) of the valid pixels of one sample."""
    pixels = []
    for row in range(H):
        for col in range(W):
            label = int(target[sample, row, col])
            if label != 255:
                values = [math.exp(v) for v in logits[sample, :, row, col].double().tolist()]
                pixels.append(([v / sum(values) for v in values], label))
    return pixels


def softmax_dice(pixels, k: int, smooth: float = 1.0) -> float:
    overlap = sum(probs[k] for probs, label in pixels if label == k)
    total = sum(probs[k] for probs, _ in pixels) + sum(label == k for _, label in pixels)
    return 1 - (2 * overlap + smooth) / (total + smooth)


def test_ce_dice_equals_the_written_out_one() -> None:
    logits, target = drawn_label()
    losses = build_loss("ce_dice")(logits, target, reduction="none").tolist()
    for sample, loss in enumerate(losses):
        pixels = softmax_pixels(logits, target, sample)
        entropy = -sum(math.log(probs[label]) for probs, label in pixels) / len(pixels)
        dice = sum(softmax_dice(pixels, k) for k in range(3)) / 3
        assert loss == pytest.approx(entropy + dice, rel=1e-5)


def test_dice_of_a_batch_adds_up_its_samples() -> None:
    logits, target = drawn_label()
    losses = build_loss("ce_dice", entropy=0, batch=True)(logits, target, reduction="none").tolist()
    pixels = [pixel for sample in range(len(losses)) for pixel in softmax_pixels(logits, target, sample)]
    assert losses == pytest.approx([sum(softmax_dice(pixels, k) for k in range(3)) / 3] * len(losses), rel=1e-5)


def test_softmax_focal_and_lovasz_equal_the_written_out_ones() -> None:
    logits, target = drawn_label()
    focal = build_loss("focal", mode="softmax", gamma=2.0)(logits, target, reduction="none").tolist()
    lovasz = build_loss("lovasz", mode="softmax")(logits, target, reduction="none").tolist()
    for sample in range(N):
        pixels = softmax_pixels(logits, target, sample)
        by_hand = [-((1 - probs[label]) ** 2) * math.log(probs[label]) for probs, label in pixels]
        assert focal[sample] == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-5)
        shown = sorted({label for _, label in pixels})
        extensions = [
            jaccard_extension(
                [abs((label == k) - probs[k]) for probs, label in pixels], [label == k for _, label in pixels]
            )
            for k in shown
        ]
        assert lovasz[sample] == pytest.approx(sum(extensions) / len(shown), rel=1e-5)


def test_cross_entropy_agrees_with_torch_on_weights_smoothing_and_ignore() -> None:
    logits, target = drawn_label()
    weights = [0.2, 1.0, 3.0]
    loss = build_loss("ce_dice", dice=0, class_weights=weights, label_smoothing=0.1)
    reference = torch.nn.CrossEntropyLoss(torch.tensor(weights), ignore_index=255, label_smoothing=0.1)
    for sample in range(N):
        one = slice(sample, sample + 1)
        assert loss(logits[one], target[one]).item() == pytest.approx(
            reference(logits[one], target[one]).item(), rel=1e-5
        )


def test_boundary_equals_the_written_out_distances() -> None:
    logits, target = drawn_planes()
    target = torch.where(target == 255, 0, target)
    losses = build_loss("boundary", border=1.0, dice=0, entropy=0)(logits, target, reduction="none").tolist()
    for sample, loss in enumerate(losses):
        total = 0.0
        for k in range(K):
            plane = target[sample, k].numpy().astype(bool)
            probs = 1 / (1 + np.exp(-logits[sample, k].double().numpy()))
            if plane.any():
                nearest = np.empty((H, W))
                for row, col in np.ndindex(H, W):
                    others = np.argwhere(plane != plane[row, col])
                    nearest[row, col] = np.sqrt(((others - [row, col]) ** 2).sum(1).min())
                assert np.allclose(nearest[~plane], distance_transform_edt(~plane)[~plane])
                total += (probs * np.where(plane, 1 - nearest, nearest)).mean()
        assert loss == pytest.approx(total / K, rel=1e-4, abs=1e-6)


def test_a_sample_of_classes_without_weight_has_no_loss() -> None:
    logits = torch.randn(2, 2, 3, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.zeros(2, 3, 5, dtype=torch.uint8)
    target[1, 0, 0] = 1
    loss = build_loss("ce_dice", dice=0, class_weights=[0.0, 1.0], label_smoothing=0.1)(logits, target)
    loss.backward()
    alone = build_loss("ce_dice", dice=0, class_weights=[0.0, 1.0], label_smoothing=0.1)(logits[1:], target[1:])
    assert loss.item() == pytest.approx(alone.item() / 2) and not logits.grad[0].any()


def test_class_weights_weigh_planes() -> None:
    logits, target = drawn_planes()
    both = build_loss("bce_dice", class_weights=[3.0, 1.0])(logits, target)
    first = build_loss("bce_dice")(logits[:, :1], target[:, :1])
    second = build_loss("bce_dice")(logits[:, 1:], target[:, 1:])
    assert both.item() == pytest.approx((3 * first.item() + second.item()) / 4, rel=1e-5)


def test_positive_weight_multiplies_where_the_truth_is_one() -> None:
    logits, target = torch.zeros(1, 1, 2, 3), torch.tensor([[[[1, 0, 0], [0, 0, 0]]]])
    loss = build_loss("bce_dice", dice=0, positive_weight=4.0)(logits, target)
    assert loss.item() == pytest.approx(math.log(2) * (4 + 5) / 6, rel=1e-5)


@pytest.mark.parametrize("name", SIGMOID)
def test_sigmoid_gradient_of_the_doubled_batch_is_the_mean_of_its_halves(name) -> None:
    logits, target = drawn_planes()
    logits, target = torch.cat([logits, logits.flip(3)]), torch.cat([target, target.flip(2)])
    check_halves(build_loss(name), logits, target)


@pytest.mark.parametrize(("name", "params"), SOFTMAX)
def test_softmax_gradient_of_the_doubled_batch_is_the_mean_of_its_halves(name, params) -> None:
    logits, target = drawn_label()
    logits, target = torch.cat([logits, logits.flip(3)]), torch.cat([target, target.flip(1)])
    check_halves(build_loss(name, **params), logits, target)


def check_halves(loss, logits: torch.Tensor, target: torch.Tensor) -> None:
    """A shared parameter's gradient over the whole batch, and the mean over its halves."""
    weights = torch.linspace(0.5, 1.5, len(logits))

    def gradient(part: slice) -> float:
        factor = torch.ones((), requires_grad=True)
        loss(logits[part] * factor, target[part], weights=weights[part]).backward()
        return factor.grad.item()

    half = len(logits) // 2
    halves = (gradient(slice(0, half)) + gradient(slice(half, None))) / 2
    assert gradient(slice(None)) == pytest.approx(halves, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(("name", "params"), [(name, {}) for name in SIGMOID] + SOFTMAX)
def test_ignored_pixels_have_no_influence_and_all_ignored_is_zero(name, params) -> None:
    softmax = params.get("mode") == "softmax" or name == "ce_dice"
    logits, target = drawn_label() if softmax else drawn_planes()
    loss = build_loss(name, **params)
    ignored = (target == 255)[:, None].expand_as(logits) if softmax else target == 255
    spoiled = torch.where(ignored, float("inf"), logits)
    assert torch.equal(loss(spoiled, target, reduction="none"), loss(logits, target, reduction="none"))

    nothing = torch.full_like(target, 255)
    nothing[1] = target[1]
    leaf = logits.clone().requires_grad_()
    losses = loss(leaf, nothing, reduction="none")
    losses.sum().backward()
    assert losses[0] == 0 and losses[2] == 0 and losses[1] != 0
    assert torch.isfinite(leaf.grad).all()
    assert not leaf.grad[0].any() and not leaf.grad[2].any() and leaf.grad[1].any()


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("focal", {"gamma": 0.5}),
        ("focal", {"gamma": 0.5, "mode": "softmax"}),
        ("tversky", {"gamma": 0.75}),
        ("bce_dice", {"smooth": 0.0}),
        ("ce_dice", {"smooth": 0.0}),
    ],
)
def test_what_is_certain_or_empty_has_a_finite_loss_and_gradient(name, params) -> None:
    softmax = params.get("mode") == "softmax" or name == "ce_dice"
    sides = torch.tensor([-200.0, -50.0, 50.0, 200.0])
    logits = torch.stack([sides, -sides])[None, ..., None].repeat(3, 1, 1, 1).requires_grad_()
    target = torch.zeros(3, 4, 1) if softmax else torch.zeros(3, 2, 4, 1)
    target[1], target[2] = 1, 255
    losses = build_loss(name, **params)(logits, target.to(torch.uint8), reduction="none")
    losses.sum().backward()
    assert torch.isfinite(losses).all() and losses[2] == 0 and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", SIGMOID)
def test_empty_masks_teach_emptiness(name) -> None:
    target = torch.zeros(1, 1, H, W, dtype=torch.uint8)
    loss = build_loss(name)
    quiet, loud = loss(torch.full((1, 1, H, W), -9.0), target), loss(torch.full((1, 1, H, W), 9.0), target)
    assert torch.isfinite(quiet) and quiet < loud


@pytest.mark.parametrize(("name", "params"), [(name, {}) for name in SIGMOID] + SOFTMAX)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_give_finite_float32(name, params, dtype) -> None:
    softmax = params.get("mode") == "softmax" or name == "ce_dice"
    logits, target = drawn_label() if softmax else drawn_planes()
    leaf = (logits * 20).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = build_loss(name, **params)(leaf, target)
    loss.backward()
    assert loss.dtype == torch.float32 and torch.isfinite(loss) and torch.isfinite(leaf.grad).all()


@pytest.mark.parametrize("name", ["bce_dice", "soft_bce", "focal", "tversky"])
def test_soft_targets_are_taken_and_hard_ones_agree_in_every_dtype(name) -> None:
    logits, target = drawn_planes()
    loss = build_loss(name)
    assert torch.isfinite(loss(logits, torch.full((N, K, H, W), 0.3)))
    assert loss(logits, target) == loss(logits, target.float())
    mask = target == 1
    assert loss(logits, mask) == loss(logits, mask.float())


def test_bce_of_a_soft_target_is_least_at_the_target() -> None:
    loss = build_loss("bce_dice", dice=0)
    target = torch.full((1, 1, 2, 3), 0.3)
    leaf = torch.full((1, 1, 2, 3), math.log(0.3 / 0.7), requires_grad=True)
    loss(leaf, target).backward()
    assert leaf.grad.abs().max() < 1e-7


def test_sample_weights_scale_samples() -> None:
    logits, target = drawn_planes()
    loss = build_loss()
    each = loss(logits, target, reduction="none")
    weighted = loss(logits, target, weights=torch.tensor([0.0, 1.0, 2.0]))
    assert weighted.item() == pytest.approx((each[1] + 2 * each[2]).item() / 3, rel=1e-6)
    with pytest.raises(ValueError, match="one a sample"):
        loss(logits, target, weights=torch.ones(2))


def test_classification_loss_is_cross_entropy() -> None:
    logits, label = torch.randn(4, 3), torch.tensor([0, 2, 1, 255])
    loss = build_loss("classify")
    each = loss(logits, label, reduction="none")
    reference = torch.nn.functional.cross_entropy(logits, label, ignore_index=255, reduction="none")
    assert torch.allclose(each, reference) and each[3] == 0
    planes = torch.tensor([[1.0, 0, 255], [0, 0, 1], [1, 1, 1], [0, 0, 0]])
    several = build_loss("classify", mode="sigmoid")(logits, planes, reduction="none")
    assert several[0].item() == pytest.approx(
        torch.nn.functional.binary_cross_entropy_with_logits(logits[0, :2], planes[0, :2]).item(), rel=1e-5
    )


def test_training_loss_adds_what_the_model_gives() -> None:
    logits, target = drawn_planes()
    loss = build_loss()
    image_logits = torch.zeros(N, K)
    outputs = {"logits": logits, "aux_logits": [logits, logits * 2], "image_logits": image_logits}
    main, second = loss(logits, target), loss(logits * 2, target)
    expected = main + 0.4 * (main + second) / 2 + 0.2 * math.log(2)
    assert training_loss(loss, outputs, target).item() == pytest.approx(expected.item(), rel=1e-5)
    assert training_loss(loss, logits, target) == main


def test_classes_present_knows_what_it_cannot_know() -> None:
    target = torch.zeros(2, 2, 3, 4)
    target[0, 0, 1, 2] = 1
    target[1, 1] = 255
    assert classes_present(target, "sigmoid", 2).tolist() == [[1, 0], [0, 255]]
    assert classes_present(target > 0.5, "sigmoid", 2).tolist() == [[1, 0], [0, 1]]
    label = torch.tensor([[[0, 2, 255]], [[255, 255, 255]]])
    assert classes_present(label, "softmax", 3).tolist() == [[1, 0, 1], [255, 255, 255]]


def test_errors_name_what_was_expected() -> None:
    logits, target = drawn_planes()
    with pytest.raises(ValueError, match=r"did you mean bce_dice"):
        build_loss("bce-dice")
    with pytest.raises(ValueError, match="has no parameter gama"):
        build_loss("focal", gama=2)
    for params, words in [
        ({"dice": -1}, "loss 'compound': dice is -1, expected 0 or more"),
        ({"smooth": float("nan")}, "smooth is nan, expected 0 or more"),
        ({"class_weights": [1, -1]}, r"class_weights is \[1, -1\], expected 0 or more"),
        ({"class_weights": [0, 0]}, "expected a weight above 0 for at least one class"),
        ({"label_smoothing": 1}, "label_smoothing is 1, expected less than 1"),
    ]:
        with pytest.raises(ValueError, match=words):
            build_loss("compound", **params)
    with pytest.raises(ValueError, match="weight 0"):
        build_loss("bce_dice", entropy=0, dice=0)
    with pytest.raises(ValueError, match="expected 'sigmoid' or 'softmax'"):
        build_loss("focal", mode="tanh")
    with pytest.raises(ValueError, match="use class_weights instead"):
        build_loss("ce_dice", positive_weight=2.0)
    with pytest.raises(ValueError, match=r"expected \(3, 2, 5, 7\) for a sigmoid loss"):
        build_loss()(logits, target[:, 0])
    with pytest.raises(ValueError, match="one per class: 2"):
        build_loss("bce_dice", class_weights=[1.0])(logits, target)
    with pytest.raises(ValueError, match=r"values in \[0, 1\]"):
        build_loss()(logits, target + 1)
    with pytest.raises(ValueError, match="labels 0 to 1"):
        build_loss("ce_dice")(logits, torch.full((N, H, W), 2))
    assert set(LOSSES) >= {"bce_dice", "ce_dice", "focal", "tversky", "lovasz", "soft_bce", "boundary"}


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"boundary", "classify"}))
@pytest.mark.parametrize("mode", ["sigmoid", "softmax"])
def test_losses_stay_on_the_device_of_the_logits(name: str, mode: str) -> None:
    """On fake tensors, which raise where two devices meet; the boundary loss goes through the CPU and back."""
    takes = inspect.signature(LOSSES[name]).parameters
    params = {"mode": mode} if "mode" in takes else {}
    params |= {"class_weights": [1.0, 2.0, 3.0]} if "class_weights" in takes else {}
    loss = build_loss(name, **params)
    with FakeTensorMode():
        logits, weights = torch.randn(2, 3, 16, 24, device=GPU), torch.ones(2, device=GPU)
        shape = (2, 16, 24) if loss.mode == "softmax" else (2, 3, 16, 24)
        target = torch.zeros(shape, dtype=torch.uint8, device=GPU)
        outputs = {"logits": logits, "aux_logits": [logits], "image_logits": torch.randn(2, 3, device=GPU)}
        assert training_loss(loss, outputs, target, weights=weights).device == GPU
