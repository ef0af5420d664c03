"""A weighted sum of losses, called like one."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from facelearn.losses.base import Classifier, Loss


class Joint(nn.Module):
    """Σ_k weight_k · loss_k, each on the same embeddings and labels.

    Args:
        parts: pairs (weight, loss), at least one.

    Example:
        >>> loss = Joint((1.0, Softmax(64, 10)), (0.003, Center(64, 10)))
        >>> loss(torch.randn(8, 64), torch.arange(8)).backward()
        >>> loss.weights[1] = 0.01

    `weights` is a plain list and may be changed while training (a ring that starts late); a part of weight 0 is not
    called, so that its state does not move. `logits` are those of the first part that has them.
    """

    def __init__(self, *parts: tuple[float, Loss]) -> None:
        super().__init__()
        if not parts:
            raise ValueError("parts=(): expected pairs (weight, loss)")
        for i, part in enumerate(parts):
            if not (isinstance(part, tuple) and len(part) == 2 and isinstance(part[1], nn.Module)):
                raise ValueError(f"parts[{i}]={part!r}: expected a pair (weight, loss)")
        self.parts = nn.ModuleList(loss for _, loss in parts)
        self.weights = [float(weight) for weight, _ in parts]
        self.check_weights()

    def check_weights(self) -> None:
        """In every call, since an element of the list may have been set to anything."""
        if len(self.weights) != len(self.parts) or not all(map(math.isfinite, self.weights)):
            raise ValueError(f"weights={self.weights}: expected a finite number per part, {len(self.parts)} in all")

    def extra_repr(self) -> str:
        return f"weights={self.weights}"

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        self.check_weights()
        pairs = zip(self.weights, self.parts, strict=True)
        values = [weight * loss(embeddings, labels) for weight, loss in pairs if weight != 0]
        return torch.stack(values).sum(0) if values else (0 * embeddings).sum()

    def logits(self, embeddings: Tensor) -> Tensor:
        """(B, d) -> (B, C)"""
        for loss in self.parts:
            if isinstance(loss, Classifier):
                return loss.logits(embeddings)
        raise ValueError(f"parts={[type(loss).__name__ for loss in self.parts]}: expected one with logits")
