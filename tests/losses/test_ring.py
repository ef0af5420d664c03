import pytest
import torch

from facelearn import losses
from facelearn.losses import Joint, Ring, Softmax
from tests.losses.conformance import (
    CASES,
    assert_finite,
    assert_matches_reference,
    batch,
    hostile,
    stored_value,
    value_and_gradients,
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_reference(case):
    """Weighed by λ = 0.01, with the half."""
    make = lambda d, C: Joint((0.01, Ring(radius=1.0)))  # noqa: E731
    assert_matches_reference(make, "ring", case, "paper", inputs=("radius",))


def test_without_the_half_it_is_twice_this():
    paper, twice = (stored_value("ring", "random_s0", name) for name in ("paper", "no_half"))
    assert twice == pytest.approx(2 * paper)


def test_gradients_by_hand():
    """∂L/∂x = (‖x‖ - R) x̂, ∂L/∂R = -(‖x‖ - R), each averaged."""
    x, y = batch()
    lengths = x.norm(dim=1, keepdim=True)
    got = value_and_gradients(Ring(radius=2.0).double(), x, y)
    torch.testing.assert_close(got["loss"], ((lengths - 2) ** 2).mean() / 2)
    torch.testing.assert_close(got["grad_embeddings"], (lengths - 2) * x / lengths / len(x))
    torch.testing.assert_close(got["grad_radius"], -(lengths - 2).mean())


def test_first_batch_sets_the_radius():
    x, y = batch()
    loss = Ring().double()
    assert loss.radius.isnan()
    loss.eval()(x, y)
    assert loss.radius.isnan()  # a look does not count
    value = loss.train()(x, y)
    mean = x.norm(dim=1).mean()
    torch.testing.assert_close(loss.radius.detach(), mean)
    torch.testing.assert_close(value, (x.norm(dim=1) - mean).square().mean() / 2)
    loss(3 * x, y)
    torch.testing.assert_close(loss.radius.detach(), mean)  # from then on by gradient only
    restored = Ring().double()
    restored.load_state_dict(loss.state_dict())
    assert torch.equal(restored(x, y), loss(x, y))


def test_an_optimizer_can_hold_the_radius_before_it_is_set():
    x, y = batch()
    loss = Ring().double()
    optimizer = torch.optim.AdamW(loss.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss(x, y).backward()
        optimizer.step()
    assert loss.radius.isfinite()


def test_fixed_point_is_the_mean_length():
    x, y = batch()
    loss = Ring(radius=9.0).double()
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.5)
    for _ in range(60):
        optimizer.zero_grad()
        loss(x, y).backward()
        optimizer.step()
    torch.testing.assert_close(loss.radius.detach(), x.norm(dim=1).mean())
    torch.testing.assert_close(value_and_gradients(loss, x, y)["grad_radius"], torch.tensor(0.0).double())


def test_only_lengths_count():
    x, y = batch()
    rotation, _ = torch.linalg.qr(torch.randn(8, 8, dtype=x.dtype))
    loss = Ring(radius=2.0).double()
    torch.testing.assert_close(loss(x @ rotation, y), loss(x, y))
    assert torch.equal(loss(x, y), loss(x, y.flip(0)))
    each = Ring(radius=2.0, reduction="none").double()
    torch.testing.assert_close(each(x, y).sum(), Ring(radius=2.0, reduction="sum").double()(x, y))


def test_gradcheck():
    x, y = batch()
    assert torch.autograd.gradcheck(lambda x: Ring(radius=2.0).double()(x, y), (x.requires_grad_(),))


def test_finite_at_zero_and_on_hostile_embeddings():
    W = torch.randn(6, 8)
    for cast in (None, torch.bfloat16, torch.float16):
        for radius in (None, 1.0):
            assert_finite(value_and_gradients(Ring(radius=radius), *hostile(W), cast))
    got = value_and_gradients(Ring(radius=1.0), torch.zeros(2, 3), torch.tensor([0, 1]))
    assert torch.equal(got["grad_embeddings"], torch.zeros(2, 3))


def test_joint_with_weight_zero_is_softmax():
    x, y = batch()
    softmax, ring = Softmax(8, 6).double(), Ring().double()
    joint = Joint((1.0, softmax), (0.0, ring))
    assert torch.equal(joint(x, y), softmax(x, y))
    assert ring.radius.isnan()  # not called, not set


def test_a_ring_that_starts_late_takes_its_radius_then():
    """A part of weight 0 is not called by `Joint`: the radius is the mean length of the first batch that counts."""
    ring = losses.Ring()
    joint = losses.Joint((1.0, losses.Softmax(2, 2)), (0.0, ring))
    labels = torch.tensor([0, 1])
    joint(0.01 * torch.eye(2), labels)
    assert ring.radius.isnan()
    joint.weights[1] = 0.03
    joint(5 * torch.eye(2), labels)
    assert ring.radius.item() == 5


def test_a_ring_that_never_trained_can_be_loaded_into_one_that_did():
    x, labels = torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([0, 1])
    fresh, trained = Ring(), Ring()
    trained(10 * x, labels)
    trained.load_state_dict(fresh.state_dict())
    trained(x, labels)
    assert trained.radius.item() == 3.5  # of this batch, not of the one before
    trained(10 * x, labels)
    assert trained.radius.item() == 3.5
