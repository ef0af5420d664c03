"""The measurements of chapter 06 on points whose answers are known; its arms are what they are called."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from experiments import center as experiment

from facelearn.losses import Softmax
from facelearn.training import seed_everything

COURSE = Path(__file__).resolve().parents[2] / "course"


def test_scatter_of_points_worked_out_by_hand():
    # two classes on the x axis, means at 0 and 10, one twice as wide and three times as frequent as the other
    x = torch.tensor([[-2.0, 0], [2, 0], [-2, 0], [2, 0], [-2, 0], [2, 0], [9, 0], [11, 0]])
    found = experiment.scatter(x, torch.tensor([7, 7, 7, 7, 7, 7, 3, 3]))
    assert found.within == pytest.approx((4 + 1) / 2)  # each class counts once
    assert found.between == pytest.approx(25)
    assert found.ratio == pytest.approx(0.1)
    assert found.dimension == pytest.approx(1)


@pytest.mark.parametrize("directions", [1, 2, 5])
def test_the_dimension_counts_directions_of_equal_spread(directions):
    means = torch.cat([torch.eye(directions, 5), -torch.eye(directions, 5)])  # 2 classes in each direction
    x, labels = means.repeat(3, 1), torch.arange(2 * directions).repeat(3)
    found = experiment.scatter(4 * x + 1, labels)
    assert found.dimension == pytest.approx(directions)
    assert found.within == pytest.approx(0)


def test_scatter_agrees_with_plain_loops():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 6)), rng.integers(5, size=40)
    means = {j: x[y == j].mean(0) for j in range(5)}
    within = np.mean([np.mean([((row - means[j]) ** 2).sum() for row in x[y == j]]) for j in range(5)])
    e = np.linalg.eigvalsh(np.cov(np.stack(list(means.values())).T, bias=True))
    found = experiment.scatter(torch.from_numpy(x), torch.from_numpy(y))
    assert found.within == pytest.approx(within)
    assert found.between == pytest.approx(e.sum())
    assert found.dimension == pytest.approx(e.sum() ** 2 / (e**2).sum())


def test_weight_zero_is_softmax_and_the_control_never_moves():
    x, y = torch.randn(8, 4, requires_grad=True), torch.arange(8) % 5
    seed_everything(0)
    joint = experiment.joint(experiment.setting(0.0), 4, 5)
    seed_everything(0)
    assert torch.equal(joint(x, y), Softmax(4, 5, bias=False)(x, y))
    control = experiment.joint(experiment.setting(0.2, experiment.SETTINGS["frozen"]), 4, 5)
    value = control(x, y)
    price = 0.2 * x.square().sum(1).mean() / 2  # on length alone
    torch.testing.assert_close(value, control.parts[0](x, y) + price)
    assert not control.parts[1].centers.any()
    moving = experiment.joint(experiment.setting(0.2), 4, 5)
    moving(x, y)
    assert moving.parts[1].centers.any()


def test_the_weight_is_that_of_the_course():
    protocol = importlib.import_module("experiments.protocol")
    assert protocol.settings("center")["beside_softmax"] == {
        "weight": experiment.CHOSEN, "start": 0.0, "bias": False,
    }  # fmt: skip
    assert len(set(experiment.SETTINGS["seeds"]) & set(protocol.FINAL_SEEDS)) == 0
