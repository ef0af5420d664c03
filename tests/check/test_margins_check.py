"""The boundaries that exercise 2 of chapter 13 shows are those of the papers."""

import pytest
import torch

from facelearn.check import margins as check


@pytest.mark.parametrize("loss", check._STEMS)
def test_the_boundaries_that_are_shown_are_those_of_the_papers(loss):
    """Put back into the formulas: the target logit equals N_hard."""
    m, t = 0.4, 0.25
    theta2 = torch.linspace(0.9, 1.9, 11, dtype=torch.float64)
    theta1 = check.drawn(loss, theta2, m, t)
    c2 = theta2.cos()
    target, other = {
        "softmax": (theta1.cos(), c2),
        "sphereface": (((1 + m) * theta1).cos(), c2),
        "cosface": (theta1.cos() - 0.8 * m, c2),
        "arcface": ((theta1 + m).cos(), c2),
        "mv_softmax": ((theta1 + m).cos(), c2 + t * (c2 + 1)),
        "curricularface": ((theta1 + m).cos(), t * c2 + c2 * c2),
    }[loss]
    there = theta1.isfinite()
    assert int(there.sum()) >= 6
    torch.testing.assert_close(target[there], other[there])
