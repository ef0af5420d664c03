"""What is particular to chapter 02: its two groups, its rates against plain counting, and its errors by people."""

import numpy as np
import pytest
import torch
from experiments import ethics as experiment

from facelearn.data.face_factors import TRAITS
from facelearn.verification import evaluate_scores


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), 4)
    first, second = np.triu_indices(len(labels), 1)
    people = np.stack([labels[first], labels[second]], 1)
    same = people[:, 0] == people[:, 1]
    letters = (people % 2).astype(bool)
    within = letters[:, 0] == letters[:, 1]
    scores = 0.8 * same + 0.2 * letters[:, 0] + 0.3 * rng.normal(size=len(same))
    return experiment.Pairs(scores[within], same[within], letters[within, 0], people[within])


def test_the_groups_have_the_counts_asked_for_and_halves_of_the_marks():
    for people, tenths, count in ((300, 1, 30), (300, 3, 90), (60, 5, 30)):
        assert int(experiment.town("fit", 1, people, tenths, images=1).of_b.sum()) == count


def test_a_coin_for_each_trait_and_seed_says_who_has_the_upper_half():
    sides = []
    for seed in range(4):
        town = experiment.town("fit", seed, 60, 5, images=1)
        for name, values in town.traits.items():
            a, b, middle = values[~town.of_b], values[town.of_b], sum(TRAITS[name]) / 2
            halves = a.max() <= middle <= b.min() or b.max() <= middle <= a.min()
            assert halves == (name in experiment.SETTINGS["marks"]), name
        sides.append(
            tuple(bool(town.traits[m][town.of_b].min() >= sum(TRAITS[m]) / 2) for m in experiment.SETTINGS["marks"])
        )
    assert len(set(sides)) == 4
    assert 12 < sum(map(sum, sides)) < 36


def test_only_the_pictures_of_b_are_blurred():
    same, blurred = (experiment.town("open", 3, 10, camera=camera, images=2) for camera in ("same", "blurred"))
    changed = (same.faces.images != blurred.faces.images).flatten(1).any(1)
    assert (changed == same.of_b[same.faces.labels]).all()


def test_rates_are_those_that_counting_gives(pairs):
    found = experiment.errors(pairs, 0.5)
    for letter, own in (("a", ~pairs.of_b), ("b", pairs.of_b)):
        impostor, genuine = (pairs.scores[own & kind] for kind in (~pairs.same, pairs.same))
        assert found[f"far_{letter}"] == np.mean([s >= 0.5 for s in impostor])
        assert found[f"frr_{letter}"] == pytest.approx(np.mean([s < 0.5 for s in genuine]), abs=1e-15)


def test_the_threshold_is_that_of_the_library_and_is_asked_of_all_pairs_within_groups(pairs):
    whole = evaluate_scores(pairs.scores, pairs.same)
    assert experiment.threshold(pairs, 0.1) == whole.threshold_at(0.1)


def test_errors_by_people_follow_a_bootstrap_that_copies_pairs(pairs):
    """People drawn with replacement, every pair copied as often as its two people say."""
    rng, logs = np.random.default_rng(1), []
    keep = pairs._replace(**{name: getattr(pairs, name)[~pairs.same] for name in pairs._fields})
    for _ in range(400):
        times = np.zeros(12, int)
        for kind in (0, 1):
            times[kind::2] = np.bincount(rng.integers(6, size=6), minlength=6)
        w = times[keep.people].prod(1)
        far = [np.average(keep.scores[own] >= 0.4, weights=w[own]) for own in (~keep.of_b, keep.of_b) if w[own].any()]
        if len(far) == 2 and min(far) > 0:
            logs.append(np.log(far[1] / far[0]))
    found = experiment.uncertainty(pairs, 0.4, resamples=400)
    assert found["se_people"] == pytest.approx(np.std(logs), rel=0.2)


def test_curves_agree_with_the_rates(pairs):
    found = experiment.curves(pairs)
    for letter, curve in found.items():
        place = 137
        rates = experiment.errors(pairs, curve.taus[place])
        assert curve.far[place] == pytest.approx(rates[f"far_{letter.lower()}"], abs=1e-12)
        assert curve.frr[place] == pytest.approx(rates[f"frr_{letter.lower()}"], abs=1e-12)


