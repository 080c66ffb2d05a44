"""A full disk: which file, how many bytes, nothing half written left; on a disk of one megabyte where one may mount."""

from __future__ import annotations

import errno
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.models.tensors import write_tensors
from inference.predict.store import write_prediction
from pipeline.data.store import create_store, open_store
from pipeline.training.checkpoint import save_state
from submissions.host import atomic
from submissions.host.atomic import DiskFull, finite, put_in_place, room_for, says_full, write_atomic

NOISE = np.random.default_rng(0).integers(0, 255, (1, 1500, 1400), np.uint8)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of one megabyte of its own; needs the right to mount one."""
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(tmp_path)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("no right to mount a small disk")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def fill(name: str, disk: Path) -> int:
    """Write something too large in one of the ways of the pipeline; returns the bytes it needs."""
    tensors = {"weight": torch.zeros(700_000)}
    if name == "text":
        write_atomic(disk / "table.csv", "x" * 1_100_000)
        return 1_100_000
    if name == "checkpoint":
        save_state(disk / "last.pt", {"model": tensors, "parts": [torch.zeros(5)], "epoch": 3})
    elif name == "weights":
        write_tensors(disk / "weights.safetensors", tensors)
    elif name == "prediction":
        write_prediction(disk / "a.h5", NOISE, ["thing"])
    else:
        kind = "memmap" if name == "memmap" else "hdf5"
        create_store(disk, kind).write("a", NOISE[..., None], NOISE, {})
    return 0


SIZES = {"checkpoint": 2_800_020, "weights": 2_800_000, "prediction": 2_100_000}


@pytest.mark.parametrize("name", ["text", *SIZES, "memmap", "hdf5"])
def test_a_full_disk_says_path_and_bytes_and_keeps_nothing_half(name: str, small_disk: Path) -> None:
    size = {"text": 1_100_000, **SIZES}.get(name, 4_200_000)
    with pytest.raises(
        DiskFull, match=rf"{small_disk}/.*: the disk is full: {size:,} bytes are needed, [\d,]+ are free"
    ):
        fill(name, small_disk)
    assert not list(small_disk.rglob("*.partial"))


@pytest.mark.parametrize("name", ["text", *SIZES, "memmap", "hdf5"])
def test_a_file_larger_than_the_system_allows_says_so_and_keeps_nothing_half(name: str, tmp_path: Path) -> None:
    size = {"text": 1_100_000, **SIZES}.get(name, 4_200_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(
            DiskFull, match=rf"files may have 1,000,000 bytes at most \(ulimit -f\), about {size:,} are needed; raise"
        ):
            fill(name, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.rglob("*.partial"))


def test_a_full_disk_is_known_by_whatever_hides_it(tmp_path: Path) -> None:
    for said in (OSError(errno.ENOSPC, "x"), OSError(errno.EDQUOT, "x"), RuntimeError("I/O error (os error 28)")):
        with (
            pytest.raises(DiskFull, match=r"b\.bin: the disk is full: 1,234 bytes are needed"),
            room_for(tmp_path / "b.bin", 1234),
        ):
            raise said
    assert says_full(
        RuntimeError("Can't decrement id ref count (unable to extend file properly, errno = 28, error ...)")
    )
    hidden = RuntimeError("enforce fail at inline_container.cc")
    hidden.__context__ = OSError(errno.ENOSPC, "No space left on device")
    assert says_full(hidden) and not says_full(OSError(errno.EIO, "x")) and not says_full(None)


def test_other_errors_pass_and_leave_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "x.partial").write_text("half")
    with pytest.raises(KeyError), room_for(tmp_path / "x", 1, tmp_path / "x.partial"):
        raise KeyError("x")
    assert (tmp_path / "x.partial").is_file()


def test_a_folder_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / "x.partial").mkdir()
    with pytest.raises(DiskFull), room_for(tmp_path / "x", 1, tmp_path / "x.partial"):
        raise OSError(errno.ENOSPC, "x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("old", ["file", "folder", None])
@pytest.mark.parametrize("new", ["file", "folder"])
def test_what_is_made_takes_the_place_of_what_was_there(tmp_path: Path, old: str | None, new: str) -> None:
    place, made = tmp_path / "answer", tmp_path / "made"
    for path, kind in ((place, old), (made, new)):
        if kind == "folder":
            path.mkdir()
            (path / path.name).write_text("inside")
        elif kind == "file":
            path.write_text(path.name)
    put_in_place(made, place)
    assert [path.name for path in tmp_path.iterdir()] == ["answer"]
    assert (place / "made").read_text() == "inside" if new == "folder" else place.read_text() == "made"


def test_a_kill_while_the_old_folder_is_deleted_leaves_the_new_one_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = create_store(tmp_path, "memmap")
    store.write("a", np.zeros((1, 5, 7, 1), np.uint8), np.zeros((1, 5, 7), np.uint8))

    def killed(path: Path, **_: object) -> None:
        if path.is_dir():
            raise KeyboardInterrupt

    monkeypatch.setattr(atomic.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        store.write("a", np.ones((1, 5, 7, 1), np.uint8), np.ones((1, 5, 7), np.uint8))
    after = open_store(tmp_path)
    assert after.ids() == ["a"]
    assert (after.image("a").read(0) == 1).all() and (after.image("a").read_target(0) == 1).all()


def test_numbers_for_json_have_no_nan() -> None:
    given = {"a": np.float32(0.5), "b": [1, float("nan"), "x"], "c": (np.inf, None), "d": True}
    assert finite(given) == {"a": 0.5, "b": [1, None, "x"], "c": [None, None], "d": True}
