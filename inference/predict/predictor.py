"""An image in, a prediction file out: streamed through fixed buffers, whatever the image's size."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from inference.config import PredictConfig
from inference.models.table import is_classifier
from inference.predict.axes import TurnedReader
from inference.predict.classifier import classify_image
from inference.predict.ensemble import HostSum, Pass, plan_passes
from inference.predict.inputs import Statistics, statistics
from inference.predict.members import ReadyMember, activate, predict_batch, prepare_members, widen
from inference.predict.memory_plan import MemoryPlan, pass_boxes, pass_grid, plan_memory
from inference.predict.stitching import Emit, StripAccumulator
from inference.predict.store import NotANumberError, PredictionWriter, quantise
from inference.predict.strips import Batch, Place, batches, read_ahead
from inference.predict.tta_names import expand_views
from inference.predict.volume_grid import spacing_of
from inference.predict.volume_pass import run_volume_pass
from submissions.host.atomic import partial_path
from submissions.images.opening import ArrayReader
from submissions.images.readers import valid_pixels

if TYPE_CHECKING:
    from inference.weights import LoadedModel
    from submissions.images.opening import ImageReader

logger = logging.getLogger(__name__)

# The logit that stands for "no tissue" where logits are averaged: a probability of 1e-7.
BLANK_LOGIT = -16.0


@dataclass(frozen=True)
class PredictionReport:
    """What was done for one image: the file, tiles predicted and skipped (all passes), seconds, planned
    memory.
    """

    path: Path
    tiles: int
    skipped: int
    seconds: float
    memory: MemoryPlan


def predict_image(
    members: Sequence[LoadedModel | ReadyMember],
    reader: ImageReader,
    slices: Sequence[int],
    config: PredictConfig | None,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    weights: Sequence[float] | None = None,
    pixel_size_um: float | None = None,
    volume: bool | None = None,
    separate: bool = False,
    attrs: dict[str, Any] | None = None,
) -> PredictionReport:
    """Predict `slices` of `reader` with the weighted mean of `members` and write it to `out`.

    reader: shape (Z, H, W, C); slices beside the predicted ones are only read as 2.5D neighbours. `config` replaces
    the prediction settings of all members; None leaves each its own. `weights`: one per member, scaled to sum 1.
    `pixel_size_um`: the host's, for members that declare one. `volume`: whether the store is `(K, Z, H, W)`; default:
    more than one slice. `separate`: every view apart, as channels "view/class". Pass members through
    `prepare_members` once where many images follow. Classifiers write one pixel, see `classify_image`. Raises
    ValueError for members that do not fit together, views or axes that do not fit the image, buffers larger than the
    cap, and an answer that is not a number, where float32 does not mend it.
    """
    ready = prepare_members(members, device, config)
    run = partial(
        _predict, ready, reader, slices, Path(out), weights=weights, pixel_size_um=pixel_size_um,
        volume=volume, separate=separate, attrs=attrs,
    )  # fmt: skip
    try:
        return run()
    except NotANumberError:
        if not widen(ready):
            raise
    logger.warning("%s: half precision overflowed; its models use float32 from now on", Path(out).stem)
    return run()


def _predict(
    ready: list[ReadyMember],
    reader: ImageReader,
    slices: Sequence[int],
    out: Path,
    *,
    weights: Sequence[float] | None,
    pixel_size_um: float | None,
    volume: bool | None,
    separate: bool,
    attrs: dict[str, Any] | None,
) -> PredictionReport:
    began = time.perf_counter()
    if is_classifier(ready[0].model_config):
        if separate:
            raise ValueError("TTA views of classifiers cannot be kept apart; predict them together")
        memory = classify_image(ready, reader, slices, out, weights=weights, attrs=attrs)
        return PredictionReport(out, 1, 0, seconds=time.perf_counter() - began, memory=memory)
    passes, names, plan = plan_image(
        ready, reader, slices, weights=weights, pixel_size_um=pixel_size_um, separate=separate
    )
    shape: tuple[int, ...] = reader.shape[1:3]
    if volume or (volume is None and len(slices) > 1):
        shape = (len(slices), *shape)
    finish = _finisher(passes, ready[0], len(names))
    with PredictionWriter(out, names, shape, attrs=attrs, **_blanks(reader, slices, ready[0], names)) as writer:
        if len(passes) == 1 and passes[0].axis in ("z", "volume"):
            counts = _run_pass(
                passes[0], reader, slices, plan, measured=statistics(reader, passes[0].input_config, slices),
                channels=len(names), separate=separate,
                emit=lambda plane, _, block: writer.write_rows(finish(block), plane),
            )  # fmt: skip
        else:
            counts = _sum_passes(passes, reader, slices, plan, writer=writer, finish=finish, separate=separate)
    return PredictionReport(out, *counts, seconds=time.perf_counter() - began, memory=plan)


def plan_image(
    ready: Sequence[ReadyMember],
    reader: ImageReader,
    slices: Sequence[int],
    *,
    weights: Sequence[float] | None = None,
    pixel_size_um: float | None = None,
    separate: bool = False,
) -> tuple[list[Pass], list[str], MemoryPlan]:
    """The passes over an image, the channels of its prediction, and the buffers; arguments and errors as those of
    `predict_image`. The networks are not asked.
    """
    passes = plan_passes(ready, weights=weights, pixel_size_um=pixel_size_um)
    _check(passes, reader, slices)
    names = _channel_names(ready, separate)
    plan = plan_memory(
        passes, reader.shape, reader.dtype.itemsize, channels=len(names), planes=len(slices),
        cap_gb=min(member.predict_config.memory_cap_gb for member in ready), decoded_bytes=_decoded_bytes(reader),
        spacing=spacing_of(reader),
    )  # fmt: skip
    return passes, names, plan


def _blanks(reader: ImageReader, slices: Sequence[int], first: ReadyMember, names: Sequence[str]) -> dict[str, Any]:
    """What a writer needs to predict nothing where the image holds no data: 'background' of exclusive classes."""
    if not getattr(reader, "void", False):
        return {}
    exclusive = first.model_config.activation == "softmax"
    blank = [255 if exclusive and name.split("/")[-1] == "background" else 0 for name in names]
    return {"valid": lambda plane, rows: valid_pixels(reader, slices[plane], rows, None), "blank": blank}


def _check(passes: Sequence[Pass], reader: ImageReader, slices: Sequence[int]) -> None:
    depth = reader.shape[0]
    if not slices or min(slices) < 0 or max(slices) >= depth:
        raise ValueError(f"slices are {list(slices)}, expected at least one, each from 0 to {depth - 1}")
    axes = [one.axis for one in passes]
    if "volume" in axes and list(slices) != list(range(depth)):
        raise ValueError(f"a network of three dimensions predicts all {depth} slices, but slices are {list(slices)}")
    if set(axes) - {"z", "volume"} and list(slices) != list(range(depth)):
        raise ValueError(f"axes are {axes}, which need all {depth} slices, but slices are {list(slices)}")
    activation = passes[0].votes[0].member.model_config.activation
    if activation == "softmax" and any(one.predict_config.skip_background for one in passes):
        raise ValueError(
            "predict.skip_background cannot be used with exclusive classes (softmax), because none of them is "
            "known to be glass; set it to false"
        )


def _channel_names(ready: Sequence[ReadyMember], separate: bool) -> list[str]:
    names = ready[0].model_config.channels
    if not separate:
        return names
    views = [expand_views(member.predict_config.views) for member in ready]
    if any(other != views[0] for other in views):
        raise ValueError("members have different TTA views; expected the same for all where views are kept apart")
    return [f"{view}/{name}" for view in views[0] for name in names]


def _decoded_bytes(reader: ImageReader) -> int:
    """Bytes of one slice where the format can only be decoded whole; the reader holds it then."""
    if not getattr(reader, "decodes_whole", False):
        return 0
    return int(np.prod(reader.shape[1:])) * reader.dtype.itemsize


def _finisher(passes: Sequence[Pass], first: ReadyMember, channels: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return what turns a finished float32 block `(channels, rows, W)` into stored uint8 probabilities."""
    if passes[0].predict_config.merge == "probs":
        return quantise
    own = len(first.model_config.channels)

    def finish(block: np.ndarray) -> np.ndarray:
        logits = torch.from_numpy(block).reshape(channels // own, own, *block.shape[1:])
        return quantise(activate(logits, first.model_config).reshape(block.shape).numpy())

    return finish


def _sum_passes(
    passes: Sequence[Pass],
    reader: ImageReader,
    slices: Sequence[int],
    plan: MemoryPlan,
    *,
    writer: PredictionWriter,
    finish: Callable[[np.ndarray], np.ndarray],
    separate: bool,
) -> tuple[int, int]:
    """Run pass after pass into one sum, then write it; the sum is all that is kept between passes."""
    channels = len(writer.channels)
    height, width = reader.shape[1:3]
    total = HostSum(
        (channels, len(slices), height, width),
        None if plan.sum_in_memory else partial_path(writer.path.with_name(f"{writer.path.name}.sum")),
    )
    tiles = skipped = 0
    try:
        for one in passes:
            measured = statistics(reader, one.input_config, slices)  # of the volume, whichever way it is sliced
            flat = one.axis in ("z", "volume")
            seen, planes = (reader, slices) if flat else _turned(reader, one.axis)
            done = _run_pass(
                one, seen, planes, plan, measured=measured, channels=channels, separate=separate,
                emit=partial(total.add, one.axis),
            )  # fmt: skip
            tiles, skipped = tiles + done[0], skipped + done[1]
        step = max(1, 2**24 // (4 * channels * width))
        for plane in range(len(slices)):
            for row in range(0, height, step):
                writer.write_rows(finish(total.rows(plane, row, min(step, height - row))), plane)
    finally:
        total.close()
    return tiles, skipped


def _turned(reader: ImageReader, axis: str) -> tuple[ImageReader, Sequence[int]]:
    """Return the whole volume sliced along "y" or "x", and its plane numbers."""
    volume = np.stack([reader.read(z, None, None) for z in range(reader.shape[0])])
    turned = TurnedReader(ArrayReader(volume), axis)
    return turned, range(turned.shape[0])


def _run_pass(
    one: Pass,
    reader: ImageReader,
    planes: Sequence[int],
    plan: MemoryPlan,
    *,
    measured: Statistics,
    channels: int,
    separate: bool,
    emit: Emit,
) -> tuple[int, int]:
    """Stream `planes` of `reader` through one pass; returns the numbers of tiles predicted and skipped."""
    if one.axis == "volume":
        boxes = pass_boxes(one, reader.shape, spacing_of(reader))
        done = run_volume_pass(one, reader, boxes, measured=measured, channels=channels, separate=separate, emit=emit)
        return done, 0
    config, first = one.predict_config, one.votes[0].member
    grid = pass_grid(one, reader.shape[1:3])
    merge_blank = BLANK_LOGIT * one.share if config.merge == "logits" else 0.0
    collect = StripAccumulator(grid, channels, emit, skipping=config.skip_background, blank=merge_blank)
    cuda = first.device.type == "cuda"
    made = batches(
        reader, planes, grid, measured,
        input_config=one.input_config, skip_background=config.skip_background, tiles=plan.tiles,
        dtype=first.dtype, pin=cuda, block_bytes=plan.block_bytes,
    )  # fmt: skip
    predicted = _forward(read_ahead(made, plan.ahead), one, separate=separate, lag=1 if cuda else 0)
    tiles = skipped = 0
    for place, values in predicted:
        collect.add(place, values)
        tiles, skipped = tiles + (not place.empty), skipped + place.empty
    collect.finish()
    return tiles, skipped


def _forward(
    made: Iterator[Batch], one: Pass, *, separate: bool, lag: int
) -> Iterator[tuple[Place, np.ndarray | None]]:
    """Yield every tile's result in order; with `lag`, the device already computes the next batch
    meanwhile.
    """
    waiting: deque[tuple[Batch, torch.Tensor | None]] = deque()
    config = one.predict_config
    for batch in made:
        result = None
        if batch.inputs is not None:
            result = predict_batch(
                batch.inputs, one.votes, batch_size=config.batch_size, merge=config.merge, separate=separate
            )
        waiting.append((batch, result))
        if len(waiting) > lag:
            yield from _results(*waiting.popleft())
    while waiting:
        yield from _results(*waiting.popleft())


def _results(batch: Batch, result: torch.Tensor | None) -> Iterator[tuple[Place, np.ndarray | None]]:
    values = iter(() if result is None else result.cpu().numpy())
    for place in batch.places:
        yield place, None if place.empty else next(values)
