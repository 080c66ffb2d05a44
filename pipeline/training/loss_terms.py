"""The terms that losses are summed from: each maps the pixels of a batch to one number per sample, `(N,)`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from submissions.host.truth import VOID

Mode = Literal["sigmoid", "softmax"]


@dataclass(frozen=True)
class Pixels:
    """A batch laid out for the terms: P pixels or voxels, everything float32, nothing in it where not valid."""

    mode: Mode
    logits: Tensor  # (N, K, P), 0 where not valid
    truth: Tensor  # (N, K, P) in [0, 1], one-hot for softmax, 0 where not valid
    valid: Tensor  # (N, K, P), 1 or 0
    size: tuple[int, ...]  # H, W, or D, H, W

    @property
    def probs(self) -> Tensor:
        """`(N, K, P)`: sigmoid of each logit, or softmax over the classes."""
        return self.logits.sigmoid() if self.mode == "sigmoid" else self.logits.softmax(dim=1)


Term = Callable[[Pixels], Tensor]


def prepare(logits: Tensor, target: Tensor, mode: Mode) -> Pixels:
    """Check a batch and lay it out; values are looked at on the CPU only, where that does not stall."""
    n, k, *size = logits.shape
    expected = (n, k, *size) if mode == "sigmoid" else (n, *size)
    if tuple(target.shape) != expected:
        raise ValueError(
            f"target has shape {tuple(target.shape)}, expected {expected} for a {mode} loss on logits "
            f"{tuple(logits.shape)}"
        )
    valid = target != VOID if target.dtype != torch.bool else torch.ones_like(target)
    if target.device.type == "cpu":
        _check_values(target, valid, mode, n_classes=k)
    if mode == "sigmoid":
        truth = torch.where(valid, target.float(), 0.0)
    else:
        label = torch.where(valid, target.long(), 0)
        truth = F.one_hot(label, k).movedim(-1, 1).float() * valid[:, None]
        valid = valid[:, None].expand(n, k, *size)
    flat = (n, k, math.prod(size))
    kept = torch.where(valid, logits.float(), 0.0)
    return Pixels(mode, kept.reshape(flat), truth.reshape(flat), valid.float().reshape(flat), tuple(size))


def _check_values(target: Tensor, valid: Tensor, mode: Mode, *, n_classes: int) -> None:
    if not bool(valid.any()):
        return
    kept = target[valid]
    low, high = float(kept.min()), float(kept.max())
    top = 1.0 if mode == "sigmoid" else n_classes - 1
    if low < 0 or high > top:
        what = "values in [0, 1]" if mode == "sigmoid" else f"labels 0 to {top}"
        raise ValueError(f"target holds values from {low:g} to {high:g}, expected {what} or the ignored value")


def over_classes(values: Tensor, pixels: Pixels, class_weights: Sequence[float] | None) -> Tensor:
    """Weighted mean over the classes `(N, K)` -> `(N,)`; planes without a valid pixel do not count."""
    weights = (pixels.valid.sum(-1) > 0).float() * class_weight_tensor(class_weights, values)
    return (values * weights).sum(-1) / weights.sum(-1).clamp(min=1e-12)


def class_weight_tensor(class_weights: Sequence[float] | None, values: Tensor) -> Tensor:
    """`(K,)` beside `values (N, K, ...)`; ones where no weights are given."""
    n_classes = values.shape[1]
    if class_weights is None:
        return values.new_ones(n_classes)
    if len(class_weights) != n_classes:
        raise ValueError(f"class_weights has {len(class_weights)} entries, expected one per class: {n_classes}")
    return values.new_tensor(list(class_weights))


def valid_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean over valid pixels, 0 where there are none: `(N, K, P)` -> `(N, K)`."""
    return (values * valid).sum(-1) / valid.sum(-1).clamp(min=1.0)


