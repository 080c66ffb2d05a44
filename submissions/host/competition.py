"""The host's contract: where images, masks and ids are, how masks are written, what is scored.

One YAML file a competition under `submissions/competitions/`; independent of any experiment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from submissions.host.settings import Settings, read_yaml, validate
from submissions.rle.codec import Dialect

CONTRACTS = Path(__file__).parents[1] / "competitions"
FIELD = re.compile(r"{(\w+)(?::[^}]*)?}")
FIELD_KIND = re.compile(r"{(\w+)(?::([^}]*))?}")


class Images(Settings):
    """Where the images lie. A pattern is a path with {fields}: `train/{case}/slice_{z}.png`.

    A field stands for part of one file or folder name; `{z:d}` for digits only, `{part:*}` may be empty.
    """

    kind: Literal["files", "pages", "volumes", "layers"] = Field(
        "files",
        description="files: one file an image; pages: one page of a TIFF an image; volumes: one file a volume; "
        "layers: the files that differ in {layer} are the channels of one image",
    )
    train: str = Field(description="path pattern of training images, relative to the data folder")
    test: str | None = Field(None, description="path pattern of test images; none where the host gives none")
    id: str = Field("{id}", description="image id from the pattern's fields; pages have {page} (int) as well")
    test_id: str | None = Field(None, description="the same for test images, where it is built differently")
    stack: str | None = Field(None, description="stack an image belongs to, from fields and table columns")
    z: str | None = Field(None, description="whole number: position in the stack")
    series: str | None = Field(None, description="what z counts along where stacks are parts of one series")
    pixel_size_um: float | str | None = Field(None, description="µm a pixel, or the column or field that says so")
    pixel_size_factor: float = Field(1.0, gt=0, description="µm in a unit of that column, e.g. 1000 for mm")
    only_listed: bool = Field(False, description="images that no table lists are left out, not reported")

    @model_validator(mode="after")
    def _stack_has_z(self) -> Images:
        if (self.stack is None) != (self.z is None):
            raise ValueError("images.stack and images.z come together: which stack, and which place in it")
        return self


class Table(Settings):
    """A table of the host's with a row (or several) an image."""

    file: str = Field(description="path relative to the data folder; of a COCO .json, its list of images")
    id: str = Field("{id}", description="image id from the table's columns, e.g. '{subject}_{img}'")
    strip: str = Field("", description="ending to take off the id, e.g. '.png'")
    separator: str = Field(",", description="column separator; ' ' for lists separated by blanks")
    columns: list[str] | None = Field(None, description="column names where the file has no header")
    rename: dict[str, str] = Field(default_factory=dict, description="column -> another name for it")
    only: dict[str, list[str]] = Field(default_factory=dict, description="column -> values of the rows that count")
    both_splits: bool = Field(False, description="lists training and test images together")


class Masks(Settings):
    """How the truth is given."""

    kind: Literal["rle", "images", "polygons", "none"] = Field(description="none: a table of image labels only")
    table: Table | None = Field(None, description="rle: the table that holds the runs")
    column: str = Field("rle", description="rle: column of the runs; none: column of the image's class")
    class_column: str | None = Field(None, description="rle: column naming the class of a row")
    dialect: Dialect = Field(default_factory=Dialect, description="rle: how runs are written")
    path: str | None = Field(
        None, description="images: path pattern with {id} or the image's own fields; a file of it is no image"
    )
    values: dict[int, str | list[str]] | None = Field(
        None, description="images: pixel value -> class name(s), or 'void'; without it non-zero is the class"
    )
    threshold: int | None = Field(None, gt=0, description="images: least value that is the class, of soft masks")
    valid: str | None = Field(None, description="path pattern of images whose zeros the host does not score")
    file: str | None = Field(None, description="polygons: COCO .json, or .jsonl with a line an image")
    polygon_classes: dict[str, str | list[str]] | None = Field(
        None, description="polygons: host's name -> class, 'void', or [] for what is left out"
    )
    instances: bool = Field(False, description="a row, value or polygon is one object of the one class")

    @model_validator(mode="after")
    def _has_its_source(self) -> Masks:
        needed = {"rle": "table", "images": "path", "polygons": "file", "none": "table"}[self.kind]
        if getattr(self, needed) is None:
            raise ValueError(f"masks.kind {self.kind!r} needs masks.{needed}")
        if self.threshold is not None and (self.values is not None or self.instances):
            raise ValueError("masks.threshold is for one soft mask an image: leave out masks.values and instances")
        return self

    @property
    def class_names(self) -> set[str]:
        """Names that the value map and the polygons' map lead to."""
        mapped = [*(self.values or {}).values(), *(self.polygon_classes or {}).values()]
        return {name for names in mapped for name in ([names] if isinstance(names, str) else names)}


