from __future__ import annotations

import importlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from drawn_hosts import draw_mask
from tiny_run import write_tiny_experiment

from inference.config import InputConfig
from pipeline.data import prepare
from pipeline.data.prepare import fill_store, open_prepared, peak_memory, prepare_stage
from pipeline.data.store import Store
from pipeline.sequence import run_stages
from pipeline.workspace import Workspace, open_workspace, stage_parser


def prepared(folder: Path, kind: str, **change: object) -> Workspace:
    arguments = write_tiny_experiment(folder, prepare={"store": kind}, **change)
    run_stages(arguments, ["01", "02", "03"])
    return open_workspace(stage_parser("").parse_args(arguments))


@pytest.mark.parametrize("kind", ["memmap", "hdf5", "raw"])
def test_every_kind_of_store_gives_the_same_pixels(tmp_path: Path, kind: str) -> None:
    stored, _ = open_prepared(prepared(tmp_path, kind))
    image = stored.image("train03")
    assert (image.shape, image.attrs["host"], image.attrs["scale"]) == ((1, 40, 56, 3), [1, 40, 56], 1.0)
    np.testing.assert_array_equal(image.read_target(0)[0], draw_mask(3))
    reference, _ = open_prepared(prepared(tmp_path / "reference", "memmap"))
    np.testing.assert_array_equal(image.read(0), reference.image("train03").read(0))


def test_images_are_stored_at_the_working_size(tmp_path: Path) -> None:
    space = prepared(tmp_path, "memmap", input={"channels": 3, "scale": 0.5})
    stored, _ = open_prepared(space)
    image = stored.image("train03")
    assert image.shape == (1, 20, 28, 3)
    assert set(np.unique(image.read_target(0))) <= {0, 1}
    _index_with_tissue(stored, space)


def _index_with_tissue(store: Store, space: Workspace) -> None:
    """An index without the tissue of its windows is made again where that counts, and serves without it too."""
    path = next(store.folder.glob("patches-*.csv"))
    plain, experiment = pd.read_csv(path), space.experiment
    sampling = experiment.train.sampling.model_copy(update={"background": 0.5})
    train = experiment.train.model_copy(update={"sampling": sampling})
    slides = replace(space, experiment=experiment.model_copy(update={"train": train}))
    assert prepare.index_patches(slides, store.folder) == len(plain)
    pd.testing.assert_frame_equal(pd.read_csv(path).drop(columns="tissue"), plain)
    prepare.index_patches(space, store.folder)
    assert "tissue" in pd.read_csv(path)


def test_processes_store_the_same_and_stored_images_are_not_stored_again(tmp_path: Path) -> None:
    arguments = write_tiny_experiment(tmp_path)
    run_stages([*arguments, "--workers", "2"], ["01", "02", "03"])
    space = open_workspace(stage_parser("").parse_args([*arguments, "--workers", "2"]))
    stored, _ = open_prepared(space)
    assert len(stored.ids()) == 12
    assert list(fill_store(space, stored.folder)) == [(12, 12)]
    alone = open_workspace(stage_parser("").parse_args(arguments))
    assert peak_memory(space) == 2 * peak_memory(alone)


def refuse_the_first(*given: Any) -> int:
    """Stands for `prepare_images`: of the parts the first cannot be stored, the others leave a file each."""
    folder, part = given[-2:]
    if part["image_id"].iloc[0] == "train00":
        raise ValueError("image 'train00' cannot be prepared")
    time.sleep(0.05)
    (folder / part["image_id"].iloc[0]).touch()
    return 1


def test_an_image_that_cannot_be_stored_is_told_before_the_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = write_tiny_experiment(tmp_path)
    run_stages(arguments, ["01"])
    monkeypatch.setattr(prepare, "CHUNK", 1)
    monkeypatch.setattr(prepare, "prepare_images", refuse_the_first)
    space = open_workspace(stage_parser("").parse_args([*arguments, "--workers", "1"]))
    with pytest.raises(ValueError, match="train00"):
        list(fill_store(space, tmp_path))
    assert len(list(tmp_path.glob("train*"))) < 6, "of 11 others"


def test_before_stage_03_there_is_no_store(tmp_path: Path) -> None:
    arguments = write_tiny_experiment(tmp_path)
    importlib.import_module("pipeline.01_check_data").main(arguments)
    with pytest.raises(FileNotFoundError, match="03_prepare_data"):
        open_prepared(open_workspace(stage_parser("").parse_args(arguments)))


def test_masks_read_in_a_corrected_dialect_are_stored_anew(tmp_path: Path) -> None:
    space = prepared(tmp_path, "memmap")
    before, _ = open_prepared(space)
    np.testing.assert_array_equal(before.image("train03").read_target(0)[0], draw_mask(3))
    contract = yaml.safe_load((tmp_path / "drawn.yaml").read_text())
    contract["masks"]["dialect"] = {"base": 0}
    (tmp_path / "drawn.yaml").write_text(yaml.safe_dump(contract))
    arguments = [str(tmp_path / "tiny.yaml"), "--data", str(tmp_path / "data"), "--runs", str(tmp_path / "runs")]
    importlib.import_module("pipeline.01_check_data").main([*arguments, "--overwrite"])
    space = open_workspace(stage_parser("").parse_args(arguments))
    with pytest.raises(FileNotFoundError, match="03_prepare_data"):
        open_prepared(space)
    run_stages(arguments, ["02", "03"])
    stored, _ = open_prepared(space)
    np.testing.assert_array_equal(stored.image("train03").read_target(0)[0], np.roll(draw_mask(3), 1, axis=0))


def test_a_store_is_that_of_exclusive_classes_or_not(tmp_path: Path) -> None:
    space = prepared(tmp_path, "memmap")
    other = replace(space, competition=space.competition.model_copy(update={"exclusive": True}))
    assert prepare_stage(other).fingerprint != prepare_stage(space).fingerprint


def test_statistics_of_other_channels_are_another_store(tmp_path: Path) -> None:
    shown = {"channels": 3, "normalisation": "image", "mean": [0.5], "std": [0.5]}
    space = prepared(tmp_path, "memmap", input=shown)
    arguments = [str(tmp_path / "tiny.yaml"), "--data", str(tmp_path / "data"), "--runs", str(tmp_path / "runs")]
    arguments += ["--set", "input.channels=1", "--set", "name=grey"]
    run_stages(arguments, ["01", "02", "03"])
    grey = open_workspace(stage_parser("").parse_args(arguments))
    for own, channels in ((space, 3), (grey, 1)):
        assert len(open_prepared(own)[0].image("train03").attrs["statistics"]["low"]) == channels
    plain = InputConfig(mean=[0.5], std=[0.5])
    fixed = [space.experiment.model_copy(update={"input": plain.model_copy(update={"channels": n})}) for n in (1, 3)]
    one, three = (prepare_stage(replace(space, experiment=each)).fingerprint for each in fixed)
    assert one == three
