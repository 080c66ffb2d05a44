"""Masks over images: what a submission says, as a picture to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from submissions.host.atomic import partial_path
from submissions.host.competition import Competition
from submissions.host.listing import ListedImages, list_images
from submissions.host.sample import read_submission, submission_format
from submissions.images.opening import ImageReader
from submissions.table.rows import Shape3, image_shape, row_places
from submissions.table.scoring import Segmentation, decode_image, rows_by_image
from submissions.table.submission_table import Row

RIGHT, MISSED, EXTRA = (46, 160, 67), (33, 118, 210), (214, 69, 45)
PALETTE = np.array(
    [
        (46, 160, 67), (214, 69, 45), (33, 118, 210), (232, 170, 20), (148, 85, 201), (20, 170, 170),
        (222, 99, 160), (140, 110, 70), (110, 190, 30), (90, 100, 200),
    ],
    np.float32,
)  # fmt: skip
SIDE, TITLE, GAP = 512, 22, 6
STRIP_BYTES = 32 * 2**20


def shown(image: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) of any image (H, W, C), its own range spread to 0..255 where it is not uint8."""
    pixels = image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)
    if pixels.dtype == np.uint8:
        return pixels
    low, high = np.percentile(pixels.astype(np.float32), [1, 99])
    return np.clip((pixels - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)


def overlay(image: np.ndarray, mask: np.ndarray, truth: np.ndarray | None = None, alpha: float = 0.55) -> np.ndarray:
    """uint8 (H, W, 3): the mask over the image; with the truth green is right, blue missed, red too much."""
    pixels = shown(image).astype(np.float32)
    parts = [(mask, RIGHT)]
    if truth is not None:
        parts = [(mask & truth, RIGHT), (~mask & truth, MISSED), (mask & ~truth, EXTRA)]
    for part, colour in parts:
        pixels[part] = (1 - alpha) * pixels[part] + alpha * np.array(colour, np.float32)
    return pixels.round().astype(np.uint8)


def overlay_label(image: np.ndarray, label: np.ndarray, alpha: float = 0.55) -> np.ndarray:
    """uint8 (H, W, 3): a label, int (H, W) with 0 for nothing, over the image; neighbouring values differ in colour."""
    pixels = shown(image).astype(np.float32)
    inside = label > 0
    pixels[inside] = (1 - alpha) * pixels[inside] + alpha * PALETTE[(label[inside] - 1) % len(PALETTE)]
    return pixels.round().astype(np.uint8)


def draw_submission(
    competition: Competition,
    submission: Path,
    data: Path,
    ids: Sequence[str],
    out: Path,
    *,
    solution: Path | None = None,
) -> None:
    """Write a PNG with a row an image: the image, and beside it with its masks; of a volume the fullest slice.

    Of a large image every so many rows and columns are read and painted, the others never held in memory.

    One class is drawn green; classes and instances each in their own colour. With a solution and one class: green is
    right, blue missed, red too much. Raises ValueError for an id of no test image, or a mask that does not decode.
    """
    if not ids:
        raise ValueError("no id was given: name at least one test image")
    listing, _ = list_images(competition, data, "test")
    images = ListedImages(competition, data, listing)
    shapes = {image_id: image_shape(images, image_id) for image_id in dict.fromkeys(ids) if images.row(image_id)}
    places = row_places(competition, images, shapes)
    form = submission_format(competition)
    tables = [read_submission(path, competition) for path in (submission, solution) if path is not None]
    rows = [rows_by_image(table, form, places, others="skip") for table in tables]
    for image_id in shapes:
        if not any(image_id in found for found in rows):
            raise ValueError(f"id {image_id!r} has no row in {submission}")
    of_image = {image_id: [found.get(image_id, []) for found in rows] for image_id in shapes}
    lines = [_image_line(images, image_id, shape, of_image[image_id]) for image_id, shape in shapes.items()]
    write_png(out, _stacked(lines))


def _image_line(
    images: ListedImages, image_id: str, shape: Shape3, tables: Sequence[Sequence[tuple[int, Row]]]
) -> np.ndarray:
    """One image beside its masks, from its rows (slice, row) in the submission, and in the solution if there is one."""
    step = max(1, max(shape[1:]) // (2 * SIDE))
    masks = [decode_image(images.competition, rows, shape, step=step) for rows in tables]
    z = int(masks[0].planes.any(axis=0).sum(axis=(1, 2)).argmax())
    source = images.open_alone(image_id)
    image = read_thinned(source, z, step)
    source.close()
    name = image_id if shape[0] == 1 else f"{image_id}, slice {z}"
    return _line(name, image, _drawn(images.competition, image, masks, z))


def read_thinned(source: ImageReader, z: int, step: int) -> np.ndarray:
    """Every `step`-th row and column of slice z, (h, w, C) as stored, read in strips of rows of about 32 MB."""
    _, height, width, channels = source.shape
    row_bytes = width * channels * source.dtype.itemsize
    rows = step * max(1, STRIP_BYTES // (step * row_bytes))
    strips = (source.read(z, slice(top, min(height, top + rows)), None) for top in range(0, height, rows))
    return np.concatenate([strip[::step, ::step].copy() for strip in strips])


def _drawn(competition: Competition, image: np.ndarray, masks: Sequence[Segmentation], z: int) -> np.ndarray:
    chosen = [i for i in competition.scored_classes if competition.classes[i] != "background"]
    planes = [mask.planes[chosen, z] for mask in masks]
    if len(planes) == 2 and len(chosen) == 1:
        return overlay(image, planes[0][0], planes[1][0])
    if masks[0].instances is not None:
        return overlay_label(image, masks[0].instances[z])
    label = np.zeros(image.shape[:2], np.int64)
    for value, plane in enumerate(planes[0], start=1):
        label[plane] = value
    return overlay_label(image, label)


def _line(name: str, image: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Two pictures side by side under a title, uint8 (h, w, 3), each at most `SIDE` pixels long."""
    scale = min(1.0, SIDE / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    pictures = [cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in (shown(image), drawn)]
    line = np.full((TITLE + size[1], 2 * size[0] + GAP, 3), 255, np.uint8)
    line[TITLE:, : size[0]], line[TITLE:, size[0] + GAP :] = pictures
    said = name.encode("ascii", "replace").decode()  # the font has no other letters
    cv2.putText(line, said, (2, TITLE - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (31, 41, 51), 1, cv2.LINE_AA)
    return line


def _stacked(lines: Sequence[np.ndarray]) -> np.ndarray:
    width = max(line.shape[1] for line in lines)
    padded = [np.pad(line, ((0, GAP), (0, width - line.shape[1]), (0, 0)), constant_values=255) for line in lines]
    return np.concatenate(padded)


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write uint8 (H, W, 3), RGB, beside its final name and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
    partial = partial_path(path)
    partial.write_bytes(encoded.tobytes())
    partial.replace(path)
