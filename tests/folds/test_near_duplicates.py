"""Descriptors, candidates and verification on drawn scenes with known places."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from folds.candidates import Candidates, candidate_pairs
from folds.descriptors import (
    layout_descriptors,
    spectrum_descriptor,
    turned,
    window_descriptors,
    zoom_boxes,
    zoom_descriptors,
)
from folds.near_duplicates import (
    best_shifts,
    detail,
    enlarged,
    find_near_duplicates,
    has_contrast,
    measure_pairs,
    overlap_correlation,
)


def draw_scene(rng: np.random.Generator, shape: tuple[int, int] = (100, 110)) -> np.ndarray:
    """Grey levels with structure at every size, float64."""
    ky, kx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]
    spectrum = (np.hypot(ky, kx) + 0.01) ** -1.2 * np.exp(-((np.hypot(ky, kx) / 0.2) ** 2))
    image = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * spectrum, s=shape)
    return 120 + 35 * image / image.std()


def as_thumbnail(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def views(scene: np.ndarray, *corners: tuple[int, int]) -> np.ndarray:
    return np.stack([as_thumbnail(scene[y : y + 64, x : x + 64]) for y, x in corners])


def drawn(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([views(draw_scene(rng), (0, 0)) for _ in range(count)])


def test_the_found_shift_is_the_drawn_shift() -> None:
    scene = draw_scene(np.random.default_rng(1))
    a, b = views(scene, (5, 20), (17, 3))
    fine, _ = detail(np.stack([a, b]))
    shift = best_shifts(fine[:1], fine[1:])
    assert shift.tolist() == [[-12, 17]]
    whole = Candidates(np.array([[0, 1]]), np.array([0]), np.array([[0, 0, 64, 64]]))
    row = measure_pairs(np.stack([a, b]), whole).iloc[0]
    assert (row["shift_rows"], row["shift_cols"]) == (-12, 17)
    assert row["detail"] > 0.85 and row["layout"] > 0.99


def test_overlap_correlation_equals_the_slow_one() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(3, 64, 64)).astype(np.float32), rng.normal(size=(3, 64, 64)).astype(np.float32)
    shifts = np.array([[0, 0], [5, -20], [-26, 3]])
    b[1] = np.roll(a[1], (5, -20), axis=(0, 1)) + b[1]
    expected = []
    for one, two, (down, right) in zip(a, b, shifts, strict=True):
        pairs = [
            (one[y, x], two[y + down, x + right])
            for y in range(64)
            for x in range(64)
            if 0 <= y + down < 64 and 0 <= x + right < 64
        ]
        expected.append(np.corrcoef(np.array(pairs).T)[0, 1])
    np.testing.assert_allclose(overlap_correlation(a, b, shifts), expected, atol=1e-5)
    assert overlap_correlation(np.zeros_like(a), b, shifts).tolist() == [0, 0, 0]


def test_exposure_and_shifts_are_found_and_nothing_else() -> None:
    rng = np.random.default_rng(3)
    thumbnails = [drawn(60, seed=4)]
    planted = []
    for shift in ((0, 0), (0, 6), (9, 9), (-20, 15), (20, 20)):
        scene = draw_scene(rng)
        y, x = max(-shift[0], 0), max(-shift[1], 0)
        pair = views(scene, (y, x), (y + shift[0], x + shift[1]))
        pair[1] = as_thumbnail(0.7 * pair[1] + 20 + rng.normal(0, 1.5, (64, 64)))
        start = sum(map(len, thumbnails))
        planted.append((start, start + 1, -shift[0], -shift[1]))
        thumbnails.append(pair)
    found = find_near_duplicates(np.concatenate(thumbnails))
    assert found[["a", "b", "shift_rows", "shift_cols"]].to_numpy().tolist() == [list(row) for row in planted]
    assert found["kind"].tolist() == ["near", *["shifted"] * 4]


@pytest.mark.parametrize("turn", range(1, 8))
def test_turned_and_mirrored_copies_are_found(turn: int) -> None:
    others, copy = drawn(30, seed=20 + turn), drawn(1, seed=20 + turn)
    darker = as_thumbnail(0.7 * turned(copy, turn) + 20)
    found = find_near_duplicates(np.concatenate([others, darker]))
    assert found[["a", "b", "kind"]].to_numpy().tolist() == [[0, 30, "turned"]]


@pytest.mark.parametrize(
    ("size", "place"), [((58, 58), (6, 3)), ((52, 52), (0, 11)), ((46, 46), (17, 5)), ((64, 50), (0, 9))]
)
def test_a_magnified_part_is_found(size: tuple[int, int], place: tuple[int, int]) -> None:
    others = drawn(30, seed=30)
    part = enlarged(others[:1], np.array([[*place, *size]]))
    found = find_near_duplicates(np.concatenate([as_thumbnail(0.8 * part + 10), others]))
    assert found[["a", "b", "kind"]].to_numpy().tolist() == [[0, 1, "rescaled"]]


def lookalikes(count: int) -> np.ndarray:
    """Thumbnails of strokes of their own in a bright disc with a dark ring and a bar that all have."""
    rng = np.random.default_rng(12)
    rows, cols = np.mgrid[:64, :64]
    away = np.hypot(rows - 31.5, cols - 31.5)
    frame = 110.0 * (away < 29) - 60 * (np.abs(away - 20) < 1) + 80 * ((rows > 58) & (cols < 12) & (rows < 61))
    images = []
    for _ in range(count):
        strokes = np.zeros((64, 64))
        for row, col in rng.integers(14, 44, (10, 2)):
            down, right = rng.integers(1, 9, 2)
            strokes[row : row + down, col : col + right] = rng.uniform(20, 40)
        images.append(as_thumbnail(frame + strokes * (away < 27) + rng.normal(0, 1.5, (64, 64))))
    return np.stack(images)


@pytest.mark.parametrize("count", [12, 40, 150])
def test_what_all_images_have_in_common_is_no_evidence(count: int) -> None:
    images = lookalikes(count)
    brighter = as_thumbnail(1.3 * images[:3] + 5)
    found = find_near_duplicates(np.concatenate([images, brighter]))
    assert found[["a", "b"]].to_numpy().tolist() == [[0, count], [1, count + 1], [2, count + 2]]
    assert set(found["kind"]) == {"near"}


def test_flat_images_match_nothing() -> None:
    flat = np.full((40, 64, 64), 7, dtype=np.uint8)
    flat[20:] = 0
    thumbnails = np.concatenate([flat, drawn(3)])
    assert has_contrast(thumbnails).sum() == 3
    assert find_near_duplicates(thumbnails).empty
    assert find_near_duplicates(flat).empty


def test_one_bright_line_on_a_dull_ground_is_no_evidence() -> None:
    thumbnails = np.full((6, 64, 64), 90, dtype=np.uint8)
    for number, row in enumerate((4, 14, 24, 35, 46, 57)):
        thumbnails[number, row : row + 3] = 200
    assert find_near_duplicates(thumbnails).empty


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_images(count: int) -> None:
    thumbnails = drawn(2)[:count]
    assert candidate_pairs(thumbnails).pairs.shape[1] == 2
    assert find_near_duplicates(thumbnails).empty


def test_more_copies_than_partners_hang_together() -> None:
    one = drawn(1)
    rng = np.random.default_rng(5)
    copies = np.concatenate([as_thumbnail(one + rng.normal(0, 2, one.shape)) for _ in range(30)])
    found = find_near_duplicates(np.concatenate([copies, drawn(20, seed=9)]))
    assert found["b"].max() < 30
    linked = {0}
    for _ in range(30):
        for a, b in zip(found["a"], found["b"], strict=True):
            linked |= {a, b} if linked & {a, b} else set()
    assert linked == set(range(30))


def test_descriptors_have_unit_rows_and_forget_exposure() -> None:
    thumbnails = drawn(20)
    darker = as_thumbnail(0.5 * thumbnails + 10)
    views = layout_descriptors(np.concatenate([thumbnails, darker]))
    assert len(views) == 8 and views[0].shape == (40, 96) and views[0].dtype == np.float32
    for view in (*views, spectrum_descriptor(thumbnails)):
        np.testing.assert_allclose(np.linalg.norm(view, axis=1), 1, atol=1e-5)
    assert (views[0][:20] * views[0][20:]).sum(axis=1).min() > 0.95


def test_a_turned_copy_has_the_layout_of_the_first_turned() -> None:
    thumbnails = drawn(12)
    for turn in range(8):
        both = np.concatenate([thumbnails, turned(thumbnails, turn)])
        views = layout_descriptors(both)
        inverse = next(i for i in range(8) if np.array_equal(turned(turned(thumbnails, turn), i), thumbnails))
        np.testing.assert_allclose(views[0][:12], views[inverse][12:], atol=1e-3)


def test_enlarged_equals_the_slow_one() -> None:
    image = drawn(1)[0].astype(float)
    top, left, height, width = 3, 10, 50, 44
    slow = np.empty((64, 64))
    for i in range(64):
        for j in range(64):
            y, x = top + (i + 0.5) * height / 64 - 0.5, left + (j + 0.5) * width / 64 - 0.5
            y0, x0 = int(y), int(x)
            corner = image[y0 : y0 + 2, x0 : x0 + 2]
            slow[i, j] = np.array([1 - y + y0, y - y0]) @ corner @ np.array([1 - x + x0, x - x0])
    np.testing.assert_allclose(enlarged(image[None], np.array([[top, left, height, width]]))[0], slow, atol=1e-3)


def test_an_enlarged_box_looks_like_the_whole_of_its_enlargement() -> None:
    thumbnails = drawn(12, seed=8)
    boxes = zoom_boxes()
    assert ((boxes[:, :2] + boxes[:, 2:]).max(axis=0) <= 64).all() and len(np.unique(boxes, axis=0)) == len(boxes)
    number = int(np.flatnonzero((boxes == [4, 8, 52, 52]).all(axis=1))[0])
    part = as_thumbnail(enlarged(thumbnails[:1], boxes[[number]]))
    windows, whole = zoom_descriptors(np.concatenate([thumbnails, part]))
    assert windows.shape == (len(boxes), 13, 32) and whole.shape == (1, 13, 32)
    cosines = np.einsum("d,pnd->pn", whole[0, 12], windows[:, :12])
    assert np.unravel_index(cosines.argmax(), cosines.shape) == (number, 0)


def test_a_lower_corner_is_a_window_of_the_moved_image() -> None:
    scene = draw_scene(np.random.default_rng(6))
    thumbnails = np.concatenate([views(scene, (0, 0), (8, 16)), drawn(10, seed=7)])
    windows, corners = window_descriptors(thumbnails)
    assert windows.shape == (49, 12, 32) and corners.shape == (2, 12, 32)
    cosines = np.einsum("d,pnd->pn", corners[1, 0], windows)
    assert np.unravel_index(cosines[:, 1:].argmax(), (49, 11)) == (4 * 7 + 2, 0)


def test_progress_rises_to_all_images() -> None:
    thumbnails = np.random.default_rng(8).integers(0, 255, (9, 64, 64)).astype(np.uint8)
    told: list[tuple[int, int]] = []
    found = find_near_duplicates(thumbnails, progress=lambda done, total: told.append((done, total)))
    pd.testing.assert_frame_equal(found, find_near_duplicates(thumbnails))
    assert told == sorted(told) and told[-1] == (9, 9) and len(told) >= 2
