"""The ledger keeps every row, whoever writes; the relation to the leaderboard says noise or shift."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from submissions.kaggle.leaderboard import nearer, relation, render, scatter
from submissions.kaggle.ledger import COLUMNS, FORECAST, Entry, enter_scores, numbers, read_ledger, record

ENTRY = Entry("salt", "base", "0123456789abcdef", cv=0.8, cv_low=0.78, cv_high=0.82, folds={"0": 0.79, "1": 0.81})


def rows(cv: list[float], public: list[float], predicted: tuple[float, float] | None = (-0.05, 0.05)) -> pd.DataFrame:
    """A ledger of one competition; predicted: interval around each CV."""
    width = predicted or (np.nan, np.nan)
    frame = pd.DataFrame({"cv": cv, "public": public})
    frame["cv_low"], frame["cv_high"] = frame["cv"] - 0.02, frame["cv"] + 0.02
    frame["predicted_low"], frame["predicted_high"] = frame["cv"] + width[0], frame["cv"] + width[1]
    frame = frame.astype(object).where(frame.notna(), "").astype(str)
    return frame.reindex(columns=COLUMNS, fill_value="").assign(competition="salt", submission="abc")


def test_a_row_is_written_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ledger.csv"
    assert read_ledger(path).empty
    record(path, replace(ENTRY, time=datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC), description='a, "b"\nc'))
    table = read_ledger(path)
    assert list(table.columns) == COLUMNS and len(table) == 1
    row = table.iloc[0]
    assert row["time"] == "2024-05-06T07:08:09+00:00" and row["folds"] == '{"0": 0.79, "1": 0.81}'
    assert row["description"] == 'a, "b"\nc' and row["public"] == ""
    assert numbers(table)["cv"][0] == 0.8


def test_a_ledger_from_before_the_forecast_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    record(path, ENTRY)
    pd.read_csv(path).drop(columns=list(FORECAST)).to_csv(path, index=False)
    assert (read_ledger(path)[list(FORECAST)] == "").all(axis=None)
    table = record(path, replace(ENTRY, submission="ffff", forecast=0.7, forecast_low=0.6, forecast_high=0.8))
    assert table["forecast"].tolist() == ["", "0.7"] and set(COLUMNS) <= set(table)


def test_which_of_cv_and_forecast_was_nearer() -> None:
    table = rows([0.80, 0.82, 0.84], [0.70, 0.80, 0.71])
    assert nearer(table) == "" and "forecast" not in render(table)
    given = {"forecast": ["0.72", "", "0.90"], "forecast_low": ["0.7", "", "0.85"]}
    table = table.assign(**given, forecast_high=["0.75", "", "0.95"])
    said = nearer(table)
    assert said.startswith("the forecast has been nearer than CV in 1 of 2: 0.1050 off on the mean, CV 0.1150; 1 of 2")
    assert said in render(table) and "0.7200 (0.7000 to 0.7500)" in render(table)
    assert nearer(table, "private") == ""


def test_the_same_submission_again_renews_its_row(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    record(path, ENTRY)
    record(path, replace(ENTRY, submission="ffff"))
    table = record(path, replace(ENTRY, cv=0.5, public=0.77, private=float("nan"), description="later"))
    assert len(table) == 2
    assert table.loc[0, ["cv", "public", "private", "description"]].tolist() == ["0.8", "0.77", "", "later"]
    assert table.loc[1, "public"] == ""
    assert len(record(path, replace(ENTRY, experiment="other"))) == 3


def test_columns_of_the_team_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    record(path, ENTRY).assign(note="ours").to_csv(path, index=False)
    table = record(path, replace(ENTRY, submission="ffff"))
    assert table["note"].tolist() == ["ours", ""]


def test_scores_are_entered_by_the_beginning_of_the_hash(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    record(path, ENTRY)
    record(path, replace(ENTRY, submission="01ff"))
    enter_scores(path, "0123", public=0.75)
    assert read_ledger(path)["public"].tolist() == ["0.75", ""]
    enter_scores(path, "0123456789abcdef", private=0.7)
    assert read_ledger(path)["private"].tolist() == ["0.7", ""]
    with pytest.raises(ValueError, match="2 submissions begin so"):
        enter_scores(path, "01", public=0.5)
    for unknown in ("9", ""):
        with pytest.raises(ValueError, match="no submission has it"):
            enter_scores(path, unknown, public=0.5)


def test_a_file_that_is_no_ledger_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    for content, said in (("id,rle\na,1 2\n", "not a ledger"), ("", "no readable ledger")):
        path.write_text(content)
        with pytest.raises(ValueError, match=said):
            record(path, ENTRY)
        assert path.read_text() == content


def test_no_row_is_lost_by_two_writers(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    code = (
        "import sys; from pathlib import Path; from submissions.kaggle.ledger import Entry, record\n"
        "for i in range(8): record(Path(sys.argv[1]), Entry('c', 'e', f'{sys.argv[2]}{i}'))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "ab"]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    assert sorted(read_ledger(path)["submission"]) == sorted(f"{name}{i}" for name in "ab" for i in range(8))


def test_numbers_must_be_numbers() -> None:
    with pytest.raises(ValueError, match="ledger column 'cv'"):
        numbers(rows([0.8], [0.7]).assign(cv="high"))


def test_a_gap_within_what_was_predicted_is_noise() -> None:
    found = relation(rows([0.80, 0.82, 0.81, 0.85], [0.78, 0.81, 0.80, 0.84]))
    assert found.verdict == "noise" and found.inside == 4 and found.outside == 0
    assert found.gap == pytest.approx(-0.0125)
    assert found.spread == pytest.approx(np.std([-0.02, -0.01, -0.01, -0.01], ddof=1))
    assert found.rank == pytest.approx(1.0)


def test_a_gap_beyond_it_is_a_shift() -> None:
    found = relation(rows([0.80, 0.82, 0.85], [0.60, 0.61, 0.55]))
    assert found.verdict == "shift" and "below CV" in found.message
    assert found.rank == pytest.approx(-0.5)


def test_without_the_predicted_interval_noise_is_not_ruled_out() -> None:
    assert relation(rows([0.80, 0.82], [0.81, 0.81], None)).verdict == "noise"
    assert relation(rows([0.80, 0.82], [0.70, 0.71], None)).verdict == "unknown"
    bare = rows([0.80], [0.70], None).assign(cv_low="", cv_high="")
    assert "no row has an interval" in relation(bare).message
    assert relation(rows([0.80], [0.70]), "private").submissions == 0


def test_the_rank_is_undefined_with_few_or_constant_scores() -> None:
    assert np.isnan(relation(rows([0.8, 0.9], [0.7, 0.8])).rank)
    assert np.isnan(relation(rows([0.8, 0.8, 0.8], [0.7, 0.8, 0.9])).rank)


def test_render_shows_rows_relation_and_drawing() -> None:
    assert "ledger is empty" in render(pd.DataFrame(columns=COLUMNS))
    text = render(rows([0.80, 0.82, 0.85], [0.60, 0.61, 0.55]))
    assert "salt, CV and public leaderboard: shift" in text
    assert "0.8000 (0.7800 to 0.8200)" in text and "too few to lean on" in text
    assert "private leaderboard" not in text
    assert "0.6100 |" in text and "0.5500 |" in text


def test_the_drawing_puts_points_where_they_belong() -> None:
    lines = scatter(np.array([0.0, 1.0, 1.0]), np.array([5.0, 7.0, 7.0]), ("a", "b"), width=9, height=4).splitlines()
    assert lines[1].endswith("|        2") and lines[4].endswith("|o")
    assert scatter(np.array([1.0]), np.array([1.0]), ("a", "b")) == ""
    assert "3" in scatter(np.ones(3), np.ones(3), ("a", "b"))
