"""Shards: who does what, that the parts make the whole byte for byte, and that anyone can finish it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_run import space_of, stage, write_tiny_experiment

from pipeline.distributed.shards import Shard, parse_shard, share
from pipeline.distributed.units import stage_units, unfinished
from pipeline.sequence import run_stages

SHARDED = ("01_check_data", "03_prepare_data", "05_predict_oof", "07_predict_test")
EXACT = ("inventory/*.csv", "inventory/*.npy", "inventory/*.json", "store/*/patches*", "store/*/units/*/*", "*/*.csv")


@pytest.mark.parametrize(("items", "count"), [(0, 3), (2, 5), (17, 4), (16, 16), (100, 7)])
def test_shares_are_the_items_each_once_in_order(items: int, count: int) -> None:
    parts = [Shard(number, count).of(range(items)) for number in range(1, count + 1)]
    assert [one for part in parts for one in part] == list(range(items))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert share(range(items), None) == list(range(items))


@pytest.mark.parametrize("text", ["0/4", "5/4", "4", "a/b", "-1/4", "1/0", "1/4/2"])
def test_what_is_no_part_of_a_whole_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected NUMBER/COUNT, as in 1/16 to 16/16"):
        parse_shard(text)
    assert parse_shard(" 3/16 ") == Shard(3, 16) and str(Shard(3, 16)) == "3/16"


def contents(runs: Path) -> dict[str, bytes]:
    """What a run leaves that has to be the same however it was shared out: no times, no logs, no HDF5 headers."""
    found = {path for pattern in EXACT for path in runs.glob(pattern) if path.is_file()}
    return {str(path.relative_to(runs)): path.read_bytes() for path in found if not path.name.startswith("stage")}


def test_shards_in_any_order_end_as_one_process_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    whole.mkdir(), shared.mkdir()
    run_stages(write_tiny_experiment(whole, train=40))
    arguments = write_tiny_experiment(shared, train=40)
    capsys.readouterr()
    for name in ("01_check_data", "02_make_folds", "03_prepare_data", "04_train", "05_predict_oof", "06_tune"):
        stages(name, arguments)
    said = capsys.readouterr().out
    assert "01_check_data: shard 3/3 is done; 40 image(s) are left to other shards" in said
    assert "03_prepare_data: shard 3/3 is done; 26 image(s) are left to other shards" in said
    assert "05_predict_oof: shard 1/3 is done; 13 image(s) are left to other shards" in said
    stages("07_predict_test", arguments)
    runs = shared / "runs/drawn"
    assert contents(runs) == contents(whole / "runs/drawn") and "tiny/submission.csv" in contents(runs)
    assert not list(runs.rglob("*.partial")) and not list(runs.rglob("*parts*"))
    stage("05_predict_oof")([*arguments, "--shard", "2/3"])
    assert "already made" in capsys.readouterr().out


def stages(name: str, arguments: list[str]) -> None:
    """A stage in three shards, the last one first; the others whole."""
    if name not in SHARDED:
        return stage(name)(arguments)
    space = space_of(arguments)
    first, _, last = stage_units(name[:2], space, arguments, 3)
    for number in (3, 1, 2):
        stage(name)([*arguments, "--shard", f"{number}/3"])
        if number == 3:
            left = unfinished(space, first)
            assert left and len(left) == len(set(left)) and not unfinished(space, last)


def test_the_command_without_a_shard_finishes_what_shards_began(tmp_path: Path) -> None:
    arguments = write_tiny_experiment(tmp_path, train=40)
    stage("01_check_data")([*arguments, "--shard", "1/2"])
    parts = tmp_path / "runs/drawn/inventory/inspections"
    before = {path: path.read_bytes() for path in parts.glob("*.npz")}
    assert list(before) and not (parts.parent / "inventory.csv").exists()
    stage("01_check_data")(arguments)
    assert (parts.parent / "inventory.csv").is_file() and not parts.exists()
    run_stages(arguments, ("02",))
    stage("03_prepare_data")([*arguments, "--shard", "2/3"])
    units = tmp_path / "runs/drawn/store"
    made = {path: path.stat().st_mtime_ns for path in units.glob("*/units/*/unit.json")}
    assert len(made) == 13
    stage("03_prepare_data")(arguments)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    text = next(units.glob("*/patches-32x32-z.csv")).read_text()
    stage("03_prepare_data")([*arguments, "--overwrite"])
    assert next(units.glob("*/patches-32x32-z.csv")).read_text() == text


def test_shards_of_other_counts_fit_together(tmp_path: Path) -> None:
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    whole.mkdir(), shared.mkdir()
    run_stages(write_tiny_experiment(whole), ("01", "02", "03"))
    arguments = write_tiny_experiment(shared)
    run_stages(arguments, ("01", "02"))
    for shard in ("1/2", "2/3", "3/3", "1/3"):
        stage("03_prepare_data")([*arguments, "--shard", shard])
    assert contents(shared / "runs/drawn") == contents(whole / "runs/drawn")


def test_problems_are_told_when_all_is_seen_and_inspected_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = write_tiny_experiment(tmp_path, train=40)
    broken = sorted((tmp_path / "data/train").glob("*.png"))[35]
    good = broken.read_bytes()
    broken.write_bytes(bytes(len(good)))
    stage("01_check_data")([*arguments, "--shard", "2/2"])
    assert "problem" not in capsys.readouterr().err
    with pytest.raises(SystemExit):
        stage("01_check_data")([*arguments, "--shard", "1/2"])
    assert broken.name in capsys.readouterr().err
    broken.write_bytes(good)
    stage("01_check_data")(arguments)
    assert "no problem" in capsys.readouterr().out


def test_what_cannot_be_shared_out_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = write_tiny_experiment(tmp_path)
    for name, more, words in (
        ("03_prepare_data", ["--overwrite"], "would delete what other shards made"),
        ("07_predict_test", ["--time-budget", "1h"], "--time-budget needs one process"),
    ):
        with pytest.raises(SystemExit):
            stage(name)([*arguments, "--shard", "1/2", *more])
        assert words in capsys.readouterr().err


def test_an_image_that_cannot_be_prepared_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = write_tiny_experiment(tmp_path)
    run_stages(arguments, ("01", "02"))
    victim = sorted((tmp_path / "data/train").glob("*.png"))[3]
    victim.unlink()
    with pytest.raises(SystemExit):
        stage("03_prepare_data")([*arguments, "--shard", "1/2"])
    assert f"image '{victim.stem}' cannot be prepared" in capsys.readouterr().err
    assert space_of(arguments).shard is None
    shutil.rmtree(tmp_path / "runs")
