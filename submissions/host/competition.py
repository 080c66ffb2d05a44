"""The host's contract: where images, masks and ids are, how masks are written, what is scored.

One YAML file a competition under `submissions/competitions/`; independent of any experiment.
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from submissions.host.contract.answer_form import SubmissionFormat
from submissions.host.contract.images import Images
from submissions.host.contract.masks import Masks
from submissions.host.contract.metric import HOST, MetricSettings
from submissions.host.contract.tables import Table
from submissions.host.patterns import FIELD
from submissions.host.settings import Settings, read_yaml, validate
from submissions.rle.codec import Dialect

CONTRACTS = Path(__file__).parents[1] / "competitions"
MOST_EXCLUSIVE = 255  # classes of a label of bytes, in which 255 is void


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
        one_mask = form.kind == "table" and form.rows == "image" and not form.lists_classes and not form.wants_objects
        if one_mask and len(self.foreground) > 1:
            raise ValueError(
                f"submission.rows 'image' answers one class, and the metric counts {self.foreground}: name the one "
                "that the host asks for in metric.classes, give each class a row (rows: image_class), or list the "
                "objects of all in a cell ({class} in mask_template)"
            )
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
