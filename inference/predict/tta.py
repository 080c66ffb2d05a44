"""Test-time augmentation (TTA): what a model sees instead of a tile, and the inverse that brings its output back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from inference.config import InputConfig
from inference.predict.shifts import STAINS
from inference.predict.tta_names import SETS, expand_views

Change = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class View:
    """One TTA view: `forward` changes the normalised input `(N, C, [d,] h, w)`, `inverse` brings `(N, K, ...)` back.

    `inverse` takes the height and width of the unchanged tile as its second argument.
    """

    name: str
    forward: Change
    inverse: Callable[[torch.Tensor, tuple[int, int]], torch.Tensor]


def _identity(x: torch.Tensor) -> torch.Tensor:
    return x


def _transpose(x: torch.Tensor) -> torch.Tensor:
    return x.transpose(-2, -1)


def _antitranspose(x: torch.Tensor) -> torch.Tensor:
    return x.flip(-2, -1).transpose(-2, -1)


def _turn(quarters: int) -> Change:
    return lambda x: torch.rot90(x, quarters, (-2, -1))


def _flip(dim: int) -> Change:
    return lambda x: x.flip(dim)


GEOMETRIC: dict[str, tuple[Change, Change]] = {
    "identity": (_identity, _identity),
    "hflip": (_flip(-1), _flip(-1)),
    "vflip": (_flip(-2), _flip(-2)),
    "rot90": (_turn(1), _turn(-1)),
    "rot180": (_turn(2), _turn(2)),
    "rot270": (_turn(-1), _turn(1)),
    "transpose": (_transpose, _transpose),
    "antitranspose": (_antitranspose, _antitranspose),
}


def build_views(names: Sequence[str], config: InputConfig) -> list[View]:
    """Make the views of `names` for inputs of `config`.

    Names: those of D4 ("identity", "hflip", "vflip", "rot90", "rot180", "rot270", "transpose",
    "antitranspose"), "d4" for all eight, "zflip" (order of the slices of a 2.5D input or of a volume turned round),
    "zflip+NAME" with one of these, "mirrors" for the eight of a volume,
    "scale:F" (tile resized by F), "brightness:D" (D of the value range added; of the standard deviation
    under "image" normalisation), "stain:D" (haematoxylin times 1 + D, eosin times 1 - D; RGB with fixed
    normalisation only). Raises ValueError for another name or value.
    """
    return [_build(name, config) for name in expand_views(names)]


def _build(name: str, config: InputConfig) -> View:
    if name in GEOMETRIC:
        forward, inverse = GEOMETRIC[name]
        return View(name, forward, lambda y, size: inverse(y))
    if name.startswith("zflip+"):
        first, second = _build("zflip", config), _build(name.removeprefix("zflip+"), config)
        return View(
            name, lambda x: second.forward(first.forward(x)),
            lambda y, size: first.inverse(second.inverse(y, size), size),
        )  # fmt: skip
    kind, _, text = name.partition(":")
    if name == "zflip" and config.dims == 3:
        return View(name, _flip(-3), lambda y, size: y.flip(-3))
    if name == "zflip":
        if sorted(config.offsets) != sorted(-offset for offset in config.offsets):
            raise ValueError(
                f"view 'zflip' needs input.offsets that are symmetric about 0, found {config.offsets}; leave it out"
            )
        return View(name, _zflip(config), lambda y, size: y)
    makers: dict[str, Callable[[float, InputConfig], Change]] = {
        "scale": _scale,
        "brightness": _brightness,
        "stain": _stain,
    }
    if kind not in makers:
        known = ", ".join([*GEOMETRIC, *SETS, "zflip", "zflip+NAME", *(f"{maker}:NUMBER" for maker in makers)])
        raise ValueError(f"view {name!r} is not known, expected one of {known}")
    if config.dims == 3 and kind != "brightness":
        raise ValueError(f"view {name!r} is for images; volumes have mirrors, quarter turns and brightness:NUMBER")
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"view {name!r} needs a number after the colon, as in '{kind}:0.75'") from None
    return View(name, makers[kind](value, config), _resize if kind == "scale" else lambda y, size: y)


def _zflip(config: InputConfig) -> Change:
    order = [config.offsets.index(-offset) for offset in config.offsets]
    channels = [slice_ * config.channels + c for slice_ in order for c in range(config.channels)]
    return lambda x: x[:, channels]


def _resize(y: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    if tuple(y.shape[2:]) == size:
        return y
    shrinks = size[0] < y.shape[2]
    return functional.interpolate(y.float(), size=size, mode="bilinear", align_corners=False, antialias=shrinks)


def _scale(factor: float, config: InputConfig) -> Change:
    if not 0.1 <= factor <= 10:
        raise ValueError(f"view 'scale:{factor:g}' is out of range, expected a factor from 0.1 to 10")

    def forward(x: torch.Tensor) -> torch.Tensor:
        size = (max(1, round(x.shape[2] * factor)), max(1, round(x.shape[3] * factor)))
        return _resize(x, size).to(x.dtype)

    return forward


def _brightness(amount: float, config: InputConfig) -> Change:
    if not -1 <= amount <= 1:
        raise ValueError(f"view 'brightness:{amount:g}' is out of range, expected -1 to 1 of the value range")
    std = [1.0] if config.normalisation == "image" else config.std
    shift = torch.tensor(std).reciprocal().mul(amount).expand(config.channels).repeat(len(config.offsets))
    return lambda x: x + shift.to(x).reshape(1, -1, *(1,) * (x.ndim - 2))


def _stain(amount: float, config: InputConfig) -> Change:
    if not -1 < amount < 1:
        raise ValueError(f"view 'stain:{amount:g}' is out of range, expected a share between -1 and 1")
    if config.channels != 3 or config.normalisation != "fixed":
        raise ValueError(
            "view 'stain' needs three channels (RGB) with fixed normalisation; leave it out of predict.views"
        )
    stains = torch.tensor(STAINS, dtype=torch.float64)
    factors = torch.tensor([1 + amount, 1 - amount, 1.0], dtype=torch.float64)
    change = (torch.linalg.inv(stains) @ torch.diag(factors) @ stains).float()
    mean = torch.tensor(config.mean).expand(3).reshape(1, 3, 1, 1)
    std = torch.tensor(config.std).expand(3).reshape(1, 3, 1, 1)

    def forward(x: torch.Tensor) -> torch.Tensor:
        slices = x.float().reshape(-1, 3, *x.shape[2:])
        values = (slices * std.to(slices) + mean.to(slices)).clamp(1 / 255, 1)
        density = torch.einsum("nchw,cd->ndhw", -values.log(), change.to(slices))
        stained = (-density).exp().clamp(0, 1)
        return ((stained - mean.to(slices)) / std.to(slices)).reshape(x.shape).to(x.dtype)

    return forward