def power(values: Tensor, gamma: float) -> Tensor:
    """`values ** gamma` of values from 0 on; those below 1e-7 have no gradient, which gamma below 1 makes infinite."""
    return values if gamma == 1.0 else values.clamp(min=1e-7 if gamma < 1 else 0.0) ** gamma


def cross_entropy_term(
    class_weights: Sequence[float] | None = None,
    *,
    label_smoothing: float = 0.0,
    positive_weight: float = 1.0,
) -> Term:
    """Cross-entropy: binary for each class (sigmoid) or over the classes (softmax).

    Smoothing mixes the truth with one half (sigmoid) or 1 / K (softmax). With softmax, class weights weigh
    pixels by their label and the sample's sum is divided by the sum of those weights, as torch does.
    `positive_weight` (sigmoid) multiplies the loss where the truth is 1.
    """

    def term(pixels: Pixels) -> Tensor:
        if pixels.mode == "sigmoid":
            truth = pixels.truth * (1 - label_smoothing) + 0.5 * label_smoothing
            factor = pixels.logits.new_tensor(positive_weight) if positive_weight != 1.0 else None
            values = F.binary_cross_entropy_with_logits(pixels.logits, truth, reduction="none", pos_weight=factor)
            return over_classes(valid_mean(values, pixels.valid), pixels, class_weights)
        weights = class_weight_tensor(class_weights, pixels.logits)[:, None]
        truth = pixels.truth * (1 - label_smoothing) + label_smoothing / pixels.truth.shape[1]
        losses = -(weights * truth * pixels.logits.log_softmax(dim=1)).sum(1) * pixels.valid[:, 0]
        total = (weights * pixels.truth).sum((1, 2))  # 0 where only classes of weight 0 are shown: nothing is learned
        return torch.where(total > 0, losses.sum(-1) / total.clamp(min=1e-12), 0.0)

    return term


def overlap_term(
    class_weights: Sequence[float] | None = None,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    gamma: float = 1.0,
    smooth: float = 0.5,
    batch: bool = False,
) -> Term:
    """`(1 - T) ** gamma` with the Tversky index `T = (TP + s) / (TP + alpha FP + beta FN + s)`.

    `alpha = beta = 0.5` is Dice, `(2 TP + 2 s) / (|p| + |t| + 2 s)`. An empty truth is learned from: the loss
    falls to 0 as the prediction empties. `batch`: TP, FP and FN are sums over the batch, each sample has its loss, and
    empty ones do not teach to predict nothing. Salehi et al. 2017 (arXiv:1706.05721); gamma: Abraham and Khan 2018
    (arXiv:1810.07842).
    """

    def term(pixels: Pixels) -> Tensor:
        probs = pixels.probs * pixels.valid
        hit = (probs * pixels.truth).sum(-1)
        false_alarm = probs.sum(-1) - hit
        missed = pixels.truth.sum(-1) - hit
        if batch:
            hit, false_alarm, missed = (one.sum(0, keepdim=True).expand_as(one) for one in (hit, false_alarm, missed))
        index = (hit + smooth) / (hit + alpha * false_alarm + beta * missed + smooth).clamp(min=1e-12)
        return over_classes(power(1 - index, gamma), pixels, class_weights)

    return term


def focal_term(class_weights: Sequence[float] | None = None, *, gamma: float = 2.0, alpha: float | None = 0.25) -> Term:
    """Focal loss, mean over valid pixels (Lin et al. 2017, arXiv:1708.02002, equation 5).

    Sigmoid: `a |t - p|**gamma * BCE`, with a = `alpha` where the truth is 1 and `1 - alpha` where it is 0
    (None: 1). Softmax: `(1 - p_label)**gamma * CE`, weighted by class; `alpha` plays no part.
    """

    def term(pixels: Pixels) -> Tensor:
        if pixels.mode == "sigmoid":
            bce = F.binary_cross_entropy_with_logits(pixels.logits, pixels.truth, reduction="none")
            values = power((pixels.truth - pixels.probs).abs(), gamma) * bce
            if alpha is not None:
                values = values * (alpha * pixels.truth + (1 - alpha) * (1 - pixels.truth))
            return over_classes(valid_mean(values, pixels.valid), pixels, class_weights)
        log_probs = pixels.logits.log_softmax(dim=1)
        weights = class_weight_tensor(class_weights, log_probs)[:, None]
        values = -(weights * pixels.truth * power(1 - log_probs.exp(), gamma) * log_probs).sum(1)
        return valid_mean(values, pixels.valid[:, 0])

    return term


