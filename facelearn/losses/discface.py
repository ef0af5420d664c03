"""DiscFace: the same small displacement from their centre for all embeddings."""

from __future__ import annotations

from typing import ClassVar, Unpack, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facelearn.losses.base import NOT_NEGATIVE, POSITIVE, Classifier, Labelled, Rule
from facelearn.losses.derivatives import transformed
from facelearn.losses.margin import unit
from facelearn.losses.parallel import add_up, shard, shared


class DiscFace(Classifier):
    """A loss on normalised features, plus the discrepancy between an embedding and its class weight.

    Formula:
        ε_i = x̂_i - Ŵ_{y_i},    v = ξ min(1, b / ‖ξ‖)
        L = base loss + λ ‖ε_i - v‖

    Training compares an embedding with a weight, testing compares two embeddings; if all ε_i are one vector, the two
    agree. ξ is learnt, one for all classes; beyond the bound b only its direction moves.

    Args:
        base_loss: a loss with a `weight` (C, d) of one row per class, as `CosFace` or `ArcFace`; its process group, if
            it has one, is that of the whole.
        weight: λ.
        bound: b, the length v may have at most.
        ignore_label, reduction, validate: see `ClassLoss`; not those of the base loss (its label smoothing is used).
        device, dtype: of the whole, the base loss included; as that is, if not given.

    Example:
        >>> loss = DiscFace(CosFace(embedding_dim=64, num_classes=10), weight=0.4)
        >>> loss(torch.randn(8, 64), torch.arange(8)).backward()
        >>> loss.xi.grad.shape, loss.base_loss.weight.grad.shape
        (torch.Size([64]), torch.Size([10, 64]))

    Learns `xi` (d,), which is not weight-decayed, and what the base loss learns. Testing needs only the embeddings.

    Source: Kim, Han, Park, Baek, Shin, Han, Choi, "DiscFace: Minimum Discrepancy Learning for Deep Face Recognition",
    ACCV 2020, algorithm 1.
    Elsewhere: written as F.normalize(ξ) · clamp(‖ξ‖) a ξ that starts at 0 never moves; bobo0810 has one ξ per class.
    """

    no_weight_decay = no_rows = ("xi",)
    rules: ClassVar = {
        "weight": NOT_NEGATIVE,
        "bound": POSITIVE,
        "label_smoothing": Rule(lambda v: v == 0, "0: the base loss has its own"),
    }

    def __init__(
        self,
        base_loss: Classifier,
        *,
        weight: float = 0.4,
        bound: float = 0.05,
        **labelled: Unpack[Labelled],
    ) -> None:
        if not has_a_row_per_class(base_loss):
            raise ValueError(f"base_loss={type(base_loss).__name__}: expected a loss with one `weight` row per class")
        super().__init__(base_loss.embedding_dim, base_loss.num_classes, **labelled)
        self.process_group = base_loss.process_group
        self.base_loss = base_loss
        self.weight = weight
        self.bound = bound
        self.xi = nn.Parameter(torch.zeros_like(cast(Tensor, base_loss.weight)[0]))
        if any(self._made.values()):
            self.to(**self._made)  # the base loss too

    @property
    def holds_constants(self) -> bool:  # type: ignore[override]
        return self.base_loss.holds_constants

    def leaves(self) -> list[Tensor]:
        return [self.xi, *self.base_loss.leaves()]

    def displacement(self) -> Tensor:
        """v, which is ξ or, where that is too long, ξ shortened to the bound. At ξ = 0 the gradient is finite, not 0.

        (d,)
        """
        return self.xi * (self.bound / torch.linalg.vector_norm(self.xi).clamp(min=self.bound))

    def per_sample(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        weights, group = cast(Tensor, self.base_loss.weight), self.process_group  # (C, d)
        row = labels - shard(self.num_classes, group)[0]
        here = (row >= 0) & (row < len(weights))  # all of them, without a group
        row = row.where(here, row.where(here, 0).amax())  # elsewhere any row will do that has a gradient already
        sampled = getattr(self.base_loss, "sample_rate", 1.0) < 1  # the gradient of `weight` is then sparse
        sampled = sampled and not transformed(weights)
        residual = shared(unit(embeddings), group) - unit(F.embedding(row, weights, sparse=sampled))  # (B, d)
        discrepancy = torch.linalg.vector_norm(residual - shared(self.displacement(), group), dim=1)  # (B,)
        discrepancy = add_up(torch.where(here, discrepancy, 0.0), group)
        return self.base_loss.per_sample(embeddings, labels) + self.weight * discrepancy

    def scores(self, embeddings: Tensor) -> Tensor:
        """Those of the base loss.  (B, C)"""
        return self.base_loss.scores(embeddings)


def has_a_row_per_class(loss: Classifier) -> bool:
    """Does a loss have one `weight` row for each class (of this rank, if class-parallel)?"""
    rows = getattr(loss, "weight", None)
    if not isinstance(loss, Classifier) or not isinstance(rows, Tensor):
        return False
    first, end = shard(loss.num_classes, loss.process_group)
    return len(rows) == end - first
