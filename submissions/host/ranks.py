"""Which place has a file among those of its folder? The fields {rank}, from 0, and {rank1}, from 1."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

from submissions.host.competition import Competition
from submissions.host.patterns import FIELD

RANKS = ("rank", "rank1")
NUMBER = re.compile(r"([0-9]+)")


def in_order(paths: Iterable[str]) -> list[str]:
    """Paths in the order of their names, numbers in them by their size: 2.dcm before 10.dcm."""
    return sorted(paths, key=lambda path: [int(part) if k % 2 else part for k, part in enumerate(NUMBER.split(path))])


def names_ranks(competition: Competition) -> bool:
    """Whether a template of the contract asks for the place of an image among the files of its folder."""
    images, masks = competition.images, competition.masks
    given = (images.id, images.test_id, images.stack, images.z, images.series, masks.path, masks.valid)
    return any(name in RANKS for template in given if template for name in FIELD.findall(template))


def put_ranks(rows: Sequence[dict[str, Any]]) -> None:
    """Give each row of a listing its place among the rows whose files lie in the same folder."""
    folders: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        path = str(row["path"])
        folders.setdefault(str(PurePosixPath(path).parent), {}).setdefault(path, []).append(row)
    for files in folders.values():
        for rank, path in enumerate(in_order(files)):
            for row in files[path]:
                row.update(rank=str(rank), rank1=str(rank + 1))
