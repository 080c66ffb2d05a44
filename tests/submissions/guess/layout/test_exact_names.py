"""Patterns of numbered images beside files of other kinds in the same folders."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml
from drawn_hosts import draw_mask

from submissions.guess.first_contract import draft_contract
from submissions.host.competition import Competition
from submissions.host.listing import list_images
from submissions.host.settings import validate


def hearts(root: Path, *, film: bool) -> None:
    """ACDC: two moments of a film with their masks, of test patients too, and the film itself."""
    for patient in range(1, 7):
        place = root / f"{'training' if patient < 5 else 'testing'}/patient{patient:03d}"
        place.mkdir(parents=True)
        for moment in (1, 8 + patient):
            label = np.stack([draw_mask(patient + moment + z) for z in range(4)], axis=2).astype(np.uint8)
            image = (label * 90 + np.random.default_rng(moment).normal(0, 9, label.shape)).astype(np.float32)
            name = f"patient{patient:03d}_frame{moment:02d}"
            nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), place / f"{name}.nii.gz")
            nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), place / f"{name}_gt.nii.gz")
        if film:
            frames = np.stack([image] * 5, axis=3)
            nibabel.save(nibabel.Nifti1Image(frames, np.eye(4)), place / f"patient{patient:03d}_4d.nii.gz")


@pytest.mark.parametrize("film", [True, False])
def test_masks_and_films_in_the_folders_of_test_images_are_no_test_images(tmp_path: Path, film: bool) -> None:
    hearts(tmp_path, film=film)
    competition = validate(Competition, yaml.safe_load(draft_contract(tmp_path, "hearts").text()), "hearts.yaml")
    assert competition.group == "folder1"
    for split, patients in (("train", range(1, 5)), ("test", (5, 6))):
        listing, problems = list_images(competition, tmp_path, split)
        names = [f"patient{one:03d}_frame{moment:02d}" for one in patients for moment in (1, 8 + one)]
        assert (listing["image_id"].tolist(), problems) == (names, [])


def echoes(root: Path, *, words: tuple[str, ...], sequence: str) -> None:
    """CAMUS: frames with their masks, and the sequence that they are of, which has none; of test patients none has."""
    for patient in range(1, 7):
        place = root / f"{'training' if patient < 5 else 'testing'}/patient{patient:04d}"
        place.mkdir(parents=True)
        for view in ("2CH", "4CH"):
            for moment in (*words, sequence):
                label = np.stack([draw_mask(patient + len(moment) + z) for z in range(4)], axis=2).astype(np.uint8)
                image = (label * 90 + np.random.default_rng(patient).normal(0, 9, label.shape)).astype(np.float32)
                name = f"patient{patient:04d}_{view}_{moment}"
                nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), place / f"{name}.nii")
                if moment != sequence and patient < 5:
                    nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), place / f"{name}_gt.nii")


@pytest.mark.parametrize(("words", "sequence"), [(("ED", "ES"), "sequence"), (("ED",), "sequence")])
def test_images_of_a_kind_without_masks_are_none(tmp_path: Path, words: tuple[str, ...], sequence: str) -> None:
    echoes(tmp_path, words=words, sequence=sequence)
    competition = validate(Competition, yaml.safe_load(draft_contract(tmp_path, "echoes").text()), "echoes.yaml")
    for split, patients in (("train", range(1, 5)), ("test", (5, 6))):
        listing, problems = list_images(competition, tmp_path, split)
        names = [f"patient{one:04d}_{view}_{word}" for one in patients for view in ("2CH", "4CH") for word in words]
        assert (listing["image_id"].tolist(), problems) == (names, [])
