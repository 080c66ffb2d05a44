"""A first contract, guessed from a host's files; every guess is marked in the YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from submissions.guess.answer_section import put_answer
from submissions.guess.arrays import masks_beside_images
from submissions.guess.class_lists import put_labels
from submissions.guess.draft import Draft
from submissions.guess.image_section import put_group, put_images
from submissions.guess.layout.assembled_ids import named_alike, with_assembled_ids
from submissions.guess.layout.exact_names import exact_names, with_kinds_of_masks
from submissions.guess.layout.files import FileGroup, common_head, group_files
from submissions.guess.layout.labelled_tests import faultless, with_labelled_tests
from submissions.guess.layout.layers import with_layers, with_numbered_layers
from submissions.guess.layout.mask_files import Masks
from submissions.guess.layout.pairing import Finder, Layout, named_as, whole_ids, with_whole_names
from submissions.guess.layout.series import with_series
from submissions.guess.mask_tables import listed_objects
from submissions.guess.mask_values import put_mask_images
from submissions.guess.masks import masks_in_tables, put_other_masks, put_runs
from submissions.guess.polygons import find_polygons
from submissions.guess.splits import (
    put_listed_test,
    put_split_lists,
    with_listed_as_test,
    with_named_as_test,
    with_unlabelled_as_test,
)
from submissions.guess.tables import FoundTable, ReadTable, columns_of_tables, find_tables, of_other_stacks, read_tables
from submissions.host.atomic import write_atomic
from submissions.host.competition import Competition
from submissions.host.patterns import fill, pattern_regex
from submissions.host.problems import require_folder
from submissions.host.settings import validate

GROUP_COLUMN = re.compile(
    r"patient|subject|case|donor|slide|wsi|study|group|sequence|video|scene|location", re.IGNORECASE
)
MOSTLY = 0.9  # of the images, that a table must name: the others are then a problem that stage 01 lists


def write_first_contract(folder: Path, *, name: str | None = None, out: Path | None = None) -> Path:
    """Look at the files below `folder` and write a contract with its guesses marked; returns its path.

    `out`: default <name>.yaml in the working folder. `name`: default the folder's name. Raises FileNotFoundError for a
    missing folder, ValueError where there are no images or the file exists.
    """
    require_folder(folder, "a host's files", "download and unpack them first")
    label = name or re.sub(r"[^\w.-]+|_", "-", folder.resolve().name.lower()).strip("-.") or "competition"
    target = out or Path(f"{label}.yaml")
    if target.exists():
        raise ValueError(f"{target} exists and is not overwritten; choose another --name or --out")
    draft = draft_contract(folder, label)
    validate(Competition, yaml.safe_load(draft.text()), str(target))
    write_atomic(target, draft.text())
    return target


def draft_contract(folder: Path, name: str) -> Draft:
    """Guess a contract for the files below `folder`."""
    finder = Finder(folder, with_numbered_layers(folder, with_series(group_files(folder))))
    layout = finder.layout()
    layout = with_named_as_test(with_labelled_tests(finder, layout))
    layout = with_unlabelled_as_test(with_layers(folder, layout, finder.like(layout.train, layout.unused)))
    layout = with_kinds_of_masks(layout)
    read = read_tables(folder)
    layout, ids, tables = _with_tables(layout, read)
    runs = next((table for table in tables if table.runs and table.train > 0.5 and not table.is_sample), None)
    named = masks_in_tables(folder, layout, tables) if layout.masks is None and runs is None else None
    layout, source = named or (layout, runs)
    if layout.masks is None and runs is None:
        layout = replace(layout, masks=masks_beside_images(folder, layout.train))
    polygons = find_polygons(folder, layout.train) if layout.masks is None and runs is None else None
    layout = named_as(layout, polygons.images) if polygons and not any(table.train for table in tables) else layout
    train, test, masks = layout.train, layout.test, layout.masks
    listed = listed_objects(folder, layout, read) if runs is None else None
    tables = [table for table in tables if listed is None or table.file not in listed.files]
    draft = Draft()
    draft.put("name", name)
    draft.put("title", "")
    draft.notes["title"] = ["please add: title, url, and download (the command that fetches the files)"]
    draft.put("verified", "guessed from the files by new-competition; nothing is verified")
    put_images(draft, folder, layout)
    if masks and (exact := exact_names(layout)):
        masks = exact.put(draft, masks)
    _put_tables(draft, tables, ids, needed=[source] if masks or runs else tables)
    put_listed_test(draft, layout, tables)
    _leave_masks_out(draft, masks)
    if runs is not None:
        put_runs(draft, folder, train, runs, masks)
    elif masks is not None:
        put_mask_images(draft, folder, masks, listed)
        _put_missing(draft, layout, masks)
        put_labels(draft, folder)
    else:
        put_other_masks(draft, folder, polygons, tables)
    divided = put_split_lists(draft, folder, layout)
    _put_columns(draft, tables)
    if runs is not None:
        _put_sampled_classes(draft, tables, runs)
    put_group(draft, layout, by_names=not divided)
    _put_metric(draft)
    put_answer(draft, folder, tables, test, runs)
    if draft.sections["images"]["id"] == "{name}":  # the shorter way to say it
        draft.sections["images"].pop("id")
        draft.rename("{name", "{id")
    return draft


def _with_tables(layout: Layout, read: Sequence[ReadTable]) -> tuple[Layout, dict[str, list[str]], list[FoundTable]]:
    """The layout, ids by split, and tables; ids are more or less of the files' names where tables name them so."""
    found = []
    for train, test in _names(layout, read) if layout.masks is None else _told_names(layout):
        whole = replace(layout, train=train, test=test)
        tables = find_tables(read, *_ids(whole).values())
        parted = with_listed_as_test(whole, tables)
        tables = tables if parted is whole else find_tables(read, *_ids(parted).values())
        found.append((parted, _ids(parted), tables))
        if any(table.train > 0.5 and not table.is_sample for table in found[-1][2]):
            return found[-1]
    return found[0]


