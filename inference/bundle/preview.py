"""A look at what a bundle wrote: some test images with their masks, as one picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from inference.submission import SubmissionSummary, open_test_images
from submissions.answers.show import draw_submission
from submissions.host.competition import load_competition
from submissions.host.listing import spread


def draw_preview(
    bundle: Path,
    data: Path,
    summary: SubmissionSummary,
    out: Path,
    *,
    number: int = 12,
    report: Callable[[str], None] = print,
) -> list[str]:
    """Draw at most `number` test images that have a row, spread over the test set, into the PNG `out`.

    Returns their ids. Images that could not be predicted are left out; where none is left, as in a test set without
    images, nothing is written. Nothing is raised: the submission is there already, so what goes wrong is reported.
    """
    try:
        chosen = _chosen(bundle, data, summary, number)
        if chosen:
            draw_submission(load_competition(bundle / "competition.yaml"), summary.path, data, chosen, out)
    except Exception as error:  # whatever it is, a picture is not worth the submission that stands beside it
        report(f"no preview; the submission is not affected: {type(error).__name__}: {error}")
        return []
    return chosen


def _chosen(bundle: Path, data: Path, summary: SubmissionSummary, number: int) -> list[str]:
    failed = {outcome.image_id for outcome in summary.failures}
    images = open_test_images(load_competition(bundle / "competition.yaml"), data)
    ids = images.in_reading_order(set(summary.written.image_ids) - failed)
    return spread(ids, number)
