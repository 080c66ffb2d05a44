"""What the leaderboard says about cross-validation: do they order alike, and is their gap noise or shift?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from submissions.kaggle.ledger import FORECAST, numbers

FEWEST = 4

Verdict = Literal["noise", "shift", "unknown"]


@dataclass(frozen=True)
class Relation:
    """How the leaderboard follows CV over the submissions that have both.

    rank: Spearman's correlation, NaN with fewer than three or where one side is constant; gap: mean of board
    minus CV; spread: standard deviation of the gaps; inside, outside: submissions whose score lies in, or out
    of, what was predicted for it; verdict and message: noise, shift, or unknown, and why.
    """

    submissions: int
    rank: float
    gap: float
    spread: float
    inside: int
    outside: int
    verdict: Verdict
    message: str


def relation(table: pd.DataFrame, board: Literal["public", "private"] = "public") -> Relation:
    """The relation of CV to one leaderboard, over the rows of one competition.

    Submissions share one test set, so its luck moves all gaps alike and more submissions do not average it
    away: a gap is judged by each score's own interval, the predicted one where it is known (it holds the test
    set's luck), else CV's, which is too narrow and can only acquit.
    """
    values = numbers(table)
    known = values[values["cv"].notna() & values[board].notna()]
    if known.empty:
        return Relation(0, math.nan, math.nan, math.nan, 0, 0, "unknown", f"no submission has CV and {board} score")
    gaps = (known[board] - known["cv"]).to_numpy()
    predicted = known["predicted_low"].notna() & known["predicted_high"].notna()
    low = known["predicted_low"].where(predicted, known["cv_low"])
    high = known["predicted_high"].where(predicted, known["cv_high"])
    judged = low.notna() & high.notna()
    inside = int((judged & (known[board] >= low) & (known[board] <= high)).sum())
    outside = int(judged.sum()) - inside
    sure = int((predicted & ((known[board] < low) | (known[board] > high))).sum())
    spread = float(gaps.std(ddof=1)) if len(gaps) > 1 else math.nan
    rank = _rank_correlation(known["cv"].to_numpy(), known[board].to_numpy())
    verdict, message = _judged(inside, outside, sure, float(gaps.mean()))
    return Relation(len(known), rank, float(gaps.mean()), spread, inside, outside, verdict, message)


def _judged(inside: int, outside: int, sure: int, gap: float) -> tuple[Verdict, str]:
    side = "above" if gap > 0 else "below"
    total = inside + outside
    if total == 0:
        return (
            "unknown",
            "no row has an interval: without one the gap cannot be told from the test set's luck",
        )
    if inside >= outside:
        return "noise", f"{inside} of {total} scores lie in their interval: the gap is what noise makes"
    if sure > inside:
        return "shift", (
            f"{sure} of {total} scores lie outside of what was predicted, {side} CV on the mean: the test "
            "set differs from training, or the way from model to file does; compare sizes, groups and pixel sizes, "
            "and lint the file"
        )
    return "unknown", (
        f"{outside} of {total} scores lie outside of CV's interval, but none has the predicted one, which "
        "holds the test set's luck too: noise is not ruled out"
    )


def nearer(table: pd.DataFrame, board: Literal["public", "private"] = "public") -> str:
    """Which of CV and forecast has been nearer to a leaderboard, over the rows that have all three; '' without any."""
    values = numbers(table)
    known = values[values[["cv", "forecast", board]].notna().all(axis=1)]
    if known.empty:
        return ""
    off = known[["cv", "forecast"]].sub(known[board], axis=0).abs()
    won = int((off["forecast"] < off["cv"]).sum())
    inside = int(((known[board] >= known["forecast_low"]) & (known[board] <= known["forecast_high"])).sum())
    return (
        f"the forecast has been nearer than CV in {won} of {len(known)}: {off['forecast'].mean():.4f} off on the mean, "
        f"CV {off['cv'].mean():.4f}; {inside} of {len(known)} scores lie in the forecast's interval"
    )


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(pd.Series(a).corr(pd.Series(b), method="spearman"))


def render(table: pd.DataFrame) -> str:
    """The ledger as text: one line per submission, then for each competition the relation to its leaderboards."""
    if table.empty:
        return "the ledger is empty; `python pipeline/09_submit.py EXPERIMENT` writes a row"
    values = numbers(table)
    shown = table[["time", "competition", "experiment"]].copy()
    shown["time"] = shown["time"].str.slice(0, 16)
    shown["CV"] = [_pair(*row) for row in values[["cv", "cv_low", "cv_high"]].to_numpy()]
    shown["predicted"] = [_range(*row) for row in values[["predicted_low", "predicted_high"]].to_numpy()]
    if values["forecast"].notna().any():
        shown["forecast"] = [_pair(*row) for row in values[list(FORECAST)].to_numpy()]
    for board in ("public", "private"):
        shown[board] = [_short(value) for value in values[board]]
    shown["submission"] = table["submission"].str.slice(0, 8)
    shown["description"] = table["description"].str.slice(0, 40)
    parts = [shown.to_string(index=False, justify="left")]
    for name, rows in table.groupby("competition", sort=True):
        for board in ("public", "private"):
            found = relation(rows, board)  # type: ignore[arg-type]
            if found.submissions:
                parts.append(f"\n{name}, CV and {board} leaderboard: {found.verdict}\n{_told(found)}")
                parts.append(f"  {nearer(rows, board)}".rstrip())  # type: ignore[arg-type]
                chosen = values.loc[rows.index, ["cv", board]].dropna()
                parts.append(scatter(chosen["cv"].to_numpy(), chosen[board].to_numpy(), ("CV", board)))
    return "\n".join(part for part in parts if part)


def _told(found: Relation) -> str:
    spread = "" if math.isnan(found.spread) else f" ± {found.spread:.4f}"
    rank = "undefined" if math.isnan(found.rank) else f"{found.rank:+.2f}"
    few = f" (of {found.submissions}: too few to lean on)" if found.submissions < FEWEST else ""
    lines = [f"  gap {found.gap:+.4f}{spread} over {found.submissions}; rank correlation {rank}{few}"]
    return "\n".join([*lines, f"  {found.message}"])


def scatter(x: np.ndarray, y: np.ndarray, names: tuple[str, str], *, width: int = 48, height: int = 12) -> str:
    """Points drawn in characters, a digit where several share a place; '' with fewer than two points."""
    if len(x) < 2:
        return ""
    place = [
        np.zeros(len(v), int) if np.ptp(v) == 0 else np.rint((v - v.min()) / np.ptp(v) * (size - 1)).astype(int)
        for v, size in ((x, width), (y, height))
    ]
    count = np.zeros((height, width), int)
    np.add.at(count, (height - 1 - place[1], place[0]), 1)
    signs = np.where(count == 0, " ", np.where(count == 1, "o", np.minimum(count, 9).astype(str)))
    lines = ["  " + names[1]]
    for index, line in enumerate(signs):
        label = f"{y.max():.4f}" if index == 0 else f"{y.min():.4f}" if index == height - 1 else ""
        lines.append(f"{label:>10} |{''.join(line).rstrip()}")
    axis = f"{x.min():.4f}{names[0].center(max(0, width - 12))}{x.max():.4f}"
    return "\n".join([*lines, " " * 11 + "+" + "-" * width, " " * 12 + axis])


def _short(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"


def _range(low: float, high: float) -> str:
    return "" if math.isnan(low) or math.isnan(high) else f"{low:.4f} to {high:.4f}"


def _pair(value: float, low: float, high: float) -> str:
    span = _range(low, high)
    return _short(value) + (f" ({span})" if span else "")
