"""Fixtures every room shares."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real data sets; the test is skipped where they are not at hand."""
    if not SHARED_DATA.is_dir():
        pytest.skip("real data sets are not at hand: expected ../shared/data beside the checkout")
    return SHARED_DATA
