"""LR-ASPP on MobileNetV3 trained as torchvision's reference script does it; a peer of `equal_budget.py`.

The script's defaults: images resized to between half and twice 520 pixels, mirrored, cropped to 480 x 480, batches of
8, cross-entropy with padding ignored, SGD (momentum 0.9, weight decay 1e-4) from 0.01 by polynomial decay of power 0.9;
prediction at 520 pixels. Its lightest network, as a processor makes about one step a minute of its ResNets. Weights are
random: the script's own pretrained ones have to be fetched, and no package brings them.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.models.segmentation import lraspp_mobilenet_v3_large
from torchvision.transforms import v2

from .smp_recipe import endless, png_pairs

BASE, CROP, VOID = 520, 480, 255
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Pairs(Dataset):
    """Images and label maps read from PNG files, as the reference script turns them."""

    def __init__(self, folder: Path) -> None:
        self.images, self.masks = png_pairs(folder)
        self.transform = v2.Compose(
            [
                v2.RandomResize(BASE // 2, BASE * 2, antialias=True),
                v2.RandomHorizontalFlip(0.5),
                v2.RandomCrop(CROP, pad_if_needed=True, fill={tv_tensors.Image: 0, tv_tensors.Mask: VOID}),
                v2.ToDtype({tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = cv2.cvtColor(cv2.imread(str(self.images[index])), cv2.COLOR_BGR2RGB)
        mask = (cv2.imread(str(self.masks[index]), cv2.IMREAD_GRAYSCALE) > 0).astype(np.uint8)
        done = self.transform(tv_tensors.Image(image.transpose(2, 0, 1)), tv_tensors.Mask(mask))
        return done[0].as_subclass(Tensor), done[1].as_subclass(Tensor)


class Reference:
    """The reference script's loop, one step at a time."""

    batch = 8

    def __init__(self, folder: Path, *, steps: int, workers: int = 2) -> None:
        loader = DataLoader(
            Pairs(folder), batch_size=self.batch, shuffle=True, num_workers=workers, drop_last=True,
            persistent_workers=True,
        )  # fmt: skip
        self.batches = endless(loader)
        self.model = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=2)
        self.loss = nn.CrossEntropyLoss(ignore_index=VOID)
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.01, momentum=0.9, weight_decay=1e-4)
        self.schedule = torch.optim.lr_scheduler.PolynomialLR(self.optimizer, total_iters=steps, power=0.9)

    def step(self) -> float:
        """One batch; returns its loss."""
        self.model.train()
        images, labels = next(self.batches)
        loss = self.loss(self.model(images)["out"], labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return float(loss.detach())

    @torch.no_grad()
    def predict(self, image: np.ndarray) -> np.ndarray:
        """Probabilities (H, W) of an RGB image (H, W, 3) uint8, predicted at 520 pixels of its shorter side."""
        self.model.eval()
        height, width = image.shape[:2]
        pixels = v2.functional.resize(torch.from_numpy(image.transpose(2, 0, 1).copy()), [BASE], antialias=True)
        inputs = v2.functional.normalize(pixels.float() / 255, list(MEAN), list(STD))[None]
        logits = self.model(inputs)["out"]
        logits = nn.functional.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
        probs: np.ndarray = logits.softmax(1)[0, 1].numpy()
        return probs
