"""Parameters and operations of a model, counted without computing: everything runs on torch's meta device."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from inference.config import ModelConfig
from inference.models.builder import build_model
from inference.models.freezing import count_parameters
from inference.models.table import MODELS
from submissions.host.atomic import write_atomic

SIDE = 512
VOLUME = (32, 128, 128)


def measure(name: str, *, side: int = SIDE) -> tuple[int, float]:
    """Parameters, and GFLOPs (two a multiply-add) of one RGB image or volume, for the encoder that the row names."""
    row = MODELS[name]
    encoder = row.encoder if row.takes_encoder else ModelConfig().encoder
    # built on the CPU: not every encoder can be built on a device without numbers
    channels, sizes = (1, VOLUME) if row.dims == 3 else (3, (side, side))
    config = ModelConfig(architecture=name, encoder=encoder, in_channels=channels)
    model = build_model(config).eval().to("meta")
    images = torch.empty(1, channels, *sizes, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    return count_parameters(model), float(f"{counter.get_total_flops() / 1e9:.4g}")


def write_figures(path: Path) -> None:
    """Measure every row and write the file that `read_figures` reads."""
    lines = [f' "{name}": {json.dumps(measure(name))}' for name in MODELS]
    write_atomic(path, "{\n" + ",\n".join(lines) + "\n}\n")
