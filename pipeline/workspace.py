"""Where everything of one experiment lies, and the arguments every stage shares."""

from __future__ import annotations

import argparse
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from pipeline.contract_fit import resolve
from pipeline.distributed.shards import Shard, parse_shard
from pipeline.experiment import Experiment, load_experiment
from pipeline.inventory_table import SOURCE, read_inventory
from pipeline.locks import release_all
from pipeline.origin import EXPERIMENT, data_of, is_run
from pipeline.remote_data import data_place, fetched
from pipeline.sequence import started_as
from pipeline.stage import MadeOtherwise, Stage, read_stage
from submissions.command_exit import sentence
from submissions.host.competition import Competition, load_competition
from submissions.host.listing import spread

LOCK = "stage.lock"
RUN, SHORTEST_RUN = 8, 3  # neighbouring slices of a stack, where `limit` leaves slices out
STACKS = 5  # that a small limit is spread over
NOTED = ("torch", "timm", "segmentation-models-pytorch", "albumentations", "numpy", "opencv-python-headless", "pandas")


@dataclass(frozen=True)
class Workspace:
    """An experiment with its folders."""

    experiment: Experiment
    competition: Competition
    data: Path
    runs: Path
    overwrite: bool = False
    device: str | None = None
    workers: int = 0
    shard: Shard | None = None

    @property
    def shared(self) -> Path:
        """Folder of everything made of this competition's files."""
        return self.runs / self.competition.name

    @property
    def inventory(self) -> Path:
        """Folder of stage 01."""
        return self.shared / "inventory"

    @property
    def own(self) -> Path:
        """Folder of this experiment's results."""
        return self.shared / self.experiment.name

    @property
    def group_column(self) -> str | None:
        """The inventory's column that says which images belong together: the experiment's, or the contract's."""
        return self.experiment.folds.group or self.competition.group

    @property
    def only_a_gate(self) -> bool:
        """Whether the experiment classifies images of a contract that wants masks."""
        return self.experiment.task == "classify" and self.competition.masks.kind != "none"

    def fold(self, fold: int) -> Path:
        """Folder of one fold's training."""
        return self.own / f"fold_{fold}"

    def all_images(self) -> tuple[pd.DataFrame, np.ndarray]:
        """The inventory, training and test, with the column `source` as the experiment wants it, and its thumbnails.

        Raises ValueError where `folds.sources` names a column that is not there.
        """
        read_stage(self.inventory, f"01_check_data.py {self.experiment.name}")
        table, thumbnails = read_inventory(self.inventory)
        given = self.experiment.folds.sources
        if given is None:
            return table, thumbnails
        if given.column not in table:
            raise ValueError(
                f"folds.sources.column: no column {given.column!r}; the inventory has {', '.join(map(str, table))}"
            )
        return table.assign(**{SOURCE: table[given.column].astype(str)}), thumbnails

    def training_images(self) -> tuple[pd.DataFrame, str]:
        """The training rows of the inventory that the experiment uses, and the hash of the inventory."""
        made = read_stage(self.inventory, f"01_check_data.py {self.experiment.name}")
        table, _ = self.all_images()
        train = table[table["split"] == "train"].reset_index(drop=True)
        return limited(train, self.experiment.limit), str(made["output"])

    @property
    def limit(self) -> Any:
        """What, beside the inventory, says which training images are used: for fingerprints."""
        given = self.experiment.limit
        return given if given is None or self.competition.images.stack is None else {"neighbouring slices": given}


