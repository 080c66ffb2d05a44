"""What the exploration checks of the host's masks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from drawn_hosts import SHAPE, rle_contract, write_rle_host

from pipeline.report.exploration import mask_checks
from submissions.host.listing import list_images


def test_masks_come_back_through_outlines_in_each_image_s_own_coordinates(tmp_path: Path) -> None:
    write_rle_host(tmp_path, train=2)
    dialect = {"kind": "wkt", "empty": "MULTIPOLYGON EMPTY", "span": ["{Xmax}", "{Ymin}"]}
    contract = rle_contract(submission={"dialect": dialect})
    listing, _ = list_images(contract, tmp_path, "train")
    training = listing.assign(depth=1, height=SHAPE[0], width=SHAPE[1], Xmax=["0.009", "0.01"], Ymin="-0.009")
    space = SimpleNamespace(competition=contract, data=tmp_path, inventory=tmp_path)
    run: Any = SimpleNamespace(space=space, training=training)
    assert dict(mask_checks(run).to_numpy())["RLE out and in"].startswith("2 of 2 planes come back the same")
