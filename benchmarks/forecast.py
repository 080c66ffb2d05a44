"""Does the forecast come nearer to the truth than cross-validation, on test images from elsewhere and on like ones?

    python benchmarks/forecast_caches.py CACHE --data ../shared/data          (an hour on a core, once)
    python benchmarks/forecast.py CACHE [--splits dsb-stain ...] [--out benchmarks/results/forecast]

Every split has like and foreign test images. Of the held-out third of the training images stage 06's code learns the
decision and, with shifted copies of them, the forecast; the test images are decided and forecast as stage 07 does. The
truth of the test images is only looked at afterwards. Writes OUT.csv, OUT.json and OUT.png.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))

from forecast_caches import CONTRACTS, HELD_OUT, SPLITS, Split, split_parser

from inference.decide.decision import Decision
from inference.forecast.forecast import Forecast, apply_forecast
from pipeline.settings.tuning import TuneSettings
from pipeline.tuning.forecast.known_units import joined, known_part, own_units, scored_names
from pipeline.tuning.forecast.learning import learn_forecast
from pipeline.tuning.forecast.lessons import Known
from pipeline.tuning.scores.criteria import Criteria, tuning_metric
from pipeline.tuning.scores.units import make_units
from pipeline.tuning.search import TuneResult, final_pass, tune
from submissions.host.competition import Competition, load_competition
from submissions.host.masks import Truth

PARTS = ("like", "foreign")


@dataclass
class CachedItem:
    """An image of a cache with its prediction, both in memory."""

    image_id: str
    group: str
    given: np.ndarray
    true: Truth
    fold: int = HELD_OUT
    stratum: str = "all"
    stack: str = ""
    z: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)
    block: None = None

    def probs(self) -> np.ndarray:
        """uint8 (K, [Z,] H, W)."""
        return self.given

    def truth(self) -> Truth:
        """The host's."""
        return self.true


@dataclass(frozen=True)
class Cache:
    """One split read back: items as they are, under shifts, and of the test parts."""

    competition: Competition
    own: list[CachedItem]
    copies: dict[str, list[CachedItem]]
    test: dict[str, list[CachedItem]]


def read_cache(folder: Path, split: Split) -> Cache:
    """Raises FileNotFoundError where the split was not made."""
    if not (folder / "done.json").is_file():
        raise FileNotFoundError(f"{folder}: not made, or not finished; run benchmarks/forecast_caches.py first")
    arrays = {name: np.load(folder / f"{name}.npz") for name in ("planes", "label", "valid", "oof", "copies", "test")}
    images = pd.read_csv(folder / "images.csv", dtype={"image_id": str, "group": str}).set_index("image_id")

    def item(name: str, probs: np.ndarray) -> CachedItem:
        more = [arrays[what][name] if name in arrays[what].files else None for what in ("valid", "label")]
        return CachedItem(name, str(images.loc[name, "group"]), probs, Truth(arrays["planes"][name], *more))

    copies: dict[str, list[CachedItem]] = {}
    for key in arrays["copies"].files:
        shift, _, name = key.rpartition("|")
        copies.setdefault(shift, []).append(item(name, arrays["copies"][key]))
    test: dict[str, list[CachedItem]] = {part: [] for part in PARTS}
    for name in arrays["test"].files:
        test[str(images.loc[name, "part"])].append(item(name, arrays["test"][name]))
    competition = load_competition(CONTRACTS.get(split.data, split.data))
    return Cache(competition, [item(name, arrays["oof"][name]) for name in arrays["oof"].files], copies, test)


def criteria_of(competition: Competition) -> Criteria:
    """What stage 06 judges by; the one rule that suits the contract."""
    rule = "argmax" if competition.exclusive else "grid" if competition.masks.instances else "global"
    settings = TuneSettings(rules=[rule], rounds=200)
    return Criteria(competition, tuning_metric(competition, settings), settings, competition.classes)


def decided_units(criteria: Criteria, decision: Decision, items: Sequence[CachedItem], shift: str = "none") -> Known:
    """Units of items with their features and their rows, decided by a decision learned elsewhere."""
    units, meta = make_units(items, criteria.competition.metric.unit)
    rows, _, sums = final_pass(criteria, decision, units, None)
    return known_part(pd.concat([meta, rows], axis=1), sums, scored_names(criteria.competition), {}, shift)


