"""Which held-out images a validation looks at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from drawn_hosts import write_rle_host
from torch import nn

from pipeline.experiment import Experiment
from pipeline.training import validation
from pipeline.workspace import Workspace
from submissions.host.listing import list_images


class Asked(Exception):
    """Ends a validation where its images are to be predicted."""


def test_the_sample_is_spread_over_all_held_out_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    competition = write_rle_host(tmp_path, train=7, test=1)
    listing, _ = list_images(competition, tmp_path, "train")
    asked: list[str] = []

    def predict_listed(members: Any, images: Any, names: list[str], *rest: Any, **options: Any) -> None:
        asked.extend(names)
        raise Asked

    monkeypatch.setattr(validation, "predict_listed", predict_listed)
    monkeypatch.setattr(Workspace, "training_images", lambda self: (listing, ""))
    experiment = Experiment(name="a", competition="drawn", train={"validate_images": 4})
    space = Workspace(experiment, competition, tmp_path, tmp_path / "runs", device="cpu")
    folds = pd.DataFrame({"image_id": listing["image_id"], "fold": 0})
    with pytest.raises(Asked):
        validation.make_validator(space, folds, 0)(nn.Identity())
    assert asked == ["train00", "train01", "train03", "train05"], "not the first four of seven"
