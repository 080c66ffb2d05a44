"""Masks of slices in the folder beside them: by name where names fit, and else by their order, where both count."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_dicom import write_series
from drawn_series import SERIES_SHAPE, draw_scan, ground_of_slices

from submissions.guess.first_contract import draft_contract, write_first_contract
from submissions.host.competition import load_competition
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader

pytest.importorskip("pydicom")


@pytest.mark.parametrize("named_alike", [False, True])
def test_masks_beside_slices_belong_to_them_in_their_order(tmp_path: Path, named_alike: bool) -> None:
    host = tmp_path / "host"
    ground_of_slices(host, named_alike=named_alike)
    competition = load_competition(write_first_contract(host, out=tmp_path / "host.yaml"))
    series = "MR/{folder1}/T2SPIR" if named_alike else "CT/{folder1}"
    name = "{id}" if named_alike else "liver_GT_{rank:03d}"
    assert competition.masks.path == f"Train_Sets/{series}/Ground/{name}.png"
    said = (tmp_path / "host.yaml").read_text(encoding="utf-8")
    assert ("the first mask of a folder is taken for that of the first image" in said) != named_alike
    images = competition.images
    assert images.test is not None and images.test.startswith(f"Test_Sets/{series}/DICOM_anon/")
    assert (images.stack, images.z) == ((None, None) if named_alike else ("{folder1}", "{rank}"))
    listing, problems = list_images(competition, host, "train")
    assert problems == [] and len(listing) == 36 and competition.group == "folder1"
    reader = MaskReader(competition, host)
    for row in listing.to_dict("records"):
        stem, number = Path(row["path"]).stem, int(row["folder1"]) - 1
        z = int(stem[1:5]) if stem.startswith("i") else int(stem[-5:]) - 1
        label, planes = draw_scan(number)[1][z], reader.read(row, (1, *SERIES_SHAPE[1:])).planes[:, 0]
        for value, plane in enumerate(planes, start=not named_alike):
            np.testing.assert_array_equal(plane, label == value)


@pytest.mark.parametrize(
    ("change", "path"),
    [("first is 1", "liver_GT_{rank1:03d}"), ("first is 2", ""), ("one lacks", ""), ("a gap", ""), ("two numbers", "")],
)
def test_order_counts_only_where_nothing_lacks(tmp_path: Path, change: str, path: str) -> None:
    ground_of_slices(tmp_path)
    for folder in sorted((tmp_path / "Train_Sets/CT").iterdir()):
        masks, slices = (sorted((folder / kind).iterdir()) for kind in ("Ground", "DICOM_anon"))
        if change.startswith("first"):
            for k, mask in reversed(list(enumerate(masks))):
                mask.rename(mask.with_name(f"liver_GT_{k + int(change[-1]):03d}.png"))
        elif change == "one lacks":
            masks[-1].unlink()
        elif change == "a gap":
            slices[-1].rename(slices[-1].with_name(slices[-1].name.replace("8", "9").replace("00009", "00010")))
        else:
            slices[-1].rename(
                slices[-1].with_name("i0009,0001b.dcm" if "i00" in slices[-1].name else "IMG-0009-00001.dcm")
            )
    found = draft_contract(tmp_path, "host").sections["masks"]["path"]
    assert found == (f"Train_Sets/CT/{{folder1}}/Ground/{path}.png" if path else "masks/{id}.png")


def test_masks_of_another_sequence_are_none_of_these_slices(tmp_path: Path) -> None:
    """CHAOS: T1DUAL has masks too, of slices in a folder deeper."""
    ground_of_slices(tmp_path / "host", named_alike=True)
    for number in range(1, 7):
        part = f"{'Train' if number < 5 else 'Test'}_Sets/MR/{number}"
        names = [f"IMG-0009-{k:05d}.dcm" for k in range(9)]
        write_series(tmp_path / f"host/{part}/T1DUAL/DICOM_anon/InPhase", draw_scan(number)[0], names=names)
        for name in names if number < 5 else ():
            path = tmp_path / f"host/{part}/T1DUAL/Ground/{name.replace('dcm', 'png')}"
            path.parent.mkdir(exist_ok=True)
            assert cv2.imwrite(str(path), draw_scan(number)[1][0] * 63)
    competition = load_competition(write_first_contract(tmp_path / "host", out=tmp_path / "host.yaml"))
    assert competition.images.train == "Train_Sets/MR/{folder1}/T2SPIR/DICOM_anon/{id}.dcm"
    assert competition.images.test == "Test_Sets/MR/{folder1}/T2SPIR/DICOM_anon/{id}.dcm"
    assert competition.masks.path == "Train_Sets/MR/{folder1}/T2SPIR/Ground/{id}.png"
    assert list_images(competition, tmp_path / "host", "train")[1] == []
