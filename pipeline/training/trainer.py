"""One network being trained: its steps, its averaged weights, and the state that a restart needs."""

from __future__ import annotations

import contextlib
import copy
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch import Tensor, nn

from inference.models import Model
from inference.models.freezing import Part, freeze, unfreeze
from inference.predict.devices import fits_memory, pick_device
from inference.predict.precision import DTYPES, resolve_precision
from pipeline.seeds import seed_of
from pipeline.settings.training import LossSettings, TrainSettings
from pipeline.training.batch_size_finder import refuse_batch
from pipeline.training.loader import Batch
from pipeline.training.losses import ClassificationLoss, SegmentationLoss, build_loss, training_loss
from pipeline.training.optimisation import build_optimizer, rate_factor, set_rate, update_average

PATIENCE = timedelta(days=1)  # of a process for the first, which alone validates; torch's own are 10 and 30 minutes


class BadLoss(ValueError):
    """The loss or its gradient is NaN or infinite; `batch_ids` are the samples it came from."""

    def __init__(self, message: str, batch_ids: list[str]) -> None:
        super().__init__(message)
        self.batch_ids = batch_ids


@dataclass(frozen=True)
class StepResult:
    """What a step measured; loss and gradient norm are NaN or infinite where the step was skipped."""

    loss: float
    norm: float
    rate: float
    skipped: bool


