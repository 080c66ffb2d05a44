"""A host's metric runs apart, as it is: scores as written, faults as sentences, nothing scored twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drawn_metrics import FAULTY, GLOBAL_DICE, MEAN_DICE, SIZED, write_metric

from submissions.host_metric.host_file import HostFile, HostMetricError

TRUE = pd.DataFrame({"id": ["a", "b", "c"], "rle": ["1 4", "", "3 2 9 1"]})
SAID = pd.DataFrame({"id": ["a", "b", "c"], "rle": ["3 4", "5 1", "3 2 9 1"]})


def opened(file: Path, **more: object) -> HostFile:
    return HostFile(file, TRUE, SAID, row_id="id", **{"seconds": 30, **more})  # type: ignore[arg-type]


def test_a_mean_of_images_scores_as_it_is_written(tmp_path: Path) -> None:
    with opened(write_metric(tmp_path, MEAN_DICE)) as host:
        assert host.score() == pytest.approx((0.5 + 0.0 + 1.0) / 3)
        assert host.score(np.array([1]), np.array([1])) == 0.0
        assert host.score(np.array([0, 2]), np.array([0, 2])) == pytest.approx(0.75)
        assert host.printed == ""


def test_parameters_are_passed_by_name(tmp_path: Path) -> None:
    both = pd.DataFrame({"id": [1], "rle": [""]})
    with HostFile(write_metric(tmp_path, MEAN_DICE), both, both, row_id="id", params={"empty": 0.25}) as host:
        assert host.score() == 0.25


def test_what_it_prints_disturbs_nothing_and_is_kept(tmp_path: Path) -> None:
    with opened(write_metric(tmp_path, GLOBAL_DICE)) as host:
        assert host.score() == pytest.approx(2 * (2 + 0 + 3) / (4 + 4 + 1 + 3 + 3))
        assert host.printed == "rows: 3"


def test_numbers_are_read_as_the_host_reads_them(tmp_path: Path) -> None:
    sized = TRUE.assign(height=["10", "20", "30"], width=["7", "7", "7"])
    with HostFile(write_metric(tmp_path, SIZED), sized, SAID, row_id="id") as host:
        assert host.score() == pytest.approx(20.007)


@pytest.mark.parametrize("fault", FAULTY)
def test_every_fault_is_one_sentence(fault: str, tmp_path: Path) -> None:
    text, words = FAULTY[fault]
    limit = 2 if "hangs" in fault else 30
    with (
        opened(write_metric(tmp_path, text), seconds=limit) as host,
        pytest.raises(HostMetricError, match=words) as caught,
    ):
        host.score()
    assert str(caught.value).startswith("metric.py") and "\n" not in str(caught.value)


def test_after_a_crash_the_next_table_is_scored(tmp_path: Path) -> None:
    text = "import os\ndef score(a, b, c):\n    return os.abort() if len(a) == 1 else 0.5\n"
    with opened(write_metric(tmp_path, text)) as host:
        with pytest.raises(HostMetricError, match="signal 6"):
            host.score(np.array([0]), np.array([0]))
        assert host.score() == 0.5


def test_what_is_known_by_content_is_not_scored_again(tmp_path: Path) -> None:
    counted = f"{MEAN_DICE}\nwhole = score\ndef score(*given):\n    print('called')\n    return whole(*given)\n"
    file, known = write_metric(tmp_path, counted), {}  # type: ignore[var-annotated]
    with opened(file, known=known) as host:
        first = host.score()
        assert host.printed == "called"
    with opened(file, known=known) as host:
        assert host.score() == first and host.printed == "" and host.spent == 0
    file.write_text(counted + "\n# another file\n")
    with opened(file, known=known) as host:
        assert host.score() == first and host.printed == "called"
    other = SAID.assign(rle=["1 4", "", "3 2 9 1"])
    with HostFile(file, TRUE, other, row_id="id", known=known) as host:
        assert host.score() == 1.0
    assert len(known) == 3
