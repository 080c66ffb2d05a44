"""The answer that is COCO's result JSON: an entry an object, with its class, compressed runs and score.

Format: https://cocodataset.org/#format-results. Of several classes an object is a connected part of a class's mask
(pixels that touch at edges or corners), its score the mean probability there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from submissions.answers.answer import Answer, Fields, Others, Reader, Writer, Written
from submissions.answers.coco_objects import Entry, entry_fault, entry_mask, image_of, read_entries
from submissions.host.atomic import partial_path, room_for
from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images
from submissions.host.patterns import fill
from submissions.host.problems import Problem
from submissions.host.truth import Truth, completed
from submissions.rle.codec import Dialect, encode_instances
from submissions.table.findings import Finding
from submissions.table.lint import file_findings
from submissions.table.objects import ClassObjects
from submissions.table.rows import Shape3, answer_shape
from submissions.table.scoring import Segmentation, class_objects

RUNS = Dialect(kind="coco_compressed")


class CocoAnswer(Answer):
    """A JSON file."""

    scored = True  # whether an entry has to have a score
    head, tail = "[", "\n]\n"

    @property
    def ending(self) -> str:
        """Ending of the file."""
        return ".json"

    @property
    def categories(self) -> Mapping[str, int | str]:
        """category_id of each class that is scored and no background."""
        classes, given = self.competition.classes, self.form.coco.categories
        if given is None:
            return {name: classes.index(name) + 1 for name in self.competition.foreground}
        return {classes[k]: given[classes[k]] for k in self.competition.scored_classes if classes[k] in given}

    def image_key(self, fields: Fields) -> int | str:
        """What image_id is: a number where it is one."""
        text = fill(self.form.coco.image_id, {**fields, "id": fields["image_id"]}, "submission.coco.image_id")
        return int(text) if text.isdecimal() else text

    def entries(self, fields: Fields, said: Segmentation) -> list[Entry]:
        """The objects of one image."""
        key, found = self.image_key(fields), []
        for name, label, scores in class_objects(self.competition, said):
            if name not in self.categories:
                continue
            for part, score in zip(self.parts(label), scores, strict=True):
                entry: Entry = {"image_id": key, "category_id": self.categories[name], **part}
                found.append({**entry, "score": round(float(score), 6)})
        return found

    def parts(self, label: np.ndarray) -> Iterator[Entry]:
        """What an entry says of the place of each object of int32 (H, W)."""
        boxes = [box for box in scipy.ndimage.find_objects(label) if box]
        for text, box in zip(encode_instances(label, RUNS), boxes, strict=True):
            part: Entry = {"segmentation": {"size": [int(side) for side in label.shape], "counts": text}}
            if self.form.coco.box:
                part["bbox"] = [box[1].start, box[0].start, box[1].stop - box[1].start, box[0].stop - box[0].start]
            yield part

    def written(self, entry: Entry) -> dict[str, Any]:
        """An entry as it stands in the file."""
        return entry

    def read(self, path: Path, images: ListedImages, *, others: Others = "error") -> list[Entry]:
        """Entries of a file. FileNotFoundError where there is none, ValueError where it is no such list."""
        return read_entries(path)

    def file_findings(self, path: Path, images: ListedImages) -> list[Finding]:
        """What is wrong with the file as a whole."""
        return file_findings(path.stat().st_size, self.form)

    def begin(self, out: Path, images: ListedImages) -> Writer:
        """Start writing; an image's objects are on disk at once."""
        return CocoWriter(self, out, images)

    def open(self, path: Path, images: ListedImages, *, others: Others = "error") -> CocoReader:
        """Read the list of objects; masks are decoded when an image is asked for."""
        return CocoReader(self, path, images, others)

    def through(self, fields: Fields, said: Segmentation) -> Segmentation:
        """Objects, JSON text, objects, masks."""
        entries = json.loads(json.dumps(self.entries(fields, said)))
        return self.decoded(entries, (1, said.planes.shape[2], said.planes.shape[3]))

    def decoded(self, entries: Sequence[Entry], shape: Shape3, *, step: int = 1) -> Segmentation:
        """What objects say of an image: planes, and of each class objects, the later on top, with their scores."""
        truth, objects = self._drawn(entries, shape, step)
        if truth.instances is not None:
            return Segmentation(truth.planes, truth.instances, objects[0].scores if objects else [])
        return Segmentation(truth.planes, objects=objects)

    def truth(self, entries: Sequence[Entry], shape: Shape3) -> Truth:
        """The same of a solution, whose crowds are not scored."""
        return self._drawn(entries, shape, 1)[0]

    def _drawn(self, entries: Sequence[Entry], shape: Shape3, step: int) -> tuple[Truth, list[ClassObjects]]:
        names = {number: name for name, number in self.categories.items()}
        thin = (1, -(-shape[1] // step), -(-shape[2] // step))
        planes, labels = np.zeros((len(self.competition.classes), *thin), bool), dict[str, np.ndarray]()
        valid, given = np.ones(thin, bool), []
        for number, entry in enumerate(entries, start=1):
            mask = entry_mask(entry, shape[1:], f"image {entry['image_id']}, object {number}")[::step, ::step]
            given.append(float(entry.get("score", 1.0)))
            if entry.get("iscrowd"):
                valid[0] &= ~mask
                continue
            name = names[entry["category_id"]]
            planes[self.competition.classes.index(name), 0] |= mask
            labels.setdefault(name, np.zeros(thin[1:], np.int32))[mask] = number
        instances = None
        if len(self.competition.scored_classes) == 1:
            instances = next(iter(labels.values()), np.zeros(thin[1:], np.int32))[None]
        truth = completed(self.competition, planes, valid=None if valid.all() else valid, instances=instances)
        if instances is None:
            truth = replace(truth, objects={name: label[None] for name, label in labels.items()})
        found = {name: [given[value - 1] for value in np.unique(one).tolist() if value] for name, one in labels.items()}
        return truth, [ClassObjects(name, labels[name], scores) for name, scores in found.items()]

    def problems(self, data: Path) -> list[Problem]:
        """Two images with one image_id, and a template that cannot be filled."""
        listing, _ = list_images(self.competition, data, "test")
        owner: dict[int | str, str] = {}
        for row in listing.to_dict("records"):
            place, name = f"submission.{self.form.kind}.image_id", str(row["image_id"])
            try:
                key = self.image_key({str(field): value for field, value in row.items()})
            except ValueError as error:
                return [Problem(place, str(error), "a number or name an image", "name fields that exist")]
            if owner.setdefault(key, name) != name:
                said = f"{key!r} stands for {owner[key]} and for {name}"
                return [Problem(place, said, "an image_id an image", "name the fields that tell them apart")]
        return []


class CocoWriter(Writer):
    """Writes an entry a line beside the final name."""

    def __init__(self, answer: CocoAnswer, out: Path, images: ListedImages) -> None:
        self.answer, self.out, self.images = answer, out, images
        self.partial = partial_path(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self.partial.open("w", encoding="utf-8")
        self._stream.write(answer.head)
        self.count = 0
        self.named: list[str] = []

    def add(self, fields: Fields, said: Segmentation) -> None:
        """The objects of one image."""
        entries = self.answer.entries(fields, said)
        text = "".join(
            f"{',' if self.count + number else ''}\n{json.dumps(self.answer.written(entry))}"
            for number, entry in enumerate(entries)
        )
        with room_for(self.out, len(text), self.partial):
            self._stream.write(text)
            self._stream.flush()
        self.count += len(entries)
        if entries:
            self.named.append(str(fields["image_id"]))

    def add_empty(self, image_id: str) -> None:
        """No object."""

    def finish(self) -> Written:
        """End the list and rename the file."""
        self._stream.write(self.answer.tail)
        self._stream.close()
        self.partial.replace(self.out)
        return Written(self.out, self.count, "objects", self.named)

    def __exit__(self, *error: object) -> None:
        self._stream.close()
        self.partial.unlink(missing_ok=True)


class CocoReader(Reader):
    """The objects of an answer or solution, by image."""

    def __init__(self, answer: CocoAnswer, path: Path, images: ListedImages, others: Others) -> None:
        self.answer, self.images = answer, images
        ids = {answer.image_key(images.row(name)): name for name in images.ids}
        self._entries: dict[str, list[Entry]] = {}
        for number, entry in enumerate(answer.read(path, images, others=others), start=1):
            fault = entry_fault(entry, answer.categories, scored=False)
            if fault is not None:
                raise ValueError(f"{path}: object {number}: {fault}")
            name = image_of(entry, ids)
            if name is not None:
                self._entries.setdefault(name, []).append(entry)
            elif others == "error":
                raise ValueError(f"{path}: object {number}: image_id {entry.get('image_id')!r} is of no test image")

    @cached_property
    def image_ids(self) -> list[str]:
        """All test images: one without an object is empty."""
        return self.images.ids

    def read(self, image_id: str, *, step: int = 1) -> Segmentation:
        """What the image's objects say."""
        return self.answer.decoded(self._entries.get(image_id, []), self._shape(image_id), step=step)

    def truth(self, image_id: str) -> Truth:
        """The same, crowds left out of scoring."""
        return self.answer.truth(self._entries.get(image_id, []), self._shape(image_id))

    def _shape(self, image_id: str) -> Shape3:
        return answer_shape(self.images, image_id)
