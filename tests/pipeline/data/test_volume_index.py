"""The patch index of volumes against shares counted box by box; draws that stay inside; stores at another spacing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drawn_volumes import SHAPES, SPACING, draw_volume, write_volume_experiment
from tiny_run import space_of

from pipeline.data.prepare import index_patches, open_prepared
from pipeline.data.store import Store, create_store
from pipeline.data.volume_index import BoxSampler, box_index, read_box_index, write_box_index
from pipeline.sequence import run_stages
from pipeline.training.dataset import sample_odds
from pipeline.training.fold_training import training_set
from pipeline.training.volume_dataset import fit_box

SHAPE = (7, 11, 13)


def drawn_store(folder: Path, *, planes: bool = False) -> Store:
    store = create_store(folder)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (*SHAPE, 1)).astype(np.uint8)
    label = rng.choice([0, 1, 2, 255], size=SHAPE, p=[0.6, 0.2, 0.1, 0.1]).astype(np.uint8)
    target = np.stack([label == 1, label == 2], axis=1).astype(np.uint8) if planes else label
    store.write("v", image, target)
    return store


@pytest.mark.parametrize("planes", [False, True])
def test_shares_are_those_counted_box_by_box(tmp_path: Path, planes: bool) -> None:
    store = drawn_store(tmp_path / "s", planes=planes)
    classes = ["one", "two"] if planes else ["background", "one", "two"]
    stored = store.image("v")
    index = box_index(stored, (4, 5, 20), classes)
    seen = np.zeros(SHAPE, int)
    for row in index.to_dict("records"):
        part = tuple(slice(row[a], row[a] + row[s]) for a, s in (("z", "depth"), ("y", "height"), ("x", "width")))
        seen[part] += 1
        target = np.stack([stored.read_target(z) for z in range(SHAPE[0])])
        for k, name in enumerate(classes):
            box = target[:, k][part] if planes else target[part]
            known = box != 255
            share = (box[known] == (1 if planes else k)).mean()
            assert row[f"foreground_{name}"] == pytest.approx(share)
    assert seen.min() >= 1 and set(index["width"]) == {13}


def test_the_written_table_serves_and_another_does_not(tmp_path: Path) -> None:
    store = drawn_store(tmp_path / "s")
    written = write_box_index(store, (4, 5, 6), ["background", "one"])
    pd.testing.assert_frame_equal(read_box_index(store, ["v"], (4, 5, 6), ["background", "one"]), written)
    assert "foreground_two" in read_box_index(store, ["v"], (4, 5, 6), ["background", "one", "two"])
    with pytest.raises(ValueError, match="run stage 03 again"):
        box_index(drawn_store(tmp_path / "p", planes=True).image("v"), (4, 5, 6), ["a", "b", "c"])


def test_boxes_are_drawn_inside_and_by_their_odds(tmp_path: Path) -> None:
    index = box_index(drawn_store(tmp_path / "s").image("v"), (4, 5, 6), ["background", "one"])
    odds = np.zeros(len(index))
    odds[3] = 1
    sampler = BoxSampler(index, odds)
    corners = set()
    for seed in range(60):
        box = sampler.draw(np.random.default_rng(seed))
        assert (box.depth, box.height, box.width) == (4, 5, 6)
        for first, side, whole in zip((box.z, box.y, box.x), (4, 5, 6), SHAPE, strict=True):
            assert 0 <= first <= whole - side
        near = np.abs(np.array([box.z, box.y, box.x]) - index.loc[3, ["z", "y", "x"]].to_numpy(int))
        assert (near <= 1).all()
        corners.add((box.z, box.y, box.x))
    assert len(corners) > 5
    with pytest.raises(ValueError, match="odds for"):
        BoxSampler(index, odds[:2])


def test_half_of_the_boxes_show_a_class(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s")
    label = np.zeros((20, 30, 30), np.uint8)
    label[2:4, 3:5, 3:5] = 1
    store.write("v", np.zeros((20, 30, 30, 1), np.uint8), label)
    index = box_index(store.image("v"), (4, 6, 6), ["background", "thing"])
    inventory = pd.DataFrame({"image_id": ["v"], "stack": ["v"], "z": 0, "empty": 0})
    from pipeline.settings.training import SamplingSettings

    odds = sample_odds(index, inventory, SamplingSettings())
    shown = index["foreground_thing"].to_numpy() > 0
    assert shown.mean() < 0.1 and 0.5 <= odds[shown].sum() < 0.6


def test_a_small_volume_is_mirrored_to_the_patch() -> None:
    image = np.arange(2 * 3 * 4, dtype=np.float32).reshape(1, 2, 3, 4)
    fitted, target = fit_box(image, image.astype(np.uint8), (5, 3, 6), np.random.default_rng(0))
    assert fitted.shape == (1, 5, 3, 6) and np.array_equal(fitted.astype(np.uint8), target)
    assert set(np.unique(fitted)) == set(range(24))


def test_a_store_at_another_spacing_and_its_samples(tmp_path: Path) -> None:
    input_config = {
        "dims": 3, "channels": 1, "mean": [0.5], "std": [0.25], "normalisation": "percentile",
        "spacing_mm": [1.0, 1.0, 2.0],
    }  # fmt: skip
    arguments = write_volume_experiment(tmp_path, input=input_config, augment={"recipe": "none"})
    run_stages(arguments, ("01", "02", "03"))
    space = space_of(arguments)
    store, _ = open_prepared(space)
    stored, (_, label) = store.image("v0"), draw_volume(0)
    depth, height, width = SHAPES[0]
    assert stored.shape == (2 * depth, height, width // 2, 1)
    assert stored.attrs["spacing"] == pytest.approx([1.0, SPACING[1], 2.0])
    target = np.stack([stored.read_target(z) for z in range(stored.shape[0])])
    assert set(np.unique(target)) == {0, 1, 255}
    share = (label == 1).mean()
    assert (target == 1).mean() == pytest.approx(share, rel=0.15)
    inventory, _ = space.training_images()
    folds = pd.DataFrame({"image_id": [f"v{n}" for n in range(4)], "fold": [0, 0, 1, 1], "excluded_from": ""})
    source = training_set(space.experiment, 0, store=store, folds=folds, inventory=inventory)
    for index in range(4):
        sample = source.sample(0, index)
        assert sample.image.shape == (1, 4, 16, 16) and sample.target.shape == (4, 16, 16)
        inside = sample.image[0][sample.target == 1]
        assert sample.name.startswith(("v2 ", "v3 ")) and (not len(inside) or inside.mean() > sample.image.mean())
    assert index_patches(space, store.folder) == len(pd.read_csv(store.folder / "patches-4x16x16.csv"))
