"""The host's contract: where images, masks and ids are, how masks are written, what is scored.

One YAML file a competition under `submissions/competitions/`; independent of any experiment.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from submissions.host.answer_form import SubmissionFormat
from submissions.host.patterns import FIELD, check_apart, check_inside
from submissions.host.settings import Settings, read_yaml, validate
from submissions.images.axes import check_letters
from submissions.images.reading import Reading
from submissions.rle.codec import Dialect

Positive = Annotated[float, Field(gt=0)]
CONTRACTS = Path(__file__).parents[1] / "competitions"


class Images(Settings):
    """Where the images lie. A pattern is a path with {fields}: `train/{case}/slice_{z}.png`.

    A field stands for part of one file or folder name; `{z:d}` for digits only, `{part:*}` may be empty, `{eye:1}` is
    one character (see `submissions.host.patterns`). Ids, stack, z and masks may also name {rank} and {rank1}: the place
    of a file among those of its folder that are images, in the order of their names, counted from 0 and from 1.
    """

    kind: Literal["files", "pages", "volumes", "layers"] = Field(
        "files",
        description="files: one file per image; pages: an image is a page or slice of a file; volumes: one file per "
        "volume; layers: the files that differ in {layer} are the channels of one image; volumes may have {layer} too",
    )
    train: str = Field(description="path pattern of training images, relative to the data folder")
    test: str | None = Field(None, description="path pattern of test images; none where the host gives none")
    id: str = Field(
        "{id}", description="how the image id is made from the pattern's fields; kind pages also has {page}"
    )
    test_id: str | None = Field(None, description="the same for test images, where their ids are made differently")
    stack: str | None = Field(
        None, description="name of the stack an image is a slice of, from fields and table columns"
    )
    z: str | None = Field(
        None, description="position of the slice in its stack, a whole number, from fields and table columns"
    )
    series: str | None = Field(
        None, description="name of the series that z counts along, where several stacks are parts of one series"
    )
    pixel_size_um: Positive | str | None = Field(
        None,
        description="size of a pixel: a number, the column or field that holds it, or 'file' to read it "
        "from each image file [µm]",
    )
    pixel_size_factor: float = Field(1.0, gt=0, description="µm per unit of that column, e.g. 1000 for mm [µm]")
    only_listed: bool = Field(False, description="leave out images that no table lists, instead of reporting them")
    axes: str | None = Field(
        None,
        description=".npy, .npz, .mat, HDF5, Zarr, N5: one letter per axis, of H, W, C (channels), Z (slices), "
        "T (time); e.g. HWC",
    )
    array: str | None = Field(
        None, description=".npz, .mat, HDF5, Zarr, N5: name of the array, where a file holds several"
    )
    frame: int | None = Field(
        None, ge=0, description="read only this frame (or point of time, or slice) of each file [number, from 0]"
    )
    level: int = Field(0, ge=0, description="slides, OME-Zarr: pyramid level to read; 0 is the finest [number]")
    window: tuple[float, float] | Literal["file"] | None = Field(
        None,
        description="DICOM: window [centre, width] mapped to uint8; 'file' takes the window that each file names "
        "[stored values]",
    )

    exif: Literal["stored", "turned"] = Field(
        "stored",
        description="photos with an EXIF orientation, TIFFs with tag 274: use pixels as stored, or turned upright",
    )
    nan: Literal["refuse"] | float = Field(
        "refuse", description="float pixels that are NaN or infinite: refuse the image, or replace them by this value"
    )

    @property
    def layered(self) -> bool:
        """Whether several files are the channels of one image or volume."""
        return self.kind == "layers" or (self.kind == "volumes" and "layer" in FIELD.findall(self.train))

    @property
    def reading(self) -> Reading:
        """How pixels are read."""
        return Reading(
            axes=self.axes, array=self.array, frame=self.frame, level=self.level, window=self.window,
            turned=self.exif == "turned",
        )  # fmt: skip

    @field_validator("axes")
    @classmethod
    def _axes_are_letters(cls, axes: str | None) -> str | None:
        return None if axes is None else check_letters(axes)

    @field_validator("train", "test")
    @classmethod
    def _can_be_taken_apart(cls, pattern: str | None) -> str | None:
        return None if pattern is None else check_apart(check_inside(pattern))

    @model_validator(mode="after")
    def _stack_has_z(self) -> Images:
        if (self.stack is None) != (self.z is None):
            raise ValueError("images.stack and images.z go together: the stack of an image, and its position in it")
        return self


class Table(Settings):
    """A table of the host, with one or several rows per image."""

    file: str = Field(
        description="path relative to the data folder, or a pattern of several files whose fields become columns; a "
        "COCO .json gives its list of images"
    )
    id: str = Field("{id}", description="how the image id is made from the table's columns, e.g. '{subject}_{img}'")
    strip: str = Field("", description="ending to remove from the id, e.g. '.png'")
    separator: str | None = Field(
        None, description="column separator; default: whichever of , ; | and tab the first line uses"
    )
    columns: list[str] | None = Field(None, description="column names where the file has no header")
    rename: dict[str, str] = Field(default_factory=dict, description="column -> its new name")
    parts: dict[str, str] = Field(
        default_factory=dict, description="column -> pattern that takes it apart; its {fields} become columns"
    )
    only: dict[str, list[str]] = Field(
        default_factory=dict, description="column -> values; only rows with these values count"
    )
    both_splits: bool = Field(False, description="the table lists training and test images together")

    @field_validator("file")
    @classmethod
    def _fields_are_known(cls, file: str) -> str:
        return check_apart(check_inside(file)) if FIELD.search(file) else file

    @field_validator("parts")
    @classmethod
    def _can_be_taken_apart(cls, parts: dict[str, str]) -> dict[str, str]:
        return {column: check_apart(pattern) for column, pattern in parts.items()}


Colour = tuple[int, int, int]


class Points(Settings):
    """How points are given, and how large the ball is that stands for one."""

    coordinates: tuple[str, str, str] = Field(
        ("z", "y", "x"), description="columns, or keys of a JSON document, of the place along z, y and x"
    )
    unit: float = Field(
        1.0, gt=0, description="size of a voxel in the coordinates' unit, e.g. 10 for 10 Å [host's unit]"
    )
    radius: Positive | dict[str, Positive] = Field(
        description="radius of the ball drawn around a point, or class -> radius [voxels]"
    )
    spacing: str | None = Field(
        None, description="column of the table with the size of a volume's voxels, for metrics whose spacing is 'image'"
    )


class Masks(Settings):
    """How the host gives the true masks.

    A path is a pattern with {id} or the image's own fields. With {class} in it there is a file per class, with
    {observer} one for each of `observers`, with {object} any number of files, one per object; where objects overlap,
    later names lie on top.
    """

    kind: Literal["rle", "images", "polygons", "points", "none"] = Field(
        description="rle: runs in a table; images: mask files; polygons: "
        "outlines in documents; points: balls around places; none: only a class per image"
    )
    table: Table | None = Field(
        None,
        description="rle, points: the table of the runs, or of a row per point; images: of a row per object, where it "
        "says of which class that is; a panoptic COCO .json is one, with `id` from the columns of its images",
    )
    column: str = Field(
        "rle",
        description="rle: column of the runs; none: column of the image's class; images: column of an object's value "
        "in the mask file, or with {object} in the path of its file's name",
    )
    class_column: str | None = Field(
        None,
        description="rle, points, images: column that names the class of a row; 'category' in a panoptic COCO .json",
    )
    dialect: Dialect = Field(default_factory=Dialect, description="rle: how runs are written")
    path: str | None = Field(
        None,
        description="images: path pattern of the mask files; a file that matches is not an image; {rank:03d} is the "
        "place of the image in its folder, from 0, {rank1:03d} from 1",
    )
    missing: Literal["refuse", "empty", "skip"] = Field(
        "refuse",
        description="an image without a mask file is: a mistake (refuse); empty (empty); not labelled and left "
        "out (skip)",
    )
    surplus: bool = Field(False, description="images: allow mask files without an image; otherwise each is a problem")
    values: dict[int | str, str | list[str]] | None = Field(
        None,
        description="images: pixel value, or colour as '255,0,0' or '#ff0000' -> class name(s) or 'void'; "
        "'{species}' is the class in the image's column `species`",
    )
    channels: list[str] = Field(
        default_factory=list,
        description="images: what each channel of a mask file shows, in its order: a class, 'void', or '' for nothing "
        "of the contract; a pixel shows the class where it is not 0, with instances its values number the objects",
    )
    column_classes: dict[str, dict[str, str]] = Field(
        default_factory=dict,
        description="images: column -> its text -> class or 'void', of the column that `values` or class_column "
        "names: {species: {1: cat, 2: dog}}",
    )
    threshold: int | None = Field(
        None, gt=0, description="images: soft masks: a pixel shows the class from this value on [pixel value]"
    )
    observers: list[str] = Field(
        default_factory=list,
        description="images: values of {observer} in the path, one per observer; their masks are joined",
    )
    join: Literal["majority", "any", "all", "mean"] = Field(
        "majority",
        description="several observers: a pixel counts where more than half, any, or all of them mark it; mean: the "
        "share that marks it is learned, and where more than half do it is scored",
    )
    valid: str | None = Field(None, description="path pattern of images whose zero pixels are not scored")
    array: str | None = Field(
        None,
        description="images: name of the array in a .npz, .mat, HDF5, Zarr or N5 that holds several; in structs and "
        "cells as MATLAB writes it: GTcls.Segmentation, groundTruth{1}.Boundaries",
    )
    size: Literal["image", "any"] = Field(
        "image", description="images: size of a mask file; any: it is resized to its image, nearest pixel"
    )
    file: str | None = Field(
        None,
        description="polygons: one document for all images, several as a_{part:train|val}.json, or a path pattern with "
        "one per image; the format is recognised; points: a JSON document per volume, with {class} one per class",
    )
    points: Points | None = Field(None, description="points: which columns or keys hold the coordinates, and the ball")
    polygon_classes: dict[str, str | list[str]] | None = Field(
        None, description="polygons: the host's name -> class, 'void', or [] to leave it out"
    )
    instances: bool = Field(
        False,
        description="each row, value, colour, page, file or polygon is one object: of the only class, or of the one "
        "that {class} in the path, class_column or the polygon says",
    )

    @field_validator("path", "valid", "file")
    @classmethod
    def _can_be_filled(cls, pattern: str | None) -> str | None:
        return None if pattern is None else check_inside(pattern)

    @field_validator("values", mode="before")
    @classmethod
    def _numbers_stay_numbers(cls, values: Any) -> Any:
        """JSON knows keys of text only."""
        if not isinstance(values, dict):
            return values
        return {int(key) if isinstance(key, str) and key.isdecimal() else key: names for key, names in values.items()}

    @field_validator("column_classes", mode="before")
    @classmethod
    def _cells_are_text(cls, columns: Any) -> Any:
        """The host's tables are read as text: `1` in YAML means the cell "1"."""
        if not isinstance(columns, dict):
            return columns
        return {
            column: {str(cell): name for cell, name in cells.items()} if isinstance(cells, dict) else cells
            for column, cells in columns.items()
        }

    @model_validator(mode="after")
    def _has_its_source(self) -> Masks:
        needed = {"rle": "table", "images": "path", "polygons": "file", "points": "points", "none": "table"}[self.kind]
        if getattr(self, needed) is None:
            raise ValueError(f"masks.kind {self.kind!r} needs masks.{needed}")
        if self.kind == "points" and (self.table is None) == (self.file is None):
            raise ValueError("masks.kind 'points' needs masks.table or masks.file, one of them: where are the points?")
        if self.threshold is not None and (self.values is not None or self.instances):
            raise ValueError(
                "masks.threshold is for soft masks, one file per image: leave out masks.values and masks.instances"
            )
        if self.channels and (self.values is not None or "class" in self.path_fields or self.kind != "images"):
            raise ValueError(
                "masks.channels says which class a channel of a mask file shows: leave out masks.values and {class} in "
                "masks.path, or leave out masks.channels"
            )
        if ("observer" in self.path_fields) != bool(self.observers):
            raise ValueError("masks.observers and {observer} in masks.path go together: give both or neither")
        if self.observers and self.instances:
            raise ValueError(
                "masks.observers joins pixel masks and cannot join instances: leave out "
                "masks.instances or masks.observers"
            )
        if self.kind == "images" and self.table is not None and (self.class_column is None or self.channels):
            raise ValueError(
                "masks.table says of which class the objects of mask files are: name its columns in masks.column and "
                "masks.class_column, without masks.channels; or leave it out"
            )
        mapped = {field for names in self._mapped(self.values) for field in FIELD.findall(names)}
        mapped |= {*self.column_classes} & ({self.class_column} if self.kind == "images" and self.table else set())
        if mapped != set(self.column_classes):
            raise ValueError(
                f"masks.values names the columns {sorted(mapped)} and masks.column_classes maps those of "
                f"{sorted(self.column_classes)}; expected the same"
            )
        colours = {parse_colour(key) is not None for key in self.values or {}}
        if len(colours) > 1:
            raise ValueError("masks.values mixes numbers and colours; use only numbers or only colours")
        return self

    @property
    def path_fields(self) -> list[str]:
        """Names of the fields in the path."""
        return FIELD.findall(self.path or "")

    @property
    def colours(self) -> dict[Colour, str | list[str]] | None:
        """The value map by (red, green, blue); None where values are numbers or there are none."""
        found = {parse_colour(key): names for key, names in (self.values or {}).items()}
        return {colour: names for colour, names in found.items() if colour is not None} or None

    @property
    def numbers(self) -> dict[int, str | list[str]] | None:
        """The value map by number, None where values are colours or there are none."""
        found = {key: names for key, names in (self.values or {}).items() if isinstance(key, int)}
        return found or None

    @property
    def class_names(self) -> set[str]:
        """Class names that the value map and the polygons' map give."""
        named = {name for name in self._mapped(self.values) if not FIELD.findall(name)}
        of_columns = {name for cells in self.column_classes.values() for name in cells.values()}
        return named | of_columns | self._mapped(self.polygon_classes) | ({*self.channels} - {""})

    @staticmethod
    def _mapped(meaning: Mapping[Any, str | list[str]] | None) -> set[str]:
        return {name for names in (meaning or {}).values() for name in ([names] if isinstance(names, str) else names)}


