"""Verification numbers against brute force, scikit-learn, closed forms and simulation."""

from __future__ import annotations

import itertools
import math
import tracemalloc
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

from facelearn.verification import (
    VerificationResult,
    all_pairs,
    apply_threshold,
    compare,
    evaluate_pairs,
    evaluate_scores,
    fold_pairs,
    mcnemar,
    score_pairs,
)
from facelearn.verification.bootstrap import by_person


def at_angles(scores):
    """Two-dimensional embeddings and pairs whose cosines are the given scores: row 0 against all others."""
    scores = np.asarray(scores, dtype=np.float64)
    rows = np.stack([scores, np.sqrt(1 - scores**2)], axis=1)
    pairs = np.stack([np.zeros(len(scores), np.int64), np.arange(1, len(scores) + 1)], axis=1)
    return np.concatenate([[[1.0, 0.0]], rows]), pairs


def from_scores(scores, same, people=None, folds=None):
    scores, same = np.asarray(scores, dtype=np.float64), np.asarray(same)
    pairs = np.arange(2 * len(scores)).reshape(-1, 2)
    folds = np.arange(len(scores)) * 10 // len(scores) if folds is None else np.asarray(folds)
    return VerificationResult(scores, same, pairs, people, folds)


def brute_points(scores, same):
    """(threshold, FAR, TAR) for "accept nothing" and every distinct score, by counting."""
    points = [(math.inf, 0.0, 0.0)]
    for t in sorted(set(scores), reverse=True):
        accepted = scores >= t
        points.append((t, (accepted & ~same).sum() / (~same).sum(), (accepted & same).sum() / same.sum()))
    return points


def brute_eer(points):
    for (_, far0, tar0), (_, far1, tar1) in itertools.pairwise(points):
        excess0, excess1 = far0 + tar0 - 1, far1 + tar1 - 1
        if excess0 < 0 <= excess1:
            share = excess0 / (excess0 - excess1)
            return far0 + share * (far1 - far0)
    raise AssertionError


def brute_accuracy(scores, same, folds):
    """The documented rule, tried on every distinct training score: strictest best, then the middle of the gap."""
    accuracies = []
    for fold in sorted(set(folds[folds >= 0])):
        train, test = (folds != fold) & (folds >= 0), folds == fold
        candidates = [math.inf, *sorted(set(scores[train]), reverse=True)]
        correct = [((scores[train] >= t) == same[train]).sum() for t in candidates]
        best = int(np.argmax(correct))
        following = [*candidates[1:], -math.inf][best]
        threshold = math.inf if best == 0 else (candidates[best] + following) / 2
        accuracies.append(((scores[test] >= threshold) == same[test]).mean())
    return np.array(accuracies)


@st.composite
def scored_pairs(draw):
    """Scores on a coarse grid, so most of them tie, of both kinds."""
    n = draw(st.integers(4, 60))
    levels = draw(st.integers(1, 12))
    scores = np.array(draw(st.lists(st.integers(-levels, levels), min_size=n, max_size=n))) / levels
    same = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    same[0], same[-1] = True, False
    return scores, same


@given(scored_pairs())
@settings(max_examples=150, deadline=None)
def test_equals_brute_force_and_sklearn_under_ties(case):
    scores, same = case
    embeddings, pairs = at_angles(scores)
    result = evaluate_pairs(embeddings, pairs, same)
    np.testing.assert_allclose(result.scores, scores, atol=1e-12)
    points = brute_points(scores, same)
    assert result.auc == pytest.approx(roc_auc_score(same, scores), abs=1e-12)
    wins = (scores[same][:, None] > scores[~same]).mean() + (scores[same][:, None] == scores[~same]).mean() / 2
    assert result.auc == pytest.approx(wins, abs=1e-12)
    assert result.eer == pytest.approx(brute_eer(points), abs=1e-12)
    far, tar, thresholds = roc_curve(same, scores, drop_intermediate=False)
    np.testing.assert_array_equal(result.roc.far, far)
    np.testing.assert_array_equal(result.roc.tar, tar)
    np.testing.assert_allclose(result.roc.thresholds, thresholds, atol=1e-12)
    impostors = (~same).sum()
    for limit in {1 / impostors, 0.31, 0.5, 2 / 3, 0.99} - {1.0}:
        if limit >= 1 / impostors:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found, threshold = result.tar_at(limit), result.threshold_at(limit)
            assert found == max(t for _, f, t in points if f <= limit)
            assert ((result.scores >= threshold) & same).sum() / same.sum() == found
            assert ((result.scores >= threshold) & ~same).sum() / impostors <= limit
            lower = np.nextafter(threshold, -np.inf)  # no lower threshold keeps the promise
            assert ((result.scores >= lower) & ~same).sum() / impostors > limit


@given(scored_pairs(), st.integers(2, 5))
@settings(max_examples=100, deadline=None)
def test_fold_accuracy_equals_brute_force(case, num_folds):
    scores, same = case
    folds = np.arange(len(scores)) % num_folds - (num_folds > 3)  # with -1: pairs that take no part
    result = from_scores(scores, same, folds=folds)
    others = [same[(folds != f) & (folds >= 0)] for f in set(folds[folds >= 0])]
    if any(kinds.all() or not kinds.any() for kinds in others):
        with pytest.raises(ValueError, match="folds"):
            _ = result.accuracy
        return
    expected = brute_accuracy(scores, same, folds)
    np.testing.assert_allclose(result.fold_accuracies, expected, atol=1e-12)
    assert result.accuracy == pytest.approx(expected.mean())
    assert result.accuracy_std == pytest.approx(expected.std(ddof=1))


