"""Paired differences against a double loop and a simulation; Holm's example."""

import numpy as np
import pytest

from facelearn.real_faces.table import holm, paired_difference


def listed(seed: int, people: int = 80, pairs: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """People (P, 2) of pairs and whether they are one."""
    rng = np.random.default_rng(seed)
    first = rng.integers(people, size=pairs)
    same = rng.random(pairs) < 0.5
    second = np.where(same, first, (first + rng.integers(1, people, size=pairs)) % people)
    return np.stack([first, second], 1), same


def test_variance_is_the_double_sum_over_pairs_that_share_a_person() -> None:
    people, _ = listed(0, people=25, pairs=120)
    rng = np.random.default_rng(1)
    a, b = rng.random((2, 1, 120)) < np.array([0.8, 0.6])[:, None, None]
    d = a[0].astype(float) - b[0]
    rest = d - d.mean()
    total = sum(
        rest[p] * rest[q] for p in range(120) for q in range(120) if set(people[p].tolist()) & set(people[q].tolist())
    )
    found = paired_difference(a, b, people)
    assert found.value == pytest.approx(d.mean())
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * np.sqrt(max(total, 0)) / 120)


def test_intervals_cover_when_people_are_drawn_again() -> None:
    """Two systems that share what makes a person hard, at fixed thresholds: 150 worlds with other people and pairs."""
    values, errors = [], []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        pairs, same = listed(seed, people=150, pairs=1500)
        hard = 0.7 * rng.normal(size=150)[pairs].sum(1)
        right = [
            ((np.where(same, strength, -strength) + hard + rng.normal(size=1500) >= 0) == same)[None]
            for strength in (1.6, 1.2)
        ]
        found = paired_difference(*right, pairs)
        values.append(found.value)
        errors.append((found.high - found.low) / 2 / 1.96)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(values), rel=0.15)
    assert 0.9 < (np.abs(values - np.mean(values)) < 1.96 * np.array(errors)).mean() < 0.99


def test_seeds_that_disagree_widen_the_interval() -> None:
    people, _ = listed(4, people=40, pairs=400)
    rng = np.random.default_rng(5)
    b = np.repeat(rng.random((1, 400)) < 0.8, 3, 0)
    a = np.concatenate([np.ones((1, 400), bool), b[:1], b[:1]])  # perfect once, equal twice
    spread = (a.mean(1) - b.mean(1)).std(ddof=1)
    found = paired_difference(a, b, people)
    assert (found.high - found.low) / 2 >= 1.96 * spread / np.sqrt(3)


def test_equal_systems_do_not_differ() -> None:
    people, _ = listed(6)
    a = np.ones((2, 600), bool)
    assert paired_difference(a, a, people) == (0.0, 0.0, 0.0, 1.0)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="people: shapes"):
        paired_difference(np.ones((1, 3), bool), np.ones((1, 3), bool), np.zeros((2, 2), int))


def test_holm() -> None:
    """By hand: .01 x 4, .02 x 3 (.06), .03 x 2 = .06, .2 x 1."""
    np.testing.assert_allclose(holm(np.array([0.03, 0.2, 0.01, 0.02])), [0.06, 0.2, 0.04, 0.06])
    np.testing.assert_allclose(holm(np.array([0.7, 0.9])), [1, 1])
