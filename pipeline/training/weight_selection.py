"""Which weights are kept: the last, the best seen on the held-out fold, or a mean of several."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from pipeline.settings.training import TrainSettings
from pipeline.training.loader import Batch
from pipeline.training.optimisation import mean_state

NORM_BATCHES = 32


class WeightKeeper:
    """What has been seen so far: scores, the states that may be kept, and whether to stop."""

    def __init__(self, settings: TrainSettings) -> None:
        self.settings = settings
        self.best: float | None = None
        self.without_gain = 0
        self.kept: list[dict[str, Any]] = []  # epoch, score (or None), state

    def see(self, epoch: int, score: float | None, model: nn.Module) -> bool:
        """Take note of an epoch, its score (None or NaN: none) and weights; True where training should
        stop.
        """
        keep = self.settings.keep
        score = None if score is None or math.isnan(score) else score
        if score is not None:
            gained = self.best is None or score > self.best
            self.best, self.without_gain = (score, 0) if gained else (self.best, self.without_gain + 1)
        if keep == "mean_last" or (score is not None and keep in ("best", "mean_best")):
            state = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
            self.kept.append({"epoch": epoch, "score": score, "state": state})
            if keep != "mean_last":
                self.kept.sort(key=lambda one: (-one["score"], one["epoch"]))
            count = 1 if keep == "best" else self.settings.keep_epochs
            self.kept = self.kept[-count:] if keep == "mean_last" else self.kept[:count]
        patience = self.settings.patience
        return patience is not None and self.without_gain >= patience

    def load_kept(self, model: nn.Module, batches: Iterable[Batch], device: torch.device) -> list[int]:
        """Give `model` the weights that are kept; returns the epochs they come from (empty: the last,
        untouched).

        Norm layers of a mean of weights are measured anew on some training batches (arXiv:1803.05407).
        """
        if self.kept:
            model.load_state_dict(mean_state([one["state"] for one in self.kept]))
        if len(self.kept) > 1:
            images = (batch.images.to(device) for _, batch in zip(range(NORM_BATCHES), batches, strict=False))
            measure_norms(model, images)
        return sorted(one["epoch"] for one in self.kept)

    def state(self) -> dict[str, Any]:
        """Everything a restart needs."""
        return {"best": self.best, "without_gain": self.without_gain, "kept": self.kept}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what `state` gave."""
        self.best, self.without_gain, self.kept = state["best"], state["without_gain"], state["kept"]


def measure_norms(model: nn.Module, images: Iterable[torch.Tensor]) -> None:
    """Measure the statistics of batch norms anew on `images`, but for frozen ones, which torch would reset as well."""
    frozen = [model.get_submodule(name) for name in getattr(model, "frozen_norms", ())]
    before = [copy.deepcopy(norm.state_dict()) for norm in frozen]
    torch.optim.swa_utils.update_bn(images, model)
    for norm, state in zip(frozen, before, strict=True):
        norm.load_state_dict(state)
    model.eval()
