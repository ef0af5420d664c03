"""Verification: given two images, is this one person? How well does an embedding answer, and how sure are we?

A *pair* is genuine (one person) or impostor (two people). Its score is the cosine of the two embeddings, and a
threshold t accepts every pair with score >= t. Over the pairs

    FAR(t) = accepted impostor pairs / impostor pairs        false accept rate
    TAR(t) = accepted genuine pairs  / genuine pairs         true accept rate;  FRR = 1 - TAR

Pairs with one score cross a threshold together: a tie is one step of the ROC, which makes it a sloped segment. All
numbers here are exact under ties. Cosines are computed in float64 and rounded to 12 decimals, so that rounding
error (about 1e-15) neither breaks a tie nor, for practical purposes, makes one.

Pairs are not independent: each person sits in many of them. Intervals therefore resample people, not pairs
(`VerificationResult.intervals` says how and why).

    >>> result = evaluate_pairs(embeddings, *all_pairs(labels), identities=labels)
    >>> result.eer, result.tar_at(1e-3), result.interval("eer")
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import norm, t

Array = NDArray[Any]
NUM_FOLDS = 10


class ROC(NamedTuple):
    """Points of the ROC, one per distinct score, from "accept nothing" (threshold inf) to "accept everything"."""

    far: Array  # (T,) false accept rate
    tar: Array  # (T,) true accept rate
    thresholds: Array  # (T,) descending; accept where score >= threshold


class Interval(NamedTuple):
    low: float
    high: float


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


# ------------------------------------------------------------------------------------------------ pairs and scores


def all_pairs(labels: Array | torch.Tensor | Sequence[Any]) -> tuple[Array, Array]:
    """All pairs i < j of N images: `pairs` (N(N-1)/2, 2) int64, `same` (N(N-1)/2,) bool, ordered by i, then j."""
    codes = _codes("labels", labels)
    n = len(codes)
    row = np.arange(n)
    length = n - 1 - row  # pairs that begin with each image
    first = np.repeat(row, length)  # 0 0 0 1 1 2
    start = np.cumsum(length) - length  # where those pairs begin
    second = np.arange(len(first)) + (row + 1 - start)[first]  # 1 2 3 2 3 3
    return np.stack([first, second], axis=1), codes[first] == codes[second]


def fold_pairs(
    labels: Array | torch.Tensor | Sequence[Any], *, per_fold: int = 300, num_folds: int = NUM_FOLDS, seed: int = 0
) -> tuple[Array, Array, Array]:
    """Draw a protocol like LFW's view 2: people-disjoint folds with as many genuine as impostor pairs in each.

    labels: (N,) person of each image. Returns `pairs` (2 * per_fold * num_folds, 2) int64, `same` bool and `folds`
    int64, ready for `evaluate_pairs`. No pair is drawn twice. Balanced pairs make chance accuracy 1/2.
    Source: Huang et al., Labeled Faces in the Wild, UMass TR 07-49, 2007 (300 + 300 pairs in each of 10 folds).
    """
    codes = _codes("labels", labels)
    rng = np.random.default_rng(seed)
    fold_of_person = rng.permutation(codes.max() + 1) % num_folds
    chosen = []
    for fold in range(num_folds):
        images = np.flatnonzero(fold_of_person[codes] == fold)
        pairs, same = all_pairs(codes[images]) if len(images) else (np.empty((0, 2), np.int64), np.empty(0, bool))
        for kind, name in ((True, "genuine"), (False, "impostor")):
            candidates = np.flatnonzero(same == kind)
            if len(candidates) < per_fold:
                found = f"fold {fold} of {num_folds} offers {len(candidates)} {name} pairs"
                raise ValueError(f"labels: {found}, expected at least per_fold={per_fold}")
            chosen.append(images[pairs[rng.choice(candidates, per_fold, replace=False)]])
    same = np.tile(np.repeat([True, False], per_fold), num_folds)
    return np.concatenate(chosen), same, np.repeat(np.arange(num_folds), 2 * per_fold)


def score_pairs(embeddings: Array | torch.Tensor, pairs: Array | torch.Tensor, *, block: int = 256) -> Array:
    """Cosine of each pair: embeddings (N, d) floating point, pairs (P, 2) integer -> (P,) float64 in [-1, 1].

    Beside the embeddings in float64 and the result it holds either `block` pairs of rows at a time, or, where the
    images are few for so many pairs, all N x N cosines (never more than 4 numbers a pair), which is much faster.
    """
    unit = _unit_rows("embeddings", embeddings)
    index = _check_pairs(pairs, len(unit))
    if len(unit) ** 2 <= 4 * len(index):
        scores = (unit @ unit.T)[index[:, 0], index[:, 1]]
    else:
        scores = np.empty(len(index))
        for start in range(0, len(index), block):
            part = index[start : start + block]
            np.einsum("pd,pd->p", unit[part[:, 0]], unit[part[:, 1]], out=scores[start : start + block])
    return np.clip(np.round(scores, 12, out=scores), -1, 1, out=scores)


def evaluate_pairs(
    embeddings: Array | torch.Tensor,
    pairs: Array | torch.Tensor,
    same: Array | torch.Tensor | Sequence[bool],
    *,
    identities: Array | torch.Tensor | Sequence[Any] | None = None,
    folds: Array | torch.Tensor | Sequence[int] | None = None,
) -> VerificationResult:
    """Measure an embedding on pairs.

    embeddings: (N, d) floating point, any positive scale per row; pairs: (P, 2) integer rows of `embeddings`;
    same: (P,) bool, True where both images show one person; identities: (N,) person of each image, numbers or
    strings, needed for intervals; folds: (P,) integer fold of each pair, negative for a pair that takes no part in
    the accuracy.

    Without `folds`, folds are made: with `identities`, people are dealt to 10 folds (to half as many folds as
    people where they are fewer than 20) and a pair belongs to a fold if both its people do. A pair whose people
    are in two folds would carry a test person into the choice of the threshold, so it is left out of the accuracy
    (of nothing else). Without `identities`, 10 contiguous blocks of the list, the order in which LFW ships its
    folds; whether people are shared between them cannot be seen then.

    ValueError where an argument has a wrong shape, dtype or value, where all pairs are of one kind, or where
    `same` contradicts `identities`.
    """
    scores = score_pairs(embeddings, pairs)
    index = _numpy(pairs).astype(np.int64, copy=False)
    truth = _check_same(same, len(index))
    people = None
    if identities is not None:
        codes = _codes("identities", identities, len(embeddings))
        seen = np.unique(codes[np.bincount(index.ravel(), minlength=len(codes)) > 0])  # people in the pairs
        people = np.searchsorted(seen, codes)[index]  # (P, 2)
        wrong = np.flatnonzero((people[:, 0] == people[:, 1]) != truth)
        if len(wrong):
            found = f"pair {wrong[0]} is marked {bool(truth[wrong[0]])} where its identities say otherwise"
            raise ValueError(f"same: {found} ({len(wrong)} such pairs), expected agreement with identities")
    if folds is None:
        return VerificationResult(scores, truth, index, people, _make_folds(len(index), people))
    return VerificationResult(scores, truth, index, people, _check_folds(folds, people, len(index)))


# --------------------------------------------------------------------------------------- ranked pairs, weighted ROC


class _Ranking:
    """Genuine and impostor pairs, best score first, and where the steps of the ROC lie.

    Only genuine scores matter as thresholds: between two of them TAR stands still, so the ROC runs straight. For
    each of the S distinct genuine scores, best first: how many genuine pairs have it or a better one (`accepted`),
    how many impostors have a better one (`impostors_above`) or at least an equal one (`impostors_accepted`).
    Keys are minus the scores, so that "best first" is ascending and searchsorted applies.
    """

    def __init__(self, scores: Array, same: Array, chosen: Array | None = None, people: Array | None = None) -> None:
        self._people = people  # (P, 2)
        genuine, impostor = (
            np.flatnonzero(kind if chosen is None else kind & chosen) for kind in (same, ~same)
        )  # numbers of the pairs
        self.genuine = genuine[np.argsort(-scores[genuine])]  # (G,)
        self.impostor = impostor[np.argsort(-scores[impostor])]  # (I,)
        self.genuine_keys = -scores[self.genuine]
        self.impostor_keys = -scores[self.impostor]
        self.accepted = np.append(np.flatnonzero(np.diff(self.genuine_keys)) + 1, len(genuine))  # (S,)
        self.steps = self.genuine_keys[self.accepted - 1]  # (S,) the distinct keys
        self.impostors_above = np.searchsorted(self.impostor_keys, self.steps, side="left")  # (S,)
        self.impostors_accepted = np.searchsorted(self.impostor_keys, self.steps, side="right")  # (S,)

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
        """The (weighted) ROC at the steps; NaN where all genuine or all impostor pairs have weight 0."""
        if weights is None:
            genuine, above, accepted = self.accepted, self.impostors_above, self.impostors_accepted
            num_genuine, num_impostor = len(self.genuine), len(self.impostor)
        else:
            counts = _cumulative(weights.genuine), _cumulative(weights.impostor)
            genuine = counts[0][self.accepted]
            above, accepted = counts[1][self.impostors_above], counts[1][self.impostors_accepted]
            num_genuine, num_impostor = counts[0][-1], counts[1][-1]
        if num_genuine == 0 or num_impostor == 0:
            return Curve(*np.full((3, len(self.steps)), np.nan))
        return Curve(genuine / num_genuine, above / num_impostor, accepted / num_impostor)


class Weights(NamedTuple):
    """Whole-number weights of the pairs in the order of a ranking."""

    genuine: Array  # (G,)
    impostor: Array  # (I,)


class Curve(NamedTuple):
    """The ROC at the distinct genuine scores, best first. The S points (far, tar) joined by steps."""

    tar: Array  # (S,) with the threshold at this score
    far_above: Array  # (S,) with the threshold just above it
    far: Array  # (S,) with the threshold at it

    def auc(self) -> float:
        """P(genuine score > impostor score) + P(tie) / 2, the area under the ROC (Mann-Whitney)."""
        return float(np.diff(self.tar, prepend=0.0) @ (1 - (self.far_above + self.far) / 2))

    def eer(self) -> float:
        """Where the ROC, its points joined by straight lines, meets FAR = FRR."""
        if np.isnan(self.tar[0]):
            return math.nan
        far = np.stack([self.far_above, self.far], axis=1).ravel()  # two corners a step
        tar = np.stack([np.append(0.0, self.tar[:-1]), self.tar], axis=1).ravel()
        far, tar = np.concatenate([[0.0], far, [1.0]]), np.concatenate([[0.0], tar, [1.0]])
        excess = far - (1 - tar)  # FAR - FRR, never falls, from -1 to 1
        i = int(np.searchsorted(excess, 0.0))
        share = -excess[i - 1] / (excess[i] - excess[i - 1])
        return float(far[i - 1] + share * (far[i] - far[i - 1]))

    def tar_at(self, far: float) -> float:
        """Highest TAR of any threshold with FAR <= far; 0 where even the best genuine score lets in too many."""
        if np.isnan(self.tar[0]):
            return math.nan
        steps = int(np.searchsorted(self.far, far, side="right"))
        return float(self.tar[steps - 1]) if steps else 0.0


def _fold_accuracy(ranking: _Ranking, folds: Weights, weights: Weights, fold: int) -> tuple[float, float]:
    """Accuracy on one fold with the threshold that is best on all others; (accuracy, threshold).

    Best: most (weighted) correct decisions on the training pairs. Of equally good thresholds the strictest, and
    then the middle between the lowest score it accepts and the highest it rejects in the training pairs; inf where
    accepting nothing is best, -inf where the training pairs have no score below.
    """
    train = Weights(*(w * (f != fold) for w, f in zip(weights, folds, strict=True)))
    gained = _cumulative(train.genuine)[ranking.accepted]  # right decisions won over "accept nothing" ...
    lost = _cumulative(train.impostor)[ranking.impostors_accepted]  # ... and lost
    best = int(np.argmax(np.append(0, gained - lost)))  # argmax takes the first, the strictest
    threshold = math.inf
    if best:
        key = ranking.steps[best - 1]
        below = [
            keys[rest + int(np.argmax(w[rest:] > 0))] if w[rest:].any() else math.inf
            for keys, w, rest in (
                (ranking.genuine_keys, train.genuine, ranking.accepted[best - 1]),
                (ranking.impostor_keys, train.impostor, ranking.impostors_accepted[best - 1]),
            )
        ]
        threshold = float(-(key + min(below)) / 2)
    accepted = np.searchsorted(ranking.genuine_keys, -threshold, side="right")
    rejected = np.searchsorted(ranking.impostor_keys, -threshold, side="right")
    test = Weights(*(w - t for w, t in zip(weights, train, strict=True)))
    correct = test.genuine[:accepted].sum() + test.impostor[rejected:].sum()
    total = test.genuine.sum() + test.impostor.sum()
    return (float(correct / total) if total else math.nan), threshold


# ---------------------------------------------------------------------------------------------------------- result


class VerificationResult:
    """What `evaluate_pairs` measured. Every number is computed when first asked for.

    `scores` (P,), `same` (P,), `pairs` (P, 2) and `folds` (P,) are as given or made, in the order of the pairs.
    """

    def __init__(self, scores: Array, same: Array, pairs: Array, people: Array | None, folds: Array) -> None:
        self.scores, self.same, self.pairs, self.folds = scores, same, pairs, folds
        self._people = people  # (P, 2) number of each person, or None
        self.num_genuine = int(same.sum())
        self.num_impostor = len(same) - self.num_genuine

    @property
    def _num_people(self) -> int:
        return 0 if self._people is None else int(self._people.max()) + 1

    @cached_property
    def _ranking(self) -> _Ranking:
        return _Ranking(self.scores, self.same, people=self._people)

    @cached_property
    def _curve(self) -> Curve:
        return self._ranking.curve()

    @cached_property
    def auc(self) -> float:
        """Area under the ROC: P(a genuine pair scores above an impostor pair), ties count half."""
        return self._curve.auc()

    @cached_property
    def eer(self) -> float:
        """Equal error rate: the value of FAR = FRR on the ROC whose points are joined by straight lines.

        Exact and unique. On a step made by genuine pairs alone it is the FAR of that step; only inside a tie of
        both kinds does the line interpolate (the threshold that accepts part of a tie at random). It is not the
        EER of the ROC's convex hull, which is never larger (Brümmer, PhD thesis, Stellenbosch 2010, ROCCH).
        """
        return self._curve.eer()

    @cached_property
    def roc(self) -> ROC:
        """The ROC with one point per distinct score (of either kind)."""
        keys = np.unique(-self.scores)
        ranking = self._ranking
        tar = np.searchsorted(ranking.genuine_keys, keys, side="right") / self.num_genuine
        far = np.searchsorted(ranking.impostor_keys, keys, side="right") / self.num_impostor
        return ROC(np.append(0.0, far), np.append(0.0, tar), np.append(np.inf, -keys))

    def tar_at(self, far: float) -> float:
        """Highest TAR over all thresholds with FAR <= far; all pairs with the threshold's score are accepted.

        ValueError for far outside (0, 1) or finer than 1 / impostor pairs, which no threshold can show; a warning
        below 10 / impostor pairs, where fewer than ten false accepts decide.
        """
        self._check_far(far)
        self._warn_far(far)
        return self._curve.tar_at(far)

    def threshold_at(self, far: float) -> float:
        """The threshold behind `tar_at(far)`: the lowest genuine score with FAR <= far, or inf if there is none."""
        self._check_far(far)
        self._warn_far(far)
        steps = int(np.searchsorted(self._curve.far, far, side="right"))
        return float(-self._ranking.steps[steps - 1]) if steps else math.inf

    @property
    def accuracy(self) -> float:
        """Mean over the folds of the share of right decisions, each fold's threshold chosen on the others.

        LFW's measure (Huang et al., UMass TR 07-49, 2007, "image-restricted", view 2). With unequal numbers of
        genuine and impostor pairs, saying the same to every pair already scores high: see `fold_pairs`.
        """
        return float(np.mean(self.fold_accuracies))

    @property
    def accuracy_std(self) -> float:
        """Sample standard deviation (n - 1) of the folds' accuracies; LFW prints it divided by sqrt(folds)."""
        return float(np.std(self.fold_accuracies, ddof=1))

    @property
    def fold_accuracies(self) -> Array:
        """(F,) accuracy of each fold, in the order of the folds' numbers."""
        return self._fold_results[:, 0]

    @property
    def fold_thresholds(self) -> Array:
        """(F,) threshold used on each fold, chosen on the other folds (`_fold_accuracy` has the rule for ties)."""
        return self._fold_results[:, 1]

    # --- intervals

    def interval(
        self, name: str, *, level: float = 0.95, resamples: int = 500, seed: int = 0, by: str = "identities"
    ) -> Interval:
        """Bootstrap interval of one number: "auc", "eer", "accuracy" or "tar@1e-3" (any FAR). See `intervals`."""
        return self.intervals([name], level=level, resamples=resamples, seed=seed, by=by)[name]

    def intervals(
        self,
        names: Sequence[str] = ("auc", "eer", "accuracy"),
        *,
        level: float = 0.95,
        resamples: int = 500,
        seed: int = 0,
        by: str = "identities",
    ) -> dict[str, Interval]:
        """Bootstrap intervals of several numbers from one set of resamples.

        by="identities": K people are drawn from the K people with replacement. If person i comes up w_i times, a
        genuine pair of i counts w_i times and an impostor pair of i and j counts w_i w_j times: the pigeonhole
        bootstrap (Owen 2007, 10.1214/07-AOAS122; for face verification, the vertex bootstrap of Fogliato, Patil &
        Perona 2024, arXiv 2306.01198). Resampling pairs, or each person's impostor pairs as one block, misses that
        one hard person spoils pairs with everybody, and gives intervals that are too short.
        The product w_i w_j overstates what is proper to a pair of people (not to either person): it counts its
        variance three times, the dyadic variance estimate (Aronow, Samii & Assenova 2015, 10.1093/pan/mpv018)
        once. So that part, V_pair, is measured by a bootstrap with independent weights for pairs of people, and
        V - 2 V_pair is used. It matters for lists like LFW's, where people meet once (else up to sqrt(3) too
        wide), hardly for all pairs. V is scaled by K / (K - 3): centring the K people's effects on their own mean
        shrinks a variance of row sums by about 3 / K.
        The interval is logit(estimate) -+ t * sd / (estimate (1 - estimate)), mapped back, t with K - 1 degrees of
        freedom: near 0 and 1 the spread depends on the value, and percentiles covered less often in simulation.

        Simulated coverage of 95 % intervals (AUC, EER, TAR@0.1; 120 rounds, standard error .02): .90 to .97 with
        strong effects of 40 or 60 people, .93 to .98 with weak ones or a sparse list; resampling pairs gives .68 to
        .85 where effects are strong. An estimate of exactly 0 or 1 gives an interval of no width: it says nothing
        about how rare the errors are. With fewer than 4 people there is no interval.

        by="pairs": the usual bootstrap of pairs as if they were independent; too short where people repeat.

        level: coverage aimed at. The folds and the rule for the threshold stay part of "accuracy": both are redone in
        each resample. ValueError for an unknown name, or without identities.
        """
        _check_bootstrap([self], names, level, resamples, by)
        draws = _bootstrap([self], names, resamples, seed, by)[..., 0, :]  # (kinds, resamples, names)
        estimates = self._statistics(names)
        size = self._num_people if by == "identities" else None
        halves = [_half_width(draws[..., n], size, level) for n in range(len(names))]
        return {n: _logit_interval(e, h) for n, e, h in zip(names, estimates, halves, strict=True)}

    # --- inside

    def _statistics(self, names: Sequence[str], weigh: Callable[[_Ranking], Weights] | None = None) -> list[float]:
        """The named numbers, under weights if a function is given that weighs a ranking's pairs."""
        curve, values = None, []
        for name in names:
            if name == "accuracy":
                values.append(float(_mean(self._accuracies(weigh)[:, 0])))
                continue
            if curve is None:
                curve = self._curve if weigh is None else self._ranking.curve(weigh(self._ranking))
            values.append(curve.tar_at(float(name[4:])) if name.startswith("tar@") else getattr(curve, name)())
        return values

    @cached_property
    def _fold_ranking(self) -> tuple[_Ranking, Weights]:
        """The pairs that belong to a fold, ranked, and the fold of each."""
        numbers = np.unique(self.folds[self.folds >= 0])
        for fold in numbers:
            kinds = np.unique(self.same[(self.folds >= 0) & (self.folds != fold)])
            if len(numbers) < 2 or len(kinds) < 2:
                found = f"{len(numbers)} folds, the others of fold {fold} with {len(kinds)} kinds of pairs"
                raise ValueError(f"folds: {found}, expected 2 or more, any all-but-one of them with both kinds")
        ranking = _Ranking(self.scores, self.same, self.folds >= 0, self._people)
        folds = np.searchsorted(numbers, self.folds).astype(np.int16)
        return ranking, Weights(folds[ranking.genuine], folds[ranking.impostor])

    def _accuracies(self, weigh: Callable[[_Ranking], Weights] | None = None) -> Array:
        """(F, 2) accuracy and threshold of each fold."""
        ranking, folds = self._fold_ranking
        ones = Weights(*(np.ones(len(f), np.int64) for f in folds))
        weights = ones if weigh is None else weigh(ranking)
        num_folds = 1 + max(f.max(initial=0) for f in folds)
        return np.array([_fold_accuracy(ranking, folds, weights, fold) for fold in range(num_folds)])

    @cached_property
    def _fold_results(self) -> Array:
        return self._accuracies()

    def _check_far(self, far: float) -> None:
        if not (isinstance(far, (int, float, np.floating)) and 0 < far < 1):
            raise ValueError(f"far: found {far!r}, expected a number in (0, 1)")
        if far < 1 / self.num_impostor:
            limit = f"at least 1 / {self.num_impostor} impostor pairs = {1 / self.num_impostor:.3g}"
            raise ValueError(f"far: found {far:g}, expected {limit}, the finest FAR these pairs can show")

    def _warn_far(self, far: float) -> None:
        if far < 10 / self.num_impostor:
            few = f"fewer than 10 of {self.num_impostor} impostor pairs decide; expect a wide interval"
            warnings.warn(f"far={far:g}: {few}", UserWarning, stacklevel=3)

    def __repr__(self) -> str:
        people = "" if self._people is None else f" of {self._num_people:,} people"
        images = len(np.unique(self.pairs))
        lines = [
            f"VerificationResult: {images:,} images{people}, {self.num_genuine:,} genuine + "
            f"{self.num_impostor:,} impostor pairs",
            f"  AUC {self.auc:.5f}   EER {self.eer:.2%}",
        ]
        fars = [far for far in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6) if far >= 10 / self.num_impostor]
        if fars:
            lines.append("  " + "   ".join(f"TAR@FAR={far:.0e} {self._curve.tar_at(far):.2%}" for far in fars))
        try:
            used = self.folds >= 0
            share = self.same[used].mean()
            lines.append(
                f"  accuracy {self.accuracy:.2%} ± {self.accuracy_std:.2%} over {len(self.fold_accuracies)} folds of "
                f"{used.sum():,} pairs (one answer to all: {max(share, 1 - share):.2%})"
            )
        except ValueError as problem:
            lines.append(f"  accuracy not available ({problem})")
        return "\n".join(lines)


