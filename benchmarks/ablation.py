"""What does each decision add, on networks that are there? Rules, post-processing, views one by one, tiles.

    python benchmarks/forecast_caches.py CACHE --data ../shared/data          (an hour on a core, once)
    python benchmarks/ablation.py CACHE [--splits dsb-stain ...]              (a minute a split)
    python benchmarks/ablation.py CACHE --shifted                             (two minutes)

Of every split the images that its network has not seen, from the same source as its training images, are decided again
by all rules that suit the set and all post-processing steps, and predicted again view by view and in tiles. Gains are
nested (parts of the groups, each decided by what the others taught) and paired. The splits given are replaced in
`benchmarks/results/ablation.json`, which `results.py table` prints. --shifted: twelve held-out images of each of the
seven networks of `monuseg`, decided as learned on all of them as they are, at half and twice the size and in other
stains: how far does the score fall, and what does each remedy bring back?
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))

from adapt import alone, known_colours, read_pixels, recoloured, spread
from forecast import CachedItem, criteria_of, decided_units, read_cache
from forecast_caches import SPLITS, Split, predicted
from gains import as_rows, decision_gains, view_gains

from inference.config import PredictConfig
from inference.predict.members import ReadyMember, prepare_members
from inference.predict.shifts import ShiftedReader, shifted_input
from inference.predict.tta_names import D4
from inference.weights import load_model
from pipeline.tuning.comparisons.paired import difference, judge_variants
from pipeline.tuning.rules.selection import suitable_rules
from pipeline.tuning.scores.criteria import Criteria
from pipeline.tuning.search import tune
from submissions.images.opening import ArrayReader
from submissions.metrics.intervals import Interval, paired_bootstrap

DEFAULT = ("dsb-stain", "tgs-deep", "pets-dogs", "camvid-0006R0", "monuseg-Kidney", "hippocampus-uint8", "isbi-last")
POST = ["min_area", "holes", "opening", "largest"]
SCALES = ("scale:0.75", "scale:1.25")
UPRIGHT = ("identity", "hflip")  # of photographs, roads and seismic sections; others have all of D4
TILES = {"whole": {"mode": "whole"}, "tiles that do not overlap": {"overlap": 0.0, "window": "uniform"},
         "tiles, a quarter shared": {"overlap": 0.25}, "tiles, half shared": {"overlap": 0.5}}  # fmt: skip
SHIFTED = 12  # images of a split
SHIFTS = ("scale:0.5", "scale:2", "stain:0.3", "stain:-0.3")
REMEDIES: dict[str, dict[str, Any]] = {
    "": {}, "normalise range": {}, "views at half and twice the size": {"views": ["identity", "scale:0.5", "scale:2"]},
}  # fmt: skip
RESULTS = Path("benchmarks/results/ablation.json")


def tuned(criteria: Criteria, items: Sequence[CachedItem]) -> list[tuple[str, Interval]]:
    """What all rules that suit and all post-processing steps gain."""
    rules = suitable_rules(criteria, 1) + ([] if criteria.competition.exclusive else ["hysteresis"])
    post = POST if len(criteria.competition.scored_classes) <= 3 else []  # class by class: 44 of CamVid's
    settings = criteria.settings.model_copy(update={"rules": list(dict.fromkeys(rules)), "post": post})
    return decision_gains(tune(replace(criteria, settings=settings), items))


def again(
    member: ReadyMember, items: Sequence[CachedItem], pixels: dict[str, np.ndarray], **settings: Any
) -> list[CachedItem]:
    """The items as the network predicts them with other prediction settings."""
    config = PredictConfig.model_validate({**member.predict_config.model_dump(), **settings})
    other = replace(member, predict_config=config)
    return [replace(item, given=predicted(other, alone(pixels[item.image_id]))) for item in items]


def tiled(criteria: Criteria, variants: dict[str, list[CachedItem]]) -> list[tuple[str, Interval]]:
    """What each way to cut the images loses or gains against whole images."""
    judged = judge_variants(criteria, variants)
    return [(f"{name} instead of whole images", difference(criteria, judged[name], judged["whole"]))
            for name in variants if name != "whole"]  # fmt: skip


def measured(split: Split, folder: Path) -> list[dict[str, Any]]:
    """The rows of a split."""
    cache, pixels = read_cache(folder, split), read_pixels(folder)
    criteria, items = criteria_of(cache.competition), [*cache.own, *cache.test["like"]]
    member = prepare_members([load_model(folder / "model")])[0]
    views = UPRIGHT if split.data in ("tgs-salt", "pets", "camvid") else D4
    apart: dict[str, Any] = {view: again(member, items, pixels, views=[view]) for view in (*views, *SCALES)}
    side = max(32, min(next(iter(pixels.values())).shape[1:3]) // 64 * 32)
    cut = {name: again(member, items, pixels, **{"mode": "tiles", "tile": [side, side], **settings})
           for name, settings in TILES.items()}  # fmt: skip
    return as_rows([*tuned(criteria, items), *view_gains(criteria, apart), *tiled(criteria, cut)])


def shifted_rows(split: Split, folder: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """Of every shift and remedy the metric's rows of the held-out images, with their unit and group."""
    cache, pixels = read_cache(folder, split), read_pixels(folder)
    criteria, member = criteria_of(cache.competition), prepare_members([load_model(folder / "model")])[0]
    decision, colours = tune(criteria, cache.own).decision, known_colours(cache.own, pixels)
    own = spread(cache.own, SHIFTED)
    for shift in ("none", *SHIFTS):
        seen, config = pixels, member.input_config
        if shift != "none":
            readers = {item.image_id: ShiftedReader(ArrayReader(pixels[item.image_id]), shift) for item in own}
            seen = {
                name: np.stack([reader.read(z) for z in range(reader.shape[0])]) for name, reader in readers.items()
            }
            config = shifted_input(config, shift)
        for remedy, settings in REMEDIES.items():
            shown = seen
            if remedy == "normalise range" and colours is not None:
                shown = {item.image_id: recoloured(seen[item.image_id], colours) for item in own}
            items = again(replace(member, input_config=config), own, shown, **settings)
            known = decided_units(criteria, decision, items)
            yield (
                f"{shift}|{remedy}",
                known.rows.assign(image_id=split.name + known.meta["unit"], group=known.meta["group"]),
            )


