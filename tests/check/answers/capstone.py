"""Chapter 21: right answers, each by another way than the check's own reference, and wrong ones."""

import math

import numpy as np
import torch
from scipy.stats import t, ttest_1samp, ttest_rel

from facelearn.losses import ArcFace, CombinedMargin, CosFace, MarginHead, NormFace, NPCFace, SphereFace
from facelearn.losses.margin import cos_of_sum
from facelearn.losses.sphereface import psi

# ---- ex1: other trainings and other people ---------------------------------------------------------------------------


def satterthwaite(d):
    """Degrees of freedom from both parts."""
    S, K = d.shape
    a, b = d.mean(1).var(ddof=1) / S, d.mean(0).var(ddof=1) / K
    free = (a + b) ** 2 / (a**2 / (S - 1) + b**2 / (K - 1))
    half = t.ppf(0.975, free) * math.sqrt(a + b)
    return d.mean() - half, d.mean() + half


def around(factor, error):
    return lambda d: (d.mean() - factor * error(d), d.mean() + factor * error(d))


def both(d):
    return math.sqrt(d.mean(1).var(ddof=1) / 5 + d.mean(0).var(ddof=1) / 60)


def resampled(d):
    """People drawn with replacement, trainings as they are."""
    draws = np.random.default_rng(0)
    means = d.mean(0)[draws.integers(60, size=(400, 60))].mean(1)
    return np.quantile(means, 0.025), np.quantile(means, 0.975)


def redrawn(d):
    """People and trainings drawn with replacement."""
    draws = np.random.default_rng(0)
    rows, columns = draws.integers(5, size=(200, 5, 1)), draws.integers(60, size=(200, 1, 60))
    return np.quantile(d[rows, columns].mean((1, 2)), (0.025, 0.975))


def by_n(d):
    return math.sqrt(d.mean(1).var() / 5 + d.mean(0).var() / 60)


def half_widths(d):
    """Of the t interval over trainings, of that over people."""
    return [t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)) for x in (d.mean(1), d.mean(0))]


def in_place(d):
    ends = satterthwaite(d)
    d -= d.mean()
    return ends


# ---- ex2: a loss of one's own ----------------------------------------------------------------------------------------


def head(target, **more):
    """A head with this target."""
    kind = type("Own", (MarginHead,), {"target": lambda self, cos, rows: target(cos), **more})
    return lambda embedding_dim, num_classes: kind(embedding_dim, num_classes, scale=8.0)


class Long(MarginHead):
    """The margin grows with the norm."""

    def rows(self, embeddings, target_cos):
        return (0.05 * embeddings.norm(dim=1),)

    def target(self, cos, rows):
        return cos - (0.1 + rows[0]) * (1 - cos**2)


class Batchwise(MarginHead):
    """The margin depends on the batch's mean."""

    def target(self, cos, rows):
        return cos - (0.3 + 0.2 * cos.detach().mean()) * (1 - cos**2)


class Pressed(NPCFace):
    """NPCFace with another mask: its target is the package's."""

    def hard(self, cos, target_cos):
        return cos > target_cos - 0.5


class Collaborating(NPCFace):
    """A curve of its own that grows with the negatives."""

    def target(self, cos, rows):
        hardness, count = rows
        return cos - (0.1 + 0.1 * hardness / count.clamp(min=1)) * (1 - cos**2)


def annealed(cos, lam=1.0):
    return (lam * cos + psi(cos, 2)) / (1 + lam)


# ---- ex3: the report -------------------------------------------------------------------------------------------------


def stepwise(p):
    """Holm as the paper has it: sort, stop at the first that fails."""
    found = set()
    for place, name in enumerate(sorted(p, key=p.get)):
        if p[name] >= 0.05 / (len(p) - place):
            break
        found.add(name)
    return found


