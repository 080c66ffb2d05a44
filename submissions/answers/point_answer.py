"""The answer that is a table of points: a row for each centre of a connected part of a volume, with its class.

Volumes are files of their own or stacks of single slices; of those the slices wait on disk until a stack is whole.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from submissions.answers.answer import Answer, Fields, Others, Reader, Writer, Written
from submissions.answers.gathered import Places, StackFiles, stack_places, stack_problems
from submissions.host.atomic import write_atomic
from submissions.host.competition import Competition
from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images, slices_left_out
from submissions.host.patterns import fill
from submissions.host.points import draw_points, read_place, voxel_size
from submissions.host.problems import Problem
from submissions.host.sample import read_submission
from submissions.host.truth import NamedPlace, Truth
from submissions.images.opening import path_inside
from submissions.table.objects import places_of_parts
from submissions.table.rows import answer_shape, assumed_shape
from submissions.table.scoring import USAGE, Segmentation

Volume = tuple[str, ...]  # the cells that name it
Row = dict[str, str]
NO_SAMPLE: Mapping[tuple[str, ...], Mapping[str, str]] = {}


@dataclass(frozen=True)
class PointRow:
    """A row read: its volume, the point (None: it says that there is none), and what is wrong with it ('': nothing)."""

    volume: Volume
    point: NamedPlace | None
    fault: str


class PointAnswer(Answer):
    """A CSV file."""

    ending = ".csv"

    def __init__(self, competition: Competition) -> None:
        super().__init__(competition)
        self.table, self.sliced = self.form.points, competition.images.kind != "volumes"
        assert competition.masks.points is not None, "the contract was checked for it"
        self.unit = competition.masks.points.unit

    def volume(self, fields: Fields) -> Volume:
        """What names the volume of an image."""
        given = {**fields, "id": fields["image_id"]}
        return tuple(
            fill(template, given, "submission.points.columns") for template in self.table.volume_columns.values()
        )

    def first(self, fields: Fields) -> int:
        """The slice that places are counted from: of a stack's image its own."""
        return int(fields["z"]) if self.sliced else 0

    def rows(self, fields: Fields, places: Sequence[NamedPlace], *, number: int = 0) -> list[Row]:
        """The rows of one volume, numbered from `number`; places count from slice 0, to a hundredth of a voxel."""
        digits = max(2, 2 - math.floor(math.log10(self.unit)))
        points = [(name, [f"{value * self.unit:.{digits}f}" for value in place]) for name, place in places]
        if not points and self.table.none is not None:
            points = [(self.competition.foreground[0], [f"{self.table.none:g}"] * 3)]
        given = {**fields, "id": fields["image_id"]}
        found = []
        for count, (name, cells) in enumerate(points, start=number):
            own = {**given, **dict(zip("zyx", cells, strict=True)), "class": name, "number": count}
            what = "submission.points.columns"
            found.append({column: fill(template, own, what) for column, template in self.table.columns.items()})
        return found

    def begin(self, out: Path, images: ListedImages) -> PointWriter:
        """Start writing; places are kept until the order of the volumes is known."""
        return PointWriter(self, out, images)

    def open(self, path: Path, images: ListedImages, *, others: Others = "error") -> PointReader:
        """Read the table."""
        return PointReader(self, path, images, others)

    def through(self, fields: Fields, said: Segmentation) -> Segmentation:
        """Places, CSV text, places. Of a single slice nothing: places are found where its stack is whole."""
        if self.sliced:
            return said
        rows = self.rows(fields, places_of_parts(self.competition, said.planes, said.levels))
        text = pd.DataFrame(rows, columns=list(self.table.columns), dtype=object).to_csv(index=False)
        frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
        read = [row.point for row in self.parsed(frame) if row.point is not None]
        return replace(said, points=read)

    def parsed(self, frame: pd.DataFrame) -> Iterator[PointRow]:
        """The rows of a table of text."""
        named = [frame[column].tolist() for column in self.table.volume_columns]
        cells = [frame[str(self.table.column_of(axis))].tolist() for axis in "zyx"]
        column, foreground = self.table.column_of("class"), self.competition.foreground
        names = [foreground[0]] * len(frame) if column is None else frame[column].tolist()
        for *volume, name, z, y, x in zip(*named, names, *cells, strict=True):
            key, point, fault = tuple(volume), None, ""
            try:
                place = read_place([z, y, x], self.unit, "/".join(key))
                none = self.table.none
                if none is None or place != (none / self.unit,) * 3:
                    point = (name, place)
                    fault = "" if name in foreground else f"class {name!r}, expected one of {foreground}"
            except ValueError as error:
                fault = str(error)
            yield PointRow(key, point, fault)

    def sample(self, data: Path) -> pd.DataFrame | None:
        """The host's sample, None where there is none."""
        if not self.form.sample:
            return None
        path = path_inside(data, self.form.sample)
        return read_submission(path, self.competition) if path.is_file() else None

    def problems(self, data: Path) -> list[Problem]:
        """Two volumes of one name, slices that make no volume, and a sample of other columns."""
        listing, _ = list_images(self.competition, data, "test")
        images, owner = ListedImages(self.competition, data, listing) if len(listing) else None, dict[Volume, str]()
        where, known = "submission.points.columns", [] if images is None else images.ids
        for name in known:
            row = images.row(name)  # type: ignore[union-attr]
            try:
                key = self.volume(row)
            except ValueError as error:
                return [Problem(where, str(error), "one name per volume", "name fields that exist")]
            if owner.setdefault(key, str(row["stack"])) != str(row["stack"]):
                said = f"{'/'.join(key)!r} stands for {owner[key]} and for {row['stack']}"
                return [Problem(where, said, "one name per volume", "name the fields that tell them apart")]
        try:
            self.sample(data)
        except ValueError as error:
            return [Problem(self.form.sample, str(error), f"the columns {[*self.table.columns]}", f"correct {where}")]
        if images is None or not self.sliced:
            return []
        shapes = {name: assumed_shape(images, name, NO_SAMPLE) for name in known}
        return stack_problems(self.competition, data, shapes) + slices_left_out(map(images.row, known))


