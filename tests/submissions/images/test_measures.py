from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from submissions.images.measures import MEASURES, QUANTILES, Meter, brightness, is_quantile, measured_columns


def measure(image: np.ndarray, strip: int | None = None) -> dict[str, float]:
    height, width, _ = image.shape
    meter = Meter(height, width)
    for top in range(0, height, strip or height):
        part = image[top : top + (strip or height)]
        meter.add(top, part, brightness(part))
    return meter.measures()


def noisy(level: float, sigma: float, *, shape: tuple[int, int] = (120, 150), seed: int = 0) -> np.ndarray:
    grey = np.random.default_rng(seed).normal(level, sigma, shape)
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)[:, :, None]


def stripes(degrees: float, *, shape: tuple[int, int] = (160, 200)) -> np.ndarray:
    """Bright lines that run `degrees` counter-clockwise from horizontal."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    across = x * np.sin(np.deg2rad(degrees)) + y * np.cos(np.deg2rad(degrees))
    return np.rint(128 + 90 * np.sin(across / 3)).astype(np.uint8)[:, :, None]


def test_columns_are_those_that_are_documented() -> None:
    found = measure(np.dstack([noisy(100, 20, seed=k) for k in range(3)]))
    quantiles = [f"image_channel_{c}_{name}" for c in range(3) for name in QUANTILES]
    assert list(found) == [*quantiles, *MEASURES]
    assert measured_columns(["image_id", "noise", *found, "source"]) == list(found)
    assert not is_quantile("image_channel_x_p50") and not is_quantile("channel_0_p50")


def test_quantiles_are_the_host_s_values_of_each_channel() -> None:
    image = np.dstack([noisy(60, 5, seed=1), noisy(200, 9, seed=2)])
    found = measure(image)
    for channel in range(2):
        for name, share in QUANTILES.items():
            expected = np.quantile(image[:, :, channel], share)
            assert found[f"image_channel_{channel}_{name}"] == pytest.approx(expected, abs=2.5)
    assert math.isnan(found["image_colourfulness"])


@pytest.mark.parametrize("degrees", [0.0, 30.0, 90.0, 135.0])
def test_orientation_is_that_of_the_lines(degrees: float) -> None:
    found = measure(stripes(degrees))
    turned = abs((found["image_orientation"] - degrees + 90) % 180 - 90)
    assert turned < 2 and found["image_coherence"] > 0.95
    assert measure(noisy(128, 30))["image_coherence"] < 0.1


def test_noise_and_sharpness_are_told_apart_from_contrast() -> None:
    smooth = stripes(20.0).astype(float)
    added = np.random.default_rng(0).normal(0, 6, smooth.shape)
    noise = np.clip(np.rint(smooth + added), 0, 255).astype(np.uint8)
    span = 180.0
    assert measure(noise)["image_noise"] * span == pytest.approx(6, rel=0.15)
    assert measure(smooth.astype(np.uint8))["image_noise"] < 0.25 * measure(noise)["image_noise"]
    assert measure(noisy(128, 30))["image_sharpness"] == pytest.approx(1, abs=0.02)
    blurred = cv2.GaussianBlur(noisy(128, 30), (0, 0), 3)[:, :, None]
    assert measure(blurred)["image_sharpness"] < 0.1
    assert measure(noisy(128, 10))["image_sharpness"] == pytest.approx(
        measure(noisy(128, 40))["image_sharpness"], abs=0.05
    )


def test_colourfulness_is_that_of_hasler_and_suesstrunk() -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (40, 39, 3), dtype=np.uint8)  # every pixel is in the grid
    red, green, blue = (image[:, :, c].astype(float) for c in range(3))
    first, second = red - green, (red + green) / 2 - blue
    expected = math.hypot(first.std(), second.std()) + 0.3 * math.hypot(first.mean(), second.mean())
    assert measure(image)["image_colourfulness"] == pytest.approx(expected, rel=1e-4)
    assert measure(np.repeat(noisy(100, 20), 3, axis=2))["image_colourfulness"] == 0


def test_background_is_the_commonest_brightness() -> None:
    image = np.full((90, 140, 1), 10, np.uint8)
    image[:, :35] = 240
    found = measure(image)
    assert found["image_background"] == pytest.approx(0.75, abs=0.02) and found["image_background_level"] < 0.1
    bright = measure(255 - image)
    assert bright["image_background"] == pytest.approx(0.75, abs=0.02) and bright["image_background_level"] > 0.9


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_what_does_not_depend_on_the_type(dtype: type) -> None:
    image = stripes(40.0)
    scaled = (image.astype(np.float64) * (257 if dtype is np.uint16 else 1)).astype(dtype)
    found, other = measure(image), measure(scaled)
    for name in ("image_sharpness", "image_noise", "image_orientation", "image_background"):
        assert other[name] == pytest.approx(found[name], rel=1e-3)


def test_flat_tiny_and_unfinite_images_are_measured() -> None:
    flat = measure(np.zeros((40, 50, 3), np.uint8))
    assert flat["image_background"] == 1 and flat["image_contrast"] == 0
    assert all(math.isnan(flat[name]) for name in ("image_sharpness", "image_noise", "image_orientation"))
    assert math.isnan(measure(np.ones((2, 1, 1), np.uint8))["image_sharpness"])
    image = noisy(100, 20).astype(np.float32)
    image[::2] = np.nan
    assert measure(image)["image_channel_0_p50"] == pytest.approx(100, abs=2)
    assert math.isnan(measure(np.full((9, 8, 1), np.nan, np.float32))["image_contrast"])
    assert measure(np.ones((9, 8, 1), bool))["image_channel_0_p50"] == 1


def test_strips_give_the_same_values_and_nearly_the_same_texture() -> None:
    image = np.dstack([noisy(100, 25, shape=(500, 230), seed=k) for k in range(3)])
    whole, strips = measure(image), measure(image, strip=70)
    for name, value in whole.items():
        texture = name in ("image_sharpness", "image_noise")
        if name not in ("image_orientation", "image_coherence"):
            assert strips[name] == pytest.approx(value, rel=0.1 if texture else 1e-6)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_brightness_is_the_mean_of_the_channels(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 60000, (5, 9, channels), dtype=np.uint16)
    found = brightness(pixels)
    assert (found.shape, found.dtype) == ((5, 9), np.float32)
    np.testing.assert_allclose(found, pixels.mean(axis=2), rtol=1e-6)
