"""What a table tells about its dialect, and where it must say 'unknown'."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest

from submissions.guess.rle_dialect import Detection, detect_dialect
from submissions.rle import codec as rle
from submissions.rle.codec import DIALECTS, Dialect
from submissions.rle.reading_order import order_votes, sign_test

WIDE = (60, 83)


def objects(shape: tuple[int, int], seed: int, *, at_border: bool) -> np.ndarray:
    """A few ellipses, cut off by the border or away from it."""
    rng = np.random.default_rng(seed)
    canvas = np.zeros(shape, np.uint8)
    for _ in range(3):
        margin = 0 if at_border else 16
        center = [int(rng.integers(margin, side - margin)) for side in shape[::-1]]
        cv2.ellipse(canvas, center, [int(v) for v in rng.integers(6, 14, 2)], int(rng.integers(180)), 0, 360, 1, -1)
    return canvas > 0


def drawn(shape: tuple[int, int] = WIDE, n: int = 90, *, at_border: bool = True) -> list[np.ndarray]:
    return [objects(shape, seed, at_border=at_border) for seed in range(n)]


def encoded(masks: list[np.ndarray], dialect: Dialect) -> list[str]:
    return [rle.encode(mask, dialect) for mask in masks]


@pytest.mark.parametrize("shape", [WIDE, WIDE[::-1]])
@pytest.mark.parametrize(
    "dialect",
    [Dialect(order=order, base=base) for order in ("column", "row") for base in (0, 1)]
    + [Dialect(kind="relative"), Dialect(kind="relative", order="row"), *list(DIALECTS.values())[3:]],
    ids=lambda d: f"{d.kind}-{d.order}-{d.base}",
)
def test_each_dialect_is_recognised(dialect, shape):
    masks = [*drawn(shape), np.zeros(shape, bool)]
    found = detect_dialect(encoded(masks, dialect), shape)
    assert found.dialect() == dialect, found.reasons
    assert min(found.confidence[name] for name in ("kind", "order", "base")) > 0.99


def test_one_large_mask_is_enough_for_kind_and_order():
    mask = np.kron(objects((60, 83), 0, at_border=False), np.ones((9, 9), bool))
    found = detect_dialect([rle.encode(mask, DIALECTS["row"])], mask.shape)
    assert (found.kind, found.order, found.base, found.empty) == ("absolute", "row", "unknown", "unknown")


def test_a_square_table_does_not_tell_its_order_and_images_do():
    masks = drawn((80, 80))
    images = [cv2.GaussianBlur(np.where(mask, 200, 40).astype(np.uint8), (0, 0), 1) for mask in masks]
    for order in ("column", "row"):
        texts = encoded(masks, Dialect(order=order))
        blind = detect_dialect(texts, (80, 80))
        assert blind.order == "unknown" and "only the images can" in " ".join(blind.reasons)
        assert detect_dialect(texts, (80, 80), images=images).order == order
    noise = [np.random.default_rng(i).integers(0, 255, (80, 80), np.uint8) for i in range(len(masks))]
    assert detect_dialect(texts, (80, 80), images=noise).order == "unknown"


def test_objects_away_from_the_border_do_not_tell_the_base():
    found = detect_dialect(encoded(drawn(at_border=False), Dialect()), WIDE)
    assert (found.kind, found.order, found.base) == ("absolute", "column", "unknown")
    with pytest.raises(ValueError, match="the table does not say base, empty: pass it, e"):
        found.dialect()
    assert found.dialect(base=1, empty="-1") == Dialect(empty="-1")


def test_the_base_of_a_square_table_is_told_by_its_border():
    for base in (0, 1):
        found = detect_dialect(encoded(drawn((70, 70)), Dialect(base=base)), (70, 70))
        assert (found.base, found.order) == (base, "unknown")


@pytest.mark.parametrize("empty", ["", "-1", "-", "1 0"])
def test_the_spelling_of_empty_is_counted(empty):
    masks = [*drawn(n=8), *[np.zeros(WIDE, bool)] * 5]
    found = detect_dialect(encoded(masks, Dialect(empty=empty)), WIDE)
    assert found.empty == empty and found.confidence["empty"] == 1.0
    assert f"5 of 13 rows are {empty!r}" in found.reasons[0]


def test_two_spellings_of_empty_are_both_reported():
    found = detect_dialect(["-1", " -1", None], WIDE)
    assert found.empty == "-1" and "beside ['']" in found.reasons[0]


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["5 3"] * 9, "fit each of ['absolute', 'relative']"),
        (["a mask"] * 3, "no grammar fits all 3 masks"),
        (["5 3 9 1", "5 3 7"], "absolute fits 1"),
        ([], "no grammar fits all 0 masks"),
    ],
)
def test_texts_that_fit_several_grammars_or_none_are_unknown(texts, says):
    found = detect_dialect(texts, WIDE)
    assert (found.kind, found.order, found.base) == ("unknown",) * 3
    assert says in " ".join(found.reasons)


def test_masks_without_lines_side_by_side_do_not_tell_the_order():
    dots = [np.random.default_rng(i).random(WIDE) > 0.97 for i in range(8)]
    assert detect_dialect(encoded(dots, Dialect()), WIDE).order == "unknown"


def test_lists_of_different_length_are_refused():
    with pytest.raises(ValueError, match="1 shapes for 2 texts"):
        detect_dialect(["", ""], [(3, 4)])
    with pytest.raises(ValueError, match="1 images for 2 texts"):
        detect_dialect(["", ""], (3, 4), images=[np.zeros((3, 4))])


def test_order_votes_are_a_difference_of_painted_overlaps():
    mask = objects((41, 57), 5, at_border=True)
    runs = rle.read_runs(rle.encode(mask, Dialect()), mask.shape, Dialect())
    flat = mask.T.ravel()
    share = {lag: (flat[:-lag] & flat[lag:]).sum() / flat.sum() for lag in mask.shape}
    short = [runs[i : i + 1] for i in range(3)]
    assert runs[:, 1].max() < 41
    votes = order_votes(runs, 41, 57)
    weights = [group.sum() for group in np.array_split(runs[:, 1], len(votes))]
    assert np.average(votes, weights=weights) == pytest.approx(share[41] - share[57])
    assert order_votes(runs, 41, 41).size == 0 and order_votes(short[0], 1, 57).size == 0


def test_sign_test_by_hand():
    assert sign_test([]) == (0.0, 0, 0)
    assert sign_test([1, 2, -1, 0]) == (pytest.approx(0.0), 2, 1)
    assert sign_test([1.0] * 8) == (pytest.approx(1 - 2 / 256), 8, 0)


def test_detections_of_real_tables(shared_data):
    def column(name: str, which: str) -> list[str]:
        return pd.read_csv(shared_data / name, dtype=str, keep_default_na=False)[which].tolist()

    def parts(found: Detection) -> tuple[object, ...]:
        return found.kind, found.order, found.base, found.empty

    nerve = detect_dialect(column("rle/ultrasound_nerve_train_masks.csv", "pixels"), (420, 580))
    assert parts(nerve) == ("absolute", "column", "unknown", "")
    siim = detect_dialect(column("rle/siim_pneumothorax_train.csv", "EncodedPixels"), (1024, 1024))
    assert parts(siim) == ("relative", "unknown", 0, "-1")
    salt = detect_dialect(column("tgs-salt/train.csv", "rle_mask"), (101, 101))
    assert parts(salt) == ("absolute", "unknown", 1, "")
