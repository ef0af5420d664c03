import math

import numpy as np
import pytest
import torch

from facelearn.losses import Circle
from tests.losses.conformance import CASES, assert_matches_reference, batch, stored_value, value_and_gradients


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("gamma", "margin"), [(80, 0.4), (256, 0.25)])
def test_reference(gamma, margin, case):
    """One softplus per anchor, averaged over the anchors that have both kinds."""
    make = lambda d, C: Circle(gamma=float(gamma), margin=margin)  # noqa: E731
    assert_matches_reference(make, "circle", case, f"g{gamma}_paper", inputs=())


def test_pooling_the_batch_into_one_softplus_is_another_loss():
    paper = stored_value("circle", "random_s0", "g80_paper")
    assert stored_value("circle", "random_s0", "g80_batch_pool") != pytest.approx(paper, rel=0.05)


def explicit(x, y, gamma, margin):
    """The formula per anchor, in plain exponentials."""
    z = x / np.linalg.norm(x, axis=1, keepdims=True)
    values = []
    for i in range(len(x)):
        pull = push = 0.0
        for j in range(len(x)):
            s = z[i] @ z[j]
            if j != i and y[j] == y[i]:
                pull += math.exp(-gamma * max(0.0, 1 + margin - s) * (s - (1 - margin)))
            elif y[j] != y[i]:
                push += math.exp(gamma * max(0.0, s + margin) * (s - margin))
        values.append(math.log1p(pull * push))
    return values


@pytest.mark.parametrize(("gamma", "margin"), [(8.0, 0.25), (32.0, 0.4), (16.0, -0.1), (16.0, 0.0)])
@pytest.mark.parametrize("seed", range(3))
def test_second_derivation(seed, gamma, margin):
    x, y = batch(seed, C=6)
    want = explicit(x.numpy(), y, gamma, margin)
    each = Circle(gamma=gamma, margin=margin, reduction="none")(x, y)
    torch.testing.assert_close(each, torch.tensor(want, dtype=x.dtype), rtol=1e-11, atol=1e-13)
    both = [v for v in want if v > 0]  # without one of the kinds a sum is empty and the value log 1
    assert Circle(gamma=gamma, margin=margin)(x, y).item() == pytest.approx(sum(both) / len(both), rel=1e-11)


def test_weights_are_constants_to_the_gradient():
    """∂L/∂s_n = σ γ (s_n + m), ∂L/∂s_p = -σ γ (1 + m - s_p): half of what differentiating the squares would give."""
    gamma, m = 4.0, 0.25
    angles = torch.tensor([0.0, 0.5, 1.2], dtype=torch.float64)  # anchor, positive, negative, on the unit circle
    x = torch.stack([angles.cos(), angles.sin()], 1).requires_grad_()
    loss = Circle(gamma=gamma, margin=m, reduction="none")(x, torch.tensor([0, 0, 1]))[0]
    (got,) = torch.autograd.grad(loss, x)
    s_p, s_n = math.cos(0.5), math.cos(1.2)
    logit = gamma * ((s_n + m) * (s_n - m) - (1 + m - s_p) * (s_p - (1 - m)))
    share = 1 / (1 + math.exp(-logit))
    slope_p, slope_n = -share * gamma * (1 + m - s_p), share * gamma * (s_n + m)
    tangent = torch.stack([-angles.sin(), angles.cos()], 1)
    along = (got * tangent).sum(1)  # ∂L/∂angle
    torch.testing.assert_close(along[1], torch.tensor(-math.sin(0.5) * slope_p, dtype=along.dtype))
    torch.testing.assert_close(along[2], torch.tensor(-math.sin(1.2) * slope_n, dtype=along.dtype))
    torch.testing.assert_close(along.sum(), torch.tensor(0.0, dtype=along.dtype), atol=1e-12, rtol=0)


def test_boundary_is_a_circle():
    """L = log 2 for one positive and one negative wherever (s_n, s_p) is √2 m away from (0, 1)."""
    m = 0.25
    for direction in np.linspace(-math.pi / 2, 0, 7):
        s_n, s_p = math.sqrt(2) * m * math.cos(direction), 1 + math.sqrt(2) * m * math.sin(direction)
        a, b = math.acos(s_p), -math.acos(s_n)
        x = torch.tensor([[1.0, 0.0], [math.cos(a), math.sin(a)], [math.cos(b), math.sin(b)]], dtype=torch.float64)
        loss = Circle(gamma=80.0, margin=m, reduction="none")(x, torch.tensor([0, 0, 1]))[0]
        assert loss.item() == pytest.approx(math.log(2), rel=1e-9)


def test_similarities_past_their_optimum_get_no_gradient():
    """s_n < -m: weight 0."""
    x = torch.tensor([[1.0, 0.0], [1.0, 0.01], [-1.0, 0.0]], dtype=torch.float64)
    got = value_and_gradients(Circle(gamma=1.0), x, torch.tensor([0, 0, 1]))
    assert torch.equal(got["grad_embeddings"][2], torch.zeros(2, dtype=torch.float64))
