"""Done or not at all: a stage's folder is finished when `stage.json`, written last, lies in it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from pipeline.locks import pause, release, try_lock, wait_sentence
from submissions.host.atomic import write_atomic

DONE = "stage.json"
BEGUN = "stage.begun.json"
MEANING = {"files": " (a file of the data folder came, went or changed its size)"}  # of hashes that a user may meet
PATIENCE = 3  # tries for a folder before it is said that another process has it


def is_first_process() -> bool:
    """Whether this process keeps the stages' books: it is alone, or the first of those that `torchrun` started."""
    return os.environ.get("RANK", "0") == "0"


def digest(value: Any) -> str:
    """Sixteen hexadecimal digits of SHA-256 over the value as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class MadeOtherwise(ValueError):
    """The folder of `stage` was made with other settings than the current ones."""

    def __init__(self, message: str, stage: Stage) -> None:
        super().__init__(message)
        self.stage = stage


@dataclass
class Stage:
    """One stage's work in one folder.

    settings are those the stage reads; inputs the fingerprints of the stages before it; format the number of the
    stage's file format. Paths, device, number of workers and memory cap are none of them. protects: a file that makes
    unfinished work too dear to be deleted unasked, such as the epochs of a training; none: only finished work is.
    """

    name: str
    folder: Path
    settings: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    format: int = 1
    protects: str | None = None

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

    def begin(self, *, overwrite: bool = False, shared: bool = False) -> bool:
        """Make the folder ready; False when the work is already done.

        Work begun with the same settings is continued. Work begun with others and never finished is deleted and begun
        afresh. Waits, and says so, while another process works on the folder, unless both work on it `shared`, each on
        its part. Raises MadeOtherwise, which names the setting, where the folder was finished with other settings or
        holds what the stage `protects`; with `overwrite` it is deleted instead.
        """
        if not overwrite and self.done():
            return False
        self._hold(shared=shared and not overwrite)
        if overwrite and self.folder.exists():
            _delete(self.folder)
        for name in (DONE, BEGUN):
            before = self._before(name)
            if before is None:
                continue
            if not self._is(before):
                if name == DONE or (self.protects and (self.folder / self.protects).exists()):
                    release(self.folder)
                    raise MadeOtherwise(self._refusal(before["identity"]), self)
                print("\n".join([f"{self.name}: {self.folder} was never finished and starts afresh:",
                                 *self._changes(before["identity"])]))  # fmt: skip
                _delete(self.folder)
            elif name == DONE:
                release(self.folder)
                return False
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self.folder / BEGUN, self._document())
        if shared:
            self._hold(shared=True)
        return True

    def _before(self, name: str) -> dict[str, Any] | None:
        """The document that marks the folder as done or begun; None where it does not lie there."""
        path = self.folder / name
        if not path.is_file():
            return None
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return document

    def _hold(self, *, shared: bool) -> None:
        """Wait for the folder: for oneself, or shared with others that have begun the same work."""
        for tries in count():
            if shared and try_lock(self.folder, shared=True):
                begun = self._before(BEGUN)
                if begun is not None and self._is(begun):
                    return
                release(self.folder)
            if try_lock(self.folder):
                return
            if tries == PATIENCE:
                print(f"{self.name}: {wait_sentence(self.folder)}", flush=True)
            pause()

    def done(self) -> bool:
        """Whether the folder holds this very work, finished; nothing is touched."""
        made = self._before(DONE)
        return made is not None and self._is(made)

    def _is(self, document: Mapping[str, Any]) -> bool:
        """Whether a document is of this very work: a setting that says nothing counts as one that was not known yet."""
        same: bool = document["fingerprint"] == self.fingerprint
        return same or _said(document["identity"]) == _said(self.identity)

    def finish(self, **facts: Any) -> float:
        """Mark the folder as done, with facts worth keeping; returns the seconds since the stage was made."""
        seconds = time.monotonic() - self.started
        _sweep(self.folder)
        write_atomic(self.folder / DONE, self._document(seconds=round(seconds, 3), **facts))
        (self.folder / BEGUN).unlink(missing_ok=True)
        release(self.folder)
        return seconds

    def _document(self, **facts: Any) -> str:
        document = {"fingerprint": self.fingerprint, "identity": self.identity, **facts}
        return json.dumps(document, indent=1, default=str) + "\n"

    def _refusal(self, before: Mapping[str, Any]) -> str:
        lines = [f"{self.folder}: made by {self.name} with other settings:"]
        lines += [*self._changes(before), "  --overwrite deletes it and makes it again"]
        return "\n".join(lines)

    def _changes(self, before: Mapping[str, Any]) -> list[str]:
        """What differs from the identity of before, a line each."""
        found = _differences(_said(before), _said(self.identity))
        return [f"  {key}: was {old!r}, is now {new!r}{MEANING.get(key, '')}" for key, old, new in found]


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


def _said(value: Any) -> Any:
    """A value of JSON without the keys of its objects that hold nothing: null, an empty list or an empty object."""
    if not isinstance(value, dict):
        return value
    kept = {key: _said(part) for key, part in value.items()}
    return {key: part for key, part in kept.items() if part is not None and part != [] and part != {}}


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
        raise FileNotFoundError(f"{folder}: missing or unfinished; run {what} first")
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document
