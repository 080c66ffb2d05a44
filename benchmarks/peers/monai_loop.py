"""A U-Net trained as MONAI's tutorial for 2D images does it; a peer of `equal_budget.py`.

    pip install --no-deps --target PEERS monai==1.6.1

The residual U-Net of 16 to 256 channels from random weights, each image scaled to 0..1 by its own extremes, two images
a batch with four crops of 96 x 96 each, of which half are around the foreground, quarter turns, Dice loss, Adam at
1e-3; prediction in windows of 96 x 96. What is not as there: three channels instead of one, as the images here have.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from .smp_recipe import endless, png_pairs

SIDE, IMAGES, CROPS = 96, 2, 4


class Loop:
    """The tutorial's loop, one step at a time."""

    batch = IMAGES * CROPS

    def __init__(self, folder: Path, *, workers: int = 2) -> None:
        from monai.data import Dataset, list_data_collate
        from monai.losses import DiceLoss
        from monai.networks.nets import UNet
        from monai.transforms import (
            Compose,
            EnsureChannelFirstd,
            LoadImaged,
            RandCropByPosNegLabeld,
            RandRotate90d,
            ScaleIntensityd,
        )

        both = ["image", "mask"]
        transform = Compose(
            [
                LoadImaged(keys=both, reader="PILReader", reverse_indexing=False),
                EnsureChannelFirstd(keys=both),
                ScaleIntensityd(keys=both),
                RandCropByPosNegLabeld(
                    keys=both, label_key="mask", spatial_size=[SIDE, SIDE], pos=1, neg=1, num_samples=CROPS
                ),
                RandRotate90d(keys=both, prob=0.5, spatial_axes=[0, 1]),
            ]
        )
        files = [{"image": str(image), "mask": str(mask)} for image, mask in zip(*png_pairs(folder), strict=True)]
        loader = DataLoader(
            Dataset(files, transform), batch_size=IMAGES, shuffle=True, num_workers=workers,
            collate_fn=list_data_collate, persistent_workers=True,
        )  # fmt: skip
        self.batches = endless(loader)
        self.model = UNet(
            spatial_dims=2, in_channels=3, out_channels=1, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2),
            num_res_units=2,
        )  # fmt: skip
        self.loss = DiceLoss(sigmoid=True)
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-3)

    def step(self) -> float:
        """One batch; returns its loss."""
        self.model.train()
        batch = next(self.batches)
        self.optimizer.zero_grad()
        loss = self.loss(self.model(batch["image"]), batch["mask"])
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def predict(self, image: np.ndarray) -> np.ndarray:
        """Probabilities (H, W) of an RGB image (H, W, 3) uint8."""
        from monai.inferers import sliding_window_inference

        self.model.eval()
        pixels = image.astype(np.float32)
        pixels = (pixels - pixels.min()) / max(float(np.ptp(pixels)), 1.0)
        inputs = torch.from_numpy(pixels.transpose(2, 0, 1))[None]
        logits = sliding_window_inference(inputs, (SIDE, SIDE), 4, self.model)
        assert isinstance(logits, Tensor)
        probs: np.ndarray = logits.sigmoid()[0, 0].numpy()
        return probs
