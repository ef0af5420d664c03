"""Losses in several processes: what `process_group` does, which losses need it, and which do without.

**Heads** share the classes out. Rank r of W owns the classes [r n, (r+1) n) with n = ceil(C / W). The embeddings of all
ranks are gathered, each rank compares them with its own classes (`tiles.py`), and the ranks add up a few `(B,)`
vectors: target cosines, maxima and sums of the log-sum-exp. The statistics of a head (t, μ, σ) are those of all
batches.

**Pair losses** gather the embeddings too: a sample's positives and negatives are mostly on other ranks. Each rank pairs
its own samples, as anchors, with all samples: 1/W of the work and of the matrix of pairs. Contrastive's `"none"` is the
exception: each rank computes all pairs.

**Center** counts the samples of a class in all batches before it moves a centre; **Ring** starts from the mean length
of all.

All other losses, and heads without a group, are means over samples. Put such a loss into DistributedDataParallel, as
you do with the net: the mean of the ranks' gradients is then the gradient of the whole batch, since batches are equally
long (with `reduction="sum"` it is 1/W of that; with `ignore_label` only where each keeps as many). A head's t, μ, σ,
however, are then those of rank 0's batches alone; and a head with `sample_rate` < 1 cannot be put there, since its
gradient is sparse.

With a group the loss is that of the batches of all ranks, the same number on every rank; `"none"` gives each rank the
values of its own samples. DistributedDataParallel divides the gradients of the net by W; so the gradient to the
embeddings is made W times that of the global mean. The losses' own parameters need no averaging. A shard belongs to one
rank: keep it out of DistributedDataParallel, which would overwrite it with rank 0's. Ring's R and DiscFace's ξ have the
whole gradient on every rank. `sharding.py` saves and loads them.

**What fails, and what hangs.** All ranks must call the same losses in the same order, and go backward through all or
none of them: the backward pass has collectives of its own. If one rank refuses its batch, all refuse theirs
(`all_or_none`), as they do when batches differ in size. Where NCCL is the only backend they can do so only with
`validate=True`, which waits for the GPU in every step. Without it the refusing rank raises alone; the others wait until
the launcher (`torchrun`) or NCCL's timeout ends them. Nothing else here waits for the GPU. Tested with gloo only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup

from facelearn.losses.derivatives import refuse_second_order


def shard(num_classes: int, group: ProcessGroup | None) -> tuple[int, int]:
    """First class of this rank, and one past its last."""
    if group is None:
        return 0, num_classes
    size = -(-num_classes // group.size())
    first = group.rank() * size
    if (group.size() - 1) * size >= num_classes:
        raise ValueError(f"num_classes={num_classes}: expected more, the last of {group.size()} ranks would own none")
    return first, min(first + size, num_classes)


def everywhere(value: Tensor, group: ProcessGroup | None) -> Tensor:
    """Add up `value` over all ranks, in place."""
    if group is not None:
        dist.all_reduce(value, group=group)
    return value


def same_everywhere(value: Tensor, group: ProcessGroup | None) -> Tensor:
    """Overwrite `value` with rank 0's."""
    if group is not None:
        dist.broadcast(value, group=group, group_src=0)
    return value


def all_or_none(
    check: Callable[[], None], embeddings: Tensor, group: ProcessGroup | None, validate: bool | None = None
) -> None:
    """Run a check on every rank; if one refuses its batch, all raise, instead of waiting for it forever.

    The ranks talk about it only if the group has a backend for the CPU, or with `validate=True`: over NCCL they would
    have to wait for the GPU in every step.
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
    """The error of a rank whose own batch is in order, if another's is not or theirs differ in size."""
    samples, columns, *_ = (*tuple(getattr(embeddings, "shape", ())), 0, 0)
    mine = torch.tensor([problem is not None, samples, columns, getattr(embeddings, "itemsize", 0)])
    seen = torch.cat([mine, -mine]).to(device)
    dist.all_reduce(seen, dist.ReduceOp.MAX, group=group)
    most, least = seen[:4].tolist(), (-seen[4:]).tolist()
    if problem:
        return None
    if most[0]:
        return ValueError("embeddings, labels: another rank refused its batch; its own error says why")
    for name, here, low, high in zip(("", "shape[0]", "shape[1]", "itemsize"), mine, least, most, strict=True):
        if low != high:
            return ValueError(f"embeddings.{name}={here}: expected the same on every rank, found {low} to {high}")
    return None


