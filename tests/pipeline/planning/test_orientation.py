"""Which way is up, from where the classes lie in drawn masks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_hosts import draw_image

from pipeline.experiment import load_experiment
from pipeline.new_competition import start_competition
from pipeline.planning import images_seen
from pipeline.planning.orientation import find_upright
from submissions.host.competition import load_competition

HEIGHT, WIDTH = 80, 112


def write_spots(root: Path, rows: list[int]) -> Path:
    """Images of one disc each, whose centre is at the given row, and their masks."""
    generator = np.random.default_rng(3)
    for k, row in enumerate(rows):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        cv2.circle(mask, (int(generator.integers(12, WIDTH - 12)), row), 8, 255, -1)
        for kind, pixels in (("images", draw_image(mask > 0, k)), ("masks", mask)):
            (root / kind).mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(root / kind / f"{k:02}.png"), pixels)
    return root


@pytest.mark.parametrize(
    ("rows", "recipe"),
    [
        ([14, 16, 19, 15, 13, 18, 17, 20, 12, 16], "road"),  # always near the top
        ([66, 62, 59, 65, 63, 60, 64, 61, 66, 58], "road"),  # always near the bottom
        ([14, 66, 30, 50, 22, 60, 40, 35, 45, 17], "light"),  # anywhere
        ([44, 45, 43, 46, 44, 42, 45, 44, 43, 46], "light"),  # always, but hardly, below the middle
        ([14, 20, 64, 16, 12, 62, 18, 66, 15, 13], "light"),  # more often above, not surely so
        ([14, 16, 19, 15, 13, 18], "light"),  # too few to say
    ],
)
def test_up_stays_up_where_masks_say_which_way_it_is(
    rows: list[int], recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    start_competition(write_spots(Path("spots"), rows))
    assert load_experiment("spots-baseline.yaml").augment.recipe == recipe
    said = "from the top, in the 10 masks looked at that show it: up stays up"
    assert (said in Path("spots-baseline.yaml").read_text()) == (recipe == "road")


def test_the_height_is_that_of_the_pixels_and_masks_that_cannot_be_read_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    start_competition(write_spots(Path("spots"), [20] * 12))
    competition = load_competition(Path("spots.yaml"))
    Path("spots/masks/03.png").write_bytes(b"cut off")
    found = find_upright(competition, Path("spots"))
    assert found is not None and found.masks == 11
    assert found.height == pytest.approx(20.5 / HEIGHT, abs=1e-9)  # row 20 lies between 20 and 21
    monkeypatch.setattr(images_seen, "LARGEST_MASK", HEIGHT * WIDTH - 1)
    assert find_upright(competition, Path("spots")) is None
