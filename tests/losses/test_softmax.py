import pytest
import torch
import torch.nn.functional as F

from facelearn.losses import Softmax
from tests.losses.conformance import CASES, assert_matches_reference, batch, value_and_gradients


@pytest.mark.parametrize("case", CASES)
def test_reference(case):
    assert_matches_reference(lambda d, C: Softmax(d, C, bias=False), "softmax", case, "paper")


def test_gradient_is_softmax_minus_onehot():
    x, y = batch()
    loss = Softmax(8, 6).double()
    torch.nn.init.normal_(loss.bias)
    p = (x @ loss.weight.T + loss.bias).softmax(1).detach()
    residual = (p - F.one_hot(y, 6)) / len(x)
    got = value_and_gradients(loss, x, y)
    torch.testing.assert_close(got["grad_embeddings"], residual @ loss.weight.detach())
    torch.testing.assert_close(got["grad_weight"], residual.T @ x)
    torch.testing.assert_close(got["grad_bias"], residual.sum(0))


def test_bias_is_spared_weight_decay():
    assert set(Softmax.no_weight_decay) <= {name for name, _ in Softmax(8, 6).named_parameters()}
    assert Softmax(8, 6, bias=False).bias is None


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_huge_logits(size):
    loss = Softmax(2, 2, bias=False)
    with torch.no_grad():
        loss.weight.copy_(torch.eye(2))
    x = torch.tensor([[size, 0.0]])
    assert float(loss(x, torch.tensor([0]))) == pytest.approx(max(0.0, -size))


def test_longer_embeddings_lower_the_loss_once_all_are_right():
    loss = Softmax(6, 6, bias=False)
    with torch.no_grad():
        loss.weight.copy_(torch.eye(6))
    x, y = torch.eye(6) + 0.1, torch.arange(6)
    values = [float(loss(length * x, y)) for length in (1, 2, 4, 8)]
    assert values == sorted(values, reverse=True)
