"""A terminal sees a bar, a log a line every tenth."""

from __future__ import annotations

import re
import sys

import pytest
from tqdm import tqdm

from inference.progress import ProgressLines, progress_bar, show


def test_a_log_has_a_line_every_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    assert show(((done, 250) for done in range(1, 251)), "images") == 250
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert said.out == "" and "\r" not in said.err
    assert [int(line.split()[1]) for line in lines] == [25 * tenth for tenth in range(1, 11)]
    assert all(re.fullmatch(r"images: \d+ of 250, \d+ s(, [\d.e+]+ image/s)?", line) for line in lines)


def test_few_steps_are_a_line_each_and_none_without_a_total(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress_bar(["a", "b", "c"], desc="few")) == ["a", "b", "c"]
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        "few: 1 of 3", "few: 2 of 3", "few: 3 of 3"
    ]  # fmt: skip
    assert list(progress_bar(iter("ab"))) == ["a", "b"]
    assert capsys.readouterr().err == ""


def test_what_was_done_before_is_not_said_again(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(total=100, initial=50, unit="step", desc="fold_0") as bar:
        for _ in range(50):
            bar.set_postfix({"loss": "0.5"}, held_out="0.9")
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"fold_0: {done} of 100" for done in (60, 70, 80, 90, 100)]
    assert all(line.endswith(", loss=0.5, held_out=0.9") for line in lines)


def test_a_disabled_one_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    list(progress_bar(range(10), disable=True))
    assert capsys.readouterr().err == ""


def test_a_terminal_has_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(progress_bar(total=2), ProgressLines)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_bar(total=2) as bar:
        assert isinstance(bar, tqdm)
