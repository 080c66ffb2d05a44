"""Variants: their names, the folds that judge them, and their settings as a command line has them."""

from __future__ import annotations

from pathlib import Path

from tiny_run import space_of, write_tiny_experiment

from pipeline.search.variants import assignments, search_folds, variant_name
from submissions.host.settings import override

SEARCH = {"folds": [0], "ranges": {"train.lr": {"low": 1e-4, "high": 1e-2, "log": True}}}


def test_runs_that_differ_have_other_names(tmp_path: Path) -> None:
    arguments = write_tiny_experiment(tmp_path, search=SEARCH)
    one, other = space_of(arguments).experiment, space_of(arguments, "--set", "train.epochs=3").experiment
    wider = space_of(arguments, "--set", "search.pruner=none").experiment
    name = variant_name(one, "best-unseen", {"train.lr": 0.1})
    assert name.startswith("tiny-best-unseen-") and name == variant_name(wider, "best-unseen", {"train.lr": 0.1})
    changed = variant_name(one, "best-unseen", {"train.lr": 0.2})
    of_other = variant_name(other, "best-unseen", {"train.lr": 0.1})
    assert len({name, changed, of_other}) == 3


def test_half_of_the_folds_judge_where_none_are_named(tmp_path: Path) -> None:
    space = space_of(write_tiny_experiment(tmp_path), "--set", "folds.n=5")
    assert search_folds(space.experiment) == ([0, 1], [2, 3, 4])
    assert assignments({"a.b": [1], "c": "x"}) == ["--set", "a.b=[1]", "--set", 'c="x"']
    small = {"train.optimizer_options.eps": 1e-05, "train.lr": 0.01}  # json writes 1e-05, which YAML takes for text
    assert override({}, assignments(small)[1::2]) == {"train": {"optimizer_options": {"eps": 1e-05}, "lr": 0.01}}
