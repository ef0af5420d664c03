"""Circle loss on class weights."""

from __future__ import annotations

import math
from typing import Unpack

from torch import Tensor

from facelearn.losses.margin import Frame, MarginHead


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
        reduction, validate, tile, process_group: see `MarginHead`.

    Learns `weight` (C, d).

    Source: Sun, Cheng, Zhang, Zhang, Zheng, Wang, Wei, "Circle Loss", CVPR 2020, arXiv 2002.10857, eq. 4-8, with
    class-level labels (section 3.1).
    Elsewhere: FaceX-Zoo takes the cross-entropy, xialuxi the softplus: the same; cavaface's head returns the argument
    of the softplus, which its trainer has to add.
    """

    exact_hardest = True  # γ = 256 makes of a float32 rounding of a cosine 1.5e-5 of the loss

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        margin: float = 0.25,
        gamma: float = 256.0,
        **frame: Unpack[Frame],
    ) -> None:
        if not 0 < gamma < math.inf:
            raise ValueError(f"gamma={gamma}: expected a positive number")
        if not -1 < margin < 1:
            raise ValueError(f"margin={margin}: expected -1 < margin < 1")
        super().__init__(embedding_dim, num_classes, scale=1.0, **frame)
        self.margin = margin
        self.gamma = gamma

    def target(self, cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        pace = (1 + self.margin - cos.detach()).clamp(min=0)
        return self.gamma * pace * (cos - (1 - self.margin))

    def others(self, cos: Tensor, target_cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        pace = (cos.detach() + self.margin).clamp(min=0)
        return self.gamma * pace * (cos - self.margin)

    def scores(self, embeddings: Tensor) -> Tensor:
        """γ cos θ_j, no margin.  (B, C)"""
        return self.gamma * super().scores(embeddings)
