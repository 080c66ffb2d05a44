"""Is a list of objects, COCO's or GeoJSON's, what the host wants? Images, classes, scores, overlap, and the masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from submissions.answers.coco_answer import CocoAnswer
from submissions.answers.coco_objects import entry_fault, entry_mask, image_of
from submissions.rle.codec import find_overlap
from submissions.rle.scan import find_runs
from submissions.rle.text import I64
from submissions.table.findings import Finding, rows_findings
from submissions.table.lint import test_images
from submissions.table.lint_masks import UNKNOWN, ReadMasks
from submissions.table.plausible import alignment_findings, size_findings


def lint_objects(answer: CocoAnswer, path: Path, data: Path, training: pd.DataFrame | None) -> list[Finding]:
    """Findings of objects, errors first; a row is an object, from 1. FileNotFoundError where there is no such file."""
    images, shapes, found = test_images(answer.competition, data)
    try:
        entries = answer.read(path, images, others="skip")
    except ValueError as error:
        return [Finding("error", None, str(error))]
    findings = [*answer.file_findings(path, images), *found]
    ids = {answer.image_key(images.row(name)): name for name in images.ids}
    classes = {number: answer.competition.classes.index(name) for name, number in answer.categories.items()}
    number = {name: index for index, name in enumerate(shapes)}
    place, area = np.full(len(entries), UNKNOWN), np.full(len(entries), UNKNOWN, np.int64)
    class_index = np.full(len(entries), answer.competition.scored_classes[0])
    faults: list[tuple[int, str]] = []
    kept: dict[str, list[tuple[int, I64]]] = {}
    for index, entry in enumerate(entries):
        name = image_of(entry, ids)
        fault = entry_fault(entry, answer.categories, scored=answer.scored)
        if name is None:
            fault = f"image_id {entry.get('image_id')!r} is of no test image"
        if fault is None and name in shapes:
            try:
                mask = entry_mask(entry, shapes[name][1:], f"image {name}")
            except ValueError as error:
                fault = str(error)
            else:
                place[index], area[index] = number[name], int(mask.sum())
                class_index[index] = classes[entry["category_id"]]
                fault = None if area[index] else f"image {name}: a mask without a pixel"
                if not answer.form.overlap:
                    kept.setdefault(name, []).append((index, find_runs(mask, "column")))
        if fault is not None:
            faults.append((index, fault))
    findings += rows_findings("error", "objects with faults", faults)
    findings += rows_findings("error", "objects that overlap", _overlaps(kept))
    findings += _named_images(answer, list(ids))
    if not entries:
        findings.append(Finding("warning", None, "not one object in any image; check the threshold"))
    read = ReadMasks([(name, 0) for name in shapes], place, class_index, area)
    if training is not None:
        findings += size_findings(answer.competition, read, shapes, training)

    def paint(rows: Sequence[int], shape: tuple[int, int]) -> np.ndarray:
        return np.logical_or.reduce([entry_mask(entries[row], shape, "") for row in rows])

    findings += alignment_findings(answer.competition, read, images, shapes, paint)
    return sorted(findings, key=lambda finding: finding.level != "error")


def _named_images(answer: CocoAnswer, keys: Sequence[int | str]) -> list[Finding]:
    """COCO knows images by the numbers in the host's document; pycocotools refuses a list that names others."""
    named = [key for key in keys if isinstance(key, str)]
    if answer.form.kind != "coco" or not named:
        return []
    said = (
        f"image_id is a name such as {named[0]!r}, but COCO counts images: where the host's JSON of the test images "
        "numbers them, name it in test_tables and set submission.coco.image_id to '{coco_id}'"
    )
    return [Finding("warning", None, said)]


def _overlaps(kept: Mapping[str, list[tuple[int, I64]]]) -> Iterator[tuple[int, str]]:
    """The first overlap within each image, as the later object and the cause."""
    for name, parts in kept.items():
        shared = find_overlap([runs for _, runs in parts])
        if shared is not None:
            first, second = parts[shared[0]][0], parts[shared[1]][0]
            yield second, f"image {name}: shares a pixel with object {first + 1}, and the host forbids overlap"
