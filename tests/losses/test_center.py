import numpy as np
import pytest
import torch

from facelearn.losses import Center, Joint, Softmax
from tests.losses.conformance import (
    CASES,
    assert_finite,
    assert_matches_reference,
    batch,
    hostile,
    put,
    reference,
    stored_value,
    value_and_gradients,
)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_reference(reduction, case):
    """Half the squared distance, summed as in the paper or averaged as usual; centres move by eq. 4 either way."""
    make = lambda d, C: Center(d, C, alpha=0.5, reduction=reduction)  # noqa: E731
    moved = assert_matches_reference(make, "center", case, f"half_{reduction}", inputs=("centers",))
    ref = reference("center", case)
    want = ref["centers"] - 0.5 * ref[f"half_{reduction}/center_delta_eq4"]
    torch.testing.assert_close(moved.centers, want, rtol=0, atol=1e-12)


def test_without_the_half_it_is_twice_this():
    """As in a well-known implementation."""
    half, whole = (stored_value("center", "random_s0", name) for name in ("half_mean", "nohalf_mean"))
    assert whole == pytest.approx(2 * half)


def test_centres_follow_the_rule_over_several_batches():
    """Plain loops over samples and classes; a class that is not in the batch stays."""
    loss = Center(8, 6, alpha=0.3).double()
    centres = np.zeros((6, 8))
    for step in range(4):
        x, y = batch(step, B=5)
        want = np.mean([((x[i].numpy() - centres[y[i]]) ** 2).sum() / 2 for i in range(5)])
        assert loss(x, y).item() == pytest.approx(want, rel=1e-12)
        for j in range(6):
            own = [i for i in range(5) if y[i] == j]
            centres[j] -= 0.3 * sum(centres[j] - x[i].numpy() for i in own) / (1 + len(own)) if own else 0
        torch.testing.assert_close(loss.centers, torch.from_numpy(centres), rtol=1e-12, atol=1e-14)


def test_centres_are_state_and_no_parameters():
    x, y = batch()
    loss = Center(8, 6).double()
    assert list(loss.parameters()) == []
    loss(x, y)
    before = loss.centers.clone()
    other = Center(8, 6).double()
    other.load_state_dict(loss.state_dict())
    assert torch.equal(other.eval()(x, y), loss.eval()(x, y))
    assert torch.equal(loss.centers, before)
    still = Center(8, 6, alpha=0.0).double()
    still(x, y)
    assert torch.equal(still.centers, torch.zeros(6, 8, dtype=torch.float64))


def test_gradient_and_invariances():
    x, y = batch()
    loss = Center(8, 6, reduction="sum").double()
    loss(x, y)  # away from zero
    centres = loss.centers.clone()
    torch.testing.assert_close(value_and_gradients(loss.eval(), x, y)["grad_embeddings"], x - centres[y])
    rotation, _ = torch.linalg.qr(torch.randn(8, 8, dtype=x.dtype))
    before, shift = loss(x, y), torch.randn(8, dtype=x.dtype)
    put(loss, centers=centres @ rotation + shift)
    torch.testing.assert_close(loss(x @ rotation + shift, y), before)


def test_centres_settle_at_the_class_means():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(12, 8, generator=g, dtype=torch.float64)
    y = torch.arange(12) % 3
    loss = Center(8, 3).double()
    for _ in range(80):
        loss(x, y)
    torch.testing.assert_close(loss.centers, torch.stack([x[y == j].mean(0) for j in range(3)]))


def test_joint_with_weight_zero_is_softmax():
    x, y = batch()
    softmax = Softmax(8, 6).double()
    joint = Joint((1.0, softmax), (0.0, Center(8, 6).double()))
    assert torch.equal(joint(x, y), softmax(x, y))


def test_finite_and_clear_errors():
    W = torch.randn(6, 8)
    for cast in (None, torch.bfloat16, torch.float16):
        assert_finite(value_and_gradients(Center(8, 6), *hostile(W), cast))
    with pytest.raises(ValueError, match=r"embeddings.dtype=torch.float64: expected torch.float32"):
        Center(8, 6)(W.double(), torch.arange(6))
    with pytest.raises(ValueError, match=r"labels\[.\]=6: "):
        Center(8, 6)(W, torch.arange(1, 7))
    with pytest.raises(ValueError, match="embedding_dim=8"):
        Center(8, 6)(torch.randn(6, 7), torch.arange(6))