@given(scored_pairs(), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_integer_weights_are_repetitions(case, seed):
    """A resample's weights give what physically repeating the pairs gives: the whole bootstrap rests on this."""
    scores, same = case
    rng = np.random.default_rng(seed)
    people = rng.integers(0, 6, size=(len(scores), 2))
    people[same, 1] = people[same, 0]
    people[~same, 1] = (people[~same, 0] + rng.integers(1, 6, size=(~same).sum())) % 6
    folds = np.arange(len(scores)) % 3
    result = from_scores(scores, same, people, folds)
    times = rng.integers(0, 4, size=6)
    weight = np.where(same, times[people[:, 0]], times[people[:, 0]] * times[people[:, 1]])
    s, k, f = (np.repeat(x, weight) for x in (scores, same, folds))
    if k.all() or not k.any():
        return
    auc, eer, tar = result._statistics(["auc", "eer", "tar@0.3"], by_person(times))
    points = brute_points(s, k)
    assert auc == pytest.approx(roc_auc_score(k, s), abs=1e-12)
    assert eer == pytest.approx(brute_eer(points), abs=1e-12)
    assert tar == max(t for _, far, t in points if far <= 0.3)
    if all(len(set(same[folds != fold])) == 2 for fold in range(3)) and len(set(f)) == 3:
        (accuracy,) = result._statistics(["accuracy"], by_person(times))
        assert accuracy == pytest.approx(brute_accuracy(s, k, f).mean(), abs=1e-12)


@given(scored_pairs(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_only_the_order_of_the_scores_counts_and_not_that_of_the_pairs(case, seed):
    scores, same = case
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(scores))
    one = from_scores(scores, same)
    for other in (
        from_scores(np.exp(3 * scores), same),  # rises strictly, so it keeps all ties and all orders
        from_scores(np.searchsorted(np.unique(scores), scores) - 1000.0, same),
        from_scores(scores[order], same[order]),
    ):
        assert (other.auc, other.eer) == (one.auc, one.eer)
        np.testing.assert_array_equal(other.roc.far, one.roc.far)
        np.testing.assert_array_equal(other.roc.tar, one.roc.tar)
        for far in (0.2, 0.5, 0.8):
            assert other._curve.tar_at(far) == one._curve.tar_at(far)
    backward = from_scores(-scores, ~same)  # exchange the kinds and turn the scale round: FAR and FRR change places
    assert backward.auc == pytest.approx(one.auc, abs=1e-15)
    assert backward.eer == pytest.approx(one.eer, abs=1e-12)


def test_finest_far_means_no_or_one_false_accept():
    """TAR@FAR down to what the pairs allow: at 1 / impostors exactly one impostor may pass, ties with it included."""
    same = np.array([True, True, False, True, False, True, False])
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    with pytest.warns(UserWarning, match="fewer than 10 of 3"):
        assert from_scores(scores, same).tar_at(1 / 3) == 3 / 4
    scores[3] = 0.5  # ties with the second impostor: both pass or neither
    with pytest.warns(UserWarning, match="fewer than 10 of 3"):
        assert from_scores(scores, same).tar_at(1 / 3) == 2 / 4


def test_scores_of_any_kind():
    rng = np.random.default_rng(11)
    labels = np.repeat(np.arange(30), 3)
    pairs, same = all_pairs(labels)
    embeddings = rng.normal(size=(90, 6)) + labels[:, None] % 7
    one = evaluate_pairs(embeddings, pairs, same, identities=labels)
    for kind in (np.asarray, torch.tensor, list):
        other = evaluate_scores(kind(one.scores), kind(pairs), kind(same), identities=labels)
        assert repr(other) == repr(one)
        assert other.interval("eer", resamples=20) == one.interval("eer", resamples=20)
    given_scores = one.scores.copy()
    kept = evaluate_scores(given_scores, pairs, same)
    given_scores[:] = 0
    assert kept.auc == one.auc
    wide = np.array([3e200, 1e-300, -5.0, -5e10])
    fine = evaluate_scores(wide, np.arange(8).reshape(4, 2), [True, True, False, False])
    assert (fine.auc, fine.eer) == (1, 0)
    for name, scores in (("shape", np.ones(3)), ("dtype bool", same), ("NaN or inf", one.scores * np.nan)):
        with pytest.raises(ValueError, match=f"scores: found {name}"):
            evaluate_scores(scores, pairs, same)
    with pytest.raises(ValueError, match="pairs: found indices 0 to 89, expected 0 to 79"):
        evaluate_scores(one.scores, pairs, same, identities=labels[:80])


def test_mcnemar_counts_the_pairs_that_one_alone_decides_rightly():
    rng = np.random.default_rng(12)
    n = 400
    same, folds = np.arange(n) % 2 == 0, np.arange(n) * 10 // n
    folds[::17] = -1
    a, b = (from_scores(shift * same + rng.normal(size=n), same, folds=folds) for shift in (2.5, 1.5))
    right = []
    for result in (a, b):
        threshold = dict(zip(range(10), result.fold_thresholds, strict=True))
        rows = zip(result.scores, same, folds, strict=True)
        right.append([(s >= threshold[f]) == k if f >= 0 else None for s, k, f in rows])
    only_a = sum(x is not None and bool(x and not y) for x, y in zip(*right, strict=True))
    only_b = sum(x is not None and bool(y and not x) for x, y in zip(*right, strict=True))
    found = mcnemar(a, b)
    assert (found.only_a, found.only_b) == (only_a, only_b)
    total = only_a + only_b
    tail = sum(math.comb(total, k) for k in range(min(only_a, only_b) + 1)) / 2**total
    assert found.p_value == pytest.approx(min(1, 2 * tail))
    assert found.p_value < 0.05
    assert mcnemar(b, a) == (only_b, only_a, found.p_value)
    assert mcnemar(a, a) == (0, 0, 1)
    used = folds >= 0  # the two counts differ by the difference of the accuracies over all pairs
    share_a, share_b = (np.mean([x for x in of if x is not None]) for of in right)
    assert (only_a - only_b) / used.sum() == pytest.approx(share_a - share_b)
    with pytest.raises(ValueError, match="b: its folds differ"):
        mcnemar(a, from_scores(b.scores, same))


def test_roc_needs_less_memory_than_sklearn():
    rng = np.random.default_rng(13)
    same = rng.random(400_000) < 0.5
    scores = rng.normal(size=len(same)) + same
    nobody = np.empty((0, 2), np.int64)

    def ours():
        result = VerificationResult(scores, same, nobody, None, nobody[:, 0])
        return result.roc

    peaks = []
    for task in (ours, lambda: roc_curve(same, scores, drop_intermediate=False)):
        tracemalloc.start()
        try:
            task()
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[0] < 0.75 * peaks[1]


def test_gaussian_scores_have_the_closed_form_eer_and_auc():
    d_prime, n = 2.0, 400_000
    rng = np.random.default_rng(0)
    same = np.arange(2 * n) < n
    result = from_scores(rng.normal(size=2 * n) + d_prime * same, same)
    assert result.eer == pytest.approx(norm.cdf(-d_prime / 2), abs=1e-3)  # 4 standard errors are .0023
    assert result.auc == pytest.approx(norm.cdf(d_prime / math.sqrt(2)), abs=1e-3)
    assert result.tar_at(1e-2) == pytest.approx(norm.sf(norm.isf(1e-2) - d_prime), abs=5e-3)


def test_perfect_useless_and_constant_scores():
    same = np.array([True, True, False, False])
    perfect = from_scores([0.9, 0.8, 0.1, 0.2], same)
    assert (perfect.auc, perfect.eer, perfect._curve.tar_at(0.5)) == (1.0, 0.0, 1.0)
    reversed_ = from_scores([0.1, 0.2, 0.9, 0.8], same)
    assert (reversed_.auc, reversed_.eer) == (0.0, 1.0)
    constant = from_scores([0.5] * 4, same)
    assert (constant.auc, constant.eer, constant._curve.tar_at(0.99)) == (0.5, 0.5, 0.0)


def test_a_leaked_threshold_would_score_higher():
    """Pure noise: a threshold that has seen its test fold gains, the honest one gains nothing."""
    rng = np.random.default_rng(3)
    honest, leaky = [], []
    for _ in range(30):
        scores, same = rng.normal(size=200), np.tile([True, False], 100)
        folds = np.arange(200) * 10 // 200
        honest.append(from_scores(scores, same, folds=folds).accuracy)
        best = [max(((scores >= t) == same)[folds == f].mean() for t in scores[folds == f]) for f in range(10)]
        leaky.append(np.mean(best))
    assert abs(np.mean(honest) - 0.5) < 0.02
    assert np.mean(leaky) > 0.58


def test_the_threshold_of_a_fold_ignores_that_folds_scores():
    rng = np.random.default_rng(4)
    scores, same = rng.normal(size=100), np.tile([True, False], 50)
    before = from_scores(scores, same).fold_thresholds
    scores[:10] = 100 * rng.normal(size=10)  # fold 0 changed beyond recognition
    after = from_scores(scores, same).fold_thresholds
    assert before[0] == after[0]
    assert (before[1:] != after[1:]).any()


def test_folds_made_from_identities_share_nobody():
    labels = np.repeat(np.arange(30), 3)
    embeddings = np.random.default_rng(0).normal(size=(90, 8))
    pairs, same = all_pairs(labels)
    result = evaluate_pairs(embeddings, pairs, same, identities=labels)
    people = [set(labels[pairs[result.folds == f]].ravel()) for f in range(10)]
    assert set(range(30)) == set.union(*people)
    assert all(not a & b for a, b in itertools.combinations(people, 2))
    assert (result.folds[same] >= 0).all()  # only impostor pairs straddle
    assert len(result.fold_accuracies) == 10
    few = labels < 4
    small = evaluate_pairs(embeddings[few], *all_pairs(labels[few]), identities=labels[few])
    assert len(small.fold_accuracies) == 2
    made = evaluate_pairs(embeddings, pairs, same).folds
    for kind in (same, ~same):
        assert (np.diff(made[kind]) >= 0).all()
        assert np.ptp(np.bincount(made[kind], minlength=10)) <= 1


def test_given_folds_that_share_people_are_told():
    labels = np.repeat(np.arange(20), 2)
    pairs, same = all_pairs(labels)
    embeddings = np.random.default_rng(0).normal(size=(40, 4))
    with pytest.warns(UserWarning, match="20 people are in more than one fold"):
        evaluate_pairs(embeddings, pairs, same, identities=labels, folds=np.arange(len(pairs)) % 10)
    drawn, kinds, folds = fold_pairs(labels, per_fold=2, num_folds=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate_pairs(embeddings, drawn, kinds, identities=labels, folds=folds)


def test_all_pairs_and_fold_pairs():
    labels = ["b", "a", "b", "c", "a"]
    pairs, same = all_pairs(labels)
    assert pairs.tolist() == [list(p) for p in itertools.combinations(range(5), 2)]
    assert same.tolist() == [labels[i] == labels[j] for i, j in itertools.combinations(range(5), 2)]
    assert pairs.dtype == np.int64
    assert same.dtype == np.bool_
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(40), 6))
    pairs, same, folds = fold_pairs(labels, per_fold=20, seed=1)
    assert (same == (labels[pairs[:, 0]] == labels[pairs[:, 1]])).all()
    assert len(np.unique(pairs, axis=0)) == 400
    assert (np.bincount(folds[same]) == 20).all()
    assert (np.bincount(folds[~same]) == 20).all()
    groups = [set(labels[pairs[folds == f]].ravel()) for f in range(10)]
    assert all(not a & b for a, b in itertools.combinations(groups, 2))
    with pytest.raises(ValueError, match="per_fold=300"):
        fold_pairs(labels)


@pytest.mark.parametrize("num_pairs", [50, 5000])  # by rows, and through all cosines
def test_scores_equal_cosine_similarity_and_ignore_scale(num_pairs):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 7))
    pairs = rng.integers(0, 60, size=(num_pairs, 2))
    cosine = torch.nn.functional.cosine_similarity(torch.tensor(x)[pairs[:, 0]], torch.tensor(x)[pairs[:, 1]])
    scores = score_pairs(x, pairs)
    np.testing.assert_allclose(scores, cosine, atol=1e-12)
    for scale in (1e-200, 3.7, 1e200, np.exp(rng.normal(size=(60, 1)))):
        np.testing.assert_array_equal(score_pairs(x * scale, pairs), scores)
    np.testing.assert_array_equal(score_pairs(torch.tensor(x), torch.tensor(pairs)), scores)
    assert (score_pairs(x, np.stack([pairs[:, 0]] * 2, axis=1)) == 1).all()  # exactly
    half = score_pairs(torch.tensor(x).bfloat16(), pairs)
    np.testing.assert_allclose(half, scores, atol=0.02)


