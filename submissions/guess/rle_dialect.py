"""Which RLE dialect is a training table written in, as far as the table can tell?

Kind and order leave traces: a text fits one grammar and breaks the others, and in the right order each line of an
object lies beside the next (the wrong order tears objects into stripes). Two things leave no trace and come back as
'unknown': the order where every image is square (`check_alignment` needs the images for that), and the base where no
object touches the border (masks are then only shifted by one pixel).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from submissions.rle.codec import DIALECTS, Dialect, Kind, Shape, decode, one_shape_each, read_runs
from submissions.rle.reading_order import order_votes, sign_test
from submissions.rle.text import I64, KNOWN_EMPTIES, ascii_bytes, is_blank, kernels
from submissions.table.alignment import check_alignment

UNKNOWN: Literal["unknown"] = "unknown"
SURE = 0.99
LOOKED_AT = 400


@dataclass(frozen=True)
class Detection:
    """What a table says about its dialect; each part may be 'unknown'.

    `confidence`: by part, 1 minus the probability (sign test) that chance alone decided it as clearly.
    `reasons`: a sentence a part, for a person to read.
    """

    kind: str
    order: str
    base: int | str
    empty: str
    confidence: dict[str, float]
    reasons: list[str]

    def dialect(self, **assumed: Any) -> Dialect:
        """The dialect, with `assumed` values in place of what is unknown.

        Raises ValueError naming the parts that are neither known nor assumed.
        """
        found = {name: getattr(self, name) for name in ("kind", "order", "base", "empty")}
        values = assumed | {name: value for name, value in found.items() if value != UNKNOWN}
        missing = [name for name in found if name not in values]
        if missing:
            raise ValueError(f"the table does not say {', '.join(missing)}: pass it, e.g. {missing[0]}=...")
        return Dialect(**values)


def detect_dialect(
    texts: Sequence[object],
    shapes: Shape | Sequence[Shape],
    *,
    images: Sequence[npt.NDArray[Any]] | None = None,
) -> Detection:
    """Find the dialect of a table's texts, for images of one shape (H, W) or of one shape a text.

    `images`: arrays (H, W[, C]), one a text, which decide the order where every image is square.
    At most `LOOKED_AT` masks are looked at, spread evenly over the table.
    Raises ValueError where there are not as many shapes (or images) as texts.
    """
    sizes = one_shape_each(shapes, len(texts))
    if images is not None and len(images) != len(texts):
        raise ValueError(f"{len(images)} images for {len(texts)} texts: expected one per text, or none")
    empty, masks, reasons = _split_empties(texts)
    chosen = masks[:: max(1, math.ceil(len(masks) / LOOKED_AT))]
    pairs = [(str(texts[i]), sizes[i]) for i in chosen]
    kind, confidence = _kind(pairs, reasons)
    found: dict[str, Any] = {"kind": kind, "order": UNKNOWN, "base": UNKNOWN, "empty": empty}
    sure = {"kind": confidence, "order": 0.0, "base": 0.0, "empty": 0.0 if empty == UNKNOWN else 1.0}
    if kind.startswith("coco"):
        found |= {"order": "column", "base": 0, "empty": "counts" if empty == UNKNOWN else empty}
        sure |= {"order": 1.0, "base": 1.0}
        reasons.append("order and base: COCO counts always run along columns and have no base")
    elif kind != UNKNOWN:
        found["order"], sure["order"] = _order(pairs, kind, reasons)
        if found["order"] == UNKNOWN and images is not None:
            seen = [(images[i], str(texts[i]), sizes[i]) for i in chosen]
            found["order"], sure["order"] = _order_from_images(seen, kind, reasons)
        known = kind == "relative"
        found["base"], sure["base"] = (0, 1.0) if known else _base(pairs, found["order"], reasons)
    return Detection(**found, confidence=sure, reasons=reasons)


def _split_empties(texts: Sequence[object]) -> tuple[str, list[int], list[str]]:
    spelled: Counter[str] = Counter()
    masks = []
    for i, text in enumerate(texts):
        word = "" if is_blank(text) else " ".join(str(text).split())
        if word in ("", *KNOWN_EMPTIES):
            spelled[word] += 1
        else:
            masks.append(i)
    if not spelled:
        return UNKNOWN, masks, ["empty: no row is blank or spells an empty mask; perhaps empty masks have no row"]
    word, count = spelled.most_common(1)[0]
    others = f", beside {sorted(set(spelled) - {word})}" if len(spelled) > 1 else ""
    return word, masks, [f"empty: {count} of {len(texts)} rows are {word!r}{others}"]


def _kind(pairs: list[tuple[str, Shape]], reasons: list[str]) -> tuple[str, float]:
    kinds = [kind for kind in get_args(Kind) if kind not in ("wkt", "geojson")]  # outlines are no runs
    fits = np.array([[_fits(text, size, kind) for kind in kinds] for text, size in pairs]).reshape(-1, len(kinds))
    whole = [kind for i, kind in enumerate(kinds) if fits[:, i].all()]
    if not pairs or not whole:
        best = int(fits.sum(axis=0).argmax())
        reasons.append(f"kind: no grammar fits all {len(pairs)} masks; {kinds[best]} fits {fits[:, best].sum()}")
        return UNKNOWN, 0.0
    if len(whole) > 1:
        reasons.append(f"kind: all {len(pairs)} masks fit each of {whole}")
        return UNKNOWN, 0.0
    clear = np.flatnonzero(fits.sum(axis=1) == 1)
    reasons.append(f"kind: all {len(pairs)} masks are {whole[0]}; {clear.size} of them fit nothing else")
    # by chance a run keeps to another kind's rules every other time at most; a run has 16 characters or less
    return whole[0], 1.0 - 0.5 ** min(60, sum(len(pairs[i][0]) // 16 for i in clear))


def _fits(text: str, size: Shape, kind: str) -> bool:
    if kind in ("absolute", "relative"):
        return any(_runs(text, size, kind, base) is not None for base in ((0, 1) if kind == "absolute" else (0,)))
    try:
        read_runs(text, size, DIALECTS[kind])
    except ValueError:
        return False
    return True


def _runs(text: str, size: Shape, kind: str, base: int) -> I64 | None:
    return kernels().read_pairs(ascii_bytes(text), base, math.prod(size), kind == "relative")


def _either_base(text: str, size: Shape, kind: str) -> I64:
    runs = _runs(text, size, kind, 1) if kind == "absolute" else None
    if runs is None:
        runs = _runs(text, size, kind, 0)
    assert runs is not None  # the kind was found to fit every text
    return runs


def _order(pairs: list[tuple[str, Shape]], kind: str, reasons: list[str]) -> tuple[str, float]:
    votes: list[float] = []
    for text, (height, width) in pairs:
        votes += list(order_votes(_either_base(text, (height, width), kind), height, width))
    if not votes:
        reasons.append("order: every image is square, so the table cannot tell it; only the images can")
        return UNKNOWN, 0.0
    confidence, wins, losses = sign_test(votes)
    reasons.append(f"order: {wins} parts of masks are more compact when read along columns, {losses} along rows")
    if confidence < SURE:
        return UNKNOWN, confidence
    return ("column" if wins > losses else "row"), confidence


def _order_from_images(
    seen: list[tuple[npt.NDArray[Any], str, Shape]], kind: str, reasons: list[str]
) -> tuple[str, float]:
    dialect = Dialect(kind=kind) if kind == "relative" else Dialect()  # type: ignore[arg-type]
    found = check_alignment((image, decode(text, size, dialect)) for image, text, size in seen)
    reasons.append(f"order: masks read along columns, compared with the images: {found.message}")
    if found.verdict == "unknown" or found.winner not in ("identity", "transpose"):
        return UNKNOWN, 0.0
    return ("column" if found.winner == "identity" else "row"), found.confidence


def _base(pairs: list[tuple[str, Shape]], order: str, reasons: list[str]) -> tuple[int | str, float]:
    """Objects cut off by the border begin or end with a line, under the right base only."""
    votes = []
    for text, (height, width) in pairs:
        if order == UNKNOWN and height != width:
            continue
        length = width if order == "row" else height
        runs = _either_base(text, (height, width), "absolute")
        ones = runs if _runs(text, (height, width), "absolute", 1) is not None else runs - np.array([1, 0])
        long = ones[(ones[:, 1] > 1) & (ones[:, 1] < length)]
        votes.append(float(_cut_off(long, length)))
    confidence, wins, losses = sign_test(votes)
    reasons.append(f"base: objects at the border fit 1 in {wins} masks, 0 in {losses}")
    if confidence < SURE:
        return UNKNOWN, confidence
    return (1 if wins > losses else 0), confidence


def _cut_off(runs: I64, length: int) -> int:
    """Runs that begin or end with a line of `length` pixels if counted from 1, minus those if counted from 0."""
    ends = np.concatenate([runs[:, 0], runs.sum(axis=1)])
    return int((ends % length == 0).sum()) - int(((ends + 1) % length == 0).sum())
