"""What is particular to chapter 17: the bar that falls, three ways to hand out margins, a verdict that can fail."""

import math

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from experiments import npcface as experiment

from facelearn import lesson
from facelearn.data import GROUPS
from facelearn.losses import NPCFace


def batch(seed=0, images=40, classes=12, dim=8):
    generator = torch.Generator().manual_seed(seed)
    w = F.normalize(torch.randn(classes, dim, generator=generator, dtype=torch.float64))
    y = torch.arange(images) % classes
    near = torch.linspace(0.2, 3, images, dtype=torch.float64)[:, None]
    return torch.randn(images, dim, generator=generator, dtype=torch.float64) / 2 + near * w[y], w, y


def table():
    return lesson.results(experiment.CHAPTER, experiment.SETTINGS).copy()


def head(link, **keywords):
    x, w, y = batch()
    loss = experiment.Linked(8, 12, link=link, scale=8.0, margin=0.5, **keywords).double()
    loss.weight.data.copy_(w)
    return loss, x.requires_grad_(), y


def test_with_its_own_link_it_is_the_loss_of_the_package():
    loss, x, y = head("npc", m0=0.4, m1=0.5)
    library = NPCFace(8, 12, scale=8.0, margin=0.5, m0=0.4, m1=0.5).double()
    library.weight.data.copy_(loss.weight.data)
    values = loss(x, y), library(x, y)
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*(torch.autograd.grad(value, x)[0] for value in values))


@pytest.mark.parametrize("link", experiment.LINKS)
def test_each_link_hands_out_the_same_mean_margin(link, monkeypatch):
    given = []
    cos_of_sum = experiment.cos_of_sum
    monkeypatch.setattr(experiment, "cos_of_sum", lambda c, m, rule: given.append(m) or cos_of_sum(c, m, rule))
    loss, x, y = head(link, m0=0.4, m1=0.5)
    loss(x, y)
    h = experiment.hardness((F.normalize(x) @ loss.weight.detach().T).detach(), y)
    own = 0.4 + 0.5 * h.mean
    assert given[0].mean().item() == pytest.approx(own.mean().item())
    assert experiment.correlation(given[0], own) == pytest.approx({"npc": 1, "inverted": -1}.get(link, 0), abs=0.4)
    if link == "shuffled":
        torch.testing.assert_close(given[0].sort().values, own.sort().values)
        assert not torch.allclose(given[0], own)


def test_hardness_by_a_loop():
    x, w, y = batch()
    cos = F.normalize(x) @ w.T
    h = experiment.hardness(cos, y, 0.3)
    for i, row in enumerate(cos.tolist()):
        others = [c for j, c in enumerate(row) if j != y[i]]
        bar = math.cos(math.acos(row[y[i]]) + 0.3)
        hard = [c for c in others if c > bar]
        assert h.p[i].item() == pytest.approx(row[y[i]])
        assert h.n[i].item() == pytest.approx(max(others))
        assert h.many[i].item() == len(hard)
        assert h.mean[i].item() == pytest.approx(sum(hard) / max(1, len(hard)))
        assert h.fixed[i].item() == sum(c > h.bar.mean().item() for c in others)


@pytest.mark.parametrize("seed", range(5))
def test_the_margin_is_a_tooth_of_a_saw(seed):
    """Up once, then never up again: step 5 of the chapter."""
    others = (0.3 * torch.randn(50, generator=torch.Generator().manual_seed(seed))).clamp(max=0.85)
    h = experiment.sawtooth(others, 0.5, torch.linspace(1, -0.8, 2001))
    steps = h.mean.diff()
    up = (steps > 1e-6).nonzero().flatten()
    assert len(up) == 1
    assert h.mean[up[0] + 1].item() == pytest.approx(others.max().item(), abs=1e-6)
    assert (h.many.diff() >= 0).all()


def test_elsewhere_keeps_the_own_cosine():
    x, w, y = batch()
    x = F.normalize(x)
    moved = experiment.elsewhere(x, w[y], 0)
    torch.testing.assert_close((moved * w[y]).sum(1), (x * w[y]).sum(1))
    torch.testing.assert_close(moved.norm(dim=1), torch.ones(len(x), dtype=torch.float64))
    assert (moved - x).norm(dim=1).mean() > 0.1


