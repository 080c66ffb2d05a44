"""Losses by name: `build_loss("bce_dice")` and its kin, each one number per sample before it is one per batch.

Every loss is computed sample by sample (a Dice over the whole batch is not) and normalised by that sample's
own valid pixels; the batch's loss is the plain mean over samples. So the gradient of a doubled batch equals
the mean of the gradients of its halves, and two processes train as one does with the batch of both.

Targets: sigmoid losses take `(N, K, H, W)`, of volumes `(N, K, D, H, W)`, bool, uint8 or float, values 0 and 1
(or anything between, for pseudo-labels) and 255 for pixels to ignore; softmax losses take labels `(N, [D,] H,
W)`, 255 = ignore. What is ignored has no influence; a sample with nothing valid has loss 0 and gradient 0.
Arithmetic is float32, under autocast too.

The losses of segmentation-models-pytorch normalise over the batch and drop absent classes, so none serves
here.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.training.loss_terms import (
    Mode,
    Term,
    boundary_term,
    cross_entropy_term,
    focal_term,
    lovasz_term,
    overlap_term,
    prepare,
)
from pipeline.training.skeleton_terms import cl_dice_term, skeleton_recall_term
from submissions.host.truth import VOID

Reduction = Literal["mean", "none"]


class SegmentationLoss(nn.Module):
    """A weighted sum of terms: `loss(logits (N, K, [D,] H, W), target)` -> scalar float32.

    `weights (N,)`: weight of each sample, about 1. The batch's loss is `mean(weights * loss)`, not divided by
    their sum, so that it stays a mean over samples in every process. `reduction="none"` gives `weights *
    loss`.
    """

    def __init__(self, mode: Mode, terms: Sequence[tuple[float, Term]]) -> None:
        super().__init__()
        if mode not in ("sigmoid", "softmax"):
            raise ValueError(f"loss mode {mode!r}: expected 'sigmoid' or 'softmax'")
        if not any(weight for weight, _ in terms):
            raise ValueError("every term of the loss has weight 0; give at least one a positive weight")
        self.mode: Mode = mode
        self.terms = [(float(weight), term) for weight, term in terms if weight]

    def forward(
        self, logits: Tensor, target: Tensor, *, weights: Tensor | None = None, reduction: Reduction = "mean"
    ) -> Tensor:
        """Scalar, or `(N,)` with `reduction="none"`."""
        with torch.autocast(logits.device.type, enabled=False):
            pixels = prepare(logits, target, self.mode)
            losses = torch.stack([weight * term(pixels) for weight, term in self.terms]).sum(0)
            return _reduce(losses, weights, reduction)


class ClassificationLoss(nn.Module):
    """Loss of image-level logits `(N, K)`: labels `(N,)` for exclusive classes, else `(N, K)` in [0, 1].

    255 is ignored. Smoothing and reduction are as in `SegmentationLoss`; class weights weigh a sample by its
    label (exclusive classes) or a class among classes.
    """

    def __init__(
        self,
        mode: Mode = "softmax",
        *,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        term = cross_entropy_term(class_weights, label_smoothing=label_smoothing)
        self.inner = SegmentationLoss(mode, [(1.0, term)])
        self.mode: Mode = mode

    def forward(
        self, logits: Tensor, target: Tensor, *, weights: Tensor | None = None, reduction: Reduction = "mean"
    ) -> Tensor:
        """Scalar, or `(N,)` with `reduction="none"`."""
        return self.inner(logits[..., None, None], target[..., None, None], weights=weights, reduction=reduction)


def _reduce(losses: Tensor, weights: Tensor | None, reduction: Reduction) -> Tensor:
    if weights is not None:
        if weights.shape != losses.shape:
            raise ValueError(f"weights has shape {tuple(weights.shape)}, expected one a sample: {tuple(losses.shape)}")
        losses = losses * weights.to(losses)
    return losses.mean() if reduction == "mean" else losses


def compound(
    *,
    mode: Mode = "sigmoid",
    entropy: float = 1.0,
    dice: float = 1.0,
    cl_dice: float = 0.0,
    skeleton_recall: float = 0.0,
    border: float = 0.0,
    focal: float = 0.0,
    lovasz: float = 0.0,
    smooth: float = 1.0,
    batch: bool = False,
    iterations: int = 3,
    spacing: Sequence[float] | None = None,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    positive_weight: float = 1.0,
) -> SegmentationLoss:
    """Any terms with their weights; 0 leaves one out. For thin things `cl_dice` or `skeleton_recall` beside others.

    `smooth`: of Dice, `1 - (2 |pt| + smooth) / (|p| + |t| + smooth)`, of each sample; with `batch` of the sums over a
    batch, as nnU-Net has it: for objects that many samples do not show. `label_smoothing` and (mode sigmoid)
    `positive_weight`: of the cross-entropy. `border`: distances are in pixels, hence small weights; `spacing`: a
    distance an axis, for volumes whose slices lie further apart than their pixels. `iterations`: of the soft skeleton
    of clDice, at least the radius of the thickest tube in pixels.
    """
    if mode == "softmax" and positive_weight != 1.0:
        raise ValueError(f"positive_weight is {positive_weight:g}, but the mode is softmax; use class_weights instead")
    smoothed = {"label_smoothing": label_smoothing, "positive_weight": positive_weight}
    terms: list[tuple[float, Term]] = [
        (entropy, cross_entropy_term(class_weights, **smoothed)),
        (dice, overlap_term(class_weights, smooth=smooth / 2, batch=batch)),
        (cl_dice, cl_dice_term(class_weights, iterations=iterations)),
        (skeleton_recall, skeleton_recall_term(class_weights)),
        (border, boundary_term(class_weights, spacing=spacing)),
        (focal, focal_term(class_weights)),
        (lovasz, lovasz_term(class_weights)),
    ]
    return SegmentationLoss(mode, terms)


def focal(
    *,
    mode: Mode = "sigmoid",
    gamma: float = 2.0,
    alpha: float | None = 0.25,
    dice: float = 0.0,
    class_weights: Sequence[float] | None = None,
) -> SegmentationLoss:
    """Focal loss; `dice` adds that much Dice, the usual company."""
    terms = [
        (1.0, focal_term(class_weights, gamma=gamma, alpha=alpha)),
        (dice, overlap_term(class_weights)),
    ]
    return SegmentationLoss(mode, terms)


def tversky(
    *,
    mode: Mode = "sigmoid",
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 1.0,
    smooth: float = 0.5,
    class_weights: Sequence[float] | None = None,
) -> SegmentationLoss:
    """Tversky: `alpha` weighs false alarms, `beta` misses; `gamma` other than 1 is the focal Tversky loss."""
    term = overlap_term(class_weights, alpha=alpha, beta=beta, gamma=gamma, smooth=smooth)
    return SegmentationLoss(mode, [(1.0, term)])


# The usual sums of terms are `compound` with other defaults.
LOSSES: dict[str, Callable[..., SegmentationLoss | ClassificationLoss]] = {
    "bce_dice": compound,
    "ce_dice": partial(compound, mode="softmax"),
    "soft_bce": partial(compound, dice=0.0, label_smoothing=0.1),
    "focal": focal,
    "tversky": tversky,
    "lovasz": partial(compound, entropy=0.0, dice=0.0, lovasz=1.0),
    "boundary": partial(compound, border=0.01),
    "compound": compound,
    "classify": ClassificationLoss,
}


def build_loss(name: str = "bce_dice", **params: Any) -> SegmentationLoss | ClassificationLoss:
    """Loss of the table `LOSSES`; ValueError names an unknown loss or parameter and what was expected."""
    if name not in LOSSES:
        near = difflib.get_close_matches(name, LOSSES, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"loss {name!r}: expected one of {', '.join(LOSSES)}{hint}")
    known = list(inspect.signature(LOSSES[name]).parameters)
    unknown = sorted(set(params) - set(known))
    if unknown:
        raise ValueError(f"loss {name!r} has no parameter {', '.join(unknown)}; expected {', '.join(known)}")
    for key, value in params.items():
        _check_parameter(f"loss {name!r}: {key} is {value}", key, value)
    return LOSSES[name](**params)


def _check_parameter(said: str, key: str, value: Any) -> None:
    """Raises ValueError for a number that would turn a term round, or leave nothing to learn."""
    numbers = [one for one in (value if isinstance(value, Sequence) else [value]) if isinstance(one, int | float)]
    if any(not one >= 0 for one in numbers):
        raise ValueError(f"{said}, expected 0 or more")
    if key == "class_weights" and numbers and not any(numbers):
        raise ValueError(f"{said}, expected a weight above 0 for at least one class")
    if key == "label_smoothing" and numbers and not numbers[0] < 1:
        raise ValueError(f"{said}, expected less than 1")


def training_loss(
    loss: SegmentationLoss | ClassificationLoss,
    outputs: Tensor | Mapping[str, Any],
    target: Tensor,
    *,
    weights: Tensor | None = None,
    aux_weight: float = 0.4,
    image_weight: float = 0.2,
) -> Tensor:
    """Loss of whatever a model gives in training mode (`inference.models.segmenter.TrainOutputs` or plain logits), a
    scalar.

    The auxiliary maps of deep supervision share `aux_weight`; the image-level logits are judged by BCE on
    "does any valid pixel show the class", times `image_weight`.
    """
    if isinstance(outputs, Tensor):
        return loss(outputs, target, weights=weights)
    total = loss(outputs["logits"], target, weights=weights)
    aux = outputs.get("aux_logits", [])
    for logits in aux:
        total = total + aux_weight / len(aux) * loss(logits, target, weights=weights)
    if "image_logits" in outputs:
        logits = outputs["image_logits"]
        present = classes_present(target, loss.mode, logits.shape[1])
        image_loss = ClassificationLoss("sigmoid")
        total = total + image_weight * image_loss(logits, present, weights=weights)
    return total


def classes_present(target: Tensor, mode: Mode, n_classes: int) -> Tensor:
    """Which classes a mask shows: float `(N, K)` of 1 and 0, or 255 where a class has no valid pixel."""
    valid = target != VOID if target.dtype != torch.bool else torch.ones_like(target)
    if mode == "sigmoid":
        shown, known = ((target > 0.5) & valid).flatten(2).any(-1), valid.flatten(2).any(-1)
    else:
        label = torch.where(valid, target.long(), n_classes)
        shown = F.one_hot(label, n_classes + 1)[..., :n_classes].bool().flatten(1, -2).any(1)
        known = valid.flatten(1).any(-1)[:, None].expand_as(shown)
    return torch.where(known, shown.float(), float(VOID))
