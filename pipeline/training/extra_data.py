"""What a fold trains on beside its own images: pseudo-labelled test images, and other competitions' data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from inference.predict.inputs import statistics
from inference.predict.resample import resize_image, working_scale
from inference.predict.store import open_prediction, prediction_path
from pipeline.contract_fit import resolve
from pipeline.data.fold_tables import open_folds
from pipeline.data.patch_index import shown_in
from pipeline.data.prepare import open_prepared
from pipeline.data.scaling import strips, working_size
from pipeline.data.store import Store, create_store
from pipeline.experiment import Experiment, load_experiment
from pipeline.seeds import seed_of
from pipeline.settings.training import TrainSettings
from pipeline.stage import read_stage
from pipeline.training.dataset import TrainingSet
from pipeline.training.mixture import Extra
from pipeline.workspace import Workspace
from submissions.host.competition import load_competition
from submissions.host.listed_images import ListedImages, pixel_size
from submissions.host.listing import list_images
from submissions.host.truth import SOFT_TOP, VOID

APART = "test_folds"


def extra_data(space: Workspace, fold: int) -> list[Extra]:
    """Everything that the experiment asks for beside the fold's own images; nothing where it asks for nothing."""
    settings = space.experiment.train
    found = [external_data(space, name) for name in range(len(space.experiment.external))]
    if settings.pseudo_labels is not None:
        found.append(pseudo_labelled(space, fold))
    return found


def extra_inputs(space: Workspace, fold: int) -> dict[str, str]:
    """Fingerprints of what `extra_data` reads, for the stage that trains on it."""
    inputs = {}
    for number in range(len(space.experiment.external)):
        _, inputs[f"external_{number}"] = open_prepared(external_space(space, number))
    run = space.experiment.train.pseudo_labels
    if run is not None:
        folder = check_predictions(space.shared / run, fold, open_folds(space)[1])
        inputs["pseudo_labels"] = str(read_stage(folder, f"07_predict_test.py {run}")["fingerprint"])
    return inputs


def external_space(space: Workspace, number: int) -> Workspace:
    """The other experiment, with its own contract and data, and the same folder of runs."""
    wanted = space.experiment.external[number]
    loaded = load_experiment(wanted.experiment)
    contract = load_competition(loaded.competition)
    return Workspace(resolve(loaded, contract), contract, Path(wanted.data or "."), space.runs)


def external_data(space: Workspace, number: int) -> Extra:
    """Images of another competition, prepared by its own experiment; for training only.

    Images whose pixels are also in this competition are left out: they could be held out here. Raises ValueError for
    what does not fit, and FileNotFoundError where the other experiment was not prepared.
    """
    wanted, experiment = space.experiment.external[number], space.experiment
    other = external_space(space, number)
    check_external(space, number, other)
    store, _ = open_prepared(other)
    inventory, _ = other.training_images()
    ours, _ = space.training_images()
    known = set(ours["content_hash"])
    kept = inventory[~inventory["content_hash"].isin(known) & inventory["image_id"].isin(store.ids())]
    return Extra(wanted.share, _training_set(experiment, store, kept, f"external {number}", weight=wanted.weight))


def check_external(space: Workspace, number: int, other: Workspace) -> None:
    """Raises ValueError where classes, their kind, working size or stage 03's statistics are not this experiment's."""
    theirs, ours = other.experiment, space.experiment
    inputs = ["normalisation", "scale", "pixel_size_um"]
    inputs += ["channels"] if ours.input.normalisation != "fixed" else []  # else no statistics are taken by channel
    asked = {
        "classes": (theirs.model.classes, ours.model.classes),
        "model.activation": (theirs.model.activation, ours.model.activation),
        **{f"input.{name}": (getattr(theirs.input, name), getattr(ours.input, name)) for name in inputs},
    }
    for name, (found, expected) in asked.items():
        if found != expected:
            raise ValueError(
                f"external[{number}]: {ours.external[number].experiment!r} has the {name} {found}, expected this "
                f"experiment's {expected}"
            )


def pseudo_labelled(space: Workspace, fold: int) -> Extra:
    """Test images as the models of one fold of another run see them.

    Only predictions made by that fold's model alone are taken, and only where that run was split by the same fold
    file: its model then never trained on the images that fold `fold` validates on here. Raises ValueError for
    anything else and FileNotFoundError where the predictions were not made fold by fold.
    """
    settings = space.experiment.train
    predictions = check_predictions(space.shared / str(settings.pseudo_labels), fold, open_folds(space)[1])
    listing, _ = list_images(space.competition, space.data, "test")
    images = ListedImages(space.competition, space.data, listing)
    store = create_store(space.fold(fold) / "pseudo_labels")
    rows = fill_pseudo_store(store, predictions, images, listing, experiment=space.experiment)
    source = _training_set(space.experiment, store, rows, "pseudo-labels")
    return Extra(settings.pseudo_share, source)


