"""A first contract from a host's files: everything guessed is marked as a guess, in the YAML that is written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from submissions.guess.draft import Draft
from submissions.guess.files import FileGroup, group_files, pick_masks, pick_test, pick_training
from submissions.guess.masks import put_mask_images, put_other_masks, put_runs
from submissions.guess.tables import FoundTable, find_tables
from submissions.host.atomic import write_atomic
from submissions.host.competition import CONTRACTS, Competition
from submissions.host.problems import require_folder
from submissions.host.settings import validate
from submissions.images.opening import probe_image

GROUP_COLUMN = re.compile(r"patient|subject|case|donor|slide|wsi|study|group", re.IGNORECASE)


def write_first_contract(folder: Path, *, name: str | None = None, out: Path | None = None) -> Path:
    """Look at the files below `folder` and write a contract with its guesses marked; returns its path.

    `out` is submissions/competitions/<name>.yaml where not given, the name that of the folder.
    Raises FileNotFoundError for a missing folder, ValueError where there are no images or the file is there.
    """
    require_folder(folder, "a host's files", "download and unpack them first")
    label = name or re.sub(r"[^a-z0-9.-]+", "-", folder.resolve().name.lower()).strip("-")
    target = out or CONTRACTS / f"{label}.yaml"
    if target.exists():
        raise ValueError(f"{target}: is there already and is not written over; choose another --name or --out")
    draft = draft_contract(folder, label)
    validate(Competition, yaml.safe_load(draft.text()), str(target))
    write_atomic(target, draft.text())
    return target


def draft_contract(folder: Path, name: str) -> Draft:
    """Guess a contract for the files below `folder`."""
    groups = group_files(folder)
    train = pick_training(groups)
    test, masks = pick_test(groups, train), pick_masks(groups, train)
    template = train.id_template
    tables = find_tables(folder, train.ids(template), test.ids(template) if test else [])
    runs = next((table for table in tables if table.runs and table.train > 0.5 and not table.is_sample), None)
    draft = Draft()
    draft.put("name", name)
    draft.put("title", "")
    draft.notes["title"] = ["to be written: title, url, and download: the command that fetches the files"]
    draft.put("verified", "guessed from the files by new-competition; nothing of it is verified")
    _put_images(draft, folder, groups, train, test, masks)
    _put_tables(draft, tables)
    if runs is not None:
        put_runs(draft, folder, train, runs, masks)
    elif masks is not None:
        put_mask_images(draft, folder, masks)
    else:
        put_other_masks(draft, folder, tables)
    _put_columns(draft, tables)
    metric = "pixel_accuracy" if draft.sections["masks"]["kind"] == "none" else "dice"
    draft.put("metric", {"name": metric}, "files do not say what is scored; read the host's page")
    _put_submission(draft, tables, test, runs)
    if draft.sections["images"]["id"] == "{name}":  # the shorter way to say it
        draft.sections["images"].pop("id")
        draft.rename("{name}", "{id}")
    return draft


def _put_images(
    draft: Draft,
    folder: Path,
    groups: Sequence[FileGroup],
    train: FileGroup,
    test: FileGroup | None,
    masks: FileGroup | None,
) -> None:
    section: dict[str, Any] = {"train": train.pattern} | ({"test": test.pattern} if test else {})
    section["id"] = train.id_template
    notes = [f"{len(train.files)} training images" + (f", {len(test.files)} test images" if test else "")]
    if train.id_template != "{name}":
        notes.append("file names repeat from folder to folder, so ids name the folders too")
        if all(fields[-1].isdigit() for _, fields in train.files):
            section |= {"stack": "_".join(f"{{{name}}}" for name in train.names[:-1]), "z": "{name}"}
            notes.append("numbered files are slices of a stack; if they are channels of one image: kind layers")
    info = probe_image(folder / train.files[0][0])
    if train.pattern.endswith((".nii", ".nii.gz")):
        section = {"kind": "volumes", **section}
    elif info.pages > 1:
        section = {"kind": "pages", **section, "id": "{name}_{page:02d}", "stack": "{name}", "z": "{page}"}
        notes.append(f"the first file has {info.pages} pages, each a slice of a stack")
    notes.append(f"the first image is {info.height} x {info.width} (height, width), {info.channels} x {info.dtype}")
    used = {group.pattern for group in (train, test, masks) if group}
    notes += [f"not used: {group.pattern} ({len(group.files)} files)" for group in groups if group.pattern not in used]
    draft.put("images", section, *notes[:12])


def _put_tables(draft: Draft, tables: Sequence[FoundTable]) -> None:
    """Tables with attributes, by the split whose images they name."""
    both = [table for table in tables if table.train > 0 and table.test > 0]
    for key, share in (("tables", "train"), ("test_tables", "test")):
        chosen = [
            table for table in tables if getattr(table, share) > 0 and not table.is_sample and not table.row_class
        ]
        if chosen:
            values = [table.source | ({"both_splits": True} if table in both else {}) for table in chosen]
            draft.put(key, values, *(f"{table.file} has the columns {list(table.frame.columns)}" for table in chosen))


def _put_columns(draft: Draft, tables: Sequence[FoundTable]) -> None:
    """The group, if a column's name says so."""
    for table in tables:
        columns = [str(name) for name in table.frame.columns if table.train > 0.5 and not table.is_sample]
        for name in columns:
            if GROUP_COLUMN.search(name) and name != table.class_column:
                draft.put("group", name, f"by its name: {table.frame[name].nunique()} values in {len(table.ids)} rows")
                return


def _put_submission(
    draft: Draft, tables: Sequence[FoundTable], test: FileGroup | None, runs: FoundTable | None
) -> None:
    """The submission as the sample shows it; none without test images or sample."""
    sample = next((table for table in tables if table.is_sample), None)
    if test is None or sample is None:
        return
    columns = [str(name) for name in sample.frame.columns]
    keys = re.findall(r"{(\w+)}", sample.id)
    section: dict[str, Any] = {"sample": sample.file, "id_column": keys[0]}
    rest = [name for name in columns if name not in keys]
    section["mask_column"] = next((name for name in rest if runs and name == runs.runs), rest[-1] if rest else keys[0])
    notes = [f"{sample.file} has the columns {columns}"]
    ending = f"{{id}}{sample.strip}" + ("_{class}" if sample.row_class else "")
    if ending != "{id}":
        section["id_template"] = ending
    if sample.class_column or sample.row_class:
        section["rows"] = "image_class"
        if sample.class_column:
            section["class_column"] = sample.class_column
    elif draft.sections["masks"].get("instances"):
        section |= {"rows": "instance", "overlap": False}
    elif draft.sections["masks"]["kind"] == "none":
        section["rows"] = "label"  # a class an image, no mask
    named = {section["id_column"], section["mask_column"], sample.class_column}
    if extra := [name for name in columns if name not in named]:
        section["extra"] = {name: f"{{{name}}}" for name in extra}
        notes.append(f"columns {extra} are filled from fields of the image; mend the templates")
    draft.put("submission", section, *notes)
