"""Stains of histology: varied in strength, exchanged for one another, matched to reference pictures.

Light that passes a stained section is absorbed: optical density (OD), the negative logarithm of what
remains, is a sum of the stains' colours weighted by their amounts (Ruifrok and Johnston, Anal Quant Cytol
Histol 23, 2001). The colours below are those of that paper, but for the eosin of stain exchange (Macenko et
al., ISBI 2009).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from pipeline.augmentation.albumentations_offline import A

# OD in red, green, blue of the counterstain and of what marks the tissue
HAEMATOXYLIN = (0.650, 0.704, 0.286)
SECOND_STAINS = {"eosin": (0.216, 0.801, 0.558), "pas": (0.175, 0.972, 0.155), "dab": (0.268, 0.570, 0.776)}
HED_EOSIN = (0.072, 0.990, 0.105)
_SAMPLE = 4096  # pixels that are enough to tell a stain
_DARKEST = 1 / 256
_STAINED = 0.15  # OD in every channel of a pixel that counts as stained
_ALIKE = 0.995  # cosine between two stains above which a picture has only one


@lru_cache(maxsize=8)
def stain_matrix(second: str) -> np.ndarray:
    """OD colours, float32 (2, 3) of length 1: haematoxylin and a second stain by name."""
    rows = np.array([HAEMATOXYLIN, SECOND_STAINS[second]], np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _density(image: np.ndarray) -> np.ndarray:
    """OD, float32 (h, w, 3), of RGB uint8 or float32 in [0, 1]."""
    if image.dtype == np.uint8:
        table = -np.log((np.arange(256, dtype=np.float32) + 1) / 256)
        return table[image]
    return -np.log(np.clip(image, _DARKEST, 1))


def _light(density: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """RGB of an OD, in the dtype it came from."""
    light = np.exp(-np.maximum(density, 0))
    if dtype == np.uint8:
        return np.clip(np.rint(light * 256 - 1), 0, 255).astype(np.uint8)
    return np.clip(light, 0, 1).astype(np.float32)


def vary_stains(image: np.ndarray, factors: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Scale and shift the amounts of haematoxylin, eosin and DAB by (3,) factors and (3,) shifts.

    image: (h, w, 3) uint8 or float32 in [0, 1]. The HED variation of Tellez et al., Med Image Anal 58, 2019.
    """
    colours = np.array([HAEMATOXYLIN, HED_EOSIN, SECOND_STAINS["dab"]])
    colours /= np.linalg.norm(colours, axis=1, keepdims=True)
    change = np.linalg.inv(colours) @ np.diag(factors) @ colours
    density = _density(image) @ change.astype(np.float32) + (shifts @ colours).astype(np.float32)
    return _light(density, image.dtype)


