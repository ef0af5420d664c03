"""What is particular to chapter 14: amounts and shares of a push, a curriculum turned round, wrong names."""

import math

import pandas as pd
import pytest
import torch
from experiments import faces
from experiments import hard_negatives as experiment

from facelearn import lesson
from facelearn.losses import ArcFace, CurricularFace, MVSoftmax

KINDS = [(experiment.MVParts, MVSoftmax, {"t": 0.2}), (experiment.CurricularParts, CurricularFace, {})]


def batch(d=16, classes=12):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, d, generator=generator, dtype=torch.float64, requires_grad=True)
    return x, torch.arange(20) % classes


def gradients(loss, x, y):
    return torch.autograd.grad(loss(x, y), [x, loss.weight])


@pytest.mark.parametrize(("kind", "whole", "more"), KINDS)
@pytest.mark.parametrize("corner", ["own", "plain"])
def test_the_corners_are_the_true_losses(kind, whole, more, corner):
    x, y = batch()
    parts = kind(16, 12, scale=8.0, margin=0.6, **more).double()
    rule = "plain" if whole is MVSoftmax else "mm"
    true = (
        whole(16, 12, scale=8.0, margin=0.6, **more)
        if corner == "own"
        else ArcFace(16, 12, scale=8.0, margin=0.6, beyond_pi=rule)
    )
    true = true.double()
    true.weight.data = parts.weight.data.clone()
    parts.amount = parts.which = corner
    for loss in (parts, true):
        if isinstance(loss, CurricularFace):
            loss.t.fill_(0.3)
    for got, want in zip(gradients(parts, x, y), gradients(true, x, y), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("amount", "which"), [("own", "plain"), ("plain", "own"), ("own", "random")])
@pytest.mark.parametrize(("kind", "whole", "more"), KINDS)
def test_each_part_has_the_amount_of_one_and_the_shares_of_the_other(kind, whole, more, amount, which):
    x, y = batch()
    loss = kind(16, 12, scale=8.0, margin=0.6, **more).double()
    loss.amount, loss.which = amount, which
    cos = torch.nn.functional.normalize(x.detach()) @ torch.nn.functional.normalize(loss.weight.detach()).T
    seen = {}
    loss.cosines = lambda *_: seen.setdefault("cos", cos.requires_grad_())
    torch.manual_seed(0)
    (slope,) = torch.autograd.grad(loss(x, y), seen["cos"])
    push = (slope * len(x) / loss.scale).scatter(1, y[:, None], 0.0)
    known = loss.rows(x, cos.gather(1, y[:, None])[:, 0])
    torch.manual_seed(0)
    goal = experiment.forces(loss, cos.detach(), y, known, amount)[1]
    shared = experiment.forces(loss, cos.detach(), y, known, which)[1]
    torch.testing.assert_close(push, goal.sum(1, keepdim=True) * shared / shared.abs().sum(1, keepdim=True))
    if which == "plain":
        torch.testing.assert_close(push.sum(1), goal.sum(1))


def test_arcface_pushes_as_much_as_it_pulls():
    x, y = batch()
    loss = ArcFace(16, 12, scale=8.0, margin=0.6).double()
    cos = loss.cosines(torch.nn.functional.normalize(x), loss.weight)
    pull, push = experiment.forces(loss, cos, y)
    torch.testing.assert_close(push.sum(1), pull)
    assert (push >= 0).all()


def test_a_mended_curriculum_never_pulls_a_wrong_class():
    cos = torch.linspace(-1, 1, 201).double().requires_grad_()
    below = torch.full_like(cos, -math.cos(0.6))
    for t in (0.0, 0.3, 0.8):
        rows = (torch.full_like(cos, t),)
        mended = experiment.Mended(2, 2, margin=0.6).others(cos, below, rows)
        true = CurricularFace(2, 2, margin=0.6).others(cos, below, rows)
        (slope,) = torch.autograd.grad(mended.sum(), cos)
        assert (slope >= 0).all()
        same = cos > -t / 2
        torch.testing.assert_close(mended[same], true[same])


def test_a_curriculum_that_is_held_or_reversed():
    x, y = batch()
    held = experiment.Held(16, 12, end=0.7).double()
    falling = experiment.Held(16, 12, end=0.7, steps=4).double()
    seen = []
    for _ in range(5):
        held(x, y), falling(x, y)
        seen.append(float(falling.t))
        assert float(held.t) == pytest.approx(0.7)
    assert seen == pytest.approx([0.7, 0.525, 0.35, 0.175, 0.0])


def test_wrong_names_are_wrong_and_as_many_as_asked_for():
    right = faces.people("fit", 3, few=True)
    wrong = experiment.mislabelled(3, 0.3, few=True)
    share = float((wrong.labels != right.labels).double().mean())
    assert share == pytest.approx(0.3, abs=0.06)
    assert int(wrong.labels.max()) < 30
    assert torch.equal(faces.people("fit", 3, few=True).labels, right.labels)  # the others keep their names


def test_at_the_first_batch_half_are_pulled_the_wrong_way():
    seen = experiment.first_batch(8, 0)
    assert seen["hard"] > 0.99
    assert seen["backwards"] == pytest.approx(0.5, abs=0.03)
    assert abs(seen["push"]) < 0.05


def test_a_training_is_looked_at_on_its_way_and_at_its_end():
    found = experiment.run(experiment.setting("mv", 8, 0.6, 0.2), 0, "smoke")
    assert found[-1]["epoch"] == experiment.SETTINGS["epochs"]
    assert found[0]["epoch"] == 0
    assert all("flipped" in row for row in found[:1])
    assert experiment.run(experiment.setting("mv amount", 8, 0.6, 0.2), 0, "smoke")[0]["eer"] > 0


def stands(table):
    """The verdict of the chapter, as far as the table decides it."""
    found = experiment.trade(table)
    dearer = all(lesson.interval(x).low > 0 for x in found["price"].values())
    return dearer and all(lesson.interval(x).high < 1 for x in found["none"].values())


def test_the_claim_stands_on_the_stored_table():
    assert stands(lesson.results(experiment.CHAPTER, experiment.SETTINGS))


@pytest.mark.parametrize(
    ("arm", "scale", "number", "change"),
    [
        ("mv", 8, "eer", 0.0),  # emphasis costs no EER
        ("curricular", 32, "eer", -0.005),  # it lowers it
        ("curricular", 32, "tar_1e3", 0.03),  # there is a gain at the larger scale
        ("mv", 32, "tar_1e3", None),  # nobody can tell
    ],
)
def test_the_claim_falls_in_a_world_where_it_is_false(arm, scale, number, change):
    table = lesson.results(experiment.CHAPTER, experiment.SETTINGS).copy()
    ours, base = (experiment.varied(one, scale) for one in (arm, "arcface"))
    hit = table["eer"].notna() & (table[list(ours)] == pd.Series(ours)).all(axis=1)
    level = faces.rows(experiment.ends(table), base)[number]
    scatter = {0.0: 0.002, None: 0.08}.get(change, 0.0) * torch.linspace(-1, 1, len(level)).numpy()
    table.loc[hit, number] = table.loc[hit, "seed"].map(level) + (change or 0.0) + scatter
    assert not stands(table)
