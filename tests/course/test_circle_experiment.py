"""What is particular to chapter 15: its losses are those of the package, its forces gradients, its claim can fail."""

import math

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from experiments import circle as experiment

from facelearn import lesson
from facelearn.losses import Circle, CosFace

ARMS = ("circle", "frozen", "constant 1.5", "differentiated", "forces", "shares")


def batch(people=6, images=4):
    x = torch.randn(people * images, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x.requires_grad_(), torch.arange(len(x)) // images


def value_and_slope(loss):
    x, labels = batch()
    value = loss(x, labels)
    return value.item(), torch.autograd.grad(value, x)[0]


@pytest.mark.parametrize(("gamma", "margin"), [(16.0, 0.4), (256.0, 0.25)])
def test_circle_is_that_of_the_package(gamma, margin):
    mine, theirs = (value_and_slope(loss) for loss in (experiment.Paced("circle", gamma, margin),
                                                       Circle(gamma=gamma, margin=margin)))  # fmt: skip
    assert mine[0] == pytest.approx(theirs[0], rel=1e-12)
    torch.testing.assert_close(mine[1], theirs[1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("arm", ARMS)
def test_slopes_are_those_of_the_logits(arm):
    s = torch.tensor([-0.9, -0.3, 0.0, 0.4, 0.95], dtype=torch.float64, requires_grad=True)
    for sign, logit, slope in zip(
        (1, -1), experiment.logits(s, 0.25, arm), experiment.slopes(s, 0.25, arm), strict=True
    ):
        (found,) = torch.autograd.grad(logit.sum(), s, retain_graph=True)
        torch.testing.assert_close(found, sign * slope)


def test_mixed_arms_have_the_value_of_one_and_the_slopes_of_the_other():
    values = {arm: value_and_slope(experiment.Paced(arm, 8.0, 0.4))[0] for arm in ARMS}
    assert values["forces"] == pytest.approx(values["frozen"], rel=1e-12)
    assert values["shares"] == values["differentiated"] == pytest.approx(values["circle"], rel=1e-12)
    s = torch.linspace(-1, 1, 9)
    for arm, other in (("forces", "circle"), ("shares", "frozen")):
        for a, b in zip(experiment.slopes(s, 0.4, arm), experiment.slopes(s, 0.4, other), strict=True):
            assert torch.equal(a, b)


def test_frozen_weights_on_classes_are_cosface_and_touch_the_circle():
    head = experiment.make(experiment.setting("frozen", 32, 0.4, form="classes"), 5, 6)
    assert isinstance(head, CosFace)
    assert (head.scale, round(head.margin, 12)) == (32.0, 0.2)
    m, at = 0.4, torch.tensor([0.4, 0.6], dtype=torch.float64)
    for arm in ("circle", "frozen"):
        z = experiment.logits(at[:1], m, arm)[0] + experiment.logits(at[1:], m, arm)[1]
        assert z.item() == pytest.approx(0, abs=1e-12)
        for part, place in zip(experiment.slopes(at, m, arm), (0, 1), strict=True):
            assert part[place].item() == pytest.approx(2 * m)


def test_an_anchor_without_a_positive_has_no_loss_and_no_nan():
    x = torch.randn(4, 3, requires_grad=True)
    for labels in (torch.tensor([0, 0, 1, 2]), torch.arange(4), torch.zeros(4, dtype=torch.long)):
        value = experiment.Paced("circle", 256.0, 0.25)(x, labels)
        (slope,) = torch.autograd.grad(value, x)
        assert value.isfinite()
        assert slope.isfinite().all()


def test_what_is_noted_of_a_step():
    x, labels = batch()
    loss = experiment.Paced("constant 1.5", 16.0, 0.4)
    loss(x, labels)
    push, pull, squared = loss.seen[0]
    assert push == pytest.approx(0.8 * math.sqrt(1.5))
    assert pull == pytest.approx(0.8 / math.sqrt(1.5))
    s = F.normalize(x.detach()) @ F.normalize(x.detach()).T
    assert squared == pytest.approx(s[labels[:, None] != labels].square().mean().item())


def test_free_points_go_straight_to_one_place_and_gather():
    ways = {arm: experiment.free_ways(arm, 8, 0.4) for arm in ("frozen", "circle")}
    inside = ways["circle"][20][:, 1] < 1  # s_p ends at 1
    start, end = ways["circle"][0][inside], ways["circle"][20][inside]
    goal = torch.tensor([-0.4, 1.4])
    turned = torch.linalg.det(torch.stack([end - start, goal - start], 1))
    assert turned.abs().max() < 1e-5
    assert torch.allclose(
        (ways["frozen"][3] - ways["frozen"][0]).sum(1)[inside], torch.zeros(int(inside.sum())), atol=1e-5
    )
    along = {arm: experiment.cloud(way[-1])["along"] for arm, way in ways.items()}
    assert along["circle"] < 0.6 * along["frozen"]


def test_scatter_by_hand():
    p = torch.tensor([[0.1, 0.5], [0.3, 0.7], [0.5, 0.9]])
    seen = experiment.cloud(p)
    assert seen["along"] == pytest.approx(0.4 / 2**0.5)
    assert seen["across"] == pytest.approx(0, abs=1e-6)


def test_points_are_the_nearest_stranger_and_the_farthest_image_of_oneself():
    x = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))
    s, labels = F.normalize(x) @ F.normalize(x).T, torch.arange(32) // 4
    same = labels[:, None] == labels
    wanted = torch.stack([s.where(~same, -2).amax(1), s.where(same, 2).amin(1)], 1)
    found = experiment.points(x, labels, people=8)
    assert torch.equal(found.sort(0).values, wanted.sort(0).values)


@pytest.fixture
def table():
    return lesson.results("15_circle", experiment.SETTINGS)


@pytest.mark.parametrize("scale", experiment.SETTINGS["scales"])
def test_settings_are_those_that_tune_chose(table, scale):
    for arm in experiment.SETTINGS["chosen"]:
        one = experiment.chosen(arm, scale)
        assert experiment.choose(table, arm, scale) == [one["arm"], one["margin"]]


def test_the_claim_holds_of_the_table_and_fails_in_worlds_where_it_is_false(table):
    found = experiment.claims(table)
    assert experiment.holds(found)
    for kind, shift in (("along", -0.03), ("gain", -30.0), ("tar", -10.0), ("eer", 1.0)):
        other = {name: dict(values) for name, values in found.items()}
        name = next(iter(other[kind]))
        other[kind][name] = pd.Series(other[kind][name]) + shift
        assert not experiment.holds(other), kind
