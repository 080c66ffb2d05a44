"""Ensembles: members that share a grid go together in one pass; passes add to one sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.config import InputConfig, PredictConfig
from inference.predict.axes import ORDER
from inference.predict.members import ReadyMember, Vote, make_vote
from inference.predict.resample import working_scale


@dataclass(frozen=True, eq=False)
class Pass:
    """One streaming pass over an image: a grid, and the members that vote on it."""

    axis: str  # along which planes are cut, or "volume" for networks of three dimensions
    whole: bool
    scale: float
    input_config: InputConfig
    predict_config: PredictConfig
    votes: list[Vote]

    @property
    def share(self) -> float:
        """This pass' share of the result."""
        return sum(vote.share for vote in self.votes)


def member_weights(number: int, weights: Sequence[float] | None = None) -> list[float]:
    """Return `number` shares that sum to 1: equal ones, or `weights` scaled; raises ValueError if they cannot
    be.
    """
    if weights is None:
        return [1.0 / number] * number
    if len(weights) != number:
        raise ValueError(f"{len(weights)} weights were given for {number} members, expected one each")
    if not (all(weight >= 0 for weight in weights) and 0 < sum(weights) < float("inf")):
        raise ValueError(f"weights are {list(weights)}, expected none below 0 and a sum above 0")
    return [weight / sum(weights) for weight in weights]


def plan_passes(
    members: Sequence[ReadyMember],
    *,
    weights: Sequence[float] | None = None,
    pixel_size_um: float | None = None,
) -> list[Pass]:
    """Group members by what they read and where their tiles lie; a member of weight 0 is left out."""
    if len({member.predict_config.merge for member in members}) > 1:
        raise ValueError("members are merged as probs and as logits, expected the same predict.merge for all")
    found: dict[tuple[object, ...], Pass] = {}
    for member, weight in zip(members, member_weights(len(members), weights), strict=True):
        if weight == 0:
            continue
        config = member.predict_config
        modes = [False, True] if config.mode == "both" else [config.mode == "whole"]
        scale = working_scale(member.input_config, pixel_size_um)
        shown = member.input_config.model_dump_json()
        laid = (config.tile, config.overlap, config.window, config.border, config.skip_background)
        axes = ["volume"] if member.input_config.dims == 3 else list(dict.fromkeys(config.axes))
        for axis in axes:
            for whole in modes:
                share = weight / len(modes) / len(axes)
                key = (axis, whole, scale, shown, laid)
                one = found.setdefault(key, Pass(axis, whole, scale, member.input_config, config, []))
                one.votes.append(make_vote(member, share))
    return list(found.values())


class HostSum:
    """Float32 sum of passes at the host's size, `(K, Z, H, W)`: in memory, or in a file beside the
    prediction.
    """

    def __init__(self, shape: tuple[int, int, int, int], path: Path | None) -> None:
        """Begin with zeros, in `path` if one is given (removed by `close`)."""
        self.shape, self.path = shape, path
        self._array: np.ndarray | None = None
        if path is None:
            self._array = np.zeros(shape, dtype=np.float32)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w+b")
            self._file.truncate(4 * int(np.prod(shape)))

    def add(self, axis: str, plane: int, row: int, block: np.ndarray) -> None:
        """Add `(K, rows, width)` to plane `plane` along `axis` from row `row` on (file: no axis "y" or "x").

        The planes of "volume" are those of "z".
        """
        axis = "z" if axis == "volume" else axis
        if self._array is not None:
            order = (0, *(1 + place for place in ORDER[axis]))
            self._array.transpose(order)[:, plane, row : row + block.shape[1]] += block
            return
        assert axis == "z", "planes along y and x are summed in memory"
        for k, rows in enumerate(block):
            total = self._read(k, plane, row, len(rows))
            total += rows
            self._file.seek(self._offset(k, plane, row))
            self._file.write(total.data)

    def rows(self, plane: int, row: int, count: int) -> np.ndarray:
        """Return `(K, count, W)` of slice `plane`."""
        if self._array is not None:
            return self._array[:, plane, row : row + count]
        return np.stack([self._read(k, plane, row, count) for k in range(self.shape[0])])

    def close(self) -> None:
        """Forget the sum and remove its file."""
        self._array = None
        if self.path is not None:
            self._file.close()
            self.path.unlink(missing_ok=True)

    def _offset(self, k: int, plane: int, row: int) -> int:
        return 4 * ((k * self.shape[1] + plane) * self.shape[2] + row) * self.shape[3]

    def _read(self, k: int, plane: int, row: int, count: int) -> np.ndarray:
        self._file.seek(self._offset(k, plane, row))
        read = np.frombuffer(bytearray(self._file.read(4 * count * self.shape[3])), dtype=np.float32)
        return read.reshape(count, self.shape[3])
