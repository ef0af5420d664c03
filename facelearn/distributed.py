"""Several processes that train one net: what `fit` needs to be told apart from a single one.

    torchrun --nproc-per-node 4 -m facelearn train ...

Every rank draws the same plan, takes its share of each batch, and runs it through its copy of the net, which
`torch.nn.parallel.DistributedDataParallel` keeps equal to the others. The loss is then taken over the batch of ALL
ranks, in one of two ways:

* An ordinary loss stands whole on every rank; embeddings and labels are gathered, and each rank forms the same value.
  So pairs are mined in the whole batch, and running statistics are those of the whole batch: any loss gives what it
  gives in one process. It costs each rank the loss of all; no class weights travel.
* A head with `process_group=` holds a share of the classes (`losses/parallel.py`) and gathers for itself. For more
  classes than one device should hold. Each rank draws the start weights of its own share, so that no device ever
  holds all of them: the start, and with it the curve, depends on the number of processes. From the same weights it is
  the curve of one process.

A rank that fails alone, at a damaged file, say, must end its process, as an error that nobody catches does; so does the
command line. The others then fail too, with what it failed with (`OtherRank`). As long as it lives they wait for it.

With one process nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from facelearn.losses.base import Loss, keywords
from facelearn.losses.margin import MarginHead
from facelearn.losses.parallel import GatherSamples, gather_labels

T = TypeVar("T")
Augment = Callable[[Tensor, torch.Generator], Tensor]


class OtherRank(RuntimeError):
    """Another rank has failed alone, and this one cannot go on."""


def start() -> None:
    """Join the process group if `torchrun` started this process: one GPU a rank with NCCL, or CPUs alone with gloo.

    ValueError where there are fewer GPUs than processes.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or dist.is_initialized():
        return
    if torch.cuda.is_available():
        here, devices = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if here >= devices:
            raise ValueError(f"--nproc-per-node: more processes than GPUs; expected at most {devices}")
        torch.cuda.set_device(here)
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")


