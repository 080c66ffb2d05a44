"""Members of a prediction: models made ready for a device, and the sum of what they say about a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import torch
from torch import nn

from inference.config import InputConfig, ModelConfig, PredictConfig
from inference.models.image_level_planes import as_planes
from inference.predict.precision import DTYPES, Precision, prepare_model, resolve_precision
from inference.predict.tta import View, build_views

if TYPE_CHECKING:
    from inference.weights import LoadedModel

# One tile of 512 x 512: on a CPU larger batches only push the activations out of the cache.
CPU_PIXELS = 2**18


@dataclass(frozen=True, eq=False)
class ReadyMember:
    """A model on its device, in its precision, with the settings that lay beside its weights."""

    model: nn.Module
    model_config: ModelConfig
    input_config: InputConfig
    predict_config: PredictConfig
    device: torch.device
    precision: Precision

    @property
    def dtype(self) -> torch.dtype:
        """Of the model's weights and inputs: that of its precision, unless `widen` gave it more."""
        own = next((value.dtype for value in self.model.parameters() if value.is_floating_point()), None)
        return own or DTYPES[self.precision]


@dataclass(frozen=True, eq=False)
class Vote:
    """One member's part in a pass: its views, and its share of the result."""

    member: ReadyMember
    views: list[View]
    share: float


def prepare_members(
    members: Sequence[LoadedModel | ReadyMember],
    device: torch.device | str = "cpu",
    config: PredictConfig | None = None,
) -> list[ReadyMember]:
    """Make loaded models ready for `device`, once for all images; a member that is ready stays as it is.

    `config` replaces the prediction settings that lay beside the weights. Raises ValueError if members do not
    speak about the same classes in the same way.
    """
    if not members:
        raise ValueError("no members were given, expected at least one model")
    first = members[0].model_config
    ready = []
    for member in members:
        other = member.model_config
        if (other.channels, other.activation) != (first.channels, first.activation):
            raise ValueError(
                f"members differ: {other.channels} ({other.activation}) and {first.channels} "
                f"({first.activation}); expected the same classes in the same order; leave one of them out"
            )
        settings = config or member.predict_config
        if isinstance(member, ReadyMember):
            model, where, precision = member.model, member.device, member.precision
        else:
            where = torch.device(device)
            precision = resolve_precision(settings.precision, where)
            model = prepare_model(as_planes(member.model), other.in_channels, where, precision)
        ready.append(ReadyMember(model, other, member.input_config, settings, where, precision))
    return ready


def widen(members: Sequence[ReadyMember]) -> bool:
    """Let members in half precision compute in float32 from now on; False where none does.

    For networks whose activations leave the range of float16 (65504), which a GPU without bfloat16 is given.
    """
    half = [member for member in members if member.dtype == torch.float16]
    for member in half:
        member.model.float()
    return bool(half)


def make_vote(member: ReadyMember, share: float) -> Vote:
    """Give `member` its views and its share."""
    return Vote(member, build_views(member.predict_config.views, member.input_config), share)


def activate(logits: torch.Tensor, config: ModelConfig) -> torch.Tensor:
    """Turn float32 logits `(N, channels, h, w)` into probs: sigmoid, or softmax over the classes.

    Image-level channels, which come after the classes, do not exclude each other.
    """
    if config.activation == "sigmoid":
        return logits.sigmoid()
    k = len(config.classes)
    if logits.shape[1] == k:
        return logits.softmax(dim=1)
    return torch.cat([logits[:, :k].softmax(dim=1), logits[:, k:].sigmoid()], dim=1)


@torch.inference_mode()
def predict_batch(
    inputs: torch.Tensor, votes: Sequence[Vote], *, batch_size: int, merge: str, separate: bool = False
) -> torch.Tensor:
    """Return float32 `(N, K, h, w)`: the weighted mean over members and views, as probs or as logits.

    inputs: normalised tiles `(N, C, h, w)`, or boxes `(N, C, d, h, w)` throughout. `merge` says what is averaged and
    returned. `separate`: each view apart, averaged over members only, `(N, views * K, h, w)`, views outermost.
    """
    total: torch.Tensor | None = None
    for vote in votes:
        member = vote.member
        x = inputs.to(member.device, member.dtype, non_blocking=True)
        shown = [(view, view.forward(x)) for view in vote.views]
        parts: list[torch.Tensor] = []
        for _, same in groupby(shown, key=lambda pair: pair[1].shape):
            group = list(same)
            outputs = _forward(member, torch.cat([y for _, y in group]), batch_size)
            for (view, _), output in zip(group, outputs.split(len(x)), strict=True):
                output = output.float()
                if merge == "probs":
                    output = activate(output, member.model_config)
                part = view.inverse(output, (x.shape[-2], x.shape[-1]))
                if separate or not parts:
                    parts.append(part.contiguous() if separate else part.clone())
                else:
                    parts[0] += part
        merged = torch.cat(parts, dim=1).mul_(vote.share) if separate else parts[0].mul_(vote.share / len(shown))
        total = merged if total is None else total.add_(merged.to(total.device))
    assert total is not None
    return total


def _forward(member: ReadyMember, x: torch.Tensor, batch_size: int) -> torch.Tensor:
    """Run the model on `(M, C, h, w)` in passes of at most `batch_size`, fewer on a CPU."""
    x = x.contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.contiguous_format)
    if member.device.type == "cpu":
        batch_size = min(batch_size, max(1, CPU_PIXELS // x[0, 0].numel()))
    if len(x) <= batch_size:
        return member.model(x)
    return torch.cat([member.model(part) for part in x.split(batch_size)])
