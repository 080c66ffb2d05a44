"""`python -m pipeline run`: which stages are told to delete what they made, and what is never deleted unasked."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest
from tiny_run import write_tiny_experiment

from pipeline import sequence
from pipeline.__main__ import WORDS, main
from pipeline.sequence import ALL_STAGES, started_as


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """(number, arguments) of the stages that would have run."""
    found: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(sequence, "run_stages", lambda argv, numbers: found.append((numbers[0], list(argv))))
    return found


@pytest.mark.parametrize("start", [["--from", "05"], ["--from=05", "--overwrite"]])
def test_stages_before_the_first_are_left_alone(calls: list[tuple[str, list[str]]], start: list[str]) -> None:
    main(["run", "x", *start, "--set", "train.epochs=1"])
    again = ["x", "--set", "train.epochs=1", "--overwrite"]
    assert calls == [("05", again), ("06", again), ("07", again)]


def test_after_a_new_decision_no_test_image_is_predicted_again(calls: list[tuple[str, list[str]]]) -> None:
    main(["run", "x", "--from", "06"])
    assert calls == [("06", ["x", "--overwrite"]), ("07", ["x"])]


def test_deleting_everything_has_to_be_asked_for_by_its_first_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = write_tiny_experiment(tmp_path)
    inventory = tmp_path / "runs/drawn/inventory"
    inventory.mkdir(parents=True)
    with pytest.raises(SystemExit) as caught:
        main(["run", *arguments, "--overwrite"])
    said = capsys.readouterr().err
    assert caught.value.code == 1 and inventory.is_dir()
    assert f"would delete {inventory}" in said and "with its trained folds" in said and "--from 06" in said


@pytest.mark.parametrize("word", WORDS)
def test_help_is_that_of_the_word(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([word, "--help"])
    said = capsys.readouterr().out
    assert f"usage: python -m pipeline {word} " in said and ("--from" in said) == (word == "run")


def test_every_stage_is_a_word_of_the_one_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scripts = sorted(path.stem for path in Path(sequence.__file__).parent.glob("0*.py"))
    assert list(ALL_STAGES) == scripts and not set(WORDS) & set(scripts)
    monkeypatch.setattr("sys.argv", ["/usr/bin/segpipe"])
    for word in ("01_check_data", "01_check_data.py"):
        with pytest.raises(SystemExit) as caught:
            main([word, "--help"])
        said = capsys.readouterr().out
        assert caught.value.code == 0 and "usage: segpipe 01_check_data" in said and "Stage 01" in said
    assert started_as("04_train") == "segpipe 04_train"
    monkeypatch.setattr("sys.argv", ["pipeline/__main__.py"])
    assert (started_as(), started_as("04_train")) == ("python -m pipeline", "python pipeline/04_train.py")


def test_an_unknown_word_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["train"])
    assert caught.value.code == 2
    assert "unknown word 'train', expected one of run, demo" in capsys.readouterr().out


@pytest.mark.parametrize(("number", "full"), [(errno.ENOSPC, True), (errno.EIO, False)])
def test_a_full_disk_ends_a_stage_with_a_sentence(
    number: int, full: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = write_tiny_experiment(tmp_path)

    def fail(self: Path, *rest: object, **more: object) -> None:
        raise OSError(number, "the system's word")

    with monkeypatch.context() as patched, pytest.raises(SystemExit, match=r"^1$"):
        patched.setattr(Path, "write_text", fail)
        main(["01_check_data", *arguments])
    said = capsys.readouterr().err
    assert ("the disk is full" in said) == full and said.startswith("error: ")
    if full:
        runs = tmp_path / "runs/drawn"
        assert re.search(rf"error: {runs}/.*: the disk is full: [\d,]+ bytes are needed", said)
