"""The demo: real slices, real training, a submission scored against the held-back solution, and a picture of it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd

from inference.decide.decision import load_decision
from inference.decide.rules import ThresholdRule
from pipeline.demo.demo_data import make_demo_data
from pipeline.pictures import draw_comparison
from pipeline.sequence import run_stages
from submissions.answers.scoring import score_submission
from submissions.host.competition import load_competition
from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images
from submissions.host.sample import read_submission
from submissions.table.submission_table import decode_rows

SHORT = ("train.epochs=2", "train.steps_per_epoch=12", "predict.views=[identity]", "name=demo-short")
EXPERIMENT, COMPETITION = "demo", "mni-white-matter"
SHOWN = 4


def run_demo(folder: Path, *, short: bool = False) -> float:
    """Lay out the data, run stages 01 to 07, score, draw; returns the local leaderboard's Dice."""
    started = time.monotonic()
    data, runs = make_demo_data(folder / "data" / COMPETITION), folder / "runs"
    arguments = [EXPERIMENT, "--data", str(data), "--runs", str(runs)]
    for assignment in SHORT if short else ():
        arguments += ["--set", assignment]
    run_stages(arguments)
    competition = load_competition(COMPETITION)
    own = runs / COMPETITION / ("demo-short" if short else EXPERIMENT)
    scored = score_submission(competition, own / "submission.csv", data / "solution.csv", data)
    picture = own / "demo.png"
    draw_test_slices(data, own / "submission.csv", picture)
    tuning = pd.read_csv(own / "tuning" / "folds.csv")
    rule = load_decision(own / "tuning" / "decision.json").rule
    assert isinstance(rule, ThresholdRule)
    print()
    print(f"{'':22}  Dice")
    for row in tuning.to_dict("records"):
        print(f"{'CV, fold ' + str(row['fold']):22}  {row['score']:.4f}")
    print(f"{'tuned threshold':22}  {rule.thresholds[0] / 255:.4f}")
    print(f"{'local leaderboard':22}  {scored.score:.4f}   ({len(scored.table)} test slices)")
    print(f"{'submission':22}  {own / 'submission.csv'}")
    print(f"{'picture':22}  {picture}")
    print(f"{'time':22}  {time.monotonic() - started:.0f} s")
    return scored.score


def draw_test_slices(data: Path, submission: Path, picture: Path) -> None:
    """Slices spread over the test set, with prediction and truth beside them."""
    competition = load_competition(COMPETITION)
    listing, _ = list_images(competition, data, "test")
    images = ListedImages(competition, data, listing)
    said = read_submission(submission, competition).set_index("id", drop=False)
    true = read_submission(data / "solution.csv", competition).set_index("id", drop=False)
    chosen = [images.ids[index] for index in np.linspace(2, len(images.ids) - 3, SHOWN).round().astype(int)]
    rows = []
    for image_id in chosen:
        image = images.open_alone(image_id).read(0)
        masks = [decode_rows(competition, [dict(table.loc[image_id])], image.shape[:2])[0][0] for table in (said, true)]
        rows.append((image_id, image, masks[0], masks[1]))
    draw_comparison(rows, picture)
