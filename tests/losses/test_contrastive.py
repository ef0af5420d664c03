import math

import numpy as np
import pytest
import torch

from facelearn.losses import Contrastive
from tests.losses.conformance import CASES, assert_matches_reference, batch, stored_value, value_and_gradients


@pytest.mark.parametrize("case", CASES)
def test_reference(case):
    """Half the squared distance or hinge, averaged over all pairs."""
    assert_matches_reference(lambda d, C: Contrastive(margin=1.0), "contrastive", case, "paper", inputs=())


@pytest.mark.parametrize("other", ["hinge_avgnonzero", "gluonfr_formula_norm_of_squares"])
def test_other_public_formulas_are_other_losses(other):
    """Hinges that are not squared, and a distance from fourth powers."""
    paper = stored_value("contrastive", "random_s0", "paper")
    assert stored_value("contrastive", "random_s0", other) != pytest.approx(paper, rel=0.05)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("margin", [0.5, 1.0, 3.0])
def test_second_derivation(normalize, margin):
    x, y = batch()
    loss = Contrastive(margin=margin, normalize=normalize, reduction="none")
    points = x.numpy() / (np.linalg.norm(x, axis=1, keepdims=True) if normalize else 1)
    want = []
    for i in range(len(x)):
        for j in range(i + 1, len(x)):
            D = math.sqrt(sum((points[i] - points[j]) ** 2))
            want.append(D**2 / 2 if y[i] == y[j] else max(0.0, margin - D) ** 2 / 2)
    torch.testing.assert_close(loss(x, y), torch.tensor(want, dtype=x.dtype), rtol=1e-12, atol=1e-14)


def test_gradients_of_one_pair():
    """Positive: x_i - x_j. Negative within M: -(M - D) along the line between them; beyond M nothing."""
    x = torch.tensor([[0.0, 0.0], [0.6, 0.0]], dtype=torch.float64)
    for labels, margin, want in (([0, 0], 1.0, -0.6), ([0, 1], 1.0, 0.4), ([0, 1], 0.5, 0.0)):
        got = value_and_gradients(Contrastive(margin=margin), x, torch.tensor(labels))["grad_embeddings"]
        torch.testing.assert_close(got, torch.tensor([[want, 0.0], [-want, 0.0]], dtype=torch.float64))


def test_coinciding_negatives_have_no_direction():
    got = value_and_gradients(Contrastive(), torch.ones(2, 3), torch.tensor([0, 1]))
    assert got["loss"] == 0.5
    assert torch.equal(got["grad_embeddings"], torch.zeros(2, 3))
