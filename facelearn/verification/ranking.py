"""Scores of two kinds, ranked, and the (weighted) ROC they make: exact under ties, small in memory."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np

from facelearn.verification.checks import Array

BLOCK = 2**14  # scores handled at a time
WORST = np.finfo(np.float64).max  # the largest key that a threshold can accept: a key of inf is a failed comparison


class Ranking:
    """Genuine and impostor scores, best first, and where the steps of the ROC lie.

    Only genuine scores matter as thresholds: between two of them TAR stands still, so the ROC runs straight. For
    each of the S distinct genuine scores, best first: how many genuine scores are as good or better (`accepted`),
    how many impostors have a better one (`impostors_above`) or at least an equal one (`impostors_accepted`).
    Keys are minus the scores, so that "best first" is ascending and searchsorted applies.

    `chosen` (P,) bool leaves the other scores out; `people` (P, 2) are the people of each pair.
    """

    def __init__(self, scores: Array, same: Array, chosen: Array | None = None, people: Array | None = None) -> None:
        self._scores, self._people = scores, people
        self._kinds = (same, ~same) if chosen is None else (same & chosen, ~same & chosen)  # each (P,)
        self.genuine_keys, self.impostor_keys = (_sorted_keys(scores, kind) for kind in self._kinds)  # (G,), (I,)
        self.accepted = np.flatnonzero(run_lasts(self.genuine_keys)) + 1  # (S,)

    @cached_property
    def impostors_above(self) -> Array:
        return np.searchsorted(self.impostor_keys, self.steps, side="left")  # (S,)

    @cached_property
    def impostors_accepted(self) -> Array:
        return np.searchsorted(self.impostor_keys, self.steps, side="right")  # (S,)

    @property
    def steps(self) -> Array:
        """(S,) the distinct genuine keys."""
        return self.genuine_keys[self.accepted - 1]

    @cached_property
    def genuine(self) -> Array:
        """(G,) numbers of the genuine pairs, best first. Values alone sort several times as fast: only on demand."""
        return self._order(self._kinds[0])

    @cached_property
    def impostor(self) -> Array:
        """(I,) numbers of the impostor pairs, best first."""
        return self._order(self._kinds[1])

    def _order(self, kind: Array) -> Array:
        numbers = np.flatnonzero(kind)
        return numbers[np.argsort(-self._scores[numbers])]

    @cached_property
    def genuine_person(self) -> Array:
        """(G,) the person of each genuine pair."""
        assert self._people is not None
        return self._people[self.genuine, 0]

    @cached_property
    def couples(self) -> tuple[Array, Array]:
        """The C couples of people who meet in impostor pairs, (2, C), and the number of each pair's couple, (I,)."""
        assert self._people is not None
        low, high = np.sort(self._people[self.impostor], axis=1).T
        size = int(high.max()) + 1
        met, number = np.unique(low * size + high, return_inverse=True)
        return np.stack(np.divmod(met, size)), number

    def curve(self, weights: Weights | None = None) -> Curve:
        """The (weighted) ROC at the steps."""
        if weights is None:
            numbers = len(self.genuine_keys), len(self.impostor_keys)
            return Curve(self.accepted, self.impostors_above, self.impostors_accepted, *numbers)
        genuine, impostor = cumulative(weights.genuine), cumulative(weights.impostor)
        return Curve(
            genuine[self.accepted],
            impostor[self.impostors_above],
            impostor[self.impostors_accepted],
            int(genuine[-1]),
            int(impostor[-1]),
        )

    def lowest_threshold(self, far: float) -> float:
        """The lowest threshold with FAR <= far: one floating point number above the first impostor to be kept out."""
        return float(np.nextafter(-self.impostor_keys[allowed(far, len(self.impostor_keys))], np.inf))

    def accepted_at(self, threshold: float) -> tuple[int, int]:
        """How many genuine and impostor scores a threshold accepts. A score of -inf is never accepted."""
        key = min(-threshold, WORST)
        genuine, impostor = (np.searchsorted(keys, key, "right") for keys in (self.genuine_keys, self.impostor_keys))
        return int(genuine), int(impostor)

    def equal_error_threshold(self) -> float:
        """The threshold whose FAR and FRR are nearest to each other; of several the strictest.

        The middle of the thresholds that decide all pairs alike, so that neither kind of score lies at its edge.
        """
        far, tar, steps = self.rates()
        at = int(np.argmin(np.abs(np.round(far - (1 - tar), 12))))
        accepts, rejects = steps[at], steps[at + 1] if at + 1 < len(steps) else -math.inf
        if math.isinf(accepts) or math.isinf(rejects):
            return float(np.nextafter(rejects, np.inf)) if math.isinf(accepts) else float(accepts)
        middle = accepts / 2 + rejects / 2
        return float(middle if middle > rejects else accepts)

    def rates(self) -> tuple[Array, Array, Array]:
        """FAR, TAR and threshold (1 + T,) at inf and at each of the T distinct scores of either kind.

        In blocks and in place: where few scores tie, next to nothing but the result is held.
        """
        num_genuine, num_impostor = len(self.genuine_keys), len(self.impostor_keys)
        keys = np.concatenate([[-np.inf], self.genuine_keys, self.impostor_keys])
        keys.sort(kind="stable")  # a merge: its parts are sorted
        last = run_lasts(keys)
        far, tar = np.empty((2, np.count_nonzero(last)))
        done = below = 0
        for start in range(0, len(keys), BLOCK):
            accepted = np.flatnonzero(last[start : start + BLOCK]) + start  # scores of either kind, without the -inf
            step = keys[accepted]
            if not len(step):
                continue
            within = self.genuine_keys[below : np.searchsorted(self.genuine_keys, step[-1], side="right")]
            genuine = below + np.searchsorted(within, step, side="right")
            place = slice(done, done + len(step))
            far[place], tar[place] = (accepted - genuine) / num_impostor, genuine / num_genuine
            np.negative(step, out=keys[place])  # never ahead of what is still to be read
            done, below = place.stop, below + len(within)
        few_ties = 2 * done > len(keys)  # then the rest is not worth a copy
        return far, tar, keys[:done] if few_ties else keys[:done].copy()


