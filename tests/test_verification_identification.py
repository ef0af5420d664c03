"""Identification against loops over scores computed another way, scikit-learn, rigorous bounds and simulation."""

from __future__ import annotations

import math
import tracemalloc
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit
from scipy.stats import t
from sklearn.metrics import roc_curve, top_k_accuracy_score

from facelearn.verification import (
    IdentificationResult,
    compare,
    evaluate_identification,
    evaluate_identification_scores,
    evaluate_pairs,
    identification,
)
from facelearn.verification.checks import error_bound

FIELDS = ("probe_ranks", "mate_scores", "top_scores", "predicted")


def cosine(a, b):
    """By exact sums, in no vector library."""
    a, b = [float(x) for x in a], [float(x) for x in b]
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    return round(dot / math.sqrt(math.fsum(x * x for x in a) * math.fsum(x * x for x in b)), 12)


def brute_force(gallery, gallery_labels, probes, probe_labels):
    """Rank, own score, best score and best person of each probe by the definitions, in loops."""
    people = sorted(set(gallery_labels))
    found = []
    for probe, person in zip(probes, probe_labels, strict=True):
        score = {
            p: max(cosine(probe, row) for row, name in zip(gallery, gallery_labels, strict=True) if name == p)
            for p in people
        }
        top = max(score.values())
        best = min(p for p in people if score[p] == top)
        mate = score.get(person, math.nan)
        rank = 1 + sum(score[p] >= mate for p in people if p != person) if person in score else 0
        found.append((rank, mate, top, best))
    return found


def brute_dir(ranks, mate, top, far, rank):
    """Highest DIR over every threshold that decides differently, by the definitions."""
    mated = ranks > 0
    best = 0.0
    for threshold in [math.inf, *mate[mated], *top[~mated]]:
        if (top[~mated] >= threshold).mean() <= far:
            best = max(best, ((ranks[mated] <= rank) & (mate[mated] >= threshold)).mean())
    return best


def assert_same(a, b):
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field), err_msg=field)


def quietly(function, *args):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args)


@st.composite
def crowds(draw):
    """Embeddings on a small grid, so that most scores tie, several images a person, strangers among the probes."""
    d = draw(st.integers(1, 3))
    row = st.lists(st.integers(-2, 2), min_size=d, max_size=d).filter(any)
    gallery = draw(st.lists(row, min_size=1, max_size=12))
    probes = draw(st.lists(row, min_size=1, max_size=12))
    people = draw(st.integers(1, 8))
    gallery_labels = draw(st.lists(st.integers(0, people), min_size=len(gallery), max_size=len(gallery)))
    probe_labels = draw(st.lists(st.integers(0, people + 2), min_size=len(probes), max_size=len(probes)))
    return np.array(gallery, float), gallery_labels, np.array(probes, float), probe_labels


