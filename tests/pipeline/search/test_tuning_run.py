"""A search: ranges, trials that go on, pruning, the noise floor, and folds that it never saw."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from tiny_run import space_of, write_tiny_experiment

from pipeline.__main__ import main
from pipeline.search import trials as module
from pipeline.search.parts import do_part, trial_parts
from pipeline.search.trials import open_study, run_trials
from pipeline.search.tuning_run import verdict
from pipeline.search.variants import Variant, run_variant
from pipeline.sequence import run_stages
from pipeline.workspace import Workspace

optuna = pytest.importorskip("optuna", reason="Optuna is not installed: pip install 'segmentation-pipeline[search]'")
SEARCH: dict[str, Any] = {
    "folds": [0],
    "ranges": {"train.lr": {"low": 1e-4, "high": 1e-2, "log": True}, "augment.recipe": ["flips", "light"]},
}


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A search of three trials, the last of them in a second call: (folder, arguments)."""
    folder = tmp_path_factory.mktemp("searched")
    arguments = write_tiny_experiment(folder, search=SEARCH)
    run_stages(arguments, ("01", "02"))
    main(["tune", *arguments, "--trials", "2"])
    main(["tune", *arguments, "--trials", "3"])
    return folder, arguments


def test_a_search_leaves_table_pictures_best_and_its_optimism(searched: tuple[Path, list[str]]) -> None:
    folder, _ = searched
    own = folder / "runs/drawn/tiny"
    table = pd.read_csv(own / "search/trials.csv")
    assert len(table) == 3 and {"trial", "state", "score", "noise", "train.lr", "augment.recipe"} <= set(table)
    first = table.set_index("trial").loc[0]
    assert first["train.lr"] == 1e-3 and json.loads(first["augment.recipe"]) == "flips"
    noise = json.loads((own / "noise_floor.json").read_text())
    assert sorted(noise["scores"]) == ["0", "1", "2"] and noise["floor"] > 0
    assert noise["scores"]["0"] == first["score"], "the base scores the same as a trial of its own settings"
    report = (own / "search/report.md").read_text()
    assert "optimism of the search" in report and "on folds that the search never saw" in report
    assert {"history.png", "slices.png", "best.yaml"} <= {path.name for path in (own / "search").iterdir()}
    best = yaml.safe_load((own / "search/best.yaml").read_text())
    assert best["name"] == "tiny-best" and "search" not in best
    top = table.iloc[0]
    assert best["train"]["lr"] == pytest.approx(top["train.lr"])
    checked = [*own.parent.glob("tiny-best-unseen-*")]
    assert 1 <= len(checked) <= 2, "one of each call's best trial"
    unseen = json.loads((checked[0] / "oof/stage.json").read_text())
    assert set(unseen["identity"]["inputs"]) == {"fold_1", "folds"}
    frozen = {path.parent.name: json.loads(path.read_text())["folds"] for path in own.parent.glob("*/folds.json")}
    assert len(set(frozen.values())) == 1, "all are judged on the same folds, the seeds too"


