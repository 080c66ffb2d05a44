"""Greedy selection: what it takes together, what it leaves out, its nested honesty, its budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from drawn_hosts import rle_contract

from pipeline.search.ensemble_selection import Selection, select_ensemble, write_ensemble
from pipeline.settings.tuning import TuneSettings
from pipeline.tuning.comparisons.paired import judge_variants, mixed_items
from pipeline.tuning.scores.criteria import Criteria
from submissions.host.masks import Truth
from submissions.metrics import build_metric

SHAPE = (24, 32)


@dataclass(frozen=True)
class Drawn:
    """An image in memory, with a prediction of it."""

    image_id: str
    fold: int
    said: np.ndarray
    true: np.ndarray
    group: str = ""
    stratum: str = ""
    stack: str = ""
    z: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)
    block: None = None

    def probs(self) -> np.ndarray:
        return self.said

    def truth(self) -> Truth:
        return Truth(self.true[:, None])


def library(noise: Mapping[str, float], *, images: int = 24) -> dict[str, list[Drawn]]:
    """Runs whose errors are independent of each other, larger or smaller."""
    rng = np.random.default_rng(0)
    found: dict[str, list[Drawn]] = {name: [] for name in noise}
    for index in range(images):
        true = np.zeros((1, *SHAPE), bool)
        top, left = rng.integers(0, 12, 2)
        true[0, top : top + 10, left : left + 14] = True
        for name, sigma in noise.items():
            said = np.clip(128 + 70 * (true * 2.0 - 1) + rng.normal(0, sigma, true.shape), 0, 255).astype(np.uint8)
            found[name].append(Drawn(f"i{index:02d}", index % 3, said, true, f"g{index}"))
    return found


def criteria(metric: str = "dice") -> Criteria:
    return Criteria(rle_contract(), build_metric(metric), TuneSettings(rounds=100), ["thing"])


def test_runs_that_err_apart_are_taken_together_and_a_bad_one_is_left_out() -> None:
    runs = library({"a": 60, "b": 60, "c": 65, "bad": 400})
    seconds = dict.fromkeys(runs, 1.0)
    found = select_ensemble(criteria(), runs, seconds)
    assert {"a", "b", "c"} == set(found.counts) and found.seconds == 3
    assert found.nested > found.single and found.gain.low > 0
    assert found.gain.estimate == pytest.approx(found.nested - found.single)


def test_the_budget_is_that_of_all_that_are_chosen() -> None:
    runs = library({"a": 60, "b": 60, "c": 65})
    found = select_ensemble(criteria(), runs, {"a": 1.0, "b": 3.0, "c": 1.0}, budget=2.0)
    assert set(found.counts) == {"a", "c"} and found.seconds == 2.0
    alone = select_ensemble(criteria(), runs, {"a": 5.0, "b": 1.0, "c": float("nan")}, budget=1.5)
    assert set(alone.counts) == {"b"} and alone.gain.estimate == 0
    with pytest.raises(ValueError, match=r"no run predicts an image within 0.5 s: a 1 s, b 1 s, c 1 s"):
        select_ensemble(criteria(), runs, dict.fromkeys(runs, 1.0), budget=0.5)


def test_a_run_whose_time_is_not_known_takes_part_where_there_is_no_budget() -> None:
    runs = library({"a": 60, "b": 60, "c": 65})
    found = select_ensemble(criteria(), runs, {"a": float("nan"), "b": 3.0, "c": 1.0})
    assert set(found.counts) == {"a", "b", "c"} and np.isnan(found.seconds)


@pytest.mark.parametrize("metric", [{"name": "pixel_accuracy"}, {"name": "iou", "params": {"over": "dataset"}}])
def test_exclusive_classes_are_chosen_by_the_most_probable_and_only_the_scored_count(metric: dict[str, Any]) -> None:
    names = ["background", "cell", "wall"]
    own = {**metric, "classes": ["cell", "wall"]}
    contract = rle_contract(classes=names, exclusive=True, metric=own, submission=None)
    judged_by = Criteria(contract, build_metric(metric["name"], **metric.get("params", {})), TuneSettings(), names)
    rng = np.random.default_rng(1)
    runs: dict[str, list[Drawn]] = {"a": [], "b": []}
    for index in range(9):
        label = rng.integers(0, 3, SHAPE)
        true = np.stack([label == k for k in range(3)])
        for name, sigma in (("a", 60), ("b", 90)):
            said = np.clip(60 + 90 * true + rng.normal(0, sigma, true.shape), 0, 255).astype(np.uint8)
            runs[name].append(Drawn(f"i{index}", index % 3, said, true, f"g{index}"))
    found = select_ensemble(judged_by, runs, dict.fromkeys(runs, 1.0))
    rules = {name: judge_variants(judged_by, {name: mixed_items({name: items})})[name] for name, items in runs.items()}
    assert found.single == pytest.approx(max(report.nested for report in rules.values()))
    assert set(found.counts) == {"a", "b"} and found.nested > found.single


def test_the_mean_is_that_of_stage_06_and_the_score_that_of_the_metric() -> None:
    runs = library({"a": 50, "b": 80}, images=6)
    found = select_ensemble(criteria(), runs, dict.fromkeys(runs, 1.0))
    total = sum(found.counts.values())
    mixed = mixed_items({n: runs[n] for n in found.counts}, {n: k / total for n, k in found.counts.items()})
    dices = []
    for fold in range(3):
        rest = [one for one in mixed if one.fold != fold]
        best = max(range(256), key=lambda q: (np.mean([dice(one.probs() >= q, one.truth()) for one in rest]), -q))
        dices += [dice(one.probs() >= best, one.truth()) for one in mixed if one.fold == fold]
    assert abs(np.mean(dices) - found.nested) < 0.01


def dice(said: np.ndarray, truth: Truth) -> float:
    true = truth.planes[:, 0]
    return 2 * float((said & true).sum()) / float(said.sum() + true.sum())


def test_what_cannot_be_mixed_or_judged_is_refused() -> None:
    runs = library({"a": 60, "b": 60})
    seconds = dict.fromkeys(runs, 1.0)
    with pytest.raises(ValueError, match="different out-of-fold images"):
        select_ensemble(criteria(), {"a": runs["a"], "b": runs["b"][1:]}, seconds)
    one_group = {name: [replace(item, fold=0, group="g") for item in items] for name, items in runs.items()}
    with pytest.raises(ValueError, match="predicted only one group"):
        select_ensemble(criteria(), one_group, seconds)


def test_of_a_single_fold_parts_of_its_groups_are_chosen_without_them() -> None:
    runs = library({"a": 60, "b": 60})
    one_fold = {name: [replace(item, fold=0) for item in items] for name, items in runs.items()}
    parts = {item.group: number % 5 for number, item in enumerate(sorted(runs["a"], key=lambda item: item.group))}
    dealt = {name: [replace(item, fold=parts[item.group]) for item in items] for name, items in runs.items()}
    found, wanted = (select_ensemble(criteria(), some, dict.fromkeys(runs, 1.0)) for some in (one_fold, dealt))
    assert found == wanted and found.gain.low > 0


def test_a_metric_of_instances_chooses_by_the_dice_of_pixels(tmp_path: Path) -> None:
    runs = library({"a": 60, "b": 60})
    found: Selection = select_ensemble(criteria("dsb2018_precision"), runs, dict.fromkeys(runs, 1.0))
    assert found.judged == "dice" and set(found.counts) == {"a", "b"}
    path = write_ensemble(tmp_path / "both.yaml", "drawn", found)
    assert yaml.safe_load(path.read_text()) == {"competition": "drawn", "members": list(found.counts)}
    assert "gain" in path.read_text()
