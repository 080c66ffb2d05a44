"""Answers of label volumes: on the grid, in the orientation and with the spacing of each volume's own file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pytest
import tifffile
from drawn_hosts import rle_contract

from submissions.answers import answer_of, check_answer, lint_answer
from submissions.answers.mask_formats import printing_of
from submissions.answers.packing import PackedFiles
from submissions.answers.scoring import score_submission
from submissions.answers.show import draw_submission
from submissions.host.competition import Competition
from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images
from submissions.images.opening import open_mask
from submissions.table.findings import errors
from submissions.table.scoring import Segmentation

SHAPE = (5, 16, 22)
TURNED = np.array([[0, -0.7, 0, 3], [1.5, 0, 0, -4], [0, 0, -2.5, 9], [0, 0, 0, 1.0]])  # file axes y, -x, -z


def volume(number: int) -> np.ndarray:
    """bool (Z, H, W), symmetric in nothing."""
    mask = np.zeros(SHAPE, bool)
    mask[1:4, 2 : 6 + number, 3:9], mask[0, 10:14, 12:20], mask[4, 1, 21] = True, True, True
    return mask


def contract(ending: str, source: str, *, kind: str = "volumes", **files: object) -> Competition:
    return rle_contract(
        images={"kind": "volumes", "train": f"train/{{id}}{source}", "test": f"test/{{id}}{source}"},
        tables=[],
        masks={"kind": "images", "path": f"labels/{{id}}{ending}", "values": {0: [], 3: "thing", 9: "void"}},
        group=None,
        submission={"kind": kind, "files": {"path": f"{{id}}{ending}", "values": {"thing": 3}, **files}},
    )


def host(folder: Path, source: str) -> None:
    """Two test volumes with geometry."""
    (folder / "test").mkdir(parents=True)
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 60, SHAPE) + 150 * volume(number)
        path = folder / f"test/v{number}{source}"
        if source == ".tif":
            options = {"resolution": (4.0, 4.0), "metadata": {"axes": "ZYX", "spacing": 0.5, "unit": "um"}}
            tifffile.imwrite(path, pixels.astype(np.uint8), imagej=True, **options)
            continue
        canonical = nibabel.Nifti1Image(pixels.astype(np.int16).transpose(2, 1, 0), np.diag([0.7, 1.5, 2.5, 1.0]))
        turned = canonical.as_reoriented(
            nibabel.orientations.ornt_transform([[0, 1], [1, 1], [2, 1]], nibabel.orientations.io_orientation(TURNED))
        )
        turned.header.set_xyzt_units("mm", "sec")
        turned.set_qform(turned.affine, code=2)
        nibabel.save(turned, path)


def write(competition: Competition, data: Path, out: Path) -> Path:
    images = ListedImages(competition, data, list_images(competition, data, "test")[0])
    with answer_of(competition).begin(out, images) as writer:
        for number in range(2):
            writer.add(images.row(f"v{number}"), Segmentation(volume(number)[None]))
        assert writer.finish().count == (2 if competition.submission.kind == "volumes" else 10)  # type: ignore[union-attr]
    return out


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nifti_labels_lie_on_the_grid_of_their_source(tmp_path: Path, ending: str) -> None:
    host(tmp_path / "data", ".nii.gz")
    competition = contract(ending, ".nii.gz")
    out = write(competition, tmp_path / "data", tmp_path / "submission.zip")
    source = nibabel.load(tmp_path / "data/test/v1.nii.gz")
    with PackedFiles(out).file(f"v1{ending}") as path:
        stored = nibabel.load(path)
        assert stored.shape == source.shape and stored.get_data_dtype() == np.uint8
        np.testing.assert_allclose(stored.affine, source.affine)
        assert stored.header.get_xyzt_units() == ("mm", "sec") and int(stored.header["qform_code"]) == 2
        bright = np.asarray(source.dataobj) > 100  # on the file's own axes
        np.testing.assert_array_equal(np.asarray(stored.dataobj), bright * 3)
        read = open_mask(path)
        np.testing.assert_array_equal([read.read(z)[..., 0] for z in range(SHAPE[0])], volume(1) * 3)
        read.close()
    assert errors(lint_answer(out, competition, tmp_path / "data")) == []
    assert score_submission(competition, out, out, tmp_path / "data").score == 1
    assert write(competition, tmp_path / "data", tmp_path / "again.zip").read_bytes() == out.read_bytes()
    draw_submission(competition, out, tmp_path / "data", ["v0"], tmp_path / "x.png")


def test_another_affine_is_an_error(tmp_path: Path) -> None:
    host(tmp_path / "data", ".nii.gz")
    competition = contract(".nii", ".nii.gz", pack="folder")
    out = write(competition, tmp_path / "data", tmp_path / "submission")
    stored = nibabel.load(out / "v0.nii")
    nibabel.save(nibabel.Nifti1Image(np.asarray(stored.dataobj), np.diag([1.0, 1, 1, 1])), out / "v0.nii")
    (found,) = errors(lint_answer(out, competition, tmp_path / "data"))
    assert "v0.nii" in found.cause


def test_tiff_labels_keep_resolution_and_spacing(tmp_path: Path) -> None:
    host(tmp_path / "data", ".tif")
    competition = contract(".tif", ".tif")
    out = write(competition, tmp_path / "data", tmp_path / "submission.zip")
    with PackedFiles(out).file("v0.tif") as path:
        np.testing.assert_array_equal(tifffile.imread(path), volume(0).astype(np.uint8) * 3)
        assert printing_of(path) == printing_of(tmp_path / "data/test/v0.tif")
    assert errors(lint_answer(out, competition, tmp_path / "data")) == []
    folder = contract(".tif", ".tif", pack="folder")
    plain = write(folder, tmp_path / "data", tmp_path / "plain")
    tifffile.imwrite(plain / "v1.tif", volume(1).astype(np.uint8) * 3, photometric="minisblack")
    (found,) = errors(lint_answer(plain, folder, tmp_path / "data"))
    assert "v1.tif: its resolution and spacing are" in found.cause


def test_formats_change_with_the_spacing_that_is_known(tmp_path: Path) -> None:
    host(tmp_path / "data", ".nii.gz")
    out = write(contract(".tif", ".nii.gz"), tmp_path / "data", tmp_path / "submission.zip")
    assert errors(lint_answer(out, contract(".tif", ".nii.gz"), tmp_path / "data")) == []
    with PackedFiles(out).file("v0.tif") as path:
        np.testing.assert_array_equal(tifffile.imread(path), volume(0).astype(np.uint8) * 3)
    host(tmp_path / "other", ".tif")
    competition = contract(".nii", ".tif")
    packed = write(competition, tmp_path / "other", tmp_path / "other.zip")
    assert errors(lint_answer(packed, competition, tmp_path / "other")) == []
    with PackedFiles(packed).file("v0.nii") as path:
        np.testing.assert_array_equal(np.asarray(nibabel.load(path).dataobj).transpose(2, 1, 0), volume(0) * 3)


def test_a_picture_a_slice_of_a_volume(tmp_path: Path) -> None:
    host(tmp_path / "data", ".tif")
    competition = rle_contract(
        images={"kind": "volumes", "train": "train/{id}.tif", "test": "test/{id}.tif"}, tables=[], group=None,
        submission={"kind": "images", "files": {"path": "{id}/{z:03d}.png"}},
    )  # fmt: skip
    out = write(competition, tmp_path / "data", tmp_path / "submission.zip")
    with zipfile.ZipFile(out) as packed:
        assert packed.namelist()[5:] == [f"v1/{z:03d}.png" for z in range(5)]
    assert errors(lint_answer(out, competition, tmp_path / "data")) == []
    assert score_submission(competition, out, out, tmp_path / "data").score == 1
    through = answer_of(competition).through({"image_id": "v0"}, Segmentation(volume(0)[None]))
    np.testing.assert_array_equal(through.planes[0], volume(0))


def test_int32_keeps_the_resolution_of_an_imagej_stack_and_the_linter_asks_for_no_more(tmp_path: Path) -> None:
    host(tmp_path / "data", ".tif")
    competition = contract(".tif", ".tif", pack="folder", dtype="int32")
    out = write(competition, tmp_path / "data", tmp_path / "submission")
    with tifffile.TiffFile(out / "v0.tif") as tiff:
        assert tiff.asarray().dtype == np.int32 and tiff.pages[0].tags["XResolution"].value == (4, 1)  # type: ignore[union-attr]
    assert errors(lint_answer(out, competition, tmp_path / "data")) == []


def test_what_a_solution_marks_as_void_is_not_scored(tmp_path: Path) -> None:
    host(tmp_path / "data", ".tif")
    competition = contract(".tif", ".tif", pack="folder")
    out = write(competition, tmp_path / "data", tmp_path / "submission")
    solution = tmp_path / "solution"
    solution.mkdir()
    for number in range(2):
        label = volume(number).astype(np.uint8) * 3
        label[0], label[1, 2] = 9, 9
        options = {"resolution": (4.0, 4.0), "metadata": {"axes": "ZYX", "spacing": 0.5, "unit": "um"}}
        tifffile.imwrite(solution / f"v{number}.tif", label, imagej=True, **options)
    assert score_submission(competition, out, solution, tmp_path / "data").score == 1
    assert "pixel values 9" in str(errors(lint_answer(solution, competition, tmp_path / "data"))[0])
    through = answer_of(competition).through({"image_id": "v0"}, Segmentation(volume(0)[None]))
    np.testing.assert_array_equal(through.planes[0], volume(0))


def test_a_volume_that_cannot_be_read_is_empty(tmp_path: Path) -> None:
    host(tmp_path / "data", ".tif")
    competition = contract(".tif", ".tif")
    images = ListedImages(competition, tmp_path / "data", list_images(competition, tmp_path / "data", "test")[0])
    (tmp_path / "data/test/v1.tif").write_bytes(b"cut")
    out = tmp_path / "submission.zip"
    with answer_of(competition).begin(out, images) as writer:
        writer.add(images.row("v0"), Segmentation(volume(0)[None]))
        writer.add_empty("v1")
        writer.finish()
    with PackedFiles(out).file("v1.tif") as path:
        empty = tifffile.imread(path)
    assert empty.shape == SHAPE and not empty.any()


def slices_contract(path: str = "out/{stack}.tif", **more: object) -> Competition:
    return rle_contract(
        images={"train": "train/{part}/{z:d}.png", "test": "test/{part}/{z:d}.png", "id": "{part}_{z}",
                "stack": "{part}", "z": "{z}"},
        tables=[], group=None,
        masks={"kind": "images", "path": "labels/{part}/{z}.png", "values": {0: [], 3: "thing"}},
        submission={"kind": "volumes", "files": {"path": path, "values": {"thing": 3}, **more}},
    )  # fmt: skip


def slices_host(folder: Path) -> None:
    """Stacks of five and three slices, named so that sorting as text would mix them up."""
    for part, count in (("a", 5), ("b", 3)):
        (folder / f"test/{part}").mkdir(parents=True)
        for k in range(count):
            pixels = (np.random.default_rng(k).integers(0, 60, SHAPE[1:]) + 150 * volume(0)[k]).astype(np.uint8)
            assert cv2.imwrite(str(folder / f"test/{part}/{8 + k}.png"), pixels)


def write_slices(competition: Competition, data: Path, out: Path, *, fail: str = "", order: int = 1) -> Path:
    images = ListedImages(competition, data, list_images(competition, data, "test")[0])
    with answer_of(competition).begin(out, images) as writer:
        for name in images.ids[::order]:
            k = int(name.split("_")[1]) - 8
            if name != fail:
                writer.add(images.row(name), Segmentation(volume(0)[None, k : k + 1]))
        if fail:
            writer.add_empty(fail)
        written = writer.finish()
    assert (written.count, len(written.image_ids)) == (2, 8)
    return out


@pytest.mark.parametrize("ending", [".tif", ".nii.gz"])
def test_slices_are_gathered_into_a_file_a_stack(tmp_path: Path, ending: str) -> None:
    slices_host(tmp_path / "data")
    competition = slices_contract(f"out/{{stack}}{ending}")
    assert check_answer(competition, tmp_path / "data") == []
    out = write_slices(competition, tmp_path / "data", tmp_path / "submission.zip")
    packed = PackedFiles(out)
    assert packed.names == [f"out/a{ending}", f"out/b{ending}"]
    for name, depth in (("a", 5), ("b", 3)):
        with packed.file(f"out/{name}{ending}") as path:
            read = open_mask(path)
            assert read.shape[:3] == (depth, *SHAPE[1:]) and read.dtype == np.uint8
            np.testing.assert_array_equal([read.read(z)[..., 0] for z in range(depth)], volume(0)[:depth] * 3)
            read.close()
    assert lint_answer(out, competition, tmp_path / "data") == []
    assert score_submission(competition, out, out, tmp_path / "data").score == 1
    again = write_slices(competition, tmp_path / "data", tmp_path / "again.zip", order=-1)
    assert sorted(PackedFiles(again).names) == packed.names  # whichever slice comes first
    failed = write_slices(competition, tmp_path / "data", tmp_path / "failed.zip", fail="a_10")
    with PackedFiles(failed).file(f"out/a{ending}") as path:
        read = open_mask(path)
        assert [bool(read.read(z).any()) for z in range(5)] == [True, True, False, True, True]
        read.close()
    expected = np.mean([2 / (1 + 1) if k != 2 else 0 for k in range(5)] + [1] * 3)
    assert score_submission(competition, failed, out, tmp_path / "data").score == pytest.approx(expected)
    draw_submission(competition, out, tmp_path / "data", ["b_10"], tmp_path / "x.png")
    through = answer_of(competition).through({"image_id": "a_9", "stack": "a"}, Segmentation(volume(0)[None, 1:2]))
    np.testing.assert_array_equal(through.planes, volume(0)[None, 1:2])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "again.zip",
        "data",
        "failed.zip",
        "submission.zip",
        "x.png",
    ]


def test_stacks_that_make_no_volume_and_volumes_that_are_none_are_named(tmp_path: Path) -> None:
    slices_host(tmp_path / "data")
    out = write_slices(slices_contract(pack="folder"), tmp_path / "data", tmp_path / "given")
    tifffile.imwrite(out / "out/a.tif", volume(0)[:4].astype(np.uint8) * 3, photometric="minisblack")
    (found,) = errors(lint_answer(out, slices_contract(pack="folder"), tmp_path / "data"))
    assert "out/a.tif: (4, 16, 22) (slices, height, width), expected (5, 16, 22)" in found.cause
    with pytest.raises(ValueError, match=r"expected \(5, 16, 22\)"):
        score_submission(slices_contract(pack="folder"), out, out, tmp_path / "data")
    for path, words in (("{id}.tif", "stack a has the files 'a_8.tif' and 'a_9.tif'"), ("x.tif", "of a and of b")):
        assert words in str(check_answer(slices_contract(path), tmp_path / "data")[0])
    (tmp_path / "data/test/a/9.png").unlink()
    (problem,) = check_answer(slices_contract(), tmp_path / "data")
    assert "stack a: found z that goes from 8 to 10" in str(problem)
    assert cv2.imwrite(str(tmp_path / "data/test/a/9.png"), np.zeros((9, 7), np.uint8))
    (problem,) = check_answer(slices_contract(), tmp_path / "data")
    assert "slices of 9 x 7 and 16 x 22 pixels" in str(problem)
    with pytest.raises(ValueError, match=r"a slice of \(9, 7\) pixels, the others of its stack have \(16, 22\)"):
        images = ListedImages(
            slices_contract(), tmp_path / "data", list_images(slices_contract(), tmp_path / "data", "test")[0]
        )
        with answer_of(slices_contract()).begin(tmp_path / "x.zip", images) as writer:
            writer.add(images.row("a_8"), Segmentation(volume(0)[None, :1]))
            writer.add(images.row("a_9"), Segmentation(np.zeros((1, 1, 9, 7), bool)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "given"]
    with pytest.raises(ValueError, match=r"or images\.stack and images\.z"):
        rle_contract(submission={"kind": "volumes", "files": {"path": "{id}.tif"}})
