"""Stage 02 around the room `folds`: which table an experiment uses, where it is frozen, what its audit shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from folds.audit import suggest_groups
from folds.blocks import BOX, has_blocks
from folds.foldfile import SOURCE, folds_hash, read_folds, write_folds
from folds.splitters import METHODS, make_repeated_folds, with_groups
from pipeline.shift.similar_images import training_duplicates
from pipeline.stage import Stage, digest, read_stage
from pipeline.workspace import Workspace
from submissions.host.atomic import write_atomic

POINTER = "folds.json"
SOURCES = {"grouped": "by --group-duplicates", "file": "by --folds"}


def split_of(space: Workspace, images: pd.DataFrame | None = None) -> tuple[str, dict[str, Any]]:
    """Method and options of the splitter: the experiment's, with the contract's group and strata where the method
    takes them.

    Where the experiment names no method, images of one group stay in one fold; without a group, so do the slices of a
    stack, and stacks too few for the folds are cut into slabs, further apart than a sample reaches. `images` are the
    training images of the inventory; before it is taken (None) slices count as images.
    """
    settings, competition = space.experiment.folds, space.competition
    method, group, buffer = settings.method, space.group_column, settings.buffer
    if method is None:
        method = "kfold" if group is None else "group"
        if group is None and images is not None and images["stack"].duplicated().any():
            method, group = "group", "stack"
            if images["stack"].nunique() < settings.n:
                method, buffer = "slab", buffer or max(1, _reach(space))
    strata = settings.strata if settings.strata is not None else competition.strata or None
    needed, taken = METHODS.get(method, (frozenset(), frozenset()))
    options = dict(settings.options)
    for key, value in {"group": group, "strata": strata, "buffer": buffer or None}.items():
        if value is not None and (key in needed | taken or getattr(settings, key, None)):
            options.setdefault(key, value)
    return method, options


def _reach(space: Workspace) -> int:
    """How many slices away the furthest slice of a sample lies."""
    return max(map(abs, space.experiment.input.offsets))


def fold_table(space: Workspace, file: Path | None, *, group_duplicates: bool = False) -> pd.DataFrame:
    """The fold table of the experiment: split anew from the inventory and the seed, or a team's file.

    The column `source` is the inventory's. With `group_duplicates` near duplicates stay in one fold, and groups, those
    of the contract too. Raises ValueError as the splitters do, where a fold that the experiment uses would have no
    image, where blocks do not fit the images, and where a team's file is to be regrouped.
    """
    train, _ = space.training_images()
    settings = space.experiment.folds
    if file is not None:
        if settings.split:
            raise ValueError("--folds gives one split, but folds.repeats asks for several; leave one of them out")
        if group_duplicates:
            raise ValueError(
                "--folds uses a frozen file as it is, but --group-duplicates needs a new split; leave one of them out"
            )
        table = read_folds(file, train)
    else:
        method, options = split_of(space, train)
        if group_duplicates:
            group = options.get("group") or space.group_column  # as the leak audit, whatever the method takes
            merged = suggest_groups(training_duplicates(space), train, group)
            method, options = with_groups(method, options, merged)
        number, seed = settings.split + 1, space.experiment.seed
        table = make_repeated_folds(train, method, settings.n, seed, repeats=number, **options)[-1]
    if SOURCE in train:
        known = dict(zip(train["image_id"].astype(str), train[SOURCE].astype(str), strict=True))
        table = table.assign(**{SOURCE: table["image_id"].astype(str).map(known)})
    _check_table(space, table, "" if file is None else "file")
    return table


def _check_table(space: Workspace, table: pd.DataFrame, source: str) -> None:
    """Raises ValueError where a fold that the experiment uses has no image, or slabs of ours lie too close."""
    if source != "file" and space.experiment.folds.method == "slab":
        _check_buffer(space)
    if has_blocks(table):
        _check_blocks(space, table)
    lacking = sorted(set(space.experiment.used_folds) - set(table["fold"]))
    if lacking:
        raise ValueError(f"folds.use names {lacking}, but the fold table only has {sorted(set(table['fold']))}")


def _check_buffer(space: Workspace) -> None:
    """Raises ValueError where slabs lie closer than a sample reaches: its neighbours would be held-out slices."""
    reach, buffer = _reach(space), split_of(space)[1].get("buffer", 0)
    if buffer < reach:
        raise ValueError(
            f"folds.buffer is {buffer} slices, but input.offsets reach {reach} slices; set "
            f"folds.buffer to at least {reach}"
        )


def _check_blocks(space: Workspace, table: pd.DataFrame) -> None:
    """Raises ValueError where a block cannot be held out: of what is answered or scored as a whole, or of nothing."""
    train, _ = space.training_images()
    if space.experiment.task == "classify":
        raise ValueError(
            "folds.method blocks holds out parts of images, but task: classify needs whole images; use another "
            "folds.method"
        )
    form = space.competition.submission
    if form is not None and form.size is not None:
        raise ValueError(
            f"folds hold out blocks of images, but the host wants masks of {list(form.size)} (submission.size), where "
            "no block ends at a pixel; use another folds.method, such as group"
        )
    if space.competition.metric.unit == "stack" or train["stack"].duplicated().any():
        raise ValueError(
            "folds.method blocks holds out parts of images, but the images are slices of stacks, and the slices "
            "beside a held-out block show the same; use another folds.method, such as slab or group"
        )
    pixels = train[["image_id", "height", "width"]].astype({"image_id": str})
    sizes = table[["image_id"]].merge(pixels, how="left")[["height", "width"]].to_numpy()
    starts, ends = table[["y0", "x0"]].to_numpy(), table[["y1", "x1"]].to_numpy()
    wrong = np.flatnonzero(((ends > sizes) | (ends <= starts)).any(axis=1))
    if len(wrong):
        first = table.iloc[wrong[0]]
        box, size = first[BOX].tolist(), sizes[wrong[0]].tolist()
        raise ValueError(
            f"{len(wrong)} blocks are empty or reach beyond their image, first (y0, x0, y1, x1) {box} of "
            f"{first['image_id']!r} with (height, width) {size}; correct the fold file"
        )


def folds_stage(space: Workspace, table: pd.DataFrame) -> Stage:
    """The stage whose folder is named by the table's content."""
    name = folds_hash(table)
    return Stage("02_make_folds", space.shared / "folds" / name, {"folds": name})


