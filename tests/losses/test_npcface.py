import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from facelearn.losses import ArcFace, NPCFace
from tests.losses.conformance import (
    CASES,
    assert_matches_reference,
    batch,
    cosines,
    mean_surprise,
    put,
    stored_value,
    value_and_gradients,
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_reference(case):
    """The mask with m, original cosines averaged, margin only where cos θ_y > 0: the authors' lab's code."""
    make = lambda d, C: NPCFace(d, C, scale=64.0, margin=0.5, m0=0.4, m1=0.2, t=1.1, a=0.2)  # noqa: E731
    assert_matches_reference(make, "npcface", case, "paper")


@pytest.mark.parametrize("other", ["bobo_convention", "mask_m0", "not_easy"])
def test_other_conventions_are_other_losses(other):
    """Their values differ in at least one of the cases."""
    pairs = [(stored_value("npcface", case, "paper"), stored_value("npcface", case, other)) for case in CASES]
    assert any(ours != pytest.approx(theirs, rel=1e-4) for ours, theirs in pairs)


def explicit_logits(cos, y, s, m, m0, m1, t, a):
    logits, margins = [], []
    for row, yi in zip(cos, y.tolist(), strict=True):
        theta = math.acos(row[yi])
        hard = [j for j, c in enumerate(row) if j != yi and c > math.cos(theta + m)]
        margins.append(m0 + m1 * sum(row[j] for j in hard) / max(1, len(hard)))
        target = math.cos(theta + margins[-1]) if row[yi] > 0 else row[yi]
        values = [target if j == yi else t * c + a if j in hard else c for j, c in enumerate(row)]
        logits.append([s * v for v in values])
    return logits, margins


@pytest.mark.parametrize("seed", range(3))
def test_second_derivation(seed):
    x, y = batch(seed)
    settings = {"m0": 0.3, "m1": 0.5, "t": 1.3, "a": 0.1}
    loss = NPCFace(8, 6, scale=8.0, margin=0.4, **settings).double()
    x = x + 2 * loss.weight.detach()[y]  # some samples on each side of 90°
    logits, margins = explicit_logits(cosines(loss, x), y, 8.0, 0.4, **settings)
    assert np.std(margins) > 0.01
    assert loss(x, y).item() == pytest.approx(mean_surprise(logits, y), rel=1e-10)


def test_margin_is_a_constant_to_the_gradient():
    """Central differences of the loss with masks and margins frozen where the gradient is taken."""
    x, y = batch(B=4)
    loss = NPCFace(8, 6, scale=4.0).double()
    x = x + 4 * loss.weight.detach()[y]
    W = F.normalize(loss.weight.detach())
    cos = F.normalize(x) @ W.T
    own = F.one_hot(y, 6).bool()
    theta = cos[own].acos()
    hard = (cos > (theta + 0.5).cos()[:, None]) & ~own
    margin = 0.4 + 0.2 * (cos * hard).sum(1) / hard.sum(1).clamp(min=1)
    assert (cos[own] > 0).all()
    assert hard.any()

    def surrogate(x):
        c = F.normalize(x) @ W.T
        target = (c[own].acos() + margin).cos()[:, None]
        return F.cross_entropy(4.0 * torch.where(own, target, torch.where(hard, 1.1 * c + 0.2, c)), y)

    got = value_and_gradients(loss, x, y)["grad_embeddings"]
    for i in range(4):
        for k in range(8):
            step = torch.zeros_like(x)
            step[i, k] = 1e-6
            slope = (surrogate(x + step) - surrogate(x - step)) / 2e-6
            assert got[i, k].item() == pytest.approx(slope.item(), rel=1e-5, abs=1e-8)


def test_without_hard_negatives_the_margin_is_m0():
    """Embeddings on orthogonal class rows: ArcFace with m0."""
    loss, arcface = NPCFace(8, 6).double(), ArcFace(8, 6, margin=0.4, beyond_pi="plain").double()
    for head in (loss, arcface):
        put(head, weight=torch.eye(8)[:6])
    x = torch.eye(8, dtype=torch.float64)[:6] + 0.02
    assert loss(x, torch.arange(6)).item() == pytest.approx(arcface(x, torch.arange(6)).item(), rel=1e-12)


def test_without_emphasis_and_collaboration_it_is_arcface_on_easy_samples():
    """t = 1, a = 0, m1 = 0."""
    x, y = batch()
    loss, arcface = NPCFace(8, 6, t=1.0, a=0.0, m1=0.0).double(), ArcFace(8, 6, margin=0.4, beyond_pi="plain").double()
    put(loss, weight=arcface.weight.detach())
    x = x + 6 * F.normalize(arcface.weight.detach())[y]
    assert (cosines(arcface, x)[range(12), y] > 0).all()
    a, b = value_and_gradients(loss, x, y), value_and_gradients(arcface, x, y)
    for name in a:
        torch.testing.assert_close(a[name], b[name])
