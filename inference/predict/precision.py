"""What number format a device really has, and a model made ready to run in it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import nn

from inference.simplification import simplify

Precision = Literal["fp32", "bf16", "fp16"]

DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Tell whether the processor computes bfloat16 in hardware (AVX512-BF16 or AMX), as its flags say."""
    if not cpuinfo.is_file():
        return False
    for line in cpuinfo.read_text().splitlines():
        if line.startswith("flags"):
            return not {"avx512_bf16", "amx_bf16"}.isdisjoint(line.split())
    return False


def resolve_precision(requested: str, device: torch.device | str) -> Precision:
    """Turn `auto` into what `device` computes in hardware; a named precision stays as it is.

    auto: CPU bf16 where its flags say so, else fp32; CUDA bf16 where the device has it (emulation, as on a
    T4, does not count), else fp16; other devices fp32. Raises ValueError for an unknown name, and for fp16
    on a CPU.
    """
    device = torch.device(device)
    if requested == "fp16" and device.type == "cpu":
        raise ValueError("precision is 'fp16' on a CPU, which has no fast fp16: expected 'auto', 'bf16' or 'fp32'")
    if requested in DTYPES:
        return requested  # type: ignore[return-value]
    if requested != "auto":
        raise ValueError(f"precision is {requested!r}, expected 'auto', 'fp32', 'bf16' or 'fp16'")
    if device.type == "cpu":
        return "bf16" if cpu_has_bf16() else "fp32"
    if device.type == "cuda":
        with torch.cuda.device(device):  # torch asks the current device
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "fp32"


def prepare_model(model: nn.Module, in_channels: int, device: torch.device | str, precision: Precision) -> nn.Module:
    """Return a copy of a float32 `model` for prediction: evaluation mode, simplified, channels-last.

    Its weights are cast to `precision` once, so no cast is left for the run. The given model stays as it is.
    """
    ready = simplify(model, in_channels).to(device=torch.device(device), dtype=DTYPES[precision])
    if any(weight.ndim == 5 for weight in ready.parameters()):  # volumes stay as they are laid out
        return ready
    return ready.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
