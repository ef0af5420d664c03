"""NormFace: softmax on the hypersphere."""

from __future__ import annotations

from typing import Unpack

from facelearn.losses.margin import Frame, MarginHead


class NormFace(MarginHead):
    """Softmax cross-entropy over scaled cosines: embeddings and class weights both normalised, no margin.

    Formula:
        L = -log( exp(s cos θ_y) / Σ_j exp(s cos θ_j) )

    With C classes spread evenly (possible where d ≥ C - 1) the loss cannot fall below
    log(1 + (C-1) exp(-s C/(C-1))): s = 1 leaves 8.27 for 10,575 classes, so a scale is not optional.

    Args:
        embedding_dim, num_classes: d and C.
        scale: s.
        tile, process_group, sample_rate, label_smoothing, ignore_label: see `MarginHead`.
        reduction, validate, device, dtype: see `Loss`.

    Example:
        >>> loss = NormFace(embedding_dim=64, num_classes=10, scale=16.0)
        >>> x = torch.randn(8, 64)
        >>> bool(loss.logits(x).abs().max() <= 16), bool(torch.allclose(loss.logits(x), loss.logits(5 * x), atol=1e-4))
        (True, True)

    Learns `weight` (C, d).

    Source: Wang, Xiang, Cheng, Yuille, "NormFace: L2 Hypersphere Embedding for Face Verification", ACM MM 2017,
    arXiv 1704.06369, eq. 6 and section 3.3 (the paper also learns s).
    Elsewhere: pytorch-metric-learning's `NormalizedSoftmaxLoss` divides by a temperature 0.05, that is s = 20.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        scale: float = 30.0,
        **frame: Unpack[Frame],
    ) -> None:
        super().__init__(embedding_dim, num_classes, scale=scale, **frame)
