"""MaskFormer (Cheng, Schwing and Kirillov 2021, arXiv:2107.06278) through `transformers`, an optional extra.

    image - backbone - pixel decoder ------------ pixel embeddings (E, H/4, W/4) -+
                            |                                                  dot - mask of each query
             N queries - transformer decoder ---- mask embeddings (N, E) ---------+        |
                                |                                                          v
                                +---------------- class of each query (N, K + 1) -- sum over queries - logits

Trained here like any other network, through its semantic answer, not by matching queries to segments: class
k at a pixel has `s = sum over queries of P(query is k) * P(pixel is the query's)`, a sum that is no
probability itself: of a hundred queries that have learned nothing it is 25 or more. The logit given is `log s` for
softmax (so that the probabilities are `s / sum of s`) and `log(s / r)` for sigmoid, where `r` is the same sum of the
queries that are no object (so that the probability is `s / (s + r)`).
"""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor, nn

from inference.models.segmenter import resize

EPSILON = 1e-4


class MaskFormer(nn.Module):
    """`transformers.MaskFormerForInstanceSegmentation` built from a config; nothing is downloaded."""

    def __init__(self, inner: nn.Module, *, exclusive: bool) -> None:
        super().__init__()
        self.inner = inner
        self.exclusive = exclusive

    def forward(self, images: Tensor) -> Tensor:
        outputs = self.inner(pixel_values=images)
        classes = outputs.class_queries_logits.float().softmax(dim=-1)
        masks = outputs.masks_queries_logits.float().sigmoid()
        sums = torch.einsum("nqk,nqhw->nkhw", classes, masks).float().clamp(min=EPSILON).log()
        scores, nothing = sums[:, :-1], sums[:, -1:]
        return resize(scores if self.exclusive else scores - nothing, images.shape[-2:])


def build_maskformer(
    in_channels: int,
    n_classes: int,
    *,
    queries: int = 100,
    embed_dim: int = 96,
    depths: tuple[int, ...] = (2, 2, 6, 2),
    heads: tuple[int, ...] = (3, 6, 12, 24),
    channels: int = 256,
    decoder_layers: int = 6,
    activation: str = "sigmoid",
) -> nn.Module:
    """MaskFormer on a Swin backbone; the defaults are Swin-T's."""
    if importlib.util.find_spec("transformers") is None:
        raise ValueError("maskformer needs the package 'transformers'; run: pip install transformers")
    import transformers

    backbone = transformers.SwinConfig(
        num_channels=in_channels,
        embed_dim=embed_dim,
        depths=list(depths),
        num_heads=list(heads),
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    decoder = transformers.DetrConfig(
        d_model=channels,
        num_queries=queries,
        decoder_layers=decoder_layers,
        encoder_layers=1,
        decoder_ffn_dim=channels * 8,
        decoder_attention_heads=8,
    )
    settings: dict[str, Any] = {
        "backbone_config": backbone,
        "decoder_config": decoder,
        "fpn_feature_size": channels,
        "mask_feature_size": channels,
        "num_labels": n_classes,
    }
    inner = transformers.MaskFormerForInstanceSegmentation(transformers.MaskFormerConfig(**settings))
    for name, parameter in inner.named_parameters():
        if ".encoder.model.layernorm." in name:  # after the last stage, where nothing reads it
            parameter.requires_grad_(False)
    return MaskFormer(inner, exclusive=activation == "softmax")
