"""Runtimes: the same logits whoever runs the network."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from inference.config import InputConfig, ModelConfig, PredictConfig
from inference.predict.members import prepare_members
from inference.predict.runtime import OpenvinoModel, wrap_model
from inference.weights import LoadedModel

CPU = torch.device("cpu")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2), nn.MaxPool2d(2)).eval()


@pytest.mark.parametrize(("precision", "apart"), [("fp32", 1e-5), ("bf16", 0.03)])
def test_openvino_gives_the_same_logits_at_any_size(precision: str, apart: float) -> None:
    pytest.importorskip("openvino")
    model = network()
    config = PredictConfig(runtime="openvino", precision=precision)
    (ready,) = prepare_members([LoadedModel(model, ModelConfig(), InputConfig(), config, Path("model"))])
    assert isinstance(ready.model, OpenvinoModel) and ready.dtype == torch.float32 and ready.precision == precision
    with torch.inference_mode():
        for shape in ((1, 3, 32, 64), (3, 3, 32, 64), (2, 3, 17, 30)):
            x = torch.randn(shape)
            for shown in (x, x.contiguous(memory_format=torch.channels_last)):
                found = ready.model(shown)
                torch.testing.assert_close(found, model(x), atol=apart, rtol=apart)
        ready.model(torch.zeros_like(x))
        torch.testing.assert_close(found, model(x), atol=apart, rtol=apart)  # what was handed out stays


def test_torch_is_the_model_itself() -> None:
    model = network()
    assert wrap_model(model, "torch", CPU, "bf16") is model


def test_what_cannot_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="expected 'torch' or 'openvino'"):
        wrap_model(network(), "tensorrt", CPU, "fp32")
    with pytest.raises(ValueError, match="'openvino' on cuda:0, expected a CPU"):
        wrap_model(network(), "openvino", torch.device("cuda:0"), "fp16")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ValueError, match="OpenVINO is not installed"):
        wrap_model(network(), "openvino", CPU, "fp32")
