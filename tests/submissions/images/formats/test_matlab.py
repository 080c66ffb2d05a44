"""Arrays of MATLAB: both versions of the file, the name of one of several, lists beside them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy

from submissions.images.formats.matlab import all_arrays_of_mat, arrays_of_mat
from submissions.images.opening import open_image, open_mask
from submissions.images.reading import Reading

LABEL = np.arange(12 * 20).reshape(12, 20) % 7


def write_hdf5(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """As MATLAB writes version 7.3: axes turned round, 512 bytes of its own in front."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = array.T
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(128))


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_an_array_is_read_as_matlab_shows_it(version: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    write = write_hdf5 if version == "7.3" else scipy.io.savemat
    write(path, {"inst_map": LABEL.astype(float), "class": np.ones((7, 1))})
    mask = open_mask(path)  # the only one that is no list
    assert mask.shape == (1, 12, 20, 1)
    np.testing.assert_array_equal(mask.read(0, slice(2, 9), slice(3, 20))[..., 0], LABEL[2:9, 3:])
    mask.close()
    write(path, {"inst_map": LABEL, "image": np.repeat(LABEL[..., None], 3, axis=2).astype(np.uint8)})
    image = open_image(path, reading=Reading(array="image"))
    assert (image.shape, image.dtype) == ((1, 12, 20, 3), np.uint8)
    np.testing.assert_array_equal(image.read(0)[..., 1], LABEL)
    with pytest.raises(ValueError, match=r"a\.mat: it holds the arrays \[.*\]: say which in images\.array"):
        open_image(path)


def test_a_file_without_an_array_or_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"names": np.array(["a", "b"], object)})
    with pytest.raises(ValueError, match=r"a\.mat: it holds the arrays \[\]"):
        open_image(path)
    scipy.io.savemat(path, {"inst_map": LABEL})
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"a\.mat"):
        open_image(path).read(0)


def in_cells(version: str, path: Path, masks: list[np.ndarray]) -> None:
    """BSDS500: a cell an observer, a struct each."""
    if version == "5":
        cells = np.empty((1, len(masks)), object)
        for place, mask in enumerate(masks):
            cells[0, place] = {"Segmentation": mask.astype(np.uint16), "Boundaries": mask == 3}
        scipy.io.savemat(path, {"groundTruth": cells})
        return
    write_hdf5(path, {})
    with h5py.File(path, "r+") as file:
        references = np.empty((len(masks), 1), h5py.ref_dtype)
        for place, mask in enumerate(masks):
            group = file.create_group(f"#refs#/{'abc'[place]}")
            group["Segmentation"], group["Boundaries"] = mask.astype(np.uint16).T, (mask == 3).astype(np.uint8).T
            references[place, 0] = group.ref
        file["groundTruth"] = references
        file["groundTruth"].attrs["MATLAB_class"] = np.bytes_("cell")


def in_structs(version: str, path: Path, **beside: np.ndarray) -> None:
    """SBD: a field of a struct, beside sparse matrices in a cell and a list; and a struct array."""
    if version == "5":
        sparse = np.empty((2, 1), object)
        sparse[:, 0] = [scipy.sparse.csc_matrix(value == LABEL) for value in (1, 2)]
        held = {"Segmentation": LABEL.astype(np.uint8), "Boundaries": sparse, "CategoriesPresent": np.ones((2, 1))}
        layers = np.array([[(LABEL,), (LABEL + 1,)]], [("mask", object)])
        scipy.io.savemat(path, {"GTcls": held, "layers": layers, "name": "a", **beside})
        return
    write_hdf5(path, beside)
    with h5py.File(path, "r+") as file:
        file["GTcls/Segmentation"], file["GTcls/CategoriesPresent"] = LABEL.astype(np.uint8).T, np.ones((1, 2))
        references = np.empty((2, 1), h5py.ref_dtype)
        for place in range(2):
            file[f"#refs#/{'ab'[place]}"] = (LABEL + place).T
            references[place, 0] = file[f"#refs#/{'ab'[place]}"].ref
        file["layers/mask"] = references


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_arrays_in_cells_and_structs_are_named_as_in_matlab(version: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    in_cells(version, path, [LABEL, LABEL + 1])
    names = [f"groundTruth{{{place}}}.{field}" for place in (1, 2) for field in ("Segmentation", "Boundaries")]
    assert sorted(arrays_of_mat(path)) == sorted(names)
    second = open_mask(path, reading=Reading(array="groundTruth{2}.Segmentation"))
    np.testing.assert_array_equal(second.read(0)[..., 0], LABEL + 1)
    second.close()
    with pytest.raises(ValueError, match=r"a\.mat: it holds the arrays \['groundTruth{1}.*say which in images\.array"):
        open_mask(path)
    in_structs(version, path)
    assert {*arrays_of_mat(path)} == {"GTcls.Segmentation", "layers(1).mask", "layers(2).mask"}
    for name, expected in (("GTcls.Segmentation", LABEL), ("GTcls/Segmentation", LABEL), ("layers(2).mask", LABEL + 1)):
        mask = open_mask(path, reading=Reading(array=name))
        assert mask.shape == (1, 12, 20, 1)
        np.testing.assert_array_equal(mask.read(0, slice(2, 9))[..., 0], expected[2:9])


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_an_array_beside_structs_is_the_only_one(version: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    in_structs(version, path, inst_map=LABEL.astype(float) + 9)
    assert [*arrays_of_mat(path)] == ["inst_map"] and len(all_arrays_of_mat(path)) == 4
    np.testing.assert_array_equal(open_mask(path).read(0)[..., 0], LABEL + 9)
    nested = open_mask(path, reading=Reading(array="GTcls.Segmentation"))
    np.testing.assert_array_equal(nested.read(0)[..., 0], LABEL)


def test_version_7_3_is_read_in_windows(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    several = np.random.default_rng(0).integers(0, 256, (12, 20, 3, 5), np.uint8)
    write_hdf5(path, {"images": several})
    image = open_image(path, reading=Reading(axes="HWCZ"))
    assert image.shape == (5, 12, 20, 3) and not image.decodes_whole  # type: ignore[attr-defined]
    np.testing.assert_array_equal(image.read(3, slice(2, 9), slice(5, 7)), several[2:9, 5:7, :, 3])
    image.close()
    scipy.io.savemat(path, {"images": several})
    whole = open_image(path, reading=Reading(axes="HWCZ"))
    assert whole.decodes_whole  # type: ignore[attr-defined]
    np.testing.assert_array_equal(whole.read(3, slice(2, 9), slice(5, 7)), several[2:9, 5:7, :, 3])