class PointWriter(Writer):
    """Finds the places of each volume; of stacks, once all slices are there. The table is written whole."""

    def __init__(self, answer: PointAnswer, out: Path, images: ListedImages) -> None:
        self.answer, self.out, self.images = answer, out, images
        self.found: dict[Volume, tuple[Fields, list[NamedPlace]]] = {}
        self.named: list[str] = []
        out.parent.mkdir(parents=True, exist_ok=True)
        self.places: Places = stack_places(answer.competition, images.data) if answer.sliced else {}
        self.stacks = StackFiles(out, np.uint8) if answer.sliced else None

    def add(self, fields: Fields, said: Segmentation) -> None:
        """The points of one volume, or one slice of a stack."""
        self.named.append(str(fields["image_id"]))
        if self.stacks is not None:
            levels = np.ones(said.planes.shape, np.uint8) if said.levels is None else np.maximum(said.levels, 1)
            self._gather(self.stacks, fields, np.where(said.planes, levels, 0)[:, 0])
            return
        self._take(fields, places_of_parts(self.answer.competition, said.planes, said.levels), 0)

    def _gather(self, stacks: StackFiles, fields: Fields, levels: np.ndarray) -> None:
        """Keep uint8 (K, H, W), 0 where nothing is; of a stack that is whole its points are found."""
        place, of = self.places[str(fields["image_id"])]
        stack, classes = str(fields["stack"]), self.answer.competition.classes
        counts = [stacks.put(f"{stack}/{name}", place, levels[k]) for k, name in enumerate(classes)]
        if counts[0] == of:
            whole = np.stack([np.stack(list(stacks.slices(f"{stack}/{name}", of))) for name in classes])
            self._take(fields, places_of_parts(self.answer.competition, whole > 0, whole), int(fields["z"]) - place)

    def _take(self, fields: Fields, places: Sequence[NamedPlace], first: int) -> None:
        moved = [(name, (z + first, y, x)) for name, (z, y, x) in places]
        self.found[self.answer.volume(fields)] = (fields, moved)

    def add_empty(self, image_id: str) -> None:
        """No point; of a stack an empty slice, of the size that the others have."""
        fields, names = self.images.row(image_id), self.answer.competition.classes
        if self.stacks is None:
            self.named.append(image_id)
            self._take(fields, [], 0)
            return
        size = self.stacks.size(f"{fields['stack']}/{names[0]}") or assumed_shape(self.images, image_id, NO_SAMPLE)[1:]
        self.add(fields, Segmentation(np.zeros((len(names), 1, *size), bool)))

    def finish(self) -> Written:
        """Write the table, volumes in the order of the sample where there is one."""
        sample, order = self.answer.sample(self.images.data), list(self.found)
        columns = list(self.answer.table.columns)
        if sample is not None:
            columns = [name for name in sample.columns if name in columns]
            first = {key: rank for rank, key in reversed(list(enumerate(self._volumes(sample))))}
            order.sort(key=lambda key: first.get(key, len(first)))
        rows: list[Row] = []
        for key in order:
            fields, places = self.found[key]
            rows += self.answer.rows(fields, places, number=len(rows))
        text = pd.DataFrame(rows, columns=columns, dtype=object).to_csv(index=False, lineterminator="\n")
        write_atomic(self.out, text)
        return Written(self.out, len(rows), "points", self.named)

    def _volumes(self, sample: pd.DataFrame) -> list[Volume]:
        return list(zip(*(sample[column] for column in self.answer.table.volume_columns), strict=True))

    def __exit__(self, *error: object) -> None:
        if self.stacks is not None:
            self.stacks.remove()


