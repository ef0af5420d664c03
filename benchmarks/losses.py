"""Speed of the angular heads beside the bare matrix products they cannot do without, and beside other libraries.

    python benchmarks/losses.py [--classes 10000 50000] [--stems arcface ...] [--rounds 9] [--keep-memory]
    python benchmarks/losses.py --before FOLDER     # each head beside itself in another checkout, and nothing else

One step is forward plus backward with gradients to embeddings and weights, in float32; how it is timed stands in
`rounds.py`. Prints Markdown.

    gemm4          the floor: the four matrix products of the recompute scheme, in tiles of classes, nothing else
    <stem>         this package as it comes, tile="auto"
    <stem> dense   this package with tile=None: the (B, C) matrix as autograd keeps it
    lean           ArcFace as short as dense PyTorch allows: margin on the B targets, one scatter, F.cross_entropy
    insightface    the same with the margin as a constant, as insightface's arcface_torch trains it
    pml            pytorch-metric-learning's ArcFaceLoss, where it is installed

FOLDER is what `git worktree add FOLDER COMMIT` makes. There each row comes as soon as it is measured: `--stems` and
`--forms` do it in parts.

With `--keep-memory` glibc keeps what is freed instead of handing it back, which the dense forms gain most from.
"""

from __future__ import annotations

import argparse
from types import ModuleType

import torch
from heads import ABSENT, STEMS, ArcFaceLoss, make, step
from rounds import DEVICE, Step, Times, before_and_after, keep_freed_memory, of_checkout, place, race, ratio, table
from torch import nn

from facelearn import losses

DEFAULT = ("arcface", "curricularface", "mv_softmax", "npcface")
FORMS = ("tiled", "dense")
#: (C, at least this many times as quick as the quickest of the others)
AGAINST_OTHERS = {10_000: 1.4, 50_000: 2.0, 200_000: 3.0}


def measure(classes: int, options: argparse.Namespace) -> None:
    torch.manual_seed(0)
    x = torch.randn(options.batch, options.dim, device=DEVICE)
    y = torch.randint(classes, (options.batch,), device=DEVICE)
    weight = nn.Parameter(torch.randn(classes, options.dim, device=DEVICE))
    own = [f"{stem} {form}".removesuffix(" tiled") for stem in options.stems for form in options.forms]
    own = [name for name in own if classes <= 100_000 or not name.endswith(" dense")]

    def run(head: nn.Module) -> None:
        step(head, x, y)
        weight.grad = None  # shared: the next one is not to find it

    def steps(name: str, losses: ModuleType = losses) -> Step:
        head = make(name, options.dim, classes, weight, losses).to(DEVICE)
        return lambda: run(head)

    print(f"### C = {classes:,}, B = {options.batch}, d = {options.dim}\n")
    if options.before:
        old = of_checkout(options.before, "facelearn.losses")
        before_and_after({name: (steps(name), steps(name, old)) for name in own}, options.rounds)
        return
    others = ["lean", "insightface", *(["pml"] if ArcFaceLoss else [])]
    times = race({name: steps(name) for name in ("gemm4", *own, *others)}, options.rounds)
    show(options, times)
    goals(classes, options, times, others)


def show(options: argparse.Namespace, times: dict[str, Times]) -> None:
    print(f"{place()}, {options.rounds} rounds\n")
    floor = times["gemm4"]
    rows = []
    for name, own in times.items():
        wall = ratio(own.wall, floor.wall).median
        rows.append((name, ratio(own.process, floor.process), f"{wall:.2f}", f"{1e3 * min(own.wall):.0f}"))
    table(["", "× gemm4, process time: median [quartiles] (min/min)", "wall time", "ms, quickest step"], rows)


def goals(classes: int, options: argparse.Namespace, times: dict[str, Times], others: list[str]) -> None:
    rows = []
    for stem in options.stems:
        most = 1.5 if stem == "arcface" else 1.9
        found = ratio(times[stem].process, times["gemm4"].process).median
        rows.append((f"{stem} / gemm4", f"≤ {most}", f"{found:.2f}", verdict(found <= most)))
    if "arcface" in options.stems and classes in AGAINST_OTHERS:
        by_name = {name: ratio(times[name].process, times["arcface"].process).median for name in others}
        name, found = min(by_name.items(), key=lambda item: item[1])
        least = AGAINST_OTHERS[classes]
        rows.append((f"quickest other ({name}) / arcface", f"≥ {least}", f"{found:.2f}", verdict(found >= least)))
    table(["goal", "wanted", "found", ""], rows)


def verdict(met: bool) -> str:
    return "met" if met else "MISSED"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, nargs="+", default=[10_000, 50_000])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--stems", nargs="+", choices=STEMS, default=list(DEFAULT))
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--keep-memory", action="store_true", help="glibc keeps freed memory")
    parser.add_argument("--before", metavar="FOLDER", help="a checkout of facelearn to compare with")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("## Speed of the heads" + (", freed memory kept" if options.keep_memory else "") + "\n")
    if options.keep_memory:
        keep_freed_memory()
    if ArcFaceLoss is None and not options.before:
        print(ABSENT + "\n")
    for classes in options.classes:
        measure(classes, options)


if __name__ == "__main__":
    main()
