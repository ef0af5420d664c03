"""L2-softmax: embeddings of one fixed length."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facelearn.losses.base import POSITIVE, Classifier, Scored
from facelearn.losses.margin import cross_entropy, rest, unit


class L2Softmax(Classifier):
    """Softmax over embeddings rescaled to length α; the class weights stay free.

    Formula:
        z_j = α W_j · x̂ + b_j,   x̂ = x / ‖x‖
        L = -log( exp(z_y) / Σ_j exp(z_j) )

    For a wanted target probability p of C classes α has to exceed about ln( p (C-2) / (1-p) ): 4.28 for C = 10 and
    p = 0.9, 11.5 for C = 10,575.

    Args:
        embedding_dim, num_classes: d and C.
        alpha: α, the length of every embedding.
        learn_alpha: learn α, from `alpha` on.
        bias: learn b `(C,)`.
        label_smoothing, ignore_label: see `Classifier` and `ClassLoss`.
        reduction, validate, device, dtype: see `Loss`.

    Example:
        >>> loss = L2Softmax(embedding_dim=64, num_classes=10, alpha=16.0, learn_alpha=True)
        >>> loss(torch.randn(8, 64), torch.arange(8)).backward()
        >>> loss.alpha.item(), loss.alpha.grad is None
        (16.0, False)

    Learns `weight` (C, d), `bias` (C,), and `alpha` if asked; bias and α are not weight-decayed.

    Source: Ranjan, Castillo, Chellappa, "L2-constrained Softmax Loss for Discriminative Face Verification", 2017,
    arXiv 1703.09507, eq. 4 (the constraint) and eq. 8 (the bound on α).
    Elsewhere: gluonfr normalises the class scores instead of the embedding.
    """

    no_weight_decay = ("bias", "alpha")
    rules: ClassVar = {"alpha": POSITIVE}

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        alpha: float = 16.0,
        learn_alpha: bool = False,
        bias: bool = True,
        **scored: Unpack[Scored],
    ) -> None:
        super().__init__(embedding_dim, num_classes, **scored)
        self.check_setting("alpha", alpha)
        self.alpha = nn.Parameter(torch.tensor(float(alpha), **self._made)) if learn_alpha else alpha
        self.weight = nn.Parameter(torch.empty(num_classes, embedding_dim, **self._made))
        self.bias = nn.Parameter(torch.empty(num_classes, **self._made)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.embedding_dim**-0.5)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def scores(self, embeddings: Tensor) -> Tensor:
        return F.linear(self.alpha * unit(embeddings), self.weight, self.bias)  # (B, C)

    def per_sample(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        logits = self.scores(embeddings)  # (B, C)
        target = logits.gather(1, labels[:, None])[:, 0]  # (B,)
        losses = cross_entropy(target, rest(logits, labels))
        return self.smoothed(losses, target, logits.sum(1) - target) if self.label_smoothing else losses
