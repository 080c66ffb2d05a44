"""The units of a run as command lines: what each says, that they run as printed, and what is refused."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import space_of, write_tiny_experiment

from pipeline.__main__ import main
from pipeline.distributed.units import job_lines, stage_units
from pipeline.sequence import STAGES, run_stages


def test_stages_are_shared_out_by_images_by_folds_or_not_at_all(tmp_path: Path) -> None:
    arguments = write_tiny_experiment(tmp_path)
    space = space_of(arguments)
    units = {stage: stage_units(stage, space, arguments, 3) for stage in STAGES}
    assert {stage: len(found) for stage, found in units.items()} == {
        "01": 3, "02": 1, "03": 3, "04": 2, "05": 3, "06": 1, "07": 3,
    }  # fmt: skip
    assert units["03"][1].arguments == (*arguments, "--shard", "2/3") and units["03"][1].name == "shard 2/3"
    assert units["04"][1].arguments[-2:] == ("--set", "folds.use=[1]")


def test_splits_are_trained_apart_and_an_ensemble_trains_nothing(tmp_path: Path) -> None:
    arguments = write_tiny_experiment(tmp_path)
    repeated = space_of(arguments, "--set", "folds.repeats=2")
    found = stage_units("04", repeated, arguments, 3)
    assert [unit.name for unit in found] == [
        "fold 0 of tiny-split0", "fold 1 of tiny-split0", "fold 0 of tiny-split1", "fold 1 of tiny-split1",
    ]  # fmt: skip
    split = space_of(list(found[-1].arguments)).experiment
    assert (split.name, split.folds.split, split.folds.repeats, split.used_folds) == ("tiny-split1", 1, 1, [1])
    assert split.model_dump() == {
        **repeated.experiment.repeated[1].model_dump(),
        "folds": {**repeated.experiment.repeated[1].folds.model_dump(), "use": [1]},
    }
    ensemble = space_of(arguments, "--set", "members=[a, b]")
    assert [unit.name for unit in stage_units("04", ensemble, arguments, 3)] == ["everything"]


def test_printed_jobs_run_as_they_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = write_tiny_experiment(tmp_path)
    run_stages(arguments, ("01", "02"))
    capsys.readouterr()
    main(["run", *arguments, "--print-jobs", "03", "--units", "2"])
    comment, *lines = capsys.readouterr().out.splitlines()
    assert comment == "# 03_prepare_data: 2 unit(s), in any order, side by side" and len(lines) == 2
    for line in reversed(lines):
        words = shlex.split(line)
        assert words[0] == "python"
        subprocess.run([sys.executable, *words[1:]], check=True, capture_output=True)
    assert len(list((tmp_path / "runs/drawn/store").glob("*/stage.json"))) == 1
    main(["run", *arguments, "--print-jobs"])
    everything = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("#") for line in everything) == 7 and len(everything) == 7 + 4 * 8 + 2 + 1 + 1
    assert everything == job_lines(space_of(arguments), arguments, tuple(STAGES), 8)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--print-jobs", "--units", "0"], "--units is 0, expected at least 1"),
        (["--ray", "local", "--from", "05"], "--from deletes results first"),
        (["--ray", "local", "--units", "-1"], "--units is -1, expected at least 1"),
    ],
)
def test_what_cannot_be_shared_out_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    with pytest.raises(SystemExit):
        main(["run", *write_tiny_experiment(tmp_path), *more])
    assert words in capsys.readouterr().err
