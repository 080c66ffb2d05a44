"""Are a submission's masks like those of training: as often empty, as large, and on the objects of their images?

Warnings here hint at mistakes (threshold, scale, wrong weights); a test set may also truly differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import scipy

from submissions.host.competition import Competition
from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images, spread
from submissions.host.mask_images import stretch
from submissions.host.masks import MaskReader
from submissions.table.alignment import FEW_IMAGES, check_alignment
from submissions.table.findings import Finding, Level, rows_findings
from submissions.table.lint_masks import UNKNOWN, ReadMasks
from submissions.table.rows import Shape3

TRAINING_SAMPLE, ALIGNMENT_SAMPLE = 200, 40
MAX_SAMPLED_PIXELS = 50_000_000
FEWEST = 5
EMPTY_DEVIATIONS, EMPTY_DIFFERENCE = 4.0, 0.1
DISTANCE, LARGER = 0.35, 2.0

Paint = Callable[[Sequence[int], tuple[int, int]], np.ndarray]


def sample_training(competition: Competition, data: Path) -> pd.DataFrame | None:
    """height, width, depth and area_<class> of up to TRAINING_SAMPLE training images, spread over all of them.

    None where there are no masks or no images. Images beyond 50 million pixels are passed over.
    """
    if competition.masks.kind == "none":
        return None
    listing, _ = list_images(competition, data, "train")
    ids = listing["image_id"].astype(str).tolist() if len(listing) else []
    images, masks = ListedImages(competition, data, listing) if ids else None, MaskReader(competition, data)
    rows = []
    for image_id in spread(ids, TRAINING_SAMPLE):
        assert images is not None
        depth, height, width, _ = images.shape_of(image_id)
        if depth * height * width > MAX_SAMPLED_PIXELS:
            continue
        planes = masks.read(images.row(image_id), (depth, height, width)).planes
        areas = {f"area_{name}": int(plane.sum()) for name, plane in zip(competition.classes, planes, strict=True)}
        rows.append({"depth": depth, "height": height, "width": width, **areas})
    return pd.DataFrame(rows) if rows else None


def training_shares(competition: Competition, training: pd.DataFrame) -> dict[int, np.ndarray]:
    """Share of the image that each scored class covers, float64 (N,) by class index.

    `training` has height, width (and depth) and area_<class>, as the inventory; rows without an area, and
    those of another split than 'train', are left out.

    Raises ValueError that names a missing column.
    """
    if "split" in training:
        training = training[training["split"] == "train"]
    needed = [
        "height",
        "width",
        *(f"area_{competition.classes[index]}" for index in competition.scored_classes),
    ]
    missing = [name for name in needed if name not in training]
    if missing:
        raise ValueError(f"the table of training areas has no column {missing}; it has {list(training.columns)[:12]}")
    depth = training.get("depth", 1)
    pixels = (training["height"] * training["width"] * depth).to_numpy(float)
    shares = {}
    for index in competition.scored_classes:
        share = training[f"area_{competition.classes[index]}"].to_numpy(float) / pixels
        shares[index] = share[np.isfinite(share)]
    return shares


def size_findings(
    competition: Competition, read: ReadMasks, shapes: Mapping[str, Shape3], training: pd.DataFrame
) -> list[Finding]:
    """Warnings where empty masks or areas are unlike training's, by class; a unit is an image or a volume."""
    findings: list[Finding] = []
    trained = training_shares(competition, training)
    names = list(dict.fromkeys(image_id for image_id, _ in read.images))
    number = {image_id: index for index, image_id in enumerate(names)}
    image_of = np.array([number[image_id] for image_id, _ in read.images] or [0])
    pixels = np.array([float(np.prod(shapes[image_id])) for image_id in names])
    for index in competition.scored_classes:
        rows = np.flatnonzero((read.place != UNKNOWN) & (read.area != UNKNOWN) & (read.class_index == index))
        if not len(rows) or not len(trained[index]):
            continue
        images = image_of[read.place[rows]]
        area = np.bincount(images, read.area[rows], minlength=len(names))
        seen = np.bincount(images, minlength=len(names)) > 0
        findings += _empty_findings(competition.classes[index], (area[seen] == 0), trained[index] == 0)
        findings += _area_findings(competition.classes[index], (area / pixels)[seen & (area > 0)], trained[index])
        findings += _outliers(area / pixels, rows, images, trained[index])
    return findings


