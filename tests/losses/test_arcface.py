import math

import pytest
import torch

from facelearn.losses import ArcFace, NormFace
from facelearn.losses.margin import BEYOND_PI
from tests.losses.conformance import CASES, assert_matches_reference, batch, value_and_gradients

CONVENTIONS = {
    "plain": {"beyond_pi": "plain"},
    "mm": {"beyond_pi": "mm"},
    "clip": {"beyond_pi": "clip"},
    "plain_detached": {"beyond_pi": "plain", "detach_margin": True},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_reference(case, convention):
    make = lambda d, C: ArcFace(d, C, scale=64.0, margin=0.5, **CONVENTIONS[convention])  # noqa: E731
    assert_matches_reference(make, "arcface", case, convention)


@pytest.mark.parametrize("rule", BEYOND_PI)
def test_margin_zero_is_normface(rule):
    x, y = batch()
    arcface, normface = ArcFace(8, 6, scale=30.0, margin=0.0, beyond_pi=rule).double(), NormFace(8, 6).double()
    normface.load_state_dict(arcface.state_dict())
    got, want = value_and_gradients(arcface, x, y), value_and_gradients(normface, x, y)
    for name in want:
        torch.testing.assert_close(got[name], want[name], rtol=1e-12, atol=1e-14)


def sweep(rule: str, margin: float = 0.5) -> tuple[torch.Tensor, torch.Tensor]:
    """Target against angle: x turns away from its class in the plane."""
    theta = torch.linspace(0, math.pi, 2001, dtype=torch.float64)
    cos = theta.cos()
    return theta, ArcFace(2, 2, margin=margin, beyond_pi=rule).double().target(cos, ())


@pytest.mark.parametrize("rule", BEYOND_PI)
def test_target_is_cos_of_theta_plus_m_up_to_pi(rule):
    theta, target = sweep(rule)
    within = theta + 0.5 < math.pi
    torch.testing.assert_close(target[within], (theta[within] + 0.5).cos(), rtol=1e-7, atol=1e-9)


def test_shape_of_the_rules_beyond_pi():
    """plain turns up; mm falls but jumps down; clip is flat; linear falls without a jump."""
    step = math.pi / 2000
    for rule, falling, continuous in (
        ("plain", False, True), ("mm", True, False), ("clip", True, True), ("linear", True, True),
    ):  # fmt: skip
        target = sweep(rule)[1]
        assert bool((target.diff() <= 1e-12).all()) == falling, rule
        assert bool((target.diff().abs() < 2 * step).all()) == continuous, rule
        assert (float(target.min()) == pytest.approx(-1.0)) == (rule in ("plain", "clip"))
    assert sweep("mm")[1][-1] == pytest.approx(-1 - 0.5 * math.sin(0.5))
    assert sweep("linear")[1][-1] == pytest.approx(-2 + math.cos(0.5))


def test_clip_gives_no_gradient_beyond_pi_and_linear_does():
    for rule, moves in (("clip", False), ("linear", True), ("mm", True)):
        cos = torch.tensor([math.cos(3.0)], dtype=torch.float64, requires_grad=True)
        ArcFace(2, 2, beyond_pi=rule).double().target(cos, ()).sum().backward()
        assert (cos.grad != 0).item() == moves


def test_detached_margin_keeps_the_value_and_drops_the_angle_factor():
    x, y = batch()
    attached, detached = ArcFace(8, 6).double(), ArcFace(8, 6, detach_margin=True).double()
    detached.load_state_dict(attached.state_dict())
    a, d = value_and_gradients(attached, x, y), value_and_gradients(detached, x, y)
    torch.testing.assert_close(a["loss"], d["loss"])
    assert (a["grad_embeddings"] - d["grad_embeddings"]).abs().max() > 1e-3 * a["grad_embeddings"].abs().max()


def test_gradient_factor_is_sin_ratio():
    """∂target/∂cos θ = sin(θ + m) / sin θ."""
    theta = torch.linspace(0.1, 2.5, 30, dtype=torch.float64)
    cos = theta.cos().requires_grad_()
    ArcFace(2, 2, margin=0.5).double().target(cos, ()).sum().backward()
    torch.testing.assert_close(cos.grad, (theta + 0.5).sin() / theta.sin())


def test_gradient_on_the_embedding_stays_bounded_as_theta_vanishes():
    """‖∂target/∂x‖ = sin(θ + m) / ‖x‖, although ∂target/∂cos θ grows without bound."""
    for theta in (1e-1, 1e-3, 1e-6):
        x = torch.tensor([[math.cos(theta), math.sin(theta)]], dtype=torch.float64, requires_grad=True)
        cos = x[:, 0] / x.norm()
        ArcFace(2, 2, margin=0.5).double().target(cos.clamp(-1, 1), ()).sum().backward()
        assert float(x.grad.norm()) == pytest.approx(math.sin(theta + 0.5), rel=1e-3)
