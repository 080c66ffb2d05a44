"""Another way to run a network than PyTorch as it is: OpenVINO, on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenvinoModel(nn.Module):
    """A network run by OpenVINO on the CPU; it is converted anew for each height and width it is shown."""

    def __init__(self, model: nn.Module, precision: str) -> None:
        """Hold `model`, a float32 network on the CPU, computed in 'fp32' or 'bf16'; inputs and logits are float32.

        Raises ValueError where OpenVINO is not installed.
        """
        super().__init__()
        try:
            import openvino
        except ImportError:
            raise ValueError(
                "predict.runtime is 'openvino', but OpenVINO is not installed: pip install openvino, or set "
                "predict.runtime=torch"
            ) from None
        self.model, self.precision = model, precision
        self._core = openvino.Core()
        self._compiled: dict[tuple[int, ...], Any] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits `(N, K, h, w)` of `(N, C, h, w)`."""
        size = tuple(x.shape[1:])
        if size not in self._compiled:
            self._compiled[size] = self._compile(torch.zeros(1, *size))
        logits = self._compiled[size](x.contiguous().numpy(), share_inputs=True)[0]
        return torch.from_numpy(logits.copy())

    def _compile(self, example: torch.Tensor) -> Any:
        """What runs any number of inputs of the example's size."""
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        with torch.inference_mode(False), torch.no_grad():
            traced = TorchScriptPythonDecoder(self.model, example_input=(example,))
        reader = FrontEndManager().load_by_framework("pytorch")
        network = reader.convert(reader.load(traced))
        network.reshape([-1, *example.shape[1:]])
        hints = {
            "INFERENCE_PRECISION_HINT": HINTS[self.precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        return self._core.compile_model(network, "CPU", hints)


def wrap_model(model: nn.Module, runtime: str, device: torch.device, precision: str) -> nn.Module:
    """Return `model`, ready on `device`, to be run by "torch" or "openvino".

    For "openvino" it has to be in float32, whatever `precision` it is to be computed in. Raises ValueError for another
    runtime, and for "openvino" elsewhere than on a CPU.
    """
    if runtime == "torch":
        return model
    if runtime != "openvino":
        raise ValueError(f"runtime is {runtime!r}, expected 'torch' or 'openvino'")
    if device.type != "cpu":
        raise ValueError(
            f"predict.runtime is 'openvino' on {device}, expected a CPU: set --device cpu, or predict.runtime=torch"
        )
    return OpenvinoModel(model.to(memory_format=torch.contiguous_format), precision)  # type: ignore[call-overload]
