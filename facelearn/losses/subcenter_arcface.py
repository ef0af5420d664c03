"""Sub-centre ArcFace: several centres for a class, so that wrong labels find a corner of their own."""

from __future__ import annotations

from typing import Unpack

from facelearn.losses.arcface import ArcFace
from facelearn.losses.margin import Frame


class SubCenterArcFace(ArcFace):
    """ArcFace on the best of K sub-centres of each class.

    Formula:
        cos θ_j = max_k x̂ · Ŵ_jk,   then as `ArcFace`

    Only the nearest sub-centre of a class gets a gradient.

    Args:
        embedding_dim, num_classes: d and C.
        num_subcenters: K.
        scale, margin, beyond_pi, detach_margin: see `ArcFace`.
        reduction, validate, tile, process_group, sample_rate, device, dtype: see `MarginHead`.

    Example:
        >>> loss = SubCenterArcFace(embedding_dim=64, num_classes=10, num_subcenters=3)
        >>> x = torch.randn(8, 64)
        >>> loss.weight.shape, loss.logits(x).shape
        (torch.Size([30, 64]), torch.Size([8, 10]))

    Learns `weight` (C·K, d); row j·K + k is sub-centre k of class j.

    Source: Deng, Guo, Liu, Gong, Zafeiriou, "Sub-center ArcFace: Boosting Face Recognition by Large-scale Noisy Web
    Faces", ECCV 2020, eq. 4 and 5.
    Elsewhere: pytorch-metric-learning computes the same ("mm").
    """

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        num_subcenters: int = 3,
        scale: float = 64.0,
        margin: float = 0.5,
        beyond_pi: str = "mm",
        detach_margin: bool = False,
        **frame: Unpack[Frame],
    ) -> None:
        super().__init__(
            embedding_dim, num_classes, scale=scale, margin=margin, beyond_pi=beyond_pi, detach_margin=detach_margin,
            num_subcenters=num_subcenters, **frame,
        )  # fmt: skip
