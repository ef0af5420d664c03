"""Two processes that share the classes compute what one process computes."""

from __future__ import annotations

import os
import socket
import traceback
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from facelearn import losses
from facelearn.losses.parallel import shard
from tests.losses.test_tiles import HEADS

C, D, B, WORLD = 23, 16, 5, 2


def settings(stem: str) -> dict:
    return HEADS[stem] | ({"std": 0.0} if stem == "elasticface" else {})


def one_process(stem: str, reduction: str = "mean") -> tuple[losses.MarginHead, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    head = losses.get(stem, D, C, tile=None, reduction=reduction, **settings(stem)).double()
    y = torch.randint(C, (WORLD * B,), generator=torch.Generator().manual_seed(1))
    near = head.weight.detach()[y * head.num_subcenters]
    x = 15 * (near + 0.3 * torch.randn(WORLD * B, D, generator=torch.Generator().manual_seed(2)).double())
    x[0] = -x[0]
    return head, x, y


def share_of(head: losses.MarginHead, group: dist.ProcessGroup, stem: str, **more) -> losses.MarginHead:
    """The same head, as this rank owns it."""
    first, end = shard(C, group)
    mine = losses.get(stem, D, C, process_group=group, **settings(stem), **more).double()
    rows = slice(first * head.num_subcenters, end * head.num_subcenters)
    mine.load_state_dict(head.state_dict() | {"weight": head.weight.detach()[rows]})
    return mine


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11 * float(b.abs().max()) + 1e-15)


def check_heads(group: dist.ProcessGroup) -> None:
    """Loss, gradients and states of every head, two steps, dense and tiled."""
    mine = slice(group.rank() * B, (group.rank() + 1) * B)
    for stem in HEADS:
        for tile in (None, 4):
            head, x, y = one_process(stem)
            parallel = share_of(head, group, stem, tile=tile)
            first, end = shard(C, group)
            for _ in range(2):
                head.zero_grad(), parallel.zero_grad()
                a, b = x.clone().requires_grad_(), x[mine].clone().requires_grad_()
                want, got = head(a, y), parallel(b, y[mine])
                want.backward(), got.backward()
                close(got.detach(), want.detach())
                close(b.grad, WORLD * a.grad[mine])  # DistributedDataParallel divides by the number of ranks
                K = head.num_subcenters
                close(parallel.weight.grad, head.weight.grad[first * K : end * K])
            for name, buffer in head.named_buffers():
                close(parallel.get_buffer(name).double(), buffer.double())
            close(parallel.logits(x[mine]).detach(), head.logits(x[mine]).detach())


def check_reductions(group: dist.ProcessGroup) -> None:
    mine = slice(group.rank() * B, (group.rank() + 1) * B)
    for reduction in ("sum", "none"):
        head, x, y = one_process("curricularface", reduction)
        parallel = share_of(head, group, "curricularface", reduction=reduction)
        a, b = x.clone().requires_grad_(), x[mine].clone().requires_grad_()
        want, got = head(a, y), parallel(b, y[mine])
        # own mean of "none" on every rank, averaged by DDP = the global mean
        (want.mean() if reduction == "none" else want).backward()
        (got.mean() if reduction == "none" else got).backward()
        close(got.detach(), want.detach()[mine] if reduction == "none" else want.detach())
        close(b.grad, WORLD * a.grad[mine])
        first, end = shard(C, group)
        close(parallel.weight.grad, head.weight.grad[first:end])


def check_training_under_ddp(group: dist.ProcessGroup) -> None:
    """A net under DistributedDataParallel with a class-parallel head walks the path of one process."""
    head, x, y = one_process("arcface")
    parallel = share_of(head, group, "arcface")
    torch.manual_seed(3)
    net, wrapped = torch.nn.Linear(D, D).double(), torch.nn.Linear(D, D).double()
    wrapped.load_state_dict(net.state_dict())
    ddp = torch.nn.parallel.DistributedDataParallel(wrapped, process_group=group)
    mine = slice(group.rank() * B, (group.rank() + 1) * B)
    optimizers = [torch.optim.SGD([*n.parameters(), *h.parameters()], 0.1) for n, h in ((net, head), (ddp, parallel))]
    for _ in range(5):
        for optimizer in optimizers:
            optimizer.zero_grad()
        want, got = head(net(x), y), parallel(ddp(x[mine]), y[mine])
        close(got.detach(), want.detach())
        want.backward(), got.backward()
        for optimizer in optimizers:
            optimizer.step()
    close(wrapped.weight.detach(), net.weight.detach())


def check_errors_on_all_ranks(group: dist.ProcessGroup) -> None:
    head = losses.ArcFace(D, C, process_group=group)
    y = torch.zeros(B, dtype=torch.int64)
    bad = y.clone()
    bad[0] = C if group.rank() == 0 else 0
    with pytest.raises(ValueError, match="labels holds 23" if group.rank() == 0 else "another rank refused"):
        head(torch.randn(B, D), bad)
    with pytest.raises(ValueError, match="expected as many on every rank, found 5 to 6"):
        head(torch.randn(B + group.rank(), D), torch.zeros(B + group.rank(), dtype=torch.int64))
    assert head(torch.randn(B, D), y).isfinite()  # and the ranks are still in step
    with pytest.raises(ValueError, match="too few for 2 ranks"):
        shard(1, group)
    with pytest.raises(ValueError, match="process_group"):
        losses.DiscFace(head)


def check_shards_start_differently_and_margins_alike(group: dist.ProcessGroup) -> None:
    torch.manual_seed(0)
    head = losses.ArcFace(D, C, process_group=group)
    rows = [torch.empty(12, D) for _ in range(WORLD)]
    dist.all_gather(rows, torch.nn.functional.pad(head.weight.detach(), (0, 0, 0, 12 - len(head.weight))), group=group)
    assert not torch.equal(rows[0][:11], rows[1][:11])
    torch.manual_seed(group.rank())
    elastic = losses.ElasticFace(D, C, std=0.1, process_group=group)
    margins = [torch.empty(WORLD * B) for _ in range(WORLD)]
    dist.all_gather(margins, elastic.rows(torch.randn(WORLD * B, D), torch.zeros(WORLD * B))[0], group=group)
    assert torch.equal(margins[0], margins[1])


CHECKS = [
    check_heads, check_reductions, check_training_under_ddp, check_errors_on_all_ranks,
    check_shards_start_differently_and_margins_alike,
]  # fmt: skip


def work(rank: int, port: int, folder: str) -> None:
    """All checks in one pair of processes, since starting them is what costs."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=WORLD)
    for check in CHECKS:
        result = "passed"
        try:
            check(dist.group.WORLD)
        except BaseException:
            result = traceback.format_exc()
        Path(folder, f"{check.__name__}.{rank}").write_text(result)
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    mp.spawn(work, (port, str(folder)), nprocs=WORLD)
    return folder


@pytest.mark.parametrize("check", [check.__name__ for check in CHECKS])
def test_two_processes(outcomes, check):
    for rank in range(WORLD):
        result = (outcomes / f"{check}.{rank}").read_text()
        assert result == "passed", f"rank {rank}:\n{result}"
