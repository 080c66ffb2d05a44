"""Does a subset of the images come without masks, as validation cases of a challenge do, to be predicted?"""

from __future__ import annotations

import re
from dataclasses import replace

from submissions.guess.files import FileGroup
from submissions.guess.pairing import Layout

SUBSET = "subset"
FIELD = re.compile(rf"{{{SUBSET}:([^}}]*)}}")
KEPT_BACK = re.compile(r"val(id(ation)?)?|dev", re.IGNORECASE)


def with_unlabelled_as_test(layout: Layout) -> Layout:
    """The layout whose test images are those of a validation subset without one mask, where there are no others."""
    train, masks = layout.train, layout.masks
    if layout.test is not None or masks is None or SUBSET not in train.names or not FIELD.search(train.pattern):
        return layout
    place = train.names.index(SUBSET)
    words = {fields[place] for _, fields in train.files}
    labelled = {fields[place] for path, fields in train.files if path in masks.pairs}
    alone = sorted(words - labelled)
    if len(alone) != 1 or not KEPT_BACK.fullmatch(alone[0]) or not labelled:
        return layout
    pattern = masks.pattern.replace(f"{{{SUBSET}}}", next(iter(labelled))) if len(labelled) == 1 else masks.pattern
    return replace(
        layout, train=_of_words(train, labelled), test=_of_words(train, {*alone}), masks=replace(masks, pattern=pattern)
    )


def _of_words(group: FileGroup, words: set[str]) -> FileGroup:
    """The files of these subsets; of one its word stands in the pattern, and it is no field."""
    place = group.names.index(SUBSET)
    files = tuple(file for file in group.files if file[1][place] in words)
    if len(words) > 1:
        return replace(group, pattern=FIELD.sub(f"{{{SUBSET}:{'|'.join(sorted(words))}}}", group.pattern), files=files)
    names = tuple(name for name in group.names if name != SUBSET)
    files = tuple((path, fields[:place] + fields[place + 1 :]) for path, fields in files)
    return FileGroup(FIELD.sub(next(iter(words)), group.pattern), names, files)
