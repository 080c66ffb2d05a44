"""Pictures: whatever a file is called can stand over one."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from pipeline.pictures import new_figure, save_figure


@pytest.mark.parametrize("name", ["a\udcff\udcfe", "$HOME", "a_$\\frac$_b", "\u202eabc", "a\nb"])
def test_any_name_is_drawn(name: str, tmp_path: Path) -> None:
    figure, axes = new_figure(1, 2, 4, 2)
    axes[0, 0].set_title(name)
    save_figure(figure, tmp_path / "made" / "one.png")
    picture = cv2.imread(str(tmp_path / "made" / "one.png"))
    assert picture is not None and picture.std() > 0
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["one.png"]
