"""One image looked at once: size, type, content, faults, and what its mask holds."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from submissions.host.competition import Competition
from submissions.host.listed_images import ListedImages, pixel_size
from submissions.host.masks import MaskReader, Truth, shared_reader
from submissions.host.problems import Problem
from submissions.images.faults import FaultCounter
from submissions.images.measures import Meter, brightness
from submissions.images.opening import ImageReader
from submissions.table.alignment import Measured, measure_alignment

THUMBNAIL = 64
STRIP = 1024
ALIGNED_SIDE = 4096  # larger images are compared with their masks by every second, third ... row and column
LEAST_SHOWN, MOST_SHOWN = 0.005, 0.995  # of an image, that a mask which tells of its alignment covers


@dataclass(frozen=True)
class Inspection:
    """What was seen of one image; `row` is empty where it could not be read.

    unreadable: a test image that could not be read. It stops nothing that is trained: stage 07 can leave it empty.
    alignment: how the mask lies on the image, of the images of the alignment test.
    """

    row: dict[str, Any]
    thumbnail: np.ndarray  # uint8 (64, 64)
    problems: list[Problem]
    unreadable: list[Problem] = field(default_factory=list)
    alignment: Measured | None = None


def inspect_images(
    competition: Competition, data: Path, listing: pd.DataFrame, *, aligned: Collection[str] = ()
) -> list[Inspection]:
    """Look at the images of a listing, and of those in `aligned` how their masks lie on them.

    Runs in any process, its arguments are plain. Every file is decoded once.
    """
    cv2.setNumThreads(0)
    images, masks = ListedImages(competition, data, listing), shared_reader(competition, data)
    return [
        _inspect(competition, images, masks, image_id, keep=image_id in aligned)
        for image_id in map(str, listing["image_id"])
    ]


def _inspect(
    competition: Competition, images: ListedImages, masks: MaskReader, image_id: str, *, keep: bool
) -> Inspection:
    row = dict(images.row(image_id))
    try:
        reader = images.open_alone(image_id)
        kept: list[np.ndarray] | None = [] if keep and reader.shape[0] == 1 else None
        row["content_hash"], thumbnail, measures = scan(reader, kept)
        size = pixel_size(competition, row, reader)
    except (ValueError, OSError) as error:
        return _unread(row, error)
    depth, height, width, channels = reader.shape
    row |= {"depth": depth, "height": height, "width": width, "channels": channels, "dtype": str(reader.dtype)}
    row |= {"pixel_size_um": size, **measures}
    if row["split"] == "test" or competition.masks.kind == "none":
        reader.close()
        return Inspection(row, thumbnail, [])
    try:
        parts, shown = [], None
        for truth in masks.parts(row, (depth, height, width), reader):
            parts.append(_measured(competition, truth))
            shown = telling(competition, truth) if kept else None  # of a single slice, which is a single part
    except (ValueError, OSError) as error:
        problem = Problem(f"mask of {image_id}", str(error), "a mask as described in the contract", "mend the mask")
        return Inspection(row, thumbnail, [problem])
    finally:
        reader.close()
    found = Inspection(row | _joined(parts), thumbnail, [])
    if not kept or shown is None:
        return found
    step = _aligned_step(height, width)
    return replace(found, alignment=measure_alignment(np.concatenate(kept), shown[::step, ::step]))


def _aligned_step(height: int, width: int) -> int:
    """Every how many-th row and column an image and its mask are compared by: all, but of very large ones."""
    return -(-max(height, width) // ALIGNED_SIDE)


def telling(competition: Competition, truth: Truth) -> np.ndarray | None:
    """The foreground of the first slice as bool (H, W); None where it covers too little or too much to be compared."""
    foreground = [index for index, name in enumerate(competition.classes) if name != "background"]
    share = float(truth.planes[foreground].sum() / truth.planes[0].size)
    shown = np.asarray(truth.planes[foreground, 0].any(axis=0))
    return shown if LEAST_SHOWN < share < MOST_SHOWN else None


def _unread(row: dict[str, Any], error: Exception) -> Inspection:
    where, blank = str(row["path"]), np.zeros((THUMBNAIL, THUMBNAIL), np.uint8)
    if row["split"] == "train":
        problem = Problem(where, str(error), "a readable image", "replace or remove the file")
        return Inspection({}, blank, [problem])
    action = "repair the file, or run stage 07 with --on-error empty"
    return Inspection({}, blank, [], [Problem(where, str(error), "a readable image", action)])


def _measured(competition: Competition, truth: Truth) -> dict[str, Any]:
    """What the inventory says of a mask: pixels of each class and of void, instances, hash, whether it is empty."""
    found: dict[str, Any] = {
        f"area_{name}": int(plane.sum()) for name, plane in zip(competition.classes, truth.planes, strict=True)
    }
    foreground = [found[f"area_{name}"] for name in competition.classes if name != "background"]
    found["void"] = 0 if truth.valid is None else int((~truth.valid).sum())
    numbered = [*(truth.objects or {}).values(), *([] if truth.instances is None else [truth.instances])]
    found["instances"] = sum(int(np.count_nonzero(np.unique(one))) for one in numbered) if numbered else -1
    found["empty"] = int(sum(foreground) == 0)
    return found | {"mask_hash": truth_hash(truth)}


def _joined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is measured of a mask in parts as of the whole: counts summed, of several parts a hash of hashes."""
    first, *rest = parts
    if not rest:
        return dict(first)
    hashes = "".join(str(part["mask_hash"]) for part in parts)
    found = {name: sum(part[name] for part in parts) for name in first if name.startswith("area_") or name == "void"}
    found |= {"instances": first["instances"], "empty": int(all(part["empty"] for part in parts))}
    return {**found, "mask_hash": hashlib.sha256(hashes.encode()).hexdigest()[:32]}


