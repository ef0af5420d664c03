"""What is particular to chapter 18: its worlds, what its scores see, and a verdict that can come out False."""

import pytest
import torch
import torch.nn.functional as F
from experiments import quality as experiment

from facelearn import lesson
from facelearn.data.image_set import ImageSet
from facelearn.losses import MagFace
from facelearn.training import embed


def test_only_the_seen_world_has_masks_and_low_resolution():
    seen, unseen = (experiment.people("fit", 0, shown, True) for shown in ("seen", "unseen"))
    for name in ("mask", "lowres"):
        assert 0.1 < seen.nuisance[name].mean() < 0.4
        assert unseen.nuisance[name].max() == 0


def test_nets_go_without_the_last_normalisation():
    net = experiment.train(experiment.setting("softmax"), 0, "smoke").net
    assert isinstance(net.layers[-1], torch.nn.Identity)


def test_the_oracle_is_the_mean_cosine_to_the_same_person():
    x, labels = torch.randn(9, 4), torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2])
    by_hand = (F.cosine_similarity(x[4], x[3], 0) + F.cosine_similarity(x[4], x[5], 0)) / 2
    assert experiment.genuine(x, labels)[4] == pytest.approx(float(by_hand), abs=1e-6)


def test_a_score_rejects_its_lowest():
    assert sorted(experiment.kept(torch.tensor([5.0, 1.0, 4.0, 2.0, 3.0]), 0.4).tolist()) == [0, 2, 4]


def test_the_mean_over_a_person():
    labels = torch.tensor([1, 0, 1, 0])
    torch.testing.assert_close(experiment.by_person(torch.tensor([1.0, 2, 3, 6]), labels), torch.tensor([2.0, 4, 2, 4]))


def test_ranks_agree_with_scipy():
    from scipy.stats import spearmanr

    a, b = torch.randn(50), torch.randn(50)
    assert experiment.ranks_agree(a, b) == pytest.approx(spearmanr(a, b).statistic)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_the_identity_share_of_made_up_norms(share):
    draws = torch.Generator().manual_seed(0)
    people, pictures = 3000, 10
    own = torch.randn(people, generator=draws).repeat_interleave(pictures) * share**0.5
    score = own + torch.randn(people * pictures, generator=draws) * (1 - share) ** 0.5
    labels = torch.arange(people).repeat_interleave(pictures)
    assert experiment.identity_share(score, labels) == pytest.approx(share, abs=0.02)


def test_thirds_of_a_score_that_rejects_the_old():
    age = torch.linspace(0, 1, 100)
    young, old = experiment.thirds(-age, age, 0.2)
    assert young == 0
    assert old == pytest.approx(0.6, abs=0.02)


def test_a_bright_passport_picture_is_brighter():
    dark, plain, bright = (experiment.passports(0, "exposure", v, 4).images.float().mean() for v in (-0.8, 0.0, 0.8))
    assert dark < plain < bright


def test_the_pull_is_the_slope_of_the_loss():
    options = experiment.MAG_8
    head = MagFace(2, 300, beyond_pi="plain", **options).double()
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[0.0, 1.0]]))
        head.weight[0] = torch.tensor([1.0, 0.0])
    a = torch.tensor(4.0, dtype=torch.float64, requires_grad=True)
    theta = torch.tensor(0.6, dtype=torch.float64)
    x = a * torch.stack([theta.cos(), theta.sin()])
    rest = torch.logsumexp(options["scale"] * theta.sin().expand(299), 0)
    (slope,) = torch.autograd.grad(head(x[None], torch.tensor([0])), a)
    found, p = experiment.pull(a.detach(), theta, float(rest), options)
    assert float(found) == pytest.approx(-float(slope), rel=1e-9)
    assert 0 < p < 1


def test_free_norms_come_to_rest_by_their_angle():
    theta = torch.tensor([5.0, 30.0, 60.0]).deg2rad()
    end = experiment.drift(theta, 2.0, 400)[-1]
    assert end[0] > end[1] > end[2]
    assert experiment.pull(end, theta, experiment.REST, experiment.MAG_8)[0].abs().max() < 1e-3


def table():
    return lesson.results(experiment.CHAPTER, experiment.SETTINGS).copy()


def test_the_claim_needs_a_norm_that_knows():
    """Were the norm as blind as chance, the gain would not stand out."""
    blind = table()
    blind["eer_norm_30"] = blind["eer_random_30"]
    assert experiment.holds(table())
    assert not experiment.holds(blind)


@pytest.mark.parametrize("arm", experiment.MADE_FOR_IT)
def test_the_claim_falls_if_a_loss_helps_its_norm(arm):
    helped = table()
    hit = helped["arm"] == arm
    helped.loc[hit, "eer_norm_30"] = helped.loc[hit, "eer_oracle_30"]
    assert not experiment.holds(helped)


@pytest.mark.parametrize("arm", ["softmax", "magface"])
def test_the_claim_falls_if_a_norm_knows_what_training_never_showed(arm):
    same = table()
    hit = (same["arm"] == arm) & (same["shown"] == "unseen")
    same.loc[hit, "eer_norm_30"] = 0.7 * same.loc[hit, "eer"]
    assert not experiment.holds(same)


@pytest.mark.parametrize(("number", "value"), [("fit_agree", 0.0), ("fit_norm", 9.0)])
def test_the_claim_needs_a_magface_that_acts(number, value):
    idle = table()
    hit = (idle["arm"] == "magface") & (idle["epochs"] == experiment.SETTINGS["long"]["epochs"])
    idle.loc[hit, number] = value
    assert not experiment.holds(idle)


def test_norms_of_training_images_that_rise_with_their_cosine():
    net = torch.nn.Flatten()
    cos = torch.linspace(0.2, 0.9, 20)
    x = (1 + cos)[:, None] * torch.stack([cos, (1 - cos**2).sqrt()], 1)
    loss = MagFace(2, 3, **experiment.MAG_8)
    with torch.no_grad():
        loss.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.1], [-1.0, -0.1]]))
    shown = ImageSet(torch.zeros(20, 1, 1, 2, dtype=torch.uint8), torch.zeros(20, dtype=torch.long))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "embed", lambda net, images: x)
        found = experiment.in_training(experiment.Trained(net, loss, shown))
    assert found["fit_order"] == pytest.approx(1)
    assert found["fit_agree"] == pytest.approx(1)
    assert found["fit_inside"] == 1
    assert 1 < found["fit_rest"] < 20


def test_extremes_are_the_longest_and_the_shortest():
    seed = experiment.SETTINGS["live_seed"]
    shown = experiment.people("open", seed, "seen", True)
    norm = embed(experiment.live("softmax", seed, "smoke").net, shown).norm(dim=1)
    texts = [text.get_text() for text in experiment.extremes("smoke", 4).axes[0].texts]
    assert texts[0] == f"{norm.max():.0f}"
    assert texts[4] == f"{norm.min():.0f}"
