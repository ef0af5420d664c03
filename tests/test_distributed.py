"""Two processes train what one process trains, resume like one, and fail together."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from facelearn import distributed, losses, runs
from facelearn.data.image_set import ImageSet
from facelearn.data.samplers import PKBatches
from facelearn.losses.parallel import shard
from facelearn.models import SmallFaceNet
from facelearn.training import ShiftAndGain, fit, seed_everything
from tests import ranks

WORLD, CLASSES, D, EPOCHS = 2, 7, 6, 3  # seven classes: shards of four and three


def image_set() -> ImageSet:
    labels = torch.arange(42) % CLASSES
    noise = torch.randint(0, 120, (42, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    return ImageSet((noise + 18 * labels[:, None, None, None]).to(torch.uint8), labels)


def joint() -> nn.Module:
    return losses.Joint((1.0, losses.Softmax(D, CLASSES)), (0.1, losses.Center(D, CLASSES)))


def mixed(**more: Any) -> nn.Module:
    """With a group: a head in shards, centres of all ranks, and a plain softmax that sees its own rank's rows alone."""
    head = losses.ArcFace(D, CLASSES, scale=8, margin=0.3, **more)
    return losses.Joint((1.0, head), (0.1, losses.Center(D, CLASSES, **more)), (0.5, losses.Softmax(D, CLASSES)))


LOSSES: dict[str, Callable[..., nn.Module]] = {
    "softmax": lambda: losses.Softmax(D, CLASSES),
    "arcface": lambda **more: losses.ArcFace(D, CLASSES, scale=8, margin=0.3, **more),
    "curricularface": lambda **more: losses.CurricularFace(D, CLASSES, scale=8, margin=0.3, **more),
    "subcenter": lambda **more: losses.SubCenterArcFace(D, CLASSES, scale=8, margin=0.3, num_subcenters=3, **more),
    "adaface": lambda **more: losses.AdaFace(D, CLASSES, scale=8, **more),
    "elasticface": lambda **more: losses.ElasticFace(D, CLASSES, scale=8, std=0.1, **more),
    "triplet": lambda: losses.Triplet(mining="batch-hard"),
    "joint": joint,
    "mixed": mixed,
}
#: loss, normalisation, and class-parallel: the name of the weights in shards
CASES = {
    **{stem: (stem, "group", "") for stem in LOSSES},
    "arcface frozen": ("arcface", "frozen", ""),
    **{f"{stem} shards": (stem, "group", "weight") for stem in ("arcface", "curricularface", "subcenter", "adaface")},
    "arcface frozen shards": ("arcface", "frozen", "weight"),
    "mixed shards": ("mixed", "group", "parts.0.weight"),
}


class Killed(Exception):
    pass


def build(stem: str, norm: str, in_shards: str) -> tuple[nn.Module, nn.Module]:
    """Net and loss; in float64; a shard holds its rows of what one process starts with."""
    seed_everything(1)
    net = SmallFaceNet(D, width=2, norm=norm).double()
    loss = LOSSES[stem]().double()
    if not in_shards or not dist.is_initialized():
        return net, loss
    own = LOSSES[stem](process_group=dist.group.WORLD).double()
    first, end = shard(CLASSES, dist.group.WORLD)
    whole = loss.state_dict()
    k = len(whole[in_shards]) // CLASSES
    own.load_state_dict(whole | {in_shards: whole[in_shards][first * k : end * k]})
    return net, own


def train(case: str, checkpoint: Path | None = None, stop_after: int = 0) -> tuple[list[float], dict[str, Tensor]]:
    """The loss of each epoch, and everything learnt."""
    stem, _, _ = CASES[case]
    net, loss = build(*CASES[case])

    def on_epoch(epoch: int, record: dict[str, Any]) -> None:
        if epoch == stop_after + 1:
            raise Killed

    batches = PKBatches(4, 3) if stem == "triplet" else None
    records = fit(net, loss, image_set(), epochs=EPOCHS, batch_size=12, lr=1e-2, augment=ShiftAndGain(1), device="cpu",
                  batches=batches, checkpoint=checkpoint, on_epoch=on_epoch if stop_after else None)  # fmt: skip
    state = {f"net.{k}": v for k, v in net.state_dict().items()} | {
        f"loss.{k}": v for k, v in loss.state_dict().items()
    }
    return [record["loss"] for record in records], state


# ---- what the two processes do


