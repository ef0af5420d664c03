"""MagFace: the length of an embedding as its quality."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor

from facelearn.losses.base import NOT_NEGATIVE, POSITIVE, RADIANS, one_of
from facelearn.losses.margin import Frame, MarginHead, cos_of_sum

RULES = ("easy", "mm", "plain")


class MagFace(MarginHead):
    """ArcFace with a margin that grows with the embedding's length, and a price on short ones.

    Formula, with a = clamp(‖x‖, l_a, u_a):
        m(a) = l_m + (u_m - l_m) (a - l_a) / (u_a - l_a)
        g(a) = 1 / a + a / u_a²
        target = cos(θ_y + m(a)),    L = cross-entropy + λ g(a)

    The gradient flows through a, so that it has a part along x; outside [l_a, u_a] it has none.

    Args:
        embedding_dim, num_classes: d and C.
        scale: s.
        lower, upper: l_a and u_a, lengths.
        margin_lower, margin_upper: l_m and u_m, radians.
        regularizer_weight: λ.
        beyond_pi: "easy", the authors' default: the margin only where cos θ_y > 0; "mm" and "plain": see `ArcFace`.
        tile, process_group, sample_rate, label_smoothing, ignore_label: see `MarginHead`.
        reduction, validate, device, dtype: see `Loss`.

    Example:
        >>> loss = MagFace(embedding_dim=2, num_classes=10, lower=10.0, upper=110.0, margin_lower=0.4, margin_upper=0.8)
        >>> x = torch.tensor([[3.0, 4.0], [0.0, 60.0], [300.0, 400.0]])  # lengths 5, 60 and 500
        >>> loss.rows(x, torch.zeros(3))  # their margins
        (tensor([0.4000, 0.6000, 0.8000]),)

    Learns `weight` (C, d).

    Source: Meng, Zhao, Huang, Zhou, "MagFace: A Universal Representation for Face Recognition and Quality Assessment",
    CVPR 2021, arXiv 2103.06627, eq. 4-8; the default margins are those of the authors' code.
    Elsewhere: FaceX-Zoo has no "easy", puts cos θ beyond π, s = 32, λ = 20.
    """

    rules: ClassVar = {
        "lower": POSITIVE,
        "upper": POSITIVE,
        "margin_lower": RADIANS,
        "margin_upper": RADIANS,
        "regularizer_weight": NOT_NEGATIVE,
        "beyond_pi": one_of(*RULES),
    }

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        scale: float = 64.0,
        lower: float = 10.0,
        upper: float = 110.0,
        margin_lower: float = 0.45,
        margin_upper: float = 0.8,
        regularizer_weight: float = 35.0,
        beyond_pi: str = "easy",
        **frame: Unpack[Frame],
    ) -> None:
        super().__init__(embedding_dim, num_classes, scale=scale, **frame)
        self.lower, self.upper = lower, upper
        self.margin_lower, self.margin_upper = margin_lower, margin_upper
        self.regularizer_weight = regularizer_weight
        self.beyond_pi = beyond_pi

    def check_setting(self, name: str, value: Any) -> None:
        super().check_setting(name, value)
        now = {"upper": math.inf, "margin_upper": math.pi, **vars(self), name: value}
        if name in ("lower", "upper") and not now["lower"] < now["upper"]:
            raise ValueError(f"lower={now['lower']}, upper={now['upper']}: expected lower < upper")
        if name in ("margin_lower", "margin_upper") and not now["margin_lower"] <= now["margin_upper"]:
            found = f"margin_lower={now['margin_lower']}, margin_upper={now['margin_upper']}"
            raise ValueError(f"{found}: expected margin_lower <= margin_upper")

    def clamped_length(self, embeddings: Tensor) -> Tensor:
        return torch.linalg.vector_norm(embeddings, dim=1).clamp(self.lower, self.upper)  # (B,)

    def rows(self, embeddings: Tensor, target_cos: Tensor) -> tuple[Tensor, ...]:
        share = (self.clamped_length(embeddings) - self.lower) / (self.upper - self.lower)
        return (self.margin_lower + (self.margin_upper - self.margin_lower) * share,)

    def target(self, cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        (margin,) = rows  # (B,)
        if self.beyond_pi == "easy":
            return torch.where(cos > 0, cos_of_sum(cos, margin, "plain"), cos)
        return cos_of_sum(cos, margin, self.beyond_pi)

    def per_sample(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        a = self.clamped_length(embeddings)
        return super().per_sample(embeddings, labels) + self.regularizer_weight * (1 / a + a / self.upper**2)
