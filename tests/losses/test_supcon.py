import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from facelearn.losses import SupCon
from tests.losses.conformance import batch, value_and_gradients


def explicit(x, y, temperature):
    """The formula, term by term; None for anchors without a positive."""
    z = x / np.linalg.norm(x, axis=1, keepdims=True)
    values = []
    for i in range(len(x)):
        positives = [p for p in range(len(x)) if p != i and y[p] == y[i]]
        below = sum(math.exp(z[i] @ z[a] / temperature) for a in range(len(x)) if a != i)
        terms = [-math.log(math.exp(z[i] @ z[p] / temperature) / below) for p in positives]
        values.append(sum(terms) / len(terms) if terms else None)
    return values


@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_explicit_formula(seed, temperature):
    x, y = batch(seed, C=8)
    want = explicit(x.numpy(), y, temperature)
    each = SupCon(temperature=temperature, reduction="none")(x, y)
    for got, value in zip(each.tolist(), want, strict=True):
        assert got == pytest.approx(value or 0.0, rel=1e-11, abs=1e-14)
    counted = [value for value in want if value is not None]
    assert SupCon(temperature=temperature)(x, y).item() == pytest.approx(sum(counted) / len(counted), rel=1e-11)


def test_gradient_is_that_of_the_explicit_formula():
    """∂L_i/∂z_i = (1/τ) (Σ_a p_a z_a - mean of the positives), pushed through the normalisation; by differences."""
    x, y = batch(1, B=6, C=3)
    got = value_and_gradients(SupCon(), x, y)["grad_embeddings"]
    for i in range(6):
        for t in range(8):
            values = []
            for step in (1e-6, -1e-6):
                moved = x.numpy().copy()
                moved[i, t] += step
                terms = [v for v in explicit(moved, y, 0.1) if v is not None]
                values.append(sum(terms) / len(terms))
            assert float(got[i, t]) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-7)


def test_pairs_are_cross_entropy_over_the_batch():
    """Two views of each sample, all classes distinct: NT-Xent, a cross-entropy with the other view as target."""
    a, _ = batch(0, B=5)
    b, _ = batch(1, B=5)
    x, y = torch.cat([a, b]), torch.arange(5).repeat(2)
    z = F.normalize(x)
    logits = (z @ z.T / 0.1).fill_diagonal_(-torch.inf)
    want = F.cross_entropy(logits, (torch.arange(10) + 5) % 10)
    torch.testing.assert_close(SupCon()(x, y), want, rtol=1e-12, atol=0)


def test_collapse_costs_log_of_the_batch():
    x, y = torch.ones(8, 3, dtype=torch.float64), torch.arange(8) // 2
    assert SupCon()(x, y).item() == pytest.approx(math.log(7), rel=1e-12)


def test_small_temperatures_do_not_overflow():
    x, y = batch(dtype=torch.float32)
    got = value_and_gradients(SupCon(temperature=1e-3), x, y)
    assert got["loss"].isfinite()
    assert got["grad_embeddings"].isfinite().all()
