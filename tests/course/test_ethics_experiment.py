"""What is particular to chapter 02: its two groups, its rates against plain counting, and its errors by people."""

import numpy as np
import pytest
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
