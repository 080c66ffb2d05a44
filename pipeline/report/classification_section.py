"""A classifier on the page: which classes it takes for which, its most confident mistakes, and how far its
probabilities can be believed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.prediction.classification_results import ANSWERS, classification_arrays
from pipeline.report.figures import calibration_figure, counts_figure
from pipeline.report.finished_run import FinishedRun
from pipeline.report.image_pictures import data_uri
from pipeline.report.markup import Safe, element, figure, number, picture, table
from pipeline.report.sections import absent, section

MISTAKES = 24
BINS = 10


def classification(run: FinishedRun) -> Safe:
    """Confusion, calibration and mistakes of the out-of-fold answers of a classifier."""
    path = run.runs[0].folder / "oof" / ANSWERS
    if not path.is_file():
        return section("answers", "Classes of images", absent("Stage 05 left no answers.csv."))
    found = pd.read_csv(path, dtype={"image_id": str}, keep_default_na=False)
    classes, exclusive = run.space.competition.classes, run.space.competition.exclusive
    probs, truth = classification_arrays(found, classes)
    confused = confusion(probs, truth, classes) if exclusive else None
    bins, error = calibration(probs, truth, exclusive=exclusive)
    words = (
        f"Expected calibration error {number(error)}: so far, on average, the probability of an answer lies from the "
        "share of right ones. Points below the line are answers that were surer than right."
    )
    parts = (
        [] if confused is None else [element("h3", "Confusion"), figure(counts_figure(confused), "confusion-figure")]
    )
    parts += [element("h3", "Recall and precision"), _by_class(probs, truth, classes, exclusive=exclusive)]
    parts += [element("h3", "Calibration"), figure(calibration_figure(bins), "calibration-figure")]
    parts += [element("p", words, class_="note"), element("h3", "Most confident mistakes")]
    wrong = mistakes(found["image_id"].tolist(), probs, truth, classes, exclusive=exclusive)
    return section("answers", "Classes of images", *parts, _mistakes(run, wrong, len(found)))


def confusion(probs: np.ndarray, truth: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """Images by true class (row) and most probable class (column), of probs and truth (N, K), one class per image."""
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (truth.argmax(axis=1), probs.argmax(axis=1)), 1)
    return pd.DataFrame(counts, index=classes, columns=classes)


def calibration(probs: np.ndarray, truth: np.ndarray, *, exclusive: bool) -> tuple[pd.DataFrame, float]:
    """One row per bin of equal width that holds answers (said: mean probability, right: share, answers: number), and
    the expected calibration error in [0, 1]: the mean distance of the two, each bin weighed by its answers.

    An answer is an image's most probable class; where classes do not exclude each other, each class of each image, as
    the likelier of yes and no. After Guo et al. 2017, arXiv:1706.04599.
    """
    if exclusive:
        said, right = probs.max(axis=1), truth[np.arange(len(truth)), probs.argmax(axis=1)]
    else:
        said, right = np.maximum(probs, 1 - probs).ravel(), ((probs >= 0.5) == truth).ravel()
    place = np.minimum((said * BINS).astype(int), BINS - 1)
    rows = [
        (float(said[place == k].mean()), float(right[place == k].mean()), int((place == k).sum()))
        for k in np.unique(place)
    ]
    found = pd.DataFrame(rows, columns=["said", "right", "answers"])
    apart = (found["said"] - found["right"]).abs()
    return found, float((apart * found["answers"]).sum() / max(found["answers"].sum(), 1))


def mistakes(
    ids: list[str], probs: np.ndarray, truth: np.ndarray, classes: list[str], *, exclusive: bool
) -> list[tuple[str, str, str, float]]:
    """(image, said, true, probability of what was said) of wrong answers, the surest first."""
    if exclusive:
        said, true = probs.argmax(axis=1), truth.argmax(axis=1)
        wrong = [
            (ids[k], classes[said[k]], classes[true[k]], float(probs[k, said[k]])) for k in np.flatnonzero(said != true)
        ]
    else:
        rows, columns = np.nonzero((probs >= 0.5) != truth)
        yes = probs[rows, columns]
        wrong = [
            (
                ids[row],
                f"{'' if p >= 0.5 else 'no '}{classes[k]}",
                f"{'no ' if p >= 0.5 else ''}{classes[k]}",
                max(p, 1 - p),
            )
            for row, k, p in zip(rows.tolist(), columns.tolist(), yes.tolist(), strict=True)
        ]
    return sorted(wrong, key=lambda one: (-one[3], one[0]))


def _by_class(probs: np.ndarray, truth: np.ndarray, classes: list[str], *, exclusive: bool) -> Safe:
    said = np.eye(len(classes), dtype=bool)[probs.argmax(axis=1)] if exclusive else probs >= 0.5
    both = (said & truth).sum(axis=0)
    rows = [
        [name, int(truth[:, k].sum()), _share(both[k], truth[:, k].sum()), _share(both[k], said[:, k].sum())]
        for k, name in enumerate(classes)
    ]
    return table(["class", "images", "recall", "precision"], rows)


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def _mistakes(run: FinishedRun, wrong: list[tuple[str, str, str, float]], answered: int) -> Safe:
    if not wrong:
        return element("p", f"None among {answered} images.")
    shown = wrong[:MISTAKES]
    thumbnails = run.thumbnails([name for name, *_ in shown])
    boxes = [
        element("figure", picture(data_uri(small), name),
                element("figcaption", f"{name}: said {said} ({probability:.2f}), is {true}"))
        for (name, said, true, probability), small in zip(shown, thumbnails, strict=True)
    ]  # fmt: skip
    more = (
        f"{len(wrong)} of {answered} images answered wrongly"
        if run.space.competition.exclusive
        else f"{len(wrong)} wrong answers"
    )
    return Safe(
        element("p", f"{more}; the {len(shown)} surest:", class_="note") + element("div", *boxes, class_="strip")
    )
