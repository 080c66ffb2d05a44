"""Validation while training: held-out images (of blocks these alone) scored as the host does, for curves in a log."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from folds.blocks import Block, blocks_of, extent
from inference.decide.decision import Decision, apply, segmentation_of
from inference.decide.instances import InstanceSettings
from inference.decide.rules import ArgmaxRule, ThresholdRule
from inference.predict.devices import pick_device
from inference.predict.image_list import predict_listed
from inference.predict.store import open_prediction
from inference.weights import LoadedModel
from pipeline.pictures import overlay
from pipeline.prediction.classification_results import classification_scores, classification_table
from pipeline.training.fold_training import Validate
from pipeline.workspace import Workspace
from submissions.host.competition import Competition
from submissions.host.listed_images import ListedImages
from submissions.host.listing import spread
from submissions.host.masks import MaskReader, Truth
from submissions.metrics import Metric, build_metric
from submissions.table.scoring import Segmentation, host_metric, unit_row
from submissions.table.show import read_thinned

GRID = (51, 77, 102, 128, 153, 179, 204)  # q of 0.2 to 0.8; 128 is 0.5
THRESHOLDS = {("at 0.5" if q == 128 else f"at {q / 255:.1f}"): q for q in GRID}
SHOWN = 4
SHOWN_SIDE = 2048  # longest side of a picture [pixels]


def make_validator(space: Workspace, folds: pd.DataFrame, fold: int) -> Validate:
    """What `train_fold` calls: scores of a network on a spread sample of the fold's held-out images, or blocks of them.

    Of a classifier it returns accuracy and loss; else the metric at the best threshold of GRID and at 0.5 (for
    exclusive classes: of the argmax), and the worst images as pictures. Views are left out; reports take their scores
    from stages 05 and 06 instead.
    """
    listing, _ = space.training_images()
    own = folds[folds["fold"] == fold]
    blocks: dict[str, list[Block | None]] = {}
    for image_id, block in zip(own["image_id"].astype(str), blocks_of(own), strict=True):
        blocks.setdefault(image_id, []).append(block)
    chosen = spread(sorted(blocks), space.experiment.train.validate_images)
    config = space.experiment.predict.model_copy(update={"views": ["identity"]})
    metric = _slice_metric(space.competition)

    def validate(model: nn.Module) -> Mapping[str, Any]:
        experiment = space.experiment
        images = ListedImages(space.competition, space.data, listing)
        loaded = LoadedModel(model, experiment.model, experiment.input, config, space.fold(fold))
        masks = MaskReader(space.competition, space.data)
        with tempfile.TemporaryDirectory() as scratch:
            outcomes = predict_listed(
                [loaded], images, images.in_reading_order(chosen), Path(scratch),
                device=pick_device(space.device), config=config,
            )  # fmt: skip
            found = [(one.image_id, one.path) for one in outcomes]
            if experiment.task == "classify":
                table = classification_table(images, masks, found, experiment.model.classes)
                exclusive = experiment.model.activation == "softmax"
                return classification_scores(table, experiment.model.classes, exclusive=exclusive)
            return _score_all(space, metric, images, masks, [(*one, blocks[one[0]]) for one in found])

    return validate


def _slice_metric(competition: Competition) -> Metric:
    """The contract's metric; Dice where that compares places in whole stacks, of which only slices are at hand."""
    metric = host_metric(competition.metric)
    return build_metric("dice") if metric.needs == "points" and competition.metric.unit == "stack" else metric


def _score_all(
    space: Workspace,
    metric: Metric,
    images: ListedImages,
    masks: MaskReader,
    found: Sequence[tuple[str, Path, Sequence[Block | None]]],
) -> dict[str, Any]:
    decisions = grid_decisions(space)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in decisions}
    pictures: list[tuple[float, np.ndarray]] = []
    for image_id, path, blocks in found:
        for block, probs, truth in _read_parts(path, masks, images.row(image_id), blocks):
            for name, decision in decisions.items():
                said = segmentation_of(probs, apply(probs, decision), decision)
                rows[name].append(unit_row(metric, space.competition, said, truth))
                if name == "at 0.5":
                    pictures.append(_picture(images, image_id, block, said, truth))
                    pictures = sorted(pictures, key=lambda item: item[0])[:SHOWN]
    scores = {name: metric.score(pd.DataFrame(table)) for name, table in rows.items()}
    best = max(scores, key=lambda name: (np.nan_to_num(scores[name], nan=-1.0), name == "at 0.5"))
    result: dict[str, Any] = {"score": scores[best], "at_0.5": scores.get("at 0.5", scores[best])}
    if best in THRESHOLDS:
        result["best_threshold"] = THRESHOLDS[best] / 255
    for number, (_, picture) in enumerate(pictures):
        result[f"worst_{number}"] = picture
    return result


def _read_parts(
    path: Path, masks: MaskReader, row: Mapping[str, Any], blocks: Sequence[Block | None]
) -> Iterator[tuple[Block | None, np.ndarray, Truth]]:
    """Each held-out part of an image with its probabilities and its truth."""
    with open_prediction(path) as prediction:
        height, width = prediction.shape[-2:]
        truth = masks.read(row, (prediction.shape[1] if len(prediction.shape) == 4 else 1, height, width))
        for block in blocks:
            rows, cols = extent(block)
            yield block, prediction.read(rows=rows, cols=cols), truth.window(rows, cols)


def grid_decisions(space: Workspace) -> dict[str, Decision]:
    """The candidate decisions of a validation, by name."""
    competition, model = space.competition, space.experiment.model
    common: dict[str, Any] = {
        "fingerprint": "validation", "classes": competition.classes, "channels": model.channels,
        "exclusive": competition.exclusive,
    }  # fmt: skip
    if competition.exclusive:
        return {"at 0.5": Decision(**common, rule=ArgmaxRule())}
    if host_metric(competition.metric).needs == "instances":
        common["instances"] = InstanceSettings()
    return {
        name: Decision(**common, rule=ThresholdRule(thresholds=[q] * len(competition.classes)))
        for name, q in THRESHOLDS.items()
    }


def _picture(
    images: ListedImages, image_id: str, block: Block | None, said: Segmentation, truth: Truth
) -> tuple[float, np.ndarray]:
    """Dice of the foreground in the middle slice, and the slice with what is right, missed and too much."""
    source, slices = images.open(image_id)
    middle = len(slices) // 2
    keep = [index for index, name in enumerate(images.competition.classes) if name != "background"]
    mask = np.asarray(said.planes[keep, middle].any(axis=0))
    true = np.asarray(truth.planes[keep, middle].any(axis=0))
    total = int(mask.sum()) + int(true.sum())
    dice = 2 * int((mask & true).sum()) / total if total else 1.0
    step = -(-max(mask.shape) // SHOWN_SIDE)
    rows, cols = extent(block)
    return dice, overlay(
        read_thinned(source, slices[middle], step, rows, cols), mask[::step, ::step], true[::step, ::step]
    )