def test_a_nuisance_comes_alone():
    passport, blurred = (experiment.spoilt(0, look, 3) for look in ("none", "blur"))
    assert (passport.images[0] == passport.images[1]).all()
    changed = {name for name, x in blurred.nuisance.items() if not torch.equal(x, passport.nuisance[name])}
    assert changed == {"blur"}


def test_every_group_of_nuisances_is_tried():
    assert set(experiment.NUISANCES) == set(GROUPS)


def test_the_margins_of_both_strengths_have_about_one_mean():
    for scale, own in experiment.SETTINGS["scales"].items():
        weak, strong = (experiment.make(experiment.setting("npc", int(scale), m1), 4, 3) for m1 in (0.2, 0.8))
        means = [loss.m0 + loss.m1 * own["mean"] for loss in (weak, strong)]
        assert means[0] == pytest.approx(means[1])


def test_the_claim_holds_in_the_table():
    assert all(experiment.verdicts(table()).values())


def spoil(frame, number, change, **where):
    hit = (frame[list(where)] == pd.Series(where)).all(axis=1)
    assert hit.any()
    frame.loc[hit, number] = change(frame.loc[hit, number])
    return frame


@pytest.mark.parametrize(
    ("part", "number", "change", "where"),
    [
        (0, "nearer", lambda x: x + 0.08, {"arm": "arcface", "look": "blur", "scale": 32}),
        (1, "r_mask", lambda x: x - 1.5, {"arm": "npc", "look": "noise", "scale": 8}),
        (1, "r", lambda x: x + 0.9, {"arm": "npc", "look": "noise", "scale": 8}),
        (2, "r_link", lambda x: -x, {"arm": "arcface", "look": "lowres", "scale": 8}),
        (2, "r_hard_half", lambda x: -x, {"arm": "npc", "look": "pairs", "scale": 32, "m1": 0.2}),
        (3, "eer", lambda x: x + 0.004, {"arm": "inverted", "scale": 8, "m1": 0.8}),
        (4, "tar_1e3", lambda x: x - 0.03, {"arm": "inverted", "scale": 8, "m1": 0.8}),
        (1, "r_fixed", lambda x: x + 0.9, {"arm": "npc", "look": "noise", "scale": 8}),
        (3, "sd_quarter", lambda x: 0 * x, {"arm": "inverted", "scale": 8, "m1": 0.8}),
        (3, "r_hard_quarter", lambda x: -x, {"arm": "inverted", "scale": 8, "m1": 0.8}),
    ],
)
def test_each_part_of_the_claim_can_fail(part, number, change, where):
    found = list(experiment.verdicts(spoil(table(), number, change, **where)).values())
    assert not found[part]
    assert sum(found) == len(found) - 1


@pytest.mark.parametrize("rate", ["eer", "tar_1e3"])
def test_a_comparison_that_sees_nothing_shows_nothing(rate):
    """Were the smaller margin for all as good as the other, the equality of the links would say nothing."""
    frame = table()
    own = experiment.rows(frame, experiment.setting("npc"))[rate]
    hit = (frame["arm"] == "less") & (frame["scale"] == 8)
    frame.loc[hit, rate] = own[frame.loc[hit, "seed"]].to_numpy()
    assert not list(experiment.verdicts(frame).values())[5]


def test_where_nothing_goes_together_the_mask_adds_nothing():
    frame = table()
    frame["r_mask"], frame["r_fixed"] = -0.15 + 0 * frame["r_mask"], -0.6 + 0 * frame["r_fixed"]
    assert not list(experiment.verdicts(frame).values())[1]


def test_a_wide_interval_shows_no_equality():
    frame = table()
    hit = (frame["arm"] == "inverted") & (frame["m1"] == 0.2) & (frame["scale"] == 8)
    frame.loc[hit, "eer"] += 0.01 * (-1) ** torch.arange(int(hit.sum())).numpy()
    assert not list(experiment.verdicts(frame).values())[3]