@given(crowds(), st.sampled_from([None, 1, 2, 5]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_equals_loops_under_ties(case, block, text):
    if text:
        case = (case[0], [f"p{k}" for k in case[1]], case[2], [f"p{k}" for k in case[3]])
    result = evaluate_identification(*case, block=block)
    rank, mate, top, best = (np.array(column) for column in zip(*brute_force(*case), strict=True))
    np.testing.assert_array_equal(result.probe_ranks, rank)
    np.testing.assert_array_equal(result.predicted, best)
    np.testing.assert_allclose(result.mate_scores, mate, atol=2e-12)
    np.testing.assert_allclose(result.top_scores, top, atol=2e-12)
    mated = rank > 0
    assert (result.num_mated, result.num_nonmated) == (mated.sum(), (~mated).sum())
    if mated.any():
        np.testing.assert_allclose(
            result.cmc, [(rank[mated] <= k).mean() for k in range(1, len(set(case[1])) + 1)], atol=1e-15
        )
        assert result.rank1 == result.cmc[0] == result.rank_rate(1)
        assert result.rank_rate(len(result.people)) == 1
    if mated.any() and (~mated).any():
        for far in {1 / (~mated).sum(), 0.4, 0.99} - {1.0}:
            if far >= 1 / (~mated).sum():
                for k in (1, 2):
                    expected = brute_dir(rank, result.mate_scores, result.top_scores, far, k)
                    assert quietly(result.dir_at, far, k) == pytest.approx(expected, abs=1e-15)
                    threshold = quietly(result.threshold_at, far, k)
                    assert (result.top_scores[~mated] >= threshold).mean() <= far
                    assert (result.top_scores[~mated] >= np.nextafter(threshold, -np.inf)).mean() > far
                    hits = (rank[mated] <= k) & (result.mate_scores[mated] >= threshold)
                    assert hits.mean() == pytest.approx(expected, abs=1e-15)


def near_ties(rng, people=200, d=64, images=1):
    """Rows in pairs that differ by less than float32 can tell in a product, as probes their mates."""
    base = rng.normal(size=(people // 2 * images, d))
    gallery = np.stack([base, base * (1 + 1e-8 * rng.normal(size=base.shape))], axis=1).reshape(-1, d)
    return gallery, np.arange(len(gallery)) // images


def test_decides_what_float32_cannot():
    rng = np.random.default_rng(0)
    gallery, labels = near_ties(rng)
    probes = gallery + 0.5 * rng.normal(size=gallery.shape)
    unit_gallery, unit_probes = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (gallery, probes))
    scores = np.round(unit_probes @ unit_gallery.T, 12)
    own = scores[labels, labels][:, None]
    expected = (scores >= own).sum(axis=1)
    coarse = unit_probes.astype(np.float32) @ unit_gallery.astype(np.float32).T
    assert ((coarse >= coarse[labels, labels][:, None]).sum(axis=1) != expected).any()  # float32 alone is wrong
    for block in (None, 1, 33):
        result = evaluate_identification(gallery, labels, probes, labels, block=block)
        np.testing.assert_array_equal(result.probe_ranks, expected)


@pytest.mark.parametrize("images", [1, 3])
def test_nothing_depends_on_the_block_or_on_the_way_to_decide(images, monkeypatch):
    rng = np.random.default_rng(images)
    gallery, labels = near_ties(rng, 240, 96, images)
    labels[5] = labels[-1]  # people with other numbers of images
    probes = (gallery[::2] + 0.8 * rng.normal(size=gallery[::2].shape)).astype(np.float32)
    gallery = gallery.astype(np.float32)
    wanted = np.where(rng.random(len(probes)) < 0.3, 10_000 + labels[::2], labels[::2])
    one = evaluate_identification(gallery, labels, probes, wanted)
    assert 0 < one.rank1 < 1
    for block in (1, 2, 7, 64, 10_000):
        assert_same(one, evaluate_identification(gallery, labels, probes, wanted, block=block))
    for crowded in (-1, 2):  # every block in float64, none
        monkeypatch.setattr(identification, "CROWDED", crowded)
        assert_same(one, evaluate_identification(gallery, labels, probes, wanted, block=50))
    monkeypatch.undo()
    order = rng.permutation(len(gallery))
    assert_same(one, evaluate_identification(gallery[order], labels[order], probes, wanted))
    assert_same(one, evaluate_identification(np.asfortranarray(gallery), labels, np.asfortranarray(probes), wanted))
    assert_same(one, evaluate_identification(gallery.astype(np.float64), labels, torch.tensor(probes), wanted))
    assert_same(one, evaluate_identification(gallery[order], labels[order], probes * np.float32(0.25), wanted))
    twice = np.concatenate([gallery, gallery])  # a second copy of every image changes nobody's best score
    assert_same(one, evaluate_identification(twice, np.tile(labels, 2), probes, wanted))
    back = rng.permutation(len(probes))
    shuffled = evaluate_identification(gallery, labels, probes[back], wanted[back], block=9)
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(shuffled, field), getattr(one, field)[back])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [1, 7, 512, 5000])
def test_no_product_is_further_from_the_truth_than_the_bound(dtype, d):
    """Rows of all signs, of one sign (where errors add up) and of wildly different entries."""
    rng = np.random.default_rng(d)
    rows = np.concatenate([rng.normal(size=(20, d)), rng.random((20, d)) + 1, np.exp(4 * rng.normal(size=(20, d)))])
    truth = [[cosine(a, b) for b in rows[::6]] for a in rows[::4]]
    unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(dtype)
    bound = error_bound(d, dtype)
    found = unit[::4] @ unit[::6].T
    assert np.abs(found - truth).max() <= bound
    one_by_one = np.zeros_like(found)
    for k in range(d):  # the worst order of adding
        one_by_one += unit[::4, k : k + 1] * unit[::6, k]
    assert np.abs(one_by_one - truth).max() <= bound


def drawn(rng, people=120, images=3, strangers=60, d=16, noise=1.3):
    """Gallery of one image a person; `images` probes of each of its people and of the strangers."""
    centre = rng.normal(size=(people + strangers, d))
    labels = np.repeat(np.arange(people + strangers), images)
    spread = noise * np.exp(0.5 * rng.normal(size=(people + strangers, 1)))  # hard and easy people
    gallery = centre[:people] + 0.3 * rng.normal(size=(people, d))
    probes = centre[labels] + spread[labels] * rng.normal(size=(len(labels), d))
    return gallery, np.arange(people), probes, labels


def test_equals_sklearn():
    gallery, people, probes, labels = drawn(np.random.default_rng(1))
    result = evaluate_identification(gallery, people, probes, labels)
    mated = labels < len(people)
    unit_gallery, unit_probes = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (gallery, probes))
    scores = unit_probes @ unit_gallery.T
    for k in (1, 2, 5, 20):
        assert result.rank_rate(k) == top_k_accuracy_score(labels[mated], scores[mated], k=k, labels=people)
    np.testing.assert_array_equal(result.predicted, scores.argmax(axis=1))
    detected = np.where(mated, scores[np.arange(len(labels)), np.minimum(labels, len(people) - 1)], scores.max(axis=1))
    far, tar, _ = roc_curve(mated, detected, drop_intermediate=False)  # with all ranks allowed DIR is a plain ROC
    for limit in (0.1, 0.25, 0.5):
        assert result.dir_at(limit, rank=len(people)) == tar[far <= limit].max()
        assert result.dir_at(limit) <= result.dir_at(limit, rank=5) <= result.dir_at(limit, rank=len(people))
    curve = result.open_set(len(people))
    assert (curve.far[0], curve.dir[0], curve.thresholds[0]) == (0, 0, math.inf)
    assert curve.dir[-1] == 1
    points = set(zip(np.round(far, 12), np.round(tar, 12), strict=True))
    assert set(zip(np.round(curve.far, 12), np.round(curve.dir, 12), strict=True)) <= points
    assert result.open_set().dir[-1] == result.rank1  # without a threshold


