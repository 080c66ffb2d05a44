"""The answer that is a table: one row per image, class or object, with the mask as text."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from submissions.answers.answer import Answer, Fields, Others, Reader, Writer, Written
from submissions.host.competition import Competition
from submissions.host.listed_images import ListedImages
from submissions.host.problems import Problem
from submissions.host.sample import columns, read_submission, row_keys, submission_format
from submissions.host.truth import Truth
from submissions.rle.codec import POLYGONS
from submissions.table.rows import Place, Shape3, assumed_shape, empty_rows, row_places, sample_rows
from submissions.table.sample_check import check_sample
from submissions.table.scoring import USAGE, Segmentation, decode_image, rows_by_image
from submissions.table.submission_table import Row, decode_rows, encode_rows, write_submission


class TableAnswer(Answer):
    """A CSV file."""

    ending = ".csv"

    def begin(self, out: Path, images: ListedImages) -> TableWriter:
        """Start writing; rows are kept as text until the sample's order is known."""
        return TableWriter(self.competition, out, images)

    def open(self, path: Path, images: ListedImages, *, others: Others = "error") -> TableReader:
        """Read the table; masks are decoded when an image is asked for."""
        return TableReader(self.competition, path, images, others)

    def through(self, fields: Fields, said: Segmentation) -> Segmentation:
        """Rows, CSV text, rows, masks; of a volume slice by slice. Confidences of one class, rounded there, stay."""
        outlined = self.form.wants_objects and self.competition.dialect.kind in POLYGONS
        single = self.competition.images.kind != "volumes" and self.form.rows == "instance"
        if (self.form.lists_classes or outlined or single) and said.planes.shape[1] == 1:
            rows = self._through_csv(self._rows(fields, said.planes[:, 0], said))
            shape = (1, said.planes.shape[2], said.planes.shape[3])
            return decode_image(self.competition, [(0, row) for row in rows], shape, fields=fields)
        if self.form.rows == "image" and self.form.wants_objects:
            return said
        if self.competition.images.kind == "volumes" or said.planes.shape[1] > 1:
            slices = [self._one({**fields, "z": z}, said.planes[:, z], None) for z in range(said.planes.shape[1])]
            return Segmentation(np.stack(slices, axis=1))
        return Segmentation(self._one(fields, said.planes[:, 0], said)[:, None])

    def _one(self, fields: Fields, planes: np.ndarray, said: Segmentation | None) -> np.ndarray:
        rows = self._rows(fields, planes, said)
        return decode_rows(self.competition, self._through_csv(rows), planes.shape[1:], fields=fields)[0]

    def _rows(self, fields: Fields, planes: np.ndarray, said: Segmentation | None) -> list[Row]:
        """Rows of planes bool (K, H, W), with the objects, confidences and probabilities of `said`."""
        if said is None:
            return encode_rows(self.competition, fields, planes)
        return said_rows(self.competition, fields, said, volume=False)

    def _through_csv(self, rows: list[Row]) -> list[Row]:
        """Rows after they were written as CSV text and read again; none of an empty mask where it has no row."""
        if self.competition.dialect.empty == "missing" and self.form.rows != "image":
            rows = [row for row in rows if row[self.form.mask_column] != ""]
        text = pd.DataFrame(rows, columns=columns(self.form), dtype=object).to_csv(index=False, lineterminator="\n")
        frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
        return [{str(name): str(value) for name, value in row.items()} for row in frame.to_dict("records")]

    def problems(self, data: Path) -> list[Problem]:
        """The sample submission by itself, and against the test images."""
        return check_sample(self.competition, data)


def said_rows(competition: Competition, fields: Fields, said: Segmentation, *, volume: bool) -> list[Row]:
    """Rows of what is said of an image; of a volume slice by slice, without objects, confidences and probabilities."""
    if volume:
        return encode_rows(competition, fields, said.planes)
    label = None if said.instances is None else said.instances[0]
    levels = None if said.levels is None else said.levels[:, 0]
    return encode_rows(competition, fields, said.planes[:, 0], instances=label, scores=said.scores, levels=levels)


