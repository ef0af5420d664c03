import math

import pytest
import torch

from facelearn.losses import CosFace, NormFace
from tests.losses.conformance import CASES, assert_matches_reference, batch, value_and_gradients


@pytest.mark.parametrize("case", CASES)
def test_reference(case):
    assert_matches_reference(lambda d, C: CosFace(d, C, scale=64.0, margin=0.35), "cosface", case, "paper")


def test_margin_zero_is_normface():
    x, y = batch()
    cosface, normface = CosFace(8, 6, scale=30.0, margin=0.0).double(), NormFace(8, 6, scale=30.0).double()
    normface.load_state_dict(cosface.state_dict())
    got, want = value_and_gradients(cosface, x, y), value_and_gradients(normface, x, y)
    for name in want:
        assert torch.equal(got[name], want[name])


def test_two_classes_by_hand():
    """Classes at ±90° of each other, sample at 30°: -log σ(s (cos 30° - m - cos 60°))."""
    loss = CosFace(2, 2, scale=5.0, margin=0.2).double()
    with torch.no_grad():
        loss.weight.copy_(torch.eye(2))
    x = torch.tensor([[3 * math.cos(math.pi / 6), 3 * math.sin(math.pi / 6)]], dtype=torch.float64)
    z = 5 * (math.sqrt(3) / 2 - 0.2 - 0.5)
    assert loss(x, torch.tensor([0])).item() == pytest.approx(math.log1p(math.exp(-z)), rel=1e-12)
