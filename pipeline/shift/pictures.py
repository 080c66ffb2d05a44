"""The pictures of the shift report: a map of both sets, and each source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.pictures import draw_pairs, new_figure, save_figure
from pipeline.shift.appearance import FULL, principal, standardised
from pipeline.shift.similar_images import pairs_to_show, thumbnails_of
from pipeline.workspace import Workspace
from submissions.host.listing import spread

TRAINING, TEST = "#4c78a8", "#f58518"
DRAWN = 28
ACROSS = 8
ROWS = 12
FRAME = 4
PAIRS = 12


def draw_map(features: pd.DataFrame, test: np.ndarray, thumbnails: np.ndarray, path: Path) -> None:
    """Both sets along the two directions in which images differ most, with thumbnails of images spread over them.

    features: rows of `appearance`; test: bool (N,); thumbnails: uint8 (N, 64, 64). Frames are blue in training,
    orange in test.
    """
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    values = principal(standardised(features), most=2, share=1.0)
    points = np.zeros((len(features), 2))
    points[:, : values.shape[1]] = values
    figure, axes = new_figure(1, 1, 11, 7.5)
    axis = axes[0, 0]
    chosen = []
    for side, colour, name, size in ((~test, TRAINING, "training", 12), (test, TEST, "test", 22)):
        label = f"{name}, {int(side.sum())} images"
        axis.scatter(*points[side].T, s=size, color=colour, alpha=0.65, linewidths=0, label=label)
        rows = np.flatnonzero(side)
        chosen += [int(rows[place]) for place in farthest(points[rows], DRAWN // 2)] if len(rows) else []
    for row in chosen:
        colour = TEST if test[row] else TRAINING
        small = OffsetImage(thumbnails[row], zoom=0.6, cmap="gray", norm=None, interpolation="nearest")
        small.image.set_clim(0, 255)
        frame = {"edgecolor": colour, "linewidth": 2.2}
        axis.add_artist(AnnotationBbox(small, points[row], pad=0.08, bboxprops=frame))
    axis.set_xlabel("first principal component of what images are like")
    axis.set_ylabel("second")
    axis.margins(0.08)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, 1.07), ncols=2, frameon=False)
    save_figure(figure, path)


def farthest(points: np.ndarray, count: int) -> list[int]:
    """Rows that lie far from each other, each the farthest from those before; the first is nearest to the middle."""
    chosen = [int(((points - np.median(points, axis=0)) ** 2).sum(axis=1).argmin())]
    away = ((points - points[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < min(count, len(points)) and away.max() > 0:
        chosen.append(int(away.argmax()))
        away = np.minimum(away, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return chosen


def draw_sources(table: pd.DataFrame, thumbnails: np.ndarray, path: Path) -> None:
    """One line per source, largest first: images spread over it, each framed in its own median colour."""
    counts = table["source"].astype(str).value_counts()
    names = sorted(counts.index, key=lambda name: (-counts[name], name))[:ROWS]
    figure, axes = new_figure(len(names), ACROSS, 1.35 * ACROSS, 1.62 * len(names))
    for axis in axes.flat:
        axis.axis("off")
    for line, name in zip(axes, names, strict=True):
        rows = np.flatnonzero(table["source"].astype(str) == name)
        for axis, row in zip(line, spread(rows.tolist(), ACROSS), strict=False):
            axis.imshow(_framed(table.iloc[row], thumbnails[row]), interpolation="nearest")
        split = table["split"].iloc[rows]
        words = f"{name}: {int((split == 'train').sum())} training, {int((split == 'test').sum())} test images"
        line[0].set_title(words, fontsize=9, loc="left")
    save_figure(figure, path)


def _framed(row: pd.Series, thumbnail: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3): thumbnails are grey and of full contrast, so the frame says the colour and brightness."""
    top = FULL.get(str(row["dtype"]), 0.0)
    medians = [row.get(f"image_channel_{channel}_p50", np.nan) for channel in range(3)]
    if np.isnan(medians).any():
        medians = [medians[0]] * 3
    known = top > 0 and np.isfinite(medians).all()
    colour = np.array(medians) / top * 255 if known else np.full(3, 255.0)
    framed = np.full((thumbnail.shape[0] + 2 * FRAME, thumbnail.shape[1] + 2 * FRAME, 3), np.rint(colour), np.uint8)
    framed[FRAME:-FRAME, FRAME:-FRAME] = thumbnail[:, :, None]
    return framed


def draw_copies(space: Workspace, copies: pd.DataFrame, path: Path) -> None:
    """Test images (image_b) beside the training images (image_a) that show the same; where there are none, no file."""
    if copies.empty:
        return
    shown = pairs_to_show(copies, PAIRS)
    images = [thumbnails_of(space, "test", shown["image_b"]), thumbnails_of(space, "train", shown["image_a"])]
    titles = [
        f"{row['kind']} {row['similarity']:.2f}\n{row['image_b']} (test)\n{row['image_a']} (training)"
        for row in shown.to_dict("records")
    ]
    draw_pairs(list(zip(*images, titles, strict=True)), path)
