"""Topology of volumes: components, tunnels and cavities matched in place, and the Vesuvius surface host's score."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import numpy as np
import scipy

from submissions.metrics.base import MeanMetric, Needs, checked_planes, ratio
from submissions.metrics.partitions import variation_of_information
from submissions.metrics.surface import matched_areas

DIMENSIONS = 3  # components, tunnels, cavities
_INSTALL = "pip install --no-deps topolosses==0.2.0"


@lru_cache(maxsize=1)
def betti_matcher() -> ModuleType:
    """Betti-Matching-3D (Stucki et al. 2024), the compiled module the host scores with, out of the package topolosses.

    Loaded by its place: importing the package would import another OpenCV. Raises ValueError where it is missing.
    """
    package = importlib.util.find_spec("topolosses")
    roots = list(package.submodule_search_locations or []) if package is not None else []
    folders = [Path(root) / "losses" / "betti_matching" / "src" for root in roots]
    for path in [path for folder in folders for path in sorted(folder.glob("betti_matching.*"))]:
        if path.name.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES)):
            spec = importlib.util.spec_from_file_location("betti_matching", path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise ValueError(f"topology is matched by Betti-Matching-3D, which is not installed: {_INSTALL}")


def matched_features(pred: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """int64 (3, 3): matched, predicted and true numbers of components, tunnels and cavities of bool volumes (Z, H, W).

    The foreground is joined by faces. The first component of a volume is born with it and never counted (it matches
    whatever is there), as the host's code has it; so one component in both is 0 of 0.
    """
    found = betti_matcher().compute_matching((~pred).astype(np.uint8), (~truth).astype(np.uint8))
    both, only_pred, only_truth = (
        np.array([len(points) for points in part][:DIMENSIONS])
        for part in (
            found.input1_matched_birth_coordinates,
            found.input1_unmatched_birth_coordinates,
            found.input2_unmatched_birth_coordinates,
        )
    )
    return np.stack([both, both + only_pred, both + only_truth]).astype(np.int64)


def octants(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """The eight parts of a volume halved along each axis, the first half one voxel longer where the size is odd."""
    halves = [[slice(0, (n + 1) // 2), slice((n + 1) // 2, n)] for n in shape]
    return (part for part in itertools.product(*halves) if all(side.start < side.stop for side in part))


def topology_f1(counts: np.ndarray, weights: tuple[float, float, float]) -> float:
    """Weighted mean over active dimensions of 2 matched / (predicted + true) from counts (3 kinds, 3 dimensions).

    A dimension in which neither has a feature is not active; one in which only the prediction has n is
    0.5 / (n + 0.5). 1 where none is active.
    """
    matched, predicted, true = counts.astype(np.float64)
    active = predicted + true > 0
    values = np.where(true > 0, ratio(2 * matched, predicted + true, 1.0), 0.5 / (predicted + 0.5))
    shares = np.asarray(weights)[active]
    return float((values[active] * shares).sum() / shares.sum()) if active.any() else 1.0


@dataclass(frozen=True)
class TopoScore(MeanMetric):
    """Weighted F1 of matched components, tunnels and cavities; mean over classes, then over volumes.

    weights: of the three, renewed over those that prediction or truth have. parts: 'octants' counts in the eight parts
    of a volume halved along each axis, as the Vesuvius surface host does to save memory; 'whole' in the volume.
    Empty: no feature in either is 1. Void voxels are background in both.
    Needs Betti-Matching-3D (`pip install --no-deps topolosses==0.2.0`).
    Source: the host's package topometrics (Kaggle's Vesuvius Challenge - Surface Detection, 2025); Stucki et al. 2024,
    arXiv:2407.04683.
    """

    weights: tuple[float, float, float] = (0.34, 0.33, 0.33)
    parts: str = "octants"
    name: ClassVar[str] = "topo_score"
    needs: ClassVar[Needs] = "volume"

    def __post_init__(self) -> None:
        weights = tuple(float(weight) for weight in self.weights)
        if len(weights) != DIMENSIONS or not all(weight > 0 for weight in weights):
            raise ValueError(f"weights={self.weights!r}, expected three numbers above 0")
        if self.parts not in ("octants", "whole"):
            raise ValueError(f"parts={self.parts!r}, expected 'octants' or 'whole'")
        object.__setattr__(self, "weights", weights)

    def rows(self, pred: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None) -> dict[str, float]:
        """Row of bool planes (K, Z, H, W): matched_k_d, pred_k_d, truth_k_d of dimension d, and score."""
        pred, truth, valid = checked_planes(pred, truth, valid, dimensions=(4,))
        if valid is not None:
            pred, truth = pred & valid, truth & valid
        row: dict[str, float] = {}
        scores = []
        for k, (p, t) in enumerate(zip(pred, truth, strict=True)):
            counts = self._counts(p, t)
            scores.append(topology_f1(counts, self.weights))
            for name, per in zip(("matched", "pred", "truth"), counts, strict=True):
                row |= {f"{name}_{k}_{d}": float(n) for d, n in enumerate(per)}
        return row | {"score": float(np.mean(scores))}

    def _counts(self, pred: np.ndarray, truth: np.ndarray) -> np.ndarray:
        if self.parts == "whole":
            return matched_features(pred, truth)
        counts = [matched_features(pred[part], truth[part]) for part in octants(pred.shape)]
        return np.sum(counts, axis=0)


@dataclass(frozen=True)
class VesuviusSurface(MeanMetric):
    """0.30 TopoScore + 0.35 surface Dice at 2 voxels + 0.35 / (1 + 0.3 VOI) of one class; mean over volumes.

    VOI is that of 26-connected components over the voxels that are foreground in either. Label 2 of the host, which
    is not labelled, is void: background in both. weights: of the three, scaled to sum 1; with the first at 0 topology,
    by far the slowest part, is left out, which is useful for tuning.
    Empty: both empty is 1 in all three; one of them empty has a surface Dice of 0.
    Source: evaluation page of Kaggle's Vesuvius Challenge - Surface Detection (2025) and its package topometrics.
    """

    weights: tuple[float, float, float] = (0.30, 0.35, 0.35)
    tolerance: float = 2.0
    alpha: float = 0.3
    name: ClassVar[str] = "vesuvius_surface"
    needs: ClassVar[Needs] = "volume"

    def __post_init__(self) -> None:
        weights = tuple(float(weight) for weight in self.weights)
        if len(weights) != 3 or not all(weight >= 0 for weight in weights) or not sum(weights) > 0:
            raise ValueError(f"weights={self.weights!r}, expected three numbers of 0 or more, not all 0")
        if not self.tolerance >= 0 or not self.alpha > 0:
            raise ValueError(f"tolerance={self.tolerance!r}, alpha={self.alpha!r}, expected 0 or more, and above 0")
        object.__setattr__(self, "weights", weights)

    def rows(self, pred: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None) -> dict[str, float]:
        """Row of bool planes (1, Z, H, W): topo (where it has a weight), surface, voi and score."""
        pred, truth, valid = checked_planes(pred, truth, valid, dimensions=(4,))
        if len(pred) != 1:
            raise ValueError(f"{self.name} scores one class, found {len(pred)}: say which with the contract's classes")
        p, t = (pred[0], truth[0]) if valid is None else (pred[0] & valid, truth[0] & valid)
        near, area = matched_areas(p, t, self.tolerance, (1.0, 1.0, 1.0))
        row = {"surface": float(ratio(near, area, 1.0)), "voi": 1 / (1 + self.alpha * component_voi(p, t))}
        if self.weights[0]:
            row = {"topo": TopoScore().rows(p[None], t[None])["score"], **row}
        values = [row.get("topo", 0.0), row["surface"], row["voi"]]
        return row | {"score": float(np.dot(self.weights, values) / sum(self.weights))}


def component_voi(pred: np.ndarray, truth: np.ndarray) -> float:
    """Variation of information in bits of the 26-connected components of bool volumes, where either is foreground."""
    either = pred | truth
    corners = scipy.ndimage.generate_binary_structure(3, 3)
    labels = [scipy.ndimage.label(mask, corners)[0][either] for mask in (pred, truth)]
    return sum(variation_of_information(*labels))
