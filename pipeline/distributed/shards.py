"""A shard: one of several equal parts of a stage's images, which any process can do without the others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Shard:
    """Part `number` of `count`, counted from 1 as the tasks of a job array are."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, items: Sequence[Item]) -> list[Item]:
        """Its share of the items, neighbours together: slices of a stack, or images of a fold, need the same files.

        The shares of all shards are the items, each once; their sizes differ by one at most.
        """
        start, stop = ((number * len(items)) // self.count for number in (self.number - 1, self.number))
        return list(items[start:stop])


def parse_shard(text: str) -> Shard:
    """A shard from text such as '3/16'; raises ValueError for anything that is no part of a whole."""
    found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    number, count = (int(part) for part in found.groups()) if found else (0, 0)
    if not 1 <= number <= count:
        raise ValueError(f"shard {text!r}: expected NUMBER/COUNT, as in 1/16 to 16/16")
    return Shard(number, count)


def share(items: Sequence[Item], shard: Shard | None) -> list[Item]:
    """The items of a shard, all of them without one."""
    return list(items) if shard is None else shard.of(items)
