"""Terms of a loss that look at middle lines, for vessels, fibres and sheets: soft clDice and skeleton recall."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import binary_dilation, generate_binary_structure
from torch import Tensor

from pipeline.training.loss_terms import Pixels, Term, over_classes
from submissions.metrics.skeletons import skeleton


def foreground_weights(class_weights: Sequence[float] | None, pixels: Pixels) -> Sequence[float]:
    """Weights of the classes; where none are given all alike, but exclusive classes without their first, background."""
    if class_weights is not None:
        return class_weights
    return [float(pixels.mode == "sigmoid" or k > 0) for k in range(pixels.logits.shape[1])]


def cl_dice_term(class_weights: Sequence[float] | None = None, *, iterations: int = 3, smooth: float = 1.0) -> Term:
    """`1 - 2 P S / (P + S)`, P the share of the prediction's soft skeleton in the truth, S of the truth's in the
    prediction, each `(sum + smooth) / (sum + smooth)`.

    Shit et al. 2021 (arXiv:2003.07311, algorithm 1 and equation 1, with the authors' smoothing). What is ignored is
    background in both. Softmax: class 0 does not count unless `class_weights` says so.
    """

    def term(pixels: Pixels) -> Tensor:
        shape = (*pixels.truth.shape[:2], *pixels.size)
        probs = (pixels.probs * pixels.valid).reshape(shape)
        truth = pixels.truth.reshape(shape)
        middle_probs, middle_truth = (soft_skeleton(x, iterations).flatten(2) for x in (probs, truth))
        flat_probs, flat_truth = probs.flatten(2), truth.flatten(2)
        precision = ((middle_probs * flat_truth).sum(-1) + smooth) / (middle_probs.sum(-1) + smooth)
        sensitivity = ((middle_truth * flat_probs).sum(-1) + smooth) / (middle_truth.sum(-1) + smooth)
        loss = 1 - 2 * precision * sensitivity / (precision + sensitivity)
        return over_classes(loss, pixels, foreground_weights(class_weights, pixels))

    return term


def soft_skeleton(x: Tensor, iterations: int) -> Tensor:
    """Soft skeleton of values in [0, 1], `(N, K, H, W)` or `(N, K, D, H, W)`: what opening removes, eroding on."""
    found = F.relu(x - _open(x))
    for _ in range(iterations):
        x = _erode(x)
        ridge = F.relu(x - _open(x))
        found = found + F.relu(ridge - found * ridge)
    return found


def _erode(x: Tensor) -> Tensor:
    """Smallest value along each axis' three neighbours (a cross, as the authors' code has it)."""
    axes = x.ndim - 2
    pool = F.max_pool2d if axes == 2 else F.max_pool3d
    parts = []
    for axis in range(axes):
        kernel = [3 if one == axis else 1 for one in range(axes)]
        parts.append(-pool(-x, kernel, 1, [side // 2 for side in kernel]))
    return torch.stack(parts).amin(0)


def _open(x: Tensor) -> Tensor:
    pool = F.max_pool2d if x.ndim == 4 else F.max_pool3d
    return pool(_erode(x), 3, 1, 1)


def skeleton_recall_term(class_weights: Sequence[float] | None = None, *, smooth: float = 1.0) -> Term:
    """`1 - (sum of p on the truth's skeleton + smooth) / (its size + smooth)`, the skeleton a tube 3 voxels thick.

    Kirchhoff et al. 2024 (arXiv:2404.03010, equation 1): it asks nothing of the prediction's skeleton, so it costs
    little and is meant beside an overlap loss. Skeletons are found on the CPU. Softmax: class 0 does not count unless
    `class_weights` says so.
    """

    def term(pixels: Pixels) -> Tensor:
        tubes = tubed_skeletons(pixels.truth, pixels.size) * pixels.valid
        recall = ((pixels.probs * tubes).sum(-1) + smooth) / (tubes.sum(-1) + smooth)
        return over_classes(1 - recall, pixels, foreground_weights(class_weights, pixels))

    return term


def tubed_skeletons(truth: Tensor, size: tuple[int, ...]) -> Tensor:
    """float `(N, K, P)`: the truth's skeleton and the neighbours of it that are truth, 1, all else 0."""
    planes = (truth.detach() > 0.5).cpu().numpy().reshape(-1, *size)
    near = generate_binary_structure(len(size), len(size))
    tubes = np.stack([binary_dilation(skeleton(plane), near) & plane for plane in planes])
    return torch.from_numpy(tubes.reshape(truth.shape)).to(truth)
