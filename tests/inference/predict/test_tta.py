"""Views: inverse after forward is the identity, on inputs that are not square."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inference.config import InputConfig
from inference.predict.tta import build_views
from inference.predict.tta_names import D4, expand_views

CONFIG = InputConfig(offsets=[-1, 0, 1])


def drawn(channels: int = 9, height: int = 6, width: int = 10) -> torch.Tensor:
    return torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", D4)
def test_geometric_views_are_undone_exactly(name: str) -> None:
    (view,) = build_views([name], CONFIG)
    x = drawn()
    assert torch.equal(view.inverse(view.forward(x), (6, 10)), x)


def test_the_eight_views_are_the_eight_symmetries() -> None:
    x = torch.arange(6.0).reshape(1, 1, 2, 3)
    shown = {
        tuple(view.forward(x).reshape(-1).tolist()) + tuple(view.forward(x).shape)
        for view in build_views(["d4"], CONFIG)
    }
    image = x[0, 0].numpy()
    expected = set()
    for turned in (np.rot90(image, k) for k in range(4)):
        for one in (turned, turned[:, ::-1]):
            expected.add((*one.reshape(-1).tolist(), 1, 1, *one.shape))
    assert shown == expected
    assert len(shown) == 8


@pytest.mark.parametrize("factor", [0.5, 0.75, 1.0, 1.3, 2.0])
def test_scaled_views_come_back_at_their_size(factor: float) -> None:
    (view,) = build_views([f"scale:{factor}"], CONFIG)
    flat = torch.full((1, 9, 24, 40), 0.3)
    torch.testing.assert_close(view.inverse(view.forward(flat), (24, 40)), flat)
    ramp = torch.linspace(0, 1, 40).expand(1, 9, 24, 40)
    back = view.inverse(view.forward(ramp), (24, 40))
    torch.testing.assert_close(back[..., 4:-4], ramp[..., 4:-4], atol=5e-3, rtol=0)


def test_zflip_turns_the_slices_round() -> None:
    (view,) = build_views(["zflip"], CONFIG)
    x = drawn()
    assert torch.equal(view.forward(x)[:, :3], x[:, 6:])
    assert torch.equal(view.forward(view.forward(x)), x)
    assert torch.equal(view.inverse(x, (6, 10)), x)


def test_brightness_adds_a_share_of_the_value_range() -> None:
    (view,) = build_views(["brightness:0.1"], CONFIG)
    x = drawn()
    expected = x + 0.1 / torch.tensor(CONFIG.std * 3).reshape(1, -1, 1, 1)
    torch.testing.assert_close(view.forward(x), expected)
    (view,) = build_views(["brightness:-0.2"], InputConfig(normalisation="image"))
    torch.testing.assert_close(view.forward(x[:, :3]), x[:, :3] - 0.2)


def test_stain_changes_the_stains_it_names() -> None:
    config = InputConfig()
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (config.mean, config.std))
    haematoxylin = torch.exp(-0.8 * torch.tensor([0.650, 0.704, 0.286])).reshape(1, 3, 1, 1).expand(1, 3, 4, 5)
    (view,) = build_views(["stain:0.2"], config)
    changed = view.forward((haematoxylin - mean) / std) * std + mean
    torch.testing.assert_close(changed, haematoxylin**1.2, atol=1e-4, rtol=0)
    (nothing,) = build_views(["stain:0"], config)
    shown = (torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(1)) * 0.9 + 0.05 - mean) / std
    torch.testing.assert_close(nothing.forward(shown), shown, atol=1e-4, rtol=0)


def test_d4_expands_and_nothing_counts_twice() -> None:
    assert expand_views(["hflip", "d4", "identity"]) == ["hflip", *(name for name in D4 if name != "hflip")]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mirror", "view 'mirror' is not known, expected one of identity"),
        ("scale:big", "needs a number after the colon"),
        ("scale", "needs a number after the colon"),
        ("hflip:", "is not known, expected one of"),
        ("zflip+d4", "is not known, expected one of"),
        ("zflip+mirrors", "is not known, expected one of"),
        ("scale:0", "out of range, expected a factor"),
        ("brightness:2", "out of range, expected -1 to 1"),
        ("stain:1", "out of range, expected a share"),
    ],
)
def test_bad_views_are_named(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_views([name], CONFIG)


def test_views_that_do_not_fit_the_input_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'zflip' needs input\.offsets"):
        build_views(["zflip"], InputConfig(offsets=[0, 1]))
    with pytest.raises(ValueError, match="'stain' needs three channels"):
        build_views(["stain:0.1"], InputConfig(normalisation="image"))
