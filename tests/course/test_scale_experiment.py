"""What is particular to chapter 20: its arms, what is counted, and a verdict that can come out False."""

import math

import pytest
import torch
import torch.nn.functional as F
from experiments import scale as experiment

from facelearn import lesson
from facelearn.losses import CosFace, NormFace


def made(arm: str, scale: int = 8, classes: int = 1000) -> experiment.Moved:
    torch.manual_seed(0)
    return experiment.head(experiment.setting(arm, scale), 16, classes)


@pytest.mark.parametrize("scale", experiment.SCALES)
def test_the_correction_is_a_cosface_margin(scale):
    """Step 7: log(1/r) on every rival that was drawn, r the chance of a rival, is a margin of log(1/r) / s."""
    head, x, y = made("corrected", scale), torch.randn(40, 16), torch.arange(40)
    chosen = torch.arange(0, 1000)[torch.randperm(1000)[:60]]
    chosen = torch.cat([torch.arange(40), chosen[chosen >= 40]]).unique()
    head.draw_classes = lambda own: chosen
    z = scale * F.normalize(x) @ F.normalize(head.weight[chosen]).T
    added = torch.full_like(z, math.log(999 / 99)).scatter(1, y[:, None], 0.0)
    assert head(x, y).item() == pytest.approx(F.cross_entropy(z + added, y).item(), abs=1e-5)
    assert made("corrected", scale).margin == pytest.approx(-made("lowered", scale).margin)


def test_lowered_is_a_margin_below_zero_and_the_rest_is_normface():
    x, y = torch.randn(40, 16), torch.arange(40)
    plain, full = NormFace(16, 1000, scale=8), made("full")
    plain.weight = full.weight
    assert full(x, y).item() == pytest.approx(plain(x, y).item(), abs=1e-6)
    raised = CosFace(16, 1000, scale=8, margin=0.1)
    raised.weight, full.margin = full.weight, 0.1
    assert full(x, y).item() == pytest.approx(raised(x, y).item(), abs=1e-6)
    assert made("lowered").margin == pytest.approx(-math.log(999 / 99) / 8)


def test_with_own_lots_every_row_moves_and_the_denominator_is_that_of_the_sample():
    head, x, y = made("own lots"), torch.randn(64, 16), torch.arange(64)
    head(x, y).backward()
    assert (head.weight.grad.abs().sum(1) > 0).float().mean() > 0.99
    z = (8 * F.normalize(x) @ F.normalize(head.weight.detach()).T).scatter(1, y[:, None], -torch.inf)
    with torch.no_grad():
        target = 8 * (F.normalize(x) * F.normalize(head.weight)[y]).sum(1)
        head.reduction = "none"
        rest = torch.stack([head(x, y).expm1().log() + target for _ in range(50)])  # log-sum-exps
    assert (z.logsumexp(1) - rest.mean(0)).mean() == pytest.approx(math.log(999 / 99), abs=0.05)
    head.eval()
    assert torch.equal(head(x, y), head(x, y))


def test_a_sampled_arm_meets_a_hundred_of_a_thousand():
    head = made("sampled")
    head(torch.randn(64, 16), torch.randint(1000, (64,))).backward()
    assert len(head.weight.grad.coalesce().indices()[0]) == 100


def test_how_many_count():
    z = torch.zeros(1, 8)
    z[0, 5:] = -torch.inf
    assert experiment.count(z) == pytest.approx(5)


@pytest.mark.parametrize(("scale", "off"), [(2, 0.02), (8, 0.08)])
def test_the_second_order_where_many_count(scale, off):
    generator = torch.Generator().manual_seed(0)
    z = scale * torch.randn(2000, generator=generator) / 8
    lots = torch.rand(2000, 2000, generator=generator).argsort(1)[:, :200]
    below = float(z.logsumexp(0) - z[lots].logsumexp(1).mean())
    assert below == pytest.approx(experiment.second_order(0.1, experiment.count(z[None])), abs=off * 0.1 + 0.01)


def test_alive_counts_what_is_alive():
    with experiment.Alive() as counter:
        a = torch.zeros(1000)
        b = a + 1
        del a
        c = b + 1  # now two of them
        del b, c
    assert 2 * 4000 <= counter.peak < 2.2 * 4000


def table():
    return lesson.results(experiment.CHAPTER, experiment.SETTINGS).copy()


@pytest.mark.parametrize("scale", experiment.SCALES)
def test_the_claim_falls_if_a_sample_costs_nothing_at_one_scale(scale):
    free = table()
    same = free["scale"] == scale
    for number in ("eer",):
        full = experiment.rows(free, experiment.setting("full", scale))[number]
        hit = same & (free["arm"] == "sampled") & (free["lr"] == experiment.setting("full", scale)["lr"])
        free.loc[hit, number] = free.loc[hit, "seed"].map(full)
    assert experiment.holds(table())
    assert not experiment.holds(free)


def test_the_claim_needs_more_than_the_limit():
    small = table()
    full = small["arm"] == "full"
    for scale in experiment.SCALES:
        gap = experiment.less_full(table(), "sampled", scale).mean() / 100
        small.loc[full & (small["scale"] == scale), "eer"] += gap - 0.002
    assert not experiment.holds(small)
