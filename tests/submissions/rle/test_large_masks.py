"""Strips, memory maps, windows, batches and instances."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from submissions.machine_code import compiled
from submissions.rle import (
    codec as rle,
)
from submissions.rle import (
    kernels_numba as rle_numba,
)
from submissions.rle import (
    kernels_numpy as rle_numpy,
)
from submissions.rle import (
    scan as rle_scan,
)
from submissions.rle import (
    text as rle_text,
)
from submissions.rle.codec import DIALECTS, Dialect

KAGGLE, ROW = DIALECTS["kaggle"], DIALECTS["row"]
ROOT = Path(__file__).resolve().parents[3]
dialects = st.sampled_from([KAGGLE, ROW, DIALECTS["siim"], DIALECTS["coco_compressed"]])
masks = hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 17)))


def blobs(height: int = 61, width: int = 37, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).random((height // 4 + 1, width // 4 + 1)) > 0.6
    return np.ascontiguousarray(np.kron(noise, np.ones((4, 4), bool))[:height, :width])


@settings(max_examples=40, deadline=None)
@given(mask=masks, dialect=dialects, step=st.integers(1, 13))
def test_strips_give_the_runs_of_the_whole(mask, dialect, step):
    strips = (mask[row : row + step] for row in range(0, len(mask), step))
    runs = rle_scan.find_runs_in_strips(strips, mask.shape, dialect.order)
    np.testing.assert_array_equal(runs, rle_scan.find_runs(mask, dialect.order))


@pytest.mark.parametrize(
    ("strips", "says"),
    [
        ([np.zeros((2, 5), bool)], "strips have 2 rows in all, expected 4"),
        ([np.zeros((4, 6), bool)], r"strip at row 0 has dtype bool and shape \(4, 6\), need bool \(h, 5\)"),
        ([np.zeros((2, 5), bool), np.zeros((2, 5), np.uint8)], "strip at row 2 has dtype uint8"),
    ],
)
def test_strips_that_do_not_make_up_the_mask_are_refused(strips, says):
    for dialect in (KAGGLE, ROW):
        with pytest.raises(ValueError, match=says):
            rle_scan.find_runs_in_strips(strips, (4, 5), dialect.order)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
@pytest.mark.parametrize("layout", ["C", "F"])
def test_a_memory_map_is_read_in_strips_and_keeps_what_was_written(tmp_path, monkeypatch, mode, layout):
    monkeypatch.setattr(rle_scan, "STRIP_BYTES", 300)
    mask = blobs()
    path = tmp_path / "mask.bin"
    written = np.memmap(path, bool, "w+", shape=mask.shape, order=layout)
    written[:] = mask
    written.flush()
    mapped = np.memmap(path, bool, mode, shape=mask.shape, order=layout)
    if mode != "r":
        mapped[3, 5] ^= True
    expected = np.array(mapped)
    for dialect in (KAGGLE, ROW):
        np.testing.assert_array_equal(rle.decode(rle.encode(mapped, dialect), mask.shape, dialect), expected)
    np.testing.assert_array_equal(mapped, expected)


def test_a_data_set_on_disk_is_read_in_strips(tmp_path, monkeypatch):
    monkeypatch.setattr(rle_scan, "STRIP_BYTES", 300)
    with h5py.File(tmp_path / "mask.h5", "w") as file:
        stored = file.create_dataset("mask", data=blobs())
        assert rle.encode(stored, KAGGLE) == rle.encode(blobs(), KAGGLE)


@settings(max_examples=60, deadline=None)
@given(
    label=hnp.arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 11)), elements=st.integers(0, 5)),
    dialect=dialects,
)
def test_instances_are_the_masks_of_their_values(label, dialect):
    values = [value for value in np.unique(label) if value]
    texts = rle.encode_instances(label, dialect)
    assert texts == [rle.encode(label == value, dialect) for value in values]
    back = rle.decode_instances(texts, label.shape, dialect)
    assert back.dtype == np.int32 and back.flags.c_contiguous
    np.testing.assert_array_equal(back, np.searchsorted(values, label, side="right") if values else label)


def test_overlapping_instances_are_refused_unless_the_last_one_wins():
    shape = (4, 6)
    first, second = np.zeros((2, *shape), bool)
    first[:, 1:3] = True
    second[2, 2:5] = True
    for dialect in (KAGGLE, ROW):
        texts = [rle.encode(mask, dialect) for mask in (first, np.zeros(shape, bool), second)]
        with pytest.raises(ValueError, match=r"row 0 and row 2 share the pixel \(row 2, col 2\)"):
            rle.decode_instances(texts, shape, dialect)
        with pytest.raises(ValueError, match="a and c share"):
            rle.decode_instances(texts, shape, dialect, where=["a", "b", "c"])
        label = rle.decode_instances(texts, shape, dialect, overlap="last")
        np.testing.assert_array_equal(label, np.where(second, 3, first))
    with pytest.raises(ValueError, match="overlap is 'first', expected 'error' or 'last'"):
        rle.decode_instances([], shape, KAGGLE, overlap="first")
    assert not rle.decode_instances(["", ""], shape, KAGGLE).any()
    assert rle.find_overlap([]) is None


@pytest.mark.parametrize(
    ("label", "says"),
    [
        (np.zeros((3, 4)), "dtype float64"),
        (np.zeros((3, 4, 2), int), r"shape \(3, 4, 2\)"),
        (np.full((3, 4), -1), "has the value -1"),
    ],
)
def test_labels_that_are_none_are_refused(label, says):
    with pytest.raises(ValueError, match=says):
        rle.encode_instances(label, KAGGLE)


def test_runs_can_be_used_without_painting():
    mask = blobs()
    for dialect in (*DIALECTS.values(), Dialect(base=0)):
        runs = rle.read_runs(rle.encode(mask, dialect), mask.shape, dialect)
        assert runs[:, 1].sum() == mask.sum()
        assert rle.write_runs(runs, mask.shape, dialect) == rle.encode(mask, dialect)


def test_the_inner_loops_are_numpy_where_numba_is_absent_or_switched_off(monkeypatch):
    fresh = rle_text.kernels.__wrapped__
    assert fresh() is rle_numba
    with monkeypatch.context() as patch:
        patch.setattr(numba.config, "DISABLE_JIT", 1)
        assert fresh() is rle_numpy
    monkeypatch.setitem(sys.modules, "numba", None)
    assert fresh() is rle_numpy


def test_kernels_compile_where_no_folder_can_hold_the_cache(monkeypatch):
    compile_it = numba.njit

    def without_a_cache(*given, **options):
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function: no locator available")
        return compile_it(*given, **options)

    monkeypatch.setattr(numba, "njit", without_a_cache)
    assert compiled(lambda x: x + 1)(2) == 3


def test_the_memory_benchmark_runs():
    command = [sys.executable, "benchmarks/rle_memory.py", "--side", "700"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| column |" in done.stdout
