"""Two processes that share classes or pairs compute what one process computes."""

from __future__ import annotations

import copy
import functools
import gc
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor import Shard as Split
from torch.distributed.tensor.parallel import loss_parallel
from torch.nn.parallel import DistributedDataParallel as DDP

from facelearn import losses
from facelearn.losses.parallel import shard
from tests import ranks
from tests.losses import sharding_checks
from tests.losses.conformance import PAIR
from tests.losses.test_tiles import HEADS

C, D, B, WORLD = 23, 16, 5, 2
#: the ranks that do what two processes do; the third one makes a rank of the group another number than in the world
TWO = (1, 2)


def settings(stem: str) -> dict:
    return HEADS[stem] | ({"std": 0.0} if stem == "elasticface" else {})


def one_process(stem: str, reduction: str = "mean") -> tuple[losses.MarginHead, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    head = losses.build(stem, D, C, tile=None, reduction=reduction, **settings(stem)).double()
    y = torch.randint(C, (WORLD * B,), generator=torch.Generator().manual_seed(1))
    near = head.weight.detach()[y * head.num_subcenters]
    x = 15 * (near + 0.3 * torch.randn(WORLD * B, D, generator=torch.Generator().manual_seed(2)).double())
    x[0] = -x[0]
    return head, x, y


def share_of(head: losses.MarginHead, group: dist.ProcessGroup, stem: str, **more) -> losses.MarginHead:
    """The same head, as this rank owns it."""
    first, end = shard(C, group)
    mine = losses.build(stem, D, C, process_group=group, **settings(stem), **more).double()
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


def check_smoothed_and_ignored_labels(group: dist.ProcessGroup) -> None:
    """The mean is that over what all ranks keep, where one of them keeps nothing, or all."""
    mine = slice(group.rank() * B, (group.rank() + 1) * B)
    for stem in HEADS:
        for ignored, reduction in (((0, 3), "mean"), (range(B), "mean"), (range(B), "none"), (range(2 * B), "mean")):
            head, x, y = one_process(stem, reduction)
            y[list(ignored)] = -1
            for_both = {"label_smoothing": 0.3, "ignore_label": -1}
            parallel = share_of(head, group, stem, reduction=reduction, **for_both)
            vars(head).update(for_both)
            a, b = x.clone().requires_grad_(), x[mine].clone().requires_grad_()
            want, got = head(a, y), parallel(b, y[mine])
            want.mean().backward(), got.mean().backward()
            close(got.detach(), want.detach()[mine] if reduction == "none" else want.detach())
            close(b.grad, WORLD * a.grad[mine])
            first, end = (end * head.num_subcenters for end in shard(C, group))
            close(parallel.weight.grad, head.weight.grad[first:end])
            for name, buffer in head.named_buffers():
                close(parallel.get_buffer(name).double(), buffer.double())


def check_discface(group: dist.ProcessGroup) -> None:
    """A class-parallel base loss; ξ is on every rank, with the whole gradient."""
    mine = slice(group.rank() * B, (group.rank() + 1) * B)
    first, end = shard(C, group)
    for xi in (torch.zeros(D).double(), torch.linspace(-1, 1, D).double()):
        head, x, y = one_process("arcface")
        whole, part = (losses.DiscFace(h).double() for h in (head, share_of(head, group, "arcface")))
        for loss in (whole, part):
            loss.xi.data.copy_(xi)
        a, b = x.clone().requires_grad_(), x[mine].clone().requires_grad_()
        want, got = whole(a, y), part(b, y[mine])
        want.backward(), got.backward()
        close(got.detach(), want.detach())
        close(b.grad, WORLD * a.grad[mine])
        close(part.xi.grad, whole.xi.grad)
        close(part.base_loss.weight.grad, head.weight.grad[first:end])
        close(part.logits(x[mine]).detach(), whole.logits(x[mine]).detach())


def check_training_under_ddp(group: dist.ProcessGroup) -> None:
    """A net under DistributedDataParallel with a class-parallel head walks the path of one process."""
    head, x, y = one_process("arcface")
    parallel = share_of(head, group, "arcface")
    torch.manual_seed(3)
    net, wrapped = torch.nn.Linear(D, D).double(), torch.nn.Linear(D, D).double()
    wrapped.load_state_dict(net.state_dict())
    ddp = DDP(wrapped, process_group=group)
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
    with pytest.raises(ValueError, match=r"labels\[0\]=23" if group.rank() == 0 else "another rank refused"):
        head(torch.randn(B, D), bad)
    with pytest.raises(ValueError, match="expected the same on every rank, found 5 to 6"):
        head(torch.randn(B + group.rank(), D), torch.zeros(B + group.rank(), dtype=torch.int64))
    assert head(torch.randn(B, D), y).isfinite()  # and the ranks are still in step
    with pytest.raises(ValueError, match="the last of 2 ranks would own none"):
        shard(1, group)


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


def a_batch(group: dist.ProcessGroup, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor, slice]:
    """The global batch, whose pairs are mostly of different ranks, and which rows are this rank's."""
    g = torch.Generator().manual_seed(seed)
    x, y = torch.randn(WORLD * B, D, generator=g).double(), torch.randint(4, (WORLD * B,), generator=g)
    return x, y, slice(group.rank() * B, (group.rank() + 1) * B)


def check_sampled_classes(group: dist.ProcessGroup) -> None:
    """Every rank draws among its own classes; together that is one process that has drawn them all."""
    mine = slice(group.rank() * B, (group.rank() + 1) * B)
    first, end = shard(C, group)
    for stem in HEADS:
        head, x, y = one_process(stem)
        parallel = share_of(head, group, stem)
        chosen = torch.cat([y, torch.arange(0, C, 3)]).unique()
        head.sample_rate = parallel.sample_rate = 0.5
        head.draw_classes = lambda own, drawn=chosen: drawn
        own_drawn = chosen[(chosen >= first) & (chosen < end)] - first
        parallel.draw_classes = lambda own, drawn=own_drawn: drawn
        a, b = x.clone().requires_grad_(), x[mine].clone().requires_grad_()
        want, got = head(a, y), parallel(b, y[mine])
        want.backward(), got.backward()
        close(got.detach(), want.detach())
        close(b.grad, WORLD * a.grad[mine])
        K = head.num_subcenters
        close(parallel.weight.grad.to_dense(), head.weight.grad.to_dense()[first * K : end * K])
    free = losses.ArcFace(D, C, sample_rate=0.5, process_group=group)  # and drawn at random
    assert free(torch.randn(B, D), y[mine]).isfinite()


def check_pair_losses(group: dist.ProcessGroup) -> None:
    """Every pair of the global batch counts; `"none"` gives the values whose first sample is an own one."""
    x, y, mine = a_batch(group)
    for name, make in PAIR.items():
        for reduction in ("mean", "sum", "none"):
            whole, part = make(reduction=reduction), make(reduction=reduction, process_group=group)
            a, b = x.clone().requires_grad_(), x[mine].clone().requires_grad_()
            want, got = whole(a, y), part(b, y[mine])
            if reduction == "none":
                first = (
                    torch.triu_indices(WORLD * B, WORLD * B, 1)[0] if "contrastive" in name else torch.arange(len(x))
                )
                own = (first >= mine.start) & (first < mine.stop)
                weights = torch.rand(len(want), generator=torch.Generator().manual_seed(2)).double()
                close(got.detach(), want.detach()[own])
                (want * weights).sum().backward(), (got * weights[own]).sum().backward()
                close(b.grad, a.grad[mine])  # DDP takes the mean of the ranks' own objectives, here it is their sum
            else:
                want.backward(), got.backward()
                close(got.detach(), want.detach())
                close(b.grad, WORLD * a.grad[mine])
        assert not torch.allclose(make()(x[mine], y[mine]), make()(x, y), rtol=1e-3)  # what it would be without a group


def check_every_rank_takes_its_own_anchors(group: dist.ProcessGroup) -> None:
    """A share of the rows of the matrix of pairs, with all its columns."""
    x, y, mine = a_batch(group)
    seen = []
    loss = losses.SupCon(process_group=group)
    terms = loss.terms
    loss.terms = lambda values, *pairs: (seen.append(tuple(values.shape)), terms(values, *pairs))[1]
    loss(x[mine].requires_grad_(), y[mine]).backward()
    assert seen == [(B, WORLD * B)]


def check_pair_losses_under_ddp(group: dist.ProcessGroup) -> None:
    for make in PAIR.values():
        torch.manual_seed(3)
        net, wrapped = torch.nn.Linear(D, D).double(), torch.nn.Linear(D, D).double()
        wrapped.load_state_dict(net.state_dict())
        ddp = DDP(wrapped, process_group=group)
        for step in range(3):
            x, y, mine = a_batch(group, step)
            make()(net(x), y).backward()
            make(process_group=group)(ddp(x[mine]), y[mine]).backward()
            for p, q in zip(net.parameters(), wrapped.parameters(), strict=True):
                close(q.grad, p.grad)
                with torch.no_grad():
                    p -= 0.01 * p.grad
                    q -= 0.01 * q.grad
                p.grad = q.grad = None


def check_joint_with_center_and_ring(group: dist.ProcessGroup) -> None:
    """A class-parallel head beside centres and a radius that follow the global batch: parameters and states alike."""

    def make(head: losses.MarginHead, where: dist.ProcessGroup | None) -> losses.Joint:
        center, ring = losses.Center(D, C, alpha=0.7, process_group=where), losses.Ring(process_group=where)
        parts = (1.0, head), (0.3, center), (0.2, ring), (0.5, losses.Triplet(process_group=where))
        return losses.Joint(*parts).double()

    head, x, y = one_process("arcface")
    whole, part = make(head, None), make(share_of(head, group, "arcface"), group)
    y[::3] = y[0]  # one class on both ranks
    torch.manual_seed(3)
    net, wrapped = torch.nn.Linear(D, D).double(), torch.nn.Linear(D, D).double()
    wrapped.load_state_dict(net.state_dict())
    ddp = DDP(wrapped, process_group=group)
    mine = slice(group.rank() * B, (group.rank() + 1) * B)
    one, two = (torch.optim.SGD([*n.parameters(), *j.parameters()], 0.1) for n, j in ((net, whole), (ddp, part)))
    for step in range(4):
        one.zero_grad(), two.zero_grad()
        want, got = whole(net(x), y), part(ddp(x[mine]), y[mine])
        close(got.detach(), want.detach())
        if step == 0:
            close(part.parts[2].radius.detach(), net(x).norm(dim=1).mean().detach())
        want.backward(), got.backward()
        one.step(), two.step()
    close(wrapped.weight.detach(), net.weight.detach())
    close(part.parts[1].centers, whole.parts[1].centers)
    close(part.parts[2].radius.detach(), whole.parts[2].radius.detach())
    for state in (part.parts[1].centers, part.parts[2].radius.detach()):  # the same to the last bit
        states = [torch.empty_like(state) for _ in range(WORLD)]
        dist.all_gather(states, state, group=group)
        assert torch.equal(states[0], states[1])


def check_plain_ddp(group: dist.ProcessGroup) -> None:
    """A mean over samples needs no group: the mean of the ranks' means, and of their gradients, is the global one."""
    makes = {
        "softmax": lambda: losses.Softmax(D, C),
        "l2_softmax": lambda: losses.L2Softmax(D, C, learn_alpha=True),
        "lgm": lambda: losses.LGM(D, C),
        "arcface": lambda: losses.ArcFace(D, C),
        "discface": lambda: losses.DiscFace(losses.CosFace(D, C)),
        "ring": lambda: losses.Ring(radius=3.0),
    }
    for make in makes.values():
        torch.manual_seed(4)
        whole = torch.nn.ModuleList([torch.nn.Linear(D, D), make()]).double()
        part = torch.nn.ModuleList([torch.nn.Linear(D, D), make()]).double()
        part.load_state_dict(whole.state_dict())
        net, loss = DDP(part[0], process_group=group), DDP(part[1], process_group=group)
        one, two = (torch.optim.SGD(m.parameters(), 0.1) for m in (whole, part))
        for step in range(3):
            x, y, mine = a_batch(group, step)
            one.zero_grad(), two.zero_grad()
            whole[1](whole[0](x), y).backward(), loss(net(x[mine]), y[mine]).backward()
            one.step(), two.step()
        for p, q in zip(whole.parameters(), part.parameters(), strict=True):
            close(q.detach(), p.detach())


def check_loss_parallel(group: dist.ProcessGroup) -> None:
    """An outside judge: torch's own sharded cross-entropy on a DTensor of logits, the margin put in by arccos."""
    classes, s, m = 24, 30.0, 0.3
    mesh = DeviceMesh.from_group(group, "cpu")
    g = torch.Generator().manual_seed(7)
    W, x = torch.randn(classes, D, generator=g).double(), torch.randn(WORLD * B, D, generator=g).double()
    y = torch.randint(classes, (WORLD * B,), generator=g)
    first, end = shard(classes, group)
    w, a = W[first:end].clone().requires_grad_(), x.clone().requires_grad_()

    same = DTensor.from_local(F.normalize(a), mesh, [Replicate()])
    cos = same @ DTensor.from_local(F.normalize(w), mesh, [Split(0)]).T  # (W·B, C), cut up by classes
    theta = cos.to_local().arccos()
    here = torch.arange(first, end) == y[:, None]
    logits = DTensor.from_local(s * torch.where(here, theta + m, theta).cos(), mesh, [Split(1)])
    with loss_parallel():
        want = F.cross_entropy(logits, DTensor.from_local(y, mesh, [Replicate()]))
        want.backward()

    head = losses.ArcFace(D, classes, scale=s, margin=m, beyond_pi="plain", process_group=group).double()
    with torch.no_grad():
        head.weight.copy_(W[first:end])
    mine = slice(group.rank() * B, (group.rank() + 1) * B)
    b = x[mine].clone().requires_grad_()
    got = head(b, y[mine])
    got.backward()
    close(got.detach(), want.full_tensor().detach())
    close(b.grad, WORLD * a.grad[mine])
    close(head.weight.grad, w.grad)


def check_pair_errors_on_all_ranks(group: dist.ProcessGroup) -> None:
    rank, y = group.rank(), torch.arange(B) % 2
    good = torch.randn(B, D)
    for make in (losses.Triplet, losses.Contrastive, losses.Circle, losses.SupCon, losses.Ring):
        loss = make(process_group=group)
        bad = torch.full_like(good, torch.nan) if rank == 0 else good
        with pytest.raises(ValueError, match=r"embeddings\[0\]=nan" if rank == 0 else "another rank refused"):
            loss(bad, y)
        with pytest.raises(ValueError, match=r"embeddings.shape=\(5,\)" if rank else "another rank refused"):
            loss(good[:, 0] if rank else good, y)
        with pytest.raises(ValueError, match=rf"embeddings.shape\[1\]={D + rank}: expected the same .* 16 to 17"):
            loss(torch.randn(B, D + rank), y)
        with pytest.raises(ValueError, match=r"embeddings.itemsize=.: expected the same on every rank, found 4 to 8"):
            loss(good.double() if rank else good, y)
        with pytest.raises(ValueError, match="found 5 to 6"):
            loss(torch.randn(B + rank, D), torch.zeros(B + rank, dtype=torch.int64))
        assert loss(good, y).isfinite()
    head = losses.ArcFace(D, C, process_group=group)
    with pytest.raises(ValueError, match="another rank refused" if rank else "embedding_dim=16"):
        head.logits(good if rank else good[:, :8])
    assert head.logits(good).shape == (B, C)


def check_errors_without_a_cpu_backend(group: dist.ProcessGroup) -> None:
    """As with NCCL alone: the ranks agree where the embeddings live, and only where values are looked at anyway."""
    rank, y = group.rank(), torch.arange(B) % 2
    bad = torch.full((B, D), torch.nan if rank else 1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dist, "get_backend_config", lambda group: "cuda:nccl")
        with pytest.raises(ValueError, match=r"embeddings\[0\]=nan" if rank else "another rank refused"):
            losses.Triplet(process_group=group, validate=True)(bad, y)
        patch.setattr(dist, "all_reduce", None)  # nothing to wait for
        loss = losses.Triplet(process_group=group)
        assert loss(torch.randn(B, D), y).isfinite()
        with pytest.raises(ValueError, match=r"labels\.shape="):
            loss(bad, y[1:])


def check_labels_without_a_class_are_nan(group: dist.ProcessGroup) -> None:
    """Where values are not looked at: on every rank, whichever rank has the label, and for that sample alone."""
    mine = slice(group.rank() * B, (group.rank() + 1) * B)
    for bad in (-1, C, 10**9):
        for more in ({}, {"tile": 4}, {"sample_rate": 0.5}):
            head, x, y = one_process("arcface")
            y[0] = bad
            assert share_of(head, group, "arcface", validate=False, **more)(x[mine], y[mine]).isnan()
            each = share_of(head, group, "arcface", validate=False, reduction="none", **more)(x[mine], y[mine])
            assert each.isnan().tolist() == [group.rank() == 0, False, False, False, False]


def check_copies_share_the_group(group: dist.ProcessGroup) -> None:
    """As a running average of the weights needs them; a joint loss with pair losses too."""
    head, x, y = one_process("curricularface")
    mine = slice(group.rank() * B, (group.rank() + 1) * B)
    part = share_of(head, group, "curricularface")
    joint = losses.Joint((1.0, part), (0.5, losses.Triplet(process_group=group))).double()
    twin = copy.deepcopy(joint)
    assert twin.parts[0].process_group is part.process_group
    assert twin.parts[1].process_group is part.process_group
    assert twin.parts[0].weight is not part.weight
    close(twin(x[mine], y[mine]).detach(), joint(x[mine], y[mine]).detach())
    with torch.no_grad():
        twin.parts[0].weight.zero_()
    assert part.weight.any()
    average = torch.optim.swa_utils.AveragedModel(part)
    average.update_parameters(part)
    close(average.module.weight.detach(), part.weight.detach())


def check_what_a_group_cannot_do_is_refused(group: dist.ProcessGroup) -> None:
    """Second derivatives and torch.func, on all ranks alike; and a sampling head inside DistributedDataParallel."""
    x, y, mine = a_batch(group)
    makes = {"arcface": lambda: losses.ArcFace(D, C, process_group=group).double()}
    makes |= {"ring": lambda: losses.Ring(radius=1.0, process_group=group).double()}
    makes |= {name: lambda make=make: make(process_group=group) for name, make in PAIR.items()}
    for make in makes.values():
        loss, leaf = make(), x[mine].clone().requires_grad_()
        with pytest.raises(RuntimeError, match="create_graph=True: expected False"):
            torch.autograd.grad(loss(leaf, y[mine]), leaf, create_graph=True)
        with pytest.raises(RuntimeError, match=r"process_group=2 ranks: expected None under torch\.func"):
            torch.func.grad(lambda a, loss=loss: loss(a, y[mine]))(x[mine])
        with pytest.raises(ValueError, match=r"labels=\[0, 1\]: expected a tensor|another rank refused"):
            loss(x[mine], [0, 1] if group.rank() else y[mine])
    sampled = DDP(losses.ArcFace(D, C, sample_rate=0.3), process_group=group)
    with pytest.raises(ValueError, match=r"sample_rate=0\.3: expected 1 in DistributedDataParallel"):
        sampled(torch.randn(B, D), y[mine])
    assert sampled.eval()(torch.randn(B, D), y[mine]).isfinite()


def check_nothing_stays_alive_after_a_step(group: dist.ProcessGroup) -> None:
    """No tensor of a step outlives it, and no graph, whether there was a backward pass or not."""
    head = losses.CurricularFace(D, C, tile=4, process_group=group)
    parts = [(1.0, head), (0.1, losses.Center(D, C, process_group=group)), (0.1, losses.Ring(process_group=group))]
    joint = losses.Joint(*parts, *((0.1, make(process_group=group)) for make in PAIR.values()))
    each = losses.Triplet(reduction="none", process_group=group)
    ddp = DDP(torch.nn.Linear(D, D), process_group=group)

    graphs: weakref.WeakSet[Mark] = weakref.WeakSet()

    def step(backward: bool) -> tuple[int, int]:
        x = Marked.apply(ddp(torch.randn(B, D)), graphs)
        loss = joint(x, torch.arange(B)) + each(x, torch.arange(B) % 2).mean()
        assert len(graphs) > 0
        if backward:
            loss.backward()
        joint.zero_grad(), ddp.zero_grad()
        del x, loss
        gc.collect()
        until = time.monotonic() + 5
        while graphs and time.monotonic() < until:  # a worker thread of gloo may hold a tensor for a moment
            time.sleep(0.01)
        return len(graphs), sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())

    gc.freeze()  # what other checks left is not looked at
    counts = [step(backward=n % 4 != 3) for n in range(8)]
    gc.unfreeze()
    assert all(alive == 0 for alive, _ in counts), counts
    # the same with tensors: a leak adds some in every step
    assert min(tensors for _, tensors in counts[4:]) <= min(tensors for _, tensors in counts[:4]), counts


