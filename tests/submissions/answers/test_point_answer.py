"""Tables of points: two hosts' layouts drawn, from predictions to rows, read back, linted, scored."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn_points import BYU_SHAPE, CZII_SHAPE, PICKS, write_byu, write_czii

from inference.decide.decision import Decision
from inference.decide.rules import ArgmaxRule, ThresholdRule
from inference.predict.store import prediction_path, write_prediction
from inference.submission import make_submission, open_test_images
from submissions.answers import answer_of, check_answer, lint_answer
from submissions.answers.point_answer import PointAnswer
from submissions.answers.scoring import score_parts, score_submission
from submissions.answers.show import draw_submission
from submissions.host.competition import Competition, load_competition
from submissions.host.listing import list_images
from submissions.host.points import draw_points
from submissions.host.settings import validate
from submissions.table.findings import errors
from submissions.table.scoring import Segmentation

RIBOSOME, APO = PICKS["ribosome"], PICKS["apo-ferritin"]
MOTOR = (2.0, 33.0, 40.0)


def czii(folder: Path) -> tuple[Competition, Path]:
    """Two test runs, predicted: the first shows PICKS but the apo-ferritin inside a ribosome, the second nothing."""
    competition, out = load_competition("czii-cryoet-2024"), folder / "submission.csv"
    write_czii(folder / "data", {"TS_5_4": PICKS}, ["TS_8_8", "TS_9_9"])
    for run, places in (("TS_8_8", []), ("TS_9_9", RIBOSOME)):
        points = [("ribosome", tuple(value / 10 for value in place)) for place in places]
        planes = draw_points(competition, points, CZII_SHAPE, first=0, where=run).planes  # type: ignore[arg-type]
        planes[0] = ~planes[1:].any(axis=0)
        write_prediction(prediction_path(folder / "test", run), planes.astype(np.uint8) * 255, competition.classes)
    names = competition.classes
    decision = Decision(fingerprint="", classes=names, channels=names, exclusive=True, rule=ArgmaxRule())
    summary = make_submission(competition, folder / "data", [], decision, folder=folder / "test", out=out, report=str)
    assert str(summary) == f"2 images, 0 not predicted, 2 points -> {out}"
    return competition, out


def solution(folder: Path, rows: list[tuple[Any, ...]], columns: list[str]) -> Path:
    pd.DataFrame(rows, columns=columns).to_csv(folder / "solution.csv", index=False)
    return folder / "solution.csv"


PARTICLES = ["id", "experiment", "particle_type", "x", "y", "z"]


def test_particles_are_rows_of_places_in_angstrom(tmp_path: Path) -> None:
    competition, out = czii(tmp_path)
    data = tmp_path / "data"
    said = pd.read_csv(out)
    assert list(said) == PARTICLES and said["id"].tolist() == [0, 1]
    assert set(said["experiment"]) == {"TS_9_9"} and set(said["particle_type"]) == {"ribosome"}
    # balls of 7.5 voxels are cut by the volume's ends, which moves their centres inwards by less than half of that
    np.testing.assert_allclose(said[["z", "y", "x"]], RIBOSOME, atol=37)
    assert lint_answer(out, competition, data) == [] and check_answer(competition, data) == []
    true = [(k, "TS_9_9", "ribosome", *place[::-1]) for k, place in enumerate(RIBOSOME)]
    assert score_submission(competition, out, solution(tmp_path, true, PARTICLES), data).score == 1
    weights = {"ribosome": 1, "apo-ferritin": 1}
    more = [*true, (9, "TS_8_8", "apo-ferritin", *APO[0][::-1])]
    found = score_submission(competition, out, solution(tmp_path, more, PARTICLES), data)
    assert found.score == pytest.approx(weights["ribosome"] / sum(weights.values()))
    assert found.table.set_index("unit").loc["TS_9_9", "tp_2"] == 2
    draw_submission(competition, out, data, ["TS_9_9"], tmp_path / "x.png")


@pytest.mark.parametrize("unit", [10.0, 1.0, 0.37, 0.002])
def test_places_keep_a_hundredth_of_a_voxel_in_any_unit(unit: float) -> None:
    competition = load_competition("czii-cryoet-2024")
    assert competition.masks.points is not None
    points = competition.masks.points.model_copy(update={"unit": unit})
    answer = PointAnswer(
        competition.model_copy(update={"masks": competition.masks.model_copy(update={"points": points})})
    )
    place = (3.126, 40.871, 7.004)
    (row,) = answer.parsed(pd.DataFrame(answer.rows({"image_id": "TS", "run": "TS"}, [("ribosome", place)])))
    assert row.point is not None and np.abs(np.subtract(row.point[1], place)).max() <= 0.005


def test_the_order_of_rows_and_columns_is_the_samples(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    rows = [(0, 1.0, "TS_9_9", "ribosome", 1, 1), (1, 1.0, "TS_8_8", "ribosome", 1, 1)]
    pd.DataFrame(rows, columns=["id", "z", "experiment", "particle_type", "y", "x"]).to_csv(
        tmp_path / "data/sample_submission.csv", index=False
    )
    competition, out = czii(tmp_path)
    assert list(pd.read_csv(out)) == ["id", "z", "experiment", "particle_type", "y", "x"]
    assert lint_answer(out, competition, tmp_path / "data") == []


def test_volumes_go_through_the_text_of_a_table(tmp_path: Path) -> None:
    competition = load_competition("czii-cryoet-2024")
    planes = np.zeros((len(competition.classes), *CZII_SHAPE), bool)
    planes[4, 2:4, 3:6, 4:8], planes[1, 5, 5, 5], planes[2, 7, 7, 7] = True, True, True
    levels = np.where(planes, 200, 0).astype(np.uint8)
    levels[4, 2, 3, 4:8] = 90
    through = answer_of(competition).through({"image_id": "a", "run": "a"}, Segmentation(planes, levels=levels))
    places = np.argwhere(planes[4])
    weighed = np.average(places, axis=0, weights=levels[4][tuple(places.T)])
    assert through.points is not None
    assert [name for name, _ in through.points] == ["apo-ferritin", "ribosome"]  # beta-amylase is not handed in
    np.testing.assert_allclose([place for _, place in through.points], [[5, 5, 5], weighed], atol=0.001)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"experiment": "TS_1_1"}, "volume 'TS_1_1' is not among the test images"),
        ({"particle_type": "virus"}, "class 'virus', expected one of"),
        ({"x": "here"}, "expected three numbers"), ({"y": "inf"}, "expected three numbers"),
        ({"z": "95"}, r"place \[95.0, .* is outside; the last voxel is at \[80.0, 230.0, 300.0\]"),
        ({"id": "1"}, "its id occurs before"),
    ],
)  # fmt: skip
def test_rows_that_the_host_would_refuse_are_errors(tmp_path: Path, change: dict[str, str], message: str) -> None:
    competition = load_competition("czii-cryoet-2024")
    write_czii(tmp_path / "data", {}, ["TS_9_9"])
    rows = [
        {"id": str(k), "experiment": "TS_9_9", "particle_type": "ribosome", "x": "5", "y": "6", "z": "7"}
        for k in range(2)
    ]
    pd.DataFrame([{**rows[0], **change}, rows[1]], columns=PARTICLES).to_csv(tmp_path / "s.csv", index=False)
    (found,) = errors(lint_answer(tmp_path / "s.csv", competition, tmp_path / "data"))
    assert re.search(message, found.cause)
    if "id" not in change and "z" not in change:
        with pytest.raises(ValueError, match=message):
            score_submission(competition, tmp_path / "s.csv", tmp_path / "s.csv", tmp_path / "data")


def test_files_that_are_no_such_table_are_named(tmp_path: Path) -> None:
    competition = load_competition("czii-cryoet-2024")
    write_czii(tmp_path / "data", {}, ["TS_9_9"])
    with pytest.raises(FileNotFoundError, match="expected a table with the columns"):
        lint_answer(tmp_path / "s.csv", competition, tmp_path / "data")
    (tmp_path / "s.csv").write_text("id,experiment\n0,TS_9_9\n")
    assert "no column" in errors(lint_answer(tmp_path / "s.csv", competition, tmp_path / "data"))[0].cause
    (tmp_path / "s.csv").write_text("experiment,id,particle_type,x,y,z\n")
    order, nothing = lint_answer(tmp_path / "s.csv", competition, tmp_path / "data")
    assert "the file has the columns" in order.cause and "not one point" in nothing.cause
    (tmp_path / "data/sample_submission.csv").write_text("id,run,x,y,z\n")
    (problem,) = check_answer(competition, tmp_path / "data")
    assert "no column" in str(problem)


TOMOGRAMS = ["tomo_id", "Motor axis 0", "Motor axis 1", "Motor axis 2"]
SOLVED = [*TOMOGRAMS, "Voxel spacing", "Usage"]


def byu(folder: Path, *, cut: str = "") -> tuple[Competition, Path]:
    """Two test stacks, predicted slice by slice: tomo_c shows a motor and a speck, tomo_d nothing."""
    competition, out = load_competition("byu-motors-2025"), folder / "submission.csv"
    write_byu(folder / "data", {"tomo_a": MOTOR}, ["tomo_c", "tomo_d"])
    if cut:
        (folder / "data/test" / cut).write_bytes(b"cut")
    images = open_test_images(competition, folder / "data")
    for name in images.ids:
        row, shape = images.row(name), (1, *BYU_SHAPE[1:])
        shown = [("motor", MOTOR)] if row["stack"] == "tomo_c" else []
        probs = draw_points(competition, shown, shape, first=int(row["z"]), where=name).planes[:, 0] * np.uint8(200)
        if row["z"] == 3 and shown:
            probs[0, :3, :3] = 255
        write_prediction(prediction_path(folder / "test", name), probs, ["motor"])
    decision = Decision(fingerprint="", classes=["motor"], channels=["motor"], rule=ThresholdRule(thresholds=[128]))
    make_submission(
        competition, folder / "data", [], decision, folder=folder / "test", out=out, report=str, on_error="empty"
    )
    return competition, out


def test_a_tomogram_of_slices_is_a_row_with_its_motor_or_none(tmp_path: Path) -> None:
    competition, out = byu(tmp_path)
    data = tmp_path / "data"
    assert out.read_text().splitlines()[2] == "tomo_d,-1,-1,-1"
    said = pd.read_csv(out)
    assert list(said) == TOMOGRAMS and said["tomo_id"].tolist() == ["tomo_c", "tomo_d"]
    np.testing.assert_allclose(said.iloc[0, 1:].astype(float), MOTOR, atol=0.6)  # the ball is cut at both ends of z
    assert lint_answer(out, competition, data) == [] and check_answer(competition, data) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "submission.csv", "test"]
    right = [("tomo_c", *MOTOR, 13.1, "Public"), ("tomo_d", -1, -1, -1, 13.1, "Private")]
    assert score_submission(competition, out, solution(tmp_path, right, SOLVED), data).score == 1
    far = [("tomo_c", 2, 33, 40 + 1001 / 6, 6.0, "Public"), ("tomo_d", -1, -1, -1, 6.0, "Ignored")]
    assert score_submission(competition, out, solution(tmp_path, far, SOLVED), data).score == 0
    other = [("tomo_c", -1, -1, -1, 13.1, "Public"), ("tomo_d", *MOTOR, 13.1, "Private")]
    parts = score_parts(competition, out, solution(tmp_path, other, SOLVED), data).parts
    assert parts[parts["part"] == "Usage"]["score"].tolist() == [0, 0]


@pytest.mark.parametrize("none", [-1, 0])
def test_a_place_on_the_edge_of_a_volume_is_no_sign_that_there_is_none(none: float) -> None:
    document = {
        "name": "drawn", "images": {"kind": "volumes", "train": "{id}.npy", "test": "t/{id}.npy"}, "classes": ["a"],
        "masks": {"kind": "points", "table": {"file": "p.csv"}, "points": {"radius": 2, "unit": 5}},
        "metric": {"name": "point_f_beta"}, "submission": {"kind": "points", "points": {"none": none}},
    }  # fmt: skip
    answer = PointAnswer(validate(Competition, document, "drawn"))
    places = [("a", (0.0, 3.0, 7.0)), ("a", (4.0, 0.0, 1.0))]
    for said in (places, []):
        table = pd.DataFrame(answer.rows({"image_id": "v"}, said))
        assert [row.point for row in answer.parsed(table)] == (said or [None])


def test_points_of_stacks_with_slices_left_out_are_refused_before_training(tmp_path: Path) -> None:
    competition = load_competition("byu-motors-2025")
    write_byu(tmp_path, {"tomo_a": MOTOR}, ["tomo_c"])
    for folder in ("train/tomo_a", "test/tomo_c"):
        (tmp_path / folder / "slice_0002.jpg").unlink()
    (missing,) = list_images(competition, tmp_path, "train")[1]
    assert "stack tomo_a: found" in str(missing) and "expected every slice in between" in str(missing)
    assert any("stack tomo_c: found" in str(one) for one in check_answer(competition, tmp_path))
    assert list_images(competition, tmp_path, "test")[1] == []  # a hidden test set is predicted all the same


def test_a_slice_that_cannot_be_read_leaves_the_others_places(tmp_path: Path) -> None:
    competition, out = byu(tmp_path, cut="tomo_c/slice_0000.jpg")
    said = pd.read_csv(out)
    np.testing.assert_allclose(said.iloc[0, 1:].astype(float), MOTOR, atol=0.6)
    assert errors(lint_answer(out, competition, tmp_path / "data")) == []


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("tomo_c", 1, 2, 3)], r"1 volume\(s\) have no row: tomo_d"),
        ([("tomo_c", 1, 2, 3), ("tomo_d", -1, -1, -1), ("tomo_c", 2, 2, 3)], r"takes 1 point\(s\) of a volume"),
    ],
)
def test_a_row_a_tomogram(tmp_path: Path, rows: list[tuple[Any, ...]], message: str) -> None:
    write_byu(tmp_path / "data", {}, ["tomo_c", "tomo_d"])
    competition, table = load_competition("byu-motors-2025"), solution(tmp_path, rows, TOMOGRAMS)
    (found,) = errors(lint_answer(table, competition, tmp_path / "data"))
    assert re.search(message, found.cause)
    if "no row" in message:
        right = [("tomo_c", 1, 2, 3), ("tomo_d", 1, 2, 3)]
        pd.DataFrame(right, columns=TOMOGRAMS).to_csv(tmp_path / "full.csv", index=False)
        with pytest.raises(ValueError, match=r"1 id\(s\) of the solution are missing: \['tomo_d'\]"):
            score_submission(competition, table, tmp_path / "full.csv", tmp_path / "data")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masks": {"kind": "images", "path": "{id}.npy"}}, "needs masks.kind 'points'"),
        ({"images": {"train": "{id}.png", "test": "t/{id}.png"}}, "needs volumes"),
        ({"classes": ["a", "b"]}, "no column is '{class}'"),
        ({"columns": {"id": "{id}", "z": "{z}", "y": "{y}"}}, "no column is '{x}', the place of a point"),
        ({"columns": {"z": "{z}", "y": "{y}", "x": "{x}"}}, "no column names the volume"),
        ({"size": [3, 4]}, "points are handed in on their own grid"),
    ],
)  # fmt: skip
def test_contracts_whose_points_cannot_be_told_are_refused(change: dict[str, Any], message: str) -> None:
    form: dict[str, Any] = {"kind": "points"}
    form |= {"points": {"columns": change.pop("columns")}} if "columns" in change else {}
    form |= {"size": change.pop("size")} if "size" in change else {}
    document = {
        "name": "drawn", "images": {"kind": "volumes", "train": "{id}.npy", "test": "t/{id}.npy"}, "classes": ["a"],
        "masks": {"kind": "points", "table": {"file": "p.csv"}, "points": {"radius": 2}},
        "metric": {"name": "point_f_beta"}, "submission": form, **change,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        validate(Competition, document, "drawn")
