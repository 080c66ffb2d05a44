"""Samples gathered into batches, in this process or by loader processes, each process with its own share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler


@dataclass(frozen=True)
class Sample:
    """One patch. `image` float32 (C, [d,] h, w), normalised; `target` uint8 label ([d,] h, w) or planes (K, [d,] h, w),
    255 = ignore (float32 planes for soft pseudo-labels); `weight` of its loss; `name` says where it was
    taken.
    """

    image: np.ndarray
    target: np.ndarray
    weight: float
    name: str


@dataclass(frozen=True)
class Batch:
    """Samples stacked: images (N, C, h, w) float32 in channels-last memory, or volumes (N, C, d, h, w); targets."""

    images: Tensor
    target: Tensor
    weights: Tensor
    names: list[str]

    def pin_memory(self) -> Batch:
        """The same in page-locked memory, from which a GPU copies faster."""
        return Batch(self.images.pin_memory(), self.target.pin_memory(), self.weights.pin_memory(), self.names)

    def first(self, count: int) -> Batch:
        """The first `count` samples, repeated from the start where the batch holds fewer."""
        chosen = torch.arange(count) % len(self.names)
        names = [self.names[int(index)] for index in chosen]
        return Batch(self.images[chosen], self.target[chosen], self.weights[chosen], names)


class SampleSource(Protocol):
    """What a training reads: sample number `index` of epoch `epoch`, the same whenever it is asked for."""

    def sample(self, epoch: int, index: int) -> Sample:
        """The sample."""
        ...


Mix = Callable[[Batch, int, int], Batch]  # (batch, epoch, number of its first sample)


def gather(samples: Sequence[Sample]) -> Batch:
    """Stack samples of one size. The images' memory is channels-last, as `normalise` leaves it: one plain
    copy. Volumes are stacked as they are.
    """
    first = samples[0]
    if first.image.ndim == 4:
        images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    else:
        images = torch.empty((len(samples), *first.image.shape), memory_format=torch.channels_last)
        for place, sample in zip(images, samples, strict=True):
            place.copy_(torch.from_numpy(np.ascontiguousarray(sample.image.transpose(1, 2, 0))).permute(2, 0, 1))
    target = torch.from_numpy(np.stack([sample.target for sample in samples]))
    weights = torch.tensor([sample.weight for sample in samples], dtype=torch.float32)
    return Batch(images, target, weights, [sample.name for sample in samples])


class _Numbered(Dataset[Any]):
    """A source as torch's loader wants it: batches by sample numbers that run over the epochs."""

    def __init__(self, source: SampleSource, per_epoch: int, mix: Mix | None) -> None:
        self.source, self.per_epoch, self.mix = source, per_epoch, mix

    def __getitems__(self, numbers: Sequence[int]) -> Batch:
        places = [divmod(number, self.per_epoch) for number in numbers]
        batch = gather([self.source.sample(*place) for place in places])
        return self.mix(batch, *places[0]) if self.mix is not None else batch


class _Share(Sampler[list[int]]):
    """Batches of sample numbers that fall to one process, from a batch number to another."""

    def __init__(self, start: int, stop: int, size: int, *, rank: int, world: int) -> None:
        self.start, self.stop, self.size, self.rank, self.world = start, stop, size, rank, world

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[int]]:
        for batch in range(self.start, self.stop):
            first = (batch * self.world + self.rank) * self.size
            yield list(range(first, first + self.size))


def _as_it_is(batch: Any) -> Any:
    return batch


def _quiet_worker(worker: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def load_batches(
    source: SampleSource,
    *,
    first_epoch: int,
    epochs: int,
    batches_per_epoch: int,
    batch_size: int,
    rank: int = 0,
    world: int = 1,
    mix: Mix | None = None,
    workers: int = 0,
    pin: bool = False,
) -> Iterator[Batch]:
    """Batches of the epochs from `first_epoch` to `epochs` - 1, one after the other, without a pause in
    between.

    Batch b of an epoch is cut from samples b * world * size to (b + 1) * world * size - 1 of that epoch: what
    one process with a batch of world * size would see, so that the number of processes changes no sample.
    With `workers` the samples are made by so many processes ahead of time, in the same order. `mix` changes
    whole batches.
    """
    per_epoch = batches_per_epoch * batch_size * world
    loader = DataLoader(
        _Numbered(source, per_epoch, mix),
        batch_sampler=_Share(
            first_epoch * batches_per_epoch, epochs * batches_per_epoch, batch_size, rank=rank, world=world
        ),
        collate_fn=_as_it_is,
        num_workers=workers,
        worker_init_fn=_quiet_worker if workers else None,
        prefetch_factor=4 if workers else None,
        pin_memory=pin,
        generator=torch.Generator().manual_seed(0),
    )
    return iter(loader)
