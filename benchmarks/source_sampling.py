"""Does it help to draw patches of every source equally often (`train.sampling.balance`)?

    python benchmarks/source_sampling.py --data ../shared/data [--sets dsb2018 camvid ...] [--steps 100] [--seeds 2]

Of each set a third of the training images is held out; the same small network is trained on the others as they come,
and with every source equally often: same seed, same steps. The decision is learned on the held-out images, which are
then scored source by source. A row a set and arm, means over seeds: the score of all, of the source with the most
images, and of each of the others in the mean; the smallest of them all.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))

from forecast import CachedItem, criteria_of
from forecast_caches import HELD_OUT, MRI, NUCLEI, ROADS, Sample, Split, dealt, listed, predicted, samples, train

from inference.predict.members import prepare_members
from pipeline.tuning.search import tune
from submissions.host.competition import Competition
from submissions.host.masks import Truth
from submissions.metrics import Metric

ARMS = {"as they come": None, "each source equally often": "source"}


@dataclass(frozen=True)
class Mixed:
    """A data set of several sources: how it is read, and the source of a row of its listing."""

    split: Split
    source: Callable[[dict[str, Any]], str]


def everywhere(row: dict[str, Any]) -> str:
    """All images are from inside."""
    return "inside"


SETS = {
    "dsb2018": Mixed(
        Split("dsb-mixed", "dsb2018", everywhere, 0.5, settings=NUCLEI),
        lambda row: f"{row['foreground']} on {row['background']}",
    ),
    "camvid": Mixed(
        Split("camvid-mixed", "camvid", everywhere, 0.4, settings=ROADS), lambda row: str(row["image_id"])[:6]
    ),
    "monuseg": Mixed(Split("monuseg-mixed", "monuseg", everywhere, 0.32, tiles=2), lambda row: str(row["organ"])),
    "hippocampus": Mixed(
        Split("hippocampus-mixed", "hippocampus", everywhere, 1.0, settings=MRI), lambda row: str(row["dtype"])
    ),
}


def read_set(mixed: Mixed, data: Path) -> tuple[Competition, list[Sample], pd.DataFrame]:
    """The contract, the images at their reduced size, and their table with `source` and `fold`."""
    competition, images, listing = listed(mixed.split, data)
    source = {str(row["image_id"]): mixed.source(row) for row in listing.to_dict("records")}
    table = dealt(mixed.split, competition, listing, np.random.default_rng(0))
    found, rows = [], []
    for row in table[table["part"] == "train"].to_dict("records"):
        for one in samples(mixed.split, competition, images, data, row["image_id"]):
            found.append(one)
            rows.append({**row, "image_id": one.image_id, "source": source[str(row["image_id"])]})
    return competition, found, pd.DataFrame(rows)


def scores_by_source(
    split: Split, competition: Competition, images: Sequence[Sample], table: pd.DataFrame, steps: int
) -> dict[str, float]:
    """The host's metric of each source's held-out images, and under 'all' of all of them, after one training."""
    with tempfile.TemporaryDirectory() as scratch:
        loaded = train(split, competition, images, table, Path(scratch) / "model", steps=steps)
        member, places = prepare_members([loaded])[0], table.set_index("image_id")
        items = [
            CachedItem(one.image_id, one.group, predicted(member, one), Truth(one.planes, one.valid, one.label))
            for one in images
            if places.loc[one.image_id, "fold"] == HELD_OUT
        ]
    criteria = criteria_of(competition)
    result = tune(criteria, items)
    source = result.table["image_id"].map(places["source"])
    return {"all": result.cv, **_of_parts(criteria.metric, result.table, source)}


def _of_parts(metric: Metric, rows: pd.DataFrame, part: pd.Series) -> dict[str, float]:
    return {str(name): metric.score(rows[(part == name).to_numpy()]) for name in sorted(set(part))}


def measured(name: str, data: Path, steps: int, seeds: int) -> list[dict[str, Any]]:
    """A row an arm: means over seeds."""
    mixed, rows = SETS[name], []
    competition, images, table = read_set(mixed, data)
    counts = table.loc[table["fold"] != HELD_OUT, "source"].value_counts()
    print(name, counts.to_dict(), flush=True)
    for arm, balance in ARMS.items():
        found = []
        for seed in range(seeds):
            settings = {**mixed.split.settings, "seed": seed}
            settings["train"] = {**settings.get("train", {}), "sampling": {"balance": balance}}
            split = replace(mixed.split, settings=settings)
            found.append(scores_by_source(split, competition, images, table, steps))
            print(name, arm, seed, {key: round(value, 4) for key, value in found[-1].items()}, flush=True)
        means = pd.DataFrame(found).mean()
        parts = means.drop("all")
        rare = parts.drop(counts.index[0], errors="ignore")
        rows.append({"set": name, "arm": arm, "sources": len(counts), "all": means["all"],
                     "most frequent": parts.get(counts.index[0], np.nan), "others": rare.mean(),
                     "lowest": parts.min()})  # fmt: skip
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["dsb2018", "camvid", "monuseg"], choices=list(SETS))
    parser.add_argument("--steps", type=int, default=100, help="of a training, 8 patches each")
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args(argv)
    rows = [row for name in arguments.sets for row in measured(name, arguments.data, arguments.steps, arguments.seeds)]
    print(pd.DataFrame(rows).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
