"""Volumes of three dimensions through the stages, from drawn NIfTI files to a linted submission and a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from drawn_hosts import rle_contract
from drawn_volumes import SHAPES, write_volume_experiment
from safetensors.torch import load_file
from tiny_run import space_of, stage

from inference.predict.store import open_prediction
from pipeline.contract_fit import check_dimensions
from pipeline.data.fold_tables import open_folds
from pipeline.data.prepare import open_prepared
from pipeline.data.volume_index import SIDES
from pipeline.sequence import run_stages
from pipeline.training.fold_training import initial_model, train_fold
from submissions.answers.scoring import score_submission
from submissions.host.competition import load_competition
from submissions.kaggle.ledger import read_ledger


def test_all_nine_stages(tmp_path: Path) -> None:
    arguments = write_volume_experiment(tmp_path)
    run_stages(arguments, ("01", "02", "03", "04", "05", "06", "07"))
    own, data = tmp_path / "runs/drawn3d/tiny", tmp_path / "data"
    (index,) = (tmp_path / "runs/drawn3d/store").glob("*/patches-4x16x16.csv")
    assert (pd.read_csv(index)[SIDES] == [4, 16, 16]).all().all()
    for number in range(4):
        with open_prediction(own / f"oof/v{number}.h5") as prediction:
            assert prediction.read().shape == (2, *SHAPES[number])
    competition = load_competition(tmp_path / "drawn3d.yaml")
    scored = score_submission(competition, own / "submission.csv", data / "solution.csv", data)
    assert len(pd.read_csv(own / "submission.csv")) == sum(SHAPES[n][0] for n in (0, 1))
    assert np.isfinite(scored.score)
    stage("08_bundle")([*arguments, "--no-wheels"])
    assert list((own / "bundle").rglob("weights.safetensors"))
    stage("09_submit")([*arguments, "--ledger", str(tmp_path / "ledger.csv")])
    assert len(read_ledger(tmp_path / "ledger.csv")) == 1


def test_a_training_that_was_stopped_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    arguments = write_volume_experiment(tmp_path, folds={"n": 2, "use": [0]})
    run_stages(arguments, ("01", "02", "03"))
    space = space_of(arguments)
    store, _ = open_prepared(space)
    inventory, _ = space.training_images()
    folds, _ = open_folds(space)
    given = {"store": store, "folds": folds, "inventory": inventory, "device": "cpu"}

    def stop(model: Any) -> dict[str, float]:
        raise KeyboardInterrupt

    settings = space.experiment.train.model_copy(update={"validate_every": 2, "epochs": 3})
    experiment = space.experiment.model_copy(update={"train": settings})
    train_fold(experiment, 0, folder=tmp_path / "whole", **given)
    with pytest.raises(KeyboardInterrupt):
        train_fold(experiment, 0, folder=tmp_path / "parts", validate=stop, **given)
    train_fold(experiment, 0, folder=tmp_path / "parts", **given)
    first, second = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "parts"))
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": {"patch": [16, 16]}}, r"train\.patch is \[16, 16\], expected \[depth"),
        ({"predict": {"tile": [16, 16]}}, r"predict\.tile is \[16, 16\], expected \[depth"),
        ({"augment": {"cutmix": 0.5}}, r"augment\.cutmix cannot be used with input\.dims 3"),
        ({"input": {"channels": 1, "mean": [0.5], "std": [0.5]}}, r"three sizes, but input\.dims is 2"),
    ],
)
def test_settings_that_do_not_fit_volumes_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    arguments = write_volume_experiment(tmp_path, **change)
    with pytest.raises(ValueError, match=message):
        space_of(arguments)


def test_networks_and_inputs_of_other_dimensions_are_told_apart(tmp_path: Path) -> None:
    arguments = write_volume_experiment(tmp_path, model={"architecture": "plain_unet", "weights": "none"})
    with pytest.raises(ValueError, match=r"cannot be used with input\.dims 3"):
        initial_model(space_of(arguments).experiment, 0)
    images = rle_contract()
    with pytest.raises(ValueError, match="is files, not volumes"):
        check_dimensions(space_of(arguments).experiment, images)
