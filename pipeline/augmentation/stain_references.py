"""Reference pictures whose colours training takes over: training images that the fold does not hold out."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt

import numpy as np
import pandas as pd

from folds.buffers import trained_rows
from pipeline.augmentation.stains import ColourStatistics, colour_statistics
from pipeline.data.store import Store, StoredImage

PIXELS = 4_000_000
READ_ROWS = 1024


def reference_colours(names: Sequence[str], store: Store, folds: pd.DataFrame, fold: int) -> list[ColourStatistics]:
    """Colours of the stored images `names`, but for those that fold `fold` holds out or keeps apart.

    Raises ValueError for a name that is no training image, where none is left, and for pictures that are not RGB of
    8 bits.
    """
    known = set(folds["image_id"].astype(str)) & set(store.ids()) if names else set()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(
            f"augment.references names {unknown[0]!r}, which is no training image of this experiment; expected ids of "
            "the inventory's split 'train'"
        )
    held_out = set(folds.loc[~trained_rows(folds, fold), "image_id"].astype(str))
    used = [name for name in names if name not in held_out]
    if names and not used:
        raise ValueError(
            f"augment.references: fold {fold} holds out or keeps apart all of {list(names)}; name images of other folds"
        )
    return [_colours(store.image(name)) for name in used]


def _colours(stored: StoredImage) -> ColourStatistics:
    """Statistics of the middle slice, of about PIXELS of its pixels on a regular grid."""
    depth, height, width, channels = stored.shape
    if channels != 3 or stored.dtype != np.uint8:
        raise ValueError(
            f"augment.references: {stored.image_id!r} is {stored.dtype} of {channels} channel(s), expected RGB, uint8"
        )
    step = max(1, ceil(sqrt(height * width / PIXELS)))
    tall = step * max(1, READ_ROWS // step)
    parts = [
        stored.read(depth // 2, slice(top, min(height, top + tall)), slice(0, width))[::step, ::step]
        for top in range(0, height, tall)
    ]
    return colour_statistics(np.concatenate(parts))
