"""Folders of DICOM slices whose masks are volumes: each folder is a volume, and masks lie where their headers say."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from drawn_dicom import write_series
from drawn_series import draw_scan, volume_masks

from submissions.answers import check_answer
from submissions.guess.first_contract import draft_contract, write_first_contract
from submissions.host.competition import Competition, load_competition
from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader

pytest.importorskip("pydicom")
SPLITS = ("train", "test")


def guess(folder: Path) -> Competition:
    return load_competition(write_first_contract(folder / "host", out=folder / "host.yaml"))


@pytest.mark.parametrize("patients", [False, True])
def test_a_series_with_a_volume_of_its_name_is_a_volume(tmp_path: Path, patients: bool) -> None:
    volume_masks(tmp_path / "host", patients=patients)
    competition = guess(tmp_path)
    images, masks = competition.images, competition.masks
    folder = "{folder1}/" if patients else ""
    assert (images.kind, images.train, images.test) == (
        "volumes", f"train_images/{folder}{{id}}", f"test_images/{folder}{{id}}",
    )  # fmt: skip
    assert (masks.path, masks.missing) == ("segmentations/{id}.nii", "skip")
    assert competition.group == ("folder1" if patients else None)
    said = (tmp_path / "host.yaml").read_text(encoding="utf-8")
    assert "2 of 8 images have no mask and are left out" in said and "put in order by the places" in said
    listing, problems = list_images(competition, tmp_path / "host", "train")
    assert len(listing) == 6 and problems == []
    assert len(list_images(competition, tmp_path / "host", "test")[0]) == 2


def test_masks_lie_on_their_scans_however_slices_are_numbered(tmp_path: Path) -> None:
    volume_masks(tmp_path / "host")
    competition = guess(tmp_path)
    listing, _ = list_images(competition, tmp_path / "host", "train")
    opened, reader = ListedImages(competition, tmp_path / "host", listing), MaskReader(competition, tmp_path / "host")
    for number, image_id in enumerate(sorted(opened.ids, key=lambda name: int(name.rpartition(".")[2]))):
        image, label = (part[:, ::-1, ::-1] for part in draw_scan(number))  # rows and columns of a canonical volume
        scan = opened.open_alone(image_id)
        np.testing.assert_array_equal(np.stack([scan.read(z)[..., 0] for z in range(9)]), image - 1024.0)
        truth = reader.read(opened.row(image_id), scan.shape[:3])
        np.testing.assert_array_equal(truth.label, label)


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([-0.5, -0.75, 2.5, 1])])
def test_a_mask_that_does_not_say_where_it_lies_is_refused(tmp_path: Path, affine: np.ndarray) -> None:
    volume_masks(tmp_path / "host")
    competition = guess(tmp_path)
    study = "1.2.826.0.1.1000"
    label = np.ascontiguousarray(draw_scan(0)[1].transpose(2, 1, 0))
    nibabel.save(nibabel.Nifti1Image(label, affine), tmp_path / f"host/segmentations/{study}.nii")
    row = {"image_id": study, "id": study, "path": f"train_images/{study}", "page": -1}
    reader = MaskReader(competition, tmp_path / "host")
    with pytest.raises(ValueError, match=rf"{study}.nii: its axes run .*; expected the grid of the image train_images"):
        reader.read(row, (9, 40, 48))


def test_series_without_volumes_stay_slices(tmp_path: Path) -> None:
    for number in range(4):
        write_series(tmp_path / f"host/train/case{number}", draw_scan(number)[0])
    images = draft_contract(tmp_path / "host", "host").sections["images"]
    assert images["train"] == "train/{folder1}/{name}.dcm" and images["stack"] == "{folder1}"


def test_tables_of_studies_without_masks_and_a_sample_of_numbers_do_not_stop_the_way_to_masks(tmp_path: Path) -> None:
    """RSNA's tables: a row for each study, six of eight of them with a mask, and fractures as the answer."""
    volume_masks(tmp_path / "host")
    train, test = (sorted(path.name for path in (tmp_path / f"host/{part}_images").iterdir()) for part in SPLITS)
    (tmp_path / "host/train.csv").write_text("\n".join(["StudyInstanceUID,C1", *(f"{name},0" for name in train)]))
    rows = [f"{name}_{bone},0.5" for name in test for bone in ("C1", "C2")]
    (tmp_path / "host/sample_submission.csv").write_text("\n".join(["row_id,fractured", *rows]))
    competition = guess(tmp_path)
    listing, problems = list_images(competition, tmp_path / "host", "train")
    assert problems == [] and len(listing) == 6 and set(listing["C1"]) == {"0"}
    assert check_answer(competition, tmp_path / "host") == []
    form = competition.submission
    assert form is not None and form.kind == "volumes" and form.files.path == "{id}.nii"
    assert "sample_submission.csv asks for a number a row" in (tmp_path / "host.yaml").read_text(encoding="utf-8")