def crossed_scores(rng, num_people=60, images=4, shift=2.2):
    """All pairs, score = shift * same + (a_i + a_j) / sqrt(2) + noise: hard people are hard with everybody."""
    labels = np.repeat(np.arange(num_people), images)
    pairs, same = all_pairs(labels)
    people = labels[pairs]
    effect = rng.normal(size=num_people)[people].sum(axis=1) / math.sqrt(2)
    return shift * same + effect + rng.normal(size=len(pairs)), same, people


@pytest.fixture(scope="module")
def coverage():
    """How often the 95 % interval of each bootstrap holds the true AUC (two normals: variance 3 and 2)."""
    truth = norm.cdf(2.2 / math.sqrt(5))
    rng, hits, rounds = np.random.default_rng(0), {"identities": 0, "pairs": 0}, 80
    for seed in range(rounds):
        result = from_scores(*crossed_scores(rng))
        for by in hits:
            low, high = result.interval("auc", resamples=60, seed=seed, by=by)
            hits[by] += low <= truth <= high
    return {by: count / rounds for by, count in hits.items()}


def test_interval_over_people_covers_and_over_pairs_does_not(coverage):
    consistent = 0.95 - 3 * math.sqrt(0.95 * 0.05 / 80)  # .877: what 80 rounds can tell from nominal
    assert coverage["identities"] >= consistent
    assert coverage["pairs"] < consistent


