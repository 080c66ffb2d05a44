"""Stage 08 around `inference.bundle.assembly`: which runs and decision go into it, what the host's client is told."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pipeline
from inference.bundle.assembly import NOTEBOOK
from inference.decide.decision import load_decision
from pipeline.delivery.submitting import host_name
from pipeline.experiment import load_experiment
from pipeline.runs import Run, read_run, runs_fingerprint, trained_inputs
from pipeline.stage import read_stage
from pipeline.workspace import Workspace, git_state
from submissions.host.atomic import write_atomic

NO_USER = "your-user-name"
SLUG = re.compile(r"[a-z0-9][a-z0-9-]{4,41}[a-z0-9]")  # with "-submit" behind it the host's 50 characters
DISTRIBUTION = "segmentation-pipeline"
TEMPLATE = Path("notebooks", "03_kaggle_submit.ipynb")


def together(space: Workspace, others: Sequence[str]) -> Workspace:
    """The workspace of the ensemble of the experiment and `others`: the one whose decision was learned from these.

    Raises FileNotFoundError that says how to make it where no decision was learned from all of them together.
    """
    names = [space.experiment.name, *(load_experiment(other).name for other in others)]
    runs = [read_run(space, name) for name in names]
    for path in sorted(space.shared.glob("*/tuning/decision.json")):
        try:
            taught_by = load_decision(path).fingerprint
        except ValueError:  # another experiment's, damaged or of an older format
            continue
        for order in itertools.permutations(runs):
            if runs_fingerprint(order) == taught_by:
                members = [run.name for run in order]
                tune = type(space.experiment.tune)()
                made = {"name": path.parents[1].name, "members": members, "tune": tune}
                return replace(space, experiment=space.experiment.model_copy(update=made))
    raise FileNotFoundError(
        f"{', '.join(names)}: no decision was learned from them together; write an experiment with `members: "
        f"[{', '.join(names)}]`, run 06_tune.py and 07_predict_test.py with it, then bundle it"
    )


def template_notebook() -> Path:
    """The notebook that a bundle's is a copy of: in the checkout, or where the installation put the notebooks.

    Raises FileNotFoundError where neither has it.
    """
    path = Path(pipeline.__path__[0]).parent / TEMPLATE
    if path.is_file():
        return path
    found = [Path(str(file.locate())) for file in metadata.files(DISTRIBUTION) or [] if file.name == TEMPLATE.name]
    if not found or not found[0].is_file():
        raise FileNotFoundError(f"{path}: no such file; install the package again, or run stage 08 in a checkout")
    return found[0].resolve()


def bundle_facts(space: Workspace, runs: Sequence[Run]) -> dict[str, Any]:
    """What a bundle's manifest says of where it comes from: cross-validation, fingerprints, the code's state."""
    tuned = read_stage(space.own / "tuning", f"06_tune.py {space.experiment.name}")
    cv = {name: tuned[name] for name in ("metric", "score", "interval", "nested", "prediction")}
    return {"cv": cv, "inputs": trained_inputs(runs), "git": git_state(Path(__file__).parent)}


def experiment_documents(space: Workspace, runs: Sequence[Run]) -> dict[str, Any]:
    """Resolved settings of the experiment, and of an ensemble's members those that they were trained with."""
    documents: dict[str, Any] = {space.experiment.name: space.experiment.model_dump(mode="json")}
    for run in runs:
        if run.name != space.experiment.name:
            trained = read_stage(run.folder / f"fold_{run.folds[0]}", f"04_train.py {run.name}")
            documents[run.name] = trained["identity"]["settings"]
    return documents


def dataset_slug(space: Workspace, slug: str | None) -> str:
    """Name of the data set in its address; ValueError for one that the host does not take."""
    text = f"{space.competition.name}-{space.experiment.name}".lower()
    made = slug or re.sub(r"[^a-z0-9]+", "-", text)[:43].strip("-")
    if not SLUG.fullmatch(made):
        raise ValueError(f"data set name {made!r}: expected 6 to 43 of a-z, 0-9 and '-'; give another with --slug")
    return made


def write_upload_files(space: Workspace, bundle: Path, user: str | None, slug: str) -> list[str]:
    """Write the metadata files of the host's client and the notebook's folder; returns the lines to print.

    `bundle`/dataset-metadata.json, and kernel/ beside the bundle with the notebook and kernel-metadata.json.
    """
    owner, kernel = user or NO_USER, bundle.with_name("kernel")
    dataset = {"title": slug, "id": f"{owner}/{slug}", "licenses": [{"name": "other"}]}
    write_atomic(bundle / "dataset-metadata.json", _json(dataset))
    notebook = {
        "id": f"{owner}/{slug}-submit", "title": f"{slug}-submit", "code_file": NOTEBOOK, "language": "python",
        "kernel_type": "notebook", "is_private": "true", "enable_gpu": "true", "enable_internet": "false",
        "dataset_sources": [f"{owner}/{slug}"], "competition_sources": [host_name(space.competition)],
        "kernel_sources": [],
    }  # fmt: skip
    write_atomic(kernel / NOTEBOOK, (bundle / NOTEBOOK).read_text(encoding="utf-8"))
    write_atomic(kernel / "kernel-metadata.json", _json(notebook))
    lines = [] if user else [f"  first replace {NO_USER} by your user name in both metadata files, or give --user"]
    lines += [
        f"  kaggle datasets create -p {bundle} --dir-mode zip",
        f"  kaggle datasets version -p {bundle} --dir-mode zip -m 'what changed'    (the next times)",
        f"  kaggle kernels push -p {kernel}",
        "  folders are uploaded as archives; the host unpacks them where the data set is mounted",
    ]
    form = space.competition.submission
    if form is not None and form.code_competition:
        lines.append("  or, once the data set is uploaded, 09_submit.py --upload, which also submits the notebook")
    return lines


def parse_size(text: str) -> float:
    """Bytes of a size such as "20GB", "500MB" or "0.5 GB" (1 GB = 10^9); ValueError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMG]?)B?", text.strip())
    if not found or float(found[1]) <= 0:
        raise ValueError(f"size is {text!r}, expected kB, MB or GB, as in '20GB'")
    return float(found[1]) * {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}[found[2]]


def size_table(manifest: dict[str, Any]) -> str:
    """Bytes by folder of a bundle, in one line."""
    sizes: dict[str, int] = {}
    for name, one in manifest["files"].items():
        top = name.split("/")[0] if "/" in name else "files"
        sizes[top] = sizes.get(top, 0) + one["bytes"]
    return ", ".join(f"{top} {size / 1e6:.1f} MB" for top, size in sorted(sizes.items(), key=lambda one: -one[1]))


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1) + "\n"
