"""Chapter 04: the losses that the package does not have, what is read off an embedding, and the springs of a figure."""

import math

import pytest
import torch
import torch.nn.functional as F
from experiments import contrastive as experiment

from facelearn import lesson
from facelearn.losses import Contrastive, SupCon


def batch(people: int = 5, images: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(people * images) // images
    return torch.randn(people * images, 6, generator=generator, dtype=torch.float64), labels


def by_loops(x: torch.Tensor, labels: torch.Tensor, margin: float) -> tuple[list[float], list[float]]:
    """½ D² of each positive pair, ½ max(0, M - D)² of each negative one."""
    x, pull, push = F.normalize(x), [], []
    for i in range(len(x)):
        for j in range(i):
            D = math.dist(x[i].tolist(), x[j].tolist())
            (pull if labels[i] == labels[j] else push).append(
                D**2 / 2 if labels[i] == labels[j] else max(0.0, margin - D) ** 2 / 2
            )
    return pull, push


@pytest.mark.parametrize("pull", experiment.SETTINGS["pulls"])
def test_positive_pairs_weigh_what_the_setting_says(pull):
    x, labels = batch()
    pulls, pushes = by_loops(x, labels, 1.1)
    mean = sum(pulls) / len(pulls)
    if pull != "only":
        weight = {"1/6": 1 / 6, "1": 1.0, "6": 6.0, "balanced": len(pushes) / len(pulls)}[pull]
        mean = (weight * sum(pulls) + sum(pushes)) / (len(pulls) + len(pushes))
    assert experiment.Weighted(pull, 1.1)(x, labels).item() == pytest.approx(mean, rel=1e-6)


def test_the_weight_1_is_the_loss_of_the_package():
    x, labels = batch(seed=1)
    ours = experiment.Weighted("1", 1.1)(x, labels)
    torch.testing.assert_close(ours, Contrastive(margin=1.1, normalize=True)(x, labels), rtol=1e-10, atol=0)


@pytest.mark.parametrize("temperature", [0.02, 0.1, 1.0])
def test_the_mean_inside_is_the_smaller_one_and_equal_with_one_positive(temperature):
    inside, outside = experiment.SupConIn(temperature), SupCon(temperature=temperature)
    x, labels = batch()
    assert inside(x, labels) < outside(x, labels)
    x, labels = batch(images=2)
    torch.testing.assert_close(inside(x, labels), outside(x, labels), rtol=1e-10, atol=1e-12)


def test_an_anchor_without_a_positive_does_not_count():
    x, labels = batch(3)
    labels[-1] = 99
    kept = experiment.SupConIn(0.2)(x, labels)
    assert kept.isfinite()
    assert kept != experiment.SupConIn(0.2)(x, torch.arange(12) // 4)


def test_copies_of_one_coordinate_are_a_line():
    generator = torch.Generator().manual_seed(0)
    one, labels = torch.randn(40, 1, generator=generator), torch.arange(40) // 4
    found = experiment.lie(one * torch.tensor([[1.0, -1.0, 1.0, 1.0]]), labels)
    assert found["dimension"] == pytest.approx(1, abs=1e-4)
    assert found["alike"] == pytest.approx(1, abs=1e-6)
    assert 0.8 < found["apart"] < 1.2  # two opposite points


def test_the_nearest_negative_has_everything_or_an_equal_share():
    x, labels = batch()
    x = F.normalize(x)
    assert experiment.hardest(x, labels, 1e-4) == pytest.approx(1, abs=1e-2)
    assert experiment.hardest(x, labels, 1e4) == pytest.approx(1 / 16, rel=1e-3)


def test_what_is_chosen_is_chosen_on_tune():
    table = lesson.results(experiment.CHAPTER, experiment.SETTINGS)
    assert experiment.choose(table) == {name: experiment.SETTINGS[name] for name in ("balanced", "own_lr")}


def test_the_springs_end_apart_in_a_point_and_on_a_line():
    _, found = experiment.springs()
    ends = [x for x, _ in found[-1].values()]
    spread = [x.T.cov() for x in ends]
    thin = [float(c.trace() ** 2 / c.square().sum()) for c in spread]
    assert thin[0] > 1.3
    assert thin[2] < 1.05
    assert spread[1].trace() < 0.02 * spread[0].trace()
