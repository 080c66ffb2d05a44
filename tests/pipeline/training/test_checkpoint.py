"""The state that a restart reads is whole or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.training.checkpoint import load_state, save_state


def test_round_trip_of_plain_data(tmp_path: Path) -> None:
    state = {"weights": {"a": torch.arange(6).reshape(2, 3)}, "epoch": 4, "best": None, "rates": [0.1, 0.2]}
    save_state(tmp_path / "deep" / "last.pt", state)
    loaded = load_state(tmp_path / "deep" / "last.pt")
    assert loaded is not None
    assert torch.equal(loaded.pop("weights")["a"], state["weights"]["a"])  # type: ignore[index]
    assert loaded == {"epoch": 4, "best": None, "rates": [0.1, 0.2]}
    torch.load(tmp_path / "deep" / "last.pt", weights_only=True)


def test_nothing_saved_is_none(tmp_path: Path) -> None:
    assert load_state(tmp_path / "last.pt") is None


def test_a_full_disk_leaves_the_previous_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.pt"
    save_state(path, {"epoch": 1})

    def full(state: Any, file: Any) -> None:
        file.write(b"half of it")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(torch, "save", full)
        save_state(path, {"epoch": 2})
    assert load_state(path) == {"epoch": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.pt"]


def test_what_a_kill_left_is_cleared_away(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_state(path, {"epoch": 1})
    (tmp_path / "last.pt.elsewhere-12.partial").write_bytes(b"half of it")
    assert load_state(path) == {"epoch": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.pt"]


def test_damage_and_other_versions_are_named(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match=r"last\.pt cannot be read"):
        load_state(path)
    torch.save({"format": 99}, path)
    with pytest.raises(ValueError, match="format 99"):
        load_state(path)
