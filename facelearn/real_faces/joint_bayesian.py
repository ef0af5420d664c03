"""Joint Bayesian: are these two rows more likely to come from one person than from two?

The model says how a row x (an embedding, or a descriptor after PCA) of a person comes about:

    x = m + μ + ε,    μ ~ N(0, S_between) once for each person,    ε ~ N(0, S_within) once for each image

so that a pair of rows is Gaussian whether or not it shares μ, and the score is the log of the ratio of the two

    log p(x₁, x₂ | one μ) - log p(x₁, x₂ | two μ)

In the basis in which S_within = 1 and S_between is diagonal, l, the dimensions are independent and the ratio is a sum
over them of  P x₁ x₂ - Q (x₁² + x₂²) / 2 + c:  no matrix is ever inverted for a pair.

Source: Chen, Cao, Wang, Wen, Sun, "Bayesian Face Revisited: A Joint Formulation", ECCV 2012. The same model is the
two-covariance form of PLDA (Brümmer and de Villiers, Odyssey 2010), whose exact EM is used here; it takes persons with
any number of images, one included. The paper's own iteration drops terms of it (its M-step leaves out the
posterior covariances).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

Array = NDArray[Any]


class JointBayesian:
    """`JointBayesian().fit(rows, labels).score(rows, pairs)`; more than 300 dimensions want more people than LFW has.

    After `fit`: `mean` (d,), `basis` (d, d), whose columns bring rows to unit within-person covariance and diagonal
    between-person covariance `between` (d,), and `history`, the log-likelihood of the training rows before each step.
    """

    def __init__(self, steps: int = 20) -> None:
        if steps < 0:
            raise ValueError(f"steps: {steps}; expected 0 or more")
        self.steps = steps

    def fit(self, rows: Array, labels: Array) -> JointBayesian:
        """Maximum likelihood by EM. rows (N, d), labels (N,) of persons, some of them with two images or more."""
        rows = np.asarray(rows, np.float64)
        people, person, counts = np.unique(labels, return_inverse=True, return_counts=True)
        if rows.ndim != 2 or len(person) != len(rows):
            raise ValueError(f"rows: shape {rows.shape} for {len(person)} labels; expected (N, d), one row a label")
        if len(people) < 2 or counts.max() < 2:
            raise ValueError(f"labels: {len(people)} people with up to {counts.max()} images; expected 2 and 2 or more")
        self.mean = rows.mean(0)
        rows = rows - self.mean
        sums = np.zeros((len(people), rows.shape[1]))  # (C, d)
        np.add.at(sums, person, rows)
        scatter = rows.T @ rows  # (d, d)

        means = sums / counts[:, None]
        within = (scatter - (sums.T @ means)) / max(len(rows) - len(people), 1)
        between = means.T @ means / len(people)
        self.history: list[float] = []
        for step in range(self.steps + 1):
            self._diagonalise(between, within)
            if step < self.steps:
                between, within = self._step(sums, counts, scatter)
        return self

    def _diagonalise(self, between: Array, within: Array) -> None:
        d = len(within)
        within = within + 1e-6 * np.trace(within) / d * np.eye(d)  # dimensions without any spread stay finite
        self.between, self.basis = eigh(between, within)  # basisᵀ within basis = 1, basisᵀ between basis = between
        self.between = self.between.clip(min=0)

    def _step(self, sums: Array, counts: Array, scatter: Array) -> tuple[Array, Array]:
        """One step of EM: the expected S_between and S_within. Everything (C, d) is in the diagonal basis."""
        n, l = counts[:, None].astype(float), self.between
        s, total = sums @ self.basis, self.basis.T @ scatter @ self.basis
        spread = l / (1 + n * l)  # posterior variance of μ
        mu = spread * s  # posterior mean, n l / (1 + n l) · mean of the person
        self.history.append(_log_likelihood(s, counts, l, total, self.basis))
        between = (mu.T @ mu + np.diag(spread.sum(0))) / len(counts)
        cross = s.T @ mu
        within = total - cross - cross.T + (n * mu).T @ mu + np.diag((n * spread).sum(0))
        back = np.linalg.inv(self.basis)
        return back.T @ between @ back, back.T @ (within / counts.sum()) @ back

    def parts(self, rows: Array) -> tuple[Array, Array, Array]:
        """What scores are made of: `a (N, d)`, `b (N, d)`, `c (N,)` with score(i, j) = a_i · b_j + c_i + c_j."""
        x = (np.asarray(rows, np.float64) - self.mean) @ self.basis
        l = self.between
        apart, together = 1 + l, 1 + 2 * l  # variances of x, and of (x₁ + x₂) / √2 if they share μ
        product = l / together
        square = l * l / (apart * together)
        constant = np.log(apart) - np.log(together) / 2
        return product * x, x, (constant.sum() - x**2 @ square) / 2

    def score(self, rows: Array, pairs: Array) -> Array:
        """Log-likelihood ratios (P,) of pairs (P, 2) of rows (N, d); above 0 speaks for one person."""
        a, b, c = self.parts(rows)
        first, second = np.asarray(pairs).T
        return np.einsum("pd,pd->p", a[first], b[second]) + c[first] + c[second]


def _log_likelihood(s: Array, counts: Array, l: Array, total: Array, basis: Array) -> float:
    """Of all rows, from the sums s (C, d) of each person in the diagonal basis, up to the constant with 2π."""
    n = counts[:, None]
    volume = np.log1p(n * l).sum()
    distance = np.trace(total) - (l / (1 + n * l) * s**2).sum()
    return float(counts.sum() * np.linalg.slogdet(basis)[1] - (volume + distance) / 2)