def test_where_nobody_repeats_people_and_pairs_agree():
    """Independent pairs: product weights alone would be sqrt(3) too wide for impostors."""
    rng = np.random.default_rng(0)
    n = 4000
    same = np.arange(2 * n) < n
    people = np.concatenate([np.stack([np.arange(n)] * 2, 1), n + np.arange(2 * n).reshape(n, 2)])
    result = from_scores(rng.normal(size=2 * n) + 1.5 * same, same, people)
    by_people, by_pairs = (result.interval("auc", resamples=400, by=by) for by in ("identities", "pairs"))
    width = by_pairs.high - by_pairs.low
    assert by_people.high - by_people.low == pytest.approx(width, rel=0.15)
    positives, negatives = result.scores[same], result.scores[~same]  # DeLong's variance, an independent second way
    wins = norm.cdf(positives).var() / n + norm.cdf(1.5 - negatives).var() / n
    assert width == pytest.approx(2 * 1.96 * math.sqrt(wins), rel=0.15)


def test_intervals_hold_the_estimate_repeat_and_shrink_with_level():
    scores, same, people = crossed_scores(np.random.default_rng(5), num_people=30, images=4)
    result = VerificationResult(
        scores,
        same,
        np.arange(2 * len(same)).reshape(-1, 2),
        people,
        np.where(same, people[:, 0] % 5, people[:, 1] % 5),
    )
    names = ("auc", "eer", "accuracy", "tar@0.05")
    wide = result.intervals(names, resamples=100)
    for name, value in zip(names, (result.auc, result.eer, result.accuracy, result.tar_at(0.05)), strict=True):
        assert wide[name].low < value < wide[name].high
        assert wide[name] == result.interval(name, resamples=100)
        narrow = result.interval(name, level=0.5, resamples=100)
        assert wide[name].low < narrow.low < narrow.high < wide[name].high
    assert result.interval("eer", resamples=100, seed=1) != wide["eer"]