def limited(train: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """At most `limit` rows, spread evenly over the table; of stacks (columns stack and z) neighbouring slices.

    Slices drawn one by one would lie further apart than those of the test set. As many stacks as there is room for give
    a run of RUN slices each, of a small limit fewer, so that there are several stacks; a larger limit gives all stacks
    longer runs. Runs begin now near one end of their stack and now near the other.
    """
    if limit is None or len(train) <= limit:
        return train
    if not ("stack" in train and train["stack"].duplicated().any()):
        return train.iloc[spread(range(len(train)), limit)].reset_index(drop=True)
    ordered = train.reset_index(drop=True).sort_values(["stack", "z", "image_id"], kind="stable")
    stacks = [part.index.to_numpy() for _, part in ordered.groupby("stack", sort=False)]
    sizes = np.array([len(stack) for stack in stacks])
    run = int(np.clip(limit // STACKS, SHORTEST_RUN, RUN))
    number = max(1, min(len(stacks), int(limit / np.minimum(sizes, run).mean())))
    while number > 1 and np.minimum(sizes[spread(range(len(stacks)), number)], run).sum() > limit:
        number -= 1
    chosen = spread(range(len(stacks)), number)
    longest = int(sizes[chosen].max())
    while run < longest and np.minimum(sizes[chosen], run + 1).sum() <= limit:
        run += 1
    parts = [_run(stacks[index], run, k, number) for k, index in enumerate(chosen)]
    return train.iloc[np.sort(np.concatenate(parts))].reset_index(drop=True)


def _run(slices: np.ndarray, length: int, place: int, places: int) -> np.ndarray:
    """A run of neighbours, or all where there are not so many; of `places` the first lies near the start."""
    first = max(0, len(slices) - length) * (2 * place + 1) // (2 * places)
    return slices[first : first + length]


def stage_parser(description: str, *, word: str | None = None) -> argparse.ArgumentParser:
    """Arguments that every numbered stage takes, and the `word` of the command line that takes them too."""
    parser = argparse.ArgumentParser(
        prog=word and f"{started_as()} {word}", description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("experiment", help="name in pipeline/experiments/, a YAML file, or the folder of a run")
    parser.add_argument(
        "--data", type=data_place, help="the host's files, a folder or a URL such as s3://bucket/folder, which is "
        "fetched once (default: data/<competition>, or where they were)",
    )  # fmt: skip
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="results (default: runs)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a setting, e.g. train.epochs=5; may be repeated",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="delete what this stage made before, and make it again"
    )
    parser.add_argument("--device", help="cpu, cuda:1, or several: cuda:0,cuda:1 (default: a GPU where there is one)")
    parser.add_argument("--workers", type=int, default=0, help="processes for reading images (default: 0)")
    return parser


def open_workspace(arguments: argparse.Namespace) -> Workspace:
    """Workspace from parsed arguments; raises as the loaders of settings do."""
    folder = Path(arguments.experiment)
    given = is_run(folder)
    experiment = load_experiment(folder / EXPERIMENT if given else arguments.experiment, arguments.set)
    competition = load_competition(experiment.competition)
    runs = folder.resolve().parents[1] if given else arguments.runs
    data = arguments.data or Path("data") / competition.name
    if isinstance(data, str):
        data = fetched(data, runs / competition.name)
    elif not arguments.data and (given or not data.is_dir()):
        data = data_of(runs / competition.name / experiment.name, competition.name)
    return Workspace(
        resolve(experiment, competition),
        competition,
        data,
        runs,
        arguments.overwrite,
        arguments.device,
        arguments.workers,
        _shard(arguments),
    )


def _shard(arguments: argparse.Namespace) -> Shard | None:
    """The shard that is asked for; ValueError where it would begin with deleting what the other shards made."""
    text = getattr(arguments, "shard", None)
    if text is not None and arguments.overwrite:
        raise ValueError(
            f"--overwrite with --shard {text} would delete what other shards made; run the stage once with "
            "--overwrite and without --shard, or give all shards the same --set name=..."
        )
    return None if text is None else parse_shard(text)


def run_stage(
    work: Callable[[Workspace, argparse.Namespace], None],
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
) -> None:
    """Parse, open the workspace, do the work; what the user can put right ends as one sentence and status 1.

    Where what is there was made from other settings, the command that makes it again follows.
    """
    if work.__module__.startswith("pipeline."):  # not the script itself, whose file argparse names
        parser.prog = f"{started_as()} {work.__module__.removeprefix('pipeline.')}"
    arguments = parser.parse_args(argv)
    try:
        space = open_workspace(arguments)
        work(space, arguments)
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        print(f"error: {sentence(error)}", file=sys.stderr)
        if isinstance(error, MadeOtherwise):
            given = sys.argv[1:] if argv is None else argv
            print("\n".join(ways_out(error.stage, space, given)), file=sys.stderr)
        raise SystemExit(1) from error
    except ModuleNotFoundError as error:  # what is imported where it is used, torch first of all
        raise SystemExit(f"error: {error}; run `make install` in the checkout, then .venv/bin/python") from error
    finally:
        release_all()


def ways_out(stage: Stage, space: Workspace, argv: Sequence[str]) -> list[str]:
    """Commands for a user whose arguments `argv` do not fit what a stage made: make it again, or keep both."""
    lines = [f"  to make it again: {started_as(stage.name)} {shlex.join(argv)} --overwrite"]
    if stage.folder.is_relative_to(space.own):
        lines.append("  to keep both side by side: the same with --set name=... and without --overwrite")
    return lines


def finish(stage: Stage, summary: str, **facts: object) -> None:
    """Close a stage with its final line; its document keeps how it was made."""
    seconds = stage.finish(**facts, made=provenance())
    print(f"{stage.name}: {summary} -> {stage.folder} ({seconds:.1f} s)")


@contextmanager
def finishing(stage: Stage, shard: Shard | None, left: int, done: Callable[[], bool] | None = None) -> Iterator[bool]:
    """Whether this process is to finish the stage: always without shards, with them where no image is `left`.

    Of several that find so at once, the others wait, and find it `done` (by default: the stage).
    """
    if shard is None:
        yield True
    elif left:
        print(f"{stage.name}: shard {shard} is done; {left} image(s) are left to other shards")
        yield False
    else:
        with FileLock(stage.folder / LOCK):
            made = stage.done() if done is None else done()
            if made:
                already(stage, "by another shard")
            yield not made


def provenance() -> dict[str, Any]:
    """The command, the versions, the commit and the time of now, for a stage's document; in no fingerprint."""
    versions = {"python": platform.python_version(), **{name: metadata.version(name) for name in NOTED}}
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "command": shlex.join(sys.orig_argv),
        "versions": versions,
        "git": git_state(Path.cwd()),
        "finished": moment,
    }


def already(stage: Stage, how: str = "") -> None:
    """The final line of a stage with nothing left to do; `how` it was made, as in "by --folds"."""
    print(f"{stage.name}: already made {how}".rstrip() + f" -> {stage.folder}")


def git_state(folder: Path) -> str:
    """Commit of the checkout that `folder` lies in, with '-dirty' where files differ; '' where there is none."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