def _ids(layout: Layout) -> dict[str, list[str]]:
    """Ids by split; none of test images whose names have not what ids are made of."""
    train, test = layout.train, layout.test
    template, of_test = train.id_template, (test.told_id if test else "") or train.id_template
    return {"train": train.ids(template), "test": test.ids(of_test) if test and _same_names(train, test) else []}


def _told_names(layout: Layout) -> Iterator[tuple[FileGroup, FileGroup | None]]:
    """Training and test images with their names as they are, and with what all names of either have in the ids."""
    train, test = layout.train, layout.test
    yield train, test
    whole, of_test = whole_ids(train), whole_ids(test) if test else None
    if train.id_template == "{name}" != whole.id_template:
        yield whole, of_test


def _names(layout: Layout, read: Sequence[ReadTable]) -> Iterator[tuple[FileGroup, FileGroup | None]]:
    """Training and test images with their names as they are, whole, without what all of them begin with, and as a
    table's column puts them together with their folders."""
    train, test = layout.train, layout.test
    yield train, test
    yield with_whole_names(train), with_whole_names(test) if test else None
    shared = common_head(train.stems)
    for match in re.finditer(r"[_\-. ]", shared):
        head = shared[: match.end()]
        yield train.cut(head, ""), test.cut(head, "") if test and all(s.startswith(head) for s in test.stems) else test
    whole, of_test = with_whole_names(train), with_whole_names(test) if test else None
    if assembled := with_assembled_ids(whole, columns_of_tables(read)):
        yield assembled, named_alike(assembled, whole, of_test) if of_test else None


def _same_names(train: FileGroup, test: FileGroup) -> bool:
    """Whether the ids of test images are built as those of the training images."""
    return set(re.findall(r"{(\w+)}", train.id_template)) <= set(test.names)


def _put_missing(draft: Draft, layout: Layout, masks: Masks) -> None:
    """Images without a mask, where they are too many to be a mistake, or are files of other kinds in their folder."""
    if masks.missing:
        draft.sections["masks"]["missing"] = masks.missing
        return
    if masks.lacking:
        draft.sections["masks"]["missing"] = "empty"
        draft.notes["masks"].append(
            f"guess: {masks.lacking} files of a class are not there: taken for images that do not show it"
        )
        return
    regex, files = pattern_regex(draft.sections["images"]["train"]), layout.train.files
    lacking = len(files) - len(masks.pairs)
    beside = [*layout.unused, *([layout.test] if layout.test and "tables" not in draft.sections else [])]
    others = [path for group in beside for path, _ in group.files if regex.match(path)]
    if lacking and not others and faultless(path for path, _ in files if path not in masks.pairs):
        draft.sections["masks"]["missing"] = "empty"
        draft.notes["masks"].append(f"guess: {lacking} images without a mask lie in folders of those that show nothing")
        return
    notes = [f"{lacking} of {len(files)} images have no mask and are left out"] if lacking > 0.1 * len(files) else []
    notes += [f"{len(others)} other files fit images.train, as {others[0]}: without a mask, left out"] if others else []
    if notes:
        draft.sections["masks"]["missing"] = "skip"
        draft.notes["masks"] += [f"guess: {note}" for note in notes]