def parse_colour(key: int | str) -> Colour | None:
    """(red, green, blue) of '255,0,0', '255 0 0' or '#ff0000'; None for a number. ValueError for other text."""
    if isinstance(key, int):
        return None
    text = key.strip()
    if re.fullmatch("#[0-9a-fA-F]{6}", text):
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:], 16)
    parts = re.split(r"[,\s]+", text.strip("()[]"))
    if len(parts) == 3 and all(part.isdecimal() and int(part) < 256 for part in parts):
        return int(parts[0]), int(parts[1]), int(parts[2])
    raise ValueError(f"masks.values: {key!r} is neither a number nor a colour; write 128, '255,0,0' or '#ff0000'")


HOST = "host"
MOST_EXCLUSIVE = 255  # classes of a label of bytes, in which 255 is void


class MetricSettings(Settings):
    """The host's metric by name, with its parameters, or the file that the host published (name: host)."""

    name: str = Field(description="a name that `submissions.metrics` knows; host: the host's own file")
    params: dict[str, Any] = Field(
        default_factory=dict, description="the metric's own parameters, e.g. {thresholds: [0.5]}"
    )
    unit: Literal["image", "stack"] = Field("image", description="what is scored as one: an image, or a whole stack")
    classes: list[str] | None = Field(None, description="classes that are scored; default: all")
    file: str | None = Field(
        None,
        description="host: a Python file with score(solution, submission, row_id_column_name), beside the contract",
    )
    proxy: str | None = Field(None, description="host: the name of the metric nearest to it; stage 06 tunes with that")
    proxy_params: dict[str, Any] = Field(default_factory=dict, description="host: parameters of the proxy")
    solution: dict[str, str] = Field(
        default_factory=dict, description="host: columns that its solution has beside the submission's, e.g. "
        "{height: '{height}'}"
    )  # fmt: skip
    seconds: float = Field(
        600.0, gt=0, description="host: time limit for one table, and for all resampled ones together [s]"
    )

    @field_validator("classes")
    @classmethod
    def _each_class_once(cls, classes: list[str] | None) -> list[str] | None:
        if classes is not None and (not classes or len(set(classes)) < len(classes)):
            raise ValueError("expected at least one class, each once, or leave it out to score all")
        return classes

    @model_validator(mode="after")
    def _host_has_its_file(self) -> MetricSettings:
        given = [name for name in ("file", "proxy", "proxy_params", "solution") if getattr(self, name)]
        if self.name != HOST and given:
            raise ValueError(f"metric.{given[0]} goes with metric.name 'host', found {self.name!r}")
        if self.name == HOST and self.file is None:
            raise ValueError("metric.name 'host' needs metric.file, the Python file that the host published")
        if self.name == HOST and self.proxy in (None, HOST):
            raise ValueError(
                "metric.name 'host' needs metric.proxy, the nearest built-in metric (dice, iou, f_beta ...): "
                "thousands of decisions are compared with it, and what is chosen is scored by the host's file"
            )
        return self

    @property
    def built_in(self) -> tuple[str, dict[str, Any]]:
        """Name and parameters of the metric of arrays: this one, or the host's file's proxy."""
        return (self.name, self.params) if self.proxy is None else (self.proxy, self.proxy_params)

    def without_file(self) -> MetricSettings:
        """The settings where only arrays are scored: the proxy in the place of the host's file."""
        name, params = self.built_in
        return MetricSettings(name=name, params=params, unit=self.unit, classes=self.classes)

    def identity(self) -> dict[str, Any]:
        """What a score depends on: of the host's file its content, not where it lies or how long it may take."""
        kept = self.model_dump(mode="json", include={"name", "params", "unit", "classes"})
        if self.file is None:
            return kept
        own = self.model_dump(mode="json", include={"proxy", "proxy_params", "solution"})
        return {**kept, **own, "file": hashlib.sha256(Path(self.file).read_bytes()).hexdigest()[:16]}


