"""Chapter 10: the rows of its experiment are the losses they are called, its figures draw the formulas of the text."""

import math

import pytest
import torch
from experiments import protocol
from experiments import sphereface as experiment

from facelearn.losses import SphereFace
from facelearn.losses.sphereface import psi


def mixed(wanted):
    head = experiment.Mixed(6, 5, **{name: wanted[name] for name in ("scale", "length", "margin", "lam")})
    return head.double()


def gradient(head, x, labels):
    x = x.clone().requires_grad_()
    value = head(x, labels)
    return value.item(), torch.autograd.grad(value, x)[0]


def batch():
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(40, 6, generator=generator, dtype=torch.float64), torch.arange(40) % 5


@pytest.mark.parametrize(
    ("wanted", "options"),
    [
        (experiment.REVIVED, {"margin": 1.76, "scale": 8.0}),
        (experiment.setting(8, "free", 2, 1), {"margin": 2, "lam_base": 0.0, "lam_min": 1.0}),
    ],
)
def test_the_parts_put_together_are_the_losses_of_the_library(wanted, options):
    head, theirs = mixed(wanted), SphereFace(6, 5, **options).double()
    theirs.weight.data = head.weight.data
    (mine, by_x), (value, slope) = (gradient(loss, *batch()) for loss in (head, theirs))
    assert mine == pytest.approx(value, rel=1e-12)
    torch.testing.assert_close(by_x, slope)


def test_a_detached_length_keeps_the_value_and_no_pull_along_the_embedding():
    (x, y), free = batch(), mixed(experiment.setting(8, "free", 2, 1))
    head = mixed(experiment.setting(8, "detached", 2, 1))
    head.weight.data = free.weight.data
    (value, slope), (same, along) = gradient(head, x, y), gradient(free, x, y)
    assert value == pytest.approx(same, rel=1e-12)
    assert (slope * x).sum(1).abs().max() < 1e-12 < (along * x).sum(1).abs().max()


def test_the_length_grows_where_the_target_exceeds_the_mean_rival():
    head = mixed(experiment.setting(8, "free", 2, 1))
    head.reduction = "none"
    x, y = batch()
    cos, norm = head.logits(x) / head.scale, x.norm(dim=1)
    own = cos.gather(1, y[:, None])[:, 0]
    goal = (own + psi(own, 2)) / 2
    p = (norm[:, None] * cos.scatter(1, y[:, None], goal[:, None])).softmax(1)
    p_y = p.gather(1, y[:, None])[:, 0]
    rival = ((p * cos).sum(1) - p_y * own) / (1 - p_y)
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(head(leaf, y).sum(), leaf)
    torch.testing.assert_close(-(slope * x).sum(1) / norm, (1 - p_y) * (goal - rival))  # step 7


@pytest.mark.parametrize("lam", [0.0, 1.0, 2.2, 10.0, 100.0])
def test_the_angle_where_growing_begins(lam):
    by_hand = math.degrees(math.acos((math.sqrt(lam**2 + 8) - lam) / 4))
    assert experiment.growth_angle(lam) == pytest.approx(by_hand, abs=0.01)


def test_a_falling_schedule_arrives_and_the_rule_of_the_paper_does_not():
    falls = [experiment.annealed("falls", 1.0, step, 368) for step in range(368)]
    assert falls[0] == 100
    assert falls == sorted(falls, reverse=True)
    assert falls[246:] == [1.0] * 122
    assert experiment.annealed("paper", 1.0, 367, 368) == pytest.approx(2.21, abs=0.01)
    assert experiment.annealed("constant", 0.0, 0, 368) == 0
    loss = SphereFace(6, 5, margin=2, lam_base=100.0, lam_min=1.0)
    loss(torch.randn(4, 6), torch.arange(4))
    assert experiment.annealed("paper", 1.0, 0, 368) == pytest.approx(loss.annealing().item())


def test_the_row_called_paper_is_that_of_the_course():
    assert protocol.settings("sphereface")["arguments"] == {"margin": 2, "lam_base": 100.0, "lam_min": 1.0}
