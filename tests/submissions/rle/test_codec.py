"""Round trips of every dialect, in both implementations of the inner loops, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError

from submissions.rle import (
    codec as rle,
)
from submissions.rle import (
    kernels_numba as rle_numba,
)
from submissions.rle import (
    kernels_numpy as rle_numpy,
)
from submissions.rle import (
    scan as rle_scan,
)
from submissions.rle import (
    text as rle_text,
)
from submissions.rle.codec import DIALECTS, Dialect

KAGGLE = DIALECTS["kaggle"]
ALL = [
    *DIALECTS.values(),
    Dialect(base=0, empty="-"),
    Dialect(order="row", empty="1 0"),
    Dialect(empty="missing"),
    Dialect(kind="relative", order="row", empty=""),
    Dialect(kind="coco_compressed", empty="-1"),
]
SHAPES = [(1, 1), (1, 9), (8, 1), (5, 8), (7, 3), (19, 37)]
both = pytest.mark.parametrize("inner", [rle_numba, rle_numpy], ids=["numba", "numpy"])
every = pytest.mark.parametrize("dialect", ALL, ids=lambda d: f"{d.kind}-{d.order}-{d.base}-{d.empty}")
masks = hnp.arrays(np.bool_, st.tuples(st.integers(1, 13), st.integers(1, 21)))


@contextmanager
def inner_loops(module: ModuleType) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for user in (rle, rle_scan, rle_text):
            patch.setattr(user, "kernels", lambda: module)
        yield


def slow_runs(mask: np.ndarray, order: str) -> list[tuple[int, int]]:
    """Pixel by pixel: start from 0 and length."""
    height, width = mask.shape
    runs: list[tuple[int, int]] = []
    for k in range(mask.size):
        row, col = (k % height, k // height) if order == "column" else (k // width, k % width)
        if mask[row, col]:
            if runs and sum(runs[-1]) == k:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1)
            else:
                runs.append((k, 1))
    return runs


def corner_masks(shape: tuple[int, int]) -> Iterator[np.ndarray]:
    yield np.zeros(shape, bool)
    yield np.ones(shape, bool)
    for at in [(0, 0), (-1, -1), (0, -1), (-1, 0)]:
        mask = np.zeros(shape, bool)
        mask[at] = True
        yield mask
        yield ~mask
    for lines in (np.s_[:, 0], np.s_[:, -1], np.s_[0], np.s_[-1], np.s_[::2], np.s_[:, ::2]):
        mask = np.zeros(shape, bool)
        mask[lines] = True
        yield mask


@both
@every
@pytest.mark.parametrize("shape", SHAPES)
def test_corners_full_empty_and_single_lines_come_back(inner, dialect, shape):
    with inner_loops(inner):
        for mask in corner_masks(shape):
            back = rle.decode(rle.encode(mask, dialect), shape, dialect)
            assert back.dtype == np.bool_ and back.flags.c_contiguous
            np.testing.assert_array_equal(back, mask)


@both
@every
@settings(max_examples=40, deadline=None)
@given(mask=masks)
def test_any_mask_comes_back(inner, dialect, mask):
    with inner_loops(inner):
        np.testing.assert_array_equal(rle.decode(rle.encode(mask, dialect), mask.shape, dialect), mask)


@both
@settings(max_examples=60, deadline=None)
@given(mask=masks, strip=st.integers(1, 60))
def test_runs_are_those_of_a_pixel_loop_whatever_the_strip_and_the_layout(inner, mask, strip):
    with inner_loops(inner), pytest.MonkeyPatch.context() as patch:
        patch.setattr(rle_scan, "STRIP_BYTES", strip)
        for order in ("column", "row"):
            for laid in (mask, np.asfortranarray(mask), np.repeat(mask, 2, axis=1)[:, ::2]):
                found = rle_scan.find_runs(laid, order)
                assert [tuple(run) for run in found.tolist()] == slow_runs(mask, order)


@settings(max_examples=60, deadline=None)
@given(mask=masks)
def test_both_implementations_write_the_same_text(mask):
    for dialect in ALL:
        with inner_loops(rle_numba):
            compiled = rle.encode(mask, dialect)
        with inner_loops(rle_numpy):
            assert rle.encode(mask, dialect) == compiled


@both
@settings(max_examples=40, deadline=None)
@given(mask=masks, step=st.integers(1, 9))
def test_every_so_many_rows_and_columns_are_those_of_the_whole_mask(inner, mask, step):
    label = np.cumsum(mask, axis=1, dtype=np.int32) * mask
    with inner_loops(inner):
        for dialect in (KAGGLE, DIALECTS["row"]):
            thin = rle.decode(rle.encode(mask, dialect), mask.shape, dialect, step=step)
            np.testing.assert_array_equal(thin, mask[::step, ::step])
            texts = [rle.encode(label == value, dialect) for value in range(1, int(label.max(initial=0)) + 1)]
            if texts:
                found = rle.decode_instances(texts, mask.shape, dialect, step=step)
                np.testing.assert_array_equal(found, label[::step, ::step])


@both
def test_many_changes_and_wide_rows(inner):
    checker = np.indices((70, 5000)).sum(axis=0) % 2 == 0
    with inner_loops(inner):
        for dialect in (KAGGLE, DIALECTS["row"]):
            np.testing.assert_array_equal(rle.decode(rle.encode(checker, dialect), checker.shape, dialect), checker)


@both
def test_a_bool_view_of_bytes_other_than_one_is_read_as_foreground(inner):
    raw = np.zeros((6, 9), np.uint8)
    raw[1:4, 2:7] = 255
    raw[2, 3:5] = 1
    with inner_loops(inner):
        for dialect in (KAGGLE, DIALECTS["row"]):
            assert rle.encode(raw.view(bool), dialect) == rle.encode(raw > 0, dialect)


def test_texts_by_hand():
    mask = np.array([[0, 1, 1], [1, 1, 0]], bool)  # columns: 01 11 10, rows: 011 110
    assert rle.encode(mask, KAGGLE) == "2 4"
    assert rle.encode(mask, DIALECTS["row"]) == "2 4"
    assert rle.encode(mask, Dialect(base=0)) == "1 4"
    assert rle.encode(mask, DIALECTS["coco"]) == "[1, 4, 1]"
    mask = np.array([[1, 0, 0], [0, 1, 1]], bool)  # columns: 10 01 01, rows: 100 011
    assert rle.encode(mask, KAGGLE) == "1 1 4 1 6 1"
    assert rle.encode(mask, DIALECTS["row"]) == "1 1 5 2"
    assert rle.encode(mask, DIALECTS["siim"]) == "0 1 2 1 1 1"
    assert rle.encode(mask, DIALECTS["coco"]) == "[0, 1, 2, 1, 1, 1]"


@pytest.mark.parametrize(
    ("empty", "written", "also_read"),
    [
        ("", "", ["", "  ", None, float("nan"), np.float64("nan"), pd.NA]),
        ("missing", "", ["", None, float("nan")]),
        ("-1", "-1", [" -1", "-1 "]),
        ("-", "-", [" - "]),
        ("1 0", "1 0", ["1  0", " 1 0"]),
    ],
)
def test_the_declared_empty_is_written_and_read(empty, written, also_read):
    dialect = Dialect(empty=empty)
    assert rle.encode(np.zeros((3, 4), bool), dialect) == written
    for text in [written, *also_read]:
        assert not rle.decode(text, (3, 4), dialect).any()


@pytest.mark.parametrize("text", [None, "", float("nan"), pd.NA])
def test_a_blank_that_is_not_declared_is_refused(text):
    with pytest.raises(ValueError, match="row 7: blank, but an empty mask is spelled '-1'"):
        rle.decode(text, (3, 4), DIALECTS["siim"], where="row 7")


@both
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 2 3", "3 numbers, expected pairs .* the last is 3"),
        ("3 0", "run 1 of 1, '3 0', has length 0.*declare empty: '3 0'"),
        ("1 2 5 0", "run 2 of 2, '5 0', has length 0, expected at least 1$"),
        ("1 -2", "'-2' is negative"),
        ("-1", "'-1' is negative; if it is the host's empty mask, declare empty: '-1'"),
        ("-", "'-' is not a whole number"),
        ("1 4 3 2", "run 2 of 2, '3 2', begins before the run before it ends"),
        ("7 2 1 2", "run 2 of 2, '1 2', begins before"),
        ("0 2", "run 1 of 1, '0 2', starts before the first pixel, which is number 1"),
        ("11 3", "run 1 of 1, '11 3', ends beyond the 12 pixels"),
        ("99 1", "'99 1', ends beyond"),
        ("one 2", "'one' is not a whole number"),
        ("1.0 2", "'1.0' is not a whole number"),
        ("1e3 2", "'1e3' is not"),
        ("1,2", "'1,2' is not"),
        ("+1 2", r"'\+1' is not"),
        ("١ 2", "is not a whole number"),
        ("1\x1c2", "is not a whole number"),
        ("1 9223372036854775809", "'9223372036854775809' is too large: it has 19 digits"),
        ("1 " + "9" * 400, "is too large: it has 400 digits"),
        ("1 999999999999999999", "ends beyond"),
        ("999999999999999999 999999999999999999", "ends beyond"),
        (12, "12 has type int, expected text"),
        (1.5, "1.5 has type float, expected text"),
        (["1 2"], "has type list, expected text"),
    ],
)
def test_what_is_malformed_is_refused_by_row_and_value(inner, text, says):
    with inner_loops(inner), pytest.raises(ValueError, match=f"row 17 .id a.: .*{says}"):
        rle.decode(text, (3, 4), KAGGLE, where="row 17 (id a)")


@both
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2 1 1 0", "run 2 of 2, '1 0', has length 0"),
        ("2 1 9 1", "run 2 of 2, '9 1', ends beyond"),
        ("2 1 -1 1", "'-1' is negative"),
        ("2 13", "ends beyond"),
    ],
)
def test_malformed_relative_texts(inner, text, says):
    with inner_loops(inner), pytest.raises(ValueError, match=says):
        rle.decode(text, (3, 4), DIALECTS["siim"])


@both
@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        ("coco", "[5, 3]", "counts add up to 8, expected 12"),
        ("coco", "[5, 0, 7]", "count 2 of 3 is 0, expected 1 to 12"),
        ("coco", "[5, -3, 10]", "'-3' is negative"),
        ("coco", "[5, 13]", "count 2 of 2 is 13"),
        ("coco", "[5,, 7]", "has a comma without a number"),
        ("coco", "[5 7", r"'\[5' is not a whole number"),
        ("coco", "[]", "counts add up to 0"),
        ("coco", [5.0, 7.0], "not a flat list of whole numbers"),
        ("coco", [[5, 7]], "not a flat list of whole numbers"),
        ("coco", [5, -7, 14], "count 2 of 3 is -7"),
        ("coco_compressed", "5 7", "the character ' '"),
        ("coco_compressed", "5\x7f", "not a COCO string"),
        ("coco_compressed", "5P", "a number that does not end"),
        ("coco_compressed", "P" * 20 + "0", "a number that does not end"),
        ("coco_compressed", "=", "count 1 of 1 is 13"),
        ("coco_zlib", "%%%", "not base64 of zlib"),
        ("coco_zlib", "AAAA", "not base64 of zlib"),
        ("coco_zlib", "é", "not base64 of zlib"),
    ],
)
def test_malformed_coco_texts(inner, kind, text, says):
    with inner_loops(inner), pytest.raises(ValueError, match=f"row 3: .*{says}"):
        rle.decode(text, (3, 4), DIALECTS[kind], where="row 3")


def test_a_zlib_text_that_is_cut_or_too_long_is_refused():
    dialect = DIALECTS["coco_zlib"]
    text = rle.encode(np.eye(40, dtype=bool), dialect)
    with pytest.raises(ValueError, match="cut short, or holds more than an image of 1600 pixels"):
        rle.decode(text[: len(text) // 8 * 4], (40, 40), dialect)
    with pytest.raises(ValueError, match="cut short, or holds more than an image of 1 pixels"):
        rle.decode(text, (1, 1), dialect)


def test_counts_are_read_from_lists_bytes_and_plain_numbers():
    mask = np.eye(3, 5, dtype=bool)
    text = rle.encode(mask, DIALECTS["coco"])
    for same in (text, json.loads(text), np.array(json.loads(text)), text.strip("[]").replace(",", ""), text.encode()):
        np.testing.assert_array_equal(rle.decode(same, mask.shape, DIALECTS["coco"]), mask)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"kind": "relative", "base": 1}, "counts from 0: leave base out"),
        ({"kind": "coco", "order": "row"}, "read along columns: leave order out"),
        ({"empty": "counts"}, "which kind 'absolute' does not have"),
        ({"empty": "1 1"}, "is the text of a mask with pixels in it"),
        ({"kind": "rle"}, "Input should be 'absolute'"),
        ({"begin": 1}, "Extra inputs are not permitted"),
    ],
)
def test_inconsistent_dialects_are_refused(values, says):
    with pytest.raises(ValidationError, match=says):
        Dialect(**values)


def test_a_dialect_survives_its_own_dump_and_is_frozen():
    for dialect in ALL:
        assert Dialect(**dialect.model_dump()) == dialect
        assert Dialect.model_validate(dialect) == dialect
    with pytest.raises(ValidationError, match="frozen"):
        KAGGLE.base = 0
    with pytest.raises(ValidationError, match="valid dictionary"):
        Dialect.model_validate(3)


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (np.zeros((3, 4), np.uint8), "dtype uint8, expected bool"),
        (np.zeros((3, 4, 1), bool), r"shape \(3, 4, 1\), expected \(height, width\)"),
        (np.zeros((3, 0), bool), r"shape \(3, 0\)"),
    ],
)
def test_masks_that_are_none_are_refused(mask, says):
    with pytest.raises(ValueError, match=says):
        rle.encode(mask, KAGGLE)


def test_shapes_that_are_none_are_refused():
    for shape in [(0, 4), (3,), (3, 4, 1)]:
        with pytest.raises(ValueError, match="expected \\(height, width\\)"):
            rle.decode("", shape, KAGGLE)
