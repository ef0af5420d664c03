"""Ring loss: a length that all embeddings share, learnt instead of fixed."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from facelearn.losses.base import Common, Loss, Rule
from facelearn.losses.derivatives import functional


class Ring(Loss):
    """Half the squared distance of every embedding from a ring of learnt radius; added to a softmax loss by `Joint`.

    Formula:
        L = ½ (‖x‖ - R)²

    Gradient: ∂L/∂x = (‖x‖ - R) x̂ (0 at x = 0), ∂L/∂R = -(‖x‖ - R): the fixed point of R is the mean length.

    Args:
        radius: R at the start. `None`: the mean length in the first training call. On an untrained net that is tiny
            and classes merge: start the ring late (`Joint` does not call a part of weight 0), or give a radius.
        reduction, validate, device, dtype: see `Loss`.
        process_group: the mean length, and R with it, is that of the batches of all ranks (see `parallel.py`).

    Example:
        >>> loss = Ring(radius=4.0)
        >>> x = torch.tensor([[3.0, 4.0], [0.0, 2.0]])  # lengths 5 and 2: ½ (1² + 2²) / 2
        >>> loss(x, torch.tensor([0, 1])).item()
        1.25

    Learns `radius`, a scalar (NaN until set), which is not weight-decayed. Labels are not used.

    Source: Zheng, Pal, Savvides, "Ring loss: Convex Feature Normalization for Face Recognition", CVPR 2018,
    arXiv 1803.00130, eq. 3; its λ (0.01 in `Joint`) weighs this term.
    Elsewhere: YirongMao's RingLoss leaves out the ½ (twice this value).
    """

    no_weight_decay = ("radius",)
    rules: ClassVar = {"radius": Rule(lambda r: r is None or 0 < r < math.inf, "a positive length, or None")}

    def __init__(
        self,
        *,
        radius: float | None = None,
        process_group: ProcessGroup | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        self.process_group = process_group
        self.check_setting("radius", radius)
        self.radius = nn.Parameter(torch.tensor(math.nan if radius is None else float(radius), **self._made))
        self._may_be_unset = radius is None  # known without asking the device

    def per_sample(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        lengths = torch.linalg.vector_norm(embeddings, dim=1)  # (B,)
        return (lengths - self._radius(lengths)).square() / 2

    def _radius(self, lengths: Tensor) -> Tensor:
        """R; where there is none yet the mean of these lengths, which becomes R in a training call."""
        if not self._may_be_unset:
            return self.radius
        radius = torch.where(self.radius.isnan(), lengths.mean(), self.radius)
        if self.training and not functional():
            with torch.no_grad():
                self.radius.copy_(radius)
            self._may_be_unset = False
        return radius

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._may_be_unset = True  # what is loaded may be a ring that never trained
