"""Pet against ground, with `train_model` and `predict` as they are: encoder-decoder, U-Net twin, pretrained encoder.

    python benchmarks/pets_binary.py --data ../shared/data/pets [--steps 220 160 100] [--picture pets.png]

Every fifth training image is held out; the others lie in a plain folder, images/ and masks/ of two values (of a trimap
1 and the border 3 are the pet). Intersection over union at 0.5 of all held-out pixels together, the border left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import yaml

sys.path.insert(0, str(Path(__file__).parent))

from unet_twin import CHANNELS, TWINS, Pair, draw, iou

from inference import predict
from pipeline import train_model

PET, GROUND, BORDER = 1, 2, 3
USUAL = {"epochs": 1, "batch_size": 8, "patch": [96, 96], "ema": 0.98, "input__scale": 0.25, "predict__mode": "whole",
         "augment__recipe": "light"}  # fmt: skip
PRETRAINED = {"pretrained": "Unet on a pretrained encoder"}


def names_of(data: Path) -> list[str]:
    """Names of the training images, in the order of the host's list."""
    return [line.split()[0] for line in (data / "annotations/trainval.txt").read_text().splitlines()]


def lay_out(data: Path, folder: Path, names: Sequence[str]) -> None:
    """images/ and masks/ (0, 255) of the images named; the border is the pet's."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for name in names:
        (folder / "images" / f"{name}.jpg").symlink_to((data / "images" / f"{name}.jpg").resolve())
        cv2.imwrite(str(folder / "masks" / f"{name}.png"), (trimap(data, name) != GROUND).astype(np.uint8) * 255)


def trimap(data: Path, name: str) -> np.ndarray:
    """(H, W) uint8 of 1 pet, 2 ground, 3 border."""
    return np.asarray(cv2.imread(str(data / "annotations/trimaps" / f"{name}.png"), cv2.IMREAD_GRAYSCALE))


def settings_of(name: str) -> dict[str, Any]:
    """Settings of `train_model` for one of the three networks, beside the usual ones."""
    if name not in TWINS:
        return {}
    options = {"channels": yaml.safe_load(CHANNELS)}
    return {"model__architecture": name, "model__weights": "none", "model__options": options}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, nargs=3, default=[220, 160, 100], help="of the three, of 8 samples")
    parser.add_argument("--picture", type=Path, help="PNG to write")
    arguments = parser.parse_args()
    titles = TWINS | PRETRAINED
    rows: dict[str, dict[str, float]] = {}
    masks: dict[str, dict[str, np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        names = names_of(arguments.data)
        held_out = names[::5]
        lay_out(arguments.data, Path(scratch) / "pets", sorted(set(names) - set(held_out)))
        maps = {name: trimap(arguments.data, name) for name in held_out}
        for (name, title), steps in zip(titles.items(), arguments.steps, strict=True):
            begin = time.process_time()
            model = train_model(
                Path(scratch) / "pets", out=Path(scratch) / name, steps_per_epoch=steps, **USUAL, **settings_of(name)
            )
            trained = time.process_time()
            files = {one: arguments.data / "images" / f"{one}.jpg" for one in held_out}
            masks[name] = {one: predict(model, path) >= 0.5 for one, path in files.items()}
            known = [maps[one] != BORDER for one in held_out]
            said = [masks[name][one][of] for one, of in zip(held_out, known, strict=True)]
            truth = [maps[one][of] == PET for one, of in zip(held_out, known, strict=True)]
            rows[title] = {
                "pet": iou(said, truth), "ground": iou([~a for a in said], [~a for a in truth]),
                "minutes": (trained - begin) / 60, "s/image": (time.process_time() - trained) / len(held_out),
            }  # fmt: skip
            print(title, rows[title], flush=True)
    scores = pd.DataFrame(rows).T
    print(scores.round(3).to_string())
    if arguments.picture:
        pairs: dict[str, Pair] = {}
        for one in held_out:
            image = cv2.imread(str(arguments.data / "images" / f"{one}.jpg"), cv2.IMREAD_COLOR)
            pairs[one] = (np.asarray(image)[..., ::-1], maps[one] != GROUND)
        draw(pairs, masks, scores[["pet", "ground"]], arguments.picture, titles)


if __name__ == "__main__":
    main()
