"""What a process imports: stages that train and predict nothing hold no torch, from their first line to their last."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import stage, write_tiny_experiment

from pipeline.__main__ import WORDS
from pipeline.sequence import ALL_STAGES

STAGES = ("01_check_data", "02_make_folds", "03_prepare_data", "06_tune", "09_submit")
HEAVY = ("torch", "torchvision", "timm", "segmentation_models_pytorch", "albumentations", "accelerate", "plotly")
LATER = ("scipy.ndimage", "scipy.stats", "sklearn", "matplotlib")  # needed by stages, not by their --help


def held_after(code: str, names: tuple[str, ...] = HEAVY) -> set[str]:
    """Those of `names` that a fresh process holds after `code`."""
    tell = f"import sys; sys.stderr.write('\\n' + ' '.join(name for name in {names!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{tell}"], capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split()) if done.stderr.strip() else set()


def test_help_holds_neither_torch_nor_what_only_draws_and_counts() -> None:
    calls = [(f"pipeline.{name}", ["--help"]) for name in ALL_STAGES]
    calls += [("pipeline.__main__", [word, "--help"]) for word in WORDS] + [("inference.models.__main__", ["--help"])]
    calls += [("submissions.__main__", [word, "--help"]) for word in ("lint", "score", "show", "ledger")]
    code = f"import importlib\nfor name, words in {calls!r}:\n    try: importlib.import_module(name).main(words)\n"
    assert held_after(f"{code}    except SystemExit as end: assert end.code == 0", HEAVY + LATER) == set()


@pytest.mark.parametrize("module", ["submissions.__main__", "pipeline.__main__", "inference.models", "folds.splitters"])
def test_commands_start_without_torch(module: str) -> None:
    assert held_after(f"import {module}") == set()


@pytest.mark.parametrize("module", ["inference.__main__", "pipeline.__main__"])
def test_what_only_hands_on_its_words_starts_without_numpy(module: str) -> None:
    assert held_after(f"import {module}", ("numpy", "pandas")) == set()


def test_stages_that_use_no_network_work_without_torch(tmp_path: Path) -> None:
    arguments = write_tiny_experiment(tmp_path, train=6, test=2)
    call = "import importlib\nfor name in {}: importlib.import_module('pipeline.' + name).main({!r})"
    assert held_after(call.format(STAGES[:3], arguments)) == set()
    for name in ("04_train", "05_predict_oof"):
        stage(name)(arguments)
    assert held_after(call.format(STAGES[3:4], arguments)) == set()
    stage("07_predict_test")(arguments)
    assert held_after(call.format(STAGES[4:], [*arguments, "--ledger", str(tmp_path / "ledger.csv")])) == set()
