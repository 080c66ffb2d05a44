"""Stage 03: images decoded once, at the working size, with what the network learns beside them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from inference.predict.inputs import statistics
from inference.predict.resample import working_scale
from inference.predict.volume_grid import spacing_of, work_shape
from pipeline.data.patch_index import PatchGrid, write_index, write_index_part
from pipeline.data.scaling import nearest_indices, resample_volume, strips
from pipeline.data.store import Store, create_store, open_store
from pipeline.data.targets import build_target
from pipeline.data.volume_index import box_index_path, write_box_index
from pipeline.distributed.shards import share
from pipeline.experiment import Experiment
from pipeline.stage import Stage, read_stage
from pipeline.workspace import Workspace
from submissions.host.competition import Competition
from submissions.host.listed_images import ListedImages, pixel_size
from submissions.host.masks import MaskReader, Truth, shared_reader

CHUNK = 16  # images stored in one go


def prepare_stage(space: Workspace) -> Stage:
    """The stage with its folder: the same for every experiment that prepares alike."""
    made = read_stage(space.inventory, f"01_check_data.py {space.experiment.name}")
    experiment = space.experiment
    settings = {
        "prepare": experiment.prepare.model_dump(mode="json"),
        "exclusive": space.competition.exclusive,
        "scale": experiment.input.scale,
        "pixel_size_um": experiment.input.pixel_size_um,
        "normalisation": experiment.input.normalisation,
        "limit": space.limit,
    }
    if experiment.input.spacing_mm is not None:
        settings["spacing_mm"] = experiment.input.spacing_mm
    if experiment.input.normalisation != "fixed":  # the statistics that are stored are those of these channels
        settings["channels"] = experiment.input.channels
    stage = Stage("03_prepare_data", space.shared / "store", settings, {"inventory": str(made["output"])})
    stage.folder = space.shared / "store" / stage.fingerprint
    return stage


def prepare_images(
    competition: Competition,
    experiment: Experiment,
    data: Path,
    folder: Path,
    listing: pd.DataFrame,
) -> int:
    """Store the images of a listing; runs in any process, its arguments are plain. Returns their number.

    Raises ValueError that names the image which cannot be stored.
    """
    cv2.setNumThreads(0)
    images, masks = ListedImages(competition, data, listing), shared_reader(competition, data)
    store = create_store(folder, experiment.prepare.store)
    for image_id in images.ids:
        try:
            prepare_image(competition, experiment, images, masks, store, image_id)
        except (ValueError, OSError) as error:
            raise ValueError(f"image {image_id!r} cannot be prepared: {error}") from error
    return len(images.ids)


def prepare_image(
    competition: Competition,
    experiment: Experiment,
    images: ListedImages,
    masks: MaskReader,
    store: Store,
    image_id: str,
) -> int:
    """Store one image with its target; returns 1 where its mask is empty, else 0."""
    row = images.row(image_id)
    reader = images.open_alone(image_id)
    depth, height, width, channels = reader.shape
    scale = working_scale(experiment.input, pixel_size(competition, row, reader))
    spacing = spacing_of(reader)
    work = work_shape(reader.shape, scale, experiment.input, spacing)
    planes = () if competition.exclusive else (len(competition.classes) + len(experiment.prepare.targets),)
    shown = [index for index, name in enumerate(competition.classes) if name != "background"]
    seen: list[bool] = []

    def parts() -> Iterator[Truth]:
        for truth in masks.parts(row, (depth, height, width)):
            seen.append(bool(truth.planes[shown].any()))
            yield truth

    target = _target_slices(experiment, parts(), depth, work, exclusive=competition.exclusive)
    steps = spacing or (1.0, 1.0, 1.0)
    attrs: dict[str, Any] = {
        "host": [depth, height, width],
        "scale": scale,
        "statistics": asdict(statistics(reader, experiment.input)),
        **({"soft": True} if competition.masks.join == "mean" and len(competition.masks.observers) > 1 else {}),
        "spacing": [step * own / side for step, own, side in zip(steps, reader.shape, work, strict=False)],
    }
    shape, dtype = (*work, channels), reader.dtype
    pixels: np.ndarray | Iterator[np.ndarray] | None = None if store.kind == "raw" else strips(reader, work[1:])
    if work[0] != depth:
        pixels = resample_volume(reader, work)
    sizes: dict[str, Any] = {"shape": shape, "dtype": dtype, "target_shape": (work[0], *planes, *work[1:])}
    store.write(image_id, pixels, target, attrs, **sizes)
    reader.close()
    return int(not any(seen))


def _target_slices(
    experiment: Experiment, parts: Iterator[Truth], depth: int, work: tuple[int, int, int], *, exclusive: bool
) -> Iterator[np.ndarray]:
    """The target slice by slice, uint8 (h, w) or (K, h, w): of the working depth the nearest of the host's slices."""
    extra: list[str] = list(experiment.prepare.targets)
    first, left = 0, nearest_indices(depth, work[0]).tolist()
    for truth in parts:
        part = build_target(truth, work[1:], exclusive=exclusive, extra=extra)
        while left and left[0] < first + len(part):
            yield part[left.pop(0) - first]
        first += len(part)


