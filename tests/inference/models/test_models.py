"""The zoo: shapes at any size, parameter counts of the papers, heads, options, freezing, no network."""

from __future__ import annotations

import importlib.util
import socket

import pytest
import torch

from inference.config import InputConfig, ModelConfig, PredictConfig
from inference.models import MODELS, build_model
from inference.models.__main__ import main
from inference.models.builder import option_names
from inference.models.encoders import resolve_encoder
from inference.models.figures import read_figures
from inference.models.freezing import count_parameters, encoder_stages, freeze, unfreeze
from inference.models.layers import build_norm
from inference.models.measuring import measure, write_figures
from inference.models.segmenter import Segmenter, pad_to_stride
from inference.weights import load_model, save_model

LITE = "tf_efficientnet_lite0"
SMALL_ENCODERS = {
    "smp": "resnet18",
    "dpt": "vit_tiny_patch16_224",
    "deeplab_v3": "resnet18",
    "pspnet": "resnet18",
}
SMALL_OPTIONS = {
    "maskformer": {
        "embed_dim": 12,
        "depths": (1, 1, 1, 1),
        "heads": (1, 2, 3, 4),
        "channels": 32,
        "queries": 5,
    },
    "encoder_decoder": {"channels": [4, 8, 16]},
    "plain_unet": {"channels": [4, 8, 16]},
    "alexnet": {"width": 32},
    **{name: {"fc_channels": 16} for name in ("fcn32s", "fcn16s", "fcn8s", "deconvnet", "dilatednet")},
    **{name: {"fc_channels": 16} for name in ("deeplab_v1", "deeplab_v2")},
}
# one of each kind of code path; the rest of the table runs in the thorough pass
QUICK = ["unet", "efficientnet_unet_aspp_fpn", "efficientnet_bifpn", "plain_unet", "fcn8s", "lenet"]


def small_config(name: str, *, in_channels: int = 4, **options: object) -> ModelConfig:
    """A cheap variant of a row, with two classes and four input channels."""
    row = MODELS[name]
    if name == "maskformer" and importlib.util.find_spec("transformers") is None:
        pytest.skip("maskformer needs the optional package transformers")
    encoder = SMALL_ENCODERS.get(name) or SMALL_ENCODERS.get(row.family, row.encoder)
    return ModelConfig(
        architecture=name,
        encoder=encoder if row.takes_encoder else LITE,
        in_channels=in_channels,
        classes=["one", "two"],
        options={**SMALL_OPTIONS.get(name, {}), **options},
    )


