"""Seeds that follow from numbers alone: the same (seed, epoch, index), the same sample, everywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def seed_of(*parts: int | str) -> int:
    """A seed in 0..2**63 - 1, unrelated for unrelated parts."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator_of(*parts: int | str) -> np.random.Generator:
    """A generator of its own for these parts."""
    return np.random.default_rng(seed_of(*parts))


def draw(weights: Sequence[float] | np.ndarray, generator: np.random.Generator) -> int:
    """An index with probability proportional to its weight (not negative, not all zero)."""
    total = np.cumsum(np.asarray(weights, dtype=np.float64))
    return int(np.searchsorted(total, generator.random() * total[-1], side="right"))
