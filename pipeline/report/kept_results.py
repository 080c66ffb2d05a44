"""Results that `benchmarks/results.py` kept as JSON, one file per row: as tables for the notebook that draws them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd


def kept_results(folder: str | Path) -> pd.DataFrame:
    """One row per result: row, metric, estimate, low, high, nested, recall (macro), parameters, minutes, training.

    estimate is the score with the ends of its interval; minutes of stages 01 to 06, training those of stage 04.
    Raises FileNotFoundError where `folder` holds no result.
    """
    rows = []
    for kept in _read(folder):
        recalls = list(kept.get("recalls", {}).values())
        rows.append(
            {
                "row": kept["row"], "metric": kept["metric"], "estimate": kept["score"], "low": kept["interval"][0],
                "high": kept["interval"][1], "nested": kept["nested"],
                "recall": sum(recalls) / len(recalls) if recalls else None, "parameters": kept["parameters"],
                "minutes": sum(kept["minutes"].values()), "training": kept["minutes"]["04"],
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def kept_curves(folder: str | Path) -> pd.DataFrame:
    """One row per epoch of every result: experiment (the row), fold, epoch, loss, score (validation; often none)."""
    rows = [
        {"experiment": kept["row"], "fold": kept["fold"], "score": None, **point}
        for kept in _read(folder)
        for point in kept["curve"]
    ]
    return pd.DataFrame(rows).astype({"score": float})[["experiment", "fold", "epoch", "loss", "score"]]


def kept_gains(folder: str | Path) -> pd.DataFrame:
    """One row per difference with its interval: name, estimate, low, high.

    Of rows measured against another, of what their decisions added, and of `ablation.json` where there is one.
    """
    rows = []
    for kept in _read(folder):
        gain = kept.get("difference")
        rows += [(f"{kept['row']} against {gain['against']}", gain)] if gain else []
        rows += [(f"{kept['row']}: {one['what']}", one) for one in kept.get("added", [])]
    asked = Path(folder) / "ablation.json"
    of_splits = json.loads(asked.read_text()) if asked.is_file() else {}
    rows += [(f"{name}: {one['what']}", one) for name, found in of_splits.items() for one in found]
    table = [(name, one["gain"], one["low"], one["high"]) for name, one in rows]
    return pd.DataFrame(table, columns=["name", "estimate", "low", "high"])


def _read(folder: str | Path) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in sorted(Path(folder).glob("*.json"))]
    found = [kept for kept in found if isinstance(kept, dict) and "curve" in kept]
    if not found:
        raise FileNotFoundError(f"{folder} holds no result: run `python benchmarks/results.py run ROW` first")
    return found