# ------------------------------------------------------------------------------------------------------- bootstrap


def compare(
    a: VerificationResult,
    b: VerificationResult,
    name: str = "eer",
    *,
    level: float = 0.95,
    resamples: int = 500,
    seed: int = 0,
    by: str = "identities",
) -> Comparison:
    """Paired bootstrap of the difference a - b of one number, both measured on the same pairs.

    Each resample draws the people once, for both: what makes a person hard for both embeddings cancels, so the
    interval is shorter than one from two separate intervals. Otherwise as `VerificationResult.intervals`.
    The interval is difference -+ t * sd;
    at level 0.95, one that excludes 0 is a test at about 5 %. ValueError where the pairs differ.
    """
    for part in ("pairs", "same", "folds", "_people"):
        if not np.array_equal(getattr(a, part), getattr(b, part)):
            what = part.replace("_people", "identities")
            raise ValueError(f"b: its {what} differ from those of a, expected two results on the same pairs")
    _check_bootstrap([a, b], [name], level, resamples, by)
    draws = _bootstrap([a, b], [name], resamples, seed, by)[..., 0]  # (kinds, resamples, 2)
    (of_a,), (of_b,) = a._statistics([name]), b._statistics([name])
    size = a._num_people if by == "identities" else None
    half, difference = _half_width(draws[..., 0] - draws[..., 1], size, level), of_a - of_b
    return Comparison(name, of_a, of_b, difference, difference - half, difference + half, level)


