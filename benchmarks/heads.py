"""The heads that `losses.py` and `memory.py` compare, all called as `head(embeddings, labels)`; not run itself."""

from __future__ import annotations

import math
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facelearn import losses
from facelearn.losses import MarginHead

SCALE, MARGIN = 64.0, 0.5
STEMS = tuple(stem for stem, kind in losses.REGISTRY.items() if issubclass(kind, MarginHead))
#: heads whose wrong classes keep their plain cosine
TARGET_ONLY = tuple(stem for stem in STEMS if losses.REGISTRY[stem].others is MarginHead.others)  # type: ignore[attr-defined]

try:
    from pytorch_metric_learning.losses import ArcFaceLoss  # type: ignore[import-not-found]
except ImportError:
    ArcFaceLoss = None
ABSENT = "pytorch-metric-learning is absent: pip install --no-deps pytorch-metric-learning==2.9.0"


class Lean(nn.Module):
    """ArcFace as a careful engineer writes it: the margin on the B targets, one scatter, F.cross_entropy."""

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        cos = F.linear(F.normalize(x), F.normalize(self.weight))
        own = cos.gather(1, y[:, None]).clamp(-1, 1)
        return F.cross_entropy(SCALE * cos.scatter(1, y[:, None], with_margin(own)), y)


class Detached(Lean):
    """ArcFace as insightface trains it: the margin found without a graph, then F.cross_entropy."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        cos = F.linear(F.normalize(x), F.normalize(self.weight)).clamp(-1, 1)
        with torch.no_grad():
            own = cos.gather(1, y[:, None])
            shift = with_margin(own) - own
        return F.cross_entropy(SCALE * cos.scatter_add(1, y[:, None], shift), y)


def with_margin(cos: Tensor) -> Tensor:
    plain = cos * math.cos(MARGIN) - (1 - cos * cos).clamp(min=1e-7).sqrt() * math.sin(MARGIN)
    return torch.where(cos > -math.cos(MARGIN), plain, cos - MARGIN * math.sin(MARGIN))


class Floor(nn.Module):
    """The four matrix products of the recompute scheme, in tiles of classes, and nothing else."""

    def __init__(self, weight: nn.Parameter, tile: int = 1024) -> None:
        super().__init__()
        self.weight = weight
        self.tile = tile

    @torch.no_grad()
    def forward(self, x: Tensor, y: Tensor) -> None:
        dx, dW = torch.zeros_like(x), torch.empty_like(self.weight)
        tiles = range(0, len(self.weight), self.tile)
        for low in tiles:
            x @ self.weight[low : low + self.tile].T  # cosines
        for low in tiles:
            W = self.weight[low : low + self.tile]
            c = x @ W.T  # cosines, again
            dx.addmm_(c, W)  # gradient to the embeddings
            torch.mm(c.T, x, out=dW[low : low + self.tile])  # gradient to the weights


def make(
    name: str, dim: int, classes: int, weight: nn.Parameter | None = None, losses: ModuleType = losses
) -> nn.Module:
    """By name: "gemm4", "lean", "insightface", "pml", a stem, or "<stem> dense". Those that can share `weight`."""
    if name == "pml":
        if ArcFaceLoss is None:
            raise ImportError(ABSENT)
        return ArcFaceLoss(classes, dim, margin=math.degrees(MARGIN), scale=SCALE)
    if name in ("gemm4", "lean", "insightface"):
        weight = weight if weight is not None else nn.Parameter(torch.randn(classes, dim))
        return {"gemm4": Floor, "lean": Lean, "insightface": Detached}[name](weight)
    stem, _, form = name.partition(" ")
    head = losses.REGISTRY[stem](dim, classes, tile=None if form == "dense" else "auto")
    if weight is not None and head.weight.shape == weight.shape:
        head.weight = weight
    return head


def step(head: nn.Module, x: Tensor, y: Tensor) -> None:
    """Forward, and backward to the embeddings and the class weights."""
    head.zero_grad(set_to_none=True)
    if isinstance(head, Floor):
        head(x, y)
    else:
        head(x.detach().requires_grad_(), y).backward()
