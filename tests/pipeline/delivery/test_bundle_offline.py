"""The bundle as the host runs it: its notebook, a fresh environment, no network, after all stages."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import write_tiny_experiment

import inference
from inference.bundle.host_image import make_environment
from inference.bundle.manifest import read_manifest
from inference.bundle.offline import cut_off, why_not
from inference.bundle.wheels import PYTHONS
from pipeline.sequence import run_stages

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(900)]
RUNNER = Path(__file__).parents[2] / "support" / "notebook_runner.py"
CODE = Path(inference.__path__[0]).parent


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Data and folder of a tiny run with its bundle, wheels and all."""
    here = ".".join(map(str, sys.version_info[:2]))
    if here not in PYTHONS:
        pytest.skip(f"bundles carry wheels for Python {' and '.join(PYTHONS)}, but this is {here}")
    folder = tmp_path_factory.mktemp("offline")
    arguments = write_tiny_experiment(folder)
    run_stages(arguments)
    bundle = importlib.import_module("pipeline.08_bundle").main
    bundle([*arguments, "--python", here])
    return folder / "data", folder / "runs" / "drawn" / "tiny"


@pytest.fixture(scope="module")
def environment(made: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Interpreter of an environment that holds what the host's image holds, and no wheel of the bundle."""
    reason = why_not()
    if reason is not None:
        pytest.skip(f"the network cannot be cut off here, the kernel does not allow it: {reason}")
    manifest = read_manifest(made[1] / "bundle")
    folder = tmp_path_factory.mktemp("image") / "environment"
    python, linked = make_environment(folder, manifest["wheels"]["files"], manifest["accepts"])
    assert "torch" in linked and "timm" not in linked
    return python


def run_mounted(python: Path, root: Path, bundle: Path, data: Path) -> Path:
    """Mount bundle and data as the host does, execute the bundle's notebook offline; returns the folder written to."""
    mounted, out = root / "input", root / "working"
    shutil.copytree(bundle, mounted / "datasets" / "somebody" / "drawn-tiny")
    shutil.copytree(data, mounted / "competitions" / "drawn")
    out.mkdir()
    scene = {"INPUT_FOLDER": str(mounted), "OUTPUT_FOLDER": str(out), "PYTHONPATH": str(CODE)}
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    notebook = mounted / "datasets" / "somebody" / "drawn-tiny" / "submit.ipynb"
    command = cut_off(["env", "-u", "PYTHONPATH", sys.executable, str(RUNNER), str(notebook), str(python), str(out)])
    done = subprocess.run(command, env={**plain, **scene}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return out


def test_the_notebook_writes_the_submission_of_stage_07_without_a_network(
    made: tuple[Path, Path], environment: Path, tmp_path: Path
) -> None:
    data, own = made
    out = run_mounted(environment, tmp_path, own / "bundle", data)
    assert (out / "submission.csv").read_bytes() == (own / "submission.csv").read_bytes()
    assert (out / "preview.png").is_file()
    cells = json.loads((out / "executed.ipynb").read_text())["cells"]
    assert [cell["cell_type"] for cell in cells] == ["code"] * 5
    assert any("image/png" in output.get("data", {}) for output in cells[4]["outputs"])
    assert str(tmp_path / "input/datasets/somebody/drawn-tiny/code") in json.dumps(cells[2]["outputs"])


def test_the_notebook_takes_a_hidden_test_set_without_images(
    made: tuple[Path, Path], environment: Path, tmp_path: Path
) -> None:
    data = tmp_path / "hidden"
    data.mkdir()
    (data / "sample_submission.csv").write_text("id,rle\n")
    out = run_mounted(environment, tmp_path, made[1] / "bundle", data)
    assert (out / "submission.csv").read_text() == "id,rle\n"
    assert not (out / "preview.png").exists()
