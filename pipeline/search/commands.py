"""The words `leaderboard`, `tune`, `lr-range` and `batch-size` of the command line."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from inference.predict.time_budget import parse_budget
from pipeline.distributed.commands import add_ray, cluster_of
from pipeline.sequence import started_as
from pipeline.workspace import Workspace, open_workspace, stage_parser


def leaderboard_command(argv: Sequence[str]) -> None:
    """All runs of the experiment's competition, and with --select an ensemble of them."""
    parser = stage_parser(
        "All runs of a competition that stage 06 decided, best first; --select chooses an ensemble of them.",
        word="leaderboard",
    )
    parser.add_argument("--select", type=Path, metavar="FILE", help="choose an ensemble and write it as an experiment")
    parser.add_argument(
        "--limit", default=None, metavar="9h", help="longest time for predicting the test set, such as 8h"
    )
    parser.add_argument(
        "--images", type=int, help="number of images of the (hidden) test set (default: of those at hand)"
    )
    parser.add_argument(
        "--of", nargs="+", metavar="RUN", help="runs to choose from (default: all that are single experiments)"
    )
    arguments = parser.parse_args(argv)
    space = open_workspace(arguments)
    from pipeline.search.leaderboard import advice, leaderboard, write_leaderboard
    from pipeline.tuning.scores.criteria import tuning_metric

    table = leaderboard(space.shared, tuning_metric(space.competition, space.experiment.tune))
    print(table.to_string(index=False, float_format=lambda value: f"{value:.4f}"))
    print("\n".join([*advice(space.shared, table), f"leaderboard -> {write_leaderboard(space.shared, table)}"]))
    if arguments.select is not None:
        if space.only_a_gate:
            raise ValueError(
                f"--select chooses among runs that answer with masks, and {space.experiment.name!r} only predicts "
                "whole images; name an experiment with masks, or give it as tune.gate"
            )
        singles = [name for name in table["run"] if (space.shared / name / "oof").is_dir()]
        _select(space, arguments.of or singles, arguments)


def _select(space: Workspace, names: Sequence[str], arguments: argparse.Namespace) -> None:
    """Choose among the runs of each kind that can be averaged, and write the ensemble whose nested score is best."""
    from pipeline.prediction.oof import run_items
    from pipeline.runs import read_run
    from pipeline.search.ensemble_selection import alike, select_ensemble, write_ensemble
    from pipeline.search.leaderboard import run_costs
    from pipeline.tuning.measurements import shared_images
    from pipeline.tuning.scores.criteria import Criteria, tuning_metric
    from submissions.host.listing import list_images

    given = [read_run(space, name) for name in names]
    items = {run.name: run_items(space, run) for run in given}
    kinds = alike(given, items)
    seconds = {run.name: run_costs([run.folder]).inference for run in given}
    budget = np.inf
    if arguments.limit is not None:
        images = arguments.images or len(list_images(space.competition, space.data, "test")[0])
        if not images:
            raise ValueError("--limit needs the number of test images, and none are at hand; give --images")
        budget = parse_budget(arguments.limit) / images
        within = {key: runs for key, runs in kinds.items() if any(seconds[run.name] <= budget for run in runs)}
        kinds = within or kinds
    tune, metric = space.experiment.tune, tuning_metric(space.competition, space.experiment.tune)
    selections = {}
    for channels, runs in kinds.items():
        members, notes = shared_images(runs, {run.name: items[run.name] for run in runs})
        print("\n".join([f"{', '.join(members)}: channels {', '.join(channels)}", *notes]))
        criteria = Criteria(space.competition, metric, tune, list(channels))
        selections[channels] = select_ensemble(criteria, members, seconds, budget=budget)
    found = max(selections.values(), key=lambda one: one.nested)
    gain = found.gain
    print(f"chosen: {found.counts}; {found.seconds:.2f} s a test image")
    print(
        f"nested {found.judged} {found.nested:.4f}, the best run alone {found.single:.4f}: gain {gain.estimate:+.4f} "
        f"[{gain.low:+.4f}, {gain.high:+.4f}]"
    )
    print(f"ensemble -> {write_ensemble(arguments.select, space.experiment.competition, found)}")


def tune_command(argv: Sequence[str]) -> None:
    """Search the ranges of an experiment."""
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--trials", type=int, default=30, help="number of trials, earlier calls included (default: 30)")
    own.add_argument("--hours", type=float, help="start no new trial after so many hours")
    own.add_argument("--part", help=argparse.SUPPRESS)  # what a task of a cluster is to do of the search
    add_ray(own)
    taken, plain = own.parse_known_args(list(argv))
    parser = stage_parser("Search the ranges in the section `search` of an experiment; continues an earlier search.")
    whole = argparse.ArgumentParser(parents=[parser, own], add_help=False, description=parser.description)
    whole.prog = f"{started_as()} tune"
    space = open_workspace(whole.parse_args(list(argv)))
    if taken.trials < 1:
        raise ValueError(f"--trials is {taken.trials}, expected 1 or more")
    if taken.part is not None:
        from pipeline.search.parts import do_part

        return do_part(space, plain, json.loads(taken.part))
    from pipeline.search.tuning_run import tune_experiment

    cluster = None if taken.ray is None else cluster_of(taken)
    print(f"search -> {tune_experiment(space, plain, trials=taken.trials, hours=taken.hours, cluster=cluster)}")


def lr_range_command(argv: Sequence[str]) -> None:
    """The learning rate range test."""
    parser = stage_parser(
        "Learning-rate range test: the loss while the learning rate rises, in a minute. Needs stages 01 to 03.",
        word="lr-range",
    )
    parser.add_argument("--steps", type=int, default=100, help="training steps, one per learning rate (default: 100)")
    arguments = parser.parse_args(argv)
    space = open_workspace(arguments)
    from pipeline.search.probes import lr_range, suggested_rate, write_lr_range

    table = lr_range(space, steps=arguments.steps)
    picture = write_lr_range(table, space.own)
    print(f"the loss falls fastest at train.lr {suggested_rate(table):.2g} (now {space.experiment.train.lr:g})")
    print(f"lr-range -> {picture}")


def batch_size_command(argv: Sequence[str]) -> None:
    """Speed and memory by batch size, and what the whole run will take."""
    parser = stage_parser(
        "Speed and memory of training by batch size, in a minute. Needs stages 01 to 03.", word="batch-size"
    )
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64], help="batch sizes to time (default: 1 to 64)"
    )
    arguments = parser.parse_args(argv)
    space = open_workspace(arguments)
    from pipeline.search.probes import batch_sizes, expected_cost

    table = batch_sizes(space, arguments.sizes)
    print(table.to_string(index=False, float_format=lambda value: f"{value:.3g}"))
    print(expected_cost(space.experiment, table))
