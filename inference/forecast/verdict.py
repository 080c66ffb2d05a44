"""What is said about a forecast: three numbers, whether cross-validation can be trusted, and whom to look at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from inference.forecast.forecast import SetForecast

DOUBTFUL = 5
MANY_STRANGE = 0.1


def forecast_lines(found: SetForecast, learned: Mapping[str, Any]) -> list[str]:
    """CV with its interval, the prediction interval, the forecast, a verdict, and the units of the lowest forecasts.

    learned: what the decision remembers (`Decision.learned`).
    """
    lines = []
    if math.isfinite(found.cv):
        lines.append(f"CV {found.cv:.4f}{_span(learned.get('interval'))}: images like the training images")
    if learned.get("prediction_interval"):
        lines.append(f"prediction interval{_span(learned['prediction_interval'])}: one leaderboard of such images")
    shaky = disagreement(found.cv, learned.get("prediction_interval"))
    lines += [f"warning: {shaky}"] if shaky else []
    if not math.isfinite(found.estimate):
        reasons = "; ".join(found.doubts) or "nothing was learned"
        return [*lines, f"no forecast of these test images: {reasons}"]
    lines.append(f"forecast {found.estimate:.4f}{_span([found.low, found.high])}: these test images")
    return [
        *lines,
        f"verdict: {verdict(found, shaky=bool(shaky))}",
        *_doubtful(found),
        *(f"the forecast: {one}" for one in found.doubts),
    ]


def disagreement(cv: float, prediction: Sequence[float | None] | None) -> str:
    """A sentence where CV lies outside the prediction interval, which is around the nested score; '' where not."""
    low, high = (math.nan if end is None else end for end in prediction or (None, None))
    if not (cv < low or cv > high):
        return ""
    return (
        f"the CV of {cv:.4f} lies outside the prediction interval, which is around the nested score: decisions learned "
        "on some folds do not suit the others, so neither number is firm; longer training, more folds or tune.rule "
        "make the decision steadier"
    )


def verdict(found: SetForecast, *, shaky: bool = False) -> str:
    """One sentence: may cross-validation be trusted for these images? shaky: CV and nested score disagree."""
    number = len(found.units)
    strange = round(found.strange * number)
    unlike = f"by what is predicted, not by looks, {strange} of {number} test images are unlike all training images"
    if found.agrees and found.strange <= MANY_STRANGE:
        alike = "the predictions of the test images are like those of the training images: "
        return alike + ("but CV and the nested score disagree: count on neither" if shaky else "trust CV")
    span = f"{found.low:.4f} to {found.high:.4f}"
    if found.agrees:
        inside = f"do not count on the CV of {found.cv:.4f}, though it is inside"
        return f"{unlike}: expect {found.estimate:.4f} ({span}); {inside}"
    many = f"{unlike}; " if strange else ""
    side = "below" if found.estimate < found.cv else "above"
    return f"{many}expect {span}, {side} the CV of {found.cv:.4f}"


def _doubtful(found: SetForecast) -> list[str]:
    worst = found.units.head(DOUBTFUL)
    named = ", ".join(f"{row['unit']} ({row['forecast']:.3f})" for row in worst.to_dict("records"))
    return [f"lowest forecasts: {named}"] if named else []


def _span(ends: Any) -> str:
    if not ends or any(end is None or not math.isfinite(end) for end in ends):
        return ""
    return f" ({ends[0]:.4f} to {ends[1]:.4f})"
