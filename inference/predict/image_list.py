"""Predicting the images of a listing one by one into a folder; what is there already is not predicted again."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch

from inference.config import PredictConfig
from inference.predict.devices import fits_memory, share_jobs, split_devices
from inference.predict.members import ReadyMember, prepare_members
from inference.predict.predictor import PredictionReport, predict_image
from inference.predict.store import failure_path, open_prediction, prediction_path
from inference.predict.time_budget import TimeKeeper
from inference.predict.tta_names import expand_views
from inference.weights import LoadedModel
from submissions.host.atomic import write_atomic
from submissions.host.listed_images import ListedImages, pixel_size
from submissions.images.joined_readers import ForgivingReader
from submissions.images.opening import ImageReader

OnError = Literal["stop", "empty"]
Shown = Callable[[ImageReader], ImageReader]
TOO_LATE = "the time budget is used up; the remaining images get empty masks"
TOO_LATE_TO_STOP = (
    "the time budget is used up; the remaining images are predicted all the same (with --on-error empty "
    "they would get empty masks)"
)


@dataclass(frozen=True)
class Outcome:
    """What became of one image: its prediction file, or the reason why there is none.

    reduced: the file was there, made with fewer members or views than are asked for, and is left so.
    """

    image_id: str
    path: Path
    failure: str | None = None
    reduced: bool = False


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
    shown: Shown | None = None,
    budget: TimeKeeper | None = None,
) -> Iterator[Outcome]:
    """Predict images into `folder`, a file each; yields an outcome an image: those that are there, then the others.

    An image with a finished file is not predicted again, unless a budget cost it members or views and there is none
    now. One that cannot be read or predicted stops everything with a ValueError that names it, or with
    on_error='empty' leaves a note and an outcome with the failure; neighbours in its stack that cannot be read are
    then replaced by the slice itself, which is reported. `device` may name several ("cuda:0,cuda:1"), which share the
    images; their outcomes come as they are done, else in the given order. `shown` puts something between an image and
    the models (a shift, other colours), whose `attrs` are kept with the prediction. `budget` gives up views, then
    members from the last, where the time would not suffice; with on_error='empty' also images, once it is used up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    waiting: list[str] = []
    for image_id in image_ids:
        path = prediction_path(folder, image_id)
        reduced = path.is_file() and falls_short(path, members, config)
        if path.is_file() and (budget is not None or not reduced):
            yield Outcome(image_id, path, reduced=reduced)
        else:
            waiting.append(image_id)
    if not waiting:
        return
    devices = split_devices(device)
    job = _Job(
        members, images, folder, config, weights, separate, report, shown, budget, on_error, alone=len(devices) == 1
    )
    if budget is not None:
        budget.expect(sum(pixels_of(images, image_id) for image_id in waiting), len(waiting), len(devices))
    try:
        for done in share_jobs(waiting, devices, job.start):
            yield _outcome(folder, done.job, done.error, on_error)
    finally:
        for opened in job.opened:
            opened.close()


def falls_short(path: Path, members: Sequence[LoadedModel | ReadyMember], config: PredictConfig | None = None) -> bool:
    """Whether a prediction was made with fewer than these members, or fewer views than theirs (or those of `config`).

    Raises ValueError where the file cannot be read.
    """
    with open_prediction(path) as prediction:
        made = prediction.attrs
    views = max((len(expand_views((config or member.predict_config).views)) for member in members), default=0)
    return bool(made.get("members", len(members)) < len(members) or made.get("views", views) < views)


def _outcome(folder: Path, image_id: str, error: Exception | None, on_error: OnError) -> Outcome:
    """The outcome of a job, with a note where it failed; raises what it ended with where that stops everything."""
    path, note = prediction_path(folder, image_id), failure_path(folder, image_id)
    if error is None:
        note.unlink(missing_ok=True)
        return Outcome(image_id, path)
    if not isinstance(error, (ValueError, OSError, MemoryError)):
        raise error
    reason = str(error) or type(error).__name__
    if on_error == "stop":
        raise ValueError(f"image {image_id!r} cannot be predicted: {reason}") from error
    write_atomic(note, json.dumps({"image_id": image_id, "reason": reason}) + "\n")
    return Outcome(image_id, path, reason)


def pixels_of(images: ListedImages, image_id: str) -> int:
    """Pixels of an image, from its header; 0 of one that cannot be opened."""
    try:
        reader = images.open_alone(image_id)
    except (ValueError, OSError):
        return 0
    depth, height, width, _ = reader.shape
    reader.close()
    return depth * height * width


def count_views(member: ReadyMember) -> int:
    """Number of test-time views of a member."""
    return len(expand_views(member.predict_config.views))


def in_batches(members: Sequence[ReadyMember], size: int) -> list[ReadyMember]:
    """Members that predict at most `size` tiles at once."""
    settings = [member.predict_config for member in members]
    smaller = [one.model_copy(update={"batch_size": min(size, one.batch_size)}) for one in settings]
    return [replace(member, predict_config=one) for member, one in zip(members, smaller, strict=True)]


