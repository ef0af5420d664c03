"""Sub-centre ArcFace: several centres for a class, so that wrong labels find a corner of their own."""

from __future__ import annotations

import math
from typing import Unpack

import torch
from torch import Tensor

from facelearn.losses.arcface import ArcFace
from facelearn.losses.margin import Frame, most_precise, unit


class SubCenterArcFace(ArcFace):
    """ArcFace on the best of K sub-centres of each class.

    Formula:
        cos θ_j = max_k x̂ · Ŵ_jk,   then as `ArcFace`

    Only the nearest sub-centre of a class gets a gradient.

    Args:
        embedding_dim, num_classes: d and C.
        num_subcenters: K.
        scale, margin, beyond_pi, detach_margin: see `ArcFace`.
        tile, process_group, sample_rate, label_smoothing, ignore_label: see `MarginHead`.
        reduction, validate, device, dtype: see `Loss`.

    Example:
        >>> loss = SubCenterArcFace(embedding_dim=64, num_classes=10, num_subcenters=3)
        >>> x = torch.randn(8, 64)
        >>> loss.weight.shape, loss.logits(x).shape
        (torch.Size([30, 64]), torch.Size([8, 10]))

    Learns `weight` (C·K, d); row j·K + k is sub-centre k of class j. After training, `outliers` names the images whose
    label is probably wrong (the angle of 75° is the one of the paper's repository).

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

    @torch.no_grad()
    def dominant(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Which sub-centre of each class most of its images are nearest to.  (N, d), (N,) -> (C,), 0 to K - 1

        The first of several alike, so 0 for a class without an image. Embeddings as for the loss, of the whole set.
        """
        nearest = self._own_cosines(embeddings, labels).argmax(1)  # (N,)
        images = torch.zeros(self.num_classes, self.num_subcenters, dtype=torch.int64, device=labels.device)
        return images.index_put_((labels, nearest), torch.ones_like(labels), accumulate=True).argmax(1)

    @torch.no_grad()
    def outliers(self, embeddings: Tensor, labels: Tensor, *, angle: float = math.radians(75)) -> Tensor:
        """The images further than `angle` from the dominant sub-centre of their class.  (N, d), (N,) -> (N,) bool

        They are probably labelled wrongly: leave them out, and train again. An image near another sub-centre of its
        class is one of them too, so that whole groups of strangers under one name are found. angle: radians.
        """
        if not 0 <= angle <= math.pi:
            raise ValueError(f"angle={angle!r}: expected radians, from 0 to pi")
        dominant = self.dominant(embeddings, labels)[labels]  # (N,)
        return self._own_cosines(embeddings, labels).gather(1, dominant[:, None])[:, 0] < math.cos(angle)

    def _own_cosines(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Of each image with the K sub-centres of its class.  (N, d), (N,) -> (N, K)"""
        if self.process_group is not None:
            raise ValueError(
                f"process_group={self.process_group.size()} ranks: expected None, the classes in one place"
            )
        self.check(embeddings, labels)
        own = unit(most_precise(self.weight)).unflatten(0, (-1, self.num_subcenters))  # (C, K, d)
        x = unit(most_precise(embeddings))
        parts = zip(x.split(4096), labels.split(4096), strict=True)  # (N, K, d) would not fit
        return torch.cat([torch.einsum("nd,nkd->nk", part, own[y]) for part, y in parts])