class World:
    """All pairs of twelve people, with scores from a seed; who is B is given."""

    def __init__(self, seed):
        labels = np.repeat(np.arange(12), 10)
        first, second = np.triu_indices(len(labels), 1)
        self.people = np.stack([labels[first], labels[second]], 1)
        self.same = self.people[:, 0] == self.people[:, 1]
        self.of_b = torch.arange(12) % 2 == 0
        rng = np.random.default_rng(seed)
        higher = 0.05 * self.of_b.numpy()[self.people].mean(1)
        self.scores = 0.7 * self.same + higher + 0.3 * rng.normal(size=len(self.same))

    def pairs(self, of_b):
        letters = of_b.numpy()[self.people]
        keep = letters[:, 0] == letters[:, 1]
        return experiment.Pairs(self.scores[keep], self.same[keep], letters[keep, 0], self.people[keep])


def rate(pairs, limit, of_b, same):
    """Share of the pairs of one kind above a limit, counted."""
    own = [s for s, b, kind in zip(pairs.scores, pairs.of_b, pairs.same, strict=True) if b == of_b and kind == same]
    return sum(s > limit for s in own) / len(own)


def lowest(scores, far):
    """The lowest score of an impostor above which at most the share `far` lies."""
    return min(t for t in scores if np.mean(scores > t) <= far)


def test_thresholds_come_from_tune_and_rates_from_open_each_group_at_its_own(monkeypatch):
    worlds = {"tune": World(1), "open": World(2)}
    monkeypatch.setattr(experiment, "strangers", lambda split, seed, arm, budget: worlds[split])
    monkeypatch.setattr(experiment, "compare", lambda net, w, of_b=None: w.pairs(w.of_b if of_b is None else of_b))
    row = experiment.measure(None, "few", 3)
    known, test = (world.pairs(world.of_b) for world in worlds.values())
    tau, strict = (lowest(known.scores[~known.same], far) for far in (0.01, 0.001))
    at_a, at_b = (lowest(known.scores[~known.same & (known.of_b == b)], 0.01) for b in (False, True))
    expected = {
        "far_a": rate(test, tau, False, False),
        "far_b": rate(test, tau, True, False),
        "frr_a": 1 - rate(test, tau, False, True),
        "frr_b": 1 - rate(test, tau, True, True),
        "far_b_strict": rate(test, strict, True, False),
        "far_a_own": rate(test, at_a, False, False),
        "frr_a_own": 1 - rate(test, at_a, False, True),
        "far_b_own": rate(test, at_b, True, False),
        "frr_b_own": 1 - rate(test, at_b, True, True),
        "far_b_as_a": rate(test, at_a, True, False),
        "far_a_as_b": rate(test, at_b, False, False),
        "impostor_b": test.scores[test.of_b & ~test.same].mean(),
        "genuine_sd_a": test.scores[~test.of_b & test.same].std(),
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    assert row["far_b_dealt"] != row["far_b"]
    accepted = [np.sum(test.scores[(test.of_b == b) & ~test.same] > tau) for b in (False, True)]
    sizes = [np.sum((test.of_b == b) & ~test.same) for b in (False, True)]
    variance = sum(1 / k - 1 / n for k, n in zip(accepted, sizes, strict=True))
    assert row["se_pairs"] == pytest.approx(variance**0.5, rel=1e-5)


def test_only_pairs_of_one_group_are_compared():
    town = experiment.town("open", 5, 10, images=2)
    found = experiment.compare(torch.nn.Flatten(), town)
    letters = town.of_b.numpy()[found.people]
    assert (letters[:, 0] == letters[:, 1]).all()
    assert (found.of_b == letters[:, 0]).all()
    assert len(found.same) == 2 * (10 * 9 // 2)


def test_pictures_of_b_are_repeated_and_those_of_a_are_not(monkeypatch):
    seen = {}
    monkeypatch.setattr(experiment.faces, "train", lambda make, seed, budget, **o: seen.update(o) or experiment.faces)
    monkeypatch.setattr(experiment.faces, "net", None, raising=False)
    experiment.train("few, repeated", 7, "smoke")
    town = experiment.town("fit", 7, 30, 1, images=20)
    counts = seen["shown"].labels.bincount()
    assert (counts == torch.where(town.of_b, 180, 20)).all()


def test_the_camera_of_an_arm_is_also_that_of_its_test():
    same, blurred = (experiment.strangers("open", 8, arm, "smoke") for arm in ("half", "half, blurred"))
    assert not torch.equal(same.faces.images, blurred.faces.images)
