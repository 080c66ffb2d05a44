"""Checks before a stage starts: names, other runs, columns and the sample submission, whichever stage needs them."""

from __future__ import annotations

import argparse
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path

from pipeline.experiment import load_experiment
from pipeline.origin import remember
from pipeline.prediction.image_gate import check_gate
from pipeline.preflight.columns import column_problems
from pipeline.preflight.images import image_problems
from pipeline.stage import DONE, digest, is_first_process
from pipeline.workspace import Workspace
from submissions.answers import check_answer
from submissions.host.atomic import write_atomic
from submissions.host.competition import load_competition
from submissions.host.listing import list_images
from submissions.images.opening import resolve_inside
from submissions.table.host_tables import try_host_metric

CHECKED = "checked.txt"
Work = Callable[[Workspace, argparse.Namespace], None]


def checked(number: str, work: Work) -> Work:
    """A numbered stage's work, with the checks before it and a note of the settings used after it."""

    @wraps(work)
    def whole(space: Workspace, arguments: argparse.Namespace) -> None:
        first = number == "01"
        anew = first and not (space.inventory / DONE).is_file()
        check_ahead(space, listing=anew, listed=not first, training=number == "04")
        work(space, arguments)
        if is_first_process():
            for each in (space.experiment, *space.experiment.repeated):
                folder = space.shared / each.name
                remember(folder, number, experiment=each, competition=space.competition, data=space.data)

    return whole


def check_ahead(space: Workspace, *, listing: bool = False, listed: bool = False, training: bool = False) -> None:
    """Raise ValueError that lists everything in the experiment that a later stage would refuse.

    Names are tried by the code that uses them (network, encoder, loss, recipe, optimizer, views, metric, splitter,
    device), in another process if torch is not loaded yet; then the sample submission is compared with the test images.
    A passed check is noted in `checked.txt` in the run's folder and not repeated. Of several training processes only
    the first checks. listing: stage 01 is about to list everything that is wrong with the host's files, and so what is
    wrong with the sample submission too; it is then no reason to stop here, before the rest is known. listed: what
    stage 01 saw of the images is up to date, and settings have to fit it. training: the stage trains, and the
    largest image has to fit into the memory of prediction first.
    """
    if not is_first_process():
        return
    problems, note = [*missing_runs(space), *(image_problems(space) if listed else [])], space.own / CHECKED
    problems += _memory_problems(space) if training else []
    state = _state(space)
    later: list[str] = []
    if not (note.is_file() and note.read_text(encoding="utf-8").strip() == state):
        later = _answer_problems(space)
        problems += [*_unknown_names(space), *_host_problems(space, tried=not later)]
    if not listing:
        problems += later
    if problems:
        count = "this would fail" if len(problems) == 1 else f"{len(problems)} things would fail"
        raise ValueError("\n  ".join([f"{space.experiment.name}: {count} in a later stage:", *problems]))
    if not later:
        write_atomic(note, state + "\n")


def _state(space: Workspace) -> str:
    """Digest of what the checks read, without the test images, whose changes stage 01 notices."""
    form = space.competition.submission
    sample = resolve_inside(space.data, form.sample) if form is not None and form.sample else None
    there = sample.stat() if sample is not None and sample.is_file() else None
    documents = [space.experiment.model_dump(mode="json"), space.competition.model_dump(mode="json")]
    metric = space.competition.metric.identity()  # of the host's file its content
    return digest([*documents, metric, space.device, there and [there.st_size, there.st_mtime_ns], space.data.is_dir()])


def missing_runs(space: Workspace) -> list[str]:
    """Sentences about other experiments that are named but not yet as far as needed, or no gate of this one."""
    experiment, tune = space.experiment, space.experiment.tune
    members = [] if experiment.repeated else experiment.members
    needed = [*(("members", name) for name in members), ("tune.gate", tune.gate)]
    problems = []
    for key, name in needed:
        if name is not None and not (space.shared / name / "oof" / DONE).is_file():
            problems.append(
                f"{key} names {name!r}, but {space.shared / name}/oof is not finished; run stages 01 to 05 of "
                "that experiment first"
            )
    if tune.gate is not None and not problems:
        problems += _refused_gate(space)
    learned = experiment.train.pseudo_labels
    if learned is not None and not list((space.shared / learned).glob(f"test_folds/fold_*/{DONE}")):
        problems.append(
            f"train.pseudo_labels names {learned!r}, whose test images were not predicted fold by fold; run its "
            "07_predict_test with --keep-folds"
        )
    said = [_missing_external(space, one.experiment, number) for number, one in enumerate(experiment.external)]
    return problems + [sentence for sentence in said if sentence]


def _refused_gate(space: Workspace) -> list[str]:
    try:
        check_gate(space)
    except ValueError as error:
        return [str(error)]
    return []


def _missing_external(space: Workspace, name: str, number: int) -> str:
    try:
        contract = load_competition(load_experiment(name).competition)
    except (ValueError, FileNotFoundError) as error:
        return f"external[{number}].experiment: {error}"
    if list((space.runs / contract.name / "store").glob(f"*/{DONE}")):
        return ""
    return f"external[{number}].experiment: {name!r} is not prepared in {space.runs}; run stages 01 to 03 of it first"


def _host_problems(space: Workspace, *, tried: bool) -> list[str]:
    """Columns and references that the training images do not have; with `tried` a host's metric that scores nothing.

    Nothing where there are no files.
    """
    if not space.data.is_dir():
        return []
    problems = column_problems(space)
    if space.experiment.augment.references:
        listing, _ = list_images(space.competition, space.data, "train")
        unknown = sorted(set(space.experiment.augment.references) - set(listing["image_id"].astype(str)))
        if unknown:
            problems.append(f"augment.references names {', '.join(unknown)}, which are not training images")
    if tried and space.competition.metric.file is not None:
        said = try_host_metric(space.competition, space.data)
        problems += [said] if said else []
    return problems


def _answer_problems(space: Workspace) -> list[str]:
    """What is wrong with the sample submission; nothing where there are no files."""
    return [str(one) for one in check_answer(space.competition, space.data)] if space.data.is_dir() else []


def _memory_problems(space: Workspace) -> list[str]:
    from pipeline.preflight.memory import memory_problems

    return memory_problems(space)


def _unknown_names(space: Workspace) -> list[str]:
    if "torch" in sys.modules:
        from pipeline.preflight.names import name_problems

        return name_problems(space)
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.preflight.names"],
        input=pickle.dumps(space),
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))},
    )
    if done.returncode:
        raise RuntimeError(
            f"the names in the experiment could not be checked:\n{done.stderr.decode(errors='replace')[-2000:]}"
        )
    return [str(problem) for problem in pickle.loads(done.stdout)]
