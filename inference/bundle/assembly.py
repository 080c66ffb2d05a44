"""Putting a bundle together: code, weights, wheels, contract and decision in one folder with its manifest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import inference
import submissions
from inference.bundle.manifest import FORMAT, MANIFEST, files_below, list_files
from inference.bundle.versions import accepted_ranges, installed_versions, refuse_special
from inference.bundle.wheels import BINARY, PLATFORMS, PURE, fetch_wheels
from inference.bundle.wheels import FOLDER as WHEELS
from inference.colours import FILE as COLOURS
from inference.config import PredictConfig
from inference.decide.decision import load_decision
from inference.forecast.forecast import FORECAST, load_forecast
from inference.models.tensors import halve
from inference.weights import load_model, save_model
from submissions.host.atomic import put_in_place, write_atomic
from submissions.host.competition import Competition
from submissions.host.text_tables import PARQUET
from submissions.images.formats.table import needed_packages
from submissions.rle.codec import POLYGONS

GB = 1e9
NOTEBOOK = "submit.ipynb"
HALF = (
    "kernels and matrices rounded to half precision (a relative error of at most 0.0005 a weight, more below 0.00006), "
    "computed with in float32 again; biases and statistics are not rounded. Expect probabilities that differ by some "
    "thousandths, at single pixels by some hundredths, and pixels along the borders"
)
FULL = "as trained"


def write_bundle(
    folder: Path,
    competition: Competition,
    folds: Mapping[str, Sequence[Path]],
    decision: Path,
    *,
    configs: Mapping[str, PredictConfig],
    taught_by: str,
    facts: Mapping[str, Any],
    documents: Mapping[str, Mapping[str, Any]] | None = None,
    notebook: Path | None = None,
    formats: Collection[str] = (),
    python: str | None = None,
    half: bool = False,
    max_bytes: float = 20 * GB,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a bundle of trained folds, built aside and renamed; returns its manifest.

    folds: experiment -> folders fold_k with weights (the exponential mean, which is what training keeps); configs:
    experiment -> prediction settings, which replace those beside the weights; taught_by: fingerprint of the
    out-of-fold predictions that the decision was learned from; facts go into the manifest (cross-validation, git
    state); documents: experiment -> its resolved settings, kept to be read; formats: names of the image formats that
    it will read (`submissions.images.formats.table`), whose libraries it brings; python: version to fetch wheels for
    ("3.11"), none where not given; half: weights as float16; overwrite: a bundle that is there is replaced,
    once the new one is whole.
    Raises ValueError where the folder exists already, the decision was learned from another experiment, a wheel
    cannot be fetched or would not suffice, or the bundle is larger than `max_bytes`; nothing is left behind then.
    """
    if folder.exists() and not overwrite:
        raise ValueError(f"{folder} exists; --overwrite replaces it")
    load_decision(decision, fingerprint=taught_by)
    if decision.with_name(FORECAST).is_file():
        load_forecast(decision.with_name(FORECAST), fingerprint=taught_by)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        used = _copy_weights(partial, folds, configs, half)
        if python:
            refuse_special(used)
        _copy_code(partial)
        _copy_papers(partial, competition, decision, documents or {}, notebook)
        readers = needed_packages(formats) | packages_of_answer(competition)
        accepts = accepted_ranges(used) | readers
        wheels = fetch_wheels(partial / WHEELS, python, (*PURE, *BINARY, *readers)) if python else []
        check_size(partial, max_bytes)
        manifest = {
            "format": FORMAT,
            "competition": competition.name,
            "experiments": {name: [int(one.name.removeprefix("fold_")) for one in own] for name, own in folds.items()},
            "weights": {"kept": "exponential mean (EMA)", "precision": "fp16" if half else "fp32",
                        "effect": HALF if half else FULL},
            "made_with": installed_versions(accepts),
            "accepts": accepts,
            "wheels": {"python": python, "platforms": list(PLATFORMS), "files": wheels},
            "taught_by": taught_by,
            **facts,
            "files": list_files(partial),
        }  # fmt: skip
        write_atomic(partial / MANIFEST, json.dumps(manifest, indent=1, default=str) + "\n")
        put_in_place(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return manifest


def check_size(folder: Path, max_bytes: float) -> None:
    """Raises ValueError that names the five largest files where a folder holds more than `max_bytes`."""
    sizes = sorted(((path.stat().st_size, name) for name, path in files_below(folder)), reverse=True)
    total = sum(size for size, _ in sizes)
    if total > max_bytes:
        largest = ", ".join(f"{name} {size / 1e6:.1f} MB" for size, name in sizes[:5])
        raise ValueError(
            f"the bundle has {total / GB:.3f} GB, but --max-size is {max_bytes / GB:.3f} GB; the largest files "
            f"are {largest}; bundle fewer folds or experiments, use --fp16, or raise --max-size"
        )


def _copy_weights(
    folder: Path, folds: Mapping[str, Sequence[Path]], configs: Mapping[str, PredictConfig], half: bool
) -> set[str]:
    """Save every fold's weights with its settings; returns the architectures that they need."""
    used = set()
    for experiment, folders in folds.items():
        for source in folders:
            loaded = load_model(source)
            state = halve(loaded.model.state_dict()) if half else loaded.model
            target = folder / "weights" / experiment / source.name
            save_model(target, state, loaded.model_config, loaded.input_config, configs[experiment])
            used.add(loaded.model_config.architecture)
    return used


def _copy_code(folder: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "ledger.csv*")
    for package in (inference, submissions):
        source = Path(package.__path__[0])
        shutil.copytree(source, folder / "code" / source.name, ignore=ignored)


def _copy_papers(
    folder: Path,
    competition: Competition,
    decision: Path,
    documents: Mapping[str, Mapping[str, Any]],
    notebook: Path | None,
) -> None:
    """Contract, decision, what lies beside it, the experiments' settings, and the notebook where there is one."""
    bare = competition.model_copy(update={"metric": competition.metric.without_file()})
    contract = bare.model_dump(mode="json", exclude_unset=True)
    write_atomic(folder / "competition.yaml", json.dumps(contract, indent=1) + "\n")
    shutil.copyfile(decision, folder / "decision.json")
    for name in (FORECAST, COLOURS):
        if decision.with_name(name).is_file():
            shutil.copyfile(decision.with_name(name), folder / name)
    for name, document in documents.items():
        write_atomic(folder / "experiments" / f"{name}.json", json.dumps(document, indent=1, default=str) + "\n")
    if notebook is not None:
        shutil.copyfile(notebook, folder / NOTEBOOK)


def packages_of_answer(competition: Competition) -> dict[str, str]:
    """Distributions that the answer and the test tables need beside the package's own, and the accepted versions."""
    form = competition.submission
    polygons = form is not None and (form.kind == "geojson" or competition.dialect.kind in POLYGONS)
    tables = [table.file for table in competition.test_tables] + [form.sample if form is not None else ""]
    parquet = any(str(file).lower().endswith(PARQUET) for file in tables)
    found = {"shapely": ">=2.0"} if polygons else {}
    return found | ({"cramjam": ">=2.8", "fastparquet": ">=2024.2"} if parquet else {})
