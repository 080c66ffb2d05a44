"""Colours: an image unlike all training images is shown in their range of values, light and dark exchanged if need be.

Images are compared by five quantiles of each channel, as stage 01 measures them. Decided image by image, from its
pixels alone, so that out of fold, on test images and in a bundle the same image is treated the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from inference.predict.inputs import READ_ROWS, value_maximum
from inference.predict.resample import restore_dtype
from submissions.host.atomic import write_atomic
from submissions.host.listing import spread
from submissions.host.settings import Measured, read_yaml, validate
from submissions.images.measures import QUANTILES
from submissions.images.opening import ImageReader
from submissions.images.readers import WrappedReader, valid_pixels

FILE = "colours.json"
MOST_ROWS = 500
LEAST_ROWS, LEAST_GROUPS = 8, 3
NEIGHBOURS = 3
TYPICAL = 0.98  # share of training images that lie within the reach of those of other groups
FOREIGN = 1.5  # reaches beyond which an image is foreign
LEAST_REACH = 0.02  # of the range of values: five levels of 8 bits
INVERTED = 0.75  # light and dark are exchanged where that leaves less than this share of the distance
STEEPEST = 8.0
SHOWN = 5
GRID, SLICES = 200, 3  # places a side that are looked at, and slices


class Colours(Measured):
    """What values the training images have."""

    format: Literal[1] = 1
    channels: int = Field(ge=1)
    rows: list[list[float]] = Field(min_length=1, description="an image's quantiles, channel by channel, 0 to 1")
    reach: float = Field(gt=0, description="distance to the nearest images of other groups that one in fifty exceeds")
    everything: bool = Field(False, description="images that are like these are shown in their range too")

    @model_validator(mode="after")
    def _rows_are_whole(self) -> Colours:
        wrong = [len(row) for row in self.rows if len(row) != self.channels * len(QUANTILES)]
        if wrong:
            raise ValueError(f"a row has {wrong[0]} numbers, expected {len(QUANTILES)} of {self.channels} channel(s)")
        return self


def learn_colours(quantiles: np.ndarray, groups: Sequence[str], *, everything: bool = False) -> Colours | None:
    """What training images (N, C, 5) of groups (N) have in common; None of fewer than 8, or of fewer than 3 groups.

    quantiles: shares of what the type can hold, see `QUANTILES`. Of more than MOST_ROWS images as many, evenly spread.
    Rows with numbers missing count as not there. everything: images that are like them are brought to their range too.
    """
    rows, names = quantiles.reshape(len(quantiles), -1), np.asarray(groups, dtype=object)
    known = np.isfinite(rows).all(axis=1)
    rows, names = rows[known], names[known]
    chosen = spread(range(len(rows)), MOST_ROWS)
    rows, names = rows[chosen], names[chosen]
    if len(rows) < LEAST_ROWS or len(set(names)) < LEAST_GROUPS:
        return None
    apart = [nearest(row[None], rows[names != name])[0] for row, name in zip(rows, names, strict=True)]
    reach = max(float(np.quantile(apart, TYPICAL)), LEAST_REACH)
    return Colours(
        channels=quantiles.shape[1], rows=np.round(rows, 5).tolist(), reach=round(reach, 6), everything=everything
    )


def nearest(rows: np.ndarray, known: np.ndarray) -> np.ndarray:
    """float64 (N,): mean distance (root mean square) of rows (N, F) to their three nearest of the known (M, F)."""
    apart = np.sqrt(((rows[:, None] - known[None]) ** 2).mean(axis=2))
    return np.asarray(np.sort(apart, axis=1)[:, :NEIGHBOURS].mean(axis=1))


def reaches_away(colours: Colours, quantiles: np.ndarray) -> np.ndarray:
    """float64 (N,): distance of images (N, C, 5) to the nearest training images, in reaches; beyond FOREIGN foreign."""
    rows = quantiles.reshape(len(quantiles), -1)
    return np.concatenate([nearest(row[None], np.array(colours.rows)) for row in rows]) / colours.reach


def measured_quantiles(reader: ImageReader) -> np.ndarray:
    """float64 (C, 5): quantiles of an image's channels as shares of what its type can hold (of floats as they are).

    Of a regular grid of at most about GRID x GRID places in up to SLICES slices; NaN where there is no value.
    """
    depth, height, width, channels = reader.shape
    down, across = max(1, height // GRID), max(1, width // GRID)
    found = []
    for z in sorted({depth * (2 * index + 1) // (2 * SLICES) for index in range(SLICES)}):
        for start in range(0, height, READ_ROWS):
            rows = slice(start, min(height, start + READ_ROWS))
            block = reader.read(z, rows, None)[-start % down :: down, across // 2 :: across]
            valid = valid_pixels(reader, z, rows, None)
            known = slice(None) if valid is None else valid[-start % down :: down, across // 2 :: across]
            found.append(block[known].reshape(-1, channels).astype(np.float64))
    values = np.concatenate(found)
    values = values[np.isfinite(values).all(axis=1)]
    if not len(values):
        return np.full((channels, len(QUANTILES)), np.nan)
    return np.quantile(values, list(QUANTILES.values()), axis=0).T / value_maximum(reader.dtype)


class Recoloured(WrappedReader):
    """An opened image whose channels are value * factor + start, in the type that it has."""

    def __init__(self, reader: ImageReader, factor: np.ndarray, start: np.ndarray, attrs: dict[str, Any]) -> None:
        super().__init__(reader)
        self.factor, self.start, self.attrs = factor, start, attrs

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of slice z as (h, w, C)."""
        values = self.reader.read(z, rows, cols) * self.factor.astype(np.float32) + self.start.astype(np.float32)
        return restore_dtype(values, self.dtype)