def test_agrees_with_pairs():
    """The score of a probe and a gallery image is the score of the pair, to the bit."""
    gallery, people, probes, labels = drawn(np.random.default_rng(2), strangers=0)
    result = evaluate_identification(gallery, people, probes, labels)
    pairs = np.stack([labels, len(gallery) + np.arange(len(probes))], axis=1)
    pairs = np.concatenate([pairs, [[0, 1]]])
    both = evaluate_pairs(np.concatenate([gallery, probes]), pairs, np.arange(len(pairs)) < len(labels))
    np.testing.assert_array_equal(result.mate_scores, both.scores[:-1])


def test_degenerate_galleries():
    row = np.ones((1, 4))
    alone = evaluate_identification(row, ["a"], row, ["a"])
    assert (alone.rank1, alone.mate_scores.tolist(), alone.num_nonmated) == (1.0, [1.0], 0)
    with pytest.raises(ValueError, match="expected at least one non-mated probe"):
        alone.dir_at(0.5)
    with pytest.raises(ValueError, match="expected at least one non-mated probe"):
        alone.open_set()
    strangers = evaluate_identification(row, ["a"], np.repeat(row, 3, axis=0), ["x", "y", "x"])
    assert strangers.predicted.tolist() == ["a"] * 3
    assert np.isnan(strangers.mate_scores).all()
    for call in (lambda: strangers.rank1, lambda: strangers.cmc, lambda: strangers.dir_at(0.5)):
        with pytest.raises(ValueError, match="expected at least one mated probe"):
            quietly(call)
    collapsed = evaluate_identification(np.ones((50, 4)), np.arange(50), np.ones((60, 4)), np.arange(60))
    assert (collapsed.probe_ranks[:50] == 50).all()
    assert (collapsed.predicted == 0).all()
    assert (collapsed.rank1, collapsed.rank_rate(50), quietly(collapsed.dir_at, 0.99, 50)) == (0, 1, 0)
    for text in (alone, strangers, collapsed):
        assert "people" in repr(text)
    mixed = evaluate_identification(*drawn(np.random.default_rng(0)), ranks=(1, 3))
    for part in ("gallery of 120 people", "360 mated + 180 non-mated", "rank-1", "rank-3", "DIR@FAR=1e-01"):
        assert part in repr(mixed)
    assert "DIR@FAR=1e-02" not in repr(mixed)


