"""Pairs measured: the ROC and what is read off it, ten-fold accuracy, intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from scipy.stats import norm, t

from facelearn.verification import bootstrap, costs
from facelearn.verification.bootstrap import Interval
from facelearn.verification.checks import (
    Array,
    check_failed,
    check_far,
    check_folds,
    check_pairs,
    check_same,
    check_scores,
    check_threshold,
    codes_of,
    number_after,
    to_numpy,
    warn_far,
)
from facelearn.verification.pairs import NUM_FOLDS, score_pairs
from facelearn.verification.ranking import Curve, Ranking, Weigh, Weights, fold_accuracy


class Rates(NamedTuple):
    """What one threshold does to a set of pairs."""

    far: float  # impostor pairs accepted / impostor pairs
    frr: float  # genuine pairs rejected / genuine pairs


class Transfer(NamedTuple):
    """A threshold chosen on one set of pairs, and its rates there and on another; see `apply_threshold`."""

    threshold: float
    calibration: Rates
    test: Rates


class ROC(NamedTuple):
    """Points of the ROC, one per distinct score, from "accept nothing" (threshold inf) to "accept everything"."""

    far: Array  # (T,) false accept rate
    tar: Array  # (T,) true accept rate
    thresholds: Array  # (T,) descending; accept where score >= threshold


def evaluate_pairs(
    embeddings: Array | torch.Tensor,
    pairs: Array | torch.Tensor,
    same: Array | torch.Tensor | Sequence[bool],
    *,
    identities: Array | torch.Tensor | Sequence[Any] | None = None,
    folds: Array | torch.Tensor | Sequence[int] | None = None,
    failed: Array | torch.Tensor | Sequence[bool] | None = None,
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
    if failed is None:
        scores = score_pairs(embeddings, pairs)
    else:
        lost = check_failed("failed", failed, len(embeddings))
        rows = to_numpy(embeddings).copy()
        rows[lost] = 1  # any direction: the pairs do not keep its score
        scores = score_pairs(rows, pairs)
        scores[lost[to_numpy(pairs)].any(axis=1)] = -np.inf
    return _evaluate(scores, to_numpy(pairs).astype(np.int64, copy=False), same, identities, folds, len(embeddings))


Labels01 = Array | torch.Tensor | Sequence[bool] | Sequence[int]


@overload
def evaluate_scores(
    scores: Array | torch.Tensor | Sequence[float],
    same: Labels01,
    /,
    *,
    folds: Array | torch.Tensor | Sequence[int] | None = None,
) -> VerificationResult: ...
@overload
def evaluate_scores(
    scores: Array | torch.Tensor | Sequence[float],
    pairs: Array | torch.Tensor,
    same: Labels01,
    *,
    identities: Array | torch.Tensor | Sequence[Any] | None = None,
    folds: Array | torch.Tensor | Sequence[int] | None = None,
) -> VerificationResult: ...
def evaluate_scores(
    scores: Any, pairs: Any = None, same: Any = None, *, identities: Any = None, folds: Any = None
) -> VerificationResult:
    """Measure scores that are no cosines of one embedding: a fusion, joint Bayesian, another program's list.

    `evaluate_scores(scores, same)`, or with `pairs` between the two where it is known who meets whom.

    scores: (P,) numbers, higher means more alike, taken as they are (a tie is an exact tie; nothing is rounded); -inf
    where there is none because no face was found: such a pair is never accepted. same: (P,) bool, or 1 for one person
    and 0 for two. pairs: (P, 2) the two images of each pair; `identities` (N,), the person of each image, needs them,
    and intervals by people need `identities`. `folds` as in `evaluate_pairs`.

        >>> result = evaluate_scores([0.9, 0.4, 0.5, 0.1], [1, 1, 0, 0])
        >>> result.eer
        0.5
    """
    if same is None:
        pairs, same = None, pairs
    if pairs is None:
        if identities is not None:
            raise ValueError("identities: found without pairs, expected pairs (P, 2) too: they say who meets whom")
        return _evaluate(check_scores(scores, len(to_numpy(same))), None, same, None, folds, 0)
    index = to_numpy(pairs)
    count = len(identities) if identities is not None else int(index.max(initial=0)) + 1
    index = check_pairs(pairs, count)
    return _evaluate(check_scores(scores, len(index)), index, same, identities, folds, count)


def apply_threshold(calibration: VerificationResult, test: VerificationResult, far: float | None = None) -> Transfer:
    """Choose the threshold on one set of pairs, measure it on another: what a deployed system will do.

    far: the threshold is `calibration.threshold_at(far)`; None: `calibration.eer_threshold`. The rate reached on `test`
    differs from the one asked for: by chance (with n impostor pairs in `calibration` by about sqrt(far / n), more
    where people repeat), and because the people or pictures differ.
    """
    threshold = calibration.eer_threshold if far is None else calibration.threshold_at(far)
    return Transfer(threshold, calibration.rates_at(threshold), test.rates_at(threshold))


def _evaluate(
    scores: Array, index: Array | None, same: Any, identities: Any, folds: Any, num_images: int
) -> VerificationResult:
    truth = check_same(same, len(scores))
    people = None
    if identities is not None:
        assert index is not None
        codes = codes_of("identities", identities, num_images)
        seen = np.unique(codes[np.bincount(index.ravel(), minlength=len(codes)) > 0])  # people in the pairs
        people = np.searchsorted(seen, codes)[index]  # (P, 2)
        wrong = np.flatnonzero((people[:, 0] == people[:, 1]) != truth)
        if len(wrong):
            found = f"pair {wrong[0]} is marked {bool(truth[wrong[0]])} where its identities say otherwise"
            raise ValueError(f"same: {found} ({len(wrong)} such pairs), expected agreement with identities")
    numbers = _make_folds(truth, people) if folds is None else check_folds(folds, people, truth)
    return VerificationResult(scores, truth, index, people, numbers)


def _make_folds(same: Array, people: Array | None) -> Array:
    """(P,) fold of each pair, -1 for none; `evaluate_pairs` says how."""
    if people is None:
        kinds = np.flatnonzero(same), np.flatnonzero(~same)
        count = min(NUM_FOLDS, *map(len, kinds))
        numbers = np.empty(len(same), np.int64)
        for kind in kinds:
            numbers[kind] = np.arange(len(kind)) * count // len(kind)
        return numbers
    fold = people % max(1, min(NUM_FOLDS, (int(people.max()) + 1) // 2))  # (P, 2)
    return np.where(fold[:, 0] == fold[:, 1], fold[:, 0], -1)


class VerificationResult:
    """What `evaluate_pairs` or `evaluate_scores` measured. Every number is computed when first asked for.

    `scores` (P,), `same` (P,), `pairs` (P, 2) or None and `folds` (P,) are as given or made, in the order of the pairs.
    All but `pairs` are copies.
    """

    def __init__(self, scores: Array, same: Array, pairs: Array | None, people: Array | None, folds: Array) -> None:
        self.scores, self.same, self.pairs, self.folds = scores, same, pairs, folds
        self._people = people  # (P, 2) number of each person, or None
        self.num_genuine = int(same.sum())
        self.num_impostor = len(same) - self.num_genuine

    @property
    def _num_people(self) -> int:
        return 0 if self._people is None else int(self._people.max()) + 1

    @cached_property
    def _ranking(self) -> Ranking:
        return Ranking(self.scores, self.same, people=self._people)

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

        Elsewhere: bob.measure 6.1.1 and torchmetrics 1.9.0 (`BinaryEER`) give the mean of FAR and FRR at the nearest
        point, pyeer 0.5.6 that at one of the two round the crossing: on 50 genuine and 200 impostor scores with one
        decimal .2125, .2125 and .1725 where this is .2075. `BinaryEER` also passes a batch through a sigmoid if any
        score in it lies outside [0, 1]: fed cosines batch by batch it gave .31 for .1375. `fpr[argmin |fnr - fpr|]` on
        scikit-learn's `roc_curve` (1.9.1), which drops points on straight lines by default, was off by up to 9 points.
        """
        return self._curve.eer()

    @cached_property
    def roc(self) -> ROC:
        """The ROC with one point per distinct score (of either kind).

        Elsewhere: scikit-learn's `roc_curve` (1.9.1) has the same points with `drop_intermediate=False`; by default it
        drops those on straight lines. Its `det_curve` keeps them but leaves out the ends (1, 0) and (0, 1).
        """
        return ROC(*self._ranking.rates())

    def tar_at(self, far: float) -> float:
        """Highest TAR over all thresholds with FAR <= far; all pairs with the threshold's score are accepted.

        far = 0: the share of genuine pairs that beat every impostor pair of this list, which a longer list lowers.
        ValueError for far outside [0, 1), or above 0 and finer than 1 / impostor pairs, which no threshold can show;
        a warning below 10 / impostor pairs, where fewer than ten false accepts decide.
        """
        self._check_far(far, warn=True)
        return self._curve.tar_at(far)

    def threshold_at(self, far: float) -> float:
        """The lowest threshold with FAR <= far: the next floating point number above an impostor pair's score.

        It is the one to deploy. Of all thresholds that keep the promise it rejects the fewest genuine pairs, here and
        on new pairs. A threshold at the lowest genuine score that keeps it decides these pairs alike, but lies higher
        by a gap that only the luck of the genuine pairs explains: with 100 genuine and 100,000 impostor pairs and
        far = 1e-3 it lets through half of what was allowed on new pairs, and rejects twice as many genuine ones.
        Scores that another program computes in float32 differ by about 1e-7 from these.

        Elsewhere: bob.measure 6.1.1 (`far_threshold`) gives the same; pyeer 0.5.6 (FMR10, FMR100, ...) takes the
        nearest rate, which may lie above the one asked for; facenet's and insightface's `val` interpolates a threshold
        on a grid with SciPy's `interp1d(kind="slinear")`, which raises where a rate repeats (SciPy 1.9.3 to 1.17.1).
        """
        self._check_far(far, warn=True)
        return self._ranking.lowest_threshold(far)

    @cached_property
    def eer_threshold(self) -> float:
        """The threshold whose FAR and FRR are nearest to each other (of several the strictest), to calibrate with.

        The middle between the lowest score that it accepts and the highest that it rejects.
        """
        return self._ranking.equal_error_threshold()

    def rates_at(self, threshold: float) -> Rates:
        """FAR and FRR of accepting every pair with score >= threshold. Intervals: `interval("far>=0.35")`."""
        genuine, impostor = self._ranking.accepted_at(check_threshold(threshold))
        return Rates(impostor / self.num_impostor, 1 - genuine / self.num_genuine)

    # --- costs and scores as evidence: `costs` has the definitions

    def min_dcf(self, p_genuine: float = 0.01, cost_reject: float = 1.0, cost_accept: float = 1.0) -> float:
        """Smallest normalised detection cost over all thresholds (NIST's minDCF); see `costs.detection_cost`."""
        roc = self.roc
        return float(costs.detection_cost(roc.far, 1 - roc.tar, p_genuine, cost_reject, cost_accept).min())

    @cached_property
    def cllr(self) -> float:
        """Cost of the scores as natural log likelihood ratios, in bits; see `costs.cllr`. Cosines are none."""
        return costs.cllr(self.scores, self.same)

    @cached_property
    def min_cllr(self) -> float:
        """`cllr` after the best monotone recalibration: what the order of the scores is worth."""
        return costs.min_cllr(self.scores, self.same)

    @property
    def accuracy(self) -> float:
        """Mean over the folds of the share of right decisions, each fold's threshold chosen on the others.

        LFW's measure (Huang et al., UMass TR 07-49, 2007, view 2), which leaves open how the threshold is chosen.
        Here every threshold that decides the training pairs differently is tried; `ranking.fold_accuracy` has the rule
        for ties. InsightFace's and facenet's `evaluate` try the grid 0, .01, ..., 3.99 of squared distances
        2 - 2 cos, .005 apart in the cosine, take the first (strictest) of the best, and accept below it, not at it.
        On 6,000 simulated pairs the two differ by nothing in the mean, in single draws by up to .6 points where
        accuracy is 84 %, .2 at 96 %, .03 at 99.8 %; but where all cosines lie within .02, the grid loses 9 points.
        With unequal numbers of genuine and impostor pairs, saying the same to every pair already scores high: see
        `fold_pairs`.
        """
        return float(np.mean(self.fold_accuracies))

    @property
    def accuracy_std(self) -> float:
        """Sample standard deviation (n - 1) of the folds' accuracies.

        LFW reports it divided by sqrt(folds), the standard error of the mean; InsightFace prints numpy's default (n).
        """
        return float(np.std(self.fold_accuracies, ddof=1))

    @property
    def fold_accuracies(self) -> Array:
        """(F,) accuracy of each fold, in the order of the folds' numbers."""
        return self._fold_results[:, 0]

    @property
    def fold_thresholds(self) -> Array:
        """(F,) threshold used on each fold, chosen on the other folds (rule for ties: `ranking.fold_accuracy`)."""
        return self._fold_results[:, 1]

    # --- intervals

    def interval(
        self, name: str, *, level: float = 0.95, resamples: int = 500, seed: int = 0, by: str = "identities"
    ) -> Interval:
        """Bootstrap interval of one number; see `intervals`.

        name: "auc", "eer", "accuracy", "tar@1e-3" (any FAR), "far>=0.35" or "frr<0.35" (at any threshold).
        """
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
        .85 where effects are strong. Where nearly all pairs are decided rightly it is less, since a few
        hard people make all the mistakes and a small set may lack them: at an AUC of .9986, all pairs of 30 people hold
        the true AUC in .76 and the true EER in .79 of the sets, of 100 people in .82 and .92, a list of 60 people who
        meet once in .89 and .95; TAR@1e-2 in .93 to .96 everywhere. The misses are one-sided: such a set is too good
        and too sure of it. More people help, more pictures do not (`benchmarks/coverage.py`).

        A number of exactly 0 or 1 cannot be resampled. The open end of "tar@", "far>=" and "frr<" is then Clopper and
        Pearson's exact limit (1934, 10.1093/biomet/26.4.404) for as many trials as there are people (for impostor
        pairs: couples of people who share nobody). For the EER and the accuracy it is the larger of the two limits, for
        the AUC their sum: 1 - AUC is at most FAR + FRR at any threshold. With fewer than 4 people there is no interval.

        by="pairs": the usual bootstrap of pairs as if they were independent; too short where people repeat.

        level: coverage aimed at. The folds and the rule for the threshold stay part of "accuracy": both are redone in
        each resample. ValueError for an unknown name, or without identities.
        """
        return bootstrap.intervals(self, names, level, resamples, seed, by)

    # --- inside: what `bootstrap.Measured` asks for

    def _check_names(self, names: Sequence[str]) -> None:
        for name in names:
            if name.startswith("tar@"):
                self._check_far(number_after("tar@", name))
            elif name.startswith(RATES):
                threshold_of(name)
            elif name not in ("auc", "eer", "accuracy"):
                known = "auc, eer, accuracy, tar@ and a FAR (tar@1e-3), far>= or frr< and a threshold (far>=0.35)"
                raise ValueError(f"name: found {name!r}, expected {known}")

    def _ways(self) -> Sequence[str]:
        return "identities", "pairs"

    def _check_people(self, names: Sequence[str], by: str) -> None:
        if by == "pairs":
            return
        if self._people is None:
            way_out = "pass identities= (and pairs); by='pairs' ignores that pairs share people (too short)"
            raise ValueError(f"identities: found None, expected the person of each image to resample people: {way_out}")
        if self._num_people < 4:
            raise ValueError(f"identities: found {self._num_people} people, expected 4 or more to resample")

    def _design(self) -> dict[str, Array | None]:
        return {"pairs": self.pairs, "same": self.same, "folds": self.folds, "identities": self._people}

    def _statistics(self, names: Sequence[str], weigh: Weigh | None = None) -> list[float]:
        curve, values = None, []
        for name in names:
            if name == "accuracy":
                values.append(float(_mean(self._accuracies(weigh)[:, 0])))
                continue
            if name.startswith(RATES):
                values.append(self._rate(name, weigh))
                continue
            if curve is None:
                curve = self._curve if weigh is None else self._ranking.curve(weigh(self._ranking))
            values.append(curve.tar_at(float(name[4:])) if name.startswith("tar@") else getattr(curve, name)())
        return values

    def _rate(self, name: str, weigh: Weigh | None) -> float:
        """ "far>=t" or "frr<t", weighted."""
        threshold, wrong = threshold_of(name), name.startswith("far")
        genuine, impostor = self._ranking.accepted_at(threshold)
        if weigh is None:
            return impostor / self.num_impostor if wrong else 1 - genuine / self.num_genuine
        weights = weigh(self._ranking)
        kind, accepted = (weights.impostor, impostor) if wrong else (weights.genuine, genuine)
        share = float(kind[:accepted].sum() / kind.sum()) if kind.any() else math.nan
        return share if wrong else 1 - share

    def _trials(self, name: str, by: str) -> Sequence[int]:
        """Genuine and impostor pairs, or their people: a person's genuine pairs, couples of people who share nobody."""
        trials = [self.num_genuine, self.num_impostor]
        if by != "pairs":
            assert self._people is not None
            people = [len(np.unique(self._people[self.same == kind])) for kind in (True, False)]
            trials = [people[0], people[1] // 2]
        if name.startswith(("tar@", "frr")):
            return trials[:1]
        return trials[1:] if name.startswith("far") else trials

    def _draw(self, rng: np.random.Generator, by: str) -> Sequence[Weigh]:
        """by="identities" has two kinds: [0] people drawn with replacement, [1] independent weights 0 or 2 (variance
        1, like that of w_i) for the pairs of people and none for the rest: what V_pair is estimated from."""
        if by == "pairs":
            return [bootstrap.by_pair(bootstrap.multiplicities(rng, len(self.same)))]
        people = bootstrap.by_person(bootstrap.multiplicities(rng, self._num_people))
        return [people, bootstrap.by_couple(int(rng.integers(2**63)))]

    def _half_width(self, draws: Array, name: str, level: float, by: str) -> float:
        """t * sd; `intervals` has the corrections."""
        variance = float(np.nanvar(draws[0], ddof=1))
        if by == "pairs":
            return float(norm.ppf((1 + level) / 2)) * math.sqrt(variance)
        size = self._num_people
        # The part to leave is never under a third: the draws hold V_pair three times.
        variance = max(variance - 2 * float(np.nanvar(draws[1], ddof=1)), variance / 3) * size / (size - 3)
        return float(t.ppf((1 + level) / 2, size - 1)) * math.sqrt(variance)

    # --- inside: folds

    @cached_property
    def _fold_ranking(self) -> tuple[Ranking, Weights]:
        """The pairs that belong to a fold, ranked, and the fold of each."""
        numbers = np.unique(self.folds[self.folds >= 0])
        for fold in numbers:
            kinds = np.unique(self.same[(self.folds >= 0) & (self.folds != fold)])
            if len(numbers) < 2 or len(kinds) < 2:
                found = f"{len(numbers)} folds, the others of fold {fold} with {len(kinds)} kinds of pairs"
                raise ValueError(f"folds: {found}, expected 2 or more, any all-but-one of them with both kinds")
        ranking = Ranking(self.scores, self.same, self.folds >= 0, self._people)
        folds = np.searchsorted(numbers, self.folds).astype(np.int16)
        return ranking, Weights(folds[ranking.genuine], folds[ranking.impostor])

    def _accuracies(self, weigh: Weigh | None = None) -> Array:
        """(F, 2) accuracy and threshold of each fold."""
        ranking, folds = self._fold_ranking
        ones = Weights(*(np.ones(len(f), np.int64) for f in folds))
        weights = ones if weigh is None else weigh(ranking)
        num_folds = 1 + max(f.max(initial=0) for f in folds)
        return np.array([fold_accuracy(ranking, folds, weights, fold) for fold in range(num_folds)])

    @cached_property
    def _fold_results(self) -> Array:
        return self._accuracies()

    def _decided_rightly(self) -> Array:
        """(P,) bool: decided rightly at its fold's threshold; False for a pair without a fold."""
        used = np.flatnonzero(self.folds >= 0)
        threshold = self.fold_thresholds[np.unique(self.folds[used], return_inverse=True)[1]]
        right = np.zeros(len(self.same), bool)
        accepted = (self.scores[used] >= threshold) & (self.scores[used] > -np.inf)
        right[used] = accepted == self.same[used]
        return right

    def _check_far(self, far: float, warn: bool = False) -> None:
        check_far(far, self.num_impostor, "impostor pairs")
        if warn:
            warn_far(far, self.num_impostor, "impostor pairs")

    def __repr__(self) -> str:
        people = "" if self._people is None else f" of {self._num_people:,} people"
        images = "" if self.pairs is None else f"{len(np.unique(self.pairs)):,} images{people}, "
        lines = [
            f"VerificationResult: {images}{self.num_genuine:,} genuine + {self.num_impostor:,} impostor pairs",
            f"  AUC {self.auc:.5f}   EER {self.eer:.2%}",
        ]
        fars = [far for far in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6) if far >= 10 / self.num_impostor]
        if fars:
            lines.append("  " + "   ".join(f"TAR@FAR={far:.0e} {self._curve.tar_at(far):.2%}" for far in fars))
        try:
            used = self.folds >= 0
            share = self.same[used].mean()
            lines.append(
                f"  accuracy {self.accuracy:.2%} over {used.sum():,} pairs in {len(self.fold_accuracies)} folds, "
                f"which scatter by {self.accuracy_std:.2%} (one answer to all: {max(share, 1 - share):.2%})"
            )
        except ValueError as problem:
            lines.append(f"  accuracy not available ({problem})")
        return "\n".join(lines)


RATES = ("far>=", "frr<")


def threshold_of(name: str) -> float:
    prefix = next(prefix for prefix in RATES if name.startswith(prefix))
    return check_threshold(number_after(prefix, name))


def _mean(values: Array) -> float:
    """Mean of what is not NaN (a fold may lose all its pairs in a resample); NaN where all is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
