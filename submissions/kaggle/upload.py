"""Handing a submission in, once: each carries a tag of its content, which the host's list is searched for.

It is asked before anything is sent, and before anything is sent again. The host is reached through `Client`,
a seam of few methods; `submissions.kaggle.client` is the one for Kaggle.
Credentials are the client package's own affair: nothing here reads, logs or stores them.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar

State = Literal["pending", "complete", "error"]
Answer = TypeVar("Answer")
SENT = "Run the same command later: what was submitted is found by its tag and not submitted again"
UNSENT = (
    "Nothing was submitted. Run the same command with a longer --timeout: it uploads the data set and starts "
    "the notebook anew, and waits that long for each"
)


class UploadError(ValueError):
    """The upload did not come to its end; the message says why and what to do."""


class RefusedError(Exception):
    """Raised by a client: the host answered, and said no. The text is the host's reason."""


class LostError(Exception):
    """Raised by a client: no answer came, so that the request may have arrived or not."""


@dataclass(frozen=True)
class Submitted:
    """One entry of the host's list of submissions; scores are None until the host shows them."""

    ref: str
    description: str
    state: State = "pending"
    public: float | None = None
    private: float | None = None
    error: str = ""


@dataclass(frozen=True)
class Kernel:
    """A pushed notebook: 'owner/slug' and the number of the version that was made."""

    ref: str
    version: int


class Client(Protocol):
    """What is asked of a host. Every method may raise RefusedError or LostError."""

    def submissions(self, competition: str) -> list[Submitted]:
        """The own submissions, at least the newest hundred."""

    def submit_file(self, competition: str, path: Path, message: str) -> None:
        """Submit a CSV file."""

    def create_dataset_version(self, folder: Path, notes: str) -> str:
        """Upload a folder (with its metadata file) as a new version; returns 'owner/name'."""

    def dataset_ready(self, dataset: str) -> bool:
        """Whether the newest version can be used by a notebook."""

    def push_kernel(self, folder: Path) -> Kernel:
        """Push and run the notebook in a folder (with its metadata file)."""

    def kernel_state(self, kernel: Kernel) -> tuple[State, str]:
        """State of the run, and the host's words where it failed."""

    def submit_kernel(self, competition: str, kernel: Kernel, file_name: str, message: str) -> None:
        """Submit what a version of a notebook wrote."""


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds, and how often to try.

    timeout: for the score, and for a notebook's run; interval: between questions; settle: before the host's
    list is trusted not to hold what was sent last; attempts: at sending.
    """

    timeout: float = 3600.0
    interval: float = 30.0
    settle: float = 30.0
    attempts: int = 3
    sleep: Callable[[float], object] = time.sleep
    clock: Callable[[], float] = time.monotonic


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, or of a folder's (names and bytes of every file below it), 16 digits."""
    checksum = hashlib.sha256()
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        if path.is_dir():
            name = file.relative_to(path).as_posix().encode()
            checksum.update(f"{len(name)} {file.stat().st_size} ".encode() + name)
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                checksum.update(block)
    return checksum.hexdigest()[:16]


def submit_csv(
    client: Client,
    competition: str,
    path: Path,
    message: str,
    *,
    max_bytes: int | None = None,
    patience: Patience | None = None,
    report: Callable[[str], None] = print,
) -> Submitted:
    """Submit a file unless it was submitted before; wait for its score and return it.

    Raises FileNotFoundError for a missing file, UploadError that says what to do for everything else.
    """
    if path.is_dir():
        raise UploadError(f"{path}: a folder, the host takes one file; write pack: zip in submission of the contract")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; run stage 07, which writes the submission")
    if max_bytes is not None and path.stat().st_size > max_bytes:
        raise UploadError(f"{path}: {path.stat().st_size:,} bytes, the host takes at most {max_bytes:,}")
    tag = _tag(path)
    return _once(
        client, competition, tag, lambda: client.submit_file(competition, path, f"{message} {tag}"),
        patience or Patience(), report,
    )  # fmt: skip


def submit_code(
    client: Client,
    competition: str,
    dataset: Path,
    kernel: Path,
    message: str,
    *,
    file_name: str = "submission.csv",
    patience: Patience | None = None,
    report: Callable[[str], None] = print,
) -> Submitted:
    """Submit a notebook: the dataset folder as a new version, the kernel pushed, its version submitted.

    Both folders hold the metadata files of the host's own tool. The tag is of both folders' content; where it
    was submitted before, nothing is uploaded. A version made twice by a retry scores nothing: only the last
    step counts. Raises FileNotFoundError for a missing folder, UploadError that says what to do otherwise.
    """
    for folder, kind in ((dataset, "dataset"), (kernel, "kernel")):
        if not (folder / f"{kind}-metadata.json").is_file():
            raise FileNotFoundError(
                f"{folder / kind}-metadata.json: no such file; put the {kind}'s files into that folder (stage 08 "
                f"bundles the data set) and run `kaggle {kind}s init -p {folder}`, then set its id"
            )
    wait = patience or Patience()
    tag = _tag(dataset, kernel)
    if _find(client, competition, tag) is None:
        name = _asked(
            lambda: client.create_dataset_version(dataset, f"{message} {tag}"), "the dataset", wait,
            f"A data set that is not there yet is made once with `kaggle datasets create -p {dataset} --dir-mode zip`, "
            "and takes versions when the host has processed it",
        )  # fmt: skip
        report(f"dataset {name}: a new version is uploaded")
        _wait(lambda: _asked(lambda: client.dataset_ready(name), "the dataset", wait), f"dataset {name}", wait, UNSENT)
        pushed = _asked(
            lambda: client.push_kernel(kernel), "the notebook", wait,
            f"Compare the id and the sources in {kernel / 'kernel-metadata.json'} with the host's pages",
        )  # fmt: skip
        report(f"notebook {pushed.ref}: version {pushed.version} runs")
        _wait(lambda: _kernel_done(client, pushed, wait), f"notebook {pushed.ref}", wait, UNSENT)
    return _once(
        client, competition, tag,
        lambda: client.submit_kernel(competition, pushed, file_name, f"{message} {tag}"), wait, report,
    )  # fmt: skip