def learn(cache: Cache, criteria: Criteria) -> tuple[TuneResult, Forecast, float]:
    """The decision, the forecast, and the seconds that the forecast took beside it."""
    result = tune(criteria, cache.own)
    began = time.perf_counter()
    classes = scored_names(cache.competition)
    known = [own_units(result, classes, {})]
    known += [decided_units(criteria, result.decision, items, shift) for shift, items in cache.copies.items()]
    forecast = learn_forecast(joined(known), criteria.metric, classes, fingerprint="cache", cv=result.cv)
    return result, forecast, time.perf_counter() - began


def measured(split: Split, folder: Path) -> list[dict[str, Any]]:
    """A row a test part of a split."""
    cache = read_cache(folder, split)
    criteria = criteria_of(cache.competition)
    result, forecast, seconds = learn(cache, criteria)
    rows = []
    for part in PARTS:
        test = decided_units(criteria, result.decision, cache.test[part])
        found, truth = apply_forecast(forecast, test.units), criteria.metric.score(test.rows)
        said = np.full(len(test.units), np.nan)
        if forecast.maps:
            said = found.units.set_index("unit")["forecast"].reindex(test.units["unit"]).to_numpy()
        order = pd.Series(said).corr(test.rows["score"].reset_index(drop=True), method="spearman")
        rows.append(
            {"split": split.name, "part": part, "units": len(test.units), "metric": criteria.metric.name,
             "cv": result.cv, "truth": truth,
             "forecast": found.estimate, "low": found.low, "high": found.high, "map": forecast.chosen,
             "order": order, "strange": found.strange, "seconds": seconds}
        )  # fmt: skip
    return rows


def summary(table: pd.DataFrame) -> dict[str, Any]:
    """The figures that the table is made for; where the forecast gives no number, CV is what is left to believe."""
    told = table["forecast"].notna()
    believed = table["forecast"].fillna(table["cv"])
    cv, said = (table["cv"] - table["truth"]).abs(), (believed - table["truth"]).abs()
    inside = ((table["low"] <= table["truth"]) & (table["truth"] <= table["high"]))[told]
    width = (table["high"] - table["low"]).mean()
    needed = 2 * float(np.quantile(cv, inside.mean(), method="higher"))
    found: dict[str, Any] = {"splits": table.groupby("part").size().to_dict(), "with a number": int(told.sum()),
                             "coverage": float(inside.mean())}  # fmt: skip
    for part in PARTS:
        chosen = (table["part"] == part).to_numpy()
        found[part] = {"cv error": float(cv[chosen].mean()), "forecast error": float(said[chosen].mean())}
    found["all"] = {"cv error": float(cv.mean()), "forecast error": float(said.mean())}
    found["order, median"] = float(table["order"].median())
    found["width"] = {"mean": float(width), "needed about CV for that coverage": needed, "share": float(width / needed)}
    return found


def draw(table: pd.DataFrame, path: Path) -> None:
    """Truth against CV, and against the forecast with its interval."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 5.2), sharex=True, sharey=True)
    for part, colour in (("like", "#1b7837"), ("foreign", "#b2182b")):
        rows = table[table["part"] == part]
        axes[0].scatter(rows["truth"], rows["cv"], color=colour, s=22, label=f"{part} test images")
        off = np.abs(rows[["low", "high"]].to_numpy().T - rows["forecast"].to_numpy())
        axes[1].errorbar(rows["truth"], rows["forecast"], yerr=off, fmt="o", ms=4.5, lw=0.8, color=colour)
    for axis, what in zip(axes, ("cross-validation", "forecast, 90 % interval"), strict=True):
        axis.plot([0, 1], [0, 1], color="0.6", lw=0.8)
        axis.set(xlabel="score of the test images", ylabel=what, xlim=(-0.03, 1), ylim=(-0.03, 1))
    axes[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main(argv: Sequence[str] | None = None) -> None:
    parser = split_parser(__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/forecast"))
    arguments = parser.parse_args(argv)
    rows: list[dict[str, Any]] = []
    for name in arguments.splits:
        rows += measured(SPLITS[name], arguments.cache / name)
        print(pd.DataFrame(rows[-2:]).round(3).to_string(index=False, header=len(rows) == 2), flush=True)
    table = pd.DataFrame(rows)
    table.round(4).to_csv(arguments.out.with_suffix(".csv"), index=False, lineterminator="\n")
    found = summary(table)
    arguments.out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    draw(table, arguments.out.with_suffix(".png"))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
