"""Does a mask file have a channel a class (PanNuke), or one that numbers objects beside one of their kinds (CoNIC)?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from submissions.guess.arrays import HOLDERS
from submissions.host.listing import spread
from submissions.images.opening import open_image, probe_image
from submissions.images.reading import Reading

ARRAYS, TIFF = (".npy", *HOLDERS), (".tif", ".tiff")  # pictures: three channels are colours, a fourth transparency
SLICES_READ = 12

Meaning = tuple[dict[str, Any], list[str], bool, list[str]]  # settings, classes, exclusive, notes


class _Channels:
    """What the channels of some masks show.

    values: of each channel those that are not 0; rest: the channels that show where no other does; same: all show the
    same places; once: each pixel is in one channel; pixels: of each channel.
    """

    def __init__(self, number: int) -> None:
        self.values: list[set[float]] = [set() for _ in range(number)]
        self.rest, self.same, self.once = set(range(number)), True, True
        self.pixels = np.zeros(number, np.int64)

    def add(self, mask: np.ndarray) -> None:
        """Take a plane (H, W, C) into account."""
        inside = (mask != 0).reshape(-1, mask.shape[-1])
        count = inside.sum(axis=1)
        for k, own in enumerate(self.values):
            own |= set(np.unique(mask[..., k]).tolist()) - {0}
        self.rest = {k for k in self.rest if (inside[:, k] != (count - inside[:, k] > 0)).all()}
        self.same &= bool(((count == 0) | (count == mask.shape[-1])).all())
        self.once &= bool((count == 1).all())
        self.pixels += inside.sum(axis=0)


def meaning_of_channels(folder: Path, files: Sequence[str], array: str | None = None) -> Meaning | None:
    """(settings, classes, exclusive, notes) for masks of several channels; None where they have one, or colours.

    array: of files that hold several, the one that is the mask. Raises ValueError as `open_image`, and where files
    differ in their number of channels.
    """
    if not all(file.lower().endswith((*ARRAYS, *TIFF)) for file in files):
        return None
    reading = Reading(array=array)
    infos = [probe_image(folder / file, reading=reading) for file in files]
    numbers = sorted({info.channels for info in infos})
    colours = numbers == [3] and np.dtype(infos[0].dtype) == np.uint8
    if numbers == [1] or (colours and files[0].lower().endswith(TIFF)):
        return None
    if len(numbers) > 1:
        raise ValueError(f"masks have {numbers} channels, expected the same number in all")
    seen = _Channels(numbers[0])
    for file in files:
        with closing(open_image(folder / file, reading=reading)) as reader:
            for z in spread(range(reader.shape[0]), SLICES_READ):
                seen.add(reader.read(z))
    return None if colours and set().union(*seen.values) - {1} else _meaning(seen)


def _meaning(seen: _Channels) -> Meaning:
    number, numbered = len(seen.values), max(map(len, seen.values)) > 1
    if numbered and seen.same:
        first = max(range(number), key=lambda k: len(seen.values[k]))
        why = f"{number} channels show the same places: channel {first} has most values, which are taken for objects"
        names = ["thing" if k == first else "" for k in range(number)]
        return {"channels": names, "instances": True}, ["thing"], False, [why]
    names, notes = [f"class_{k}" for k in range(number)], [f"{number} channels, a class each; '' leaves one out"]
    rest = max(seen.rest, key=lambda k: int(seen.pixels[k]), default=None)
    exclusive = rest is not None and not numbered and seen.once
    if rest is not None:
        names[rest] = "background" if exclusive else ""
        notes.append(f"channel {rest} shows where nothing else is" + ("" if exclusive else ", and is left out"))
    if numbered:
        notes.append("their values number objects; masks.instances: true keeps these apart")
    classes = sorted(filter(None, names), key=lambda name: name != "background")
    return {"channels": names}, classes, exclusive, notes
