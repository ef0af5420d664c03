"""Losses in several processes: what `process_group` does, which losses need it, and which do without.

**Heads** share the classes out. Rank r of W owns the classes [r n, (r+1) n) with n = ceil(C / W). The embeddings of all
ranks are gathered, each rank meets them with its own classes (`tiles.py`), and a handful of `(B,)` vectors are added
up: target cosines, maxima and sums of the log-sum-exp. The statistics of a head (t, μ, σ) are those of all batches.

**Pair losses** gather the embeddings too: a sample's positives and negatives are mostly on other ranks. Each rank takes
its own samples as anchors, against all: 1/W of the work and of the matrix of pairs (with Contrastive's `"none"` all).

**Center** counts the samples of a class in all batches before it moves a centre; **Ring** starts from the mean length
of all.

All other losses, and heads without a group, are means over samples: put the loss into DistributedDataParallel as the
net, and the mean of the ranks' gradients is that of the whole batch, since batches are equally long (with
`reduction="sum"` 1/W of it). Only the t, μ, σ of such a head would be rank 0's.

With a group the loss is that of the batches of all, the same number on every rank; `"none"` gives each rank its own
samples' values. A net under DistributedDataParallel has its gradients averaged over the ranks. What is to arrive there
is their sum over the samples of all ranks, so the gradient to the embeddings is W times that of the global mean. The
losses' own parameters need no averaging: a shard belongs to one rank (keep it out of DistributedDataParallel, which
would overwrite it with rank 0's); Ring's R and DiscFace's ξ have the whole gradient on each. `sharding.py` saves and
loads them.

**What fails, and what hangs.** All ranks call the same losses in the same order, and go backward through all or none of
them: some collectives run there, before those of DistributedDataParallel. A batch that one rank refuses is refused on
all (`all_or_none`), as are batches of unequal size. With NCCL alone that takes `validate=True`, which waits for the GPU
in every step; without it a refusing rank raises on its own, and the others wait until the launcher (`torchrun`) ends
them or NCCL's timeout does. Nothing else here waits for the GPU. Tested with gloo alone.
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


def all_or_none(
    check: Callable[[], None], embeddings: Tensor, group: ProcessGroup | None, validate: bool | None = None
) -> None:
    """Run a check; where one rank refuses its batch, all do, instead of waiting for it forever.

    Where the group has a backend for the CPU, or with `validate=True`. Ranks that have NCCL alone can agree only
    through the GPU, and reading the answer would wait for it in every step.
    """
    if group is None:
        check()
        return
    problem = None
    try:
        check()
    except ValueError as error:
        problem = error
    on_cpu = "cpu:" in dist.get_backend_config(group)
    if on_cpu or validate:
        device = torch.device("cpu") if on_cpu else embeddings.device
        problem = disagreement(problem, embeddings, device, group) or problem
    if problem:
        raise problem


def disagreement(
    problem: ValueError | None, embeddings: Tensor, device: torch.device, group: ProcessGroup
) -> ValueError | None:
    """Why this rank cannot go on although its own batch is in order."""
    rows, columns, *_ = (*embeddings.shape, 0, 0)
    mine = torch.tensor([problem is not None, rows, columns, embeddings.element_size()])
    seen = torch.cat([mine, -mine]).to(device)
    dist.all_reduce(seen, dist.ReduceOp.MAX, group=group)
    most, least = seen[:4].tolist(), (-seen[4:]).tolist()
    if problem:
        return None
    if most[0]:
        return ValueError("embeddings, labels: another rank refused its batch; its own error says why")
    for name, here, low, high in zip(("", "rows", "columns", "bytes a number"), mine, least, most, strict=True):
        if low != high:
            return ValueError(f"embeddings has {here} {name}: expected as many on every rank, found {low} to {high}")
    return None


def gather_rows(rows: Tensor, group: ProcessGroup | None) -> Tensor:
    """(B, d) of every rank -> (W·B, d), differentiable."""
    return rows if group is None else GatherRows.apply(rows, group)


def gather_labels(labels: Tensor, group: ProcessGroup | None) -> Tensor:
    """(B,) of every rank -> (W·B,)"""
    return labels if group is None else concatenate(labels, group)


def concatenate(rows: Tensor, group: ProcessGroup) -> Tensor:
    everyone = rows.new_empty(group.size() * len(rows), *rows.shape[1:])
    dist.all_gather(list(everyone.chunk(group.size())), rows.contiguous(), group=group)
    return everyone


def own_rows(everyone: Tensor, group: ProcessGroup | None) -> slice:
    """This rank's among the rows of all."""
    if group is None:
        return slice(0, len(everyone))
    each = len(everyone) // group.size()
    return slice(group.rank() * each, (group.rank() + 1) * each)


class GatherRows(torch.autograd.Function):
    """(B, d) of every rank -> (W·B, d). The gradient of the own rows comes back times W, to survive DDP's mean."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        return concatenate(rows, group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.group.size() * gradient[own_rows(gradient, ctx.group)], None


class FromAll(GatherRows):
    """(B,) of every rank -> (W·B,), as a part of a computation that all ranks share: its gradient is the own part."""

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[own_rows(gradient, ctx.group)], None


def add_up(value: Tensor, group: ProcessGroup | None) -> Tensor:
    """The sum over all ranks, differentiable."""
    return value if group is None else AddUp.apply(value, group)


def from_all(values: Tensor, group: ProcessGroup | None) -> Tensor:
    """(B,) of every rank -> (W·B,), of what each has computed from `shared` values."""
    return values if group is None else FromAll.apply(values, group)


def shared(value: Tensor, group: ProcessGroup | None) -> Tensor:
    """What all ranks have, for each to work on a part: its gradient is the sum of theirs."""
    return value if group is None else Shared.apply(value, group)


class AddUp(torch.autograd.Function):
    """See `add_up`; the gradient, which all ranks have, is that of every summand."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, group: ProcessGroup) -> Tensor:
        return everywhere(value.clone(), group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class Shared(torch.autograd.Function):
    """See `shared`."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return everywhere(gradient.clone(), ctx.group), None


class OwnValues(torch.autograd.Function):
    """Values that all ranks know -> the [first, end) of this one; on the way back the gradients of all, over W."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, first: int, end: int, group: ProcessGroup) -> Tensor:
        ctx.share, ctx.group = (len(values), first, end), group
        return values[first:end].clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        count, first, end = ctx.share
        everyone = gradient.new_zeros(count)
        everyone[first:end] = gradient / ctx.group.size()
        return everywhere(everyone, ctx.group), None, None, None


def gather_columns(columns: Tensor, num_classes: int, group: ProcessGroup) -> Tensor:
    """(N, n) scores of every rank's classes -> (N, C); without a gradient."""
    size = -(-num_classes // group.size())
    padded = columns.detach().new_zeros(size, len(columns))
    padded[: columns.shape[1]] = columns.detach().T
    return GatherRows.apply(padded, group)[:num_classes].T
