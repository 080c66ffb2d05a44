"""Opening the host's masks: runs, images with a value map, polygons; one form comes out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from submissions.host.competition import Competition, fill
from submissions.host.listing import read_table
from submissions.images.opening import open_mask, resolve_inside
from submissions.rle.codec import decode, decode_instances

VOID = 255
Outline = tuple[str, list[list[np.ndarray]]]


@dataclass(frozen=True)
class Truth:
    """What the host says is in one image.

    planes: bool (K, Z, H, W), a plane a class in the contract's order.
    valid: bool (Z, H, W), False where the host does not score (void); None: everything counts.
    instances: int32 (Z, H, W), 0 background, 1..n; None where the contract has no instances.
    spacing: (z, y, x) in mm of a volume whose mask's file says so.
    """

    planes: np.ndarray
    valid: np.ndarray | None = None
    instances: np.ndarray | None = None
    spacing: tuple[float, float, float] | None = None

    @cached_property
    def label(self) -> np.ndarray:
        """uint8 (Z, H, W): index of the class, 255 where no class is set or nothing is scored."""
        label = np.full(self.planes.shape[1:], VOID, np.uint8)
        for index, plane in enumerate(self.planes):
            label[plane] = index
        if self.valid is not None:
            label[~self.valid] = VOID
        return label

    def window(self, rows: slice, cols: slice) -> Truth:
        """The truth of these rows and columns alone; instances keep their numbers."""
        valid, instances = (
            None if part is None else np.ascontiguousarray(part[:, rows, cols]) for part in (self.valid, self.instances)
        )
        return Truth(np.ascontiguousarray(self.planes[:, :, rows, cols]), valid, instances, self.spacing)


def classes_shown(truth: Truth) -> np.ndarray:
    """bool (K,): which classes the image shows anywhere that counts."""
    planes = truth.planes if truth.valid is None else truth.planes & truth.valid
    return np.asarray(planes.any(axis=(1, 2, 3)))


def shared_reader(competition: Competition, data: Path) -> MaskReader:
    """This process' reader of these masks: the host's table is read once, and again where the file has changed."""
    masks = competition.masks
    files = [data / name for name in (masks.file, masks.table.file if masks.table else None) if name]
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
                raise ValueError(f"{masks.table.file}: no column {name!r}; it has {list(frame.columns)}")
        classes = frame[masks.class_column] if masks.class_column else [None] * len(frame)
        found: dict[str, list[tuple[str, str | None]]] = {}
        for image_id, text, name in zip(frame["image_id"], frame[masks.column], classes, strict=True):
            found.setdefault(image_id, []).append((text, name))
        return found

    @cached_property
    def polygons(self) -> dict[str, list[Outline]]:
        """Outlines by image id: (class name, parts; a part is rings as float (n, 2) of x, y)."""
        file = self.competition.masks.file
        assert file is not None
        path = resolve_inside(self.data, file)
        if path.suffix == ".jsonl":
            return _json_lines_polygons(path)
        return _coco_polygons(path)

    def read(self, row: Mapping[str, Any], shape: tuple[int, int, int]) -> Truth:
        """Truth of the image in `row` (of `list_images`) whose shape is (Z, H, W).

        Raises ValueError / FileNotFoundError that names the image, what was found and what was expected.
        """
        kind = self.competition.masks.kind
        read = {
            "rle": self._from_runs, "images": self._from_images, "polygons": self._from_polygons,
            "none": self._from_labels,
        }[kind]  # fmt: skip
        truth = read(row, shape)
        if self.competition.masks.valid is None:
            return truth
        file = fill(self.competition.masks.valid, {**row, "id": row["image_id"]}, "masks.valid")
        counts = self._pixels(file, row, shape)[0] > 0
        return replace(truth, valid=counts if truth.valid is None else truth.valid & counts)

    def listed(self, image_id: str) -> bool:
        """Whether the host's masks mention the image at all."""
        kind = self.competition.masks.kind
        if kind == "rle":
            return image_id in self.runs
        return kind != "polygons" or image_id in self.polygons

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
        planes = np.zeros((len(self.competition.classes), depth, height, width), bool)
        where = f"{masks.table.file if masks.table else ''}: id {image_id}"
        if masks.instances:
            texts = [text for text, _ in rows or []]
            names = [f"{where}, mask {number}" for number in range(1, len(texts) + 1)]
            label = decode_instances(texts, (height, width), masks.dialect, where=names, overlap="last")
            planes[0, 0] = label > 0
            return Truth(planes, instances=label[None])
        for text, name in rows or []:
            index = self._plane_index(name, where) if name is not None else 0
            planes[index, 0] |= decode(text, (height, width), masks.dialect, where=where)
        return self._complete(planes)

    def _from_images(self, row: Mapping[str, Any], shape: tuple[int, int, int]) -> Truth:
        pattern = self.competition.masks.path
        assert pattern is not None
        classes = self.competition.classes
        planes = np.zeros((len(classes), *shape), bool)
        if "{class}" in pattern:
            for index, name in enumerate(classes):
                file = fill(pattern, {**row, "id": row["image_id"], "class": name}, "masks.path")
                pixels, spacing = self._pixels(file, row, shape)
                planes[index] = pixels > 0
            return replace(self._complete(planes), spacing=spacing)
        file = fill(pattern, {**row, "id": row["image_id"]}, "masks.path")
        pixels, spacing = self._pixels(file, row, shape)
        if self.competition.masks.instances:
            return Truth((pixels > 0)[None], instances=pixels.astype(np.int32), spacing=spacing)
        values = self.competition.masks.values
        if values is None:
            planes[-1] = pixels >= (self.competition.masks.threshold or 1)
            return replace(self._complete(planes), spacing=spacing)
        found = np.unique(pixels)
        unknown = sorted(set(found.tolist()) - set(values))
        if unknown:
            raise ValueError(f"{file}: found values {unknown}, expected only {sorted(values)}; mend masks.values")
        valid = np.ones(shape, bool)
        for value in found.tolist():
            names = values[value]
            for name in [names] if isinstance(names, str) else names:
                if name == "void":
                    valid &= pixels != value
                else:
                    planes[classes.index(name)] |= pixels == value
        truth = self._complete(planes, valid if "void" in values.values() else None)
        return replace(truth, spacing=spacing)

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

    def _pixels(
        self, file: str, row: Mapping[str, Any], shape: tuple[int, int, int]
    ) -> tuple[np.ndarray, tuple[float, float, float] | None]:
        """Values (Z, H, W) of a mask file, and the spacing where its format has one."""
        path = resolve_inside(self.data, file)
        source = open_mask(path, page=int(row["page"]) if self.competition.images.kind == "pages" else None)
        try:
            pixels = np.stack([source.read(z)[..., 0] for z in range(source.shape[0])])
            spacing = getattr(source, "spacing", None)
        finally:
            source.close()
        if pixels.shape != shape:
            raise ValueError(
                f"{file}: mask of size {pixels.shape[1:]} (height, width; depth {pixels.shape[0]}), expected "
                f"{shape[1:]} (depth {shape[0]}) as the image {row['path']}; replace the one that is wrong"
            )
        return pixels, spacing

    def _from_polygons(self, row: Mapping[str, Any], shape: tuple[int, int, int]) -> Truth:
        masks, image_id = self.competition.masks, str(row["image_id"])
        planes = np.zeros((len(self.competition.classes), *shape), bool)
        instances = np.zeros(shape, np.int32)
        valid = np.ones(shape, bool)
        where = f"{masks.file}: id {image_id}"
        drawn = [(name, _fill_parts(parts, shape[1:], where)) for name, parts in self.polygons.get(image_id, [])]
        if self.competition.exclusive:  # a small thing on a large one is seen, so it is drawn later
            drawn.sort(key=lambda item: -int(item[1].sum()))
        for number, (name, inside) in enumerate(drawn, start=1):
            mapped = (masks.polygon_classes or {}).get(name, name)
            if mapped == "void":
                valid[0] &= ~inside
                continue
            for chosen in [mapped] if isinstance(mapped, str) else mapped:
                if self.competition.exclusive:
                    planes[:, 0, inside] = False
                planes[self._plane_index(chosen, where), 0] |= inside
                instances[0][inside] = number
        return self._complete(planes, None if valid.all() else valid, instances if masks.instances else None)

    def _complete(
        self, planes: np.ndarray, valid: np.ndarray | None = None, instances: np.ndarray | None = None
    ) -> Truth:
        classes = self.competition.classes
        if self.competition.exclusive and "background" in classes:
            index = classes.index("background")
            others = np.delete(planes, index, axis=0).any(axis=0)
            planes[index] = ~others if valid is None else ~others & valid
        return Truth(planes, valid, instances)