class TableWriter(Writer):
    """Collects rows; the table is written whole, in the order of the sample."""

    def __init__(self, competition: Competition, out: Path, images: ListedImages) -> None:
        self.competition, self.out, self.images = competition, out, images
        self.rows: list[Row] = []
        self.named: list[str] = []

    @cached_property
    def _sample(self) -> Any:
        return sample_rows(self.competition, self.images.data)

    def add(self, fields: Fields, said: Segmentation) -> None:
        """The rows of one image."""
        rows = said_rows(self.competition, fields, said, volume=self.competition.images.kind == "volumes")
        self._take(str(fields["image_id"]), rows)

    def add_empty(self, image_id: str) -> None:
        """The rows of masks without a pixel."""
        self._take(image_id, empty_rows(self.images, [image_id], self._sample))

    def _take(self, image_id: str, rows: Sequence[Row]) -> None:
        form = submission_format(self.competition)
        dropped = self.competition.dialect.empty == "missing" and form.rows != "image"
        self.rows += rows
        if any(not dropped or row[form.mask_column] != "" for row in rows):
            self.named.append(image_id)

    def finish(self) -> Written:
        """Write the table; ValueError where its ids are not the sample's."""
        table = write_submission(self.out, self.competition, self.images.data, self.rows)
        return Written(self.out, len(table), "rows", self.named)

    def __exit__(self, *error: object) -> None:
        """Nothing is on disk before `finish`."""


class TableReader(Reader):
    """A table read as text; rows whose Usage is 'Ignored' are left out."""

    def __init__(self, competition: Competition, path: Path, images: ListedImages, others: Others) -> None:
        self.competition, self.images, self.others = competition, images, others
        self.form = submission_format(competition)
        frame = read_submission(path, competition)
        if USAGE in frame:
            frame = frame[frame[USAGE].str.strip().str.lower() != "ignored"].reset_index(drop=True)
        self.frame = frame

    @cached_property
    def _shapes(self) -> dict[str, Shape3]:
        return {image_id: assumed_shape(self.images, image_id, {}) for image_id in self.images.ids}

    @cached_property
    def places(self) -> dict[tuple[str, ...], Place]:
        """Place of every row that the images may have."""
        return row_places(self.competition, self.images, self._shapes)

    @cached_property
    def _rows(self) -> dict[str, list[tuple[int, Row]]]:
        return rows_by_image(self.frame, self.form, self.places, others=self.others)

    @property
    def image_ids(self) -> list[str]:
        """Images with a row. ValueError for a row of no test image."""
        return list(self._rows)

    def read(self, image_id: str, *, step: int = 1) -> Segmentation:
        """The masks of an image's rows; where masks of instances overlap, the later row has the pixel."""
        return decode_image(
            self.competition,
            self._rows.get(image_id, []),
            self._shapes[image_id],
            step=step,
            fields=self.images.row(image_id),
        )

    def truth(self, image_id: str) -> Truth:
        """The masks; a table says nothing of what is not scored."""
        said = self.read(image_id)
        objects = None if said.objects is None else {one.name: one.label[None] for one in said.objects}
        return Truth(said.planes, None, said.instances, objects=objects, outlines=said.outlines)

    def attributes(self, image_id: str) -> Sequence[Fields]:
        """The rows themselves."""
        return [row for _, row in self._rows.get(image_id, [])]

    def lacking(self, solution: Reader) -> list[str]:
        """Ids of the solution without a row here; an id without a row is an empty mask where the dialect says so."""
        assert isinstance(solution, TableReader)
        if self.competition.dialect.empty == "missing":
            return []
        own = set(row_keys(self.frame, self.form))
        return ["/".join(key) for key in sorted(set(row_keys(solution.frame, self.form)) - own)]
