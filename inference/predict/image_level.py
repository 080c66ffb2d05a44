"""What classifiers say about an image as a whole, and how it joins the probabilities of its pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from inference.predict.store import open_prediction


def with_gate(probs: np.ndarray, answers: Path) -> np.ndarray:
    """probs uint8 `(channels, ..., H, W)` and after them what classifiers said about the image, as planes.

    answers: a prediction of `classify_image`.
    """
    with open_prediction(answers) as prediction:
        said = prediction.read()
    planes = said.reshape(len(said), *[1] * (probs.ndim - 1))
    return np.concatenate([probs, np.broadcast_to(planes, (len(said), *probs.shape[1:]))])
