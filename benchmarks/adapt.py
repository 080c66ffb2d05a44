"""What is gained by treating test images from elsewhere otherwise: other colours, other sizes, other norms?

    python benchmarks/forecast_caches.py CACHE --data ../shared/data          (an hour on a core, once)
    python benchmarks/adapt.py CACHE [--splits dsb-stain ...] [--arms colour norm_0.5 ...] [--images 24]
    python benchmarks/adapt.py --table                                        (the means of what was measured)

Every split of `forecast_caches.py` has like and foreign test images, a network, and a decision learned on the held-out
third of the training images. Each arm predicts test images anew, and they are decided as before. The rows of the given
splits and arms are replaced in benchmarks/results/adapt.csv: the score as it is and with the arm, of the same images.

colour: `predict.normalise: colour`, in the colours of the held-out third, which stand for all of training.
range: `predict.normalise: range`, the same of every image, foreign or not.
norm_A: statistics of batch norms a share A of the way to those of the part's first 12 images.
size: everything larger or smaller, so that the part's median object is as large as the held-out third's.
views: the eight views of D4, at eight times the time.
thresholds: nothing is predicted anew; of LEVELS the threshold of whose gain the forecast is sure, by a map taught on
out-of-fold images and shifted copies decided by that threshold, and by how far such gains were off on what it had not
seen.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn.modules.batchnorm import _BatchNorm

sys.path.insert(0, str(Path(__file__).parent))

from forecast import PARTS, Cache, CachedItem, criteria_of, decided_units, read_cache
from forecast_caches import SPLITS, Sample, Split, predicted

from inference.colours import Colours, in_training_colours, learn_colours, measured_quantiles
from inference.decide.components import label_components
from inference.decide.decision import Decision, apply
from inference.decide.rules import ThresholdRule
from inference.forecast.forecast import said_of_set
from inference.predict.members import ReadyMember, prepare_members
from inference.weights import LoadedModel, load_model
from pipeline.tuning.forecast.judging import judged_kinds
from pipeline.tuning.forecast.known_units import joined, scored_names
from pipeline.tuning.forecast.lessons import Lesson, fit_maps, left_out, span_of, stand_ins, targets_of, way_of
from pipeline.tuning.scores.criteria import Criteria
from pipeline.tuning.search import tune
from submissions.images.opening import ArrayReader

ARMS = ("colour", "range", "norm_0.25", "norm_0.5", "size", "views", "thresholds")
LEVELS = (51, 90, 128, 166, 205)
SURE = 0.8  # share of the gains left out that were no less than what is counted on
MAP = "neighbours"
RESULTS = Path("benchmarks/results/adapt.csv")
NORM_IMAGES, LARGEST = 12, 2.0
Pixels = dict[str, np.ndarray]


def read_pixels(folder: Path) -> Pixels:
    """image -> (Z, H, W, C)."""
    with np.load(folder / "pixels.npz") as stored:
        return {name: stored[name] for name in stored.files}


def known_colours(own: Sequence[CachedItem], pixels: Pixels) -> Colours | None:
    """Of the images whose truth is known."""
    quantiles = np.stack([measured_quantiles(ArrayReader(pixels[item.image_id])) for item in own])
    return learn_colours(quantiles, [item.group for item in own])


def recoloured(pixels: np.ndarray, colours: Colours) -> np.ndarray:
    """Pixels (Z, H, W, C) as a network is shown them."""
    seen = in_training_colours(ArrayReader(pixels), colours)
    return np.stack([seen.read(z) for z in range(len(pixels))])


def with_norms(loaded: LoadedModel, images: Sequence[np.ndarray], share: float) -> ReadyMember:
    """The model with the statistics of its batch norms a share of the way to those of the images."""
    changed = copy.deepcopy(loaded.model).eval()
    norms = [one for one in changed.modules() if isinstance(one, _BatchNorm) and one.running_mean is not None]
    before = [(one.running_mean.clone(), one.running_var.clone()) for one in norms]
    for one in norms:
        one.reset_running_stats()
        one.momentum = None
        one.train()
    unfolded = replace(prepare_members([loaded])[0], model=changed)
    for pixels in images:
        predicted(unfolded, alone(pixels))
    with torch.no_grad():
        for one, (mean, var) in zip(norms, before, strict=True):
            one.running_mean.mul_(share).add_(mean * (1 - share))
            one.running_var.mul_(share).add_(var * (1 - share))
    return prepare_members([replace(loaded, model=changed.eval())])[0]


def object_size(items: Sequence[CachedItem], decision: Decision) -> float:
    """Median of the objects' areas as they are decided, in pixels; NaN without any."""
    areas: list[int] = []
    for item in items:
        for plane in apply(item.probs(), decision).planes.reshape(-1, *item.probs().shape[-2:]):
            areas += list(label_components(plane)[1][1:])
    return float(np.median(areas)) if areas else float("nan")


