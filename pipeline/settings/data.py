"""The sections `folds`, `prepare` and `external` of an experiment: which images train, and how they are stored."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from submissions.host.settings import Settings

Target = Literal["border", "centre"]  # planes that can be learned beside the classes


class SourcesSettings(Settings):
    """Which images come from the same source (scanner, laboratory), where a column says it."""

    column: str = Field(description="column that names the source of an image, such as a scanner or a laboratory")


class FoldsSettings(Settings):
    """How training images are divided."""

    method: str | None = Field(
        None,
        description="how images are split: kfold, stratified, group, stratified_group, "
        "multilabel_stratified_group, leave_one_group_out, predefined, slab "
        "or blocks; default: group where there is one, slices of a stack together or in slabs, else kfold",
    )
    n: int = Field(5, ge=2, description="number of folds [folds]")
    use: list[int] | None = Field(
        None, description="folds to train and predict; default: all [numbers of folds, from 0]"
    )
    group: str | None = Field(
        None, description="images with the same value in this column stay in one fold; default: the contract's group"
    )
    strata: list[str] | None = Field(
        None, description="columns to balance over the folds; default: the contract's strata"
    )
    sources: SourcesSettings | None = Field(
        None, description="where the column `source` comes from; default: stage 01 finds it from the images"
    )
    buffer: int = Field(
        0, ge=0, description="gap between training and validation images [slices, or pixels for method blocks]"
    )
    repeats: int = Field(
        1, ge=1, description="how many different splits are trained; all their models form one ensemble [splits]"
    )
    split: int = Field(
        0, ge=0, description="which of the different splits this is; `repeats` sets it [number of a split, from 0]"
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="further options of the method, such as fold_column, bins, slabs or grid"
    )


class PrepareSettings(Settings):
    """How stage 03 stores images for training."""

    store: Literal["memmap", "hdf5", "raw"] = Field(
        "memmap",
        description="memmap: decoded arrays, the fastest; hdf5: compressed chunks; raw: the host's own files, "
        "decoded at every read",
    )
    targets: list[Target] = Field(
        default_factory=list,
        description="extra planes to learn from instance masks: the border between objects, their centres",
    )

    @field_validator("targets")
    @classmethod
    def _each_once(cls, targets: list[Target]) -> list[Target]:
        return list(dict.fromkeys(targets))


class ExternalSettings(Settings):
    """Another competition's training data, used for training only."""

    experiment: str = Field(
        description="the other competition's experiment; stages 01 to 03 of it must be done in the same runs folder"
    )
    data: str | None = Field(None, description="folder of its files; only needed for prepare.store raw")
    share: float = Field(0.25, gt=0, lt=1, description="share of all training samples that come from it [share]")
    weight: float = Field(1.0, gt=0, description="weight of its samples in the loss [factor]")
