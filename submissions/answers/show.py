"""What an answer says, as a picture to look at: test images beside their masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from submissions.answers.answer import Reader
from submissions.answers.kinds import answer_of
from submissions.host.answer_size import mask_over_image
from submissions.host.competition import Competition
from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images
from submissions.table.scoring import Segmentation
from submissions.table.show import label_of, overlay, overlay_label, read_thinned, shown, write_png

SIDE, TITLE, GAP = 512, 22, 6


def draw_submission(
    competition: Competition,
    submission: Path,
    data: Path,
    ids: Sequence[str],
    out: Path,
    *,
    solution: Path | None = None,
) -> None:
    """Write a PNG with one row per image: the image, and beside it with its masks; of a volume the fullest slice.

    Of a large image every so many rows and columns are read and painted, the others never held in memory.

    One class is drawn green; classes and instances each in their own colour. With a solution and one class: green is
    right, blue missed, red too much. Raises ValueError for an id of no test image, or a mask that does not decode.
    """
    if not ids:
        raise ValueError("no id was given: name at least one test image")
    listing, _ = list_images(competition, data, "test")
    every = ListedImages(competition, data, listing)
    chosen = [image_id for image_id in dict.fromkeys(ids) if every.row(image_id)]
    images = ListedImages(competition, data, listing[listing["image_id"].isin(chosen)])
    answer = answer_of(competition)
    readers = [answer.open(path, images, others="skip") for path in (submission, solution) if path is not None]
    named = {image_id for reader in readers for image_id in reader.image_ids}
    for image_id in chosen:
        if image_id not in named:
            raise ValueError(f"id {image_id!r} has no row in {submission}")
    write_png(out, _stacked([_image_line(images, image_id, readers) for image_id in chosen]))


def _image_line(images: ListedImages, image_id: str, readers: Sequence[Reader]) -> np.ndarray:
    """One image beside its masks, of the submission, and of the solution if there is one."""
    source = images.open_alone(image_id)
    depth, height, width, _ = source.shape
    step = max(1, max(height, width) // (2 * SIDE))
    masks = [reader.read(image_id, step=step) for reader in readers]
    z = int(masks[0].planes.any(axis=0).sum(axis=(1, 2)).argmax())
    image = read_thinned(source, z, step)
    source.close()
    name = image_id if depth == 1 else f"{image_id}, slice {z}"
    return _line(name, image, _drawn(images.competition, image, masks, z))


def _drawn(competition: Competition, image: np.ndarray, masks: Sequence[Segmentation], z: int) -> np.ndarray:
    chosen = [i for i in competition.scored_classes if competition.classes[i] != "background"]
    size = (image.shape[0], image.shape[1])
    planes = [np.stack([mask_over_image(mask.planes[index, z], size) for index in chosen]) for mask in masks]
    if len(planes) == 2 and len(chosen) == 1:
        return overlay(image, planes[0][0], planes[1][0])
    if masks[0].instances is not None:
        return overlay_label(image, mask_over_image(masks[0].instances[z], size))
    return overlay_label(image, label_of(planes[0]))


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
