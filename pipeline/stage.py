"""Done or not at all: a stage's folder is finished when `stage.json`, written last, lies in it."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from submissions.host.atomic import write_atomic

DONE = "stage.json"
BEGUN = "stage.begun.json"


def digest(value: Any) -> str:
    """Sixteen hexadecimal digits of SHA-256 over the value as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class MadeOtherwise(ValueError):
    """The folder of `stage` was made from other settings than those of now."""

    def __init__(self, message: str, stage: Stage) -> None:
        super().__init__(message)
        self.stage = stage


@dataclass
class Stage:
    """One stage's work in one folder.

    settings are those the stage reads; inputs the fingerprints of the stages before it; format the number of the
    stage's file format. Paths, device, number of workers and memory cap are none of them.
    """

    name: str
    folder: Path
    settings: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    format: int = 1

    def __post_init__(self) -> None:
        self.started = time.monotonic()

    @property
    def identity(self) -> dict[str, Any]:
        """What the fingerprint is made of."""
        plain = json.loads(json.dumps(self.settings, default=str))
        return {"stage": self.name, "format": self.format, "settings": plain, "inputs": dict(self.inputs)}

    @property
    def fingerprint(self) -> str:
        """Same fingerprint, same result."""
        return digest(self.identity)

    def begin(self, *, overwrite: bool = False) -> bool:
        """Make the folder ready; False when the work is already done.

        Work begun from the same settings is continued. Raises MadeOtherwise, which says which setting differs,
        where the folder was made from others, unless `overwrite`, which deletes it.
        """
        if overwrite and self.folder.exists():
            _delete(self.folder)
        for name in (DONE, BEGUN):
            path = self.folder / name
            if path.is_file():
                before = json.loads(path.read_text(encoding="utf-8"))
                if before["fingerprint"] != self.fingerprint:
                    raise MadeOtherwise(self._refusal(before["identity"]), self)
                if name == DONE:
                    return False
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self.folder / BEGUN, self._document())
        return True

    def done(self) -> bool:
        """Whether the folder holds this very work, finished; nothing is touched."""
        path = self.folder / DONE
        if not path.is_file():
            return False
        return bool(json.loads(path.read_text(encoding="utf-8"))["fingerprint"] == self.fingerprint)

    def finish(self, **facts: Any) -> float:
        """Mark the folder as done, with facts worth keeping; returns the seconds since the stage was made."""
        seconds = time.monotonic() - self.started
        _sweep(self.folder)
        write_atomic(self.folder / DONE, self._document(seconds=round(seconds, 3), **facts))
        (self.folder / BEGUN).unlink(missing_ok=True)
        return seconds

    def _document(self, **facts: Any) -> str:
        document = {"fingerprint": self.fingerprint, "identity": self.identity, **facts}
        return json.dumps(document, indent=1, default=str) + "\n"

    def _refusal(self, before: Mapping[str, Any]) -> str:
        lines = [f"{self.folder}: made by {self.name} from other settings:"]
        lines += [f"  {key}: there {old!r}, now {new!r}" for key, old, new in _differences(before, self.identity)]
        lines.append("  --overwrite deletes it and makes it again")
        return "\n".join(lines)


def _sweep(folder: Path) -> None:
    """Remove what killed processes left half made in a folder that is complete, and in the folders inside it."""
    for path in [*folder.glob("*.partial"), *folder.glob("*/*.partial")]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _delete(folder: Path) -> None:
    """Delete a folder that bears its name no longer from the first moment on, so that a kill leaves no half of it."""
    doomed = folder.with_name(f"{folder.name}.deleted")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.replace(doomed)
    for name in (DONE, BEGUN):
        (doomed / name).unlink(missing_ok=True)
    shutil.rmtree(doomed)


def _differences(before: Any, after: Any, key: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        found = []
        for name in sorted(set(before) | set(after)):
            found += _differences(before.get(name), after.get(name), f"{key}.{name}" if key else name)
        return found
    return [] if before == after else [(key.removeprefix("settings."), before, after)]


def read_stage(folder: Path, what: str) -> dict[str, Any]:
    """The finished stage's document (fingerprint, identity, facts).

    Raises FileNotFoundError that says which script makes it.
    """
    path = folder / DONE
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: not made, or not finished; run {what} first")
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document
