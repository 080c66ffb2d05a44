from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import stage, write_tiny_experiment

import pipeline
from pipeline.experiment import Experiment, load_experiment


def test_settings_on_the_command_line(tmp_path: Path) -> None:
    experiment = load_experiment("demo", ["train.epochs=3", "train.lr=1e-4", "folds.use=[1]", "name=other"])
    assert (experiment.train.epochs, experiment.train.lr, experiment.used_folds) == (3, 1e-4, [1])
    assert experiment.name == "other"
    (tmp_path / "mine.yaml").write_text("competition: tgs-salt\n")
    assert load_experiment(tmp_path / "mine.yaml").used_folds == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.epoch=3", "train.epoch: unknown key; expected one of: .*epochs"),
        ("train.epochs=0", "greater than or equal to 1"),
        ("folds.use=[2]", "folds are numbered from 0 to 1"),
        ("folds.use=[]", r"folds.use is \[\]; expected at least one fold, each once"),
        ("folds.use=[1,1]", r"folds.use is \[1, 1\]; expected at least one fold, each once"),
        ("input.std=[0]", r"std is \[0.0\]; expected values above 0"),
        ("tune.metric_params={beta: 2}", "tune.metric_params is {'beta': 2}, but tune.metric is not given; name the"),
        ("tune={rule: hysteresis, tops: [0.2]}", r"tune.tops is \[0.2\], .*: the rule hysteresis needs a top"),
        ("tune.areas=[-1]", "tune.areas.0: found -1; .*greater than or equal to 0"),
        ("tune.depths=[1]", "tune.depths.0: found 1; .*less than 1"),
        ("train.sampling.classes={a: -1, b: 1}", "train.sampling.classes.a: found -1; .*greater than or equal to 0"),
        ("train.sampling.classes={a: 0, b: 0}", "train.sampling.classes: expected a share above 0 for at"),
        ("search.ranges={train.epoch: [1, 2]}", "search.ranges: train.epoch: unknown key; expected one of: .*epochs"),
        ("search.ranges={trian.lr: [1, 2]}", "search.ranges: trian: unknown key; expected one of: .*train"),
        ("search.ranges={task.kind: [1, 2]}", "search.ranges: task: Input should be 'segment'"),
        ("search.ranges={train.epochs: {low: 0, high: 5}}", "search.ranges: train.epochs: found 0; .*equal to 1"),
        ("search.ranges={train.schedule: [cosine, cosin]}", "search.ranges: train.schedule: found 'cosin'"),
        ("train.freeze_epochs=2", "train.freeze_epochs is 2, but train.freeze does not say what is frozen"),
        ("name=a/b", "expected letters"),
        ("name=store", "and not inventory, folds, store or data"),
        ("name=data", "and not inventory, folds, store or data"),
        ("external=[{experiment: a, share: 0.6}, {experiment: b, share: 0.4}]", "sum to 1, which leaves nothing"),
        ("input.mean=[0.1,0.2]", "mean has 2 values; expected 1, or 1 as"),
    ],
)
def test_settings_that_cannot_be(setting: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        load_experiment("demo", [setting])


def test_what_is_searched_may_need_other_settings() -> None:
    ranges = {"train.keep": ["last", "best"], "input.channels": [1, 3], "model.options.depth": [1, 2]}
    found = Experiment(name="x", competition="drawn", train={"validate_every": 1}, search={"ranges": ranges})
    assert list(found.search.ranges) == list(ranges)


def test_an_unknown_experiment_lists_the_known_ones() -> None:
    with pytest.raises(FileNotFoundError, match="demo, dsb2018"):
        load_experiment("nothing")


def test_no_module_of_the_pipeline_hides_a_package_somebody_imports() -> None:
    """A script's own folder comes first on sys.path: pipeline/datasets.py would be `import datasets` to everyone."""
    own = {path.stem for path in Path(pipeline.__path__[0]).glob("*.py")} - {"__init__", "__main__"}
    installed = set(importlib.metadata.packages_distributions()) - {"pipeline", "folds", "inference", "submissions"}
    assert own & (set(sys.stdlib_module_names) | installed) == set()


@pytest.mark.parametrize("script", sorted(Path(pipeline.__path__[0]).glob("0*.py")), ids=lambda path: path.stem)
def test_stages_are_thin_and_say_what_they_read_and_write(script: Path) -> None:
    text = script.read_text()
    documentation = ast.get_docstring(ast.parse(text)) or ""
    assert all(word in documentation for word in ("Reads:", "Writes:", "Example:"))
    assert len(text.splitlines()) < 85


@pytest.mark.parametrize("script", sorted(Path(pipeline.__path__[0]).glob("0*.py")), ids=lambda path: path.stem)
def test_a_script_without_its_packages_says_what_to_run(script: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-S", str(script), "demo"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "error: No module named" in done.stderr and "make install" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_package_that_is_missing_where_it_is_first_used_says_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pipeline.training.split_training", None)
    arguments = write_tiny_experiment(tmp_path, train=4, test=2)
    for name in ("01_check_data", "02_make_folds", "03_prepare_data"):
        stage(name)(arguments)
    with pytest.raises(SystemExit, match=r"error: import of pipeline\.training\.split_training.*; run `make install`"):
        stage("04_train")(arguments)
