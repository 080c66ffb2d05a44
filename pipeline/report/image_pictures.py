"""Looking at one image: its slice with the most truth, the probabilities, the decision, painted over the image."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from folds.blocks import extent
from inference.decide.decision import segmentation_of
from pipeline.pictures import beside, sheet
from pipeline.prediction.oof import OofItem
from pipeline.report.finished_run import FinishedRun
from pipeline.tuning.scores.units import Unit, decided
from submissions.host.listed_images import ListedImages
from submissions.host.masks import Truth
from submissions.table.show import label_of, overlay, overlay_label, shown

THUMBNAIL = 320
EXPLORED = 192


@dataclass(frozen=True)
class Look:
    """One slice of a scored unit.

    name: the unit's, with the slice where it has several. image: uint8 (H, W, 3). probs: uint8 (K, H, W), truth and
    mask: bool (K, H, W), of the foreground classes. valid: bool (H, W), False where the host does not score.
    true_instances, said_instances: int (H, W), None where there are none.
    """

    name: str
    classes: list[str]
    image: np.ndarray
    probs: np.ndarray
    truth: np.ndarray
    mask: np.ndarray
    valid: np.ndarray
    true_instances: np.ndarray | None = None
    said_instances: np.ndarray | None = None

    @property
    def true_picture(self) -> np.ndarray:
        """uint8 (H, W, 3): the truth over the image."""
        return paint(self.image, self.truth, self.true_instances)

    @property
    def said_picture(self) -> np.ndarray:
        """uint8 (H, W, 3): the decision over the image."""
        return paint(self.image, self.mask, self.said_instances)

    @property
    def error_picture(self) -> np.ndarray:
        """uint8 (H, W, 3): green right, blue missed, red extra or of another class; void is left as it is."""
        true, said = (label_of(planes) * self.valid for planes in (self.truth, self.mask))
        confused = (true > 0) & (said > 0) & (true != said)
        return overlay(self.image, said > 0, (true > 0) & ~confused)

    @property
    def panels(self) -> list[tuple[str, np.ndarray]]:
        """Truth, prediction and error under their titles."""
        drawn = {"truth": self.true_picture, "prediction": self.said_picture, "error": self.error_picture}
        return [(f"{self.name}: {what}", picture) for what, picture in drawn.items()]


def look_at(run: FinishedRun, unit: Unit) -> Look:
    """The slice of a unit with the largest true area; raises as the readers of images and masks do."""
    item = max(unit.items, key=lambda each: (_listed_area(run, each), -each.z))
    truth, probs = item.truth(), item.probs()
    said = segmentation_of(probs, decided(item, probs, run.decision), run.decision)
    chosen = run.foreground
    z = int(truth.planes[chosen].any(axis=0).sum(axis=(1, 2)).argmax())
    channels = [run.decision.channels.index(run.space.competition.classes[index]) for index in chosen]
    volume = probs if probs.ndim == 4 else probs[:, None]
    several = len(unit.items) > 1 or truth.planes.shape[1] > 1
    return Look(
        f"{unit.name}, slice {item.z if len(unit.items) > 1 else z}" if several else unit.name,
        [run.space.competition.classes[index] for index in chosen],
        fitted(_image(run, item, z), truth.planes.shape[2:]), volume[channels, z],
        truth.planes[chosen, z], said.planes[chosen, z], _valid(truth, z),
        None if truth.instances is None else truth.instances[z],
        None if said.instances is None else said.instances[z],
    )  # fmt: skip


def _listed_area(run: FinishedRun, item: OofItem) -> float:
    """True pixels of the foreground classes, as stage 01 counted them."""
    names = [f"area_{run.space.competition.classes[index]}" for index in run.foreground]
    return float(np.nansum([float(item.fields.get(name, 0) or 0) for name in names]))


def _valid(truth: Truth, z: int) -> np.ndarray:
    return np.ones(truth.planes.shape[2:], bool) if truth.valid is None else truth.valid[z]


def _image(run: FinishedRun, item: OofItem, z: int) -> np.ndarray:
    images = ListedImages(run.space.competition, run.space.data, run.training)
    with closing(images.open_alone(str(item.fields["image_id"]))) as reader:
        return shown(reader.read(z, *extent(item.block)))


def fitted(image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A picture uint8 (H, W, 3) at the (height, width) of its masks, where the host wants these at another."""
    return image if image.shape[:2] == size else cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA)


def paint(image: np.ndarray, planes: np.ndarray, instances: np.ndarray | None = None) -> np.ndarray:
    """uint8 (H, W, 3): planes bool (K, H, W) over an image, a colour a class, or a colour an instance."""
    return overlay_label(image, label_of(planes) if instances is None else instances)


def outline(image: np.ndarray, planes: np.ndarray, colours: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """uint8 (H, W, 3): the borders of planes bool (K, H, W) over an image, a colour a class."""
    drawn = shown(image).copy()
    thickness = max(1, round(max(drawn.shape[:2]) / 400))
    for plane, colour in zip(planes, colours, strict=False):
        found, _ = cv2.findContours(plane.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, found, -1, colour, thickness)
    return drawn


def shrink(picture: np.ndarray, side: int = THUMBNAIL) -> np.ndarray:
    """The picture uint8 (H, W[, 3]) at most `side` pixels long; never enlarged."""
    scale = min(1.0, side / max(picture.shape[:2]))
    if scale == 1.0:
        return picture
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def data_uri(picture: np.ndarray, *, side: int = THUMBNAIL) -> str:
    """uint8 (H, W, 3) RGB or (H, W) as a JPEG inside an address."""
    small = shrink(picture, side)
    flipped = small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", flipped, [cv2.IMWRITE_JPEG_QUALITY, 82])[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def pair_sheet(run: FinishedRun, pairs: pd.DataFrame) -> Figure:
    """Thumbnails of pairs of training images (image_a, image_b, kind, similarity), side by side."""
    made = []
    for row in pairs.to_dict("records"):
        first, second = run.thumbnails([str(row["image_a"]), str(row["image_b"])])
        made.append((f"{row['kind']} {row['similarity']:.2f}: {row['image_a']}", beside(first, second)))
    return sheet(made, across=3, side=3.2)