@pytest.mark.parametrize(
    "labels",
    [
        np.array([2, 0, 1]),
        np.array([2, 0, 1], np.uint8),
        np.array([5, 2**40, 7], np.uint64),
        [True, False, True],
        ["b", "a", "ü"],
        np.array([b"b", b"a", b"c"]),
        torch.tensor([2, 0, 1]),
        [10**12, -5, 0],
    ],
)
def test_labels_of_many_kinds(labels):
    rows = np.random.default_rng(0).normal(size=(3, 5))
    result = evaluate_identification(rows, labels, rows[::-1].copy(), labels[::-1] if isinstance(labels, list) else
                                     (labels.flip(0) if torch.is_tensor(labels) else labels[::-1]))  # fmt: skip
    assert result.rank1 == 1
    assert (result.predicted == result.probe_labels).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_torch_input_of_any_precision(dtype):
    gallery, people, probes, labels = drawn(np.random.default_rng(3))
    rounded = [torch.tensor(x).to(dtype).requires_grad_() for x in (gallery, probes)]
    result = evaluate_identification(rounded[0], torch.tensor(people), rounded[1], torch.tensor(labels))
    same = evaluate_identification(rounded[0].detach().double(), people, rounded[1].detach().double(), labels)
    assert_same(result, same)


GOOD = {
    "gallery": np.eye(4),
    "gallery_labels": np.arange(4),
    "probes": np.eye(4) + 0.1,
    "probe_labels": np.array([0, 1, 7, 8]),
}


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("gallery", np.ones(4), r"shape \(4,\)"),
        ("gallery", np.ones((0, 4)), r"shape \(0, 4\)"),
        ("gallery", np.eye(4, dtype=int), "dtype int64"),
        ("gallery", np.eye(4) * 1j, "dtype complex128"),
        ("gallery", np.diag([1, 1, np.nan, 1]), "NaN or inf in 1 rows, first 2"),
        ("gallery", np.diag([1, 1, 0, 0.0]), "2 zero rows, first 2"),
        ("probes", np.diag([1, -np.inf, 1, np.inf]), "NaN or inf in 2 rows, first 1"),
        ("probes", np.ones((4, 3)), "3 columns, expected 4"),
        ("gallery_labels", np.arange(3), r"shape \(3,\), expected \(4,\)"),
        ("gallery_labels", np.arange(4.0), "dtype float64"),
        ("gallery_labels", list("abcd"), "dtype int64, expected <U1"),
        ("probe_labels", list("abcd"), "dtype <U1, expected int64"),
        ("probe_labels", np.array([2**63, 0, 1, 2], np.uint64), "9223372036854775808"),
        ("probe_labels", np.zeros((4, 1), int), r"shape \(4, 1\)"),
        ("block", 0, "0, expected a whole number >= 1"),
        ("block", 2.5, "2.5, expected a whole number"),
        ("ranks", (1, 0), "0, expected whole numbers >= 1"),
    ],
)
def test_bad_input_names_argument_value_and_expectation(name, value, found):
    argument = "probe_labels" if name == "gallery_labels" and "<U1" in found else name
    with pytest.raises(ValueError, match=f"^{argument}: found .*{found}|^{argument}: found {found}"):
        evaluate_identification(**{**GOOD, name: value})


