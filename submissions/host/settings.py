"""Settings documents: YAML, read safely and validated; errors are sentences that say what to do."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails


class Settings(BaseModel):
    """Base of every settings section: an unknown key is an error, values are checked on assignment too.

    Numbers are finite: nobody means a learning rate of .inf. The check of a section is built when it is first used,
    so that `--help` does not wait for it.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True, defer_build=True, allow_inf_nan=False)


class Measured(Settings):
    """Base of documents that stages write: a number that was computed need not be finite."""

    model_config = ConfigDict(allow_inf_nan=True)


Positive = Annotated[float, Field(gt=0)]
WHOLE = "(document)"
MOST_VALUES = 1_000_000  # of a document, its aliases written out

S = TypeVar("S", bound=Settings)


def read_yaml(path: Path) -> dict[str, Any]:
    """Mapping in a YAML file, read with the safe loader.

    Raises FileNotFoundError where there is no such file, ValueError where it is not a YAML mapping, or
    one whose aliases stand for endless or too many values.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a YAML document")
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"{path}: expected a mapping of keys to values, found {type(document).__name__}")
    if _written_out(document, {}) > MOST_VALUES:
        raise ValueError(f"{path}: its aliases stand for more than {MOST_VALUES:,} values; write out what is meant")
    return document


def _written_out(value: Any, known: dict[int, float]) -> float:
    """How many values a document holds where each alias is what it stands for; endless where one stands in itself."""
    if not isinstance(value, (dict, list)):
        return 1
    if id(value) not in known:
        known[id(value)] = math.inf  # met again before it is counted, it holds itself
        parts = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_written_out(part, known) for part in parts)
    return known[id(value)]


def beside(value: str, document: Path) -> str:
    """A path named in a YAML document: beside the document if it exists there, else relative to the working folder."""
    found = document.parent / value
    return str(found) if found.exists() else value


def override(document: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Copy of `document` with `a.b.c=value` assignments applied; values are read as YAML.

    Raises ValueError for an assignment without `=`, one that reaches into something that is no mapping, or a value that
    is no YAML.
    """
    result: dict[str, Any] = json.loads(json.dumps(document, default=str))
    for assignment in assignments:
        dotted, separator, text = assignment.partition("=")
        if not separator or not dotted:
            raise ValueError(f"--set {assignment!r}: expected key=value, for example train.epochs=5")
        section = result
        *parents, key = dotted.strip().split(".")
        for parent in parents:
            section = section.setdefault(parent, {})
            if not isinstance(section, dict):
                raise ValueError(f"--set {assignment!r}: {parent!r} is a value, not a section, and has no keys")
        try:
            section[key] = yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError) as error:
            raise ValueError(f"--set {assignment!r}: the value is not readable as YAML: {error}") from error
    return result


def validate(kind: type[S], document: Mapping[str, Any], origin: str) -> S:
    """`document` as settings of class `kind`.

    Raises ValueError that lists every wrong key with the value found and what was expected.
    """
    try:
        return kind.model_validate(dict(document))
    except ValidationError as error:
        lines = [f"  {_said(kind, item)}" for item in error.errors()]
        raise ValueError("\n".join([f"{origin}: {len(lines)} setting(s) cannot be used", *lines])) from error


def value_problem(kind: type[Settings], key: str, value: Any) -> str:
    """What is wrong with one value of a dotted key such as 'train.lr', by itself; '' where nothing is.

    Whether it goes with the other values of its section is another question.
    """
    parts = tuple(key.split("."))
    document: Any = value
    for part in reversed(parts):
        document = {part: document}
    try:
        kind.model_validate(document)
    except ValidationError as error:
        for item in error.errors():
            place = item["loc"]
            above = place == parts[: len(place)] and item["type"] != "value_error"  # a section's own check
            if item["type"] == "extra_forbidden" or place[: len(parts)] == parts or above:
                return _said(kind, item)
    return ""


def _said(kind: type[BaseModel], item: ErrorDetails) -> str:
    """The sentence about one of pydantic's errors."""
    key = ".".join(str(part) for part in item["loc"]) or WHOLE
    if item["type"] == "extra_forbidden":
        return f"{key}: unknown key; {_known_keys(kind, item['loc'])}"
    if item["type"] == "missing":
        return f"{key}: missing; it has no default, so it has to be written"
    return _problem(key, item["input"], item["msg"].removeprefix("Value error, "))


def _problem(key: str, found: Any, said: str) -> str:
    """The sentence about a key; without the value found where it is a whole section, and without the key where the
    message names it.
    """
    if not isinstance(found, (Mapping, BaseModel)):
        return f"{key}: found {found!r}; {said}"
    return said if key == WHOLE or said.startswith(key) else f"{key}: {said}"


def _known_keys(kind: type[BaseModel], location: Sequence[int | str]) -> str:
    section: Any = kind
    for part in location[:-1]:
        if not (isinstance(section, type) and issubclass(section, BaseModel)):
            break
        field = section.model_fields.get(str(part))
        section = field.annotation if field else None
        for candidate in getattr(section, "__args__", ()):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                section = candidate
    if isinstance(section, type) and issubclass(section, BaseModel):
        return "expected one of: " + ", ".join(sorted(section.model_fields))
    return "it is not expected here"
