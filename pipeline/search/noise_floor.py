"""The noise floor: how far apart are runs that differ by nothing but the seed?"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from submissions.host.atomic import write_atomic

NOISE = "noise_floor.json"
SEEDS = 2  # beside the experiment's own
TWO_ERRORS = 2.0


def noise_floor(scores: Sequence[float]) -> float:
    """What two runs may differ by though nothing but the seed does: 2 standard deviations of a difference.

    The standard deviation of a difference is sqrt(2) times that between runs, estimated with n - 1. Raises ValueError
    for fewer than two scores.
    """
    if len(scores) < 2:
        raise ValueError(
            f"{len(scores)} score(s) given, but a noise floor needs two or more runs that differ by the seed"
        )
    return float(TWO_ERRORS * np.sqrt(2) * np.std(np.asarray(scores, float), ddof=1))


def known_scores(folder: Path, key: str) -> dict[str, float]:
    """Scores of the seeds that were run, seeds as text; empty where none was, or of another `key`."""
    path = folder / NOISE
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return dict(found["scores"]) if found.get("key") == key else {}


def unknown_seeds(folder: Path, seed: int, key: str) -> list[int]:
    """The seeds of a noise floor that are not scored yet."""
    known = known_scores(folder, key)
    return [number for number in range(seed, seed + SEEDS + 1) if str(number) not in known]


def measure_noise(folder: Path, score: Callable[[int], float], seed: int, *, key: str) -> float:
    """The noise floor of an experiment whose `score` at a seed is asked for; written into its `folder` as it goes.

    key: what the scores are of (experiment, folds, objective). Seeds that were scored before are not scored again.
    """
    for number in unknown_seeds(folder, seed, key):
        scores = {**known_scores(folder, key), str(number): score(number)}
        floor = noise_floor(list(scores.values())) if len(scores) > 1 else 0.0
        write_atomic(folder / NOISE, json.dumps({"floor": floor, "scores": scores, "key": key}, indent=1) + "\n")
    return noise_floor(list(known_scores(folder, key).values()))
