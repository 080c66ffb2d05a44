"""Test images whose values are unlike those of all training images, by what stage 01 measured."""

from __future__ import annotations

import numpy as np
import pandas as pd

from inference.colours import FOREIGN, learn_colours, reaches_away
from inference.predict.inputs import value_maximum
from pipeline.shift.appearance import require_measures
from submissions.images.measures import QUANTILES


def quantiles_of(listing: pd.DataFrame) -> np.ndarray:
    """float64 (N, C, 5) of rows of the inventory, shares of what each image's type can hold, NaN where not measured.

    C is the number of channels that most images have; the others are NaN. Raises ValueError for an
    inventory without measures.
    """
    count = int(listing["channels"].astype(int).mode().iloc[0])
    names = [f"image_channel_{channel}_{name}" for channel in range(count) for name in QUANTILES]
    require_measures(listing, names)
    values = listing[names].to_numpy(dtype=np.float64, copy=True)
    most = np.array([value_maximum(np.dtype(str(name))) for name in listing["dtype"]])
    values[(listing["channels"].astype(int) != count).to_numpy()] = np.nan
    return np.asarray((values / most[:, None]).reshape(len(values), count, len(QUANTILES)))


def unlike_in_colours(table: pd.DataFrame, groups: np.ndarray) -> int:
    """How many test images of an inventory are so; 0 where training has too few images, or groups (N,), to say."""
    quantiles, test = quantiles_of(table), (table["split"] == "test").to_numpy()
    colours = learn_colours(quantiles[~test], list(groups[~test]))
    known = quantiles[test & np.isfinite(quantiles).all(axis=(1, 2))]
    if colours is None or not len(known):
        return 0
    return int((reaches_away(colours, known) > FOREIGN).sum())
