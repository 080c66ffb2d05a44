"""Samples of several sources, each with its share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.seeds import draw, generator_of
from pipeline.training.loader import Sample, SampleSource


@dataclass(frozen=True)
class Extra:
    """Further samples and the share of all samples that they make up."""

    share: float
    source: SampleSource


class Mixture:
    """Samples of several sources by their shares; the first has what the others leave."""

    def __init__(self, first: SampleSource, extras: Sequence[Extra], seed: int) -> None:
        left = 1 - sum(extra.share for extra in extras)
        assert left > 0, "an experiment's shares leave something for the fold's own images"
        self.sources = [first, *(extra.source for extra in extras)]
        self.shares, self.seed = [left, *(extra.share for extra in extras)], seed

    def sample(self, epoch: int, index: int) -> Sample:
        """Sample `index` of epoch `epoch`, from the source that its own draw names."""
        chosen = draw(self.shares, generator_of(self.seed, "mixture", epoch, index))
        return self.sources[chosen].sample(epoch, index)
