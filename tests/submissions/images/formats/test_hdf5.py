"""Datasets of HDF5: by name, by windows, the only one that can be an image; damage is named."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from submissions.images.opening import open_image, open_mask, probe_image
from submissions.images.reading import Reading

VOLUME = np.arange(5 * 40 * 60, dtype=np.uint16).reshape(5, 40, 60)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("volumes/raw", data=VOLUME, chunks=(1, 16, 16), compression="gzip")
        file["volumes/labels"] = (VOLUME % 5).astype(np.uint64)
        file["voxel_size"], file["names"] = np.ones(3), np.array([b"x", b"y"])
    return tmp_path / "a.h5"


def test_a_dataset_is_read_by_windows(path: Path) -> None:
    reader = open_image(path, reading=Reading(array="volumes/raw"))
    assert (reader.shape, reader.dtype) == ((5, 40, 60, 1), np.uint16)
    window = slice(3, 30), slice(20, 60)
    np.testing.assert_array_equal(reader.read(4, *window)[..., 0], VOLUME[4, 3:30, 20:])
    again = pickle.loads(pickle.dumps(reader))  # as a worker gets it
    np.testing.assert_array_equal(again.read(0)[..., 0], VOLUME[0])
    mask = open_mask(path, reading=Reading(array="volumes/labels"))
    np.testing.assert_array_equal(mask.read(2)[..., 0], VOLUME[2] % 5)
    reader.close()


def test_of_several_one_has_to_be_named_and_lists_do_not_count(path: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"a\.h5: it holds the arrays \['volumes/labels', 'volumes/raw'\]: say which in"
    ):
        open_image(path)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["data"], file["origin"] = VOLUME[0], np.zeros((3, 1))
    assert probe_image(tmp_path / "b.h5").height == 40


def test_a_file_cut_short_is_named(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"a\.h5: damaged, or not what it says it is"):
        open_image(path, reading=Reading(array="volumes/raw"))
