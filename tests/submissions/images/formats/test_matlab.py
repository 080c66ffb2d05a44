"""Arrays of MATLAB: both versions of the file, the name of one of several, lists beside them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy

from submissions.images.opening import open_image, open_mask
from submissions.images.reading import Reading

LABEL = np.arange(12 * 20).reshape(12, 20) % 7


def write_hdf5(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """As MATLAB writes version 7.3: axes turned round, 512 bytes of its own in front."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = array.T
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(128))


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_an_array_is_read_as_matlab_shows_it(version: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    write = write_hdf5 if version == "7.3" else scipy.io.savemat
    write(path, {"inst_map": LABEL.astype(float), "class": np.ones((7, 1))})
    mask = open_mask(path)  # the only one that is no list
    assert mask.shape == (1, 12, 20, 1)
    np.testing.assert_array_equal(mask.read(0, slice(2, 9), slice(3, 20))[..., 0], LABEL[2:9, 3:])
    write(path, {"inst_map": LABEL, "image": np.repeat(LABEL[..., None], 3, axis=2).astype(np.uint8)})
    image = open_image(path, reading=Reading(array="image"))
    assert (image.shape, image.dtype) == ((1, 12, 20, 3), np.uint8)
    np.testing.assert_array_equal(image.read(0)[..., 1], LABEL)
    with pytest.raises(ValueError, match=r"a\.mat: it holds the arrays \[.*\]: say which in images\.array"):
        open_image(path)


def test_a_file_without_an_array_or_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"names": np.array(["a", "b"], object)})
    with pytest.raises(ValueError, match=r"a\.mat: it holds the arrays \[\]"):
        open_image(path)
    scipy.io.savemat(path, {"inst_map": LABEL})
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"a\.mat"):
        open_image(path).read(0)
