"""Sampled classes (Partial FC): each step meets the classes of its batch and a random share of the others.

    rest = log Σ_{j ∈ S, j≠y} exp(...),    S = every class of the batch + random others, r · C in all

Time and memory then go with r · C, and so does the gradient of `weight`: a sparse tensor that holds the rows of S. A
row outside S has learnt nothing in this step and must not move. Yet an optimiser with momentum would go on pushing it,
weight decay would pull at it, and AdamW refuses sparse gradients altogether; `touched_rows_only` mends all three.

The loss of a sample is smaller than with all classes, since `rest` has fewer terms (by about log r if all were equally
hard); gradients are those of the sampled loss, not an unbiased estimate of the full one.

Source: An et al., "Partial FC: Training 10 Million Identities on a Single Machine", ICCVW 2021, arXiv 2010.05222; An et
al., "Killing Two Birds with One Stone", CVPR 2022, arXiv 2203.15565.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def sample_classes(own: Tensor, classes: int, rate: float) -> Tensor:
    """All own classes among 0 ... classes - 1 and random others, sorted: ⌈rate · classes⌉, or B if that is more.

    `own` `(B,)` may hold numbers outside that range (classes of another rank). The size does not depend on the labels,
    so a GPU need not be waited for; it leaves room for a batch of B different classes.
    """
    inside = (own >= 0) & (own < classes)
    wanted = torch.rand(classes, device=own.device)
    wanted.scatter_reduce_(0, own.clamp(0, classes - 1), 2.0 * inside, "amax")  # rand < 1 < 2: the batch comes first
    size = min(classes, max(math.ceil(rate * classes), len(own)))
    return wanted.topk(size).indices.sort().values


def touched_rows_only(optimizer: Optimizer) -> None:
    """Let `optimizer` see only the rows that have a gradient, of every parameter with a sparse one.

    Around each `step` the parameter, its gradient and all of its state (momentum, Adam's moments) shrink to these rows;
    the others keep their value and their state to the last bit: no momentum, no weight decay. Works with any optimiser
    that treats elements alike (SGD, Adam, AdamW, ...); parameters with dense gradients are left alone. Adam's count of
    steps is that of the parameter, as in `torch.optim.SparseAdam`: a row met for the first time late is not treated as
    new in the bias correction.
    """
    aside: list[tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]] = []

    def of_the_same_shape(p: Tensor) -> dict[str, Tensor]:
        return {k: v for k, v in optimizer.state[p].items() if isinstance(v, Tensor) and v.shape == p.shape}

    def shrink(*_: Any) -> None:
        for p in (p for group in optimizer.param_groups for p in group["params"]):
            if p.grad is None or p.grad.layout is not torch.sparse_coo:
                continue
            gradient = p.grad.coalesce()
            rows = gradient.indices()[0]
            whole = of_the_same_shape(p)
            aside.append((p, p.data, gradient, whole))
            optimizer.state[p].update({name: value[rows] for name, value in whole.items()})
            p.grad = None
            p.data = p.data[rows]
            p.grad = gradient.values()

    def restore(*_: Any) -> None:
        while aside:
            p, data, gradient, whole = aside.pop()
            rows = gradient.indices()[0]
            for name, value in of_the_same_shape(p).items():
                optimizer.state[p][name] = whole.get(name, torch.zeros_like(data)).index_copy_(0, rows, value)
            p.grad = None
            p.data = data.index_copy_(0, rows, p.data)
            p.grad = gradient

    optimizer.register_step_pre_hook(shrink)
    optimizer.register_step_post_hook(restore)
