"""The combined margin: SphereFace's, ArcFace's and CosFace's in one formula."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor

from facelearn.losses.base import NOT_NEGATIVE, POSITIVE, RADIANS, one_of
from facelearn.losses.margin import BEYOND_PI, Frame, MarginHead, cos_of_sum, sine


class CombinedMargin(MarginHead):
    """cos(m1 θ + m2) - m3 on the target.

    Formula:
        target(θ_y) = cos(m1 θ_y + m2) - m3               while m1 θ_y + m2 ≤ π; beyond, see `beyond_pi`
        L = -log( exp(s target(θ_y)) / ( exp(s target(θ_y)) + Σ_{j≠y} exp(s cos θ_j) ) )

    (1, m, 0) is ArcFace, (1, 0, m) CosFace, (1, 0, 0) NormFace; (m, 0, 0) is SphereFace's ψ for θ ≤ π/m.

    Args:
        embedding_dim, num_classes: d and C.
        scale: s.
        m1, m2, m3: a factor > 0, radians ≥ 0, a cosine difference ≥ 0.
        beyond_pi: with θ* = (π - m2) / m1 the angle where π is reached, the target beyond is: "plain" as it is, turning
            up again; "clip" -1 - m3; "linear" cos θ - (1 + cos θ*) - m3; "mm" cos θ - m2 sin m2 - m3 (for m1 = 1).
        tile, process_group, sample_rate, label_smoothing, ignore_label: see `MarginHead`.
        reduction, validate, device, dtype: see `Loss`.

    Example:
        >>> loss = CombinedMargin(embedding_dim=64, num_classes=10, m1=1.0, m2=0.5, m3=0.1)
        >>> loss(torch.randn(8, 64), torch.arange(8)).backward()
        >>> loss.target(torch.tensor([1.0]), ())  # cos 0.5 - 0.1 where θ = 0
        tensor([0.7776])

    Learns `weight` (C, d).

    Source: Deng, Guo, Xue, Zafeiriou, "ArcFace", CVPR 2019, arXiv 1801.07698, eq. 4.
    Elsewhere: insightface's CombinedMarginLoss returns pure CosFace(0.2) for (1, 0.3, 0.2) without a word.
    """

    rules: ClassVar = {"m1": POSITIVE, "m2": RADIANS, "m3": NOT_NEGATIVE, "beyond_pi": one_of(*BEYOND_PI)}

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        scale: float = 64.0,
        m1: float = 1.0,
        m2: float = 0.3,
        m3: float = 0.2,
        beyond_pi: str = "plain",
        **frame: Unpack[Frame],
    ) -> None:
        super().__init__(embedding_dim, num_classes, scale=scale, **frame)
        self.m1, self.m2, self.m3 = m1, m2, m3
        self.beyond_pi = beyond_pi

    def check_setting(self, name: str, value: Any) -> None:
        super().check_setting(name, value)
        now = {"m1": 1.0, "beyond_pi": None, **vars(self), name: value}
        if now["beyond_pi"] == "mm" and now["m1"] != 1:
            raise ValueError(f"beyond_pi='mm', m1={now['m1']}: expected m1 = 1 with 'mm'")

    def target(self, cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        if self.m1 == 1:
            return cos_of_sum(cos, self.m2, self.beyond_pi) - self.m3
        theta = torch.atan2(sine(cos), cos)
        plain = torch.cos(self.m1 * theta + self.m2)
        if self.beyond_pi == "plain":
            return plain - self.m3
        join = math.cos((math.pi - self.m2) / self.m1)  # cos θ*
        beyond = cos - (1 + join) if self.beyond_pi == "linear" else torch.full_like(cos, -1.0)
        reached = self.m1 * theta + self.m2 > math.pi
        return torch.where(reached, beyond, plain) - self.m3
