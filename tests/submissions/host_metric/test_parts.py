"""Is a host's metric a mean over images or groups? Told by numbers; else whole tables give the interval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drawn_metrics import GLOBAL_DICE, MEAN_DICE, write_metric

from submissions.host_metric.host_file import HostFile, HostMetricError
from submissions.host_metric.parts import HostMean, HostScore, UnitRows, score_parts_of, scored_part

BY_PATIENT = f"""{GLOBAL_DICE}
over_all = score


def score(solution, submission, row_id_column_name):
    patients = solution[row_id_column_name].str[:2]
    return float(np.mean([over_all(solution[patients == p], submission[patients.values == p], row_id_column_name)
                          for p in sorted(set(patients))]))
"""


def drawn(number: int = 12) -> tuple[pd.DataFrame, pd.DataFrame, UnitRows]:
    """Rows p0_0, p0_1, p1_0 ...: patients of two images, masks of unlike size and unlike faults."""
    names = [f"p{index // 2}_{index % 2}" for index in range(number)]
    true = pd.DataFrame({"id": names, "rle": [f"1 {10 + 7 * index}" for index in range(number)]})
    said = pd.DataFrame({"id": names, "rle": [f"{1 + index % 5} {10 + 7 * index}" for index in range(number)]})
    meta = pd.DataFrame({"image_id": names, "fold": [index % 2 for index in range(number)]})
    meta["group"] = meta["image_id"].str[:2]
    rows = [np.array([index]) for index in range(number)]
    return true, said, UnitRows(meta, rows, rows)


def scored(folder: Path, text: str, number: int = 12, budget: float = 60.0, **more: int) -> HostScore:
    true, said, units = drawn(number)
    with HostFile(write_metric(folder, text), true, said, row_id="id") as host:
        return score_parts_of(host, units, rounds=more.get("rounds", 60), seed=1, budget=budget)


def dice(index: int) -> float:
    size = 10 + 7 * index
    return (size - index % 5) / size


def test_the_mean_of_images_has_rows_and_intervals_of_images(tmp_path: Path) -> None:
    found = scored(tmp_path, MEAN_DICE)
    assert found.mean_over == "image" and found.notes == []
    assert found.table["score"].tolist() == pytest.approx([dice(index) for index in range(12)])
    interval = found.interval(level=0.9, rounds=200, seed=0)
    assert interval.low < found.score < interval.high and interval.groups == 6
    wider = found.prediction(3, level=0.9, rounds=200, seed=0)
    assert wider.high - wider.low > interval.high - interval.low


def test_a_mean_over_patients_has_rows_of_patients(tmp_path: Path) -> None:
    found = scored(tmp_path, BY_PATIENT)
    assert found.mean_over == "group" and found.table["image_id"].tolist() == [f"p{index}" for index in range(6)]
    assert found.score == pytest.approx(found.table["score"].mean())
    assert "no score of a single image: the mean of their scores is" in found.notes[0]


def test_no_mean_says_so_and_scores_whole_tables(tmp_path: Path) -> None:
    found = scored(tmp_path, GLOBAL_DICE, rounds=80)
    sizes = np.array([10 + 7 * index for index in range(12)])
    assert found.mean_over == "" and found.score == pytest.approx((sizes - np.arange(12) % 5).sum() / sizes.sum())
    assert found.notes[-1] == (
        "it is no mean over images: the interval is of 80 whole tables, each of half of the groups"
    )
    interval = found.interval(level=0.9, rounds=1, seed=0)
    assert interval.low < found.score < interval.high
    assert found.prediction(6, level=0.9, rounds=1, seed=0).high > interval.high


def test_halves_spread_like_a_bootstrap() -> None:
    values = np.random.default_rng(3).normal(size=40)
    rng = np.random.default_rng(4)
    halves = np.array([values[rng.permutation(40)[:20]].mean() for _ in range(4000)])
    drawn_again = np.array([values[rng.integers(0, 40, 40)].mean() for _ in range(4000)])
    assert halves.std() == pytest.approx(drawn_again.std(), rel=0.06)


def test_intervals_of_few_groups_hold_as_often_as_they_say() -> None:
    rng, held = np.random.default_rng(5), []
    for _ in range(300):
        values = rng.normal(size=6)
        draws = np.array([values[rng.permutation(6)[:3]].mean() for _ in range(100)])
        interval = HostScore(values.mean(), "", pd.DataFrame(), draws, 6).interval(level=0.9, rounds=1, seed=0)
        held.append(interval.low <= 0 <= interval.high)
    assert 0.86 < np.mean(held) < 0.94  # 0.84 where Student's t is left out


def test_a_score_that_depends_on_how_many_groups_there_are_says_so(tmp_path: Path) -> None:
    text = f"{GLOBAL_DICE}\nof_all = score\ndef score(a, b, c):\n    return of_all(a, b, c) * len(a)\n"
    found = scored(tmp_path, text)
    assert "on average, all 6 groups" in found.notes[-1] and "holds less often than it says" in found.notes[-1]


def test_an_image_that_cannot_be_scored_alone_is_named(tmp_path: Path) -> None:
    text = f"{MEAN_DICE}\nwhole = score\ndef score(a, b, c):\n    return whole(a, b, c) if len(a) > 3 else 1 / 0\n"
    found = scored(tmp_path, text)
    assert found.mean_over == "" and "no score of a single image: metric.py failed in line" in found.notes[0]
    assert "ZeroDivisionError" in found.notes[0] and len(found.draws) == 60


def test_without_time_there_is_a_score_and_no_interval(tmp_path: Path) -> None:
    found = scored(tmp_path, GLOBAL_DICE, budget=0.0)
    assert "the time allowed was over after" in found.notes[0] and found.notes[-1].endswith("no interval")
    assert np.isfinite(found.score) and np.isnan(found.interval(level=0.9, rounds=1, seed=0).low)


def test_one_group_has_no_interval(tmp_path: Path) -> None:
    found = scored(tmp_path, GLOBAL_DICE, number=2)
    assert found.notes[-1] == "there is one group only: no interval"


def test_a_part_without_a_score_is_nan_and_a_whole_without_one_is_refused(tmp_path: Path) -> None:
    true, said, units = drawn()
    with HostFile(write_metric(tmp_path, "def score(a, b, c):\n    return 1 / 0\n"), true, said, row_id="id") as host:
        assert np.isnan(scored_part(host, *units.of(np.array([0, 1]))))
        with pytest.raises(HostMetricError, match="ZeroDivisionError"):
            score_parts_of(host, units, rounds=50, seed=0, budget=9)


def test_arrays_have_no_host_score() -> None:
    with pytest.raises(ValueError, match="scores tables"):
        HostMean().rows(np.zeros((1, 2, 3), bool), np.zeros((1, 2, 3), bool))