def test_compare_is_paired():
    rng = np.random.default_rng(6)
    labels = np.repeat(np.arange(40), 4)
    truth = rng.normal(size=(40, 16))[labels]
    noise = rng.normal(size=(160, 16))
    pairs, same = all_pairs(labels)
    good, bad = (evaluate_pairs(truth + k * noise, pairs, same, identities=labels) for k in (1.3, 1.5))
    found = compare(good, bad, "eer", resamples=100)
    assert found.difference == good.eer - bad.eer
    assert found.low <= found.difference <= found.high < 0
    alone = good.interval("eer", resamples=100)
    assert found.high - found.low < alone.high - alone.low
    same_twice = compare(good, good, "auc", resamples=20)
    assert (same_twice.low, same_twice.difference, same_twice.high) == (0, 0, 0)
    back = compare(bad, good, "eer", resamples=100)
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))
    other = evaluate_pairs(truth, pairs[::-1], same[::-1], identities=labels)
    with pytest.raises(ValueError, match="b: its pairs differ"):
        compare(good, other)


def test_finest_far():
    same = np.arange(100) < 51  # 49 impostors: 1/49 * 49 < 1 in floating point
    result = from_scores(np.linspace(1, -1, 100), same)
    with pytest.warns(UserWarning, match="fewer than 10 of 49"):
        assert result.tar_at(1 / 49) == 1
    with pytest.raises(ValueError, match=r"far: found 0\.02, expected at least 1 / 49"):
        result.tar_at(0.02)
    with pytest.raises(ValueError, match=r"far: found 0\.001"):
        result.interval("tar@1e-3", by="pairs")
    for bad in (1, -0.1, 2.0, math.nan, "0.1", True):
        with pytest.raises(ValueError, match=r"far: found .*\[0, 1\)"):
            result.tar_at(bad)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result.tar_at(10 / 49)


def test_repr_has_numbers_and_counts():
    labels = np.repeat(np.arange(20), 3)
    embeddings = np.random.default_rng(0).normal(size=(60, 5))
    text = repr(evaluate_pairs(embeddings, *all_pairs(labels), identities=labels))
    for part in ("60 images of 20 people", "60 genuine + 1,710 impostor", "AUC", "EER", "TAR@FAR=1e-02", "10 folds"):
        assert part in text
    assert "TAR@FAR=1e-03" not in text


GOOD = {
    "embeddings": np.random.default_rng(0).normal(size=(6, 3)),
    "pairs": np.array([[0, 1], [2, 3], [0, 4], [1, 2]]),
    "same": np.array([True, True, False, False]),
    "identities": np.array([0, 0, 1, 1, 2, 2]),
    "folds": np.array([0, 1, 0, 1]),
}


