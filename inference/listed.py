"""Predicting the images of a listing one by one into a folder; what is there already is not predicted again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import torch

from inference.config import PredictConfig
from inference.members import ReadyMember, prepare_members
from inference.predictor import predict_image
from inference.weights import LoadedModel
from submissions.listing import ListedImages, pixel_size

OnError = Literal["stop", "empty"]


@dataclass(frozen=True)
class Outcome:
    """What became of one image: its prediction file, or the reason why there is none."""

    image_id: str
    path: Path
    failure: str | None = None


def prediction_path(folder: Path, image_id: str) -> Path:
    """Where the prediction of an image lies; ids of any spelling stay inside the folder."""
    return folder / f"{quote(image_id, safe='-_+=,@() ')}.h5"


def failure_path(folder: Path, image_id: str) -> Path:
    """Where it is noted that an image could not be predicted."""
    return prediction_path(folder, image_id).with_suffix(".failed.json")


def predict_listed(
    members: Sequence[LoadedModel | ReadyMember],
    images: ListedImages,
    image_ids: Sequence[str],
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    config: PredictConfig | None = None,
    weights: Sequence[float] | None = None,
    separate: bool = False,
    on_error: OnError = "stop",
    report: Callable[[str], None] = lambda text: None,
) -> Iterator[Outcome]:
    """Predict images into `folder`, a file each; yields an outcome an image, in the given order.

    An image with a finished file is not predicted again. One that cannot be read or predicted stops everything with
    a ValueError that names it, or with on_error='empty' leaves a note and an outcome with the failure.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ready: list[ReadyMember] | None = None
    for image_id in image_ids:
        path = prediction_path(folder, image_id)
        if path.is_file():
            yield Outcome(image_id, path)
            continue
        if ready is None:
            ready = prepare_members(members, device, config)
        try:
            source, slices = images.open(image_id)
            done = predict_image(
                ready, source, slices, config, path, weights=weights, separate=separate,
                pixel_size_um=pixel_size(images.competition, images.row(image_id)),
                volume=images.competition.images.kind == "volumes", attrs={"image_id": image_id},
            )  # fmt: skip
        except (ValueError, OSError) as error:
            if on_error == "stop":
                raise ValueError(f"image {image_id!r} cannot be predicted: {error}") from error
            note = failure_path(folder, image_id)
            partial = note.with_name(note.name + ".partial")
            partial.write_text(json.dumps({"image_id": image_id, "reason": str(error)}) + "\n", encoding="utf-8")
            os.replace(partial, note)
            yield Outcome(image_id, path, str(error))
            continue
        failure_path(folder, image_id).unlink(missing_ok=True)
        report(str(done.memory))
        report = lambda text: None  # noqa: E731 - the plan is said once
        yield Outcome(image_id, path)
    images.close()
