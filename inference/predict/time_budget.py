"""A time budget: forecast from the first images, then views and models given up in a declared order to fit.

Images that the time does not reach at all go without a prediction where the caller allows it.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

FIRST = 3  # images measured before anything is given up; one where fewer than FEW are expected
FEW = 10


@dataclass(frozen=True)
class Reduction:
    """What is left of the views and how many of the members, the forecast in seconds, and what to tell the
    user.
    """

    views: tuple[str, ...]
    members: int
    seconds: float
    fits: bool
    said: tuple[str, ...]


def forecast_seconds(measured: Sequence[tuple[int, float]], remaining_pixels: int) -> float:
    """Return the seconds that `remaining_pixels` will take, from `(pixels, seconds)` of the first images.

    Time is taken to grow with the pixels. The first image, which pays for warming up, counts only where
    there are fewer than three.
    """
    counted = measured[1:] if len(measured) >= 3 else measured
    pixels = sum(one for one, _ in counted)
    if pixels <= 0:
        raise ValueError("no image was measured, expected at least one with its pixels and seconds")
    return remaining_pixels * sum(seconds for _, seconds in counted) / pixels


def reduce_plan(views: Sequence[str], members: int, *, forecast: float, left: float) -> Reduction:
    """Give up views, then members, until `forecast` seconds (with all of them) fit into the `left` seconds.

    Views are given up from the last named to the second: the first stays, so they are named in order of
    worth. Members follow, from the last to the second. Time is taken to be in proportion to views times
    members.
    """
    if not views or members < 1:
        raise ValueError(f"{len(views)} views and {members} members were given, expected at least one of each")
    kept, left_members = len(views), members
    unit = forecast / (len(views) * members)
    said: list[str] = []
    while kept > 1 and unit * kept * left_members > left:
        kept -= 1
    if kept < len(views):
        said.append(f"views reduced from {len(views)} to {kept}: {', '.join(views[:kept])}")
    while left_members > 1 and unit * kept * left_members > left:
        left_members -= 1
    if left_members < members:
        said.append(f"models reduced from {members} to {left_members}, the first ones in order")
    seconds = unit * kept * left_members
    fits = seconds <= left
    if not fits:
        said.append(f"even so {format_seconds(seconds)} are needed and only {format_seconds(left)} are left")
    return Reduction(tuple(views[:kept]), left_members, seconds, fits, tuple(said))


class TimeKeeper:
    """Keeps a run within a time budget, from its making on: measures images, forecasts, gives up views and members.

    Devices may share it. Images that are predicted already stay as they are.
    """

    def __init__(
        self, seconds: float, views: Sequence[str], members: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin a budget of `seconds` for all `views` (in order of worth) and a number of members."""
        self._clock, self._until = clock, clock() + seconds
        self._views, self._members = tuple(views), members
        self._pixels, self._devices, self._first = 0, 1, FIRST
        self._measured: list[tuple[int, float]] = []
        self._lock, self._forecast_said, self._late = threading.Lock(), False, False
        self.said: list[str] = []

    def expect(self, pixels: int, images: int, devices: int = 1) -> None:
        """Say how many pixels are to be predicted, of how many images, by how many devices."""
        self._pixels, self._devices, self._first = pixels, devices, 1 if images < FEW else FIRST

    @property
    def over(self) -> bool:
        """Whether the time is used up."""
        return self._clock() >= self._until

    def note(self, sentence: str) -> list[str]:
        """Note what is given up beside views and members; returns what is to be said: the sentence, the first time."""
        with self._lock:
            if sentence in self.said:
                return []
            self.said.append(sentence)
            return [sentence]

    def views(self, number: int) -> int:
        """How many of `number` views are left, the first ones."""
        return min(number, len(self._views))

    def members(self, number: int) -> int:
        """How many of `number` members are left, the first ones."""
        return min(number, self._members)

    def measured(self, pixels: int, seconds: float) -> list[str]:
        """Note that an image was predicted; returns what is to be said: the forecast once, and what was given up.

        seconds: since the one before on its device, so that what was done with that one in between is in the forecast.
        """
        with self._lock:
            self._pixels = max(0, self._pixels - pixels)
            self._measured.append((pixels, seconds))
            if len(self._measured) < self._first or not self._pixels:
                return []
            forecast = forecast_seconds(self._measured, self._pixels) / self._devices
            left = max(self._until - self._clock(), 1e-6)
            said = [] if self._forecast_said else [_forecast_text(forecast, left)]
            self._forecast_said = True
            if forecast > left:
                said += self._reduce(forecast, left)
            return said

    def _reduce(self, forecast: float, left: float) -> list[str]:
        plan = reduce_plan(self._views, self._members, forecast=forecast, left=left)
        changed = (plan.views, plan.members) != (self._views, self._members)
        if changed:
            self._views, self._members, self._measured = plan.views, plan.members, []
            self.said += plan.said
        elif self._late:
            return []
        self._late = self._late or not plan.fits
        return list(plan.said)


def _forecast_text(forecast: float, left: float) -> str:
    return f"time budget: {format_seconds(forecast)} more are needed, {format_seconds(left)} are left"


def parse_budget(text: str) -> float:
    """Return seconds of a budget such as "8h", "90m", "1h30m" or "45s"; raises ValueError for
    anything else.
    """
    number = r"\s*(?:(\d+\.?\d*){})?"
    found = re.fullmatch("".join(map(number.format, "hms")) + r"\s*", text.lower())
    parts = [float(part or 0) for part in found.groups()] if found else [0.0]
    seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    if seconds <= 0:
        raise ValueError(f"time budget is {text!r}, expected hours, minutes or seconds, as in '8h', '1h30m', '45s'")
    return seconds


def format_seconds(seconds: float) -> str:
    """Spell seconds as hours and minutes, minutes and seconds, or seconds."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 60}m{whole % 60:02d}s" if whole >= 60 else f"{seconds:.1f}s"
