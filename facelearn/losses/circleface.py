"""Circle loss on class weights."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
from torch import Tensor

from facelearn.losses.base import POSITIVE, Rule
from facelearn.losses.margin import Frame, MarginHead
from facelearn.losses.parallel import everywhere


class CircleFace(MarginHead):
    """Circle loss with the class weights as the other side of each pair: one positive, C - 1 negatives.

    Formula, with weights α that are constants to the gradient:
        target(c) = max(0, 1 + m - c) · (c - (1 - m))
        others(c) = max(0, c + m) · (c - m)
        L = -log( exp(γ target) / ( exp(γ target) + Σ_{j≠y} exp(γ others) ) )

    Args:
        embedding_dim, num_classes: d and C.
        margin: m.
        gamma: γ, which takes the place of a scale.
        tile, process_group, sample_rate, label_smoothing, ignore_label: see `MarginHead`.
        reduction, validate, device, dtype: see `Loss`.

    Example:
        >>> loss = CircleFace(embedding_dim=64, num_classes=10, margin=0.25, gamma=64.0)
        >>> loss(torch.randn(8, 64), torch.arange(8)).backward()
        >>> loss.target(torch.tensor([0.75]), ()), loss.weight.grad.shape  # 0 where cos θ = 1 - m
        (tensor([0.]), torch.Size([10, 64]))

    Learns `weight` (C, d).

    Source: Sun, Cheng, Zhang, Zhang, Zheng, Wang, Wei, "Circle Loss", CVPR 2020, arXiv 2002.10857, eq. 4-8, with
    class-level labels (section 3.1).
    Elsewhere: FaceX-Zoo takes the cross-entropy, xialuxi the softplus: the same; cavaface's head returns the argument
    of the softplus, which its trainer has to add.
    """

    keeps_hardest = True
    holds_constants = True
    rules: ClassVar = {"margin": Rule(lambda m: -1 < m < 1, "-1 < margin < 1"), "gamma": POSITIVE}

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        margin: float = 0.25,
        gamma: float = 256.0,
        **frame: Unpack[Frame],
    ) -> None:
        if "scale" in frame:
            raise TypeError("CircleFace() got an unexpected keyword argument 'scale'. Did you mean 'gamma'?")
        super().__init__(embedding_dim, num_classes, scale=1.0, **frame)
        self.margin = margin
        self.gamma = gamma

    def target(self, cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        pace = (1 + self.margin - cos.detach()).clamp(min=0)
        return self.gamma * pace * (cos - (1 - self.margin))

    def others(self, cos: Tensor, target_cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        pace = (cos.detach() + self.margin).clamp(min=0)
        return self.gamma * pace * (cos - self.margin)

    def compare(
        self, x: Tensor, precise: Tensor, weight: Tensor, own: Tensor, rows: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        target_cos, rest, *sums, hardest, logit = super().compare(x, precise, weight, own, rows)
        return target_cos, rest + self.correction_in_float64(rest.detach(), hardest, logit, precise, weight), *sums

    @torch.no_grad()
    def correction_in_float64(
        self, rest: Tensor, hardest: Tensor, logit: Tensor, precise: Tensor, weight: Tensor
    ) -> Tensor:
        """What to add to `rest` after computing the cosine with the hardest wrong class again, in float64.  (B,)

        γ = 256 makes of its rounding to float32 an error of 1.5e-5 of the loss. With process groups every rank corrects
        its own hardest class; the hardest of all is among them.
        """
        cos = self.nearest_center(precise, weight, hardest)[1].detach()
        exact = self.others(cos, cos, ())
        gained = torch.where(logit > -torch.inf, (exact - rest).exp() - (logit.to(exact) - rest).exp(), 0.0)
        return everywhere(gained, self.process_group).log1p().to(rest)

    def scores(self, embeddings: Tensor) -> Tensor:
        """γ cos θ_j, no margin.  (B, C)"""
        return self.gamma * super().scores(embeddings)
