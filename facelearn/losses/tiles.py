"""The class side of a margin head without ever holding the (B, C) matrix.

A loss needs two numbers per sample from all those cosines: the one of its own class, and `rest`, the log-sum-exp of the
others (and, for some heads, a few sums). Both can be gathered tile by tile over the classes, keeping a running maximum
and a running sum; the backward pass forms each tile again, or finds it kept, while that costs little memory. What
`dense` in `margin.py` does in five lines, this does with memory for one tile:

    forward   c = x̂ Ŵ_tileᵀ;  z = s · others(c);  m' = max(m, max z);  S ← S e^(m-m') + Σ e^(z-m');  rest = m + log S
    backward  p = e^(z - rest) · ∂L/∂rest;  G = p ∂z/∂c;  ∂L/∂x̂ += G Ŵ;  ∂L/∂Ŵ = Gᵀ x̂

The weights are not normalised as a matrix: 1/‖W_j‖ scales the columns of c, and the gradient through it needs the
column sums of G ∘ c only. `others` is differentiated by autograd inside the tile, and its small graph dies with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from facelearn.losses.parallel import everywhere

if TYPE_CHECKING:
    from facelearn.losses.margin import MarginHead

#: a (B, C) matrix of up to this many cosines is not worth tiling
DENSE_UP_TO = 2**20
#: up to this many the tiles are kept for the backward pass, above they are formed again
KEEP_UP_TO = 2**22
#: cosines in a tile: it stays in the cache of a core
TILE = 2**17


def tile_size(tile: str | int | None, batch: int, classes: int) -> int | None:
    """Classes per tile, or `None` for the dense form."""
    if tile is None or (tile == "auto" and batch * classes <= DENSE_UP_TO):
        return None
    return max(1, TILE // batch) if tile == "auto" else int(tile)


def tiled(
    head: MarginHead, x: Tensor, weight: Tensor, labels: Tensor, rows: tuple[Tensor, ...], size: int
) -> tuple[Tensor, ...]:
    """Target cosine, rest, this rank's hardest wrong class (for heads with `exact_hardest`) and its logit, and the sums
    of `row_sums`, `(B,)` each, for unit embeddings x `(B, d)`."""
    return TargetAndRest.apply(x, weight, labels, head, size, *rows)


class TargetAndRest(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, labels: Tensor, head: MarginHead, size: int, *rows: Tensor
    ) -> tuple[Tensor, ...]:
        own, target_cos, here = own_row(head, x, weight, labels)  # (B,) row of weight, (B,), (B,)
        columns = [v[:, None] for v in (target_cos, *rows)]
        inverse = weight.new_empty(len(weight))  # 1 / ‖W_j‖
        top = x.new_full((len(x), 1), -torch.inf)
        total = torch.zeros_like(top)
        hardest = torch.zeros_like(labels)  # (B,) its class, of this rank's
        sums: list[Tensor] = []
        ctx.kept = [] if len(x) * len(weight) <= KEEP_UP_TO else None
        for tile in tiles(head, weight, labels, size):
            W = weight[tile.rows]
            inverse[tile.rows] = inverse_length(W)
            cos = (x @ W.T).mul_(inverse[tile.rows])  # (B, n·K)
            if ctx.kept is not None:
                ctx.kept.append(cos)
            cos = head.pool(cos)  # (B, n)
            logits = tile.put(head.scale * head.others(cos, columns[0], tuple(columns[1:])), -torch.inf)
            terms = [tile.put(term.clone(), 0.0).sum(1) for term in head.row_sums(cos, columns[0])]
            sums = [a + b for a, b in zip(sums, terms, strict=True)] if sums else terms
            if head.exact_hardest:
                best = logits.max(1, keepdim=True)
                hardest = torch.where(best.values > top, best.indices + tile.low, hardest[:, None])[:, 0]
            higher = torch.maximum(top, logits.amax(1, keepdim=True))
            safe = higher.masked_fill(higher == -torch.inf, 0.0)  # nothing but the target so far
            total = total * (top - safe).exp() + logits.sub_(safe).exp_().sum(1, keepdim=True)
            top = higher
        hardest_logit = top[:, 0].clone()
        if head.process_group is not None:
            highest = top.clone()
            dist.all_reduce(highest, dist.ReduceOp.MAX, group=head.process_group)
            total, top = everywhere(total * (top - highest).exp(), head.process_group), highest
            sums = [everywhere(term, head.process_group) for term in sums]
        rest = (top + total.log())[:, 0]
        ctx.save_for_backward(x, weight, labels, own, here, inverse, target_cos, rest, *rows)
        ctx.head, ctx.size = head, size
        ctx.mark_non_differentiable(hardest, hardest_logit)
        return target_cos, rest, hardest, hardest_logit, *sums

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, d_target: Tensor, d_rest: Tensor, _hardest: Tensor, _logit: Tensor, *d_sums: Tensor
    ) -> tuple[Tensor | None, ...]:
        x, weight, labels, own, here, inverse, target_cos, rest, *rows = ctx.saved_tensors
        head: MarginHead = ctx.head
        dx, dW = torch.zeros_like(x), torch.empty_like(weight)
        d_columns = [torch.zeros_like(v)[:, None] for v in (target_cos, *rows)]
        for i, tile in enumerate(tiles(head, weight, labels, ctx.size)):
            W, inv = weight[tile.rows], inverse[tile.rows]
            cos = ctx.kept[i] if ctx.kept is not None else (x @ W.T).mul_(inv)  # (B, n·K)
            leaves = [v.detach().requires_grad_() for v in (cos, *(v[:, None] for v in (target_cos, *rows)))]
            with torch.enable_grad():
                pooled = head.pool(leaves[0])
                logits = head.scale * head.others(pooled, leaves[1], tuple(leaves[2:]))
                outputs = [logits, *head.row_sums(pooled, leaves[1])]
            share = tile.put(logits.detach().sub_(rest[:, None]).exp_().mul_(d_rest[:, None]), 0.0)  # of ∂L/∂z
            weights = [share, *(tile.put(d[:, None].expand_as(share).clone(), 0.0) for d in d_sums)]
            pairs = [(o, w) for o, w in zip(outputs, weights, strict=True) if o.requires_grad]
            G, *d_tile = torch.autograd.grad([o for o, _ in pairs], leaves, [w for _, w in pairs], allow_unused=True)
            for d, more in zip(d_columns, d_tile, strict=True):
                if more is not None:
                    d += more
            along = (cos * G).sum(0)  # (n·K,), ∂L/∂Ŵ_j · Ŵ_j
            G = G * inv
            dx.addmm_(G, W)
            torch.mm(G.T, x, out=dW[tile.rows]).addcmul_(W, (along * inv.square())[:, None], value=-1)
        d_columns = [everywhere(d, head.process_group) for d in d_columns]
        d_own = (d_target + d_columns[0][:, 0]) * here  # all that reaches the target cosine, a rank-one part per sample
        unit_own = weight[own] * inverse[own][:, None]  # (B, d)
        dx.addcmul_(unit_own, d_own[:, None])
        dW.index_add_(0, own, (d_own * inverse[own])[:, None] * (x - target_cos[:, None] * unit_own))
        return everywhere(dx, head.process_group), dW, None, None, None, *(d[:, 0] for d in d_columns[1:])


class Tile:
    """A run of classes: its rows of `weight`, and where in it the samples' own classes sit."""

    def __init__(self, head: MarginHead, labels: Tensor, low: int, high: int) -> None:
        self.low = low
        self.rows = slice(low * head.num_subcenters, high * head.num_subcenters)
        self.inside = ((labels >= low) & (labels < high))[:, None]
        self.column = (labels - low).clamp(0, high - low - 1)[:, None]

    def put(self, values: Tensor, at_target: float) -> Tensor:
        """`values` `(B, n)` with the own class overwritten, in place; no index list, which would wait for a GPU."""
        return values.scatter_(1, self.column, values.gather(1, self.column).masked_fill(self.inside, at_target))