def changed(name, index, value):
    array = GOOD[name].copy()
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("embeddings", np.ones(6), r"shape \(6,\)"),
        ("embeddings", np.ones((6, 3), int), "dtype int64"),
        ("embeddings", changed("embeddings", 4, np.nan), "NaN or inf in 1 rows, first 4"),
        ("embeddings", changed("embeddings", 2, -np.inf), "NaN or inf in 1 rows, first 2"),
        ("embeddings", changed("embeddings", 5, 0), "1 zero rows, first 5"),
        ("pairs", np.array([0, 1]), r"shape \(2,\)"),
        ("pairs", np.empty((0, 2), int), r"shape \(0, 2\)"),
        ("pairs", GOOD["pairs"] * 1.0, "dtype float64"),
        ("pairs", GOOD["pairs"] + 2, "indices 2 to 6, expected 0 to 5"),
        ("pairs", GOOD["pairs"] - 1, "indices -1 to 3"),
        ("same", np.array([True, False]), r"shape \(2,\), expected \(4,\)"),
        ("same", np.array([1, 1, -1, -1]), r"\[-1, 1\], expected True and False, or 1 .* and 0"),
        ("same", np.array(["a", "a", "b", "b"]), "dtype <U1, expected True"),
        ("failed", np.zeros(5, bool), r"bool of shape \(5,\), expected bool of shape \(6,\)"),
        ("failed", np.ones(6, bool), "all 6 images"),
        ("same", np.ones(4, bool), "4 genuine and 0 impostor"),
        ("same", np.zeros(4, bool), "0 genuine and 4 impostor"),
        ("same", np.array([True, False, False, False]), "pair 1 is marked False"),
        ("identities", np.zeros(4, int), r"shape \(4,\), expected \(6,\)"),
        ("identities", np.zeros(6), "dtype float64"),
        ("folds", np.array([0, 1]), r"shape \(2,\), expected \(4,\)"),
        ("folds", np.array([0.0, 1.0, 0.0, 1.0]), "dtype float64"),
        ("folds", np.zeros(4, int), r"found \[0\], expected two"),
    ],
)
def test_bad_input_names_argument_value_and_expectation(name, value, found):
    with pytest.raises(ValueError, match=f"{name}: found .*{found}|{name}: {found}"):
        evaluate_pairs(**{**GOOD, name: value})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("f1", {}, "name: found 'f1'"),
        ("tar@low", {}, "name: found 'tar@low'"),
        ("auc", {"level": 95}, "level: found 95"),
        ("auc", {"resamples": 1}, "resamples: found 1"),
        ("auc", {"by": "image"}, "by: found 'image'"),
        ("auc", {}, "identities: found None.*by='pairs'"),
    ],
)
def test_bad_interval_options(name, options, message):
    result = from_scores([0.9, 0.1, 0.8, 0.2], np.array([True, False, True, False]))
    with pytest.raises(ValueError, match=message):
        result.interval(name, **options)


@pytest.mark.parametrize(("high", "low"), [(1 + 2**-52, 1.0), (1.7e308, 1.6e308), (-1.6e308, -1.7e308), (5e-324, 0.0)])
def test_thresholds_lie_between_neighbours_and_do_not_overflow(high, low):
    found = evaluate_scores(
        np.array([high] * 6 + [low] * 6), np.zeros((12, 2), int), [True] * 6 + [False] * 6, folds=np.arange(12) % 3
    )
    assert found.accuracy == 1
    assert ((found.fold_thresholds > low) & (found.fold_thresholds <= high)).all()


def test_a_result_does_not_change_with_the_arrays_it_came_from():
    rng = np.random.default_rng(0)
    scores, same, pairs = rng.normal(size=50), rng.random(50) < 0.5, np.zeros((50, 2), int)
    expected = evaluate_scores(scores, pairs, same).auc
    later = evaluate_scores(scores, pairs, same)
    scores *= -1
    same[:] = ~same
    assert later.auc == expected


def test_arguments_that_are_too_small_are_refused():
    embeddings, labels = np.eye(4), np.arange(4) // 2
    with pytest.raises(ValueError, match="block: found -1"):
        score_pairs(embeddings, np.array([[0, 1]] * 2), block=-1)
    for name in ("per_fold", "num_folds"):
        with pytest.raises(ValueError, match=f"{name}: found 0"):
            fold_pairs(labels, **{name: 0})
    with pytest.raises(ValueError, match=r"resamples: found 50\.5"):
        evaluate_pairs(embeddings, *all_pairs(labels), identities=labels).interval("eer", resamples=50.5)


def test_text_as_pandas_keeps_it_names_people():
    names = np.array(["ann", "ann", "bo", "bo"], object)
    assert all_pairs(names)[1].sum() == 2
    with pytest.raises(ValueError, match="dtype object"):
        all_pairs(np.array(["ann", 1], object))


# ---- thresholds to deploy ------------------------------------------------------------------------------------------


def test_the_threshold_reaches_the_rate_asked_for_on_new_pairs():
    """100 genuine and 100,000 impostor pairs, far = 1e-3: new pairs are accepted at 1e-3, not at half of it."""
    reached = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scores, same = np.append(rng.normal(4, 1, 100), rng.normal(0, 1, 100_000)), np.arange(100_100) < 100
        reached.append(norm.sf(evaluate_scores(scores, same).threshold_at(1e-3)))
    assert np.mean(reached) == pytest.approx(1e-3, rel=0.1)


@given(scored_pairs())
@settings(max_examples=100, deadline=None)
def test_rates_and_equal_error_threshold_equal_brute_force(case):
    scores, same = case
    result = evaluate_scores(scores, same)
    nearest = math.inf
    for threshold, far, tar in brute_points(scores, same):
        assert result.rates_at(threshold) == pytest.approx((far, 1 - tar))
        nearest = min(nearest, abs(far - (1 - tar)))
    far, frr = result.rates_at(result.eer_threshold)
    assert abs(far - frr) == pytest.approx(nearest)
    assert result.rates_at(-math.inf) == (1, 0)
    assert min(far, frr) - 1e-12 <= result.eer <= max(far, frr) + 1e-12


def test_a_threshold_is_carried_to_other_people():
    here = evaluate_scores([0.9, 0.8, 0.7, 0.5, 0.4, 0.2], [1, 1, 0, 1, 0, 0])
    there = evaluate_scores([0.85, 0.6, 0.75, 0.1], [1, 1, 0, 0])
    with pytest.warns(UserWarning, match="fewer than 10 of 3"):
        strict = apply_threshold(here, there, far=0)
    assert strict.threshold == np.nextafter(0.7, 1)
    assert strict.calibration == (0, pytest.approx(1 / 3))
    assert strict.test == (1 / 2, 1 / 2)
    equal = apply_threshold(here, there)
    assert equal.threshold == pytest.approx((0.5 + 0.7) / 2, abs=0.11)
    assert equal.test == there.rates_at(equal.threshold)


