"""What is wrong with images that decode, in words; and do masks lie on their images, or photos in another reading?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.data.inspection import LEAST_SHOWN, MOST_SHOWN
from pipeline.data.inventory import ALIGNMENT_SAMPLE
from submissions.host.competition import Competition
from submissions.host.listed_images import open_row
from submissions.host.listing import spread
from submissions.host.masks import MaskReader
from submissions.host.problems import Problem
from submissions.images.faults import FAULTS, describe_faults
from submissions.table.alignment import MARGIN, Alignment, Measured, check_alignment, judge_alignment, measure_alignment


def fault_lines(competition: Competition, table: pd.DataFrame) -> list[str]:
    """What is wrong with images that decode, counted, and what is done with it, and classes that none of the training
    images shows; nothing where nothing is.
    """
    counts = {}
    for name in FAULTS if FAULTS[0] in table else ():
        found = table[name] > (1 if name == "orientation" else 0)
        counts[name] = (int(found.sum()), int(table.loc[found, name].sum()))
    images = competition.images
    nan = None if images.nan == "refuse" else images.nan
    absent = [
        f"class {name!r} is in no training mask, so it cannot be learned: check classes and masks in the contract"
        for name in _unseen_classes(competition, table)[0]
    ]
    return [*describe_faults(counts, turned=images.exif == "turned", nan=nan), *absent]


def check_masks_shown(competition: Competition, table: pd.DataFrame) -> list[Problem]:
    """A problem where none of the training masks shows any class: they are read in another way than they are meant."""
    unseen, asked = _unseen_classes(competition, table)
    if not asked or len(unseen) < asked:
        return []
    found = f"not a pixel of {', '.join(unseen)} in any of {int((table['split'] == 'train').sum())} training images"
    action = "check classes and masks in the contract: values, ids of the table, units and order of the dialect"
    return [Problem("all masks", found, "a class that some image shows", action)]


def _unseen_classes(competition: Competition, table: pd.DataFrame) -> tuple[list[str], int]:
    """Classes but for the background that no training mask shows, and how many there are; none where none has areas."""
    train = table[table["split"] == "train"]
    asked = [name for name in competition.classes if name != "background" and f"area_{name}" in train]
    return [name for name in asked if not train[f"area_{name}"].any()], len(asked)


def check_orientation(competition: Competition, data: Path, table: pd.DataFrame) -> list[Problem]:
    """A problem where the masks of the photos that carry an EXIF orientation fit better in the other reading of them.

    Both readings are scored by the alignment test on photos whose size the turn leaves as it is; those whose height
    and width it swaps fit their masks in one reading only, which stage 01 finds by size.
    """
    if competition.masks.kind == "none" or "orientation" not in table:
        return []
    marked = table[(table["split"] == "train") & (table["orientation"] > 1)]
    if not len(marked):
        return []
    chosen = _spread(marked, ALIGNMENT_SAMPLE)
    now = competition.images.exif
    other = "turned" if now == "stored" else "stored"
    turned = competition.model_copy(update={"images": competition.images.model_copy(update={"exif": other})})
    masks = MaskReader(competition, data)
    scores = [
        check_alignment(_pairs(competition, reading, masks, chosen)).scores["identity"]
        for reading in (competition, turned)
    ]
    if not scores[1] - scores[0] > MARGIN:
        return []
    found = f"masks that fit their photos better {other} ({scores[1]:.2f} against {scores[0]:.2f} as read now)"
    where = f"{len(marked)} image(s) with an EXIF orientation"
    return [Problem(where, found, "photos read the way their masks were drawn", f"set images.exif: {other}")]


def check_masks_aligned(
    competition: Competition, data: Path, table: pd.DataFrame, measured: Mapping[str, Measured] | None = None
) -> Alignment | None:
    """The alignment test on a spread sample of training images with a mask; None where none has any.

    `measured`: what stage 01 found of some by their ids, while it had them open; only what these lack of the sample
    is read again.
    """
    if competition.masks.kind == "none" or "depth" not in table:
        return None
    names = [f"area_{name}" for name in competition.classes if name != "background"]
    train = table[(table["split"] == "train") & (table["depth"] == 1)]
    share = train[names].sum(axis=1) / (train["height"] * train["width"])
    train = train[(share > LEAST_SHOWN) & (share < MOST_SHOWN)]
    if not len(train):
        return None
    known = measured or {}
    found = [known[name] for name in train["image_id"] if name in known][:ALIGNMENT_SAMPLE]
    lacking = _spread(train[~train["image_id"].isin([*known])], ALIGNMENT_SAMPLE - len(found))
    pairs = _pairs(competition, competition, MaskReader(competition, data), lacking)
    read = (measure_alignment(image, mask, number) for number, (image, mask) in enumerate(pairs))
    return judge_alignment([*found, *(one for one in read if one is not None)])


def _spread(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most so many rows, evenly spread."""
    return rows.iloc[list(spread(range(len(rows)), most))]


def _pairs(
    competition: Competition, reading: Competition, masks: MaskReader, chosen: pd.DataFrame
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    foreground = [index for index, name in enumerate(competition.classes) if name != "background"]
    for row in chosen.to_dict("records"):
        reader = open_row(reading, masks.data, {str(name): value for name, value in row.items()})
        shape = (int(row["depth"]), int(row["height"]), int(row["width"]))
        if reader.shape[:3] == shape:
            pixels = reader.read(0)
            truth = masks.read({str(name): value for name, value in row.items()}, shape, reader)
            yield pixels, np.asarray(truth.planes[foreground, 0].any(axis=0))
        reader.close()
