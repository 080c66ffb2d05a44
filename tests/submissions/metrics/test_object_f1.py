"""F1 of objects that are outlines: areas of polygons, whatever pixels they cover."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drawn_hosts import SHAPE, rle_contract, write_rle_host

from submissions.answers import answer_of
from submissions.answers.scoring import score_submission
from submissions.host.masks import MaskReader
from submissions.metrics import build_metric
from submissions.metrics.object_f1 import Outlines, outline_overlaps
from submissions.table.scoring import Segmentation, unit_row

shapely = pytest.importorskip("shapely")

Box = tuple[float, float, float, float]
TRUTH, PRED = (3.55, 4.55, 6.45, 7.45), (4.0, 5.0, 6.0, 7.0)  # the same four pixels; 4 of 8.41 square pixels
BUILDINGS = {
    "masks": {
        "kind": "rle",
        "table": {"file": "t.csv"},
        "column": "rle",
        "dialect": {"kind": "wkt"},
        "instances": True,
    },
    "metric": {"name": "object_f1"},
    "submission": {"rows": "instance", "dialect": {"kind": "wkt"}},
    "tables": [],
    "group": None,
}


def outlines(boxes: list[Box]) -> Outlines:
    return Outlines([shapely.box(*box) for box in boxes])


def counts(pred: list[Box], truth: list[Box], **params: float) -> list[float]:
    row = build_metric("object_f1", **params).rows(outlines(pred), outlines(truth))
    return [row[name] for name in ("tp", "fp", "fn")]


def slow_counts(pred: list[Box], truth: list[Box]) -> list[float]:
    """Predictions in turn take the truth they overlap most, where that is more than half; for boxes apart."""

    def iou(a: Box, b: Box) -> float:
        width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        inter = max(0.0, width) * max(0.0, height)
        return inter / (sum((one[2] - one[0]) * (one[3] - one[1]) for one in (a, b)) - inter)

    left, tp = list(truth), 0
    for one in pred:
        shares = [iou(one, other) for other in left]
        if shares and max(shares) > 0.5:
            left.pop(int(np.argmax(shares)))
            tp += 1
    return [tp, len(pred) - tp, len(left)]


def test_areas_are_those_of_polygons() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        corners = [(12.3 * k, float(rng.uniform(0, 9))) for k in range(6)]
        truth = [(x, y, x + rng.uniform(3, 9), y + rng.uniform(3, 9)) for x, y in corners]
        pred = [tuple(np.add(box, rng.uniform(-1.5, 1.5, 4)).tolist()) for box in truth[: rng.integers(0, 7)]]
        assert counts(pred, truth) == slow_counts(pred, truth)
    found = outline_overlaps(outlines([PRED]), outlines([TRUTH]))
    assert (found.inter.tolist(), found.truth_areas.tolist(), found.pred_areas.tolist()) == ([40000], [84100], [40000])


def test_each_object_is_matched_once_and_small_ones_are_left_out() -> None:
    assert counts([(0, 0, 4, 4)], [(0, 0, 4, 4), (0, 0, 4, 3.9)]) == [1, 0, 1]  # two buildings one above the other
    assert counts([(0, 0, 4, 4), (0, 0, 4, 3)], [(0, 0, 4, 4)]) == [1, 1, 0]
    assert counts([], []) == [0, 0, 0] and counts([PRED], []) == [0, 1, 0] and counts([], [PRED]) == [0, 0, 1]
    assert counts([(0, 0, 5, 4)], [(0, 0, 5, 3.9), (9, 9, 14, 13)], min_area=20) == [0, 0, 1]


def test_out_of_fold_and_on_the_hosts_table_outlines_are_compared(tmp_path: Path) -> None:
    write_rle_host(tmp_path, test=1)
    contract = rle_contract(**BUILDINGS)
    texts = {name: shapely.to_wkt(shapely.box(*box)) for name, box in (("truth", TRUTH), ("pred", PRED))}
    for name, cell in texts.items():
        pd.DataFrame({"id": ["test00"], "rle": [cell]}).to_csv(tmp_path / f"{name}.csv", index=False)
    for given, score in (("truth", 1), ("pred", 0)):
        found = score_submission(contract, tmp_path / f"{given}.csv", tmp_path / "truth.csv", tmp_path)
        assert found.score == score
    pd.DataFrame({"id": ["a"] * 2, "rle": [texts["truth"], "POLYGON EMPTY"]}).to_csv(tmp_path / "t.csv", index=False)
    row = {"image_id": "a", "id": "a", "path": "train/a.png", "page": -1}
    truth = MaskReader(contract, tmp_path).read(row, (1, *SHAPE))
    label = np.zeros((1, *SHAPE), np.int32)
    label[0, 5:7, 4:6] = 1
    assert truth.instances is not None and np.array_equal(truth.instances, label) and truth.outlines is not None
    said = Segmentation(label[None] > 0, label)
    metric = build_metric("object_f1")
    assert unit_row(metric, contract, said, truth)["score"] == 1  # as pixels, while a decision is looked for
    through = answer_of(contract).through({"image_id": "a"}, said)
    assert unit_row(metric, contract, through, truth)["score"] == 0
    assert truth.window(slice(0, 9), slice(0, 9)).outlines is None