def test_at_far_0_no_impostor_passes_and_all_who_beat_them_do():
    result = from_scores([0.9, 0.8, 0.8, 0.1], np.array([True, True, False, False]))
    with pytest.warns(UserWarning, match="fewer than 10 of 2"):
        assert result.tar_at(0) == 1 / 2
    with pytest.warns(UserWarning, match="fewer than 10 of 2"):
        assert result.threshold_at(0) == np.nextafter(0.8, 1)
    assert result.interval("tar@0", by="pairs", resamples=50).low >= 0


def test_intervals_of_rates_hold_them_and_a_rate_of_0_has_an_exact_limit():
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(40), 4)
    embeddings = rng.normal(size=(40, 8))[labels] + 0.5 * rng.normal(size=(160, 8))
    pairs, same = all_pairs(labels)
    result = evaluate_pairs(embeddings, pairs, same, identities=labels)
    rates = result.rates_at(0.5)
    for name, rate in (("far>=0.5", rates.far), ("frr<0.5", rates.frr)):
        by_people, by_pairs = (result.interval(name, by=by, resamples=200) for by in ("identities", "pairs"))
        assert by_people.low < rate < by_people.high
        assert by_people.high - by_people.low > by_pairs.high - by_pairs.low  # people repeat
    # Nobody of n accepted: the rate whose chance of that is 2.5 %.
    low, high = result.interval("far>=2", by="pairs", resamples=10)
    assert (low, (1 - high) ** result.num_impostor) == (0, pytest.approx(0.025))
    low, high = result.interval("far>=2", resamples=10)
    assert (1 - high) ** 20 == pytest.approx(0.025)  # 20 couples of people that share nobody
    assert result.interval("frr<2", resamples=10).high == 1
    for name in ("far>=x", "frr<nan", "far@0.3"):
        with pytest.raises(ValueError, match=r"name: found|threshold: found nan"):
            result.interval(name)
    with pytest.raises(ValueError, match="threshold: found nan"):
        result.rates_at(math.nan)


def test_a_small_set_without_a_mistake_is_not_certain():
    """Two normals apart by 5 and ever so few pairs: the AUC found is mostly 1, and its interval must hold the truth."""
    rng, truth = np.random.default_rng(4), {"auc": norm.cdf(5 / math.sqrt(2)), "eer": norm.cdf(-2.5)}
    hits, perfect, rounds = dict.fromkeys(truth, 0), 0, 60
    for seed in range(rounds):
        same = np.arange(60) < 30
        result = evaluate_scores(5.0 * same + rng.normal(size=60), same)
        perfect += result.auc == 1
        for name, true in truth.items():
            low, high = result.interval(name, by="pairs", resamples=50, seed=seed)
            hits[name] += low <= true <= high
    assert perfect > rounds / 2
    assert min(hits.values()) >= (0.95 - 3 * math.sqrt(0.95 * 0.05 / rounds)) * rounds


def test_the_limits_of_a_set_without_a_mistake():
    """20 genuine and 50 impostor pairs: each kind's rate of errors at a chance of 2.5 %, their sum for the AUC."""
    same = np.arange(70) < 20
    result = evaluate_scores(np.where(same, 1.0, 0.0), same)
    found = result.intervals(["auc", "eer", "accuracy"], by="pairs", resamples=10)
    frr, far = 1 - 0.025 ** (1 / 20), 1 - 0.025 ** (1 / 50)
    assert found["auc"] == pytest.approx((1 - frr - far, 1))
    assert found["eer"] == pytest.approx((0, frr))
    assert found["accuracy"] == pytest.approx((1 - frr, 1))
    swapped = evaluate_scores(np.where(same, 0.0, 1.0), same).interval("auc", by="pairs", resamples=10)
    assert swapped == pytest.approx((0, frr + far))


