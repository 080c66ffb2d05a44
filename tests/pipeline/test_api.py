"""A folder of images and masks becomes a model that predicts files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import inference
import pipeline
from inference import load_model, predict
from pipeline import train_model
from pipeline.api import find_pairs, folder_experiment

TINY = {
    "model__architecture": "plain_unet",
    "model__weights": "none",
    "model__options": {"channels": [8, 16]},
    "precision": "fp32",
    "patch": [32, 48],
    "batch_size": 2,
    "ema": 0.5,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part in ("images", "masks"):
        (tmp_path / "data" / part).mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(3):
        mask = np.zeros((40, 56), np.uint8)
        mask[8:24, 10 + 6 * number : 30 + 6 * number] = 255
        image = generator.integers(0, 60, (40, 56, 3), dtype=np.uint8) + (mask > 0)[..., None] * np.uint8(150)
        cv2.imwrite(str(tmp_path / "data" / "images" / f"im{number}.png"), image)
        cv2.imwrite(str(tmp_path / "data" / "masks" / f"im{number}.tif"), mask)
    return tmp_path / "data"


def test_a_folder_is_trained_and_a_file_predicted(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    model = train_model(folder, out=out, device="cpu", epochs=2, steps_per_epoch=20, lr=0.02, **TINY)
    file = folder / "images" / "im1.png"
    probs = predict(model, file, device="cpu")
    assert probs.shape == (40, 56) and probs.dtype == np.float32
    assert probs.min() >= 0 and probs.max() <= 1
    mask = cv2.imread(str(folder / "masks" / "im1.tif"), cv2.IMREAD_GRAYSCALE) > 0
    assert probs[mask].mean() > probs[~mask].mean() + 0.2
    assert np.array_equal(predict(load_model(out), file, device="cpu"), probs)
    assert np.array_equal(predict(str(out), [file, file], device="cpu")[1], probs)


def test_settings_by_their_names() -> None:
    experiment = folder_experiment("m", {"epochs": 3, "model__encoder": "resnet18", "augment__recipe": "heavy"})
    assert experiment.train.epochs == 3 and experiment.model.encoder == "resnet18"
    assert experiment.augment.recipe == "heavy" and experiment.model.architecture == "unet"
    with pytest.raises(ValueError, match=r"train\.epoches: unknown key"):
        folder_experiment("m", {"epoches": 3})


def test_incomplete_folders_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="images: no such folder"):
        find_pairs(tmp_path)
    (folder / "masks" / "im2.tif").rename(folder / "masks" / "other.tif")
    with pytest.raises(ValueError, match="im2, other without a partner"):
        find_pairs(folder)
    for path in [*(folder / "masks").iterdir(), *(folder / "images").iterdir()]:
        path.unlink()
    with pytest.raises(ValueError, match="found nothing"):
        find_pairs(folder)


def test_a_mask_of_another_size_is_named(folder: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(folder / "masks" / "im0.tif"), np.zeros((41, 56), np.uint8))
    with pytest.raises(ValueError, match=r"im0\.tif: \(41, 56\)"):
        train_model(folder, out=tmp_path / "model", **TINY)


@pytest.mark.parametrize("room", [pipeline, inference])
def test_importing_a_room_stays_cheap(room: object) -> None:
    name = getattr(room, "__name__", "")
    code = f"import sys, {name}; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'wings'"):
        room.wings  # type: ignore[attr-defined]  # noqa: B018
