"""Softmax cross-entropy, where everything starts."""

from __future__ import annotations

from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facelearn.losses.base import Classifier, Scored
from facelearn.losses.margin import cross_entropy, rest


class Softmax(Classifier):
    """Softmax cross-entropy over inner products.

    Formula:
        z_j = W_j · x + b_j
        L = -log( exp(z_y) / Σ_j exp(z_j) )

    Gradient: ∂L/∂z = softmax(z) - onehot(y). The decision boundary of two classes is the hyperplane
    (W_1 - W_2) · x + b_1 - b_2 = 0; the loss can always be lowered by growing ‖x‖ and ‖W‖.

    Args:
        embedding_dim, num_classes: d and C.
        bias: learn b `(C,)`.
        label_smoothing, ignore_label: see `Classifier` and `ClassLoss`.
        reduction, validate, device, dtype: see `Loss`.

    Example:
        >>> loss = Softmax(embedding_dim=64, num_classes=10)
        >>> value = loss(torch.zeros(8, 64), torch.arange(8))  # of embeddings that say nothing: log 10
        >>> round(value.item(), 4)
        2.3026

    Learns `weight` (C, d) and `bias` (C,), which is not weight-decayed.

    Source: the common name in face recognition for a linear layer followed by cross-entropy; e.g. Liu, Wen, Yu, Yang,
    "Large-Margin Softmax Loss", ICML 2016, arXiv 1612.02295, eq. 1-2.
    Elsewhere: `nn.Linear` + `F.cross_entropy` is the same function; in float32 this one keeps its accuracy where the
    loss is nearly zero.
    """

    no_weight_decay = ("bias",)

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        bias: bool = True,
        **scored: Unpack[Scored],
    ) -> None:
        super().__init__(embedding_dim, num_classes, **scored)
        self.weight = nn.Parameter(torch.empty(num_classes, embedding_dim, **self._made))
        self.bias = nn.Parameter(torch.zeros(num_classes, **self._made)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.embedding_dim**-0.5)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def per_sample(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        logits = self.scores(embeddings)  # (B, C)
        target = logits.gather(1, labels[:, None])[:, 0]  # (B,)
        losses = cross_entropy(target, rest(logits, labels))
        return self.smoothed(losses, target, logits.sum(1) - target) if self.label_smoothing else losses

    def scores(self, embeddings: Tensor) -> Tensor:
        return F.linear(embeddings, self.weight, self.bias)  # (B, C)
