"""Answers for whole images: classifiers and image-level heads against the networks' own words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from inference.config import InputConfig, ModelConfig, PredictConfig
from inference.models import build_model
from inference.models.image_level_planes import as_planes
from inference.predict.inputs import normalise, statistics
from inference.predict.members import activate
from inference.predict.predictor import predict_image
from inference.predict.resample import resize_image
from inference.predict.store import open_prediction, quantise, with_gate, write_prediction
from inference.weights import LoadedModel
from submissions.images.opening import ArrayReader

INPUT = InputConfig(mean=[0.5], std=[0.25])
TILE = (24, 36)


def loaded(architecture: str, *, activation: str = "sigmoid", seed: int = 0, **options: object) -> LoadedModel:
    torch.manual_seed(seed)
    config = ModelConfig(
        architecture=architecture, classes=["one", "two"], activation=activation, options=options  # type: ignore[arg-type]
    )  # fmt: skip
    predict = PredictConfig(mode="whole", tile=TILE, views=["identity", "hflip"], precision="fp32")
    return LoadedModel(build_model(config).eval(), config, INPUT, predict, Path("drawn"))


def drawn_source(depth: int = 1) -> ArrayReader:
    return ArrayReader(np.random.default_rng(2).integers(0, 256, (depth, 40, 56, 3), dtype=np.uint8))


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_a_classifier_leaves_one_pixel_with_the_mean_of_members_and_views(activation: str, tmp_path: Path) -> None:
    members = [loaded("lenet", activation=activation, seed=seed) for seed in (0, 1)]
    reader = drawn_source()
    predict_image(members, reader, [0], None, tmp_path / "a.h5", weights=[3, 1])
    shown = torch.from_numpy(
        normalise(resize_image(reader.read(0), TILE), statistics(reader, INPUT, [0]), INPUT).copy()
    )[None]
    expected = torch.zeros(2)
    for member, weight in zip(members, (0.75, 0.25), strict=True):
        with torch.no_grad():
            logits = [member.model(x)[0] for x in (shown, shown.flip(3))]
        probs = [one.sigmoid() if activation == "sigmoid" else one.softmax(0) for one in logits]
        expected += weight * sum(probs) / 2  # type: ignore[arg-type]
    with open_prediction(tmp_path / "a.h5") as prediction:
        assert prediction.channels == ["one", "two"]
        found = prediction.read()
    assert found.shape == (2, 1, 1)
    assert np.abs(found[:, 0, 0].astype(int) - quantise(expected.numpy()).astype(int)).max() <= 1


def test_a_classifier_answers_for_one_image_and_with_its_own_kind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 slices were given, but a classifier predicts one image"):
        predict_image([loaded("lenet")], drawn_source(3), [0, 1, 2], None, tmp_path / "a.h5")
    with pytest.raises(ValueError, match="expected one kind"):
        pair = [loaded("lenet"), loaded("plain_unet", channels=[4, 8])]
        predict_image(pair, drawn_source(), [0], None, tmp_path / "a.h5")
    with pytest.raises(ValueError, match="views of classifiers"):
        predict_image([loaded("lenet")], drawn_source(), [0], None, tmp_path / "a.h5", separate=True)


def test_an_image_level_head_is_predicted_beside_the_classes(tmp_path: Path) -> None:
    model = loaded("efficientnet_fpn", activation="softmax", image_head=True)
    assert model.model_config.channels == ["one", "two", "present:one", "present:two"]
    reader = drawn_source()
    predict_image([model], reader, [0], None, tmp_path / "a.h5")
    x = torch.from_numpy(normalise(reader.read(0), statistics(reader, INPUT, [0]), INPUT).copy())[None]
    with torch.no_grad():
        outputs = [model.model.forward_outputs(one) for one in (x, x.flip(3))]  # type: ignore[operator]
        expected = sum(one["image_logits"][0].sigmoid() for one in outputs) / 2
    with open_prediction(tmp_path / "a.h5") as prediction:
        assert prediction.channels == model.model_config.channels
        found = prediction.read()
    assert found.shape == (4, 40, 56)
    assert (found[2:] == found[2:, :1, :1]).all()
    assert np.abs(found[2:, 0, 0] / 255 - expected.numpy()).max() < 0.01  # type: ignore[union-attr]
    assert np.abs(found[:2].sum(axis=0).astype(int) - 255).max() <= 1


def test_what_has_no_image_level_answer_stays_as_it_is() -> None:
    plain = loaded("plain_unet", channels=[4, 8])
    assert as_planes(plain.model) is plain.model
    logits = torch.randn(1, 2, 3, 5)
    assert torch.equal(activate(logits, plain.model_config), logits.sigmoid())


@pytest.mark.parametrize("shape", [(2, 5, 7), (2, 3, 5, 7)])
def test_answers_join_as_constant_planes(shape: tuple[int, ...], tmp_path: Path) -> None:
    probs = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = write_prediction(tmp_path / "a.h5", np.array([7, 250], np.uint8).reshape(2, 1, 1), ["one", "two"])
    joined = with_gate(probs, path)
    assert joined.dtype == np.uint8 and joined.shape == (4, *shape[1:])
    assert np.array_equal(joined[:2], probs)
    assert (joined[2] == 7).all() and (joined[3] == 250).all()