def by_scipy(eer, tune, bound):
    ship = sorted(tune, key=tune.get)[0]
    others, n = sorted(set(eer) - {ship}), len(eer[ship])
    p = {one: ttest_rel(eer[one], eer[ship]).pvalue for one in others}
    d = {one: np.subtract(eer[one], eer[ship]) for one in others}
    below = {one: ttest_1samp(d[one], bound, alternative="less").pvalue for one in others}
    above = {one: ttest_1samp(d[one], -bound, alternative="greater").pvalue for one in others}
    told, same = stepwise(p), stepwise({one: max(below[one], above[one]) for one in others})
    q = t.ppf(1 - 0.05 / len(others), n - 1)
    limits = [q * x.std(ddof=1) / math.sqrt(n) - x.mean() for x in d.values()]
    return {
        "ship": ship,
        "regret": max([0.0, *limits]),
        "told": ", ".join(sorted(told)),
        "same": ", ".join(sorted(same)),
        "open": ", ".join(sorted(set(others) - told - same)),
    }


def no_field(eer, tune, bound):
    found = by_scipy(eer, tune, bound)
    del found["open"]
    return found


RIGHT = {
    "ex1": [satterthwaite, around(2.776, both)],
    "ex2": [
        head(lambda cos: cos - 0.2 * (1 - cos**2)),
        head(lambda cos: cos - 0.25 * torch.cos(cos * math.pi / 2)),
        lambda d, C: Collaborating(d, C, scale=8.0),
    ],
    "ex3": [by_scipy],
}
WRONG = {
    "ex1": [
        (around(2.776, lambda d: d.mean(1).std(ddof=1) / math.sqrt(5)), "not what other people would"),
        (around(2.0, lambda d: d.mean(0).std(ddof=1) / math.sqrt(60)), "not what another training would"),
        (resampled, "not what another training would"),
        (around(1.96, both), "z or t?"),
        (around(1.96, lambda d: d.std(ddof=1) / math.sqrt(d.size)), "no S · K observations"),
        (around(8.0, both), "as wide as it need be"),
        (in_place, "changes its input"),
        (lambda d: d.mean(), "two numbers"),
        (around(1.0, lambda d: max(half_widths(d))), "each variance adds"),
        (around(1.0, lambda d: sum(half_widths(d))), "what adds up?"),
        (around(2.776, by_n), "divides by n - 1"),
        (around(1.96, by_n), "n or n - 1?"),
        (around(2.001, both), "z or t?"),
        (redrawn, "both scatters seem to be in it"),
        (lambda d: satterthwaite(d)[::-1], "low <= high"),
        (lambda d: (float("nan"), 1.0), "low <= high"),
    ],
    "ex2": [
        (head(lambda cos: (cos.arccos() + 0.3).cos()), "arccos, or a root"),
        (lambda d, C: NormFace(d, C, scale=8.0), "in the package already"),
        (head(lambda cos: cos), "0.02 more"),
        (lambda d, C: CosFace(d, C, scale=8.0), "in the package already"),
        (lambda d, C: ArcFace(d, C, scale=8.0), "in the package already"),
        (lambda d, C: SphereFace(d, C, scale=8.0), "in the package already"),
        (lambda d, C: CombinedMargin(d, C, scale=8.0), "in the package already"),
        (lambda d, C: Pressed(d, C, scale=8.0), "in the package already"),
        (head(annealed), "in the package already"),
        (head(lambda cos: cos_of_sum(cos, 0.3, "linear") - 0.1), "in the package already"),
        (
            lambda d, C: type("Own", (MarginHead,), {"target": lambda self, cos, rows: cos - 0.2 * (1 - cos**2)})(d, C),
            "the scale 8",
        ),
        (head(lambda cos: cos + 0.3 * (1 - cos**2)), "exceeds the cosine"),
        (head(lambda cos: cos - 0.9 * (1 - cos**2)), "does not rise"),
        (head(lambda cos: cos - 0.3 * (1 - cos.detach() ** 2)), "not that of the value"),
        (lambda d, C: Long(d, C, scale=8.0), "length of an embedding"),
        (lambda d, C: Batchwise(d, C, scale=8.0), "gradient is not that"),
        (lambda d, C: Long, "an instance of a subclass"),
        (lambda d, C: "NormFace", "an instance of a subclass"),
    ],
    "ex3": [
        (no_field, "the keys"),
        (lambda eer, tune, bound: by_scipy(eer, tune, 2 * bound), "expected"),
        (lambda eer, tune, bound: by_scipy(eer, tune, bound) | {"open": ""}, "expected"),
        (lambda eer, tune, bound: [*by_scipy(eer, tune, bound).values()], "expected"),
    ],
}