def gather_samples(own: Tensor, group: ProcessGroup | None) -> Tensor:
    """(B, d) of every rank -> (W·B, d), differentiable."""
    return own if group is None else GatherSamples.apply(own, group)


def gather_labels(labels: Tensor, group: ProcessGroup | None) -> Tensor:
    """(B,) of every rank -> (W·B,)"""
    return labels if group is None else concatenate(labels, group)


def concatenate(own: Tensor, group: ProcessGroup) -> Tensor:
    everyone = own.new_empty(group.size() * len(own), *own.shape[1:])
    dist.all_gather(list(everyone.chunk(group.size())), own.contiguous(), group=group)
    return everyone


def samples_of_rank(everyone: Tensor, group: ProcessGroup | None) -> slice:
    """The positions of this rank's samples among those of all."""
    if group is None:
        return slice(0, len(everyone))
    each = len(everyone) // group.size()
    return slice(group.rank() * each, (group.rank() + 1) * each)


class GatherSamples(torch.autograd.Function):
    """(B, d) of every rank -> (W·B, d). The gradient to the own samples is multiplied by W, since DDP divides by W."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        return concatenate(own, group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        refuse_second_order()
        return ctx.group.size() * gradient[samples_of_rank(gradient, ctx.group)], None


class FromAll(GatherSamples):
    """(B,) of every rank -> (W·B,); the gradient to the own values is that of their part of the result."""

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        refuse_second_order()
        return gradient[samples_of_rank(gradient, ctx.group)], None


def add_up(value: Tensor, group: ProcessGroup | None) -> Tensor:
    """The sum of `value` over all ranks, differentiable."""
    return value if group is None else AddUp.apply(value, group)


def from_all(values: Tensor, group: ProcessGroup | None) -> Tensor:
    """Join what each rank has computed from `shared` values.  (B,) of every rank -> (W·B,)"""
    return values if group is None else FromAll.apply(values, group)


def shared(value: Tensor, group: ProcessGroup | None) -> Tensor:
    """A `value` that all ranks have and each uses for its part of the work: its gradient is the sum over the ranks."""
    return value if group is None else Shared.apply(value, group)


class AddUp(torch.autograd.Function):
    """See `add_up`. All ranks have the gradient of the sum, which is that of each summand too."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, group: ProcessGroup) -> Tensor:
        return everywhere(value.clone(), group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        refuse_second_order()
        return gradient, None


class Shared(torch.autograd.Function):
    """See `shared`."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        refuse_second_order()
        return everywhere(gradient.clone(), ctx.group), None


class OwnValues(torch.autograd.Function):
    """Of values that all ranks have, those from `first` to `end`; the gradients of all ranks are joined, and over W."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, first: int, end: int, group: ProcessGroup) -> Tensor:
        ctx.share, ctx.group = (len(values), first, end), group
        return values[first:end].clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        refuse_second_order()
        count, first, end = ctx.share
        everyone = gradient.new_zeros(count)
        everyone[first:end] = gradient / ctx.group.size()
        return everywhere(everyone, ctx.group), None, None, None


def gather_columns(columns: Tensor, num_classes: int, group: ProcessGroup) -> Tensor:
    """(N, n) scores of every rank's classes -> (N, C); without a gradient."""
    size = -(-num_classes // group.size())
    padded = columns.detach().new_zeros(size, len(columns))
    padded[: columns.shape[1]] = columns.detach().T
    return GatherSamples.apply(padded, group)[:num_classes].T
