"""How much a first experiment trains: sizes that memory and time are enough for, and steps that are timed."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_hosts import draw_image, draw_mask

from pipeline.contract_fit import resolve
from pipeline.experiment import load_experiment
from pipeline.new_competition import start_competition
from pipeline.planning import images_seen
from pipeline.planning import training_size as sizes
from pipeline.planning.images_seen import ImagesSeen, look_at_images
from pipeline.training.fold_training import check_model, initial_model
from submissions.host.competition import load_competition

SCALES = (1.0, 0.75, 0.5)


def seen(height: int = 400, width: int = 600, count: int = 100) -> ImagesSeen:
    return ImagesSeen(count, [(height, width)] * 3, [1] * 3, 3, {"uint8"}, 0.5, 0.2)


def test_without_a_limit_of_time_all_folds_and_large_patches() -> None:
    found = sizes.training_size(seen(), 2, SCALES, memory=8e9)
    assert (found.folds, found.scale, found.patch, found.batch, found.patches) == (2, 1.0, (416, 512), 8, 113)
    assert found.epochs("cpu") == (20, 15) and math.isinf(found.samples)


@pytest.mark.parametrize(
    ("samples_of_256", "expected"),
    [
        (50_000, (2, 1.0, (416, 512))),
        (8000, (1, 1.0, (416, 512))),
        (2500, (1, 1.0, (256, 256))),
        (1800, (1, 0.5, (224, 256))),
        (300, (1, 0.5, (128, 128))),  # none is enough: what is tried last
    ],
)
def test_where_time_is_short_one_fold_then_smaller_patches_then_smaller_images(
    samples_of_256: int, expected: tuple[int, float, tuple[int, int]]
) -> None:
    found = sizes.training_size(seen(), 2, SCALES, memory=8e9, pixels=samples_of_256 * 256 * 256)
    assert (found.folds, found.scale, found.patch) == expected
    epochs, steps = found.epochs("cpu")
    shown = epochs * steps * found.batch * found.patch[0] * found.patch[1] * found.folds
    assert 0.75 * found.pixels < shown <= found.pixels and epochs <= 20


def test_no_time_at_all_is_refused() -> None:
    found = sizes.training_size(seen(), 2, SCALES, memory=8e9, pixels=20 * 128 * 128)
    with pytest.raises(
        ValueError, match=r"time for 1 step\(s\) of 16 patches of 128 x 128 on cpu, expected .* 10 or more"
    ):
        found.epochs("cpu")


def write_lines(root: Path, thickness: int) -> Path:
    """Images of 384 x 480 with lines of some pixels, and their contract and experiment, where the test stands."""
    for k in range(6):
        mask = np.zeros((384, 480), np.uint8)
        for line in range(6):
            cv2.line(mask, (0, 40 + 60 * line + k), (479, 10 + 60 * line), 255, thickness)
        for kind, pixels in (("images", draw_image(mask > 0, k)), ("masks", mask)):
            (root / kind).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / kind / f"{k}.png"), pixels)
    return root


def test_thin_lines_are_not_made_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kept = []
    for name, thickness in (("thin", 1), ("thick", 20)):
        start_competition(write_lines(Path(name), thickness))
        competition = load_competition(Path(f"{name}.yaml"))
        kept.append(sizes.quick_scales(competition, Path(name), look_at_images(competition, Path(name)).size))
    assert kept == [[1.0], [1.0, 0.75, 0.5, 0.375]]


def test_images_too_large_to_be_asked_are_not_made_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    start_competition(write_lines(Path("thick"), 20))
    competition = load_competition(Path("thick.yaml"))
    monkeypatch.setattr(images_seen, "LARGEST_MASK", 384 * 480 - 1)
    assert sizes.quick_scales(competition, Path("thick"), (384, 480)) == [1.0]


def test_minutes_make_an_experiment_of_timed_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lines(tmp_path / "lines", 20)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sizes.TIMED, "cpu", (2, 64))
    times = iter(range(100))
    monkeypatch.setattr(sizes, "_processor_clock", lambda: float(next(times)))
    start_competition(Path("lines"), minutes=1600)  # a second for 2 x 64 x 64 pixels: 590 million in 1200 minutes
    experiment = load_experiment("lines-baseline.yaml")
    train = experiment.train
    shown = train.epochs * train.steps_per_epoch * train.batch_size * train.plane[0] * train.plane[1]
    assert 0.8 * 1200 * 60 * 8192 < shown * len(experiment.used_folds) <= 1200 * 60 * 8192
    with pytest.raises(ValueError, match="--minutes is 0, expected more than 0"):
        start_competition(Path("lines"), name="never", minutes=0)
    assert not Path("never.yaml").exists(), "the command can be given again"


def test_labels_are_learned_by_a_classifier_that_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits/train").mkdir(parents=True)
    for k in range(12):
        assert cv2.imwrite(str(tmp_path / f"digits/train/{k:03d}.png"), draw_image(draw_mask(k), k)[:28, :28, 0])
    table = "".join(f"{k:03d},{k % 3}\n" for k in range(12))
    (tmp_path / "digits/train.csv").write_text(f"image_id,label\n{table}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sizes.TIMED, "cpu", (2, 32))
    start_competition(Path("digits"), minutes=60)
    experiment = resolve(load_experiment("digits-baseline.yaml"), load_competition(Path("digits.yaml")))
    check_model(experiment, initial_model(experiment, 0))
    assert experiment.task == "classify" and experiment.train.patch == (96, 96) and experiment.input.scale == 1
