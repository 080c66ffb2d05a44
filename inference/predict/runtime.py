"""Other ways to run a network than PyTorch as it is: compiled, or through ONNX Runtime."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

OPSET = 17


class OnnxModel(nn.Module):
    """A network run by ONNX Runtime on the CPU in fp32; one session for each height and width it is shown."""

    def __init__(self, model: nn.Module) -> None:
        """Hold `model`, a float32 network on the CPU; raises ValueError where ONNX Runtime is not
        installed.
        """
        super().__init__()
        try:
            import onnxruntime
        except ImportError:
            raise ValueError(
                "predict.runtime is 'onnx', but ONNX Runtime is not installed: pip install onnx onnxruntime, "
                "or set predict.runtime=torch"
            ) from None
        self.model = model
        self._runtime = onnxruntime
        self._sessions: dict[tuple[int, int], Any] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits `(N, K, h, w)` of `(N, C, h, w)`."""
        size = (int(x.shape[2]), int(x.shape[3]))
        if size not in self._sessions:
            self._sessions[size] = self._open(x[:1])
        (logits,) = self._sessions[size].run(None, {"x": x.contiguous().numpy()})
        return torch.from_numpy(logits)

    def _open(self, example: torch.Tensor) -> Any:
        """Export for the example's height and width, any number of inputs, and open a session."""
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.inference_mode(False):
            warnings.simplefilter("ignore")  # tracing warns of sizes taken as constants: here they are
            path = str(Path(folder) / "model.onnx")
            torch.onnx.export(
                self.model, (example.clone().contiguous(),), path, input_names=["x"], output_names=["logits"],
                dynamic_axes={"x": {0: "n"}, "logits": {0: "n"}}, opset_version=OPSET, dynamo=False,
            )  # fmt: skip
            return self._runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def wrap_model(model: nn.Module, runtime: str, device: torch.device, precision: str) -> nn.Module:
    """Return `model`, ready on `device` in `precision`, to be run by "torch", "compile" or "onnx".

    "compile" is `torch.compile`: the first batches of every shape take minutes on a CPU, later ones are
    faster. Raises ValueError for "onnx" elsewhere than on a CPU in fp32.
    """
    if runtime == "torch":
        return model
    if runtime == "compile":
        return torch.compile(model)  # type: ignore[return-value]
    if runtime != "onnx":
        raise ValueError(f"runtime is {runtime!r}, expected 'torch', 'compile' or 'onnx'")
    if device.type != "cpu" or precision != "fp32":
        raise ValueError(
            f"predict.runtime is 'onnx' on {device} in {precision}, expected a CPU and fp32: set "
            "predict.precision=fp32, or predict.runtime=torch"
        )
    return OnnxModel(model.to(memory_format=torch.contiguous_format))  # type: ignore[call-overload]