def check_model(name: str) -> None:
    """Odd size, several input channels, a gradient in every trainable parameter, another size, bfloat16."""
    model = build_model(small_config(name))
    classify = MODELS[name].task == "classify"
    outputs = model(torch.randn(2, 4, 101, 83))
    assert outputs.shape == ((2, 2) if classify else (2, 2, 101, 83))
    assert torch.isfinite(outputs).all()
    outputs.square().sum().backward()
    idle = [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not idle, "DDP would wait for these"
    model.eval()
    with torch.no_grad():
        outputs = model(torch.randn(1, 4, 33, 70))
        halved = model.to(torch.bfloat16)(torch.randn(1, 4, 33, 70, dtype=torch.bfloat16))
    assert outputs.shape == halved.shape == ((1, 2) if classify else (1, 2, 33, 70))
    assert torch.isfinite(halved).all()


@pytest.mark.parametrize("name", QUICK)
def test_models_take_odd_sizes_and_train_whole(name) -> None:
    check_model(name)


@pytest.mark.smoke
@pytest.mark.parametrize("name", [name for name in MODELS if name not in QUICK and MODELS[name].dims == 2])
def test_every_other_model_takes_odd_sizes_and_trains_whole(name) -> None:
    check_model(name)


@pytest.mark.parametrize("name", ["unet", "efficientnet_unet_aspp_fpn", "plain_unet"])
def test_extra_heads_answer_in_training_only(name) -> None:
    check_heads(name)


@pytest.mark.smoke
@pytest.mark.parametrize(
    "name",
    [
        *("unetplusplus", "manet", "linknet", "fpn", "efficientnet_unet_aspp", "efficientnet_fpn"),
        *("efficientnet_bifpn", "swin_upernet", "swin_segformer", "segformer", "encoder_decoder"),
        *("deconvnet", "segnet", "fc_densenet56"),
    ],
)
def test_every_decoder_with_levels_answers_in_training_only(name) -> None:
    check_heads(name)


def check_heads(name: str) -> None:
    """Deep supervision and the image head: shapes, names, and plain logits in evaluation mode."""
    model = build_model(small_config(name, deep_supervision=True, image_head=True))
    images = torch.randn(2, 4, 70, 45)
    outputs = model(images)
    assert set(outputs) == {"logits", "aux_logits", "image_logits"}
    assert outputs["logits"].shape == (2, 2, 70, 45)
    assert outputs["image_logits"].shape == (2, 2)
    assert outputs["aux_logits"] and all(aux.shape == (2, 2, 70, 45) for aux in outputs["aux_logits"])
    model.eval()
    with torch.no_grad():
        logits, everything = model(images), model.forward_outputs(images)
    assert torch.allclose(logits, everything["logits"], atol=1e-5) and "image_logits" in everything


def test_outputs_without_extra_heads_are_the_logits_alone() -> None:
    model = build_model(small_config("plain_unet")).eval()
    images = torch.randn(1, 4, 20, 33)
    assert not model.has_extra_outputs
    assert list(model.forward_outputs(images)) == ["logits"]
    assert torch.equal(model.forward_outputs(images)["logits"], model(images))


@pytest.mark.parametrize(
    ("name", "in_channels", "n_classes", "expected"),
    [
        ("plain_unet", 3, 1, 31_037_633),  # the usual PyTorch U-Net with batch norm; the paper's: 31.0 M
        ("fc_densenet103", 3, 1, 9_319_521),  # the reference port; the paper: 9.4 M
        ("fc_densenet56", 3, 1, 1_374_865),  # the paper: 1.5 M
        ("lenet", 1, 10, 61_706),
    ],
)
def test_parameters_equal_the_reference_implementations(name, in_channels, n_classes, expected) -> None:
    assert count_on_meta(name, in_channels, n_classes) == expected


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("segnet", 29.4),
        ("deconvnet", 252),
        ("fc_densenet67", 3.5),
        ("deeplab_v1", 20.5),
        ("dilatednet", 134.3),
        ("fcn32s", 134.3),
        ("fcn16s", 134.3),
        ("fcn8s", 134.3),
        ("deeplab_v2", 37.8),
    ],
)
def test_parameters_agree_with_the_papers(name, millions) -> None:
    assert count_on_meta(name, 3, 21) / 1e6 == pytest.approx(millions, rel=0.015)


def count_on_meta(name: str, in_channels: int, n_classes: int) -> int:
    with torch.device("meta"):
        classes = [str(index) for index in range(n_classes)]
        model = build_model(ModelConfig(architecture=name, in_channels=in_channels, classes=classes))
    return count_parameters(model)


def test_fcn_encoder_is_vgg16_without_its_last_layer() -> None:
    with torch.device("meta"):
        model = build_model(ModelConfig(architecture="fcn32s"))
    assert count_parameters(model.encoder) == 138_357_544 - 4_097_000


def test_twins_differ_by_their_skips_only() -> None:
    with torch.device("meta"):
        options = {"channels": [4, 8, 16], "norm": "none"}
        plain = build_model(ModelConfig(architecture="encoder_decoder", options=options))
        unet = build_model(ModelConfig(architecture="plain_unet", options=options))
    plain_shapes = {key: tuple(value.shape) for key, value in plain.state_dict().items()}
    for key, value in unet.state_dict().items():
        widened = tuple(value.shape) != plain_shapes.pop(key)
        assert widened == (key in {"net.convs.0.0.0.weight", "net.convs.1.0.0.weight"})
    assert not plain_shapes


