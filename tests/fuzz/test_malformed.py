"""Hundreds of malformed inputs: each ends with a sentence that names the thing, or is passed over and counted.

No traceback of a library, no hang, no memory beyond the cap, nothing half-written. A tenth runs by default; all of it:
`make fuzz`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fuzz_server import Ending, Server
from malformed import FORMATS, Malformed, commands_of, malformed_inputs, sound_case, write_sound

PEAK = 1.5e9
CASES = malformed_inputs()
TENTH = 10


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The process that the commands are forked from."""
    running = Server()
    yield running
    running.close()


def half_written(folder: Path) -> list[str]:
    """Files under a folder that are called partial, are said to be done without being so, or cannot be read back."""
    found = [str(path) for path in folder.rglob("*.partial")]
    for path in folder.rglob("*"):
        try:
            if path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".csv":
                pd.read_csv(path)
            elif path.suffix == ".npy":
                np.load(path)
        except pd.errors.EmptyDataError:
            continue
        except ValueError as error:
            found.append(f"{path}: {error}")
    return found


def judge(case: Malformed, ending: Ending, folder: Path) -> None:
    """Raises AssertionError with what was said where the command did not end as it has to."""
    said = f"{case.name}: status {ending.status}\n{ending.said[-3000:]}"
    assert not ending.hung, f"it hangs: {said}"
    assert ending.status in (0, 1, 2), said
    assert "Traceback (most recent call last)" not in ending.said, said
    assert ending.peak < PEAK, f"{ending.peak / 1e9:.1f} GB: {said}"
    if case.fails:
        assert ending.status, f"it is taken for well: {said}"
    if case.counted:
        assert case.word in ending.said, f"{case.word!r} is passed over without a word: {said}"
    if ending.status == 1:
        last = ending.said[ending.said.rindex("error: ") :] if "error: " in ending.said else ""
        assert len(last) > len("error: ") + 15, f"no sentence: {said}"
        assert case.word in last, f"{case.word!r} is not named: {said}"
    assert not half_written(folder / "runs"), half_written(folder / "runs")


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.name, marks=[] if number % TENTH == 0 else [pytest.mark.smoke])
     for number, case in enumerate(CASES)],
)  # fmt: skip
def test_a_malformed_input_ends_in_a_sentence(case: Malformed, server: Server, tmp_path: Path) -> None:
    write_sound(tmp_path, case.ext, case.masks)
    case.spoil(tmp_path)
    judge(case, server.run(commands_of(case, tmp_path), tmp_path), tmp_path)


SOUND = [
    sound_case(), *(sound_case(ext) for ext in FORMATS[1:]), sound_case(masks="rle"),
    sound_case(arguments=("--set", "seed=1")),
]  # fmt: skip


@pytest.mark.parametrize("case", [SOUND[0], *(pytest.param(case, marks=pytest.mark.smoke) for case in SOUND[1:])])
def test_what_the_inputs_are_made_of_is_sound(case: Malformed, server: Server, tmp_path: Path) -> None:
    write_sound(tmp_path, case.ext, case.masks)
    ending = server.run(commands_of(case, tmp_path), tmp_path)
    assert ending.status == 0, ending.said


def test_what_must_not_be_is_noticed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "locked").write_text("x")
    (tmp_path / "locked").chmod(0)
    (tmp_path / "runs").mkdir()
    case = sound_case()
    raised, starved, locked, hung = (
        server.run([["fuzz_endings", word]], tmp_path, seconds=1) for word in ("raise", "memory", "read", "hang")
    )
    assert "KeyError: 'raise'" in raised.said and raised.status == 70
    assert "MemoryError" in starved.said
    assert "PermissionError" in locked.said
    assert hung.hung
    for ending in (raised, starved, locked, hung):
        with pytest.raises(AssertionError):
            judge(case, ending, tmp_path)
    well = server.run([], tmp_path)
    judge(case, well, tmp_path)
    (tmp_path / "runs/stage.json").write_text("{")
    with pytest.raises(AssertionError, match=r"stage\.json"):
        judge(case, well, tmp_path)


def test_there_are_hundreds_of_them_with_names_of_their_own() -> None:
    assert len(CASES) >= 300 and len({case.name for case in CASES}) == len(CASES)
    assert {case.command for case in CASES} == {"stages", "guess"}
