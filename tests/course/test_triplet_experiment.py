"""What is particular to chapter 05: its rules of mining are those of the package, its forces are gradients."""

import pytest
import torch
from experiments import triplet as experiment

from facelearn import lesson
from facelearn.losses import Triplet


def batch(people=6, images=4):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(people * images, 5, generator=generator, dtype=torch.float64)
    return x.requires_grad_(), torch.arange(len(x)) // images


def mined(rule, margin=0.2):
    """The matrix of what a rule takes, and what it was chosen from."""
    x, labels = batch()
    x = x.detach() / x.detach().norm(dim=1, keepdim=True)
    d, same = torch.cdist(x, x).square(), labels[:, None] == labels
    a, p = (same & ~torch.eye(len(x), dtype=torch.bool)).nonzero(as_tuple=True)
    d_ap, d_an = d[a, p][:, None], d[a].masked_fill(same[a], torch.inf)
    return experiment.mine(rule, d_ap, d_an, a, margin), d_ap, d_an


@pytest.mark.parametrize("rule", ["all", "semi-hard", "batch-hard"])
def test_value_and_gradient_are_those_of_the_package(rule):
    x, labels = batch()
    losses = [experiment.Mined(rule, 0.2, "squared"), Triplet(margin=0.2, mining=rule)]
    values = [loss(x, labels) for loss in losses]
    torch.testing.assert_close(*values, rtol=1e-12, atol=0)
    torch.testing.assert_close(*(torch.autograd.grad(value, x)[0] for value in values), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("rule", ["all", "semi-hard", "batch-hard"])
def test_without_a_triplet_the_loss_is_0_and_has_a_graph(rule):
    x, _ = batch()
    for labels in (torch.arange(len(x)), torch.tensor([0, 0, 1, 1])):
        far = x[: len(labels)] if len(labels) > 4 else torch.eye(2, dtype=torch.float64)[[0, 0, 1, 1]].requires_grad_()
        value = experiment.Mined(rule, 0.2, "squared")(far, labels)
        assert value.item() == 0
        value.backward()


def test_the_nearest_of_all_is_the_hardest_and_of_fewer_it_is_nearer_the_more_there_are():
    hardest, _, d_an = mined("of 20")
    assert (d_an[hardest] == d_an.amin(1)).all()
    torch.manual_seed(0)
    means = [d_an[mined(f"of {k}")[0]].mean() for k in (1, 4, 20)]
    assert means[0] > means[1] > means[2]


def test_the_nearest_of_k_is_the_nearest_of_k_drawn_evenly():
    """With 4 of 20 drawn the nearest of all is taken in a fifth of the cases, with 1 each in a twentieth."""
    many = 4000
    torch.manual_seed(0)
    d_an = torch.arange(1.0, 21.0).expand(many, 20)
    a, d_ap = torch.arange(many), torch.ones(many, 1)
    for k, share in ((1, 1 / 20), (4, 4 / 20), (16, 16 / 20), (20, 1.0)):
        taken = experiment.mine(f"of {k}", d_ap, d_an, a, 0.2)
        assert (taken.sum(1) == 1).all()
        assert taken[:, 0].float().mean().item() == pytest.approx(share, abs=0.025)
    even = experiment.mine("of 1", d_ap, d_an, a, 0.2).float().mean(0)
    assert even.min() > 0.035
    assert even.max() < 0.065


@pytest.mark.parametrize(
    ("rule", "d_an", "taken"),
    [
        ("nearest, else farthest", (1.0, 3.0), 1),
        ("nearest, else farthest", (1.0, 3.0, 9.0), 2),
        ("nearest, else farthest", (1.0, 9.0, 7.0), 2),
        ("nearest, else largest nearer", (1.0, 3.0), 1),
        ("nearest, else largest nearer", (1.0, 3.0, 9.0), 1),
        ("nearest, else largest nearer", (1.0, 5.5, 3.0, 5.25), 3),
        ("nearest", (1.0, 5.5, 5.0, 6.0), 1),  # 5 and 6 are the ends of the ring
        ("nearest", (5.0, 6.0), None),
        ("semi-hard", (5.0, 6.0), None),
    ],
)
def test_conventions_by_hand(rule, d_an, taken):
    found = experiment.mine(rule, torch.tensor([[5.0]]), torch.tensor([d_an]), torch.zeros(1).long(), 1.0)
    assert found[0].nonzero().flatten().tolist() == ([] if taken is None else [taken])


def test_plain_distances_against_three_loops_and_what_is_noted():
    x, labels = batch(3, 3)
    x = x.detach()
    unit, loss = x / x.norm(dim=1, keepdim=True), experiment.Mined("all", 0.2, "plain")
    d = [[torch.dist(a, b) for b in unit] for a in unit]
    every = [
        float((d[a][p] - d[a][n] + 0.2).clamp(min=0))
        for a in range(9)
        for p in range(9)
        for n in range(9)
        if a != p and labels[a] == labels[p] != labels[n]
    ]
    assert loss(x, labels).item() == pytest.approx(sum(every) / len(every), abs=1e-6)
    (seen,) = loss.seen
    apart = [float(d[a][n]) for a in range(9) for n in range(9) if labels[a] != labels[n]]
    assert seen["triplets"] == len(every)
    assert seen["active"] == pytest.approx(sum(value > 0 for value in every) / len(every))
    assert seen["apart"] == pytest.approx(sum(apart) / len(apart), abs=1e-6)


def test_batches_are_those_of_the_setting_and_the_means_those_of_the_last_epoch():
    wanted = {batches: experiment.setting("all", batches=batches) for batches in ("P x K", "random")}
    triplets = {name: experiment.train(one, 0, "smoke").loss.seen[-1]["triplets"] for name, one in wanted.items()}
    assert triplets["P x K"] == 16 * 4 * 3 * 15 * 4
    assert triplets["random"] != triplets["P x K"]
    steps = [{"loss": 1.0}] * 3 + [{"loss": 5.0}] * 3
    assert experiment.of_the_epoch(steps, 2) == {"loss": 5.0}


def test_conventions_differ_only_where_the_ring_is_empty():
    nearest, d_ap, d_an = mined("nearest", 0.02)
    ring = ((d_an > d_ap) & (d_an < d_ap + 0.02)).any(1)
    assert ring.any()
    assert not ring.all()
    assert (nearest.sum(1) == ring).all()
    for rule in ("nearest, else farthest", "nearest, else largest nearer"):
        other = mined(rule, 0.02)[0]
        assert (other[ring] == nearest[ring]).all()
        assert (other.sum(1) <= 1).all()
    beyond = mined("nearest, else farthest", 0.02)[0]
    assert (beyond.sum(1) == 1).all()


@pytest.mark.parametrize("place", [(0.3, 0.1), (1.1, 0.2)])
def test_the_forces_of_the_picture_are_the_gradient_and_contract_or_expand(place):
    points = torch.tensor([[0.0, 0.0], [-0.6, 0.8], place], dtype=torch.float64, requires_grad=True)
    a, p, n = points
    loss = ((a - p).square().sum() - (a - n).square().sum() + 0.8).clamp(min=0)
    (by_points,) = torch.autograd.grad(loss, points)
    forces = torch.stack(experiment.force(*points.detach(), 0.8))
    torch.testing.assert_close(forces, -by_points)
    middle = points.detach() - points.detach().mean(0)
    growth = 2 * (middle * forces).sum()
    assert growth.item() == pytest.approx(4 * (0.8 - loss.item()))


def test_free_points_draw_together_under_the_hardest_and_apart_under_semi_hard_triplets():
    spread = {
        rule: [places.var(0).sum() for places in experiment.free_points(rule)] for rule in ("batch-hard", "semi-hard")
    }
    assert spread["batch-hard"][10] < 0.6 * spread["batch-hard"][0]
    assert spread["semi-hard"][-1] > spread["semi-hard"][0]


def test_the_best_number_was_chosen_on_tune_and_is_one_of_those_tried():
    table = lesson.results(experiment.CHAPTER, experiment.SETTINGS)
    for margin in experiment.SETTINGS["margins"]:
        best = experiment.choose(table, margin)
        tune = table[(table["split"] == "tune") & (table["margin"] == margin) & (table["lr"] == 0.004)]
        rates = {k: tune[tune["rule"] == f"of {k}"] for k in experiment.SETTINGS["drawn"]}
        assert all(len(rows) == len(experiment.SETTINGS["tune"]) for rows in rates.values())
        assert rates[best]["eer"].mean() == min(rows["eer"].mean() for rows in rates.values())
