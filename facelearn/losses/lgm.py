"""L-GM loss: every class a Gaussian."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from facelearn.losses.base import NOT_NEGATIVE, Classifier, Scored, one_of
from facelearn.losses.derivatives import transformed
from facelearn.losses.margin import cross_entropy, rest

#: up to this many numbers x_t - μ_kt are held at once; more are computed in blocks of classes, again for the gradient
BLOCK = 2**24


class LGM(Classifier):
    """Large-margin Gaussian mixture: classify by likelihood under one Gaussian per class, with equal priors.

    Formula:
        d_k = ½ Σ_t (x_t - μ_kt)² / Λ_kt
        z_k = -(1 + α [k = y]) d_k - ½ Σ_t log Λ_kt
        L = -log( exp(z_y) / Σ_k exp(z_k) ) + λ ( d_y + ½ Σ_t log Λ_yt )

    The margin α asks the own distance to be smaller by the factor 1 + α; the last term is the negative log-likelihood.

    Args:
        embedding_dim, num_classes: d and C.
        alpha: α, at least 0.
        likelihood_weight: λ.
        covariance: "diagonal" learns log Λ; "identity" fixes Λ = 1.
        label_smoothing, ignore_label: see `Classifier` and `ClassLoss`.
        reduction, validate, device, dtype: see `Loss`.

    Example:
        >>> loss = LGM(embedding_dim=64, num_classes=10)
        >>> x = loss.means.detach()[:8]  # samples that lie on the means of their classes
        >>> loss.logits(x).argmax(1)
        tensor([0, 1, 2, 3, 4, 5, 6, 7])

    Learns `means` (C, d) and `log_var` (C, d), which is not weight-decayed.

    Source: Wan, Zhong, Li, Chen, "Rethinking Feature Distribution for Loss Functions in Image Classification",
    CVPR 2018, arXiv 1803.02988, eq. 5-12.
    Elsewhere: YirongMao's LGMLoss takes the Euclidean distance in the likelihood term; gluonfr leaves out log Λ there
    and exponentiates before the logarithm, so that far samples lose their gradient.
    """

    no_weight_decay = ("log_var",)
    rules: ClassVar = {
        "alpha": NOT_NEGATIVE,
        "likelihood_weight": NOT_NEGATIVE,
        "covariance": one_of("diagonal", "identity"),
    }

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        alpha: float = 0.3,
        likelihood_weight: float = 0.1,
        covariance: str = "diagonal",
        **scored: Unpack[Scored],
    ) -> None:
        super().__init__(embedding_dim, num_classes, **scored)
        self.alpha = alpha
        self.likelihood_weight = likelihood_weight
        self.covariance = covariance
        self.means = nn.Parameter(torch.empty(num_classes, embedding_dim, **self._made))
        self.log_var = None if covariance == "identity" else nn.Parameter(torch.zeros_like(self.means))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.means, std=self.embedding_dim**-0.5)
        if self.log_var is not None:
            nn.init.zeros_(self.log_var)

    def half_log_det(self) -> Tensor:
        """½ Σ_t log Λ_kt.  (C,)"""
        return self.means.new_zeros(self.num_classes) if self.log_var is None else self.log_var.sum(1) / 2

    def distances(self, embeddings: Tensor) -> Tensor:
        """d_k, from the differences x - μ_k: expanding the square would subtract nearly equal numbers.  (B, C)"""
        size = max(1, BLOCK // embeddings.numel())
        log_vars = [None] * -(-self.num_classes // size) if self.log_var is None else self.log_var.split(size)
        blocks = [
            half_mahalanobis(embeddings, means, log_var)
            if size >= self.num_classes or transformed(embeddings)  # which checkpoints do not go with
            else checkpoint(half_mahalanobis, embeddings, means, log_var, use_reentrant=False)
            for means, log_var in zip(self.means.split(size), log_vars, strict=True)
        ]
        return torch.cat(blocks, 1)

    def per_sample(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        distances, half_log_det = self.distances(embeddings), self.half_log_det()  # (B, C), (C,)
        own, own_log_det = distances.gather(1, labels[:, None])[:, 0], half_log_det[labels]  # (B,)
        target, logits = -(1 + self.alpha) * own - own_log_det, -distances - half_log_det
        classification = cross_entropy(target, rest(logits, labels))
        if self.label_smoothing:
            classification = self.smoothed(classification, target, logits.sum(1) + own + own_log_det)
        return classification + self.likelihood_weight * (own + own_log_det)

    def scores(self, embeddings: Tensor) -> Tensor:
        """Log-likelihood of every class up to a constant, no margin: `-d_k - ½ Σ_t log Λ_kt`.  (B, C)"""
        return -self.distances(embeddings) - self.half_log_det()


def half_mahalanobis(x: Tensor, means: Tensor, log_var: Tensor | None) -> Tensor:
    """½ Σ_t (x_t - μ_kt)² / Λ_kt.  (B, d), (n, d), (n, d) -> (B, n)"""
    squares = (x[:, None] - means).square()  # (B, n, d)
    return (squares if log_var is None else squares * (-log_var).exp()).sum(2) / 2
