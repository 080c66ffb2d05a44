"""Test images to a submission: predict, decide, encode, write. Stage 07, the bundle and the notebook all run this."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from inference.config import PredictConfig
from inference.decision import Decision, apply
from inference.listed import OnError, Outcome, predict_listed
from inference.members import ReadyMember
from inference.store import open_prediction
from inference.weights import LoadedModel
from submissions.competition import Competition
from submissions.listing import ListedImages, list_images
from submissions.problems import ProblemsError
from submissions.table import Row, encode_rows, write_submission


@dataclass(frozen=True)
class SubmissionSummary:
    """What was written, and the images that got an empty mask because they could not be predicted."""

    path: Path
    table: pd.DataFrame
    images: int
    failures: list[Outcome] = field(default_factory=list)


def open_test_images(competition: Competition, data: Path) -> ListedImages:
    """The host's test images; ProblemsError where the listing itself is wrong."""
    listing, problems = list_images(competition, data, "test")
    if problems:
        raise ProblemsError(problems)
    return ListedImages(competition, data, listing)


def make_submission(
    competition: Competition,
    data: Path,
    members: Sequence[LoadedModel | ReadyMember],
    decision: Decision,
    *,
    folder: Path,
    out: Path,
    device: torch.device | str = "cpu",
    config: PredictConfig | None = None,
    weights: Sequence[float] | None = None,
    on_error: OnError = "stop",
    report: Callable[[str], None] = print,
    progress: Callable[[int, int], Any] = lambda done, total: None,
) -> SubmissionSummary:
    """Predict the test images into `folder`, decide, and write `out` in the order of the sample submission.

    Images predicted before are not predicted again. With on_error='empty' an image that cannot be read gets an
    empty mask; otherwise it stops everything with a ValueError that names it. No test image at all is fine: the
    table then has no row.
    """
    images = open_test_images(competition, data)
    rows: list[Row] = []
    failures: list[Outcome] = []
    outcomes = predict_listed(
        members, images, images.ids, folder,
        device=device, config=config, weights=weights, on_error=on_error, report=report,
    )  # fmt: skip
    for done, outcome in enumerate(outcomes, start=1):
        rows += image_rows(competition, images.row(outcome.image_id), outcome, decision)
        if outcome.failure is not None:
            failures.append(outcome)
            report(f"{outcome.image_id}: empty mask, because {outcome.failure}")
        progress(done, len(images.ids))
    table = write_submission(out, competition, data, rows)
    return SubmissionSummary(out, table, len(images.ids), failures)


def image_rows(competition: Competition, fields: dict[str, Any], outcome: Outcome, decision: Decision) -> list[Row]:
    """Submission rows of one predicted image; of one that failed, those of an empty mask."""
    if outcome.failure is not None:
        planes = np.zeros((len(competition.classes), 1, 1), bool)
        return encode_rows(competition, fields, planes, instances=np.zeros((1, 1), np.int32), scores=[])
    with open_prediction(outcome.path) as prediction:
        probs = prediction.read()
    mask = apply(probs, decision, group=decision_group(competition, fields))
    return encode_rows(competition, fields, mask.planes, instances=mask.instances, scores=mask.scores)


def decision_group(competition: Competition, fields: dict[str, Any]) -> str | None:
    """What thresholds by group are keyed by: the contract's first stratum (organ, stain), None without one."""
    for column in competition.strata:
        if column in fields and not column.startswith("area_"):
            return str(fields[column])
    return None
