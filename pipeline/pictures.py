"""Pictures of what was made: masks over images, fold balance, pairs of images that look alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from submissions.host.atomic import partial_path
from submissions.table.show import PALETTE, overlay, overlay_label, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#1f2933"
VOID_COLOUR = (128, 128, 128)
TITLE, MOST_NAMED = 36, 12


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG beside its final name and rename it; the canvas needs no screen. Names are drawn as they are written:
    dollar signs begin no formula, and what is no UTF-8 is shown as question marks.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_text(text.get_text().encode("utf-8", "replace").decode("utf-8"))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    figure.savefig(partial, dpi=110, format="png", facecolor="white", bbox_inches="tight")
    partial.replace(path)


def new_figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """Figure with a grid of axes (rows, columns); nothing global is touched."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(
        {"font.size": 9, "text.color": INK, "axes.titlecolor": INK, "axes.edgecolor": "#9aa5b1"}
    ):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots(rows, columns, squeeze=False)


def draw_comparison(rows: Sequence[tuple[str, np.ndarray, np.ndarray, np.ndarray]], path: Path) -> None:
    """Image, prediction, truth and their difference, one row per image: (name, image, mask, truth)."""
    figure, axes = new_figure(len(rows), 4, 10, 2.9 * len(rows))
    for line, (name, image, mask, truth) in zip(axes, rows, strict=True):
        total = int(mask.sum()) + int(truth.sum())
        dice = 2 * int((mask & truth).sum()) / total if total else 1.0
        panels = [
            (shown(image), name), (overlay(image, mask), "prediction"), (overlay(image, truth), "truth"),
            (overlay(image, mask, truth), f"Dice {dice:.3f}: green right, blue missed, red extra"),
        ]  # fmt: skip
        for axis, (picture, title) in zip(line, panels, strict=True):
            axis.imshow(picture, interpolation="nearest")
            axis.set_title(title, fontsize=8)
            axis.axis("off")
    save_figure(figure, path)


def sheet(pictures: Sequence[tuple[str, np.ndarray]], *, across: int = 4, side: float = 2.6) -> Figure:
    """Pictures uint8 (H, W, 3) or (H, W) under their titles, `across` in a line, each `side` inches wide."""
    lines, wide = -(-len(pictures) // across), round(14 * side)
    tallest = max((pixels.shape[0] / pixels.shape[1] for _, pixels in pictures), default=1.0)
    titles = [name.split("\n") for name, _ in pictures]
    above = 0.15 * (1 + max(map(len, titles), default=0))
    made, axes = new_figure(lines, across, side * across, (side * tallest + above) * lines)
    for axis in axes.flat:
        axis.axis("off")
    for axis, title, (_, pixels) in zip(axes.flat, titles, pictures, strict=False):
        axis.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axis.set_title("\n".join(part if len(part) <= wide else f"{part[: wide - 1]}…" for part in title), fontsize=8)
    return made


def beside(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Two thumbnails uint8 (H, W) of one height as one picture, a white gap between them."""
    return np.hstack([first, np.full((len(first), 3), 255, np.uint8), second])


def draw_guess(
    cells: Sequence[tuple[str, np.ndarray, np.ndarray, np.ndarray | None]], path: Path, *, names: Sequence[str]
) -> None:
    """Images beside what is taken for their masks: (name, image, label with 0 for nothing, void), three in a line.

    Label k has the colour of `names[k - 1]`, which stand above the pictures; without names every label is an object.
    """
    pictures = []
    for name, image, label, void in cells:
        picture = overlay_label(image, label)
        if void is not None:
            picture[void] = VOID_COLOUR
        share = float((label > 0).mean())
        pictures += [(name[-TITLE:], shown(image)), (f"mask: {share:.1%} of the area", picture)]
    figure = sheet(pictures, across=2 * min(3, len(cells)))
    for number, name in enumerate(names[:MOST_NAMED]):
        colour = PALETTE[number % len(PALETTE)] / 255
        figure.text(0.01 + number / MOST_NAMED, 1.01, name, color=colour, fontsize=9, weight="bold")
    save_figure(figure, path)


def draw_balance(balance: pd.DataFrame, path: Path) -> None:
    """One panel per column of the fold balance (index: fold, last row 'all'), one bar per fold, the whole as a line."""
    columns = [name for name in ("images", "groups", "train", "empty", "distance") if name in balance]
    columns += [str(name) for name in balance if str(name).startswith("share_")]
    figure, axes = new_figure(1, len(columns), 2.4 * len(columns), 2.6)
    folds = balance.drop(index="all", errors="ignore")
    for axis, name in zip(axes[0], columns, strict=True):
        axis.bar([str(fold) for fold in folds.index], folds[name].astype(float), color="#4c78a8")
        if "all" in balance.index and (name == "empty" or str(name).startswith("share_")):
            axis.axhline(balance[name].astype(float)["all"], color="#e45756", linewidth=1, linestyle="--")
        axis.set_title(str(name), fontsize=9)
        axis.set_xlabel("fold")
        axis.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def draw_pairs(pairs: Sequence[tuple[np.ndarray, np.ndarray, str]], path: Path) -> None:
    """Thumbnails of pairs, each side by side under what they have in common; three pairs in a line."""
    save_figure(sheet([(title, beside(first, second)) for first, second, title in pairs], across=3, side=3.6), path)


def draw_lines(lines: Mapping[str, Sequence[Any]], x: Sequence[float], labels: tuple[str, str], path: Path) -> None:
    """Curves over a common x."""
    figure, axes = new_figure(1, 1, 6, 3.6)
    axis = axes[0, 0]
    for name, values in lines.items():
        axis.plot(x, values, label=name, linewidth=1.5)
    axis.set_xlabel(labels[0])
    axis.set_ylabel(labels[1])
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    save_figure(figure, path)