def test_finest_far_and_bad_options():
    gallery, people, probes, labels = drawn(np.random.default_rng(4), strangers=7, images=1)
    result = evaluate_identification(gallery, people, probes, labels)
    with pytest.warns(UserWarning, match="fewer than 10 of 7 non-mated probes"):
        result.dir_at(1 / 7)
    with pytest.warns(UserWarning, match="fewer than 10 of 7 non-mated probes"):
        result.threshold_at(1 / 7)
    with pytest.raises(ValueError, match=r"far: found 0\.1, expected at least 1 / 7 non-mated probes"):
        result.dir_at(0.1)
    for bad in (1, -0.1, math.nan, "0.5"):
        with pytest.raises(ValueError, match=r"far: found .*\[0, 1\)"):
            result.dir_at(bad)
    for name in ("rank0", "rank", "eer", "dir@low", "dir@0.01"):
        with pytest.raises(ValueError, match="found"):
            result.interval(name)
    for options in ({"level": 2}, {"resamples": 3}, {"by": "pairs"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            result.interval("rank1", **options)
    few = evaluate_identification(gallery, people, probes[:3], labels[:3])
    with pytest.raises(ValueError, match="found 3 identities of one kind, expected 4"):
        few.interval("rank1")


# ------------------------------------------------------------------------------------------------------ intervals


def simulated(rng, people=50, images=8):
    """A result with hard and easy people: rank 1 with a person's own probability, scores with a person's own shift.

    Half of the people are strangers. True rank-1 rate: the mean of the Beta(2, 1), 2/3.
    """
    person = np.repeat(np.arange(2 * people), images)
    mated = person < people
    hit = rng.random(len(person)) < rng.beta(2, 1, size=2 * people)[person]
    score = rng.normal(size=2 * people)[person] + rng.normal(size=len(person))
    return IdentificationResult(
        np.arange(people),
        person,
        np.where(mated, np.where(hit, 1, 2), 0),
        np.where(mated, score + 2, np.nan),
        np.where(mated, score + 3, score),
        np.zeros(len(person), int),
    )


def test_intervals_over_people_cover_and_over_probes_do_not():
    rng, rounds, hits = np.random.default_rng(0), 100, {"identities": 0, "probes": 0}
    for seed in range(rounds):
        result = simulated(rng)
        for by in hits:
            low, high = result.interval("rank1", resamples=100, seed=seed, by=by)
            hits[by] += low <= 2 / 3 <= high
    consistent = 0.95 - 3 * math.sqrt(0.95 * 0.05 / rounds)  # .885
    assert hits["identities"] / rounds >= consistent
    assert hits["probes"] / rounds < consistent


def test_an_interval_over_few_people_is_that_of_student():
    """Five people with two probes each: the mean of five rates, whose interval has been known since 1908."""
    rates = np.array([1, 1, 0.5, 0, 0.5])
    ranks = np.array([1, 1, 1, 1, 1, 2, 2, 2, 1, 2])
    scores, number = np.zeros(10), np.zeros(10, int)
    result = IdentificationResult(np.arange(5), np.arange(10) // 2, ranks, scores, scores, number)
    low, high = result.interval("rank1", resamples=4000)
    half = t.ppf(0.975, 4) * rates.std(ddof=1) / math.sqrt(5) / (0.6 * 0.4)  # on the scale of logits
    assert (logit(high) - logit(low)) / 2 == pytest.approx(half, rel=0.04)  # without K / (K - 1): .106 less
    assert (logit(high) + logit(low)) / 2 == pytest.approx(logit(0.6))


def test_a_rate_of_1_has_the_exact_limit_of_its_people():
    """Six people, twice found each: 1 is as low as the rate of which six people show it with a chance of 2.5 %."""
    ones, number = np.ones(12), np.ones(12, int)
    result = IdentificationResult(np.arange(6), np.arange(12) // 2, number, ones, ones, number)
    low, high = result.interval("rank1", resamples=10)
    assert (low**6, high) == (pytest.approx(0.025), 1)


def test_weights_are_repetitions():
    """A resample equals the result of physically repeating each person's probes."""
    result = simulated(np.random.default_rng(1), people=12, images=3)
    draw = np.random.default_rng(5)
    (weigh,) = result._draw(draw, "identities")
    weights = np.empty(len(result.mated), int)
    ranking = result._curve(1)[0]
    weights[ranking.genuine], weights[ranking.impostor] = weigh(ranking)
    assert weights[result.mated].sum() == result.num_mated  # the two kinds are drawn apart
    assert len(set(weights.tolist())) > 2
    fields = (result.probe_labels, result.probe_ranks, result.mate_scores, result.top_scores, result.predicted)
    repeated = IdentificationResult(result.people, *(np.repeat(field, weights) for field in fields))
    assert result._statistics(["rank1", "dir@0.2"], weigh) == repeated._statistics(["rank1", "dir@0.2"])


def test_intervals_hold_the_estimate_and_repeat():
    result = evaluate_identification(*drawn(np.random.default_rng(5)))
    found = result.intervals(resamples=100)
    assert list(found) == ["rank1", "rank5", "rank10"]
    for name, value in (("rank1", result.rank1), ("rank5", result.rank_rate(5)), ("dir@0.1", result.dir_at(0.1))):
        wide = result.interval(name, resamples=100)
        assert wide.low < value < wide.high
        assert wide == result.interval(name, resamples=100)
        narrow = result.interval(name, level=0.5, resamples=100)
        assert wide.low < narrow.low < narrow.high < wide.high
    assert found["rank1"] == result.interval("rank1", resamples=100)


def test_compare_two_models_on_the_same_probes():
    rng = np.random.default_rng(6)
    gallery, people, probes, labels = drawn(rng)
    worse = probes + 0.7 * rng.normal(size=probes.shape)
    a, b = (evaluate_identification(gallery, people, x, labels) for x in (probes, worse))
    for name, difference in (("rank1", a.rank1 - b.rank1), ("dir@0.1", a.dir_at(0.1) - b.dir_at(0.1))):
        found = compare(a, b, name, resamples=200)
        assert found.difference == difference > 0
        assert found.low < found.difference < found.high
        back = compare(b, a, name, resamples=200)
        assert (back.low, back.high) == pytest.approx((-found.high, -found.low))
    assert compare(a, b, resamples=50).name == "rank1"
    found, alone = compare(a, b, "rank1", resamples=200), a.interval("rank1", resamples=200)
    assert found.low > 0
    assert found.high - found.low < math.sqrt(2) * (alone.high - alone.low)  # people's difficulty cancels
    other = evaluate_identification(gallery, people, probes, np.roll(labels, 1))
    with pytest.raises(ValueError, match=r"b: its probe labels differ.*same probes"):
        compare(a, other)
    smaller = evaluate_identification(gallery[1:], people[1:], probes, labels)
    with pytest.raises(ValueError, match="b: its gallery people differ"):
        compare(a, smaller)
    pairs = evaluate_pairs(gallery, [[0, 1], [1, 2]], [True, False])
    with pytest.raises(ValueError, match="b: found VerificationResult, expected IdentificationResult"):
        compare(a, pairs)


def test_scores_are_held_in_blocks():
    """All scores at once would be 160 MB in float32."""
    rng = np.random.default_rng(7)
    gallery = rng.standard_normal((20_000, 32), dtype=np.float32)
    probes = gallery[:2000] + rng.standard_normal((2000, 32), dtype=np.float32)
    tracemalloc.start()
    try:
        evaluate_identification(gallery, np.arange(20_000), probes, np.arange(2000), block=100)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40e6


@given(crowds())
@settings(max_examples=60, deadline=None)
def test_a_matrix_of_scores_gives_what_the_embeddings_give(case):
    gallery, gallery_labels, probes, probe_labels = case
    scores = np.array([[cosine(probe, row) for row in gallery] for probe in probes])
    assert_same(
        evaluate_identification_scores(scores, gallery_labels, probe_labels),
        IdentificationResult(*_by_loops(scores, gallery_labels, probe_labels)),
    )


def _by_loops(scores, gallery_labels, probe_labels):
    people, names = sorted(set(gallery_labels)), np.asarray(gallery_labels)
    rows = []
    for row, person in zip(scores, probe_labels, strict=True):
        best = {p: row[names == p].max() for p in people}
        mate = best.get(person, math.nan)
        rank = sum(best[p] >= mate for p in people) if person in best else 0
        rows.append((person, rank, mate, max(best.values()), min(p for p in people if best[p] == max(best.values()))))
    return np.array(people), *(np.array(column) for column in zip(*rows, strict=True))


def test_a_failed_probe_finds_nobody_and_raises_no_alarm():
    gallery, people = np.eye(3), ["a", "b", "c"]
    probes = np.array([[1, 0.1, 0], [np.nan, 0, 0], [0, 0, 0], [1, 1, 1.0]])
    failed = np.array([False, True, True, False])
    result = evaluate_identification(gallery, people, probes, ["a", "b", "z", "y"], failed=failed)
    assert result.cmc.tolist() == [1 / 2] * 3
    assert result.rank_rate(99) == 1
    assert result.top_scores[1:3].tolist() == [-np.inf] * 2
    assert quietly(result.dir_at, 0.5) == 1 / 2  # of two strangers one raises no alarm at any threshold
    with pytest.raises(ValueError, match="probes: found NaN or inf in 1 rows, first 1"):
        evaluate_identification(gallery, people, probes, ["a", "b", "z", "y"])
    scores = np.array([[0.9, 0.1], [-np.inf, -np.inf]])
    assert evaluate_identification_scores(scores, ["a", "b"], ["a", "b"]).cmc.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.zeros(3), r"scores: found float64 of shape \(3,\), expected numbers \(P, G\)"),
        (np.array([["a", "b"]]), "scores: found <U1"),
        (np.array([[0.0, np.nan], [1.0, 2.0]]), "scores: found NaN or inf in 1 rows, first 0"),
        (np.zeros((2, 3)), r"gallery_labels: found shape \(2,\), expected \(3,\)"),
    ],
)
def test_scores_that_are_no_matrix(scores, message):
    with pytest.raises(ValueError, match=message):
        evaluate_identification_scores(scores, ["a", "b"], ["a", "b"])
