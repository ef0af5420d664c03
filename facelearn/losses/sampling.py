"""Sampled classes (Partial FC): each step meets the classes of its batch and a random share of the others.

    rest = log Σ_{j ∈ S, j≠y} exp(...),    S = every class of the batch + random others, r · C in all

Time and memory are then proportional to r · C. The gradient of `weight` is sparse: it holds the rows of S only. A row
outside S has no gradient in this step and must not move. Yet momentum and weight decay would move it, and AdamW refuses
sparse gradients; `touched_rows_only` mends all three.

Up to torch 2.13 `torch.nn.utils.clip_grad_norm_` takes no sparse gradients. Clip within the step, where they have
become dense rows:

    def clip(*_):
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)

    touched_rows_only(optimizer)
    optimizer.register_step_pre_hook(clip)  # in this order

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
    """The classes of the batch and random others, sorted; max(⌈rate · classes⌉, B) in all, at most every class.

    Args:
        own: the class of each sample `(B,)`; numbers outside 0 ... classes - 1 (of another rank) are passed over.

    How many are returned does not depend on the labels: to know their number the CPU would have to wait for the GPU.
    """
    inside = (own >= 0) & (own < classes)
    wanted = torch.rand(classes, device=own.device)
    wanted.scatter_reduce_(0, own.clamp(0, classes - 1), 2.0 * inside, "amax")  # rand < 1 < 2: the batch comes first
    size = min(classes, max(math.ceil(rate * classes), len(own)))
    return wanted.topk(size).indices.sort().values


def touched_rows_only(optimizer: Optimizer) -> None:
    """Make each `step` of `optimizer` change only rows that have a gradient, in every parameter with a sparse one.

    During `step` the parameter, its gradient and its state (momentum, Adam's moments) are cut down to these rows; the
    others keep their value and their state to the last bit, without momentum or weight decay. Works with any optimiser
    that treats elements alike (SGD, Adam, AdamW, ...), and leaves parameters with dense gradients alone. Muon (torch
    2.13) does not treat them alike: it runs, but makes the sampled rows orthogonal among themselves. Adam counts
    the steps of the parameter, as `torch.optim.SparseAdam` does: its bias correction does not know how often a row was
    met.
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
                before = whole[name] if name in whole else torch.zeros_like(data)  # made in the first step alone
                optimizer.state[p][name] = before.index_copy_(0, rows, value)
            p.grad = None
            p.data = data.index_copy_(0, rows, p.data)
            p.grad = gradient

    optimizer.register_step_pre_hook(shrink)
    optimizer.register_step_post_hook(restore)
