"""What a failed image costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
from drawn_hosts import SHAPE, rle_contract, write_rle_host
from torch import nn

from inference.config import InputConfig, ModelConfig, PredictConfig
from inference.decide.decision import Decision
from inference.decide.instances import InstanceSettings
from inference.decide.rules import ThresholdRule
from inference.submission import SubmissionSummary, make_submission
from inference.weights import LoadedModel
from submissions.host.competition import Competition
from submissions.table.lint import errors, lint_submission


def table(summary: SubmissionSummary) -> pd.DataFrame:
    return pd.read_csv(summary.path, dtype=str, keep_default_na=False)


def decision(**more: object) -> Decision:
    base = Decision(fingerprint="", classes=["mask"], channels=["mask"], rule=ThresholdRule(thresholds=[128]))
    return base.model_copy(update=more)


def blind() -> LoadedModel:
    """A member that sees nothing anywhere."""
    model = nn.Conv2d(3, 1, 1)
    nn.init.zeros_(model.weight)
    nn.init.constant_(model.bias, -9)  # type: ignore[arg-type]
    settings = PredictConfig(mode="whole", precision="fp32")
    return LoadedModel(model.eval(), ModelConfig(), InputConfig(), settings, Path())


def submit(contract: Competition, folder: Path, **more: Any) -> SubmissionSummary:
    """The submission of `folder`/data with on_error='empty'; the linter has to find no error in it."""
    out = folder / "submission.csv"
    summary = make_submission(
        contract, folder / "data", [blind()], decision(**more), folder=folder / "predicted", out=out,
        on_error="empty", report=lambda text: None,
    )  # fmt: skip
    assert errors(lint_submission(out, contract, folder / "data")) == []
    return summary


def spoil(path: Path, what: str) -> None:
    """Damage the pixels of a file, or its header too."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if what == "pixels" else b"nothing of that kind")


@pytest.mark.parametrize("what", ["pixels", "header"])
def test_columns_of_the_size_are_right_where_an_image_fails(tmp_path: Path, what: str) -> None:
    data = tmp_path / "data"
    write_rle_host(data)
    masks = {"kind": "rle", "table": {"file": "train.csv"}, "column": "rle", "instances": True}
    form = {"mask_template": "0 {score} {mask}", "dialect": {"kind": "coco_zlib"}}
    contract = rle_contract(masks=masks, submission={**form, "extra": {"height": "{height}", "width": "{width}"}})
    names = [f"test0{index}" for index in range(3)]
    sample = pd.DataFrame({"id": names, "height": SHAPE[0], "width": SHAPE[1], "rle": ""})
    sample.to_csv(data / "sample_submission.csv", index=False)
    spoil(data / "test" / "test01.png", what)
    summary = submit(contract, tmp_path, instances=InstanceSettings(method="components"))
    assert [one.image_id for one in summary.failures] == ["test01"]
    assert table(summary).loc[1].tolist() == ["test01", str(SHAPE[0]), str(SHAPE[1]), ""]


@pytest.mark.parametrize("what", ["pixels", "header"])
def test_a_volume_that_fails_has_a_row_a_slice(tmp_path: Path, what: str) -> None:
    data = tmp_path / "data"
    write_rle_host(data, test=0)
    for name in ("v", "w"):
        voxels = np.random.default_rng(1).integers(0, 255, (SHAPE[1], SHAPE[0], 3), np.uint8)
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), data / "test" / f"{name}.nii")
    names = [f"{name}_{z}" for name in ("v", "w") for z in range(3)]
    pd.DataFrame({"id": names, "rle": "1 1"}).to_csv(data / "sample_submission.csv", index=False)
    images = {"kind": "volumes", "train": "train/{id}.nii", "test": "test/{id}.nii"}
    contract = rle_contract(images=images, submission={"id_template": "{id}_{z}"})
    spoil(data / "test" / "w.nii", what)
    summary = submit(contract, tmp_path)
    assert [one.image_id for one in summary.failures] == ["w"]
    assert table(summary)["id"].tolist() == names and set(table(summary)["rle"]) == {""}


@pytest.mark.parametrize("what", ["pixels", "header"])
def test_an_image_that_fails_has_its_row_where_there_is_no_sample(tmp_path: Path, what: str) -> None:
    contract = write_rle_host(tmp_path / "data")
    (tmp_path / "data" / "sample_submission.csv").unlink()
    spoil(tmp_path / "data" / "test" / "test01.png", what)
    assert table(submit(contract, tmp_path))["id"].tolist() == ["test00", "test01", "test02"]


@pytest.mark.parametrize("what", ["pixels", "header"])
def test_counts_of_an_image_that_fails_are_those_of_its_size(tmp_path: Path, what: str) -> None:
    write_rle_host(tmp_path / "data")
    spoil(tmp_path / "data" / "test" / "test01.png", what)
    summary = submit(rle_contract(submission={"dialect": {"kind": "coco"}}), tmp_path)
    assert len(summary.failures) == 1 and set(table(summary)["rle"]) == {f"[{SHAPE[0] * SHAPE[1]}]"}


def test_a_budget_that_is_used_up_ends_with_a_whole_submission(tmp_path: Path) -> None:
    contract = write_rle_host(tmp_path / "data")
    said: list[str] = []
    summary = make_submission(
        contract, tmp_path / "data", [blind()], decision(), folder=tmp_path / "predicted", out=tmp_path / "s.csv",
        on_error="empty", seconds=1e-9, report=said.append,
    )  # fmt: skip
    assert len(summary.failures) == len(table(summary)) == 3 and "3 images, 3 not predicted, 3 rows" in str(summary)
    assert summary.given_up == ["the time budget is used up; the remaining images get empty masks"]
    assert "test01: empty mask, because the time budget was used up before its turn" in said
