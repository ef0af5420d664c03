import math

import pytest
import torch

from facelearn.losses import NormFace
from tests.losses.conformance import CASES, assert_matches_reference


@pytest.mark.parametrize("case", CASES)
def test_reference(case):
    assert_matches_reference(lambda d, C: NormFace(d, C, scale=30.0), "normface", case, "paper")


@pytest.mark.parametrize(("C", "scale"), [(3, 1.0), (10, 1.0), (10, 8.0)])
def test_floor_is_reached_by_a_simplex_and_by_nothing_else(C, scale):
    """log(1 + (C-1) e^{-s C/(C-1)}), the paper's bound, at the vertices of a regular simplex."""
    simplex = torch.eye(C, dtype=torch.float64) - 1 / C
    loss = NormFace(C, C, scale=scale).double()
    with torch.no_grad():
        loss.weight.copy_(simplex)
    floor = math.log1p((C - 1) * math.exp(-scale * C / (C - 1)))
    labels = torch.arange(C)
    assert float(loss(simplex, labels)) == pytest.approx(floor, rel=1e-12)
    for seed in range(20):
        torch.manual_seed(seed)
        with torch.no_grad():
            loss.weight.copy_(simplex + 0.3 * torch.randn_like(simplex))
        assert float(loss(simplex + 0.3 * torch.randn_like(simplex), labels)) > floor


def test_quoted_floors():
    floor = lambda C: math.log1p((C - 1) * math.exp(-C / (C - 1)))  # noqa: E731
    assert floor(10) == pytest.approx(1.38, abs=0.01)
    assert floor(10_575) == pytest.approx(8.27, abs=0.01)
