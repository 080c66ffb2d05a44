"""Images and masks in folders of cases, beside pictures of other kinds: what belongs together, and what is left out."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml
from drawn_hosts import draw_image, draw_mask, write

from submissions.guess.first_contract import draft_contract
from submissions.host.competition import Competition
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader
from submissions.host.settings import validate


def volume(path: Path, label: np.ndarray, *, mask: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(int(label.sum())).normal(0, 9, label.shape)
    voxels = label.astype(np.uint8) if mask else (label * 90 + noise).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)


def guessed(root: Path) -> Competition:
    return validate(Competition, yaml.safe_load(draft_contract(root, "drawn").text()), "drawn.yaml")


def ids(competition: Competition, root: Path, split: str = "train") -> list[str]:
    listing, problems = list_images(competition, root, split)
    assert problems == []
    return [str(name) for name in listing["image_id"]]


def planes(competition: Competition, root: Path, name: str, depth: int = 1) -> np.ndarray:
    """The masks of an image of the training set, (K, Z, H, W)."""
    listing, _ = list_images(competition, root, "train")
    (row,) = listing[listing["image_id"].astype(str) == name].to_dict("records")
    shape = (depth, 56, 40) if depth > 1 else (depth, 40, 56)
    return MaskReader(competition, root).read({str(k): v for k, v in row.items()}, shape).planes


def case(k: int) -> np.ndarray:
    return np.stack([draw_mask(4 * k + z) for z in range(4)], axis=2)


def test_a_number_behind_a_patients_name_is_no_ending(tmp_path: Path) -> None:
    names = [f"TCGA-5P-A9K{k}-01Z-00-DX1_{part}" for k in range(4) for part in (1, 2)]
    for k, name in enumerate(names):
        write(tmp_path / f"{name[:-2]}/{name}.png", draw_image(draw_mask(k), k))
        write(tmp_path / f"{name[:-2]}/{name}_label.png", draw_mask(k).astype(np.uint8) * 255)
    competition = guessed(tmp_path)
    assert ids(competition, tmp_path) == names and competition.group == "folder1"


def test_pictures_that_masks_are_drawn_over_are_no_images(tmp_path: Path) -> None:
    for organ in ("bladder", "brain", "liver"):
        for k in range(3):
            write(tmp_path / f"{organ}/overlay/{organ}_{k}.png", draw_image(draw_mask(k), k + 30))
            write(tmp_path / f"{organ}/tissue images/{organ}_{k}.png", draw_image(draw_mask(k), k))
            write(tmp_path / f"{organ}/mask binary/{organ}_{k}.png", draw_mask(k).astype(np.uint8) * 255)
    assert guessed(tmp_path).images.train == "{folder1}/tissue images/{id}.png"


def test_masks_of_one_kind_of_images_are_none_of_the_others(tmp_path: Path) -> None:
    for k in range(9):
        split = ("train", "val", "test")[k % 3]
        for kind in ("cell", "tissue"):
            write(tmp_path / f"images/{split}/{kind}/{k:03d}.jpg", draw_image(draw_mask(k), k + len(kind)))
        if split != "test":
            write(tmp_path / f"annotations/{split}/tissue/{k:03d}.png", draw_mask(k).astype(np.uint8) + 1)
    competition = guessed(tmp_path)
    assert competition.images.train == "images/{subset:train|val}/tissue/{id}.jpg"
    assert competition.masks.path == "annotations/{subset}/tissue/{id}.png"
    assert sorted(ids(competition, tmp_path)) == ["000", "001", "003", "004", "006", "007"]
    assert ids(competition, tmp_path, "test") == ["002", "005", "008"]


def test_a_volume_named_as_its_folder_is_the_image_of_the_case(tmp_path: Path) -> None:
    for k in range(1, 6):
        place = tmp_path / (f"train/Patient_{k:02d}" if k < 4 else "test")
        volume(place / f"Patient_{k:02d}.nii.gz", case(k), mask=False)
        if k < 4:
            volume(place / "GT.nii.gz", case(k), mask=True)
    competition = guessed(tmp_path)
    assert ids(competition, tmp_path) == ["Patient_01", "Patient_02", "Patient_03"]
    assert ids(competition, tmp_path, "test") == ["Patient_04", "Patient_05"]
    assert competition.masks.path == "train/{id}/GT.nii.gz"


def test_volumes_of_raters_and_of_the_brain_are_no_objects(tmp_path: Path) -> None:
    """MSSEG: numbers of raters are words of the layout, as each case has them, and what they drew is not joined."""
    for k in range(4):
        place, lesions = tmp_path / f"Patient_{k:02d}", case(k)
        volume(place / "Data/FLAIR.nii.gz", lesions, mask=False)
        for rater in (1, 2, 3):
            volume(place / f"Masks/ManualSegmentation_{rater}.nii.gz", lesions, mask=True)
        volume(place / "Masks/Consensus.nii.gz", lesions, mask=True)
        brain = np.ones_like(lesions)
        brain[0] = False
        volume(place / "Masks/Brain_Mask.nii.gz", brain, mask=True)
    competition = guessed(tmp_path)
    assert competition.masks.path == "{id}/Masks/{observer}.nii.gz"
    assert competition.masks.observers == ["Consensus"] and not competition.masks.instances
    np.testing.assert_array_equal(planes(competition, tmp_path, "Patient_02", 4)[0], case(2).transpose(2, 1, 0))


@pytest.mark.parametrize("many", [False, True])
def test_a_volume_an_organ_is_a_class_each(tmp_path: Path, many: bool) -> None:
    """TotalSegmentator: names of several words, numbers among them, and organs that some cases do not show."""
    organs = ["aorta", "adrenal_gland_left", "liver", "rib_left_1", "rib_left_2"]
    organs += ["heart", "lung_left", "spleen"] if many else []
    for k in range(4):
        volume(tmp_path / f"s{k:04d}/ct.nii.gz", case(k), mask=False)
        for place, organ in enumerate(organs):
            shown = np.zeros((40, 56, 4), bool)
            if organ != "liver":  # shown by none
                shown[place * 4 : place * 4 + 4, 3 * k : 3 * k + 20] = True
            volume(tmp_path / f"s{k:04d}/segmentations/{organ}.nii.gz", shown, mask=True)
    competition = guessed(tmp_path)
    assert competition.masks.path == "{id}/segmentations/{class}.nii.gz" and not competition.masks.instances
    assert sorted(competition.classes) == sorted(organs)
    shown = planes(competition, tmp_path, "s0001", 4)[competition.classes.index("rib_left_1")]
    np.testing.assert_array_equal(np.argwhere(shown.any(axis=(0, 1))).ravel(), np.arange(12, 16))


def test_further_numbered_masks_of_some_images_are_joined(tmp_path: Path) -> None:
    """BUSI: benign (4)_mask.png and benign (4)_mask_1.png."""
    for word in ("benign", "malignant", "normal"):
        for k in range(1, 5):
            mask = draw_mask(k) & (word != "normal")
            write(tmp_path / f"{word}/{word} ({k}).png", draw_image(mask, k))
            write(tmp_path / f"{word}/{word} ({k})_mask.png", mask.astype(np.uint8) * 255)
    write(tmp_path / "benign/benign (4)_mask_1.png", draw_mask(33).astype(np.uint8) * 255)
    competition = guessed(tmp_path)
    assert len(ids(competition, tmp_path)) == len(ids(competition, tmp_path, "test")) == 12
    joined = planes(competition, tmp_path, "benign (4)")[0, 0]
    np.testing.assert_array_equal(joined, draw_mask(4) | draw_mask(33))
