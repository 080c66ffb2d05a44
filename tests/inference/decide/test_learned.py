"""One reader for decisions and forecasts: it names the file in whatever is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from inference.decide.learned import Learned, load_learned


class Verdict(Learned):
    """A document of its own."""

    shares: list[float] = Field(min_length=1)


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "verdict.json"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    made = Verdict(fingerprint="abc", shares=[0.25, float("nan")])
    read = load_learned(Verdict, written(tmp_path, made.model_dump_json().replace("null", "NaN")), fingerprint="abc")
    assert read.shares[0] == 0.25 and read.shares[1] != read.shares[1] and read.fingerprint == "abc"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"format": 2, "finger', "the verdict is damaged"),
        (b"\xff\xfe\x00", "the verdict is damaged"),
        ("", "the verdict is damaged"),
        ("[1, 2]", "format None, expected 2; run 06_tune again"),
        ('{"format": 1, "fingerprint": "abc"}', "format 1, expected 2; run 06_tune again"),
        ('{"format": 2, "fingerprint": "abc"}', "shares: missing"),
        ('{"format": 2, "fingerprint": "abc", "shares": [1], "share": 1}', "share: unknown key"),
        ('{"format": 2, "fingerprint": "xyz", "shares": [1]}', "learned from the predictions 'xyz', but these weights"),
    ],
)
def test_what_is_wrong_is_said_of_the_file(text: str | bytes, words: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=words) as caught:
        load_learned(Verdict, path, fingerprint="abc")
    assert str(path) in str(caught.value)


def test_without_a_file_the_stage_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"verdict\.json: no verdict; run stage 06_tune first"):
        load_learned(Verdict, tmp_path / "verdict.json")