def _bootstrap(
    results: Sequence[VerificationResult], names: Sequence[str], resamples: int, seed: int, by: str
) -> Array:
    """(kinds, resamples, results, names). The results share pairs, and each resample's weights.

    by="identities" has two kinds: [0] people drawn with replacement, [1] independent weights 0 or 2 (variance 1,
    like that of w_i) for the pairs of people and none for the rest: what V_pair is estimated from.
    """
    rng = np.random.default_rng(seed)
    num_people = results[0]._num_people
    num_pairs = len(results[0].same)
    draws = []
    for _ in range(resamples):
        if by == "pairs":
            kinds = [_by_pair(_multiplicities(rng, num_pairs))]
        else:
            kinds = [_by_person(_multiplicities(rng, num_people)), _by_couple(int(rng.integers(2**63)))]
        draws.append([[result._statistics(names, weigh) for result in results] for weigh in kinds])
    return np.array(draws).swapaxes(0, 1)


def _by_pair(times: Array) -> Callable[[_Ranking], Weights]:
    return lambda ranking: Weights(_look_up(times, ranking.genuine), _look_up(times, ranking.impostor))


def _by_person(times: Array) -> Callable[[_Ranking], Weights]:
    """Genuine pair of i: w_i. Impostor pair of i and j: w_i w_j."""

    def weigh(ranking: _Ranking) -> Weights:
        (first, second), couple = ranking.couples
        return Weights(_look_up(times, ranking.genuine_person), _look_up(times[first] * times[second], couple))

    return weigh


