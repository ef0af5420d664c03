"""Class-parallel heads: every rank owns a share of the classes and sees the batches of all.

Rank r of W owns the classes [r n, (r+1) n) with n = ceil(C / W). The embeddings of all ranks are gathered, each rank
meets them with its own classes (`tiles.py`), and a handful of `(B,)` vectors are added up: target cosines, maxima and
sums of the log-sum-exp. The loss is the mean over the global batch, the same number on every rank.

A net under DistributedDataParallel has its gradients averaged over the ranks. What is to arrive there is their sum over
the samples of all ranks, so the gradient to the embeddings is W times that of the global mean. The shard of the class
weights belongs to one rank and is not to be averaged: keep the head out of DistributedDataParallel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup


def shard(num_classes: int, group: ProcessGroup | None) -> tuple[int, int]:
    """First class of this rank, and one past its last."""
    if group is None:
        return 0, num_classes
    size = -(-num_classes // group.size())
    first = group.rank() * size
    if (group.size() - 1) * size >= num_classes:
        raise ValueError(f"num_classes={num_classes}: too few for {group.size()} ranks, the last would own none")
    return first, min(first + size, num_classes)


def everywhere(value: Tensor, group: ProcessGroup | None) -> Tensor:
    """The sum over all ranks, in place."""
    if group is not None:
        dist.all_reduce(value, group=group)
    return value


def same_everywhere(value: Tensor, group: ProcessGroup | None) -> Tensor:
    """Rank 0's, in place."""
    if group is not None:
        dist.broadcast(value, group=group, group_src=0)
    return value


def all_or_none(check: Callable[[], None], batch: int, group: ProcessGroup) -> None:
    """Run a check; where one rank refuses its batch, all do, instead of waiting for it forever.

    On the CPU only: reading the answer from a GPU would wait for it in every step.
    """
    problem = None
    try:
        check()
    except ValueError as error:
        problem = error
    if dist.get_backend(group) != "gloo":
        if problem:
            raise problem
        return
    seen = torch.tensor([int(problem is not None), batch, -batch])
    dist.all_reduce(seen, dist.ReduceOp.MAX, group=group)
    refused, most, least = seen.tolist()
    if problem:
        raise problem
    if refused:
        raise ValueError("embeddings, labels: another rank refused its batch; its own error says why")
    if most != -least:
        raise ValueError(f"embeddings has {batch} rows: expected as many on every rank, found {-least} to {most}")


def gather_labels(labels: Tensor, group: ProcessGroup) -> Tensor:
    """(B,) of every rank -> (W·B,)"""
    everyone = labels.new_empty(group.size() * len(labels))
    dist.all_gather(list(everyone.chunk(group.size())), labels.contiguous(), group=group)
    return everyone


class GatherRows(torch.autograd.Function):
    """(B, d) of every rank -> (W·B, d). The gradient of the own rows comes back times W, to survive DDP's mean."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        everyone = rows.new_empty(group.size() * len(rows), *rows.shape[1:])
        dist.all_gather(list(everyone.chunk(group.size())), rows.contiguous(), group=group)
        return everyone

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.group.size() * gradient.chunk(ctx.group.size())[ctx.group.rank()], None


class OwnRows(torch.autograd.Function):
    """(W·B,), the same on every rank -> the (B,) of this one; on the way back the gradients of all, averaged over W."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        return values.chunk(group.size())[group.rank()].clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return GatherRows.forward(ctx, gradient, ctx.group) / ctx.group.size(), None


def gather_columns(columns: Tensor, num_classes: int, group: ProcessGroup) -> Tensor:
    """(N, n) scores of every rank's classes -> (N, C); without a gradient."""
    size = -(-num_classes // group.size())
    padded = columns.detach().new_zeros(size, len(columns))
    padded[: columns.shape[1]] = columns.detach().T
    return GatherRows.apply(padded, group)[:num_classes].T
