"""Triplet loss: closer to the own kind than to any other, by a margin."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributed import ProcessGroup

from facelearn.losses.base import Loss, pair_masks
from facelearn.losses.margin import unit

MININGS = ("all", "semi-hard", "batch-hard")


class Triplet(Loss):
    """An anchor a, a positive p of its class and a negative n of another, with squared distances d.

    Formula:
        L = max(0, d_ap - d_an + m)          or, soft:  log(1 + exp(d_ap - d_an))

    averaged over the mined triplets, those with loss 0 included:
        "all"         every (a, p, n) of the batch
        "semi-hard"   every n with d_ap < d_an < d_ap + m; none, no triplet
        "batch-hard"  per anchor the farthest positive and the nearest negative

    If all embeddings collapse into one point the hinge loss is exactly m.

    Args:
        margin: m, a squared distance.
        mining: see above.
        soft: softplus instead of the hinge (no margin; it still bounds the semi-hard band).
        normalize: first bring embeddings to length 1.
        reduction: "none" gives the mean over the triplets of each anchor, 0 where it has none; for the rest see `Loss`.
        process_group: take the triplets of the batches of all ranks, not of its own alone (see `parallel.py`).

    The hinge over all triplets is exact in O(B² log B): for a sorted row of negatives the sum over those below a bound
    is a difference of prefix sums. The soft form needs every triplet, in blocks of anchors.

    Source: Schroff, Kalenichenko, Philbin, "FaceNet", CVPR 2015, arXiv 1503.03832, eq. 2-3 and section 3.2; batch-hard
    and soft: Hermans, Beyer, Leibe, "In Defense of the Triplet Loss", 2017, arXiv 1703.07737, eq. 5.
    Elsewhere: pytorch-metric-learning, OML and torch.nn take distances that are not squared; pytorch-metric-learning
    averages over triplets with a loss above 0 only.
    """

    def __init__(
        self,
        *,
        margin: float = 0.2,
        mining: str = "all",
        soft: bool = False,
        normalize: bool = True,
        reduction: str = "mean",
        validate: bool | None = None,
        process_group: ProcessGroup | None = None,
    ) -> None:
        super().__init__(reduction=reduction, validate=validate, process_group=process_group)
        if not 0 <= margin < math.inf:
            raise ValueError(f"margin={margin}: expected a squared distance, at least 0")
        if mining not in MININGS:
            raise ValueError(f"mining={mining!r}: expected one of {MININGS}")
        self.margin = margin
        self.mining = mining
        self.soft = soft
        self.normalize = normalize

    def per_sample(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        distances = squared_distances(unit(embeddings) if self.normalize else embeddings)  # (B, B)
        positive, negative = pair_masks(labels)  # (B, B)
        if self.mining == "batch-hard":
            return self.hardest(distances, positive, negative)
        return (self.every_soft if self.soft else self.every_hinge)(distances, positive, negative)

    def hardest(self, distances: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        farthest = distances.where(positive, -torch.inf).amax(1)  # (B,)
        nearest = distances.where(negative, torch.inf).amin(1)
        mined = positive.any(1) & negative.any(1)
        gap = torch.where(mined, farthest, 0.0) - torch.where(mined, nearest, 0.0)
        loss = F.softplus(gap) if self.soft else (gap + self.margin).clamp(min=0)
        return torch.where(mined, loss, 0.0), mined

    def every_hinge(self, distances: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        """Per anchor, Σ over its pairs (p, n) of the hinge, and how many pairs there are."""
        exact = distances.double() if distances.device.type != "mps" else distances  # long sums of like terms
        ascending = exact.where(negative, torch.inf).sort(1).values  # (B, B), the negatives of each anchor first
        below = F.pad(ascending.where(ascending.isfinite(), 0.0).cumsum(1), (1, 0))  # (B, B+1) sums of the k nearest
        bound = exact + self.margin  # (B, B), per positive: negatives nearer than this cost something
        last = torch.searchsorted(ascending.detach(), bound.detach().contiguous())  # (B, B)
        first = torch.zeros_like(last)
        available = negative.sum(1, keepdim=True).expand_as(last)
        if self.mining == "semi-hard":
            first = torch.searchsorted(ascending.detach(), exact.detach().contiguous(), right=True).minimum(last)
            available = last - first
        hinges = (last - first) * bound - (below.gather(1, last) - below.gather(1, first))
        total = torch.where(positive, hinges, 0.0).sum(1)
        return total.to(distances.dtype), torch.where(positive, available, 0).sum(1)

    def every_soft(self, distances: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        totals, counts = [], []
        for d, p, n in zip(distances.split(32), positive.split(32), negative.split(32), strict=True):
            d_ap, d_an = d[:, :, None], d[:, None, :]  # (32, B, 1), (32, 1, B)
            mined = p[:, :, None] & n[:, None, :]
            if self.mining == "semi-hard":
                mined = mined & (d_ap < d_an) & (d_an < d_ap + self.margin)
            totals.append(torch.where(mined, F.softplus(d_ap - d_an), 0.0).sum((1, 2)))
            counts.append(mined.sum((1, 2)))
        return torch.cat(totals), torch.cat(counts)


def squared_distances(x: Tensor) -> Tensor:
    """‖x_i - x_j‖² for all pairs, never below 0.  (B, d) -> (B, B)"""
    squares = x.square().sum(1)
    return (squares[:, None] + squares - 2 * x @ x.T).clamp(min=0)
