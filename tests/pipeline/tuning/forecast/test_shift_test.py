"""Sources left out in turn: the truth is that of the source, what is said of it comes from the others alone."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drawn_forecast import drawn_units, with_copies
from tiny_run import space_of, stage, write_tiny_experiment

from pipeline.tuning.forecast.known_units import joined
from pipeline.tuning.forecast.lessons import Known
from pipeline.tuning.forecast.shift_test import (
    COLUMNS,
    across_arguments,
    leave_sources_out,
    shift_sentences,
    split_by_source,
    training_sources,
)
from submissions.metrics import build_metric

DICE = build_metric("dice")


def named(known: Known, source: str) -> Known:
    """The units under other names, all of one source."""
    names = [f"{source}-{name}" for name in known.meta["unit"]]
    meta = known.meta.assign(unit=names, group=[f"{source}-{name}" for name in known.meta["group"]], source=source)
    return Known(known.units.assign(unit=names), known.rows, meta)


def drawn() -> Known:
    parts = [named(drawn_units(DICE, 16, harm, seed=k), name) for k, (name, harm) in enumerate(
        [("a", 0.05), ("b", 0.12), ("c", 0.5), ("d", 0.1)])]  # fmt: skip
    parts.append(named(drawn_units(DICE, 1, 0.1, seed=8), "alone"))
    copies = with_copies(DICE, drawn_units(DICE, 1, 0.1)).at(np.array([False] + [True] * 48))
    return joined([*parts, named(copies, "a")])


def test_a_foreign_source_is_foretold_and_cv_is_not() -> None:
    known = drawn()
    within = known.rows[known.own].assign(source=known.meta.loc[known.own, "source"].to_numpy())
    table = leave_sources_out(known, DICE, ["disc"], within=within).set_index("source")
    assert list(table.index) == ["a", "b", "c", "d"] and [table.index.name, *table] == COLUMNS
    own = known.own & (known.meta["source"] == "c").to_numpy()
    assert table.loc["c", "truth"] == table.loc["c", "CV within"] == DICE.score(known.rows[own])
    others = known.own & (known.meta["source"] != "c").to_numpy()
    assert table.loc["c", "CV of the others"] == DICE.score(known.rows[others])
    assert table.loc["c", "CV of the others"] - table.loc["c", "truth"] > 0.2
    assert abs(table.loc["c", "forecast"] - table.loc["c", "truth"]) < 0.08 and table["inside"].sum() >= 3
    first, second = shift_sentences(table.reset_index())
    assert "on the mean of 4 sources" in first and "of 4 scores lie in its interval" in second


def test_what_cannot_be_said_is_said() -> None:
    assert "no source has at least 3 scored units" in shift_sentences(pd.DataFrame(columns=COLUMNS))[0]
    two = joined([named(drawn_units(DICE, 4, 0.1, seed=k), name) for k, name in enumerate("ab")])
    table = leave_sources_out(two, DICE, ["disc"])
    assert table["forecast"].isna().all() and table["CV within"].isna().all()
    assert "too few units" in shift_sentences(table)[1]


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    given = write_tiny_experiment(tmp_path_factory.mktemp("shift"))
    for name in ("01_check_data", "02_make_folds"):
        stage(name)(given)
    return given


def test_one_source_cannot_be_left_out(arguments: list[str]) -> None:
    space = space_of(arguments)
    assert not split_by_source(space)
    with pytest.raises(ValueError, match="a shift test needs two or more"):
        across_arguments(space, None)


def test_a_column_of_the_host_names_the_sources(arguments: list[str]) -> None:
    """Also where stage 01 found one source only, and without running it again."""
    named = training_sources(space_of(arguments, "--set", "folds.sources={column: image_id}"))
    assert len(named) == 12 and set(named) == {1}


def test_the_word_trains_a_fold_a_source(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    space = space_of(arguments)
    path = space.inventory / "inventory.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    train = table["split"] == "train"
    table["source"] = np.where(train, np.where(np.arange(len(table)) % 2, "odd", "even"), "new")
    table.to_csv(path, index=False)
    given = [*arguments, "--set", "folds.method=kfold"]
    word = importlib.import_module("pipeline.__main__").WORDS["shift-test"]
    word([*given, "--epochs", "1"])
    said = capsys.readouterr().out
    made = pd.read_csv(space.shared / "tiny-across" / "shift_test.csv")
    assert sorted(made["source"]) == ["even", "odd"] and made["truth"].notna().all()
    assert "CV of the other sources was" in said
    assert split_by_source(space_of(given, *across_arguments(space, 1)))
    assert Path(space.shared / "tiny-across" / "fold_1").is_dir()
