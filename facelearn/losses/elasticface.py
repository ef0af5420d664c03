"""ElasticFace: a margin drawn anew for every sample."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
from torch import Tensor

from facelearn.losses.base import ANGLE_OR_COSINE, NOT_NEGATIVE, one_of
from facelearn.losses.margin import Frame, MarginHead, cos_of_sum
from facelearn.losses.parallel import same_everywhere

KINDS = {"arc": 0.5, "cos": 0.35}


class ElasticFace(MarginHead):
    """ArcFace or CosFace with random margins.

    Formula, with m_i drawn from N(m, σ²) in every training call:
        target = cos(θ_y + m_i)  ("arc")    or    cos θ_y - m_i  ("cos")

    The "+" variant hands the drawn margins out by hardness: the smaller cos θ_y, the larger m_i.

    Args:
        embedding_dim, num_classes: d and C.
        kind: "arc" or "cos".
        scale: s.
        margin: m; `None`: 0.5 radians for "arc", a cosine difference of 0.35 for "cos".
        std: σ.
        plus: the "+" variant.
        generator: where the margins are drawn from; `None`: torch's global one.
        tile, process_group, sample_rate, label_smoothing, ignore_label: see `MarginHead`.
        reduction, validate, device, dtype: see `Loss`.

    Example:
        >>> loss = ElasticFace(embedding_dim=64, num_classes=10, std=0.05)
        >>> x, labels = torch.randn(8, 64), torch.arange(8)
        >>> bool(loss(x, labels) == loss(x, labels)), bool(loss.eval()(x, labels) == loss(x, labels))
        (False, True)

    Learns `weight` (C, d). `eval()` uses the mean margin. `draw_margins(batch_size)` may be overridden.

    Source: Boutros, Damer, Kirchbuchner, Kuijper, "ElasticFace: Elastic Margin Loss for Deep Face Recognition",
    CVPRW 2022, arXiv 2109.09416, eq. 5-7; `std` as in the authors' class, their configuration has 0.05.
    Elsewhere: the authors' "+" indexes the sorted margins with argsort(cos), where the rank (argsort of argsort) is
    needed: its margins are almost unrelated to hardness.
    """

    rules: ClassVar = {"kind": one_of(*KINDS), "margin": ANGLE_OR_COSINE, "std": NOT_NEGATIVE}

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        kind: str = "arc",
        scale: float = 64.0,
        margin: float | None = None,
        std: float = 0.0125,
        plus: bool = False,
        generator: torch.Generator | None = None,
        **frame: Unpack[Frame],
    ) -> None:
        super().__init__(embedding_dim, num_classes, scale=scale, **frame)
        self.kind = kind
        self.margin = KINDS[kind] if margin is None else margin
        self.std = std
        self.plus = plus
        self.generator = generator

    def draw_margins(self, batch_size: int) -> Tensor:
        """One margin per sample.  (B,)"""
        device = self.weight.device if self.generator is None else self.generator.device
        drawn = torch.randn(batch_size, generator=self.generator, dtype=self.weight.dtype, device=device)
        return (self.margin + self.std * drawn).to(self.weight.device)

    def rows(self, embeddings: Tensor, target_cos: Tensor) -> tuple[Tensor, ...]:
        if not self.training:
            return (torch.full_like(target_cos, self.margin),)
        margins = same_everywhere(self.draw_margins(len(target_cos)).to(target_cos), self.process_group)
        if self.plus:
            rank = target_cos.detach().argsort(descending=True).argsort()  # 0 for the easiest
            margins = margins.sort().values[rank]
        return (margins,)

    def target(self, cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        return cos_of_sum(cos, rows[0], "plain") if self.kind == "arc" else cos - rows[0]
