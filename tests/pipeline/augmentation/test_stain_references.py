"""Reference pictures: whose colours a fold's training takes over, and whose never."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from tiny_run import EXPERIMENT, write_tiny_experiment

from pipeline.augmentation import stain_references as references
from pipeline.augmentation.stain_references import reference_colours
from pipeline.augmentation.stains import colour_statistics
from pipeline.data.fold_tables import open_folds
from pipeline.data.prepare import open_prepared
from pipeline.data.store import Store, create_store
from pipeline.report.augmentation_sheet import write_augmentation_sheet
from pipeline.sequence import run_stages
from pipeline.training.fold_training import training_set
from pipeline.workspace import open_workspace, stage_parser

HEIGHT, WIDTH = 30, 46


def drawn_store(folder: Path) -> tuple[Store, pd.DataFrame]:
    """Images a to d of different colours, two folds; d is kept apart from fold 0."""
    store, rng = create_store(folder), np.random.default_rng(1)
    for number, name in enumerate("abcd"):
        image = rng.integers(20 + 40 * number, 60 + 40 * number, (1, HEIGHT, WIDTH, 3)).astype(np.uint8)
        store.write(name, image, np.zeros((1, 1, HEIGHT, WIDTH), np.uint8))
    return store, pd.DataFrame({"image_id": [*"abcd"], "fold": [0, 1, 0, 1], "excluded_from": ["", "", "", "0"]})


def test_a_fold_takes_no_colours_of_what_it_holds_out(tmp_path: Path) -> None:
    store, folds = drawn_store(tmp_path)
    expected = {name: colour_statistics(store.image(name).read(0)) for name in "abcd"}
    assert reference_colours(["a", "b", "d"], store, folds, 0) == [expected["b"]]
    assert reference_colours(["d", "a", "b"], store, folds, 1) == [expected["a"]]
    assert reference_colours([], store, folds, 0) == []


def test_large_references_are_read_on_a_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "PIXELS", 40_000)
    monkeypatch.setattr(references, "READ_ROWS", 103)
    store, folds = drawn_store(tmp_path)
    image = np.zeros((3, 420, 500, 3), np.uint8)
    image[1, 200:] = (200, 90, 60)
    store.write("b", image, np.zeros((3, 1, 420, 500), np.uint8))
    (found,) = reference_colours(["b"], store, folds, 0)
    whole = colour_statistics(image[1])
    np.testing.assert_allclose([*found.mean, *found.std], [*whole.mean, *whole.std], rtol=0.01)


def test_references_that_cannot_serve_are_refused(tmp_path: Path) -> None:
    store, folds = drawn_store(tmp_path)
    with pytest.raises(ValueError, match=r"names '\.\./secret\.png', which is no training image"):
        reference_colours(["a", "../secret.png"], store, folds, 1)
    with pytest.raises(ValueError, match=r"fold 0 holds out or keeps apart all of \['a', 'd'\]"):
        reference_colours(["a", "d"], store, folds, 0)
    store.write("b", np.zeros((1, 4, 5, 1), np.uint8), np.zeros((1, 1, 4, 5), np.uint8))
    with pytest.raises(ValueError, match=r"'b' is uint8 of 1 channel\(s\), expected RGB"):
        reference_colours(["b"], store, folds, 0)


def test_references_reach_training_and_the_sheet(tmp_path: Path) -> None:
    arguments = write_tiny_experiment(tmp_path, folds=EXPERIMENT["folds"] | {"repeats": 2})
    rng = np.random.default_rng(0)
    for path in sorted((tmp_path / "data/train").glob("*.png")):
        shape = cv2.imread(str(path)).shape
        cv2.imwrite(str(path), rng.integers(120, 180, shape).astype(np.uint8))
    colours = [
        "--set",
        "augment.recipe=histology",
        "--set",
        "augment.references=[train00,train02,train04,train06,train08,train10]",
    ]
    run_stages([*arguments, *colours], ("01", "02", "03"))
    several = open_workspace(stage_parser("").parse_args([*arguments, *colours]))
    assert write_augmentation_sheet(several) == several.own / "augmentations.png"
    space = open_workspace(stage_parser("").parse_args([*arguments, "--set", "folds.repeats=1"]))
    run_stages([*arguments, "--set", "folds.repeats=1"], ("02",))
    store, _ = open_prepared(space)
    folds, inventory = open_folds(space)[0], space.training_images()[0]
    held = {str(name): int(fold) for name, fold in zip(folds["image_id"], folds["fold"], strict=True)}
    samples = []
    for named in ([], [name for name, fold in held.items() if fold == 1]):
        update = {"augment": space.experiment.augment.model_copy(update={"recipe": "histology", "references": named})}
        experiment = space.experiment.model_copy(update=update)
        source = training_set(experiment, 0, store=store, folds=folds, inventory=inventory)
        samples.append([source.sample(0, index).image for index in range(12)])
    assert any(not np.array_equal(one, other) for one, other in zip(*samples, strict=True))
    ensemble = space.experiment.model_copy(update={"members": ["one", "other"]})
    with pytest.raises(ValueError, match="show the augmentations of one of its members"):
        write_augmentation_sheet(type(space)(ensemble, space.competition, space.data, space.runs))
