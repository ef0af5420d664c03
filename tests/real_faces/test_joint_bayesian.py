"""Joint Bayesian against scipy's Gaussians, the closed form of balanced data, and data drawn from the model."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from facelearn.real_faces.joint_bayesian import JointBayesian


def drawn(people: int, counts: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """rows, labels, S_between, S_within of a model in three dimensions."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(2, 3, 3))
    between, within = (root @ root.T for root in roots)
    labels = np.repeat(np.arange(people), counts)
    rows = 5 + (rng.normal(size=(people, 3)) @ roots[0].T)[labels] + rng.normal(size=(len(labels), 3)) @ roots[1].T
    return rows, labels, between, within


def covariances(model: JointBayesian) -> tuple[np.ndarray, np.ndarray]:
    """S_between and S_within from the basis in which they are diagonal."""
    back = np.linalg.inv(model.basis)
    return back.T * model.between @ back, back.T @ back


def likelihood(model: JointBayesian, rows: np.ndarray, labels: np.ndarray) -> float:
    """Of all rows, person by person, by scipy's density of the person's rows laid end to end."""
    between, within = covariances(model)
    total = 0.0
    for person in np.unique(labels):
        own = rows[labels == person]
        n = len(own)
        covariance = np.kron(np.ones((n, n)), between) + np.kron(np.eye(n), within)
        total += multivariate_normal.logpdf((own - model.mean).ravel(), np.zeros(3 * n), covariance)
    return total


def test_score_is_the_log_ratio_of_two_gaussians() -> None:
    rows, labels, *_ = drawn(40, np.tile([1, 2, 3, 6], 10))
    model = JointBayesian(5).fit(rows, labels)
    between, within = covariances(model)
    apart, zero = between + within, np.zeros((3, 3))
    pairs = np.array([[0, 1], [3, 4], [5, 50], [7, 7]])
    expected = [
        multivariate_normal.logpdf(both, np.zeros(6), np.block([[apart, between], [between, apart]]))
        - multivariate_normal.logpdf(both, np.zeros(6), np.block([[apart, zero], [zero, apart]]))
        for both in (rows - model.mean)[pairs].reshape(-1, 6)
    ]
    np.testing.assert_allclose(model.score(rows, pairs), expected, rtol=1e-9)
    a, b, c = model.parts(rows)
    np.testing.assert_allclose((a @ b.T + np.add.outer(c, c))[pairs[:, 0], pairs[:, 1]], expected, rtol=1e-9)


def test_likelihood_is_that_of_scipy_and_never_falls() -> None:
    rows, labels, *_ = drawn(30, np.tile([1, 2, 5], 10))
    history = JointBayesian(30).fit(rows, labels).history
    assert (np.diff(history) > -1e-9).all()
    constant = rows.size / 2 * np.log(2 * np.pi)
    for steps in (0, 3):
        model = JointBayesian(steps).fit(rows, labels)
        assert history[steps] - constant == pytest.approx(likelihood(model, rows, labels), rel=1e-9)


def test_balanced_data_have_a_closed_form() -> None:
    people, n = 60, 4
    rows, labels, *_ = drawn(people, np.full(people, n))
    means = rows.reshape(people, n, 3).mean(1)
    rest = (rows.reshape(people, n, 3) - means[:, None]).reshape(-1, 3)
    within = rest.T @ rest / (people * (n - 1))
    between = np.cov(means.T, bias=True) - within / n
    found = covariances(JointBayesian(300).fit(rows, labels))
    np.testing.assert_allclose(found[1], within, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found[0], between, rtol=1e-2, atol=1e-3)


def test_many_people_give_the_covariances_back() -> None:
    counts = np.tile([1, 1, 2, 3, 8], 1200)
    rows, labels, between, within = drawn(len(counts), counts)
    found = covariances(JointBayesian(60).fit(rows, labels))
    assert np.abs(found[0] - between).max() < 0.06 * between.max()
    assert np.abs(found[1] - within).max() < 0.06 * within.max()


def test_a_dimension_without_spread_stays_finite() -> None:
    rows, labels, *_ = drawn(20, np.full(20, 3))
    flat = np.column_stack([rows, np.full(len(rows), 2.0)])
    assert np.isfinite(JointBayesian().fit(flat, labels).score(flat, np.array([[0, 1], [0, 5]]))).all()


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        (np.zeros((4, 2)), np.zeros(4, int), "labels: 1 people"),
        (np.zeros((4, 2)), np.arange(4), "up to 1 images"),
        (np.zeros((4, 2)), np.zeros(3, int), "rows: shape"),
    ],
)
def test_what_cannot_be_fitted_is_refused(rows: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        JointBayesian().fit(rows, labels)


def test_negative_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="steps: -1"):
        JointBayesian(-1)
