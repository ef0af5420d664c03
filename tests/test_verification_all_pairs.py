"""`evaluate_all_pairs` against pairs that are listed, counted by hand, and resampled."""

from __future__ import annotations

import doctest
import itertools
import json

import numpy as np
import pytest
import torch

from facelearn import cli, measuring
from facelearn.verification import all_pairs, evaluate_all_pairs, evaluate_pairs, sweep

pytestmark = pytest.mark.filterwarnings("ignore:far=.*fewer than 10 of")

FARS = (0.5, 0.1, 0.01)


def people(rng, images, each, dim, spread=1.0):
    labels = rng.permutation(np.arange(images) // each)
    return rng.normal(size=(images, dim))[labels] + spread * rng.normal(size=(images, dim)), labels


def listed(x, labels, groups=None):
    pairs, same = all_pairs(labels)
    if groups is not None:
        apart = groups[pairs[:, 0]] != groups[pairs[:, 1]]
        pairs, same = pairs[apart], same[apart]
    return evaluate_pairs(x, pairs, same)


def agree(x, labels, groups=None):
    """All that both can say of one set."""
    expected = listed(x, labels, groups)
    fars = (0.0, 1 / expected.num_impostor, *(f for f in FARS if f * expected.num_impostor >= 1))
    found = evaluate_all_pairs(x, labels, groups=groups, far=fars[1:])  # 0 is asked for later
    assert (found.num_genuine, found.num_impostor) == (expected.num_genuine, expected.num_impostor)
    assert found.auc == pytest.approx(expected.auc, abs=1e-6)
    assert abs(found.auc - expected.auc) <= found.auc_bound + 1e-15
    assert found.eer == pytest.approx(expected.eer, abs=1e-12)
    for far in fars:
        assert found.tar_at(far) == expected.tar_at(far)
        assert found.threshold_at(far) == pytest.approx(expected.threshold_at(far), abs=2e-12)
    some = np.random.default_rng(0).choice(expected.scores, 3)
    for threshold in (-np.inf, -1, -0.3, 0, 0.25, 1, 1.5, np.inf, *some - 1e-10, *some + 1e-10):
        np.testing.assert_allclose(found.rates_at(threshold), expected.rates_at(threshold), rtol=0, atol=1e-15)
    far, tar, thresholds = found.roc
    assert min(np.diff(far).min(), np.diff(tar).min(), np.diff(-thresholds).min()) >= 0
    assert (far[0], tar[0], far[-1], tar[-1]) == (0, 0, 1, 1)
    scores = -np.sort(-expected.scores[expected.same])
    np.testing.assert_array_equal(tar, np.searchsorted(-scores, -thresholds, "right") / len(scores))
    others = np.sort(expected.scores[~expected.same])
    for sign, side in ((1, np.less_equal), (-1, np.greater_equal)):
        reached = len(others) - np.searchsorted(others, thresholds - sign * 1e-4, "left")
        assert side(far, reached / len(others)).all()
    return found


@pytest.fixture(params=[sweep.SIDE, 7])
def side(request, monkeypatch):
    """Tiles as they are, and so small that few images fit; there the AUC comes from bins, as where pairs are many."""
    monkeypatch.setattr(sweep, "SIDE", request.param)
    monkeypatch.setattr(sweep, "FEW", 0 if request.param == 7 else sweep.FEW)


@pytest.mark.parametrize("seed", range(8))
def test_random_sets_agree_with_their_list(seed, side):
    rng = np.random.default_rng(seed)
    each, dim = int(rng.integers(2, 9)), int(rng.choice([1, 2, 3, 8, 130]))
    x, labels = people(rng, each * int(rng.integers(2, 30)), each, dim, rng.choice([0.1, 1, 3]))
    agree(x, labels)
    agree(torch.from_numpy(x).float() * 1e20, torch.from_numpy(labels))
    agree(x, np.array([f"p{label}" for label in labels]), rng.integers(1, 4, len(x)).astype(str))


@pytest.mark.parametrize("seed", range(4))
def test_ties_agree_with_their_list(seed, side):
    """Scores on a lattice, images that repeat, one score for all: also where the tie lies at the edge of a bin."""
    rng = np.random.default_rng(seed)
    x, labels = people(rng, 60, 3, 4)
    signs = np.sign(x)
    agree(signs, labels)
    agree(rng.choice([1.0, -1.0], (60, 1)) * np.ones(3), labels)
    agree(np.ones((60, 5)) * rng.uniform(1, 2, (60, 1)), labels)
    agree(x[rng.integers(6, size=60)], labels)
    agree(x[:2].repeat(30, axis=0) * np.tile([[1.0], [-1.0]], (30, 1)), labels)
    agree(signs, labels, np.arange(60) % 2)


def test_a_collapsed_embedding_is_told_apart_by_exact_scores():
    """All scores within 1e-7 of each other, where float32 sees a few values: every pair is scored in float64."""
    rng = np.random.default_rng(0)
    labels = np.arange(80) // 4
    x = np.ones((80, 64)) + 1e-4 * (rng.normal(size=(20, 64))[labels] + rng.normal(size=(80, 64)))
    found = agree(x, labels)
    assert found.auc_bound == 0
    assert 0.5 < found.auc < 1


def test_by_hand():
    """Angles 0, 10 | 30, 90 degrees: genuine cosines of 10 and 60, impostor of 30, 90, 20 and 80 degrees."""
    x = np.array([[np.cos(a), np.sin(a)] for a in np.radians([0, 10, 30, 90])])
    found = evaluate_all_pairs(x, ["a", "a", "b", "b"], far=[0.5])
    assert (found.num_genuine, found.num_impostor) == (2, 4)
    assert found.auc == (4 + 2) / 8
    assert found.eer == 0.5
    assert (found.tar_at(0), found.tar_at(0.25), found.tar_at(0.5), found.tar_at(0.75)) == (0.5, 0.5, 1, 1)
    assert found.rates_at(np.cos(np.radians(25))) == (0.25, 0.5)
    across = evaluate_all_pairs(x, ["a", "a", "b", "b"], groups=["gallery", "probe", "gallery", "probe"])
    assert (across.num_genuine, across.num_impostor) == (2, 2)  # 10 and 60; 90 and 20
    assert across.auc == 3 / 4


def test_the_example_says_what_it_does():
    assert doctest.testmod(sweep)[0] == 0 < doctest.testmod(sweep)[1]


def test_gallery_and_probe_hold_the_pairs_of_their_product():
    rng = np.random.default_rng(3)
    gallery, probe = people(rng, 90, 3, 6), people(rng, 40, 2, 6)
    both = np.concatenate([gallery[0], probe[0]]), np.concatenate([gallery[1], probe[1]])
    pairs = np.array(list(itertools.product(range(90), range(90, 130))))
    expected = evaluate_pairs(both[0], pairs, both[1][pairs[:, 0]] == both[1][pairs[:, 1]])
    found = evaluate_all_pairs(*both, groups=np.repeat([5, 2], [90, 40]), far=FARS)
    assert found.auc == pytest.approx(expected.auc, abs=1e-6)
    assert found.eer == pytest.approx(expected.eer, abs=1e-12)
    assert [found.tar_at(far) for far in FARS] == [expected.tar_at(far) for far in FARS]


def test_neither_tile_nor_order_nor_threads_change_a_bit(monkeypatch):
    rng = np.random.default_rng(0)
    x, labels = people(rng, 400, 5, 100, 1.5)
    x = x.astype(np.float32)
    found, threads, order = [], torch.get_num_threads(), rng.permutation(400)
    try:
        for size, count in ((1024, 1), (64, 1), (33, 2)):
            monkeypatch.setattr(sweep, "SIDE", size)
            torch.set_num_threads(count)
            for a, b in ((x, labels), (x[order], labels[order])):
                result = evaluate_all_pairs(a, b, far=FARS)
                found.append((result.eer, *map(result.tar_at, FARS), *map(result.threshold_at, FARS)))
    finally:
        torch.set_num_threads(threads)
    assert len(set(found)) == 1


@pytest.mark.parametrize("spread", [0.0, 1e-6, 0.5, 100.0])
def test_what_was_not_guessed_is_found_in_another_round(spread, monkeypatch):
    """Wrong guesses of where the thresholds lie cost time, never truth."""
    rng = np.random.default_rng(1)
    x, labels = people(rng, 300, 5, 16)
    monkeypatch.setattr(sweep, "SPREAD", spread)
    agree(x, labels)
    monkeypatch.setattr(sweep.AllPairsResult, "_guess", lambda self, *_: np.zeros_like(self._known))
    agree(x, labels)


def test_a_product_of_reduced_precision_is_refused_or_not_used(monkeypatch):
    rng = np.random.default_rng(0)
    x, labels = people(rng, 200, 4, 64)
    expected = evaluate_all_pairs(x, labels, far=FARS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = evaluate_all_pairs(x, labels, far=FARS)
    assert [found.tar_at(far) for far in FARS] == [expected.tar_at(far) for far in FARS]
    mm = torch.mm
    monkeypatch.setattr(torch, "mm", lambda a, b, out: out.copy_(mm(a.bfloat16(), b.bfloat16())))
    with pytest.raises(RuntimeError, match="is a reduced precision switched on"):
        evaluate_all_pairs(x, labels, far=FARS)


def test_errors_come_before_any_work(monkeypatch):
    def never(*_):
        raise AssertionError("work was begun")

    monkeypatch.setattr(sweep, "_Sweep", never)
    rng = np.random.default_rng(0)
    x, labels = people(rng, 12, 3, 4)
    nan, zero = x.copy(), x.copy()
    nan[3, 1], zero[5] = np.nan, 0
    for arguments, message in [
        ((nan, labels), "embeddings: found NaN or inf in 1 rows, first 3"),
        ((zero, labels), "embeddings: found 1 zero rows, first 5"),
        ((x[0], labels), r"embeddings: found shape \(4,\)"),
        ((x.astype(int), labels), "embeddings: found dtype int64"),
        ((x, labels[:5]), r"labels: found shape \(5,\), expected \(12,\)"),
        ((x, labels + 0.5), "labels: found dtype float64"),
        ((x, labels * 0), "labels: found 66 genuine and 0 impostor pairs, expected at least one of each"),
        ((x, np.arange(12)), "labels: found 0 genuine and 66 impostor pairs"),
    ]:
        with pytest.raises(ValueError, match=message):
            evaluate_all_pairs(*arguments)
    for keywords, message in [
        ({"groups": labels[:5]}, r"groups: found shape \(5,\), expected \(12,\)"),
        ({"groups": np.ones(12, int)}, "groups: found 1 group, expected 2 or more"),
        ({"groups": labels}, "labels: found 0 genuine and 54 impostor pairs"),
        ({"far": [0.5, 0.01]}, "far: found 0.01, expected at least 1 / 54 impostor pairs"),
        ({"far": [1.0]}, r"far: found 1.0, expected a number in \[0, 1\)"),
        ({"far": 0.1}, "far: found 0.1, expected several, such as"),
    ]:
        with pytest.raises(ValueError, match=message):
            evaluate_all_pairs(x, labels, **keywords)


def test_what_can_be_asked_later():
    rng = np.random.default_rng(0)
    result = evaluate_all_pairs(*people(rng, 60, 3, 4), far=[0.1])
    with pytest.raises(ValueError, match="far: found 1e-09, expected at least"):
        result.tar_at(1e-9)
    with pytest.warns(UserWarning, match="fewer than 10 of 1710 impostor pairs decide"):
        result.tar_at(1e-3)
    with pytest.raises(ValueError, match="threshold: found nan"):
        result.rates_at(float("nan"))
    with pytest.raises(ValueError, match="name: found 'accuracy', expected auc, eer, tar@"):
        result.interval("accuracy")
    with pytest.raises(ValueError, match=r"level: found 2, expected a number in \(0, 1\)"):
        result.interval("auc", level=2)
    with pytest.raises(ValueError, match="labels: found 3 people, expected 4 or more for intervals"):
        evaluate_all_pairs(*people(rng, 12, 4, 4)).interval("auc")
    assert "60 images of 20 people, 60 genuine + 1,710 impostor pairs" in repr(result)


NAMES = ("auc", "eer", "tar@0.1", "far>=0.5", "frr<0.5")


@pytest.mark.parametrize("across", [False, True])
def test_intervals_are_as_wide_as_those_of_the_bootstrap_of_people(across):
    """Mean width over 12 sets of 60 people, a third of whom are harder than the rest."""
    ours, theirs = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        labels = np.arange(240) // 4
        hard = np.exp(0.35 * rng.normal(size=60))[labels, None]
        x = rng.normal(size=(60, 16))[labels] + 0.8 * hard * rng.normal(size=(240, 16))
        groups = np.arange(240) % 2 if across else None
        pairs, same = all_pairs(labels)
        if across:
            apart = groups[pairs[:, 0]] != groups[pairs[:, 1]]
            pairs, same = pairs[apart], same[apart]
        found = evaluate_all_pairs(x, labels, groups=groups).intervals(NAMES)
        expected = evaluate_pairs(x, pairs, same, identities=labels).intervals(NAMES, resamples=60)
        ours.append([found[name].high - found[name].low for name in NAMES])
        theirs.append([expected[name].high - expected[name].low for name in NAMES])
    ratios = np.mean(ours, axis=0) / np.mean(theirs, axis=0)
    assert ((ratios > 0.85) & (ratios < 1.25)).all(), ratios


def test_an_interval_of_a_perfect_number_has_an_exact_limit():
    labels = np.arange(40) // 2
    result = evaluate_all_pairs(np.eye(20)[labels], labels)
    expected = evaluate_pairs(np.eye(20)[labels], *all_pairs(labels), identities=labels)
    for name in ("auc", "eer", "tar@0.1", "far>=0.5", "frr<0.5"):
        assert result.interval(name) == pytest.approx(expected.interval(name, resamples=10))


def test_a_part_that_holds_every_genuine_pair_is_left_out_of_the_intervals():
    x = np.random.default_rng(0).normal(size=(9, 4))
    for low, high in evaluate_all_pairs(x, [0, 0, 0, 1, 2, 3, 4, 5, 6]).intervals(NAMES).values():
        assert 0 <= low <= high <= 1


@pytest.mark.parametrize("across", [False, True])
def test_the_worst_pairs_and_the_histogram_are_those_of_the_list(across, monkeypatch):
    """Also where every tile is small, several pairs tie, and of images in two groups."""
    monkeypatch.setattr(sweep, "SIDE", 16)
    x, labels = people(np.random.default_rng(1), 90, 4, 6)
    x[7], x[50] = x[3], x[20]  # the same picture twice
    groups = np.arange(len(x)) % 2 if across else None
    result = evaluate_all_pairs(x, labels, groups=groups)
    pairs, same = all_pairs(labels)
    if across:
        kept = groups[pairs[:, 0]] != groups[pairs[:, 1]]
        pairs, same = pairs[kept], same[kept]
    scores = evaluate_pairs(x, pairs, same).scores
    for count in (1, 10, 10_000):
        for kind, (images, found) in ((True, result.worst_genuine(count)), (False, result.worst_impostors(count))):
            of_kind = np.flatnonzero(same == kind)
            order = of_kind[np.argsort(scores[of_kind] if kind else -scores[of_kind], kind="stable")][:count]
            np.testing.assert_array_equal(found, scores[order])
            np.testing.assert_array_equal(images, pairs[order])
    edges, genuine, impostor = result.histogram(40)
    assert (genuine.sum(), impostor.sum()) == (same.sum(), (~same).sum())
    assert np.abs(impostor - np.histogram(scores[~same], edges)[0]).sum() <= 4
    np.testing.assert_array_equal(genuine, np.histogram(scores[same], edges)[0])


@pytest.mark.parametrize("resamples", [0, 20])
def test_the_command_line_counts_the_pairs_of_many_images(tmp_path, monkeypatch, capsys, resamples):
    x, labels = people(np.random.default_rng(0), 80, 4, 8)
    np.save(tmp_path / "mine.npy", x)
    (tmp_path / "people.txt").write_text("".join(f"p{label}\n" for label in labels))
    monkeypatch.setattr(measuring, "MANY", 79)
    monkeypatch.setenv("FACELEARN_LANG", "en")
    words = "evaluate", "--on", f"embeddings:{tmp_path / 'mine.npy'}", "--labels", tmp_path / "people.txt"
    assert cli.main([str(word) for word in (*words, "--out", tmp_path, "--resamples", resamples)]) == 0
    assert f"written: {tmp_path / 'report_mine.html'}" in capsys.readouterr().out
    found = json.loads((tmp_path / "evaluation_mine.json").read_text())
    assert (found["genuine"], found["impostor"]) == (120, 3040)
    expected = listed(x, labels)
    for name, value in (("auc", expected.auc), ("eer", expected.eer), ("tar@1e-02", expected.tar_at(1e-2))):
        assert found["numbers"][name]["value"] == pytest.approx(value, abs=1e-9)
        assert ("low" in found["numbers"][name]) == bool(resamples)
    listed_too = measuring.details(expected, resamples=0)
    for kind in ("false_accepts", "false_rejects"):
        for row, other in zip(found[kind], listed_too[kind], strict=True):
            assert (row["items"], row["wrong"]) == ([other["first"], other["second"]], other["wrong"])
            assert row["score"] == pytest.approx(other["score"], abs=1e-12)
    for point, other in zip(found["operating_points"][1:], listed_too["operating_points"][1:], strict=True):
        assert {name: point.get(name) for name in ("threshold", "false_accepts", "false_rejects", "few")} == {
            name: other.get(name) for name in ("threshold", "false_accepts", "false_rejects", "few")
        }
    assert found["operating_points"][0]["threshold"] == pytest.approx(expected.eer_threshold, abs=1e-3)
    for point, other in zip(found["curve"], listed_too["curve"], strict=True):
        assert point["value"] == pytest.approx(other["value"], abs=0.02)
        assert ("low" in point) == bool(resamples)
    page = (tmp_path / "report_mine.html").read_text()
    assert ("20 parts" in page) == bool(resamples)
    assert (tmp_path / "figures" / "det_mine.png").exists()