def allowed(far: float, num: int) -> int:
    """How many of `num` impostor pairs may be accepted for a FAR of at most `far` below 1."""
    return bisect_right(range(1, num), far, key=lambda count: count / num)


class Weights(NamedTuple):
    """Whole-number weights of the pairs in the order of a ranking."""

    genuine: Array  # (G,)
    impostor: Array  # (I,)


Weigh = Callable[[Ranking], Weights]


class Curve(NamedTuple):
    """The ROC at the distinct genuine scores, best first, as (weighted) counts: S points joined by steps.

    Every rate is NaN where all genuine or all impostor scores have weight 0.
    """

    accepted: Array  # (S,) genuine scores accepted with the threshold at this score
    impostors_above: Array  # (S,) impostors accepted with the threshold just above it
    impostors_accepted: Array  # (S,) ... and with the threshold at it
    num_genuine: int
    num_impostor: int

    @property
    def empty(self) -> bool:
        return self.num_genuine == 0 or self.num_impostor == 0

    def auc(self) -> float:
        """P(genuine score > impostor score) + P(tie) / 2, the area under the ROC (Mann-Whitney), in whole numbers."""
        if self.empty:
            return math.nan
        wins = 0  # twice the pairs of a genuine score and an impostor that it beats
        for start in range(0, len(self.accepted), BLOCK):
            part = slice(start, start + BLOCK)
            genuine = np.diff(self.accepted[part], prepend=self.accepted[start - 1] if start else 0)
            wins += int(genuine @ (2 * self.num_impostor - self.impostors_above[part] - self.impostors_accepted[part]))
        return wins / (2 * self.num_genuine * self.num_impostor)

    def eer(self) -> float:
        """Where the ROC, its points joined by straight lines, meets FAR = FRR."""
        if self.empty:
            return math.nan
        size, step = len(self.accepted), self.eer_step()
        corners = [self._end(step - 1)]
        if step < size:
            corners += [(self.impostors_above[step] / self.num_impostor, corners[0][1]), self._end(step)]
        corners.append((1.0, 1.0))
        at = next(n for n, corner in enumerate(corners) if _excess(corner) >= 0)
        before, after = _excess(corners[at - 1]), _excess(corners[at])
        far = corners[at - 1][0]
        return float(far - before / (after - before) * (corners[at][0] - far))

    def eer_step(self) -> int:
        """The first step that ends at FAR >= FRR."""
        return bisect_left(range(len(self.accepted)), 0.0, key=lambda s: _excess(self._end(s)))

    def tar_at(self, far: float) -> float:
        """Highest TAR of any threshold with FAR <= far; 0 where even the best genuine score lets in too many."""
        if self.empty:
            return math.nan
        return float(self._end(self.steps_within(far) - 1)[1])

    def steps_within(self, far: float) -> int:
        """How many steps, from the strictest, keep FAR <= far."""
        return bisect_right(self.impostors_accepted, far, key=lambda count: count / self.num_impostor)

    def _end(self, step: int) -> tuple[float, float]:
        """(FAR, TAR) with the threshold at a step; step -1 accepts nothing."""
        if step < 0:
            return 0.0, 0.0
        return self.impostors_accepted[step] / self.num_impostor, self.accepted[step] / self.num_genuine


