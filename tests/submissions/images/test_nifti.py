"""Volumes are turned to one orientation, read by windows, and led back to the axes of the file."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import nibabel
import numpy as np
import pytest

from submissions.images.opening import open_image, open_mask, probe_image

RGB = np.random.default_rng(0).integers(0, 256, (45, 67, 3), dtype=np.uint8)
GREY = RGB[..., 0]


def read_mask_volume(path: Path) -> np.ndarray:
    """All slices of a mask file (Z, H, W)."""
    with closing(open_mask(path)) as reader:
        return np.stack([reader.read(z)[..., 0] for z in range(reader.shape[0])])


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
@pytest.mark.parametrize("turned", [False, True])
def test_nifti_is_canonical(tmp_path: Path, ending: str, turned: bool) -> None:
    voxels = np.random.default_rng(4).normal(size=(4, 5, 6)).astype(np.float32)
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    if turned:  # file axes: z backwards, x, y backwards
        affine = np.array([[0, 2.0, 0, 0], [0, 0, -3.0, 0], [-4.0, 0, 0, 0], [0, 0, 0, 1]])
    path = tmp_path / f"volume.{ending}"
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    truth = nibabel.as_closest_canonical(nibabel.load(path)).get_fdata(dtype=np.float32).transpose(2, 1, 0)
    with closing(open_image(path)) as reader:
        assert reader.shape == (*truth.shape, 1)
        for z in range(truth.shape[0]):
            np.testing.assert_array_equal(reader.read(z)[..., 0], truth[z])
            np.testing.assert_array_equal(reader.read(z, slice(1, 3), slice(2, 4))[..., 0], truth[z, 1:3, 2:4])
        np.testing.assert_array_equal(reader.to_file_axes(truth), voxels)
        with pytest.raises(ValueError, match="does not fit"):
            reader.to_file_axes(truth[:, :, :-1])
    assert probe_image(path).spacing == (4.0, 3.0, 2.0)


@pytest.mark.parametrize(("unit", "spacing"), [("mm", 4.0), ("micron", 0.004), ("meter", 4000.0), ("unknown", 4.0)])
def test_spacing_is_in_mm_whatever_the_headers_unit(tmp_path: Path, unit: str, spacing: float) -> None:
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.diag([2.0, 3.0, 4.0, 1.0]))
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii.gz")
    found = probe_image(tmp_path / "a.nii.gz").spacing
    assert found == pytest.approx((spacing, spacing * 3 / 4, spacing / 2))


def test_nifti_scaling_channels_and_masks(tmp_path: Path) -> None:
    stored = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    image = nibabel.Nifti1Image(stored.astype(np.float64), np.eye(4))
    image.set_data_dtype(np.int16)
    image.header.set_slope_inter(0.5, 1)
    nibabel.save(image, tmp_path / "scaled.nii")
    with closing(open_image(tmp_path / "scaled.nii")) as reader:
        assert reader.dtype == np.float32
        np.testing.assert_allclose(reader.read(0)[..., 0], stored[:, :, 0].T * 0.5 + 1)
    nibabel.save(
        nibabel.Nifti1Image(np.arange(120, dtype=np.uint8).reshape(3, 4, 5, 2), np.eye(4)),
        tmp_path / "4d.nii",
    )
    assert open_image(tmp_path / "4d.nii").shape == (5, 4, 3, 2)
    nibabel.save(nibabel.Nifti1Image(stored, np.eye(4)), tmp_path / "label.nii.gz")
    np.testing.assert_array_equal(read_mask_volume(tmp_path / "label.nii.gz"), stored.transpose(2, 1, 0))
    with pytest.raises(ValueError, match="3 axes"):
        open_mask(tmp_path / "4d.nii")
    with pytest.raises(ValueError, match="axes"):
        nibabel.save(nibabel.Nifti1Image(np.zeros((2, 3, 4, 1, 2), np.uint8), np.eye(4)), tmp_path / "5d.nii")
        open_image(tmp_path / "5d.nii")
    with pytest.raises(ValueError, match="drops an axis"):
        nibabel.save(nibabel.Nifti1Image(stored, np.eye(4)), tmp_path / "flat.nii")
        header = bytearray((tmp_path / "flat.nii").read_bytes())
        header[296:312] = bytes(16)  # second row of the affine
        (tmp_path / "flat.nii").write_bytes(bytes(header))
        open_image(tmp_path / "flat.nii")
