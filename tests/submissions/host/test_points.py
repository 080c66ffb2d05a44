"""Points as masks: two hosts' layouts drawn, balls against a slow reference, and what is not a point."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from drawn_points import CZII_SHAPE, PICKS, write_byu, write_czii

from pipeline.inventory_table import read_inventory
from submissions.host.competition import Competition, load_competition
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader
from submissions.host.settings import validate

SHAPE = CZII_SHAPE


def slow_ball(shape: tuple[int, ...], place: tuple[float, ...], radius: float) -> np.ndarray:
    found = np.zeros(shape, bool)
    for voxel in np.ndindex(*shape):
        found[voxel] = sum((a - b) ** 2 for a, b in zip(voxel, place, strict=True)) <= radius**2
    return found


def check_data(name: str, folder: Path, **settings: Any) -> pd.DataFrame:
    """Stage 01 on drawn files; its inventory."""
    experiment = folder / "quick.yaml"
    experiment.write_text(yaml.safe_dump({"name": "quick", "competition": name, **settings}))
    places = ["--data", str(folder / "data"), "--runs", str(folder / "runs")]
    importlib.import_module("pipeline.01_check_data").main([str(experiment), *places])
    return read_inventory(folder / "runs" / name / "inventory")[0]


def test_picks_of_particles_become_balls_in_a_zarr_volume(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_czii(data, {"TS_5_4": PICKS, "TS_6_4": {}}, ["TS_9_9"])
    table = check_data("czii-cryoet-2024", tmp_path, loss={"name": "ce_dice"})
    assert sorted(table["image_id"]) == ["TS_5_4", "TS_6_4", "TS_9_9"]
    competition = load_competition("czii-cryoet-2024")
    listing, problems = list_images(competition, data, "train")
    assert not problems
    reader = MaskReader(competition, data)
    full, empty = (reader.read(row, SHAPE) for row in listing.to_dict("records"))
    first, second = (tuple(value / 10 for value in place) for place in PICKS["ribosome"])
    (small,) = (tuple(value / 10 for value in place) for place in PICKS["apo-ferritin"])
    ribosome = slow_ball(SHAPE, first, 7.5) | slow_ball(SHAPE, second, 7.5)
    later = slow_ball(SHAPE, small, 3)  # classes are drawn in the contract's order: ribosomes after apo-ferritin
    np.testing.assert_array_equal(full.planes[competition.classes.index("ribosome")], ribosome)
    np.testing.assert_array_equal(full.planes[competition.classes.index("apo-ferritin")], later & ~ribosome)
    np.testing.assert_array_equal(full.planes[0], ~(ribosome | later))
    assert empty.planes[0].all() and not empty.planes[1:].any()


def test_a_motor_is_cut_by_each_slice_of_its_tomogram(tmp_path: Path) -> None:
    data, shape, place = tmp_path / "data", (4, 70, 90), (1, 33, 40)
    write_byu(data, {"tomo_a": place, "tomo_b": None}, ["tomo_c"], shape)
    table = check_data("byu-motors-2025", tmp_path)
    assert len(table) == 12
    competition = load_competition("byu-motors-2025")
    listing, problems = list_images(competition, data, "train")
    assert not problems
    reader = MaskReader(competition, data)
    ball = slow_ball(shape, place, 30)
    for row in listing.to_dict("records"):
        whole = reader.read(row, (1, *shape[1:]))
        truth, mine = whole.planes[0, 0], row["stack"] == "tomo_a"
        assert whole.points == [("motor", (place[0] - row["z"], *place[1:]))] * mine
        assert whole.spacing == (13.1, 13.1, 13.1)
        np.testing.assert_array_equal(truth, ball[row["z"]] & mine)


def contract(**masks: Any) -> Competition:
    document = {
        "name": "drawn", "images": {"kind": "volumes", "train": "{id}.npy"}, "classes": ["a", "b"],
        "masks": {"kind": "points", "points": {"radius": 2}, **masks}, "metric": {"name": "dice"},
    }  # fmt: skip
    return validate(Competition, document, "drawn")


def test_points_that_say_something_else_are_named(tmp_path: Path) -> None:
    row = {"image_id": "v", "stack": "v", "z": 0, "path": "v.npy"}
    (tmp_path / "p.csv").write_text("id,kind,z,y,x\nv,c,1,2,3\n")
    with pytest.raises(ValueError, match="class 'c', expected one of"):
        MaskReader(contract(table={"file": "p.csv"}, class_column="kind"), tmp_path).read(row, SHAPE)
    (tmp_path / "p.csv").write_text("id,z,y\nv,1,2\n")
    with pytest.raises(ValueError, match=r"p\.csv: no column \['x'\]"):
        MaskReader(contract(table={"file": "p.csv"}), tmp_path).read(row, SHAPE)
    (tmp_path / "p.csv").write_text("id,z,y,x\nv,1,2,here\n")
    with pytest.raises(ValueError, match="expected three numbers"):
        MaskReader(contract(table={"file": "p.csv"}), tmp_path).read(row, SHAPE)
    (tmp_path / "v.json").write_text('{"points": [{"x": 1, "y": 2}]}')
    with pytest.raises(ValueError, match=r"v\.json: KeyError\('z'\); expected points with"):
        MaskReader(contract(file="{id}.json"), tmp_path).read(row, SHAPE)
    for masks, message in (
        ({}, "needs masks.table or masks.file"),
        ({"points": None, "file": "{id}.json"}, "needs masks.points"),
        ({"file": "{id}.json", "points": {"radius": {"a": 2}}}, r"radius has none for \['b'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            contract(**masks)


def test_points_are_objects_where_the_contract_counts_them(tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text('[{"x": 4, "y": 5, "z": 3}, {"x": 25, "y": 15, "z": 3}]')
    document = contract(file="{id}.json").model_dump()
    document |= {"classes": ["a"], "masks": {**document["masks"], "instances": True}}
    competition = Competition.model_validate(document)
    truth = MaskReader(competition, tmp_path).read({"image_id": "v", "stack": "v", "z": 0, "path": "v.npy"}, SHAPE)
    assert truth.instances is not None and truth.instances.max() == 2
    np.testing.assert_array_equal(truth.instances == 1, slow_ball(SHAPE, (3, 5, 4), 2))
