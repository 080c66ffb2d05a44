"""The leaderboard: its rows, its front, what is noise, and its command."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from tiny_run import write_tiny_experiment

from inference.predict.store import PredictionWriter, open_prediction
from pipeline.__main__ import main
from pipeline.inventory_table import read_inventory
from pipeline.search.leaderboard import advice, leaderboard, pareto_front, run_costs, run_folders, source_scores
from pipeline.search.noise_floor import NOISE, measure_noise, noise_floor
from pipeline.sequence import run_stages
from pipeline.tuning.comparisons.two_runs import metric_of, read_scores
from submissions.metrics import build_metric


def test_the_front_is_of_runs_that_none_beats_in_both() -> None:
    scores, costs = np.array([0.9, 0.8, 0.85, 0.9, np.nan, 0.7]), np.array([3.0, 1, 2, 4, 1, np.nan])
    slow = [
        not np.isnan(s + c)
        and not any(
            s2 >= s and c2 <= c and (s2 > s or c2 < c) for s2, c2 in zip(scores, costs, strict=True)
        )
        for s, c in zip(scores, costs, strict=True)
    ]  # fmt: skip
    assert pareto_front(scores, costs).tolist() == slow == [True, True, True, False, False, False]


def test_sources_have_a_score_of_their_own_where_they_have_units_enough() -> None:
    ids = [f"i{k}" for k in range(12)]
    scores = pd.DataFrame({"image_id": ids, "tp_0": [1.0] * 6 + [3.0] * 6, "fp_0": 1.0, "fn_0": 1.0, "tn_0": 1.0})
    scores["score"] = scores["tp_0"] / (scores["tp_0"] + 1)
    sources = ["s1"] * 6 + ["s2"] * 5 + ["s3"]
    inventory = pd.DataFrame({"image_id": ids, "stack": ids, "split": "train", "source": sources})
    found = source_scores(scores, inventory, build_metric("dice"))
    assert found == {"s1": 0.5, "s2": 0.75}
    assert source_scores(scores, inventory.drop(columns="source"), build_metric("dice")) == {}


def test_a_noise_floor_is_two_deviations_of_a_difference(tmp_path: Path) -> None:
    assert noise_floor([0.8, 0.82, 0.81]) == pytest.approx(2 * math.sqrt(2) * 0.01)
    with pytest.raises(ValueError, match=r"1 score\(s\) given, but a noise floor needs two or more runs"):
        noise_floor([0.8])
    asked: list[int] = []

    def score(seed: int) -> float:
        asked.append(seed)
        return 0.8 + seed / 100

    first = measure_noise(tmp_path, score, 5, key="a")
    assert asked == [5, 6, 7] and measure_noise(tmp_path, score, 5, key="a") == first == noise_floor([0.85, 0.86, 0.87])
    assert asked == [5, 6, 7] and json.loads((tmp_path / NOISE).read_text())["floor"] == first
    assert measure_noise(tmp_path, score, 5, key="b") == first and len(asked) == 6, "scores of another experiment"


def test_runs_of_a_competition_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    arguments = write_tiny_experiment(tmp_path)
    shared = tmp_path / "runs/drawn"
    with pytest.raises(FileNotFoundError, match="no experiment has finished stage 06"):
        run_folders(shared)
    run_stages(arguments)
    other = [*arguments, "--set", "name=other", "--set", "train.lr=0.01"]
    run_stages(other, ("02", "04", "05", "06"))
    (shared / "tiny" / NOISE).write_text(json.dumps({"floor": 2.0, "scores": {}}))
    table = leaderboard(shared)
    assert set(table["run"]) == {"tiny", "other"} and table["nested"].is_monotonic_decreasing
    tuned = json.loads((shared / "tiny/tuning/stage.json").read_text())
    row = table.set_index("run").loc["tiny"]
    by_source = source_scores(
        read_scores(shared / "tiny"), read_inventory(shared / "inventory")[0], build_metric("dice")
    )
    expected = np.mean(list(by_source.values())) if by_source else math.nan
    assert row["across"] == pytest.approx(expected, nan_ok=True)
    assert row["nested"] == tuned["nested"] and row["noise"] and row["megabytes"] > 1 and row["inference"] > 0
    assert table.set_index("run").loc["other", "forecast"] is not row["forecast"] and table["front"].any()
    capsys.readouterr()
    chosen = tmp_path / "chosen.yaml"
    main(["leaderboard", *arguments, "--select", str(chosen)])
    said = capsys.readouterr().out
    assert "runs: take " in said and "3D or 2.5D" not in said
    kept = shared / "other/experiment.yaml"
    kept.write_text(kept.read_text().replace("dims: 2", "dims: 3"))
    assert [line.split(":")[0] for line in advice(shared, table)] == ["runs", "3D or 2.5D"]
    assert "tiny" in said and "the best run alone" in said and (shared / "leaderboard.png").is_file()
    members = yaml.safe_load(chosen.read_text())["members"]
    assert set(members) <= {"tiny", "other"}
    record = shared / "other/tuning/stage.json"
    before = record.read_text()
    record.write_text(before.replace('"metric": null', '"metric": "iou"', 1))
    assert metric_of(json.loads(record.read_text())["identity"]["settings"]) == build_metric("iou")
    main(["leaderboard", *arguments])
    said = capsys.readouterr().out
    assert "tuned for another metric, and so not in the table: other\n" in said and "runs: take" not in said
    assert list(leaderboard(shared, build_metric("dice"))["run"]) == ["tiny"]
    assert list(leaderboard(shared, build_metric("iou"))["run"]) == ["other"]
    assert list(leaderboard(shared, build_metric("f_beta"))["run"]) == ["other"], "the first"
    record.write_text(before)
    costs = run_costs([shared / "tiny", shared / "other"])
    assert costs.megabytes == pytest.approx(table["megabytes"].sum())
    with pytest.raises(SystemExit):
        main(["leaderboard", *arguments, "--select", str(chosen), "--limit", "1s", "--images", "1000000"])
    assert "no run predicts an image within" in capsys.readouterr().err
    words = ("task=classify", "model.architecture=timm_classifier", "loss.name=classify", "tune.rule=argmax")
    classifier = [*arguments, *(part for word in words for part in ("--set", word))]
    with pytest.raises(SystemExit):
        main(["leaderboard", *classifier, "--select", str(chosen)])
    assert "'tiny' only predicts whole images" in capsys.readouterr().err
    record = shared / "other/oof/stage.json"
    before = record.read_text()
    record.write_text(before.replace('"merge": "probs"', '"merge": "logits"'))
    main(["leaderboard", *arguments, "--select", str(chosen)])
    assert yaml.safe_load(chosen.read_text())["members"] == ["tiny"] and "other is left out" in caplog.text
    with pytest.raises(SystemExit):
        main(["leaderboard", *arguments, "--select", str(chosen), "--of", "other"])
    assert "none of the runs other can be a member" in capsys.readouterr().err
    record.write_text(before)
    for path in (shared / "other/oof").glob("*.h5"):  # a channel more, as an image head makes it
        with open_prediction(path) as prediction:
            probs, attrs = prediction.read(), prediction.attrs
        with PredictionWriter(path, ["thing", "present:thing"], probs.shape[1:], attrs=attrs) as writer:
            writer.write_rows(np.concatenate([probs, probs]), 0)
    main(["leaderboard", *arguments, "--select", str(chosen)])
    said = capsys.readouterr().out
    assert "tiny: channels thing\n" in said and "other: channels thing, present:thing\n" in said
    assert len(yaml.safe_load(chosen.read_text())["members"]) == 1
