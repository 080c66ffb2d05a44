"""Does the host's sample submission fit the test images? Asked before anything is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from submissions.host.competition import Competition
from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images
from submissions.host.near_ids import difference
from submissions.host.problems import Problem
from submissions.host.sample import columns, read_sample, row_keys, sample_keys, submission_format
from submissions.table.rows import assumed_shape, row_places

SHOWN = 5

Key = tuple[str, ...]


def check_sample(competition: Competition, data: Path) -> list[Problem]:
    """What is wrong with the sample submission, by itself and against the test images; only headers are read.

    A file that cannot be read as the table the contract describes, an id twice, ids of no test image, test images that
    it does not name, and an id that the contract gives to two places. None where the contract has no submission, where
    there is no sample, or no test image yet (a code competition shows them when the notebook runs).
    """
    if competition.submission is None:
        return []
    form = submission_format(competition)
    listing, _ = list_images(competition, data, "test")
    try:
        sample = read_sample(competition, data)
    except (ValueError, OSError) as error:
        wanted = f"a table with the columns {columns(form)}"
        return [Problem(form.sample, str(error), wanted, "correct the file, or the contract's section `submission`")]
    named = sample_keys(sample, form)
    problems = [] if sample is None else _unfilled(form.sample, [str(name) for name in sample], columns(form))
    problems += [] if sample is None or form.rows == "instance" else _repeated(form.sample, row_keys(sample, form))
    if not len(listing):
        return problems
    images = ListedImages(competition, data, listing)
    try:
        shapes = {image_id: assumed_shape(images, image_id, {}) for image_id in images.ids}
        places = row_places(competition, images, shapes)
    except ValueError as error:
        return [*problems, Problem("submission", str(error), "an id a row", "correct submission.id_template")]
    if named is None:
        return problems
    known = set(named)
    action = "check submission.sample, submission.id_template and images.test"
    lacking, extra = sorted(known - set(places)), sorted(set(places) - known)
    action = difference(*(["/".join(key) for key in keys] for keys in (lacking, extra))) or action
    if lacking:
        found = f"{len(lacking)} id(s) without a test image: {_some(lacking)}"
        problems.append(Problem(form.sample, found, "ids of the test images", action))
    if extra:
        found = f"no row for {len(extra)} test image(s): {_some(extra)}"
        problems.append(Problem(form.sample, found, "a row for every test image", action))
    return problems


def _unfilled(file: str, has: Sequence[str], filled: Sequence[str]) -> list[Problem]:
    unfilled = [name for name in has if name not in filled]
    if not unfilled:
        return []
    found = f"columns {unfilled}, which the contract does not fill"
    action = "say in submission.extra what they hold; masks are written in one column, a row per class, not a column"
    return [Problem(file, found, f"the columns {list(filled)}", action)]


def _repeated(file: str, keys: Sequence[Key]) -> list[Problem]:
    twice = sorted(key for key, count in Counter(keys).items() if count > 1)
    if not twice:
        return []
    found = f"{len(twice)} id(s) in more than one row: {_some(twice)}"
    return [Problem(file, found, "one row per id", "delete the other rows, or set submission.rows: instance")]


def _some(keys: Sequence[Key]) -> str:
    return ", ".join("/".join(key) for key in keys[:SHOWN]) + (", ..." if len(keys) > SHOWN else "")