def _fill_parts(parts: list[list[np.ndarray]], shape: tuple[int, int], where: str) -> np.ndarray:
    """bool (H, W) of the pixels in any of the parts."""
    drawn = np.zeros(shape, bool)
    for rings in parts:
        drawn |= _fill_rings(rings, shape, where)
    return drawn


def _fill_rings(rings: list[np.ndarray], shape: tuple[int, int], where: str) -> np.ndarray:
    """bool (H, W) of the pixels whose centres lie in the rings (even-odd), the outline included."""
    drawn = np.zeros(shape, np.uint8)
    shift = 4  # cv2 takes coordinates as fixed point: sixteenths of a pixel
    points = []
    for ring in rings:
        if len(ring) < 3 or not np.isfinite(ring).all():
            raise ValueError(f"{where}: a polygon of {len(ring)} points, expected at least 3 finite ones")
        points.append(np.round(ring * (1 << shift)).astype(np.int32))
    cv2.fillPoly(drawn, points, 1, shift=shift)
    return drawn.astype(bool)


def _json_lines_polygons(path: Path) -> dict[str, list[Outline]]:
    """A line an image; an annotation's coordinates are the rings of one part, holes after their outline."""
    found: dict[str, list[Outline]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            found[str(entry["id"])] = [
                (str(item["type"]), [[np.asarray(ring, float) for ring in item["coordinates"]]])
                for item in entry["annotations"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path.name} line {number}: {error}; expected id and annotations") from error
    return found


def _coco_polygons(path: Path) -> dict[str, list[Outline]]:
    """COCO's objects: each polygon of a segmentation is a part of its own, as pycocotools joins them."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        names = {item["id"]: str(item["name"]) for item in document["categories"]}
        files = {item["id"]: Path(item["file_name"]).with_suffix("").as_posix() for item in document["images"]}
        found: dict[str, list[Outline]] = {name: [] for name in files.values()}
        for item in document["annotations"]:
            if isinstance(item["segmentation"], dict):
                raise ValueError(f"annotation {item.get('id')} holds runs (a crowd), and only polygons are read")
            parts = [[np.asarray(ring, float).reshape(-1, 2)] for ring in item["segmentation"]]
            found[files[item["image_id"]]].append((names[item["category_id"]], parts))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name}: {error!r}; expected COCO JSON with polygons") from error
    return found
