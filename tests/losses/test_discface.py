import numpy as np
import pytest
import torch

from facelearn.losses import ArcFace, CosFace, DiscFace, L2Softmax, Softmax
from tests.losses.conformance import (
    CASES,
    assert_matches_reference,
    batch,
    put,
    stored_value,
    value_and_gradients,
)  # fmt: skip

#: the stored values of the ArcFace base have cos θ - m sin m beyond π
BASES = {"cosface": lambda d, C: CosFace(d, C), "arcface": lambda d, C: ArcFace(d, C, beyond_pi="mm")}


@pytest.mark.parametrize("case", [case for case in CASES if case != "single_class"])
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("size", ["small", "big"])
def test_reference(size, base, case):
    """ξ of length 0.02, inside the bound, and 0.5, beyond it; one ξ for all classes, mean of norms."""
    make = lambda d, C: DiscFace(BASES[base](d, C), weight=0.4, bound=0.05)  # noqa: E731
    inputs = ("weight", "xi")
    assert_matches_reference(make, "discface", case, f"{size}_{base}", inputs, prefix=f"{size}_")


def test_norm_over_the_whole_batch_is_another_loss():
    paper = stored_value("discface", "near_centre", "small_arcface")
    assert stored_value("discface", "near_centre", "small_arc_batch_frobenius") != pytest.approx(paper, rel=1e-3)


def test_weight_zero_is_the_base_loss():
    x, y = batch()
    base = ArcFace(8, 6).double()
    disc = DiscFace(base, weight=0.0).double()
    got, want = value_and_gradients(disc, x, y), value_and_gradients(base, x, y)
    assert torch.equal(got["loss"], want["loss"])
    assert torch.equal(got["grad_embeddings"], want["grad_embeddings"])
    assert torch.equal(got["grad_base_loss.weight"], want["grad_weight"])
    assert torch.equal(disc.logits(x), base.logits(x))


@pytest.mark.parametrize("length", [0.0, 0.02, 0.05, 3.0])
def test_second_derivation(length):
    """The discrepancy alone, by loops: its share of the loss is that of the weight λ."""
    x, y = batch()
    loss = DiscFace(CosFace(8, 6), weight=0.4, reduction="none").double()
    xi = torch.randn(8, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    put(loss, xi=length * xi / xi.norm())
    v = loss.xi.detach().numpy() * (min(1.0, 0.05 / length) if length else 1.0)
    W = loss.base_loss.weight.detach().numpy()
    for value, base, xi_, yi in zip(loss(x, y), loss.base_loss.per_sample(x, y), x.numpy(), y.tolist(), strict=True):
        residual = xi_ / np.sqrt(xi_ @ xi_) - W[yi] / np.sqrt(W[yi] @ W[yi]) - v
        assert (value - base).item() == pytest.approx(0.4 * np.sqrt(residual @ residual), rel=1e-9)


def test_displacement_moves_off_zero():
    """The form F.normalize(ξ) · clamp(‖ξ‖) would stay there for ever."""
    x, y = batch()
    loss = DiscFace(CosFace(8, 6)).double()
    got = value_and_gradients(loss, x, y)["grad_xi"]
    assert got.isfinite().all()
    assert got.norm() > 0.01


def test_beyond_the_bound_only_the_direction_moves():
    x, y = batch()
    loss = DiscFace(CosFace(8, 6), bound=0.05).double()
    put(loss, xi=torch.randn(8, generator=torch.Generator().manual_seed(0)))
    assert loss.displacement().norm().item() == pytest.approx(0.05)
    gradient = value_and_gradients(loss, x, y)["grad_xi"]
    assert gradient.norm() > 0
    assert (gradient @ loss.xi.detach()).abs() < 1e-12
    put(loss, xi=torch.full((8,), 0.01))  # length 0.028
    torch.testing.assert_close(loss.displacement(), loss.xi)
    assert (value_and_gradients(loss, x, y)["grad_xi"] @ loss.xi.detach()).abs() > 1e-6


def test_training_aligns_the_residuals():
    """With one free embedding per class the residuals end as one vector, v, and the discrepancy as 0."""
    loss = DiscFace(CosFace(8, 6, scale=8.0), weight=20.0).double()
    x = torch.randn(6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    put(loss, xi=torch.full((8,), 0.01))
    optimizer = torch.optim.Adam([x, *loss.parameters()], lr=0.02)
    normalise = torch.nn.functional.normalize
    for step in range(300):
        for group in optimizer.param_groups:
            group["lr"] = 0.02 * (1 - step / 300)
        optimizer.zero_grad()
        loss(x, torch.arange(6)).backward()
        optimizer.step()
    residual = normalise(x) - normalise(loss.base_loss.weight)
    assert (residual - loss.displacement()).norm(dim=1).max() < 0.02


@pytest.mark.parametrize("base", [Softmax, L2Softmax])
def test_any_base_with_a_row_per_class(base):
    x, y = batch()
    got = value_and_gradients(DiscFace(base(8, 6)).double(), x, y)
    assert all(v.isfinite().all() for v in got.values())


def test_displacement_is_spared_weight_decay():
    assert set(DiscFace.no_weight_decay) == {"xi"}
