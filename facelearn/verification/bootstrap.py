"""Intervals by resampling people, and paired comparisons of two models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import numpy as np
from scipy.special import expit, logit
from scipy.stats import binomtest

from facelearn.verification.checks import Array, check_bootstrap
from facelearn.verification.ranking import Ranking, Weigh, Weights

if TYPE_CHECKING:
    from facelearn.verification.result import VerificationResult


class Interval(NamedTuple):
    low: float
    high: float


class McNemar(NamedTuple):
    only_a: int  # pairs that a alone decides rightly
    only_b: int
    p_value: float


@dataclass(frozen=True)
class Comparison:
    """Difference a - b of one number between two embeddings of the same images, with its interval."""

    name: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    level: float

    def __str__(self) -> str:
        span = f"[{self.low:+.4f}, {self.high:+.4f}] at {self.level:.0%}"
        return f"{self.name}: {self.a:.4f} - {self.b:.4f} = {self.difference:+.4f} {span}"


class Measured(Protocol):
    """What a result offers to be resampled."""

    def _check_names(self, names: Sequence[str]) -> None:
        """ValueError for a name that this result does not have."""

    def _check_people(self, names: Sequence[str], by: str) -> None:
        """ValueError where there is nobody to resample."""

    def _ways(self) -> Sequence[str]:
        """What `by` can be."""

    def _design(self) -> dict[str, Array | None]:
        """What two results must have in common to be compared, by name."""

    def _statistics(self, names: Sequence[str], weigh: Weigh | None = None) -> list[float]:
        """The named numbers, under weights if a function is given that weighs a ranking's scores."""

    def _draw(self, rng: np.random.Generator, by: str) -> Sequence[Weigh]:
        """One resample: the weights of each kind that `_half_width` is to know."""

    def _half_width(self, draws: Array, name: str, level: float, by: str) -> float:
        """Half of the interval of a number (or a difference) from its draws (kinds, resamples)."""

    def _trials(self, name: str, by: str) -> Sequence[int]:
        """On how many independent trials of each kind a number rests at least."""


Result = TypeVar("Result", bound=Measured)


def intervals(
    result: Measured, names: Sequence[str], level: float, resamples: int, seed: int, by: str
) -> dict[str, Interval]:
    """Intervals that never leave [0, 1]: logit(estimate) -+ half width / (estimate (1 - estimate)), mapped back.

    A number of exactly 0 or 1 cannot be resampled: its open end is an exact limit (`exact_interval`).
    """
    draws = _bootstrap([result], names, level, resamples, seed, by)[..., 0, :]  # (kinds, resamples, names)
    estimates = result._statistics(names)
    halves = [result._half_width(draws[..., n], name, level, by) for n, name in enumerate(names)]
    found = {}
    for name, estimate, half in zip(names, estimates, halves, strict=True):
        if estimate in (0.0, 1.0):
            found[name] = exact_interval(name, int(estimate), result._trials(name, by), level)
        else:
            found[name] = logit_interval(estimate, half)
    return found


def compare(
    a: Result,
    b: Result,
    name: str | None = None,
    *,
    level: float = 0.95,
    resamples: int = 500,
    seed: int = 0,
    by: str = "identities",
) -> Comparison:
    """Paired bootstrap of the difference a - b of one number, both measured on the same pairs, or the same probes.

    a, b: two results of `evaluate_pairs` (name: as in `VerificationResult.interval`, by default "eer") or two of
    `evaluate_identification` (as in `IdentificationResult.interval`, by default "rank1").
    Each resample draws the people once, for both: what makes a person hard for both embeddings cancels, so the
    interval is shorter than one from two separate intervals. Otherwise as `intervals` of the result.
    The interval is difference -+ t * sd;
    at level 0.95, one that excludes 0 is a test at about 5 %. It knows the chance of the people drawn, not that of
    training: a second seed of the same recipe is another model. ValueError where the pairs or probes differ.
    """
    if type(a) is not type(b):
        raise ValueError(f"b: found {type(b).__name__}, expected {type(a).__name__}, as a")
    ours, theirs = a._design(), b._design()
    for what, of_a in ours.items():
        if not np.array_equal(of_a, theirs[what]):  # type: ignore[arg-type]  # None equals None
            pairs = "probes" if "probe labels" in ours else "pairs"
            raise ValueError(f"b: its {what} differ from those of a, expected two results on the same {pairs}")
    name = name or ("rank1" if "probe labels" in ours else "eer")
    draws = _bootstrap([a, b], [name], level, resamples, seed, by)[..., 0]  # (kinds, resamples, 2)
    (value_a,), (value_b,) = a._statistics([name]), b._statistics([name])
    half, difference = a._half_width(draws[..., 0] - draws[..., 1], name, level, by), value_a - value_b
    return Comparison(name, value_a, value_b, difference, difference - half, difference + half, level)


