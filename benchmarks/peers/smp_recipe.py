"""The usual recipe with segmentation-models-pytorch, as tutorials and notebooks have it; the peer of our
benchmarks.

    python benchmarks/peers/smp_recipe.py FOLDER [--steps 100]      FOLDER/images/*.png, FOLDER/masks/*.png

float32, contiguous memory, a DataLoader with 2 workers that decodes PNG files, flips, shifts and brightens
them with albumentations, Dice plus BCE, Adam at 1e-3 with cosine annealing. Weights come from the caller
(`encoder`), so that both sides start from the same.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2
import numpy as np
import segmentation_models_pytorch as smp
import torch
from albumentations.pytorch import ToTensorV2
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

MEAN, STD = (0.498, 0.498, 0.498), (0.502, 0.502, 0.502)


class Pairs(Dataset):
    """Images and masks read from PNG files."""

    def __init__(self, images: Sequence[Path], masks: Sequence[Path], size: int) -> None:
        self.images, self.masks = list(images), list(masks)
        self.transform = A.Compose(
            [
                A.PadIfNeeded(size, size, border_mode=cv2.BORDER_REFLECT_101),
                A.RandomCrop(size, size),
                A.HorizontalFlip(p=0.5),
                A.VerticalFlip(p=0.5),
                A.RandomRotate90(p=0.5),
                A.ShiftScaleRotate(shift_limit=0.05, scale_limit=0.2, rotate_limit=15, p=0.5),
                A.RandomBrightnessContrast(p=0.5),
                A.Normalize(mean=MEAN, std=STD),
                ToTensorV2(),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = cv2.cvtColor(cv2.imread(str(self.images[index])), cv2.COLOR_BGR2RGB)
        mask = (cv2.imread(str(self.masks[index]), cv2.IMREAD_GRAYSCALE) > 0).astype(np.float32)
        done = self.transform(image=image, mask=mask)
        return done["image"], done["mask"][None]


def build(encoder: Mapping[str, Tensor] | None = None, name: str = "tf_efficientnet_lite0") -> nn.Module:
    """Unet with an encoder of timm's, with the given encoder weights."""
    model = smp.Unet(f"tu-{name}", encoder_weights=None, in_channels=3, classes=1)
    if encoder is not None:
        model.encoder.load_state_dict(dict(encoder))
    return model


def png_pairs(folder: Path) -> tuple[list[Path], list[Path]]:
    """Files of images/ in their order, and those of masks/ of the same names."""
    images = sorted((folder / "images").glob("*.png"))
    return images, [folder / "masks" / path.name for path in images]


def endless(loader: DataLoader) -> Iterator[Any]:
    """Epoch after epoch."""
    while True:
        yield from loader


class Recipe:
    """The training loop, one step at a time; on a GPU in float32 too, or under fp16 autocast with `amp`."""

    def __init__(
        self,
        folder: Path,
        *,
        steps: int,
        size: int,
        batch: int,
        encoder: Mapping[str, Tensor] | None,
        name: str = "tf_efficientnet_lite0",
        device: str = "cpu",
        amp: bool = False,
        workers: int = 2,
    ) -> None:
        self.batch = batch
        loader = DataLoader(
            Pairs(*png_pairs(folder), size), batch_size=batch, shuffle=True, num_workers=workers, drop_last=True,
            persistent_workers=True, pin_memory=device != "cpu",
        )  # fmt: skip
        self.batches = endless(loader)
        self.device, self.amp = torch.device(device), amp
        self.model = build(encoder, name).to(self.device).train()
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=amp)
        self.bce, self.dice = nn.BCEWithLogitsLoss(), smp.losses.DiceLoss("binary", from_logits=True)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=steps)

    def step(self) -> float:
        """One batch; returns its loss."""
        images, masks = (part.to(self.device, non_blocking=True) for part in next(self.batches))
        with torch.autocast(self.device.type, torch.float16, enabled=self.amp):
            logits = self.model(images)
        logits = logits.float()
        loss = self.bce(logits, masks) + self.dice(logits, masks)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        return float(loss.detach())

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Probabilities (H, W) of an RGB image (H, W, 3) uint8."""
        return predict(self.model, image)


@torch.no_grad()
def predict(model: nn.Module, image: np.ndarray) -> np.ndarray:
    """Probabilities (H, W) of an RGB image (H, W, 3) uint8, padded to what the network takes."""
    model.eval()
    height, width = image.shape[:2]
    tall, wide = -(-height // 32) * 32, -(-width // 32) * 32
    padded = cv2.copyMakeBorder(image, 0, tall - height, 0, wide - width, cv2.BORDER_REFLECT_101)
    pixels = (padded / 255.0 - np.array(MEAN)) / np.array(STD)
    inputs = torch.from_numpy(pixels.astype(np.float32).transpose(2, 0, 1))[None]
    probs: np.ndarray = model(inputs).sigmoid()[0, 0, :height, :width].numpy()
    return probs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=100)
    arguments = parser.parse_args()
    recipe = Recipe(arguments.folder, steps=arguments.steps, size=256, batch=16, encoder=None)
    for number in range(arguments.steps):
        started = time.perf_counter()
        loss = recipe.step()
        print(f"step {number}: loss {loss:.4f}, {16 / (time.perf_counter() - started):.2f} images/s")


if __name__ == "__main__":
    main()