def _by_couple(seed: int) -> Callable[[_Ranking], Weights]:
    """All impostor pairs of i and j together: 0 or 2. Seeded, so that two results get the same weights."""

    def weigh(ranking: _Ranking) -> Weights:
        people, couple = ranking.couples
        times = np.random.default_rng(seed).choice(np.array([0, 2]), size=people.shape[1])
        return Weights(np.ones(len(ranking.genuine), np.int64), _look_up(times, couple))

    return weigh


def _look_up(table: Array, index: Array) -> Array:
    """table[index] for an index known to be in range: twice as fast without the check."""
    return np.take(table, index, mode="clip")


def _half_width(draws: Array, num_people: int | None, level: float) -> float:
    """t * sd from bootstrap draws (kinds, resamples); `VerificationResult.intervals` has the corrections."""
    variance = float(np.nanvar(draws[0], ddof=1))
    if num_people is None:
        return float(norm.ppf((1 + level) / 2)) * math.sqrt(variance)
    # The part to leave is never under a third: the draws hold V_pair three times.
    variance = max(variance - 2 * float(np.nanvar(draws[1], ddof=1)), variance / 3) * num_people / (num_people - 3)
    return float(t.ppf((1 + level) / 2, num_people - 1)) * math.sqrt(variance)


def _logit_interval(estimate: float, half: float) -> Interval:
    if not 0 < estimate < 1:
        return Interval(estimate, estimate)
    centre, step = logit(estimate), half / (estimate * (1 - estimate))
    return Interval(float(expit(centre - step)), float(expit(centre + step)))


