"""What is particular to chapter 08: its arms, its two wishes, what a step through the net moves."""

import math

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from experiments import ring as experiment
from torch import nn

from facelearn import lesson
from facelearn.losses import Joint, L2Softmax, Ring, Softmax


class Free(nn.Module):
    """Embeddings that are parameters of their own, one row for each image."""

    def __init__(self, x):
        super().__init__()
        self.x = nn.Parameter(x)

    def forward(self, images):
        return self.x + 0


@pytest.mark.parametrize("radius", experiment.SETTINGS["radii"])
def test_the_controls_have_one_demand_at_every_radius(radius):
    _, mean, weak, strong, division = experiment.controls(radius)
    assert [one["weight"] * radius**2 for one in (weak, strong)] == experiment.SETTINGS["demands"]
    assert mean["weight"] == strong["weight"]
    assert isinstance(experiment.make(division, 4, 3), L2Softmax)
    assert experiment.make(division, 4, 3).alpha == radius


def test_a_given_radius_is_held_and_one_that_is_not_given_is_learnt():
    given = experiment.make(experiment.setting("ring", 0.1, 8), 4, 3)
    late = experiment.make(experiment.setting("late", 0.1, 8), 4, 3)
    assert isinstance(given, Joint)
    assert not given.parts[1].radius.requires_grad
    assert late.parts[1].radius.requires_grad
    assert late.weights == [1.0, 0.0]
    assert isinstance(experiment.make(experiment.setting(), 4, 3), Softmax)


def test_the_mean_and_the_variance_make_the_ring():
    x, radius = torch.randn(9, 4, dtype=torch.float64), 1.5
    ring = Ring(radius=radius).double()(x, torch.arange(9))
    both = experiment.Mean(radius)(x, torch.arange(9)) + x.norm(dim=1).var(correction=0) / 2
    torch.testing.assert_close(ring, both)


def test_the_net_begins_on_the_circle():
    trained = experiment.train(experiment.setting("softmax", 0, 32), 0, "smoke")
    assert 3 < trained.net.layers[-1].weight.mean() < 5  # 32 / √64, after one epoch


def test_free_points_are_not_moved_across():
    x = (
        F.normalize(torch.randn(512, 5, generator=torch.Generator().manual_seed(0)))
        * torch.linspace(1, 2, 512)[:, None]
    )
    net, images = Free(x), torch.zeros(512, 1)
    where, way = experiment.moved(net, images, experiment.downhill(net, images, Ring(radius=1.5)))
    across = way - (way * F.normalize(where)).sum(1, keepdim=True) * F.normalize(where)
    assert across.norm() < 1e-3 * way.norm()
    outwards = (way * where).sum(1)
    assert (outwards[:250] > 0).all()
    assert (outwards[262:] < 0).all()


def test_a_random_step_goes_across_as_dimensions_say():
    own, random = experiment.sideways(Free(torch.randn(512, 26)), torch.zeros(512, 1), Ring(radius=5.0), 0)
    assert own < 0.01
    assert random == pytest.approx(math.sqrt(25), rel=0.1)


def test_how_far_embeddings_turned():
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert experiment.turned(x, 3 * x) == pytest.approx(0, abs=1e-5)
    assert experiment.turned(x, x.flip(1)) == pytest.approx(90)
    assert experiment.spread(x) == pytest.approx(1 / 3)


@pytest.mark.parametrize(("arm", "early", "late"), [("late", 0, 0.1), ("first", 0.1, 0.1)])
def test_the_ring_is_switched_on_when_its_arm_says(monkeypatch, arm, early, late):
    seen, fit = [], experiment.fit

    def watched(net, loss, shown, *, on_step=None, **options):
        def both(step, total):
            if on_step is not None:
                on_step(step, total)
            seen.append((step / total, loss.weights[1]))

        return fit(net, loss, shown, on_step=both, **options)

    monkeypatch.setattr(experiment, "fit", watched)
    experiment.train(experiment.setting(arm, 0.1), 0, "smoke")
    start = experiment.SETTINGS["start"]
    assert {weight for share, weight in seen if share < start} == {early}
    assert {weight for share, weight in seen if share >= start} == {late}


def test_a_radius_that_is_not_given_comes_from_the_norms():
    assert experiment.make(experiment.setting("late", 0.1), 4, 3).parts[1].radius.isnan()
    assert experiment.make(experiment.setting("first", 0.1), 4, 3).parts[1].radius.isnan()
    assert experiment.make(experiment.setting("ring", 0.1, 32), 4, 3).parts[1].radius == 32


def test_other_batches_are_another_order_of_the_same_training():
    softmax, again, other = (
        experiment.train(experiment.setting(arm), 0, "smoke") for arm in ("softmax", "softmax", "batches")
    )
    faces = softmax.faces
    assert experiment.look(softmax.net, again.net, faces)["turned"] < 1e-3
    assert experiment.look(softmax.net, other.net, faces)["turned"] > 1


def test_a_division_has_no_bias_as_softmax_has_none():
    assert experiment.make(experiment.setting("division"), 4, 3).bias is None
    assert experiment.make(experiment.setting(), 4, 3).bias is None


def test_a_step_goes_downhill():
    net, ring = Free(torch.randn(20, 3)), Ring(radius=4.0)
    before = ring(net(torch.zeros(20, 1)), torch.arange(20))
    experiment.step(net, before, 0.5)
    assert ring(net(torch.zeros(20, 1)), torch.arange(20)) < before


def test_a_displacement_does_not_depend_on_the_size_of_its_direction():
    net, images = Free(torch.randn(9, 3)), torch.zeros(9, 1)
    way = [torch.randn(9, 3)]
    _, once = experiment.moved(net, images, way)
    _, thrice = experiment.moved(net, images, [3 * way[0]])
    torch.testing.assert_close(once, thrice)
    assert once.norm() == pytest.approx(1e-3, rel=1e-2)


def test_the_dimension_counts_directions(monkeypatch):
    x = torch.randn(20_000, 8, generator=torch.Generator().manual_seed(0))
    x[:, 4:] = 0
    monkeypatch.setattr(experiment, "embed", lambda net, images: x)
    assert experiment.look(None, None, None)["dimension"] == pytest.approx(4, rel=0.01)


@pytest.mark.parametrize("broken", ["mean", "ring"])
def test_the_claim_needs_each_of_its_arms(broken):
    """Were the mean as dear as the ring, or the ring as cheap as the mean, the strong ring would not stand out."""
    table = lesson.results(experiment.CHAPTER, experiment.SETTINGS).copy()
    for radius in experiment.SETTINGS["radii"]:
        _, mean, _, strong, _ = experiment.controls(radius)
        of, instead = (mean, strong) if broken == "mean" else (strong, mean)
        hit = (table[list(of)] == pd.Series(of)).all(axis=1)
        table.loc[hit, "eer"] = experiment.rows(table, instead)["eer"].to_numpy()
    _, above, free = experiment.differences(table)
    sound = all(lesson.interval(values).low > 0 for values in above.values())
    assert not (sound and all(lesson.interval(values).high < 0.3 for values in free.values()))