class Competition(Settings):
    """A competition's contract."""

    name: str = Field(description="folder under runs/; letters, digits, '-', '_' and '.'")
    title: str = Field("", description="the host's title")
    url: str = Field("", description="the host's page; stage 09 takes the competition's name from it")
    download: str = Field("", description="command that fetches the host's files")
    verified: str = Field("", description="what was checked of this contract, and how")
    images: Images
    tables: list[Table] = Field(default_factory=list, description="tables joined to the images by id")
    test_tables: list[Table] = Field(default_factory=list, description="tables joined to the test images by id")
    masks: Masks
    classes: list[str] = Field(min_length=1, description="class names, in the order of the mask's channels")
    exclusive: bool = Field(False, description="every pixel has exactly one class, one of which is 'background'")
    group: str | None = Field(None, description="column whose values stay in one fold (patient, slide)")
    strata: list[str] = Field(default_factory=list, description="columns to balance over folds")
    tissue: bool = Field(False, description="slides: glass without tissue need not be predicted")
    metric: MetricSettings
    submission: SubmissionFormat | None = None

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"[\w.-]+", name) or name in (".", ".."):
            raise ValueError("expected letters, digits, '-', '_' and '.'")
        return name

    @field_validator("classes")
    @classmethod
    def _classes_differ(cls, classes: list[str]) -> list[str]:
        if len(set(classes)) != len(classes):
            raise ValueError(f"class names repeat: {classes}")
        return classes

    @model_validator(mode="after")
    def _fits_together(self) -> Competition:
        named = self.masks.class_names | set(self.metric.classes or [])
        unknown = sorted(named - set(self.classes) - {"void"})
        if unknown:
            raise ValueError(f"masks or metric.classes name {unknown}, which are not among classes")
        if self.exclusive and len(self.classes) > MOST_EXCLUSIVE:
            raise ValueError(
                f"classes names {len(self.classes)} classes that exclude each other, but a label holds at most "
                f"{MOST_EXCLUSIVE}; leave out exclusive, or join rare classes"
            )
        if self.masks.join == "mean" and self.exclusive:
            raise ValueError("masks.join 'mean' needs classes that do not exclude each other; choose majority")
        given = self.masks.points.radius if self.masks.points else {}
        without = sorted(set(self.classes) - set(given) - {"background"}) if isinstance(given, dict) else []
        if self.masks.points and without:
            raise ValueError(f"masks.points.radius has none for {without}; give one number, or one per class")
        if self.masks.instances and len(self.classes) != 1 and (self.exclusive or not self._tells_classes_of_objects):
            raise ValueError(
                "masks.instances needs exactly one class in classes, or masks that say of which class an object is "
                "({class} in masks.path, masks.channels, masks.class_column, polygons) and classes that do not exclude "
                "each other"
            )
        if self.submission and (self.submission.rows == "label") != (self.masks.kind == "none"):
            raise ValueError(
                "submission.rows must be 'label' where masks.kind is 'none', and cannot be 'label' otherwise"
            )
        if self.metric.name == HOST and self.submission is None:
            raise ValueError("metric.name 'host' needs a submission section: the host's file scores tables")
        if self.submission and not self.images.test:
            raise ValueError("a submission needs images.test: the path pattern of the test images")
        if self.submission:
            self._check_answer(self.submission)
        return self

    @property
    def _tells_classes_of_objects(self) -> bool:
        masks = self.masks
        of_images = "class" in masks.path_fields or bool(masks.channels) or masks.table is not None
        named = {"images": of_images, "rle": masks.class_column is not None, "polygons": True}
        return named.get(masks.kind, False)

    @property
    def one_kind_of_object(self) -> bool:
        """Whether masks number the objects of one class, which a decision can split and a border can part."""
        return self.masks.instances and len(self.classes) == 1

    def _check_answer(self, form: SubmissionFormat) -> None:
        """Raises ValueError where the answer does not suit the images and classes."""
        volumes = self.images.kind == "volumes"
        if self.metric.file is not None and form.kind != "table":
            raise ValueError(
                f"metric.file scores tables, and submission.kind is {form.kind!r}: name a built-in metric, or hand in "
                "a table (submission.kind: table)"
            )
        if form.kind == "volumes" and not volumes and self.images.stack is None:
            raise ValueError(
                "submission.kind 'volumes' needs images.kind 'volumes', or images.stack and images.z, by which single "
                "slices are gathered into a volume; otherwise hand in images"
            )
        if form.kind == "points":
            self._check_points(form)
        if form.kind in ("coco", "geojson") and volumes:
            raise ValueError(f"submission.kind {form.kind!r} holds objects of images, and images.kind is 'volumes'")
        if form.size is not None and volumes:
            raise ValueError("submission.size is a size of images, and images.kind is 'volumes'")
        if form.kind == "images" and volumes and "z" not in FIELD.findall(form.files.path):
            raise ValueError(f"submission.files.path {form.files.path!r}: write {{z}}, one file per slice of a volume")
        for key, given in (("files.values", form.files.values), ("coco.categories", form.coco.categories)):
            unknown = sorted(set(given or {}) - set(self.classes))
            if unknown:
                raise ValueError(f"submission.{key} names {unknown}, which classes does not list")
        if form.files.objects and len(self.scored_classes) != 1:
            raise ValueError("submission.files.objects numbers the objects of one class: name it in metric.classes")

    def _check_points(self, form: SubmissionFormat) -> None:
        """Raises ValueError where places cannot be told from the masks, or their classes from the table."""
        if self.masks.kind != "points":
            raise ValueError(
                "submission.kind 'points' needs masks.kind 'points', which says in what unit the host counts; "
                "otherwise hand in volumes or a table"
            )
        if self.images.kind != "volumes" and self.images.stack is None:
            raise ValueError(
                "submission.kind 'points' needs volumes: images.kind 'volumes', or images.stack and images.z"
            )
        if len(self.foreground) > 1 and form.points.column_of("class") is None:
            raise ValueError(
                f"submission.points.columns: no column is '{{class}}', and places are of {self.foreground}"
            )

    @property
    def foreground(self) -> list[str]:
        """Names of the classes that the metric counts and that are no background."""
        return [name for name in (self.classes[index] for index in self.scored_classes) if name != "background"]

    @property
    def scored_classes(self) -> list[int]:
        """Indices of the classes that the metric counts."""
        names = self.metric.classes or self.classes
        return [self.classes.index(name) for name in names]

    @property
    def dialect(self) -> Dialect:
        """Dialect of the submission."""
        given = self.submission.dialect if self.submission else None
        return given or self.masks.dialect


def list_competitions() -> list[str]:
    """Names of the contracts that come with the package."""
    return sorted(path.stem for path in CONTRACTS.glob("*.yaml"))


def load_competition(name: str | Path) -> Competition:
    """Contract by its name under `submissions/competitions/`, or by the path of a YAML file.

    Raises FileNotFoundError that lists the known names, or for a metric.file that is not there, ValueError that lists
    every wrong key.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = CONTRACTS / f"{name}.yaml"
        if not path.is_file():
            known = ", ".join(list_competitions())
            raise FileNotFoundError(f"competition {name!r}: no contract of that name; known: {known}, or a .yaml file")
    competition = validate(Competition, read_yaml(path), str(path))
    return competition if competition.metric.file is None else _with_metric_file(competition, path)


def _with_metric_file(competition: Competition, contract: Path) -> Competition:
    """The contract with the absolute path of the host's metric, which is written as seen from the contract."""
    file = (contract.parent / str(competition.metric.file)).resolve()
    if not file.is_file():
        raise FileNotFoundError(f"{contract}: metric.file: {file}: no such file; the path is as seen from the contract")
    metric = competition.metric.model_copy(update={"file": str(file)})
    return competition.model_copy(update={"metric": metric})
