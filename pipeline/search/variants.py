"""Variants of an experiment: the same with other settings, named by these, run on some folds and scored as runs are."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from pipeline.data.fold_tables import open_folds
from pipeline.experiment import Experiment
from pipeline.inventory_table import read_inventory
from pipeline.search.leaderboard import source_scores
from pipeline.sequence import run_stages
from pipeline.stage import digest, read_stage
from pipeline.training.split_training import train_split
from pipeline.tuning.comparisons.two_runs import metric_of, read_scores
from pipeline.workspace import Workspace, open_workspace, stage_parser

FOLDER = "search"  # of an experiment, where what is printed meanwhile is kept


@dataclass(frozen=True)
class Variant:
    """An experiment with other settings, run on some folds: its name, these settings, and its scores by objective."""

    name: str
    settings: dict[str, Any]
    scores: dict[str, float]


def experiment_key(experiment: Experiment) -> str:
    """What an experiment is but for its search: scores and runs of another key are of another experiment."""
    return digest(experiment.model_dump(mode="json", exclude={"search"}))


def variant_name(experiment: Experiment, what: str, settings: dict[str, Any]) -> str:
    """Name of a run of the experiment with other settings: two that differ in anything have two names, so that a search
    of a changed experiment, or one whose best trial is another than before, meets no run that was made otherwise.
    """
    return f"{experiment.name}-{what}-{digest([experiment_key(experiment), settings])[:8]}"


def search_folds(experiment: Experiment) -> tuple[list[int], list[int]]:
    """Folds that judge trials, and those that the search never sees; ValueError where either is empty."""
    used = experiment.used_folds
    seen = experiment.search.folds if experiment.search.folds is not None else used[: max(1, len(used) // 2)]
    unseen = [fold for fold in used if fold not in seen]
    if not set(seen) <= set(used) or not seen or not unseen:
        raise ValueError(
            f"search.folds is {seen}, folds.use is {used}; expected some of these, with some left to check the "
            "best trial"
        )
    return seen, unseen


def assigned(settings: dict[str, Any]) -> list[str]:
    """Settings as `--set` takes them: JSON; of floats YAML reads 1e-05 as text, 1.0e-05 as a number."""
    texts = {
        key: yaml.safe_dump(value).splitlines()[0] if isinstance(value, float) else json.dumps(value)
        for key, value in settings.items()
    }
    return [f"{key}={text}" for key, text in texts.items()]


def assignments(settings: dict[str, Any]) -> list[str]:
    """Settings as words of a command line."""
    return [word for one in assigned(settings) for word in ("--set", one)]


def run_variant(
    space: Workspace,
    argv: Sequence[str],
    name: str,
    settings: dict[str, Any],
    observe: Callable[[int, float], None] | None = None,
) -> Variant:
    """Run stages 02 to 06 of the experiment with other settings under another name, on the folds it was split into.

    What the stages print goes into the folder of the search. Raises as the stages do: ValueError that names the trial.
    """
    words = [*argv, *assignments({**settings, "name": name})]
    own = open_workspace(stage_parser("").parse_args(words))
    frozen = space.shared / "folds" / open_folds(space)[1] / "folds.csv"
    log = io.StringIO()
    try:
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            run_stages([*words, "--folds", str(frozen)], ("02",))
            run_stages(words, ("03",))
            train_split(own, observe)
            run_stages(words, ("05", "06"))
    except SystemExit as error:
        reason = log.getvalue()[log.getvalue().rfind("error:") :].strip()
        raise ValueError(f"{name} ({settings}): {reason}") from error
    finally:
        (space.own / FOLDER).mkdir(parents=True, exist_ok=True)
        (space.own / FOLDER / f"{name}.txt").write_text(log.getvalue(), encoding="utf-8")
    return Variant(name, settings, run_scores(own))


def run_scores(space: Workspace) -> dict[str, float]:
    """nested, and worst_source where the images come from several sources (else as nested)."""
    tuned = read_stage(space.own / "tuning", f"06_tune.py {space.experiment.name}")
    inventory, _ = read_inventory(space.inventory)
    by_source = source_scores(read_scores(space.own), inventory, metric_of(tuned["identity"]["settings"]))
    nested = float(tuned["nested"])
    return {"nested": nested, "worst_source": min(by_source.values(), default=nested)}