class Mark:
    pass


class Marked(torch.autograd.Function):
    """The identity, whose node in the graph holds on to a mark."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, graphs: weakref.WeakSet[Mark]) -> torch.Tensor:
        ctx.mark = Mark()
        graphs.add(ctx.mark)
        return x.clone()

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient, None


CHECKS = [
    check_heads, check_reductions, check_smoothed_and_ignored_labels, check_discface, check_training_under_ddp,
    check_errors_on_all_ranks,
    check_shards_start_differently_and_margins_alike, check_sampled_classes, check_pair_losses,
    check_every_rank_takes_its_own_anchors,
    check_pair_losses_under_ddp, check_joint_with_center_and_ring, check_plain_ddp, check_loss_parallel,
    check_labels_without_a_class_are_nan, check_copies_share_the_group, check_what_a_group_cannot_do_is_refused,
    check_pair_errors_on_all_ranks, check_errors_without_a_cpu_backend, check_nothing_stays_alive_after_a_step,
]  # fmt: skip
#: checks of two ranks and of three
RESUMING = [sharding_checks.check_resuming, sharding_checks.check_failing_together]


@functools.cache
def two_of_three() -> dist.ProcessGroup:
    return dist.new_group(TWO)


def call(check: Callable[..., None], folder: Path) -> None:
    two, taken = two_of_three(), dist.get_rank() in TWO
    if check in RESUMING:
        check(two if taken else None, dist.group.WORLD, folder)
    elif taken:
        check(two)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    ranks.run([*CHECKS, *RESUMING], 1 + WORLD, folder, call)
    return folder


@pytest.mark.parametrize("check", [check.__name__ for check in [*CHECKS, *RESUMING]])
def test_processes_together(outcomes, check):
    assert ranks.outcome(outcomes, check, 1 + WORLD) == []