@pytest.mark.parametrize("norm", ["batch", "instance", "group", "none"])
@pytest.mark.parametrize("up", ["bilinear", "transposed"])
def test_twins_take_every_norm_and_upsampling(norm, up) -> None:
    options = {"channels": [4, 8], "norm": norm, "up": up}
    model = build_model(ModelConfig(architecture="plain_unet", options=options))
    assert model(torch.randn(2, 3, 11, 14)).shape == (2, 1, 11, 14)


def test_padding_reflects_or_repeats_and_says_where_the_image_lies() -> None:
    images = torch.arange(2 * 3 * 5 * 9.0).reshape(2, 3, 5, 9)
    padded, (y0, x0, height, width) = pad_to_stride(images, 8)
    assert padded.shape == (2, 3, 8, 16) and (y0, x0, height, width) == (1, 3, 5, 9)
    assert torch.equal(padded[:, :, y0 : y0 + height, x0 : x0 + width], images)
    assert torch.equal(padded[:, :, 0, 3:12], images[:, :, 1])  # reflected, the edge not repeated
    far, window = pad_to_stride(images, 32)
    assert far.shape == (2, 3, 32, 32) and window[2:] == (5, 9)
    assert torch.equal(far[:, :, 0, 11], images[:, :, 0, 0])  # too small to reflect: the edge repeated
    least, _ = pad_to_stride(images, 8, 24)
    assert least.shape == (2, 3, 24, 24)
    same, _ = pad_to_stride(torch.zeros(1, 1, 16, 32), 16)
    assert same.shape == (1, 1, 16, 32)


def test_a_flipped_image_is_seen_as_the_image() -> None:
    """Equal padding on both sides: a model of 1x1 convolutions and pooling answers a flip with the flip."""
    net = torch.nn.Sequential(torch.nn.AvgPool2d(4), torch.nn.Upsample(scale_factor=4), torch.nn.Conv2d(3, 2, 1))
    model = Segmenter(net, 3, 2, stride=8).eval()
    images = torch.randn(1, 3, 10, 14)
    assert torch.allclose(model(images.flip(3)), model(images).flip(3), atol=1e-6)


def test_frozen_encoder_of_the_course() -> None:
    model = build_model(ModelConfig(architecture="unet", encoder="resnext50_32x4d"))
    total = count_parameters(model, trainable=True)
    assert count_parameters(model.encoder, trainable=True) == 22_979_904
    freeze(model, "encoder")
    assert count_parameters(model.encoder, trainable=True) == 0
    assert count_parameters(model, trainable=True) == total - 22_979_904
    assert count_parameters(model) == total
    model.train()
    assert not model.encoder.bn1.training and model.net.decoder.training
    unfreeze(model)
    assert count_parameters(model, trainable=True) == total and model.encoder.bn1.training


def test_frozen_encoder_except_norm_trains_norms_only() -> None:
    model = build_model(ModelConfig(architecture="unet", encoder="resnet18"))
    freeze(model, "encoder_except_norm")
    trainable = [name for name, p in model.encoder.named_parameters() if p.requires_grad]
    assert trainable and all("bn" in name or "downsample.1" in name for name in trainable)
    model.train()
    assert model.encoder.bn1.training


def test_first_stages_are_frozen_in_order() -> None:
    model = build_model(ModelConfig(architecture="unet", encoder="resnet18"))
    freeze(model, 2)
    frozen = {name.split(".")[0] for name, p in model.encoder.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "bn1", "layer1"}
    model.train()
    assert not model.encoder.layer1[0].bn1.training and model.encoder.layer2[0].bn1.training
    freeze(model, 4)
    unfreeze(model)
    assert all(p.requires_grad for p in model.parameters())
    stages = encoder_stages(model.encoder, 3)
    assert [len(stage) for stage in stages] == [3, 12, 15, 15, 15]
    assert model.encoder.bn1.training


