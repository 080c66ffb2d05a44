"""Which test images have values unlike those of all training images, from the inventory's quantiles."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.shift.colours import quantiles_of, unlike_in_colours


def test_quantiles_are_shares_of_what_the_type_holds() -> None:
    names = [f"image_channel_0_{name}" for name in ("p01", "p25", "p50", "p75", "p99")]
    rows = [["uint8", 1, *[0, 51, 102, 153, 255]], ["uint16", 1, *[65535] * 5], ["uint8", 3, *[1] * 5]]
    found = quantiles_of(pd.DataFrame(rows, columns=["dtype", "channels", *names]))
    np.testing.assert_allclose(found[:2, 0], [[0, 0.2, 0.4, 0.6, 1], [1] * 5])
    assert np.isnan(found[2]).all()
    with pytest.raises(ValueError, match="run 01_check_data"):
        quantiles_of(pd.DataFrame({"dtype": ["uint8"], "channels": [2], names[0]: [1.0]}))


def drawn(offset: float, split: str, number: int) -> pd.DataFrame:
    """Rows of an inventory of grey 8-bit images about `offset`."""
    names = [f"image_channel_0_{name}" for name in ("p01", "p25", "p50", "p75", "p99")]
    spread = np.random.default_rng(number).normal(0, 2, (number, 1))
    values = np.array([0, 20, 30, 40, 60]) + offset + spread
    return pd.DataFrame(values, columns=names).assign(split=split, dtype="uint8", channels=1)


def test_test_images_far_from_training_are_counted() -> None:
    table = pd.concat([drawn(20, "train", 12), drawn(20, "test", 5), drawn(150, "test", 3)], ignore_index=True)
    groups = np.array([str(index) for index in range(20)], dtype=object)
    assert unlike_in_colours(table, groups) == 3
    assert unlike_in_colours(table[:17], groups[:17]) == 0
    assert unlike_in_colours(table.iloc[5:], groups[5:]) == 0  # seven training images say nothing
    table.loc[17, "image_channel_0_p01"] = np.nan
    assert unlike_in_colours(table, groups) == 2
