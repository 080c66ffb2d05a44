"""Stage 06 tunes with a built-in metric and scores with the host's own file; the run's folder is then enough."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from drawn_metrics import GLOBAL_DICE, MEAN_DICE, REFUSES, SIZED, write_metric
from drawn_oof import draw_items, drawn_contract, drawn_criteria
from tiny_run import space_of, stage, write_tiny_experiment

from pipeline.delivery.submitting import promised, scored_locally
from pipeline.preflight.checks import check_ahead
from pipeline.stage import read_stage
from pipeline.tuning.host_score import HostResult, host_lines, host_report, host_result
from pipeline.tuning.search import TuneResult, tune
from submissions.host.competition import Competition, load_competition
from submissions.host.contract.metric import MetricSettings


def contract_of(file: Path, **more: Any) -> Competition:
    contract = drawn_contract()
    metric = MetricSettings(name="host", file=str(file), proxy="dice", **more)
    return Competition.model_validate({**contract.model_dump(exclude={"metric"}), "metric": metric})


def both(folder: Path, text: str, **more: Any) -> tuple[TuneResult, HostResult]:
    criteria = drawn_criteria(contract_of(write_metric(folder, text), **more), rules=["global", "per_group"])
    items = draw_items(16, empty_every=5)
    result = tune(criteria, items, test_groups=4)
    found = host_result(criteria, items, result, folder / "known.json")
    assert found is not None
    return result, found


def test_a_mean_of_images_equals_the_built_in_metric_number_by_number(tmp_path: Path) -> None:
    result, found = both(tmp_path, MEAN_DICE)
    assert found.cv == pytest.approx(result.cv) and found.nested == pytest.approx(result.nested)
    assert found.fold_scores == pytest.approx(result.fold_scores)
    assert (found.interval.low, found.interval.high) == pytest.approx((result.interval.low, result.interval.high))
    assert found.prediction is not None and result.prediction is not None
    assert found.prediction.high == pytest.approx(result.prediction.high)
    assert found.agreement == pytest.approx(1.0)
    known = json.loads((tmp_path / "known.json").read_text())
    assert len(known) > 16 and found.cv in known.values()


def test_no_mean_is_said_with_both_numbers(tmp_path: Path) -> None:
    result, found = both(tmp_path, GLOBAL_DICE, seconds=40)
    assert found.whole.mean_over == "" and found.cv != pytest.approx(result.cv)
    assert found.interval.low < found.cv < found.interval.high and np.isnan(found.agreement)
    lines = host_lines(found, result)
    assert "metric.py printed: rows: 16 rows: 1" in lines[-2]
    assert lines[-1].startswith(f"tuned with dice: {result.cv:.4f}") and lines[-1].endswith(
        f"metric.py: {found.cv:.4f}"
    )
    assert any("One leaderboard of 4 groups" in line for line in host_report(found, result))


def test_columns_of_the_solution_are_filled_by_templates(tmp_path: Path) -> None:
    _, found = both(tmp_path, SIZED, solution={"height": "{height}", "width": "{width}"})
    sizes = [item.probs().shape[1:] for item in draw_items(16)]
    assert found.cv == pytest.approx(np.mean([height + width / 1000 for height, width in sizes]))


def test_rows_with_one_id_are_refused(tmp_path: Path) -> None:
    file = write_metric(tmp_path, MEAN_DICE)
    contract = contract_of(file)
    form = contract.submission.model_copy(update={"id_template": "all"})  # type: ignore[union-attr]
    criteria = drawn_criteria(contract.model_copy(update={"submission": form}), rules=["global"])
    items = draw_items(6)
    with pytest.raises(ValueError, match="several of the training tables' rows have one id, as all"):
        host_result(criteria, items, tune(drawn_criteria(contract, rules=["global"]), items), tmp_path / "known.json")


def test_a_built_in_metric_has_no_file(tmp_path: Path) -> None:
    criteria, items = drawn_criteria(drawn_contract(), rules=["global"]), draw_items(4)
    assert host_result(criteria, items, tune(criteria, items), tmp_path / "known.json") is None


def with_host_metric(folder: Path, text: str, **more: Any) -> list[str]:
    """The tiny experiment, scored by a file beside its contract."""
    arguments = write_tiny_experiment(folder, train=6, test=2, **more)
    write_metric(folder, text)
    contract = yaml.safe_load((folder / "drawn.yaml").read_text())
    contract["metric"] = {"name": "host", "file": "metric.py", "proxy": "dice"}
    (folder / "drawn.yaml").write_text(yaml.safe_dump(contract))
    return arguments


def test_from_the_contract_to_the_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = with_host_metric(tmp_path, MEAN_DICE, tune={"rounds": 100, "copies": 0, "rules": ["global"]})
    arguments += ["--set", "train.epochs=1"]
    for name in ("01_check_data", "02_make_folds", "03_prepare_data", "04_train", "05_predict_oof", "06_tune"):
        stage(name)(arguments)
    said = capsys.readouterr().out
    space = space_of(arguments)
    tuned = read_stage(space.own / "tuning", "")
    assert tuned["metric"] == "host" and tuned["tuned_with"] == "dice"
    assert tuned["score"] == pytest.approx(tuned["tuned_score"]) and "tuned with dice: " in said
    assert "## The host's metric" in (space.own / "tuning" / "report.md").read_text()
    stage("07_predict_test")(arguments)
    assert promised(space).cv == pytest.approx(tuned["score"]) and promised(space).forecast is None
    scored, lines = scored_locally(space, promised(space), space.data / "solution.csv")
    assert lines[0].startswith("host ") and scored.public is not None
    assert (space.own / "metric.py").read_text() == MEAN_DICE
    (tmp_path / "metric.py").unlink()
    again = [str(space.own), "--overwrite", "--device", "cpu"]
    stage("06_tune")(again)
    assert read_stage(space.own / "tuning", "")["fingerprint"] == tuned["fingerprint"]
    assert load_competition(space.own / "competition.yaml").metric.file == str(space.own / "metric.py")


def test_a_metric_that_cannot_score_is_refused_before_training(tmp_path: Path) -> None:
    space = space_of(with_host_metric(tmp_path, REFUSES))
    words = "metric.file, tried on the sample submission: metric.py refuses the table: masks must not overlap"
    with pytest.raises(ValueError, match=words):
        check_ahead(space)
    (tmp_path / "metric.py").write_text(MEAN_DICE)
    check_ahead(space_of([str(tmp_path / "tiny.yaml"), "--data", str(space.data), "--runs", str(space.runs)]))


def test_a_metric_that_dislikes_the_sample_is_tried_on_training_masks(tmp_path: Path) -> None:
    picky = (
        f"{MEAN_DICE}\nplain = score\ndef score(a, b, c):\n    assert a.rle.nunique() > 1\n    return plain(a, b, c)\n"
    )
    check_ahead(space_of(with_host_metric(tmp_path, picky)))


def test_the_sample_as_solution_has_the_solutions_columns(tmp_path: Path) -> None:
    arguments = with_host_metric(tmp_path, SIZED)
    with pytest.raises(ValueError, match="refuses the table: the solution has no column height"):
        check_ahead(space_of(arguments))
    contract = yaml.safe_load((tmp_path / "drawn.yaml").read_text())
    contract["metric"]["solution"] = {"height": "{height}", "width": "{width}"}
    (tmp_path / "drawn.yaml").write_text(yaml.safe_dump(contract))
    check_ahead(space_of(arguments))
