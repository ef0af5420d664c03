"""What is particular to chapter 07: its bounds, its moving scales, its forces, and that settings come from `tune`."""

import math

import pytest
import torch
import torch.nn.functional as F
from experiments import l2_softmax as experiment

from facelearn import lesson
from facelearn.losses import NormFace


@pytest.mark.parametrize("s", [1.0, 4.0, 16.0])
def test_a_simplex_has_the_loss_of_the_floor_and_a_circle_that_of_the_plane(s):
    simplex = torch.eye(5, dtype=torch.float64) - 1 / 5
    turn = 2 * math.pi * torch.arange(5, dtype=torch.float64) / 5
    circle = torch.stack([turn.cos(), turn.sin()], 1)
    for x, bound in ((simplex, experiment.floor), (circle, experiment.floor_in_the_plane)):
        loss = F.cross_entropy(s * F.normalize(x) @ F.normalize(x).T, torch.arange(5))
        assert float(loss) == pytest.approx(float(bound(torch.tensor(s), 5)), rel=1e-12)


def test_a_learnt_scale_begins_as_normface_and_has_a_gradient():
    torch.manual_seed(0)
    learnt, fixed = experiment.LearntScale(4, 6, scale=8.0), NormFace(4, 6, scale=8.0)
    fixed.weight.data = learnt.weight.data
    x, y = torch.randn(5, 4), torch.arange(5)
    loss = learnt(x, y)
    torch.testing.assert_close(loss, fixed(x, y))
    loss.backward()
    assert learnt.log_scale.grad != 0


def test_a_scale_that_grows_ends_where_it_should():
    trained = experiment.train(experiment.setting("4 to 12"), 0, "smoke")
    assert trained.loss.scale == 12


def test_the_force_is_the_gradient_where_rivals_stand_at_right_angles():
    x = experiment.toy_samples()
    lifted = torch.cat([x, torch.zeros(len(x), 2, dtype=torch.float64)], 1).requires_grad_()
    w = torch.eye(4, dtype=torch.float64)[[1, 2, 3]]  # the own direction, and a pair of rivals with its opposite
    w = torch.cat([w, -w[1:]])
    loss = F.cross_entropy(8 * F.normalize(lifted) @ w.T, torch.zeros(len(x)).long(), reduction="sum")
    (by_x,) = torch.autograd.grad(loss, lifted)
    torch.testing.assert_close(experiment.force(x, 8.0, 5), -by_x[:, :2] / 8)


def test_what_was_chosen_has_the_best_eer_on_tune():
    table = lesson.results(experiment.CHAPTER, experiment.SETTINGS)
    assert experiment.choose(table)["lr"] == experiment.SETTINGS["sgd"]["lr"]