def test_what_no_map_uses_is_never_trained() -> None:
    model = build_model(ModelConfig(architecture="smp_pspnet", encoder="resnet18"))
    idle = {name.split(".")[0] for name, p in model.encoder.named_parameters() if not p.requires_grad}
    assert idle == {"layer3", "layer4"}
    freeze(model, "encoder")
    unfreeze(model)
    assert not any(p.requires_grad for p in model.encoder.layer4.parameters())


def test_freeze_errors_say_what_there_is() -> None:
    model = build_model(small_config("plain_unet"))
    with pytest.raises(ValueError, match="expected encoder or encoder_except_norm"):
        freeze(model, "decoder")
    with pytest.raises(ValueError, match="expected 1 to 3, the stages"):
        freeze(model, 4)
    with pytest.raises(ValueError, match="has no encoder"):
        freeze(build_model(small_config("lenet")), "encoder")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": "unett"}, "did you mean unet"),
        ({"architecture": "zzz"}, "expected one of unet"),
        ({"encoder": "resnet1"}, "did you mean"),
        ({"encoder": "timm-resnest14d"}, "'timm-' spelling is gone"),
        ({"encoder": "tu-nothing"}, "not known to timm"),
        ({"options": {"depth": 3}}, "has depth; expected decoder_channels, attention, interpolation"),
        ({"architecture": "segnet", "encoder": "resnet34"}, "an encoder of its own"),
        (
            {"architecture": "unetplusplus", "encoder": "mit_b0"},
            "UnetPlusPlus does not work with encoder 'mit_b0'",
        ),
        ({"architecture": "linknet", "encoder": "mit_b0"}, "Linknet does not work with encoder 'mit_b0'"),
        ({"architecture": "pan", "encoder": "vgg11"}, "PAN does not work with encoder 'vgg11'"),
        ({"architecture": "dpt", "encoder": "resnet34"}, "plain vision transformer"),
        ({"architecture": "segformer", "encoder": "resnet34"}, "takes a Mix Transformer"),
        (
            {"architecture": "deeplab_v3", "encoder": "vgg11"},
            "cannot be built with depth 5 and output stride 16",
        ),
        ({"architecture": "fcn8s", "options": {"deep_supervision": True}}, "no levels to supervise"),
        ({"architecture": "fc_densenet56", "options": {"image_head": 1, "dropout": 0.1, "x": 1}}, "has x"),
        ({"architecture": "efficientnet_unet_aspp_fpn", "options": {"decoder_channels": [8]}}, "expected 4"),
        ({"architecture": "efficientnet_unet_aspp", "options": {"aspp_rates": [0]}}, "each 1 or more"),
        ({"architecture": "efficientnet_bifpn", "options": {"repeats": 0}}, "at least one BiFPN layer"),
        ({"architecture": "pspnet", "encoder": "resnet18", "options": {"bins": []}}, "at least one grid"),
        ({"architecture": "deeplab_v2", "options": {"rates": []}}, "at least one dilation rate"),
        ({"architecture": "plain_unet", "options": {"up": "nearest"}}, "expected transposed or bilinear"),
        ({"architecture": "plain_unet", "options": {"channels": [8]}}, "at least two levels"),
        ({"architecture": "plain_unet", "options": {"norm": "layer", "channels": [4, 8]}}, "expected batch"),
    ],
)
def test_refusals_name_the_value_and_what_was_expected(changes, words) -> None:
    with pytest.raises(ValueError, match=words):
        build_model(ModelConfig(**changes))


