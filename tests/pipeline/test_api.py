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
from pipeline.api import folder_contract, folder_experiment
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader

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


@pytest.mark.parametrize(
    ("patch", "given", "steps"), [((32, 48), {}, 100), ((4, 4), {}, 210), ((4, 4), {"steps_per_epoch": 7}, 7)]
)
def test_an_epoch_is_a_pass_over_all_images(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patch: tuple[int, int], given: dict, steps: int
) -> None:
    seen = []
    monkeypatch.setattr("pipeline.api.train_fold", lambda experiment, *_, **__: seen.append(experiment.train))
    monkeypatch.setattr("pipeline.api.load_model", lambda out: out)
    train_model(folder, out=tmp_path / "model", **{**TINY, "patch": patch, **given})
    assert [train.steps_per_epoch for train in seen] == [steps]  # 3 images of 40 x 56, two patches a step


def test_settings_by_their_names() -> None:
    experiment = folder_experiment("m", {"epochs": 3, "model__encoder": "resnet18", "augment__recipe": "heavy"})
    assert experiment.train.epochs == 3 and experiment.model.encoder == "resnet18"
    assert experiment.augment.recipe == "heavy" and experiment.model.architecture == "unet"
    with pytest.raises(ValueError, match=r"train\.epoches: unknown key"):
        folder_experiment("m", {"epoches": 3})


def test_incomplete_folders_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        train_model(tmp_path / "nowhere")
    (folder / "masks" / "im2.tif").rename(folder / "masks" / "other.tif")
    with pytest.raises(ValueError, match=r"masks/other\.tif: found a mask without its image"):
        train_model(folder, **TINY)
    (folder / "masks" / "other.tif").unlink()
    with pytest.raises(FileNotFoundError, match=r"im2\.tif: no such image file"):
        train_model(folder, out=tmp_path / "model", **TINY)
    for path in (folder / "masks").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"images images/{id}\.png but no masks for them"):
        train_model(folder, **TINY)
    for path in (folder / "images").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="no image file in the folder"):
        train_model(folder, **TINY)


def test_a_mask_of_another_size_is_named(folder: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(folder / "masks" / "im0.tif"), np.zeros((41, 56), np.uint8))
    with pytest.raises(ValueError, match=r"im0\.tif: mask of size \(41, 56\)"):
        train_model(folder, out=tmp_path / "model", **TINY)


def draw(folder: Path, image: str, mask: str, values: list[int], *, bits: int = 8, number: int = 0) -> None:
    """An image with a bright box and its mask, of the two `values`."""
    generator = np.random.default_rng(number)
    label = np.zeros((40, 56), np.uint8)
    label[8:24, 10 + 6 * number : 30 + 6 * number] = 1
    pixels = generator.integers(0, 60, label.shape) + label * 150
    for path in (folder / image, folder / mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / image), (pixels * 200).astype(np.uint16) if bits == 16 else pixels.astype(np.uint8))
    cv2.imwrite(str(folder / mask), np.asarray(values, np.uint8)[label])


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/{c}.Bird/x{k}.jpg", "gt/{c}.Bird/x{k}.png"),
        ("imgs/x{k}.png", "annotations/x{k}.png"),
        ("x{k}.jpg", "x{k}.png"),
        ("x{k}.png", "x{k}_mask.png"),
        ("train/images/x{k}.png", "train/labels/x{k}_gt.png"),
    ],
)
def test_the_usual_layouts_are_found(tmp_path: Path, image: str, mask: str) -> None:
    for k in range(4):
        draw(tmp_path, image.format(k=k, c=k % 2), mask.format(k=k, c=k % 2), [0, 255], number=k)
    contract = folder_contract(tmp_path)
    listing, problems = list_images(contract, tmp_path, "train")
    assert (sorted(listing["image_id"]), problems) == ([f"x{k}" for k in range(4)], [])
    row = {str(name): value for name, value in listing.iloc[1].items()}
    truth = MaskReader(contract, tmp_path).read(row, (1, 40, 56))
    assert truth.planes[0, 0, 8:24, 16:36].all() and truth.planes.sum() == 16 * 20


def test_label_images_of_16_bit_pictures_are_classes(tmp_path: Path) -> None:
    for k in range(4):
        draw(tmp_path, f"images/{k}.png", f"labels/{k}.png", [0, 1 + k % 2], bits=16, number=k)
    model = train_model(tmp_path, out=tmp_path / "model", device="cpu", epochs=1, steps_per_epoch=2, **TINY)
    assert model.model_config.classes == ["background", "class_1", "class_2"]
    assert model.input_config.normalisation == "percentile"
    probs = predict(model, tmp_path / "images/1.png", device="cpu")
    assert probs.shape == (3, 40, 56)
    np.testing.assert_allclose(probs.sum(axis=0), 1, atol=0.02)


def test_the_call_and_the_room_of_one_name_are_both_there() -> None:
    code = "import inference.predict.tiles; from inference import predict; assert callable(predict), predict"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("room", [pipeline, inference])
def test_importing_a_room_stays_cheap(room: object) -> None:
    name = getattr(room, "__name__", "")
    code = f"import sys, {name}; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'wings'"):
        room.wings  # type: ignore[attr-defined]  # noqa: B018