def freeze(space: Workspace, table: pd.DataFrame, stage: Stage, source: str = "") -> None:
    """Write the fold file and note that the experiment uses it, and its source: one of `SOURCES`, '' for a plain split.

    Says so where a plain split takes the place of another.
    """
    before = _note(space).get("source", "")
    if before and not source:
        print(f"{stage.name}: earlier folds were made {SOURCES[before]}, these without it")
    write_folds(table, stage.folder / "folds.csv")
    note = {"folds": folds_hash(table), "settings": _settings_digest(space), "source": source}
    write_atomic(space.own / POINTER, json.dumps(note, indent=1) + "\n")


def _note(space: Workspace) -> dict[str, Any]:
    """What `freeze` noted for the experiment; empty before it did."""
    path = space.own / POINTER
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def frozen_table(space: Workspace) -> tuple[pd.DataFrame, str] | None:
    """The fold table that the experiment already uses, and its source; None before any, and where settings changed.

    Raises ValueError where a plain split would take the place of a grouped one, or of a team's file, unasked: the
    settings of the split changed, or the file is gone; and where the file was edited.
    """
    note = _note(space)
    if not note:
        return None
    source, file = note.get("source", ""), space.shared / "folds" / note["folds"] / "folds.csv"
    if note["settings"] == _settings_digest(space) and file.is_file():
        table = _unchanged(file, note["folds"])
        _check_table(space, table, source)
        return table, source
    if not source:
        return None
    why = "the settings of the split changed since" if file.is_file() else f"{file} is gone"
    raise ValueError(
        f"{space.own / POINTER}: the folds were made {SOURCES[source]}, and {why}; "
        f"give {SOURCES[source].removeprefix('by ')} again, or --overwrite for a plain split"
    )


def _unchanged(file: Path, name: str) -> pd.DataFrame:
    """The table of a frozen file. Raises ValueError where its content is not what its folder is named by: networks may
    have been trained on images that an edited table holds out."""
    table = read_folds(file)
    if folds_hash(table) != name:
        raise ValueError(
            f"{file} was edited after it was frozen, and networks may have trained by the earlier folds: to use the "
            "edited table, move it elsewhere and give it with 02_make_folds.py --folds FILE; to get the earlier one "
            "back, undo the edit"
        )
    return table


def open_folds(space: Workspace) -> tuple[pd.DataFrame, str]:
    """The frozen fold table of the experiment and its hash.

    Raises FileNotFoundError before stage 02, ValueError where the split's settings changed since, or the file.
    """
    script = f"02_make_folds.py {space.experiment.name}"
    note = _note(space)
    if not note:
        raise FileNotFoundError(f"{space.own / POINTER}: this experiment has no folds yet; run {script} first")
    if note["settings"] != _settings_digest(space):
        raise ValueError(f"the settings of the split changed since {script} was run; run it again")
    folder = space.shared / "folds" / note["folds"]
    read_stage(folder, script)
    return _unchanged(folder / "folds.csv", note["folds"]), str(note["folds"])


def _settings_digest(space: Workspace) -> str:
    train, inventory = space.training_images()
    experiment = space.experiment
    settings = experiment.folds.model_dump(mode="json", exclude={"use", "repeats", "split"})
    split = [experiment.folds.split] if experiment.folds.split else []
    return digest([settings, split_of(space, train)[1], experiment.seed, space.limit, inventory, *split])
