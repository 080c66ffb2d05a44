"""How one image's masks are written: the dialect with what it takes from the image's row filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from submissions.host.patterns import fill
from submissions.rle.codec import Dialect


def placed(dialect: Dialect, fields: Mapping[str, Any]) -> Dialect:
    """The dialect of an image whose row of the listing is `fields`. ValueError where it has no such column."""
    if dialect.span is None:
        return dialect
    span = (fill(dialect.span[0], fields, "dialect.span"), fill(dialect.span[1], fields, "dialect.span"))
    return dialect.model_copy(update={"span": span})