class PointReader(Reader):
    """The points of a table by volume; rows whose Usage is 'Ignored' are left out."""

    def __init__(self, answer: PointAnswer, path: Path, images: ListedImages, others: Others) -> None:
        self.answer, self.images = answer, images
        frame = read_submission(path, answer.competition)
        if USAGE in frame:
            frame = frame[frame[USAGE].str.strip().str.lower() != "ignored"].reset_index(drop=True)
        known = {answer.volume(images.row(name)) for name in images.ids}
        self._points: dict[Volume, list[NamedPlace]] = {}
        self._rows: dict[Volume, list[Row]] = {}
        cells = [{str(name): str(value) for name, value in row.items()} for row in frame.to_dict("records")]
        for number, (row, own) in enumerate(zip(answer.parsed(frame), cells, strict=True), start=1):
            unknown = f"volume {'/'.join(row.volume)!r} is not among the test images"
            fault = row.fault if row.volume in known else unknown if others == "error" else ""
            if fault:
                raise ValueError(f"{path}: row {number}: {fault}")
            self._rows.setdefault(row.volume, []).append(own)
            self._points.setdefault(row.volume, []).extend([row.point] if row.point is not None else [])

    @cached_property
    def image_ids(self) -> list[str]:
        """All test images where a volume without a point has no row; else those whose volume has one."""
        if self.answer.table.none is None:
            return self.images.ids
        return [name for name in self.images.ids if self._volume(name) in self._points]

    def _volume(self, image_id: str) -> Volume:
        return self.answer.volume(self.images.row(image_id))

    def read(self, image_id: str, *, step: int = 1) -> Segmentation:
        """The places, and balls around them."""
        truth = self.truth(image_id)
        return Segmentation(truth.planes[..., ::step, ::step], truth.instances, points=truth.points)

    def truth(self, image_id: str) -> Truth:
        """The same where it is the solution, with the size of voxels where that says it."""
        row, key = self.images.row(image_id), self._volume(image_id)
        points, competition = self._points.get(key, []), self.answer.competition
        shape = answer_shape(self.images, image_id)
        drawn = draw_points(competition, points, shape, first=self.answer.first(row), where="/".join(key))
        column: Any = competition.masks.points and competition.masks.points.spacing
        cell = next((own[column] for own in self._rows.get(key, []) if column in own), None)
        if cell is None:
            return drawn
        size = voxel_size(cell, f"{'/'.join(key)}: {column}")
        return replace(drawn, spacing=(size, size, size))

    def attributes(self, image_id: str) -> Sequence[Fields]:
        """The rows of the image's volume."""
        return self._rows.get(self._volume(image_id), [])

    def lacking(self, solution: Reader) -> list[str]:
        """Volumes of the solution without a row here, where each must have one."""
        assert isinstance(solution, PointReader)
        if self.answer.table.none is None:
            return []
        return ["/".join(key) for key in solution._rows if key not in self._rows]
