"""The page's section on the test images before anything was trained: are they like the training images?"""

from __future__ import annotations

import json

import cv2
import numpy as np
import pandas as pd

from pipeline.report.finished_run import FinishedRun
from pipeline.report.image_pictures import data_uri
from pipeline.report.markup import Safe, element, number, picture, table
from pipeline.report.sections import absent, section

WIDE = 1200
ROWS = 10


def test_against_training(run: FinishedRun) -> Safe:
    """Sentences, the map of both sets, what only test has, what tells most, the most foreign images, the sources."""
    parts: list[Safe] = []
    path = run.beside_folds("shift.json")
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        parts.append(element("ul", *(element("li", sentence) for sentence in found["sentences"])))
        parts += _drawn(run, "shift.png", "training and test images by what they are like")
        parts += _table(run, "shift_one_sided.csv", "Only in test", ["property", "images", "values", "training"])
        parts += _table(run, "shift_copies.csv", "Shown by training, too", ["image_a", "image_b", "kind", "similarity"])
        parts += _drawn(run, "shift_copies.png", "test images on the left that show what a training image shows")
        parts += _table(run, "shift_measures.csv", "What tells them apart", ["measure", "auc", "training", "test"])
        columns = ["image_id", "source", "foreign", "nearest_1", "nearest_2", "nearest_3"]
        parts += _table(run, "shift_images.csv", "Test images that look most unlike training", columns)
    else:
        parts.append(absent("Stage 02 had no test images to compare with training."))
    parts += _drawn(run, "sources.png", "sources of images; frames have the images' own median colour")
    return section("shift", "Test against training", *parts)


def _drawn(run: FinishedRun, name: str, title: str) -> list[Safe]:
    path = run.beside_folds(name)
    if not path.is_file():
        return []
    pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    return [element("figure", picture(data_uri(np.asarray(pixels), side=WIDE), title))]


def _table(run: FinishedRun, name: str, title: str, columns: list[str]) -> list[Safe]:
    """The first rows under a heading; nothing where there are none."""
    path = run.beside_folds(name)
    text = {column: str for column in columns if column not in ("auc", "training", "test", "foreign", "similarity")}
    rows = pd.read_csv(path, dtype=text, keep_default_na=False, na_values=[""]).head(ROWS)
    if rows.empty:
        return []
    cells = [[_shown(value) for value in row] for row in rows[columns].to_numpy(dtype=object)]
    return [element("h3", title), table(columns, cells)]


def _shown(value: object) -> str:
    return number(value, 3) if isinstance(value, float) else str(value)
