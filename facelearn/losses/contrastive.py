"""Contrastive loss: pairs pulled together or pushed apart."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributed import ProcessGroup

from facelearn.losses.base import POSITIVE, Common, PairLoss
from facelearn.losses.blocks import per_anchor
from facelearn.losses.margin import unit


class Contrastive(PairLoss):
    """Pull pairs of one class together, push the others out to a distance M; over all pairs i < j of the batch.

    Formula, with D = ‖x_i - x_j‖:
        L = ½ D²                      same class
        L = ½ max(0, M - D)²          different classes

    Args:
        margin: M, a distance. With unit vectors D is at most 2.
        normalize: first bring embeddings to length 1.
        reduction: "none" gives a value per pair, in the order (0,1), (0,2), …, (1,2), …; see `Loss`.
        validate: see `Loss`, as also for device and dtype, which change nothing here: there are no parameters.
        process_group: see `PairLoss`, as also for a memory of earlier batches.

    Example:
        >>> x = torch.tensor([[0.0, 0.0], [0.6, 0.8], [3.0, 4.0]])  # distances 1, 5 and 4
        >>> labels = torch.tensor([0, 0, 1])
        >>> Contrastive(margin=4.5, reduction="none")(x, labels)  # 1² / 2, beyond the margin, (4.5 - 4)² / 2
        tensor([0.5000, 0.0000, 0.1250])

    A batch of one has no pair: its loss is 0, and so is the gradient. Coinciding pairs of different classes are at a
    kink with no direction to push in: their gradient is 0.

    Source: Hadsell, Chopra, LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", CVPR 2006, eq. 4.
    Elsewhere: pytorch-metric-learning's hinges are not squared and averaged over non-zero terms only; gluonfr takes the
    root of the sum of FOURTH powers as distance.
    """

    rules: ClassVar = {"margin": POSITIVE}

    def __init__(
        self,
        *,
        margin: float = 1.0,
        normalize: bool = False,
        process_group: ProcessGroup | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(process_group=process_group, **common)
        self.margin = margin
        self.normalize = normalize

    def per_sample(
        self, embeddings: Tensor, labels: Tensor, anchors: int | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        x = unit(embeddings) if self.normalize else embeddings
        if self.reduction != "none":
            sums, pairs = self.halves(x, labels, anchors)
            if anchors is None:
                return sums, pairs
            # Of each pair inside the batch there were two halves, of one with an earlier image a single one.
            inside, pairs_inside = self.halves(x[:anchors], labels[:anchors])
            return 2 * sums - inside, 2 * pairs - pairs_inside
        i, j = torch.triu_indices(len(x) if anchors is None else anchors, len(x), 1, device=x.device)
        pulled, pushed = self.costs(F.pdist(x)[: len(i)].square())  # (B (B-1) / 2,)
        return torch.where(labels[i] == labels[j], pulled, pushed)

    def halves(self, x: Tensor, labels: Tensor, anchors: int | None = None) -> tuple[Tensor, Tensor]:
        """For each anchor half of what its pairs cost, and half of their number.  (B, d), (B,) -> (B,), (B,)"""
        pushed, pairs = per_anchor(self.terms, x, labels, distances=True, group=self.process_group, anchors=anchors)
        return pushed + pulls(x, labels)[:anchors], pairs

    def terms(self, squared: Tensor, positives: Tensor, present: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        """From the squared distances of some anchors to all samples, see `Terms`: what pairs of two classes cost.

        Every pair is counted twice, by half; so are those of one class, which `pulls` adds.  (b, B) -> (b,), (b,)
        """
        pushed = torch.where(negative, self.costs(squared)[1], 0.0).sum(1)
        return pushed / 2, (present.sum(1) + negative.sum(1)) / 2

    def costs(self, squared: Tensor) -> tuple[Tensor, Tensor]:
        """What a pair costs if it is of one class, and what if it is of two, from D²."""
        D = squared.clamp(min=torch.finfo(squared.dtype).tiny).sqrt()  # no infinite slope at 0
        return squared / 2, (self.margin - D).clamp(min=0).square() / 2

    def values_before(self, sample: int, samples: int) -> int:
        return sample * (2 * samples - sample - 1) // 2  # sample i comes first in B - 1 - i pairs


def pulls(x: Tensor, labels: Tensor) -> Tensor:
    """Half of Σ_j ½ ‖x_i - x_j‖² over the samples j of i's class, from their distances to the mean of the class.

    With u = x - mean, Σ_j ‖x_i - x_j‖² = n ‖u_i‖² + Σ_j ‖u_j‖². Where a class has drawn close together, ‖x_i‖² + ‖x_j‖²
    - 2 x_i · x_j would subtract nearly equal numbers; this does not.  (B, d), (B,) -> (B,)
    """
    _, classes, sizes = labels.unique(return_inverse=True, return_counts=True)
    n = sizes.to(x.dtype)  # (classes,)
    means = x.new_zeros(len(n), x.shape[1]).index_add(0, classes, x) / n[:, None]  # (classes, d)
    from_mean = (x - means[classes]).square().sum(1)  # (B,), ‖u‖²
    in_class = x.new_zeros(len(n)).index_add(0, classes, from_mean)  # (classes,)
    return (n[classes] * from_mean + in_class[classes]) / 4
