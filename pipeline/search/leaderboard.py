"""All runs of a competition in one table: what each is worth, how far it holds, and what it costs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from inference.config import WEIGHTS_FILE
from pipeline.inventory_table import SOURCE, read_inventory
from pipeline.origin import EXPERIMENT
from pipeline.pictures import new_figure, save_figure
from pipeline.search.noise_floor import NOISE
from pipeline.stage import DONE, read_stage
from pipeline.tuning.comparisons.two_runs import member_names, metric_of, read_scores, which_to_take
from submissions.host.atomic import write_atomic
from submissions.host.settings import read_yaml
from submissions.metrics import Metric

LEAST = 5  # units below which a source has no score of its own
TABLE, PICTURE = "leaderboard.csv", "leaderboard.png"


class Costs(NamedTuple):
    """What a run costs: MB of weights, minutes of training, seconds that a test image takes with all its folds."""

    megabytes: float
    training: float
    inference: float


def run_folders(shared: Path) -> list[Path]:
    """The experiments below runs/<competition>/ that stage 06 decided; FileNotFoundError where there is none."""
    found = sorted(path.parents[1] for path in shared.glob(f"*/tuning/{DONE}"))
    if not found:
        raise FileNotFoundError(f"{shared}: no experiment has finished stage 06; run stages 01 to 06 of one first")
    return found


def run_costs(folders: Sequence[Path]) -> Costs:
    """Costs of runs together (one, or the members of an ensemble), from what the stages noted.

    A test image takes as long as an out-of-fold image, times the folds. NaN where a stage is not there.
    """
    return Costs(*(sum(costs) for costs in zip(*map(_costs, folders), strict=True)))


def _costs(folder: Path) -> Costs:
    weights = list(folder.glob(f"fold_*/{WEIGHTS_FILE}"))
    stages = [_document(path.parent) for path in weights]
    predicted, images = _document(folder / "oof"), len(list((folder / "oof").glob("*.h5")))
    seconds = float(predicted.get("seconds", math.nan)) / max(1, images) * len(weights)
    return Costs(
        sum(path.stat().st_size for path in weights) / 1e6,
        sum(float(stage.get("seconds", math.nan)) for stage in stages) / 60,
        seconds if weights else math.nan,
    )


def _document(folder: Path) -> dict[str, Any]:
    path = folder / DONE
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def source_scores(scores: pd.DataFrame, inventory: pd.DataFrame, metric: Metric) -> dict[str, float]:
    """Score of the units of each source of images that has LEAST units; {} where the inventory names no source."""
    if SOURCE not in inventory:
        return {}
    train = inventory[inventory["split"] == "train"]
    ids = scores["image_id"].astype(str).str.replace(r"@y.*$", "", regex=True)
    by_image = dict(zip(train["image_id"].astype(str), train[SOURCE].astype(str), strict=True))
    by_stack = dict(zip(train["stack"].astype(str), train[SOURCE].astype(str), strict=True))
    sources = ids.map(lambda name: by_image.get(name, by_stack.get(name, "")))
    return {
        source: metric.score(scores[sources == source])
        for source in sorted(set(sources) - {""})
        if int((sources == source).sum()) >= LEAST
    }


def leaderboard(shared: Path, asked: Metric | None = None) -> pd.DataFrame:
    """One row per run, the best nested score first.

    Columns: run, nested, cv, low, high (of cv), across (mean of the scores of the sources of images: what to choose by
    where the host's images come from elsewhere), worst_source (the lowest of them), forecast (of the test images; NaN
    before stage 07), megabytes, training (minutes), inference (seconds an image), front (whether no
    other run is as good and as fast), noise (whether it lies below the best by less than the noise floor). Runs that
    were tuned for another metric than `asked`, or than the first where none was tuned for that, are left out. Raises
    as `run_folders`.
    """
    inventory, _ = read_inventory(shared / "inventory")
    rows = []
    documents = {folder: read_stage(folder / "tuning", f"06_tune.py {folder.name}") for folder in run_folders(shared)}
    metrics = {folder: metric_of(tuned["identity"]["settings"]) for folder, tuned in documents.items()}
    first = next(iter(metrics.values()))
    metric = asked if asked is not None and asked in metrics.values() else first
    for folder in [one for one, own in metrics.items() if own == metric]:
        tuned = documents[folder]
        costs = run_costs([folder.with_name(name) for name in member_names(tuned, folder.name)])
        by_source = source_scores(read_scores(folder), inventory, metric)
        forecast = _document(folder / "test").get("forecast")
        rows.append({
            "run": folder.name, "nested": _number(tuned["nested"]), "cv": _number(tuned["score"]),
            "low": _number(tuned["interval"][0]), "high": _number(tuned["interval"][1]),
            "across": sum(by_source.values()) / len(by_source) if by_source else math.nan,
            "worst_source": min(by_source.values(), default=math.nan), "forecast": _number(forecast),
            "megabytes": costs.megabytes, "training": costs.training, "inference": costs.inference,
        })  # fmt: skip
    table = pd.DataFrame(rows).sort_values(["nested", "run"], ascending=[False, True]).reset_index(drop=True)
    table["front"] = pareto_front(table["nested"].to_numpy(), table["inference"].to_numpy())
    table["noise"] = table["nested"].max() - table["nested"] < noise_floor_of(shared)
    return table


def advice(shared: Path, table: pd.DataFrame) -> list[str]:
    """Which run of a `leaderboard` to take: the first against the next, and the best of 3D against the best of 2D and
    2.5D where there are both; and which runs the table leaves out."""
    names = [str(name) for name in table["run"]]
    pairs = [("runs", names[:2])]
    kinds = [_dims(shared / name) for name in names]
    if len(set(kinds) - {None}) == 2:
        pairs.append(("3D or 2.5D", [names[kinds.index(3)], names[kinds.index(2)]]))
    said = [f"{what}: {advised(*(shared / name for name in two))}" for what, two in pairs if len(two) == 2]
    others = [folder.name for folder in run_folders(shared) if folder.name not in names]
    return said + [f"tuned for another metric, and so not in the table: {', '.join(others)}"] * bool(others)


def advised(run_a: Path, run_b: Path) -> str:
    """`which_to_take` of two runs, by what they cost too."""
    return which_to_take(run_a, run_b, (_seconds(run_a), _seconds(run_b)))


def _seconds(run: Path) -> float:
    tuned = read_stage(run / "tuning", f"06_tune.py {run.name}")
    return run_costs([run.with_name(name) for name in member_names(tuned, run.name)]).inference


def _dims(run: Path) -> int | None:
    """Dimensions of what a run's network sees; None of an ensemble."""
    kept = read_yaml(run / EXPERIMENT)
    return None if kept.get("members") else int((kept.get("input") or {}).get("dims") or 2)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def noise_floor_of(shared: Path) -> float:
    """The largest noise floor that was measured of a run of the competition; 0 where none was."""
    found = [json.loads(path.read_text(encoding="utf-8"))["floor"] for path in shared.glob(f"*/{NOISE}")]
    return max(found, default=0.0)