def alone(pixels: np.ndarray) -> Sample:
    """An image without a truth."""
    return Sample("", "", pixels, np.zeros((1, *pixels.shape[:3]), bool), None, None)


def sized(member: ReadyMember, factor: float) -> ReadyMember:
    """Sees everything larger by a factor."""
    config = member.input_config
    return replace(member, input_config=config.model_copy(update={"scale": config.scale * factor}))


def viewed(member: ReadyMember) -> ReadyMember:
    """Predicts the eight views of D4."""
    return replace(member, predict_config=member.predict_config.model_copy(update={"views": ["d4"]}))


def spread(items: Sequence[CachedItem], most: int) -> list[CachedItem]:
    """At most so many, evenly spread."""
    count = min(most, len(items))
    return [items[index * len(items) // count] for index in range(count)]


Way = tuple[ReadyMember, Callable[[np.ndarray], np.ndarray]]


def way_of_arm(
    arm: str, loaded: LoadedModel, items: Sequence[CachedItem], cache: Cache, *, pixels: Pixels, decision: Decision
) -> Way | None:
    """The model and what it is shown of an image; None where the arm leaves everything as it is."""
    plain, member = (lambda seen: seen), prepare_members([loaded])[0]
    if arm in ("colour", "range"):
        colours = known_colours(cache.own, pixels)
        if colours is None:
            return None
        everything = {"everything": arm == "range"}
        return member, partial(recoloured, colours=colours.model_copy(update=everything))
    if arm.startswith("norm_"):
        first = [pixels[item.image_id] for item in items[:NORM_IMAGES]]
        return with_norms(loaded, first, float(arm.removeprefix("norm_"))), plain
    if arm == "size":
        ratio = object_size(cache.own, decision) / object_size(items, decision)
        factor = float(np.clip(np.sqrt(ratio), 1 / LARGEST, LARGEST)) if np.isfinite(ratio) else 1.0
        return sized(member, factor), plain
    return viewed(member), plain


def measured(split: Split, folder: Path, arms: Sequence[str], most: int) -> list[dict[str, Any]]:
    """A row an arm and part: the score as it is and with the arm; of `own` images, for arms that look at no part."""
    cache, pixels, loaded = read_cache(folder, split), read_pixels(folder), load_model(folder / "model")
    criteria = criteria_of(cache.competition)
    decision = tune(criteria, cache.own).decision
    parts = {part: spread(cache.test[part], most) for part in PARTS} | {"own": spread(cache.own, most)}
    rows = []
    rows += chosen_thresholds(split, cache, criteria, decision, parts) if "thresholds" in arms else []
    for arm in arms:
        for part, items in parts.items() if arm != "thresholds" else ():
            if part == "own" and arm not in ("colour", "range", "views"):
                continue
            way = way_of_arm(arm, loaded, items, cache, pixels=pixels, decision=decision)
            before = scored(criteria, decision, items)
            after = before if way is None else scored(criteria, decision, anew(items, pixels, way))
            rows.append({"split": split.name, "part": part, "arm": arm, "images": len(items), "before": before,
                         "after": after, "gain": after - before})  # fmt: skip
            print(split.name, part, arm, f"{before:.3f} -> {after:.3f}", flush=True)
    return rows


def chosen_thresholds(
    split: Split, cache: Cache, criteria: Criteria, decision: Decision, parts: dict[str, list[CachedItem]]
) -> list[dict[str, Any]]:
    """A row a test part: the score by the decision as learned, and by the threshold that the forecast chooses for it.

    The best gain that any of the thresholds has, which nobody can know, is `most`. Nothing of exclusive classes.
    """
    if cache.competition.exclusive:
        return []
    classes = scored_names(cache.competition)
    decisions = {"learned": decision} | {
        str(level): decision.model_copy(update={"rule": ThresholdRule(thresholds=[level] * len(decision.classes))})
        for level in LEVELS
    }
    arms = {name: forecast_of_arm(cache, criteria, one, parts, classes) for name, one in decisions.items()}
    rows = []
    for part in PARTS:
        sure = {name: sure_gain(arms["learned"], arm, part) for name, arm in arms.items()}
        chosen, true = max(sure, key=lambda name: sure[name]), {name: arm.true[part] for name, arm in arms.items()}
        row = {"before": true["learned"], "after": true[chosen], "gain": true[chosen] - true["learned"]}
        rows.append({"split": split.name, "part": part, "arm": "thresholds", "images": len(parts[part]), **row,
                     "most": max(true.values()) - true["learned"]})  # fmt: skip
        print(split.name, part, "thresholds", chosen, f"{true['learned']:.3f} -> {true[chosen]:.3f}", flush=True)
    return rows


@dataclass(frozen=True)
class Arm:
    """What is said of test parts under a decision, the truth, and how far off it was on what was left out."""

    said: dict[str, float]
    true: dict[str, float]
    off: dict[str, float]


def forecast_of_arm(
    cache: Cache, criteria: Criteria, decision: Decision, parts: dict[str, list[CachedItem]], classes: list[str]
) -> Arm:
    """Teach a map on own images and copies that are decided so, and ask it about the test parts decided so."""
    copies = [decided_units(criteria, decision, items, shift) for shift, items in cache.copies.items()]
    known = joined([decided_units(criteria, decision, cache.own), *copies])
    lesson = Lesson(known, criteria.metric, classes, left_out(known), span_of(known))
    maps = fit_maps(MAP, targets_of(lesson.aims, known.own))
    options: dict[str, Any] = {
        "classes": classes,
        "span": lesson.span,
        "known": stand_ins(known, maps, criteria.metric, lesson.span),
    }
    tests = {part: decided_units(criteria, decision, parts[part]) for part in PARTS}
    way = way_of(criteria.metric)
    return Arm(
        {part: said_of_set(way, maps, criteria.metric, test.units, **options) for part, test in tests.items()},
        {part: float(criteria.metric.score(test.rows)) for part, test in tests.items()},
        {one.name: one.said - one.truth for one in judged_kinds([MAP], lesson)[0].episodes},
    )


def sure_gain(learned: Arm, arm: Arm, part: str) -> float:
    """The gain that is said, less what one in five such gains was below what had been said of it; 0 of the same arm."""
    if arm is learned:
        return 0.0
    off = [arm.off[name] - learned.off[name] for name in learned.off if name in arm.off]
    return arm.said[part] - learned.said[part] - max(float(np.quantile(off, SURE)) if off else 1.0, 0.0)


def anew(items: Sequence[CachedItem], pixels: Pixels, way: Way) -> list[CachedItem]:
    """Items predicted again; those that are shown unchanged to the same network keep what they have."""
    member, shown = way
    found = []
    for item in items:
        seen = shown(pixels[item.image_id])
        same = isinstance(shown, partial) and np.array_equal(seen, pixels[item.image_id])
        found.append(item if same else replace(item, given=predicted(member, alone(seen))))
    return found


def scored(criteria: Criteria, decision: Decision, items: Sequence[CachedItem]) -> float:
    """The host's metric of items as decided."""
    return float(criteria.metric.score(decided_units(criteria, decision, items).rows))


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Arm and part: mean gain, least, most, number of splits."""
    return table.groupby(["arm", "part"])["gain"].agg(["mean", "min", "max", "size"]).round(4)


def policies(table: pd.DataFrame) -> pd.DataFrame:
    """Mean gain of `colour`, of `range`, of `range` where it is no loss on the training part's own images, and of the
    best of these and none for each part, which nobody can know.
    """
    gains = table[table["arm"].isin(["colour", "range"])].pivot(index="split", columns=["arm", "part"], values="gain")
    gains = gains.dropna()
    chosen = (gains["range", "own"] >= 0).to_numpy()
    found = {
        part: {
            "colour": gains["colour", part].mean(), "range": gains["range", part].mean(),
            "range where no loss": np.where(chosen, gains["range", part], gains["colour", part]).mean(),
            "best of each": gains[["colour", "range"]].xs(part, axis=1, level="part").max(axis=1).clip(lower=0).mean(),
        }
        for part in PARTS
    }  # fmt: skip
    return pd.DataFrame(found).round(4)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path, nargs="?")
    parser.add_argument("--splits", nargs="+", default=list(SPLITS), choices=list(SPLITS))
    parser.add_argument("--arms", nargs="+", default=list(ARMS))
    parser.add_argument("--images", type=int, default=40, help="of a part, at most")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="only show the means")
    arguments = parser.parse_args(argv)
    if arguments.cache is None and not arguments.table:
        parser.error("give the folder that forecast_caches.py made, or --table")
    for name in [] if arguments.table else arguments.splits:
        rows = pd.DataFrame(measured(SPLITS[name], arguments.cache / name, arguments.arms, arguments.images))
        kept = pd.read_csv(arguments.out) if arguments.out.is_file() else rows.iloc[:0]
        again = (kept["split"] == name) & kept["arm"].isin(arguments.arms)
        whole = pd.concat([kept[~again], rows]).sort_values(["arm", "split", "part"])
        whole.round(4).to_csv(arguments.out, index=False, lineterminator="\n")
    table = pd.read_csv(arguments.out)
    print(means(table).to_string())
    if {"colour", "range"} <= set(table["arm"]):
        print(policies(table).to_string())


if __name__ == "__main__":
    main()
