from __future__ import annotations

import numpy as np
import pandas as pd
from drawn_sources import drawn_inventory

from pipeline.shift.appearance import appearance, principal, spectrum, standardised


def test_values_are_comparable_across_types_and_sizes() -> None:
    table, thumbnails = drawn_inventory({("train", "plain"): 3})
    other = table.copy()
    quantiles = [name for name in table if "channel" in name and name != "channels"]
    other[quantiles] *= 257
    looks = appearance(table, thumbnails)
    np.testing.assert_allclose(looks[quantiles], appearance(other.assign(dtype="uint16"), thumbnails)[quantiles])
    assert looks["height"].tolist() == [np.log2(72)] * 3
    assert looks.index.equals(table.index) and looks.drop(columns="pixel_size_um").notna().all(axis=None)


def test_floats_are_signed_logarithms_and_many_channels_their_mean() -> None:
    table, thumbnails = drawn_inventory({("train", "plain"): 1})
    table["image_channel_0_p01"] = -999.0
    assert appearance(table.assign(dtype="float32"), thumbnails)["image_channel_0_p01"].item() == -3
    wide = table.assign(**{f"image_channel_{c}_p50": 51.0 * c for c in range(6)}, channels=6)
    assert appearance(wide, thumbnails)["image_p50"].item() == np.mean([51.0 * c for c in range(6)]) / 255


def test_a_spectrum_tells_fine_from_coarse() -> None:
    coarse = np.zeros((64, 64), np.uint8)
    coarse[16:48, 16:48] = 200
    fine = np.tile(np.array([0, 200], np.uint8), (64, 32))
    powers = spectrum(np.stack([coarse, fine]))
    assert powers.argmax(axis=1).tolist() == [0, 5] and np.isfinite(spectrum(np.zeros((1, 64, 64), np.uint8))).all()


def test_standardised_drops_what_does_not_vary_and_fills_what_is_missing() -> None:
    looks = pd.DataFrame({"a": [1.0, 2, np.nan, 3], "same": 4.0, "unknown": np.nan})
    values = standardised(looks)
    assert values.shape == (4, 1) and abs(values.mean()) < 1e-12
    assert values[2, 0] == values[1, 0]
    assert standardised(looks.iloc[:1]).shape == (1, 0)


def test_principal_components_keep_the_distances() -> None:
    values = np.random.default_rng(0).normal(size=(30, 3)) @ np.diag([5.0, 1.0, 0.1])
    found = principal(values, share=1.0)
    expected = np.linalg.norm(values[:, None] - values[None], axis=2)
    np.testing.assert_allclose(np.linalg.norm(found[:, None] - found[None], axis=2), expected, atol=1e-9)
    assert principal(values).shape == (30, 1) and principal(np.zeros((4, 0))).shape == (4, 0)
