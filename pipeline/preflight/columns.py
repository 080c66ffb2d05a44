"""Checks that the columns named in the experiment and the contract will be in the inventory."""

from __future__ import annotations

from pipeline.data.fold_tables import split_of
from pipeline.inventory_table import MEASURED, SOURCE
from pipeline.workspace import Workspace
from submissions.host.listed_images import FROM_FILE
from submissions.host.listing import COLUMNS, list_images
from submissions.images.faults import FAULTS
from submissions.images.measures import MEASURES, is_quantile

WRITTEN = frozenset({*COLUMNS, *MEASURED, *FAULTS, *MEASURES, SOURCE, "dtype", "content_hash", "mask_hash"})
IN_OPTIONS = ("fold_column", "series_column", "z_column")


def column_problems(space: Workspace) -> list[str]:
    """A sentence for each column that is named and that no training image will have.

    The images are listed only where a name is not among the columns that stage 01 always writes.
    """
    areas = {f"area_{name}" for name in space.competition.classes}
    asked = [(key, name) for key, name in named_columns(space) if name not in WRITTEN | areas and not is_quantile(name)]
    if not asked:
        return []
    listing, _ = list_images(space.competition, space.data, "train")
    if listing.empty:
        return []  # stage 01 says what is wrong with the listing
    given = [str(name) for name in listing if name not in WRITTEN]
    return [
        f"{key}: no column {name!r}; the host's files give {', '.join(given) or 'none'}, stage 01 adds source, height, "
        "width, channels, empty, area_<class> and the measures of the images"
        for key, name in asked
        if name not in given
    ]


def named_columns(space: Workspace) -> list[tuple[str, str]]:
    """(key, column) of every setting that names a column of the inventory."""
    experiment, competition = space.experiment, space.competition
    folds, options = experiment.folds, split_of(space)[1]
    group, strata = options.get("group"), options.get("strata") or []
    strata = [strata] if isinstance(strata, str) else strata
    size = competition.images.pixel_size_um
    found = [
        ("folds.group" if folds.group else "group of the contract", group),
        *(("strata of the contract" if folds.strata is None else "folds.strata", name) for name in strata),
        ("folds.sources.column", folds.sources and folds.sources.column),
        *((f"folds.options.{key}", options.get(key)) for key in IN_OPTIONS),
        ("train.sampling.balance", experiment.train.sampling.balance),
        ("images.pixel_size_um", size if isinstance(size, str) and size != FROM_FILE else None),
    ]
    return [(key, name) for key, name in found if isinstance(name, str)]
