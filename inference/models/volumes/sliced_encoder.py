"""A 2D encoder applied to every slice and a 3D decoder over all slices: 2.5D, as in recent winning solutions.

    volume (N, C, D, H, W) - slices (N D, C, H, W) - any encoder of timm or smp - maps (N, C_i, D, H / s, W / s)
                                                                                        |
                                  logits - 1x1x1 - 3D U-Net decoder, depth kept --------'

The depth is never halved, which suits stacks of few thick slices; pretrained weights are used unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from inference.models.encoders import build_encoder, channels_of
from inference.models.volumes.blocks import initialise_volume
from inference.models.volumes.decoder import VolumeDecoder
from inference.models.volumes.segmenter import VolumeLevels, resize_volume


class SlicedEncoderUnet(VolumeLevels):
    """`encoder` is 2D; the decoder's finest level has half the height and width, and its logits are upsampled."""

    def __init__(self, encoder: nn.Module, n_classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.encoder = encoder
        # maps at 1/2 and below; a transformer has none at 1/2 (0 channels there)
        self.used = [i for i, channels in enumerate(channels_of(encoder)) if i and channels]
        channels = [channels_of(encoder)[i] for i in self.used]
        self.decoder = VolumeDecoder(channels, list(widths)[-(len(channels) - 1) :])
        self.head = nn.Conv3d(widths[-1], n_classes, 1)
        initialise_volume(self.decoder)
        self.strides = (1, 32, 32)
        self.level_channels = tuple(list(widths)[-(len(channels) - 1) :][:-1])

    def forward_levels(self, volumes: Tensor) -> tuple[Tensor, list[Tensor]]:
        n, c, depth, height, width = volumes.shape
        slices = volumes.transpose(1, 2).reshape(n * depth, c, height, width)
        features = self.encoder(slices)
        maps = [features[i].reshape(n, depth, *features[i].shape[1:]).transpose(1, 2).contiguous() for i in self.used]
        levels = self.decoder(maps)
        return resize_volume(self.head(levels[-1]), volumes.shape[-3:]), levels[:-1]


def build_sliced_encoder_unet(
    encoder: str, in_channels: int, n_classes: int, *, decoder_channels: Sequence[int] = (128, 64, 48, 32)
) -> VolumeLevels:
    """`decoder_channels`: deepest first, one number for each map above the deepest."""
    net = build_encoder(encoder, in_channels)
    return SlicedEncoderUnet(net, n_classes, decoder_channels)