def test_image_head_needs_a_deepest_map(monkeypatch) -> None:
    with pytest.raises(ValueError, match="no deepest map"):
        Segmenter(torch.nn.Conv2d(3, 1, 1), 3, 1, stride=1, image_head=True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install transformers"):
        build_model(ModelConfig(architecture="maskformer"))


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_a_hundred_queries_of_maskformer_begin_undecided_and_learn(activation: str) -> None:
    config = small_config("maskformer", queries=100).model_copy(update={"activation": activation})
    model = build_model(config)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(torch.rand(2, 4, 64, 64))
    probability = logits.sigmoid() if activation == "sigmoid" else logits.softmax(1)
    assert torch.isfinite(logits).all() and 0.1 < probability.min() < probability.max() < 0.9
    logits[:, 0].sum().backward()
    gradient = next(p.grad for name, p in model.named_parameters() if "class_predictor" in name)
    assert gradient is not None and gradient.abs().max() > 0


def test_encoder_names_of_both_libraries() -> None:
    assert resolve_encoder("resnet34") == "resnet34"
    assert resolve_encoder("tu-resnet34") == "tu-resnet34"
    assert resolve_encoder(LITE) == f"tu-{LITE}"
    assert isinstance(build_norm("group", 48), torch.nn.GroupNorm)


def test_table_prints_a_line_a_model(capsys) -> None:
    assert set(read_figures()) == set(MODELS)
    main([])
    printed = capsys.readouterr().out
    assert all(f"\n{name} " in printed for name in MODELS)
    assert "not for commercial use" in printed
    main(["--family", "classify"])
    assert "unet" not in capsys.readouterr().out.split("GFLOPs:")[0]
    main(["--options", "unet"])
    assert capsys.readouterr().out.split() == option_names(MODELS["unet"])


def test_printed_figures_are_measured_ones(tmp_path, monkeypatch) -> None:
    kept = read_figures()
    for name in ("unet", "efficientnet_unet_aspp_fpn", "deeplab_v1", "lenet"):
        parameters, gflops = measure(name)
        assert (parameters, gflops) == (kept[name][0], pytest.approx(kept[name][1], rel=0.01))
    monkeypatch.setattr("inference.models.measuring.MODELS", {"lenet": MODELS["lenet"]})
    monkeypatch.setattr("inference.models.__main__.FILE", tmp_path / "figures.json")
    main(["--measure"])
    assert read_figures(tmp_path / "figures.json") == {"lenet": kept["lenet"]}
    assert callable(write_figures)


def test_one_multiply_add_is_two_operations() -> None:
    """A 5x5 convolution by hand: LeNet's layers on 32x32 whatever the image's size."""
    convs = 6 * 28 * 28 * 25 * 3 + 16 * 10 * 10 * 25 * 6 + 120 * 25 * 16
    linear = 120 * 84 + 84
    assert measure("lenet", side=40)[1] == pytest.approx(2 * (convs + linear) / 1e9, rel=1e-3)


@pytest.mark.parametrize("name", ["unet", "plain_unet"])
def test_saved_models_are_built_with_the_network_closed(name, tmp_path, monkeypatch) -> None:
    check_offline(name, tmp_path, monkeypatch)


@pytest.mark.smoke
@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("unet", "plain_unet", "deconvnet")])
def test_every_saved_model_is_built_with_the_network_closed(name, tmp_path, monkeypatch) -> None:
    check_offline(name, tmp_path, monkeypatch)


def check_offline(name: str, folder, monkeypatch) -> None:
    """Whatever the settings say of pretrained weights, a saved model opens no socket."""
    config = small_config(name, in_channels=3)
    saved = build_model(config).eval()
    config.weights = "imagenet"
    save_model(folder, saved, config, InputConfig(), PredictConfig())

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    loaded = load_model(folder)
    images = torch.randn(1, 3, *((8,) if MODELS[name].dims == 3 else ()), 40, 64)
    with torch.no_grad():
        assert torch.equal(loaded.model(images), saved(images))
