import math

import numpy as np
import pytest
import torch

from facelearn.losses import ArcFace, SubCenterArcFace
from facelearn.losses.margin import BEYOND_PI
from tests.losses.conformance import (
    CASES,
    assert_matches_reference,
    assert_same,
    batch,
    cosines,
    mean_surprise,
    put,
    value_and_gradients,
)  # fmt: skip


@pytest.mark.parametrize("case", [case for case in CASES if case != "single_class"])
@pytest.mark.parametrize("rule", ["plain", "mm"])
def test_reference(rule, case):
    """K = 3; row j·K + k is sub-centre k of class j."""
    make = lambda d, rows: SubCenterArcFace(d, rows // 3, num_subcenters=3, beyond_pi=rule)  # noqa: E731
    assert_matches_reference(make, "subcenter_arcface", case, rule)


@pytest.mark.parametrize("rule", BEYOND_PI)
def test_one_subcentre_is_arcface(rule):
    make = lambda kind, **k: kind(8, 6, beyond_pi=rule, **k).double()  # noqa: E731
    assert_same(make(SubCenterArcFace, num_subcenters=1), make(ArcFace), *batch())


def test_equal_subcentres_are_arcface():
    x, y = batch()
    loss, arcface = SubCenterArcFace(8, 6, num_subcenters=4).double(), ArcFace(8, 6).double()
    put(loss, weight=arcface.weight.detach().repeat_interleave(4, 0))
    a, b = value_and_gradients(loss, x, y), value_and_gradients(arcface, x, y)
    torch.testing.assert_close(a["loss"], b["loss"])
    torch.testing.assert_close(a["grad_embeddings"], b["grad_embeddings"])
    torch.testing.assert_close(a["grad_weight"].unflatten(0, (6, 4)).sum(1), b["grad_weight"])


def test_second_derivation():
    x, y = batch()
    loss = SubCenterArcFace(8, 6, num_subcenters=3, scale=16.0, margin=0.3).double()
    each, logits = cosines(loss, x), np.empty((12, 6))
    for i in range(12):
        for j in range(6):
            cos = max(each[i, 3 * j + k] for k in range(3))
            logits[i, j] = 16.0 * (math.cos(math.acos(cos) + 0.3) if j == y[i] else cos)
            assert j != y[i] or math.acos(cos) + 0.3 < math.pi
    assert loss(x, y).item() == pytest.approx(mean_surprise(logits, y), rel=1e-10)


def test_only_the_nearest_subcentres_learn():
    x, _ = batch(B=1)
    loss = SubCenterArcFace(8, 6, num_subcenters=3, scale=4.0).double()
    gradient = value_and_gradients(loss, x, torch.tensor([2]))["grad_weight"].unflatten(0, (6, 3))
    moved = gradient.abs().sum(2) > 0  # (6, 3)
    assert (moved.sum(1) == 1).all()
    nearest = torch.from_numpy(cosines(loss, x)).unflatten(1, (6, 3))[0].argmax(1)
    assert torch.equal(moved.int().argmax(1), nearest)


def test_order_of_subcentres_does_not_matter():
    x, y = batch()
    loss = SubCenterArcFace(8, 6, num_subcenters=3).double()
    before = loss(x, y)
    put(loss, weight=loss.weight.detach().unflatten(0, (6, 3)).flip(1).flatten(0, 1))
    torch.testing.assert_close(loss(x, y), before)
