"""Where volumes lie in a patient: when do the voxels of a mask lie on those of its image?"""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from submissions.images.nifti import NiftiReader
from submissions.images.oriented import place_fault

AFFINE = np.array([[-0.5, 0, 0, 20], [0, -0.75, 0, 30], [0, 0, 2.5, -100], [0, 0, 0, 1]])
SHAPE = (6, 7, 5)


def saved(path: Path, affine: np.ndarray, *, unit: str = "mm", ordered: bool = False) -> NiftiReader:
    image = nibabel.Nifti1Image(np.zeros(SHAPE, np.uint8), affine)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    reader = NiftiReader(path)
    reader.ordered = ordered
    return reader


def moved(mm: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[2, 3] += mm
    return affine


@pytest.mark.parametrize("ordered", [False, True])
def test_a_mask_fits_where_it_lies_or_is_stored_as_its_image(tmp_path: Path, ordered: bool) -> None:
    image = saved(tmp_path / "image.nii", AFFINE, ordered=ordered)
    assert place_fault(image, saved(tmp_path / "near.nii", moved(1.2))) is None
    metres = np.diag([1e-3, 1e-3, 1e-3, 1]) @ AFFINE
    assert place_fault(image, saved(tmp_path / "metres.nii", metres, unit="meter")) is None
    turned = nibabel.load(tmp_path / "near.nii").as_reoriented(np.array([[1, -1], [2, 1], [0, 1]]))
    nibabel.save(turned, tmp_path / "turned.nii")
    assert place_fault(image, NiftiReader(tmp_path / "turned.nii")) is None
    shifted = place_fault(image, saved(tmp_path / "far.nii", moved(2.5)))
    assert shifted == ("its axes run LPS, its image's LPS, and its corners lie up to 1.0 voxels off the image's"
                       if ordered else None)  # fmt: skip


def test_a_mask_that_runs_the_other_way_is_none_of_its_image(tmp_path: Path) -> None:
    image = saved(tmp_path / "image.nii", AFFINE)
    fault = place_fault(image, saved(tmp_path / "mask.nii", np.eye(4)))
    assert fault is not None and fault.startswith("its axes run RAS, its image's LPS, and its corners lie")
