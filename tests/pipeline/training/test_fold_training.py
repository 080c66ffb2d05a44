"""Training a fold: what it writes, and that a restart or a second process changes nothing."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from inference.weights import load_model
from pipeline.data.store import Store
from pipeline.training import fold_training as training
from pipeline.training import trainer
from pipeline.training.fold_training import worker_count
from pipeline.training.loader import Batch, load_batches
from pipeline.training.training_log import read_log

SCRIPT = Path(__file__).parents[2] / "support" / "drawn_training.py"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("drawn_training", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


drawn = _load()


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made: Store = drawn.draw_store(tmp_path_factory.mktemp("drawn") / "store")
    return made


def timeless(folder: Path) -> list[dict[str, Any]]:
    times = ("seconds", "images_per_second", "wait_share")
    return [{k: v for k, v in row.items() if k not in times} for row in read_log(folder / "log.jsonl")]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "weights.safetensors")


@pytest.fixture(scope="module")
def whole(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a training that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    drawn.train_drawn(store, folder, drawn.drawn_experiment(), validate=score)
    return folder


def score(model: nn.Module) -> dict[str, Any]:
    """A validation: a number that depends on the weights, and a picture."""
    value = float(next(model.parameters()).detach().double().sum())
    return {"score": value, "worst_0": np.zeros((4, 6, 3), np.uint8)}


def launch(store: Store, folder: Path, batch: int, processes: int) -> dict[str, Any]:
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc_per_node={processes}",
    ]
    command = [*torchrun, str(SCRIPT), str(store.folder), str(folder), str(batch)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list(folder.glob("process_*.json"))) == processes
    facts: dict[str, Any] = json.loads((folder / f"process_{processes - 1}.json").read_text())
    return facts


def test_a_trained_fold_can_be_loaded_and_says_what_was_done(whole: Path) -> None:
    rows = read_log(whole / "log.jsonl")
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert [set(row.get("validation", {})) for row in rows] == [set(), set(), {"score"}]
    assert all(0 <= row["wait_share"] <= 1 and row["images_per_second"] > 0 for row in rows)
    loaded = load_model(whole)
    assert loaded.model(torch.zeros(1, 3, 41, 56)).shape == (1, 1, 41, 56)
    state = torch.load(whole / "last.pt", weights_only=True)
    assert state["epoch"] == 3
    averaged, last = state["trainer"]["average"], state["trainer"]["model"]
    assert all(torch.equal(weights(whole)[name], averaged[name]) for name in averaged)
    assert not all(torch.equal(averaged[name], last[name]) for name in averaged)


@pytest.mark.parametrize("killed_at", [0, 1, 3, 4])
def test_killed_at_any_batch_and_restarted_equals_undisturbed(
    store: Store, whole: Path, tmp_path: Path, killed_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, taken = trainer.Trainer.step, iter(range(killed_at))

    def dying(self: trainer.Trainer, *arguments: Any) -> Any:
        if next(taken, None) is None:
            raise KeyboardInterrupt
        return step(self, *arguments)

    experiment = drawn.drawn_experiment()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer.Trainer, "step", dying)
        drawn.train_drawn(store, tmp_path, experiment, validate=score)
    assert not (tmp_path / "weights.safetensors").exists()
    torch.rand(3)
    drawn.train_drawn(store, tmp_path, experiment, validate=score)
    assert timeless(tmp_path) == timeless(whole)
    assert all(torch.equal(weights(whole)[name], value) for name, value in weights(tmp_path).items())


def test_loader_processes_and_the_callers_randomness_change_nothing(store: Store, whole: Path, tmp_path: Path) -> None:
    torch.manual_seed(99)
    before = torch.get_rng_state()
    drawn.train_drawn(store, tmp_path, drawn.drawn_experiment(workers=2), validate=score)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(weights(whole)[name], value) for name, value in weights(tmp_path).items())


def test_a_finished_training_is_not_done_again(store: Store, whole: Path) -> None:
    before = weights(whole)
    facts = drawn.train_drawn(store, whole, drawn.drawn_experiment())
    assert facts["epochs"] == 3 and len(read_log(whole / "log.jsonl")) == 3
    assert all(torch.equal(weights(whole)[name], value) for name, value in before.items())


def test_accumulated_batches_equal_one_large_batch(store: Store, tmp_path: Path) -> None:
    for name, batch, accumulate in (("large", 4, 1), ("small", 2, 2)):
        shared = {"optimizer": "sgd", "lr": 0.01, "epochs": 1}
        experiment = drawn.drawn_experiment("group", **shared, batch_size=batch, accumulate=accumulate)
        drawn.train_drawn(store, tmp_path / name, experiment)
    large, small = weights(tmp_path / "large"), weights(tmp_path / "small")
    assert all(torch.allclose(large[name], small[name], rtol=0, atol=1e-5) for name in large)


def test_a_frozen_encoder_moves_only_after_its_release(store: Store, tmp_path: Path) -> None:
    for name, released in (("never", 0), ("after_one", 1)):
        experiment = drawn.drawn_experiment(freeze="encoder", freeze_epochs=released, epochs=2, ema=0.0)
        drawn.train_drawn(store, tmp_path / name, experiment)
    start = training.initial_model(drawn.drawn_experiment(), 0).state_dict()
    inner = [name for name in start if ".encoder." in name and name.endswith("weight")]
    assert inner
    never, after = weights(tmp_path / "never"), weights(tmp_path / "after_one")
    assert all(torch.equal(start[name], never[name]) for name in inner)
    assert any(not torch.equal(start[name], after[name]) for name in inner)


def broken(monkeypatch: pytest.MonkeyPatch, calls: set[int]) -> None:
    """Make the loss NaN at some calls."""
    real, count = trainer.training_loss, iter(range(1000))

    def loss(*arguments: Any, **options: Any) -> torch.Tensor:
        value = real(*arguments, **options)
        return value * float("nan") if next(count) in calls else value

    monkeypatch.setattr(trainer, "training_loss", loss)


def test_a_broken_loss_stops_and_names_its_samples(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, {3})
    with pytest.raises(trainer.BadLoss, match="skip_bad_losses"):
        drawn.train_drawn(store, tmp_path, drawn.drawn_experiment())
    document = json.loads((tmp_path / "bad_batch.json").read_text())
    assert (document["epoch"], document["step"]) == (1, 1)
    assert len(document["samples"]) == 2 and all(name.startswith("im") for name in document["samples"])


def test_broken_losses_are_skipped_and_counted_if_asked(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, {0, 3})
    facts = drawn.train_drawn(store, tmp_path, drawn.drawn_experiment(skip_bad_losses=2))
    assert facts["skipped"] == 2
    assert [row["skipped"] for row in read_log(tmp_path / "log.jsonl")] == [1, 2, 2]
    assert all(value.isfinite().all() for value in weights(tmp_path).values())


def test_skipping_leaves_running_statistics_as_they_were(store: Store) -> None:
    experiment = drawn.drawn_experiment(skip_bad_losses=1)
    inventory, folds = drawn.tables()
    source = training.training_set(experiment, 0, store=store, folds=folds, inventory=inventory)
    accelerator, device = trainer.start_processes("cpu")
    made = trainer.Trainer(
        training.initial_model(experiment, 0), experiment.train, experiment.loss,
        accelerator=accelerator, device=device, seed=1, in_channels=3,
    )  # fmt: skip
    made.begin_epoch(0)
    batch = next(load_batches(source, first_epoch=0, epochs=1, batches_per_epoch=1, batch_size=2))
    before = {name: value.clone() for name, value in made.net.state_dict().items()}
    batch.images[0, 0, 3, 5] = float("nan")
    assert made.step([batch], 0, 0).skipped
    assert all(torch.equal(before[name], value) for name, value in made.net.state_dict().items())


def test_bf16_and_early_stopping(store: Store, tmp_path: Path) -> None:
    experiment = drawn.drawn_experiment(precision="bf16", epochs=4, patience=1, validate_every=1, keep="best")
    facts = drawn.train_drawn(store, tmp_path, experiment, validate=lambda model: {"score": 0.5})
    assert facts["stopped_early"] and facts["epochs"] == 2 and facts["precision"] == "bf16"
    assert facts["kept_epochs"] == [0] and facts["selected_on_held_out_fold"]
    assert json.loads((tmp_path / "model.json").read_text())["training"]["selected_on_held_out_fold"]
    load_model(tmp_path)


def test_compilation_is_asked_of_torch(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    drawn.train_drawn(store, tmp_path, drawn.drawn_experiment(compile=True, epochs=1))
    assert len(compiled) == 1
    load_model(tmp_path)


def test_memory_that_is_too_small_ends_in_the_batch_that_fits(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, held = trainer.Trainer._loss, []

    def too_large(self: trainer.Trainer, network: nn.Module, batch: Batch) -> torch.Tensor:
        assert all(one() is None for one in held)  # else what the failed step held would count against what fits
        if len(batch.names) > 3:
            activations = torch.zeros(3)
            held.append(weakref.ref(activations))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, network, batch)

    monkeypatch.setattr(trainer.Trainer, "_loss", too_large)
    with pytest.raises(ValueError, match="the largest that fits is 3") as caught:
        drawn.train_drawn(store, tmp_path, drawn.drawn_experiment(batch_size=4))
    assert held and caught.value.__context__ is None


def test_settings_that_do_not_fit_are_refused(store: Store, tmp_path: Path) -> None:
    experiment = drawn.drawn_experiment()
    experiment.model.in_channels = 5
    with pytest.raises(ValueError, match="in_channels is 5"):
        drawn.train_drawn(store, tmp_path, experiment)
    experiment = drawn.drawn_experiment()
    experiment.loss.name = "ce_dice"
    with pytest.raises(ValueError, match="softmax loss"):
        drawn.train_drawn(store, tmp_path, experiment)
    with pytest.raises(ValueError, match="needs GPUs, but the device is cpu"):
        drawn.train_drawn(store, tmp_path, drawn.drawn_experiment(sync_batch_norm=True))
    with pytest.raises(ValueError, match="0 sets of extra data"):
        drawn.train_drawn(store, tmp_path, drawn.drawn_experiment(pseudo_labels="other"))
    experiment = drawn.drawn_experiment(keep="best", validate_every=1)
    with pytest.raises(ValueError, match="validation"):
        drawn.train_drawn(store, tmp_path, experiment)


def test_killed_after_the_last_epoch_frozen_norms_keep_what_they_had(store: Store, tmp_path: Path) -> None:
    experiment = drawn.drawn_experiment(epochs=2, steps_per_epoch=1, freeze="encoder", keep="mean_last", keep_epochs=2)
    drawn.train_drawn(store, tmp_path, experiment)
    before = weights(tmp_path)
    (tmp_path / "weights.safetensors").unlink()
    drawn.train_drawn(store, tmp_path, experiment)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(tmp_path).items())


def test_a_launcher_that_started_one_process_only_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Alone:
        num_processes = 1

    given: dict[str, Any] = {}
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(trainer, "Accelerator", lambda **options: given.update(options) or Alone())
    with pytest.raises(ValueError, match="WORLD_SIZE is 2, but 1"):
        trainer.start_processes("cpu")
    assert given["kwargs_handlers"][0].timeout.total_seconds() >= 86400, "the first alone validates, for long"


def test_loader_processes_by_device() -> None:
    assert worker_count(None, torch.device("cpu")) == 0
    assert worker_count(3, torch.device("cpu")) == 3
    assert worker_count(None, torch.device("cuda")) >= 1


def test_two_processes_train_as_one_with_the_doubled_batch(store: Store, tmp_path: Path) -> None:
    facts = launch(store, tmp_path / "two", 2, 2)
    assert facts["processes"] == 2
    assert launch(store, tmp_path / "one", 4, 1)["processes"] == 1
    two, one = weights(tmp_path / "two"), weights(tmp_path / "one")
    assert all(torch.allclose(two[name], one[name], rtol=0, atol=1e-5) for name in one)
    assert [row["epoch"] for row in read_log(tmp_path / "two" / "log.jsonl")] == [0, 1, 2]
    assert len(list((tmp_path / "two" / "tensorboard").iterdir())) == 1


def test_two_processes_train_volumes_as_one_with_both_batches(tmp_path: Path) -> None:
    store = drawn.draw_volume_store(tmp_path / "store")
    assert launch(store, tmp_path / "two", 2, 2)["processes"] == 2
    drawn.train_drawn(store, tmp_path / "one", drawn.drawn_volume_experiment(batch_size=4))
    two, one = weights(tmp_path / "two"), weights(tmp_path / "one")
    assert two.keys() == one.keys()
    assert all(torch.allclose(two[name], one[name], rtol=0, atol=1e-5) for name in one)
