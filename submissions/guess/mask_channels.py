"""Does a mask file have a channel a class (PanNuke), or one that numbers objects beside one of their kinds (CoNIC)?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from submissions.host.listing import spread
from submissions.images.opening import open_image

FILES = (".npy", ".npz", ".tif", ".tiff")  # of pictures three channels are colours, and a fourth is transparency
SLICES_READ = 12


def meaning_of_channels(folder: Path, files: Sequence[str]) -> tuple[dict[str, Any], list[str], bool, list[str]] | None:
    """(settings, classes, exclusive, notes) for masks of several channels; None where they have one, or colours.

    Raises ValueError as `open_image`, and where files differ in their number of channels.
    """
    pixels = [_read(folder / file) for file in files if file.lower().endswith(FILES)]
    channels = {one.shape[-1] for one in pixels}
    if len(pixels) < len(files) or channels == {1} or (channels == {3} and pixels[0].dtype == np.uint8):
        return None
    if len(channels) > 1:
        raise ValueError(f"masks have {sorted(channels)} channels, expected the same number in all")
    number = channels.pop()
    values = [set().union(*(np.unique(one[..., k]).tolist() for one in pixels)) - {0} for k in range(number)]
    inside = np.concatenate([(one != 0).reshape(-1, number) for one in pixels])
    numbered = max(map(len, values)) > 1
    if numbered and (inside == inside[:, :1]).all():
        first = max(range(number), key=lambda k: len(values[k]))
        why = f"{number} channels show the same places: channel {first} has most values, which are taken for objects"
        names = ["thing" if k == first else "" for k in range(number)]
        return {"channels": names, "instances": True}, ["thing"], False, [why]
    apart = [k for k in range(number) if (inside[:, k] != np.delete(inside, k, axis=1).any(axis=1)).all()]
    rest = max(apart, key=lambda k: inside[:, k].sum(), default=None)
    names = [f"class_{k}" for k in range(number)]
    why = f"{number} channels, a class each; write '' for one that is not wanted"
    if rest is not None and not numbered and (inside.sum(axis=1) == 1).all():
        names[rest] = "background"
        background = f"channel {rest} shows where nothing else is: the background"
        return {"channels": names}, ["background", *(n for n in names if n != "background")], True, [why, background]
    notes = [why]
    if rest is not None:
        names[rest] = ""
        notes.append(f"channel {rest} shows where nothing else is, and is left out")
    if numbered:
        notes.append("their values number objects; masks.instances: true keeps these apart")
    return {"channels": names}, [name for name in names if name], False, notes


def _read(path: Path) -> np.ndarray:
    """Some slices of a mask file, (Z, H, W, C)."""
    with closing(open_image(path)) as reader:
        return np.stack([reader.read(z) for z in spread(range(reader.shape[0]), SLICES_READ)])
