"""The pull that is drawn is that of the losses."""

import importlib
import math
import sys
from pathlib import Path

import pytest
import torch

from facelearn.losses import build

COURSE = Path(__file__).resolve().parents[2] / "course"


@pytest.fixture(scope="module")
def pull():
    sys.path.insert(0, str(COURSE))
    try:
        yield importlib.import_module("experiments.pull")
    finally:
        sys.path.remove(str(COURSE))


def test_what_is_missing_is_what_a_softmax_leaves(pull):
    logits = torch.zeros(300, dtype=torch.float64)
    logits[0] = 8 * 0.7
    assert float(pull.missing(0.7, 8)) == pytest.approx(1 - logits.softmax(0)[0].item())


@pytest.mark.parametrize("at", [30.0, 60.0])
def test_the_margins_are_alike_at_that_angle(pull, at):
    cos = torch.tensor([math.radians(at)], dtype=torch.float64).cos()
    for stem, options in pull.alike(0.5, at).items():
        wanted = at if stem == "normface" else at + math.degrees(0.5)
        target = build(stem, 2, 2, scale=1.0, **options).target(cos, ())
        assert target.item() == pytest.approx(math.cos(math.radians(wanted)), abs=1e-12)


def test_the_pull_is_the_derivative_of_the_loss_by_the_angle(pull):
    """Three classes in space, both rivals at right angles to the plane in which the sample turns."""
    for stem, options in pull.alike(0.5).items():
        head = build(stem, 4, 3, scale=8.0, **options).double()
        head.weight.data = torch.eye(4, dtype=torch.float64)[:3]
        theta = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
        x = torch.stack([theta.cos(), *theta.new_zeros(2), theta.sin()])
        (by_angle,) = torch.autograd.grad(head(x[None], torch.tensor([0])), theta)
        target, falls = pull.derivative(head, theta.detach()[None])
        assert 8 * pull.missing(target, 8, classes=3) * falls == pytest.approx(by_angle.item(), rel=1e-9)


def test_the_figure_shows_each_loss_in_each_panel(pull):
    fig = pull.pull_figure(scales=(8, 64))
    assert [len(ax.lines) for ax in fig.axes] == [4, 4, 4]
