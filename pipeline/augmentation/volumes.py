"""Augmentation of volumes: one resampling for rotation, scale and elastic warp, then what scanners do to intensities.

The transforms and their odds are nnU-Net's (Isensee et al. 2021, arXiv:1809.10486, supplement). They are written here
in torch because one pass through the volume does the work of three, and because every draw comes from one generator;
`benchmarks/volume_augmentation.py` holds them against batchgeneratorsv2, MONAI and TorchIO.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor

ANISOTROPIC = 3.0  # a patch so many times thinner than it is wide is turned in its plane only (nnU-Net's rule)
CELL = 16  # voxels between the nodes of an elastic warp


@dataclass(frozen=True)
class VolumeRecipe:
    """Odds and ranges of one recipe; an odd of 0 leaves a transform out.

    rotate: largest angle in degrees about each axis; zoom: range of sizes; elastic: largest displacement of a node in
    voxels; gamma, contrast, noise, blur, low resolution: odds, their ranges are nnU-Net's.
    """

    why: str
    mirror: bool = False
    spatial: float = 0.0
    rotate: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    warp: float = 0.0
    elastic: float = 0.0
    gamma: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    low_resolution: float = 0.0


VOLUME_RECIPES: dict[str, VolumeRecipe] = {
    "none": VolumeRecipe("The patch as it is: for a first run, and to see what augmentation is worth."),
    "flips": VolumeRecipe("Mirrored along each axis: true wherever left and right are alike, and nearly free.", True),
    "light": VolumeRecipe(
        "Mirrors, small turns and sizes, brightness: the default, for short trainings.", True, spatial=0.3, rotate=15,
        zoom=(0.8, 1.25), contrast=0.15, gamma=0.15, noise=0.1,
    ),
    "heavy": VolumeRecipe(
        "nnU-Net's odds with an elastic warp: for small data sets and long trainings.", True, spatial=0.4, rotate=30,
        zoom=(0.7, 1.4), warp=0.2, elastic=4, contrast=0.3, gamma=0.3, noise=0.1, blur=0.2, low_resolution=0.25,
    ),
}  # fmt: skip


class VolumeAugmentation:
    """A recipe ready for patches of one size: `augment(image, target, seed)` returns both, changed alike.

    image: float32 (C, D, H, W), normalised; target: uint8 label (D, H, W) or planes (K, D, H, W), which never gets a
    value that it did not have. spacing: distance of voxels along (z, y, x), so that turned things keep their shape.
    """

    def __init__(self, recipe: str) -> None:
        if recipe not in VOLUME_RECIPES:
            known = ", ".join(VOLUME_RECIPES)
            raise ValueError(f"augment.recipe {recipe!r} is for images; volumes have {known}")
        self.recipe = VOLUME_RECIPES[recipe]

    def __call__(
        self, image: np.ndarray, target: np.ndarray, seed: int, *, spacing: Sequence[float] = (1.0, 1.0, 1.0)
    ) -> tuple[np.ndarray, np.ndarray]:
        """Both changed by what `seed` draws."""
        generator = torch.Generator().manual_seed(seed)
        pixels, planes = torch.from_numpy(image), torch.from_numpy(target)
        labels = planes if planes.ndim == 4 else planes[None]
        pixels, labels = self._move(pixels, labels, generator, spacing)
        pixels = self._recolour(pixels, generator)
        moved = labels if planes.ndim == 4 else labels[0]
        return np.ascontiguousarray(pixels.numpy()), np.ascontiguousarray(moved.numpy())

    def _move(
        self, pixels: Tensor, labels: Tensor, generator: torch.Generator, spacing: Sequence[float]
    ) -> tuple[Tensor, Tensor]:
        recipe, size = self.recipe, pixels.shape[-3:]
        turned, warped = _draw(generator) < recipe.spatial, _draw(generator) < recipe.warp
        if turned or warped:
            matrix = _matrix(recipe, size, spacing, generator) if turned else torch.eye(3)
            grid = F.affine_grid(torch.cat([matrix, torch.zeros(3, 1)], 1)[None], [1, 1, *size], align_corners=False)
            if warped:
                grid = grid + _warp(recipe.elastic, size, generator)
            pixels = F.grid_sample(pixels[None], grid, "bilinear", "reflection", align_corners=False)[0]
            moved = F.grid_sample(labels[None].float(), grid, "nearest", "reflection", align_corners=False)[0]
            labels = moved.to(labels.dtype)
        axes = [axis for axis in (-3, -2, -1) if _draw(generator) < 0.5] if recipe.mirror else []
        return (pixels.flip(axes), labels.flip(axes)) if axes else (pixels, labels)

    def _recolour(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        recipe = self.recipe
        if _draw(generator) < recipe.noise:
            pixels = pixels + torch.randn(pixels.shape, generator=generator) * _between(0, 0.3, generator)
        if _draw(generator) < recipe.blur:
            sigma = _between(0.5, 1.0, generator)
            pixels = torch.from_numpy(gaussian_filter(pixels.numpy(), (0, sigma, sigma, sigma), mode="nearest"))
        if _draw(generator) < recipe.contrast:
            mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
            pixels = (pixels - mean) * _between(0.75, 1.25, generator) + mean * _between(0.75, 1.25, generator)
        if _draw(generator) < recipe.low_resolution:
            pixels = _coarsen(pixels, _between(0.5, 1.0, generator))
        if _draw(generator) < recipe.gamma:
            pixels = _gamma(pixels, _between(0.7, 1.5, generator))
        return pixels


def _draw(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))


def _between(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * _draw(generator)


def in_plane_only(size: Sequence[int]) -> bool:
    """Whether a patch is so thin that it is turned, warped and coarsened in its planes alone."""
    return size[0] * ANISOTROPIC <= max(size[1:])


def _matrix(recipe: VolumeRecipe, size: Sequence[int], spacing: Sequence[float], generator: torch.Generator) -> Tensor:
    """(3, 3) in grid_sample's coordinates (x, y, z in [-1, 1]): rotation and scale in millimetres about the centre."""
    angles = [_between(-recipe.rotate, recipe.rotate, generator) for _ in range(3)]
    zoom = _between(*recipe.zoom, generator)
    flat = in_plane_only(size)
    turn = torch.eye(3)
    for axis, angle in enumerate(angles):
        if flat and axis > 0:
            continue
        one, other = [a for a in range(3) if a != axis]
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        part = torch.eye(3)
        part[one, one], part[one, other], part[other, one], part[other, other] = c, -s, s, c
        turn = turn @ part
    sizes = torch.tensor([1.0 if flat else 1 / zoom, 1 / zoom, 1 / zoom])
    unit = torch.tensor([float(step) for step in spacing])
    half = torch.tensor([float(side) for side in size]) / 2
    voxels = (turn * sizes) * unit / unit[:, None]  # the change of offsets in voxels, (z, y, x)
    return (voxels * half / half[:, None]).flip(0, 1)


