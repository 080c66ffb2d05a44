"""The page of a run: one HTML file with everything inside it, to be opened from disk with no network."""

from __future__ import annotations

import base64
import gzip
from functools import cache
from importlib import resources
from pathlib import Path

import plotly.offline

from pipeline.report import images, sections, shift_section
from pipeline.report.classification_section import classification
from pipeline.report.finished_run import FinishedRun
from pipeline.report.markup import Safe, element, text
from pipeline.report.test_images import test_images
from pipeline.tuning.scores.workers import Progress, quiet
from submissions.host.atomic import write_atomic
from submissions.kaggle.ledger import LEDGER

CONTENTS = {
    "answers": "Classes", "thresholds": "Thresholds", "images": "Images", "test-images": "Test images",
    "learning": "Learning",
    "folds": "Folds", "shift": "Test against training", "averages": "Views and ensemble", "shifts": "Shift test",
    "ledger": "Leaderboard", "made": "How it was made",
}  # fmt: skip


def write_report(
    run: FinishedRun, path: Path | None = None, *, ledger: Path = LEDGER, progress: Progress = quiet
) -> Path:
    """Write the page, by default report.html in the run's folder; returns where. The same run gives the same file."""
    path = path or run.folder / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, render(run, ledger=ledger, progress=progress))
    return path


def render(run: FinishedRun, *, ledger: Path = LEDGER, progress: Progress = quiet) -> str:
    """The page as text; of the pictures it opens the host's files, of the ledger the rows of this competition."""
    body = [
        _header(run), sections.headline(run), _contents(run), *([classification(run)] if run.classifies else []),
        images.explorer(run, progress=progress), images.scores(run, progress=progress),
        test_images(run, progress=progress), sections.learning(run),
        sections.folds(run), shift_section.test_against_training(run), sections.averages(run), sections.shifts(run),
        sections.ledger(run, ledger), sections.made(run),
    ]  # fmt: skip
    own = resources.files("pipeline.report")
    style = (own / "page.css").read_text(encoding="utf-8")
    script = (own / "page.js").read_text(encoding="utf-8")
    title = text(f"{run.name}, {run.space.competition.name}")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{_policy()}<title>{title}</title>\n<style>\n{style}</style>\n"
        f"</head>\n<body>\n{element('main', *body)}\n<dialog></dialog>\n"
        f'<script type="application/gzip" id="plotly">{_packed_plotly()}</script>\n'
        f"<script>\n{script}</script>\n</body>\n</html>\n"
    )


@cache
def _packed_plotly() -> str:
    """Plotly's script, compressed, which the page unpacks for its first figure; as it is, it has 4.8 MB."""
    packed = gzip.compress(plotly.offline.get_plotlyjs().encode(), mtime=0)
    return base64.b64encode(packed).decode("ascii")


def _policy() -> str:
    """The browser itself refuses whatever would leave the page."""
    rules = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
    return f'<meta http-equiv="Content-Security-Policy" content="{rules}">\n'


def _header(run: FinishedRun) -> Safe:
    competition = run.space.competition
    learned = run.decision.learned
    members = f", the mean of {', '.join(each.name for each in run.runs)}" if len(run.runs) > 1 else ""
    words = (
        f"{competition.name}: {learned['images']} images in {learned['groups']} groups, "
        f"{len(run.tuned['folds'])} fold(s), classes {', '.join(competition.classes)}{members}"
    )
    return element("header", element("h1", run.name), element("p", words))


def contents(run: FinishedRun) -> dict[str, str]:
    """Heading of each section of the run's page by its id."""
    return {name: title for name, title in CONTENTS.items() if name != "answers" or run.classifies}


def _contents(run: FinishedRun) -> Safe:
    return element("nav", *(element("a", title, href=f"#{name}") for name, title in contents(run).items()))
