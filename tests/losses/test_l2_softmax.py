import math

import numpy as np
import pytest
import torch

from facelearn.losses import L2Softmax, Softmax
from tests.losses.conformance import CASES, assert_matches_reference, batch, value_and_gradients


@pytest.mark.parametrize("case", CASES)
def test_reference(case):
    make = lambda d, C: L2Softmax(d, C, alpha=16.0)  # noqa: E731
    assert_matches_reference(make, "l2_softmax", case, "paper", inputs=("weight", "bias"))


def test_second_derivation():
    x, y = batch()
    loss = L2Softmax(8, 6, alpha=5.0).double()
    torch.nn.init.normal_(loss.bias)
    W, b, total = loss.weight.detach().numpy(), loss.bias.detach().numpy(), 0.0
    for xi, yi in zip(x.numpy(), y.tolist(), strict=True):
        z = [5.0 * (W[j] @ xi) / np.sqrt(xi @ xi) + b[j] for j in range(6)]
        total += math.log(sum(math.exp(zj - z[yi]) for zj in z)) / len(x)
    assert loss(x, y).item() == pytest.approx(total, rel=1e-12)


def test_is_softmax_of_rescaled_embeddings():
    x, y = batch()
    loss, softmax = L2Softmax(8, 6, alpha=3.0).double(), Softmax(8, 6).double()
    softmax.load_state_dict(loss.state_dict())
    torch.testing.assert_close(loss(x, y), softmax(3 * x / x.norm(dim=1, keepdim=True), y), rtol=1e-12, atol=0)


def test_gradient_is_tangent_and_falls_with_the_length():
    x, y = batch()
    loss = L2Softmax(8, 6).double()
    near, far = (value_and_gradients(loss, k * x, y) for k in (1, 5))
    assert float(near["loss"]) == pytest.approx(float(far["loss"]), rel=1e-12)
    assert (near["grad_embeddings"] * x).sum(1).abs().max() < 1e-13
    torch.testing.assert_close(far["grad_embeddings"], near["grad_embeddings"] / 5)


def test_alpha_can_be_learnt():
    """∂L/∂α by central differences, and the same loss while it has its first value."""
    x, y = batch()
    learnt, fixed = L2Softmax(8, 6, alpha=4.0, learn_alpha=True).double(), L2Softmax(8, 6, alpha=4.0).double()
    fixed.load_state_dict(learnt.state_dict(), strict=False)
    got = value_and_gradients(learnt, x, y)
    torch.testing.assert_close(got["loss"], fixed(x, y).detach())
    values = []
    for fixed.alpha in (4.0 + 1e-5, 4.0 - 1e-5):
        values.append(fixed(x, y).item())
    assert float(got["grad_alpha"]) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-6)
    assert set(L2Softmax.no_weight_decay) == {"bias", "alpha"}
    assert "alpha" not in dict(fixed.named_parameters())


@pytest.mark.parametrize(("C", "want"), [(10, 4.28), (10_575, 11.46)])
def test_alpha_needed_for_a_target_probability(C, want):
    """At ln(p (C-2) / (1-p)) the target probability is about p where classes are opposite in pairs, as the bound
    assumes: one class at cos = 1, one at -1, the others across."""
    p = 0.9
    alpha = math.log(p * (C - 2) / (1 - p))
    assert alpha == pytest.approx(want, abs=0.01)
    if C == 10:
        loss = L2Softmax(C // 2, C, alpha=alpha).double()
        with torch.no_grad():
            loss.weight.copy_(torch.cat([torch.eye(C // 2), -torch.eye(C // 2)]))
        value = loss(7.0 * loss.weight.detach(), torch.arange(C))
        assert math.exp(-value.item()) == pytest.approx(p, abs=0.01)
