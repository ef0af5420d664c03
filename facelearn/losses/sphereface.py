"""SphereFace / A-Softmax: the angle multiplied."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor

from facelearn.losses.base import NOT_NEGATIVE, Rule
from facelearn.losses.margin import Frame, MarginHead, sine


class SphereFace(MarginHead):
    """Multiplicative angular margin, annealed.

    Formula, for θ in [kπ/m, (k+1)π/m]:
        ψ(θ) = (-1)^k cos(mθ) - 2k                          continuous, falling from 1 to 1 - 2m (whole m)
        target(θ_y) = (λ cos θ_y + ψ(θ_y)) / (1 + λ),        λ = max(lam_min, lam_base (1 + γ it)^-power)
        L = -log( exp(‖x‖ target(θ_y)) / ( exp(‖x‖ target(θ_y)) + Σ_{j≠y} exp(‖x‖ cos θ_j) ) )

    The class weights are normalised, the embedding keeps its length. `it` counts the training calls, 1 in the first.

    Args:
        embedding_dim, num_classes: d and C.
        margin: m, a factor; whole unless `scale` is given.
        lam_min, lam_base, gamma, power: the annealing of λ. With `lam_min=5` an m of 4 asks
            at 60 degrees for no more than 1.34 alone.
        scale: `None` for the paper's ‖x‖. A number gives the later SphereFace-R: embeddings normalised too, this scale,
            any real m ≥ 1 (`scale=30., margin=1.7`), no annealing.
        tile, process_group, sample_rate, label_smoothing, ignore_label: see `MarginHead`.
        reduction, validate, device, dtype: see `Loss`.

    Example:
        >>> loss = SphereFace(embedding_dim=64, num_classes=10)
        >>> for _ in range(3):
        ...     value = loss(torch.randn(8, 64), torch.arange(8))
        >>> loss.iteration, round(loss.annealing().item(), 2)  # 1000 / (1 + 0.12 · 3)
        (tensor(3), 735.29)

    Learns `weight` (C, d). State: `iteration`, which stands still in `eval()`.

    Source: Liu, Wen, Yu, Li, Raj, Song, "SphereFace: Deep Hypersphere Embedding for Face Recognition", CVPR 2017,
    arXiv 1704.08063, eq. 7; annealing as in the authors' code. SphereFace-R: Liu, Wen, Raj, Singh, Weller, "SphereFace
    Revived", TPAMI 2022, arXiv 2109.05565.
    Elsewhere: pytorch-metric-learning has no λ, which hardly trains from scratch; adacos' repository takes cos(1.35 θ)
    without k, which is not monotone; opensphere's SphereFace-R detaches the margin.
    """

    iteration: Tensor

    rules: ClassVar = {
        "margin": Rule(lambda m: 1 <= m < math.inf, "a factor >= 1"),
        **dict.fromkeys(("lam_min", "lam_base", "gamma", "power"), NOT_NEGATIVE),
    }

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        margin: float = 4,
        lam_min: float = 5.0,
        lam_base: float = 1000.0,
        gamma: float = 0.12,
        power: float = 1.0,
        scale: float | None = None,
        **frame: Unpack[Frame],
    ) -> None:
        own_scale = 1.0 if scale is None else scale
        super().__init__(embedding_dim, num_classes, scale=own_scale, **frame)
        self.follows_norm = scale is None
        self.margin = margin
        self.lam_min, self.lam_base, self.gamma, self.power = lam_min, lam_base, gamma, power
        self.register_buffer("iteration", torch.tensor(0, device=self.weight.device))

    def check_setting(self, name: str, value: Any) -> None:
        super().check_setting(name, value)
        if name == "margin" and self.follows_norm and value != int(value):
            raise ValueError(f"margin={value}: expected a whole number >= 1 (any real one with `scale`)")

    def observe(self, embeddings: Tensor, target_cos: Tensor) -> None:
        self.iteration = self.iteration + 1  # not +=: a compiled backward pass would then see the next iteration's λ

    def rows(self, embeddings: Tensor, target_cos: Tensor) -> tuple[Tensor, ...]:
        return (torch.linalg.vector_norm(embeddings, dim=1),) if self.follows_norm else ()

    def annealing(self) -> Tensor | float:
        """λ now."""
        if not self.follows_norm:
            return 0.0
        steps = self.iteration.to(self.weight.dtype)
        return (self.lam_base * (1 + self.gamma * steps) ** -self.power).clamp(min=self.lam_min)

    def target(self, cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        lam = self.annealing()
        mixed = (lam * cos + psi(cos, self.margin)) / (1 + lam)
        return mixed * rows[0] if self.follows_norm else mixed

    def others(self, cos: Tensor, target_cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        return cos * rows[0] if self.follows_norm else cos

    def scores(self, embeddings: Tensor) -> Tensor:
        """‖x‖ cos θ_j (or s cos θ_j with `scale`), no margin.  (B, C)"""
        scores = super().scores(embeddings)
        return scores * torch.linalg.vector_norm(embeddings, dim=1, keepdim=True) if self.follows_norm else scores


def psi(cos: Tensor, margin: float) -> Tensor:
    """(-1)^k cos(mθ) - 2k from cos θ.  For whole m cos(mθ) is Chebyshev's polynomial: no arccos, no infinite slope."""
    theta = cos.detach().clamp(-1, 1).acos()
    k = (margin * theta / math.pi).floor().clamp(max=math.ceil(margin) - 1)
    multiplied = (
        chebyshev(cos, int(margin)) if margin == int(margin) else torch.cos(margin * torch.atan2(sine(cos), cos))
    )
    return (1 - 2 * (k % 2)) * multiplied - 2 * k


def chebyshev(cos: Tensor, m: int) -> Tensor:
    """cos(mθ): T_0 = 1, T_1 = c, T_m = 2c T_{m-1} - T_{m-2}."""
    before, now = torch.ones_like(cos), cos
    for _ in range(m - 1):
        before, now = now, 2 * cos * now - before
    return now