def start_processes(device: str | None) -> tuple[Accelerator, torch.device]:
    """Join the other processes of `torchrun`, if there are any; the device this process computes on.

    Raises ValueError where the launcher meant several processes and this one found itself alone.
    """
    wanted = torch.device(device) if device is not None else None
    accelerator = Accelerator(
        cpu=pick_device(device).type == "cpu",  # unsaid, it joins no processes where no GPU is
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != world:
        raise ValueError(
            f"WORLD_SIZE is {world}, but {accelerator.num_processes} process(es) joined; start with torchrun "
            "--nproc_per_node N"
        )
    alone = accelerator.num_processes == 1
    return accelerator, wanted if alone and wanted is not None else accelerator.device


class Trainer:
    """State of one training: network, averaged network, optimizer, scaler, number of skipped steps."""

    def __init__(
        self,
        model: nn.Module,
        settings: TrainSettings,
        loss: LossSettings,
        *,
        accelerator: Accelerator,
        device: torch.device,
        seed: int,
        in_channels: int,
    ) -> None:
        self.settings, self.loss_settings, self.seed = settings, loss, seed
        self.accelerator, self.device = accelerator, device
        self.precision = resolve_precision(settings.precision, device)
        self.total_steps = settings.epochs * settings.steps_per_epoch
        self.skipped = 0
        self.loss: SegmentationLoss | ClassificationLoss = build_loss(loss.name, **loss.params)
        if settings.sync_batch_norm:
            if device.type != "cuda":
                raise ValueError(
                    f"train.sync_batch_norm needs GPUs, but the device is {device.type}; leave it out, or use "
                    "group norm or frozen batch norm"
                )
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        flat = not any(weight.ndim == 5 for weight in model.parameters())  # volumes stay as they are laid out
        layout = torch.channels_last if settings.channels_last and flat else torch.contiguous_format
        self.net = model.to(device).to(memory_format=layout)
        self.average = copy.deepcopy(self.net).eval().requires_grad_(False) if settings.ema else None
        self.optimizer = build_optimizer(self.net, settings, device=device, in_channels=in_channels)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")
        if settings.compile:
            self.net.compile()
        self.frozen = False
        self.wrapped: nn.Module = self._wrap()

    def _wrap(self) -> nn.Module:
        """The network as the steps call it: itself, or shared with the other processes."""
        if self.accelerator.num_processes == 1:
            return self.net
        ids = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(self.net, device_ids=ids)

    def begin_epoch(self, epoch: int) -> None:
        """Training mode; what is frozen in this epoch is frozen, what is released is released."""
        self.net.train()
        part, until = self.settings.freeze, self.settings.freeze_epochs
        frozen = part is not None and (until == 0 or epoch < until)
        if frozen == self.frozen:
            return
        if frozen:
            freeze(cast(Model, self.net), cast(Part, part))
        else:
            unfreeze(cast(Model, self.net))
        if self.average is not None:
            cast(Model, self.average).frozen_norms = cast(Model, self.net).frozen_norms
        self.frozen = frozen
        self.wrapped = self._wrap()

    def step(self, batches: Sequence[Batch], epoch: int, index: int) -> StepResult:
        """One optimizer step over `accumulate` batches; `index` is the step's number in its epoch.

        Raises BadLoss where loss or gradient is not finite and no more skips are allowed, and ValueError with
        the largest batch that fits where a GPU's memory is too small.
        """
        number = epoch * self.settings.steps_per_epoch + index
        rate = set_rate(self.optimizer, rate_factor(number, self.total_steps, self.settings))
        before = [buffer.clone() for buffer in self.net.buffers()] if self.settings.skip_bad_losses else []
        losses: list[float] = []
        seed = seed_of(self.seed, epoch, index, self.accelerator.process_index)
        if not fits_memory(lambda: losses.append(self._backward(batches, seed))):
            self.optimizer.zero_grad(set_to_none=True)
            raise refuse_batch(batches[0], self._try_batch, self.settings)
        loss = losses[0]
        self.scaler.unscale_(self.optimizer)
        norm = float(nn.utils.clip_grad_norm_(self.net.parameters(), self.settings.clip_norm or math.inf))
        bad = not math.isfinite(loss) or (not math.isfinite(norm) and not self.scaler.is_enabled())
        if bad:
            self._refuse_or_skip(loss, norm, batches, before)
        else:
            self.scaler.step(self.optimizer)
            if self.average is not None:
                update_average(self.average, self.net, self.settings.ema, number)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return StepResult(loss, norm, rate, bad)

    def _backward(self, batches: Sequence[Batch], seed: int) -> float:
        """Gradients of the mean loss over the batches and processes; returns that loss."""
        torch.manual_seed(seed)
        total = torch.zeros((), device=self.device)
        for position, batch in enumerate(batches):
            last = position == len(batches) - 1
            quiet = contextlib.nullcontext() if last or self.wrapped is self.net else self.wrapped.no_sync()  # type: ignore[operator]
            with quiet:
                loss = self._loss(self.wrapped, batch) / len(batches)
                self.scaler.scale(loss).backward()
            total += loss.detach()
        if self.accelerator.num_processes > 1:
            total = self.accelerator.reduce(total, reduction="mean")
        return float(total)

    def _loss(self, network: nn.Module, batch: Batch) -> Tensor:
        dtype = DTYPES[self.precision]
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype != torch.float32):
            outputs = network(batch.images.to(self.device, non_blocking=True))
        return training_loss(
            self.loss, outputs, batch.target.to(self.device, non_blocking=True),
            weights=batch.weights.to(self.device, non_blocking=True),
            aux_weight=self.loss_settings.aux_weight, image_weight=self.loss_settings.image_weight,
        )  # fmt: skip

    def _try_batch(self, batch: Batch) -> None:
        """Forward and backward pass of a batch whose gradients are thrown away."""
        try:
            self._loss(self.net, batch).backward()
        finally:
            self.optimizer.zero_grad(set_to_none=True)

    def _refuse_or_skip(self, loss: float, norm: float, batches: Sequence[Batch], before: Sequence[Tensor]) -> None:
        self.skipped += 1
        if self.skipped > self.settings.skip_bad_losses:
            names = [name for batch in batches for name in batch.names]
            raise BadLoss(
                f"the loss is {loss} and its gradient's norm {norm}, in {self.skipped} such step(s); "
                f"train.skip_bad_losses allows {self.settings.skip_bad_losses}. Check the samples named in "
                "bad_batch.json, lower train.lr, or set train.precision=fp32",
                names,
            )
        for buffer, kept in zip(self.net.buffers(), before, strict=True):
            buffer.copy_(kept)

    @property
    def model(self) -> nn.Module:
        """The network whose weights are kept: the averaged one, where there is one; float32, evaluation
        mode.
        """
        return self.average if self.average is not None else self.net.eval()

    def state(self) -> dict[str, Any]:
        """Everything but the epoch that a restart needs."""
        return {
            "model": self.net.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "skipped": self.skipped,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what `state` gave."""
        self.net.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.skipped = state["skipped"]
