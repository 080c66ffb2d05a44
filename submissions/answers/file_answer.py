"""The answers that are files: mask images (an image, or a slice or class of it, each) and label volumes (a volume, or a
stack of single slices, each)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from submissions.answers.answer import Answer, Fields, Others, Reader, Writer, Written
from submissions.answers.gathered import OpenStack, Places, StackFiles, stack_places, stack_problems
from submissions.answers.mask_formats import ReadMask, Shape3, open_source, read_mask, write_mask
from submissions.answers.packing import PackedFiles, Packer
from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images
from submissions.host.patterns import fill
from submissions.host.problems import Problem
from submissions.host.truth import Truth, completed
from submissions.images.opening import ImageReader
from submissions.table.rows import answer_shape, assumed_shape, sample_rows
from submissions.table.sample_check import check_sample
from submissions.table.scoring import Segmentation
from submissions.table.submission_table import Row, answer_row, write_submission

NO_PLACES: Places = {}


@dataclass(frozen=True)
class MaskFile:
    """One file of an answer: its name, the slice of the image it holds (None: all), and its class (None: all).

    place: which slice of a file of `of` slices the image is, where files gather stacks; None: the image is all of it.
    """

    name: str
    z: int | None
    class_name: str | None
    place: int | None = None
    of: int = 1

    def shape(self, image: Shape3) -> Shape3:
        """(Z, H, W) of the file, of an image of such a shape."""
        return (self.of if self.place is not None else 1 if self.z is not None else image[0]), *image[1:]


class FileAnswer(Answer):
    """A zip or folder of mask files."""

    @property
    def ending(self) -> str:
        """'.zip', or '' of a folder."""
        return ".zip" if self.form.files.pack == "zip" else ""

    @property
    def gathers(self) -> bool:
        """Whether images are slices, and a file holds a stack of them."""
        return self.form.kind == "volumes" and self.competition.images.kind != "volumes"

    def places(self, data: Path) -> Places:
        """Place of each slice in the file of its stack; nothing where files hold whole images."""
        return stack_places(self.competition, data) if self.gathers else {}

    @property
    def values(self) -> dict[str, int]:
        """Pixel value of each class that the files hold."""
        files = self.form.files
        if files.values is not None:
            return files.values
        return {name: 255 if files.by_class else k for k, name in enumerate(self.competition.foreground, start=1)}

    def files(self, fields: Fields, shape: Shape3, places: Places = NO_PLACES) -> list[MaskFile]:
        """The files of an image of this (Z, H, W), or of its stack, where it has a place.

        Raises ValueError where the pattern names what the image has not.
        """
        place, of = places.get(str(fields["image_id"]), (None, 1))
        _, height, width = shape
        given = {**fields, "id": fields["image_id"], "height": height, "width": width}
        slices: Sequence[int | None] = [None]
        if self.form.kind == "images" and self.competition.images.kind == "volumes":
            slices = range(shape[0])
        classes: list[str | None] = [*self.values] if self.form.files.by_class else [None]
        found = []
        for z in slices:
            for name in classes:
                own = given | ({} if z is None else {"z": z}) | ({} if name is None else {"class": name})
                path = fill(self.form.files.path, own, "submission.files.path")
                found.append(MaskFile(path, z, name, place, of))
        return found

    def labels(self, said: Segmentation, file: MaskFile) -> Iterator[np.ndarray]:
        """The pixels of a file, slice by slice, integers (H, W). ValueError where objects are wanted and none told."""
        depth = said.planes.shape[1]
        for z in range(depth) if file.z is None else [file.z]:
            if self.form.files.objects:
                if said.instances is None:
                    raise ValueError(f"{file.name}: the host wants objects; the decision must split the mask")
                yield said.instances[z]
                continue
            label = np.zeros(said.planes.shape[2:], np.int32)
            for name, value in self.values.items():
                if file.class_name in (None, name):
                    label[said.planes[self.competition.classes.index(name), z]] = value
            yield label

    def begin(self, out: Path, images: ListedImages) -> FileWriter:
        """Start writing; each image's files are packed at once."""
        return FileWriter(self, out, images)

    def open(self, path: Path, images: ListedImages, *, others: Others = "error") -> FileReader:
        """Read the names; a file is unpacked when its image is asked for."""
        return FileReader(self, path, images, others)

    def through(self, fields: Fields, said: Segmentation) -> Segmentation:
        """The mask written into its files and read again."""
        shape = (said.planes.shape[1], said.planes.shape[2], said.planes.shape[3])
        read = []
        with tempfile.TemporaryDirectory() as folder:
            for number, file in enumerate(self.files(fields, shape)):
                path = Path(folder) / f"{number}{self.form.files.ending}"
                write_mask(path, self.labels(said, file), file.shape(shape), self.form.files.dtype)
                read.append((file, read_mask(path)))
            truth = self.decoded(read, shape)
        return Segmentation(truth.planes, truth.instances, said.scores)

    def decoded(self, files: Sequence[tuple[MaskFile, ReadMask]], shape: Shape3, *, step: int = 1) -> Truth:
        """What files say of an image of this (Z, H, W): planes, objects, and what a solution leaves unscored.

        Raises ValueError for a file of another size, or a value that is no class's.
        """
        thin = (shape[0], -(-shape[1] // step), -(-shape[2] // step))
        planes = np.zeros((len(self.competition.classes), *thin), bool)
        valid, label = np.ones(thin, bool), np.zeros(thin, np.int32)
        for file, mask in files:
            if mask.shape != file.shape(shape):
                wanted = file.shape(shape)
                raise ValueError(f"{file.name}: {mask.shape} (slices, height, width), expected {wanted}")
            for number, pixels in enumerate(mask.slices()):
                z = number if file.z is None else file.z
                pixels = pixels[::step, ::step]
                if self.form.files.objects:
                    label[z], planes[self.competition.scored_classes[0], z] = pixels, pixels > 0
                else:
                    self._put(file, pixels, planes[:, z], valid[z])
        objects = label if self.form.files.objects else None
        return completed(self.competition, planes, valid=None if valid.all() else valid, instances=objects)

    def _put(self, file: MaskFile, pixels: np.ndarray, planes: np.ndarray, valid: np.ndarray) -> None:
        self.check_values(file, pixels, also=self.void_values)
        for name, value in self.values.items():
            if file.class_name in (None, name):
                planes[self.competition.classes.index(name)] |= pixels == value
        for value in self.void_values:
            valid &= pixels != value

    def check_values(self, file: MaskFile, pixels: np.ndarray, *, also: Collection[int] = ()) -> None:
        """Raises ValueError for a pixel value that stands for nothing."""
        if self.form.files.objects:
            return
        known = {0, *(value for name, value in self.values.items() if file.class_name in (None, name))}
        unknown = sorted(set(np.unique(pixels).tolist()) - known - set(also))
        if unknown:
            more = ", ..." if len(unknown) > 8 else ""
            raise ValueError(
                f"{file.name}: pixel values {str(unknown[:8])[1:-1]}{more}, expected only {str(sorted(known))[1:-1]}"
            )

    def values_of(self, file: MaskFile, class_index: int) -> list[int]:
        """Pixel values of a class in a file, none where it holds others; [0] stands for all that is not 0: objects."""
        if self.form.files.objects:
            return [0]
        name = self.competition.classes[class_index]
        return [self.values[name]] if name in self.values and file.class_name in (None, name) else []

    @cached_property
    def void_values(self) -> set[int]:
        """Values by which a solution, like the training masks, says what is not scored."""
        if self.form.files.objects:
            return set()
        marked = {value for value, names in (self.competition.masks.numbers or {}).items() if names == "void"}
        return marked - set(self.values.values())

    def problems(self, data: Path) -> list[Problem]:
        """Images or stacks with one file, a stack with several, a pattern that cannot be filled, stacks that make no
        volume, and what the sample says of a table beside."""
        found = check_sample(self.competition, data) if self.form.has_table else []
        listing, _ = list_images(self.competition, data, "test")
        images = ListedImages(self.competition, data, listing) if len(listing) else None
        if images is None:
            return found
        what, where = "a stack" if self.gathers else "an image", "submission.files.path"
        owner: dict[str, str] = {}
        names: dict[str, list[str]] = {}
        shapes = {image_id: assumed_shape(images, image_id, {}) for image_id in images.ids}
        for image_id in images.ids:
            row = images.row(image_id)
            try:
                files = [file.name for file in self.files(row, shapes[image_id])]
            except ValueError as error:
                return [*found, Problem(where, str(error), "one name per file", "name fields that exist")]
            of = str(row["stack"]) if self.gathers else image_id
            for name in files:
                if owner.setdefault(name, of) != of:
                    said = f"{name!r} is the file of {owner[name]} and of {of}"
                    return [*found, Problem(where, said, f"a file {what}", "name the fields that tell them apart")]
            if names.setdefault(of, files) != files:
                said = f"stack {of} has the files {names[of][0]!r} and {files[0]!r}"
                return [*found, Problem(where, said, "one file per stack", "name what all of its slices have: {stack}")]
        return found + (stack_problems(self.competition, data, shapes) if self.gathers else [])


class FileWriter(Writer):
    """Packs an image's files as soon as it is decided."""

    def __init__(self, answer: FileAnswer, out: Path, images: ListedImages) -> None:
        self.answer, self.images = answer, images
        self.packer = Packer(out, zipped=answer.form.files.pack == "zip")
        self.named: list[str] = []
        self.rows: list[Row] = []
        self.places = answer.places(images.data)
        self.stacks = StackFiles(out) if answer.gathers else None

    def add(self, fields: Fields, said: Segmentation) -> None:
        """The files of one image, with the affine and spacing of its own file; of a stack once all slices are there."""
        image_id = str(fields["image_id"])
        if self.stacks is not None:
            self._gather(self.stacks, fields, said)
            self.named.append(image_id)
            return
        source = self._source(image_id)
        try:
            self._pack(fields, said, source)
        finally:
            if source is not None:
                source.close()
        self.named.append(image_id)

    def _source(self, image_id: str) -> ImageReader | None:
        try:
            return open_source(self.images, image_id)
        except (ValueError, OSError):
            return None

    def _pack(self, fields: Fields, said: Segmentation, source: object) -> None:
        _, depth, height, width = said.planes.shape
        for file in self.answer.files(fields, (depth, height, width)):
            shape = file.shape((depth, height, width))
            self._write(fields, file, shape, lambda file=file: self.answer.labels(said, file), source)  # type: ignore[misc]

    def _gather(self, stacks: StackFiles, fields: Fields, said: Segmentation) -> None:
        """Keep the slice; the files of a stack that is whole are packed."""
        _, _, height, width = said.planes.shape
        for file in self.answer.files(fields, (1, height, width), self.places):
            assert file.place is not None
            if stacks.put(file.name, file.place, next(self.answer.labels(said, file))) == file.of:
                shape = (file.of, height, width)
                self._write(fields, file, shape, lambda file=file: stacks.slices(file.name, file.of), None)  # type: ignore[misc]

    def _write(
        self, fields: Fields, file: MaskFile, shape: Shape3, labels: Callable[[], Iterator[np.ndarray]], source: object
    ) -> None:
        form = self.answer.form
        size = int(np.prod(shape)) * np.dtype(form.files.dtype).itemsize + 4096
        self.packer.add(
            file.name, lambda path: write_mask(path, labels(), shape, form.files.dtype, source=source), size=size
        )
        if form.files.table is not None:
            own = {"z": file.z, "class": file.class_name, "height": shape[1], "width": shape[2]}
            self.rows.append(answer_row(form, {**fields, "id": fields["image_id"], **own}, file.name))

    def add_empty(self, image_id: str) -> None:
        """Files without an object, of the size that the image has as far as it is known."""
        competition = self.images.competition
        shape = assumed_shape(self.images, image_id, sample_rows(competition, self.images.data))
        if self.stacks is not None:
            (first, *_) = self.answer.files(self.images.row(image_id), shape, self.places)
            shape = (1, *(self.stacks.size(first.name) or shape[1:]))
        planes = np.broadcast_to(np.False_, (len(competition.classes), *shape))
        empty = Segmentation(planes, np.broadcast_to(np.int32(0), shape), [])
        self.add(self.images.row(image_id), empty)

    def finish(self) -> Written:
        """Add the table where there is one, and put the answer in its place."""
        if self.stacks is not None:
            self.stacks.remove()
        count, table = len(self.packer.names), self.answer.form.files.table
        if table is not None:
            self.packer.add(table, lambda path: self._write_table(path), size=100 * len(self.rows))
        self.packer.finish()
        return Written(self.packer.out, count, "files", self.named)

    def _write_table(self, path: Path) -> None:
        write_submission(path, self.answer.competition, self.images.data, self.rows)

    def __exit__(self, *error: object) -> None:
        if self.stacks is not None:
            self.stacks.remove()
        self.packer.__exit__(*error)


class FileReader(Reader):
    """The files of an answer or of a solution, by the image they belong to."""

    def __init__(self, answer: FileAnswer, path: Path, images: ListedImages, others: Others) -> None:
        self.answer, self.images, self.packed = answer, images, PackedFiles(path)
        places = answer.places(images.data)
        self.expected = {name: answer.files(images.row(name), self.shape(name), places) for name in images.ids}
        self._stack = OpenStack(self.packed)
        known = {file.name for files in self.expected.values() for file in files} | {answer.form.files.table}
        self.present = set(self.packed.names)
        unknown = sorted(self.present - known)
        if unknown and others == "error":
            raise ValueError(f"{path}: {len(unknown)} file(s) of no test image: {unknown[:3]}")

    def shape(self, image_id: str) -> Shape3:
        """(Z, H, W) of the image's files."""
        return answer_shape(self.images, image_id)

    @property
    def image_ids(self) -> list[str]:
        """Images of which there is a file."""
        return [name for name, files in self.expected.items() if any(one.name in self.present for one in files)]

    def read(self, image_id: str, *, step: int = 1) -> Segmentation:
        """What the image's files say."""
        truth = self._truth(image_id, step)
        return Segmentation(truth.planes, truth.instances)

    def truth(self, image_id: str) -> Truth:
        """The same, with what is not scored, and the spacing that the files have."""
        return self._truth(image_id, 1)

    def _truth(self, image_id: str, step: int) -> Truth:
        found = [file for file in self.expected[image_id] if file.name in self.present]
        with ExitStack() as unpacked:
            masks = [
                self._stack.slice(file.name, file.place) if file.place is not None else
                read_mask(unpacked.enter_context(self.packed.file(file.name)))
                for file in found
            ]  # fmt: skip
            truth = self.answer.decoded(list(zip(found, masks, strict=True)), self.shape(image_id), step=step)
        spacing = next((mask.spacing for mask in masks if mask.spacing is not None), None)
        return replace(truth, spacing=spacing)

    def lacking(self, solution: Reader) -> list[str]:
        """Files of the solution that are not here."""
        assert isinstance(solution, FileReader)
        return sorted(name for name in solution.present - self.present if name != self.answer.form.files.table)
