"""Folders side by side that hold parts of one data set, and folders that look like these."""

from __future__ import annotations

import pytest

from submissions.guess.layout.folders import FolderFields
from submissions.guess.layout.parts_of_one import parts_of_one

BATCHES = [f"Training Batch {1 + k // 3}/{what}-{k}.nii" for k in range(6) for what in ("volume", "segmentation")]
SCANNERS = [
    f"{split}Set-{maker}/{split[:-3].upper()}{k:03d}_{maker}/{name}.mhd"
    for split, names in (("Training", ("oct", "reference")), ("Testing", ("oct",)))
    for maker in ("Cirrus", "Topcon")
    for k in (1, 2)
    for name in names
]
SITES = [
    f"training/{site}/{case}/{file}.nii.gz"
    for site, cases in (("Utrecht", (0, 11)), ("Singapore", (50, 52)), ("Amsterdam/GE3T", (100, 101)))
    for case in cases
    for file in ("pre/FLAIR", "pre/T1", "orig/FLAIR", "orig/T1", "wmh")
]


@pytest.mark.parametrize(
    ("paths", "patterns"),
    [
        ([*BATCHES, "Test-Data/test-volume-0.nii"], {"Training Batch {folder1}", "Test-Data"}),
        ([f"subset{k % 2}/1.3.6.{k}.mhd" for k in range(4)] + [f"seg-lungs/1.3.6.{k}.mhd" for k in range(4)],
         {"{folder1}", "seg-lungs"}),
        (SITES, {
            "training/{folder1}/{folder2}", "training/{folder1}/{folder2}/pre", "training/{folder1}/{folder2}/orig",
            "training/Amsterdam/GE3T/{folder1}", "training/Amsterdam/GE3T/{folder1}/pre",
            "training/Amsterdam/GE3T/{folder1}/orig",
        }),
        (SCANNERS, {"TrainingSet-{folder1}/{folder2}", "TestingSet-{folder1}/{folder2}"}),
    ],
)  # fmt: skip
def test_parts_are_a_field(paths: list[str], patterns: set[str]) -> None:
    fields = FolderFields(paths)
    assert {"/".join(fields.of(path.split("/")[:-1]).parts) for path in paths} == patterns


@pytest.mark.parametrize(
    "paths",
    [
        [f"{kind}/{k}.png" for kind in ("green", "red") for k in range(4)],  # channels
        [f"{kind}/{kind}_{k}.png" for kind in ("green", "red") for k in range(4)],
        [f"images{part}/case_{k}.nii.gz" for part, numbers in (("Tr", (1, 2)), ("Ts", (3, 4))) for k in numbers],
        [f"{rater}/{name}.png" for rater in ("ah", "vk") for name in ("left", "right")],
        [f"{kind}/{kind}{k}.png" for kind in ("images", "labels") for k in range(4)],
        ["a/x.png", "b/y.png"],
    ],
)
def test_channels_splits_and_kinds_of_files_are_no_parts(paths: list[str]) -> None:
    assert parts_of_one(paths) == {}
