"""Test images to a submission: predict, decide, encode, write. Stage 07, the bundle and the notebook all run this."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inference.colours import Colours, in_training_colours, recoloured_lines
from inference.decide.decision import Decision, Mask, apply, decision_group, segmentation_of
from inference.decision_members import Origin, split_classifiers, weighted_members
from inference.predict.image_list import OnError, Outcome, predict_listed
from inference.predict.members import ReadyMember
from inference.predict.store import open_prediction, with_gate
from inference.predict.time_budget import TimeKeeper
from inference.predict.tta_names import expand_views
from inference.weights import LoadedModel
from submissions.answers import Written, answer_of
from submissions.host.answer_size import probs_at_answer
from submissions.host.competition import Competition
from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images
from submissions.host.problems import ProblemsError
from submissions.table.scoring import Segmentation

Decided = Callable[[str, np.ndarray, Mask], None]
ANSWERS = "classified"  # folder, inside that of the predictions, of what the decision's classifier says


@dataclass(frozen=True)
class SubmissionSummary:
    """What was written, and the images that got an empty mask because they could not be predicted.

    given_up: sentences about what a time budget cost, this one or an earlier one whose predictions are used. colours:
    sentences about images that were shown in the training images' range.
    """

    written: Written
    images: int
    failures: list[Outcome] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    colours: list[str] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """The answer."""
        return self.written.path

    def __str__(self) -> str:
        """One line: what there is, and where."""
        return f"{self.images} images, {len(self.failures)} not predicted, {self.written} -> {self.path}"


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
    origins: Sequence[Origin] | None = None,
    device: torch.device | str = "cpu",
    on_error: OnError = "stop",
    seconds: float | None = None,
    colours: Colours | None = None,
    report: Callable[[str], None] = print,
    progress: Callable[[int, int], Any] = lambda done, total: None,
    decided: Decided = lambda image_id, probs, mask: None,
) -> SubmissionSummary:
    """Predict the test images into `folder`, decide, and write `out`, the answer that the contract wants.

    Images predicted before are not predicted again, unless a time budget cost them views or members and there is none
    now. With on_error='empty' an image that cannot be read gets an empty mask; otherwise it stops everything with a
    ValueError that names it. No test image at all is fine: the answer then holds nothing.

    Views and weights are those of the decision; `origins`, one per member, are needed for weights.
    `seconds` is a time budget: views, then members from the last are given up to keep it, and with on_error='empty'
    the images that it does not reach.
    Members of the experiment `decision.classifier` answer for whole images, first of all, into a folder of their own.
    `colours`: images unlike these are predicted in their range, which is reported.
    `decided` is told of every image that was predicted, with its (mean) probabilities.
    """
    began = time.monotonic()
    images = open_test_images(competition, data)
    options: dict[str, Any] = {"device": device, "on_error": on_error, "report": report}
    members, origins, classifiers = split_classifiers(members, origins, decision)
    used, weights = weighted_members(members, origins, decision)
    budget: TimeKeeper | None = None
    if colours is not None:
        options["shown"] = partial(in_training_colours, colours=colours)
    plain = {**options, "shown": None}  # a classifier was judged on images as they are
    answers = predict_listed(classifiers, images, images.ids, folder / ANSWERS, **plain) if classifiers else []
    answered = {outcome.image_id: outcome for outcome in answers}
    if seconds is not None:
        views = max((expand_views(member.predict_config.views) for member in used), key=len)
        budget = TimeKeeper(seconds - (time.monotonic() - began), views, len(used))
    outcomes = predict_listed(used, images, images.ids, folder, weights=weights, budget=budget, **options)
    failures: list[Outcome] = []
    reduced = 0
    made: dict[str, dict[str, Any]] = {}
    with answer_of(competition).begin(out, images) as writer:
        for done, outcome in enumerate(outcomes, start=1):
            said, path = answered.get(outcome.image_id), outcome.path
            outcome = said if said is not None and said.failure is not None else outcome
            reduced += outcome.reduced
            if outcome.failure is None:
                made[outcome.image_id] = {} if colours is None else attributes(path)
                fields, place = images.row(outcome.image_id), None if said is None else said.path
                writer.add(fields, decided_image(competition, fields, path, decision, decided, answers=place))
            else:
                failures.append(outcome)
                report(f"{outcome.image_id}: empty mask, because {outcome.failure}")
            progress(done, len(images.ids))
        for one in failures:
            writer.add_empty(one.image_id)
        written = writer.finish()
    shown = recoloured_lines(made)
    for sentence in shown:
        report(f"colours: {sentence}")
    given_up = list(budget.said) if budget else []
    given_up += [f"{reduced} image(s) keep their earlier prediction, with fewer TTA views or models"] * bool(reduced)
    return SubmissionSummary(written, len(images.ids), failures, given_up, shown)


def attributes(path: Path) -> dict[str, Any]:
    """What is kept with a prediction."""
    with open_prediction(path) as prediction:
        return prediction.attrs


def decided_image(
    competition: Competition,
    fields: dict[str, Any],
    path: Path,
    decision: Decision,
    decided: Decided,
    *,
    answers: Path | None = None,
) -> Segmentation:
    """What the decision says of one predicted image, of its file, at the answer's size.

    answers: what the decision's classifier said about the image.
    """
    with open_prediction(path) as prediction:
        probs = prediction.read()
    probs = probs_at_answer(competition, probs if answers is None else with_gate(probs, answers))
    mask = apply(probs, decision, group=decision_group(competition, fields))
    decided(fields["image_id"], probs, mask)
    return segmentation_of(probs, mask, decision)
