"""Identification against a gallery of 10^5 x 512: time against the bare matrix product, and peak memory.

    python benchmarks/identification.py                  1,000 probes a round
    python benchmarks/identification.py --probes 10000

The bare product is `probes @ gallery.T` in float32, in blocks, with the best image of each row: rank 1 without ties,
ranks, thresholds or exactness. Rounds are interleaved in shuffled order and times are CPU seconds. Peak memory is that
of a fresh process, all of it: libraries, gallery, probes.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from verification import resident

from facelearn.verification import evaluate_identification

DIM = 512


def make_faces(people: int, num_probes: int, images: int) -> tuple[np.ndarray, ...]:
    """Random directions; a probe is one of them with noise, and every fourth is a stranger."""
    rng = np.random.default_rng(0)
    gallery = rng.standard_normal((people, DIM), dtype=np.float32)
    labels = np.arange(people) // images
    chosen = rng.integers(people, size=num_probes)
    probes = gallery[chosen]
    for start in range(0, num_probes, 1000):
        part = probes[start : start + 1000]
        part += 3 * rng.standard_normal(part.shape, dtype=np.float32)
    wanted = np.where(np.arange(num_probes) % 4 == 0, -1 - np.arange(num_probes), labels[chosen])
    return gallery, labels, probes, wanted


def ours(gallery: np.ndarray, labels: np.ndarray, probes: np.ndarray, wanted: np.ndarray) -> float:
    return evaluate_identification(gallery, labels, probes, wanted).rank1


def bare_product(gallery: np.ndarray, labels: np.ndarray, probes: np.ndarray, wanted: np.ndarray) -> float:
    unit_gallery = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    best = np.empty(len(probes), np.int64)
    for start in range(0, len(probes), 84):  # the block size that ours takes
        block = probes[start : start + 84]
        best[start : start + 84] = (block @ unit_gallery.T).argmax(axis=1)
    return float((labels[best] == wanted)[wanted >= 0].mean())


CONTENDERS = {"ours": ours, "bare product": bare_product}


def peak_megabytes(name: str, args: argparse.Namespace) -> str:
    command = [sys.executable, __file__, "--peak", name]
    command += [f"--{key}={getattr(args, key)}" for key in ("gallery", "probes", "images")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gallery", type=int, default=100_000, help="images in the gallery")
    parser.add_argument("--images", type=int, default=1, help="images of each person in it")
    parser.add_argument("--probes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peak", choices=CONTENDERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    faces = make_faces(args.gallery, args.probes, args.images)
    if args.peak:
        CONTENDERS[args.peak](*faces)
        print(f"{resident('VmHWM'):,.0f}")
        return
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    values = {}
    for _ in range(args.rounds):
        for name in random.sample(list(CONTENDERS), len(CONTENDERS)):
            start = time.process_time()
            values[name] = CONTENDERS[name](*faces)
            seconds[name].append(time.process_time() - start)
    assert abs(values["ours"] - values["bare product"]) < 1e-3, values
    ratios = [o / b for o, b in zip(*(seconds[name] for name in CONTENDERS), strict=True)]
    print(f"gallery {args.gallery:,} x {DIM}, {args.images} a person; {args.probes:,} probes, ", end="")
    print(f"rank 1 {values['ours']:.1%}; {args.rounds} rounds, load {os.getloadavg()[0]:.1f}, one thread")
    print("| | CPU s | peak MB of the process |\n|---|---|---|")
    for name, times in seconds.items():
        print(f"| {name} | {statistics.median(times):.2f} | {peak_megabytes(name, args)} |", flush=True)
    print(
        f"ours / bare product: median of ratios {statistics.median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
