"""Part 2: prediction beside MONAI + ttach, beside the pure forward pass, and how busy it keeps the device."""

from __future__ import annotations

import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.gpu.place import Place
from benchmarks.gpu.rows import Row
from benchmarks.peers.sliding_d4 import peer
from benchmarks.prediction_speed import draw_discs, normalised
from inference.config import InputConfig, ModelConfig, PredictConfig
from inference.models import build_model
from inference.predict import predictor
from inference.predict.members import ReadyMember
from inference.predict.predictor import predict_image, prepare_members
from inference.predict.store import open_prediction
from inference.weights import LoadedModel
from submissions.images.opening import ArrayReader

MODELS = {
    "EfficientNet-B3 FPN": ModelConfig(architecture="fpn", encoder="tf_efficientnet_b3"),
    "SegFormer-B2": ModelConfig(architecture="segformer", encoder="mit_b2"),
}
SMALL = {"EfficientNet-Lite0 FPN": ModelConfig(architecture="fpn", encoder="tf_efficientnet_lite0")}


def run(place: Place) -> Iterator[Row]:
    """512 x 512 tiles of a drawn image of 4096 x 4096; on a CPU tiles of 64 x 64 of 128 x 192."""
    size, tile, batch = ((128, 192), 64, 8) if place.small else ((4096, 4096), 512, 64)
    image = draw_discs(max(size), 1)[0][: size[0], : size[1]]
    for name, config in (SMALL if place.small else MODELS).items():
        torch.manual_seed(0)
        model = build_model(config).eval()
        settings = PredictConfig(views=["d4"], tile=(tile, tile), batch_size=batch, memory_cap_gb=8.0)
        member = LoadedModel(model, config, InputConfig(), settings, Path("model"))
        yield from _one_model(place, name, member, image, tile)


def _one_model(place: Place, name: str, member: LoadedModel, image: np.ndarray, tile: int) -> Iterator[Row]:
    ready = prepare_members([member], place.device)
    ours = partial(_predict, ready, image)
    ours()
    place.forget_peak()
    taken = [place.seconds(ours) for _ in range(1 if place.small else 3)]
    seconds = statistics.median(taken)
    yield Row(f"{name}: ours, {ready[0].precision}, {image.shape[0]} x {image.shape[1]}", seconds, "s an image")
    yield Row(f"{name}: ours, peak memory", place.peak_gb(), "GB")
    shapes, busy = _watched(place, ready[0], ours)
    if busy is not None:
        yield Row(f"{name}: device busy, from CUDA events", busy, "of the time", place.bar(0.9))
    pure = _pure_forward(place, ready[0], shapes)
    tiles = sum(shape[0] * count for shape, count in shapes.items())
    yield Row(f"{name}: tiles a second, views counted", tiles / seconds, "1/s")
    yield Row(f"{name}: of the speed of the pure forward pass of the same batches", pure / seconds, "", place.bar(0.9))
    title, beside = peer()
    network = member.model.to(place.device)
    x = normalised(image).to(place.device)
    theirs = partial(_peer, place, beside, network, x, tile)
    if not place.small:
        theirs()
    place.forget_peak()
    other = place.seconds(theirs)
    yield Row(f"{name}: {title}, {'fp32' if place.small else 'fp16 autocast'}", other, "s an image")
    yield Row(f"{name}: {title}, peak memory", place.peak_gb(), "GB")
    yield Row(f"{name}: times faster than {title}", other / seconds, "", place.bar(2.0))
    apart = np.abs(_predict(ready, image) - theirs()).mean()
    yield Row(f"{name}: mean difference of the probabilities", float(apart), "", 0.01, below=True)


def _predict(ready: list[ReadyMember], image: np.ndarray) -> np.ndarray:
    """Probabilities (H, W) through the written file."""
    with tempfile.TemporaryDirectory() as folder:
        report = predict_image(ready, ArrayReader(image[None]), [0], None, Path(folder) / "image.h5")
        with open_prediction(report.path) as prediction:
            return prediction.read(0) / np.float32(255)


@torch.no_grad()
def _peer(
    place: Place, beside: Callable[[nn.Module, Tensor, int], Tensor], model: nn.Module, x: Tensor, tile: int
) -> Any:
    with torch.autocast("cuda", torch.float16, enabled=not place.small):
        return beside(model, x, tile)[0, 0].float().cpu().numpy()


def _watched(
    place: Place, member: ReadyMember, work: Callable[[], Any]
) -> tuple[Counter[tuple[int, ...]], float | None]:
    """Shapes of the batches that the network saw, and the share of the time in which the device worked on batches.

    Work is enqueued far ahead of the device, so an event before and one after each batch are reached one right after
    the other unless the device stands still: what lies between the end of one batch and the begin of the next is idle.
    """
    shapes: Counter[tuple[int, ...]] = Counter()
    events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
    hook = member.model.register_forward_pre_hook(lambda _, given: shapes.update([tuple(given[0].shape)]))
    inside = predictor.predict_batch

    def timed(*given: Any, **options: Any) -> Tensor:
        pair = (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
        pair[0].record()
        found = inside(*given, **options)
        pair[1].record()
        events.append(pair)
        return found

    with mock.patch.object(predictor, "predict_batch", inside if place.small else timed):
        work()
    hook.remove()
    place.wait()
    if not events:
        return shapes, None
    return shapes, sum(a.elapsed_time(b) for a, b in events) / events[0][0].elapsed_time(events[-1][1])


@torch.inference_mode()
def _pure_forward(place: Place, member: ReadyMember, shapes: Counter[tuple[int, ...]]) -> float:
    """Seconds of the network alone on batches of those shapes, which lie on the device already."""
    total = 0.0
    for shape, count in shapes.items():
        x = torch.randn(shape, device=place.device).to(member.dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        member.model(x)
        total += place.seconds(lambda x=x, count=count: [member.model(x) for _ in range(count)])
    return total
