import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facelearn.losses import Triplet
from tests.losses.conformance import CASES, assert_matches_reference, batch, stored_value, value_and_gradients


@pytest.mark.parametrize("case", CASES)
def test_reference(case):
    """Squared distances, all triplets of the batch in the mean; gradients through the normalisation."""
    assert_matches_reference(lambda d, C: Triplet(margin=0.2), "triplet", case, "paper", inputs=())


@pytest.mark.parametrize("case", CASES)
def test_reference_of_embeddings_given_as_unit_vectors(case):
    make = lambda d, C: Triplet(margin=0.2, normalize=False)  # noqa: E731
    assert_matches_reference(make, "triplet", case, "given_unit", inputs=())


@pytest.mark.parametrize("other", ["unsquared_mean", "unsquared_avgnonzero_projected"])
def test_other_public_formulas_are_other_losses(other):
    paper = stored_value("triplet", "random_s0", "paper")
    assert stored_value("triplet", "random_s0", other) != pytest.approx(paper, rel=1e-4)


def triple_loop(x, y, margin, mining, soft, normalize):
    """Per anchor the values of its mined triplets."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True) if normalize else x
    B = len(x)
    d = [[((x[i] - x[j]) ** 2).sum() for j in range(B)] for i in range(B)]
    cost = (lambda gap: math.log1p(math.exp(gap))) if soft else (lambda gap: max(0.0, gap + margin))
    values = []
    for a in range(B):
        positives = [p for p in range(B) if p != a and y[p] == y[a]]
        negatives = [n for n in range(B) if y[n] != y[a]]
        triplets = [(p, n) for p in positives for n in negatives]
        if mining == "semi-hard":
            triplets = [(p, n) for p, n in triplets if d[a][p] < d[a][n] < d[a][p] + margin]
        if mining == "batch-hard" and triplets:
            triplets = [(max(positives, key=lambda p: d[a][p]), min(negatives, key=lambda n: d[a][n]))]
        values.append([cost(d[a][p] - d[a][n]) for p, n in triplets])
    return values


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("soft", [False, True], ids=["hinge", "soft"])
@pytest.mark.parametrize("mining", ["all", "semi-hard", "batch-hard"])
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 9), margin=st.sampled_from([0.0, 0.05, 0.3, 1.0]))
@settings(max_examples=8, deadline=None)
def test_triple_loop(mining, soft, normalize, seed, classes, margin):
    x, y = batch(seed, B=11, C=classes)
    make = lambda reduction: Triplet(  # noqa: E731
        margin=margin, mining=mining, soft=soft, normalize=normalize, reduction=reduction
    )
    want = triple_loop(x.numpy(), y, margin, mining, soft, normalize)
    flat = [value for row in want for value in row]
    assert make("sum")(x, y).item() == pytest.approx(sum(flat), rel=1e-9, abs=1e-12)
    assert make("mean")(x, y).item() == pytest.approx(sum(flat) / max(1, len(flat)), rel=1e-9, abs=1e-12)
    rows = [sum(row) / max(1, len(row)) for row in want]
    assert make("none")(x, y).tolist() == pytest.approx(rows, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("soft", [False, True], ids=["hinge", "soft"])
@pytest.mark.parametrize("mining", ["all", "semi-hard", "batch-hard"])
def test_gradient_of_a_sum_written_out(mining, soft):
    """Autograd over a (B, B, B) cube of hinges, which the loss itself never forms."""
    x, y = batch(2, B=24, C=4)
    leaf = x.clone().requires_grad_()
    z = leaf / leaf.norm(dim=1, keepdim=True)
    d = (z[:, None] - z).square().sum(2)
    same = y[:, None] == y
    mined = (same & ~torch.eye(24, dtype=torch.bool))[:, :, None] & ~same[:, None, :]
    d_ap, d_an = d[:, :, None], d[:, None, :]
    if mining == "semi-hard":
        mined = mined & (d_ap < d_an) & (d_an < d_ap + 0.2)
    if mining == "batch-hard":
        gap = (d_ap - d_an).detach().where(mined, -torch.inf)
        mined = gap == gap.amax((1, 2), keepdim=True)
    gap = (d_ap - d_an)[mined]
    (torch.nn.functional.softplus(gap) if soft else (gap + 0.2).clamp(min=0)).mean().backward()
    got = value_and_gradients(Triplet(margin=0.2, mining=mining, soft=soft), x, y)["grad_embeddings"]
    torch.testing.assert_close(got, leaf.grad, rtol=1e-9, atol=1e-13)


def test_collapse_costs_the_margin():
    x, y = torch.ones(12, 5), torch.arange(12) // 3
    for mining in ("all", "batch-hard"):
        assert Triplet(margin=0.2, mining=mining)(x, y).item() == pytest.approx(0.2, rel=1e-6)
        assert Triplet(mining=mining, soft=True)(x, y).item() == pytest.approx(math.log(2), rel=1e-6)
    assert Triplet(margin=0.2, mining="semi-hard")(x, y).item() == 0  # nobody is farther than the positive


def test_ties_and_duplicates_count_as_often_as_they_occur():
    x = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1], [0, 1], [-1, 0]], dtype=torch.float64)
    y = torch.tensor([0, 0, 1, 1, 0, 1])
    for mining in ("all", "semi-hard", "batch-hard"):
        want = [v for row in triple_loop(x.numpy(), y, 2.5, mining, False, True) for v in row]
        got = Triplet(margin=2.5, mining=mining, reduction="sum")(x, y).item()
        assert got == pytest.approx(sum(want), rel=1e-12)


def test_large_batches_keep_exact_sums():
    """The prefix sums of 300 samples in float32 embeddings against the cube in float64."""
    x, y = batch(0, B=300, d=16, C=30, dtype=torch.float32)
    z = torch.nn.functional.normalize(x.double())
    d = (z[:, None] - z).square().sum(2)
    same = y[:, None] == y
    mined = (same & ~torch.eye(300, dtype=torch.bool))[:, :, None] & ~same[:, None, :]
    hinge = (d[:, :, None] - d[:, None, :] + 0.2).clamp(min=0)
    assert Triplet(margin=0.2)(x, y).item() == pytest.approx(hinge[mined].mean().item(), rel=1e-6)
