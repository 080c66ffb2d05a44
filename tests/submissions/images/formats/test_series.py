"""DICOM series: slices in the order of their places, turned as a NIfTI file of the same volume is."""

from __future__ import annotations

import pickle
from pathlib import Path

import nibabel
import numpy as np
import pytest
from drawn_dicom import AXIAL, write_dicom, write_series

from submissions.images.opening import open_image, open_mask
from submissions.images.oriented import place_fault
from submissions.images.readers import ImageReader

pytest.importorskip("pydicom")

SLICES = np.random.default_rng(0).integers(0, 4096, (5, 7, 6), dtype=np.uint16)  # upwards, rows, columns
SAGITTAL = np.array([[0, 0, 3.0, -9], [-0.5, 0, 0, 30], [0, -0.75, 0, 40], [0, 0, 0, 1]])
DOWN = np.array([[-0.5, 0, 0, 20], [0, -0.75, 0, 30], [0, 0, -2.5, 100], [0, 0, 0, 1]])


def whole(reader: ImageReader) -> np.ndarray:
    return np.stack([reader.read(z)[..., 0] for z in range(reader.shape[0])])


@pytest.mark.parametrize("affine", [AXIAL, DOWN, SAGITTAL])
@pytest.mark.parametrize("names", [None, ["10.dcm", "9.dcm", "2.dcm", "1.dcm", "11.dcm"]])
def test_a_series_lies_as_a_volume_file_does(tmp_path: Path, affine: np.ndarray, names: list[str] | None) -> None:
    write_series(tmp_path / "series", SLICES, names=names, affine=affine)
    nibabel.save(nibabel.Nifti1Image(SLICES.transpose(2, 1, 0), affine), tmp_path / "same.nii")
    series, volume = open_image(tmp_path / "series"), open_image(tmp_path / "same.nii")
    assert series.shape == volume.shape and series.dtype == volume.dtype == np.uint16
    assert series.spacing == pytest.approx(volume.spacing)
    np.testing.assert_array_equal(whole(series), whole(volume))
    np.testing.assert_array_equal(series.read(2, slice(1, 4), slice(2, 5)), volume.read(2, slice(1, 4), slice(2, 5)))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(series)).read(1), volume.read(1))
    assert place_fault(series, volume) is None
    np.testing.assert_array_equal(whole(open_mask(tmp_path / "series")), whole(volume))


def test_values_are_those_of_the_modality_whichever_slices_are_rescaled(tmp_path: Path) -> None:
    write_series(tmp_path, SLICES, RescaleSlope=1, RescaleIntercept=-1024)
    write_dicom(tmp_path / "6.dcm", SLICES[0], ImagePositionPatient=[-20, -30, 0], PixelSpacing=[0.75, 0.5],
                ImageOrientationPatient=[1, 0, 0, 0, 1, 0])  # fmt: skip
    reader = open_image(tmp_path)
    assert reader.dtype == np.float32 and reader.shape[0] == 6
    np.testing.assert_array_equal(reader.read(0)[..., 0], SLICES[0, ::-1, ::-1] - 1024.0)
    np.testing.assert_array_equal(reader.read(5)[..., 0], SLICES[0, ::-1, ::-1])
    reader.close()
    np.testing.assert_array_equal(reader.read(5)[..., 0], SLICES[0, ::-1, ::-1])


def test_slices_of_a_folder_are_still_read_by_their_names_where_that_is_asked_for(tmp_path: Path) -> None:
    write_series(tmp_path, SLICES, names=["5.dcm", "4.dcm", "3.dcm", "2.dcm", "1.dcm"])
    np.testing.assert_array_equal(whole(open_image(tmp_path, kind="slices")), SLICES[::-1])


def test_a_slice_alone_is_a_volume(tmp_path: Path) -> None:
    write_series(tmp_path, SLICES[:1], SliceThickness=4)
    reader = open_image(tmp_path)
    assert reader.shape == (1, 7, 6, 1) and reader.spacing == pytest.approx((4, 0.75, 0.5))


@pytest.mark.parametrize(
    ("elements", "found"),
    [
        ({"ImagePositionPatient": [0, 0, -100]}, "1.dcm and 6.dcm lie in the same place"),
        ({"ImagePositionPatient": None}, "6.dcm: no ImagePositionPatient, so where the slices"),
        ({"PixelSpacing": None, "ImageOrientationPatient": [1, 0]}, "no ImageOrientationPatient and no PixelSpacing"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "expected the slices of one series"),
        ({"PixelSpacing": [1, 1]}, "expected the slices of one series"),
    ],
)
def test_files_that_make_no_volume_are_refused(tmp_path: Path, elements: dict[str, object], found: str) -> None:
    write_series(tmp_path, SLICES)
    own = {"ImagePositionPatient": [-20, -30, 50], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
           "PixelSpacing": [0.75, 0.5], **elements}  # fmt: skip
    write_dicom(tmp_path / "6.dcm", SLICES[0], **{key: value for key, value in own.items() if value is not None})
    with pytest.raises(ValueError, match=found):
        open_image(tmp_path)


def test_a_file_of_several_frames_and_directions_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    write_dicom(tmp_path / "a/1.dcm", SLICES, NumberOfFrames=5)
    with pytest.raises(ValueError, match="5 frames of 1 channels, expected a grey slice"):
        open_image(tmp_path / "a")
    write_series(tmp_path / "b", SLICES, ImageOrientationPatient=[1, 0, 0, 1, 0, 0])
    with pytest.raises(ValueError, match="expected two directions of length 1"):
        open_image(tmp_path / "b")
