"""Images that show the same: within training, and between training and test."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from drawn_hosts import write_rle_host

from pipeline.data.inventory import take_inventory, write_inventory
from pipeline.experiment import Experiment
from pipeline.inventory_table import inventory_digest, read_inventory
from pipeline.shift.shift_report import report_shift
from pipeline.shift.similar_images import TEST_COLUMNS, duplicates_in_test, thumbnails_of, training_duplicates
from pipeline.stage import Stage
from pipeline.workspace import Workspace


def draw_pictures(count: int, shape: tuple[int, int] = (90, 120)) -> list[np.ndarray]:
    """RGB pictures with structure at every size, all different."""
    rng = np.random.default_rng(4)
    ky, kx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]
    spectrum = (np.hypot(ky, kx) + 0.01) ** -1.2 * np.exp(-((np.hypot(ky, kx) / 0.15) ** 2))
    spectrum[0, 0] = 0
    found = []
    for _ in range(count):
        grey = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * spectrum, s=shape)
        grey = np.clip(110 + 32 * grey / grey.std(), 0, 255)
        found.append(np.repeat(grey[..., None], 3, axis=2).astype(np.uint8))
    return found


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Twelve training images, of which 9 is a copy of 0; test images that are copies, changed, or of their own."""
    folder = tmp_path_factory.mktemp("similar")
    data = folder / "data"
    competition = write_rle_host(data, train=12, test=6)
    pictures = draw_pictures(13)
    for number, picture in enumerate(pictures[:12]):
        cv2.imwrite(str(data / "train" / f"train{number:02d}.png"), pictures[0] if number == 9 else picture)
    _, jpeg = cv2.imencode(".jpg", pictures[1])
    tests = [
        pictures[0], cv2.imdecode(jpeg, cv2.IMREAD_COLOR), cv2.convertScaleAbs(pictures[2], alpha=1.3),
        pictures[3][8:, 11:], pictures[4][:, ::-1], pictures[12],
    ]  # fmt: skip
    for number, picture in enumerate(tests):
        cv2.imwrite(str(data / "test" / f"test{number:02d}.png"), picture)
    space = Workspace(Experiment(name="own", competition="drawn"), competition, data, folder / "runs")
    stage = Stage("01_check_data", space.inventory, {})
    stage.begin()
    inspections = [one for _, _, found in take_inventory(competition, data) for one in found]
    table, _ = write_inventory(space.inventory, inspections)
    stage.finish(output=inventory_digest(table))
    return space


def test_test_images_that_training_shows_are_listed_with_how(space: Workspace) -> None:
    pairs = duplicates_in_test(space)
    assert tuple(pairs) == TEST_COLUMNS
    assert pairs["similarity"].is_monotonic_decreasing and pairs["similarity"].between(0.6, 1).all()
    assert sorted(pairs.drop(columns="similarity").itertuples(index=False, name=None)) == [
        ("test00", "train00", "exact"),
        ("test01", "train01", "near"),
        ("test02", "train02", "near"),
        ("test03", "train03", "rescaled"),
        ("test04", "train04", "turned"),
    ]
    assert training_duplicates(space)[["image_a", "image_b", "kind"]].to_numpy().tolist() == [
        ["train00", "train09", "exact"]
    ]


def test_the_search_is_made_once(space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    first = duplicates_in_test(space)
    monkeypatch.setattr("pipeline.shift.similar_images.find_duplicates", None)
    pd.testing.assert_frame_equal(duplicates_in_test(space), first)


def test_stage_02_writes_table_and_picture_and_says_it(space: Workspace, tmp_path: Path) -> None:
    said = "\n".join(report_shift(space, tmp_path))
    assert "5 of 6 test images show what a training image shows (2 near, 1 " in said
    assert len(pd.read_csv(tmp_path / "shift_copies.csv")) == 5
    assert cv2.imread(str(tmp_path / "shift_copies.png")).shape[0] > 100


def test_thumbnails_are_those_of_the_split(space: Workspace) -> None:
    table, thumbnails = read_inventory(space.inventory)
    row = int(np.flatnonzero((table["split"] == "test") & (table["image_id"] == "test03"))[0])
    found = thumbnails_of(space, "test", pd.Series(["test03", "test00"]))
    np.testing.assert_array_equal(found[0], thumbnails[row])
    with pytest.raises(KeyError):
        thumbnails_of(space, "train", pd.Series(["test03"]))


def test_no_like_images_no_sentence_and_an_empty_table(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path / "data", train=4, test=2)
    for number, picture in enumerate(draw_pictures(6)):
        name = f"train/train{number:02d}" if number < 4 else f"test/test{number - 4:02d}"
        cv2.imwrite(str(tmp_path / "data" / f"{name}.png"), picture)
    space = Workspace(Experiment(name="own", competition="drawn"), competition, tmp_path / "data", tmp_path / "runs")
    stage = Stage("01_check_data", space.inventory, {})
    stage.begin()
    inspections = [one for _, _, found in take_inventory(competition, space.data) for one in found]
    table, _ = write_inventory(space.inventory, inspections)
    stage.finish(output=inventory_digest(table))
    assert not any("what a training image shows" in line for line in report_shift(space, tmp_path))
    assert pd.read_csv(tmp_path / "shift_copies.csv").empty and not (tmp_path / "shift_copies.png").exists()
    assert training_duplicates(space).empty