def lovasz_term(class_weights: Sequence[float] | None = None) -> Term:
    """Lovász extension of the Jaccard loss, image by image (Berman et al. 2018, arXiv:1705.08790).

    Sigmoid: Lovász hinge for each class. Softmax: the mean over the classes that the sample's truth shows.
    Labels are hard here: a soft truth is cut at one half.
    """

    def term(pixels: Pixels) -> Tensor:
        truth = (pixels.truth > 0.5).float()
        if pixels.mode == "sigmoid":
            errors = (1 - pixels.logits * (2 * truth - 1)).clamp(min=0)
        else:
            errors = (truth - pixels.probs).abs()
        # what is ignored gets error 0: it sorts last and changes neither intersection nor loss
        errors, order = (errors * pixels.valid).sort(dim=-1, descending=True)
        losses = (errors * _lovasz_gradient(truth.gather(-1, order))).sum(-1)
        if pixels.mode == "sigmoid":
            return over_classes(losses, pixels, class_weights)
        weights = (truth.sum(-1) > 0).float() * class_weight_tensor(class_weights, losses)
        return (losses * weights).sum(-1) / weights.sum(-1).clamp(min=1e-12)

    return term


def _lovasz_gradient(truth: Tensor) -> Tensor:
    """Growth of the Jaccard loss as pixels are got wrong in this order; `truth (..., P)` of 0 and 1."""
    total = truth.sum(-1, keepdim=True)
    intersection = total - truth.cumsum(-1)
    union = total + (1 - truth).cumsum(-1)
    jaccard = 1 - intersection / union
    return torch.cat([jaccard[..., :1], jaccard[..., 1:] - jaccard[..., :-1]], dim=-1)


def boundary_term(class_weights: Sequence[float] | None = None, *, spacing: Sequence[float] | None = None) -> Term:
    """Mean over valid pixels of `p * d`, d the signed distance to the truth's border, negative inside.

    Distances are in pixels or voxels, or in the unit of `spacing`, one number per axis.

    Kervadec et al. 2019 (arXiv:1812.07032, equation 5). A plane without a border (empty or full) gives 0.
    It is not bounded below by 0 and is meant beside an overlap loss. Distances are computed on the CPU.
    """

    def term(pixels: Pixels) -> Tensor:
        distances = signed_distances(pixels.truth, pixels.size, spacing)
        return over_classes(valid_mean(pixels.probs * distances, pixels.valid), pixels, class_weights)

    return term


def signed_distances(truth: Tensor, size: tuple[int, ...], spacing: Sequence[float] | None = None) -> Tensor:
    """Signed distance, `(N, K, P)` float32: a border pixel inside is 0, its neighbour outside as far as it is away.

    Raises ValueError for a spacing of another number of axes.
    """
    steps = tuple(spacing) if spacing is not None else (1.0,) * len(size)
    if len(steps) != len(size) or not all(step > 0 for step in steps):
        raise ValueError(f"spacing {list(steps)}: expected {len(size)} distances above 0, one per axis")
    planes = (truth.detach() > 0.5).cpu().numpy().reshape(-1, *size)
    distances = np.zeros(planes.shape, dtype=np.float32)
    for plane, distance in zip(planes, distances, strict=True):
        if plane.any() and not plane.all():
            outside = distance_transform_edt(~plane, steps)
            inside = distance_transform_edt(plane, steps)
            distance[:] = np.where(plane, min(steps) - inside, outside)
    return torch.from_numpy(distances).reshape(truth.shape).to(truth.device)
