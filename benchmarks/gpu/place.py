"""Where it is measured: the device, what it is made to lack, its clock and its memory."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from inference.predict import precision
from inference.predict.precision import resolve_precision

ROOT = Path(__file__).parents[2]
T4_BYTES = 15_000_000_000


@dataclass(frozen=True)
class Place:
    """A device, and whether it stands for a T4. On a CPU everything is measured in small."""

    device: torch.device
    pretend: str | None = None

    @property
    def small(self) -> bool:
        """Whether sizes are those of a trial on a CPU."""
        return self.device.type != "cuda"

    @property
    def precision(self) -> str:
        """What `auto` means here."""
        return resolve_precision("auto", self.device)

    def bar(self, value: float) -> float | None:
        """A bar of speed or memory; none in small, where what a step costs to begin is most of it."""
        return None if self.small else value

    def wait(self) -> None:
        """Until the device has done what it was asked for."""
        if not self.small:
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], Any]) -> float:
        """Wall time of work, the device's share included."""
        self.wait()
        began = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - began

    def forget_peak(self) -> None:
        """From here on the peak memory counts."""
        if not self.small:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_gb(self) -> float:
        """Largest memory in use: of the device since `forget_peak`, of the process on a CPU."""
        if self.small:
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        return torch.cuda.max_memory_allocated(self.device) / 1e9


def take_place(device: str, pretend: str | None) -> Place:
    """The place of this process; with `pretend` 't4' bf16, TF32 and all memory beyond 15 GB are taken away."""
    place = Place(torch.device(device), pretend)
    if pretend == "t4":
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        torch.cuda.is_bf16_supported = lambda *_, **__: False  # type: ignore[assignment]
        precision.cpu_has_bf16 = lambda *_: False
        limit_memory(place, T4_BYTES)
    return place


def limit_memory(place: Place, bytes_: float) -> None:
    """Let this process have so many bytes of a GPU's memory, or what it has where that is less."""
    if not place.small:
        held = torch.cuda.get_device_properties(place.device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, bytes_ / held), place.device)


def describe(place: Place) -> dict[str, str]:
    """Device, versions and what it is made to lack, for the head of the table."""
    name = torch.cuda.get_device_name(place.device) if not place.small else "CPU, in small"
    return {
        "device": name, "torch": str(torch.__version__), "CUDA": str(torch.version.cuda),
        "auto": place.precision, "pretends": place.pretend or "nothing",
    }  # fmt: skip
