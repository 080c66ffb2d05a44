"""Training a fold: what it writes, and that a restart changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from inference.weights import load_model
from pipeline.experiment import Experiment
from pipeline.journal import TIME_FIELDS, read_log
from pipeline.store import Store, create_store
from pipeline.training import train_fold


def drawn_store(folder: Path, count: int = 6) -> tuple[Store, pd.DataFrame, pd.DataFrame]:
    """Images of 40 x 56 with a bright rectangle on noise, its mask, the inventory and two folds."""
    store = create_store(folder, "memmap")
    generator = np.random.default_rng(3)
    rows = []
    for number in range(count):
        image = generator.integers(0, 80, (1, 40, 56, 3), dtype=np.uint8)
        mask = np.zeros((1, 1, 40, 56), np.uint8)
        top, left = 4 + 3 * number, 6 + 4 * number
        if number < count - 1:
            mask[0, 0, top : top + 12, left : left + 16] = 1
        image[mask[:, 0] == 1] += 120
        store.write(f"im{number}", image, mask)
        rows.append({"image_id": f"im{number}", "split": "train", "stack": f"im{number}", "z": 0})
    inventory = pd.DataFrame(rows)
    inventory["empty"] = [0] * (count - 1) + [1]
    folds = pd.DataFrame(
        {"image_id": inventory["image_id"], "fold": np.arange(count) % 2, "excluded_from": [""] * count}
    )
    return store, inventory, folds


def settings(**train: Any) -> Experiment:
    chosen = {
        "epochs": 3, "steps_per_epoch": 2, "batch_size": 2, "patch": (32, 48), "precision": "fp32", "ema": 0.9,
        "lr": 0.003, **train,
    }  # fmt: skip
    return Experiment(
        name="drawn",
        competition="drawn",
        model={"architecture": "unet", "encoder": "tu-test_efficientnet", "options": {}},
        input={"mean": [0.5], "std": [0.25]},
        train=chosen,
    )


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, pd.DataFrame, pd.DataFrame]:
    return drawn_store(tmp_path_factory.mktemp("drawn") / "store")


def run(drawn: Any, folder: Path, experiment: Experiment, **options: Any) -> dict[str, Any]:
    store, inventory, folds = drawn
    return train_fold(
        experiment, 0, store=store, folds=folds, inventory=inventory, folder=folder, device="cpu", **options
    )


def timeless(folder: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in TIME_FIELDS} for row in read_log(folder / "log.jsonl")]


def test_a_fold_is_trained_and_can_be_loaded(drawn: Any, tmp_path: Path) -> None:
    facts = run(drawn, tmp_path, settings(validate_every=2), validate=lambda model: {"dice": 0.5})
    rows = read_log(tmp_path / "log.jsonl")
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert [("validation" in row) for row in rows] == [False, True, True]
    assert facts["epochs"] == 3 and not facts["selected_on_held_out_fold"]
    loaded = load_model(tmp_path)
    assert loaded.model(torch.zeros(1, 3, 40, 56)).shape == (1, 1, 40, 56)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["epoch"] == 3
    assert list((tmp_path / "tensorboard").iterdir())


@pytest.mark.parametrize("killed_at", [1, 3, 5])
def test_killed_at_any_batch_and_restarted_equals_undisturbed(
    drawn: Any, tmp_path: Path, killed_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = settings()
    run(drawn, tmp_path / "whole", experiment)
    from pipeline import trainer

    steps = 0
    step = trainer.Trainer.step

    def dying(self: Any, *arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps > killed_at:
            raise KeyboardInterrupt
        return step(self, *arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer.Trainer, "step", dying)
        run(drawn, tmp_path / "killed", experiment)
    run(drawn, tmp_path / "killed", experiment)
    assert timeless(tmp_path / "whole") == timeless(tmp_path / "killed")
    whole = load_file(tmp_path / "whole" / "weights.safetensors")
    killed = load_file(tmp_path / "killed" / "weights.safetensors")
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    assert json.dumps(timeless(tmp_path / "whole"))
