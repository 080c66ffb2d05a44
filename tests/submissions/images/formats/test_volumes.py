"""NRRD, MHA, MHD, MRC, Zarr, OME-Zarr and N5, each written with its library and read back by windows."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from submissions.images.formats import arrays
from submissions.images.opening import Reading, open_image, open_mask, probe_image

sitk = pytest.importorskip("SimpleITK")
itk = pytest.importorskip("submissions.images.formats.itk")
mrcfile = pytest.importorskip("mrcfile")
tensorstore = pytest.importorskip("tensorstore")

VOLUME = np.random.default_rng(3).integers(-900, 900, (4, 7, 9)).astype(np.int16)


@pytest.mark.parametrize(("name", "packed"), [("a.mha", False), ("a.mha", True), ("a.mhd", False), ("a.nrrd", True)])
def test_itk_volumes_are_turned_as_nifti_volumes_are(tmp_path: Path, name: str, packed: bool) -> None:
    image = sitk.GetImageFromArray(VOLUME)
    image.SetSpacing((0.5, 0.75, 2.0))
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    sitk.WriteImage(image, tmp_path / name, packed)
    sitk.WriteImage(image, tmp_path / "same.nii")
    reader, wanted = open_image(tmp_path / name), open_image(tmp_path / "same.nii")
    assert reader.shape == wanted.shape == (4, 9, 7, 1) and reader.dtype == np.float32
    for z in (3, 0):
        np.testing.assert_array_equal(reader.read(z), wanted.read(z))
    np.testing.assert_array_equal(reader.read(1, slice(2, 8), slice(1, 4)), wanted.read(1, slice(2, 8), slice(1, 4)))
    assert probe_image(tmp_path / name).spacing == pytest.approx((2.0, 0.5, 0.75))
    back = np.stack([reader.read(z)[..., 0] for z in range(4)])
    np.testing.assert_array_equal(reader.to_file_axes(back), VOLUME.transpose(2, 1, 0))
    wanted.close()
    reader.close()


def test_itk_masks_and_pictures(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (5, 8, 3), dtype=np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(rgb, isVector=True), tmp_path / "rgb.nrrd")
    np.testing.assert_array_equal(open_image(tmp_path / "rgb.nrrd").read(0, slice(1, 4), None), rgb[1:4])
    label = (VOLUME > 0).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(label), tmp_path / "m.mha")
    reader = open_mask(tmp_path / "m.mha")
    assert reader.dtype == np.uint8 and reader.shape == (4, 7, 9, 1)
    np.testing.assert_array_equal(reader.read(2)[..., 0], label[2, ::-1, ::-1])  # ITK counts to the left and back
    with pytest.raises(ValueError, match="3 axes"):
        open_mask(tmp_path / "rgb.nrrd")


def test_itk_faults_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\ntype: short\n")
    with pytest.raises(ValueError, match=r"a\.nrrd: no readable volume"):
        open_image(tmp_path / "a.nrrd")
    sitk.WriteImage(sitk.GetImageFromArray(VOLUME), tmp_path / "b.mha")
    (tmp_path / "b.mha").write_bytes((tmp_path / "b.mha").read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"b\.mha: voxels cannot be read"):
        open_image(tmp_path / "b.mha").read(3)
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 3, 4, 5), np.uint8), isVector=False), tmp_path / "four.nrrd")
    with pytest.raises(ValueError, match="4 axes"):
        open_image(tmp_path / "four.nrrd")
    with pytest.raises(ValueError, match="complex of 32-bit float, expected integers"):
        itk._numpy_type(sitk.sitkComplexFloat32, tmp_path / "c.mha")
    sitk.WriteImage(sitk.GetImageFromArray(VOLUME), tmp_path / "d.nrrd")
    monkeypatch.setattr("submissions.images.formats.itk.LARGEST_DECODED", 100)
    with pytest.raises(ValueError, match="decoded as a whole"):
        open_image(tmp_path / "d.nrrd")


def test_mrc_is_read_by_sections(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(VOLUME)
        file.voxel_size = 13.0
    reader = open_image(tmp_path / "a.mrc")
    assert reader.shape == (4, 7, 9, 1)
    np.testing.assert_array_equal(reader.read(2, slice(1, 5), None)[..., 0], VOLUME[2, 1:5])
    assert probe_image(tmp_path / "a.mrc").pixel_size_um == pytest.approx(0.0013)
    (tmp_path / "a.mrc").write_bytes((tmp_path / "a.mrc").read_bytes()[:1100])
    with pytest.raises(ValueError, match=r"\.mrc: damaged, or not what it says it is"):
        open_image(tmp_path / "a.mrc")


def _write(folder: Path, driver: str, array: np.ndarray, kvstore: list | None = None) -> None:
    store = kvstore or {"driver": "file", "path": str(folder)}
    spec = {"driver": driver, "kvstore": store}
    made = tensorstore.open(spec, create=True, dtype=array.dtype.name, shape=array.shape).result()
    made.write(array).result()


@pytest.mark.parametrize("driver", ["zarr", "zarr3", "n5"])
def test_chunked_arrays_are_read_by_windows(tmp_path: Path, driver: str) -> None:
    _write(tmp_path / "a" / "inner", driver, VOLUME)
    (tmp_path / "a" / ".zgroup").write_text('{"zarr_format": 2}')
    for path in (tmp_path / "a", tmp_path / "a" / "inner"):
        reader = open_image(path)
        assert reader.shape == (4, 7, 9, 1) and reader.dtype == np.float32
        np.testing.assert_array_equal(reader.read(3, slice(2, 6), slice(1, 8))[..., 0], VOLUME[3, 2:6, 1:8])
        reader.close()
    label = (VOLUME > 0).astype(np.uint8)
    _write(tmp_path / "a" / "label", driver, label)
    with pytest.raises(ValueError, match=r"2 arrays \['inner', 'label'\]"):
        open_image(tmp_path / "a")
    mask = open_mask(tmp_path / "a", reading=Reading(array="label"))
    np.testing.assert_array_equal(mask.read(1)[..., 0], label[1])
    with pytest.raises(ValueError, match="no readable Zarr"):
        open_image(tmp_path / "a", reading=Reading(array="nothing"))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_knows_axes_levels_and_micrometres(tmp_path: Path, version: str) -> None:
    fine = np.random.default_rng(5).integers(0, 999, (2, 3, 20, 30)).astype(np.uint16)  # c, z, y, x
    driver = "zarr" if version == "0.4" else "zarr3"
    for level in range(2):
        _write(tmp_path / "a.zarr" / str(level), driver, fine[..., :: 1 + level, :: 1 + level])
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    datasets = [
        {
            "path": str(k),
            "coordinateTransformations": [{"type": "scale", "scale": [1, 2.0, 0.5 * (1 + k), 0.25 * (1 + k)]}],
        }
        for k in range(2)
    ]
    scales = {"multiscales": [{"axes": axes, "datasets": datasets, "version": version}]}
    if version == "0.4":
        (tmp_path / "a.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
        (tmp_path / "a.zarr" / ".zattrs").write_text(json.dumps(scales))
    else:
        document = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": scales}}
        (tmp_path / "a.zarr" / "zarr.json").write_text(json.dumps(document))
    reader = open_image(tmp_path / "a.zarr")
    assert reader.shape == (3, 20, 30, 2)
    np.testing.assert_array_equal(reader.read(2, slice(3, 9), None), fine[:, 2, 3:9].transpose(1, 2, 0))
    info = probe_image(tmp_path / "a.zarr")
    assert info.pixel_size_um == pytest.approx(0.25) and info.spacing == pytest.approx((0.002, 0.0005, 0.00025))
    half = open_image(tmp_path / "a.zarr", reading=Reading(level=1))
    assert half.shape == (3, 10, 15, 2)
    with pytest.raises(ValueError, match="levels 0 to 1"):
        open_image(tmp_path / "a.zarr", reading=Reading(level=2))


def test_zarr_faults(tmp_path: Path) -> None:
    folder = tmp_path / "a.zarr"
    _write(folder, "zarr", VOLUME)
    chunk = next(path for path in folder.iterdir() if path.name != ".zarray")
    chunk.write_bytes(chunk.read_bytes()[:10])
    with pytest.raises(ValueError, match="chunk cannot be read"):
        open_image(folder).read(0)
    (folder / ".zattrs").write_text("{")
    with pytest.raises(ValueError, match="not readable as JSON"):
        open_image(folder)


def test_a_zipped_zarr(tmp_path: Path) -> None:
    import zipfile

    _write(tmp_path / "a", "zarr", VOLUME)
    with zipfile.ZipFile(tmp_path / "a.zarr.zip", "w") as archive:
        for path in (tmp_path / "a").iterdir():
            archive.write(path, path.name)
    np.testing.assert_array_equal(open_image(tmp_path / "a.zarr.zip").read(1)[..., 0], VOLUME[1])


def test_npz_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "a.npz", image=VOLUME, label=(VOLUME > 0))
    reader = open_image(tmp_path / "a.npz", reading=Reading(array="image"))
    np.testing.assert_array_equal(reader.read(2, slice(1, 4), None)[..., 0], VOLUME[2, 1:4])
    np.testing.assert_array_equal(
        open_mask(tmp_path / "a.npz", reading=Reading(array="label")).read(1)[..., 0], VOLUME[1] > 0
    )
    with pytest.raises(ValueError, match=r"arrays \['image', 'label'\]"):
        open_image(tmp_path / "a.npz")
    monkeypatch.setattr(arrays, "LARGEST_DECODED", 10)
    with pytest.raises(ValueError, match="decoded as a whole"):
        open_image(tmp_path / "a.npz", reading=Reading(array="image"))
    (tmp_path / "b.npz").write_bytes(b"PK\x03\x04 nothing more")
    with pytest.raises(ValueError, match=r"b\.npz"):
        open_image(tmp_path / "b.npz")


def test_a_nifti_picture_goes_back_to_its_file(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(VOLUME[0].T, np.eye(4)), tmp_path / "a.nii")
    reader = open_image(tmp_path / "a.nii")
    assert reader.shape == (1, 7, 9, 1)
    np.testing.assert_array_equal(reader.to_file_axes(reader.read(0)[None, ..., 0])[..., 0], VOLUME[0].T)
