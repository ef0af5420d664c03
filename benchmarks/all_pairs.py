"""All pairs without their list: `evaluate_all_pairs` beside listing them, the bare product, and scikit-learn.

    python benchmarks/all_pairs.py                                    N = 12,000, d = 128; scikit-learn at N = 4,000
    python benchmarks/all_pairs.py --images 100000 --dim 512 --rounds 1    5e9 pairs: beside the bare product alone

The bare product is the float32 product of the embeddings in the same tiles, pairs i < j, and nothing else. Listing is
`all_pairs` and `evaluate_pairs` with the same numbers read off. scikit-learn's `roc_curve` is given the scores. People
have ten images each. See `rounds.py` for how it is measured; the peaks are beyond the embeddings. Prints Markdown.
"""

from __future__ import annotations

import argparse
from functools import partial
from statistics import median

import numpy as np
import torch
from rounds import MEGABYTE, Step, Times, fresh, once, peaks, place, race, ratio, table
from sklearn.metrics import roc_curve

from facelearn.verification import all_pairs, evaluate_all_pairs, evaluate_pairs, score_pairs
from facelearn.verification.sweep import SIDE

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
LISTED = 20_000  # images whose pairs can be listed, in some 9 GB


def people(images: int, dim: int) -> tuple[torch.Tensor, np.ndarray]:
    """Ten images of each person; an EER of a few per cent."""
    generator = torch.Generator().manual_seed(0)
    labels = np.arange(images) // 10
    centres = torch.randn(labels[-1] + 1, dim, generator=generator)
    return centres[labels] + 14 * dim**-0.4 * torch.randn(images, dim, generator=generator), labels


def product(x: torch.Tensor) -> None:
    spans = [slice(start, start + SIDE) for start in range(0, len(x), SIDE)]
    buffer = torch.empty(SIDE * SIDE)
    for number, a in enumerate(spans):
        for b in spans[number:]:
            shape = len(x[a]), len(x[b])
            torch.mm(x[a], x[b].T, out=buffer[: shape[0] * shape[1]].view(shape))


def ours(x: torch.Tensor, labels: np.ndarray) -> list[float]:
    found = evaluate_all_pairs(x, labels, far=FARS)
    return [found.auc, found.eer, *map(found.tar_at, FARS)]


def listed(x: torch.Tensor, labels: np.ndarray) -> list[float]:
    found = evaluate_pairs(x, *all_pairs(labels), identities=labels)
    return [found.auc, found.eer, *map(found.tar_at, FARS)]


def of_sklearn(same: np.ndarray, scores: np.ndarray) -> None:
    roc_curve(same, scores, drop_intermediate=False)


def beside(steps: dict[str, Step], rounds: int, wanted: dict[str, float], memory: dict[str, str]) -> None:
    """Time of ours over that of each contender; the most that is wanted."""
    if rounds > 1:
        times = race(steps, rounds)
    else:  # minutes each: once, without warming up
        times = {name: Times(*([seconds] for seconds in once(step))) for name, step in steps.items()}
    rows = []
    for name in steps:
        found = ratio(times["ours"].process, times[name].process)
        met = "" if name not in wanted else "met" if found.median <= wanted[name] else "MISSED"
        goal = f"≤ {wanted[name]:.3g}" if name in wanted else ""
        rows.append((name, f"{median(times[name].process):.2f}", found, goal, met, memory.get(name, "")))
    table(["", "process time, s", "ours / it: median [quartiles] (min/min)", "wanted", "", "peak, MB"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=12_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    x, labels = people(args.images, args.dim)
    contenders = {"ours": ours, "listed": listed} if args.images <= LISTED else {"ours": ours}
    if args.peak:
        contenders[args.peak](*people(600, args.dim))
        print(*peaks(partial(contenders[args.peak], x, labels), 1))
        return
    print(f"## All pairs\n\nN = {args.images:,}, d = {args.dim}; {place()}, {args.rounds} rounds\n")
    sizes = f"--images={args.images}", f"--dim={args.dim}"
    steps: dict[str, Step] = {name: partial(contender, x, labels) for name, contender in contenders.items()}
    memory: dict[str, str] = {}
    if args.rounds > 1:
        memory = {name: f"{fresh(__file__, *sizes, '--peak', name)[0] / MEGABYTE:.0f}" for name in contenders}
    else:
        steps["ours"] = lambda: memory.update(ours=f"{peaks(partial(ours, x, labels), 1)[0] / MEGABYTE:.0f}")
    wanted = {"listed": 1 / 8, "product": 4.0 if args.dim < 512 else 2.0}
    beside(steps | {"product": partial(product, x)}, args.rounds, wanted, memory)
    if args.images <= LISTED:
        x, labels = people(4000, args.dim)
        pairs, same = all_pairs(labels)
        scores = score_pairs(x, pairs)
        print("scikit-learn's `roc_curve` on the scores of N = 4,000, which it is given:\n")
        sklearn = {"ours": partial(ours, x, labels), "roc_curve": partial(of_sklearn, same, scores)}
        beside(sklearn, args.rounds, {"roc_curve": 1 / 10}, {})


if __name__ == "__main__":
    main()
