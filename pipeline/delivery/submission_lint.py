"""The linter on an experiment's own submission, beside its training images."""

from __future__ import annotations

from pathlib import Path

from pipeline.workspace import Workspace
from submissions.answers import answer_path, lint_answer
from submissions.host.atomic import remove
from submissions.table.findings import errors


def lint_submission(space: Workspace, path: Path) -> list[str]:
    """Warnings about the submission; ValueError with all errors where there are any."""
    training, _ = space.training_images()
    findings = lint_answer(path, space.competition, space.data, training=training)
    wrong = errors(findings)
    if wrong:
        raise ValueError("\n".join([f"{path}: the linter found errors:", *(f"  {error}" for error in wrong)]))
    return [str(finding) for finding in findings]


def lint_new_submission(space: Workspace, path: Path) -> list[str]:
    """As `lint_submission`, of a file just written: with errors it loses its name, which stage 09 takes."""
    refused = answer_path(space.competition, path.parent, "submission.refused")
    try:
        warnings = lint_submission(space, path)
    except ValueError as error:
        remove(refused)
        path.replace(refused)
        raise ValueError(f"{error}\n  the file is kept as {refused}") from error
    remove(refused)
    return warnings
