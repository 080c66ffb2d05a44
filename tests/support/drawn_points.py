"""Two hosts of points, drawn: particles in Zarr tomograms with picks as JSON, motors in folders of slices."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pandas as pd
import tensorstore

CZII_SHAPE, BYU_SHAPE = (9, 24, 31), (4, 70, 90)
Picks = Mapping[str, Sequence[tuple[float, float, float]]]  # z, y, x in A
PICKS: Picks = {"ribosome": [(40.0, 100.0, 90.0), (70.0, 200.0, 300.0)], "apo-ferritin": [(41.0, 108.0, 95.0)]}
MOTOR_COLUMNS = ["tomo_id", "Motor axis 0", "Motor axis 1", "Motor axis 2", "Voxel spacing"]


def write_tomogram(folder: Path, volume: np.ndarray) -> None:
    """An OME-Zarr of one level."""
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": str(folder / "0")}}
    made = tensorstore.open(spec, create=True, dtype="float32", shape=volume.shape).result()
    made.write(volume).result()
    axes = [{"name": axis, "type": "space", "unit": "angstrom"} for axis in "zyx"]
    levels = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [10.0, 10.0, 10.0]}]}]
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    scales = {"multiscales": [{"axes": axes, "datasets": levels, "version": "0.4"}]}
    (folder / ".zattrs").write_text(json.dumps(scales))


def write_czii(
    data: Path, train: Mapping[str, Picks], test: Sequence[str], shape: tuple[int, int, int] = CZII_SHAPE
) -> None:
    """CZII's layout: tomograms of noise, brighter where particles are, and the picks of training runs."""
    for part, runs in (("train", list(train)), ("test", list(test))):
        for number, run in enumerate(runs):
            volume = np.random.default_rng(number).normal(size=shape).astype(np.float32)
            for places in train.get(run, {}).values():
                for z, y, x in places:
                    volume[round(z / 10), round(y / 10), round(x / 10)] += 9
            write_tomogram(data / part / f"static/ExperimentRuns/{run}/VoxelSpacing10.000/denoised.zarr", volume)
    for run, picks in train.items():
        folder = data / f"train/overlay/ExperimentRuns/{run}/Picks"
        folder.mkdir(parents=True, exist_ok=True)
        for name, places in picks.items():
            points = [{"location": {"x": x, "y": y, "z": z}} for z, y, x in places]
            (folder / f"{name}.json").write_text(json.dumps({"pickable_object_name": name, "points": points}))


def write_byu(
    data: Path,
    train: Mapping[str, tuple[float, float, float] | None],
    test: Sequence[str],
    shape: tuple[int, int, int] = BYU_SHAPE,
) -> None:
    """BYU's layout: folders of JPEG slices, and one row per tomogram with the place of its motor or -1."""
    for part, names in (("train", list(train)), ("test", list(test))):
        for name in names:
            (data / part / name).mkdir(parents=True)
            for z in range(shape[0]):
                pixels = np.random.default_rng(z).integers(0, 255, shape[1:], np.uint8)
                iio.imwrite(data / part / name / f"slice_{z:04d}.jpg", pixels)
    rows = [(name, *(place or (-1, -1, -1)), 13.1) for name, place in train.items()]
    pd.DataFrame(rows, columns=MOTOR_COLUMNS).to_csv(data / "train_labels.csv", index=False)
