"""Chapter 11: its bounds and floor hold against searches and samples; the arms are what they are called."""

import importlib
import math

import pytest
import torch
import torch.nn.functional as F
from experiments import cosface as experiment

from facelearn.losses import CosFace


@pytest.mark.parametrize(("classes", "dimension"), [(5, 2), (10, 2), (6, 5), (6, 9)])
def test_the_regular_arrangement_meets_the_bound_and_nobody_more(classes, dimension):
    even = experiment.regular(classes, dimension)
    bound = 1 - math.cos(2 * math.pi / classes) if dimension == 2 else classes / (classes - 1)
    torch.testing.assert_close(experiment.leads(even, even), torch.full((classes,), bound, dtype=torch.float64))
    torch.manual_seed(0)
    w = F.normalize(torch.randn(500, classes, dimension, dtype=torch.float64), dim=2)
    x = F.normalize(w + 0.5 * torch.randn_like(w), dim=2)  # samples beside their class directions, too
    assert max(experiment.leads(*pair).min() for pair in zip(x, w, strict=True)) < bound


def test_more_than_d_plus_1_classes_meet_at_most_1():
    torch.manual_seed(0)
    for classes, dimension in ((4, 2), (5, 3), (8, 6)):
        for margin in (1.0, 1.2):
            rest = experiment.settle(classes, dimension, 64, margin, starts=8, steps=300)
            assert experiment.leads(rest.x, rest.w).min() < 1 + 1e-6


def test_three_hundred_in_64_dimensions_can_all_be_ahead_by_089():
    rest = experiment.settle(300, 64, 100, 0.95)
    assert 0.89 < experiment.leads(rest.x, rest.w).min() < 1


@pytest.mark.parametrize(("scale", "margin"), [(8, 0.0), (8, 0.35), (32, 1.5)])
def test_no_arrangement_is_below_the_floor(scale, margin):
    classes, dimension = 6, 5
    torch.manual_seed(1)
    w = F.normalize(torch.randn(300, classes, dimension, dtype=torch.float64), dim=2)
    x = F.normalize(w + 0.3 * torch.randn_like(w), dim=2)
    floor = math.log1p((classes - 1) * math.exp(scale * (margin - classes / (classes - 1))))
    found = experiment.point_losses(x, w, scale, margin).mean(1) + scale * margin
    assert found.min() >= floor
    even = experiment.regular(classes, dimension)[None]
    least = experiment.point_losses(even, even, scale, margin).mean() + scale * margin
    assert least.item() == pytest.approx(floor)


def test_point_losses_are_those_of_the_package():
    torch.manual_seed(2)
    x, w = torch.randn(2, 7, 3, dtype=torch.float64)
    for margin in (0.0, 0.4, 3.0):
        head = CosFace(3, 7, scale=16, margin=margin, reduction="none").double()
        head.weight.data = w
        mine = experiment.point_losses(x[None], w[None], 16, margin)[0] + 16 * margin
        torch.testing.assert_close(mine, head(x, torch.arange(7)))


def test_up_to_the_bound_the_polygon_is_best_and_beyond_classes_are_lost():
    for margin in (0.1, 0.191):
        rest = experiment.settle(10, 2, 32, margin)
        assert rest.loss == pytest.approx(0, abs=1e-3)
        assert experiment.leads(rest.x, rest.w).min() > 0.18
    beyond = experiment.settle(10, 2, 32, 1000.0)
    assert beyond.loss < -3
    assert (experiment.leads(beyond.x, beyond.w) < 1e-3).sum() >= 6
    roomy = experiment.settle(10, 9, 32, 1000.0, starts=2)
    assert experiment.leads(roomy.x, roomy.w).min() > 1.1


@pytest.mark.parametrize("asked", experiment.ASKED)
def test_the_kinds_ask_for_the_same_at_60_degrees(asked):
    cos = torch.tensor([0.5], dtype=torch.float64)
    for loss in experiment.KINDS:
        wanted = experiment.matched(loss, 8, asked)
        target = experiment.head(wanted, 4, 3).target(cos, ())
        assert target.item() == pytest.approx(math.cos(math.radians(60) + asked), abs=2e-4), loss


def test_the_chosen_margin_is_that_of_chapter_12_and_its_seeds_are_others():
    other = importlib.import_module("experiments.arcface").SETTINGS
    assert {other["chosen"]["cosface"][scale] for scale in experiment.SCALES} == {experiment.SETTINGS["chosen"]}
    assert set(experiment.SETTINGS["seeds"]).isdisjoint({*other["seeds"], other["live_seed"]})