def fill_store(space: Workspace, folder: Path) -> Iterator[tuple[int, int]]:
    """Store every training image, or those of the shard, that is not stored yet; yields (stored, of how many)."""
    rows = _shared_rows(space)
    left = _without_stored(rows, space, folder)
    count, total = len(rows) - len(left), len(rows)
    yield count, total
    fixed = (space.competition, space.experiment, space.data, folder)
    parts = [left.iloc[start : start + CHUNK] for start in range(0, len(left), CHUNK)]
    if space.workers > 0 and parts:
        with ProcessPoolExecutor(space.workers) as pool:
            for stored in pool.map(prepare_images, *([one] * len(parts) for one in fixed), parts):  # ends at an error
                count += stored
                yield count, total
        return
    for part in parts:
        count += prepare_images(*fixed, part)
        yield count, total


def unstored(space: Workspace, folder: Path) -> list[str]:
    """Ids of the training images, or those of the shard, that are not stored yet."""
    return [str(name) for name in _without_stored(_shared_rows(space), space, folder).index]


def _without_stored(rows: pd.DataFrame, space: Workspace, folder: Path) -> pd.DataFrame:
    return rows[~rows.index.isin(create_store(folder, space.experiment.prepare.store).ids())]


def _shared_rows(space: Workspace) -> pd.DataFrame:
    """The listing of the training images, or of those of the shard, by id."""
    listing, _ = space.training_images()
    rows = listing.set_axis(listing["image_id"].astype(str).rename(None), axis=0)
    return rows.loc[share(list(rows.index), space.shard)]


def peak_memory(space: Workspace) -> float:
    """GB that stage 03 needs at most: processes times the decoded mask and strips of the largest image."""
    listing, _ = space.training_images()
    largest = int((listing["depth"] * listing["height"] * listing["width"]).max())
    planes = len(space.competition.classes) + len(space.experiment.prepare.targets)
    return max(1, space.workers) * (largest * (2 * planes + 4) + 200e6) / 1e9


def open_prepared(space: Workspace) -> tuple[Store, str]:
    """The finished store of stage 03 and its fingerprint."""
    stage = prepare_stage(space)
    made = read_stage(stage.folder, f"03_prepare_data.py {space.experiment.name}")
    return _opened(space, stage.folder), str(made["fingerprint"])


def index_patches(space: Workspace, folder: Path) -> int:
    """Write the patch index of the experiment's patch size where it is not there, or lacks a column; returns its rows.

    Of a shard, only the rows of its images, which the index of all is put together of; that of volumes, which is
    quickly made, is left to the training.
    """
    store, train, classes = _opened(space, folder), space.experiment.train, space.experiment.model.classes
    volumes = space.experiment.input.dims == 3
    grid = PatchGrid(train.plane, classes, train.sampling.background < 1, train.axes)
    path = box_index_path(store, train.box) if volumes else grid.path(store)
    if path.is_file() and set(grid.measured) <= set(pd.read_csv(path, nrows=0).columns):
        return len(pd.read_csv(path, usecols=["image_id"], dtype=str))
    if volumes:
        return 0 if space.shard is not None else len(write_box_index(store, train.box, classes))
    if space.shard is not None:
        return write_index_part(store, [str(name) for name in _shared_rows(space).index], grid)
    return write_index(store, grid)


def _opened(space: Workspace, folder: Path) -> Store:
    """The store, one of kind raw with the host's own files, decoded whenever pixels are read."""
    if space.experiment.prepare.store != "raw":
        return open_store(folder)
    images = ListedImages(space.competition, space.data, space.training_images()[0])
    return open_store(folder, opener=lambda image_id, _: images.open_alone(image_id))
