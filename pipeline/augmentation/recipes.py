"""Named augmentation recipes: what each does, and why.

A recipe has three parts. `shape` moves image and mask; `colour` sees grey or RGB pictures only; `holes`
comes last, so that what is cut out stays cut out. Mirrored borders: black corners would be learned as
background.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2

from pipeline.augmentation.albumentations_offline import A
from pipeline.augmentation.stains import HEDJitter, StainTransfer

_MIRROR = cv2.BORDER_REFLECT_101


def _nothing(*_: Any) -> list[Any]:
    return []


@dataclass(frozen=True)
class Recipe:
    """Makers of one recipe's transforms; `transfers`: `colour` takes colour statistics as `references`."""

    why: str
    shape: Callable[[tuple[int, int]], list[Any]] = _nothing
    colour: Callable[..., list[Any]] = _nothing
    holes: Callable[[], list[Any]] = _nothing
    transfers: bool = False


def _symmetries(size: tuple[int, int]) -> list[Any]:
    """All eight symmetries of a square patch, the four that keep the size of another."""
    if size[0] == size[1]:
        return [A.SquareSymmetry(p=1.0)]
    return [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)]


def _affine(scale: tuple[float, float], rotate: float, p: float) -> Any:
    return A.Affine(scale=scale, rotate=(-rotate, rotate), balanced_scale=True, border_mode=_MIRROR, p=p)


def _warps(p: float) -> Any:
    """One of: seen from the side, pulled like rubber, squeezed cell by cell."""
    return A.OneOf(
        [
            A.Perspective(scale=(0.03, 0.1), border_mode=_MIRROR, p=1.0),
            A.ElasticTransform(alpha=60, sigma=8, border_mode=_MIRROR, p=1.0),
            A.GridDistortion(num_steps=5, distort_limit=(-0.25, 0.25), border_mode=_MIRROR, p=1.0),
        ],
        p=p,
    )


def _jitter(strength: float, hue: float, p: float) -> Any:
    span = (1 - strength, 1 + strength)
    return A.ColorJitter(brightness=span, contrast=span, saturation=span, hue=(-hue, hue), p=p)


def _holes(p: float, share: float) -> list[Any]:
    side = (share / 2, share)
    return [A.CoarseDropout(num_holes_range=(1, 6), hole_height_range=side, hole_width_range=side, fill=0, p=p)]


def _light_shape(size: tuple[int, int]) -> list[Any]:
    return [*_symmetries(size), _affine((0.8, 1.25), 15, 0.5)]


def _light_colour() -> list[Any]:
    return [_jitter(0.2, 0.03, 0.5)]


def _upright_shape(size: tuple[int, int]) -> list[Any]:
    moved = A.Affine(
        scale=(0.85, 1.15), rotate=(-12, 12), translate_percent=(-0.08, 0.08), shear=(-8, 8), border_mode=_MIRROR, p=0.8
    )
    return [moved]


def _heavy_shape(size: tuple[int, int]) -> list[Any]:
    return [*_symmetries(size), _affine((0.6, 1.6), 45, 0.7), _warps(0.4)]


def _heavy_colour() -> list[Any]:
    return [
        _jitter(0.4, 0.08, 0.7),
        A.RandomGamma(gamma_limit=(60, 160), p=0.3),
        A.OneOf(
            [
                A.GaussianBlur(sigma_limit=(0.3, 2.0), p=1.0),
                A.MotionBlur(blur_limit=(3, 9), p=1.0),
                A.GaussNoise(std_range=(0.01, 0.08), p=1.0),
                A.ImageCompression(quality_range=(30, 90), p=1.0),
                A.Downscale(scale_range=(0.4, 0.8), p=1.0),
            ],
            p=0.4,
        ),
    ]


def _histology_shape(size: tuple[int, int]) -> list[Any]:
    warp = A.OneOf(
        [
            A.ElasticTransform(alpha=50, sigma=8, border_mode=_MIRROR, p=1.0),
            A.GridDistortion(num_steps=5, distort_limit=(-0.2, 0.2), border_mode=_MIRROR, p=1.0),
        ],
        p=0.25,
    )
    return [*_symmetries(size), _affine((0.5, 2.0), 180, 0.7), warp]


def _histology_colour(references: Any = ()) -> list[Any]:
    return [
        StainTransfer(references, p=0.4),
        HEDJitter(scale=0.2, shift=0.04, p=0.6),
        _jitter(0.25, 0.06, 0.5),
        A.OneOf(
            [
                A.GaussianBlur(sigma_limit=(0.3, 2.0), p=1.0),
                A.ImageCompression(quality_range=(30, 95), p=1.0),
                A.Downscale(scale_range=(0.4, 0.8), p=1.0),
                A.GaussNoise(std_range=(0.01, 0.05), p=1.0),
            ],
            p=0.5,
        ),
    ]


