"""Verification against scikit-learn on the same scores: time and peak memory.

    python benchmarks/verification.py                    10^6 scores
    python benchmarks/verification.py 10000000           10^7 scores
    python benchmarks/verification.py --decimals 4       most scores tied
    python benchmarks/verification.py --before FOLDER    beside the package in another checkout, and nothing else

Two tasks: the ROC alone, with every point (`roc_curve(drop_intermediate=False)`), and the ROC with the numbers of an
evaluation (ours: AUC, EER and one TAR@FAR; scikit-learn: `roc_auc_score`). Rounds are interleaved in shuffled order,
times are CPU seconds, the ratio is taken within a round, and medians are printed. Peak memory is what a fresh process
needs beyond the scores.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from rounds import before_and_after, of_checkout
from sklearn.metrics import roc_auc_score, roc_curve

from facelearn import verification

Task = Callable[..., float]  # of scores and whether they are of one person


def make_scores(n: int, decimals: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    same = rng.random(n) < 0.5
    return np.round(rng.normal(size=n) * 0.1 + 0.2 * same, decimals), same


def result(scores: np.ndarray, same: np.ndarray, package: ModuleType = verification) -> verification.VerificationResult:
    folds = np.empty(0, np.int64)
    return package.VerificationResult(scores, same, np.empty((0, 2), np.int64), None, folds)


def our_roc(scores: np.ndarray, same: np.ndarray, package: ModuleType = verification) -> float:
    return float(result(scores, same, package).roc.tar.sum())


def sklearn_roc(scores: np.ndarray, same: np.ndarray) -> float:
    _, tar, _ = roc_curve(same, scores, drop_intermediate=False)
    return float(tar.sum())


def our_evaluation(scores: np.ndarray, same: np.ndarray, package: ModuleType = verification) -> float:
    found = result(scores, same, package)
    _ = found.roc, found.eer, found.tar_at(1e-3)
    return found.auc


def sklearn_evaluation(scores: np.ndarray, same: np.ndarray) -> float:
    roc_curve(same, scores, drop_intermediate=False)
    return float(roc_auc_score(same, scores))


TASKS: dict[str, tuple[Task, Task]] = {
    "ROC": (our_roc, sklearn_roc),
    "ROC and numbers": (our_evaluation, sklearn_evaluation),
}
SIDES = ("ours", "sklearn")


def resident(field: str) -> float:
    """A memory field of this process in MB (Linux)."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) / 1024


def peak_megabytes(task: str, side: str, n: int, decimals: int) -> float:
    """Peak resident memory of a fresh process beyond what it holds with the scores loaded."""
    command = [sys.executable, __file__, str(n), "--decimals", str(decimals), "--peak", task, side]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_peak(task: str, side: str, scores: np.ndarray, same: np.ndarray) -> None:
    for contender in TASKS[task]:  # imports and first-call costs, at a tiny size
        contender(scores[:50_000], same[:50_000])
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is that of making the scores: forget it
    TASKS[task][SIDES.index(side)](scores, same)
    print(resident("VmHWM") - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--decimals", type=int, default=12, help="scores are rounded to so many")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--before", metavar="FOLDER", help="a checkout of facelearn to compare with")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    scores, same = make_scores(args.scores, args.decimals)
    if args.peak:
        print_peak(*args.peak, scores, same)
        return
    if args.before:
        old = of_checkout(args.before, "facelearn.verification")
        ours = {name: both[0] for name, both in TASKS.items()}
        before_and_after({name: (partial(task, scores, same), partial(task, scores, same, old))
                          for name, task in ours.items()}, args.rounds)  # fmt: skip
        return
    print(f"{len(scores):,} scores, {len(np.unique(scores)):,} distinct; ", end="")
    print(f"{args.rounds} rounds, load {os.getloadavg()[0]:.1f}, one thread")
    print("| task | ours s | sklearn s | sklearn / ours (lowest, highest) | ours MB | sklearn MB |")
    print("|---|---|---|---|---|---|")
    for task, contenders in TASKS.items():
        seconds: dict[str, list[float]] = {side: [] for side in SIDES}
        values = {}
        for _ in range(args.rounds):
            for side, contender in random.sample(list(zip(SIDES, contenders, strict=True)), 2):
                start = time.process_time()
                values[side] = contender(scores, same)
                seconds[side].append(time.process_time() - start)
        assert abs(values["ours"] / values["sklearn"] - 1) < 1e-9, values
        ratios = [s / o for s, o in zip(seconds["sklearn"], seconds["ours"], strict=True)]
        medians = " | ".join(f"{statistics.median(seconds[side]):.2f}" for side in SIDES)
        spread = f"{statistics.median(ratios):.1f} ({min(ratios):.1f}, {max(ratios):.1f})"
        peaks = " | ".join(f"{peak_megabytes(task, side, args.scores, args.decimals):,.0f}" for side in SIDES)
        print(f"| {task} | {medians} | {spread} | {peaks} |", flush=True)


if __name__ == "__main__":
    main()
