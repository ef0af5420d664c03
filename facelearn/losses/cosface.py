"""CosFace / AM-Softmax: a margin on the cosine."""

from __future__ import annotations

import math
from typing import ClassVar, Unpack

from torch import Tensor

from facelearn.losses.base import Rule
from facelearn.losses.margin import Frame, MarginHead


class CosFace(MarginHead):
    """Additive margin on the target cosine.

    Formula:
        target(θ_y) = cos θ_y - m
        L = -log( exp(s (cos θ_y - m)) / ( exp(s (cos θ_y - m)) + Σ_{j≠y} exp(s cos θ_j) ) )

    Args:
        embedding_dim, num_classes: d and C.
        scale: s.
        margin: m, a cosine difference and not an angle. It can be met by every class only up to C/(C-1) (d ≥ C - 1);
            in the plane up to 1 - cos(2π/C).
        tile, process_group, sample_rate, label_smoothing, ignore_label: see `MarginHead`.
        reduction, validate, device, dtype: see `Loss`.

    Example:
        >>> loss = CosFace(embedding_dim=64, num_classes=10, margin=0.35)
        >>> loss(torch.randn(8, 64), torch.arange(8)).backward()
        >>> loss.weight.grad.shape, loss.target(torch.tensor([0.75]), ())
        (torch.Size([10, 64]), tensor([0.4000]))

    Learns `weight` (C, d). `margin` and `scale` are plain attributes and may be changed while training.

    Source: Wang, Wang, Zhou, Ji, Gong, Zhou, Li, Liu, "CosFace: Large Margin Cosine Loss for Deep Face Recognition",
    CVPR 2018, arXiv 1801.09414, eq. 4. The same loss: Wang, Cheng, Liu, Liu, "Additive Margin Softmax for Face
    Verification", IEEE SPL 2018, arXiv 1801.05599 (s = 30, m = 0.35).
    Elsewhere: insightface's default margin is 0.40. Some tables call AM-Softmax multiplicative; it is additive.
    """

    rules: ClassVar = {"margin": Rule(lambda m: 0 <= m < math.inf, "a cosine difference >= 0")}

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        scale: float = 64.0,
        margin: float = 0.35,
        **frame: Unpack[Frame],
    ) -> None:
        super().__init__(embedding_dim, num_classes, scale=scale, **frame)
        self.margin = margin

    def target(self, cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        return cos - self.margin
