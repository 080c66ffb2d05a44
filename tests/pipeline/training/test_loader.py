"""Batches: the same samples whatever the number of processes and loader workers."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch

from inference.config import ModelConfig
from pipeline.experiment import Experiment
from pipeline.seeds import draw, generator_of, seed_of
from pipeline.settings.training import AugmentSettings, TrainSettings
from pipeline.training.batch_size_finder import largest_that_fits, refuse_batch
from pipeline.training.loader import Batch, Sample, gather, load_batches
from pipeline.training.mix_schedule import BatchMixer, never_pasted


class Counting:
    def sample(self, epoch: int, index: int) -> Sample:
        image = np.full((2, 3, 5), 100 * epoch + index, np.float32)
        target = np.full((1, 3, 5), index % 2, np.uint8)
        return Sample(image, target, 0.5 + index, f"{epoch}:{index}")


def names(**options: int) -> list[list[str]]:
    made = load_batches(Counting(), batches_per_epoch=2, batch_size=3, epochs=3, **options)  # type: ignore[arg-type]
    return [batch.names for batch in made]


def test_epochs_follow_each_other_and_a_restart_begins_at_its_epoch() -> None:
    everything = names(first_epoch=0)
    assert everything[0] == ["0:0", "0:1", "0:2"] and everything[-1] == ["2:3", "2:4", "2:5"]
    assert len(everything) == 6
    assert names(first_epoch=1) == everything[2:]


def test_loader_processes_change_nothing() -> None:
    assert names(first_epoch=1, workers=2) == names(first_epoch=1)


def test_two_processes_share_the_doubled_batch() -> None:
    shares = [names(first_epoch=0, rank=rank, world=2) for rank in (0, 1)]
    whole = load_batches(Counting(), first_epoch=0, batches_per_epoch=2, batch_size=6, epochs=3)
    assert [first + second for first, second in zip(*shares, strict=True)] == [batch.names for batch in whole]


def test_gathered_images_are_channels_last() -> None:
    batch = gather([Counting().sample(1, index) for index in range(2)])
    assert batch.images.shape == (2, 2, 3, 5) and batch.target.shape == (2, 1, 3, 5)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.images[1, 0, 0, 0] == 101 and batch.weights.tolist() == [0.5, 1.5]
    assert batch.first(3).names == ["1:0", "1:1", "1:0"]


def test_mixing_follows_from_seed_epoch_and_index() -> None:
    def mixed(seed: int) -> list[Batch]:
        mixer = BatchMixer(AugmentSettings(cutmix=0.5, copy_paste=0.5), seed, None)
        batches = load_batches(Counting(), first_epoch=0, batches_per_epoch=6, batch_size=4, epochs=1, mix=mixer)
        return list(islice(batches, 6))

    first, again, other = mixed(1), mixed(1), mixed(2)
    assert all(torch.equal(a.images, b.images) for a, b in zip(first, again, strict=True))
    assert any(not torch.equal(a.images, b.images) for a, b in zip(first, other, strict=True))
    plain = load_batches(Counting(), first_epoch=0, batches_per_epoch=6, batch_size=4, epochs=1)
    changed = [not torch.equal(a.images, b.images) for a, b in zip(first, plain, strict=True)]
    assert any(changed) and not all(changed)
    assert all(batch.images.is_contiguous(memory_format=torch.channels_last) for batch in first)


def test_labels_need_a_class_that_is_never_pasted() -> None:
    model = ModelConfig(classes=["cell", "background"], activation="softmax")
    experiment = Experiment(name="a", competition="a", model=model, augment=AugmentSettings(copy_paste=0.5))
    assert never_pasted(experiment) == 1
    assert never_pasted(experiment.model_copy(update={"model": ModelConfig(classes=["cell"])})) is None
    other = model.model_copy(update={"classes": ["cell", "wall"]})
    with pytest.raises(ValueError, match="needs a class named 'background'"):
        never_pasted(experiment.model_copy(update={"model": other}))


def test_seeds_are_stable_and_unrelated() -> None:
    assert seed_of(1, 2, "a") == seed_of(1, 2, "a") < 2**63
    assert len({seed_of(1, 2), seed_of(2, 1), seed_of(12), seed_of("1", "2", "")}) == 4
    counts = np.bincount([draw([1, 0, 3], generator_of(7, index)) for index in range(400)], minlength=3)
    assert counts[1] == 0 and 60 < counts[0] < 140


@pytest.mark.parametrize("limit", [0, 1, 5, 8, 15])
def test_the_largest_batch_is_found(limit: int) -> None:
    def attempt(count: int) -> None:
        if count > limit:
            raise torch.OutOfMemoryError("too much")

    assert largest_that_fits(attempt, 16) == limit


def test_too_large_a_batch_is_refused_with_the_one_that_fits() -> None:
    batch = gather([Counting().sample(0, index) for index in range(8)])

    def attempt(limit: int, tried: Batch) -> None:
        if len(tried.names) > limit:
            raise torch.OutOfMemoryError("too much")

    error = refuse_batch(batch, lambda tried: attempt(3, tried), TrainSettings(accumulate=2))
    assert "8 patches of 3 x 5" in str(error) and "train.batch_size=3" in str(error)
    assert "train.accumulate=6" in str(error)
    assert "even of one sample" in str(refuse_batch(batch, lambda tried: attempt(0, tried), TrainSettings()))
