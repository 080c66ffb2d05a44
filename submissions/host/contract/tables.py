"""The sections `tables` and `test_tables` of a contract, and `masks.table`: what tables say of images."""

from __future__ import annotations

from pydantic import Field, field_validator

from submissions.host.patterns import FIELD, check_apart, check_inside
from submissions.host.settings import Settings


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
