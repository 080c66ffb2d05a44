"""The log of a training: JSON lines for programs, and for people the loggers of `train.loggers`.

Nothing is sent anywhere unless the user's environment asks for it: Weights & Biases writes offline runs
(WANDB_MODE=online, or `wandb sync` later), MLflow a SQLite file beside the log (MLFLOW_TRACKING_URI: another store).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from submissions.host.atomic import finite, write_atomic

LOG = "log.jsonl"
EVENTS = "tensorboard"
MLFLOW_FILE = "mlflow.db"


class Logger(Protocol):
    """What shows a training to people."""

    def numbers(self, values: Mapping[str, float], epoch: int) -> None:
        """Show numbers of an epoch by name, NaN and infinity too."""

    def picture(self, name: str, image: np.ndarray, epoch: int) -> None:
        """Show a picture `(H, W, 3)` uint8."""

    def close(self, *, failed: bool) -> None:
        """Write what is left; the training has ended, or failed."""


class TensorBoardLogger:
    """Event files; those of epochs that will be trained again are marked as void."""

    def __init__(self, folder: Path, *, name: str, project: str, settings: Mapping[str, Any], resumed: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.events = SummaryWriter(str(folder / EVENTS), purge_step=resumed)

    def numbers(self, values: Mapping[str, float], epoch: int) -> None:
        for name, value in values.items():
            self.events.add_scalar(name, value, epoch)
        self.events.flush()

    def picture(self, name: str, image: np.ndarray, epoch: int) -> None:
        self.events.add_image(name, image, epoch, dataformats="HWC")

    def close(self, *, failed: bool) -> None:
        self.events.close()


class WandbLogger:
    """A run of Weights & Biases; a restart goes on with the run of that id."""

    def __init__(self, folder: Path, *, name: str, project: str, settings: Mapping[str, Any], resumed: int) -> None:
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        if mode == "offline":  # read when wandb is imported: its reports of its own errors go over the network
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        earlier = sorted(folder.glob("wandb/*run-*-*")) if resumed else []
        quiet = wandb.Settings(console="off", silent=True, disable_git=True, x_disable_stats=True)
        self.wandb, self.run = wandb, wandb.init(
            project=project, name=name, config=dict(settings), dir=str(folder), mode=mode, settings=quiet,
            id=earlier[-1].name.rpartition("-")[2] if earlier else None, resume="allow", reinit="create_new",
        )  # fmt: skip

    def numbers(self, values: Mapping[str, float], epoch: int) -> None:
        self.run.log(dict(values), step=epoch)

    def picture(self, name: str, image: np.ndarray, epoch: int) -> None:
        self.run.log({name: self.wandb.Image(image)}, step=epoch)

    def close(self, *, failed: bool) -> None:
        self.run.finish(exit_code=int(failed))


class MlflowLogger:
    """A run of MLflow, its settings as `settings.json`; a restart goes on with the last run of that name."""

    def __init__(self, folder: Path, *, name: str, project: str, settings: Mapping[str, Any], resumed: int) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        place = folder.resolve() / MLFLOW_FILE
        self.client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{place}"))
        known = self.client.get_experiment_by_name(project)
        artifacts = None if "MLFLOW_TRACKING_URI" in os.environ else (place.parent / "mlflow").as_uri()
        experiment = known.experiment_id if known else self.client.create_experiment(project, artifacts)
        same = f"attributes.run_name = '{name}'"
        earlier = self.client.search_runs([experiment], same, order_by=["start_time DESC"], max_results=1)
        if resumed and earlier:
            self.run = earlier[0].info.run_id
            self.client.update_run(self.run, status="RUNNING")
        else:
            self.run = self.client.create_run(experiment, run_name=name).info.run_id
            self.client.log_dict(self.run, dict(settings), "settings.json")

    def numbers(self, values: Mapping[str, float], epoch: int) -> None:
        for name, value in values.items():
            self.client.log_metric(self.run, name, value, step=epoch)

    def picture(self, name: str, image: np.ndarray, epoch: int) -> None:
        self.client.log_image(self.run, image, key=name, step=epoch)

    def close(self, *, failed: bool) -> None:
        self.client.set_terminated(self.run, "FAILED" if failed else "FINISHED")


LOGGERS: dict[str, Callable[..., Logger]] = {
    "tensorboard": TensorBoardLogger,
    "wandb": WandbLogger,
    "mlflow": MlflowLogger,
}


def check_loggers(names: Sequence[str]) -> None:
    """Raise ValueError where the package of a logger is not installed."""
    for name in names:
        if find_spec(name) is None:
            raise ValueError(
                f"train.loggers: {name!r} is not installed: pip install 'segmentation-pipeline[{name}]', or leave it "
                "out"
            )


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


class TrainingLog:
    """Log of one fold. Rows of epochs that will be trained again (`epoch >= resumed`) are taken out first.

    loggers: names in LOGGERS, which are given the fold's `name`, its `project` and `settings`; ValueError where one is
    not installed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        resumed: int = 0,
        loggers: Sequence[str] = ("tensorboard",),
        name: str = "",
        project: str = "",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        check_loggers(loggers)
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / LOG
        kept = [row for row in read_log(self.path) if row["epoch"] < resumed]
        write_atomic(self.path, "".join(json.dumps(row) + "\n" for row in kept))
        run: dict[str, Any] = {
            "name": name or folder.name,
            "project": project or folder.name,
            "settings": settings or {},
        }
        self.loggers = [LOGGERS[one](folder, **run, resumed=resumed) for one in loggers]

    def write(self, row: Mapping[str, Any]) -> None:
        """Append an epoch: `epoch` (int), numbers, and mappings of numbers; NaN and infinity are written
        as null.
        """
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite(row)) + "\n")
        numbers: dict[str, float] = {}
        for name, value in row.items():
            if isinstance(value, Mapping):
                numbers.update({f"{name}/{part}": number for part, number in value.items()})
            elif isinstance(value, int | float) and name != "epoch":
                numbers[name] = value
        for logger in self.loggers:
            logger.numbers(numbers, row["epoch"])

    def picture(self, name: str, image: np.ndarray, epoch: int) -> None:
        """Show a picture `(H, W, 3)` uint8 in every logger."""
        for logger in self.loggers:
            logger.picture(name, image, epoch)

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for logger in self.loggers:
            logger.close(failed=error is not None)