def check_predictions(run: Path, fold: int, folds_hash: str) -> Path:
    """Folder of the test predictions of fold `fold`'s model alone, checked against the fold file.

    The stage's document names the fold in its settings and the hash of the fold file in its inputs.
    """
    folder = run / APART / f"fold_{fold}"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: no test predictions of fold {fold} by itself; run 07_predict_test.py of {run.name} with "
            "--keep-folds. The mean of all folds cannot be used: its models trained on the images that this fold "
            "validates on"
        )
    identity = read_stage(folder, f"07_predict_test.py {run.name}")["identity"]
    found, theirs = identity["settings"].get("fold"), identity["inputs"].get("folds")
    if found != fold:
        raise ValueError(f"{folder}: predicted by the model of fold {found}, expected of fold {fold} only")
    if theirs != folds_hash:
        raise ValueError(
            f"{folder}: that run was split by the fold file {theirs}, this one by {folds_hash}: its fold {fold} may "
            "have trained on images that are validated on here. Give both experiments the same section `folds`"
        )
    return folder


def fill_pseudo_store(
    store: Store, predictions: Path, images: ListedImages, listing: pd.DataFrame, *, experiment: Experiment
) -> pd.DataFrame:
    """Store every predicted test image with its pseudo-label; returns the rows of those, with the column `empty`."""
    done = set(store.ids())
    names = [str(name) for name in listing["image_id"]]
    names = [name for name in names if prediction_path(predictions, name).is_file()]
    if not names:
        raise ValueError(f"{predictions}: no prediction of a test image; run stage 07 of that experiment again")
    empty = {}
    for name in names:
        if name not in done:
            _store_pseudo(store, name, prediction_path(predictions, name), images, experiment)
        empty[name] = int(bool(store.image(name).attrs["empty"]))
    rows = listing[listing["image_id"].isin(names)].reset_index(drop=True)
    return rows.assign(empty=[empty[str(name)] for name in rows["image_id"]])


def _store_pseudo(store: Store, image_id: str, path: Path, images: ListedImages, experiment: Experiment) -> None:
    reader = images.open_alone(image_id)
    depth, height, width, channels = reader.shape
    size = working_size(
        (height, width), working_scale(experiment.input, pixel_size(images.competition, images.row(image_id), reader))
    )
    with open_prediction(path) as prediction:
        classes = len(experiment.model.classes)
        if prediction.channels[:classes] != list(experiment.model.classes):
            raise ValueError(
                f"{path}: channels {list(prediction.channels)}, expected the classes {experiment.model.classes}"
            )
        probs = prediction.read()[:classes]
    volume = probs[:, None] if probs.ndim == 3 else probs
    exclusive = experiment.model.activation == "softmax"
    target = np.stack(
        [
            pseudo_target(resize_image(plane.transpose(1, 2, 0), size), experiment.train, exclusive=exclusive)
            for plane in volume.swapaxes(0, 1)
        ]
    )
    attrs: dict[str, Any] = {
        "host": [depth, height, width],
        "statistics": asdict(statistics(reader, experiment.input)),
        "empty": not _shows_any(target, experiment),
        **({"soft": True} if experiment.train.pseudo_soft else {}),
    }
    store.write(image_id, strips(reader, size), target, attrs, shape=(depth, *size, channels), dtype=reader.dtype)
    reader.close()


def _shows_any(target: np.ndarray, experiment: Experiment) -> bool:
    """Whether a target, label (Z, H, W) or planes (Z, K, H, W), shows a class that is not background."""
    if target.ndim == 4:
        return bool(shown_in(target, soft=experiment.train.pseudo_soft).any())
    names = enumerate(experiment.model.classes)
    return bool(np.isin(target, [index for index, name in names if name != "background"]).any())


def pseudo_target(probs: np.ndarray, settings: TrainSettings, *, exclusive: bool) -> np.ndarray:
    """Target of one slice from quantised probabilities (h, w, K) uint8: 255 wherever the model was not sure enough.

    Hard: planes (K, h, w) of 0 and 1, or a label (h, w). Soft: planes of 0 to SOFT_TOP for probabilities 0 to 1.
    """
    needed = settings.pseudo_confidence * 255
    if exclusive:
        label: np.ndarray = probs.argmax(axis=2).astype(np.uint8)
        label[probs.max(axis=2) < needed] = VOID
        return label
    planes = probs.transpose(2, 0, 1)
    sure = np.maximum(planes, 255 - planes) >= needed
    if settings.pseudo_soft:
        values = np.rint(planes / 255 * SOFT_TOP).astype(np.uint8)
    else:
        values = (planes >= 128).astype(np.uint8)
    return np.where(sure, values, np.uint8(VOID))


def _training_set(
    experiment: Experiment, store: Store, inventory: pd.DataFrame, what: str, *, weight: float = 1.0
) -> TrainingSet:
    """All images of a store, whose samples are drawn by the experiment's settings but for the balance of a column."""
    sampling = experiment.train.sampling.model_copy(update={"balance": None})
    plain = experiment.model_copy(update={"train": experiment.train.model_copy(update={"sampling": sampling})})
    folds = pd.DataFrame({"image_id": inventory["image_id"], "fold": -1, "excluded_from": ""})
    seed = seed_of(experiment.seed, what)
    return TrainingSet(store, folds, 0, experiment=plain, inventory=inventory, seed=seed, weight=weight)