def _empty_findings(name: str, empty: np.ndarray, trained: np.ndarray) -> list[Finding]:
    """Two shares of empty masks compared by the normal approximation with the pooled share."""
    here, there = float(empty.mean()), float(trained.mean())
    pooled = (empty.sum() + trained.sum()) / (len(empty) + len(trained))
    deviation = np.sqrt(pooled * (1 - pooled) * (1 / len(empty) + 1 / len(trained)))
    every = here == 1 and there < 0.9
    if not every and (abs(here - there) < EMPTY_DIFFERENCE or abs(here - there) < EMPTY_DEVIATIONS * deviation):
        return []
    cause = f"class {name}: {here:.0%} of {len(empty)} masks are empty, {there:.0%} of {len(trained)} in training"
    return [Finding("warning", None, f"{cause}; check the threshold, and how empty masks are written")]


def _area_findings(name: str, shares: np.ndarray, trained: np.ndarray) -> list[Finding]:
    """Two samples of areas compared by the largest distance of their distribution functions (Smirnov)."""
    trained = trained[trained > 0]
    if min(len(shares), len(trained)) < FEWEST:
        return []
    distance = float(scipy.stats.ks_2samp(shares, trained, method="asymp").statistic)
    chance = 1.95 * np.sqrt((len(shares) + len(trained)) / (len(shares) * len(trained)))  # about 1 in 1,000
    if distance < max(DISTANCE, chance):
        return []
    cause = (
        f"class {name}: the median mask covers {np.median(shares):.2%} of its image, in training "
        f"{np.median(trained):.2%} (distance of the distributions {distance:.2f})"
    )
    return [Finding("warning", None, f"{cause}; check threshold, scale and minimum area")]


def _outliers(shares: np.ndarray, rows: np.ndarray, images: np.ndarray, trained: np.ndarray) -> list[Finding]:
    """Images far more covered than any of training's; named by their first row."""
    largest = float(trained.max())
    if largest == 0:
        return []
    found = np.flatnonzero(shares > max(largest + 0.05, min(LARGER * largest, 0.99)))
    first = {int(image): int(row) for image, row in zip(images[::-1], rows[::-1], strict=True)}
    faults = [
        (first[int(image)], f"covers {shares[image]:.1%} of its image; in training at most {largest:.1%}")
        for image in found
        if int(image) in first
    ]
    return rows_findings("warning", "masks larger than any in training", faults, shown=5)


def alignment_findings(
    competition: Competition, read: ReadMasks, images: ListedImages, shapes: Mapping[str, Shape3], paint: Paint
) -> list[Finding]:
    """A doubt where the masks lie turned, mirrored or read in the wrong order on sampled images.

    paint: makes bool (H, W) of the masks in these rows, where (H, W) is the size the host wants.

    An error, or a warning where there are few images: then parts of one count as if they were apart, and a model that
    is often wrong in the same way along one picture is called misaligned. Slices of a volume are one image.
    """
    sampled = _sampled(competition, read, shapes)
    result = check_alignment(_pairs(read, images, shapes, sampled, paint))
    if result.verdict != "misaligned":
        return []
    number = min(result.images, len({read.images[place][0] for place in sampled}))
    level: Level = "warning" if number < FEW_IMAGES else "error"
    return [Finding(level, None, f"on {number} image(s): {result.message}", doubt=True)]


def _sampled(competition: Competition, read: ReadMasks, shapes: Mapping[str, Shape3]) -> dict[int, list[int]]:
    """Rows by place (index into `read.images`) of up to ALIGNMENT_SAMPLE places, neither empty nor full nor huge."""
    foreground = [i for i in competition.scored_classes if competition.classes[i] != "background"]
    usable = (read.place != UNKNOWN) & (read.area > 0) & np.isin(read.class_index, foreground)
    area = np.bincount(read.place[usable], read.area[usable], minlength=len(read.images))
    sizes = np.array([float(shapes[image_id][1] * shapes[image_id][2]) for image_id, _ in read.images])
    if not len(sizes):
        return {}
    share = area / sizes
    chosen = np.flatnonzero((share > 0.005) & (share < 0.995) & (sizes <= MAX_SAMPLED_PIXELS))
    places = spread(chosen.tolist(), ALIGNMENT_SAMPLE)
    by_place: dict[int, list[int]] = {place: [] for place in places}
    for row in np.flatnonzero(usable & np.isin(read.place, places)).tolist():
        by_place[int(read.place[row])].append(row)
    return by_place


def _pairs(
    read: ReadMasks,
    images: ListedImages,
    shapes: Mapping[str, Shape3],
    sampled: Mapping[int, Sequence[int]],
    paint: Paint,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for number, rows in sampled.items():
        image_id, z = read.images[number]
        mask = paint(rows, shapes[image_id][1:])
        with closing(images.open_alone(image_id)) as source:
            image = source.read(z)
        yield image, mask if mask.shape == image.shape[:2] else stretch(mask[None], (image.shape[0], image.shape[1]))[0]
