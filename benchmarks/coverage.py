"""Do 95 % intervals by people hold the truth in 95 of 100 test sets? Simulated, where people differ in difficulty.

    python benchmarks/coverage.py                  all designs, 200 test sets each
    python benchmarks/coverage.py --sets 40        quicker and coarser

A person is a direction in 16 dimensions; a picture is that direction plus noise, of length 1. How much noise is the
person's own: log-normal, with `--scatter` as the standard deviation of its logarithm. The truth is measured on 3,000
people; then test sets of other people are drawn, and it is counted how often the interval holds the truth, and on which
side it misses. Designs: all pairs of 30 or 100 people, and a list of LFW's kind, in which people meet once.
"""

from __future__ import annotations

import argparse
import itertools
import math
import warnings

import numpy as np

from facelearn.verification import VerificationResult, all_pairs, evaluate_pairs

Array = np.ndarray
NAMES = "auc", "eer", "tar@1e-2"


def pictures(people: int, each: int, scatter: float, noise: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Embeddings (people * each, 16) of length 1, and whose they are."""
    own = rng.normal(size=(people, 1, 16))
    own /= np.linalg.norm(own, axis=2, keepdims=True)
    hard = noise * np.exp(scatter * rng.normal(size=(people, 1, 1)))
    x = own + hard * rng.normal(size=(people, each, 16))
    return (x / np.linalg.norm(x, axis=2, keepdims=True)).reshape(-1, 16), np.arange(people).repeat(each)


def every_pair(people: int, scatter: float, noise: float, rng: np.random.Generator) -> VerificationResult:
    """Each person has 5 pictures; all pairs of them."""
    x, labels = pictures(people, 5, scatter, noise, rng)
    return evaluate_pairs(x, *all_pairs(labels), identities=labels)


def meeting_once(people: int, scatter: float, noise: float, rng: np.random.Generator) -> VerificationResult:
    """As on LFW's list: half of the pairs genuine, 5 a person; in the others each person meets 10 strangers once."""
    x, labels = pictures(people, 10, scatter, noise, rng)
    first = np.arange(people)[:, None] * 10
    genuine = np.stack([first + np.arange(0, 10, 2), first + np.arange(1, 10, 2)], axis=-1).reshape(-1, 2)
    steps = np.arange(1, 6)  # person i meets i + 1 ... i + 5, and is met by i - 1 ... i - 5
    impostor = np.stack([first + steps, (first + 10 * steps) % len(x) + steps + 4], axis=-1).reshape(-1, 2)
    same = np.arange(len(genuine) + len(impostor)) < len(genuine)
    return evaluate_pairs(x, np.concatenate([genuine, impostor]), same, identities=labels)


DESIGNS = {
    "all pairs of 30": (every_pair, 30),
    "all pairs of 100": (every_pair, 100),
    "a list, 60 people": (meeting_once, 60),
}


def numbers(result: VerificationResult) -> dict[str, float]:
    return {"auc": result.auc, "eer": result.eer, "tar@1e-2": result.tar_at(1e-2)}


def truth(scatter: float, noise: float) -> dict[str, float]:
    """The three numbers on all genuine and a million impostor pairs of 3,000 people."""
    rng = np.random.default_rng(1)
    x, labels = pictures(3000, 5, scatter, noise, rng)
    genuine = np.argwhere(np.triu(np.ones((5, 5), bool), 1))
    genuine = (5 * np.arange(3000)[:, None, None] + genuine).reshape(-1, 2)
    impostor = rng.integers(len(x), size=(1_000_000, 2))
    impostor = impostor[labels[impostor[:, 0]] != labels[impostor[:, 1]]]
    same = np.arange(len(genuine) + len(impostor)) < len(genuine)
    return numbers(evaluate_pairs(x, np.concatenate([genuine, impostor]), same))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=200, help="test sets drawn for each design")
    parser.add_argument("--scatter", type=float, nargs="+", default=[0.0, 0.35])
    parser.add_argument(
        "--noise", type=float, nargs="+", default=[0.18, 0.1], help="how far pictures lie from a person"
    )
    wanted = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)  # few pairs decide a small FAR: that is what is measured
    error = math.sqrt(0.95 * 0.05 / wanted.sets)
    print(f"{wanted.sets} sets; standard error of a coverage of .95: {error:.3f}\n")
    print("| noise | scatter | design | number | truth | covered | truth below | truth above | width / 2 · 1.96 sd |")
    print("|---:|---:|---|---|---:|---:|---:|---:|---:|")
    for noise, scatter in itertools.product(wanted.noise, wanted.scatter):
        true = truth(scatter, noise)
        for design, (draw, people) in DESIGNS.items():
            rng = np.random.default_rng(2)
            results = [draw(people, scatter, noise, rng) for _ in range(wanted.sets)]
            ends = [result.intervals(NAMES, resamples=300, seed=k) for k, result in enumerate(results)]
            estimates = [numbers(result) for result in results]
            for name in NAMES:
                low, high = (np.array([end[name][side] for end in ends]) for side in (0, 1))
                below, above = (true[name] < low).mean(), (true[name] > high).mean()
                scatter_of = np.std([found[name] for found in estimates], ddof=1)
                width = np.median(high - low) / (2 * 1.96 * scatter_of) if scatter_of else math.inf
                print(
                    f"| {noise:g} | {scatter:g} | {design} | {name} | {true[name]:.4f} | {1 - below - above:.3f} "
                    f"| {below:.3f} | {above:.3f} | {width:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
