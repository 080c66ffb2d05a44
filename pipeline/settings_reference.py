"""Every key of the two YAML documents, as tables and as JSON Schemas, read from the models that check them.

`python -m pipeline settings [PART]` prints the tables, `python -m pipeline schema [FOLDER]` writes the schemas; what
lies in docs/settings.md and pipeline/schemas/ is renewed by `make docs`. A unit ends its description: "... [pixels]".
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.experiment import Experiment
from submissions.host.atomic import write_atomic
from submissions.host.competition import Competition

DOCUMENTS: dict[str, type[BaseModel]] = {"experiment": Experiment, "competition": Competition}
SCHEMAS = Path(__file__).parent / "schemas"
UNIT = re.compile(r"(.+) \[([^][]+)\]", re.DOTALL)
BOUNDS = {"Ge": ("ge", "at least"), "Gt": ("gt", "more than"), "Le": ("le", "at most"), "Lt": ("lt", "less than")}
INTRODUCTION = """# Settings

Every key of the two documents that a user writes, from the models that check them; `make docs` writes this page anew.
`segpipe settings train` prints a part of it. An unknown key is an error; `required` has no default. An editor that
knows JSON Schema completes and checks the keys: `segpipe schema` writes the schemas, and what `segpipe new-competition`
writes names them in its first line.
"""
HEADS = {
    "experiment": "\n## The experiment: how to train, predict and decide\n",
    "competition": "\n## The contract: what the host gives and wants back\n",
}


@dataclass(frozen=True)
class Key:
    """One setting: its dotted key (`[]` for each entry of a list), type, default, meaning, unit or bounds."""

    name: str
    type: str
    default: str
    meaning: str
    unit: str


def settings_keys(model: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    """The keys of a settings model, sections entered, in the order of the model."""
    for name, field in model.model_fields.items():
        section, listed = _section(field.annotation)
        if section is None:
            yield Key(prefix + name, type_text(field.annotation), _default(field), *_meaning(field))
            continue
        if listed or field.description:
            kind = "list of sections" if listed else "section"
            yield Key(prefix + name, kind, _default(field), field.description or "", "")
        yield from settings_keys(section, f"{prefix}{name}{'[]' if listed else ''}.")


def _section(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The model that an annotation holds, and whether in a list; (None, False) for a value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    for part in typing.get_args(annotation):
        found, listed = _section(part)
        if found is not None:
            return found, listed or typing.get_origin(annotation) is list
    return None, False


def type_text(annotation: Any) -> str:
    """A type as a YAML user reads it: `list of int`, `'a' | 'b'`, `float or none`."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_text(parts[0])
    if origin is Literal:
        return " | ".join(repr(part) for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join(type_text(part) for part in parts)
    if origin is list:
        return f"list of {type_text(parts[0])}"
    if origin is tuple:
        return f"[{', '.join(type_text(part) for part in parts)}]"
    if origin is dict:
        return f"{type_text(parts[0])} -> {type_text(parts[1])}"
    names = {str: "text", bool: "true | false", type(None): "none", Any: "anything"}
    return str(names.get(annotation) or getattr(annotation, "__name__", annotation))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        return ""
    if isinstance(value, (list, tuple)):
        value = [one.model_dump(exclude_unset=True) if isinstance(one, BaseModel) else one for one in value]
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def _meaning(field: FieldInfo) -> tuple[str, str]:
    """The description, and the unit that it ends with before the bounds of a number."""
    said = field.description or ""
    found = UNIT.fullmatch(said)
    meaning, given = (found[1], [found[2]]) if found else (said, [])
    for bound in field.metadata:
        attribute, words = BOUNDS.get(type(bound).__name__, ("", ""))
        if attribute:
            given.append(f"{words} {getattr(bound, attribute):g}")
    return meaning, ", ".join(given)


def find_keys(part: str | None = None) -> dict[str, list[Key]]:
    """By document the keys at or under `part`, such as `train`, `train.sampling`, `competition` or `images`; or all.

    Raises ValueError that lists the known parts.
    """
    every = {name: list(settings_keys(model)) for name, model in DOCUMENTS.items()}
    if part is None or part in every:
        return every if part is None else {part: every[part]}
    found = {
        name: [key for key in keys if f"{key.name.replace('[]', '')}.".startswith(f"{part}.")]
        for name, keys in every.items()
    }
    if not any(found.values()):
        known = dict.fromkeys(key.name.split(".")[0].removesuffix("[]") for keys in every.values() for key in keys)
        raise ValueError(f"settings {part!r}: no such key; expected one of {', '.join([*every, *known])}")
    return {name: keys for name, keys in found.items() if keys}


def settings_text(part: str | None = None) -> str:
    """The keys as text for a terminal, two lines a key. Raises as `find_keys`."""
    lines = []
    for document, keys in find_keys(part).items():
        lines.append(f"{document}:")
        for key in keys:
            facts = [key.type, *([f"default {key.default}"] if key.default not in ("", "required") else [])]
            facts += ["required"] if key.default == "required" else []
            facts += [key.unit] if key.unit else []
            lines += [f"  {key.name}   {'; '.join(facts)}", f"      {key.meaning}"]
    return "\n".join(lines)


def settings_page() -> str:
    """docs/settings.md: a table a document."""
    lines = [INTRODUCTION]
    for document, keys in find_keys().items():
        lines += [HEADS[document], "| key | type | default | meaning | unit, bounds |", "|---|---|---|---|---|"]
        for key in keys:
            cells = [f"`{key.name}`", key.type, f"`{key.default}`" if key.default else "", key.meaning, key.unit]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def schema_text(document: str) -> str:
    """JSON Schema (2020-12) of "experiment" or "competition", for editors."""
    schema = DOCUMENTS[document].model_json_schema()
    if document == "experiment":  # the file's name where not given
        schema["required"] = [name for name in schema["required"] if name != "name"]
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def write_schemas(folder: Path) -> list[Path]:
    """Write `<document>.schema.json` for both documents into `folder`; returns the paths."""
    paths = [folder / f"{document}.schema.json" for document in DOCUMENTS]
    for document, path in zip(DOCUMENTS, paths, strict=True):
        write_atomic(path, schema_text(document))
    return paths


def schema_line(document: str, beside: Path) -> str:
    """The first line of a YAML document in the folder `beside`, which tells editors the shipped schema."""
    path, folder = (SCHEMAS / f"{document}.schema.json").resolve(), beside.resolve()
    shown = path.relative_to(folder) if path.is_relative_to(folder) else path
    return f"# yaml-language-server: $schema={shown.as_posix()}\n"