def _multiplicities(rng: np.random.Generator, n: int) -> Array:
    """How often each of n things comes up in n draws with replacement, (n,) int64."""
    return np.bincount(rng.integers(n, size=n), minlength=n)


def _cumulative(weights: Array) -> Array:
    """(n,) -> (n + 1,) sums of the first 0, 1, ..., n weights, exact."""
    total = np.zeros(len(weights) + 1, np.int64)
    np.cumsum(weights, out=total[1:])
    return total


def _mean(values: Array) -> float:
    """Mean of what is not NaN (a fold may lose all its pairs in a resample); NaN where all is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


# ---------------------------------------------------------------------------------------------------------- checks


def _numpy(values: Any) -> Array:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return np.asarray(values)


def _unit_rows(name: str, values: Any) -> Array:
    """(N, d) floating point -> float64 rows of length 1."""
    rows = _numpy(values)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"{name}: found shape {rows.shape}, expected (N, d) with N, d >= 1")
    if not np.issubdtype(rows.dtype, np.floating):
        raise ValueError(f"{name}: found dtype {rows.dtype}, expected floating point")
    rows = rows.astype(np.float64)
    peak = np.abs(rows).max(axis=1, keepdims=True)  # (N, 1); NaN and inf show here
    bad = np.flatnonzero(~np.isfinite(peak[:, 0]))
    if len(bad):
        raise ValueError(f"{name}: found NaN or inf in {len(bad)} rows, first {bad[0]}, expected finite numbers")
    zero = np.flatnonzero(peak[:, 0] == 0)
    if len(zero):
        raise ValueError(f"{name}: found {len(zero)} zero rows, first {zero[0]}, expected a direction in every row")
    rows /= peak  # first by the largest entry, so that no square over- or underflows
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def _check_pairs(pairs: Any, num_images: int) -> Array:
    index = _numpy(pairs)
    if index.ndim != 2 or index.shape[1] != 2 or len(index) == 0:
        raise ValueError(f"pairs: found shape {index.shape}, expected (P, 2) with P >= 1")
    if not np.issubdtype(index.dtype, np.integer):
        raise ValueError(f"pairs: found dtype {index.dtype}, expected integers")
    low, high = int(index.min()), int(index.max())
    if low < 0 or high >= num_images:
        raise ValueError(f"pairs: found indices {low} to {high}, expected 0 to {num_images - 1}")
    return index.astype(np.int64, copy=False)


def _check_same(same: Any, num_pairs: int) -> Array:
    truth = _numpy(same)
    if truth.shape != (num_pairs,):
        raise ValueError(f"same: found shape {truth.shape}, expected ({num_pairs},), one for each pair")
    if truth.dtype != np.bool_:
        raise ValueError(f"same: found dtype {truth.dtype}, expected bool")
    if truth.all() or not truth.any():
        found = f"{int(truth.sum())} genuine and {int((~truth).sum())} impostor pairs"
        raise ValueError(f"same: found {found}, expected at least one of each")
    return truth


def _codes(name: str, labels: Any, length: int | None = None) -> Array:
    """(N,) labels of any kind -> (N,) whole numbers 0, 1, ... in the labels' sorted order."""
    values = _numpy(labels)
    if values.ndim != 1 or len(values) == 0 or (length is not None and len(values) != length):
        expected = "(N,)" if length is None else f"({length},), one for each image"
        raise ValueError(f"{name}: found shape {values.shape}, expected {expected}")
    if values.dtype.kind not in "biuUS":
        raise ValueError(f"{name}: found dtype {values.dtype}, expected whole numbers or strings")
    return np.unique(values, return_inverse=True)[1]


