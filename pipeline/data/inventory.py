"""Stage 01: every image looked at once, in parts that a killed stage keeps, and every problem found in one go."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.data.inspection import THUMBNAIL, Inspection, inspect_images
from pipeline.distributed.shards import Shard, share
from pipeline.inventory_table import SOURCE
from pipeline.shift.sources import find_sources
from submissions.answers import check_answer
from submissions.host.atomic import check_room, partial_path, room_for, write_atomic
from submissions.host.competition import Competition
from submissions.host.listed_images import ListedImages
from submissions.host.listing import LAYER_SEPARATOR, list_images, passed_over, require_data, spread
from submissions.host.mask_files import mask_patterns
from submissions.host.patterns import FIELD, alternatives, find_files
from submissions.host.problems import Problem, problem_table
from submissions.table.alignment import ORIENTATIONS, Measured

ALIGNMENT_SAMPLE = 60
PROBED = 64
NAMES_SHOWN = 3
CHUNK = 32  # images inspected in one go
PARTS = "inspections"


@dataclass(frozen=True)
class _Task:
    """Some neighbours of a listing, inspected in one go; `listing` is theirs alone, so that a task stays small.

    aligned: those among them whose masks are laid on their images.
    """

    name: str
    listing: pd.DataFrame
    aligned: set[str]

    def path(self, parts: Path) -> Path:
        """Where its inspections wait for those of the others."""
        return parts / f"{self.name}.npz"


def _ids(listing: pd.DataFrame) -> list[str]:
    return [str(name) for name in listing["image_id"]]


def _tasks(competition: Competition, data: Path, chunk: int) -> tuple[list[Problem], list[_Task]]:
    """The problems of the listing itself, and what there is to be inspected."""
    problems: list[Problem] = []
    tasks = []
    for split in ("train", "test"):
        listing, found = list_images(competition, data, split)  # type: ignore[arg-type]
        problems += found
        aligned = set(spread(_ids(listing), ALIGNMENT_SAMPLE)) if split == "train" else set()
        parts = [listing.iloc[start : start + chunk] for start in range(0, len(listing), chunk)]
        tasks += [
            _Task(f"{split}-{number * chunk:08d}", part, aligned & {*part["image_id"]})
            for number, part in enumerate(parts)
        ]
    return problems, tasks


def take_inventory(
    competition: Competition,
    data: Path,
    *,
    workers: int = 0,
    chunk: int = CHUNK,
    parts: Path | None = None,
    shard: Shard | None = None,
) -> Iterator[tuple[int, int, list[Inspection]]]:
    """Inspect all images, train and test, or those of a shard; yields (done, of how many, inspections), in the
    listing's order.

    Peak memory is `workers` (or 1) times one image. The first yield carries the problems of the listing itself. What
    lies in the folder `parts` is not inspected again, and what is inspected is left there.
    """
    problems, tasks = _tasks(competition, data, chunk)
    tasks = share(tasks, shard)
    total, done = sum(len(task.listing) for task in tasks), 0
    yield 0, total, [Inspection({}, np.zeros((THUMBNAIL, THUMBNAIL), np.uint8), problems)]
    fixed = (competition, data, parts)
    if workers > 0 and tasks:
        with ProcessPoolExecutor(workers) as pool:
            for found in pool.map(_inspect_task, *([one] * len(tasks) for one in fixed), tasks):
                done += len(found)
                yield done, total, found
        return
    for task in tasks:
        found = _inspect_task(*fixed, task)
        done += len(found)
        yield done, total, found


def uninspected(competition: Competition, data: Path, parts: Path, shard: Shard | None = None) -> list[str]:
    """Ids of the images, or those of a shard, whose inspections do not lie in `parts` yet."""
    tasks = share(_tasks(competition, data, CHUNK)[1], shard)
    return [name for task in tasks if not task.path(parts).is_file() for name in _ids(task.listing)]


def _inspect_task(competition: Competition, data: Path, parts: Path | None, task: _Task) -> list[Inspection]:
    """Read what was left in `parts`, else inspect and leave it there."""
    if parts is None:
        return inspect_images(competition, data, task.listing, aligned=task.aligned)
    path = task.path(parts)
    if not path.is_file():
        _save_part(path, inspect_images(competition, data, task.listing, aligned=task.aligned))
    return _load_part(path)


def _save_part(path: Path, inspections: Sequence[Inspection]) -> None:
    """Rows, problems and alignments as JSON, thumbnails as an array, in one file that is there or not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    said = [
        (
            one.row,
            [astuple(each) for each in one.problems],
            [astuple(each) for each in one.unreadable],
            one.alignment and (one.alignment.votes, one.alignment.parts.tolist()),
        )
        for one in inspections
    ]
    partial, thumbnails = partial_path(path), np.array([one.thumbnail for one in inspections])
    with room_for(path, thumbnails.nbytes, partial), partial.open("wb") as file:
        np.savez(file, said=np.array(json.dumps(said, default=np.generic.item)), thumbnails=thumbnails)
    partial.replace(path)


def _load_part(path: Path) -> list[Inspection]:
    with np.load(path) as part:
        said, thumbnails = json.loads(str(part["said"])), part["thumbnails"]
    return [
        Inspection(
            row,
            thumbnail,
            [Problem(*one) for one in problems],
            [Problem(*one) for one in unreadable],
            alignment and Measured(alignment[0], np.array(alignment[1], float).reshape(-1, len(ORIENTATIONS))),
        )
        for (row, problems, unreadable, alignment), thumbnail in zip(said, thumbnails, strict=True)
    ]