def pareto_front(scores: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """bool (N,): runs that no other run equals or beats in both score (higher) and cost (lower) and beats in one."""
    better = (scores[None] >= scores[:, None]) & (costs[None] <= costs[:, None])
    strictly = (scores[None] > scores[:, None]) | (costs[None] < costs[:, None])
    known = ~np.isnan(scores) & ~np.isnan(costs)
    return known & ~(better & strictly).any(axis=1)


def write_leaderboard(shared: Path, table: pd.DataFrame) -> Path:
    """leaderboard.csv and the picture of score against time below runs/<competition>/; returns the picture's path."""
    write_atomic(shared / TABLE, table.to_csv(index=False, lineterminator="\n"))
    figure, axes = new_figure(1, 1, 7, 4.2)
    axis = axes[0, 0]
    shown = table.dropna(subset=["nested", "inference"])
    axis.scatter(shown["inference"], shown["nested"], color="#9aa5b1", s=24)
    front = shown[shown["front"]].sort_values("inference")
    axis.step(front["inference"], front["nested"], where="post", color="#0b6e99")
    for row in shown.to_dict("records"):
        axis.annotate(str(row["run"]), (row["inference"], row["nested"]), xytext=(4, 4), textcoords="offset points")
    axis.set_xlabel("seconds a test image, all folds")
    axis.set_ylabel("nested score")
    save_figure(figure, shared / PICTURE)
    return shared / PICTURE