def estimate_stains(image: np.ndarray) -> np.ndarray | None:
    """OD colours of a picture's two stains, float32 (2, 3) of length 1, haematoxylin first; None if blank.

    The stained pixels' densities lie in a plane between two directions, one for each stain alone; these are
    the extreme angles in the plane of the two main axes (Macenko et al., ISBI 2009).
    """
    pixels = image.reshape(-1, 1, 3)
    density = _density(pixels[:: max(1, len(pixels) // _SAMPLE)])[:, 0]
    stained = density[(density > _STAINED).all(axis=1)]
    if len(stained) < 50:
        return None
    axes = np.linalg.eigh(np.cov(stained.T))[1][:, :0:-1].T  # of the largest and second largest spread
    axes = axes * np.where(axes.sum(axis=1, keepdims=True) < 0, -1, 1)
    first, second = axes.astype(np.float32) @ stained.T
    angles = np.percentile(np.arctan2(second, first), (1, 99))
    found = np.stack([np.cos(angles), np.sin(angles)], axis=1) @ axes
    found = np.maximum(found, 0.01)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    own = found @ np.array(HAEMATOXYLIN)
    rest = found @ np.array(list(SECOND_STAINS.values())).T
    order = np.argsort(-(own - rest.max(axis=1)))
    return found[order].astype(np.float32)


def exchange_stain(image: np.ndarray, target: str) -> np.ndarray:
    """Show a picture (h, w, 3) as if its second stain were another: 'eosin', 'pas' or 'dab'.

    The picture's own stains are estimated; their amounts, and what they do not explain, stay. A picture with
    hardly any stain comes back as it is. Raises ValueError for an unknown name.
    """
    if target not in SECOND_STAINS:
        raise ValueError(f"stain {target!r} is unknown, expected one of {', '.join(SECOND_STAINS)}")
    own = estimate_stains(image)
    if own is None or abs(float(own[0] @ own[1])) > _ALIKE:
        return image
    change = np.eye(3, dtype=np.float32) + np.linalg.pinv(own) @ (stain_matrix(target) - own)
    return _light(_density(image) @ change.astype(np.float32), image.dtype)


@dataclass(frozen=True)
class ColourStatistics:
    """Mean and standard deviation of the three channels of CIE Lab, L in 0..100."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def _lab(image: np.ndarray) -> np.ndarray:
    scaled = image.astype(np.float32) / 255 if image.dtype == np.uint8 else image
    return cv2.cvtColor(np.ascontiguousarray(scaled), cv2.COLOR_RGB2Lab)


def colour_statistics(image: np.ndarray) -> ColourStatistics:
    """Statistics of a reference picture (h, w, 3), uint8 or float32 in [0, 1]."""
    lab = _lab(image).reshape(-1, 3)
    mean, std = lab.mean(axis=0, dtype=np.float64), lab.std(axis=0, dtype=np.float64)  # float32 loses large sums
    return ColourStatistics(
        (float(mean[0]), float(mean[1]), float(mean[2])), (float(std[0]), float(std[1]), float(std[2]))
    )


def match_colours(image: np.ndarray, reference: ColourStatistics, share: float = 1.0) -> np.ndarray:
    """Give a picture a reference's colour statistics, by `share` of 0..1.

    Mean and spread of each Lab channel (Reinhard et al., IEEE Computer Graphics and Applications 21, 2001).
    """
    lab = _lab(image)
    own = colour_statistics(image)
    spread = np.array(reference.std, np.float32) / np.maximum(np.array(own.std, np.float32), 1e-3)
    spread = np.minimum(spread, 4)  # a flat patch has no contrast to stretch
    matched = (lab - np.array(own.mean, np.float32)) * spread + np.array(reference.mean, np.float32)
    rgb = cv2.cvtColor(lab + share * (matched - lab), cv2.COLOR_Lab2RGB)
    rgb = np.clip(rgb, 0, 1)
    return np.rint(rgb * 255).astype(np.uint8) if image.dtype == np.uint8 else rgb


class HEDJitter(A.ImageOnlyTransform):
    """`vary_stains` with factors 1 +- scale and shifts of +- shift (OD); grey pictures pass unchanged."""

    def __init__(self, scale: float = 0.2, shift: float = 0.04, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.scale, self.shift = scale, shift

    def get_params(self) -> dict[str, Any]:
        """Factors and shifts of one picture."""
        return {
            "factors": self.random_generator.uniform(1 - self.scale, 1 + self.scale, 3),
            "shifts": self.random_generator.uniform(-self.shift, self.shift, 3),
        }

    def apply(self, img: np.ndarray, factors: np.ndarray, shifts: np.ndarray, **_: Any) -> np.ndarray:
        """Varied picture."""
        return vary_stains(img, factors, shifts) if img.shape[-1] == 3 else img


class StainTransfer(A.ImageOnlyTransform):
    """Shows a picture in another laboratory's colours; grey pictures pass unchanged.

    With references: the colours of one of them, taken over by half or more. Without: eosin, PAS or DAB in
    the place of the second stain that the picture has.
    """

    def __init__(self, references: Sequence[ColourStatistics] = (), p: float = 0.5) -> None:
        super().__init__(p=p)
        self.references = tuple(references)

    def get_params(self) -> dict[str, Any]:
        """Which reference or stain, and how much of it."""
        choice = int(self.random_generator.integers(len(self.references) or len(SECOND_STAINS)))
        return {"choice": choice, "share": float(self.random_generator.uniform(0.5, 1.0))}

    def apply(self, img: np.ndarray, choice: int, share: float, **_: Any) -> np.ndarray:
        """Picture in the chosen colours."""
        if img.shape[-1] != 3:
            return img
        if self.references:
            return match_colours(img, self.references[choice], share)
        return exchange_stain(img, list(SECOND_STAINS)[choice])
