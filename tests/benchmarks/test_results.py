"""Kept results: what is taken from a run, the table, the tables of the notebook, a check that can fail."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from pipeline.report.kept_results import kept_curves, kept_gains, kept_results
from submissions.metrics.intervals import Interval

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import results

    yield results
    for name in ("results", "results_table", "gains"):
        sys.modules.pop(name, None)


def write_run(run: Path) -> None:
    (run / "tuning").mkdir(parents=True)
    (run / "fold_1").mkdir()
    learned = {"metric": "iou", "cv": 0.71234, "nested": 0.7, "interval": [0.65, 0.75], "images": 2}
    (run / "tuning/decision.json").write_text(json.dumps({"classes": ["a", "b", "c"], "learned": learned}))
    counts = {"tp_0": [3, 5], "fn_0": [1, 1], "tp_1": [2, 0], "fn_1": [0, 2], "tp_2": [0, 0], "fn_2": [0, 0]}
    pd.DataFrame(counts).to_csv(run / "tuning/scores.csv", index=False)
    epochs = [{"epoch": 0, "loss": 1.25}, {"epoch": 1, "loss": 0.5, "validation": {"score": 0.6}}]
    (run / "fold_1/log.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
    save_file({"w": torch.zeros(3, 4), "b": torch.zeros(4)}, run / "fold_1/weights.safetensors")


def kept(row: str, score: float) -> dict[str, Any]:
    return {
        "row": row, "command": f"python -m pipeline run {row}", "revision": "abc", "hardware": "1 core", "images": 60,
        "metric": "iou", "score": score, "nested": score, "interval": [score - 0.02, score + 0.02], "parameters": 1234,
        "recalls": {"a": 0.5, "b": 0.7}, "minutes": {"01": 0.5, "04": 2.0, "05": 0.3}, "samples": 960,
        "fold": 0,
        "curve": [{"epoch": 0, "loss": 1.0}, {"epoch": 1, "loss": 0.5, "score": 0.6}],
    }  # fmt: skip


def test_a_difference_of_one_group_has_no_interval(results: Any) -> None:
    from gains import _kept
    from results_table import _cell, _gain

    found = _kept(Interval(0.12345, np.nan, np.nan, 0.95, 1, np.zeros(0)))
    assert found == {"gain": 0.1235, "low": None, "high": None, "groups": 1}
    assert (_gain(found), _cell(found)) == ("+0.1235", "+0.123")
    found = _kept(Interval(0.12345, 0.1, 0.2, 0.95, 4, np.zeros(0)))
    assert (_gain(found), _cell(found)) == ("+0.1235 (+0.1000 to +0.2000)", "**+0.123** [+0.100, +0.200]")


def test_what_is_kept_of_a_run(results: Any, tmp_path: Path) -> None:
    write_run(tmp_path)
    found = results.scores_of(tmp_path)
    assert (found["score"], found["nested"], found["interval"], found["images"]) == (0.7123, 0.7, [0.65, 0.75], 2)
    assert found["recalls"] == {"a": 0.8, "b": 0.5}, "a class that never occurs has no recall"
    assert results._parameters(tmp_path) == 16
    assert results._curve(tmp_path) == {
        "fold": 1, "curve": [{"epoch": 0, "loss": 1.25}, {"epoch": 1, "loss": 0.5, "score": 0.6}]
    }  # fmt: skip


def test_the_table_has_the_rows_that_were_run(results: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "".join(
        f"{name}: {{section: One, about: Small., experiment: mnist, data: mnist, beside: none}}\n" for name in "xyz"
    )
    (tmp_path / "rows.yaml").write_text(rows)
    gain = {"gain": 0.01, "low": 0.002, "high": 0.03, "groups": 9}
    more = {
        "difference": {**gain, "low": -0.02, "against": "z"}, "added": [{"what": "view hflip", **gain}],
        "shifts": [{"shift": "none", "score": 0.8}, {"shift": "scale:2", "score": 0.71}], "sizes": {"folds": 1},
    }  # fmt: skip
    loss = {"what": "view hflip", "gain": -0.02, "low": -0.03, "high": -0.01, "groups": 5}
    old = {"old": [loss, {**loss, "what": "rule grid instead of global", "high": 0.0}]}
    (tmp_path / "ablation.json").write_text(json.dumps(old))
    for name, score in (("x", 0.8), ("z", 0.9)):
        (tmp_path / f"{name}.json").write_text(json.dumps(kept(name, score) | (more if name == "x" else {})))
    monkeypatch.setattr(sys.modules["results_table"], "FOLDER", tmp_path)
    lines = results.table().splitlines()
    cells = "0.8000 | +0.0100 (-0.0200 to +0.0300) over `z` | 0.6000 | 1,234 | 2.0 min | 2.8 min | 8.0 | 0.30"
    assert f"| `x` | iou | **0.8000** | 0.7800 to 0.8200 | {cells} | none |" in lines
    assert "| | `x` (9) | `old` (5) |" in lines
    assert "| rule grid instead of global |  | -0.020 [-0.030, +0.000] |" in lines
    assert "| view hflip | **+0.010** [+0.002, +0.030] | **-0.020** [-0.030, -0.010] |" in lines
    assert "| | none | scale:2 |" in lines and "| none | 0.8000 | 0.7100 |" in lines
    assert "- `x`: `python -m pipeline run x`, folds 1, 60 images, revision `abc`, 1 core." in lines
    assert sum(line.startswith("| `") for line in lines) == 2 and lines.count("## One") == 1
    assert "- `z`: `python -m pipeline run z`, 60 images, revision `abc`, 1 core." in lines


def test_a_row_like_another_adds_its_settings(results: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows.yaml").write_text(
        "a: {section: One, about: Small., experiment: mnist, data: mnist, set: [seed=1], added: true}\n"
        "b: {like: a, set: [train.epochs=2], against: a}\n"
    )
    monkeypatch.setattr(sys.modules["results_table"], "FOLDER", tmp_path)
    shared = {"section": "One", "experiment": "mnist", "data": "mnist", "like": "a", "against": "a"}
    assert results.read_rows()["b"] == shared | {"set": ["seed=1", "train.epochs=2"]}


def test_a_row_of_what_new_competition_writes(results: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(results.subprocess, "run", lambda command, **_: asked.append(command))
    row = {"first": 10, "data": "pets", "set": ["seed=1"]}
    contract = tmp_path / "first/first-pets.yaml"
    assert results.experiment_of(row, Path("sets"), tmp_path, {}) == [str(tmp_path / "first/first-pets-baseline.yaml")]
    assert asked[0][3:] == [
        "new-competition",
        "sets/pets",
        *("--name", "first-pets"),
        *("--out", str(contract)),
        "--minutes",
        "10",
    ]
    contract.touch()
    by_hand = results.experiment_of(row | {"experiment": "camvid"}, Path("sets"), tmp_path, {})
    assert by_hand == ["camvid", "--set", f"competition={contract}"] and len(asked) == 1
    begin = "python -m pipeline new-competition pets --name first-pets --minutes 10 && python -m pipeline run "
    assert results.told(row) == begin + "first-pets-baseline.yaml --set 'seed=1'"
    assert results.told({"experiment": "camvid", "data": "x"}) == "python -m pipeline run camvid"


def test_a_row_of_minutes_has_the_steps_that_fit(results: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, list[str]]] = []

    def stages(name: str, row: dict[str, Any], *_: Any, until: str) -> dict[str, float]:
        asked.append((name, row["set"]))
        steps = int(row["set"][1].removeprefix("train.steps_per_epoch="))
        return {"01": 3.0, until: (30 + 3 * steps) / 60}

    monkeypatch.setattr(results, "run_stages", stages)
    row = {"set": ["seed=1"], "minutes": 10}
    assert results.steps_of("a", row, tmp_path, tmp_path, 1) == 190, "half a minute to start, three seconds a step"
    assert results.steps_of("a", row, tmp_path, tmp_path, 1) == 190 and len(asked) == 2, "measured once"
    assert asked[1] == ("a-pace-12", ["seed=1", "train.steps_per_epoch=12", "train.warmup=0"])


def test_a_row_takes_what_another_trained(results: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="0 runs named 'a'"):
        results.run_of(tmp_path, "a")
    write_run(tmp_path / "set/a")
    (tmp_path / "set/a/oof").mkdir()
    (tmp_path / "set/a/experiment.yaml").write_text("train: {steps_per_epoch: 5, batch_size: 4}\n")
    run = results.run_of(tmp_path, "a")
    results.lend(run, "b", predictions=False)
    results.lend(run, "c", predictions=True)
    assert sorted(path.name for path in (tmp_path / "set/b").iterdir()) == ["fold_1"]
    assert sorted(path.name for path in (tmp_path / "set/c").iterdir()) == ["fold_1", "oof"]
    assert results._samples(run) == 2 * 5 * 4, "two epochs"


def test_what_views_add_one_by_one(results: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import gains

    monkeypatch.setattr(gains, "mixed_items", lambda parts: sorted(parts))
    monkeypatch.setattr(gains, "judge_variants", lambda _, means: {name: len(parts) for name, parts in means.items()})
    monkeypatch.setattr(gains, "difference", lambda _, one, other: (one, other))
    found = gains.view_gains(None, {"identity": [], "hflip": [], "vflip": []})
    assert found == [("view hflip", (2, 1)), ("view vflip", (3, 2)), ("all views instead of one", (3, 1))]


def test_a_score_that_left_its_interval_is_refused(results: Any, capsys: pytest.CaptureFixture[str]) -> None:
    results.check("x", kept("x", 0.8), kept("x", 0.819))
    assert "0.8190, kept 0.8000 (0.7800 to 0.8200)" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="the score left its interval"):
        results.check("x", kept("x", 0.8), kept("x", 0.821))


@pytest.mark.smoke
@pytest.mark.timeout(900)
def test_the_cheapest_rows_score_as_they_are_kept(results: Any, shared_data: Path) -> None:
    results.main(["check", "mnist-short", "mnist-lenet", "--data", str(shared_data), "--cores", "1"])


def test_the_committed_table_is_that_of_the_committed_results(results: Any) -> None:
    assert (BENCHMARKS.parent / "docs/results.md").read_text() == results.table()
    names = {path.stem for path in (BENCHMARKS / "results").glob("*.json")} & set(results.read_rows())
    assert names, "no result is kept"


def test_tables_for_the_notebook(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no result"):
        kept_results(tmp_path)
    (tmp_path / "b.json").write_text(json.dumps(kept("b", 0.9)))
    (tmp_path / "a.json").write_text(json.dumps(kept("a", 0.8)))
    (tmp_path / "other.json").write_text("[1, 2]")
    table = kept_results(tmp_path)
    assert table["row"].tolist() == ["a", "b"] and table["estimate"].tolist() == [0.8, 0.9]
    np.testing.assert_allclose(
        table[["low", "recall", "minutes", "training"]], [[0.78, 0.6, 2.8, 2], [0.88, 0.6, 2.8, 2]]
    )
    curves = kept_curves(tmp_path)
    assert len(curves) == 4 and curves["score"].isna().tolist() == [True, False] * 2
    assert len(kept_gains(tmp_path)) == 0
    gain = {"gain": 0.01, "low": -0.02, "high": 0.03}
    more = {"difference": {**gain, "against": "a"}, "added": [{"what": "holes", **gain}]}
    (tmp_path / "b.json").write_text(json.dumps(kept("b", 0.9) | more))
    (tmp_path / "ablation.json").write_text(json.dumps({"old": [{"what": "rule grid", **gain, "low": 0.001}]}))
    gains = kept_gains(tmp_path)
    assert gains["name"].tolist() == ["b against a", "b: holes", "old: rule grid"]
    assert gains["low"].tolist() == [-0.02, -0.02, 0.001] and gains["estimate"].tolist() == [0.01] * 3