def _leave_masks_out(draft: Draft, masks: Masks | None) -> None:
    """Only images that a table lists, where masks that a table names fit the images' pattern."""
    regex, named = pattern_regex(draft.sections["images"]["train"]), "tables" in draft.sections
    files = [file for paths in (masks.pairs.values() if masks else ()) for file in paths]
    if named and masks and "{name" not in masks.pattern and any(regex.match(file) for file in files):
        draft.sections["images"]["only_listed"] = True


def _put_metric(draft: Draft) -> None:
    """A usual metric, of the classes that are not background."""
    labels = draft.sections["masks"]["kind"] == "none"
    metric: dict[str, Any] = {"name": "pixel_accuracy" if labels else "dice"}
    classes = draft.sections["classes"]
    if not labels and draft.sections.get("exclusive") and "background" in classes and len(classes) > 1:
        metric["classes"] = [name for name in classes if name != "background"]
    draft.put("metric", metric, "the files do not say which metric is used; read the host's page")


def _put_tables(
    draft: Draft,
    tables: Sequence[FoundTable],
    ids: Mapping[str, Sequence[str]],
    *,
    needed: Sequence[FoundTable | None],
) -> None:
    """Tables with attributes, by the split whose images they name: those that masks need, and those that name all."""
    both = [table for table in tables if table.train > 0 and table.test > 0]
    for key, share in (("tables", "train"), ("test_tables", "test")):
        known = set(ids[share])
        about = [table for table in tables if getattr(table, share) > 0 and not table.is_sample and not table.row_class]
        chosen = [table for table in about if table in needed or len(known & set(table.ids)) > MOSTLY * len(known)]
        draft.notes["images"] += [
            f"guess: not used: {table.file} names {len(known & set(table.ids))} of {len(known)} images of {share}"
            for table in about if table not in chosen
        ]  # fmt: skip
        strange = {table.file: of_other_stacks(table, set().union(*ids.values())) for table in chosen}
        more = [
            f"{file}: {len(own)} rows are of stacks without images, as {own[0]}: passed over"
            for file, own in strange.items()
            if own
        ]
        if chosen:
            loose = {"both_splits": True}
            values = [table.source | (loose if table in both or strange[table.file] else {}) for table in chosen]
            columns = (f"{table.file} has the columns {list(table.frame.columns)}" for table in chosen)
            draft.put(key, values, *columns, *more)


def _put_sampled_classes(draft: Draft, tables: Sequence[FoundTable], runs: FoundTable) -> None:
    """The classes as the sample submission names them, and the column of the runs' table that tells them apart."""
    sample = next((table for table in tables if table.is_sample and (table.row_class or table.class_column)), None)
    if sample is None:
        return
    if sample.class_column:
        wanted = list(dict.fromkeys(sample.frame[sample.class_column]))
    else:
        cells = [fill(sample.id, {str(k): v for k, v in row.items()}, sample.file)
                 for row in sample.frame.to_dict("records")]  # fmt: skip
        wanted = list(dict.fromkeys(cell.strip().rpartition("_")[2] for cell in cells))
    known = draft.sections["masks"].get("class_column")
    named = [str(column) for column in runs.frame if set(runs.frame[column]) <= set(wanted) and known in (None, column)]
    if named:
        draft.sections["masks"]["class_column"] = named[0]
        draft.sections["masks"].pop("instances", None)
        draft.put("classes", wanted, f"as {sample.file} names them, and the column {named[0]} of {runs.file}")


def _put_columns(draft: Draft, tables: Sequence[FoundTable]) -> None:
    """The group, if a column's name says so, of a table that is joined to the images."""
    joined = {source["file"] for source in draft.sections.get("tables", [])}
    for table in (one for one in tables if one.file in joined):
        columns = [str(name) for name in table.frame.columns if table.train > 0.5 and not table.is_sample]
        for name in columns:
            if GROUP_COLUMN.search(name) and name != table.class_column:
                draft.put(
                    "group",
                    name,
                    f"by the column's name; {table.frame[name].nunique()} values in {len(table.ids)} rows",
                )
                return
