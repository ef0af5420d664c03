"""MV-Softmax: wrong classes that beat the margin push harder."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
from torch import Tensor

from facelearn.losses.base import ANGLE_OR_COSINE, NOT_NEGATIVE, one_of
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
        tile, process_group, sample_rate, label_smoothing, ignore_label: see `MarginHead`.
        reduction, validate, device, dtype: see `Loss`.

    Example:
        >>> loss = MVSoftmax(embedding_dim=64, num_classes=10, kind="am", margin=0.25, t=0.2)
        >>> wrong = torch.tensor([[0.3, 0.6]])  # cosines; with 0.75 to the own class the second one is hard
        >>> loss.others(wrong, torch.tensor([[0.75]]), ())
        tensor([[0.3000, 0.9200]])

    Learns `weight` (C, d).

    Source: Wang, Zhang, Wang, Fu, Shi, Mei, "Mis-classified Vector Guided Softmax Loss for Face Recognition",
    AAAI 2020, arXiv 1912.00833, eq. 5-8; t and s as in the authors' repository. There is no rule beyond π in it.
    Elsewhere: FaceX-Zoo's mv_weight is 1 + t, and it applies the margin only where cos θ_y > 0 ("arc") or > m ("am").
    """

    rules: ClassVar = {
        "kind": one_of(*KINDS),
        "margin": ANGLE_OR_COSINE,
        "t": NOT_NEGATIVE,
        "mode": one_of("adaptive", "fixed"),
    }

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
        self.kind = kind
        self.margin = KINDS[kind] if margin is None else margin
        self.t = t
        self.mode = mode

    def target(self, cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        return cos_of_sum(cos, self.margin, "plain") if self.kind == "arc" else cos - self.margin

    def others(self, cos: Tensor, target_cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        hard = cos > self.target(target_cos, rows)
        return torch.where(hard, (1 + self.t) * cos + self.t if self.mode == "adaptive" else cos + self.t, cos)
