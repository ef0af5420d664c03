"""AdaFace: the margin follows the image's quality, read off the length of its embedding."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
from torch import Tensor

from facelearn.losses.base import FINITE, RADIANS, SHARE
from facelearn.losses.margin import Frame, MarginHead, cos_of_sum


class AdaFace(MarginHead):
    """An angular and an additive margin, traded by how long the embedding is among its batch.

    Formula, with n = clip(‖x‖, 0.001, 100), no gradient, and running mean μ and standard deviation σ of n:
        ẑ = clip( h (n - μ) / (σ + 0.001), -1, 1 )
        target = cos(θ_y - m ẑ) - (m ẑ + m)
        μ ← β mean(n) + (1 - β) μ,   σ alike (unbiased)     once per training call, before they are used

    ẑ = -1 (poor) is ArcFace's margin, 0 CosFace's, 1 (good) a negative angle with twice the additive margin.

    Args:
        embedding_dim, num_classes: d and C.
        scale: s.
        margin: m.
        h: concentration.
        momentum: β, the weight of the current batch.
        tile, process_group, sample_rate, label_smoothing, ignore_label: see `MarginHead`.
        reduction, validate, device, dtype: see `Loss`.

    Example:
        >>> loss = AdaFace(embedding_dim=64, num_classes=10, momentum=1.0)
        >>> value = loss(torch.eye(64)[:8] * 30, torch.arange(8))  # all of length 30
        >>> loss.norm_mean, loss.norm_std
        (tensor(30.), tensor(0.))

    Learns `weight` (C, d). State: `norm_mean` (20 at first), `norm_std` (100), frozen in `eval()`; a batch of one has
    no spread and leaves σ as it is.

    Source: Kim, Jain, Liu, "AdaFace: Quality Adaptive Margin for Face Recognition", CVPR 2022, arXiv 2204.00964,
    eq. 13-17; the target as in the authors' code, in the paper the added margin is not multiplied by s.
    Elsewhere: the authors' code clips θ into [0.001, π - 0.001] and cos θ to ±(1 - 0.001), has no memory (β = 1) by the
    head's own default and 0.01 by its configuration; CVLface detaches the margin.
    """

    norm_mean: Tensor
    norm_std: Tensor

    holds_constants = True
    rules: ClassVar = {"margin": RADIANS, "h": FINITE, "momentum": SHARE}

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        scale: float = 64.0,
        margin: float = 0.4,
        h: float = 0.333,
        momentum: float = 0.01,
        **frame: Unpack[Frame],
    ) -> None:
        super().__init__(embedding_dim, num_classes, scale=scale, **frame)
        self.margin = margin
        self.h = h
        self.momentum = momentum
        self.register_buffer("norm_mean", torch.tensor(20.0, **self._made))
        self.register_buffer("norm_std", torch.tensor(100.0, **self._made))

    def observe(self, embeddings: Tensor, target_cos: Tensor) -> None:
        lengths = clipped_lengths(embeddings)
        self.norm_mean = self.norm_mean.lerp(lengths.mean().to(self.norm_mean), self.momentum)
        if len(lengths) > 1:
            self.norm_std = self.norm_std.lerp(lengths.std().to(self.norm_std), self.momentum)

    def rows(self, embeddings: Tensor, target_cos: Tensor) -> tuple[Tensor, ...]:
        from_mean = clipped_lengths(embeddings) - self.norm_mean
        return ((self.h * from_mean / (self.norm_std + 1e-3)).clamp(-1, 1),)

    def target(self, cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        shift = self.margin * rows[0]  # (B,)
        return cos_of_sum(cos, -shift, "plain") - (shift + self.margin)


def clipped_lengths(embeddings: Tensor) -> Tensor:
    """‖x‖ within [0.001, 100], a constant to the gradient.  (B,)"""
    return torch.linalg.vector_norm(embeddings.detach(), dim=1).clamp(1e-3, 100.0)
