"""The host's files behind a URL: fetched once, as they are, or refused with a sentence."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from tiny_run import space_of, write_tiny_experiment

from pipeline.remote_data import data_place, fetched
from pipeline.sequence import run_stages


@pytest.fixture
def memory() -> Iterator[Any]:
    """An empty object store in this process."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def test_stages_read_what_a_url_names(tmp_path: Path, memory: Any, capsys: pytest.CaptureFixture[str]) -> None:
    local = write_tiny_experiment(tmp_path, train=8, test=2)
    memory.put(str(tmp_path / "data"), "memory://bucket/drawn", recursive=True)
    remote = [*local, "--data", "memory://bucket/drawn"]
    run_stages(remote, ("01", "02", "03"))
    memory.store.clear()
    folder = tmp_path / "runs/drawn/data"
    assert space_of(remote).data == folder, "fetched once, not asked for again"
    files = [path.relative_to(tmp_path / "data") for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert len(files) > 8 and all(
        (folder / name).read_bytes() == (tmp_path / "data" / name).read_bytes() for name in files
    )
    memory.put(str(tmp_path / "runs"), "memory://bucket/runs", recursive=True)
    memory.get("memory://bucket/runs", str(tmp_path / "again"), recursive=True)
    capsys.readouterr()
    run_stages([*local, "--runs", str(tmp_path / "again")], ("01", "02", "03"))
    assert capsys.readouterr().out.count("already made") == 3, "results survive a copy to object storage and back"


def test_an_interrupted_fetch_goes_on_with_what_is_missing(tmp_path: Path, memory: Any) -> None:
    memory.pipe({"/bucket/a/one.png": b"first", "/bucket/two.csv": b"second"})
    there = tmp_path / "data/a/one.png"
    there.parent.mkdir(parents=True)
    there.write_bytes(b"FIRST")
    (tmp_path / "data/two.csv").write_bytes(b"half")
    folder = fetched("memory://bucket", tmp_path)
    assert there.read_bytes() == b"FIRST" and (folder / "two.csv").read_bytes() == b"second"
    assert not list(folder.rglob("*.partial"))
    with pytest.raises(ValueError, match=r"came from memory://bucket, not from memory://other"):
        fetched("memory://other", tmp_path)


def test_what_cannot_be_fetched_is_said(tmp_path: Path, memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data_place("data/x") == Path("data/x") and data_place("s3://bucket/x") == "s3://bucket/x"
    with pytest.raises(FileNotFoundError, match="no files there"):
        fetched("memory://nothing", tmp_path)
    with pytest.raises(ValueError, match=r"--data nosuch://bucket: .*nosuch"):
        fetched("nosuch://bucket", tmp_path)
    memory.pipe({"/bucket/large.png": b"123"})
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2, 0, 2))  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match=r"has room for 0\.0 GB; give --runs on a larger disk, or mount"):
            fetched("memory://bucket", tmp_path)
    found = {"/bucket/../large.png": {"size": 3}}
    monkeypatch.setattr(type(memory), "find", lambda self, root, detail: found)
    with pytest.raises(ValueError, match="leads out of"):
        fetched("memory://bucket", tmp_path)
    assert not (tmp_path / "data").exists()
