"""What is particular to chapter 16: its arms, energy shared out without counting chance, what the claim needs."""

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from experiments import discface as experiment

from facelearn import lesson
from facelearn.losses import ArcFace, DiscFace


def test_arcface_alone_the_pull_and_discface_differ_in_nothing_else():
    base, pull, disc, wide = (experiment.make(experiment.setting(arm), 8, 5) for arm in experiment.ARMS)
    assert isinstance(base, ArcFace)
    assert not pull.xi.requires_grad
    assert disc.xi.requires_grad
    assert wide.xi.requires_grad
    assert pull.weight == disc.weight == wide.weight == experiment.chosen(32)["weight"]
    assert pull.bound == disc.bound == 0.05
    assert wide.bound >= 2  # no residual of unit vectors is longer
    assert all(isinstance(loss, DiscFace) and loss.base_loss.margin == base.margin for loss in (pull, disc, wide))


def test_the_pull_is_the_length_of_the_residual():
    loss = experiment.make(experiment.setting("pull", weight=3.0), 8, 5).double()
    x, y = torch.randn(7, 8, dtype=torch.float64), torch.arange(7) % 5
    length = (F.normalize(x) - F.normalize(loss.base_loss.weight)[y]).norm(dim=1).mean()
    torch.testing.assert_close(loss(x, y) - loss.base_loss(x, y), 3 * length)


def test_the_pull_of_a_training_stays_without_a_shift():
    trained = experiment.trained(experiment.setting("pull"), 0, "smoke")
    assert trained.loss.xi.abs().max() == 0
    assert experiment.trained(experiment.setting("discface"), 0, "smoke").loss.xi.norm() > 0


@pytest.mark.parametrize("images", experiment.SETTINGS["images"])
def test_all_numbers_of_images_have_as_many_steps(images):
    steps = experiment.SETTINGS["people"] * images // experiment.SETTINGS["training"]["batch_size"]
    assert 270 <= steps * experiment.SETTINGS["epochs"][str(images)] <= 276


def residuals(common, person, image, people=3000, count=3, dim=64):
    """Arrows across the class directions with these energies, their labels, and the directions."""
    draws = torch.Generator().manual_seed(0)
    w, e = F.normalize(torch.randn(people, 1, dim, generator=draws), dim=2), torch.zeros(people, count, dim)
    for energy, shape in ((common, (1, 1, dim)), (person, (people, 1, dim)), (image, (people, count, dim))):
        part = torch.randn(shape, generator=draws)
        e = e + part * (energy / part.square().sum(-1).mean()).sqrt()
    e = e - (e * w).sum(2, keepdim=True) * w
    return e.flatten(0, 1), torch.arange(people).repeat_interleave(count), w[:, 0]


@pytest.mark.parametrize("shares", [(0.0, 0.0, 1.0), (0.1, 0.2, 0.7), (0.5, 0.0, 0.5), (0.0, 0.6, 0.4)])
def test_energy_is_shared_out_without_chance(shares):
    found = experiment.parts(*residuals(*shares))
    assert found["common"] == pytest.approx(shares[0], abs=0.02)  # a common vector is not across all directions
    assert found["person"] == pytest.approx(shares[1], abs=0.03)


@pytest.mark.parametrize("degrees", [25, 60])
def test_images_thrown_round_perfect_directions_have_nothing_in_common(degrees):
    around, labels, w = residuals(0.0, 0.0, 1.0)
    angle = torch.tensor(degrees).deg2rad()
    e = (angle.cos() - 1) * w[labels] + angle.sin() * F.normalize(around)
    found = experiment.parts(e, labels, w)
    assert abs(found["common"]) < 0.01
    assert abs(found["person"]) < 0.02
    assert found["length"] == pytest.approx(2 * (angle / 2).sin().item(), rel=1e-4)


def test_means_of_three_leave_the_image_out():
    labels = torch.arange(6).repeat_interleave(4)
    x = F.normalize(torch.eye(6)[labels] + 0.05 * torch.randn(24, 6, generator=torch.Generator().manual_seed(0)))
    assert experiment.against_means(x, labels) == 0
    alone = torch.eye(24)  # no image has anything to do with another
    assert experiment.against_means(alone, labels) > 0.3


def test_images_against_directions():
    directions = torch.eye(4)
    labels = torch.arange(8) % 4
    assert experiment.against_directions(directions[labels], labels, directions) == 0
    assert experiment.against_directions(directions[labels], labels.flip(0), directions) > 0.2


@pytest.mark.parametrize(
    "world", ["the shift is what helps", "the pull gains nothing", "the shift harms", "ξ is stuck"]
)
def test_the_claim_is_false_in_another_world(world):
    table = lesson.results(experiment.CHAPTER, experiment.SETTINGS).copy()
    assert experiment.holds(table)

    def put(arm, scale, images, values, number="eer"):
        wanted = experiment.setting(arm, scale, images)
        table.loc[(table[list(wanted)] == pd.Series(wanted)).all(axis=1), number] = values.to_numpy()

    few = experiment.FEW
    for scale in (32, 8):
        base, disc = (experiment.rows(table, experiment.setting(a, scale, few))["eer"] for a in ("arcface", "discface"))
        if world == "the shift is what helps":
            put("pull", scale, few, base)
        elif world == "the pull gains nothing":
            put("pull", scale, few, base)
            put("discface", scale, few, base)
        elif world == "ξ is stuck":
            for number in ("eer", "common"):
                put(
                    "discface",
                    scale,
                    few,
                    experiment.rows(table, experiment.setting("pull", scale, few))[number],
                    number,
                )
        else:
            put("discface", scale, few, disc + 0.3 * base)
    assert not experiment.holds(table)
