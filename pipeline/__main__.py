"""The pipeline as one command: segpipe WORD ..., which is python -m pipeline WORD ...

01_check_data EXPERIMENT ... 09_submit EXPERIMENT   a numbered stage, as python pipeline/01_check_data.py runs it
run EXPERIMENT      stages 01 to 07, skipping what is done; --from 06 makes again from there on; --ray ADDRESS on a
                    cluster, --print-jobs for any other
demo                the demo competition from nothing to a scored submission
demo-data           only its files, laid out as a host would
new-competition DIR a first contract and experiment from a host's files, their guesses marked
ceiling EXPERIMENT  what is lost by working at a smaller size, before anyone trains
plan EXPERIMENT     patch, strides, spacing and batch of a 3D network from the volumes' headers, written as settings
show-augmentations EXPERIMENT   a sheet of training samples, before and after augmentation
settings [PART]     every key of experiment and contract: type, default, meaning, unit; PART as in train.sampling
schema [FOLDER]     the same as JSON Schemas, for editors
report RUN          one HTML page to look at: thresholds, worst images, learning, folds, leaderboard
shift-test EXPERIMENT   every source left out of training in turn: CV, forecast and the truth, for another scanner
compare RUN_A RUN_B is the difference of two runs noise? RUN is runs/<competition>/<experiment>
leaderboard EXPERIMENT          all runs of its competition: worth, reach, cost; --select FILE chooses an ensemble
tune EXPERIMENT     search its ranges: noise floor first, the best judged on folds that the search never saw
lr-range EXPERIMENT, batch-size EXPERIMENT      a minute each, before a long run: learning rate, speed, memory, cost
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.sequence import ALL_STAGES, STAGES, run_from, run_stage_named, run_stages, started_as
from submissions.command_exit import run_command, sentence


def _run(argv: Sequence[str]) -> None:
    from pipeline.distributed.commands import add_ray, print_jobs, run_all_on_ray, split_ray
    from pipeline.workspace import open_workspace, stage_parser

    parser = add_ray(stage_parser("Stages 01 to 07, skipping what is done.", word="run"))
    parser.allow_abbrev = False
    start = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for each in (parser, start):
        each.add_argument(
            "--from", dest="first", choices=tuple(STAGES), help="start at this stage: delete and redo it and the "
            "stages after it; after 06, stage 07 only decides again",
        )  # fmt: skip
        each.add_argument(
            "--print-jobs", nargs="?", const="all", choices=("all", *STAGES), help="run nothing, but print the units "
            "of work of all stages, or of one, as command lines for a job array",
        )  # fmt: skip
    arguments, (_, plain) = parser.parse_args(argv), start.parse_known_args(argv)
    if arguments.print_jobs is not None:
        return print_jobs(plain, arguments)
    if arguments.first is not None and arguments.ray is not None:
        raise ValueError(
            "--from deletes results first, which --ray does not do; redo one stage with --from first, then use --ray"
        )
    if arguments.first is not None:
        return run_from(arguments.first, [word for word in plain if word != "--overwrite"])
    if arguments.overwrite:
        space = open_workspace(arguments)
        raise ValueError(
            f"--overwrite would delete {space.inventory}, the fold file and the store that other experiments share, "
            f"and all of {space.own} with its trained folds; name the stage to start at instead, as in --from 06"
        )
    if arguments.ray is not None:
        return run_all_on_ray(argv, arguments)
    run_stages(split_ray(argv)[1])


def _demo(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog=f"{started_as()} demo")
    parser.add_argument("--short", action="store_true", help="only a few steps, to see whether everything runs")
    parser.add_argument("--folder", type=Path, default=Path(), help="folder in which data/ and runs/ are made")
    arguments = parser.parse_args(argv)
    from pipeline.demo.demo import run_demo

    run_demo(arguments.folder, short=arguments.short)


def _demo_data(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog=f"{started_as()} demo-data")
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("data/mni-white-matter"), help="default: data/mni-white-matter"
    )
    folder = parser.parse_args(argv).folder
    from pipeline.demo.demo_data import make_demo_data

    print(f"demo data -> {make_demo_data(folder)}")


def _new_competition(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog=f"{started_as()} new-competition")
    parser.add_argument("folder", type=Path, help="the host's files, unpacked")
    parser.add_argument("--name", help="name of the contract (default: the folder's name)")
    parser.add_argument("--out", type=Path, help="file of the contract (default: <name>.yaml in the working folder)")
    parser.add_argument("--minutes", type=float, help="write an experiment that trains about so long on this machine")
    arguments = parser.parse_args(argv)
    from pipeline.new_competition import start_competition

    print(start_competition(arguments.folder, name=arguments.name, out=arguments.out, minutes=arguments.minutes))


def _ceiling(argv: Sequence[str]) -> None:
    from inference.progress import progress_bar
    from pipeline.data.resolution_ceiling import SCALES, resolution_ceiling, write_ceiling
    from pipeline.workspace import open_workspace, stage_parser

    parser = stage_parser("The score that is lost by working at a smaller size. Needs stage 01.", word="ceiling")
    parser.add_argument(
        "--scales",
        type=float,
        nargs="+",
        default=list(SCALES),
        help="working size divided by the host's size; several may be given",
    )
    arguments = parser.parse_args(argv)
    space = open_workspace(arguments)
    table = resolution_ceiling(space, arguments.scales, progress=progress_bar)
    print(table.pivot(index="scale", columns="group", values="score").round(4).to_string())
    print(f"ceiling -> {write_ceiling(space, table)}")


def _plan(argv: Sequence[str]) -> None:
    from pipeline.workspace import open_workspace, stage_parser

    parser = stage_parser("Plan a 3D network by nnU-Net's rules. Needs stage 01.", word="plan")
    parser.add_argument("--memory", type=float, default=8.0, help="memory of the training device in GB (default: 8)")
    parser.add_argument(
        "--out", type=Path, help="file to write (default: <experiment>-planned.yaml in the working folder)"
    )
    arguments = parser.parse_args(argv)
    from pipeline.planning.planner import write_plan

    plan, path = write_plan(open_workspace(arguments), arguments.out, memory_gb=arguments.memory)
    print(f"median volume {plan.median} voxels at {plan.spacing or 'unknown'} mm: patch {plan.topology.patch}, "
          f"batch {plan.batch_size}, {len(plan.topology.strides)} stages")  # fmt: skip
    print(f"plan -> {path}")


def _show_augmentations(argv: Sequence[str]) -> None:
    from pipeline.workspace import open_workspace, stage_parser

    parser = stage_parser(
        "Training samples before and after augmentation. Needs stages 01 to 03.", word="show-augmentations"
    )
    space = open_workspace(parser.parse_args(argv))
    from pipeline.report.augmentation_sheet import write_augmentation_sheet

    print(f"augmentations -> {write_augmentation_sheet(space)}")


def _settings(argv: Sequence[str]) -> None:
    from pipeline.settings_reference import settings_page, settings_text

    parser = argparse.ArgumentParser(prog=f"{started_as()} settings")
    parser.add_argument(
        "part", nargs="?", help="which part: experiment, competition, or a key such as train, train.sampling, images"
    )
    parser.add_argument("--markdown", action="store_true", help="print as Markdown, as docs/settings.md")
    arguments = parser.parse_args(argv)
    print(
        settings_page() if arguments.markdown else settings_text(arguments.part), end="" if arguments.markdown else "\n"
    )


def _schema(argv: Sequence[str]) -> None:
    from pipeline.settings_reference import write_schemas

    parser = argparse.ArgumentParser(prog=f"{started_as()} schema")
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path(), help="folder to write to (default: the working folder)"
    )
    for path in write_schemas(parser.parse_args(argv).folder):
        print(f"schema -> {path}")


def _report(argv: Sequence[str]) -> None:
    from submissions.kaggle.ledger import LEDGER

    parser = argparse.ArgumentParser(prog=f"{started_as()} report")
    parser.add_argument("run", type=Path, help="runs/<competition>/<experiment>, after stage 06")
    parser.add_argument(
        "--data", type=Path, help="the host's files, for the pictures (default: where they were when the run was made)"
    )
    parser.add_argument("--competition", help="contract (default: the one in the run)")
    parser.add_argument("--ledger", type=Path, default=LEDGER, help=f"default: {LEDGER}")
    parser.add_argument("--out", type=Path, help="default: report.html in the run's folder")
    arguments = parser.parse_args(argv)
    from inference.progress import progress_bar
    from pipeline.report.finished_run import open_finished
    from pipeline.report.page import write_report

    run = open_finished(arguments.run, data=arguments.data, competition=arguments.competition)
    print(f"report -> {write_report(run, arguments.out, ledger=arguments.ledger, progress=progress_bar)}")


def _shift_test(argv: Sequence[str]) -> None:
    from pipeline.workspace import open_workspace, stage_parser

    parser = stage_parser(
        "Train with each source left out in turn, and compare its true score with what CV and forecast said of it.",
        word="shift-test",
    )
    parser.add_argument("--epochs", type=int, help="epochs of each training, one per source (default: train.epochs)")
    arguments, within = parser.parse_args(argv), None

    from dataclasses import replace

    from pipeline.tuning.forecast.shift_test import across_arguments, shift_sentences, shift_test, split_by_source
    from submissions.host.atomic import write_atomic

    space = open_workspace(arguments)
    if not split_by_source(space):
        start = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        start.add_argument("--epochs")
        more = across_arguments(space, arguments.epochs)
        _, plain = start.parse_known_args(argv)
        run_stages([*plain, *more], ("02", "03", "04", "05", "06"))
        arguments.set = [*arguments.set, *more[1::2]]
        within, space = replace(space, overwrite=False), open_workspace(arguments)
    table = shift_test(space, within)
    path = space.own / "shift_test.csv"
    write_atomic(path, table.to_csv(index=False, lineterminator="\n"))
    print(table.round(4).to_string(index=False))
    print("\n".join(shift_sentences(table)))
    print(f"shift test -> {path}")


def _compare(argv: Sequence[str]) -> None:
    from pipeline.search.leaderboard import advised
    from pipeline.tuning.comparisons.two_runs import compare_runs

    parser = argparse.ArgumentParser(prog=f"{started_as()} compare")
    for name in ("run_a", "run_b"):
        parser.add_argument(name, type=Path, help="runs/<competition>/<experiment>, after stage 06")
    arguments = parser.parse_args(argv)
    print(compare_runs(arguments.run_a, arguments.run_b))
    print(advised(arguments.run_a, arguments.run_b))


def _search(word: str) -> Callable[[Sequence[str]], None]:
    def command(argv: Sequence[str]) -> None:
        from pipeline.search import commands

        getattr(commands, f"{word}_command")(argv)

    return command


WORDS: dict[str, Callable[[Sequence[str]], None]] = {
    "run": _run,
    "demo": _demo,
    "demo-data": _demo_data,
    "new-competition": _new_competition,
    "ceiling": _ceiling,
    "plan": _plan,
    "show-augmentations": _show_augmentations,
    "settings": _settings,
    "schema": _schema,
    "report": _report,
    "shift-test": _shift_test,
    "compare": _compare,
    "leaderboard": _search("leaderboard"),
    "tune": _search("tune"),
    "lr-range": _search("lr_range"),
    "batch-size": _search("batch_size"),
}


def main(argv: Sequence[str] | None = None) -> None:
    given = list(sys.argv[1:] if argv is None else argv)
    stage = given[0].removesuffix(".py") if given else ""
    if stage in ALL_STAGES:
        return run_stage_named(stage, given[1:])
    if not given or given[0] not in WORDS:
        known = ", ".join([*WORDS, *ALL_STAGES])
        wanted = f"unknown word {given[0]!r}, expected one of {known}" if given else "a word is missing"
        print(f"{__doc__}\n{wanted}" if given[:1] not in (["-h"], ["--help"]) else __doc__)
        raise SystemExit(0 if given[:1] in (["-h"], ["--help"]) else 2)
    try:
        WORDS[given[0]](given[1:])
    except BrokenPipeError:
        raise
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {sentence(error)}", file=sys.stderr)
        raise SystemExit(1) from error


def command() -> None:
    """The console script `segpipe`."""
    run_command(main)


if __name__ == "__main__":
    command()
