"""Volumes of cases, several a folder: which are channels of one image, which its mask, and which neither?"""

from __future__ import annotations

from pathlib import Path

import cv2
import nibabel
import numpy as np
import pytest
import tifffile
import yaml
from drawn_hosts import draw_image, draw_mask

from submissions.guess.first_contract import draft_contract
from submissions.guess.layout.files import unread_kinds
from submissions.host.competition import Competition
from submissions.host.listing import list_images
from submissions.host.settings import validate


def label(seed: int, repeat: int = 1) -> np.ndarray:
    return np.repeat(np.stack([draw_mask(4 * seed + z) for z in range(4)], axis=2), repeat, axis=0).astype(np.uint8)


def scan(mask: np.ndarray, seed: int) -> np.ndarray:
    return (mask * 90 + np.random.default_rng(seed).normal(0, 9, mask.shape)).astype(np.float32)


def save(path: Path, voxels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)


def guessed(root: Path) -> Competition:
    return validate(Competition, yaml.safe_load(draft_contract(root, "drawn").text()), "drawn.yaml")


def test_channels_are_those_of_the_masks_grid(tmp_path: Path) -> None:
    """autoPET: a CT of its own grid beside one brought to that of PET and mask, below a folder that says lesions."""
    for k in range(4):
        place = tmp_path / f"PET-CT-Lesions/PETCT_{k:02d}/0{k}-NA"
        for word in ("CT", "CTres", "SUV"):
            save(place / f"{word}.nii.gz", scan(label(k, 2 if word == "CT" else 1), len(word)))
        save(place / "SEG.nii.gz", label(k))
    competition = guessed(tmp_path)
    assert competition.images.train.endswith("/{layer:CTres|SUV}.nii.gz")
    assert competition.masks.path is not None and competition.masks.path.endswith("/SEG.nii.gz")


def test_of_versions_of_a_case_that_with_most_channels_is_read(tmp_path: Path) -> None:
    """MRBrainS: orig/reg_T1 alone, and all three in pre; names of several words are one word of the pattern."""
    for k in (1, 4, 5, 14):
        for word in ("pre/reg_T1", "pre/reg_IR", "pre/T2_FLAIR", "orig/reg_T1"):
            save(tmp_path / f"training/{k}/{word}.nii.gz", scan(label(k), len(word)))
        save(tmp_path / f"training/{k}/segm.nii.gz", label(k))
    competition = guessed(tmp_path)
    assert competition.images.train == "training/{id}/pre/{layer:T2_FLAIR|reg_IR|reg_T1}.nii.gz"
    assert competition.masks.path == "training/{id}/segm.nii.gz"


def test_a_channel_of_another_type_is_left_out(tmp_path: Path) -> None:
    """Prostate158: an empty mask beside the sequences, which is constant and therefore no mask by its pixels."""
    for k in range(20, 25):
        for word in ("t2", "adc"):
            save(tmp_path / f"{k:03d}/{word}.nii.gz", scan(label(k), len(word)))
        save(tmp_path / f"{k:03d}/empty.nii.gz", label(k) * 0)
        save(tmp_path / f"{k:03d}/t2_anatomy_reader1.nii.gz", label(k))
    competition = guessed(tmp_path)
    assert competition.images.train == "{id}/{layer:adc|t2}.nii.gz"
    assert competition.masks.path == "{id}/t2_anatomy_reader1.nii.gz" and not competition.masks.instances


def test_few_cases_without_a_number_are_cases(tmp_path: Path) -> None:
    """The atrial challenge: names of letters, and in each the same two files."""
    for split, names in (("Training Set", ("ABQZ", "CJWD", "EMKP")), ("Testing Set", ("FZTL", "GWOX"))):
        for k, name in enumerate(names):
            save(tmp_path / f"{split}/{name}/lgemri.nii", scan(label(k), k))
            save(tmp_path / f"{split}/{name}/laendo.nii", label(k))
    competition = guessed(tmp_path)
    for split, names in (("train", ["ABQZ", "CJWD", "EMKP"]), ("test", ["FZTL", "GWOX"])):
        listing, problems = list_images(competition, tmp_path, split)
        assert (listing["image_id"].tolist(), problems) == (names, [])


def test_films_of_masks_say_what_to_do(tmp_path: Path) -> None:
    for k in range(4):
        film = np.stack([label(k)] * 5, axis=3)
        save(tmp_path / f"case{k}/sa.nii.gz", scan(film, k))
        save(tmp_path / f"case{k}/sa_gt.nii.gz", film)
    assert "save each of its frames as a file of its own" in draft_contract(tmp_path, "films").text()


def cells(seed: int) -> np.ndarray:
    rows, columns = np.arange(40)[:, None] // 8, np.arange(56) // (8 + seed % 3)
    return ((rows * 7 + columns + 1) * ((rows + columns) % 2)).astype(np.uint16)


