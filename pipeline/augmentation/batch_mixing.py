"""Augmentation of whole batches: parts of one sample put into another."""

from __future__ import annotations

import cv2
import numpy as np

from submissions.host.truth import VOID

MOST_PASTED = 8


def _check(images: np.ndarray, targets: np.ndarray) -> None:
    if images.ndim != 4 or targets.ndim not in (3, 4):
        raise ValueError(
            f"batch {images.shape} and {targets.shape}, expected (N, C, H, W) and (N, H, W) or (N, K, H, W)"
        )
    if len(images) != len(targets) or images.shape[-2:] != targets.shape[-2:]:
        raise ValueError(f"images {images.shape} and targets {targets.shape} differ in number or size")


def cutmix(images: np.ndarray, targets: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Replace one rectangle of every sample by the same rectangle of another sample of the batch.

    images (N, C, H, W) of any dtype, targets (N, H, W) or (N, K, H, W); both are returned as new arrays.
    The area that is replaced is a share drawn evenly from 0..1 (Yun et al., ICCV 2019); the mask
    moves with it, so no label has to be mixed. Raises ValueError for shapes that do not fit.
    """
    _check(images, targets)
    height, width = images.shape[-2:]
    partners = _partners(len(images), generator)
    images_out, targets_out = images.copy(), targets.copy()
    for sample, partner in enumerate(partners):
        side = np.sqrt(generator.beta(1.0, 1.0))
        tall, wide = round(height * side), round(width * side)
        top, left = generator.integers(height - tall + 1), generator.integers(width - wide + 1)
        window = (..., slice(top, top + tall), slice(left, left + wide))
        images_out[sample][window] = images[partner][window]
        targets_out[sample][window] = targets[partner][window]
    return images_out, targets_out


def copy_paste(
    images: np.ndarray,
    targets: np.ndarray,
    generator: np.random.Generator,
    *,
    background: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Paste objects of one sample of the batch over another, where they stood (Ghiasi et al., CVPR 2021).

    Objects are the connected parts of a class: of each plane (N, K, H, W), or of each label (N, H, W) but
    `background` and 255, void. Half of a donor's objects are pasted, `MOST_PASTED` at most. In planes, what is pasted
    covers the other classes, so only what belongs to the pasted pixels stays. Returns new arrays; raises
    ValueError for shapes that do not fit and for labels without `background`.
    """
    _check(images, targets)
    planes = targets.ndim == 4
    if not planes and background is None:
        raise ValueError("labels (N, H, W) need background=..., the class that is never pasted")
    images_out, targets_out = images.copy(), targets.copy()
    for sample, partner in enumerate(_partners(len(images), generator)):
        objects = _objects(targets[partner], background)
        number = min(MOST_PASTED, -(-len(objects) // 2))
        for index in generator.permutation(len(objects))[:number]:
            pixels = objects[index]
            images_out[sample][:, pixels] = images[partner][:, pixels]
            targets_out[sample][..., pixels] = targets[partner][..., pixels]
    return images_out, targets_out


def _partners(count: int, generator: np.random.Generator) -> np.ndarray:
    """A partner for every sample, none its own (but in a batch of one)."""
    if count == 1:
        return np.zeros(1, np.int64)
    order = generator.permutation(count)
    partners = np.empty(count, np.int64)
    partners[order] = np.roll(order, 1)
    return partners


def _objects(target: np.ndarray, background: int | None) -> list[np.ndarray]:
    """bool (H, W) of every connected part of every class in a target (K, H, W) or (H, W)."""
    if target.ndim == 3:
        masks = [plane == 1 for plane in target]
    else:
        masks = [target == value for value in np.unique(target) if value not in (background, VOID)]
    found: list[np.ndarray] = []
    for mask in masks:
        count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        found += [parts == number for number in range(1, count)]
    return found
