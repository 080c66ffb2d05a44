"""Slides through OpenSlide: a drawn pyramid in Hamamatsu's layout, and a plain one under a slide's name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from submissions.images.opening import Reading, open_image, open_mask, probe_image

pytest.importorskip("openslide")

FINE = np.add.outer(np.arange(300), np.arange(420))[..., None] % 250 * np.ones(3)


def write_ndpi(path: Path) -> None:
    """Two levels, each one JPEG strip, with the tags by which Hamamatsu's files are known; 20x, 0.5 µm a pixel."""
    with tifffile.TiffWriter(path) as tiff:
        for k in range(2):
            level = FINE[:: 2**k, :: 2**k].astype(np.uint8)
            tags = [(65420, "I", 1, 1, False), (65421, "f", 1, 20.0 / 2**k, False)]
            tags += [(number, "i", 1, 0, False) for number in (65422, 65423, 65424)]
            tiff.write(
                level, photometric="rgb", compression="jpeg", compressionargs={"level": 98}, rowsperstrip=len(level),
                resolution=(20000 / 2**k, 20000 / 2**k), resolutionunit="CENTIMETER", extratags=tags, metadata=None,
            )  # fmt: skip


def test_a_slide_has_levels_and_micrometres(tmp_path: Path) -> None:
    write_ndpi(tmp_path / "a.ndpi")
    info = probe_image(tmp_path / "a.ndpi")
    assert info.levels[:2] == ((300, 420), (150, 210)) and info.pixel_size_um == pytest.approx(0.5)
    reader = open_image(tmp_path / "a.ndpi")
    assert reader.shape == (1, 300, 420, 3)
    window = reader.read(0, slice(40, 90), slice(200, 260)).astype(float)
    assert np.abs(window - FINE[40:90, 200:260]).mean() < 4
    reader.close()
    half = open_image(tmp_path / "a.ndpi", reading=Reading(level=1))
    assert half.shape == (1, 150, 210, 3)
    assert probe_image(tmp_path / "a.ndpi", reading=Reading(level=1)).pixel_size_um == pytest.approx(1.0)
    assert np.abs(half.read(0, slice(20, 45), None).astype(float) - FINE[40:90:2, ::2]).mean() < 4


def test_slide_faults_are_named(tmp_path: Path) -> None:
    write_ndpi(tmp_path / "a.ndpi")
    with pytest.raises(ValueError, match="levels 0 to"):
        open_image(tmp_path / "a.ndpi", reading=Reading(level=9))
    with pytest.raises(ValueError, match="where a mask is expected"):
        open_mask(tmp_path / "a.ndpi")
    (tmp_path / "b.mrxs").write_bytes(b"\xff\xd8\xff\xe0 no slide")
    with pytest.raises(ValueError, match="damaged, or not what it says it is"):
        open_image(tmp_path / "b.mrxs")
