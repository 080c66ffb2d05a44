"""PPM and PGM: values as stored, 8 and 16 bits, comments in the header, files that end too early."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from submissions.images.opening import open_image, open_mask, probe_image


@pytest.mark.parametrize(
    ("head", "pixels"),
    [
        (b"P5\n4 2\n20\n", [[0, 1, 7, 20], [3, 2, 1, 0]]),  # not stretched to 255: these are labels
        (b"P5 4 2 255\n", [[0, 1, 7, 255], [3, 2, 1, 0]]),
        (b"P5\n# a comment\n4 # another\n2\n4095\n", [[0, 1, 700, 4000], [3, 2, 1, 0]]),
        (b"P6\n2 1\n255\n", [[[10, 20, 30], [40, 50, 60]]]),
    ],
)
def test_values_are_as_stored(tmp_path: Path, head: bytes, pixels: list[list[int]]) -> None:
    wide = b"4095" in head
    expected = np.array(pixels, np.uint16 if wide else np.uint8)
    path = tmp_path / "one.ppm"
    path.write_bytes(head + expected.astype(">u2" if wide else np.uint8).tobytes())
    info = probe_image(path)
    height, width, *rest = expected.shape
    assert (info.height, info.width, info.channels, info.dtype) == (height, width, (rest or [1])[0], expected.dtype)
    np.testing.assert_array_equal(open_image(path).read(0), expected.reshape(height, width, -1))
    if not rest:
        np.testing.assert_array_equal(open_mask(path).read(0)[..., 0], expected)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"one\.ppm: damaged Netpbm: \d+ bytes, expected \d+: copy it again"):
        open_image(path).read(0)
    path.write_bytes(head[:5])
    with pytest.raises(ValueError, match=r"one\.ppm: .*(ends inside its header|found)"):
        open_image(path)
