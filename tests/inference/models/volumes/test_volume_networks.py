"""3D networks: any size, parameter counts of nnU-Net's and MONAI's code, deep supervision, inflated filters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from inference.config import ModelConfig
from inference.models import MODELS, build_model
from inference.models.freezing import count_parameters
from inference.models.pretrained import fill_encoder
from inference.models.volumes.blocks import Conv3d
from inference.models.volumes.inflated import inflate
from inference.models.volumes.segmenter import VolumeSegmenter, pad_volume

SMALL: dict[str, dict[str, Any]] = {
    "unet3d": {"features": [4, 8, 12], "strides": [1, [1, 2, 2], 2], "depths": [1, 1, 1], "kernels": [[1, 3, 3], 3, 3]},
    "resenc_unet3d": {"features": [4, 8, 12], "strides": [1, [1, 2, 2], 2], "depths": [1, 2, 1]},
    "segresnet": {"width": 8, "down": [1, 1, 1], "up": [1, 1]},
    "inflated_unet": {"decoder_channels": [16, 8, 8, 8]},
    "sliced_encoder_unet": {"decoder_channels": [16, 8, 8, 8]},
}
ENCODERS = {"inflated_unet": "resnet18", "sliced_encoder_unet": "tf_efficientnet_lite0"}
COUNTED = {
    # name: parameters with 1 channel, 2 classes, deep supervision, as dynamic-network-architectures 0.4.4 counts them
    "unet3d": 31_195_594,
    "resenc_unet3d": 102_349_770,
}


def small(name: str, **options: Any) -> VolumeSegmenter:
    config = ModelConfig(
        architecture=name, encoder=ENCODERS.get(name, ModelConfig().encoder), in_channels=2, classes=["one", "two"],
        options={**SMALL[name], **options},
    )  # fmt: skip
    model = build_model(config)
    assert isinstance(model, VolumeSegmenter)
    return model


def test_every_row_of_three_dimensions_is_tried_here() -> None:
    assert set(SMALL) == {name for name, row in MODELS.items() if row.dims == 3}


@pytest.mark.parametrize("name", list(SMALL))
def test_any_size_comes_out_as_it_went_in_and_everything_learns(name: str) -> None:
    model = small(name)
    logits = model(torch.randn(1, 2, 7, 37, 18))
    assert logits.shape == (1, 2, 7, 37, 18)
    logits.square().sum().backward()
    idle = [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not idle, "DDP would wait for these"
    with torch.no_grad():
        assert model.eval()(torch.randn(2, 2, 1, 5, 9)).shape == (2, 2, 1, 5, 9)
        halved = model.to(torch.bfloat16)(torch.randn(2, 2, 4, 5, 9, dtype=torch.bfloat16))
    assert halved.dtype == torch.bfloat16 and torch.isfinite(halved).all()


@pytest.mark.parametrize("name", list(SMALL))
def test_deep_supervision_speaks_in_training_only(name: str) -> None:
    model = small(name, deep_supervision=True)
    outputs = model(torch.randn(1, 2, 8, 20, 18))
    assert outputs["logits"].shape == (1, 2, 8, 20, 18) and outputs["aux_logits"]
    assert all(aux.shape == (1, 2, 8, 20, 18) for aux in outputs["aux_logits"])
    with torch.no_grad():
        assert isinstance(model.eval()(torch.randn(1, 2, 8, 20, 18)), torch.Tensor)
    with pytest.raises(ValueError, match="image_head; expected"):
        small(name, image_head=True)


@pytest.mark.parametrize("name", list(COUNTED))
def test_parameters_are_nnunets(name: str) -> None:
    options = {"deep_supervision": True}
    config = ModelConfig(architecture=name, in_channels=1, classes=["a", "b"], options=options)
    with torch.device("meta"):
        assert count_parameters(build_model(config)) == COUNTED[name]


def test_parameters_are_those_of_the_published_code() -> None:
    unet = pytest.importorskip("dynamic_network_architectures.architectures.unet")
    strides = [[1, 1, 1], [1, 2, 2], [2, 2, 2]]
    common = {
        "input_channels": 2, "n_stages": 3, "features_per_stage": [4, 8, 12], "conv_op": nn.Conv3d, "strides": strides,
        "kernel_sizes": [3, 3, 3], "num_classes": 2, "conv_bias": True, "norm_op": nn.InstanceNorm3d,
        "norm_op_kwargs": {"affine": True}, "nonlin": nn.LeakyReLU, "deep_supervision": True,
    }  # fmt: skip
    theirs = unet.ResidualEncoderUNet(n_blocks_per_stage=[1, 2, 1], n_conv_per_stage_decoder=[1, 1], **common)
    assert count_parameters(theirs) == count_parameters(small("resenc_unet3d", deep_supervision=True))
    plain = unet.PlainConvUNet(n_conv_per_stage=[2, 2, 2], n_conv_per_stage_decoder=[2, 2], **common)
    ours = small("unet3d", depths=[2, 2, 2], kernels=None, deep_supervision=True)
    assert count_parameters(plain) == count_parameters(ours)


def test_segresnet_has_the_parameters_of_monais() -> None:
    nets = pytest.importorskip("monai.networks.nets")
    ours = small("segresnet").eval()
    theirs = nets.SegResNet(3, 8, 2, 2, blocks_down=(1, 1, 1), blocks_up=(1, 1)).eval()
    assert count_parameters(ours) == count_parameters(theirs)


def test_equal_slices_give_in_3d_what_a_slice_gives_in_2d() -> None:
    torch.manual_seed(0)
    flat = nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2)).eval()
    slices = torch.randn(1, 2, 11, 14)
    expected = flat(slices)
    deep = inflate(flat, halve_depth=False)
    volume = slices[:, :, None].expand(-1, -1, 5, -1, -1)
    torch.testing.assert_close(deep(volume)[:, :, 2], expected)


def test_2d_weights_fill_an_inflated_encoder() -> None:
    model = small("inflated_unet")
    flat = build_model(ModelConfig(architecture="unet", encoder="resnet18", in_channels=3)).encoder
    assert flat is not None and model.encoder is not None
    fill_encoder(model.encoder, flat.state_dict(), origin="drawn")
    first = model.encoder.get_submodule("conv1").weight  # 2 channels of 7 x 7 x 7
    wanted = flat.get_submodule("conv1").weight.mean(1, keepdim=True).repeat(1, 2, 1, 1) * 1.5
    torch.testing.assert_close(first.sum(2), wanted)
    torch.testing.assert_close(model.encoder.layer1[0].conv1.weight.sum(2), flat.layer1[0].conv1.weight)


def test_padding_surrounds_a_volume_and_is_cut_off_again() -> None:
    volume = torch.arange(2 * 3 * 5, dtype=torch.float32).reshape(1, 1, 2, 3, 5)
    padded, window = pad_volume(volume, (2, 4, 4))
    assert padded.shape == (1, 1, 2, 4, 8)
    assert torch.equal(padded[(slice(None), slice(None), *window)], volume)
    assert pad_volume(torch.zeros(1, 1, 3, 4, 4), (4, 4, 4))[0].shape == (1, 1, 4, 4, 8)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("unet3d", {"features": [4]}, "expected one each a stage"),
        ("unet3d", {"strides": [1, 2]}, r"strides \[1, 2\]: expected 3"),
        ("unet3d", {"kernels": [3, 3, [0, 1, 1]]}, "kernels"),
        ("segresnet", {"width": 12}, "expected a multiple of 8"),
        ("sliced_encoder_unet", {"decoder_channels": [8]}, "expected 4, one a map"),
        ("inflated_unet", {"decoder_channels": [8]}, "expected 4, one a map"),
    ],
)
def test_wrong_options_are_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(name, **options)


def test_an_encoder_that_reckons_in_two_dimensions_is_refused() -> None:
    for encoder, layer in (("convnext_atto", "LayerNorm2d"), ("tf_efficientnet_lite0", "Conv2dSame")):
        with pytest.raises(ValueError, match=f"cannot be inflated to 3D: its layer {layer}"):
            build_model(ModelConfig(architecture="inflated_unet", encoder=encoder))
    with pytest.raises(ValueError, match="pad by 'same'"):
        inflate(nn.Conv2d(1, 1, 3, padding="same"))
    with pytest.raises(ValueError, match="no levels to supervise"):
        small("unet3d", features=[4, 8], strides=[1, 2], depths=[1, 1], kernels=None, deep_supervision=True)


@pytest.mark.parametrize(("kernel", "depth"), [(3, 2), (3, 1), (3, 3), (5, 2), (5, 4)])
def test_thin_maps_are_learned_from_in_bf16(kernel: int, depth: int) -> None:
    torch.manual_seed(0)
    conv = Conv3d(8, 16, (kernel, 3, 1), (1, 2, 1), padding=(kernel // 2, 1, 0))
    x, gradients, shown = torch.randn(2, 8, depth, 7, 6), [], []
    for half in (False, True):
        conv.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            made = conv(x)
        shown.append(made.float())
        (made.float() * torch.linspace(0, 1, made.numel()).reshape(made.shape)).sum().backward()
        gradients.append(conv.weight.grad.clone())
    torch.testing.assert_close(shown[1], shown[0], atol=0.03, rtol=0.03)
    assert float((gradients[1] - gradients[0]).abs().max()) < 0.03 * float(gradients[0].abs().max())
