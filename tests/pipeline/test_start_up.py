"""What a process imports: stages that train and predict nothing hold no torch, from their first line to their last."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import stage, write_tiny_experiment

STAGES = ("01_check_data", "02_make_folds", "03_prepare_data", "06_tune", "09_submit")
HEAVY = ("torch", "torchvision", "timm", "segmentation_models_pytorch", "albumentations", "accelerate", "plotly")


def held_after(code: str) -> set[str]:
    """Those of HEAVY that a fresh process holds after `code`."""
    tell = f"import sys; sys.stderr.write('\\n' + ' '.join(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{tell}"], capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split()) if done.stderr.strip() else set()


@pytest.mark.parametrize("name", [*STAGES, "04_train", "05_predict_oof", "07_predict_test", "08_bundle"])
def test_help_needs_no_torch(name: str) -> None:
    code = (
        f"import importlib\ntry: importlib.import_module('pipeline.{name}').main(['--help'])\nexcept SystemExit: pass"
    )
    assert held_after(code) == set()


@pytest.mark.parametrize("module", ["submissions.__main__", "pipeline.__main__", "inference.models", "folds.splitters"])
def test_commands_start_without_torch(module: str) -> None:
    assert held_after(f"import {module}") == set()


def test_stages_that_use_no_network_work_without_torch(tmp_path: Path) -> None:
    arguments = write_tiny_experiment(tmp_path, train=6, test=2)
    call = "import importlib\nfor name in {}: importlib.import_module('pipeline.' + name).main({!r})"
    assert held_after(call.format(STAGES[:3], arguments)) == set()
    for name in ("04_train", "05_predict_oof"):
        stage(name)(arguments)
    assert held_after(call.format(STAGES[3:4], arguments)) == set()
    stage("07_predict_test")(arguments)
    assert held_after(call.format(STAGES[4:], [*arguments, "--ledger", str(tmp_path / "ledger.csv")])) == set()