def stop() -> None:
    """Leave the process group, if there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Number of this process among those that train together; 0 when alone."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def together(act: Callable[[], T]) -> T | None:
    """Rank 0 acts, the others wait; where it fails they fail too, instead of waiting for it forever."""
    if not (dist.is_available() and dist.is_initialized()):
        return act()
    result, problem = None, None
    if rank() == 0:
        try:
            result = act()
        except Exception as error:
            problem = error
    failed = torch.tensor(float(problem is not None), device=_home())
    dist.broadcast(failed, 0)
    if problem is not None:
        raise problem
    if failed:
        raise ValueError("rank 0 refused; its own error says why")
    return result


def _home() -> torch.device:
    """Where small messages live: on the CPU, unless there is NCCL alone, which carries none from there."""
    return torch.device("cpu" if "cpu:" in dist.get_backend_config() else "cuda")


def _note(rank: int) -> str:
    return f"facelearn: failed on rank {rank}"


def _may_have_group(module: nn.Module) -> bool:
    """Is it a loss that gathers the batch of all ranks, if told so?"""
    return isinstance(module, Loss) and "process_group" in keywords(type(module))


class Shard(NamedTuple):
    """Which rows of a tensor a rank holds."""

    first: int
    size: int  # of every shard but the last, which may have fewer
    rows: int  # over all ranks


class Ranks:
    """This process among all that train `net` with `loss`; every method steps aside where it is the only one."""

    def __init__(self, net: nn.Module, loss: nn.Module) -> None:
        several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        self.group = dist.group.WORLD if several else None
        self.rank, self.size = (dist.get_rank(), dist.get_world_size()) if several else (0, 1)
        self.net, self.loss = net, loss
        self.shards = shards(loss)
        groups = {type(m).__name__: getattr(m, "process_group", None) for m in loss.modules() if _may_have_group(m)}
        self.class_parallel = any(group is not None for group in groups.values())
        if isinstance(net, DistributedDataParallel):
            raise ValueError("net: DistributedDataParallel; expected the net inside it, which fit wraps by itself")
        for name, group in groups.items():
            ranks = 1 if group is None else group.size()
            if self.class_parallel and ranks != self.size:
                raise ValueError(f"loss: {name} is for {ranks} processes; expected process_group=dist.group.WORLD"
                                 f" in every part, as there are {self.size}")  # fmt: skip

    # ---- before the first step

    def together(self, act: Callable[[], T]) -> T | None:
        """See `together`."""
        return together(act) if self.group is not None else act()

    def agree(self, what: str, number: int) -> None:
        """ValueError unless every rank has this number."""
        if self.group is None:
            return
        seen = torch.tensor([number, -number], device=_home())
        dist.all_reduce(seen, dist.ReduceOp.MAX, group=self.group)
        most, least = seen[0].item(), -seen[1].item()
        if most != least:
            raise ValueError(f"{what}: {least} to {most}, depending on the rank; expected the same on all")

    def wrap(self, device: torch.device) -> nn.Module:
        """The net to call: with the weights of rank 0 on all, and its gradients averaged in every backward pass.

        The whole parts of the loss get the values of rank 0, too.
        """
        if self.group is None:
            return self.net
        own = {id(p) for p in self._own()}
        for tensor in (*self.loss.parameters(), *self.loss.buffers()):
            if id(tensor) not in own:
                dist.broadcast(tensor.detach(), 0, group=self.group)
        if not any(p.requires_grad for p in self.net.parameters()):
            return self.net
        return DistributedDataParallel(self.net, device_ids=[device] if device.type == "cuda" else None)

    def scaler(self, device: torch.device, enabled: bool) -> torch.amp.GradScaler:
        """The loss scale of fp16; where a shard overflows on one rank, no rank may take the step."""
        if not (enabled and self.class_parallel and self.group is not None):
            return torch.amp.GradScaler(device.type, enabled=enabled)
        from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler

        return ShardedGradScaler(device.type, process_group=self.group)

    @contextmanager
    def failing_with(self) -> Iterator[None]:
        """Where another rank fails alone, raise OtherRank with its error: the backend knows of a closed connection."""
        if self.group is None:
            yield
            return
        board = self.group.get_group_store()  # read and written without collectives
        board.delete_key(_note(self.rank))
        try:
            yield
        except BaseException as error:
            if (told := self._told(board, error)) is None:
                raise
            raise OtherRank(told) from error

    def _told(self, board: dist.Store, error: BaseException) -> str | None:
        """What another rank has failed with, if that may be why there is this error; else the others are told of it."""
        with suppress(RuntimeError):  # the board may be gone with the process that keeps it
            for rank in range(self.size):
                if isinstance(error, RuntimeError) and board.check([_note(rank)]):
                    return f"rank {rank} failed: {board.get(_note(rank)).decode()}"
            board.set(_note(self.rank), f"{type(error).__name__}: {error}")
        return None

    # ---- in every step

    def share(self, plan: list[Tensor]) -> list[Tensor]:
        """This rank's part of each batch: the parts of all, in the order of the ranks, are the batch."""
        if self.group is None:
            return plan
        for index in plan:
            if len(index) % self.size:
                raise ValueError(
                    f"batch_size: {len(index)}; expected a multiple of the number of processes, {self.size}"
                )
        return [index.chunk(self.size)[self.rank] for index in plan]

    def augment(self, augment: Augment, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augment this rank's images as rows of the whole batch, so that each gets the draws it gets in one process."""
        if self.group is None:
            return augment(images, generator)
        whole = images.new_zeros(self.size * len(images), *images.shape[1:])  # (W·B, C, H, W)
        whole.chunk(self.size)[self.rank].copy_(images)
        return augment(whole, generator).chunk(self.size)[self.rank]

    @contextmanager
    def own_draws(self, seed: int, device: torch.device) -> Iterator[None]:
        """Dropout draws differently on every rank; the loss, outside, draws the same on all."""
        if self.group is None:
            yield
            return
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed((seed + self.rank) % 2**63)
            yield

    def gather(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The batch that the loss is called with: that of all ranks, unless the loss gathers for itself."""
        if self.group is None or self.class_parallel:
            return embeddings, labels
        return GatherSamples.apply(embeddings, self.group), gather_labels(labels, self.group)

    def mean(self, value: Tensor) -> Tensor:
        """Mean of `value` over the ranks."""
        if self.group is not None:
            value = value.clone()
            dist.all_reduce(value, group=self.group)
            value /= self.size
        return value

    def average_gradients(self) -> None:
        """Replace the gradients of the loss's own parameters, except of shards, by their mean over the ranks.

        Where the loss saw the gathered batch they are equal already, up to the order in which a GPU adds; averaged, so
        that the copies cannot drift apart. Sparse ones (sampled classes, drawn alike on all ranks) stay as they are.
        """
        if self.group is None:
            return
        own = {id(p) for p in self._own()}
        for p in self.loss.parameters():
            if id(p) not in own and p.grad is not None and p.grad.layout is torch.strided:
                dist.all_reduce(p.grad, group=self.group)
                p.grad /= self.size

    def same_buffers(self) -> None:
        """Give all ranks the running statistics of rank 0's net."""
        if self.group is not None:
            for buffer in self.net.buffers():
                dist.broadcast(buffer, 0, group=self.group)

    # ---- shards and whole tensors

    def whole(self, own: Tensor, shard: Shard) -> Tensor:
        """The rows `(n, ...)` of all ranks as one `(rows, ...)` on the CPU of rank 0; the others get theirs back.

        One rank after the other, so that no GPU has to hold them all.
        """
        if self.group is None:
            return own
        if self.rank > 0:
            dist.send(own.contiguous(), 0, group=self.group)
            return own
        parts = [own.cpu()]
        for first in range(shard.size, shard.rows, shard.size):
            part = own.new_empty(min(shard.size, shard.rows - first), *own.shape[1:])
            dist.recv(part, first // shard.size, group=self.group)
            parts.append(part.cpu())
        return torch.cat(parts)

    def _own(self) -> Iterator[Tensor]:
        """The parameters of which this rank holds a shard."""
        return (self.loss.get_parameter(name) for name in self.shards)


def shards(loss: nn.Module) -> dict[str, Shard]:
    """The parameters of which this rank holds some rows, by name."""
    found: dict[str, Shard] = {}
    for path, head in loss.named_modules():
        if isinstance(head, MarginHead) and head.process_group is not None:
            each = -(-head.num_classes // head.process_group.size())  # classes of every rank but the last
            rows = (n * head.num_subcenters for n in (head.first_class, each, head.num_classes))
            found[f"{path}.weight".lstrip(".")] = Shard(*rows)
    return found
