"""Prediction as notebooks do it: a sliding window with Gaussian weights around the eight views of D4; a peer.

`monai.inferers.sliding_window_inference` around `ttach.SegmentationTTAWrapper` where both are installed; else the same
written out in plain torch. Half overlap, batches of 4 windows, probabilities averaged.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from importlib import util

import torch
from torch import Tensor, nn

BATCH, OVERLAP, SIGMA = 4, 0.5, 0.125
Predict = Callable[[nn.Module, Tensor, int], Tensor]


class Probs(nn.Module):
    """A network whose answer is a probability."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities of images (N, C, h, w)."""
        return self.model(x).sigmoid()


def peer() -> tuple[str, Predict]:
    """The name of the peer that is at hand, and how it predicts: (network, image (1, C, H, W), side of a window)."""
    if all(util.find_spec(name) for name in ("monai", "ttach")):
        return "MONAI + ttach", _with_libraries
    return "sliding window + D4 written out", written_out


def _with_libraries(model: nn.Module, image: Tensor, side: int) -> Tensor:
    import ttach
    from monai.inferers import sliding_window_inference

    wrapped = ttach.SegmentationTTAWrapper(Probs(model), ttach.aliases.d4_transform(), merge_mode="mean")
    found: Tensor = sliding_window_inference(
        image, (side, side), BATCH, wrapped, overlap=OVERLAP, mode="gaussian", sigma_scale=SIGMA
    )
    return found


def written_out(model: nn.Module, image: Tensor, side: int) -> Tensor:
    """Mean probabilities (1, K, H, W) of an image at least `side` high and wide."""
    network, weight = Probs(model), gaussian(side, image.device)
    starts = [_starts(size, side) for size in image.shape[2:]]
    corners = list(itertools.product(*starts))
    total = norm = None
    for first in range(0, len(corners), BATCH):
        chosen = corners[first : first + BATCH]
        windows = torch.cat([image[..., y : y + side, x : x + side] for y, x in chosen])
        probs = d4_mean(network, windows).float()
        if total is None or norm is None:
            total = torch.zeros(1, probs.shape[1], *image.shape[2:], device=image.device)
            norm = torch.zeros(1, 1, *image.shape[2:], device=image.device)
        for (y, x), one in zip(chosen, probs, strict=True):
            total[..., y : y + side, x : x + side] += one * weight
            norm[..., y : y + side, x : x + side] += weight
    assert total is not None and norm is not None
    return total / norm


def d4_mean(network: nn.Module, windows: Tensor) -> Tensor:
    """Mean over the four turns of the windows and of their mirror images."""
    total = None
    for flip, turns in itertools.product((False, True), range(4)):
        shown = torch.rot90(windows.flip(3) if flip else windows, turns, (2, 3))
        answer = torch.rot90(network(shown), -turns, (2, 3))
        answer = answer.flip(3) if flip else answer
        total = answer if total is None else total + answer
    assert total is not None
    return total / 8


def gaussian(side: int, device: torch.device) -> Tensor:
    """Weights (side, side), largest in the middle, as MONAI has them: sigma an eighth of the side."""
    places = torch.arange(side, device=device) - (side - 1) / 2
    line = torch.exp(-(places**2) / (2 * (SIGMA * side) ** 2))
    weight = line[:, None] * line[None]
    return weight.clamp(min=float(weight[weight > 0].min()))


def _starts(size: int, side: int) -> list[int]:
    step = int(side * (1 - OVERLAP))
    return [min(start, size - side) for start in range(0, max(1, size - side + step), step)]
