"""ArcFace: a margin on the angle itself."""

from __future__ import annotations

from typing import ClassVar, Unpack

from torch import Tensor

from facelearn.losses.base import RADIANS, one_of
from facelearn.losses.margin import BEYOND_PI, Frame, MarginHead, cos_of_sum


class ArcFace(MarginHead):
    """Additive margin on the target angle.

    Formula:
        target(θ_y) = cos(θ_y + m)                     while θ_y + m ≤ π; beyond, see `beyond_pi`
        L = -log( exp(s target(θ_y)) / ( exp(s target(θ_y)) + Σ_{j≠y} exp(s cos θ_j) ) )

    Gradient: ∂target/∂cos θ = sin(θ+m) / sin θ is unbounded as θ → 0, but ∂target/∂x = -sin(θ+m) ∂θ/∂x is not:
    the target is formed by the addition theorem with a guarded root, so that it stays finite at cos θ = ±1.

    Args:
        embedding_dim, num_classes: d and C.
        scale: s.
        margin: m in radians, 0 ≤ m < π (0.5 is 28.65°).
        beyond_pi: the target where θ_y + m > π, which the paper leaves open: "mm" cos θ - m sin m (falls on, after a
            jump), "plain" cos(θ+m) (turns up again), "clip" -1 (no gradient), "linear" cos θ - (1 - cos m)
            (continuous and falling).
        detach_margin: treat target - cos θ as a constant, so that ∂target/∂cos θ = 1: same value, other gradient.
        num_subcenters: K, see `SubCenterArcFace`.
        tile, process_group, sample_rate, label_smoothing, ignore_label: see `MarginHead`.
        reduction, validate, device, dtype: see `Loss`.

    Example:
        >>> loss = ArcFace(embedding_dim=64, num_classes=10, margin=0.5)
        >>> loss(torch.randn(8, 64), torch.arange(8)).backward()
        >>> loss.weight.grad.shape, loss.target(torch.tensor([1.0]), ())  # cos 0.5 where θ = 0
        (torch.Size([10, 64]), tensor([0.8776]))

    Learns `weight` (C, d). `margin` and `scale` are plain attributes and may be changed while training (warm-up).

    Source: Deng, Guo, Xue, Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019,
    arXiv 1801.07698, eq. 3 (TPAMI 2021 with Yang and Kotsia).
    Elsewhere: insightface's arcface_torch is `beyond_pi="plain", detach_margin=True`; pytorch-metric-learning and
    CurricularFace's repository are "mm" (the former with m in degrees), opensphere "clip" with the margin detached,
    cavaface and FaceX-Zoo put cos θ beyond π, which jumps up.
    """

    rules: ClassVar = {"margin": RADIANS, "beyond_pi": one_of(*BEYOND_PI)}

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        scale: float = 64.0,
        margin: float = 0.5,
        beyond_pi: str = "mm",
        detach_margin: bool = False,
        num_subcenters: int = 1,
        **frame: Unpack[Frame],
    ) -> None:
        super().__init__(embedding_dim, num_classes, scale=scale, num_subcenters=num_subcenters, **frame)
        self.margin = margin
        self.beyond_pi = beyond_pi
        self.detach_margin = detach_margin

    @property
    def holds_constants(self) -> bool:  # type: ignore[override]
        return self.detach_margin

    def target(self, cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        target = cos_of_sum(cos, self.margin, self.beyond_pi)
        return cos + (target - cos).detach() if self.detach_margin else target
