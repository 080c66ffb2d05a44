"""The codec on the hosts' own tables, and against pycocotools."""

from __future__ import annotations

import base64
import json
import zlib

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from submissions.rle import codec as rle
from submissions.rle.codec import DIALECTS

coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed (extra 'dev')")
KAGGLE = DIALECTS["kaggle"]


def read_table(path, **options):
    return pd.read_csv(path, dtype=str, keep_default_na=False, **options)


@settings(max_examples=150, deadline=None)
@given(mask=hnp.arrays(np.bool_, st.tuples(st.integers(1, 23), st.integers(1, 31))))
def test_pycocotools_agrees_both_ways(mask):
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert rle.encode(mask, DIALECTS["coco_compressed"]) == theirs["counts"].decode()
    for text in (theirs["counts"], theirs["counts"].decode()):
        np.testing.assert_array_equal(rle.decode(text, mask.shape, DIALECTS["coco_compressed"]), mask)
    counts = json.loads(rle.encode(mask, DIALECTS["coco"]))
    assert coco.frPyObjects({"size": list(mask.shape), "counts": counts}, *mask.shape)["counts"] == theirs["counts"]
    packed = rle.encode(mask, DIALECTS["coco_zlib"])
    assert zlib.decompress(base64.b64decode(packed)) == theirs["counts"]
    np.testing.assert_array_equal(rle.decode(packed, mask.shape, DIALECTS["coco_zlib"]), mask)


def test_pycocotools_agrees_on_large_counts():
    mask = np.zeros((3000, 2001), bool)
    mask[1500:, 700:] = True
    mask[-1, -1] = mask[0, 0] = mask[5, 1999] = True
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert rle.encode(mask, DIALECTS["coco_compressed"]) == theirs["counts"].decode()
    np.testing.assert_array_equal(rle.decode(theirs["counts"], mask.shape, DIALECTS["coco_compressed"]), mask)


def test_every_tgs_row_is_its_png_and_its_own_text(shared_data):
    table = read_table(shared_data / "tgs-salt" / "train.csv")
    assert len(table) == 3200
    for image_id, text in zip(table["id"], table["rle_mask"], strict=True):
        drawn = cv2.imread(str(shared_data / "tgs-salt/train/masks" / f"{image_id}.png"), cv2.IMREAD_UNCHANGED)
        mask = rle.decode(text, (101, 101), KAGGLE, where=image_id)
        np.testing.assert_array_equal(mask, drawn > 0, err_msg=image_id)
        assert rle.encode(mask, KAGGLE) == text


def test_siim_areas_are_those_of_a_pneumothorax(shared_data):
    table = read_table(shared_data / "rle" / "siim_pneumothorax_train.csv")
    shape = (1024, 1024)
    areas = np.array([rle.read_runs(text, shape, DIALECTS["siim"])[:, 1].sum() for text in table["EncodedPixels"]])
    assert ((areas > 0) == (table["target"] == "1")).all()
    share = areas[areas > 0] / 1024**2
    assert 0.005 < np.median(share) < 0.02 and share.max() < 0.2
    for text in table["EncodedPixels"].iloc[::200]:
        mask = rle.decode(text, shape, DIALECTS["siim"])
        assert rle.encode(mask, DIALECTS["siim"]) == text.strip()
        if mask.any():  # the lungs lie away from the frame, and one mask holds a few objects at most
            assert cv2.connectedComponents(mask.astype(np.uint8))[0] - 1 <= 8
            assert not mask[:, [0, -1]].any()


def test_ultrasound_masks_are_whole_in_column_order_and_stripes_in_row_order(shared_data):
    table = read_table(shared_data / "rle" / "ultrasound_nerve_train_masks.csv")
    texts = [text for text in table["pixels"] if text][::40]
    parts = {
        name: np.mean(
            [
                cv2.connectedComponents(m.astype(np.uint8))[0] - 1
                for m in (rle.decode(text, (420, 580), DIALECTS[name]) for text in texts)
            ]
        )
        for name in ("kaggle", "row")
    }
    assert parts["kaggle"] < 1.1 and parts["row"] > 50


def test_hubmap_areas_are_exact_and_texts_come_back(shared_data):
    table = read_table(shared_data / "rle" / "hubmap_hpa_3000x3000.csv.gz")
    shape = (3000, 3000)
    areas = [rle.read_runs(text, shape, KAGGLE)[:, 1].sum() for text in table["rle"]]
    assert areas == table["area"].astype(int).tolist()
    for text in table["rle"].iloc[::70]:
        assert rle.encode(rle.decode(text, shape, KAGGLE), KAGGLE) == text


def test_ships_lie_apart_and_come_back(shared_data):
    table = read_table(shared_data / "rle" / "airbus_ships" / "train_ship_segmentations_v2.csv")
    for image_id, rows in table.groupby("ImageId"):
        texts = rows["EncodedPixels"].tolist()
        label = rle.decode_instances(texts, (768, 768), KAGGLE, where=[f"{image_id}: {t[:20]}" for t in texts])
        assert rle.encode_instances(label, KAGGLE) == [text for text in texts if text]
