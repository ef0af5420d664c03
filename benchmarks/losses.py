"""Speed of the angular heads beside the bare matrix products they cannot do without.

    python benchmarks/losses.py [--classes 10000 50000] [--batch 256] [--dim 512] [--rounds 9] [--stems arcface ...]

One step is forward plus backward with gradients to embeddings and weights. Contenders of one round run one after the
other in shuffled order; a ratio is taken within its round, and the median of the ratios is shown with its quartiles.

    gemm4    the floor: the four matrix products of the recompute scheme, in tiles of classes, nothing else
    dense    this package with tile=None: the (B, C) matrix as autograd keeps it
    torch    ArcFace as short as dense PyTorch allows: margin on the B targets, one scatter, F.cross_entropy
    pml      pytorch-metric-learning's ArcFaceLoss, where it is installed
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facelearn import losses
from facelearn.losses.tiles import TILE

HEADS = ("arcface", "curricularface", "mv_softmax", "npcface")


class LeanTorch(nn.Module):
    """What a careful engineer writes by hand."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, dim))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        cos = F.linear(F.normalize(x), F.normalize(self.weight))
        own = cos.gather(1, y[:, None]).clamp(-1, 1)
        target = own * 0.87758256 - (1 - own * own).clamp(min=1e-7).sqrt() * 0.47942554
        return F.cross_entropy(64 * cos.scatter(1, y[:, None], target), y)


class Gemm4(nn.Module):
    """Cosines forward, cosines again, gradient to the embeddings, gradient to the weights."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, dim))

    @torch.no_grad()
    def step(self, x: Tensor) -> None:
        dx, dW = torch.zeros_like(x), torch.empty_like(self.weight)
        size = max(1, TILE // len(x))
        for low in range(0, len(self.weight), size):
            x @ self.weight[low : low + size].T
        for low in range(0, len(self.weight), size):
            W = self.weight[low : low + size]
            c = x @ W.T
            dx.addmm_(c, W)
            torch.mm(c.T, x, out=dW[low : low + size])


def contenders(stems: list[str], dim: int, classes: int) -> dict[str, nn.Module]:
    made: dict[str, nn.Module] = {"gemm4": Gemm4(dim, classes)}
    for stem in stems:
        made[stem] = losses.get(stem, dim, classes)
        made[f"{stem} dense"] = losses.get(stem, dim, classes, tile=None)
    made["torch"] = LeanTorch(dim, classes)
    try:
        from pytorch_metric_learning.losses import ArcFaceLoss  # type: ignore[import-not-found]

        made["pml"] = ArcFaceLoss(classes, dim)
    except ImportError:
        pass
    return made


def seconds(module: nn.Module, x: Tensor, y: Tensor, wait: Callable[[], None]) -> float:
    module.zero_grad(set_to_none=True)
    wait()
    began = time.perf_counter()
    if isinstance(module, Gemm4):
        module.step(x)
    else:
        leaf = x.detach().requires_grad_()
        module(leaf, y).backward()
    wait()
    return time.perf_counter() - began


def measure(classes: int, options: argparse.Namespace) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    wait = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    torch.manual_seed(0)
    x = torch.randn(options.batch, options.dim, device=device)
    y = torch.randint(classes, (options.batch,), device=device)
    modules = {name: module.to(device) for name, module in contenders(options.stems, options.dim, classes).items()}
    for module in modules.values():
        seconds(module, x, y, wait)
    rounds: list[dict[str, float]] = []
    for _ in range(options.rounds):
        order = list(modules)
        random.shuffle(order)
        rounds.append({name: seconds(modules[name], x, y, wait) for name in order})
    print(f"\nC = {classes:,}  (times gemm4: median, quartiles; milliseconds: median)")
    for name in modules:
        ratios = [r[name] / r["gemm4"] for r in rounds]
        low, middle, high = statistics.quantiles(ratios, n=4)
        own = 1e3 * statistics.median(r[name] for r in rounds)
        print(f"  {name:22s} {middle:5.2f}  [{low:.2f}, {high:.2f}]  {own:8.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--classes", type=int, nargs="+", default=[10_000, 50_000])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--stems", nargs="+", default=list(HEADS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    where = (
        torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, 1 thread, load {os.getloadavg()[0]:.1f}"
    )
    print(f"B = {options.batch}, d = {options.dim}, float32, {where}, {options.rounds} rounds")
    for classes in options.classes:
        measure(classes, options)


if __name__ == "__main__":
    main()
