"""Prediction as a whole: constants stay constant, streams equal wholes, views and axes are averaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from inference.config import InputConfig, ModelConfig, PredictConfig
from inference.predict.inputs import normalise, read_input, statistics
from inference.predict.members import ReadyMember
from inference.predict.predictor import predict_image
from inference.predict.store import NotANumberError, open_prediction, quantise
from inference.predict.tiles import plan_axis
from inference.predict.tta import build_views
from inference.weights import LoadedModel
from submissions.images.opening import ArrayReader, open_image

GREY: dict[str, Any] = {"channels": 1, "mean": [0.5], "std": [0.25]}


class Constant(nn.Module):
    """Logits 0, 0.3, 0.6 ... whatever it is shown."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = 0.3 * torch.arange(self.classes, dtype=x.dtype, device=x.device)
        return logits.reshape(1, -1, 1, 1).expand(len(x), -1, *x.shape[2:]).contiguous()


def pointwise(in_channels: int, classes: int = 1, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Conv2d(in_channels, classes, 1)


def local(in_channels: int, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(in_channels, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))


def member(model: nn.Module, config: PredictConfig | None = None, **options: Any) -> LoadedModel:
    shown = InputConfig(**options)
    classes = [f"class{k}" for k in range(model(torch.zeros(1, shown.in_channels, 32, 32)).shape[1])]
    settings = ModelConfig(in_channels=shown.in_channels, classes=classes)
    return LoadedModel(model.eval(), settings, shown, config or PredictConfig(precision="fp32"), Path("model"))


def drawn(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    image = np.random.default_rng(sum(shape)).integers(0, np.iinfo(dtype).max, shape)
    return image.astype(dtype)


def predict(path: Path, members: LoadedModel | list[LoadedModel], image: np.ndarray, **settings: Any) -> np.ndarray:
    """Predict all slices of `image` with `settings` and return what was stored."""
    members = members if isinstance(members, list) else [members]
    config = PredictConfig(**{"precision": "fp32", "tile": (64, 96), **settings})
    report = predict_image(members, ArrayReader(image), range(len(image)), config, path / "image.h5")
    with open_prediction(report.path) as prediction:
        return prediction.read()


@pytest.mark.parametrize("mode", ["tiles", "whole", "both"])
@pytest.mark.parametrize("merge", ["probs", "logits"])
@pytest.mark.parametrize("scale", [1.0, 0.5, 1.7])
@pytest.mark.parametrize("border", [0, 7])
def test_a_constant_model_returns_its_constant_at_every_pixel(
    tmp_path: Path, mode: str, merge: str, scale: float, border: int
) -> None:
    got = predict(
        tmp_path, member(Constant(3), scale=scale), drawn(1, 101, 170, 3),
        mode=mode, merge=merge, border=border, views=["d4", "scale:0.75", "brightness:0.1"],
    )  # fmt: skip
    expected = quantise(1 / (1 + np.exp(-0.3 * np.arange(3))))
    assert got.shape == (3, 101, 170)
    assert [np.unique(plane).tolist() for plane in got] == [[value] for value in expected.tolist()]


def test_a_pointwise_model_is_seen_through_tiles_and_views_unchanged(tmp_path: Path) -> None:
    image = drawn(1, 150, 230, 3)
    config, model = InputConfig(), pointwise(3, 2)
    got = predict(tmp_path, member(model), image, views=["d4"], border=3)
    x = torch.from_numpy(normalise(image[0], statistics(ArrayReader(image), config), config))[None]
    expected = model(x).sigmoid()[0].detach().numpy()
    np.testing.assert_allclose(got / 255, expected, atol=0.5 / 255 + 1e-4)


@pytest.mark.parametrize("window", ["gaussian", "uniform"])
@pytest.mark.parametrize("merge", ["probs", "logits"])
def test_tiles_equal_a_slow_reference(tmp_path: Path, window: str, merge: str) -> None:
    image = drawn(1, 150, 97, 1, dtype=np.uint16)
    model = local(1)
    got = predict(tmp_path, member(model, **GREY), image, tile=(64, 64), overlap=0.4, window=window, merge=merge)
    config = InputConfig(**GREY)
    x = torch.from_numpy(normalise(image[0], statistics(ArrayReader(image), config), config).copy())[None]
    total, share = np.zeros((150, 97)), np.zeros((150, 97))
    rows, cols = (plan_axis(size, 64, 0.4, window) for size in (150, 97))
    profile = np.ones(64) if window == "uniform" else np.exp(-0.5 * ((np.arange(64) - 31.5) / 8) ** 2)
    for top in rows.positions:
        for left in cols.positions:
            logits = model(x[:, :, top : top + 64, left : left + 64])[0, 0]
            values = (logits.sigmoid() if merge == "probs" else logits).detach().numpy()
            total[top : top + 64, left : left + 64] += values * np.outer(profile, profile)
            share[top : top + 64, left : left + 64] += np.outer(profile, profile)
    expected = total / share if merge == "probs" else 1 / (1 + np.exp(-total / share))
    np.testing.assert_allclose(got[0] / 255, expected, atol=0.5 / 255 + 1e-4)


@pytest.mark.parametrize("views", [["identity"], ["hflip", "rot90", "transpose"]])
def test_the_whole_image_at_once(tmp_path: Path, views: list[str]) -> None:
    image, model = drawn(1, 96, 64, 1), local(1)
    got = predict(tmp_path, member(model, **GREY), image, mode="whole", views=views)
    config = InputConfig(**GREY)
    x = torch.from_numpy(normalise(image[0], statistics(ArrayReader(image), config), config).copy())[None]
    each = [view.inverse(model(view.forward(x)), (96, 64)).sigmoid().detach() for view in build_views(views, config)]
    expected = torch.stack(each).mean(dim=0)[0].numpy()
    np.testing.assert_allclose(got / 255, expected, atol=0.5 / 255 + 1e-4)


def test_both_is_the_mean_of_tiles_and_whole(tmp_path: Path) -> None:
    image, one = drawn(1, 150, 97, 1), member(local(1), **GREY)
    tiles, whole, both = (
        predict(tmp_path, one, image, mode=mode, tile=(64, 64)).astype(float) for mode in ("tiles", "whole", "both")
    )
    np.testing.assert_allclose(both, (tiles + whole) / 2, atol=1.01)


@pytest.mark.parametrize("scale", [0.4, 1.5])
def test_the_host_grid_is_reached_as_opencv_reaches_it(tmp_path: Path, scale: float) -> None:
    image, model = drawn(1, 200, 130, 1), pointwise(1)
    got = predict(tmp_path, member(model, scale=scale, **GREY), image, tile=(32, 32))
    size = (round(130 * scale), round(200 * scale))
    small = cv2.resize(image[0], size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    config = InputConfig(**GREY)
    x = torch.from_numpy(normalise(small[..., None], statistics(ArrayReader(image), config), config).copy())
    probs = model(x[None]).sigmoid()[0, 0].detach().numpy()
    expected = cv2.resize(probs, (130, 200), interpolation=cv2.INTER_LINEAR if scale < 1 else cv2.INTER_AREA)
    np.testing.assert_allclose(got[0] / 255, expected, atol=2 / 255)


@pytest.mark.parametrize("scale", [1.0, 0.63, 1.4])
def test_strips_leave_no_trace(tmp_path: Path, scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    image, one = drawn(1, 301, 90, 3), member(local(3), scale=scale)
    expected = predict(tmp_path, one, image, tile=(64, 64))
    monkeypatch.setattr("inference.predict.memory_plan.BLOCK_BYTES", 1)
    np.testing.assert_array_equal(predict(tmp_path, one, image, tile=(64, 64)), expected)


def test_a_volume_is_predicted_slice_by_slice_with_its_neighbours(tmp_path: Path) -> None:
    volume, model = drawn(5, 40, 90, 1), pointwise(3, 2)
    options: dict[str, Any] = {**GREY, "offsets": [-2, 0, 1], "boundary": "reflect"}
    got = predict(tmp_path, member(model, **options), volume, batch_size=3)
    config, reader = InputConfig(**options), ArrayReader(volume)
    measured = statistics(reader, config)
    assert got.shape == (2, 5, 40, 90)
    for z in range(5):
        x = torch.from_numpy(normalise(read_input(reader, z, None, None, config), measured, config).copy())
        expected = model(x[None]).sigmoid()[0].detach().numpy()
        np.testing.assert_allclose(got[:, z] / 255, expected, atol=0.5 / 255 + 1e-4)


def test_one_slice_of_a_stack_is_an_image(tmp_path: Path) -> None:
    volume, one = drawn(5, 40, 90, 1), member(pointwise(3), **{**GREY, "offsets": [-1, 0, 1]})
    everything = predict(tmp_path, one, volume)
    config = PredictConfig(precision="fp32", tile=(64, 96))
    predict_image([one], ArrayReader(volume), [3], config, tmp_path / "slice.h5", attrs={"image_id": "x_3"})
    with open_prediction(tmp_path / "slice.h5") as prediction:
        assert (prediction.channels, prediction.attrs) == (one.model_config.classes, {"image_id": "x_3"})
        np.testing.assert_array_equal(prediction.read(), everything[:, 3])
    predict_image([one], ArrayReader(volume), [3], config, tmp_path / "slice.h5", volume=True)
    with open_prediction(tmp_path / "slice.h5") as prediction:
        assert prediction.shape == (1, 1, 40, 90)


def test_axes_are_averaged_on_the_voxel_grid(tmp_path: Path) -> None:
    volume, one = drawn(33, 40, 50, 1), member(local(1), **GREY)
    got = predict(tmp_path, one, volume, axes=["z", "y", "x"], tile=(32, 32)).astype(float)
    expected = predict(tmp_path, one, volume, tile=(32, 32)).astype(float)[0]
    for order, back in (((1, 0, 2, 3), (1, 0, 2)), ((2, 0, 1, 3), (1, 2, 0))):
        turned = np.ascontiguousarray(volume.transpose(order))
        expected += predict(tmp_path, one, turned, tile=(32, 32)).astype(float)[0].transpose(back)
    np.testing.assert_allclose(got[0], expected / 3, atol=1.01)


@pytest.mark.parametrize("merge", ["probs", "logits"])
def test_softmax_sums_to_one(tmp_path: Path, merge: str) -> None:
    one = member(pointwise(3, 4))
    one.model_config.activation = "softmax"
    got = predict(tmp_path, one, drawn(1, 70, 110, 3), merge=merge)
    assert np.abs(got.astype(int).sum(axis=0) - 255).max() <= 2


def test_views_are_kept_apart_and_their_mean_is_the_prediction(tmp_path: Path) -> None:
    image, one = drawn(1, 150, 97, 1), member(local(1), **GREY)
    config = PredictConfig(precision="fp32", tile=(64, 32), views=["identity", "transpose", "scale:0.75"])
    reader = ArrayReader(image)
    predict_image([one], reader, [0], config, tmp_path / "views.h5", separate=True)
    predict_image([one], reader, [0], config, tmp_path / "mean.h5")
    with open_prediction(tmp_path / "views.h5") as views, open_prediction(tmp_path / "mean.h5") as mean:
        assert views.channels == ["identity/class0", "transpose/class0", "scale:0.75/class0"]
        np.testing.assert_allclose(views.read().astype(float).mean(axis=0), mean.read(0), atol=1.01)
        alone = predict(tmp_path, one, image, tile=(64, 32), views=["transpose"])
        np.testing.assert_array_equal(views.read("transpose/class0"), alone[0])


def test_background_is_skipped_and_tissue_is_not_changed(tmp_path: Path) -> None:
    image = np.full((1, 192, 256, 3), 240, dtype=np.uint8)
    image[:, :, 128:] = drawn(1, 192, 128, 3)
    one = member(local(3))
    config = PredictConfig(precision="fp32", tile=(64, 64), overlap=0, skip_background=True)
    report = predict_image([one], ArrayReader(image), [0], config, tmp_path / "image.h5")
    assert (report.tiles, report.skipped) == (6, 6)
    full = predict(tmp_path, one, image, tile=(64, 64), overlap=0)
    for merge in ("probs", "logits"):
        got = predict(tmp_path, one, image, tile=(64, 64), overlap=0, skip_background=True, merge=merge)
        assert not got[:, :, :128].any()
        np.testing.assert_array_equal(got[:, :, 128:], full[:, :, 128:])


def test_bf16_is_close_to_fp32(tmp_path: Path) -> None:
    image, one = drawn(1, 64, 96, 3), member(local(3))
    difference = predict(tmp_path, one, image, precision="bf16").astype(int) - predict(tmp_path, one, image)
    assert np.abs(difference).mean() < 2


class Overflowing(nn.Module):
    """A quarter of the first channel, but not a number in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.25))
        self.seen: list[torch.dtype] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x.dtype)
        assert x.dtype == self.scale.dtype
        return x[:, :1] * (self.scale if x.dtype == torch.float32 else torch.tensor(torch.nan, dtype=x.dtype))


def test_a_network_that_overflows_in_half_precision_goes_on_in_float32(tmp_path: Path) -> None:
    loaded = member(Overflowing(), **GREY)
    model = Overflowing().half()
    half = ReadyMember(
        model, loaded.model_config, loaded.input_config, loaded.predict_config, torch.device("cpu"), "fp16"
    )
    image = ArrayReader(drawn(1, 40, 70, 1))
    for name in ("first", "second"):
        predict_image([half], image, [0], None, tmp_path / f"{name}.h5")
    assert model.seen[0] == torch.float16 and set(model.seen[1:]) == {torch.float32}
    predict_image([loaded], image, [0], None, tmp_path / "plain.h5")
    files = [tmp_path / f"{name}.h5" for name in ("first", "second", "plain")]
    read = []
    for file in files:
        with open_prediction(file) as prediction:
            read.append(prediction.read())
    np.testing.assert_array_equal(read[0], read[2])
    np.testing.assert_array_equal(read[1], read[2])
    with torch.no_grad():
        model.scale.fill_(torch.nan)
    with pytest.raises(NotANumberError):
        predict_image([half], image, [0], None, tmp_path / "third.h5")
    assert not (tmp_path / "third.h5").exists()


def test_a_source_that_fails_leaves_no_file(tmp_path: Path) -> None:
    class Broken(ArrayReader):
        def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
            raise OSError("truncated")

    with pytest.raises(OSError, match="truncated"):
        predict_image([member(Constant(1))], Broken(drawn(1, 9, 9, 3)), [0], None, tmp_path / "image.h5")
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    reader, one, out = ArrayReader(drawn(3, 40, 50, 3)), member(Constant(2)), tmp_path / "image.h5"
    with pytest.raises(ValueError, match="each from 0 to 2"):
        predict_image([one], reader, [3], None, out)
    with pytest.raises(ValueError, match="which need all 3 slices"):
        predict_image([one], reader, [1], PredictConfig(axes=["y"]), out)
    one.model_config.activation = "softmax"
    with pytest.raises(ValueError, match="skip_background cannot be used with exclusive classes"):
        predict_image([one], reader, [1], PredictConfig(skip_background=True), out)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_nothing_is_predicted_where_an_image_holds_no_data(tmp_path: Path, scale: float) -> None:
    image, hole = drawn(70, 90, 1), np.zeros((70, 90), bool)
    hole[20:50, 33:90] = True
    Image.fromarray(np.dstack([image[..., 0], np.where(hole, 0, 255).astype(np.uint8)])).save(tmp_path / "a.png")
    reader = open_image(tmp_path / "a.png")
    config = PredictConfig(precision="fp32", tile=(32, 32))
    loaded = member(Constant(2), config, **GREY, scale=scale)
    report = predict_image([loaded], reader, [0], None, tmp_path / "image.h5")
    with open_prediction(report.path) as prediction:
        found = prediction.read()
    assert (found[:, hole] == 0).all() and (found[:, ~hole] > 0).all()
    exclusive = ModelConfig(in_channels=1, classes=["background", "b"], activation="softmax")
    report = predict_image([replace(loaded, model_config=exclusive)], reader, [0], None, tmp_path / "image.h5")
    with open_prediction(report.path) as prediction:
        found = prediction.read()
    assert (found[0, hole] == 255).all() and (found[1, hole] == 0).all() and (found[1, ~hole] > 0).all()
