"""Triplet loss: closer to the own kind than to any other, by a margin."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributed import ProcessGroup

from facelearn.losses.base import NOT_NEGATIVE, Common, PairLoss, one_of
from facelearn.losses.blocks import blocks, centred, per_anchor
from facelearn.losses.margin import most_precise, unit
from facelearn.losses.parallel import from_all, gather_labels, samples_of_rank, shared

MININGS = ("all", "semi-hard", "batch-hard")


class Triplet(PairLoss):
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
        reduction: "none" gives the mean over the triplets of each anchor, 0 where it has none; see `Loss`.
        validate: see `Loss`, as also for device and dtype, which change nothing here: there are no parameters.
        process_group: see `PairLoss`, as also for a memory of earlier batches.

    Example:
        >>> x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.1]])  # squared distances 1, 1.21 and 2.21
        >>> loss = Triplet(margin=0.5, normalize=False, reduction="none")
        >>> loss(x, torch.tensor([0, 0, 1]))  # 1 - 1.21 + 0.5; 1 - 2.21 + 0.5 < 0; an anchor without a positive
        tensor([0.2900, 0.0000, 0.0000])

    The hinge over all triplets takes O(B² log B) and no approximation: an anchor's distances are sorted, and each is
    counted as often as a triplet uses it. The soft form computes every triplet, in blocks of anchors.

    Source: Schroff, Kalenichenko, Philbin, "FaceNet", CVPR 2015, arXiv 1503.03832, eq. 3 and 4, section 3.2; batch-hard
    and soft: Hermans, Beyer, Leibe, "In Defense of the Triplet Loss", 2017, arXiv 1703.07737, eq. 5.
    Elsewhere: pytorch-metric-learning, OML and torch.nn take distances that are not squared; pytorch-metric-learning
    averages over triplets with a loss above 0 only.
    """

    rules: ClassVar = {"margin": NOT_NEGATIVE, "mining": one_of(*MININGS)}

    def __init__(
        self,
        *,
        margin: float = 0.2,
        mining: str = "all",
        soft: bool = False,
        normalize: bool = True,
        process_group: ProcessGroup | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(process_group=process_group, **common)
        self.margin = margin
        self.mining = mining
        self.soft = soft
        self.normalize = normalize

    def per_sample(self, embeddings: Tensor, labels: Tensor, anchors: int | None = None) -> tuple[Tensor, Tensor]:
        x = unit(embeddings) if self.normalize else embeddings
        if self.mining == "batch-hard":
            return self.hardest(x, labels, anchors)
        terms = self.every_soft if self.soft else self.every_hinge
        return per_anchor(terms, x, labels, distances=True, group=self.process_group, anchors=anchors)

    def hardest(self, x: Tensor, labels: Tensor, anchors: int | None) -> tuple[Tensor, Tensor]:
        """Batch-hard: find each anchor's two partners without a graph, then take its two distances.  -> (B,), (B,)"""
        farthest, nearest, mined = [], [], []
        own = samples_of_rank(x, self.process_group) if anchors is None else slice(0, anchors)
        x = shared(centred(x), self.process_group)
        with torch.no_grad():
            for _, d, positives, present, negative in blocks(x, x[own] @ x.T, labels, True, own):
                order = d.gather(1, positives).where(present, -torch.inf).argmax(1, keepdim=True)
                farthest.append(positives.gather(1, order)[:, 0])  # (b,)
                nearest.append(d.where(negative, torch.inf).argmin(1))
                mined.append(present.any(1) & negative.any(1))
        p, n, found = torch.cat(farthest), torch.cat(nearest), torch.cat(mined)  # (B,)
        gap = (x[own] - x.index_select(0, p)).square().sum(1) - (x[own] - x.index_select(0, n)).square().sum(1)
        loss = F.softplus(gap) if self.soft else (gap + self.margin).clamp(min=0)
        loss = torch.where(found, loss, 0.0)
        return from_all(loss, self.process_group), gather_labels(found, self.process_group)

    def every_hinge(self, d: Tensor, positives: Tensor, present: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        """Σ over the pairs (p, n) of max(0, d_ap + m - d_an), without forming the pairs.

        A pair counts where d_an < d_ap + m. So d_an is subtracted once for each positive whose bound d_ap + m lies
        above it, and d_ap + m added once for each negative below it. "semi-hard" leaves out pairs with d_an ≤ d_ap.
        """
        dtype, d = d.dtype, most_precise(d)  # (b, B); two long sums that nearly cancel
        d_ap = d.gather(1, positives).where(present, torch.inf).sort(1).values  # (b, P)
        bound, own = d_ap + self.margin, present.sum(1, keepdim=True)
        out = torch.searchsorted(bound.detach(), d.detach(), right=True)  # (b, B) bounds at or below each distance
        first = own.expand_as(out)
        if self.mining == "semi-hard":
            first = torch.searchsorted(d_ap.detach(), d.detach())  # (b, B) positives nearer
        pushed = torch.where(negative, (first - out).clamp(min=0), 0)  # (b, B) terms of each negative
        pulled = (at_most(out, negative, bound) - at_most(first, negative, bound)).clamp(min=0)  # (b, P)
        total = torch.where(pulled > 0, pulled * bound, 0.0).sum(1) - (pushed * d).sum(1)
        triplets = pulled.sum(1) if self.mining == "semi-hard" else own[:, 0] * negative.sum(1)
        return total.to(dtype), triplets

    def every_soft(self, d: Tensor, positives: Tensor, present: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        d_ap, d_an = d.gather(1, positives)[:, :, None], d[:, None, :]  # (b, P, 1), (b, 1, B)
        mined = present[:, :, None] & negative[:, None, :]
        if self.mining == "semi-hard":
            mined = mined & (d_ap < d_an) & (d_an < d_ap + self.margin)
        return torch.where(mined, F.softplus(d_ap - d_an), 0.0).sum((1, 2)), mined.sum((1, 2))


def at_most(position: Tensor, counted: Tensor, like: Tensor) -> Tensor:
    """How many of the `counted` positions of each row are ≤ k, for k = 0 … P-1.  (b, B), (b, B), (b, P) -> (b, P)"""
    histogram = position.new_zeros(len(position), like.shape[1] + 1)
    return histogram.scatter_add_(1, position, counted.long()).cumsum(1)[:, :-1]