def shifts_measured(cache: Path) -> list[dict[str, Any]]:
    """The rows of all shifts: the fall, then what every remedy brings back of it."""
    names = [name for name in SPLITS if name.startswith("monuseg")]
    parts: dict[str, list[pd.DataFrame]] = {}
    for name in names:
        for key, rows in shifted_rows(SPLITS[name], cache / name):
            parts.setdefault(key, []).append(rows)
    tables = {key: pd.concat(found, ignore_index=True) for key, found in parts.items()}
    metric = criteria_of(read_cache(cache / names[0], SPLITS[names[0]]).competition).metric
    gains = []
    for shift in ("none", *SHIFTS):
        told = "as they are" if shift == "none" else f"shifted by {shift}"
        plain = tables[f"{shift}|"]
        if shift != "none":
            gains.append((told, paired_bootstrap(metric, plain, tables["none|"], plain["group"])))
        for remedy in (one for one in REMEDIES if one):
            gain = paired_bootstrap(metric, tables[f"{shift}|{remedy}"], plain, plain["group"])
            gains.append((f"{told}, {remedy}", gain))
    return as_rows(gains)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--splits", nargs="+", default=list(DEFAULT), choices=list(SPLITS))
    parser.add_argument("--shifted", action="store_true", help="stain and size of nuclei instead")
    arguments = parser.parse_args(argv)
    for name in ["monuseg, shifted"] if arguments.shifted else arguments.splits:
        found = (
            shifts_measured(arguments.cache) if arguments.shifted else measured(SPLITS[name], arguments.cache / name)
        )
        kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
        RESULTS.write_text(json.dumps({**kept, name: found}, indent=1) + "\n")
        for one in found:
            print(name, one, flush=True)


if __name__ == "__main__":
    main()
