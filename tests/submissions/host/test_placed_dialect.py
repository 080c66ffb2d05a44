"""A dialect's span is filled from the image's row."""

from __future__ import annotations

import pytest

from submissions.host.placed_dialect import placed
from submissions.rle.codec import Dialect


def test_a_span_is_filled_from_the_row_and_a_missing_column_is_named() -> None:
    dialect = Dialect(kind="wkt", span=("{Xmax}", "-1"))
    assert placed(dialect, {"Xmax": "0.009"}).span == ("0.009", "-1")
    assert placed(Dialect(), {}) == Dialect()
    with pytest.raises(ValueError, match=r"dialect.span: template '{Xmax}' cannot be filled: no field \['Xmax'\]"):
        placed(dialect, {"id": "x"})
