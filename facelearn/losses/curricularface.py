"""CurricularFace: easy samples first, hard negatives later."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
from torch import Tensor

from facelearn.losses.base import RADIANS, SHARE, one_of
from facelearn.losses.margin import BEYOND_PI, Frame, MarginHead, cos_of_sum


class CurricularFace(MarginHead):
    """ArcFace whose hard negatives weigh more as training succeeds.

    Formula, with T = cos(θ_y + m):
        target = T
        others(c) = c (t + c)   if c > T,   else c
        t ← β mean(cos θ_y) + (1 - β) t       once per training call, before it is used; no gradient

    Beware: ∂others/∂c = t + 2c is negative for c < -t/2. At the start (t = 0) nearly all negatives count as hard, and
    half of those are pulled TOWARDS the sample.

    Args:
        embedding_dim, num_classes: d and C.
        scale: s.
        margin: m in radians.
        momentum: β, the weight of the current batch.
        beyond_pi: see `ArcFace`.
        tile, process_group, sample_rate, label_smoothing, ignore_label: see `MarginHead`.
        reduction, validate, device, dtype: see `Loss`.

    Example:
        >>> loss = CurricularFace(embedding_dim=64, num_classes=10, momentum=0.5)
        >>> value = loss(loss.weight.detach()[:8], torch.arange(8))  # cos θ_y = 1
        >>> loss.t  # half way from 0 to 1
        tensor(0.5000)

    Learns `weight` (C, d). State: `t`, a scalar buffer, frozen in `eval()`.

    Source: Huang, Wang, Tai, Liu, Shen, Li, Li, Huang, "CurricularFace: Adaptive Curriculum Learning Loss for Deep Face
    Recognition", CVPR 2020, arXiv 2004.00288, eq. 5-10. The paper's text prints β = 0.99 for the same expression; the
    authors call their code (0.01) right.
    Elsewhere: the authors' repository, cavaface and FaceX-Zoo agree with this ("mm").
    """

    t: Tensor

    rules: ClassVar = {"margin": RADIANS, "momentum": SHARE, "beyond_pi": one_of(*BEYOND_PI)}

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        scale: float = 64.0,
        margin: float = 0.5,
        momentum: float = 0.01,
        beyond_pi: str = "mm",
        **frame: Unpack[Frame],
    ) -> None:
        super().__init__(embedding_dim, num_classes, scale=scale, **frame)
        self.margin = margin
        self.momentum = momentum
        self.beyond_pi = beyond_pi
        self.register_buffer("t", torch.tensor(0.0, **self._made))

    @property
    def holds_constants(self) -> bool:  # type: ignore[override]
        return self.training  # t follows the batch

    def observe(self, embeddings: Tensor, target_cos: Tensor) -> None:
        self.t = self.t.lerp(target_cos.mean().to(self.t), self.momentum)

    def rows(self, embeddings: Tensor, target_cos: Tensor) -> tuple[Tensor, ...]:
        return (self.t.to(target_cos).repeat(len(target_cos)),)  # a copy: t may move again before backward

    def target(self, cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        return cos_of_sum(cos, self.margin, self.beyond_pi)

    def others(self, cos: Tensor, target_cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        hard = cos > self.target(target_cos, rows)
        (t,) = rows
        return torch.where(hard, cos * (t + cos), cos)
