"""Supervised contrastive loss: all positives of the batch against everything else in it."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributed import ProcessGroup

from facelearn.losses.base import POSITIVE, Common, PairLoss
from facelearn.losses.blocks import per_anchor
from facelearn.losses.margin import unit

#: a logit that adds nothing to any sum; finite, so that a row of nothing else has a gradient of 0 and not of NaN
NOTHING = -1e30


class SupCon(PairLoss):
    """For every anchor, the mean cross-entropy of picking each of its positives out of the batch.

    Formula, with P(i) the other samples of i's class:
        L_i = -(1 / |P(i)|) Σ_{p ∈ P(i)} log( exp(x̂_i·x̂_p / τ) / Σ_{a ≠ i} exp(x̂_i·x̂_a / τ) )

    averaged over the anchors that have a positive.

    Args:
        temperature: τ.
        reduction: "none" gives a value per anchor, 0 where it has no positive; see `Loss`.
        validate: see `Loss`, as also for device and dtype, which change nothing here: there are no parameters.
        process_group: see `PairLoss`, as also for a memory of earlier batches.

    Example:
        >>> x = torch.eye(4)  # all pairs alike: one positive among three others is as good as a guess, log 3
        >>> loss = SupCon(temperature=0.1)
        >>> round(loss(x, torch.tensor([0, 0, 1, 1])).item(), 4)
        1.0986

    Source: Khosla, Teterwak, Wang, Sarna, Tian, Isola, Maschinot, Liu, Krishnan, "Supervised Contrastive Learning",
    NeurIPS 2020, arXiv 2004.11362, eq. 2 (L_out).
    Elsewhere: the authors' code multiplies by τ / 0.07 (`base_temperature`), 1 at its default.
    """

    rules: ClassVar = {"temperature": POSITIVE}

    def __init__(
        self,
        *,
        temperature: float = 0.1,
        process_group: ProcessGroup | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(process_group=process_group, **common)
        self.temperature = temperature

    def per_sample(self, embeddings: Tensor, labels: Tensor, anchors: int | None = None) -> tuple[Tensor, Tensor]:
        return per_anchor(self.terms, unit(embeddings), labels, group=self.process_group, anchors=anchors)

    def terms(self, s: Tensor, positives: Tensor, present: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        """From the similarities of some anchors with all samples, see `Terms`.  (b, B) -> (b,), (b,)"""
        logits = s / self.temperature  # (b, B)
        own = logits.gather(1, positives).where(present, NOTHING)  # (b, P)
        to_own, to_others = own.logsumexp(1), logits.where(negative, NOTHING).logsumexp(1)  # (b,)
        # log Σ_a - own = (log Σ_p - own) + log(1 + Σ_n / Σ_p): no difference of nearly equal numbers in a small loss
        among_own = torch.where(present, to_own[:, None] - own, 0.0).sum(1) / present.sum(1).clamp(min=1)
        counted = present.any(1)
        return torch.where(counted, among_own + F.softplus(to_others - to_own), 0.0), counted
