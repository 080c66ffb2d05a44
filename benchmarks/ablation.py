"""What does each decision add, on networks that are there? Rules, post-processing, views one by one, tiles.

    python benchmarks/forecast_caches.py CACHE --data ../shared/data          (an hour on a core, once)
    python benchmarks/ablation.py CACHE [--splits dsb-stain ...]              (a minute a split)

Of every split the images that its network has not seen, from the same source as its training images, are decided again
by all rules that suit the set and all post-processing steps, and predicted again view by view and in tiles. Gains are
nested (parts of the groups, each decided by what the others taught) and paired. The splits given are replaced in
`benchmarks/results/ablation.json`, which `results.py table` prints.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from adapt import alone, read_pixels
from forecast import CachedItem, criteria_of, read_cache
from forecast_caches import SPLITS, Split, predicted, split_parser
from gains import as_rows, decision_gains, view_gains

from inference.config import PredictConfig
from inference.predict.members import ReadyMember, prepare_members
from inference.predict.tta_names import D4
from inference.weights import load_model
from pipeline.tuning.comparisons.paired import difference, judge_variants
from pipeline.tuning.rules.selection import suitable_rules
from pipeline.tuning.scores.criteria import Criteria
from pipeline.tuning.search import tune
from submissions.metrics.intervals import Interval

DEFAULT = ("dsb-stain", "tgs-deep", "pets-dogs", "camvid-0006R0", "monuseg-Kidney", "hippocampus-uint8", "isbi-last")
POST = ["min_area", "holes", "opening", "largest"]
SCALES = ("scale:0.75", "scale:1.25")
UPRIGHT = ("identity", "hflip")  # of photographs, roads and seismic sections; others have all of D4
TILES = {"whole": {"mode": "whole"}, "tiles that do not overlap": {"overlap": 0.0, "window": "uniform"},
         "tiles, a quarter shared": {"overlap": 0.25}, "tiles, half shared": {"overlap": 0.5}}  # fmt: skip
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


def main(argv: Sequence[str] | None = None) -> None:
    arguments = split_parser(__doc__, DEFAULT).parse_args(argv)
    for name in arguments.splits:
        found = measured(SPLITS[name], arguments.cache / name)
        kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
        RESULTS.write_text(json.dumps({**kept, name: found}, indent=1) + "\n")
        for one in found:
            print(name, one, flush=True)


if __name__ == "__main__":
    main()
