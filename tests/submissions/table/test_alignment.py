"""Drawn scenes with a known answer, scenes with none, and the hosts' own images."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from submissions.rle import codec as rle
from submissions.rle.codec import DIALECTS
from submissions.table import alignment
from submissions.table.alignment import ORIENTATIONS, check_alignment

Pair = tuple[np.ndarray, np.ndarray]
KAGGLE = DIALECTS["kaggle"]
INVERSE = {name: name for name in ORIENTATIONS} | {"rot90": "rot270", "rot270": "rot90"}


def turned(mask: np.ndarray, orientation: str) -> np.ndarray:
    """The mask (H, W) put in an orientation; (W, H) where rows become columns."""
    turns = {"identity": 0, "rot90": 1, "rot180": 2, "rot270": 3}
    if orientation in turns:
        return np.rot90(mask, turns[orientation])
    flips = {"transpose": mask.T, "fliplr": mask[:, ::-1], "flipud": mask[::-1], "transverse": mask[::-1, ::-1].T}
    return flips[orientation]


def scene(shape: tuple[int, int], seed: int) -> Pair:
    """Ellipses of their own colour on a noisy ground, RGB uint8, and the mask of them."""
    rng = np.random.default_rng(seed)
    canvas = np.zeros(shape, np.uint8)
    for _ in range(6):
        center = [int(rng.integers(0, side)) for side in shape[::-1]]
        cv2.ellipse(canvas, center, [int(v) for v in rng.integers(5, 16, 2)], int(rng.integers(180)), 0, 360, 1, -1)
    mask = canvas > 0
    image = rng.normal(120, 12, (*shape, 3)) + 45 * mask[..., None] * [1, 0.5, -0.3]
    return image.clip(0, 255).astype(np.uint8), mask


def scenes(shape: tuple[int, int], n: int = 16) -> list[Pair]:
    return [scene(shape, seed) for seed in range(n)]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_each_turn_of_square_masks_is_named(orientation):
    pairs = [(image, turned(mask, orientation)) for image, mask in scenes((96, 96))]
    found = check_alignment(pairs)
    assert found.winner == INVERSE[orientation]
    assert found.verdict == ("aligned" if orientation == "identity" else "misaligned")
    assert found.confidence > 0.999 and found.images == 16
    assert found.scores[found.winner] == max(found.scores.values())
    assert ORIENTATIONS[found.winner] in found.message


@pytest.mark.parametrize("orientation", ["identity", "rot180", "fliplr", "flipud"])
def test_non_square_masks_are_compared_in_the_orientations_that_fit(orientation):
    found = check_alignment([(image, turned(mask, orientation)) for image, mask in scenes((80, 112))])
    assert found.winner == orientation
    assert {name for name, score in found.scores.items() if np.isnan(score)} == set(alignment.TURNING)


@pytest.mark.parametrize("orientation", ["transpose", "rot90"])
def test_masks_with_height_and_width_swapped_are_misaligned(orientation):
    pairs = [(image, turned(mask, orientation)) for image, mask in scenes((80, 112))]
    found = check_alignment(pairs)
    assert (found.verdict, found.winner) == ("misaligned", INVERSE[orientation])
    assert "height and width of the masks are swapped" in found.message


@pytest.mark.parametrize("shape", [(80, 112), (112, 80)])
@pytest.mark.parametrize(("written", "read"), [("kaggle", "row"), ("row", "kaggle")])
def test_masks_read_in_the_other_order_are_named_so(shape, written, read):
    pairs = [
        (image, rle.decode(rle.encode(mask, DIALECTS[written]), shape, DIALECTS[read])) for image, mask in scenes(shape)
    ]
    found = check_alignment(pairs)
    assert (found.verdict, found.winner) == ("misaligned", "other order")
    assert found.confidence > 0.999 and "change `order` in the dialect" in found.message


def test_a_few_images_with_many_objects_are_enough():
    pairs = scenes((220, 260), 3)
    assert check_alignment(pairs).verdict == "aligned"
    assert check_alignment((image, mask[::-1]) for image, mask in pairs).winner == "flipud"


@pytest.mark.parametrize("shape", [(96, 96), (80, 112)])
def test_masks_of_other_images_are_unknown(shape):
    drawn = scenes(shape, 24)
    for shift in (1, 5, 11):
        pairs = [(drawn[i][0], drawn[(i + shift) % 24][1]) for i in range(24)]
        assert check_alignment(pairs).verdict == "unknown"


def test_noise_is_unknown():
    pairs = [(np.random.default_rng(i).random((64, 90)), scene((64, 90), i)[1]) for i in range(20)]
    found = check_alignment(pairs)
    assert found.verdict == "unknown" and "no orientation fits clearly better" in found.message


def test_the_type_and_scale_of_the_image_do_not_matter():
    pairs = scenes((96, 96))
    scores = check_alignment(pairs).scores
    for change in (
        lambda x: x.astype(np.uint16) * 200,
        lambda x: x.astype(np.float32) / 255 - 3,
        lambda x: x.astype(np.int64) * 7,
    ):
        changed = check_alignment((change(image), mask) for image, mask in pairs)
        assert changed.verdict == "aligned"
        assert changed.scores["identity"] == pytest.approx(scores["identity"], abs=0.02)
    assert check_alignment((image[..., 0], mask) for image, mask in pairs).verdict == "aligned"


def test_large_images_are_reduced(monkeypatch):
    monkeypatch.setattr(alignment, "WORKING_SIDE", 96)
    pairs = [(cv2.resize(x, (336, 240)), np.kron(m, np.ones((3, 3), bool))) for x, m in scenes((80, 112))]
    assert check_alignment(pairs).verdict == "aligned"
    assert check_alignment((image, mask.T) for image, mask in pairs).winner == "transpose"


def test_unusable_pairs_are_passed_over_and_the_sample_is_capped():
    image, mask = scene((60, 70), 0)
    useless = [(image, mask & False), (image, mask | True), (np.zeros_like(image), mask)]
    found = check_alignment(useless)
    assert (found.verdict, found.winner, found.images, found.confidence) == ("unknown", "none", 0, 0.0)
    assert check_alignment([]).verdict == "unknown"
    assert check_alignment(useless + scenes((60, 70), 9), max_images=4).images == 4


@pytest.mark.parametrize(
    ("image", "mask", "says"),
    [
        (np.zeros((4, 5)), np.zeros((4, 5), np.uint8), "mask 0 has dtype uint8"),
        (np.zeros((4, 5)), np.zeros((4, 5, 1), bool), r"shape \(4, 5, 1\): expected bool"),
        (np.zeros((4, 5)), np.zeros((4, 6), bool), r"image 0 has shape \(4, 5\), its mask \(4, 6\)"),
        (np.zeros((2, 4, 5, 3)), np.zeros((2, 4), bool), "image 0 has shape"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(image, mask, says):
    with pytest.raises(ValueError, match=says):
        check_alignment([(image, mask)])


def test_turned_is_the_move_of_every_pixel():
    mask = scene((7, 11), 3)[1]
    mask[1, 2] = True
    for name in ORIENTATIONS:
        there = turned(mask, name)
        row, col = alignment._moved(np.nonzero(mask), mask.shape, name)
        expected = np.zeros(there.shape, bool)
        expected[row, col] = True
        np.testing.assert_array_equal(there, expected)
        np.testing.assert_array_equal(turned(there, INVERSE[name]), mask)


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return image


def salt(data: Path) -> list[Pair]:
    table = pd.read_csv(data / "tgs-salt/train.csv", dtype=str, keep_default_na=False).iloc[::50]
    folder = data / "tgs-salt/train/images"
    rows = zip(table["id"], table["rle_mask"], strict=True)
    return [(read(folder / f"{name}.png"), rle.decode(text, (101, 101), KAGGLE)) for name, text in rows]


def nuclei(data: Path) -> list[Pair]:
    table = pd.read_csv(data / "dsb2018/stage1_train_labels.csv", dtype=str)
    pairs = []
    for name, rows in list(table.groupby("ImageId"))[::30]:
        image = read(data / "dsb2018/stage1_train" / f"{name}.png")[..., :3]
        label = rle.decode_instances(rows["EncodedPixels"].tolist(), image.shape[:2], KAGGLE, overlap="last")
        pairs.append((image, label > 0))
    return pairs


def histology(data: Path) -> list[Pair]:
    images = sorted((data / "monuseg/train/images").iterdir())[::8]
    return [(read(p), read(data / "monuseg/train/masks" / f"{p.stem}.png") > 0) for p in images]


def streets(data: Path) -> list[Pair]:
    images = sorted((data / "camvid/train").iterdir())[::20]
    return [(read(p), read(data / "camvid/trainannot" / f"{p.stem}.png") == 1) for p in images]


def ships(data: Path) -> list[Pair]:
    table = pd.read_csv(data / "rle/airbus_ships/train_ship_segmentations_v2.csv", dtype=str)
    pairs = []
    for path in sorted((data / "rle/airbus_ships/train_data").glob("*.jpg")):
        texts = table.loc[table["ImageId"] == path.name, "EncodedPixels"].tolist()
        pairs.append((read(path), rle.decode_instances(texts, (768, 768), KAGGLE) > 0))
    return pairs


@pytest.mark.parametrize("load", [salt, nuclei, histology, streets, ships])
def test_real_masks_fit_as_they_are_and_turned_ones_are_found_out(load: Callable[[Path], list[Pair]], shared_data):
    pairs = load(shared_data)
    found = check_alignment(pairs)
    assert (found.verdict, found.winner) == ("aligned", "identity"), found.message
    assert found.confidence > 0.999
    for turn in ("transpose", "fliplr"):
        wrong = check_alignment((image, turned(mask, turn)) for image, mask in pairs)
        assert (wrong.verdict, wrong.winner) == ("misaligned", turn), wrong.message
    others = [(a[0], b[1]) for a, b in pairwise(pairs) if a[1].shape == b[1].shape]
    assert check_alignment(others).verdict == "unknown"
