"""Does it help the forecast to know how far a prediction and that of the mirrored image are apart?

    python benchmarks/forecast_caches.py CACHE --data ../shared/data          (an hour on a core, once)
    python benchmarks/forecast_views.py CACHE [--splits dsb-stain ...]        (ten minutes)

Of every split the held-out images and their shifted copies are predicted once more, mirrored. Two features a unit come
of that: `views_apart`, log(1 + sum of absolute differences over that of the probabilities), and `views_dice`, the Dice
of both predictions at a half; the mean over the scored classes. What is judged by is the mean error of every kind of
map on what was left out of the training part (`pipeline.tuning.forecast.judging`), with and without them: no test image
is looked at. A line a split: the error of the best kind of map; then the means of all kinds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))

from adapt import alone, read_pixels
from forecast import Cache, CachedItem, criteria_of, decided_units, read_cache
from forecast_caches import SPLITS, Split, predicted, split_parser

from inference.predict.members import ReadyMember, prepare_members
from inference.weights import load_model
from pipeline.tuning.forecast import lessons
from pipeline.tuning.forecast.fitting import KINDS
from pipeline.tuning.forecast.judging import judged_kinds
from pipeline.tuning.forecast.known_units import joined, scored_names
from pipeline.tuning.forecast.lessons import NONE, Known, Lesson, left_out, span_of
from pipeline.tuning.search import tune

ARMS = {
    "without": (), "views_apart": ("views_apart",), "views_dice": ("views_dice",),
    "both": ("views_apart", "views_dice"),
}  # fmt: skip


def apart(one: np.ndarray, other: np.ndarray, classes: Sequence[int]) -> tuple[float, float]:
    """`views_apart` and `views_dice` of two predictions, uint8 (K, [Z,] H, W), in the mean over `classes`."""
    far, dice = [], []
    for k in classes:
        a, b = one[k].astype(np.int32), other[k].astype(np.int32)
        far.append(np.log1p(np.abs(a - b).sum() / max((a + b).sum() / 2, 255.0)))
        both, hard = ((a >= 128) & (b >= 128)).sum(), (a >= 128).sum() + (b >= 128).sum()
        dice.append(2 * both / hard if hard else 1.0)
    return float(np.mean(far)), float(np.mean(dice))


def with_views(
    known: Known, items: Sequence[CachedItem], member: ReadyMember, pixels: dict[str, np.ndarray], classes: list[int]
) -> Known:
    """The units with both features; every unit is an image."""
    shift = str(known.meta["shift"].iloc[0])
    found = {}
    for item in items:
        mirrored = predicted(member, alone(pixels[item.image_id]), shift=None if shift == NONE else shift)
        found[item.image_id] = apart(item.given, mirrored, classes)
    far, dice = np.array([found[str(name)] for name in known.units["unit"]]).T
    return Known(known.units.assign(views_apart=far, views_dice=dice), known.rows, known.meta)


def lesson_with_views(cache: Cache, folder: Path) -> Lesson:
    """What held-out images and copies teach, both features among it."""
    criteria, pixels = criteria_of(cache.competition), read_pixels(folder)
    decision = tune(criteria, cache.own).decision
    member = prepare_members([load_model(folder / "model")])[0]
    member = replace(member, predict_config=member.predict_config.model_copy(update={"views": ["hflip"]}))
    parts = []
    for shift, items in {NONE: cache.own, **cache.copies}.items():
        known = decided_units(criteria, decision, items, shift)
        parts.append(with_views(known, items, member, pixels, cache.competition.scored_classes))
    known = joined(parts)
    return Lesson(known, criteria.metric, scored_names(cache.competition), left_out(known), span_of(known))


def measured(split: Split, folder: Path) -> list[dict[str, object]]:
    """A row an arm and kind of map: the mean error on what was left out."""
    lesson = lesson_with_views(read_cache(folder, split), folder)
    rows: list[dict[str, object]] = []
    for arm, more in ARMS.items():
        with mock.patch.object(lessons, "FEATURES", (*lessons.FEATURES, *more)):
            fresh = replace(lesson, known=replace(lesson.known))  # it keeps the features that it found
            rows += [
                {"split": split.name, "arm": arm, "map": one.kind, "error": one.error}
                for one in judged_kinds(KINDS, fresh)
            ]
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    arguments = split_parser(__doc__).parse_args(argv)
    rows: list[dict[str, object]] = []
    for name in arguments.splits:
        rows += measured(SPLITS[name], arguments.cache / name)
        best = pd.DataFrame(rows[-len(ARMS) * len(KINDS) :]).groupby("arm", sort=False)["error"].min()
        print(name, best.round(4).to_dict(), flush=True)
    table = pd.DataFrame(rows)
    of_split = table.groupby(["split", "arm"], sort=False)["error"].min().unstack()
    print(table.groupby(["arm", "map"], sort=False)["error"].mean().unstack().round(4).to_string())
    print("best kind, mean:", of_split.mean().round(4).to_dict())
    nearer = of_split.lt(of_split["without"], axis=0).sum()
    print("nearer than without, splits:", nearer.to_dict(), "of", len(of_split))


if __name__ == "__main__":
    main()
