"""Kaggle behind the seam of `submissions.kaggle.upload`, through the official package (`pip install kaggle`).

The package finds its credentials by itself (the environment, or a file in the home folder).
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from submissions.kaggle.upload import Kernel, LostError, RefusedError, State, Submitted, UploadError

NEWEST = 200
INSTALL = (
    "the package `kaggle` cannot be imported ({error}): run `pip install kaggle six`, or hand the file in on the "
    "host's page"
)
SIGN_IN = (
    "the package `kaggle` finds no credentials: make a token on your account's settings page, put it where "
    "the page says, and check it with `kaggle competitions list`"
)


def connect() -> KaggleClient:
    """A client that is signed in; UploadError that says what to do without the package, or credentials."""
    try:
        importlib.import_module("kaggle")  # first: its module below imports it in a circle
        module = importlib.import_module("kaggle.api.kaggle_api_extended")
    except ImportError as error:
        raise UploadError(INSTALL.format(error=error)) from error
    except (SystemExit, OSError) as error:  # versions before 1.8 sign in as they are imported
        raise UploadError(SIGN_IN) from error
    api = module.KaggleApi()
    try:
        api.authenticate()
    except (SystemExit, OSError, ValueError) as error:
        raise UploadError(SIGN_IN) from error
    return KaggleClient(api)


class KaggleClient:
    """`submissions.kaggle.upload.Client` over the official package's `KaggleApi`."""

    def __init__(self, api: Any) -> None:
        self.api = api

    def submissions(self, competition: str) -> list[Submitted]:
        """The newest 200 submissions."""
        found = _answer(lambda: self.api.competition_submissions(competition, page_size=NEWEST))
        return [_submitted(item) for item in found or [] if item is not None]

    def submit_file(self, competition: str, path: Path, message: str) -> None:
        """Upload and submit a file."""
        response = _answer(lambda: self.api.competition_submit(str(path), message, competition, quiet=True))
        if "could not submit" in str(getattr(response, "message", "")).lower():
            raise LostError("the file could not be uploaded")

    def create_dataset_version(self, folder: Path, notes: str) -> str:
        """Upload a folder; sub-folders are uploaded as archives."""
        response = _answer(
            lambda: self.api.dataset_create_version(
                str(folder), notes, quiet=True, convert_to_csv=False, dir_mode="zip"
            )
        )
        _refuse(getattr(response, "error", ""))
        return _metadata_id(folder / "dataset-metadata.json")

    def dataset_ready(self, dataset: str) -> bool:
        """Whether the dataset's status is 'ready'; RefusedError where processing it failed."""
        status = str(_answer(lambda: self.api.dataset_status(dataset))).lower()
        if "error" in status or "failed" in status:
            raise RefusedError(f"dataset {dataset}: {status}")
        return status.endswith("ready")

    def push_kernel(self, folder: Path) -> Kernel:
        """Push the notebook, which runs it."""
        response = _answer(lambda: self.api.kernels_push(str(folder)))
        _refuse(getattr(response, "error", ""))
        sources = ("dataset", "competition", "kernel", "model")
        for name in [f"invalid_{source}_sources" for source in sources]:
            if getattr(response, name, None):
                raise RefusedError(f"{name.replace('_', ' ')}: {getattr(response, name)}")
        return Kernel(_metadata_id(folder / "kernel-metadata.json"), int(response.version_number))

    def kernel_state(self, kernel: Kernel) -> tuple[State, str]:
        """State of the notebook's run of that version."""
        found = _answer(lambda: self.api.kernels_status(f"{kernel.ref}/{kernel.version}"))
        name = _name(found.status)
        failed = name.startswith(("error", "cancel"))
        state: State = "complete" if name == "complete" else "error" if failed else "pending"
        return state, str(getattr(found, "failure_message", None) or "")

    def submit_kernel(self, competition: str, kernel: Kernel, file_name: str, message: str) -> None:
        """Submit what the notebook's version wrote."""
        _answer(
            lambda: self.api.competition_submit_code(
                file_name, message, competition, kernel=kernel.ref, kernel_version=kernel.version, quiet=True
            )
        )


def _answer(ask: Callable[[], Any]) -> Any:
    """The package's answer; its errors as the seam's two kinds: a 4xx is a no, others may have arrived."""
    try:
        return ask()
    except OSError as error:  # what the package's HTTP library raises derives from it
        response = getattr(error, "response", None)
        code = getattr(response, "status_code", None)
        if code is None:
            raise LostError(type(error).__name__) from None
        if code in (408, 429) or not 400 <= code < 500:
            raise LostError(f"the host answered {code}") from None
        raise RefusedError(f"{code} {_said(error)}") from None
    except ValueError as error:
        raise RefusedError(str(error)) from None


def _said(error: Any) -> str:
    """The host's own words in an HTTP error, which may stand in its body only."""
    try:
        body = error.response.json()
        return str(body.get("message") or error)
    except (AttributeError, ValueError):
        return str(error)


def _submitted(item: Any) -> Submitted:
    name = _name(item.status)
    state: State = "complete" if name == "complete" else "error" if name == "error" else "pending"
    reason = str(getattr(item, "error_description", None) or "")
    public, private = _number(item.public_score), _number(item.private_score)
    return Submitted(str(item.ref), str(item.description or ""), state, public, private, reason)


def _name(status: Any) -> str:
    """'complete' of an enumeration's member or a text such as 'SubmissionStatus.COMPLETE'."""
    return str(getattr(status, "name", status)).rsplit(".", 1)[-1].lower()


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _refuse(reason: Any) -> None:
    if reason:
        raise RefusedError(str(reason))


def _metadata_id(path: Path) -> str:
    """'owner/name' in a metadata file."""
    found = json.loads(path.read_text(encoding="utf-8")).get("id")
    if not found or str(found).count("/") != 1:
        raise UploadError(f"{path}: id is {found!r}, expected 'owner/name' with your user name on Kaggle")
    return str(found)
