"""Runtimes: the same logits whoever runs the network."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from inference.config import InputConfig, ModelConfig, PredictConfig
from inference.predict.members import prepare_members
from inference.predict.runtime import OnnxModel, wrap_model
from inference.weights import LoadedModel

CPU = torch.device("cpu")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2), nn.MaxPool2d(2)).eval()


def test_onnx_runtime_gives_the_same_logits_at_any_size() -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = network()
    config = PredictConfig(runtime="onnx", precision="fp32")
    loaded = LoadedModel(model, ModelConfig(), InputConfig(), config, Path("model"))
    (ready,) = prepare_members([loaded])
    assert isinstance(ready.model, OnnxModel)
    with torch.inference_mode():
        for shape in ((1, 3, 32, 64), (3, 3, 32, 64), (2, 3, 17, 30)):
            x = torch.randn(shape)
            torch.testing.assert_close(ready.model(x), model(x), atol=1e-5, rtol=1e-5)
            back = ready.model(x.contiguous(memory_format=torch.channels_last))
            torch.testing.assert_close(back, model(x), atol=1e-5, rtol=1e-5)


def test_compile_wraps_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Callable[..., object]] = []
    monkeypatch.setattr(torch, "compile", lambda model: compiled.append(model) or model)
    model = network()
    assert wrap_model(model, "compile", CPU, "bf16") is model
    assert compiled == [model]
    assert wrap_model(model, "torch", CPU, "bf16") is model


def test_what_cannot_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="expected 'torch', 'compile' or 'onnx'"):
        wrap_model(network(), "tensorrt", CPU, "fp32")
    with pytest.raises(ValueError, match="'onnx' on cpu in bf16, expected a CPU and fp32"):
        wrap_model(network(), "onnx", CPU, "bf16")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match="ONNX Runtime is not installed"):
        wrap_model(network(), "onnx", CPU, "fp32")
