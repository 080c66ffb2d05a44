"""Does clDice beside Dice leave fewer breaks in thin things? Two small 3D networks, 30 drawn tubes and sheets.

    python benchmarks/thin_shapes.py [--steps 200] [--seeds 3]

Both networks have the same start, order of patches and steps; one learns by Dice alone, the other by Dice and half as
much soft clDice. Volumes of 24 x 40 x 32 are drawn: a bent tube or a wavy sheet, two to three voxels thick, that fades
in stretches, in noise. Training volumes are drawn on the way; the 30 that are scored are none of them, 15 of each
shape. Betti error: how far the numbers of components, tunnels and cavities of the prediction at 0.5 are from the
truth's, summed (components touch at corners; tunnels by the Euler number); breaks: components beyond the truth's.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import torch
from scipy.ndimage import gaussian_filter1d, label
from skimage.measure import euler_number
from torch import nn

from inference.config import ModelConfig
from inference.models import build_model
from pipeline.training.losses import build_loss
from submissions.metrics.skeletons import skeleton

SHAPE = (24, 40, 32)
SCORED = 30
LOSSES = {"Dice": {"entropy": 0.0}, "Dice + clDice": {"entropy": 0.0, "cl_dice": 0.5}}
CORNERS = np.ones((3, 3, 3), bool)


def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Image float32 and truth bool of SHAPE: a tube where the seed is even, else a sheet."""
    generator = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")).astype(np.float32)
    if seed % 2 == 0:
        along, truth = _tube(grid, generator)
    else:
        along, truth = _sheet(grid, generator)
    fade = 0.5 + 0.5 * np.sin(2 * np.pi * (along / generator.uniform(10, 20) + generator.random()))
    image = truth * (0.35 + 0.65 * fade) + generator.normal(0, 0.35, SHAPE)
    return image.astype(np.float32), truth


def _walk(n: int, low: float, high: float, generator: np.random.Generator) -> np.ndarray:
    """A smooth random line of `n` values from `low` to `high`."""
    line = gaussian_filter1d(generator.normal(size=n + 40), 7)[20:-20]
    line = (line - line.min()) / (np.ptp(line) + 1e-6)
    return low + line * (high - low)


def _tube(grid: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Place along the tube and its voxels: one that runs through all rows."""
    depth, height, width = SHAPE
    z = _walk(height, 4, depth - 5, generator)
    x = _walk(height, 4, width - 5, generator)
    centres = np.stack([z, np.arange(height), x], axis=1)
    far = np.linalg.norm(grid.transpose(1, 2, 3, 0)[..., None, :] - centres, axis=-1)
    return far.argmin(-1), far.min(-1) < generator.uniform(1.3, 1.7)


def _sheet(grid: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Place across the sheet and its voxels: one that runs through all rows and columns."""
    depth, height, width = SHAPE
    level = 0.5 * (_walk(height, 4, depth - 5, generator)[:, None] + _walk(width, 4, depth - 5, generator)[None])
    return grid[1] + 0.5 * grid[2], np.abs(grid[0] - level) < generator.uniform(1.0, 1.4)


def betti_numbers(mask: np.ndarray) -> np.ndarray:
    """Components (touching at corners), tunnels and cavities of a bool volume."""
    components = label(mask, CORNERS)[1]
    background = np.pad(~mask, 1, constant_values=True)
    cavities = label(background)[1] - 1
    return np.array([components, components + cavities - euler_number(mask, connectivity=3), cavities])


def train(loss: dict[str, float], steps: int, seed: int) -> nn.Module:
    """A small 3D U-Net after `steps` of two volumes, drawn anew each time."""
    torch.manual_seed(seed)
    options = {"features": [8, 16, 32], "strides": [1, 2, 2], "depths": [1, 2, 2]}
    model = build_model(ModelConfig(architecture="unet3d", in_channels=1, weights="none", options=options))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    term = build_loss("compound", **loss)
    for step in range(steps):
        first = 1_000_000 * (seed + 1) + 2 * step
        images, masks = (np.stack(part)[:, None] for part in zip(draw(first), draw(first + 1), strict=True))
        value = term(model(torch.from_numpy(images)), torch.from_numpy(masks))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def score(model: nn.Module) -> dict[str, float]:
    """Sums over the scored volumes of Betti error and breaks; means of Dice and of the skeleton that was found."""
    errors, breaks, dice, found = [], [], [], []
    for seed in range(SCORED):
        image, truth = draw(seed)
        mask = model(torch.from_numpy(image)[None, None])[0, 0].numpy() > 0
        numbers, wanted = betti_numbers(mask), betti_numbers(truth)
        errors.append(np.abs(numbers - wanted))
        breaks.append(max(0, numbers[0] - wanted[0]))
        dice.append(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
        found.append(mask[skeleton(truth)].mean())
    total = np.sum(errors, axis=0)
    return {
        "Betti error": total.sum(), "components": total[0], "tunnels": total[1], "cavities": total[2],
        "breaks": np.sum(breaks), "Dice": np.mean(dice), "skeleton found": np.mean(found),
    }  # fmt: skip


def main() -> None:
    """A row a loss and seed, and the means over seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    rows = [
        {"loss": name, "seed": seed, **score(train(loss, arguments.steps, seed))}
        for seed in range(arguments.seeds)
        for name, loss in LOSSES.items()
    ]
    table = pd.DataFrame(rows)
    print(table.round(3).to_string(index=False))
    print(table.drop(columns="seed").groupby("loss", sort=False).mean().round(3).to_string())


if __name__ == "__main__":
    main()