def _microscopy_shape(size: tuple[int, int]) -> list[Any]:
    elastic = A.ElasticTransform(alpha=80, sigma=8, border_mode=_MIRROR, p=0.3)
    return [*_symmetries(size), _affine((0.7, 1.4), 45, 0.6), elastic]


def _microscopy_colour() -> list[Any]:
    return [
        A.RandomBrightnessContrast(brightness_limit=0.25, contrast_limit=0.3, p=0.6),
        A.RandomGamma(gamma_limit=(60, 160), p=0.4),
        A.Illumination(p=0.2),
        A.OneOf(
            [
                A.GaussianBlur(sigma_limit=(0.3, 2.0), p=1.0),
                A.GaussNoise(std_range=(0.01, 0.08), p=1.0),
                A.MultiplicativeNoise(multiplier=(0.9, 1.1), elementwise=True, p=1.0),
                A.Downscale(scale_range=(0.5, 0.8), p=1.0),
            ],
            p=0.4,
        ),
        A.InvertImg(p=0.05),
    ]


def _road_shape(size: tuple[int, int]) -> list[Any]:
    perspective = A.Perspective(scale=(0.02, 0.06), border_mode=_MIRROR, p=0.25)
    return [A.HorizontalFlip(p=0.5), _affine((0.75, 2.0), 5, 0.7), perspective]


def _road_colour() -> list[Any]:
    return [
        _jitter(0.35, 0.04, 0.7),
        A.RandomGamma(gamma_limit=(70, 140), p=0.3),
        A.OneOf(
            [
                A.MotionBlur(blur_limit=(3, 9), p=1.0),
                A.GaussNoise(std_range=(0.01, 0.06), p=1.0),
                A.ImageCompression(quality_range=(40, 95), p=1.0),
            ],
            p=0.25,
        ),
    ]


def _domain_shape(size: tuple[int, int]) -> list[Any]:
    return [*_symmetries(size), _affine((0.5, 2.0), 45, 0.8)]


def _domain_colour() -> list[Any]:
    """Every way in which another source may look: each often enough to be learned, seldom enough to leave the own."""
    return [
        A.ColorJitter(brightness=(1, 1), contrast=(1, 1), saturation=(0, 0), hue=(0, 0), p=0.15),  # grey
        A.InvertImg(p=0.15),
        A.ChannelShuffle(p=0.15),
        HEDJitter(scale=0.3, shift=0.06, p=0.3),
        _jitter(0.4, 0.1, 0.6),
        A.RandomGamma(gamma_limit=(50, 200), p=0.3),
        A.GaussianBlur(sigma_limit=(0.3, 3.0), p=0.25),
        A.OneOf(
            [
                A.ImageCompression(quality_range=(20, 90), p=1.0),
                A.GaussNoise(std_range=(0.01, 0.1), p=1.0),
                A.Downscale(scale_range=(0.3, 0.8), p=1.0),
            ],
            p=0.4,
        ),
    ]


RECIPES: dict[str, Recipe] = {
    "none": Recipe("The patch as it is: for a first run, and to see what augmentation is worth."),
    "flips": Recipe("Symmetries only: true wherever nothing says which way is up, and nearly free.", _symmetries),
    "light": Recipe(
        "Symmetries, small turns and sizes, slight colour: the default, for short trainings and much data.",
        _light_shape,
        _light_colour,
    ),
    "upright": Recipe(
        "Never mirrored, hardly turned: digits, letters, signs, whatever a mirror makes something else of.",
        _upright_shape,
        _light_colour,
    ),
    "heavy": Recipe(
        "Strong turns, warps, colours, blur and holes: for small data sets and long trainings.",
        _heavy_shape,
        _heavy_colour,
        partial(_holes, 0.3, 0.2),
    ),
    "histology": Recipe(
        "Stain strength and type vary between laboratories, and between the host's training and hidden sets; "
        "so do scanner, compression and pixel size.",
        _histology_shape,
        _histology_colour,
        partial(_holes, 0.15, 0.15),
        transfers=True,
    ),
    "microscopy": Recipe(
        "Exposure, uneven light, focus and sensor noise vary, cells are soft; colours carry little.",
        _microscopy_shape,
        _microscopy_colour,
    ),
    "domain": Recipe(
        "The test images may come from a source that training does not show: other colours, polarity, magnification, "
        "focus, compression, stain.",
        _domain_shape,
        _domain_colour,
    ),
    "road": Recipe(
        "Up stays up: mirrored left and right, nearer and farther, other light, shake, things in the way.",
        _road_shape,
        _road_colour,
        partial(_holes, 0.2, 0.15),
    ),
}
