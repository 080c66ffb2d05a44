"""Trials of an experiment with other settings, proposed by Optuna (Akiba et al., KDD 2019), judged as runs are.

A trial is an experiment like any other, named by its settings: a killed search goes on with the trial, and within it
with the epoch, that it was at. Several processes that run the same command share the work through the journal.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from pipeline.experiment import Experiment
from pipeline.search.variants import FOLDER, assigned, run_variant, search_folds, variant_name
from pipeline.settings.search import Range
from pipeline.stage import digest
from pipeline.training.training_log import LOG, read_log
from pipeline.workspace import Workspace
from submissions.host.atomic import write_atomic
from submissions.host.settings import override

JOURNAL, BEST = "journal.log", "best.yaml"


def suggest(trial: Any, experiment: Experiment) -> dict[str, Any]:
    """The settings of a trial, one value per range."""
    found: dict[str, Any] = {}
    for key, values in experiment.search.ranges.items():
        if isinstance(values, Range):
            whole = isinstance(values.low, int) and isinstance(values.high, int)
            ask = trial.suggest_int if whole else trial.suggest_float
            found[key] = ask(key, values.low, values.high, log=values.log)
        else:
            found[key] = json.loads(trial.suggest_categorical(key, [json.dumps(value) for value in values]))
    return found


@contextlib.contextmanager
def steady_optuna() -> Iterator[None]:
    """Without its warnings that something may change in later versions: the version is pinned."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def open_study(space: Workspace, process: str = "") -> Any:
    """The study in the experiment's folder, new or gone on with. Raises ValueError without Optuna or ranges.

    process: whose trials it asks for (this process if empty); others ask for other ones, though they begin alike.
    """
    try:
        import optuna
        from optuna.storages.journal import JournalFileBackend
    except ModuleNotFoundError as error:
        raise ValueError("tune needs Optuna: pip install 'segmentation-pipeline[search]'") from error
    experiment, settings = space.experiment, space.experiment.search
    if not settings.ranges:
        raise ValueError(
            f"{experiment.name}: search.ranges is empty; say what to try, e.g. train.lr: "
            "{low: 1e-4, high: 1e-2, log: true}"
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = space.own / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    validations = -(-experiment.train.epochs // max(1, experiment.train.validate_every))
    pruners = {
        "median": optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1),
        "hyperband": optuna.pruners.HyperbandPruner(min_resource=1, max_resource=validations),
        "none": optuna.pruners.NopPruner(),
    }
    with steady_optuna():
        seed = settings.seed + int(digest(process or process_name())[:6], 16)
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)
    name = digest([settings.model_dump(mode="json"), experiment.model_dump(mode="json", exclude={"search"})])
    return optuna.create_study(
        study_name=name, storage=optuna.storages.JournalStorage(JournalFileBackend(str(folder / JOURNAL))),
        sampler=sampler, pruner=pruners[settings.pruner], direction="maximize", load_if_exists=True,
    )  # fmt: skip


def run_trials(
    space: Workspace, argv: Sequence[str], *, trials: int, seconds: float | None, report: Callable[[str], None] = print
) -> Any:
    """Search until the study has `trials` finished ones or `seconds` are over; returns it.

    The experiment as it is comes first. A trial whose settings do not go together fails with a sentence.
    """
    study = open_study(space)
    left = take_up(study, space.experiment, process_name(), trials)
    if left > 0:
        from optuna.study import MaxTrialsCallback

        enough = MaxTrialsCallback(trials, states=tuple(state for state in _states() if state.is_finished()))
        ask = partial(_objective, space, argv, process=process_name(), report=report)
        study.optimize(ask, n_trials=left, timeout=seconds, catch=(ValueError,), callbacks=[enough])
    return study


def run_trial(space: Workspace, argv: Sequence[str], process: str, report: Callable[[str], None] = print) -> None:
    """One trial in the name of `process` (a `process_name`, slash, number): again the one that it was at, if any."""
    study = open_study(space, process)
    take_up(study, space.experiment, process, 0)
    ask = partial(_objective, space, argv, process=process, report=report)
    study.optimize(ask, n_trials=1, catch=(ValueError,))