def _too_small(members: Sequence[ReadyMember], reader: ImageReader) -> str:
    _, height, width, _ = reader.shape
    configs = [member.predict_config for member in members]
    tile = max((one.tile for one in configs), key=math.prod)
    change = f"lower predict.tile, now {' x '.join(map(str, tile))}"
    if any(one.mode != "tiles" for one in configs):
        change = "set predict.mode=tiles"
    return (
        f"the GPU's memory is too small for the image's {height} x {width} pixels, even with one tile per "
        f"batch: {change}"
    )


@dataclass(eq=False)
class _Job:
    """What one image's prediction needs; every device starts its own, with its own open files."""

    members: Sequence[LoadedModel | ReadyMember]
    images: ListedImages
    folder: Path
    config: PredictConfig | None
    weights: Sequence[float] | None
    separate: bool
    report: Callable[[str], None]
    shown: Shown | None
    budget: TimeKeeper | None
    on_error: OnError
    alone: bool
    said: list[str] = field(default_factory=list)
    opened: list[ListedImages] = field(default_factory=list)
    batches: dict[str, int] = field(default_factory=dict)  # tiles a batch, by device, where fewer fit than are set

    def start(self, device: str) -> Callable[[str], None]:
        """Prepare the models on `device`; returns what predicts an image there."""
        ready = prepare_members(self.members, device, self.config)
        images = self.images if self.alone else self._opened_anew()
        self.opened.append(images)
        ended: float | None = None

        def predict(image_id: str) -> None:
            nonlocal ended
            self._check_time()
            began = time.perf_counter() if ended is None else ended  # deciding the one before takes time too
            used, weights = self._within_budget(ready)
            reader, slices = self._open(images, image_id)
            shown = reader if self.shown is None else self.shown(reader)
            options: dict[str, Any] = {
                "weights": weights, "separate": self.separate,
                "pixel_size_um": pixel_size(images.competition, images.row(image_id), reader),
                "volume": images.competition.images.kind == "volumes",
                "attrs": {"image_id": image_id, "members": len(used), "views": max(map(count_views, used)),
                          **getattr(shown, "attrs", {})},
            }  # fmt: skip
            done = self._fitting(used, shown, slices, prediction_path(self.folder, image_id), options)
            if isinstance(reader, ForgivingReader) and reader.replaced:
                causes = "; ".join(reader.replaced.values())
                self.report(
                    f"{image_id}: neighbouring slices cannot be read, the slice itself stands in for them: {causes}"
                )
            if not self.said:
                self.said.append(str(done.memory))
                self.report(self.said[0])
            if self.budget is not None:
                pixels, ended = len(slices) * reader.shape[1] * reader.shape[2], time.perf_counter()
                for sentence in self.budget.measured(pixels, ended - began):
                    self.report(sentence)

        return predict

    def _check_time(self) -> None:
        """Says what follows once the time is used up; raises ValueError where an image then goes without prediction."""
        if self.budget is None or not self.budget.over:
            return
        stops = self.on_error == "stop"
        for sentence in self.budget.note(TOO_LATE_TO_STOP if stops else TOO_LATE):
            self.report(sentence)
        if not stops:
            raise ValueError("the time budget was used up before its turn")

    def _fitting(
        self, members: list[ReadyMember], reader: ImageReader, slices: list[int], out: Path, options: dict[str, Any]
    ) -> PredictionReport:
        """`predict_image`; where a GPU's memory is too small, again with half the batch, and so from then on.

        Raises ValueError where it is too small for one tile at a time.
        """
        done: list[PredictionReport] = []
        device, given = str(members[0].device), max(member.predict_config.batch_size for member in members)
        given = size = min(given, self.batches.get(device, given))

        def attempt() -> None:
            done.append(predict_image(in_batches(members, size), reader, slices, None, out, **options))

        while not fits_memory(attempt):
            if size == 1:
                raise ValueError(_too_small(members, reader))
            size //= 2
        if size < given:
            self.batches[device] = size
            self.report(f"{device}: not enough memory for batches of {given}; from here on batches of {size}")
        return done[0]

    def _open(self, images: ListedImages, image_id: str) -> tuple[ImageReader, list[int]]:
        """The image; where errors shall not stop everything, with itself in place of neighbours that cannot be read."""
        reader, slices = images.open(image_id)
        if self.on_error == "empty" and reader.shape[0] > len(slices) == 1:
            return ForgivingReader(reader, slices[0]), slices
        return reader, slices

    def _opened_anew(self) -> ListedImages:
        rows = pd.DataFrame([self.images.row(image_id) for image_id in self.images.ids])
        return ListedImages(self.images.competition, self.images.data, rows)

    def _within_budget(self, ready: list[ReadyMember]) -> tuple[list[ReadyMember], Sequence[float] | None]:
        """The members, views and weights that are left."""
        if self.budget is None:
            return ready, self.weights
        left = self.budget.members(len(ready))
        used = [
            prepare_members([member], config=self._reduced(member.predict_config, self.budget))[0]
            for member in ready[:left]
        ]
        return used, None if self.weights is None else self.weights[:left]

    def _reduced(self, config: PredictConfig, budget: TimeKeeper) -> PredictConfig:
        views = expand_views(config.views)
        return config.model_copy(update={"views": views[: budget.views(len(views))]})
