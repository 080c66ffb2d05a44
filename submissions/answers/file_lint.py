"""Is an answer of files what the host wants? Names, count, size, type, values and geometry of each, and the masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from submissions.answers.file_answer import FileAnswer, MaskFile
from submissions.answers.mask_formats import ReadMask, Shape3, geometry_fault, open_source, read_mask
from submissions.answers.packing import PackedFiles
from submissions.host.listed_images import ListedImages
from submissions.host.sample import columns, read_submission
from submissions.table.findings import SHOWN, Finding
from submissions.table.lint import file_findings, test_images
from submissions.table.lint_masks import ReadMasks
from submissions.table.plausible import alignment_findings, size_findings
from submissions.table.rows import assumed_shape


@dataclass
class _Seen:
    """What was read of the files: an entry a file, slice and class, in `masks` by parts; and sentences about faults."""

    images: dict[tuple[str, int], int] = field(default_factory=dict)
    place: list[int] = field(default_factory=list)
    class_index: list[int] = field(default_factory=list)
    area: list[int] = field(default_factory=list)
    where: list[tuple[MaskFile, int]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def masks(self) -> ReadMasks:
        return ReadMasks(
            list(self.images), np.array(self.place, np.int64), np.array(self.class_index, np.int64),
            np.array(self.area, np.int64),
        )  # fmt: skip


def lint_files(answer: FileAnswer, path: Path, data: Path, training: pd.DataFrame | None) -> list[Finding]:
    """Findings of a zip or folder of mask files, errors first. FileNotFoundError where there is none."""
    try:
        packed = PackedFiles(path)
    except ValueError as error:
        return [Finding("error", None, str(error))]
    competition = answer.competition
    findings = file_findings(packed.size, answer.form)
    images, shapes, found = test_images(competition, data)
    findings += found
    known = {name: shapes.get(name) or assumed_shape(images, name, {}) for name in images.ids}
    places = answer.places(data)
    files: dict[str, list[tuple[str, MaskFile]]] = {}
    for name in images.ids:
        for file in answer.files(images.row(name), known[name], places):
            files.setdefault(file.name, []).append((name, file))
    findings += _name_findings(answer, packed, list(files))
    seen = _Seen()
    for name in packed.names:
        if name in files and files[name][0][0] in shapes:
            _look(answer, packed, images, shapes, files[name], seen)
    findings += _capped(seen.faults, "faults of files")
    if answer.form.files.table is not None:
        findings += _capped(list(_table_faults(answer, packed, set(files))), "faults of the table")
    read = seen.masks()
    if training is not None:
        findings += size_findings(competition, read, shapes, training)

    def paint(rows: Sequence[int], shape: tuple[int, int]) -> np.ndarray:
        mask = np.zeros(shape, bool)
        for row in rows:
            file, z = seen.where[row]
            with packed.file(file.name) as place:
                pixels = next(one for number, one in enumerate(read_mask(place).slices()) if number == z)
            for value in answer.values_of(file, int(read.class_index[row])):
                mask |= pixels == value if value else pixels > 0
        return mask

    findings += alignment_findings(competition, read, images, shapes, paint)
    return sorted(findings, key=lambda finding: finding.level != "error")


def _name_findings(answer: FileAnswer, packed: PackedFiles, wanted: Sequence[str]) -> list[Finding]:
    """Files missing, too many or twice."""
    table = answer.form.files.table
    if not wanted:
        return [Finding("warning", None, "no test images are at hand: names are not checked")]
    expected, has = {*wanted, *([table] if table else [])}, Counter(packed.names)
    lacking = sorted(expected - set(has))
    findings = []
    if lacking:
        some = ", ".join(lacking[:5]) + (", ..." if len(lacking) > 5 else "")
        findings.append(Finding("error", None, f"{len(lacking)} of {len(expected)} files are missing: {some}"))
    said = []
    for name in sorted(set(has) - expected):
        inside = PurePosixPath(name).name
        hint = f"; {inside!r} would be, but it lies in a folder" if inside in expected and inside != name else ""
        said.append(f"{name!r} is the file of no test image{hint}")
    findings += _capped(said, "unknown files")
    return findings + _capped([f"{name!r} comes {n} times" for name, n in has.items() if n > 1], "files twice")


def _look(
    answer: FileAnswer,
    packed: PackedFiles,
    images: ListedImages,
    shapes: Mapping[str, Shape3],
    named: Sequence[tuple[str, MaskFile]],
    seen: _Seen,
) -> None:
    """One file, and the images that are in it: what is wrong with it, or else the areas of its masks."""
    image_id, file = named[0]
    shape = file.shape(shapes[image_id])
    try:
        with packed.file(file.name) as path:
            mask = read_mask(path)
            fault = _header_fault(answer, mask, shape) or _geometry(answer, path, images, image_id)
            if fault is None:
                _count(answer, named, mask, seen)
    except (ValueError, OSError) as error:
        fault = str(error)
    if fault is not None:
        seen.faults.append(fault if fault.startswith(file.name) else f"{file.name}: {fault}")


def _header_fault(answer: FileAnswer, mask: ReadMask, shape: Shape3) -> str | None:
    if mask.shape != shape:
        return f"{mask.shape} (slices, height, width), expected {shape}"
    if mask.dtype != np.dtype(answer.form.files.dtype):
        return f"pixels are {mask.dtype}, expected {answer.form.files.dtype}"
    return None


def _geometry(answer: FileAnswer, path: Path, images: ListedImages, image_id: str) -> str | None:
    if answer.form.kind != "volumes" or answer.gathers:
        return None
    with closing(open_source(images, image_id)) as source:
        return geometry_fault(path, source, answer.form.files.dtype)


def _count(answer: FileAnswer, named: Sequence[tuple[str, MaskFile]], mask: ReadMask, seen: _Seen) -> None:
    """Areas of each class, slice by slice. ValueError for a value that is none of the contract's."""
    (image_id, file), gathered = named[0], {one.place: name for name, one in named if one.place is not None}
    classes = [i for i in answer.competition.scored_classes if answer.values_of(file, i)]
    for number, pixels in enumerate(mask.slices()):
        answer.check_values(file, pixels)
        own = (gathered[number], 0) if gathered else (image_id, number if file.z is None else file.z)
        place = seen.images.setdefault(own, len(seen.images))
        for index in classes:
            area = sum(int(np.count_nonzero(pixels == v if v else pixels)) for v in answer.values_of(file, index))
            seen.place.append(place)
            seen.class_index.append(index)
            seen.area.append(area)
            seen.where.append((file, number))


def _table_faults(answer: FileAnswer, packed: PackedFiles, files: set[str]) -> Iterator[str]:
    """What is wrong with the table beside the files."""
    table, form = answer.form.files.table, answer.form
    if table is None or table not in packed.names:
        return
    try:
        with packed.file(table) as path:
            frame = read_submission(path, answer.competition)
    except ValueError as error:
        yield f"{table}: {error}; expected a table with {columns(form)}"
        return
    named = frame[form.mask_column].tolist()
    for number, name in enumerate(named, start=1):
        if name not in packed.names:
            yield f"{table}, row {number}: {name!r} is no file of the answer"
    for name in sorted(files & set(packed.names) - set(named)):
        yield f"{table}: no row names the file {name!r}"


def _capped(said: Sequence[str], what: str) -> list[Finding]:
    """An error a sentence, the first `SHOWN` of them; the rest as one that counts them."""
    found = [Finding("error", None, one) for one in said[:SHOWN]]
    if len(said) > SHOWN:
        found.append(Finding("error", None, f"{what}: {len(said)} in all, the first {SHOWN} are named"))
    return found