def run_cases(folder: Path) -> None:
    for case in CASES:
        curve, state = train(case)
        (folder / f"{case}.{dist.get_rank()}.json").write_text(json.dumps(curve))
        save_file({k: v.contiguous() for k, v in state.items()}, folder / f"{case}.{dist.get_rank()}.safetensors")


def stop_and_resume(folder: Path) -> None:
    for case in ("arcface", "subcenter shards", "adaface shards"):
        path = folder / f"{case}.checkpoint"
        with pytest.raises(Killed):
            train(case, path, stop_after=2)
        curve, _ = train(case, path)
        (folder / f"{case} resumed.{dist.get_rank()}.json").write_text(json.dumps(curve))
        with pytest.raises(Killed):  # and once more, for one process to resume
            train(case, folder / f"{case}.for-one", stop_after=2)
    names = sorted(p.name for p in folder.iterdir() if p.suffix == ".part")
    assert names == []


def fail_together(folder: Path) -> None:
    rank = dist.get_rank()
    net, loss = build("softmax", "group", "")
    with pytest.raises(ValueError, match="batch_size: 7; expected a multiple of the number of processes, 2"):
        fit(net, loss, image_set(), epochs=1, batch_size=7, device="cpu")
    path = folder / "softmax.checkpoint"
    train("softmax", path)
    told = "lr: 0.01 there, 0.02 here" if rank == 0 else "rank 0 refused"
    with pytest.raises(ValueError, match=told):
        fit(net, loss, image_set(), epochs=EPOCHS, batch_size=12, lr=2e-2, augment=ShiftAndGain(1), device="cpu",
            checkpoint=path)  # fmt: skip
    with pytest.raises(ValueError, match="number of such files: 0 to 1, depending on the rank"):
        train("softmax", path if rank == 0 else folder / "elsewhere")
    with pytest.raises(OSError if rank == 0 else ValueError, match="cannot be written" if rank == 0 else "rank 0"):
        train("softmax", folder)
    with pytest.raises(ValueError, match="net: DistributedDataParallel; expected the net inside it"):
        fit(nn.parallel.DistributedDataParallel(net), loss, image_set(), epochs=1, batch_size=12, device="cpu")
    half = losses.Joint((1.0, LOSSES["arcface"](process_group=dist.group.WORLD)), (0.1, losses.Center(D, CLASSES)))
    with pytest.raises(ValueError, match="loss: Center is for 1 processes; expected"):
        fit(net, half, image_set(), epochs=1, batch_size=12, device="cpu")
    bad = image_set()
    bad.images = bad.images.double()  # not in memory as bytes: passes through a DataLoader
    bad.images[5] = torch.nan
    with pytest.raises(FloatingPointError, match="embeddings are not finite"):
        fit(*build("arcface", "group", ""), Floats(bad), epochs=1, batch_size=42, device="cpu")


class Floats:
    def __init__(self, data: ImageSet) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.data.images[index], int(self.data.labels[index])


def draw_apart(folder: Path) -> None:
    """Dropout differs between the ranks; start weights of rank 0 reach both; statistics of rank 0 stay."""
    masks: list[Tensor] = []
    torch.manual_seed(dist.get_rank())
    net = nn.Sequential(SmallFaceNet(D, width=2), nn.Dropout(0.5)).double()
    loss = losses.Softmax(D, CLASSES).double()
    net[1].register_forward_hook(lambda module, x, y: masks.append((y[0] == 0).detach()))
    fit(net, loss, image_set(), epochs=1, batch_size=12, device="cpu", progress=dist.get_rank() == 1)
    for mine, alike in ((torch.stack(masks), False), (net[0].layers[0][1].running_mean, True),
                        (net[0].layers[6].weight.detach(), True), (loss.weight.detach(), True)):  # fmt: skip
        others = [torch.empty_like(mine) for _ in range(WORLD)]
        dist.all_gather(others, mine.contiguous())
        assert torch.equal(others[0], others[1]) == alike


def half_precision_with_shards(folder: Path) -> None:
    """Where a shard's gradient overflows on one rank alone, neither takes the step."""
    seed_everything(0)
    net = SmallFaceNet(D, width=2, norm="group")
    head = losses.ArcFace(D, CLASSES, scale=8, process_group=dist.group.WORLD)
    calls = []
    if dist.get_rank() == 1:
        head.weight.register_hook(lambda gradient: gradient * (torch.inf if len(calls) == 10 else 1.0))
    seen: list[Tensor] = []

    def on_step(step: int, total: int) -> None:
        calls.append(step)
        seen.append(torch.cat([p.detach().flatten().clone() for p in (*net.parameters(), *head.parameters())]))

    fit(net, head, image_set(), epochs=2, batch_size=6, device="cpu", amp="fp16", on_step=on_step)
    assert not torch.equal(seen[8], seen[9])  # the loss scale has settled
    assert torch.equal(seen[9], seen[10])  # not stepped, on either rank
    assert not torch.equal(seen[10], seen[11])


