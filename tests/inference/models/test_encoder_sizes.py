"""A small member of every family of encoders that is named, built and run at a size it was not made for."""

from __future__ import annotations

import copy

import pytest
import torch

from inference.config import ModelConfig
from inference.models import build_model
from inference.models.__main__ import main
from inference.models.encoder_sizes import FAMILIES, refuse_fixed_size

RUN = [name for name, family in FAMILIES.items() if family.networks]
PAIRS = [(name, network) for name in RUN for network in FAMILIES[name].networks]
FIRST = [(name, FAMILIES[name].networks[0]) for name in RUN]


def check(name: str, network: str) -> None:
    """Odd sizes, two of them in turn."""
    model = build_model(ModelConfig(architecture=network, encoder=FAMILIES[name].member, classes=["one", "two"]))
    with torch.no_grad():
        for size in ((70, 45), (41, 100)):
            expected = (1, 2) if network == "timm_classifier" else (1, 2, *size)
            logits = model.eval()(torch.randn(1, 3, *size))
            assert logits.shape == expected and torch.isfinite(logits).all()


@pytest.mark.parametrize(("name", "network"), FIRST)
def test_a_member_of_each_family_sees_any_size(name: str, network: str) -> None:
    check(name, network)


@pytest.mark.smoke
@pytest.mark.parametrize(("name", "network"), [pair for pair in PAIRS if pair not in FIRST])
def test_every_network_of_the_table_of_families(name: str, network: str) -> None:
    check(name, network)


def test_a_copied_encoder_is_told_its_own_sizes() -> None:
    model = build_model(ModelConfig(architecture="fpn", encoder="coat_lite_tiny")).eval()
    twin = copy.deepcopy(model)
    images = torch.randn(1, 3, 40, 70)
    with torch.no_grad():
        expected = model(images)
        twin(torch.randn(1, 3, 64, 32))
        assert torch.equal(model(images), expected) and torch.equal(twin(images), expected)


@pytest.mark.parametrize("name", ["hiera_tiny_224", "coatnet_0_rw_224", "efficientvit_m0"])
def test_encoders_of_one_size_are_refused_with_a_sentence(name: str) -> None:
    for network in ("unet", "timm_classifier"):
        with pytest.raises(ValueError, match=r"does not take images of any size.*take (sam2|maxvit|efficientvit)"):
            build_model(ModelConfig(architecture=network, encoder=name))
    refuse_fixed_size("sam2_hiera_tiny")


def test_a_plain_transformer_in_a_decoder_of_many_scales_is_pointed_to_dpt() -> None:
    with pytest.raises(ValueError, match="which dpt takes"):
        build_model(ModelConfig(architecture="unet", encoder="vit_small_patch14_dinov2"))


def test_the_printed_table_names_every_family(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    shown = capsys.readouterr().out
    assert all(family.member in shown for family in FAMILIES.values())
