"""Resolution ceiling: what a perfect network would lose by working at a smaller size, before anyone trains one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from inference.decide.decision import decision_group
from inference.predict.resample import RowResizer
from pipeline.data.scaling import resize_label, resize_planes, working_size
from pipeline.pictures import draw_lines
from pipeline.workspace import Workspace
from submissions.host.atomic import write_atomic
from submissions.host.competition import Competition
from submissions.host.masks import MaskReader, Truth
from submissions.table.scoring import Segmentation, host_metric, unit_row

SCALES = (1.0, 0.75, 0.5, 0.375, 0.25, 0.125)


def there_and_back(truth: Truth, scale: float, *, exclusive: bool) -> Segmentation:
    """The truth at a working scale, brought back to the host's grid as a prediction would be.

    Planes are cut at one half after both steps (exclusive classes: the largest wins); instances keep the number of
    the pixel under the centre.
    """
    host = (truth.planes.shape[2], truth.planes.shape[3])
    size = working_size(host, scale)
    slices = []
    for z in range(truth.planes.shape[1]):
        small = resize_planes(truth.planes[:, z], size)
        pixels = np.ascontiguousarray(np.moveaxis(small, 0, -1), np.float32)
        shares = np.moveaxis(RowResizer(size, host).push(pixels), -1, 0)
        best = shares.argmax(axis=0)
        slices.append(np.stack([best == k for k in range(len(shares))]) if exclusive else shares >= 0.5)
    planes = np.stack(slices, axis=1)
    if truth.instances is None:
        return Segmentation(planes)
    label = np.stack([resize_label(resize_label(one, size), host) for one in truth.instances])
    return Segmentation((label > 0)[None], label)


def resolution_ceiling(
    space: Workspace, scales: Sequence[float] = SCALES, *, progress: Callable[[list[str]], Iterable[str]] = iter
) -> pd.DataFrame:
    """The ceilings of all training images, as `ceilings` gives them. Needs stage 01."""
    listing, _ = space.training_images()
    records = [{str(name): value for name, value in row.items()} for row in listing.to_dict("records")]
    rows = {str(row["image_id"]): row for row in records}
    order = progress(sorted(rows))
    return ceilings(space.competition, MaskReader(space.competition, space.data), (rows[one] for one in order), scales)


def ceilings(
    competition: Competition, masks: MaskReader, rows: Iterable[dict[str, Any]], scales: Sequence[float]
) -> pd.DataFrame:
    """Score of the truth against itself for each working scale: rows scale, group, images, score.

    `rows`: of a listing, with depth, height and width. The group 'all' comes first, then the contract's first stratum
    where it has one. Images are scored one by one, whatever unit the host scores.
    """
    metric = host_metric(competition.metric)
    found: dict[float, list[dict[str, object]]] = {scale: [] for scale in scales}
    for fields in rows:
        truth = masks.read(fields, (int(fields["depth"]), int(fields["height"]), int(fields["width"])))
        for scale in scales:
            said = there_and_back(truth, scale, exclusive=competition.exclusive)
            own = {"group": decision_group(competition, fields) or ""}
            found[scale].append({**own, **unit_row(metric, competition, said, truth)})
    result = []
    for scale in scales:
        table = pd.DataFrame(found[scale])
        result.append((scale, "all", len(table), metric.score(table)))
        if table["group"].nunique() > 1:
            result += [(scale, str(name), len(part), metric.score(part)) for name, part in table.groupby("group")]
    return pd.DataFrame(result, columns=["scale", "group", "images", "score"])


def write_ceiling(space: Workspace, table: pd.DataFrame) -> Path:
    """Write the table and the curve into the experiment's folder; returns the picture."""
    folder = space.own / "ceiling"
    write_atomic(folder / "ceiling.csv", table.to_csv(index=False, lineterminator="\n"))
    wide = table.pivot(index="scale", columns="group", values="score").sort_index()
    lines = {str(name): wide[name].tolist() for name in wide}
    path = folder / "ceiling.png"
    draw_lines(lines, wide.index.tolist(), ("working size / host's size", space.competition.metric.name), path)
    return path
