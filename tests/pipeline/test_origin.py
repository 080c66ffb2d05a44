"""A run's folder is enough: experiment, contract and a hint at the data lie in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from tiny_run import space_of, stage, write_tiny_experiment

from pipeline.experiment import Experiment, load_experiment, located
from pipeline.origin import CONTRACT, EXPERIMENT, data_of, is_run, remember
from pipeline.workspace import Workspace, open_workspace, stage_parser
from submissions.host.competition import load_competition


def noted(space: Workspace, number: str) -> None:
    remember(space.own, number, experiment=space.experiment, competition=space.competition, data=space.data)


def test_a_stage_leaves_what_it_used_and_the_folder_stands_for_the_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = write_tiny_experiment(tmp_path, train=4, test=2)
    stage("01_check_data")(arguments)
    before = space_of(arguments)
    assert is_run(before.own)
    monkeypatch.chdir("/")
    after = open_workspace(stage_parser("").parse_args([str(before.own)]))
    assert after.experiment.model_dump(exclude={"competition"}) == before.experiment.model_dump(exclude={"competition"})
    assert (after.competition, after.data, after.runs) == (before.competition, before.data, before.runs.resolve())
    other = open_workspace(stage_parser("").parse_args([str(before.own), "--set", "train.epochs=9"]))
    assert other.experiment.train.epochs == 9


def test_sections_stay_as_the_stage_that_answers_for_them_used_them(tmp_path: Path) -> None:
    arguments = write_tiny_experiment(tmp_path, train=4, test=2)
    noted(space_of(arguments), "04")
    changed = space_of(arguments, "--set", "train.epochs=9", "--set", "predict.mode=both", "--set", "tune.rounds=777")
    noted(changed, "01")
    kept = load_experiment(changed.own / EXPERIMENT)
    assert (kept.train.epochs, kept.predict.mode, kept.tune.rounds) == (2, "whole", 100)
    noted(changed, "05")
    kept = load_experiment(changed.own / EXPERIMENT)
    assert (kept.train.epochs, kept.predict.mode, kept.tune.rounds) == (2, "both", 100)
    noted(changed, "06")
    assert load_experiment(changed.own / EXPERIMENT).tune.rounds == 777


def test_repeated_splits_are_read_again(tmp_path: Path) -> None:
    space = space_of(write_tiny_experiment(tmp_path, train=4, test=2, folds={"method": "group", "n": 2, "repeats": 2}))
    assert space.experiment.members
    noted(space, "02")
    again = open_workspace(stage_parser("").parse_args([str(space.own)]))
    assert again.experiment.members == space.experiment.members


def test_the_data_are_found_where_they_were_or_moved_along_with_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    space = space_of(write_tiny_experiment(there, train=4, test=2))
    noted(space, "01")
    monkeypatch.chdir(tmp_path)
    assert data_of(space.own, "drawn") == space.data.resolve()
    shutil.move(there, tmp_path / "moved")
    own = tmp_path / "moved/runs/drawn/tiny"
    assert data_of(own, "drawn").samefile(tmp_path / "moved/data")
    shutil.rmtree(tmp_path / "moved/data")
    (tmp_path / "data/drawn").mkdir(parents=True)
    assert data_of(own, "drawn") == Path("data/drawn")


def test_paths_in_a_document_lie_beside_it_or_where_the_user_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, stands = tmp_path / "exp", tmp_path / "stands"
    beside.mkdir(), stands.mkdir()
    monkeypatch.chdir(stands)
    (beside / "mine.yaml").write_text("")
    (beside / "w.safetensors").write_text("")
    (stands / "yours.yaml").write_text("")
    written = {
        "competition": "mine.yaml", "model": {"weights": "w.safetensors"},
        "external": [{"experiment": "yours.yaml", "data": "files"}, {"experiment": "tgs-salt"}],
    }  # fmt: skip
    found = located(written, beside / "a.yaml")
    assert found["competition"] == str(beside / "mine.yaml") and found["model"]["weights"] == str(
        beside / "w.safetensors"
    )
    assert found["external"] == [{"experiment": "yours.yaml", "data": "files"}, {"experiment": "tgs-salt"}]
    assert written["competition"] == "mine.yaml"
    (beside / "tgs-salt").mkdir()
    assert located({"competition": "tgs-salt"}, beside / "a.yaml") == {"competition": "tgs-salt"}


def test_a_contract_beside_the_experiment_is_read_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_experiment(tmp_path, train=4, test=2)
    document = yaml.safe_load((tmp_path / "tiny.yaml").read_text())
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**document, "competition": "drawn.yaml"}))
    monkeypatch.chdir("/")
    experiment = load_experiment(tmp_path / "tiny.yaml")
    assert isinstance(experiment, Experiment) and load_competition(experiment.competition).name == "drawn"


def test_a_folder_without_both_documents_is_no_run(tmp_path: Path) -> None:
    assert not is_run(tmp_path)
    (tmp_path / EXPERIMENT).write_text("")
    assert not is_run(tmp_path)
    (tmp_path / CONTRACT).write_text("")
    assert is_run(tmp_path)


def test_a_folder_that_no_longer_holds_the_files_is_not_taken_for_them(tmp_path: Path) -> None:
    """data/ became data/<competition>/: the place of before is still a folder."""
    arguments = write_tiny_experiment(tmp_path, train=4, test=2)
    stage("01_check_data")(arguments)
    shutil.move(tmp_path / "data", tmp_path / "host")
    (tmp_path / "data").mkdir()
    shutil.move(tmp_path / "host", tmp_path / "data" / "drawn")
    assert data_of(space_of(arguments).own, "drawn").samefile(tmp_path / "data" / "drawn")