class MetricSettings(Settings):
    """The host's metric by name, with its parameters."""

    name: str = Field(description="a name that `submissions.metrics` knows")
    params: dict[str, Any] = Field(default_factory=dict)
    unit: Literal["image", "stack"] = Field("image", description="what is scored as one: an image or a stack")
    classes: list[str] | None = Field(None, description="classes that count; all where not given")


class SubmissionFormat(Settings):
    """The table the host wants back."""

    sample: str = Field("sample_submission.csv", description="path relative to the data folder")
    id_column: str = "id"
    mask_column: str = "rle"
    rows: Literal["image", "instance", "image_class", "label"] = Field(
        "image", description="one row an image; one an instance; one for each image and class; the image's class"
    )
    class_column: str | None = Field(None, description="image_class: column of the class")
    id_template: str = Field("{id}", description="how the id cell is built from {id}, {class} and image fields")
    extra: dict[str, str] = Field(
        default_factory=dict, description="further columns, e.g. {height: '{height}'}; {mask} is the text"
    )
    mask_template: str = Field("{mask}", description="one instance inside the mask cell, e.g. '0 {score} {mask}'")
    dialect: Dialect | None = Field(None, description="the training table's where not given")
    overlap: bool = Field(True, description="masks of one image may overlap")
    max_bytes: int | None = Field(None, gt=0, description="largest file the host takes")
    code_competition: bool = Field(False, description="the host takes a notebook, not a CSV")


class Competition(Settings):
    """A competition's contract."""

    name: str
    title: str = ""
    url: str = ""
    download: str = Field("", description="command that fetches the host's files")
    verified: str = Field("", description="what was checked about this contract, and how")
    images: Images
    tables: list[Table] = Field(default_factory=list, description="tables joined to the images by id")
    test_tables: list[Table] = Field(default_factory=list)
    masks: Masks
    classes: list[str] = Field(min_length=1)
    exclusive: bool = Field(False, description="every pixel has exactly one class; 'background' is one of them")
    group: str | None = Field(None, description="column: images that must stay in one fold (patient, slide)")
    strata: list[str] = Field(default_factory=list, description="columns to balance over folds")
    tissue: bool = Field(False, description="slides: background without tissue need not be predicted")
    metric: MetricSettings
    submission: SubmissionFormat | None = None

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
            raise ValueError(f"masks or metric.classes name {unknown}, which classes does not list")
        if self.masks.instances and len(self.classes) != 1:
            raise ValueError("masks.instances needs exactly one class")
        if self.submission and (self.submission.rows == "label") != (self.masks.kind == "none"):
            raise ValueError("submission.rows is 'label' where masks.kind is 'none', and nowhere else")
        if self.submission and not self.images.test:
            raise ValueError("a submission needs images.test: where do the test images lie?")
        return self

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

    Raises FileNotFoundError that lists the known names, ValueError that lists every wrong key.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = CONTRACTS / f"{name}.yaml"
        if not path.is_file():
            known = ", ".join(list_competitions())
            raise FileNotFoundError(f"competition {name!r}: no contract of that name; known: {known}, or a .yaml file")
    return validate(Competition, read_yaml(path), str(path))


def fill(template: str, fields: Mapping[str, Any], what: str) -> str:
    """`template` with its {fields} filled in; a missing one is a ValueError that names `what`."""
    try:
        return template.format_map(fields)
    except (KeyError, ValueError) as error:
        missing = [name for name in FIELD.findall(template) if name not in fields]
        reason = f"no field {missing}" if missing else str(error)
        known = ", ".join(map(str, fields))
        raise ValueError(f"{what}: template {template!r} cannot be filled: {reason}; known fields: {known}") from error


def pattern_regex(pattern: str) -> re.Pattern[str]:
    """Regular expression of a path pattern: each {field} a group, the same name twice the same text.

    Raises ValueError for a field's kind other than `d` (digits) and `*` (may be empty).
    """
    kinds = {None: "[^/]+?", "d": "[0-9]+", "*": "[^/]*?"}
    parts, seen, position = [], set(), 0
    for match in FIELD_KIND.finditer(pattern):
        parts.append(re.escape(pattern[position : match.start()]))
        name, kind = match.groups()
        if kind not in kinds:
            raise ValueError(f"path pattern {pattern!r}: field {match.group()!r}, expected {{{name}}}, :d or :*")
        parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>{kinds[kind]})")
        seen.add(name)
        position = match.end()
    parts.append(re.escape(pattern[position:]))
    return re.compile("".join(parts) + r"\Z")


def find_files(root: Path, pattern: str) -> list[tuple[str, dict[str, str]]]:
    """Files below `root` that fit a path pattern, in sorted order, as (relative path, fields)."""
    regex = pattern_regex(pattern)
    found = []
    for path in sorted(root.glob(re.sub(r"\*+", "*", FIELD.sub("*", pattern)))):
        relative = path.relative_to(root).as_posix()
        match = regex.match(relative)
        if match and path.is_file():
            found.append((relative, match.groupdict()))
    return found
