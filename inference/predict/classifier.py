"""Classifiers shown whole images: one prediction of one pixel an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from inference.models.table import is_classifier
from inference.predict.ensemble import member_weights
from inference.predict.inputs import normalise, read_input, statistics
from inference.predict.members import ReadyMember, activate, make_vote, predict_batch
from inference.predict.memory_plan import MemoryPlan
from inference.predict.resample import resize_image
from inference.predict.store import quantise, write_prediction
from submissions.images.opening import ImageReader


def classify_image(
    members: Sequence[ReadyMember],
    reader: ImageReader,
    slices: Sequence[int],
    out: Path,
    *,
    weights: Sequence[float] | None = None,
    attrs: dict[str, Any] | None = None,
) -> MemoryPlan:
    """Write the weighted mean of what classifiers say about one image: a prediction of one pixel, `(K, 1, 1)`.

    Each is shown the whole image brought to its `predict.tile`, whatever the image's proportions, as in training.
    Raises ValueError where there is more than one slice to predict, and for members of both kinds.
    """
    if len(slices) != 1:
        raise ValueError(f"{len(slices)} slices were given, but a classifier predicts one image at a time")
    if not all(is_classifier(member.model_config) for member in members):
        raise ValueError("members are classifiers and segmentation models; expected one kind, leave the others out")
    first = members[0]
    total = torch.zeros(1, len(first.model_config.classes), 1, 1)
    for member, share in zip(members, member_weights(len(members), weights), strict=True):
        config = member.input_config
        pixels = resize_image(read_input(reader, slices[0], None, None, config), member.predict_config.plane)
        shown = normalise(pixels, statistics(reader, config, slices), config)
        said = predict_batch(
            torch.from_numpy(shown[None]), [make_vote(member, share)], batch_size=member.predict_config.batch_size,
            merge=first.predict_config.merge,
        )  # fmt: skip
        total += said[:, :, :1, :1].cpu()
    probs = activate(total, first.model_config) if first.predict_config.merge == "logits" else total
    write_prediction(out, quantise(probs[0].numpy()), first.model_config.classes, attrs)
    _, height, width, channels = reader.shape
    seen = height * width * channels * len(first.input_config.offsets) * (reader.dtype.itemsize + 4)
    return MemoryPlan(1, 0, 0, True, {"image": seen})
