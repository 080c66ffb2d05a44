"""The place of a file among those of its folder: 2.png comes before 10.png, and each folder counts for itself."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from drawn_hosts import SHAPE, draw_mask, rle_contract

from submissions.host.listing import list_images
from submissions.host.masks import MaskReader
from submissions.host.ranks import in_order


def test_numbers_in_names_count_by_their_size() -> None:
    assert in_order(["b/1.png", "a/x10.png", "a/x9,1.png", "a/x9,0.png", "a/x.png"]) == [
        "a/x9,0.png", "a/x9,1.png", "a/x10.png", "a/x.png", "b/1.png",
    ]  # fmt: skip


def test_places_name_masks_and_slices(tmp_path: Path) -> None:
    competition = rle_contract(
        images={"train": "{case}/scan/{name}.png", "id": "{case}_{name}", "stack": "{case}", "z": "{rank1}"},
        masks={"kind": "images", "path": "{case}/truth/m{rank:02d}.png"}, tables=[], group=None, submission=None,
    )  # fmt: skip
    for case, first in (("a", 8), ("b", 98)):
        for k in range(4):
            for path, pixels in ((f"scan/s{first + k}.png", draw_mask(9)), (f"truth/m{k:02d}.png", draw_mask(k))):
                (tmp_path / case / path).parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(tmp_path / case / path), pixels.astype(np.uint8) * 255)
    listing, problems = list_images(competition, tmp_path, "train")
    assert problems == [] and sorted(listing["z"]) == [1, 1, 2, 2, 3, 3, 4, 4]
    reader = MaskReader(competition, tmp_path)
    for row in listing.to_dict("records"):
        k = int(row["name"][1:]) - (8 if row["case"] == "a" else 98)
        np.testing.assert_array_equal(reader.read(row, (1, *SHAPE)).planes[0, 0], draw_mask(k))
    (tmp_path / "b/scan/s100.png").unlink()
    problems = list_images(competition, tmp_path, "train")[1]
    assert [problem.where for problem in problems] == ["b/truth/m03.png"]
