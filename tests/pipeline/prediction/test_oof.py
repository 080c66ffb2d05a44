"""Out-of-fold predictions: the declared sample view by view and under shifts, and what stage 06 makes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from drawn_layouts import spacenet
from tiny_run import space_of, stage, write_tiny_experiment

from folds.blocks import Block
from inference.decide.decision import load_decision
from inference.predict.store import open_prediction, prediction_path
from pipeline.prediction.oof import StoredItem, ungrouped
from pipeline.prediction.oof_sample import finished_parts, sample_ids, sample_parts, unfit_shifts
from pipeline.sequence import run_stages
from pipeline.tuning.comparisons.ensemble import EnsembleShift, ViewWorth
from pipeline.tuning.comparisons.extras import Extras
from pipeline.tuning.measurements import measured_reasons
from pipeline.workspace import Workspace
from submissions.host.competition import load_competition
from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader
from submissions.metrics.intervals import Interval

SAMPLE = {"copies": 0, "rounds": 100, "min_groups": 2, "sample": 6, "shifts": ["brightness:0.3", "scale:0.5"]}


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Stages 01 to 06 with a sample: (the experiment's folder, arguments)."""
    folder = tmp_path_factory.mktemp("sampled")
    arguments = write_tiny_experiment(folder, tune=SAMPLE)
    run_stages(arguments, ("01", "02", "03", "04", "05"))
    return folder / "runs/drawn/tiny", arguments


def test_the_truth_of_an_image_keeps_its_outlines_and_that_of_a_block_its_pixels(tmp_path: Path) -> None:
    pytest.importorskip("shapely")
    competition = load_competition("spacenet-buildings")
    planes = spacenet(tmp_path).truth["AOI_2_Vegas_img1"]
    listing, _ = list_images(competition, tmp_path, "train")
    fields = ListedImages(competition, tmp_path, listing).row("AOI_2_Vegas_img1")
    fields |= {"depth": 1, "height": planes.shape[1], "width": planes.shape[2]}
    item = StoredItem("a", 0, "", "", "a", 0, fields, tmp_path / "a.h5", MaskReader(competition, tmp_path))
    assert item.truth().outlines is not None and len(item.truth().outlines.shapes) == 2
    part = replace(item, block=Block(2, 4, 20, 30)).truth()
    assert part.outlines is None
    np.testing.assert_array_equal(part.planes[:, 0], planes[:, 2:20, 4:30])


def probs(path: Path) -> np.ndarray:
    with open_prediction(path) as prediction:
        return prediction.read()


def test_the_sample_is_spread_and_predicted_apart(sampled: tuple[Path, list[str]]) -> None:
    own, arguments = sampled
    chosen = sample_ids(space_of(arguments))
    assert len(chosen) == len(set(chosen)) == 6
    folders = [own / "oof_views", own / "oof_shifts/brightness_0.3", own / "oof_shifts/scale_0.5"]
    for folder in folders:
        assert sorted(path.stem for path in folder.glob("*.h5")) == sorted(chosen)
        assert (folder / "stage.json").is_file()
    for name in chosen:
        whole = probs(prediction_path(own / "oof", name)).astype(float)
        with open_prediction(prediction_path(own / "oof_views", name)) as apart:
            assert apart.channels == ["identity/thing", "hflip/thing"]
            assert np.abs(apart.read().astype(float).mean(axis=0) - whole[0]).max() <= 1
        for folder in folders[1:]:
            assert probs(prediction_path(folder, name)).shape == whole.shape
            assert (probs(prediction_path(folder, name)) != whole).any()


