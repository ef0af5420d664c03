"""What `test_parallel.py` asks of checkpoints in processes that it starts: written by some ranks, read by others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.nn.parallel import DistributedDataParallel as DDP

from facelearn import losses
from facelearn.losses import sharding
from facelearn.losses.parallel import shard
from facelearn.losses.sharding import load_sharded, save_sharded

C, D, B, K = 23, 8, 12, 3
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, betas=(0.8, 0.9)),
}


class Run:
    """A net and a joint loss with a head of three sub-centres, in one process or cut up among a group's."""

    def __init__(self, group: ProcessGroup | None, optimizer: str, seed: int = 0) -> None:
        torch.manual_seed(seed)
        net, whole = nn.Linear(D, D), losses.SubCenterArcFace(D, C, num_subcenters=K, scale=20.0)
        head = (
            whole if group is None else losses.SubCenterArcFace(D, C, num_subcenters=K, scale=20.0, process_group=group)
        )
        first, end = shard(C, group)
        with torch.no_grad():
            head.weight.copy_(whole.weight[first * K : end * K])
        center, ring = losses.Center(D, C, process_group=group), losses.Ring(process_group=group)
        self.module = nn.ModuleDict(
            {"net": net, "loss": losses.Joint((1.0, head), (0.1, center), (0.1, ring))}
        ).double()
        self.head, self.group = head, group
        self.optimizer = OPTIMIZERS[optimizer](self.module.parameters())
        self.net = net if group is None else DDP(net, process_group=group)

    def train(self, steps: range) -> Run:
        rank, size = (0, B) if self.group is None else (self.group.rank(), B // self.group.size())
        for step in steps:
            g = torch.Generator().manual_seed(step)
            x, y = torch.randn(B, D, generator=g).double(), torch.randint(C, (B,), generator=g)
            mine = slice(rank * size, (rank + 1) * size)
            self.optimizer.zero_grad()
            self.module["loss"](self.net(x[mine]), y[mine]).backward()
            self.optimizer.step()
        return self

    def whole(self) -> dict[str, Tensor]:
        """All parameters, buffers and optimiser state, joined by hand."""
        names = [name for name, _ in self.module.named_parameters()]
        own = {name: value.detach().clone() for name, value in self.module.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            own |= {f"{names[index]}/{key}": value.clone() for key, value in state.items()}
        if self.group is None:
            return own
        ranks: list[dict[str, Tensor]] = [{}] * self.group.size()
        dist.all_gather_object(ranks, own, group=self.group)
        cut = {name for name, value in own.items() if "parts.0.weight" in name and value.ndim == 2}
        return {name: torch.cat([r[name] for r in ranks]) if name in cut else own[name] for name in own}


def assert_bits(got: dict[str, Tensor], want: dict[str, Tensor]) -> None:
    assert set(got) == set(want)
    assert all(torch.equal(got[name], want[name]) for name in want), [
        n for n in want if not torch.equal(got[n], want[n])
    ]


def assert_close(got: dict[str, Tensor], want: dict[str, Tensor]) -> None:
    assert set(got) == set(want)
    for name in want:
        torch.testing.assert_close(got[name], want[name], rtol=1e-9, atol=1e-11, msg=lambda m, n=name: f"{n}: {m}")


def check_resuming(two: ProcessGroup | None, three: ProcessGroup, folder: Path) -> None:
    """2 ranks, then 3, then 1, then 2: each reads the last one's bits, and all walk the path of one process."""
    for optimizer in OPTIMIZERS:
        path, seen = folder / optimizer, str(folder / optimizer) + ".whole"
        alone = Run(None, optimizer)

        if two is not None:
            run = Run(two, optimizer).train(range(3))
            save_sharded(path, run.module, run.optimizer, extra={"step": 3})
            save_sharded(folder / f"{optimizer}-of-two", run.module, run.optimizer)
            whole = run.whole()
            if two.rank() == 0:
                save_file(whole, seen)
        dist.barrier()

        run = Run(three, optimizer, seed=1)
        assert load_sharded(path, run.module, run.optimizer) == {"step": 3}
        assert_bits(run.whole(), load_file(seen))
        assert_close(run.train(range(3, 6)).whole(), alone.train(range(6)).whole())
        save_sharded(path, run.module, run.optimizer)
        dist.barrier()
        whole = run.whole()

        if dist.get_rank() == 0:
            run = Run(None, optimizer, seed=2)
            load_sharded(path, run.module, run.optimizer)
            assert_bits(run.whole(), whole)
            assert_close(run.train(range(6, 9)).whole(), alone.train(range(6, 9)).whole())
            save_sharded(path, run.module, run.optimizer)
            save_file(run.whole(), seen + ".of.one")
            load_sharded(folder / f"{optimizer}-of-two", run.module, run.optimizer)
            assert_bits(run.whole(), load_file(seen))
        else:
            alone.train(range(6, 9))
        dist.barrier()

        if two is not None:
            run = Run(two, optimizer, seed=3)
            load_sharded(path, run.module, run.optimizer)
            assert_bits(run.whole(), load_file(seen + ".of.one"))
            assert_close(run.train(range(9, 12)).whole(), alone.train(range(9, 12)).whole())
        dist.barrier()
        assert len(list(path.iterdir())) == 2, "shards of older checkpoints are left"


def check_failing_together(two: ProcessGroup | None, three: ProcessGroup, folder: Path) -> None:
    """What fails on one rank fails on all, and leaves the older checkpoint and the module as they were."""
    path, rank = folder / "failing", three.rank()
    run = Run(three, "sgd").train(range(1))
    save_sharded(path, run.module, run.optimizer)
    kept = run.whole()

    def full(*_: object) -> dict[str, str]:
        raise OSError("no space left")

    run.train(range(1, 2))
    now = run.whole()
    with pytest.MonkeyPatch.context() as patch:
        if rank == 1:
            patch.setattr(sharding, "hashes_of", full)
        with pytest.raises(OSError if rank == 1 else ValueError, match=r"no space left"):
            save_sharded(path, run.module, run.optimizer)
        if rank == 1:
            patch.undo()
        if rank == 0:
            patch.setattr(sharding.os, "replace", full)
        with pytest.raises(OSError if rank == 0 else ValueError, match=r"no space left"):
            save_sharded(path, run.module, run.optimizer)
    load_sharded(path, run.module, run.optimizer)
    assert_bits(run.whole(), kept)
    assert len(list(path.iterdir())) == 2, "a failed writing left files"

    dist.barrier()
    if rank == 0:
        victim = max(path.glob("shards-*/*"), key=lambda file: file.name)
        content = victim.read_bytes()
        victim.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    dist.barrier()
    run.train(range(1, 2))
    with pytest.raises(ValueError, match="expected content that matches its hash"):
        load_sharded(path, run.module, run.optimizer)
    assert_bits(run.whole(), now)

    with pytest.raises(ValueError, match="expected the net inside it"):
        save_sharded(path, nn.ModuleList([run.net, run.head]))
    if two is not None:
        with pytest.raises(ValueError, match="process_group=2 different ones"):
            save_sharded(path, nn.ModuleList([run.head, losses.Triplet(process_group=two)]))