def mcnemar(a: VerificationResult, b: VerificationResult) -> McNemar:
    """McNemar's exact test of two accuracies on the same pairs, each pair decided at its fold's threshold.

    Of the pairs that only one of the two decides rightly, each would hold half if neither were better: a two-sided
    binomial test (McNemar 1947, 10.1007/BF02295996, in the exact form). It takes the pairs as independent, and they
    are not: people are in many of them, and the thresholds are estimated. So its p is too small, the more so the more
    pairs a person is in; use it to compare with published ones, and `compare(a, b, "accuracy")` to decide.
    ValueError where the pairs differ.
    """
    for what, of_a in a._design().items():
        if what != "identities" and not np.array_equal(of_a, b._design()[what]):  # type: ignore[arg-type]
            raise ValueError(f"b: its {what} differ from those of a, expected two results on the same pairs")
    right_a, right_b = a._decided_rightly(), b._decided_rightly()  # (P,) False for pairs without a fold
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return McNemar(only_a, only_b, p)


def _bootstrap(
    results: Sequence[Measured], names: Sequence[str], level: float, resamples: int, seed: int, by: str
) -> Array:
    """(kinds, resamples, results, names). The results share pairs or probes, and each resample's weights."""
    for result in results:
        result._check_names(names)
    check_bootstrap(level, resamples, by, results[0]._ways())
    results[0]._check_people(names, by)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(resamples):
        kinds = results[0]._draw(rng, by)
        draws.append([[result._statistics(names, weigh) for result in results] for weigh in kinds])
    return np.array(draws).swapaxes(0, 1)


def by_pair(times: Array) -> Weigh:
    return lambda ranking: Weights(_look_up(times, ranking.genuine), _look_up(times, ranking.impostor))


def by_person(times: Array) -> Weigh:
    """Genuine pair of i: w_i. Impostor pair of i and j: w_i w_j."""

    def weigh(ranking: Ranking) -> Weights:
        (first, second), couple = ranking.couples
        return Weights(_look_up(times, ranking.genuine_person), _look_up(times[first] * times[second], couple))

    return weigh


def by_couple(seed: int) -> Weigh:
    """All impostor pairs of i and j together: 0 or 2. Seeded, so that two results get the same weights."""

    def weigh(ranking: Ranking) -> Weights:
        people, couple = ranking.couples
        times = np.random.default_rng(seed).choice(np.array([0, 2]), size=people.shape[1])
        return Weights(np.ones(len(ranking.genuine), np.int64), _look_up(times, couple))

    return weigh


def multiplicities(rng: np.random.Generator, n: int) -> Array:
    """How often each of n things comes up in n draws with replacement, (n,) int64."""
    return np.bincount(rng.integers(n, size=n), minlength=n)


def _look_up(table: Array, index: Array) -> Array:
    """table[index] for an index known to be in range: twice as fast without the check."""
    return np.take(table, index, mode="clip")


def exact_interval(name: str, estimate: int, trials: Sequence[int], level: float) -> Interval:
    """The interval of a number of exactly 0 or 1: of each kind of trials none failed, or all did.

    Each kind's rate of failures is at most Clopper and Pearson's limit for as many trials without one. Where both kinds
    are, 1 - AUC is at most the sum of the two rates at any threshold, the EER and 1 - accuracy at most the larger one.
    """
    limits = [1 - ((1 - level) / 2) ** (1 / number) for number in trials]
    off = min(1.0, sum(limits) if name == "auc" else max(limits))
    return Interval(1 - off, 1.0) if estimate else Interval(0.0, off)


def logit_interval(estimate: float, half: float) -> Interval:
    centre, step = logit(estimate), half / (estimate * (1 - estimate))
    return Interval(float(expit(centre - step)), float(expit(centre + step)))