def _objective(
    space: Workspace, argv: Sequence[str], trial: Any, *, process: str, report: Callable[[str], None]
) -> float:
    """The score of a trial; raises TrialPruned where it lags, ValueError where its settings do not go together."""
    import optuna

    (seen, _), search = search_folds(space.experiment), space.experiment.search
    trial.set_user_attr("process", process)
    settings = suggest(trial, space.experiment)
    changed = {**settings, "folds.use": seen, "train.validate_every": max(1, space.experiment.train.validate_every)}
    name = variant_name(space.experiment, "trial", changed)
    before = read_log(space.shared / name / f"fold_{seen[0]}" / LOG)  # of a trial that is gone on with
    steps = count(sum("validation" in row for row in before))

    def observe(fold: int, score: float) -> None:
        if fold == seen[0] and search.pruner != "none":
            trial.report(score, next(steps))
            if trial.should_prune():
                raise optuna.TrialPruned

    try:
        found = run_variant(space, argv, name, changed, observe)
    except optuna.TrialPruned:
        shutil.rmtree(space.shared / name)
        raise
    except ValueError as error:
        report(str(error))
        raise
    trial.set_user_attr("scores", found.scores)
    report(f"{name}: {search.objective} {found.scores[search.objective]:.4f} {settings}")
    return found.scores[search.objective]


def finished(study: Any) -> list[Any]:
    """Trials that need not be run again: scored, pruned or failed."""
    return [trial for trial in study.trials if trial.state.is_finished()]


def scored(study: Any) -> list[Any]:
    """Trials that were run to the end."""
    return [trial for trial in study.trials if trial.state == _states().COMPLETE]


def _states() -> Any:
    from optuna.trial import TrialState

    return TrialState


def process_name() -> str:
    """This process, as trials note whose they are."""
    return f"{socket.gethostname()}:{os.getpid()}"


def take_up(study: Any, experiment: Experiment, process: str, trials: int) -> int:
    """Enqueue again what dead processes of this machine, or an earlier attempt of this one, were at; in a new study,
    the experiment as it is. Returns how many of `trials` are left.
    """
    for trial in study.get_trials(states=(_states().RUNNING,)):
        owner = str(trial.user_attrs.get("process", ""))
        host, _, number = owner.partition("/")[0].rpartition(":")
        if owner == process or (host == socket.gethostname() and not Path(f"/proc/{number}").exists()):
            study.tell(trial.number, state=_states().FAIL)
            study.enqueue_trial(trial.params, skip_if_exists=False)
    if not study.trials:
        study.enqueue_trial(_as_it_is(experiment))
    return trials - len(finished(study))


def _as_it_is(experiment: Experiment) -> dict[str, Any]:
    """The experiment's own values of what is searched, where they lie within the ranges."""
    document = experiment.model_dump(mode="json")
    found: dict[str, Any] = {}
    for key, values in experiment.search.ranges.items():
        value: Any = document
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(values, Range):
            if isinstance(value, (int, float)) and values.low <= value <= values.high:
                found[key] = value
        elif value in values:
            found[key] = json.dumps(values[values.index(value)])  # 0 where 0.0 is set: another text, the same value
    return found


def trial_table(study: Any, floor: float) -> pd.DataFrame:
    """One row per trial, the best first: trial, state, score, noise (below the best by less than `floor`), settings.

    Trials that were stopped have no score: Optuna notes of them what a fold was last validated at, which is none.
    """
    scores = {trial.number: trial.value for trial in scored(study)}
    best = max(scores.values(), default=float("nan"))
    rows = [
        {
            "trial": trial.number, "state": trial.state.name.lower(), "score": scores.get(trial.number),
            "noise": trial.number in scores and best - scores[trial.number] < floor, **trial.params,
        }
        for trial in study.trials
    ]  # fmt: skip
    return pd.DataFrame(rows).sort_values(["score", "trial"], ascending=[False, True]).reset_index(drop=True)


def best_settings(space: Workspace, study: Any) -> dict[str, Any]:
    """The best trial's values as settings."""
    ranges = space.experiment.search.ranges
    return {
        key: value if isinstance(ranges[key], Range) else json.loads(value)
        for key, value in study.best_trial.params.items()
    }


def write_best(space: Workspace, settings: dict[str, Any]) -> Path:
    """The experiment with these settings as a file beside the journal; returns its path."""
    document = space.experiment.model_dump(mode="json", exclude_unset=True, exclude={"search", "members"})
    document = override({**document, "name": f"{space.experiment.name}-best"}, assigned(settings))
    path = space.own / FOLDER / BEST
    write_atomic(path, yaml.safe_dump(document, sort_keys=False))
    return path
