"""The layers that 3D networks are made of, in nnU-Net's shape: convolution, instance norm, leaky ReLU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.01

Triple = Sequence[int]


def as_triples(values: Sequence[int | Triple], what: str, number: int) -> list[tuple[int, int, int]]:
    """A (depth, height, width) for each stage; a single number stands for all three. Otherwise ValueError."""
    triples = [(value,) * 3 if isinstance(value, int) else tuple(value) for value in values]
    if len(triples) != number or any(len(triple) != 3 or min(triple) < 1 for triple in triples):
        raise ValueError(f"{what} {list(values)}: expected {number}, a stage each: a number or [depth, height, width]")
    return [(int(z), int(y), int(x)) for z, y, x in triples]


class Conv3d(nn.Conv3d):
    """`nn.Conv3d` whose gradient is right in bf16 on a CPU even for maps of fewer slices than its kernel has.

    For such maps oneDNN (as of torch 2.14) reads beyond their end, so that the weight's gradient holds whatever lay in
    memory; they are padded beforehand.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Logits or features `(N, K, d, h, w)` of `(N, C, d, h, w)`."""
        thin = 1 < x.shape[2] < self.kernel_size[0] and self.padding[0] != 0
        if not (thin and x.device.type == "cpu" and torch.is_grad_enabled() and torch.is_autocast_enabled("cpu")):
            return super().forward(x)
        depth, *plane = (int(side) for side in self.padding)
        padded = functional.pad(x, (0, 0, 0, 0, depth, depth))
        return functional.conv3d(padded, self.weight, self.bias, self.stride, (0, *plane), self.dilation, self.groups)


def conv_norm(
    in_channels: int,
    out_channels: int,
    kernel: Triple,
    *,
    stride: Triple = (1, 1, 1),
    bias: bool = True,
    act: bool = True,
) -> nn.Sequential:
    """Convolution (size divided by its stride only), instance norm with scale and shift, leaky ReLU."""
    padding = [(side - 1) // 2 for side in kernel]
    layers: list[nn.Module] = [
        Conv3d(in_channels, out_channels, tuple(kernel), tuple(stride), padding=tuple(padding), bias=bias),  # type: ignore[arg-type]
        nn.InstanceNorm3d(out_channels, affine=True),
    ]
    return nn.Sequential(*layers, *([nn.LeakyReLU(SLOPE, inplace=True)] if act else []))


class MeanPool3d(nn.AvgPool3d):
    """`nn.AvgPool3d` computed in float32: torch has none in bfloat16 on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        """`(N, C, D, H, W)` -> the mean of each window, in the number format of `input`."""
        return super().forward(input.float()).to(input.dtype)


class PlainStage(nn.Sequential):
    """`depth` convolutions, the first with the stage's stride."""

    def __init__(self, in_channels: int, out_channels: int, kernel: Triple, *, stride: Triple, depth: int) -> None:
        first = conv_norm(in_channels, out_channels, kernel, stride=stride)
        super().__init__(first, *(conv_norm(out_channels, out_channels, kernel) for _ in range(depth - 1)))


class ResidualBlock(nn.Module):
    """x -> conv, norm, act -> conv, norm -> + skip -> act (ResNet-D, arXiv:1812.01187; nnU-Net's `BasicBlockD`).

    In a block with a stride the skip is averaged; where channels change it goes through a 1x1x1 convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: Triple, *, stride: Triple = (1, 1, 1)) -> None:
        super().__init__()
        self.first = conv_norm(in_channels, out_channels, kernel, stride=stride)
        self.second = conv_norm(out_channels, out_channels, kernel, act=False)
        strided = max(stride) > 1
        pool = MeanPool3d(tuple(stride), tuple(stride)) if strided else nn.Identity()  # type: ignore[arg-type]
        changed = in_channels != out_channels
        project = conv_norm(in_channels, out_channels, (1, 1, 1), bias=False, act=False) if changed else nn.Identity()
        self.skip = nn.Sequential(pool, project)
        self.act = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, D, H, W)` -> `(N, C', D / stride ...)`."""
        return self.act(self.second(self.first(x)) + self.skip(x))


class ResidualStage(nn.Sequential):
    """`depth` residual blocks, the first with the stage's stride."""

    def __init__(self, in_channels: int, out_channels: int, kernel: Triple, *, stride: Triple, depth: int) -> None:
        first = ResidualBlock(in_channels, out_channels, kernel, stride=stride)
        super().__init__(first, *(ResidualBlock(out_channels, out_channels, kernel) for _ in range(depth - 1)))


def initialise_volume(module: nn.Module) -> None:
    """He initialisation for leaky ReLU, biases at 0, as nnU-Net's (arXiv:1502.01852)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
