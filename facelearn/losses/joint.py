"""A weighted sum of losses, called like one."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from facelearn.losses.base import Classifier, Loss


class Joint(nn.Module):
    """Σ_k weight_k · loss_k, each on the same embeddings and labels.

        Joint((1.0, Softmax(64, 300)), (0.003, Center(64, 300)))

    Args:
        parts: pairs (weight, loss), at least one.

    `weights` is a plain list and may be changed while training (a ring that starts late); a part of weight 0 is not
    called, so that its state does not move. `logits` are those of the first part that has them.
    """

    def __init__(self, *parts: tuple[float, Loss]) -> None:
        super().__init__()
        if not parts:
            raise ValueError("parts is empty: expected pairs (weight, loss)")
        for part in parts:
            if not (isinstance(part, tuple) and len(part) == 2 and isinstance(part[1], nn.Module)):
                raise ValueError(f"parts holds {part!r}: expected pairs (weight, loss)")
        self.weights = [float(weight) for weight, _ in parts]
        if not all(map(math.isfinite, self.weights)):
            raise ValueError(f"parts has weights {self.weights}: expected finite numbers")
        self.parts = nn.ModuleList(loss for _, loss in parts)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        pairs = zip(self.weights, self.parts, strict=True)
        values = [weight * loss(embeddings, labels) for weight, loss in pairs if weight != 0]
        return torch.stack(values).sum(0) if values else (0 * embeddings).sum()

    def logits(self, embeddings: Tensor) -> Tensor:
        """(B, d) -> (B, C)"""
        for loss in self.parts:
            if isinstance(loss, Classifier):
                return loss.logits(embeddings)
        raise ValueError("no part of this joint loss has logits")
