"""What every kind of answer can do; `kinds` names them, whoever asks needs no more than this."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from submissions.host.competition import Competition
from submissions.host.listed_images import ListedImages
from submissions.host.problems import Problem
from submissions.host.sample import submission_format
from submissions.host.truth import Truth
from submissions.table.scoring import Segmentation

Fields = Mapping[str, Any]
Others = Literal["error", "skip"]


@dataclass(frozen=True)
class Written:
    """What was written: the file or folder, how many of what (rows, files, objects), and the images that it names."""

    path: Path
    count: int
    what: str
    image_ids: list[str]

    def __str__(self) -> str:
        """'18 rows'."""
        return f"{self.count} {self.what}"


class Writer(ABC):
    """Takes one image after another; the answer is at its place once `finish` returns, and not before.

    Used in a `with` statement, which removes what was written so far where it is left by an error.
    """

    @abstractmethod
    def add(self, fields: Fields, said: Segmentation) -> None:
        """One image; `fields`: its row of the listing."""

    @abstractmethod
    def add_empty(self, image_id: str) -> None:
        """An image that could not be predicted: nothing is on it."""

    @abstractmethod
    def finish(self) -> Written:
        """Put the answer in its place. ValueError where images lack that the host wants, or others are there."""

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *error: object) -> None: ...


class Reader(ABC):
    """An answer read back, an image at a time."""

    @property
    @abstractmethod
    def image_ids(self) -> list[str]:
        """Images that it names, in any order."""

    @abstractmethod
    def read(self, image_id: str, *, step: int = 1) -> Segmentation:
        """What it says of an image, nothing where it names it not; every `step`-th row and column of it.

        Raises ValueError where that cannot be read.
        """

    @abstractmethod
    def truth(self, image_id: str) -> Truth:
        """The same where the answer is the host's solution; what the host does not score is not valid."""

    def attributes(self, image_id: str) -> Sequence[Fields]:
        """What it says beside the masks, such as Usage: a mapping a row of the image; nothing of one without rows."""
        return []

    def lacking(self, solution: Reader) -> list[str]:
        """Names of what the solution has and this answer must have and has not; nothing where what lacks is empty."""
        return []


class Answer(ABC):
    """A kind of answer, for one competition."""

    def __init__(self, competition: Competition) -> None:
        self.competition = competition
        self.form = submission_format(competition)

    @property
    @abstractmethod
    def ending(self) -> str:
        """Ending of the file, such as '.csv'; '' of a folder."""

    @abstractmethod
    def begin(self, out: Path, images: ListedImages) -> Writer:
        """Start writing `out`, of these test images."""

    @abstractmethod
    def open(self, path: Path, images: ListedImages, *, others: Others = "error") -> Reader:
        """Read an answer, or a solution of its form, of these images; what it says of others is an error, or skipped.

        Raises FileNotFoundError, or ValueError where it cannot be read.
        """

    @abstractmethod
    def through(self, fields: Fields, said: Segmentation) -> Segmentation:
        """An image as the host reads it out of what is written of it: CV goes this way, and through nothing else."""

    @abstractmethod
    def problems(self, data: Path) -> list[Problem]:
        """What is wrong before anything is trained: the contract's form against the test images at hand."""
