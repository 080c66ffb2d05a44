"""The audit: what leaks is listed, what is mended is clean."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from folds.audit import audit_folds, find_duplicates, suggest_groups
from folds.places import overlap_pairs
from folds.splitters import make_folds

RNG = np.random.default_rng(0)
KINDS = ["image_a", "image_b", "kind"]


def draw_data() -> tuple[pd.DataFrame, np.ndarray]:
    """12 images: three black copies, a pair under two exposures, a copy of its first, six of their own."""
    ky, kx = np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(64)[None, :]
    noise = np.fft.rfft2(RNG.standard_normal((12, 64, 64))) * (np.hypot(ky, kx) + 0.02) ** -1.0
    images = np.fft.irfft2(noise, s=(64, 64))
    images = 120 + 30 * images / images.std(axis=(1, 2), keepdims=True)
    images[:3] = 0
    images[4] = 0.6 * images[3] + 20
    images[5] = images[3]
    names = [f"i{number:02d}" for number in range(12)]
    hashes = ["black"] * 3 + ["h3", "h4", "h3", *(f"h{number}" for number in range(6, 12))]
    inventory = pd.DataFrame({"image_id": names, "content_hash": hashes, "patient": [n // 2 for n in range(12)]})
    return inventory, np.clip(np.rint(images), 0, 255).astype(np.uint8)


def table(inventory: pd.DataFrame, folds: list[int], **columns: object) -> pd.DataFrame:
    frame = pd.DataFrame({"image_id": inventory["image_id"], "fold": folds, "group": inventory["image_id"]})
    return frame.assign(stratum="", excluded_from="").assign(**columns)


def test_duplicates_are_found_in_any_order_of_rows() -> None:
    inventory, thumbnails = draw_data()
    found = find_duplicates(inventory, thumbnails)
    assert found[KINDS].to_numpy().tolist() == [
        ["i00", "i01", "exact"],
        ["i00", "i02", "exact"],
        ["i03", "i05", "exact"],
        ["i03", "i04", "near"],
    ]
    order = np.random.default_rng(1).permutation(12)
    again = find_duplicates(inventory.iloc[order], thumbnails[order])
    pd.testing.assert_frame_equal(found, again)


def test_leaks_are_listed_and_heed_what_is_excluded() -> None:
    inventory, thumbnails = draw_data()
    duplicates = find_duplicates(inventory, thumbnails)
    folds = table(inventory, [0, 1, 0, 0, 1, 0, 0, 1, 0, 1, 0, 1])
    leaks = audit_folds(folds, inventory, duplicates)
    assert leaks[[*KINDS[:2], "fold_a", "fold_b", "kind"]].to_numpy().tolist() == [
        ["i00", "i01", 0, 1, "exact"],
        ["i02", "i01", 0, 1, "exact"],
        ["i03", "i04", 0, 1, "near"],
    ]
    twins = {"i00": "1", "i01": "0", "i02": "1", "i03": "1", "i04": "0", "i05": "1"}
    mended = folds.assign(excluded_from=folds["image_id"].map(twins).fillna(""))
    assert audit_folds(mended, inventory, duplicates).empty
    half = mended.assign(excluded_from=mended["excluded_from"].where(mended["image_id"] != "i04", ""))
    assert audit_folds(half, inventory, duplicates)["image_b"].tolist() == ["i04"]


def test_a_copy_of_a_near_duplicate_leaks_too() -> None:
    inventory, thumbnails = draw_data()
    duplicates = find_duplicates(inventory, thumbnails)
    folds = table(inventory, [0, 0, 0, 1, 1, 0, *[0, 1] * 3])
    leaks = audit_folds(folds, inventory, duplicates)
    assert leaks[KINDS].to_numpy().tolist() == [["i03", "i05", "exact"], ["i05", "i04", "near"]]


def test_groups_that_cross() -> None:
    inventory, thumbnails = draw_data()
    folds = table(inventory, [0, 1] * 6)
    leaks = audit_folds(folds, inventory, find_duplicates(inventory, thumbnails).iloc[:0], group_columns=["patient"])
    groups = leaks[leaks["kind"] == "group"]
    assert groups["image_a"].tolist() == [f"i{number:02d}" for number in range(0, 12, 2)]
    torn = folds.assign(group="all")
    assert (audit_folds(torn, inventory, find_duplicates(inventory, thumbnails))["kind"] == "group").sum() == 1


def test_the_suggested_groups_are_clean() -> None:
    inventory, thumbnails = draw_data()
    duplicates = find_duplicates(inventory, thumbnails)
    for group in (None, "patient", inventory.set_index("image_id")["patient"]):
        merged = suggest_groups(duplicates, inventory, group)
        assert merged["i00"] == merged["i01"] == merged["i02"] and merged["i03"] == merged["i04"] == merged["i05"]
        for seed in range(3):
            folds = make_folds(inventory, "group", 2, seed, group=merged)
            columns = [] if group is None else ["patient"]
            assert audit_folds(folds, inventory, duplicates, group_columns=columns).empty


@settings(deadline=None, max_examples=40)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), max_size=12),
    groups=st.lists(st.integers(0, 9), min_size=15, max_size=15),
)
def test_merged_groups_are_the_connected_parts(pairs: list[tuple[int, int]], groups: list[int]) -> None:
    inventory = pd.DataFrame({"image_id": [str(n) for n in range(15)], "g": groups})
    frame = pd.DataFrame([(str(a), str(b)) for a, b in pairs], columns=["image_a", "image_b"])
    merged = suggest_groups(frame, inventory, "g")
    label = list(range(15))
    for _ in range(15):
        for a in range(15):
            for b in range(15):
                if groups[a] == groups[b] or (a, b) in pairs or (b, a) in pairs:
                    label[a] = label[b] = min(label[a], label[b])
    for a in range(15):
        for b in range(15):
            assert (merged[str(a)] == merged[str(b)]) == (label[a] == label[b])


def test_neighbours_within_the_buffer() -> None:
    inventory = pd.DataFrame({"image_id": list("abcdef"), "content_hash": list("abcdef"), "stack": list("sssstt")})
    inventory["z"] = [0, 1, 2, 5, 2, 3]
    none = pd.DataFrame(columns=["image_a", "image_b", "kind", "similarity"])
    folds = table(inventory, [0, 0, 1, 1, 0, 1])
    leaks = audit_folds(folds, inventory, none, buffer=1)
    assert leaks[[*KINDS, "distance"]].to_numpy().tolist() == [
        ["b", "c", "neighbour", 1],
        ["e", "f", "neighbour", 1],
    ]
    assert len(audit_folds(folds, inventory, none, buffer=2)) == 3
    both = folds.assign(excluded_from=["", "1", "0", "", "1", "0"])
    assert audit_folds(both, inventory, none, buffer=1).empty


def test_tiles_and_blocks_that_overlap() -> None:
    inventory = pd.DataFrame({"image_id": list("abc"), "content_hash": list("abc"), "stack": "slide"})
    inventory = inventory.assign(y0=0, x0=[0, 12, 40], y1=10, x1=[10, 22, 50])
    none = pd.DataFrame(columns=["image_a", "image_b", "kind", "similarity"])
    leaks = audit_folds(table(inventory, [0, 1, 1]), inventory, none, buffer=3)
    assert leaks[[*KINDS, "distance"]].to_numpy().tolist() == [["a", "b", "overlap", 2]]
    assert audit_folds(table(inventory, [0, 1, 1]), inventory, none, buffer=2).empty
    text = inventory.astype(dict.fromkeys(("y0", "x0", "y1", "x1"), float))  # as a host may write them: '12.0'
    text = text.astype(dict.fromkeys(("y0", "x0", "y1", "x1"), str))
    pd.testing.assert_frame_equal(audit_folds(table(inventory, [0, 1, 1]), text, none, buffer=3), leaks)
    plain = inventory[["image_id", "content_hash"]].assign(height=30, width=21)
    blocks = make_folds(plain, "blocks", 2, 0, buffer=2)
    assert audit_folds(blocks, plain, none).empty
    blocks.loc[blocks["image_id"] == "a", "y0"] = 0
    assert audit_folds(blocks, plain, none)[KINDS].to_numpy().tolist() == [["a", "a", "overlap"]]


@settings(deadline=None, max_examples=40)
@given(
    boxes=st.lists(
        st.tuples(st.sampled_from("pq"), st.integers(0, 30), st.integers(0, 30), st.integers(1, 9)),
        max_size=10,
    ),
    buffer=st.integers(0, 6),
)
def test_overlap_pairs_equal_the_slow_count(boxes: list[tuple[str, int, int, int]], buffer: int) -> None:
    frame = pd.DataFrame(boxes, columns=["place", "y0", "x0", "side"]).astype({"y0": int, "x0": int, "side": int})
    frame = frame.assign(y1=frame["y0"] + frame["side"], x1=frame["x0"] + 2 * frame["side"], name=frame.index)
    found = {frozenset((int(a), int(b))) for a, b, _ in overlap_pairs(frame["name"], frame["place"], frame, buffer)}
    expected = set()
    for i, a in frame.iterrows():
        for j, b in frame.iloc[: int(str(i))].iterrows():
            ys = max(a["y0"], b["y0"]) - min(a["y1"], b["y1"])
            xs = max(a["x0"], b["x0"]) - min(a["x1"], b["x1"])
            if a["place"] == b["place"] and max(ys, xs) < buffer:
                expected.add(frozenset((int(str(i)), int(str(j)))))
    assert found == expected


def test_errors() -> None:
    inventory, thumbnails = draw_data()
    none = find_duplicates(inventory, thumbnails).iloc[:0]
    folds = table(inventory, [0, 1] * 6)
    with pytest.raises(ValueError, match="no column 'content_hash'"):
        find_duplicates(inventory[["image_id"]], thumbnails)
    with pytest.raises(ValueError, match=r"expected \(12, 64, 64\) uint8"):
        find_duplicates(inventory, thumbnails[:5])
    with pytest.raises(ValueError, match="not in the inventory"):
        audit_folds(folds, inventory.iloc[1:], none)
    with pytest.raises(ValueError, match="no column 'stack'"):
        audit_folds(folds, inventory, none, buffer=1)
    with pytest.raises(ValueError, match="no column 'stack'"):
        audit_folds(folds, inventory.assign(y0=0, x0=0, y1=1, x1=1), none)
    with pytest.raises(ValueError, match="no column 'doctor'"):
        audit_folds(folds, inventory, none, group_columns=["doctor"])
    with pytest.raises(ValueError, match="given as a Series"):
        suggest_groups(none, inventory, pd.Series({"i00": "a"}))
    with pytest.raises(ValueError, match="no column 'doctor'"):
        suggest_groups(none, inventory, "doctor")


def test_no_duplicates_is_an_empty_table() -> None:
    inventory, thumbnails = draw_data()
    found = find_duplicates(inventory.iloc[6:], thumbnails[6:])
    assert found.empty and {*KINDS, "similarity"} <= set(found.columns)
    assert (suggest_groups(found, inventory) == suggest_groups(found, inventory).index).all()


def test_black_images_of_a_real_competition(shared_data: Path) -> None:
    rows, thumbnails = [], []
    for file in sorted((shared_data / "tgs-salt").glob("t*/images/*.png")):
        raw = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        if raw.max() == 0:
            rows.append((file.stem, hashlib.sha256(file.read_bytes()).hexdigest()))
            thumbnails.append(cv2.resize(raw, (64, 64), interpolation=cv2.INTER_AREA))
    if not rows:
        pytest.skip("tgs-salt is not at hand")
    inventory = pd.DataFrame(rows, columns=["image_id", "content_hash"])
    found = find_duplicates(inventory, np.stack(thumbnails))
    assert len(rows) == 80
    assert found["kind"].tolist() == ["exact"] * 79