def _check_folds(folds: Any, people: Array | None, num_pairs: int) -> Array:
    numbers = _numpy(folds)
    if numbers.shape != (num_pairs,):
        raise ValueError(f"folds: found shape {numbers.shape}, expected ({num_pairs},), one for each pair")
    if not np.issubdtype(numbers.dtype, np.integer):
        raise ValueError(f"folds: found dtype {numbers.dtype}, expected integers")
    names, codes = np.unique(numbers, return_inverse=True)
    if (names >= 0).sum() < 2:
        raise ValueError(f"folds: found {names[names >= 0].tolist()}, expected two or more different folds")
    if people is not None:
        seen = np.zeros((people.max() + 1, len(names)), bool)
        seen[people[:, 0], codes] = seen[people[:, 1], codes] = True
        shared = int((seen[:, names >= 0].sum(axis=1) > 1).sum())
        if shared:
            leak = f"{shared} people are in more than one fold: thresholds are chosen on people they are tested on"
            warnings.warn(f"folds: {leak}", UserWarning, stacklevel=3)
    return numbers.astype(np.int64)


def _make_folds(num_pairs: int, people: Array | None) -> Array:
    """(P,) fold of each pair, -1 for none; `evaluate_pairs` says how."""
    if people is None:
        return np.arange(num_pairs) * NUM_FOLDS // num_pairs
    fold = people % max(1, min(NUM_FOLDS, (int(people.max()) + 1) // 2))  # (P, 2)
    return np.where(fold[:, 0] == fold[:, 1], fold[:, 0], -1)


def _check_bootstrap(
    results: Sequence[VerificationResult], names: Sequence[str], level: float, resamples: int, by: str
) -> None:
    for name in names:
        if name.startswith("tar@"):
            try:
                far = float(name[4:])
            except ValueError:
                raise ValueError(f"name: found {name!r}, expected a number after tar@") from None
            for result in results:
                result._check_far(far)
        elif name not in ("auc", "eer", "accuracy"):
            raise ValueError(f"name: found {name!r}, expected auc, eer, accuracy or tar@ and a FAR, as tar@1e-3")
    if not 0 < level < 1:
        raise ValueError(f"level: found {level}, expected a number in (0, 1)")
    if resamples < 10:
        raise ValueError(f"resamples: found {resamples}, expected 10 or more")
    if by not in ("identities", "pairs"):
        raise ValueError(f"by: found {by!r}, expected 'identities' or 'pairs'")
    if by == "identities" and results[0]._people is None:
        way_out = "pass identities= to evaluate_pairs; by='pairs' ignores that pairs share people (too short)"
        raise ValueError(f"identities: found None, expected the person of each image to resample people: {way_out}")
    if by == "identities" and results[0]._num_people < 4:
        raise ValueError(f"identities: found {results[0]._num_people} people, expected 4 or more to resample")
