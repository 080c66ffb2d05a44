"""ARCHITECTURE.md says what is there: its functions exist, every room has its question, and no room is too full."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
ROOMS = sorted(
    path.parent
    for room in ("submissions", "folds", "inference", "pipeline")
    for path in (ROOT / room).rglob("__init__.py")
)
WIDE = {"inference/predict": 22, "pipeline/training": 22}  # modules; every other room 16, but for the table of models


def named(room: Path) -> str:
    return room.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("room", ROOMS, ids=named)
def test_every_room_says_its_question_and_is_not_too_full(room: Path) -> None:
    question = ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8"))) or ""
    assert "?" in question.splitlines()[0], named(room)
    modules = [path for path in room.glob("*.py") if path.stem != "__init__" and not path.stem[0].isdigit()]
    assert named(room) == "inference/models" or len(modules) <= WIDE.get(named(room), 16)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:submissions|folds|inference|pipeline)\.[\w.]+)`", PAGE))))
def test_every_function_named_exists(name: str) -> None:
    module = ROOT / (name.replace(".", "/") + ".py")
    if module.is_file() or module.with_suffix("").is_dir():
        return
    parent, _, function = name.rpartition(".")
    tree = ast.parse((ROOT / (parent.replace(".", "/") + ".py")).read_text(encoding="utf-8"))
    assert function in {getattr(node, "name", None) for node in tree.body}


def test_every_file_named_exists() -> None:
    files = set(re.findall(r"`((?:submissions|folds|inference|pipeline|tests)/[\w/]+(?:\.py)?/?)`", PAGE))
    assert files and [name for name in sorted(files) if not (ROOT / name).exists()] == []
