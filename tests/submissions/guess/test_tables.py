"""Tables of a host beside its images: which rows are about images, and which are of stacks that have none."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import tifffile
from drawn_layouts import draw_image, draw_mask, slow_runs

from submissions.guess.first_contract import write_first_contract
from submissions.guess.tables import FoundTable, of_other_stacks
from submissions.host.competition import load_competition
from submissions.host.listing import list_images


def test_rows_of_a_stack_without_images_are_passed_over(tmp_path: Path) -> None:
    """SenNet: kidney_3_dense has labels alone."""
    rows = []
    for stack in ("kidney_1_dense", "kidney_2", "kidney_3_dense"):
        for z in range(4):
            path = tmp_path / f"host/train/{stack}/images/{z:04d}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            if stack != "kidney_3_dense":
                tifffile.imwrite(path, draw_image(draw_mask(z), z)[..., 0])
            rows.append({"id": f"{stack}_{z:04d}", "rle": slow_runs(draw_mask(z), "row")})
    pd.DataFrame(rows).to_csv(tmp_path / "host/train_rles.csv", index=False)
    contract = write_first_contract(tmp_path / "host", out=tmp_path / "first.yaml")
    assert "4 rows are of stacks without images, as kidney_3_dense_0000" in contract.read_text()
    listing, problems = list_images(load_competition(contract), tmp_path / "host", "train")
    assert (len(listing), problems) == (8, [])


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        (["a_1", "a_2", "b_1"], ["b_1"]),
        (["a_1", "a_3"], []),  # a slice that was not downloaded
        (["a_1", "b_x"], []),
        (["a_1", "7"], []),
        (["a_1"], []),
    ],
)
def test_a_slice_that_lacks_is_a_problem_still(ids: list[str], found: list[str]) -> None:
    table = FoundTable("t.csv", pd.DataFrame(), "{id}", "", 0.5, 0.0, ids=ids)
    assert of_other_stacks(table, {"a_1", "a_2"}) == found