def test_folds_hold_both_kinds_whatever_the_order_of_the_list():
    rng = np.random.default_rng(0)
    same = np.tile(np.repeat([True, False], 300), 10)  # LFW's view 2
    scores = rng.normal(2.0 * same, 1)
    published = evaluate_scores(scores, same)
    np.testing.assert_array_equal(published.folds, np.repeat(np.arange(10), 600))
    by_kind = np.argsort(~same, kind="stable")
    by_turns = np.argsort(np.where(same, np.cumsum(same), np.cumsum(~same)), kind="stable")  # g i g i ...
    shuffled = rng.permutation(len(same))
    for order, spread in ((by_kind, 0), (by_turns, 0.01), (shuffled, 0.01)):
        other = evaluate_scores(scores[order], same[order])
        for fold in range(10):
            assert np.bincount(same[order][other.folds == fold].astype(int)).tolist() == [300, 300]
        assert other.accuracy == pytest.approx(published.accuracy, abs=spread)
    with pytest.warns(UserWarning, match="10 of 10 folds hold pairs of one kind only"):
        evaluate_scores(scores[by_kind], same[by_kind], folds=np.arange(6000) // 600)


def test_scores_and_labels_alone():
    scores, same = [3, 1, 2, 0], [1, 1, 0, 0]
    result = evaluate_scores(scores, same)
    assert (result.auc, result.eer) == (0.75, 0.5)
    assert "2 genuine + 2 impostor pairs" in repr(result)
    assert "images" not in repr(result)
    for kind in (np.array(same), np.array(same, float), torch.tensor(same), [True, True, False, False]):
        assert evaluate_scores(torch.tensor(scores), kind).scores.tolist() == result.scores.tolist()
    with pytest.raises(ValueError, match="identities: found None, expected the person of each image"):
        result.interval("eer")
    assert result.interval("eer", by="pairs", resamples=20).low <= 0.5
    with pytest.raises(ValueError, match="identities: found without pairs"):
        evaluate_scores(scores, same=same, identities=["a", "b"])
    with pytest.raises(ValueError, match=r"same: found \[0, 1, 2\]"):
        evaluate_scores(scores, [0, 1, 2, 0])
    with pytest.raises(ValueError, match=r"scores: found NaN or inf in 2 places, first 0, 3, expected"):
        evaluate_scores([math.nan, 1, 2, math.inf], same)


def test_a_failure_to_acquire_is_a_miss_at_every_threshold():
    embeddings = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1], [1, 0], [np.nan, 0]])
    labels = np.array([0, 0, 1, 1, 2, 2])
    pairs, same = all_pairs(labels)
    failed = np.isnan(embeddings).any(axis=1)
    result = evaluate_pairs(embeddings, pairs, same, failed=failed)
    without = np.array([not failed[pair].any() for pair in pairs])
    whole = evaluate_pairs(np.nan_to_num(embeddings, nan=1.0), pairs[without], same[without])
    lowest = result.rates_at(-math.inf)
    assert lowest == (whole.num_impostor / result.num_impostor, pytest.approx(1 / 3))
    for threshold in (0.05, 0.5, 0.99):
        of_rest = whole.rates_at(threshold)
        far, frr = result.rates_at(threshold)
        assert far * result.num_impostor == pytest.approx(of_rest.far * whole.num_impostor)
        assert (1 - frr) * result.num_genuine == pytest.approx((1 - of_rest.frr) * whole.num_genuine)
    # Most genuine pairs failed: accepting what failed would be "right" more often, and is never done.
    scores = np.append(np.full(30, -np.inf), [0.9, 0.8, 0.3, 0.2])
    lost = evaluate_scores(scores, np.append(np.ones(30, int), [1, 1, 0, 0]), folds=np.arange(34) % 2)
    assert lost.accuracy == pytest.approx(4 / 34)
    with pytest.raises(ValueError, match="embeddings: found NaN or inf in 1 rows, first 5"):
        evaluate_pairs(embeddings, pairs, same)


# ---- costs and evidence --------------------------------------------------------------------------------------------


@given(scored_pairs())
@settings(max_examples=60, deadline=None)
def test_min_dcf_equals_brute_force(case):
    scores, same = case
    for p, reject, accept in ((0.01, 1.0, 1.0), (0.5, 1.0, 10.0)):
        costs = [reject * p * (1 - tar) + accept * (1 - p) * far for _, far, tar in brute_points(scores, same)]
        found = evaluate_scores(scores, same).min_dcf(p, reject, accept)
        assert found == pytest.approx(min(costs) / min(reject * p, accept * (1 - p)))
        assert found <= 1 + 1e-12  # not looking at all costs 1


def test_cllr_of_true_log_likelihood_ratios_cannot_be_improved():
    """Scores N(±m/2, m) are their own log likelihood ratios: Cllr is the integral of the definition, by quadrature."""
    from scipy.integrate import quad

    m, n = 6.0, 200_000
    rng = np.random.default_rng(0)
    same = np.arange(2 * n) < n
    scores = rng.normal(np.where(same, m / 2, -m / 2), math.sqrt(m))
    result = evaluate_scores(scores, same)
    density = norm(m / 2, math.sqrt(m)).pdf
    expected = quad(lambda s: density(s) * math.log2(1 + math.exp(-s)), -20, 30)[0]
    assert result.cllr == pytest.approx(expected, rel=0.02)
    assert result.min_cllr == pytest.approx(expected, rel=0.02)
    assert result.min_cllr <= result.cllr
    twice = evaluate_scores(3 * scores + 1, same)  # too sure and shifted: worse as evidence, the same order
    assert twice.cllr > 1.5 * expected
    assert twice.min_cllr == pytest.approx(result.min_cllr, rel=1e-9)
    assert evaluate_scores(np.zeros(4), [1, 1, 0, 0]).cllr == pytest.approx(1)
    assert evaluate_scores([2.0, 1.0, -1.0, -2.0], [1, 1, 0, 0]).min_cllr == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [((0.0,), "p_genuine: found 0.0"), ((0.5, -1.0), "cost_reject: found"), ((0.5, 1.0, math.inf), "cost_accept")],
)
def test_costs_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        evaluate_scores([1.0, 0.0], [1, 0]).min_dcf(*options)
