import math

import numpy as np
import pytest
import torch

from facelearn.losses import ArcFace, MagFace
from tests.losses.conformance import (
    CASES,
    assert_matches_reference,
    assert_same,
    batch,
    cosines,
    mean_surprise,
    stored_value,
    value_and_gradients,
)  # fmt: skip


@pytest.mark.parametrize("case", [case for case in CASES if case != "single_class"])
@pytest.mark.parametrize("rule", ["easy", "plain", "mm"])
def test_reference(rule, case):
    assert_matches_reference(lambda d, C: MagFace(d, C, beyond_pi=rule), "magface", case, rule)


def test_cosine_beyond_pi_is_another_loss():
    mm, cos = (stored_value("magface", "opposite", name) for name in ("mm", "cos"))
    assert mm != pytest.approx(cos, rel=1e-3)


@pytest.mark.parametrize("rule", ["plain", "mm"])
def test_equal_margins_and_no_regulariser_are_arcface(rule):
    x, y = batch()
    settings = {"margin_lower": 0.5, "margin_upper": 0.5, "regularizer_weight": 0.0}
    magface = MagFace(8, 6, beyond_pi=rule, **settings).double()
    assert_same(magface, ArcFace(8, 6, margin=0.5, beyond_pi=rule).double(), 10 * x, y)


@pytest.mark.parametrize("rule", ["easy", "plain", "mm"])
def test_second_derivation(rule):
    x, y = batch(B=20)
    x = x * torch.linspace(0.2, 5, 20)[:, None]  # lengths from below 1 to beyond 8
    loss = MagFace(
        8,
        6,
        scale=8.0,
        lower=1.0,
        upper=8.0,
        margin_lower=0.2,
        margin_upper=0.9,
        regularizer_weight=3.0,
        beyond_pi=rule,
    ).double()
    logits, price, sides = 8.0 * cosines(loss, x), 0.0, set()
    for i, yi in enumerate(y.tolist()):
        a = min(max(np.linalg.norm(x[i]), 1.0), 8.0)
        sides.add(a in (1.0, 8.0))
        m = 0.2 + 0.7 * (a - 1) / 7
        theta = math.acos(logits[i, yi] / 8.0)
        target = math.cos(theta + m)
        if rule == "easy" and theta > math.pi / 2:
            target = math.cos(theta)
        if rule == "mm" and theta + m > math.pi:
            target = math.cos(theta) - m * math.sin(m)
        logits[i, yi] = 8.0 * target
        price += (1 / a + a / 64) / 20
    assert sides == {True, False}
    assert loss(x, y).item() == pytest.approx(mean_surprise(logits, y) + 3 * price, rel=1e-10)


def test_lengths_outside_the_bounds_get_no_gradient_along_themselves():
    x, y = batch()
    loss = MagFace(8, 6, lower=1.0, upper=8.0).double()
    unit = x / x.norm(dim=1, keepdim=True)
    for length, moves in ((0.5, False), (4.0, True), (20.0, False)):
        along = (value_and_gradients(loss, length * unit, y)["grad_embeddings"] * unit).sum(1)
        assert bool((along.abs() > 1e-9).all()) == moves
        assert moves or along.abs().max() < 1e-12


def test_easier_samples_want_to_be_longer():
    """∂L/∂‖x‖ is the larger (towards shorter), the farther the sample is from its class: length learns quality."""
    loss = MagFace(2, 2, beyond_pi="plain").double()
    with torch.no_grad():
        loss.weight.copy_(torch.eye(2))
    theta = torch.linspace(0.05, 0.7, 8, dtype=torch.float64)
    x = 40 * torch.stack([theta.cos(), theta.sin()], 1)
    gradient = value_and_gradients(loss, x, torch.zeros(8, dtype=torch.int64))["grad_embeddings"]
    along = (gradient * x).sum(1)
    assert (along.diff() > 0).all()


def test_regulariser_alone_draws_lengths_to_the_upper_bound():
    """g(a) = 1/a + a/u²: its slope is negative below u and 0 at u."""
    loss = MagFace(2, 2, lower=1.0, upper=8.0, margin_lower=0.0, margin_upper=0.0, regularizer_weight=1.0).double()
    with torch.no_grad():
        loss.weight.copy_(torch.eye(2))
    lengths = torch.tensor([1.5, 4.0, 7.9, 8.0], dtype=torch.float64)
    x = torch.stack([lengths, torch.zeros(4, dtype=torch.float64)], 1)
    loss.reduction = "sum"
    along = value_and_gradients(loss, x, torch.zeros(4, dtype=torch.int64))["grad_embeddings"][:, 0]
    torch.testing.assert_close(along, -1 / lengths**2 + 1 / 64, atol=1e-12, rtol=1e-9)
