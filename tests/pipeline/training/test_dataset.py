"""Samples of a fold: reproducible, honest about folds, with the neighbours prediction would see."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from inference.config import InputConfig, ModelConfig
from pipeline.data.patch_index import Window, grid_index
from pipeline.data.store import Store, create_store
from pipeline.experiment import Experiment
from pipeline.settings.training import AugmentSettings, SamplingSettings, TrainSettings
from pipeline.training.dataset import TrainingSet, check_targets, sample_odds, stack_members, training_ids

HEIGHT, WIDTH = 30, 44
PLAIN = InputConfig(channels=1, mean=[0.0], std=[1.0])


def drawn(folder: Path, names: list[str], depth: int = 1) -> Store:
    """Image i is grey value 10 i + slice everywhere; its mask is the left half."""
    store = create_store(folder)
    for number, name in enumerate(names):
        image = np.empty((depth, HEIGHT, WIDTH, 1), np.uint8)
        image[:] = 10 * number + np.arange(depth)[:, None, None, None]
        mask = np.zeros((depth, 1, HEIGHT, WIDTH), np.uint8)
        mask[..., : WIDTH // 2] = 1
        store.write(name, image, mask)
    return store


def inventory_of(names: list[str], **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"image_id": names, "stack": names, "z": 0, "empty": 0, **columns})


def folds_of(names: list[str], folds: list[int], excluded: list[str] | None = None) -> pd.DataFrame:
    return pd.DataFrame({"image_id": names, "fold": folds, "excluded_from": excluded or [""] * len(names)})


def training_set(store: Store, folds: pd.DataFrame, inventory: pd.DataFrame, **options: Any) -> TrainingSet:
    chosen = {"patch": (16, 24), "recipe": "none", "input": PLAIN, **options}
    experiment = Experiment(
        name="drawn", competition="drawn", input=chosen["input"], model=ModelConfig(classes=["mask"]),
        train=TrainSettings(patch=chosen["patch"]), augment=AugmentSettings(recipe=chosen["recipe"]),
    )  # fmt: skip
    return TrainingSet(store, folds, 0, experiment=experiment, inventory=inventory, seed=options.get("seed", 5))


def test_a_sample_follows_from_seed_epoch_and_index(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    store = drawn(tmp_path, names)
    folds, inventory = folds_of(names, [0, 1, 1]), inventory_of(names)
    first = training_set(store, folds, inventory, recipe="light")
    again = pickle.loads(pickle.dumps(first))
    other = training_set(store, folds, inventory, recipe="light", seed=6)
    pairs = [(epoch, index) for epoch in range(2) for index in range(6)]
    for place in pairs:
        one, same = first.sample(*place), again.sample(*place)
        assert one.name == same.name and one.image.dtype == np.float32
        assert np.array_equal(one.image, same.image) and np.array_equal(one.target, same.target)
        assert one.image.shape == (1, 16, 24) and one.target.shape == (1, 16, 24)
    listed = [first.sample(*place).name for place in pairs]
    assert len(set(listed)) > 6
    assert listed != [other.sample(*place).name for place in pairs]


def test_image_and_mask_stay_together(tmp_path: Path) -> None:
    store = create_store(tmp_path)
    mask = (np.random.default_rng(2).random((1, 1, HEIGHT, WIDTH)) > 0.5).astype(np.uint8)
    store.write("a", np.ascontiguousarray(mask[:, 0, :, :, None] * 255), mask)
    names = ["a"]
    samples = training_set(store, folds_of(names, [1]), inventory_of(names), patch=(48, 50))
    for index in range(4):
        sample = samples.sample(0, index)
        assert np.array_equal(sample.image, sample.target.astype(np.float32))


def test_shares_of_observers_are_learned_as_shares(tmp_path: Path) -> None:
    store = create_store(tmp_path)
    for name in ("a", "b"):
        soft = np.zeros((1, 1, HEIGHT, WIDTH), np.uint8)
        soft[..., : WIDTH // 2], soft[..., :4, :] = 169, 255
        store.write(name, np.zeros((1, HEIGHT, WIDTH, 1), np.uint8), soft, {"soft": True})
    names = ["a", "b"]
    index = grid_index(store.image("a"), (16, 22), ["mask"])
    assert index["foreground_mask"].max() == 1.0
    sample = training_set(store, folds_of(names, [0, 1]), inventory_of(names)).sample(0, 0)
    values = np.unique(sample.target)
    assert sample.target.dtype == np.float32 and set(values.round(3)) <= {0.0, np.float32(169 / 254).round(3), 255.0}


def test_held_out_images_and_buffers_are_never_drawn(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]
    store = drawn(tmp_path, names)
    folds = folds_of(names, [0, 1, 1, -1], ["", "0;2", "1", ""])
    samples = training_set(store, folds, inventory_of(names))
    assert {samples.sample(0, index).name.split()[0] for index in range(40)} == {"c", "d"}


def test_no_image_to_train_on_is_refused() -> None:
    with pytest.raises(ValueError, match="fold 0 has no image"):
        training_ids(folds_of(["a", "b"], [0, 1], ["", "0"]), 0)


def test_windows_keep_away_from_validation_blocks(tmp_path: Path) -> None:
    store = create_store(tmp_path)
    image = np.arange(40, dtype=np.uint8)[None, :, None, None].repeat(60, axis=2)
    store.write("a", image, np.zeros((1, 1, 40, 60), np.uint8), {"host": [1, 80, 120]})
    blocks = {"x0": 0, "x1": 120, "buffer": 8, "image_id": "a", "excluded_from": ""}
    folds = pd.DataFrame([{**blocks, "fold": 0, "y0": 0, "y1": 40}, {**blocks, "fold": 1, "y0": 40, "y1": 80}])
    samples = training_set(store, folds, inventory_of(["a"]), patch=(8, 24))
    tops = [samples.draw(np.random.default_rng(index)).y for index in range(60)]
    assert min(tops) == 24 and max(tops) == 32
    with pytest.raises(ValueError, match="every window touches"):
        training_set(store, folds, inventory_of(["a"]), patch=(32, 24))


def test_a_draw_that_never_fits_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = drawn(tmp_path, ["a"])
    samples = training_set(store, folds_of(["a"], [1]), inventory_of(["a"]))
    samples.blocks = pd.DataFrame()
    monkeypatch.setattr(samples, "_far", lambda name, boxes: np.zeros(1, bool))
    with pytest.raises(ValueError, match="draws"):
        samples.draw(np.random.default_rng(0))


@pytest.mark.parametrize(
    ("boundary", "expected"), [("clamp", [0, 0, 10]), ("reflect", [10, 0, 10]), ("zero", [None, 0, 10])]
)
def test_single_slices_see_their_stack_only(tmp_path: Path, boundary: str, expected: list[int | None]) -> None:
    names = ["a", "b", "c", "other"]
    store = drawn(tmp_path, names)
    inventory = inventory_of(names)
    inventory["stack"], inventory["z"] = ["s", "s", "s", "t"], [3, 7, 9, 4]
    config = PLAIN.model_copy(update={"offsets": [-1, 0, 1], "boundary": boundary})
    samples = training_set(store, folds_of(names, [1, 0, 1, 1]), inventory, input=config)
    image, target = samples.read(Window("a", 0, 2, 3, 16, 24))
    assert image.shape == (16, 24, 3) and target.shape == (1, 16, 24)
    assert image[0, 0].tolist() == [value or 0 for value in expected]
    assert samples.read(Window("c", 0, 2, 3, 16, 24))[0][0, 0, :2].tolist() == [10, 20]
    alone, _ = samples.read(Window("other", 0, 2, 3, 16, 24))
    assert alone[0, 0, 1] == 30 and set(alone[0, 0].tolist()) <= {0, 30}


def test_volumes_see_their_own_slices(tmp_path: Path) -> None:
    store = drawn(tmp_path, ["v"], depth=5)
    config = PLAIN.model_copy(update={"offsets": [-2, 0, 2]})
    samples = training_set(store, folds_of(["v"], [1]), inventory_of(["v"]), input=config)
    assert samples.read(Window("v", 1, 0, 0, 16, 24))[0][0, 0].tolist() == [0, 1, 3]
    assert {samples.sample(0, index).name.split()[1] for index in range(60)} == {f"z={z}" for z in range(5)}


def test_statistics_of_stage_03_are_used_and_measured_where_absent(tmp_path: Path) -> None:
    store = create_store(tmp_path)
    image = np.random.default_rng(0).integers(0, 100, (1, HEIGHT, WIDTH, 1)).astype(np.float32)
    mask = np.zeros((1, 1, HEIGHT, WIDTH), np.uint8)
    store.write("a", image, mask, {"statistics": {"low": [0.0], "high": [50.0]}})
    store.write("b", image, mask)
    config = PLAIN.model_copy(update={"normalisation": "image"})
    samples = training_set(store, folds_of(["a", "b"], [1, 1]), inventory_of(["a", "b"]), input=config)
    assert samples.measured(store.image("a")).high == (50.0,)
    assert samples.measured(store.image("b")).low[0] == pytest.approx(float(image.mean()), abs=0.1)


def test_odds_by_emptiness_and_column(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]
    store = drawn(tmp_path, names)
    index = pd.concat([grid_index(store.image(name), (HEIGHT, WIDTH), ["mask"]) for name in names])
    inventory = inventory_of(names, site=["x", "x", "x", "y"])
    inventory["empty"] = [1, 0, 0, 0]
    weighted = sample_odds(index, inventory, SamplingSettings(empty=0.5))
    assert weighted == pytest.approx(np.array([1, 2, 2, 2]) / 7)
    balanced = sample_odds(index, inventory, SamplingSettings(balance="site"))
    assert balanced == pytest.approx(np.array([1, 1, 1, 3]) / 6)
    with pytest.raises(ValueError, match="no column 'scanner'"):
        sample_odds(index, inventory, SamplingSettings(balance="scanner"))
    with pytest.raises(ValueError, match="no class rare"):
        sample_odds(index, inventory, SamplingSettings(classes={"rare": 1.0}))
    two = index.assign(foreground_rare=[1.0, *[0.0] * (len(index) - 1)])
    rare = sample_odds(two, inventory, SamplingSettings(foreground=1.0, classes={"mask": 1.0, "rare": 3.0}))
    assert rare[0] >= 0.75 > 0.5 > sample_odds(two, inventory, SamplingSettings())[0]


def test_stacks_are_ordered_and_hold_stored_images_only() -> None:
    inventory = inventory_of(["a", "b", "c"], stack="s")
    inventory["z"] = [2, 0, 1]
    assert stack_members(inventory, {"a", "b"}) == {"a": ["b", "a"], "b": ["b", "a"]}


def test_targets_that_do_not_fit_are_named(tmp_path: Path) -> None:
    store = drawn(tmp_path, ["a"])
    pixels = np.zeros((1, HEIGHT, WIDTH, 1), np.uint8)
    store.write("bare", pixels)
    store.write("label", pixels, np.zeros((1, HEIGHT, WIDTH), np.uint8))
    check_targets(store, ["a"], 1)
    with pytest.raises(ValueError, match=r"'a': found \(1, 1, 30, 44\), expected .* planes \(Z, 2"):
        check_targets(store, ["a"], 2)
    with pytest.raises(ValueError, match="'bare': found None"):
        check_targets(store, ["a", "bare"], 1)
    with pytest.raises(ValueError, match="some planes"):
        check_targets(store, ["a", "label"], 1)
