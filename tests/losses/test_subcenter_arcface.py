import math

import numpy as np
import pytest
import torch

from facelearn.data import standard
from facelearn.losses import ArcFace, SubCenterArcFace
from facelearn.losses.margin import BEYOND_PI
from facelearn.models import SmallFaceNet
from facelearn.training import ShiftAndGain, embed, fit, seed_everything
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


def at(*degrees):
    """Unit vectors in the plane."""
    return torch.tensor([[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in degrees])


def test_dominant_and_outliers_by_hand():
    loss = SubCenterArcFace(2, 3, num_subcenters=2)
    put(loss, weight=at(0, 90, 180, 270, 45, 225))
    #   class 0: three near 90°, one near 0°; class 1: a tie, the first counts; class 2 has no image
    x = at(91, 85, 160, 10, 181, 269) * torch.tensor([1.0, 20.0, 0.01, 3.0, 1.0, 7.0])[:, None]
    y = torch.tensor([0, 0, 0, 0, 1, 1])
    assert loss.dominant(x, y).tolist() == [1, 0, 0]
    #   from the dominant one: 1°, 5°, 70°, 80°; 1°, 89°
    assert loss.outliers(x, y).tolist() == [False, False, False, True, False, True]
    assert loss.outliers(x, y, angle=math.radians(60)).tolist() == [False, False, True, True, False, True]
    assert not loss.outliers(x, y, angle=math.pi).any()
    put(loss, weight=10 * loss.weight.detach())
    assert loss.dominant(x, y).tolist() == [1, 0, 0]


def test_outliers_of_many_images_in_parts():
    torch.manual_seed(0)
    loss = SubCenterArcFace(8, 6, num_subcenters=3)
    x, y = batch(B=5000, dtype=torch.float32)
    whole = torch.cat([loss._own_cosines(x[i : i + 700], y[i : i + 700]) for i in range(0, 5000, 700)])
    torch.testing.assert_close(loss._own_cosines(x, y), whole, rtol=0, atol=1e-15)


def test_planted_label_noise_is_found():
    """200 of 1,000 labels are exchanged; of those named most are among them, and most of them are named."""
    faces = standard("fit", 31, identities=50, label_noise=0.2)
    seed_everything(31)
    net, loss = SmallFaceNet(32, width=4), SubCenterArcFace(32, 50, num_subcenters=3, scale=8, margin=0.3)
    fit(net, loss, faces, epochs=12, batch_size=64, lr=2e-2, augment=ShiftAndGain(), progress=False)
    embeddings = embed(net, faces)
    wrong, named = faces.labels != faces.identities, loss.outliers(embeddings, faces.labels)
    precision, recall = (named & wrong).sum() / named.sum(), (named & wrong).sum() / wrong.sum()
    assert wrong.sum() == 200
    assert precision > 0.9
    assert recall > 0.5
    nearest, dominant = loss._own_cosines(embeddings, faces.labels).argmax(1), loss.dominant(embeddings, faces.labels)
    apart = nearest != dominant[faces.labels]
    assert apart[wrong].float().mean() > 5 * apart[~wrong].float().mean()  # they have found a corner of their own


@pytest.mark.parametrize(
    ("x", "y", "angle", "told"),
    [
        (torch.ones(2, 8), torch.tensor([0, 6]), 1.0, r"labels\[1\]=6: expected 0 <= label < num_classes=6"),
        (torch.ones(2, 7), torch.tensor([0, 1]), 1.0, r"embeddings.shape=\(2, 7\): expected"),
        (torch.ones(2, 8), torch.tensor([0, 1]), 75, "angle=75: expected radians"),
    ],
)
def test_outliers_refuses(x, y, angle, told):
    with pytest.raises(ValueError, match=told):
        SubCenterArcFace(8, 6).outliers(x, y, angle=angle)