def test_faulty_segmentations_are_a_second_choice(tmp_path: Path) -> None:
    """The Cell Tracking Challenge: silver truth of all frames beside a tracker's errors of all frames."""
    for sequence in ("01", "02"):
        for t in range(4):
            parts = {f"{sequence}/t": draw_image(cells(t) > 0, t)[..., 0], f"{sequence}_ST/SEG/man_seg": cells(t)}
            for name, pixels in (parts | {f"{sequence}_ERR_SEG/mask": cells(t)}).items():
                path = tmp_path / f"{name}{t:03d}.tif"
                path.parent.mkdir(parents=True, exist_ok=True)
                tifffile.imwrite(path, pixels)
    assert guessed(tmp_path).masks.path == "{folder1}_ST/SEG/man_seg{name}.tif"


def test_masks_that_are_pickled_objects_are_none(tmp_path: Path) -> None:
    """Cellpose writes what it found as a dictionary of Python too."""
    for k in range(6):
        cv2.imwrite(str(tmp_path / f"{k:03d}.png"), draw_image(cells(k) > 0, k))
        cv2.imwrite(str(tmp_path / f"{k:03d}_cp_masks.png"), cells(k))
        np.save(tmp_path / f"{k:03d}_seg.npy", np.array({"masks": cells(k)}, dtype=object), allow_pickle=True)
    competition = guessed(tmp_path)
    assert competition.masks.path == "{id}_cp_masks.png" and competition.masks.instances


def test_folders_of_zarr_are_named(tmp_path: Path) -> None:
    for k in range(2):
        place = tmp_path / f"runs/TS_{k}/denoised.zarr/0"
        place.mkdir(parents=True)
        (place / ".zarray").write_text("{}")
        (place / "0.0.0").write_bytes(b"00")
    (tmp_path / "notes.abc").write_text("")
    said = unread_kinds(tmp_path)
    assert said.startswith(".abc (1), folders of Zarr (2, as runs/TS_0/denoised.zarr; a contract by hand names them")
    with pytest.raises(ValueError, match="folders of Zarr"):
        draft_contract(tmp_path, "cryo")


def test_a_list_of_codes_two_folders_down_names_classes_and_what_is_outside(tmp_path: Path) -> None:
    """BCSS: codes in a TSV, the first of what lies outside of the region that was looked at."""
    (tmp_path / "set/meta").mkdir(parents=True)
    (tmp_path / "set/meta/gtruth_codes.tsv").write_text("label\tGT_code\noutside_roi\t0\ntumor\t1\nstroma\t2\n")
    for k in range(5):
        mask = draw_mask(k) + np.uint8(draw_mask(k + 9) & ~draw_mask(k)) * np.uint8(2)
        for folder, pixels in (("rgbs", draw_image(draw_mask(k), k)), ("masks", mask.astype(np.uint8))):
            (tmp_path / f"set/{folder}").mkdir(exist_ok=True)
            assert cv2.imwrite(str(tmp_path / f"set/{folder}/t{k}.png"), pixels)
    assert guessed(tmp_path).masks.values == {0: "void", 1: "tumor", 2: "stroma"}


def test_markers_of_tracks_are_said_to_be_no_outlines(tmp_path: Path) -> None:
    for t in range(5):
        for name, pixels in (("01/t", draw_image(cells(t) > 0, t)[..., 0]), ("01_GT/TRA/man_track", cells(t))):
            path = tmp_path / f"{name}{t:03d}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, pixels)
    assert "markers that say which cell is which" in draft_contract(tmp_path, "tracks").text()


def test_numbered_volumes_of_two_folders_are_images(tmp_path: Path) -> None:
    """ImageCAS: 1-200/1.img.nii.gz and 201-400/201.img.nii.gz, and labels beside them."""
    numbers = [1, 2, 3, 201, 202, 203]
    for k in numbers:
        place = tmp_path / ("1-200" if k < 201 else "201-400")
        save(place / f"{k}.img.nii.gz", scan(label(k % 200), k))
        save(place / f"{k}.label.nii.gz", label(k % 200))
    competition = guessed(tmp_path)
    listing, problems = list_images(competition, tmp_path, "train")
    assert (sorted(map(int, listing["image_id"])), problems) == (numbers, [])
    assert competition.masks.path == "{folder1}/{id}.label.nii.gz" and competition.classes == ["thing"]


def test_masks_of_other_cases_are_no_classes_of_a_single_one(tmp_path: Path) -> None:
    save(tmp_path / "ABQZ/lgemri.nii", scan(label(0), 0))
    for k, name in enumerate(("ABQZ", "CJWD")):
        save(tmp_path / f"{name}/laendo.nii", label(k))
    assert "{class}" not in str(guessed(tmp_path).masks.path)
