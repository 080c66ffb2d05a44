"""A bundle tried out before the host runs it: as many images as the hidden set, a fresh environment, no network."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.bundle.hidden_size_data import duplicate_images
from inference.bundle.host_image import make_environment
from inference.bundle.manifest import verify
from inference.bundle.offline import cut_off, why_not
from inference.predict.time_budget import forecast_seconds, format_seconds
from inference.submission import open_test_images
from submissions.host.competition import load_competition

GB = 1e9
MEMORY, GPU_MEMORY, DISK = 31.0, 15.0, 20.0  # GB of a Kaggle notebook: host memory, each of two T4, /kaggle/working


@dataclass(frozen=True)
class Measured:
    """A measured quantity and its limit; value None where it could not be measured."""

    name: str
    value: float | None
    limit: float
    text: str

    @property
    def fits(self) -> bool:
        """Whether it is within the limit; true for what was not measured."""
        return self.value is None or self.value <= self.limit

    def __str__(self) -> str:
        verdict = "" if self.value is None else "  fits" if self.fits else "  DOES NOT FIT"
        return f"{self.name:12}{self.text}{verdict}"


@dataclass(frozen=True)
class DryRun:
    """What a dry run found: quantities with their limits, and sentences on how they were measured."""

    measured: list[Measured]
    notes: list[str]

    @property
    def fits(self) -> bool:
        """Whether everything lies within its limit."""
        return all(one.fits for one in self.measured)

    def __str__(self) -> str:
        return "\n".join([*map(str, self.measured), *self.notes])


def dry_run(
    bundle: Path, data: Path, *, copies: int, seconds: float, sources: int = 12, work: Path | None = None
) -> DryRun:
    """Run a bundle on the test images of `data`, multiplied to `copies` (0: as they are), as the host would.

    `sources` images are predicted and timed; how long the others take is forecast as the time budget does it, and
    then all `copies` are decided, written, linted and shown, the copies from their originals' predictions. seconds:
    what the host grants; work: folder for the environment and the files, deleted afterwards (default: a temporary one).
    Raises ValueError for numbers that cannot be, where there is no image to copy, and with the last words of a run that
    fails.
    """
    if copies < 0 or sources < 1:
        raise ValueError(
            f"--copies is {copies}, --sources is {sources}; expected 0 or more copies, and at least one source"
        )
    manifest = verify(bundle)
    competition = load_competition(bundle / "competition.yaml")
    images = len(open_test_images(competition, data).ids)
    if copies and not images:
        raise ValueError(
            f"{data}: no test image of which {copies} copies could be made, so nothing could be timed; give a folder "
            f"with some training images under the names of {competition.images.test!r}, or --copies 0"
        )
    number, few = copies or images, min(sources, images, copies or images)
    with tempfile.TemporaryDirectory(dir=work, prefix="dry-run-") as name:
        folder = Path(name).resolve()
        seen, full = folder / "few", folder / "all"
        first = duplicate_images(competition, data, seen, number=few, sources=few)
        origins = duplicate_images(competition, data, full, number=number, sources=few)
        wheels = manifest["wheels"]["files"]
        python, linked = make_environment(folder / "environment", wheels, manifest["accepts"])
        found, network = _try(bundle.resolve(), folder, python, origins)
    notes = [
        f"images      {found['images']}, made from {len(first)}, which were predicted; the time of the others "
        "is a forecast",
        f"network     {network}",
        f"environment {len(linked)} distributions linked, {len(found['installed'])} installed from wheels/",
        *found["troubles"],
    ]
    return DryRun(_beside_limits(found, seconds), notes)


def _beside_limits(found: dict[str, Any], limit: float) -> list[Measured]:
    total = found["first"] + _forecast(found) + found["ending"]
    gpus = found["gpu_memory"]
    fullest = max(gpus) / GB if gpus else None
    beside = (
        "not measured, there is no GPU here" if fullest is None else f"{fullest:.2f} GB on the fullest of {len(gpus)}"
    )
    return [
        Measured("time", total, limit, f"{total / 60:.1f} minutes of {format_seconds(limit)}"),
        Measured("memory", found["memory"] / GB, MEMORY, f"{found['memory'] / GB:.2f} GB of {MEMORY:g}"),
        Measured("GPU memory", fullest, GPU_MEMORY, f"{beside}; 2 x T4 have {GPU_MEMORY:g} GB each"),
        Measured("disk", found["disk"] / GB, DISK, f"{found['disk'] / GB:.3f} GB of {DISK:g}"),
    ]


def _forecast(found: dict[str, Any]) -> float:
    """Seconds for the images that were not predicted."""
    pixels, remaining = found["pixels"], found["all_pixels"] - sum(found["pixels"])
    if remaining <= 0 or not pixels:
        return 0.0
    steps = list(zip(pixels, found["seconds"], strict=True))
    if not found["one_by_one"]:  # all by the classifier first: the first step holds nearly everything
        steps = [(sum(pixels), sum(found["seconds"]))]
    return forecast_seconds(steps, remaining)


def _try(bundle: Path, folder: Path, python: Path, origins: dict[str, str]) -> tuple[dict[str, Any], str]:
    """Run the trial in its environment; what it measured, and a word on the network."""
    spec, result = folder / "spec.json", folder / "result.json"
    asked = {
        "bundle": str(bundle), "seen": str(folder / "few"), "full": str(folder / "all"), "origins": origins,
        "folder": str(folder / "out"), "began": time.time(), "result": str(result),
    }  # fmt: skip
    spec.write_text(json.dumps(asked), encoding="utf-8")
    command, reason = [str(python), "-m", "inference.bundle.dry_run_process", str(spec)], why_not()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    environment |= {"PYTHONPATH": str(bundle / "code"), "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1"}
    environment["NUMBA_CACHE_DIR"] = str(folder / "compiled")  # else they would lie, pickled, among the bundle's code
    if reason is None:
        command = cut_off(command, str(python))
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"the dry run failed: {(done.stderr.strip() or done.stdout.strip())[-1500:]}")
    said = (
        "cut off by the kernel"
        if reason is None
        else (f"NOT cut off, because the kernel does not allow it here: {reason}")
    )
    return json.loads(result.read_text(encoding="utf-8")), said
