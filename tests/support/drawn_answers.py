"""Answers written of what is said of some images, the others empty; objects for the kinds that list them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from submissions.answers import answer_of
from submissions.answers.answer import Written
from submissions.host.competition import Competition
from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images
from submissions.table.scoring import Segmentation

ONE_OBJECT_CLASS: dict[str, Any] = {
    "masks": {"kind": "rle", "table": {"file": "train.csv"}, "column": "rle", "instances": True},
    "metric": {"name": "openimages_ap"},
}


def opened(competition: Competition, data: Path) -> ListedImages:
    """The test images."""
    return ListedImages(competition, data, list_images(competition, data, "test")[0])


def write_answer(competition: Competition, data: Path, out: Path, said: Mapping[str, Segmentation]) -> Written:
    """The answer as stage 07 writes it; it comes into being when it is finished, not before."""
    images, there = opened(competition, data), out.exists()
    with answer_of(competition).begin(out, images) as writer:
        for name, one in said.items():
            writer.add(images.row(name), one)
        for name in sorted(set(images.ids) - set(said)):
            writer.add_empty(name)
        assert out.exists() == there
        written = writer.finish()
    assert written.path == out
    return written


def numbered(label: np.ndarray, scores: Sequence[float]) -> Segmentation:
    """What is said of an image with the objects of int32 (H, W) and their scores."""
    return Segmentation((label > 0)[None, None], label[None], list(scores))
