"""Losses on all pairs of a batch, a few anchors at a time.

A pair loss is a sum over anchors i of some function of row i of a (B, B) matrix, of dot products or of squared
distances. On the whole matrix that needs a dozen matrices of that size. A loss writes it as `terms` instead, for the
rows of some anchors; here they are computed in blocks that stay in the cache of a core, and the slopes overwrite the
matrix. Positives are few: they come as a list of positions, P for every anchor.

    forward   S = X Xᵀ;  per block of rows: sums = terms(S_block),  S_block ← ∂ sums / ∂S_block =: G_block  by autograd
    backward  A = g ∘ G + (g ∘ G)ᵀ with g_i = ∂L/∂sums_i;  ∂L/∂X = A X,  or of ‖x_i - x_j‖²  2 (A1 ∘ X - A X)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from facelearn.losses.derivatives import refuse_second_order, transformed, with_graph
from facelearn.losses.parallel import from_all, gather_labels, samples_of_rank, shared

#: rows of the matrix (b, B), where their positives are (b, P), which of these entries exist (b, P), which pairs are
#: negative (b, B) -> a sum for each anchor (b,), and of how many terms (b,)
Terms = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
#: anchors in a block, on a CPU and elsewhere; in small batches as many times 32 as make blocks of so many entries
ANCHORS, ANCHORS_GPU, ENTRIES = 32, 1024, 2**15


def per_anchor(
    terms: Terms,
    x: Tensor,
    labels: Tensor,
    *,
    distances: bool = False,
    group: ProcessGroup | None = None,
    anchors: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Apply `terms` to every anchor: the sum for each, and of how many terms.  (B, d), (B,) -> (B,), (B,)

    Args:
        distances: hand `terms` squared distances, not dot products.
        group: each rank computes the anchors that are its own samples, and gets the results of all.
        anchors: the first of the samples are anchors, the others only compared with; None: all.
    """
    x = centred(x) if distances else x
    if torch.compiler.is_compiling() or transformed(x):  # the compiler fuses the formula on the whole matrix
        return on_whole(terms, x, labels, distances, anchors)
    learn = torch.is_grad_enabled() and x.requires_grad
    own = samples_of_rank(x, group) if anchors is None else slice(0, anchors)
    sums, counts = PerAnchor.apply(shared(x, group), labels, terms, distances, learn, own)
    return from_all(sums, group), gather_labels(counts, group)


def centred(x: Tensor) -> Tensor:
    """Embeddings moved together so that their mean is nearly 0, which changes no distance.

    Where they lie close together, ‖x_i‖² + ‖x_j‖² - 2 x_i · x_j would subtract nearly equal numbers. The mean is cut to
    few digits, so that subtracting it from round coordinates is exact: ties stay ties.
    """
    return x - x.detach().mean(0).bfloat16().to(x.dtype)


def on_whole(
    terms: Terms, x: Tensor, labels: Tensor, distances: bool, anchors: int | None = None
) -> tuple[Tensor, Tensor]:
    """`terms` on the whole matrix (B, B) at once."""
    own = slice(0, len(x) if anchors is None else anchors)
    ((_, *whole),) = blocks(x, x[own] @ x.T, labels, distances, own, size=len(x))
    return terms(*whole)


class PerAnchor(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, labels: Tensor, terms: Terms, distances: bool, learn: bool, own: slice
    ) -> tuple[Tensor, Tensor]:
        products = x[own] @ x.T  # (B, B), or with a group (own, B), then G
        results = []
        for part, values, *pairs in blocks(x, products, labels, distances, own):
            with torch.set_grad_enabled(learn):
                sums, counts = terms(values.requires_grad_(learn), *pairs)
                if learn:
                    (products[part],) = torch.autograd.grad(sums.sum(), values)
            results.append((sums.detach(), counts))
        every_sum, every_count = (torch.cat(part) for part in zip(*results, strict=True))
        ctx.save_for_backward(x, labels, products if learn else None)
        ctx.terms, ctx.distances, ctx.own = terms, distances, own
        ctx.mark_non_differentiable(every_count)
        return every_sum, every_count

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x, labels, G = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True
            if len(G) < len(x):
                refuse_second_order("over a process group, or with a reference,")
            sums, _ = on_whole(ctx.terms, x, labels, ctx.distances)
            return *with_graph((sums,), (x,), (upstream,)), None, None, None, None, None
        g = upstream[:, None]  # (B, 1)
        dx = torch.empty_like(x)
        with torch.autocast(x.device.type, enabled=False):
            if len(G) < len(x):
                return from_own(x, g * G, ctx.own, ctx.distances), None, None, None, None, None
            for anchors in slices(len(x), 4 * block_size(x)):
                A = (g * G[:, anchors]).T + g[anchors] * G[anchors]  # (b, B)
                torch.mm(A, x, out=dx[anchors])
                if ctx.distances:
                    dx[anchors] = 2 * (A.sum(1, keepdim=True) * x[anchors] - dx[anchors])
        return dx, None, None, None, None, None


def from_own(x: Tensor, G: Tensor, own: slice, distances: bool) -> Tensor:
    """The gradient where only some samples are anchors; G is g ∘ G.  (B, d), (own, B) -> (B, d)"""
    dx = G.T @ x[own]
    dx[own] += G @ x
    if not distances:
        return dx
    r = G.sum(0)  # A1
    r[own] += G.sum(1)
    return 2 * (r[:, None] * x - dx)


def blocks(
    x: Tensor, products: Tensor, labels: Tensor, distances: bool, own: slice, size: int | None = None
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor, Tensor]]:
    """Go through the anchors in `own`, some at a time: yield which part of `products` (own, B) is theirs, and the
    arguments of `Terms` for them. With `distances` the values are ‖x_i - x_j‖², never below 0, else x_i · x_j."""
    squares = x.square().sum(1)  # (B,)
    classes, positives, present = same_class(labels)
    size = size or max(block_size(x), ENTRIES // len(x) // ANCHORS * ANCHORS)
    for part in slices(len(products), size):
        anchors = slice(own.start + part.start, own.start + part.stop)
        values = products[part]
        values = (squares[anchors, None] + squares - 2 * values).clamp(min=0) if distances else values.clone()
        yield part, values, positives[anchors], present[anchors], classes[anchors, None] != classes


def block_size(x: Tensor) -> int:
    return ANCHORS if x.device.type == "cpu" else ANCHORS_GPU


def slices(total: int, size: int) -> Iterator[slice]:
    for low in range(0, total, size):
        yield slice(low, min(low + size, total))


def same_class(labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The labels renumbered 0, 1, … (B,); the positions of the samples of the same class (B, P), P of the largest; and
    which of these positions are of another sample (B, P).

    A sample's own position fills what is left over in a smaller class.
    """
    _, classes, sizes = labels.unique(return_inverse=True, return_counts=True)
    together = classes.argsort()  # the samples class by class
    k = torch.arange(int(sizes.max()), device=labels.device)
    itself = torch.arange(len(labels), device=labels.device)[:, None]
    first, size = (sizes.cumsum(0) - sizes)[classes, None], sizes[classes, None]  # (B, 1)
    positions = torch.where(k < size, together[(first + k).clamp(max=len(labels) - 1)], itself)  # (B, P)
    return classes, positions, positions != itself
