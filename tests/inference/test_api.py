"""What `predict` says of an image that holds no numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from torch import nn

from inference.api import predict
from inference.config import InputConfig, ModelConfig, PredictConfig
from inference.weights import LoadedModel


def test_pixels_that_are_no_number_are_the_images_fault_not_the_networks(tmp_path: Path) -> None:
    pixels = np.linspace(0, 1, 40 * 56, dtype=np.float32).reshape(40, 56)
    tifffile.imwrite(tmp_path / "whole.tif", pixels)
    pixels[3, 4:6] = np.nan
    tifffile.imwrite(tmp_path / "holes.tif", pixels)
    settings = InputConfig(channels=1, mean=[0.5], std=[0.2]), PredictConfig(precision="fp32")
    model = LoadedModel(nn.Conv2d(1, 1, 1).eval(), ModelConfig(in_channels=1), *settings, tmp_path)
    assert predict(model, tmp_path / "whole.tif", device="cpu").shape == (40, 56)
    with pytest.raises(ValueError, match=r"holes\.tif: 2 pixels are not a number"):
        predict(model, tmp_path / "holes.tif", device="cpu")
