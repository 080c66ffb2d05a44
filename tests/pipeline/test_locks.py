"""Two processes and one folder: who waits, what is said, and that a killed process leaves no lock behind."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import locks
from pipeline.locks import lock_path, release, release_all, try_lock, wait_sentence
from pipeline.stage import Stage

HOLDER = """
import sys, time
from pathlib import Path
from pipeline.stage import Stage
stage = Stage("99_do", Path(sys.argv[1]), {"a": 1})
stage.begin(shared=sys.argv[2] == "shared")
print("begun", flush=True)
sys.stdin.readline()
stage.finish()
"""


@pytest.fixture(autouse=True)
def _nothing_held() -> Iterator[None]:
    yield
    release_all()


def start_holder(folder: Path, how: str = "alone") -> subprocess.Popen[str]:
    """Another process that began the stage in `folder` and finishes it when told to."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.close()
    assert process.wait(20) == 0
    assert process.stdout is not None
    process.stdout.close()


def test_the_second_waits_says_for_whom_and_finds_the_work_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "work"
    holder = start_holder(folder)
    assert not try_lock(folder)
    tries: list[int] = []

    def pause() -> None:
        tries.append(1)
        if len(tries) == 5:
            end(holder)

    monkeypatch.setattr("pipeline.stage.pause", pause)
    assert not Stage("99_do", folder, {"a": 1}).begin()
    said = capsys.readouterr().out
    assert said.count("waiting until it is done") == 1
    assert f"process {holder.pid} on {socket.gethostname()} has worked on {folder} since 20" in said
    assert not lock_path(folder).exists()


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    holder = start_holder(folder)
    holder.send_signal(signal.SIGKILL)
    holder.wait(20)
    assert lock_path(folder).exists() and Stage("99_do", folder, {"a": 1}).begin()


def test_shards_share_a_folder_that_others_wait_for(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    holder = start_holder(folder, "shared")
    stage = Stage("99_do", folder, {"a": 1})
    assert stage.begin(shared=True)
    release(folder)
    assert lock_path(folder).exists() and not try_lock(folder)
    end(holder)
    assert try_lock(folder) and try_lock(folder, shared=True)


def test_a_forked_child_holds_nothing(tmp_path: Path) -> None:
    assert try_lock(tmp_path / "work")
    context = multiprocessing.get_context("fork")
    child = context.Process(target=time.sleep, args=(30,))
    child.start()
    release(tmp_path / "work")
    assert try_lock(tmp_path / "work")
    child.kill()
    child.join()


def test_without_locks_the_work_goes_on_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(stream: object, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert try_lock(tmp_path / "work")
    assert f"warning: {tmp_path}: this file system has no locks" in capsys.readouterr().err


def test_any_other_fault_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(stream: object, how: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="Input/output"):
        try_lock(tmp_path / "work")


def test_a_holder_that_has_not_signed_yet_is_another_process(tmp_path: Path) -> None:
    lock_path(tmp_path / "work").write_text("")
    assert "another process works on" in wait_sentence(tmp_path / "work")


def test_a_lock_file_that_its_holder_removed_is_not_taken_for_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, path = locks._open, lock_path(tmp_path / "work")

    def removed_once(name: Path) -> object:
        monkeypatch.setattr(locks, "_open", opened)
        stream = opened(name)
        path.unlink()
        return stream

    monkeypatch.setattr(locks, "_open", removed_once)
    assert try_lock(tmp_path / "work") and path.exists()
