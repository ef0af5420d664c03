import math

import numpy as np
import pytest
import torch

from facelearn.losses import NormFace, Softmax, SphereFace
from facelearn.losses.sphereface import chebyshev, psi
from tests.losses.conformance import (
    CASES,
    assert_matches_reference,
    assert_same,
    batch,
    cosines,
    mean_surprise,
    put,
    value_and_gradients,
)

CONVENTIONS = {
    "lam0": {"lam_min": 0.0, "lam_base": 0.0},
    "lam5": {"lam_min": 5.0, "lam_base": 0.0},
    "first_step": {},  # 1000 / (1 + 0.12), the defaults
    "first_step_clcarwin": {"lam_base": 1500.0, "gamma": 0.1},
    "r_paper": {"margin": 1.7, "scale": 30.0},
}


@pytest.mark.parametrize("case", [case for case in CASES if case != "single_class"])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_reference(convention, case):
    """λ = 0 and 5, λ of the first call with two public settings, and SphereFace-R with its margin attached."""
    make = lambda d, C: SphereFace(d, C, **CONVENTIONS[convention])  # noqa: E731
    assert_matches_reference(make, "sphereface", case, convention)


def staircase(theta, m):
    """ψ by the angle: k counts the sectors of π/m."""
    k = min(math.floor(m * theta / math.pi), math.ceil(m) - 1)
    return (-1) ** k * math.cos(m * theta) - 2 * k


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 1.35, 1.7, 2.5])
def test_psi_is_the_staircase_of_the_angle(m):
    theta = torch.linspace(0.003, math.pi - 0.003, 500, dtype=torch.float64)
    want = torch.tensor([staircase(t, m) for t in theta.tolist()], dtype=torch.float64)
    torch.testing.assert_close(psi(theta.cos(), m), want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5])
def test_psi_falls_without_a_jump_from_1_to_1_minus_2m(m):
    cos = torch.linspace(1, -1, 4001, dtype=torch.float64)
    values = psi(cos, m)
    assert values[0] == 1
    assert values[-1] == pytest.approx(1 - 2 * m)
    steps = values.diff()
    assert (steps <= 1e-12).all()
    assert steps.abs().max() < 2 * m**2 * 2 / 4000  # the slope of ψ against cos θ is at most m²


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5])
def test_slope_of_psi_at_the_ends_is_m_squared(m):
    """At θ = π a k of m instead of m - 1 gives the same value with the slope turned round."""
    cos = torch.tensor([1.0, -1.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(psi(cos, m).sum(), cos)
    torch.testing.assert_close(slope, torch.full((2,), m**2, dtype=torch.float64))


def test_chebyshev_is_the_cosine_of_the_multiple():
    theta = torch.linspace(0, math.pi, 50, dtype=torch.float64)
    for m in range(1, 8):
        torch.testing.assert_close(chebyshev(theta.cos(), m), (m * theta).cos(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("m", [2, 3, 4])
def test_second_derivation(m):
    x, y = batch()
    loss = SphereFace(8, 6, margin=m, lam_min=2.0, lam_base=50.0, gamma=0.5, power=2.0).double()
    cos, norms = cosines(loss, x), np.linalg.norm(x, axis=1)
    for it in (1, 2, 3):
        lam = max(2.0, 50.0 * (1 + 0.5 * it) ** -2.0)
        logits = norms[:, None] * cos
        for i, yi in enumerate(y.tolist()):
            theta = math.acos(cos[i, yi])
            logits[i, yi] = norms[i] * (lam * math.cos(theta) + staircase(theta, m)) / (1 + lam)
        assert loss(x, y).item() == pytest.approx(mean_surprise(logits, y), rel=1e-10)
        assert loss.iteration == it


def test_annealing_ends_at_the_minimum_and_stands_still_in_eval():
    loss = SphereFace(8, 6).double()
    x, y = batch()
    assert loss.annealing() == 1000  # before the first call
    loss(x, y)
    assert float(loss.annealing()) == pytest.approx(1000 / 1.12, rel=1e-15)
    loss.eval()(x, y)
    assert loss.iteration == 1
    loss.iteration += 10**6
    assert loss.annealing() == 5


def test_margin_one_is_softmax_with_unit_weights():
    x, y = batch()
    loss, softmax = SphereFace(8, 6, margin=1).double(), Softmax(8, 6, bias=False).double()
    put(softmax, weight=torch.nn.functional.normalize(loss.weight.detach()))
    a, b = value_and_gradients(loss, x, y), value_and_gradients(softmax, x, y)
    for name in ("loss", "grad_embeddings"):
        torch.testing.assert_close(a[name], b[name])


def test_margin_one_with_a_scale_is_normface():
    assert_same(SphereFace(8, 6, margin=1, scale=30.0).double(), NormFace(8, 6, scale=30.0).double(), *batch())


def test_lambda_without_end_is_margin_one():
    x, y = batch()
    slow, one = SphereFace(8, 6, margin=4, lam_min=1e12).double(), SphereFace(8, 6, margin=1).double()
    put(one, weight=slow.weight.detach())
    torch.testing.assert_close(slow(x, y), one(x, y), rtol=1e-9, atol=0)


def test_lambda_5_with_m_4_is_about_m_1_5():
    """At 60°: 0.167 beside cos 90° = 0."""
    cos = torch.tensor([0.5], dtype=torch.float64)
    loss = SphereFace(2, 2, lam_base=0.0).double()
    assert loss.target(cos, (torch.ones(1),)).item() == pytest.approx(0.5 / 6 * 5 + psi(cos, 4).item() / 6)
    assert loss.target(cos, (torch.ones(1),)).item() == pytest.approx(1 / 6, abs=1e-3)


def test_embedding_length_is_the_scale():
    """Not invariant to it: twice the length is another loss; the lengths of the weights do not matter."""
    torch.manual_seed(0)
    x, y = batch()
    loss = SphereFace(8, 6).double().eval()
    before = loss(x, y)
    put(loss, weight=7 * loss.weight.detach())
    torch.testing.assert_close(loss(x, y), before)
    assert abs(loss(2 * x, y) - before) > 0.1
    torch.testing.assert_close(loss.logits(2 * x), 2 * loss.logits(x))
