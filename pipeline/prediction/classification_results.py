"""What a classifier says beside the truth: how right it is, as numbers, as a table and as a sheet of pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from inference.predict.store import open_prediction, prediction_path
from pipeline.data.fold_tables import open_folds
from pipeline.pictures import save_figure, sheet
from pipeline.workspace import Workspace
from submissions.host.atomic import write_atomic
from submissions.host.competition import Competition
from submissions.host.listed_images import ListedImages
from submissions.host.masks import MaskReader, classes_shown
from submissions.table.show import shown

ANSWERS = "answers.csv"
SHEET = Path("pictures", "answers.png")
SHOWN = 12
LEAST = 1 / 510  # a stored probability of 0 may have been this large


def classification_table(
    images: ListedImages, masks: MaskReader, found: Iterable[tuple[str, Path]], classes: Sequence[str]
) -> pd.DataFrame:
    """One row per image of (id, prediction): image_id, p_<class> in [0, 1] and is_<class> bool."""
    rows = []
    for image_id, path in found:
        row = images.row(image_id)
        with open_prediction(path) as prediction:
            said = prediction.read()[:, 0, 0] / 255
        depth, height, width = (int(row[name]) for name in ("depth", "height", "width"))
        seen = classes_shown(masks.read(row, (depth, height, width)))
        probs = {f"p_{name}": float(p) for name, p in zip(classes, said, strict=True)}
        truth = {f"is_{name}": bool(is_) for name, is_ in zip(classes, seen, strict=True)}
        rows.append({"image_id": image_id, **probs, **truth})
    return pd.DataFrame(rows)


def classification_scores(table: pd.DataFrame, classes: Sequence[str], *, exclusive: bool) -> dict[str, float]:
    """Accuracy in [0, 1] and mean loss in nats of `classification_table`.

    Exclusive classes: share of images whose most probable class is theirs, and cross-entropy. Others: share of right
    answers to "does the image show the class" at 0.5, and binary cross-entropy, over images and classes.
    """
    losses = _losses(table, classes, exclusive=exclusive)
    probs, truth = classification_arrays(table, classes)
    right = truth[np.arange(len(truth)), probs.argmax(axis=1)] if exclusive else (probs >= 0.5) == truth
    return {"accuracy": float(right.mean()), "loss": float(losses.mean())}


def classification_arrays(table: pd.DataFrame, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities float64 and truth bool, both (N, K), of `classification_table`."""
    probs = table[[f"p_{name}" for name in classes]].to_numpy(float)
    return probs, table[[f"is_{name}" for name in classes]].to_numpy(bool)


def _losses(table: pd.DataFrame, classes: Sequence[str], *, exclusive: bool) -> np.ndarray:
    """Loss of each image, float64 (N,)."""
    probs, truth = classification_arrays(table, classes)
    if exclusive:
        return -np.log(np.clip((probs * truth).sum(axis=1), LEAST, 1))
    return -np.log(np.clip(np.where(truth, probs, 1 - probs), LEAST, 1)).mean(axis=1)


def write_classification(space: Workspace, folder: Path) -> dict[str, float]:
    """answers.csv (with the fold) beside the out-of-fold predictions in `folder`, the sheet, and their scores."""
    listing, _ = space.training_images()
    folds, _ = open_folds(space)
    used = folds[folds["fold"].isin(space.experiment.used_folds)]
    images = ListedImages(space.competition, space.data, listing)
    ids = used["image_id"].astype(str).tolist()
    found = [(image_id, prediction_path(folder, image_id)) for image_id in ids]
    classes, exclusive = space.competition.classes, space.experiment.model.activation == "softmax"
    table = classification_table(images, MaskReader(space.competition, space.data), found, classes)
    table.insert(1, "fold", used["fold"].to_numpy())
    write_atomic(folder / ANSWERS, table.to_csv(index=False, lineterminator="\n"))
    losses = _losses(table, classes, exclusive=exclusive)
    worst = np.argsort(-losses, kind="stable")[: SHOWN // 2]
    spread = np.linspace(0, len(table) - 1, SHOWN - len(worst)).round().astype(int)
    chosen = list(dict.fromkeys([*worst.tolist(), *spread.tolist()]))
    save_figure(sheet([_cell(space.competition, images, table.iloc[index]) for index in chosen]), space.own / SHEET)
    return classification_scores(table, classes, exclusive=exclusive)


def _cell(competition: Competition, images: ListedImages, row: Any) -> tuple[str, np.ndarray]:
    reader, slices = images.open(str(row["image_id"]))
    truth = [name for name in competition.classes if row[f"is_{name}"]] or ["nothing"]
    likely = sorted(competition.classes, key=lambda name: -row[f"p_{name}"])[:2]
    said = ", ".join(f"{name} {row[f'p_{name}']:.2f}" for name in likely)
    return f"{row['image_id']}\nis {', '.join(truth)}\nsaid {said}", shown(reader.read(slices[0]))
