"""Reads the host's masks, whether given as runs, images or polygons, into one form (`Truth`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from submissions.host.competition import Competition
from submissions.host.contract.answer_form import placed
from submissions.host.listed_images import open_row, row_paths
from submissions.host.listing import read_table
from submissions.host.mask_files import filled, open_path
from submissions.host.mask_images import Extent, object_classes, read_mask_images, read_pixels
from submissions.host.patterns import alternatives
from submissions.host.points import VolumePoints, document_points, draw_points, point_table
from submissions.host.polygons import Documents, draw, lie_elsewhere
from submissions.host.text_tables import lacking_columns
from submissions.host.truth import VOID, Truth, classes_shown, completed, truth_of_objects
from submissions.images.oriented import OrientedReader
from submissions.images.readers import ImageReader, file_under, valid_pixels
from submissions.metrics.object_f1 import Outlines
from submissions.rle.codec import POLYGONS, Dialect, decode, decode_instances, read_outlines

PART = 1 << 26  # voxels of a volume whose truth is read at once, where it can be read in parts

__all__ = ["VOID", "MaskReader", "Truth", "classes_shown", "shared_reader"]


def shared_reader(competition: Competition, data: Path) -> MaskReader:
    """The reader of these masks in this process: the host's table is read once, and again if the file changed."""
    masks = competition.masks
    given = (masks.file or "", masks.table.file if masks.table else "")
    files = [data / name for pattern in given for name in alternatives(pattern) if name]
    states = [path.stat() for path in files if path.is_file()]
    state = tuple((found.st_mtime_ns, found.st_size) for found in states)
    return _kept_reader(competition.model_dump_json(), data.resolve(), state)


@lru_cache(maxsize=2)
def _kept_reader(contract: str, data: Path, state: tuple[tuple[int, int], ...]) -> MaskReader:
    return MaskReader(Competition.model_validate_json(contract), data)