def in_training_colours(reader: ImageReader, colours: Colours) -> ImageReader:
    """The image itself where it is like the training images or cannot be compared, else brought to their range.

    Foreign is what lies beyond FOREIGN reaches from the training images. Where its negative lies at most three quarters
    as far, light and dark are exchanged first. Then the first and last percentile of every channel are laid on the
    median ones of the training images; an image is left alone whose contrast would grow more than STEEPEST times. What
    was done is the `attrs` of the returned image.
    """
    if reader.shape[3] != colours.channels:
        return reader
    own = measured_quantiles(reader)
    if not np.isfinite(own).all():
        return reader
    apart = float(reaches_away(colours, own[None])[0])
    foreign = apart > FOREIGN
    if not (foreign or colours.everything):
        return reader
    inverted = foreign and float(reaches_away(colours, (1 - own)[None, :, ::-1])[0]) < INVERTED * apart
    target = np.median(colours.rows, axis=0).reshape(colours.channels, -1)
    first, last = (own[:, -1], own[:, 0]) if inverted else (own[:, 0], own[:, -1])
    span = last - first
    wanted = target[:, -1] - target[:, 0]
    if not (np.abs(span) * STEEPEST > wanted).all():
        return reader
    factor = wanted / span
    start = (target[:, 0] - factor * first) * value_maximum(reader.dtype)
    attrs = {"colours": {"distance": round(apart, 2), "foreign": foreign, "inverted": inverted}}
    return Recoloured(reader, factor, start, attrs)


def recoloured_lines(made: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sentences about images that were shown in the training images' range; none where there are none.

    made: image -> the attributes of its prediction.
    """
    found = {name: attrs["colours"] for name, attrs in made.items() if "colours" in attrs}
    foreign = {name: one for name, one in found.items() if one["foreign"]}
    lines = [f"{len(found)} of {len(made)} images were predicted in the range of the training images"] if found else []
    if foreign:
        inverted = sum(bool(one["inverted"]) for one in foreign.values())
        farthest = sorted(foreign, key=lambda name: (-foreign[name]["distance"], name))[:SHOWN]
        lines.append(
            f"{len(foreign)} of them have values unlike all training images'; light and dark were exchanged in "
            f"{inverted}; farthest, as multiples of how far training images are from each other: "
            + ", ".join(f"{name} ({foreign[name]['distance']:g})" for name in farthest)
        )
    return lines


def save_colours(path: Path, colours: Colours) -> None:
    """Write as JSON, beside its name and then renamed."""
    write_atomic(path, colours.model_dump_json() + "\n")


def load_colours(path: Path) -> Colours | None:
    """What stage 06 kept beside the decision; None where there is nothing; ValueError for what cannot be."""
    return validate(Colours, read_yaml(path), str(path)) if path.is_file() else None
