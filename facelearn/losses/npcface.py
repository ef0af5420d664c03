"""NPCFace: hard positives and hard negatives come together."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
from torch import Tensor

from facelearn.losses.base import NOT_NEGATIVE, RADIANS
from facelearn.losses.margin import Frame, MarginHead, cos_of_sum


class NPCFace(MarginHead):
    """A margin that grows with the hardness of the sample's negatives, and an emphasis on those.

    Formula, with the mask M_j = [cos θ_j > cos(θ_y + m)], j ≠ y:
        others(c) = t c + a   if M,   else c
        c̄ = Σ M cos θ_j / max(1, Σ M),     m_i = m0 + m1 c̄       (m_i is a constant to the gradient)
        target = cos(θ_y + m_i)   if cos θ_y > 0,   else cos θ_y

    Args:
        embedding_dim, num_classes: d and C.
        scale: s.
        margin: m of the mask, radians.
        m0, m1: the collaborative margin, radians; without a hard negative it is m0.
        t, a: factor and offset on hard negatives.
        tile, process_group, sample_rate, label_smoothing, ignore_label: see `MarginHead`.
        reduction, validate, device, dtype: see `Loss`.

    Example:
        >>> loss = NPCFace(embedding_dim=64, num_classes=10, margin=0.0, t=1.1, a=0.2)
        >>> wrong = torch.tensor([[0.5, 0.9]])  # cosines; with 0.8 to the own class the second one is hard
        >>> loss.others(wrong, torch.tensor([[0.8]]), ())
        tensor([[0.5000, 1.1900]])

    Learns `weight` (C, d).

    Source: Zeng, Shi, Du, Wang, Lei, Mei, "NPCFace: Negative-Positive Collaborative Training for Large-scale Face
    Recognition", 2020, arXiv 2007.10172; mask and "easy" rule as in the authors' code (FaceX-Zoo).
    Elsewhere: bobo0810's version masks with m0, averages the already emphasised negatives, lets the gradient through
    m_i and wraps all in a focal loss.
    """

    holds_constants = True
    rules: ClassVar = {"margin": RADIANS, "m0": RADIANS, "m1": NOT_NEGATIVE, "t": NOT_NEGATIVE, "a": NOT_NEGATIVE}

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        scale: float = 64.0,
        margin: float = 0.5,
        m0: float = 0.4,
        m1: float = 0.2,
        t: float = 1.1,
        a: float = 0.2,
        **frame: Unpack[Frame],
    ) -> None:
        super().__init__(embedding_dim, num_classes, scale=scale, **frame)
        self.margin = margin
        self.m0, self.m1 = m0, m1
        self.t, self.a = t, a

    def hard(self, cos: Tensor, target_cos: Tensor) -> Tensor:
        return cos > cos_of_sum(target_cos, self.margin, "plain")

    def others(self, cos: Tensor, target_cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        return torch.where(self.hard(cos, target_cos), self.t * cos + self.a, cos)

    def row_sums(self, cos: Tensor, target_cos: Tensor) -> tuple[Tensor, ...]:
        hard = self.hard(cos, target_cos)
        return torch.where(hard, cos, 0.0).detach(), hard.to(cos.dtype)

    def target(self, cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        hardness, count = rows  # (B,), the sums of row_sums
        margin = self.m0 + self.m1 * hardness / count.clamp(min=1)
        return torch.where(cos > 0, cos_of_sum(cos, margin, "plain"), cos)
