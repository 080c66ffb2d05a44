"""Units: what one process does of a stage without waiting for another - a shard of its images, or the training of a
fold - as the command line that does it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.distributed.shards import parse_shard, share
from pipeline.sequence import STAGES
from pipeline.workspace import Workspace

BY_IMAGES = ("01", "03", "05", "07")
BY_FOLDS = "04"
SPREAD = (*BY_IMAGES, BY_FOLDS)


@dataclass(frozen=True)
class Unit:
    """One command of a stage: its number such as "03" (or another word), what the unit is called, and the arguments."""

    stage: str
    name: str
    arguments: tuple[str, ...]

    @property
    def word(self) -> str:
        """What the command line calls it, such as "03_prepare_data"."""
        return STAGES.get(self.stage, self.stage)

    @property
    def command(self) -> str:
        """The command line, as for a shell."""
        return f"python -m pipeline.{self.word} {shlex.join(self.arguments)}"


def stage_units(stage: str, space: Workspace, argv: Sequence[str], shards: int) -> list[Unit]:
    """The units of a stage under the arguments `argv`: `shards` of its images, a fold of a split each, or all in one.

    Any of them can be run at any time, again and beside each other, once the stages before are done.
    """
    if stage in BY_IMAGES:
        names = [f"{number}/{shards}" for number in range(1, shards + 1)]
        return [Unit(stage, f"shard {name}", (*argv, "--shard", name)) for name in names]
    if stage == BY_FOLDS and (space.experiment.repeated or not space.experiment.members):
        return [
            Unit(stage, f"fold {fold}{split}", (*argv, *more, "--set", f"folds.use=[{fold}]"))
            for split, more in _splits(space)
            for fold in space.experiment.used_folds
        ]
    return [Unit(stage, "everything", tuple(argv))]


def unfinished(space: Workspace, unit: Unit) -> list[str]:
    """Ids of the images of a unit that are not done yet, in its order: it is at the first, or at its neighbours.

    None where the unit is no shard, or works at what comes after its images (other views, another split).
    """
    if "--shard" not in unit.arguments:
        return []
    own = replace(space, shard=parse_shard(unit.arguments[unit.arguments.index("--shard") + 1]))
    if unit.stage == "01":
        from pipeline.data.inventory import PARTS, uninspected

        return uninspected(space.competition, space.data, space.inventory / PARTS, own.shard)
    if unit.stage == "03":
        from pipeline.data.prepare import prepare_stage, unstored

        return unstored(own, prepare_stage(own).folder)
    folder = own.own / ("oof" if unit.stage == "05" else "test")
    if not folder.is_dir():
        return []
    from pipeline.prediction.oof_steps import unpredicted
    from pipeline.prediction.prediction import open_test_images, untested

    if unit.stage == "05":
        return unpredicted(own, folder)
    return untested(share(open_test_images(own.competition, own.data).ids, own.shard), folder)


def _splits(space: Workspace) -> list[tuple[str, list[str]]]:
    """Name and settings of each of the repeated splits; one without a name where they are not repeated."""
    found = []
    for split in space.experiment.repeated:
        settings = [f"name={split.name}", "folds.repeats=1", f"folds.split={split.folds.split}"]
        found.append((f" of {split.name}", [word for one in settings for word in ("--set", one)]))
    return found or [("", [])]


def job_lines(space: Workspace, argv: Sequence[str], stages: Sequence[str], shards: int) -> list[str]:
    """The units of some stages as command lines, a comment before each stage.

    Lines of one stage are independent of each other, and wait for all of the stage before.
    """
    lines = []
    for stage in stages:
        units = stage_units(stage, space, argv, shards)
        order = "in any order, side by side" if len(units) > 1 else "by itself"
        lines.append(f"# {STAGES[stage]}: {len(units)} unit(s), {order}")
        lines += [unit.command for unit in units]
    return lines
