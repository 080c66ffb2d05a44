"""What a second of augmentation costs: ours against batchgeneratorsv2, MONAI and TorchIO, on one core.

    pip install --target peers --no-deps batchgeneratorsv2==0.3.6 batchgenerators==0.25.5 monai==1.6.1 torchio==1.2.1 \\
        einops rich humanize jaxtyping deprecated wrapt wadler_lindig simpleitk
    PYTHONPATH=peers python benchmarks/volume_augmentation.py

Prints milliseconds a patch of 64 x 96 x 96 voxels with its label, each transform always applied; a library that is not
installed is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from pipeline.augmentation.volumes import VolumeAugmentation, VolumeRecipe

SIZE = (64, 96, 96)
REPEATS = 10


def milliseconds(run: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Shortest time of a call after one that is not counted: what the machine does beside plays no part."""
    run()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times) * 1000


def ours(image: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Our recipe with one transform at a time."""
    augment, seeds = VolumeAugmentation("none"), iter(range(10**6))
    found = {}
    for name, settings in {
        "rotation, scale": {"spatial": 1.0, "rotate": 30, "zoom": (0.7, 1.4)},
        "elastic": {"warp": 1.0, "elastic": 4},
        "rotation, scale, elastic": {"spatial": 1.0, "rotate": 30, "zoom": (0.7, 1.4), "warp": 1.0, "elastic": 4},
        "blur": {"blur": 1.0},
        "low resolution": {"low_resolution": 1.0},
    }.items():
        augment.recipe = replace(VolumeRecipe("timed"), **settings)  # type: ignore[arg-type]
        found[name] = milliseconds(lambda: augment(image, label, next(seeds)))
    return found


def batchgenerators(image: torch.Tensor, label: torch.Tensor) -> dict[str, float]:
    """nnU-Net's library."""
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
    from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform

    turned = {"p_rotation": 1, "p_scaling": 1, "rotation": (-np.pi / 6, np.pi / 6), "scaling": (0.7, 1.4)}
    made = {
        "rotation, scale": SpatialTransform(SIZE, 0, False, **turned),
        "elastic": SpatialTransform(SIZE, 0, False, p_elastic_deform=1),
        "rotation, scale, elastic": SpatialTransform(SIZE, 0, False, p_elastic_deform=1, **turned),
        "blur": GaussianBlurTransform((0.5, 1.0), p_per_channel=1),
        "low resolution": SimulateLowResolutionTransform((0.5, 1), False, True, None, None, p_per_channel=1),
    }
    return {
        name: milliseconds(lambda: transform(image=image.clone(), segmentation=label.clone()))  # noqa: B023
        for name, transform in made.items()
    }


def monai(image: torch.Tensor, label: torch.Tensor) -> dict[str, float]:
    """MONAI's dictionary transforms."""
    import monai.transforms as transforms

    keys, modes = ["image", "label"], ["bilinear", "nearest"]
    turned: dict[str, Any] = {"prob": 1, "rotate_range": [0.5] * 3, "mode": modes, "padding_mode": "border"}
    made = {
        "rotation, scale": transforms.RandAffined(keys, scale_range=[0.3] * 3, **turned),
        "rotation, scale, elastic": transforms.Rand3DElasticd(keys, (5, 8), (50, 150), **turned),
        "blur": transforms.RandGaussianSmoothd(["image"], prob=1),
        "low resolution": transforms.RandSimulateLowResolutiond(["image"], prob=1, zoom_range=(0.5, 1)),
    }
    return {
        name: milliseconds(lambda: transform({"image": image.clone(), "label": label.clone()}), 4)  # noqa: B023
        for name, transform in made.items()
    }


def torchio(image: torch.Tensor, label: torch.Tensor) -> dict[str, float]:
    """TorchIO's random transforms."""
    import torchio as tio

    subject = tio.Subject(image=tio.ScalarImage(tensor=image), label=tio.LabelMap(tensor=label))
    made = {
        "rotation, scale": tio.RandomAffine(scales=(0.7, 1.4), degrees=30),
        "elastic": tio.RandomElasticDeformation(),
        "blur": tio.RandomBlur((0.5, 1)),
    }
    return {name: milliseconds(lambda: transform(subject), 4) for name, transform in made.items()}  # noqa: B023


def main() -> None:
    """Measure what is installed and print a table."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    image = rng.random((1, *SIZE)).astype(np.float32)
    label = (rng.random(SIZE) > 0.9).astype(np.uint8)
    columns = {"ours": ours(image, label)}
    tensors = torch.from_numpy(image), torch.from_numpy(label[None].astype(np.int16))
    for name, measure in (("batchgeneratorsv2", batchgenerators), ("monai", monai), ("torchio", torchio)):
        try:
            columns[name] = measure(*tensors)
        except ImportError as error:
            print(f"{name}: {error}")
    print(f"{'':26}" + "".join(f"{name:>20}" for name in columns))
    for row in columns["ours"]:
        cells = "".join(f"{found[row]:20.0f}" if row in found else f"{'-':>20}" for found in columns.values())
        print(f"{row:26}{cells}")


if __name__ == "__main__":
    main()
