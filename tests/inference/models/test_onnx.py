"""Six models as ONNX at a fixed size: the exported graph answers as the model does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inference.config import ModelConfig
from inference.models import build_model

CONFIGS = {
    "unet": ModelConfig(architecture="unet", encoder="resnet18"),
    "fpn": ModelConfig(architecture="fpn", encoder="resnet18"),
    "efficientnet_unet_aspp_fpn": ModelConfig(architecture="efficientnet_unet_aspp_fpn"),
    "plain_unet": ModelConfig(architecture="plain_unet", options={"channels": [8, 16, 32]}),
    "deeplab_v3": ModelConfig(architecture="deeplab_v3", encoder="resnet18"),
    "segformer": ModelConfig(architecture="segformer", encoder="mit_b0"),
}
QUICK = ["plain_unet"]


def check_export(name: str, path) -> None:
    """64x96, in evaluation mode, largest difference at most 1e-3."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the optional packages onnx and onnxruntime")
    pytest.importorskip("onnx", reason="needs the optional packages onnx and onnxruntime")
    torch.manual_seed(0)
    model = build_model(CONFIGS[name]).eval()
    images = torch.randn(1, 3, 64, 96)
    torch.onnx.export(model, (images,), str(path), input_names=["images"], opset_version=17, dynamo=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"images": images.numpy()})
    with torch.no_grad():
        expected = model(images).numpy()
    assert answer.shape == (1, 1, 64, 96)
    assert np.abs(answer - expected).max() <= 1e-3


@pytest.mark.parametrize("name", QUICK)
def test_export_answers_as_the_model(name, tmp_path) -> None:
    check_export(name, tmp_path / "model.onnx")


@pytest.mark.smoke
@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in QUICK])
def test_every_named_export_answers_as_the_model(name, tmp_path) -> None:
    check_export(name, tmp_path / "model.onnx")