def peak_memory(competition: Competition, data: Path, *, workers: int = 0) -> float:
    """GB that stage 01 needs at most: processes times the largest image, decoded, with its mask.

    Sizes are those that the headers of the PROBED longest files of each split say; what cannot be read is left to the
    list of problems.
    """
    largest = 0
    planes = 0 if competition.masks.kind == "none" else 2 * len(competition.classes) + 4
    for split in ("train", "test"):
        listing, _ = list_images(competition, data, split)  # type: ignore[arg-type]
        images = ListedImages(competition, data, listing)
        bytes_of = {str(row["image_id"]): _file_bytes(data, str(row["path"])) for row in listing.to_dict("records")}
        for image_id in sorted(bytes_of, key=lambda name: -bytes_of[name])[:PROBED]:
            try:
                reader = images.open_alone(image_id)
            except (ValueError, OSError):
                continue
            depth, height, width, channels = reader.shape
            largest = max(largest, depth * height * width * (channels * reader.dtype.itemsize + planes))
            reader.close()
    return max(1, workers) * (largest + 200e6) / 1e9


def _file_bytes(data: Path, paths: str) -> int:
    return sum(max(0, _bytes(data / path)) for path in paths.split(LAYER_SEPARATOR))


def _bytes(path: Path) -> int:
    """Size of a file, or of all files of an image that is a folder; -1 where there is neither."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.is_file() else -1


def sample_inspection(competition: Competition, data: Path) -> Inspection:
    """What is wrong with the sample submission, as a part of the inventory without an image."""
    return Inspection({}, np.zeros((THUMBNAIL, THUMBNAIL), np.uint8), check_answer(competition, data))


def describe_names(competition: Competition, data: Path) -> list[str]:
    """How the contract splits the names of training images into fields, for a person to check; and which files are not
    read.
    """
    found = find_files(data, competition.images.train)
    lines = []
    for path, fields in found[:NAMES_SHOWN]:
        parts = ", ".join(f"{name} {text!r}" for name, text in fields.items())
        lines.append(f"{path}: {parts or 'no field'}")
    names = dict.fromkeys(FIELD.findall(competition.images.train))
    values = ", ".join(f"{name} has {len({fields[name] for _, fields in found})}" for name in names)
    lines.append(f"{len(found)} training files; values of the fields: {values or 'none'}")
    left = passed_over(competition, data)
    if left:
        lines.append(
            f"not read: {len(left)} files that operating systems leave, such as {', '.join(left[:NAMES_SHOWN])}"
        )
    return lines


def write_inventory(folder: Path, inspections: Iterable[Inspection]) -> tuple[pd.DataFrame, list[Problem]]:
    """Write inventory.csv, thumbnails.npy (row for row) and problems.csv, those of unreadable test images among them.

    Returns the table and the problems that have to be put right before anything is trained. Of the inspections, which
    may come from an iterator, rows and problems are held in memory, the thumbnails on disk.
    """
    rows: list[dict[str, Any]] = []
    problems: list[Problem] = []
    unreadable: list[Problem] = []
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as waiting:
        for inspection in inspections:
            problems += inspection.problems
            unreadable += inspection.unreadable
            if inspection.row:
                rows.append(inspection.row)
                waiting.write(inspection.thumbnail.tobytes())
        order = sorted(range(len(rows)), key=lambda index: (rows[index]["split"] != "train", rows[index]["image_id"]))
        waiting.flush()
        _write_thumbnails(folder / "thumbnails.npy", waiting, order)
    table = pd.DataFrame([rows[index] for index in order])
    if rows and SOURCE not in table:  # a column of that name which the host gives is taken as it is
        table[SOURCE] = find_sources(table, np.load(folder / "thumbnails.npy", mmap_mode="r"))
    write_atomic(folder / "inventory.csv", table.to_csv(index=False, lineterminator="\n"))
    write_atomic(folder / "problems.csv", problem_table(problems + unreadable).to_csv(index=False, lineterminator="\n"))
    return table, problems


def _write_thumbnails(path: Path, waiting: Any, order: Sequence[int]) -> None:
    """uint8 (N, 64, 64) in this order, from a file that holds them one after the other."""
    sides = (THUMBNAIL, THUMBNAIL)
    if not order:
        np.save(path, np.zeros((0, *sides), np.uint8))
        return
    found = np.memmap(waiting, np.uint8, "r", shape=(len(order), *sides))
    check_room(path, found.nbytes)  # a page that finds no room ends the process
    made = np.lib.format.open_memmap(path, "w+", np.uint8, shape=(len(order), *sides))
    for place, index in enumerate(order):
        made[place] = found[index]
    made.flush()


def host_digest(competition: Competition, data: Path) -> str:
    """Hash of names and sizes of the host's images, masks and tables: changes where a file came, went or grew.

    Raises FileNotFoundError where there is no such folder.
    """
    require_data(competition, data)
    images = competition.images
    patterns = [pattern for pattern in (images.train, images.test) if pattern] + mask_patterns(competition)
    names = [path for pattern in patterns for path, _ in find_files(data, pattern)]
    names += [table.file for table in (*competition.tables, *competition.test_tables)]
    names += [name for name in (competition.masks.file,) if name]
    names += [competition.masks.table.file] if competition.masks.table else []
    names = [name for pattern in names for name in alternatives(pattern)]
    sizes = [(name, _bytes(data / name)) for name in sorted(set(names))]
    return hashlib.sha256(repr(sizes).encode()).hexdigest()[:16]
