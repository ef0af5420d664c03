"""Faces per second: ``python benchmarks/faces.py``. Prints the best of several rounds, and the load meanwhile."""

from __future__ import annotations

import argparse
import os
import time

import torch

from facelearn.data import draw_nuisance, draw_traits, render, strengths


def faces_per_second(size: int, count: int, rounds: int, device: str) -> float:
    people = torch.arange(count)
    traits = draw_traits(people)
    nuisance = draw_nuisance(people, people * 0, strength=strengths(0.6))
    best = float("inf")
    for _ in range(rounds + 1):  # one to warm up
        start = time.perf_counter()
        render(traits, nuisance, size, device)
        if device != "cpu":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return count / best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    threads = (1, 2) if arguments.device == "cpu" else (1,)
    print(f"{'device':>7} {'threads':>7} {'size':>5} {'faces/s':>8}  load (1 min)")
    for number in threads:
        torch.set_num_threads(number)
        for size, count in ((32, 1024), (64, 256), (112, 96)):
            count = count if arguments.device == "cpu" else 64 * count
            speed = faces_per_second(size, count, arguments.rounds, arguments.device)
            print(f"{arguments.device:>7} {number:>7} {size:>5} {speed:>8.0f}  {os.getloadavg()[0]:.1f}", flush=True)


if __name__ == "__main__":
    main()
