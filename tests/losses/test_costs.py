"""What a step is said to cost is what steps cost: bytes of live tensors, resident memory, messages, products."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from experiments import scale
from torch.utils.flop_counter import FlopCounterMode

from facelearn.losses import NormFace, step_costs

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("optimizer", ["SGD", "momentum", "AdamW"])
@pytest.mark.parametrize(
    ("classes", "dim", "batch", "options", "off"),
    [
        (10_000, 64, 128, {"tile": None}, 0.03),  # five matrices of logits
        (10_000, 128, 32, {"tile": None}, 0.03),  # four of weights
        (20_000, 64, 128, {}, 0.04),  # tiles that are kept
        (40_000, 64, 128, {}, 0.04),  # and that are not
        (40_000, 64, 128, {"sample_rate": 0.1}, 0.04),
        (40_000, 64, 128, {"sample_rate": 0.4}, 0.15),
    ],
)
def test_peak_of_live_tensors(classes, dim, batch, options, off, optimizer):
    found = scale.measured(classes, dim, batch, optimizer=optimizer, **options)
    said = step_costs(classes, dim, batch, optimizer=optimizer, **options).memory
    assert said == pytest.approx(found, rel=off)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="resident peaks are read from /proc")
@pytest.mark.parametrize(("name", "tile"), [("normface dense", None), ("normface", "auto")])
def test_peak_of_resident_memory(name, tile):
    """As benchmarks/memory.py finds it, in a fresh process: the head alone, without an optimiser's step.

    Tensors above 32 MB: what is smaller glibc keeps in a heap with holes.
    """
    command = [sys.executable, str(ROOT / "benchmarks" / "memory.py"), "--classes=80000", "--dim=128", "--batch=128",
               "--steps=2", "--inside", name]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    weights, *beyond = (int(word) for word in done.stdout.split())
    found = 2 * weights + beyond[-1]
    assert step_costs(80_000, 128, 128, tile=tile, optimizer="SGD").memory == pytest.approx(found, rel=0.15)


@pytest.mark.parametrize(("classes", "tile"), [(3_000, None), (20_000, "auto"), (60_000, "auto")])
def test_products(classes, tile):
    head, x = NormFace(32, classes, tile=tile), torch.randn(128, 32, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        head(x, torch.arange(128)).backward()
    missed = 0 if tile is None else 2 * 128 * classes * 32  # torch's counter passes over `addmm_`
    assert step_costs(classes, 32, 128, tile=tile).flop == counter.get_total_flops() + missed


def test_messages(tmp_path, monkeypatch):
    """What a rank sends, counted in a group of one, whose batch is that of all."""
    sent: list[int] = []

    def counted(name: str) -> Any:
        plain = getattr(dist, name)

        def act(first: Any, *more: Any, **options: Any) -> Any:
            message = more[0] if name == "all_gather" else first
            sent.append(message.nbytes if message.is_floating_point() else 0)
            return plain(first, *more, **options)

        return act

    dist.init_process_group("gloo", store=dist.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1)
    try:
        head = NormFace(16, 300, process_group=dist.group.WORLD)
        for name in ("all_reduce", "all_gather"):
            monkeypatch.setattr(dist, name, counted(name))
        head(torch.randn(24, 16, requires_grad=True), torch.arange(24)).backward()
    finally:
        dist.destroy_process_group()
    d, B, ranks = 16, 24, 2
    a_rank = step_costs(300, d, B, ranks=ranks).sent
    one = step_costs(300, d, B, ranks=1).sent
    assert one == 0
    assert a_rank == 4 * (B * d + 6 * ranks * B + ranks * B * d)
    assert sum(sent) == 4 * (B * d + 6 * B + B * d)  # the same formula, for a single rank


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(ValueError, match="optimizer='Adam': expected one of SGD, momentum, AdamW"):
        step_costs(1000, optimizer="Adam")


def test_more_ranks_do_not_shrink_the_logits():
    one, eight = (step_costs(1_000_000, 512, 1024, tile=None, ranks=ranks) for ranks in (1, 8))
    assert eight.weights == one.weights // 8
    assert eight.scratch > 0.75 * one.scratch
