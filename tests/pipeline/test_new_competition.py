"""From a host's files to a contract, an experiment and a picture, all written where the user stands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pytest
from drawn_hosts import SHAPE, draw_image, draw_mask, write_rle_host

from pipeline.experiment import load_experiment, resolve
from pipeline.new_competition import start_competition
from submissions.host.competition import Competition, load_competition
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def white(mask: np.ndarray) -> np.ndarray:
    return mask.astype(np.uint8) * 255


def object_files(root: Path) -> None:
    for k in range(10):
        mask, name = draw_mask(k), f"{k:064x}"
        write(root / f"stage1_{'train' if k < 8 else 'test'}/{name}/images/{name}.png", draw_image(mask, k))
        for v, part in enumerate((mask[:, :28], mask[:, 28:]) if k < 8 else ()):
            whole = np.zeros(SHAPE, bool)
            whole[:, 28 * v : 28 * v + 28] = part
            write(root / f"stage1_train/{name}/masks/{v:064x}.png", white(whole))


def cityscapes(root: Path) -> None:
    for k in range(9):
        split, city = ("train", "val")[k % 3 == 0], ("aachen", "bochum", "ulm")[k % 3]
        name = f"{city}_{k:06d}_000019"
        label = draw_mask(k).astype(np.uint8) * 7 + (draw_mask(k + 20) & ~draw_mask(k)).astype(np.uint8) * 11
        write(root / f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png", draw_image(label > 0, k))
        write(root / f"gtFine/{split}/{city}/{name}_gtFine_labelIds.png", label)
        write(root / f"gtFine/{split}/{city}/{name}_gtFine_color.png", np.repeat(label[..., None] * 20, 3, 2))


def isic(root: Path) -> None:
    for k in range(6):
        write(root / f"ISIC_Training_Input/ISIC_{k:07d}.jpg", draw_image(draw_mask(k), k))
        write(root / f"ISIC_Training_GroundTruth/ISIC_{k:07d}_segmentation.png", white(draw_mask(k)))


def lgg(root: Path) -> None:
    for k in range(12):
        name = f"kaggle_3m/TCGA_CS_494{k % 3}_1996/TCGA_CS_494{k % 3}_1996_{k}"
        write(root / f"{name}.tif", draw_image(draw_mask(k), k))
        write(root / f"{name}_mask.tif", white(draw_mask(k)))


def two_observers(root: Path) -> None:
    for k in range(10):
        name = f"train/Image_{k // 2 + 1:02d}{'LR'[k % 2]}"
        write(root / f"{name}.jpg", draw_image(draw_mask(k), k))
        write(root / f"{name}_1stHO.png", white(draw_mask(k)))
        write(root / f"{name}_2ndHO.png", white(cv2.erode(draw_mask(k).astype(np.uint8), np.ones((3, 3))) > 0))


def medical_decathlon(root: Path) -> None:
    for part in ("imagesTr", "labelsTr", "imagesTs"):
        (root / part).mkdir(parents=True)
    for k in range(5):
        label = np.stack([draw_mask(k + z) for z in range(4)], axis=2).astype(np.uint8)
        image = nibabel.Nifti1Image(
            (label * 90 + np.random.default_rng(k).normal(0, 5, label.shape)).astype("f4"), np.eye(4)
        )
        nibabel.save(image, root / ("imagesTr" if k < 4 else "imagesTs") / f"organ_{k:03d}.nii.gz")
        if k < 4:
            nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), root / "labelsTr" / f"organ_{k:03d}.nii.gz")
    document = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "organ"}}
    (root / "dataset.json").write_text(json.dumps(document))


def one_pair(root: Path) -> None:
    root.mkdir()
    label = np.stack([draw_mask(z) for z in range(4)], axis=2).astype(np.uint8)
    image = (label * 90 + np.random.default_rng(0).normal(0, 5, label.shape)).astype("f4")
    nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), root / "scan.nii.gz")
    nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), root / "segmentation.nii.gz")


LAYOUTS: dict[str, tuple[Callable[[Path], None], int, str | None]] = {
    "object-files": (object_files, 8, None),
    "cityscapes": (cityscapes, 9, None),
    "isic": (isic, 6, None),
    "lgg": (lgg, 12, "folder1"),
    "two-observers": (two_observers, 10, "person"),
    "medical-decathlon": (medical_decathlon, 4, None),
    "one-pair": (one_pair, 1, None),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_guessed_whole(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build, count, group = LAYOUTS[name]
    build(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    said = start_competition(Path(name))
    competition = load_competition(Path(f"{name}.yaml"))
    listing, problems = list_images(competition, Path(name), "train")
    assert (len(listing), problems) == (count, [])
    assert "no picture" not in said and Path(f"{name}-guess.png").stat().st_size > 5000
    assert name == "cityscapes" or competition.group == group
    resolve(load_experiment(f"{name}-baseline.yaml"), competition)
    assert _masks_shown(competition, Path(name)) > 0


def _masks_shown(competition: Competition, folder: Path) -> int:
    listing, _ = list_images(competition, folder, "train")
    reader, shown = MaskReader(competition, folder), 0
    for record in listing.to_dict("records"):
        row = {str(key): value for key, value in record.items()}
        depth = 4 if competition.images.kind == "volumes" else 1
        shape = (depth, *(SHAPE[::-1] if depth > 1 else SHAPE))
        planes = reader.read(row, shape).planes
        shown += int(planes[[k for k, one in enumerate(competition.classes) if one != "background"]].any())
    return shown


def test_what_is_there_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rle_host(tmp_path / "host")
    monkeypatch.chdir(tmp_path)
    Path("host-baseline.yaml").write_text("mine")
    with pytest.raises(ValueError, match=r"host-baseline\.yaml: is there already"):
        start_competition(Path("host"))
    assert Path("host-baseline.yaml").read_text() == "mine"
