"""Verification against scikit-learn on the same scores: time and peak memory.

    python benchmarks/verification.py              10^6 scores
    python benchmarks/verification.py 10000000     10^7 scores

Both compute the full ROC and the AUC (ours also EER and one TAR@FAR). Rounds are interleaved in shuffled order, the
ratio is taken within a round, and medians are printed. Peak memory is what a fresh process needs beyond the scores.
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
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

from facelearn.verification import VerificationResult


def make_scores(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    same = rng.random(n) < 0.5
    return np.round(rng.normal(size=n) * 0.1 + 0.2 * same, 12), same


def ours(scores: np.ndarray, same: np.ndarray) -> float:
    none = np.empty((0, 2), np.int64)
    result = VerificationResult(scores, same, none, None, np.empty(0, np.int64))
    _ = result.roc, result.eer, result.tar_at(1e-3)
    return result.auc


def sklearn(scores: np.ndarray, same: np.ndarray) -> float:
    roc_curve(same, scores, drop_intermediate=False)
    return float(roc_auc_score(same, scores))


CONTENDERS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {"ours": ours, "sklearn": sklearn}


def resident(field: str) -> float:
    """A memory field of this process in MB (Linux)."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) / 1024


def peak_megabytes(name: str, n: int) -> float:
    """Peak resident memory of a fresh process beyond what it holds with the scores loaded."""
    done = subprocess.run(
        [sys.executable, __file__, str(n), "--peak", name], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peak", choices=CONTENDERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    scores, same = make_scores(args.scores)
    if args.peak:
        for contender in CONTENDERS.values():  # imports and first-call costs, at a tiny size
            contender(scores[:50_000], same[:50_000])
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is that of making the scores: forget it
        CONTENDERS[args.peak](scores, same)
        print(resident("VmHWM") - before)
        return
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    values = {}
    for _ in range(args.rounds):
        for name in random.sample(list(CONTENDERS), len(CONTENDERS)):
            start = time.process_time()
            values[name] = CONTENDERS[name](scores, same)
            seconds[name].append(time.process_time() - start)
    assert abs(values["ours"] - values["sklearn"]) < 1e-9, values
    ratios = [s / o for s, o in zip(seconds["sklearn"], seconds["ours"], strict=True)]
    print(f"{args.scores:,} scores, {args.rounds} rounds, load {os.getloadavg()[0]:.1f}, one thread")
    for name, times in seconds.items():
        peak = peak_megabytes(name, args.scores)
        print(f"{name:8s} median {statistics.median(times):6.2f} s  min {min(times):6.2f} s  peak +{peak:,.0f} MB")
    print(f"sklearn / ours: median of ratios {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
