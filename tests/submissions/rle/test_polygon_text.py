"""Polygons: what is written is read back pixel for pixel, holes included; simplified within the stated loss."""

from __future__ import annotations

import builtins
import json
from typing import Any

import numpy as np
import pytest
from drawn_hosts import SHAPE, draw_mask
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from submissions.rle.codec import Dialect, decode, encode, encode_instances, read_runs
from submissions.rle.polygon_text import polygons_from_runs

shapely = pytest.importorskip("shapely")

WKT, JSON = Dialect(kind="wkt"), Dialect(kind="geojson")


def ring() -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[5:20, 8:30], mask[9:14, 12:20], mask[30:33, 2:9] = True, False, True
    return mask


@pytest.mark.parametrize("dialect", [WKT, JSON])
def test_a_mask_with_a_hole_is_two_polygons_one_with_a_hole(dialect: Dialect) -> None:
    text = encode(ring(), dialect)
    outline = shapely.from_wkt(text) if dialect is WKT else shapely.from_geojson(text)
    assert outline.is_valid and outline.area == ring().sum()
    assert sorted(len(one.interiors) for one in outline.geoms) == [0, 1]
    assert outline.geoms[0].bounds in [(8, 5, 30, 20), (2, 30, 9, 33)]
    np.testing.assert_array_equal(decode(text, SHAPE, dialect), ring())
    if dialect is JSON:
        assert json.loads(text)["type"] == "MultiPolygon"


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 7))))
def test_every_mask_comes_back(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(decode(encode(mask, WKT), mask.shape, WKT), mask)


def test_an_empty_mask_is_an_empty_polygon_or_what_the_dialect_says() -> None:
    empty = np.zeros(SHAPE, bool)
    assert encode(empty, WKT) == "POLYGON EMPTY" and not decode("MULTIPOLYGON EMPTY", SHAPE, WKT).any()
    blank = Dialect(kind="wkt", empty="")
    assert encode(empty, blank) == "" and len(read_runs("", SHAPE, blank)) == 0
    assert not decode(encode(empty, JSON), SHAPE, JSON).any()


@pytest.mark.parametrize("loss", [0.02, 0.1])
def test_simplifying_costs_no_more_than_is_stated(loss: float) -> None:
    mask = draw_mask(4)
    exact, simple = encode(mask, WKT), encode(mask, Dialect(kind="wkt", loss=loss))
    read = decode(simple, SHAPE, WKT)
    assert (read & mask).sum() / (read | mask).sum() >= 1 - loss
    assert shapely.get_num_coordinates(shapely.from_wkt(simple)) < shapely.get_num_coordinates(shapely.from_wkt(exact))
    noise = np.random.default_rng(0).random(SHAPE) < 0.3  # no simpler outline is as good
    kept = decode(encode(noise, Dialect(kind="wkt", loss=1e-6)), SHAPE, WKT)
    np.testing.assert_array_equal(kept, noise)


def test_rows_and_columns_give_the_same_polygons() -> None:
    runs = np.array([[3, 30], [60, 2]])
    both = [polygons_from_runs(runs, (10, 12), order, "wkt", loss=0) for order in ("row", "column")]
    for text, order in zip(both, ("row", "column"), strict=True):
        flat = np.zeros(120, bool)
        flat[3:33], flat[60:62] = True, True
        mask = flat.reshape(10, 12) if order == "row" else flat.reshape(12, 10).T
        np.testing.assert_array_equal(decode(text, (10, 12), WKT), mask)


def test_instances_have_a_text_each() -> None:
    label = ring().astype(np.int32)
    label[30:33] *= 2
    texts = encode_instances(label, WKT)
    np.testing.assert_array_equal(decode(texts[1], SHAPE, WKT), label == 2)


def test_what_others_write_is_read() -> None:
    assert decode("POLYGON ((2 1 0, 2 4 0, 7 4 0, 7 1 0, 2 1 0))", SHAPE, WKT)[1:4, 2:7].all()  # with heights
    crossed = decode("POLYGON ((0 0, 10 10, 10 0, 0 10, 0 0))", SHAPE, WKT)
    assert crossed[5, 8] and not crossed[1, 5]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("POLYGON ((1 2", "is no wkt"),
        ("1 2 3 4", "is no wkt"),
        ("POINT (1 2)", "is a Point, expected POLYGON"),
        ("POLYGON ((0 0, 0 9, 99 9, 0 0))", "from x 0 to 99"),
        ("", "blank, but an empty mask is spelled 'POLYGON EMPTY'"),
    ],
)
def test_texts_that_are_no_polygon_of_the_image(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decode(text, SHAPE, WKT)
    with pytest.raises(ValueError, match="is no geojson"):
        decode("{}", SHAPE, JSON)


def test_options_that_polygons_do_not_have() -> None:
    for options in ({"kind": "wkt", "order": "row"}, {"kind": "absolute", "loss": 0.1}, {"kind": "wkt", "loss": 1.0}):
        with pytest.raises(ValueError):
            Dialect(**options)  # type: ignore[arg-type]


def test_the_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *given: Any, **more: Any) -> Any:
        if name == "shapely":
            raise ImportError(name)
        return real(name, *given, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"segmentation-pipeline\[polygons\]"):
        encode(ring(), WKT)


def test_a_span_is_what_the_pixels_reach() -> None:
    spanned = Dialect(kind="wkt", span=("0.0091", "-0.009"))
    text = encode(ring(), spanned)
    height, width = SHAPE
    _, low, right, _ = shapely.from_wkt(text).bounds
    assert right == pytest.approx(30 / (width**2 / (width + 1)) * 0.0091)
    assert low == pytest.approx(33 / (height**2 / (height + 1)) * -0.009)
    np.testing.assert_array_equal(decode(text, SHAPE, spanned), ring())
    for span in (("{Xmax}", "-1"), ("0", "1")):
        with pytest.raises(ValueError, match="expected two numbers that are not 0"):
            encode(ring(), Dialect(kind="wkt", span=span))