def test_parts_are_made_once_and_go_on_where_they_stopped(
    sampled: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    own, arguments = sampled
    folder = own / "oof_views"
    (folder / "stage.json").rename(folder / "kept.json")
    first, *others = sorted(folder.glob("*.h5"))
    first.unlink()
    before = {path: path.stat().st_mtime_ns for path in others}
    stage("05_predict_oof")(arguments)
    said = capsys.readouterr().out
    assert said.count("already made") == 3 and "6 images predicted view by view" in said
    assert first.is_file() and before == {path: path.stat().st_mtime_ns for path in others}
    documents = [json.loads((folder / name).read_text()) for name in ("stage.json", "kept.json")]
    assert documents[0]["fingerprint"] == documents[1]["fingerprint"]


def test_what_the_sample_needs_is_checked(sampled: tuple[Path, list[str]]) -> None:
    arguments = sampled[1]
    assert sample_parts(space_of(arguments, "--set", "tune.sample=0")) == []
    one_view = sample_parts(space_of(arguments, "--set", "predict.views=[identity]"))
    assert [part.title for part in one_view] == ["under brightness:0.3", "under scale:0.5"]
    with pytest.raises(ValueError, match=r"made of a sample of 6 images, but tune\.sample is 4"):
        list(finished_parts(space_of(arguments, "--set", "tune.sample=4")))
    with pytest.raises(FileNotFoundError, match="blur_1"):
        list(finished_parts(space_of(arguments, "--set", "tune.shifts=[blur:1]")))
    with pytest.raises(ValueError, match="expected one of stain"):
        space_of(arguments, "--set", "tune.shifts=[fog:1]")
    space = space_of(arguments, "--set", "tune.shifts=[stain:0.1,blur:1]")
    assert unfit_shifts(space) == {}
    grey = Workspace(space.experiment, space.competition, space.data, space.runs)
    listing, inventory = grey.training_images()
    object.__setattr__(grey, "training_images", lambda: (listing.assign(channels=1), inventory))
    assert list(unfit_shifts(grey)) == ["stain:0.1"]
    assert [part.shift for part in sample_parts(grey)] == [None, "blur:1"]


def test_whole_stacks_are_drawn_where_stacks_are_scored(sampled: tuple[Path, list[str]]) -> None:
    space = space_of(sampled[1])
    listing, inventory = space.training_images()
    stacked = space.competition.model_copy(
        update={"metric": space.competition.metric.model_copy(update={"unit": "stack"})}
    )
    other = Workspace(space.experiment, stacked, space.data, space.runs)
    stacks = listing["image_id"].str[-2:].astype(int) // 2
    object.__setattr__(other, "training_images", lambda: (listing.assign(stack=stacks.astype(str)), inventory))
    chosen = sample_ids(other)
    assert len(chosen) == 6 and len({int(name[-2:]) // 2 for name in chosen}) == 3
    assert ListedImages(space.competition, space.data, listing).in_reading_order(chosen)


def test_stage_06_reports_views_and_shifts(sampled: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    own, arguments = sampled
    stage("06_tune")(arguments)
    said = capsys.readouterr().out
    assert "shift test: the optimal candidate" in said
    assert pd.read_csv(own / "tuning/views.csv")["view"].tolist() == ["identity", "hflip"]
    assert pd.read_csv(own / "tuning/shifts.csv")["shift"].tolist() == ["none", "brightness:0.3", "scale:0.5"]
    decision = load_decision(own / "tuning/decision.json")
    assert decision.views is not None and set(decision.views) <= {"identity", "hflip"}
    assert set(decision.learned["shift_test"]) == {"optimal", "robust"}
    report = (own / "tuning/report.md").read_text()
    assert "## Views" in report and "## Shift test" in report
    inputs = json.loads((own / "tuning/stage.json").read_text())["identity"]["inputs"]
    assert {"oof", "sample view by view", "sample under scale:0.5"} <= set(inputs)
    stage("06_tune")(arguments)
    assert "already made" in capsys.readouterr().out


def test_what_was_measured_is_said() -> None:
    table = pd.DataFrame({"view": ["identity", "hflip"], "verdict": ["kept", "dropped: it lowers the score"]})
    gain = Interval(0.01, 0.0, 0.02, 0.95, 20, np.zeros(3))
    extras = Extras(views=ViewWorth(table, ["identity"]), ensemble=EnsembleShift(128, 120, -8, -9, -7, gain, 0.001))
    said = measured_reasons(extras)
    assert said[0].startswith("TTA views hflip lower the score") and "for those of identity alone" in said[0]
    assert said[1] == "mean of two models: score +0.0100, best threshold moved by -8"
    assert measured_reasons(Extras()) == []


def test_test_images_that_do_not_say_their_group_are_counted(tmp_path: Path) -> None:
    arguments = write_tiny_experiment(tmp_path, train=4, test=3)
    contract = yaml.safe_load((tmp_path / "drawn.yaml").read_text())
    named = [*(f"train{n:02d}" for n in range(4)), *(f"test{n:02d}" for n in range(3))]
    table = {"file": "organs.csv", "both_splits": True}

    def say(organs: list[str], **change: object) -> str:
        pd.DataFrame({"id": named, "organ": organs}).to_csv(tmp_path / "data/organs.csv", index=False)
        changed = {**contract, "strata": ["organ"], "tables": [{"file": "train.csv"}, table], "test_tables": [table]}
        (tmp_path / "drawn.yaml").write_text(yaml.safe_dump({**changed, **change}))
        stage("01_check_data")([*arguments, "--overwrite"])
        return ungrouped(space_of(arguments))

    assert say(["01", "lung", "01", "lung", "01", "lung", "lung"]) == ""
    assert say(["01", "lung", "01", "lung", "01", "", ""]) == "2 of 3 test images have no value in the column 'organ'"
    assert say(["01"] * 7, test_tables=[]) == "3 of 3 test images have no value in the column 'organ'"
    assert say(["01"] * 7, strata=["area_thing"]) == ""
    assert say(["01"] * 7, images={"train": "train/{id}.png"}, submission=None) == ""
    for path in (tmp_path / "data/test").glob("*.png"):
        path.unlink()
    assert say(["01"] * 7) == "no test image is at hand that has the column 'organ'"
    assert say(["01"] * 7, images={"train": "train/{id}.png", "test": "test/{organ}_{id}.png"}) == ""
