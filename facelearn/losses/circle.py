"""Circle loss on pairs: every similarity pushed at its own pace."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributed import ProcessGroup

from facelearn.losses.base import POSITIVE, Common, PairLoss, Rule
from facelearn.losses.blocks import per_anchor
from facelearn.losses.margin import unit


class Circle(PairLoss):
    """One softplus per anchor over all its positive similarities s_p and negative ones s_n.

    Formula, with weights α that are constants to the gradient:
        α_p = max(0, 1 + m - s_p),   α_n = max(0, s_n + m)
        L = log( 1 + Σ exp(γ α_n (s_n - m)) · Σ exp(-γ α_p (s_p - (1 - m))) )

    averaged over the anchors that have both a positive and a negative. Where L is balanced, (s_n, s_p) lies on a circle
    round (0, 1) of radius √2 m. Values of hundreds are normal at first.

    Args:
        margin: m.
        gamma: γ.
        reduction: "none" gives a value per anchor, 0 where a kind is missing; see `Loss`.
        validate: see `Loss`, as also for device and dtype, which change nothing here: there are no parameters.
        process_group: see `PairLoss`, as also for a memory of earlier batches.

    Example:
        >>> x = torch.eye(4)  # all similarities 0: α_p = 1.25, α_n = 0.25, and two negatives
        >>> loss = Circle(margin=0.25, gamma=1.0)
        >>> round(loss(x, torch.tensor([0, 0, 1, 1])).item(), 4)  # log(1 + 2 exp(-0.0625) exp(0.9375))
        1.7575

    Source: Sun, Cheng, Zhang, Zhang, Zheng, Wang, Wei, "Circle Loss", CVPR 2020, arXiv 2002.10857, eq. 4-8. The form on
    class weights is `CircleFace`.
    Elsewhere: TinyZeaMays pools all pairs of the batch into a single softplus; pytorch-metric-learning also leaves
    anchors of zero loss out of the mean.
    """

    holds_constants = True
    rules: ClassVar = {"margin": Rule(lambda m: -1 < m < 1, "-1 < margin < 1"), "gamma": POSITIVE}

    def __init__(
        self,
        *,
        margin: float = 0.25,
        gamma: float = 256.0,
        process_group: ProcessGroup | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(process_group=process_group, **common)
        self.margin = margin
        self.gamma = gamma

    def per_sample(self, embeddings: Tensor, labels: Tensor, anchors: int | None = None) -> tuple[Tensor, Tensor]:
        return per_anchor(self.terms, unit(embeddings), labels, group=self.process_group, anchors=anchors)

    def terms(self, s: Tensor, positives: Tensor, present: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        """From the similarities of some anchors with all samples, see `Terms`.  (b, B) -> (b,), (b,)"""
        s_p = s.gather(1, positives)  # (b, P)
        pull = -self.gamma * (1 + self.margin - s_p.detach()).clamp(min=0) * (s_p - (1 - self.margin))
        push = self.gamma * (s.detach() + self.margin).clamp(min=0) * (s - self.margin)
        both = masked_logsumexp(pull, present) + masked_logsumexp(push, negative)  # (b,)
        counted = present.any(1) & negative.any(1)
        return torch.where(counted, -F.logsigmoid(-both), 0.0), counted


def masked_logsumexp(values: Tensor, mask: Tensor) -> Tensor:
    """The log-sum-exp of each row's entries in `mask`. A row without any gives a finite number without meaning."""
    some = mask.any(1, keepdim=True)
    return values.where(mask, -torch.inf).where(some, 0.0).logsumexp(1)
