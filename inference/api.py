"""Two calls for those who only want masks: `load_model`, then `predict`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from inference.config import PredictConfig
from inference.predict.devices import pick_device
from inference.predict.predictor import predict_image
from inference.predict.store import open_prediction
from inference.weights import LoadedModel, load_model
from submissions.images.faults import FiniteReader
from submissions.images.opening import open_image


def predict(
    model: LoadedModel | Path | str,
    image_path: Path | str | Sequence[Path | str],
    *,
    device: str | None = None,
    config: PredictConfig | None = None,
    pixel_size_um: float | None = None,
) -> np.ndarray:
    """Probabilities of an image file at its own size: float32 in [0, 1], in steps of 1/255.

    (H, W) for a model of one class, (K, H, W) for several; an image of Z slices (a volume, a multi-page TIFF,
    a list of files) has (Z, H, W) or (K, Z, H, W). A classifier answers with one pixel, H = W = 1. `model` is
    what `load_model` gave, or the path it takes. `config` replaces the prediction settings that lie beside the
    weights; `device` is a GPU where there is one. Raises what `load_model` and `open_image` raise, and ValueError
    where image and model do not fit.
    """
    loaded = model if isinstance(model, LoadedModel) else load_model(Path(model))
    with closing(open_image(image_path)) as opened, tempfile.TemporaryDirectory() as scratch:
        source = FiniteReader(opened, None, str(image_path)) if opened.dtype.kind == "f" else opened
        out = Path(scratch) / "image.h5"
        predict_image(
            [loaded], source, range(source.shape[0]), config, out,
            device=pick_device(device), pixel_size_um=pixel_size_um,
        )  # fmt: skip
        with open_prediction(out) as prediction:
            probs = prediction.read()[: len(loaded.model_config.classes)].astype(np.float32) / np.float32(255)
    return probs[0] if len(probs) == 1 else probs
