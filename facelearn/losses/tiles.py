"""The class side of a margin head without ever holding the (B, C) matrix.

A loss needs two numbers per sample from all those cosines: the one of its own class, and `rest`, the log-sum-exp of the
others (and, for some heads, a few sums). Both are found tile by tile over the classes, with a running maximum and a
running sum. The backward pass computes each tile again; while all of them are small, they are kept instead. `dense` in
`margin.py` gives the same numbers in five lines; this needs memory for one tile only:

    forward   c = x̂ Ŵ_tileᵀ;  z = s · others(c);  m' = max(m, max z);  S ← S e^(m-m') + Σ e^(z-m');  rest = m + log S
    backward  p = e^(z - rest) · ∂L/∂rest;  G = p ∂z/∂c;  ∂L/∂x̂ += G Ŵ;  ∂L/∂Ŵ = Gᵀ x̂

No normalised copy of the weights is made: 1/‖W_j‖ scales the columns of c, and the gradient through it needs only the
column sums of G ∘ c. Autograd differentiates `others` tile by tile; each of these small graphs is freed with its tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from facelearn.losses import margin
from facelearn.losses.derivatives import refuse_second_order, with_graph
from facelearn.losses.parallel import everywhere

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
    head: margin.MarginHead, x: Tensor, weight: Tensor, labels: Tensor, rows: tuple[Tensor, ...], size: int
) -> tuple[Tensor, ...]:
    """What `MarginHead.compare` returns, from unit embeddings x `(B, d)`, `size` classes at a time."""
    return TargetAndRest.apply(x, weight, labels, head, size, *rows)


class TargetAndRest(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, labels: Tensor, head: margin.MarginHead, size: int, *rows: Tensor
    ) -> tuple[Tensor, ...]:
        center, target_cos, here = head.own_class(x, weight, labels)  # (B,) row of weight, (B,), (B,)
        columns = [v[:, None] for v in (target_cos, *rows)]
        inverse = weight.new_empty(len(weight))  # 1 / ‖W_j‖
        top = x.new_full((len(x), 1), -torch.inf)
        total = torch.zeros_like(top)
        hardest = torch.zeros_like(labels)  # (B,), with `keeps_hardest`: which class `top` is of
        sums: list[Tensor] = []
        ctx.kept = [] if len(x) * len(weight) <= KEEP_UP_TO else None
        for tile in tiles(head, weight, labels, size):
            W = weight[tile.span]
            inverse[tile.span] = margin.inverse_length(W)
            cos = (x @ W.T).mul_(inverse[tile.span])  # (B, n·K)
            if ctx.kept is not None:
                ctx.kept.append(cos)
            cos = head.pool(cos)  # (B, n)
            logits, terms = head.logits_and_terms(cos, columns[0], tuple(columns[1:]))
            summed = [tile.put(term.clone(), 0.0).sum(1) for term in terms]
            logits = tile.put(logits, -torch.inf)
            sums = [a + b for a, b in zip(sums, summed, strict=True)] if sums else summed
            if head.keeps_hardest:
                best = logits.max(1, keepdim=True)
                hardest = torch.where(best.values > top, best.indices + tile.low, hardest[:, None])[:, 0]
            higher = torch.maximum(top, logits.amax(1, keepdim=True))
            safe = higher.masked_fill(higher == -torch.inf, 0.0)  # where no other class has come yet
            total = total * (top - safe).exp() + logits.sub_(safe).exp_().sum(1, keepdim=True)
            top = higher
        kept = (hardest, top[:, 0].clone()) if head.keeps_hardest else ()
        if head.process_group is not None:
            highest = top.clone()
            dist.all_reduce(highest, dist.ReduceOp.MAX, group=head.process_group)
            total, top = everywhere(total * (top - highest).exp(), head.process_group), highest
            sums = [everywhere(term, head.process_group) for term in sums]
        rest = (top + total.log())[:, 0]
        ctx.save_for_backward(x, weight, labels, center, here, inverse, target_cos, rest, *rows)
        ctx.head, ctx.size = head, size
        ctx.mark_non_differentiable(*kept)
        return target_cos, rest, *sums, *kept

    @staticmethod
    def backward(ctx: Any, d_target: Tensor, d_rest: Tensor, *d_sums: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, labels, center, here, inverse, target_cos, rest, *rows = ctx.saved_tensors
        head: margin.MarginHead = ctx.head
        d_sums = d_sums[: -2 if head.keeps_hardest else None]
        if torch.is_grad_enabled():  # create_graph=True
            return backward_with_graph(head, x, weight, labels, tuple(rows), (d_target, d_rest, *d_sums))
        dx, dW = torch.zeros_like(x), torch.empty_like(weight)
        d_columns = [torch.zeros_like(v)[:, None] for v in (target_cos, *rows)]
        for i, tile in enumerate(tiles(head, weight, labels, ctx.size)):
            W, inv = weight[tile.span], inverse[tile.span]
            cos = ctx.kept[i] if ctx.kept is not None else (x @ W.T).mul_(inv)  # (B, n·K)
            leaves = [v.detach().requires_grad_() for v in (cos, *(v[:, None] for v in (target_cos, *rows)))]
            with torch.enable_grad():
                pooled = head.pool(leaves[0])
                logits, terms = head.logits_and_terms(pooled, leaves[1], tuple(leaves[2:]))
            share = tile.put(logits.detach().sub_(rest[:, None]).exp_().mul_(d_rest[:, None]), 0.0)  # of ∂L/∂z
            weights = [share, *(tile.put(d[:, None].expand_as(share).clone(), 0.0) for d in d_sums)]
            pairs = [(o, w) for o, w in zip((logits, *terms), weights, strict=True) if o.requires_grad]
            G, *d_tile = torch.autograd.grad([o for o, _ in pairs], leaves, [w for _, w in pairs], allow_unused=True)
            for d, more in zip(d_columns, d_tile, strict=True):
                if more is not None:
                    d += more
            along = (cos * G).sum(0)  # (n·K,), ∂L/∂Ŵ_j · Ŵ_j
            G = G * inv
            dx.addmm_(G, W)
            torch.mm(G.T, x, out=dW[tile.span]).addcmul_(W, (along * inv.square())[:, None], value=-1)
        d_columns = [everywhere(d, head.process_group) for d in d_columns]
        d_own = (d_target + d_columns[0][:, 0]) * here  # ∂L/∂cos θ_y: it reaches one row of `weight` per sample
        unit_center = weight[center] * inverse[center][:, None]  # (B, d)
        dx.addcmul_(unit_center, d_own[:, None])
        dW.index_add_(0, center, (d_own * inverse[center])[:, None] * (x - target_cos[:, None] * unit_center))
        return everywhere(dx, head.process_group), dW, None, None, None, *(d[:, 0] for d in d_columns[1:])


def backward_with_graph(
    head: margin.MarginHead, x: Tensor, weight: Tensor, labels: Tensor, rows: tuple[Tensor, ...],
    upstream: tuple[Tensor, ...],
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """The same gradients from the dense form, so that they can be differentiated again."""
    if head.process_group is not None:
        refuse_second_order()
    outputs = margin.dense(head, x, weight, labels, rows)[: len(upstream)]
    dx, dW, *d_rows = with_graph(outputs, (x, weight, *rows), upstream)
    return dx, dW, None, None, None, *d_rows


class Tile:
    """Some classes in a row: their `span` of `weight`, and where among them each sample's own class is."""

    def __init__(self, head: margin.MarginHead, labels: Tensor, low: int, high: int) -> None:
        self.low = low
        self.span = slice(low * head.num_subcenters, high * head.num_subcenters)
        self.inside = ((labels >= low) & (labels < high))[:, None]
        self.column = (labels - low).clamp(0, high - low - 1)[:, None]

    def put(self, values: Tensor, at_target: float) -> Tensor:
        """Write `at_target` where `values` `(B, n)` belong to a sample's own class, in place.

        A boolean index would be shorter, but makes the CPU wait for a GPU.
        """
        return values.scatter_(1, self.column, values.gather(1, self.column).masked_fill(self.inside, at_target))


def tiles(head: margin.MarginHead, weight: Tensor, labels: Tensor, size: int) -> Iterator[Tile]:
    classes = len(weight) // head.num_subcenters
    for low in range(0, classes, size):
        yield Tile(head, labels, low, min(low + size, classes))
