"""A bundle: code, weights, contract and decision in one folder, checked against its manifest, run with no network."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import inference
import submissions
from inference.config import PredictConfig
from inference.decision import load_decision
from inference.listed import OnError
from inference.submission import SubmissionSummary, in_turn, make_submission
from inference.weights import load_model, save_model
from submissions.competition import Competition, load_competition
from submissions.lint import lint_submission
from submissions.table import write_atomic

FORMAT = 2
MANIFEST = "MANIFEST.json"
DISTRIBUTIONS = (
    "h5py", "imagecodecs", "nibabel", "numba", "numpy", "opencv-python-headless", "pandas", "pydantic", "PyYAML",
    "safetensors", "scipy", "segmentation-models-pytorch", "tifffile", "timm", "torch", "torchvision", "tqdm",
)  # fmt: skip


def installed_versions() -> dict[str, str]:
    """Versions of what inference uses; a distribution that is absent is left out."""
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_bundle(
    folder: Path,
    competition: Competition,
    folds: Mapping[str, Sequence[Path]],
    decision: Path,
    *,
    configs: Mapping[str, PredictConfig],
    facts: Mapping[str, Any],
) -> Path:
    """Write a bundle of trained folds; built aside and renamed. Returns its folder.

    folds: experiment -> folders fold_k with weights; configs: experiment -> prediction settings, which replace those
    beside the weights; facts go into the manifest (cross-validation, git state). Raises ValueError where the folder
    exists already.
    """
    if folder.exists():
        raise ValueError(f"{folder}: exists already; --overwrite makes it again")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for package in (inference, submissions):
        source = Path(package.__path__[0])
        shutil.copytree(source, partial / "code" / source.name, ignore=ignored)
    for experiment, folders in folds.items():
        for source in folders:
            loaded = load_model(source)
            target = partial / "weights" / experiment / source.name
            save_model(target, loaded.model, loaded.model_config, loaded.input_config, configs[experiment])
    contract = competition.model_dump(mode="json", exclude_unset=True)
    write_atomic(partial / "competition.yaml", json.dumps(contract, indent=1) + "\n")
    shutil.copyfile(decision, partial / "decision.json")
    files = sorted(path for path in partial.rglob("*") if path.is_file())
    manifest = {
        "format": FORMAT,
        "competition": competition.name,
        "experiments": {name: [int(one.name.removeprefix("fold_")) for one in own] for name, own in folds.items()},
        "made_with": installed_versions(),
        **facts,
        "files": {path.relative_to(partial).as_posix(): file_hash(path) for path in files},
    }
    write_atomic(partial / MANIFEST, json.dumps(manifest, indent=1, default=str) + "\n")
    os.replace(partial, folder)
    return folder


def verify(bundle: Path) -> dict[str, Any]:
    """The manifest, after every file was compared with it.

    Raises FileNotFoundError where there is no manifest, ValueError that names the files that are missing, changed,
    or not listed.
    """
    path = bundle / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{bundle}: no {MANIFEST}; expected a folder that stage 08 wrote")
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if manifest.get("format") != FORMAT:
        raise ValueError(f"{bundle}: bundle of format {manifest.get('format')!r}, expected {FORMAT}; bundle again")
    listed: dict[str, str] = manifest["files"]
    missing = [name for name in listed if not (bundle / name).is_file()]
    changed = [name for name, hashed in listed.items() if name not in missing and file_hash(bundle / name) != hashed]
    if missing or changed:
        raise ValueError(f"{bundle}: files missing {missing}, changed {changed}; copy the bundle again")
    return manifest


def run(
    bundle: Path,
    data: Path,
    out: Path,
    *,
    folder: Path | None = None,
    device: str | None = None,
    on_error: OnError = "stop",
    seconds: float | None = None,
    report: Callable[[str], None] = print,
    progress: Callable[[int, int], Any] = lambda done, total: None,
) -> SubmissionSummary:
    """Verify, predict, decide, lint, and write `out`, from the bundle's files and the host's alone.

    folder: where predictions are kept (default: beside `out`); device: one, or several as in "cuda:0,cuda:1";
    seconds: a time budget, as for `make_submission`. Raises ValueError where the bundle is damaged, a test
    image cannot be read (unless on_error is 'empty') or the linter finds an error; `out` is then not left behind.
    """
    manifest = verify(bundle)
    competition = load_competition(bundle / "competition.yaml")
    decision = load_decision(bundle / "decision.json")
    experiments: dict[str, list[int]] = manifest["experiments"]
    origins = in_turn(experiments)
    models = [load_model(bundle / "weights" / origin.experiment / f"fold_{origin.fold}") for origin in origins]
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    summary = make_submission(
        competition, data, models, decision, folder=folder or out.with_name("predictions"), out=out, device=place,
        origins=origins, on_error=on_error, seconds=seconds, report=report, progress=progress,
    )  # fmt: skip
    errors = [finding for finding in lint_submission(out, competition, data) if finding.level == "error"]
    if errors:
        out.unlink()
        raise ValueError("\n".join(["the linter refuses the submission:", *(f"  {error}" for error in errors)]))
    return summary