class MaskReader:
    """Reads the truth of one image after another; the host's table is opened once."""

    def __init__(self, competition: Competition, data: Path) -> None:
        self.competition = competition
        self.data = data

    @cached_property
    def runs(self) -> dict[str, list[tuple[str, str | None]]]:
        """Runs by image id: (text, class name or None) a row of the host's table."""
        masks = self.competition.masks
        assert masks.table is not None
        frame = read_table(self.data, masks.table)
        for name in [masks.column, *([masks.class_column] if masks.class_column else [])]:
            if name not in frame:
                raise ValueError(f"{masks.table.file}: {lacking_columns([name], frame)}")
        classes = frame[masks.class_column] if masks.class_column else [None] * len(frame)
        found: dict[str, list[tuple[str, str | None]]] = {}
        nothing = {"", masks.dialect.empty} if masks.kind == "rle" else set()
        for image_id, text, name in zip(frame["image_id"], frame[masks.column], classes, strict=True):
            of_none = name == "" and text.strip() in nothing  # the row of an image without objects
            found.setdefault(image_id, []).append((text, None if of_none else name))
        return found

    @cached_property
    def objects(self) -> dict[str, dict[str, str]] | None:
        """Of mask files whose objects a table lists, its cells of classes by image id and value or file's name."""
        listed = self.competition.masks.kind == "images" and self.competition.masks.table is not None
        return object_classes(self.competition, self.data) if listed else None

    @cached_property
    def documents(self) -> Documents:
        """The host's documents of polygons."""
        assert self.competition.masks.file is not None
        return Documents(self.competition, self.data)

    @cached_property
    def places(self) -> dict[str, VolumePoints]:
        """Points of the host's table by volume."""
        return point_table(self.competition, self.data)

    def read(self, row: Mapping[str, Any], shape: tuple[int, int, int], image: ImageReader | None = None) -> Truth:
        """Truth of the image in `row` (of `list_images`) whose shape is (Z, H, W).

        `image`: its reader where it is open; asked for what holds no data, it need not read the file again.
        Raises ValueError / FileNotFoundError that names the image, what was found and what was expected.
        """
        return self._read(row, Extent(shape, range(shape[0]), self._placed_file(row, image)), image)

    def parts(
        self, row: Mapping[str, Any], shape: tuple[int, int, int], image: ImageReader | None = None
    ) -> Iterator[Truth]:
        """The truth of an image, of a volume some slices at a time so that memory does not grow with its depth.

        Objects with numbers are read at once, and masks whose values are checked over all of them. Raises as `read`.
        """
        masks, whole = self.competition.masks, shape[0]
        known = masks.kind == "points" or bool(masks.channels)
        known |= masks.values is not None or masks.threshold is not None or masks.table is not None
        divides = masks.kind in ("images", "points") and known and not masks.instances
        step = max(1, PART // (shape[1] * shape[2])) if divides else whole
        file = self._placed_file(row, image)
        for first in range(0, whole, step):
            yield self._read(row, Extent(shape, range(first, min(first + step, whole)), file), image)

    def _placed_file(self, row: Mapping[str, Any], image: ImageReader | None) -> OrientedReader | None:
        """The image's file, its header alone, where it says where in a patient its voxels lie, and masks are files."""
        if self.competition.images.kind != "volumes" or self.competition.masks.kind != "images":
            return None
        if image is None and not all(path.exists() for path in row_paths(self.data, row)):
            return None
        file = file_under(open_row(self.competition, self.data, row) if image is None else image)
        return file if isinstance(file, OrientedReader) else None

    def _read(self, row: Mapping[str, Any], extent: Extent, image: ImageReader | None) -> Truth:
        masks, shape = self.competition.masks, extent.shape
        if masks.kind == "images":
            cells = None if self.objects is None else self.objects.get(str(row["image_id"]), {})
            truth = read_mask_images(self.competition, self.data, row, extent, cells=cells)
        elif masks.kind == "rle":
            truth = self._from_runs(row, shape)
        elif masks.kind == "points":
            truth = self._from_points(row, extent)
        else:
            truth = self._from_polygons(row, shape) if masks.kind == "polygons" else self._from_labels(row, shape)
        truth = self._with_data(truth, row, extent.slices, image)
        if masks.valid is None:
            return truth
        file = filled(masks.valid, row, "masks.valid")
        counts = (
            read_pixels(self.competition, open_path(self.competition, self.data, masks.valid, file), row, extent) > 0
        )
        return replace(truth, valid=counts if truth.valid is None else truth.valid & counts)

    def _with_data(self, truth: Truth, row: Mapping[str, Any], slices: range, image: ImageReader | None) -> Truth:
        """The truth with nothing where the image's file says that it has no data; not opened where that is known.

        row: with `void`, the number of pixels that do not count, where it is one of the inventory.
        """
        whole = row.get("void") == 0
        if image is None and (whole or not all(path.exists() for path in row_paths(self.data, row))):
            return truth
        reader = image or open_row(self.competition, self.data, row)
        try:
            if not getattr(reader, "void", False):
                return truth
            known = [valid_pixels(reader, z) for z in slices]
        finally:
            if image is None:
                reader.close()
        if all(one is None or one.all() for one in known):
            return truth
        full = np.ones(truth.planes.shape[2:], bool)
        valid = np.stack([full if one is None else one for one in known])
        counted = valid if truth.valid is None else truth.valid & valid
        return replace(truth, planes=truth.planes & valid, valid=counted)

    def listed(self, image_id: str) -> bool:
        """Whether the host's masks mention the image at all."""
        kind = self.competition.masks.kind
        if kind == "rle":
            return image_id in self.runs
        return kind != "polygons" or self.documents.listed(image_id)

    def _plane_index(self, name: str, where: str) -> int:
        classes = self.competition.classes
        if name not in classes:
            raise ValueError(f"{where}: class {name!r}, expected one of {classes}")
        return classes.index(name)

    def _from_runs(self, row: Mapping[str, Any], shape: tuple[int, int, int]) -> Truth:
        masks, image_id = self.competition.masks, str(row["image_id"])
        rows = self.runs.get(image_id)
        if rows is None and masks.dialect.empty != "missing":
            raise ValueError(f"{image_id}: no row in {masks.table.file if masks.table else ''}, expected at least one")
        depth, height, width = shape
        dialect = placed(masks.dialect, row)
        planes = np.zeros((len(self.competition.classes), depth, height, width), bool)
        where = f"{masks.table.file if masks.table else ''}: id {image_id}"
        if masks.instances:
            return self._objects_of_runs(rows or [], shape, dialect, where)
        for text, name in rows or []:
            index = self._plane_index(name, where) if name is not None else 0
            planes[index, 0] |= decode(text, (height, width), dialect, where=where)
        return completed(self.competition, planes)

    def _objects_of_runs(
        self, rows: Sequence[tuple[str, str | None]], shape: tuple[int, int, int], dialect: Dialect, where: str
    ) -> Truth:
        """One row per object; of one class the later lies on top."""
        of_class: dict[str, list[tuple[str, str]]] = {}
        for number, (text, name) in enumerate(rows, start=1):
            index = 0 if name is None else self._plane_index(name, where)
            of_class.setdefault(self.competition.classes[index], []).append((text, f"{where}, mask {number}"))
        objects = {
            name: decode_instances([text for text, _ in found], shape[1:], dialect,
                                   where=[place for _, place in found], overlap="last")[None]
            for name, found in of_class.items()
        }  # fmt: skip
        truth = truth_of_objects(self.competition, objects, shape)
        if dialect.kind not in POLYGONS or truth.instances is None:
            return truth
        return replace(truth, outlines=Outlines(read_outlines([text for text, _ in rows], shape[1:], dialect)))

    def _from_points(self, row: Mapping[str, Any], extent: Extent) -> Truth:
        volume, table = str(row["stack"]), self.competition.masks.table
        if table is None:
            own = VolumePoints(list(document_points(self.competition, self.data, row)))
        else:
            own = self.places.get(volume, VolumePoints())
        first = int(row["z"]) if self.competition.images.stack is not None else extent.slices.start
        where = table.file if table else volume
        drawn = draw_points(self.competition, own.points, extent.size, first=first, where=where)
        return replace(drawn, spacing=own.spacing)

    def _from_labels(self, row: Mapping[str, Any], shape: tuple[int, int, int]) -> Truth:
        """Every pixel has the image's class (several rows of an image: each has its own)."""
        masks = self.competition.masks
        file = masks.table.file if masks.table else ""
        labels = [text for text, _ in self.runs.get(str(row["image_id"]), [])]
        if not labels:
            raise ValueError(f"{row['image_id']}: no row in {file}, expected one with its class")
        planes = np.zeros((len(self.competition.classes), *shape), bool)
        for name in labels:
            planes[self._plane_index(str(name), f"{file}: id {row['image_id']}")] = True
        return Truth(planes)

    def _from_polygons(self, row: Mapping[str, Any], shape: tuple[int, int, int]) -> Truth:
        masks = self.competition.masks
        planes = np.zeros((len(self.competition.classes), *shape), bool)
        objects: dict[str, np.ndarray] = {}
        valid = np.ones(shape, bool)
        where = f"{masks.file}: id {row['image_id']}"
        meaning = masks.polygon_classes or {}
        outlines = [one for one in self.documents.outlines(row, shape[1:]) if meaning.get(one.name) != []]
        if elsewhere := lie_elsewhere(outlines, shape[1:]):
            raise ValueError(
                f"{where}: all outlines lie outside of the image of {shape[1]} x {shape[2]} (height, width), "
                f"{elsewhere}: are they of another image, or places on a map? Expected pixels, or places in the "
                "projection that a GeoTIFF's header has; convert them first"
            )
        drawn = [(one, draw(one, shape[1:], where)) for one in outlines]
        if self.competition.exclusive:  # a small thing on a large one is seen, so it is drawn later
            drawn.sort(key=lambda item: -int(item[1].sum()))
        for number, (outline, inside) in enumerate(drawn, start=1):
            mapped = meaning.get(outline.name, outline.name)
            if mapped == "void" or (outline.crowd and masks.instances):  # of a crowd nobody says where one ends
                valid[0] &= ~inside
                continue
            for chosen in [mapped] if isinstance(mapped, str) else mapped:
                if self.competition.exclusive:
                    planes[:, 0, inside] = False
                planes[self._plane_index(chosen, where), 0] |= inside
                if masks.instances:
                    objects.setdefault(chosen, np.zeros(shape, np.int32))[0][inside] = number
        counted = None if valid.all() else valid
        if masks.instances:
            return truth_of_objects(self.competition, objects, shape, valid=counted)
        return completed(self.competition, planes, valid=counted)
