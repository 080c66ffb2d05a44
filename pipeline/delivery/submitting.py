"""Stage 09 around the room `submissions`: what an experiment promises, its row in the ledger, its upload."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.prediction.prediction_stages import decision_path, written_by
from pipeline.stage import read_stage
from pipeline.tuning.comparisons.two_runs import metric_of
from pipeline.workspace import Workspace, git_state
from submissions.answers import answer_path
from submissions.answers.scoring import score_parts
from submissions.host.atomic import finite
from submissions.host.competition import Competition
from submissions.host.contract.metric import HOST
from submissions.host.sample import submission_format
from submissions.kaggle.ledger import FORECAST, Entry
from submissions.kaggle.upload import Client, Patience, Submitted, file_hash, submit_code, submit_csv
from submissions.table.scoring import host_metric


def submission_path(space: Workspace) -> Path:
    """The experiment's submission; FileNotFoundError that names the stage where it is not made."""
    path = answer_path(space.competition, space.own)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; run 07_predict_test.py {space.experiment.name} first")
    return path


def code_folders(space: Workspace, dataset: Path | None, kernel: Path | None) -> tuple[Path, Path]:
    """Folders of a code competition: the bundle as a data set, and the notebook that runs it."""
    return dataset or space.own / "bundle", kernel or space.own / "kernel"


def promised(space: Workspace) -> Entry:
    """The ledger's row of the experiment's submission, as far as it is known before it is handed in.

    CV stays unknown where it is in another metric than the leaderboard's. Raises FileNotFoundError that names the stage
    that is missing, ValueError where stage 06 kept no score, or the submission was written by another decision, or in
    another form, than those of now.
    """
    name = space.experiment.name
    tuned = read_stage(space.own / "tuning", f"06_tune.py {name}")
    tested = read_stage(space.own / "test", f"07_predict_test.py {name}")
    if "score" not in tuned:
        raise ValueError(f"{space.own / 'tuning'}: stage.json has no score; run 06_tune.py {name} --overwrite")
    submission = submission_path(space)
    if not written_by(space).items() <= tested.items():
        raise ValueError(
            f"{submission}: not written with the current decision in tuning/, or not in the form of the current "
            f"contract; run 07_predict_test.py {name} again"
        )
    entry = Entry(
        space.competition.name, name, file_hash(submission), git=git_state(Path.cwd()),
        fingerprint=str(tested["fingerprint"]), decision=_decision(space),
    )  # fmt: skip
    if not _in_host_metric(space.competition, tuned["identity"]["settings"]):
        return entry
    low, high = finite(tuned.get("interval")) or (None, None)
    predicted_low, predicted_high = finite(tuned.get("prediction")) or (None, None)
    known = tested if space.competition.metric.name != HOST else {}  # the forecast is in the metric it was tuned with
    folds = {str(fold): float(score) for fold, score in (tuned.get("folds") or {}).items() if score is not None}
    return replace(
        entry, cv=finite(tuned["score"]), cv_low=low, cv_high=high, predicted_low=predicted_low,
        predicted_high=predicted_high, folds=folds, **{name: finite(known.get(name)) for name in FORECAST},
    )  # fmt: skip


def _in_host_metric(competition: Competition, tuned: dict[str, Any]) -> bool:
    """Whether stage 06, by the settings in its document, scored as the contract says that the host does."""
    contract = competition.metric
    alike = (tuned["metric"]["unit"], tuned["metric"]["classes"]) == (contract.unit, contract.classes)
    if HOST in (contract.name, tuned["metric"]["name"]):  # CV is the host's, whatever it was tuned with
        return alike and contract.identity() == tuned["metric"]
    return alike and metric_of(tuned) == host_metric(contract)


def _decision(space: Workspace) -> str:
    """The rule that was learned, its values, and the hash of the decision."""
    path = decision_path(space)
    learned = json.loads(path.read_text(encoding="utf-8")).get("learned", {}) if path.is_file() else {}
    values = json.dumps(learned.get("values", ""), separators=(",", ":"))
    return f"{learned.get('rule', 'unknown')} {values} {file_hash(path) if path.is_file() else ''}".strip()


def host_name(competition: Competition) -> str:
    """The competition's name in its address on the host; the contract's name where it has no such address."""
    found = re.search(r"kaggle\.com/(?:c|competitions)/([\w-]+)", competition.url)
    return found.group(1) if found else competition.name


def scored_locally(space: Workspace, entry: Entry, solution: Path) -> tuple[Entry, list[str]]:
    """The row with the scores against a solution (without a Usage column the whole counts as public), and lines to
    print."""
    found = score_parts(space.competition, submission_path(space), solution, space.data)
    overall = found.overall
    lines = [f"{space.competition.metric.name} {overall.score:.6f} over {len(overall.table)} units"]
    lines += [f"  {row.part} {row.value}: {row.score:.6f} ({row.units})" for row in found.parts.itertuples()]
    usage = {
        str(row.value).lower(): float(row.score)  # type: ignore[arg-type]
        for row in found.parts.itertuples()
        if row.part == "Usage"
    }
    return replace(entry, public=usage.get("public", overall.score), private=usage.get("private")), lines


def upload(
    space: Workspace,
    client: Client,
    name: str,
    message: str,
    *,
    code: tuple[Path, Path],
    patience: Patience,
) -> Submitted:
    """Hand the experiment in under the host's competition name: its CSV, or for a code competition the folders in
    `code` (data set, notebook).

    Raises as `submissions.kaggle.upload` does, and ValueError for a bundle of another decision.
    """
    form = submission_format(space.competition)
    if form.code_competition:
        bundled = code[0] / "decision.json"
        if bundled.is_file() and file_hash(bundled) != file_hash(decision_path(space)):
            again = f"run 08_bundle.py {space.experiment.name} --overwrite"
            raise ValueError(f"{bundled}: not the current decision in tuning/; {again}")
        file = answer_path(space.competition, space.own).name
        return submit_code(client, name, *code, message, file_name=file, patience=patience)
    path = submission_path(space)
    return submit_csv(client, name, path, message, max_bytes=form.max_bytes, patience=patience)
