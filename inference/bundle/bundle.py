"""A bundle run offline: checked against its manifest, then from test images to a linted submission."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from inference.bundle.manifest import verify
from inference.bundle.versions import refuse, unmet
from inference.colours import FILE as COLOURS
from inference.colours import load_colours
from inference.decide.decision import Decision, load_decision
from inference.decision_members import interleaved_origins
from inference.forecast.forecast import FORECAST, image_sums, load_forecast
from inference.forecast.test_images import forecast_test_images
from inference.forecast.verdict import forecast_lines
from inference.predict.image_list import OnError
from inference.submission import SubmissionSummary, make_submission, open_test_images
from inference.weights import LoadedModel, load_model
from submissions.answers import answer_of, answer_place, lint_answer
from submissions.host.atomic import remove, write_atomic
from submissions.host.competition import Competition, load_competition
from submissions.host.listed_images import ListedImages
from submissions.host.listing import LAYER_SEPARATOR
from submissions.table.findings import errors


def run(
    bundle: Path,
    data: Path,
    out: Path,
    *,
    folder: Path | None = None,
    device: str | None = None,
    on_error: OnError = "stop",
    seconds: float | None = None,
    memory_cap_gb: float | None = None,
    lint: bool = True,
    keep_doubtful: bool = False,
    report: Callable[[str], None] = print,
    progress: Callable[[int, int], Any] = lambda done, total: None,
) -> SubmissionSummary:
    """Verify, predict, decide, lint, and write `out`, from the bundle's files and the host's alone.

    Where the contract wants no table, an `out` that ends in .csv takes the ending of what it wants, such as .zip.

    folder: where predictions are kept (default: beside `out`); device: one, or several as in "cuda:0,cuda:1" (default:
    every GPU, else the CPU); seconds: a time budget, as for `make_submission`; memory_cap_gb: host memory for buffers
    instead of what the experiments set; lint: whether the linter has to agree; keep_doubtful: errors that are doubts
    about the masks, not about the table, are only reported, as warnings are. Raises ValueError where the bundle is
    damaged, the installed versions or the decision do not fit it, `out` cannot be written, `folder` holds other
    predictions, a test image cannot be predicted (unless on_error is 'empty') or the linter finds an error; `out` is
    then not left behind.
    """
    manifest = verify(bundle)
    refuse(unmet(manifest["accepts"]))
    competition = load_competition(bundle / "competition.yaml")
    decision = load_decision(bundle / "decision.json", fingerprint=manifest["taught_by"])
    folder = folder or out.with_name("predictions")
    out = answer_place(competition, out)
    if out.is_dir() and answer_of(competition).ending:
        raise ValueError(f"{out} is a folder; expected a file to write, such as {out / 'submission.csv'}")
    for place in (out.parent, folder):
        _check_writable(place)
    _claim(folder, _made_by(manifest, decision), _file_states(open_test_images(competition, data)))
    origins = interleaved_origins(manifest["experiments"])
    sums: list[dict[str, Any]] = []
    models = [_loaded(bundle / "weights" / one.experiment / f"fold_{one.fold}", memory_cap_gb) for one in origins]
    summary = make_submission(
        competition, data, models, decision, folder=folder, out=out, device=device or every_device(),
        origins=origins, on_error=on_error, seconds=seconds, colours=load_colours(bundle / COLOURS), report=report,
        progress=progress,
        decided=lambda image_id, probs, mask: sums.append(
            {"image_id": image_id, **image_sums(probs, mask, decision)}
        ),
    )  # fmt: skip
    for line in expected(bundle, competition, data, decision, pd.DataFrame(sums), models=len(models)):
        report(line)
    found = lint_answer(out, competition, data) if lint else []
    wrong = [finding for finding in errors(found) if not (keep_doubtful and finding.doubt)]
    if wrong:
        remove(out)
        raise ValueError("\n".join(["the linter refuses the submission:", *(f"  {error}" for error in wrong)]))
    if any(finding.doubt for finding in found):
        report(
            "LOOK AT THE MASKS BEFORE YOU SUBMIT: the host accepts the table, so it is kept, but the masks look wrong:"
        )
    for finding in found:
        report(f"lint: {finding}")
    return summary


def expected(
    bundle: Path, competition: Competition, data: Path, decision: Decision, sums: pd.DataFrame, *, models: int
) -> list[str]:
    """What the bundle's forecast says of the images that were predicted; nothing where it has none.

    sums: one row per image with the columns of `image_sums`; models: how many the predictions are a mean of.
    """
    path = bundle / FORECAST
    if not path.is_file() or not len(sums):
        return []
    images = open_test_images(competition, data)
    stacks = {name: str(images.row(name)["stack"]) for name in images.ids}
    forecast = load_forecast(path, fingerprint=decision.fingerprint)
    found = forecast_test_images(forecast, competition, sums, stacks, models=models)
    return forecast_lines(found, decision.learned)


def submit(
    bundle: Path, data: Path, out: Path, *, seconds: float, memory_cap_gb: float, report: Callable[[str], None] = print
) -> SubmissionSummary:
    """`run` as a notebook on the host's machine does: it ends with a whole submission where that can be had.

    A test image that cannot be predicted gets an empty mask, and of masks that look wrong it is only said.
    """
    summary = run(
        bundle, data, out, on_error="empty", memory_cap_gb=memory_cap_gb, report=report, keep_doubtful=True,
        seconds=seconds,
    )  # fmt: skip
    for said in summary.given_up:
        report(f"time budget: {said}")
    report(str(summary))
    return summary


def every_device() -> str:
    """All GPUs as `run` takes them, or the CPU where there is none."""
    return ",".join(f"cuda:{index}" for index in range(torch.cuda.device_count())) or "cpu"


def _loaded(folder: Path, memory_cap_gb: float | None) -> LoadedModel:
    loaded = load_model(folder)
    if memory_cap_gb is None:
        return loaded
    return replace(loaded, predict_config=loaded.predict_config.model_copy(update={"memory_cap_gb": memory_cap_gb}))


def _check_writable(folder: Path) -> None:
    """Raises ValueError where no file can be written into a folder, before hours are spent."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"{folder}: no file can be written there ({error.strerror}); choose another folder") from error


