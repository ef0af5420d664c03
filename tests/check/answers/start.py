"""Chapter 00: right answers, each by another way than the check's own reference, and wrong ones."""

import math

import torch
from scipy.stats import hypergeom

# ---- right answers --------------------------------------------------------------------------------------------------


def by_means(scores, between):
    return scores.mean() / between.mean().sqrt()


def by_a_factor(scores, between):
    """Build enrolled vectors with these cosines (Cholesky would fail for equal ones), and compare with their sum."""
    values, vectors = torch.linalg.eigh(between)
    x = vectors * values.clamp(min=0).sqrt()  # (n, n), x @ x.T = between
    probe = torch.linalg.lstsq(x, scores[:, None], driver="gelsd").solution[:, 0]
    total = x.sum(0)
    return probe @ total / total.norm()


def by_counting(scores, people, test_people, far):
    tested = set(test_people.tolist())
    used = [s for s, (a, b) in zip(scores.tolist(), people.tolist(), strict=True) if a != b and not {a, b} & tested]
    fits = [t for t in used if sum(s >= t for s in used) <= far * len(used) + 1e-9]
    return min(fits, default=math.inf)


def by_scipy(scores, tau, size):
    dangerous = (scores >= tau).sum(1).numpy()
    return float(1 - hypergeom(scores.shape[1], dangerous, size).pmf(0).mean())


def by_a_product(scores, tau, size):
    people, quiet = scores.shape[1], torch.ones(len(scores), dtype=torch.float64)
    for drawn in range(size):
        quiet = quiet * (people - (scores >= tau).sum(1) - drawn).clamp(min=0) / (people - drawn)
    return 1 - quiet.mean()


# ---- planted wrong answers, and the words by which each is named ----------------------------------------------------


def sorted_in_place(scores, people, test_people, far):
    scores.sort()
    scores[0] = 0
    return by_counting(scores, people, test_people, far)


RIGHT = {"ex1": [by_means, by_a_factor], "ex2": [by_counting], "ex3": [by_scipy, by_a_product]}
WRONG = {
    "ex1": [
        (lambda scores, between: scores.float().sum() / between.float().sum().sqrt(), "float32"),
        (lambda scores, between: scores / between.sum().sqrt(), "one number is asked for"),
        (lambda scores, between: scores.abs().sum() / between.sum().sqrt(), "both signs"),
        (lambda scores, between: scores.clamp(min=0).sum() / between.sum().sqrt(), "both signs"),
        (lambda scores, between: (scores * between.mean(0)).sum(), "got"),
    ],
    "ex2": [
        (sorted_in_place, "changes its input scores"),
        (lambda scores, people, test_people, far: 0.5, "got 0.5"),
        (lambda *inputs: by_counting(*inputs) + 1e-7, "expected"),
        (lambda scores, people, test_people, far: scores >= 0.5, "shape"),
    ],
    "ex3": [
        (lambda scores, tau, size: (scores >= tau).double().mean(1), "one number is asked for"),
        (lambda scores, tau, size: 1 - math.exp(-size * (scores >= tau).double().mean()), "got"),
    ],
}
