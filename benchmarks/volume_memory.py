"""Peak memory and time of preparing and predicting a volume of uint8: does either grow with the depth?

    python benchmarks/volume_memory.py --depth 64 256 --side 256

Stage 03 stores the volume and its label (three values, one of them void), then a small 3D network predicts it; each is
a process of its own. The volume is a memory-mapped file, tiles are 64 x 128 x 128 with half overlap (--tile, --overlap:
others; --side 0: as wide as deep; --only: one of the two). Prints peak resident memory beside that of the interpreter
with the model and all libraries loaded, what was planned, and microseconds of the processor a voxel.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CONTRACT = {
    "name": "drawn", "classes": ["shown"], "metric": {"name": "dice"},
    "images": {"kind": "volumes", "train": "volume_{id}.npy", "axes": "ZHWC"},
    "masks": {"kind": "images", "path": "label_{id}.npy", "values": {0: [], 1: "shown", 2: "void"}},
}  # fmt: skip


def write_volume(path: Path, depth: int, side: int, values: int = 255) -> None:
    """Noise, a slice at a time."""
    volume = np.lib.format.open_memmap(path, "w+", np.uint8, (depth, side, side, 1))
    for z in range(depth):
        volume[z] = np.random.default_rng(z).integers(0, values, (side, side, 1), dtype=np.uint8)
    volume.flush()


def peak_bytes() -> int:
    """Peak resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise ValueError("/proc/self/status has no VmHWM: this runs on Linux only")


class Mapped:
    """A source whose slices are read from a file when they are asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        volume = np.load(path, mmap_mode="r")
        self.shape, self.dtype = volume.shape, volume.dtype

    def read(self, z: int, rows: slice | None = None, cols: slice | None = None) -> np.ndarray:
        """Window of a slice, with no page left mapped."""
        volume = np.load(self.path, mmap_mode="r")
        return np.array(volume[z, rows or slice(None), cols or slice(None)])

    def close(self) -> None:
        """Nothing is open."""


def prepare(folder: Path) -> None:
    """Store the drawn volume as stage 03 does and print memory and time; runs in a process of its own."""
    from pipeline.data.prepare import prepare_images
    from pipeline.experiment import Experiment
    from submissions.host.competition import Competition
    from submissions.host.listing import list_images

    competition = Competition.model_validate(CONTRACT)
    experiment = Experiment(name="drawn", competition="drawn")
    listing, problems = list_images(competition, folder, "train")
    assert not problems, problems
    small = listing["image_id"] == "small"
    prepare_images(competition, experiment, folder, folder / "store", listing[small])  # what libraries need
    before, began = peak_bytes(), time.process_time()
    prepare_images(competition, experiment, folder, folder / "store", listing[~small])
    seconds = time.process_time() - began
    voxels = float(np.prod(np.load(folder / "volume_large.npy", mmap_mode="r").shape))
    print(
        f"{round(voxels / 1e6)} million voxels, stage 03: {(peak_bytes() - before) / 1e6:.0f} MB, {seconds:.0f} s, "
        f"{seconds / voxels * 1e6:.3f} microseconds a voxel",
        flush=True,
    )


def predict(path: Path, tile: tuple[int, int, int], overlap: float) -> None:
    """Predict one volume and print memory and time; runs in a process of its own."""
    import torch

    from inference.config import InputConfig, ModelConfig, PredictConfig
    from inference.models import build_model
    from inference.predict.predictor import predict_image
    from inference.weights import LoadedModel

    torch.set_num_threads(1)
    options = {"features": [2, 4], "strides": [1, 2], "depths": [1, 1], "decoder_depth": 1}
    config = ModelConfig(architecture="unet3d", in_channels=1, options=options)
    shown = InputConfig(dims=3, channels=1, mean=[0.5], std=[0.5])
    settings = PredictConfig(tile=tile, overlap=overlap, precision="fp32")
    model = LoadedModel(build_model(config).eval(), config, shown, settings, path)
    source = Mapped(path)
    small = Mapped(path.with_name("volume_small.npy"))
    predict_image([model], small, range(4), None, path.with_name("small.h5"))  # what libraries need
    with torch.inference_mode():
        model.model(torch.zeros(1, 1, *settings.box))  # what the network itself needs for one box
    before, began = peak_bytes(), time.process_time()
    report = predict_image([model], source, range(source.shape[0]), None, path.with_suffix(".h5"))
    seconds = time.process_time() - began
    voxels = float(np.prod(source.shape))
    print(
        f"{source.shape[:3]}: {(peak_bytes() - before) / 1e6:.0f} MB beside the model (planned "
        f"{report.memory.total / 1e6:.0f} MB), {seconds:.0f} s, {seconds / voxels * 1e6:.2f} microseconds a voxel"
    )


def main() -> None:
    """A process for each depth."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--depth", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--tile", type=int, nargs=3, default=[64, 128, 128])
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--only", choices=["prepare", "predict"])
    parser.add_argument("--predict", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.prepare is not None:
        return prepare(arguments.prepare)
    if arguments.predict is not None:
        return predict(arguments.predict, tuple(arguments.tile), arguments.overlap)
    same = ["--tile", *map(str, arguments.tile), "--overlap", str(arguments.overlap)]
    for depth in arguments.depth:
        with tempfile.TemporaryDirectory() as folder:
            for name, sizes in (("small", (4, 16)), ("large", (depth, arguments.side or depth))):
                write_volume(Path(folder) / f"volume_{name}.npy", *sizes)
                write_volume(Path(folder) / f"label_{name}.npy", *sizes, values=3)
            if arguments.only != "predict":
                subprocess.run([sys.executable, __file__, "--prepare", folder], check=True)
                shutil.rmtree(Path(folder) / "store")
            if arguments.only != "prepare":
                path = Path(folder) / "volume_large.npy"
                subprocess.run([sys.executable, __file__, "--predict", str(path), *same], check=True)


if __name__ == "__main__":
    main()
