"""MV-Softmax: wrong classes that beat the margin push harder."""

from __future__ import annotations

import math
from typing import Unpack

import torch
from torch import Tensor

from facelearn.losses.margin import Frame, MarginHead, cos_of_sum

KINDS = {"arc": 0.5, "am": 0.35}


class MVSoftmax(MarginHead):
    """A margin head whose hard negatives, those above the target logit, are emphasised.

    Formula, with f = cos(θ_y + m) ("arc") or cos θ_y - m ("am"):
        target = f
        others(c) = (1 + t) c + t   if c > f  ("adaptive"),    c + t  if c > f  ("fixed"),    else c

    Which negatives are hard is a mask without a gradient. t = 0 is the plain margin.

    Args:
        embedding_dim, num_classes: d and C.
        kind: "arc" or "am".
        scale: s.
        margin: m; `None`: 0.5 radians for "arc", a cosine difference of 0.35 for "am".
        t: the emphasis, at least 0.
        mode: "adaptive" or "fixed".
        reduction, validate, tile, process_group: see `MarginHead`.

    Learns `weight` (C, d).

    Source: Wang, Zhang, Wang, Fu, Shi, Mei, "Mis-classified Vector Guided Softmax Loss for Face Recognition",
    AAAI 2020, arXiv 1912.00833, eq. 7-10; t and s as in the authors' repository. There is no rule beyond π in it.
    Elsewhere: FaceX-Zoo's mv_weight is 1 + t, and it applies the margin only where cos θ_y > 0 ("arc") or > m ("am").
    """

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        kind: str = "arc",
        scale: float = 32.0,
        margin: float | None = None,
        t: float = 0.2,
        mode: str = "adaptive",
        **frame: Unpack[Frame],
    ) -> None:
        super().__init__(embedding_dim, num_classes, scale=scale, **frame)
        if kind not in KINDS:
            raise ValueError(f"kind={kind!r}: expected one of {tuple(KINDS)}")
        if mode not in ("adaptive", "fixed"):
            raise ValueError(f"mode={mode!r}: expected 'adaptive' or 'fixed'")
        if not 0 <= t < math.inf:
            raise ValueError(f"t={t}: expected at least 0")
        self.kind = kind
        self.margin = KINDS[kind] if margin is None else margin
        if not 0 <= self.margin < math.pi:
            raise ValueError(f"margin={margin}: expected 0 <= margin < pi")
        self.t = t
        self.mode = mode

    def target(self, cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        return cos_of_sum(cos, self.margin, "plain") if self.kind == "arc" else cos - self.margin

    def others(self, cos: Tensor, target_cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        hard = cos > self.target(target_cos, rows)
        return torch.where(hard, (1 + self.t) * cos + self.t if self.mode == "adaptive" else cos + self.t, cos)
