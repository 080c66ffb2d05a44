"""A picture of a submission: images beside their masks."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
from drawn_hosts import SHAPE, draw_mask, rle_contract, write_rle_host

from submissions.answers.show import draw_submission
from submissions.table.submission_table import encode_rows


def test_a_submission_is_drawn(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    out = tmp_path / "pictures" / "x.png"
    solution = tmp_path / "solution.csv"
    draw_submission(competition, solution, tmp_path, ["test02", "test00"], out)
    picture = cv2.cvtColor(cv2.imread(str(out)), cv2.COLOR_BGR2RGB).astype(int)
    assert picture.shape == (2 * (22 + SHAPE[0] + 6), 2 * SHAPE[1] + 6, 3)
    greener = picture[22 : 22 + SHAPE[0], -SHAPE[1] :, 1] > picture[22 : 22 + SHAPE[0], -SHAPE[1] :, 0] + 20
    np.testing.assert_array_equal(greener, draw_mask(102))
    wrong = pd.read_csv(solution).assign(rle="1 90")
    wrong.to_csv(tmp_path / "wrong.csv", index=False)
    draw_submission(competition, tmp_path / "wrong.csv", tmp_path, ["test02"], out, solution=solution)
    bluer = cv2.imread(str(out)).astype(int)[22 : 22 + SHAPE[0], -SHAPE[1] :]
    assert (bluer[..., 0] > bluer[..., 2] + 20).any()


def test_classes_and_instances_have_colours(tmp_path: Path) -> None:
    write_rle_host(tmp_path, test=1)
    planes = np.stack([draw_mask(1), draw_mask(2)])
    classes = rle_contract(
        classes=["a", "b"], submission={"rows": "image_class", "class_column": "class", "mask_column": "rle"}
    )
    masks = {"kind": "rle", "table": {"file": "train.csv"}, "column": "rle", "instances": True}
    single = rle_contract(masks=masks, submission={"rows": "instance"})
    label = np.zeros(SHAPE, np.int32)
    label[2:9, 3:9], label[20:30, 20:40] = 1, 2
    for competition, given, instances in ((classes, planes, None), (single, (label > 0)[None], label)):
        rows = encode_rows(competition, {"image_id": "test00"}, given, instances=instances)
        pd.DataFrame(rows).to_csv(tmp_path / "s.csv", index=False)
        draw_submission(competition, tmp_path / "s.csv", tmp_path, ["test00"], tmp_path / "x.png")
        picture = cv2.imread(str(tmp_path / "x.png")).astype(int)[22:-6, -SHAPE[1] :]
        assert (picture[..., 1] > picture[..., 2] + 20).any() and (picture[..., 2] > picture[..., 1] + 20).any()


def test_ids_that_cannot_be_drawn(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    solution, out = tmp_path / "solution.csv", tmp_path / "x.png"
    with pytest.raises(ValueError, match="no id was given"):
        draw_submission(competition, solution, tmp_path, [], out)
    with pytest.raises(ValueError, match="'other': no image with that id"):
        draw_submission(competition, solution, tmp_path, ["other"], out)
    pd.read_csv(solution)[:1].to_csv(tmp_path / "short.csv", index=False)
    with pytest.raises(ValueError, match="'test02' has no row"):
        draw_submission(competition, tmp_path / "short.csv", tmp_path, ["test02"], out)
    assert not out.exists()


def test_a_large_image_is_never_held_whole(tmp_path: Path) -> None:
    write_rle_host(tmp_path, test=0)
    shape = (8000, 6000)
    tifffile.imwrite(tmp_path / "test" / "big.tif", np.full(shape, 90, np.uint8))
    competition = rle_contract(images={"train": "train/{id}.png", "test": "test/{id}.tif"})
    runs = " ".join(f"{col * 8000 + 1} 4000" for col in range(3000))  # the upper left quarter
    pd.DataFrame({"id": ["big"], "rle": [runs]}).to_csv(tmp_path / "s.csv", index=False)
    tracemalloc.start()
    draw_submission(competition, tmp_path / "s.csv", tmp_path, ["big"], tmp_path / "x.png")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 120e6
    picture = cv2.imread(str(tmp_path / "x.png")).astype(int)[22:-6]
    assert picture.shape == (512, 2 * 384 + 6, 3)
    green = picture[..., 1] > picture[..., 2] + 20
    assert green[:250, 390 : 390 + 190].all() and not green[260:].any() and not green[:, -188:].any()