def test_what_a_killed_search_was_at_is_taken_up_again(
    searched: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    space = space_of(searched[1])
    study = open_study(space)
    known = len(study.trials)
    killed = study.ask()
    settings = module.suggest(killed, space.experiment)
    killed.set_user_attr("process", f"{module.socket.gethostname()}:999999999")
    asked: list[dict[str, Any]] = []

    def fake(space: Any, argv: Any, name: str, settings: dict[str, Any], observe: Any) -> Variant:
        asked.append(settings)
        return Variant(name, settings, {"nested": 0.5, "worst_source": 0.4})

    monkeypatch.setattr(module, "run_variant", fake)
    run_trials(space, searched[1], trials=known + 2, seconds=None, report=lambda text: None)
    assert len(asked) == 1 and settings.items() <= asked[0].items()


def test_a_task_does_one_trial_and_its_next_attempt_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = space_of(write_tiny_experiment(tmp_path, search=SEARCH))
    asked: list[dict[str, Any]] = []

    def fake(space: Any, argv: Any, name: str, settings: dict[str, Any], observe: Any) -> Variant:
        asked.append(settings)
        return Variant(name, settings, {"nested": 0.5, "worst_source": 0.4})

    monkeypatch.setattr(module, "run_variant", fake)
    first, second, third = trial_parts(space, 3, None)
    do_part(space, [], first)
    killed = open_study(space).ask()
    settings = module.suggest(killed, space.experiment)
    killed.set_user_attr("process", second["trial"])
    do_part(space, [], third)
    do_part(space, [], second)
    again = [{key: one[key] for key in settings} == settings for one in asked]
    assert again == [False, False, True], "the third task begins a trial, the second goes on with its own"
    assert [trial.state.name for trial in open_study(space).trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    do_part(space, [], {**third, "until": 1.0})
    assert len(asked) == 3, "what would begin too late does nothing"


@pytest.mark.smoke
@pytest.mark.timeout(3600)
def test_a_search_on_a_cluster_shares_one_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'segmentation-pipeline[ray]'")
    arguments = write_tiny_experiment(tmp_path, search=SEARCH)
    run_stages(arguments, ("01", "02"))
    monkeypatch.setenv("RAY_worker_niceness", "0")
    main(["tune", *arguments, "--trials", "3", "--ray", "local"])
    own = tmp_path / "runs/drawn/tiny"
    trials = open_study(space_of(arguments)).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 3
    assert len({trial.user_attrs["process"] for trial in trials}) == 3, "each a task of its own"
    assert len(json.loads((own / "noise_floor.json").read_text())["scores"]) == 3
    assert "optimism of the search" in (own / "search/report.md").read_text()


def test_a_trial_that_lags_is_stopped_and_its_folder_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = space_of(write_tiny_experiment(tmp_path, search=SEARCH))
    number = iter(range(100))

    def fake(space: Any, argv: Any, name: str, settings: dict[str, Any], observe: Any) -> Variant:
        (space.shared / name).mkdir(parents=True)
        score = 1 - next(number) / 10
        for _ in range(4):
            observe(0, score)
        return Variant(name, settings, {"nested": score, "worst_source": score})

    monkeypatch.setattr(module, "run_variant", fake)
    study = run_trials(space, [], trials=6, seconds=None, report=lambda text: None)
    states = [trial.state.name for trial in study.trials]
    assert states[0] == "COMPLETE" and "PRUNED" in states and len(states) == 6
    assert len(list(space.shared.glob("tiny-trial-*"))) == states.count("COMPLETE")
    table = module.trial_table(study, 0.05)
    assert table.loc[0, "score"] == 1.0 and not table["noise"].all() and table["noise"].iloc[0]
    assert (table["score"].notna() == (table["state"] == "complete")).all(), "a validation is no score"


def test_a_trial_that_goes_on_is_compared_at_the_epoch_that_it_is_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = space_of(write_tiny_experiment(tmp_path, search=SEARCH))

    def fake(space: Any, argv: Any, name: str, settings: dict[str, Any], observe: Any) -> Variant:
        observe(0, 0.7)
        return Variant(name, settings, {"nested": 0.7, "worst_source": 0.7})

    rows = [{"epoch": 0, "validation": {"score": 0.1}}, {"epoch": 1}, {"epoch": 2, "validation": {"score": 0.6}}]
    monkeypatch.setattr(module, "run_variant", fake)
    monkeypatch.setattr(module, "read_log", lambda path: rows)
    study = run_trials(space, [], trials=1, seconds=None, report=lambda text: None)
    assert study.trials[0].intermediate_values == {2: 0.7}


def test_a_trial_that_cannot_be_run_is_told_and_the_search_goes_on(tmp_path: Path) -> None:
    ranges = {"augment.recipe": ["flips", "no such recipe"], "model.architecture": ["unet", "nothing"]}
    arguments = write_tiny_experiment(tmp_path, search={"folds": [0], "ranges": ranges})
    run_stages(arguments, ("01", "02"))
    space = space_of(arguments)
    with pytest.raises(ValueError, match="no such recipe"):
        run_variant(space, arguments, "tiny-odd", {"augment.recipe": "no such recipe", "folds.use": [0]})
    with pytest.raises(ValueError, match=r"tiny-off \(.*tune.rule': 'argmax'.*\): error: "):
        run_variant(space, arguments, "tiny-off", {"tune.rule": "argmax", "folds.use": [0]})
    said: list[str] = []
    study = open_study(space)
    study.enqueue_trial({"augment.recipe": json.dumps("no such recipe"), "model.architecture": json.dumps("unet")})
    run_trials(space, arguments, trials=1, seconds=None, report=said.append)
    assert study.trials[0].state.name == "FAIL" and "no such recipe" in said[0]


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ({"ranges": {"train.lr": {"low": 1, "high": 0}}}, "expected low below high"),
        ({"ranges": {"train.lr": [0.1]}}, "expected two values or more"),
        ({"ranges": {"folds.n": [2, 3]}}, "cannot be searched"),
        ({"ranges": {}}, "search.ranges is empty"),
        ({**SEARCH, "folds": [0, 1]}, "some left to check the best trial"),
    ],
)
def test_what_cannot_be_searched_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], search: dict[str, Any], words: str
) -> None:
    with pytest.raises(SystemExit):
        main(["tune", *write_tiny_experiment(tmp_path, search=search)])
    assert words in capsys.readouterr().err


def test_the_experiment_as_it_is_comes_first_however_its_numbers_are_written(tmp_path: Path) -> None:
    ranges = {"augment.cutmix": [0, 0.5], "train.lr": {"low": 1e-4, "high": 1e-2}}  # its own cutmix is 0.0
    space = space_of(write_tiny_experiment(tmp_path, search={"folds": [0], "ranges": ranges}))
    study = open_study(space)
    module.take_up(study, space.experiment, "here", 1)
    assert module.suggest(study.ask(), space.experiment) == {"augment.cutmix": 0, "train.lr": 1e-3}


def test_hyperband_counts_validations(tmp_path: Path) -> None:
    search = {**SEARCH, "pruner": "hyperband"}
    space = space_of(write_tiny_experiment(tmp_path, search=search), "--set", "train.epochs=30")
    rungs = [open_study(space_of_every(space, every)).pruner._max_resource for every in (0, 1, 4)]
    assert rungs == [30, 30, 8], "one a validation, of which every fourth epoch and the last have one"


def space_of_every(space: Workspace, epochs: int) -> Workspace:
    train = space.experiment.train.model_copy(update={"validate_every": epochs})
    return replace(space, experiment=space.experiment.model_copy(update={"train": train}))


def test_a_gain_counts_where_the_search_never_looked() -> None:
    lines = verdict(0.70, 0.71, first=0.70, top=0.75, floor=0.02)
    assert "+0.0500" in lines[0] and "within the noise floor: nothing was found" in lines[1] and "+0.0400" in lines[2]
    assert "more than the noise floor" in verdict(0.70, 0.74, first=0.70, top=0.75, floor=0.02)[1]
