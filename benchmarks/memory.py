"""Memory of the angular heads: the peak of a step beyond weights, inputs and `weight.grad`, and whether it grows.

    python benchmarks/memory.py [--classes 50000] [--stems all] [--steps 20]

A fresh process for each head (see `rounds.py`). Given in units of the class weights, W = C · d floats. Prints Markdown.
"""

from __future__ import annotations

import argparse

import torch
from heads import ABSENT, STEMS, TARGET_ONLY, ArcFaceLoss, make, step
from rounds import DEVICE, MEGABYTE, fresh, peaks, place, table

DEFAULT = ("arcface", "curricularface", "npcface", "subcenter_arcface")
OTHERS = ("arcface dense", "lean", "insightface", "pml")


def inside(name: str, options: argparse.Namespace) -> None:
    """In the fresh process: the size of W, then the peak after every step, bytes."""
    torch.manual_seed(0)
    x = torch.randn(options.batch, options.dim, device=DEVICE)
    tiny = make(name, options.dim, 64).to(DEVICE)
    if name in STEMS:
        tiny.tile = 16  # the code that will run, loaded
    for _ in range(2):
        step(tiny, x, torch.arange(len(x), device=DEVICE) % 64)
    head = make(name, options.dim, options.classes).to(DEVICE)
    y = torch.randint(options.classes, (options.batch,), device=DEVICE)
    W = sum(p.nbytes for p in head.parameters())
    gradients = W + x.nbytes
    print(W, *(peak - gradients for peak in peaks(lambda: step(head, x, y), options.steps)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=50_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--stems", nargs="+", default=list(DEFAULT), help='stems, or "all"')
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.inside:
        inside(options.inside, options)
        return
    print(f"## Memory of the heads\n\nC = {options.classes:,}, B = {options.batch}, d = {options.dim}; {place()}\n")
    if ArcFaceLoss is None:
        print(ABSENT + "\n")
    stems = STEMS if options.stems == ["all"] else options.stems
    rows = []
    for name in (*stems, *(other for other in OTHERS if other != "pml" or ArcFaceLoss)):
        settings = [f"--{key}={getattr(options, key)}" for key in ("classes", "batch", "dim", "steps")]
        W, *after = fresh(__file__, *settings, "--inside", name)
        second, last = after[min(1, len(after) - 1)] / W, after[-1] / W
        wanted = None if name in OTHERS else 0.15 if name in TARGET_ONLY else 0.25
        met = "" if wanted is None else "met" if last <= wanted and last - second <= 0.1 else "MISSED"
        shown = "" if wanted is None else f"≤ {wanted}"
        rows.append((name, f"{last:.2f}", f"{last * W / MEGABYTE:.0f}", f"{last - second:+.3f}", shown, met))
    growth = f"growth, step 2 to {options.steps}, × W"
    table(["", "peak beyond weight.grad, × W", "MB", growth, "wanted", ""], rows)


if __name__ == "__main__":
    main()
