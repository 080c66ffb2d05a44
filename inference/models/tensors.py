"""Tables of tensors in files: safetensors, or pickles read as plain tensors only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from submissions.host.atomic import partial_path, room_for


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors, .pth, .pt or .bin file; pickles are read with `weights_only=True`.

    A checkpoint that holds its weights under `state_dict`, `model` or `state_dict_ema` is looked into.
    Raises FileNotFoundError, or ValueError where the file is of another kind or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weights file")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except safetensors.SafetensorError as error:
            raise ValueError(f"{path} is not a whole safetensors file ({error}); fetch or train it again") from error
    if path.suffix not in (".pth", ".pt", ".bin"):
        raise ValueError(f"{path}: expected a .safetensors, .pth, .pt or .bin file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the unpickler met
        raise ValueError(f"{path} cannot be read as plain tensors ({error})") from error
    for key in ("state_dict_ema", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{path} holds no table of tensors; expected a state dict")
    return clean_state(content)


def clean_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous CPU copies under the names of the bare model, without the wrappers' prefixes."""
    cleaned = {}
    for name, tensor in state.items():
        for prefix in ("module.", "_orig_mod."):
            name = name.removeprefix(prefix)
        cleaned[name] = tensor.detach().cpu().contiguous()
    return cleaned


def write_tensors(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors beside `path`, then rename; DiskFull names path and bytes."""
    partial = partial_path(path)
    with room_for(path, sum(tensor.nbytes for tensor in state.values()), partial):
        save_file(dict(state), partial)
    partial.replace(path)


def halve(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Kernels and matrices (two dimensions or more) as float16; biases and statistics, which are few, as they are.

    Raises ValueError that names a tensor whose values float16 does not hold (above 65504).
    """
    limit = torch.finfo(torch.float16).max
    halved = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point() or tensor.ndim < 2:
            halved[name] = tensor
            continue
        if tensor.abs().max() > limit:
            raise ValueError(f"{name} reaches {float(tensor.abs().max()):.3g}, float16 {limit:g}; leave out --fp16")
        halved[name] = tensor.half()
    return halved