def wait_for_the_first(folder: Path) -> None:
    """A run is there for every rank once `runs.train` returns, however long the first takes to write it."""
    write = runs.save_net

    def late(*arguments: Any) -> None:
        time.sleep(1)
        write(*arguments)

    few = "synthetic:identities=8,images_per_identity=6,cache=false"
    settings = runs.Settings(data=few, batch_size=16, width=2, dim=8, norm="group", epochs=1, eval_every=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "save_net", late)
        runs.train(folder / "run", settings, say=lambda text: None)
    assert isinstance(runs.load(folder / "run"), SmallFaceNet)


CHECKS = [run_cases, stop_and_resume, fail_together, draw_apart, half_precision_with_shards, wait_for_the_first]


def call(check: Callable[[Path], None], folder: Path) -> None:
    check(folder)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    ranks.run(CHECKS, WORLD, folder, call)
    return folder


@pytest.mark.parametrize("check", [check.__name__ for check in CHECKS])
def test_two_processes(outcomes: Path, check: str) -> None:
    assert ranks.outcome(outcomes, check, WORLD) == []


@pytest.mark.parametrize("case", CASES)
def test_two_processes_walk_the_path_of_one(outcomes: Path, case: str) -> None:
    curve, state = train(case)
    assert abs(curve[-1] - curve[0]) > 1e-3  # it is a path
    for rank in range(WORLD):
        assert json.loads((outcomes / f"{case}.{rank}.json").read_text()) == pytest.approx(curve, rel=1e-9)
        found = load_file(outcomes / f"{case}.{rank}.safetensors")
        if name := CASES[case][2]:
            parts = [load_file(outcomes / f"{case}.{r}.safetensors")[f"loss.{name}"] for r in range(WORLD)]
            assert len(parts[0]) > len(parts[1])
            found[f"loss.{name}"] = torch.cat(parts)
        assert found.keys() == state.keys()
        for key, value in state.items():
            torch.testing.assert_close(found[key], value, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("case", ["arcface", "subcenter shards", "adaface shards"])
def test_two_processes_resume_and_one_process_resumes_what_two_began(outcomes: Path, case: str) -> None:
    curve, state = train(case)
    for rank in range(WORLD):
        resumed = json.loads((outcomes / f"{case} resumed.{rank}.json").read_text())
        assert resumed == pytest.approx(curve, rel=1e-9)
    alone, found = train(case, outcomes / f"{case}.for-one")
    assert alone == pytest.approx(curve, rel=1e-9)
    for key, value in state.items():
        torch.testing.assert_close(found[key], value, rtol=1e-7, atol=1e-9)


def fail_alone(rank: int, port: int, folder: Path) -> None:
    ranks.join(rank, WORLD, port)
    ended = folder / str(rank)

    def on_step(step: int, total: int) -> None:
        ended.write_text(str(time.time()))
        if step == 2 and rank == 1:
            raise KeyError("no such page")

    try:
        fit(*build("arcface", "group", "weight"), image_set(), epochs=1, batch_size=12, device="cpu", on_step=on_step)
    except Exception as error:
        ended.write_text(f"{time.time() - float(ended.read_text()):.0f} {type(error).__name__}: {error}")
        raise


def test_a_rank_that_fails_alone_ends_its_group_with_its_own_error(tmp_path: Path) -> None:
    spawned = mp.spawn(fail_alone, (ranks.free_port(), tmp_path), nprocs=WORLD, join=False)
    for process in spawned.processes:  # nobody ends the others, as torchrun would
        process.join(120)
    assert [process.exitcode for process in spawned.processes] == [1, 1]
    (waited, first), (_, second) = ((tmp_path / str(rank)).read_text().split(" ", 1) for rank in range(WORLD))
    assert second == "KeyError: 'no such page'"
    assert first == f"OtherRank: rank 1 failed: {second}"
    assert int(waited) < 60  # two seconds where the cores are free


def test_one_process_needs_no_group() -> None:
    assert distributed.rank() == 0
    distributed.start()  # not started by torchrun: nothing happens
    assert not dist.is_initialized()
    alone = distributed.Ranks(nn.Identity(), nn.Identity())
    assert (alone.rank, alone.size, alone.shards) == (0, 1, {})
