"""What stage 06 learned of out-of-fold predictions, as a JSON file: read back, and refused where it is of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field

from submissions.host.settings import Measured, validate

FORMAT = 2  # 2: no votes of folds
L = TypeVar("L", bound="Learned")


class Learned(Measured):
    """Base of the documents that belong to the predictions that taught them."""

    format: Literal[2] = 2
    fingerprint: str = Field(description="of the out-of-fold predictions that taught it")


def load_learned(kind: type[L], path: Path, *, fingerprint: str | None = None) -> L:
    """Read a decision or a forecast; `kind` is the class of its settings.

    Raises FileNotFoundError where there is none; ValueError that names the file where it is damaged, of another format,
    has a key or value that cannot be, or where `fingerprint` is given and it was learned from something else.
    """
    what = kind.__name__.lower()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no {what}; run stage 06_tune first")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no text
        raise ValueError(f"{path}: the {what} is damaged ({error}); run 06_tune again") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise ValueError(f"{path}: format {found!r}, expected {FORMAT}; run 06_tune again")
    learned = validate(kind, document, str(path))
    if fingerprint is not None and learned.fingerprint != fingerprint:
        raise ValueError(
            f"{path}: the {what} was learned from the predictions {learned.fingerprint!r}, but these weights belong to "
            f"{fingerprint!r}; run stage 06_tune for this experiment"
        )
    return learned
