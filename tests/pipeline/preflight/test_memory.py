"""Images too large for the memory of prediction are named before a network is trained, not after its first epoch."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_run import space_of, stage, write_tiny_experiment

from inference.models import build_model
from inference.predict.image_list import predict_listed
from inference.weights import LoadedModel
from pipeline.preflight.memory import memory_problems
from submissions.host.listed_images import ListedImages

SMALL = ["--set", "predict.memory_cap_gb=0.0001"]


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    made = write_tiny_experiment(tmp_path, train=4, test=2)
    assert memory_problems(space_of(made, *SMALL)) == [], "nothing is known before stages 01 and 02"
    stage("01_check_data")(made)
    stage("02_make_folds")(made)
    return made


def test_stage_04_refuses_what_would_not_fit(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    stage("03_prepare_data")(arguments)
    with pytest.raises(SystemExit):
        stage("04_train")([*arguments, *SMALL])
    said = capsys.readouterr().err
    assert "2 things would fail in a later stage:\n  image '" in said
    assert "predict.memory_cap_gb is 0.0001; raise it, or predict in tiles instead of whole" in said
    space = space_of(arguments)
    assert not space.fold(0).exists(), "nothing was trained"


def test_the_sentence_is_that_of_prediction_itself(arguments: list[str], tmp_path: Path) -> None:
    """At the same cap: views apart out of fold, and together of test images, which need less."""
    space = space_of(arguments, *SMALL)
    table, _ = space.all_images()
    train, test = table[table["split"] == "train"], table[table["split"] == "test"]
    own = space.experiment
    loaded = LoadedModel(build_model(own.model), own.model, own.input, own.predict, tmp_path)
    said = memory_problems(space)
    for sentence, rows, separate in zip(said, (train, test), (True, False), strict=True):
        name = sentence.split("'")[1]
        images = ListedImages(space.competition, space.data, rows)
        with pytest.raises(ValueError, match="memory_cap_gb") as caught:
            list(predict_listed([loaded], images, [name], tmp_path / str(separate), separate=separate))
        assert str(caught.value) == sentence


def test_what_is_not_held_out_or_not_predicted_so_is_not_asked(arguments: list[str]) -> None:
    space = space_of(arguments, *SMALL, "--set", "members=[a, b]")
    assert memory_problems(space) == []
    assert memory_problems(space_of(arguments)) == []


def test_a_damaged_image_is_left_to_the_stage_that_reads_it(arguments: list[str]) -> None:
    space = space_of(arguments, *SMALL)
    table, _ = space.all_images()
    for name in table["path"][table["split"] == "test"]:
        (space.data / name).write_bytes(b"no image")
    assert len(memory_problems(space)) == 1
