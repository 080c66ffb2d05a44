"""Few groups to choose a threshold from: is the middle of the plateau better than the best, a smoothed best, or 0.5?

    python benchmarks/threshold_choice.py CACHE [--splits ...] [--divisions 60]       (CACHE: forecast_caches.py)

Out-of-fold predictions alone: of a few groups a threshold is chosen, on all others it is scored, in many random
divisions. As they are, and with probabilities cubed or their cube root taken, so that the best threshold lies far from
0.5. Of contracts with exclusive classes the commonest class counts, by its Dice over the data set. Printed: score less
that of the middle, the mean of data sets (each the mean of its splits) with its 90 % interval over them, and how many
splits gain or lose more than 0.001.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import scipy

sys.path.insert(0, str(Path(__file__).parent))

from forecast import criteria_of, read_cache
from forecast_caches import SPLITS, Split, split_parser

from pipeline.tuning.rules.selection import base_decision
from pipeline.tuning.scores.choice import Choice, Judge
from pipeline.tuning.scores.score_tables import CountScoreTable
from pipeline.tuning.scores.units import make_units, unit_histograms
from submissions.metrics import CountMetric
from submissions.metrics.overlap import Dice

POWERS = {"as they are": 1.0, "cubed": 3.0, "cube root": 1 / 3}
GROUPS = (2, 3, 4, 5, 7, 10)
SMOOTH = 12  # standard deviation in thresholds of 255
ROUNDS = 200
CLEAR = 0.001


def counted(split: Split, folder: Path) -> tuple[CountMetric, np.ndarray, np.ndarray] | None:
    """Metric, joint histograms int64 (N, K, 2, 256) and group of each unit; None where pixels are not counted."""
    cache = read_cache(folder, split)
    criteria = criteria_of(cache.competition)
    units, meta = make_units(cache.own, cache.competition.metric.unit)
    base, metric, scored = base_decision(criteria, ""), criteria.metric, cache.competition.scored_classes
    if not isinstance(metric, CountMetric):
        return None
    hists = np.stack([unit_histograms([base.channels.index(name) for name in base.classes], one) for one in units])
    if cache.competition.exclusive:
        foreground = [k for k in scored if base.classes[k] != "background"]
        metric, scored = Dice(over="dataset"), [max(foreground, key=lambda k: hists[:, k, 1].sum())]
    return metric, hists[:, scored], meta["group"].to_numpy()


def raised(hists: np.ndarray, power: float) -> np.ndarray:
    """Histograms of probabilities raised to a power."""
    moved = np.zeros_like(hists)
    for old, new in enumerate(np.rint(255 * (np.arange(256) / 255) ** power).astype(int)):
        moved[..., new] += hists[..., old]
    return moved


def chosen(choice: Choice) -> dict[str, int]:
    """The threshold by each way of choosing."""
    low, high = (choice.best, choice.best)
    while low > 0 and choice.within[low - 1]:
        low -= 1
    while high < len(choice.within) - 1 and choice.within[high + 1]:
        high += 1
    smooth = scipy.ndimage.gaussian_filter1d(np.nan_to_num(choice.scores), SMOOTH, mode="nearest")
    return {
        "middle": choice.chosen, "middle about the best": (low + high) // 2, "best": choice.best,
        "smoothed best": int(smooth.argmax()), "0.5": 128,
    }  # fmt: skip


def gains(table: CountScoreTable, groups: np.ndarray, number: int, divisions: int) -> pd.DataFrame:
    """A row a division: what each way gains over the middle on the groups that it did not choose from."""
    names, rng = np.unique(groups), np.random.default_rng(0)
    judge, rows = Judge(pd.DataFrame({"group": groups}), ROUNDS), []
    for _ in range(divisions):
        seen = np.isin(groups, rng.permutation(names)[:number])
        held = table.scores((~seen)[None].astype(float))[0]
        ways = chosen(judge.choose(table, seen, np.arange(256)[:, None]))
        rows.append({name: held[at] - held[ways["middle"]] for name, at in ways.items() if name != "middle"})
    return pd.DataFrame(rows)


def measured(split: Split, folder: Path, divisions: int) -> Iterator[dict[str, object]]:
    """A row per power and number of groups: the mean gains of a split."""
    found = counted(split, folder)
    if found is None:
        return
    metric, hists, groups = found
    for name, power in POWERS.items():
        table = CountScoreTable.of_thresholds(metric, raised(hists, power))
        for number in GROUPS:
            if len(set(groups)) > number:
                mean = gains(table, groups, number, divisions).mean()
                yield {"split": split.name, "data": split.data, "probabilities": name, "groups": number, **mean}


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """A row per power and few (2 to 4) or more groups."""
    table = table.assign(groups=np.where(table["groups"] <= 4, "2 to 4", "5 to 10"))
    ways = [name for name in table if name not in ("split", "data", "probabilities", "groups")]
    rows = []
    for (name, number), part in table.groupby(["probabilities", "groups"], sort=False):
        of_data, of_split = part.groupby("data")[ways].mean(), part.groupby("split")[ways].mean()
        half = scipy.stats.t.ppf(0.95, len(of_data) - 1) * of_data.std() / np.sqrt(len(of_data))
        better, worse = (of_split > CLEAR).sum(), (of_split < -CLEAR).sum()
        rows.append({"probabilities": name, "groups": number, "splits": len(of_split)} | {
            way: f"{of_data[way].mean():+.4f} +- {half[way]:.4f} ({better[way]}/{worse[way]})" for way in ways
        })  # fmt: skip
    return pd.DataFrame(rows)


def main(argv: Sequence[str] | None = None) -> None:
    parser = split_parser(__doc__)
    parser.add_argument("--divisions", type=int, default=60)
    arguments = parser.parse_args(argv)
    rows: list[dict[str, object]] = []
    for name in arguments.splits:
        rows += measured(SPLITS[name], arguments.cache / name, arguments.divisions)
        print(name, flush=True)
    print(summary(pd.DataFrame(rows)).T.to_string(header=False))


if __name__ == "__main__":
    main()
