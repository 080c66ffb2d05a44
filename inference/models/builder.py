"""`build_model`: from a saved config alone to a network, with nothing to download."""

from __future__ import annotations

import inspect
import math
from typing import cast

from inference.config import ModelConfig
from inference.models.segmenter import Classifier, Model, Segmenter
from inference.models.table import ModelRow, model_row
from inference.models.volumes.segmenter import VolumeLevels, VolumeSegmenter

HEAD_OPTIONS = ("deep_supervision", "image_head")


def option_names(row: ModelRow) -> list[str]:
    """Options that `ModelConfig.options` may hold for a model."""
    own = [name for name in _keywords(row) if name != "activation"]
    heads = HEAD_OPTIONS[:1] if row.dims == 3 else HEAD_OPTIONS
    return own + (list(heads) if row.task == "segment" else [])


def _keywords(row: ModelRow) -> list[str]:
    parameters = inspect.signature(row.build).parameters.values()
    return [one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.name not in row.fixed]


def build_model(config: ModelConfig) -> Model:
    """Network with random weights on the CPU, in training mode.

    Segmentation: `(N, C, H, W)` float -> logits `(N, K, H, W)` at input size for any H and W; with the
    options `deep_supervision: true` or `image_head: true` training mode gives a dictionary instead
    (`TrainOutputs`). Rows of three dimensions: `(N, C, D, H, W)` -> logits `(N, K, D, H, W)`.
    Classification rows of the table: `(N, C, H, W)` -> logits `(N, K)`.
    Raises ValueError for an unknown architecture, encoder or option, and for a pair that does not work.
    """
    row = model_row(config.architecture)
    unknown = sorted(set(config.options) - set(option_names(row)))
    if unknown:
        raise ValueError(
            f"model.options of {row.name!r} has {', '.join(unknown)}; expected {', '.join(option_names(row))}"
        )
    own = {name: value for name, value in config.options.items() if name not in HEAD_OPTIONS}
    n_classes = len(config.classes)
    if "activation" in _keywords(row):
        own["activation"] = config.activation
    if row.takes_encoder:
        net = row.build(config.encoder, config.in_channels, n_classes, **own)
    elif config.encoder in (ModelConfig().encoder, row.encoder):
        net = row.build(config.in_channels, n_classes, **own)
    else:
        raise ValueError(f"architecture {row.name!r} has an encoder of its own; leave out {config.encoder!r}")
    if row.task == "classify":
        return Classifier(net, config.in_channels)
    if row.dims == 3:
        deep = bool(config.options.get("deep_supervision", False))
        return VolumeSegmenter(cast(VolumeLevels, net), config.in_channels, n_classes, deep_supervision=deep)
    multiple = getattr(getattr(net, "encoder", None), "multiple", 1)
    stride = math.lcm(getattr(net, "stride", 0) or row.stride, multiple)
    heads = {name: bool(config.options.get(name, False)) for name in HEAD_OPTIONS}
    return Segmenter(net, config.in_channels, n_classes, stride=stride, minimum=row.minimum, **heads)