def tiles(head: MarginHead, weight: Tensor, labels: Tensor, size: int) -> Iterator[Tile]:
    classes = len(weight) // head.num_subcenters
    for low in range(0, classes, size):
        yield Tile(head, labels, low, min(low + size, classes))


def own_row(head: MarginHead, x: Tensor, weight: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each sample, the row of `weight` that stands for its class (the nearest sub-centre), the cosine with it, and
    whether this rank owns it (1 or 0); the cosine is known everywhere.  (B,), (B,), (B,)"""
    classes = len(weight) // head.num_subcenters
    here = ((labels >= 0) & (labels < classes)).to(x.dtype)
    row, cos = nearest_row(head, x, weight, labels.clamp(0, classes - 1))
    return row, everywhere(cos * here, head.process_group), here


def nearest_row(head: MarginHead, x: Tensor, weight: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """The row of `weight` for one class `(B,)` of each sample, its nearest sub-centre, and the cosine.  (B,), (B,)"""
    rows = classes[:, None] * head.num_subcenters + torch.arange(head.num_subcenters, device=classes.device)  # (B, K)
    W = weight[rows].to(x.dtype)  # (B, K, d)
    cos = (W * x[:, None]).sum(2) * inverse_length(W)  # (B, K)
    best = cos.max(1)
    return rows.gather(1, best.indices[:, None])[:, 0], best.values.clamp(-1, 1)


def inverse_length(W: Tensor) -> Tensor:
    """1 / ‖W‖ over the last dimension; 1 for a zero row, as in `unit`."""
    length = torch.linalg.vector_norm(W, dim=-1)
    return torch.where(length > 0, length, 1.0).reciprocal_()
