from __future__ import annotations

from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy
from drawn_hosts import SHAPE, draw_image, draw_mask
from drawn_matlab import bsds, draw_classes, nyu, sbd, write

from submissions.guess.first_contract import write_first_contract
from submissions.host.competition import Competition, load_competition
from submissions.host.listed_images import open_row
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader, Truth


def guess(folder: Path) -> tuple[Competition, str]:
    path = write_first_contract(folder, out=folder.with_suffix(".yaml"))
    return load_competition(path), path.read_text()


def first_truth(contract: Competition, folder: Path) -> Truth:
    listing, problems = list_images(contract, folder, "train")
    assert problems == []
    return MaskReader(contract, folder).read(listing.iloc[0].to_dict(), (1, *SHAPE))


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_a_field_of_a_struct_is_the_mask_and_named(version: str, tmp_path: Path) -> None:
    sbd(tmp_path / "sbd", version=version)
    contract, text = guess(tmp_path / "sbd")
    assert (contract.masks.path, contract.masks.array) == ("dataset/cls/{id}.mat", "GTcls.Segmentation")
    assert contract.masks.values == {0: "background", 8: "cat", 12: "dog"} and "as PASCAL VOC names them" in text
    assert "each file holds the array GTcls.Segmentation" in text
    np.testing.assert_array_equal(first_truth(contract, tmp_path / "sbd").planes[1, 0], draw_classes(0) == 8)


def test_of_several_observers_the_first_is_read_and_said_so(tmp_path: Path) -> None:
    """The borders of regions that cover everything: as objects of one class they would be every pixel."""
    bsds(tmp_path / "bsds")
    contract, text = guess(tmp_path / "bsds")
    assert contract.masks.array == "groundTruth{1}.Boundaries" and not contract.masks.instances
    assert "4 masks of an image, as of so many observers: only groundTruth{1}" in text
    assert "the regions of groundTruth{1}.Segmentation leave no pixel out, so their borders are read" in text
    truth = first_truth(contract, tmp_path / "bsds")
    assert 0 < truth.planes.mean() < 0.5 and contract.classes == ["thing"]


def test_regions_without_borders_are_objects(tmp_path: Path) -> None:
    bsds(tmp_path / "bsds")
    for path in (tmp_path / "bsds/groundTruth").rglob("*.mat"):
        cells = scipy.io.loadmat(path)["groundTruth"]
        scipy.io.savemat(path, {"groundTruth": {"Segmentation": cells[0, 0]["Segmentation"][0, 0]}})
    contract, _ = guess(tmp_path / "bsds")
    assert contract.masks.array == "groundTruth.Segmentation" and contract.masks.instances


@pytest.mark.parametrize("plain", [False, True])
def test_a_mask_in_a_struct_is_found_beside_other_arrays(plain: bool, tmp_path: Path) -> None:
    folder = tmp_path / "host"
    (folder / "labels").mkdir(parents=True)
    for k in range(6):
        mask = draw_mask(k)
        write(folder / f"images/a{k}.png", draw_image(mask, k))
        about = {"calibration": np.eye(3), "boxes": np.ones((5, 4)), "gt": {"mask": mask.astype(np.uint8), "note": "x"}}
        scipy.io.savemat(folder / f"labels/a{k}.mat", about | ({"mask": mask * 1.0} if plain else {}))
    contract, _ = guess(folder)
    assert contract.masks.array == ("mask" if plain else "gt.mask")
    np.testing.assert_array_equal(first_truth(contract, folder).planes[0, 0], draw_mask(0))


def test_names_of_hdf5_stay_as_they_are(tmp_path: Path) -> None:
    for k in range(6):
        path = tmp_path / f"host/a{k}.h5"
        path.parent.mkdir(exist_ok=True)
        with h5py.File(path, "w") as file:
            file["volumes/raw"], file["volumes/labels/mask"] = draw_image(draw_mask(k), k)[..., 0], draw_mask(k) * 1
    contract, _ = guess(tmp_path / "host")
    assert (contract.images.array, contract.masks.array) == ("volumes/raw", "volumes/labels/mask")


def test_pictures_one_behind_the_other_are_pages(tmp_path: Path) -> None:
    nyu(tmp_path / "nyu")
    contract, _ = guess(tmp_path / "nyu")
    images, masks = contract.images, contract.masks
    assert (images.kind, images.axes, images.array, masks.array) == ("pages", "HWCZ", "images", "labels")
    assert images.stack is None and masks.values == {0: "background", 8: "class_8", 12: "class_12"}
    listing, problems = list_images(contract, tmp_path / "nyu", "train")
    assert len(listing) == 6 and problems == []
    row = listing.iloc[4].to_dict()
    with closing(open_row(contract, tmp_path / "nyu", row)) as image:
        np.testing.assert_array_equal(image.read(0), draw_image(draw_mask(4), 4))
    truth = MaskReader(contract, tmp_path / "nyu").read(row, (1, *SHAPE))
    np.testing.assert_array_equal(truth.planes[1, 0], draw_classes(4) == 8)
