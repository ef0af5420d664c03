"""Speed and memory of the pair losses beside pytorch-metric-learning, at equal formula and settings.

    python benchmarks/pairs.py [--batch 1024 4096] [--losses circle ...] [--rounds 5] [--all-triplets-of-pml]
    python benchmarks/pairs.py --before FOLDER     # each loss beside itself in another checkout, and nothing else

A batch is B / 4 classes of 4 samples, d = 512, float32. That both give the same value is checked first. How things are
timed stands in `rounds.py`; peak memory is what a step needs beyond embeddings and their gradient, in a fresh process,
in units of B · B floats. Prints Markdown.

Where a default of pytorch-metric-learning is another formula, it is set to the paper's: squared distances for triplets
and the mean over all terms; its contrastive loss gets squared hinges, halves, and the mean over all pairs. Its list of
all triplets at B = 4096 takes several GB and is left out unless asked for.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from types import ModuleType

import torch
from rounds import DEVICE, Step, before_and_after, fresh, of_checkout, peaks, place, race, ratio, table
from torch import Tensor

from facelearn import losses

Call = Callable[[Tensor, Tensor], Tensor]

OURS: dict[str, Callable[[ModuleType], Call]] = {
    "batch-hard": lambda package: package.Triplet(mining="batch-hard"),
    "all triplets": lambda package: package.Triplet(),
    "contrastive": lambda package: package.Contrastive(normalize=True),
    "circle": lambda package: package.Circle(gamma=80.0, margin=0.4),
    "supcon": lambda package: package.SupCon(),
}
#: how many times as quick as pytorch-metric-learning
GOALS = {"batch-hard": 2.5, "contrastive": 1.0, "circle": 2.5}
MOST_MEMORY = 2.0  # B · B floats
PER_CLASS, DIM = 4, 512
BOTH = ("ours", "pml")


def theirs(name: str) -> Call:
    from pytorch_metric_learning import distances, miners, reducers  # type: ignore[import-not-found]
    from pytorch_metric_learning import losses as pml

    squared, mean = distances.LpDistance(power=2), reducers.MeanReducer()

    class Paper(pml.ContrastiveLoss):  # type: ignore[misc]
        def get_per_pair_loss(self, distance: Tensor, kind: str) -> Tensor:
            hinge = distance if kind == "pos" else (1 - distance).clamp(min=0)
            pairs = len(distance) + self.other[kind]
            return hinge.square() / 2 * (len(distance) / pairs)  # the reducer divides by len(distance)

    if name == "batch-hard":
        miner = miners.BatchHardMiner(distance=squared)
        triplet = pml.TripletMarginLoss(margin=0.2, distance=squared, reducer=mean)
        return lambda x, y: triplet(x, y, miner(x, y))
    if name == "all triplets":
        return pml.TripletMarginLoss(margin=0.2, distance=squared, reducer=mean)
    if name == "contrastive":
        paper = Paper(distance=distances.LpDistance(), reducer=mean)

        def contrastive(x: Tensor, y: Tensor) -> Tensor:
            positives = len(y) * (PER_CLASS - 1)
            paper.other = {"pos": len(y) * (len(y) - PER_CLASS), "neg": positives}
            return paper(x, y)

        return contrastive
    if name == "circle":
        return pml.CircleLoss(m=0.4, gamma=80, reducer=mean)
    return pml.SupConLoss(temperature=0.1, reducer=mean)


def make(side: str, name: str) -> Call:
    return OURS[name](losses) if side == "ours" else theirs(name)


def batch(size: int) -> tuple[Tensor, Tensor]:
    """Classes with a centre each, overlapping."""
    g = torch.Generator().manual_seed(0)
    centres = torch.randn(size // PER_CLASS, DIM, generator=g).repeat_interleave(PER_CLASS, 0)
    x = centres + 2 * torch.randn(size, DIM, generator=g)
    return x.to(DEVICE).requires_grad_(), (torch.arange(size) // PER_CLASS).to(DEVICE)


def step(loss: Call, x: Tensor, y: Tensor) -> None:
    x.grad = None
    loss(x, y).backward()


def inside(side: str, name: str, size: int) -> None:
    """In the fresh process: the peak of a step beyond the gradient, bytes."""
    loss = make(side, name)
    for _ in range(2):
        step(loss, *batch(256))
    x, y = batch(size)
    print(max(peaks(lambda: step(loss, x, y), 2)) - x.nbytes)


def compare(size: int, options: argparse.Namespace, sides: list[str]) -> None:
    print(f"### B = {size:,}\n\n{place()}, {options.rounds} rounds\n")
    x, y = batch(size)
    rows, goals = [], []
    for name in options.losses:
        calls = {side: make(side, name) for side in sides if side == "ours" or fits(name, size, options)}
        values = [float(loss(x, y).detach()) for loss in calls.values()]
        if max(values) - min(values) > 1e-5 * abs(values[0]):
            raise AssertionError(f"{name}: {values}: not the same formula")
        times = race({side: lambda loss=loss: step(loss, x, y) for side, loss in calls.items()}, options.rounds)
        peak = {side: fresh(__file__, "--inside", side, name, size)[0] / (4 * size * size) for side in calls}
        quicker = ratio(times["pml"].process, times["ours"].process) if "pml" in calls else None
        milliseconds = (f"{1e3 * min(times[side].wall):.0f}" if side in calls else "not run" for side in BOTH)
        memory = (f"{peak[side]:.2f}" if side in calls else "" for side in BOTH)
        rows.append((name, quicker or "", *milliseconds, *memory))
        if name in GOALS and quicker:
            least, found = GOALS[name], quicker.median
            goals.append((f"{name}: times as quick", f"≥ {least}", f"{found:.2f}", verdict(found >= least)))
        found = peak["ours"]
        goals.append((f"{name}: peak, B·B floats", f"≤ {MOST_MEMORY}", f"{found:.2f}", verdict(found <= MOST_MEMORY)))
    ratios = "pml / ours, process time: median [quartiles] (min/min)"
    table(["", ratios, "ours, ms", "pml, ms", "ours, peak in B·B", "pml, peak"], rows)
    table(["goal", "wanted", "found", ""], goals)


def beside(before: ModuleType, size: int, options: argparse.Namespace) -> None:
    """Time, after and before a change."""
    print(f"### B = {size:,}\n")
    x, y = batch(size)

    def steps(name: str, package: ModuleType) -> Step:
        loss = OURS[name](package)
        return lambda: step(loss, x, y)

    pairs = {name: (steps(name, losses), steps(name, before)) for name in options.losses}
    before_and_after(pairs, options.rounds)


def verdict(met: bool) -> str:
    return "met" if met else "MISSED"


def fits(name: str, size: int, options: argparse.Namespace) -> bool:
    return name != "all triplets" or size <= 1024 or options.all_triplets_of_pml


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--losses", nargs="+", choices=OURS, default=list(OURS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--all-triplets-of-pml", action="store_true")
    parser.add_argument("--before", metavar="FOLDER", help="a checkout of facelearn to compare with")
    parser.add_argument("--inside", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.inside:
        side, name, size = options.inside
        inside(side, name, int(size))
        return
    print("## Pair losses\n")
    if options.before:
        before = of_checkout(options.before, "facelearn.losses")
        for size in options.batch:
            beside(before, size, options)
        return
    sides = list(BOTH)
    try:
        theirs("circle")
    except ImportError:
        print("pytorch-metric-learning is absent: pip install --no-deps pytorch-metric-learning==2.9.0\n")
        sides = ["ours"]
    for size in options.batch:
        compare(size, options, sides)


if __name__ == "__main__":
    main()
