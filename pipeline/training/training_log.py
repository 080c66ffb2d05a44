"""The log of a training: JSON lines for programs, TensorBoard events for people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from submissions.host.atomic import write_atomic

LOG = "log.jsonl"
EVENTS = "tensorboard"


def read_log(path: Path) -> list[dict[str, Any]]:
    """Rows of a log, one an epoch; a line cut off by a kill is left out, a missing file is empty."""
    rows: list[dict[str, Any]] = []
    if not path.is_file():
        return rows
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


class Journal:
    """Log of one fold. Rows of epochs that will be trained again (`epoch >= resumed`) are taken out first."""

    def __init__(self, folder: Path, *, resumed: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / LOG
        kept = [row for row in read_log(self.path) if row["epoch"] < resumed]
        write_atomic(self.path, "".join(json.dumps(row) + "\n" for row in kept))
        self.events = SummaryWriter(str(folder / EVENTS), purge_step=resumed)

    def write(self, row: Mapping[str, Any]) -> None:
        """Append an epoch: `epoch` (int), numbers, and mappings of numbers; NaN and infinity are written
        as null.
        """
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(_plain(row)) + "\n")
        for name, value in row.items():
            if isinstance(value, Mapping):
                for part, number in value.items():
                    self.events.add_scalar(f"{name}/{part}", number, row["epoch"])
            elif isinstance(value, int | float) and name != "epoch":
                self.events.add_scalar(name, value, row["epoch"])
        self.events.flush()

    def picture(self, name: str, image: np.ndarray, epoch: int) -> None:
        """Show a picture `(H, W, 3)` uint8 in TensorBoard."""
        self.events.add_image(name, image, epoch, dataformats="HWC")

    def close(self) -> None:
        """Close the event file."""
        self.events.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
