"""Chapter 13: the margins are matched, the arms are what their names say, and the poster draws what the losses do."""

import math
from pathlib import Path

import pytest
import torch
from experiments import boundaries
from experiments import margins as experiment
from matplotlib import pyplot as plt

from facelearn.losses import build
from facelearn.training import embed

COURSE = Path(__file__).resolve().parents[2] / "course"


@pytest.mark.parametrize("at", [30.0, 60.0])
def test_matched_losses_have_one_target_at_that_angle(at):
    cos = torch.tensor([math.cos(math.radians(at))], dtype=torch.float64)
    for loss in experiment.KINDS:
        head = experiment.head(experiment.setting(loss, at=at), 4, 3)
        wanted = math.cos(math.radians(at) + experiment.MARGIN)
        assert head.target(cos, ()).item() == pytest.approx(wanted, abs=1e-12), loss
        assert head.scale == experiment.SCALE


def test_slope_one_keeps_the_value():
    for loss in ("sphereface", "arcface"):
        plain, detached = (experiment.head(experiment.setting(loss, detached=d), 4, 3) for d in (False, True))
        cos = torch.linspace(-0.9, 0.9, 19, dtype=torch.float64, requires_grad=True)
        torch.testing.assert_close(detached.target(cos, ()), plain.target(cos, ()))
        (slope,) = torch.autograd.grad(detached.target(cos, ()).sum(), cos)
        torch.testing.assert_close(slope, torch.ones_like(slope))


def test_a_net_judged_with_a_margin_agrees_with_the_loss_and_with_the_angles():
    trained = experiment.train(experiment.setting("cosface"), 0, "smoke")
    classes, dim = trained.loss.weight.shape
    own, nearest = experiment.angles(trained)
    for loss, margin in (("normface", 0.0), ("arcface", experiment.MARGIN)):
        head = experiment.head(experiment.setting(loss), dim, classes)
        head.reduction = "none"
        with torch.no_grad():
            head.weight.copy_(trained.loss.weight)
            losses = head(embed(trained.net, trained.faces), trained.faces.labels)
        push, wins = experiment.push(trained, experiment.setting(loss))
        assert push == pytest.approx(1 - (-losses).exp().mean().item(), abs=1e-5)
        assert wins == pytest.approx((own + margin < nearest).double().mean().item())


THETA2 = torch.tensor([40.0, 50, 65, 80, 89, 95, 110], dtype=torch.float64).deg2rad()


@pytest.mark.parametrize("t", [0.0, 0.2, 0.7])
def test_true_boundaries_are_where_the_loss_of_two_classes_is_log_2(t):
    """Embedding and centres on the circle, the whole loss: below log 2 on one side, above on the other."""
    for name in boundaries.LOSSES:
        head = boundaries.head(name, 0.5, t)
        for theta1, theta2 in zip(
            boundaries.boundary(head, THETA2, drawn=False).tolist(), THETA2.tolist(), strict=True
        ):
            if math.isnan(theta1):
                continue
            for step, sign in ((-1e-5, -1), (1e-5, 1)):
                angles = torch.tensor([theta1 + step, -theta2], dtype=torch.float64)
                with torch.no_grad():
                    head.weight.copy_(torch.stack([angles.cos(), angles.sin()], 1))
                    value = head(torch.tensor([[1.0, 0.0]], dtype=torch.float64), torch.tensor([0])).item()
                assert (value - math.log(2)) * sign > 0, (name, t, theta2)


@pytest.mark.parametrize("t", [0.0, 0.2, 0.7])
def test_mv_arc_ends_where_arcface_ends_and_curricularface_leaves_it_in_its_window_only(t):
    arc, c2 = THETA2 - 0.5, THETA2.cos()
    mv, curricular = (boundaries.boundary(boundaries.head(name, 0.5, t), THETA2, drawn=False)
                      for name in ("mv_softmax", "curricularface"))  # fmt: skip
    torch.testing.assert_close(mv, arc)
    window = (c2 > 0) & (t + c2 < 1)
    torch.testing.assert_close(curricular[~window], arc[~window])
    torch.testing.assert_close(curricular[window], (c2 * (t + c2)).acos()[window] - 0.5)
    assert (curricular[window] > arc[window]).all()


def test_drawn_boundaries_in_closed_form():
    c2, t = THETA2.cos(), 0.2
    m1, m3 = 1 + 0.5 / (math.pi / 3), 0.5 - math.cos(math.pi / 3 + 0.5)
    wanted = {
        "softmax": THETA2,
        "sphereface": THETA2 / m1,
        "cosface": (c2 + m3).acos(),
        "arcface": THETA2 - 0.5,
        "mv_softmax": ((1 + t) * c2 + t).acos() - 0.5,
        "curricularface": (c2 * (t + c2)).acos() - 0.5,
    }
    for name, theta1 in wanted.items():
        got = boundaries.boundary(boundaries.head(name, 0.5, t), THETA2, drawn=True)
        torch.testing.assert_close(got, theta1.where(theta1 >= 0, torch.nan), equal_nan=True, msg=name)


def test_the_poster_shows_every_loss_twice_and_alone():
    fig = boundaries.poster()
    try:
        left, right, *single = fig.axes
        assert len(left.lines) == len(right.lines) == len(boundaries.LOSSES) + 1  # and the ring
        assert len(single) == len(boundaries.LOSSES)
        mv = {ax: next(line for line in ax.lines if line.get_label() == "MV-Arc-Softmax") for ax in (left, right)}
        theta1, theta2 = mv[right].get_data()
        assert abs(theta2 - theta1 - math.degrees(0.5)).max() < 1e-6
        theta1, theta2 = mv[left].get_data()
        assert (theta2 - theta1 - math.degrees(0.5)).min() > 1
    finally:
        plt.close(fig)


def test_the_stored_pictures_are_small_and_come_from_nowhere_else():
    for name in ("13_boundaries.svg", "13_boundaries.gif"):
        assert (COURSE / "assets" / name).stat().st_size <= 600_000
    text = (COURSE / "assets" / "13_boundaries.svg").read_text(encoding="utf-8")
    assert "<dc:date>" not in text
    assert 'href="http' not in text


def test_matched_margins_are_arguments_of_their_losses():
    for loss in experiment.KINDS:
        build(loss, 2, 2, scale=8.0, **experiment.matched(loss))
