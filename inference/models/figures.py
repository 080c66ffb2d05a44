"""Figures of the table of models, which `python -m inference.models --measure` writes."""

from __future__ import annotations

import json
from pathlib import Path

FILE = Path(__file__).with_suffix(".json")


def read_figures(path: Path = FILE) -> dict[str, tuple[int, float]]:
    """Name -> parameters and GFLOPs (two operations a multiply-add) for one class.

    They are of one RGB image of 512x512, in three dimensions of one volume of 32x128x128 voxels.
    """
    return {name: (parameters, gflops) for name, (parameters, gflops) in json.loads(path.read_text()).items()}