def _excess(point: tuple[float, float]) -> float:
    """FAR - FRR, never falls along the ROC, from -1 to 1."""
    return point[0] - (1 - point[1])


def fold_accuracy(ranking: Ranking, folds: Weights, weights: Weights, fold: int) -> tuple[float, float]:
    """Accuracy on one fold with the threshold that is best on all others; (accuracy, threshold).

    Best: most (weighted) correct decisions on the training pairs. Of equally good thresholds the strictest, and
    then the middle between the lowest score it accepts and the highest it rejects in the training pairs; inf where
    accepting nothing is best, -inf where the training pairs have no score below.
    """
    train = Weights(*(w * (f != fold) for w, f in zip(weights, folds, strict=True)))
    gained = cumulative(train.genuine)[ranking.accepted]  # right decisions won over "accept nothing" ...
    lost = cumulative(train.impostor)[ranking.impostors_accepted]  # ... and lost
    gained, lost = (counts[ranking.steps <= WORST] for counts in (gained, lost))  # what failed is never accepted
    best = int(np.argmax(np.append(0, gained - lost)))  # argmax takes the first, the strictest
    threshold = math.inf
    if best:
        key = ranking.genuine_keys[ranking.accepted[best - 1] - 1]
        below = [
            keys[rest + int(np.argmax(w[rest:] > 0))] if w[rest:].any() else math.inf
            for keys, w, rest in (
                (ranking.genuine_keys, train.genuine, ranking.accepted[best - 1]),
                (ranking.impostor_keys, train.impostor, ranking.impostors_accepted[best - 1]),
            )
        ]
        accepts, rejects = float(-key), float(-min(below))
        threshold = accepts / 2 + rejects / 2
        if threshold <= rejects > -math.inf:  # neighbours among floating point numbers have no middle
            threshold = accepts
    accepted, rejected = ranking.accepted_at(threshold)
    test = Weights(*(w - t for w, t in zip(weights, train, strict=True)))
    correct = test.genuine[:accepted].sum() + test.impostor[rejected:].sum()
    total = test.genuine.sum() + test.impostor.sum()
    return (float(correct / total) if total else math.nan), threshold


def cumulative(weights: Array) -> Array:
    """(n,) -> (n + 1,) sums of the first 0, 1, ..., n weights, exact."""
    total = np.zeros(len(weights) + 1, np.int64)
    np.cumsum(weights, out=total[1:])
    return total


def _sorted_keys(scores: Array, kind: Array) -> Array:
    keys = scores[kind]
    np.negative(keys, out=keys)
    keys.sort()
    return keys


def run_lasts(keys: Array) -> Array:
    """(n,) bool: the last of each run of equal keys in sorted keys (n,)."""
    last = np.ones(len(keys), bool)
    np.not_equal(keys[1:], keys[:-1], out=last[:-1])
    return last