def _warp(magnitude: float, size: Sequence[int], generator: torch.Generator) -> Tensor:
    """(1, D, H, W, 3) displacements in grid_sample's coordinates, smooth between nodes CELL voxels apart."""
    nodes = [max(2, -(-side // CELL) + 1) for side in size]
    coarse = (torch.rand((1, 3, *nodes), generator=generator) * 2 - 1) * magnitude
    if in_plane_only(size):
        coarse[:, 0] = 0
    fine = F.interpolate(coarse, size=list(size), mode="trilinear", align_corners=True)
    half = torch.tensor([float(side) for side in size]).reshape(1, 3, 1, 1, 1) / 2
    return (fine / half).permute(0, 2, 3, 4, 1).flip(-1)


def _coarsen(pixels: Tensor, zoom: float) -> Tensor:
    """Sampled at fewer voxels and brought back, as a scanner of lower resolution shows it."""
    size = list(pixels.shape[-3:])
    keep = in_plane_only(size)
    small = [side if keep and axis == 0 else max(1, round(side * zoom)) for axis, side in enumerate(size)]
    coarse = F.interpolate(pixels[None], size=small, mode="nearest-exact")  # "nearest" would move it
    return F.interpolate(coarse, size=size, mode="trilinear", align_corners=False)[0]


def _gamma(pixels: Tensor, gamma: float) -> Tensor:
    """Values within their range to the power gamma; mean and standard deviation stay what they were."""
    low, high = pixels.amin(), pixels.amax()
    span = (high - low).clamp(min=1e-7)
    bent = ((pixels - low) / span) ** gamma
    return (bent - bent.mean()) / bent.std().clamp(min=1e-7) * pixels.std() + pixels.mean()
