import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from facelearn.losses import Circle, CircleFace
from tests.losses.conformance import CASES, assert_matches_reference, batch, cosines, mean_surprise


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("gamma", [64, 256])
def test_reference(gamma, case):
    make = lambda d, C: CircleFace(d, C, gamma=float(gamma), margin=0.25)  # noqa: E731
    assert_matches_reference(make, "circleface", case, f"g{gamma}_paper")


@pytest.mark.parametrize("margin", [0.25, 0.0, -0.1])
def test_second_derivation_as_a_softplus(margin):
    """log(1 + Σ exp(γ α_n (s_n - m)) · exp(-γ α_p (s_p - (1 - m)))): the paper's form, where the loss is a
    cross-entropy."""
    x, y = batch()
    loss = CircleFace(8, 6, gamma=16.0, margin=margin, reduction="none").double()
    cos = cosines(loss, x)
    for i, value in enumerate(loss(x, y).tolist()):
        s_p = cos[i, y[i]]
        pull = math.exp(-16.0 * max(0.0, 1 + margin - s_p) * (s_p - (1 - margin)))
        negatives = np.delete(cos[i], y[i])
        push = sum(math.exp(16.0 * max(0.0, s + margin) * (s - margin)) for s in negatives)
        assert value == pytest.approx(math.log1p(pull * push), rel=1e-10)


def test_cross_entropy_of_paced_logits():
    x, y = batch()
    loss = CircleFace(8, 6, gamma=16.0).double()
    logits = [
        [
            16.0 * (max(0.0, 1.25 - c) * (c - 0.75) if j == yi else max(0.0, c + 0.25) * (c - 0.25))
            for j, c in enumerate(row)
        ]
        for row, yi in zip(cosines(loss, x), y.tolist(), strict=True)
    ]
    assert loss(x, y).item() == pytest.approx(mean_surprise(logits, y), rel=1e-10)


def test_gradient_with_frozen_weights_by_central_differences():
    """The α stay at the point where the gradient is taken."""
    x, y = batch(B=4)
    loss = CircleFace(8, 6, gamma=8.0, margin=0.25).double()
    W = F.normalize(loss.weight.detach())

    def surrogate(x, at):
        c, fixed = F.normalize(x) @ W.T, F.normalize(at) @ W.T
        own = F.one_hot(y, 6).bool()
        paced = torch.where(own, (1.25 - fixed).clamp(min=0) * (c - 0.75), (fixed + 0.25).clamp(min=0) * (c - 0.25))
        return F.cross_entropy(8.0 * paced, y)

    leaf = x.clone().requires_grad_()
    loss(leaf, y).backward()
    for i in range(4):
        for t in range(8):
            step = torch.zeros_like(x)
            step[i, t] = 1e-6
            slope = (surrogate(x + step, x) - surrogate(x - step, x)) / 2e-6
            assert leaf.grad[i, t].item() == pytest.approx(slope.item(), rel=1e-5, abs=1e-8)


def test_is_circle_on_pairs_with_the_class_rows_as_partners():
    """An anchor, one sample on its own class row, one on each other row: the pair form of that anchor."""
    x, _ = batch(B=1)
    face = CircleFace(8, 6, gamma=20.0).double()
    pairs = Circle(gamma=20.0, reduction="none")
    label = torch.tensor([2])
    both = torch.cat([x, face.weight.detach()])
    got = pairs(both, torch.cat([label, torch.arange(6)]))[0]
    torch.testing.assert_close(got, face(x, label))


@pytest.mark.parametrize("tile", [None, 7])
@pytest.mark.parametrize("classes", [20, 200])
def test_small_losses_are_within_1e_5_of_float64_at_gamma_256(classes, tile):
    """A float32 cosine times 256 would be off by more: the hardest wrong class counts with its cosine in float64."""
    compared = 0
    for seed in range(6):
        for noise in (0.05, 0.1, 0.15, 0.2, 0.25):
            torch.manual_seed(seed)
            single = CircleFace(128, classes, tile=tile).eval()
            exact = copy.deepcopy(single).double()
            noisy = F.normalize(exact.weight.detach()) + noise / 2 * torch.randn(classes, 128, dtype=torch.float64)
            x, y = F.normalize(noisy).float(), torch.arange(classes)
            with torch.no_grad():
                want, got = exact(x.double(), y).item(), single(x, y).item()
            if 1e-8 < want < 0.1:
                compared += 1
                assert got == pytest.approx(want, rel=5e-6), (seed, noise)
    assert compared >= 10