def scan(reader: ImageReader, kept: list[np.ndarray] | None = None) -> tuple[str, np.ndarray, dict[str, float]]:
    """SHA-256 of the pixels; of the middle slice a 64 x 64 uint8 grey thumbnail and the measures; read in strips.

    `kept` is given the strips as they are compared with the mask, where it is a list. Beside the measures what is wrong
    with the whole image (`FAULTS`). The thumbnail spans the slice's own range of values (percentiles 1 and 99),
    whatever the host's type.
    """
    depth, height, width, _ = reader.shape
    meter, faults, step = Meter(height, width), FaultCounter(reader), _aligned_step(height, width)
    checksum = hashlib.sha256(f"{reader.dtype}{reader.shape}".encode())
    strips: list[np.ndarray] = []
    for z in range(depth):
        for top in range(0, height, STRIP):
            pixels = reader.read(z, slice(top, min(top + STRIP, height)), None)
            checksum.update(np.ascontiguousarray(pixels).data)
            if kept is not None:
                kept.append(pixels[-top % step :: step, ::step].copy())
            faults.add(z, slice(top, min(top + STRIP, height)), pixels)
            if z == depth // 2:
                grey = brightness(pixels)
                meter.add(top, pixels, grey)
                columns = min(width, 4 * THUMBNAIL)
                rows = max(1, round(grey.shape[0] * columns / width))
                strips.append(cv2.resize(grey, (columns, rows), interpolation=cv2.INTER_AREA))
    small = cv2.resize(np.concatenate(strips), (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    low, high = np.percentile(small, [1, 99])
    scaled = (small - low) / max(high - low, 1e-6) if high > low else np.zeros_like(small)
    thumbnail = np.clip(np.rint(scaled * 255), 0, 255).astype(np.uint8)
    return checksum.hexdigest()[:32], thumbnail, meter.measures() | faults.found()


def truth_hash(truth: Truth) -> str:
    """32 hexadecimal digits of SHA-256 over what a mask says: its planes, void and instances."""
    checksum = hashlib.sha256(repr(truth.planes.shape).encode())
    of_classes = sorted((truth.objects or {}).items())
    for name, plane in (
        ("planes", truth.planes), ("valid", truth.valid), ("instances", truth.instances), *of_classes
    ):  # fmt: skip
        if plane is not None:
            checksum.update(name.encode())
            checksum.update(np.packbits(plane).data if plane.dtype == bool else np.ascontiguousarray(plane).data)
    return checksum.hexdigest()[:32]
