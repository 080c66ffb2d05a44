"""What stage 01 saw of the images says which settings make no sense, before anything is prepared or trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tiny_run import space_of, stage, write_tiny_experiment

from pipeline.preflight import images as module
from pipeline.preflight.images import image_problems
from pipeline.stage import DONE
from pipeline.workspace import Workspace

IMAGES = pd.DataFrame(
    {"image_id": ["a", "b", "t"], "split": ["train", "train", "test"], "stack": ["a", "b", "t"], "depth": [1, 1, 1],
     "channels": [3, 3, 3], "dtype": ["uint8"] * 3},
)  # fmt: skip


def asked(folder: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], *words: str) -> list[str]:
    """The problems of the tiny experiment with other settings, where the inventory is IMAGES, changed."""
    space: Workspace = space_of(
        write_tiny_experiment(folder, train=4, test=2), *(word for one in words for word in ("--set", one))
    )
    assert image_problems(space) == [], "nothing is known before stage 01"
    space.inventory.mkdir(parents=True)
    (space.inventory / DONE).write_text("{}")
    monkeypatch.setattr(module, "read_inventory", lambda folder: (IMAGES.assign(**change), None))
    return image_problems(space)


SHOWN = ["input.mean=[124, 116, 104]", "input.std=[58, 57, 57]"]


@pytest.mark.parametrize(
    ("change", "words", "said"),
    [
        ({}, [], ""),
        ({}, ["input.offsets=[-1, 0, 1]"], "input.offsets is [-1, 0, 1], but no training image has neighbouring"),
        ({"stack": ["s", "s", "t"]}, ["input.offsets=[-1, 0, 1]"], ""),
        ({"depth": [9, 9, 1]}, ["input.offsets=[-1, 0, 1]", "train.axes=[z, y]"], ""),
        ({"depth": [9, 1, 9]}, ["train.axes=[z, y]"], "train.axes is ['z', 'y'], but image 'b' has one slice"),
        ({}, ["predict.axes=[x]"], "predict.axes is ['x'], but image 'a' has one slice"),
        ({"channels": [3, 3, 4]}, [], "input.channels is 3, but 1 image(s), first 't', have 4 channels"),
        ({"channels": [3, 1, 1]}, ["input={channels: 1, mean: [0.5], std: [0.5]}"], ""),
        ({"channels": [1, 3, 3]}, [], ""),
        ({}, ["input={channels: 2, mean: [0.5], std: [0.5]}"], "input.channels is 2, but 3 image(s)"),
        ({}, SHOWN, "input.mean is [124.0, 116.0, 104.0], but values of pixels are brought to 0 to 1 first"),
        ({"dtype": "float32"}, [*SHOWN, "input.normalisation=percentile"], "input.mean is [124.0"),
        ({"dtype": "float32"}, SHOWN, ""),
        ({}, [*SHOWN, "input.normalisation=image"], ""),
    ],
)  # fmt: skip
def test_settings_fit_the_images(
    change: dict[str, Any], words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = asked(tmp_path, monkeypatch, change, *words)
    assert [one[: len(said)] for one in found] == ([said] if said else [])


def test_an_ensemble_sees_no_image_and_repeated_splits_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = asked(tmp_path / "a", monkeypatch, {}, "input.offsets=[0, 1]", "members=[x, y]")
    repeated = asked(tmp_path / "b", monkeypatch, {}, "input.offsets=[0, 1]", "folds.repeats=2")
    assert members == [] and len(repeated) == 1


def test_stage_02_says_it_and_stage_01_may_be_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = write_tiny_experiment(tmp_path, train=4, test=2)
    stage("01_check_data")(arguments)
    wrong = [*arguments, "--set", "input.offsets=[-1, 0, 1]"]
    with pytest.raises(SystemExit):
        stage("02_make_folds")(wrong)
    assert "tiny: this would fail in a later stage:\n  input.offsets is [-1, 0, 1]" in capsys.readouterr().err
    stage("01_check_data")([*wrong, "--overwrite"])
