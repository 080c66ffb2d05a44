"""One experiment: which competition, which folds, how prepared, trained, predicted and decided."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from inference.config import InputConfig, ModelConfig, PredictConfig
from pipeline.settings.data import ExternalSettings, FoldsSettings, PrepareSettings
from pipeline.settings.search import Range, SearchSettings
from pipeline.settings.training import AugmentSettings, LossSettings, TrainSettings
from pipeline.settings.tuning import TuneSettings
from submissions.host.settings import Settings, beside, override, read_yaml, validate, value_problem

EXPERIMENTS = Path(__file__).parent / "experiments"
RESERVED = ("inventory", "folds", "store", "data", ".", "..")  # folders of a competition beside its experiments
YAML = (".yaml", ".yml")
WEIGHTS = (".safetensors", ".pth", ".pt")


class Experiment(Settings):
    """Everything that one experiment needs beside the host's files."""

    name: str = Field(description="name of the folder under runs/<competition>/; default: the name of the file")
    competition: str = Field(description="the contract: a name under submissions/competitions/, or a .yaml file")
    task: Literal["segment", "classify"] = Field(
        "segment",
        description="segment: masks; classify: which classes an image shows, or which class it is "
        "where there are no masks",
    )
    seed: int = Field(0, description="seed of the splits, sampling, augmentation and initial weights [whole number]")
    limit: int | None = Field(
        None,
        ge=4,
        description="use at most so many training images, spread over all of them; of stacks neighbouring slices "
        "[images]",
    )
    members: list[str] = Field(
        default_factory=list, description="names of experiments; this one is their ensemble and trains nothing"
    )
    folds: FoldsSettings = Field(default_factory=FoldsSettings)
    prepare: PrepareSettings = Field(default_factory=PrepareSettings)
    input: InputConfig = Field(default_factory=InputConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    loss: LossSettings = Field(default_factory=LossSettings)
    augment: AugmentSettings = Field(default_factory=AugmentSettings)
    external: list[ExternalSettings] = Field(default_factory=list, description="training data of other competitions")
    train: TrainSettings = Field(default_factory=TrainSettings)
    predict: PredictConfig = Field(default_factory=PredictConfig)
    tune: TuneSettings = Field(default_factory=TuneSettings)
    search: SearchSettings = Field(default_factory=SearchSettings)

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"[\w.-]+", name) or name in RESERVED:
            raise ValueError("expected letters, digits, '-', '_' and '.', and not inventory, folds, store or data")
        return name

    @model_validator(mode="after")
    def _used_folds_exist(self) -> Experiment:
        used = self.folds.use
        if used is not None and (not used or len(set(used)) < len(used)):
            raise ValueError(f"folds.use is {used}; expected at least one fold, each once, or leave it out for all")
        wrong = [fold for fold in used or [] if not 0 <= fold < self.folds.n]
        if wrong:
            raise ValueError(
                f"folds.use names {wrong}, but with folds.n {self.folds.n} folds are numbered from 0 "
                f"to {self.folds.n - 1}"
            )
        if self.task == "classify" and self.predict.normalise != "none":
            raise ValueError("predict.normalise works on masks, but task is classify; leave it out")
        asked = {"members": self.members, "folds.split": self.folds.split}
        other = [name for name, value in asked.items() if value]
        if self.folds.repeats > 1 and other:
            raise ValueError(
                f"folds.repeats makes an ensemble of several splits and does not go with {other[0]}; "
                "leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _searched_settings_exist(self) -> Experiment:
        for key, values in self.search.ranges.items():
            for value in [values.low, values.high] if isinstance(values, Range) else values:
                problem = value_problem(Experiment, key, value)
                if problem:
                    raise ValueError(f"search.ranges: {problem}")
        return self

    @model_validator(mode="after")
    def _own_images_are_left(self) -> Experiment:
        taken = sum(one.share for one in self.external) + (self.train.pseudo_share if self.train.pseudo_labels else 0)
        if taken >= 1:
            raise ValueError(
                f"external[].share and train.pseudo_share sum to {taken:g}, which leaves nothing for the experiment's "
                "own images; lower them to less than 1 in all"
            )
        return self

    @property
    def used_folds(self) -> list[int]:
        """Folds that are trained and predicted."""
        return sorted(self.folds.use) if self.folds.use is not None else list(range(self.folds.n))

    @property
    def repeated(self) -> list[Experiment]:
        """An experiment a split, `<name>-split0` and on, where splits are repeated; else none."""
        if self.folds.repeats == 1:
            return []
        splits = [self.folds.model_copy(update={"repeats": 1, "split": k}) for k in range(self.folds.repeats)]
        return [
            self.model_copy(update={"name": f"{self.name}-split{k}", "folds": folds, "members": []})
            for k, folds in enumerate(splits)
        ]


def list_experiments() -> list[str]:
    """Names of the experiments that come with the package."""
    return sorted(path.stem for path in EXPERIMENTS.glob("*.yaml"))


def load_experiment(name: str | Path, assignments: Sequence[str] = ()) -> Experiment:
    """Experiment by its name under `pipeline/experiments/`, or by the path of a YAML file, with `--set` applied.

    Raises FileNotFoundError that lists the known names, ValueError that lists every wrong key.
    """
    path = Path(name)
    if path.suffix not in YAML:
        path = EXPERIMENTS / f"{name}.yaml"
        if not path.is_file():
            known = ", ".join(list_experiments())
            raise FileNotFoundError(
                f"experiment {name!r}: no such file; known: {known}; or a .yaml file, or a run's folder"
            )
    written = located(read_yaml(path), path)
    return validate(Experiment, override({"name": path.stem, **written}, assignments), str(path))


def located(written: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """An experiment's document with the paths in it as they lie beside the document `path`, where they do."""
    document = json.loads(json.dumps(dict(written), default=str))
    external = document.get("external")
    places = [(document, "competition", YAML), (document.get("model"), "weights", WEIGHTS)]
    for one in external if isinstance(external, list) else []:
        places += [(one, "experiment", YAML), (one, "data", ("",))]
    for section, key, endings in places:
        value = section.get(key) if isinstance(section, dict) else None
        if isinstance(value, str) and value.endswith(endings):
            section[key] = beside(value, path)
    return document
