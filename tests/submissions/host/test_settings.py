from __future__ import annotations

import math
from pathlib import Path

import pytest
from pydantic import Field, model_validator

from submissions.host.settings import Measured, Settings, override, read_yaml, validate, value_problem


class Inner(Settings):
    epochs: int = Field(1, ge=1)
    lr: float = 1e-3


class Outer(Settings):
    name: str
    train: Inner = Field(default_factory=Inner)


def test_override_sets_dotted_keys_and_leaves_the_original_alone() -> None:
    document = {"name": "a", "train": {"epochs": 2}}
    changed = override(document, ["train.epochs=5", "train.lr=3e-4", "new.deep.key=[1, 2]"])
    assert changed == {"name": "a", "train": {"epochs": 5, "lr": "3e-4"}, "new": {"deep": {"key": [1, 2]}}}
    assert document["train"] == {"epochs": 2}
    assert validate(Outer, override(document, ["train.lr=3e-4"]), "x").train.lr == 3e-4


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("train.epochs", "expected key=value"),
        ("name.first=1", "is a value, not a section"),
        ("seed=[1", r"--set 'seed=\[1': the value is not readable as YAML"),
        ("name=!!x y", "not readable as YAML"),
    ],
)
def test_override_refuses(assignment: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        override({"name": "a"}, [assignment])


def test_every_wrong_key_is_listed_with_what_was_expected() -> None:
    with pytest.raises(ValueError) as caught:
        validate(Outer, {"train": {"epochs": 0, "learning_rate": 1}}, "mine.yaml")
    text = str(caught.value)
    assert "mine.yaml: 3 setting(s)" in text
    assert "name: missing" in text
    assert "train.epochs: found 0" in text
    assert "train.learning_rate: unknown key; expected one of: epochs, lr" in text


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("train.epochs", 3, ""),
        ("name", "b", ""),
        ("train.epochs", 0, "train.epochs: found 0; Input should be greater"),
        ("train.epoch", 3, "train.epoch: unknown key; expected one of: epochs, lr"),
        ("train.lr", math.inf, "train.lr: found inf; Input should be a finite number"),
        ("train.lr", math.nan, "train.lr: found nan; Input should be a finite number"),
        ("trian.epochs", 3, "trian: unknown key; expected one of: name, train"),
        ("name.first", "b", "name: Input should be a valid string"),
    ],
)
def test_a_value_is_judged_by_itself(key: str, value: object, words: str) -> None:
    found = value_problem(Outer, key, value)
    assert found.startswith(words) and bool(found) == bool(words)


def test_what_a_stage_computed_may_be_no_number() -> None:
    class Learned(Measured):
        score: float

    assert math.isnan(validate(Learned, {"score": math.nan}, "x").score)


def test_yaml_is_read_safely(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: !!python/object/apply:os.system ['true']")
    with pytest.raises(ValueError, match="not readable as YAML"):
        read_yaml(bad)
    bad.write_text("- 1\n- 2\n")
    with pytest.raises(ValueError, match="expected a mapping"):
        read_yaml(bad)
    for content in (b"\xff\xfe\x00", b"[" * 5000):
        bad.write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.yaml: not readable as YAML"):
            read_yaml(bad)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_yaml(tmp_path / "none.yaml")


def test_aliases_that_stand_for_too_much_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.yaml"
    lines = ["k0: &k0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"k{n}: &k{n} [{', '.join([f'*k{n - 1}'] * 10)}]" for n in range(1, 9)]
    for text in ("\n".join(lines), "k: &k [*k]", "k: &k {a: {b: *k}}"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"bomb\.yaml: its aliases stand for more than 1,000,000 values"):
            read_yaml(path)
    path.write_text("\n".join(lines[:4]))
    assert len(read_yaml(path)["k3"]) == 10
    path.write_text("a: &a [1, 2]\nb: [*a, *a]")
    assert read_yaml(path)["b"] == [[1, 2], [1, 2]]


class Whole(Settings):
    low: int = 0
    part: Inner = Field(default_factory=Inner)

    @model_validator(mode="after")
    def _fits(self) -> Whole:
        if self.low > self.part.epochs:
            raise ValueError(f"low is {self.low}; with part.epochs {self.part.epochs} it ends there")
        return self


class Outermost(Settings):
    whole: Whole = Field(default_factory=Whole)


def test_what_is_wrong_with_a_section_is_said_by_its_key_without_all_of_it() -> None:
    with pytest.raises(ValueError) as caught:
        validate(Whole, {"low": 7}, "x.yaml")
    assert str(caught.value).splitlines()[1] == "  low is 7; with part.epochs 1 it ends there"
    with pytest.raises(ValueError) as caught:
        validate(Outermost, {"whole": {"low": 7}}, "x.yaml")
    assert str(caught.value).splitlines()[1] == "  whole: low is 7; with part.epochs 1 it ends there"
    with pytest.raises(ValueError, match=r"  whole\.part\.epochs: found 0; Input should be greater than or equal to 1"):
        validate(Outermost, {"whole": {"part": {"epochs": 0}}}, "x.yaml")
