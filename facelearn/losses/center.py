"""Center loss: a centre for every class, moved by its own rule."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from facelearn.losses.base import SHARE, ClassLoss, Labelled
from facelearn.losses.derivatives import functional
from facelearn.losses.parallel import same_everywhere


class Center(ClassLoss):
    """Half the squared distance of an embedding from its class centre; added to a softmax loss by `Joint`.

    Formula:
        L = ½ ‖x - c_y‖²,                     gradient to x: x - c_y
        Δc_j = Σ_{i: y_i = j} (c_j - x_i) / (1 + n_j),   c_j ← c_j - α Δc_j       n_j: samples of class j in the batch

    The centres are no parameters: each training call moves those of the classes it saw, after the loss is formed.

    Args:
        embedding_dim, num_classes: d and C.
        alpha: α, how far centres move, 0 ≤ α ≤ 1.
        ignore_label: see `ClassLoss`.
        reduction, validate, device, dtype: see `Loss`.
        process_group: n_j and the sums count the batches of all ranks, and the centres stay the same on each (see
            `parallel.py`); without it every rank would move centres of its own.

    Example:
        >>> loss = Center(embedding_dim=2, num_classes=3, alpha=1.0)
        >>> value = loss(torch.tensor([[3.0, 4.0]]), torch.tensor([2]))  # ½ (3² + 4²), and then the centre moves
        >>> value, loss.centers[2]
        (tensor(12.5000), tensor([1.5000, 2.0000]))

    State: `centers` (C, d), a buffer, zero at first; frozen in `eval()`.

    Source: Wen, Zhang, Li, Qiao, "A Discriminative Feature Learning Approach for Deep Face Recognition", ECCV 2016,
    eq. 2-4; its λ (0.003 in `Joint`) multiplies the sum over the batch, here it is the mean.
    Elsewhere: KaiyangZhou's version has no ½ and trains the centres by plain autograd, without the 1 / (1 + n_j).
    """

    centers: Tensor

    rules: ClassVar = {"alpha": SHARE}

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        alpha: float = 0.5,
        process_group: ProcessGroup | None = None,
        **labelled: Unpack[Labelled],
    ) -> None:
        super().__init__(embedding_dim, num_classes, **labelled)
        self.process_group = process_group
        self.alpha = alpha
        self.register_buffer("centers", torch.zeros(num_classes, embedding_dim, **self._made))

    def per_sample(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        to_center = self.centers[labels] - embeddings  # (B, d)
        if self.training and not functional():
            self.move(to_center.detach(), labels)
        return to_center.square().sum(1) / 2

    @torch.no_grad()
    def move(self, to_center: Tensor, labels: Tensor) -> None:
        same = labels[:, None] == labels  # (B, B)
        first = same.byte().argmax(1)  # (B,), the first sample of the same class
        total = torch.zeros_like(to_center).index_add_(0, first, to_center)[first]  # (B, d), Σ (c_j - x_i)
        step = self.alpha * total / (1 + same.sum(1, keepdim=True))
        step = same_everywhere(step, self.process_group)  # a GPU's sums differ in the last bit from rank to rank
        self.centers.index_copy_(0, labels, self.centers[labels] - step)  # the same row for every sample of a class