def _tag(*paths: Path) -> str:
    return "[" + "-".join(file_hash(path) for path in paths) + "]"


def _listed(client: Client, competition: str, tag: str) -> Submitted | None:
    return next((found for found in client.submissions(competition) if tag in found.description), None)


def _find(client: Client, competition: str, tag: str) -> Submitted | None:
    """The newest submission with the tag. Not knowing is an error: nothing is sent on a guess."""
    try:
        return _listed(client, competition, tag)
    except LostError as error:
        raise UploadError(
            f"the list of submissions could not be read ({error}), and nothing is sent without knowing "
            "whether it was sent before. Run this again when the connection is back"
        ) from error
    except RefusedError as error:
        raise UploadError(_sentence(str(error))) from error


def _once(
    client: Client,
    competition: str,
    tag: str,
    send: Callable[[], None],
    wait: Patience,
    report: Callable[[str], None],
) -> Submitted:
    found = _find(client, competition, tag)
    if found is not None:
        report(f"submitted before as {found.ref}; it is not sent again")
    for attempt in range(wait.attempts):
        if found is not None:
            break
        try:
            send()
            report("submitted")
            break
        except RefusedError as error:
            raise UploadError(_sentence(str(error))) from error
        except LostError as error:
            report(f"no answer ({error}); asking in {wait.settle:.0f} s whether it arrived")
            wait.sleep(wait.settle)
            found = _find(client, competition, tag)
            if found is None and attempt + 1 == wait.attempts:
                raise UploadError(
                    f"no answer in {wait.attempts} attempts ({error}), and the host does not list the "
                    "submission; check the connection and run this again: it is not sent if it has arrived"
                ) from error
    return _scored(client, competition, tag, wait)


def _scored(client: Client, competition: str, tag: str, wait: Patience) -> Submitted:
    latest: list[Submitted] = []

    def done() -> bool:
        try:
            found = _listed(client, competition, tag)
        except LostError:
            return False
        latest[:] = [found] if found else latest
        return found is not None and found.state != "pending"

    _wait(done, "the score", wait, SENT)
    if latest[0].state == "error":
        reason = latest[0].error or "it gave no reason"
        raise UploadError(
            f"the host rejected submission {latest[0].ref}: {reason}. Run `python -m submissions lint` on "
            "the file, read the host's page for the submission, and hand in a changed one"
        )
    return latest[0]


def _kernel_done(client: Client, kernel: Kernel, wait: Patience) -> bool:
    state, reason = _asked(lambda: client.kernel_state(kernel), "the notebook", wait)
    if state == "error":
        raise UploadError(
            f"notebook {kernel.ref} version {kernel.version} failed: {reason or 'no reason given'}; its log "
            "is on the notebook's page. Nothing was submitted"
        )
    return state == "complete"


def _asked(ask: Callable[[], Answer], what: str, wait: Patience, advice: str = "") -> Answer:
    """An answer to a request that may be repeated without harm; advice: what to do about a no."""
    for attempt in itertools.count(1):
        try:
            return ask()
        except RefusedError as error:
            said = f"the host refused: {error}. {advice}" if advice else _sentence(str(error))
            raise UploadError(f"{what}: {said}") from error
        except LostError as error:
            if attempt >= wait.attempts:
                raise UploadError(
                    f"{what}: no answer in {attempt} attempts ({error}); check the connection and run this "
                    "again. Nothing was submitted"
                ) from error
            wait.sleep(wait.interval)
    raise AssertionError("the count has no end")


def _wait(done: Callable[[], bool], what: str, wait: Patience, advice: str) -> None:
    end = wait.clock() + wait.timeout
    while not done():
        if wait.clock() + wait.interval > end:
            raise UploadError(f"{what}: not ready after {wait.timeout / 60:.0f} minutes. {advice}")
        wait.sleep(wait.interval)


def _sentence(reason: str) -> str:
    """What to do about the host's no."""
    text = reason.lower()
    if re.search(r"\b429\b|too many requests|allowance|daily|limit", text):
        return f"the host takes no more submissions now: {reason}. Run this again after the reset (00:00 UTC)"
    if re.search(r"\b40[13]\b|unauthori|forbidden|permission|accept", text):
        return (
            f"the host does not let you in: {reason}. Accept the competition's rules on its page, and check "
            "that the credentials are those of a member of the team"
        )
    if re.search(r"\b404\b|not found", text):
        return f"the host does not know it: {reason}. --host-name must be the competition's name in its address"
    return f"the host refused: {reason}. Run `python -m submissions lint` on it and compare it with the sample"