def _made_by(manifest: Mapping[str, Any], decision: Decision) -> dict[str, Any]:
    """What predictions depend on beside the image, in JSON's types."""
    weights = {name: one for name, one in manifest["files"].items() if name.startswith("weights/") or name == COLOURS}
    return {"weights": weights, "views": decision.views, "shares": decision.weights}


def _file_states(images: ListedImages) -> dict[str, list[list[int]]]:
    """Size and time of the files of every image; none of one that is not there."""
    states: dict[str, list[list[int]]] = {}
    for image_id in images.ids:
        paths = [images.data / name for name in str(images.row(image_id)["path"]).split(LAYER_SEPARATOR)]
        found = [path.stat() for path in paths if path.is_file()]
        states[image_id] = [[one.st_size, one.st_mtime_ns] for one in found]
    return states


def _claim(folder: Path, by: Mapping[str, Any], of: Mapping[str, Any]) -> None:
    """Note which weights and files the predictions in a folder come from; raises ValueError if those there come from
    others.
    """
    note = folder / "made_of.json"
    before = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {"by": by, "of": {}}
    other = "; delete it, or write to another folder"
    if before["by"] != by:
        raise ValueError(f"{folder}: holds predictions of other weights, TTA views or ensemble weights{other}")
    changed = [image_id for image_id, state in before["of"].items() if of.get(image_id, state) != state]
    if changed:
        raise ValueError(f"{folder}: the files of {changed[:3]} changed since it was predicted{other}")
    write_atomic(note, json.dumps({"by": by, "of": {**before["of"], **of}}) + "\n")
