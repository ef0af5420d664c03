import math

import numpy as np
import pytest
import torch

import facelearn.losses.lgm as module
from facelearn.losses import LGM, Softmax
from tests.losses.conformance import (
    CASES,
    assert_matches_reference,
    batch,
    centres,
    put,
    stored_value,
    value_and_gradients,
)  # fmt: skip


@pytest.mark.parametrize("case", [case for case in CASES if case != "single_class"])
@pytest.mark.parametrize(("covariance", "inputs"), [("diagonal", ("means", "log_var")), ("identity", ("means",))])
def test_reference(covariance, inputs, case):
    """The Mahalanobis distance and log|Λ| in the likelihood term."""
    make = lambda d, C: LGM(d, C, alpha=0.3, likelihood_weight=0.1, covariance=covariance)  # noqa: E731
    assert_matches_reference(make, "lgm", case, f"{covariance}_paper", inputs=inputs)


@pytest.mark.parametrize("other", ["lkd_euclid", "lkd_maha_no_logdet_gluon"])
def test_other_likelihood_terms_are_other_losses(other):
    """A Euclidean distance there, or no log|Λ|, as in public implementations."""
    paper = stored_value("lgm", "random_s0", "diagonal_paper")
    assert stored_value("lgm", "random_s0", f"diagonal_{other}") != pytest.approx(paper, rel=1e-3)


def gaussian(seed=0, **settings):
    """A loss whose variances are not all 1."""
    loss = LGM(8, 6, **settings).double()
    g = torch.Generator().manual_seed(seed)
    if loss.log_var is not None:
        put(loss, log_var=0.5 * torch.randn(6, 8, generator=g))
    return loss


@pytest.mark.parametrize("covariance", ["diagonal", "identity"])
def test_second_derivation(covariance):
    """Loops over samples, classes, and dimensions, with variances instead of their logarithms."""
    x, y = batch()
    loss = gaussian(alpha=0.7, likelihood_weight=0.2, covariance=covariance)
    mu = loss.means.detach().numpy()
    var = np.ones((6, 8)) if loss.log_var is None else np.exp(loss.log_var.detach().numpy())
    total = 0.0
    for xi, yi in zip(x.numpy(), y.tolist(), strict=True):
        d = [sum((xi[t] - mu[k, t]) ** 2 / var[k, t] for t in range(8)) / 2 for k in range(6)]
        density = [math.exp(-(1 + 0.7 * (k == yi)) * d[k]) / math.sqrt(np.prod(var[k])) for k in range(6)]
        total -= math.log(density[yi] / sum(density))
        total += 0.2 * (d[yi] + math.log(np.prod(var[yi])) / 2)
    assert loss(x, y).item() == pytest.approx(total / len(x), rel=1e-11)


def test_likelihood_term_is_the_negative_log_density():
    """λ = 1 minus λ = 0, against torch.distributions."""
    x, y = batch()
    one, none = gaussian(likelihood_weight=1.0), gaussian(likelihood_weight=0.0)
    none.load_state_dict(one.state_dict())
    normal = torch.distributions.Normal(one.means[y], (one.log_var[y] / 2).exp())
    want = -normal.log_prob(x).sum(1).mean() - 8 / 2 * math.log(2 * math.pi)
    torch.testing.assert_close(one(x, y) - none(x, y), want)


def test_without_margin_it_is_bayes_rule():
    """α = 0: the posterior of a Gaussian mixture with equal priors."""
    x, y = batch()
    loss = gaussian(alpha=0.0, likelihood_weight=0.0)
    components = torch.distributions.Normal(loss.means, (loss.log_var / 2).exp())
    log_density = components.log_prob(x[:, None]).sum(2)
    want = torch.nn.functional.cross_entropy(log_density, y)
    torch.testing.assert_close(loss(x, y), want)


def test_identity_without_margin_is_a_softmax_with_tied_bias():
    """-½‖x - μ_k‖² = μ_k·x - ½‖μ_k‖² - ½‖x‖²: a linear classifier."""
    x, y = batch()
    loss, softmax = LGM(8, 6, alpha=0.0, likelihood_weight=0.0, covariance="identity").double(), Softmax(8, 6).double()
    put(softmax, weight=loss.means.detach(), bias=-loss.means.detach().square().sum(1) / 2)
    torch.testing.assert_close(loss(x, y), softmax(x, y))
    torch.testing.assert_close(
        value_and_gradients(loss, x, y)["grad_embeddings"], value_and_gradients(softmax, x, y)["grad_embeddings"]
    )


def test_unit_variances_are_the_identity():
    x, y = batch()
    diagonal, identity = LGM(8, 6).double(), LGM(8, 6, covariance="identity").double()
    put(identity, means=diagonal.means.detach())
    a, b = value_and_gradients(diagonal, x, y), value_and_gradients(identity, x, y)
    for name in b:
        torch.testing.assert_close(a[name], b[name])


def test_margin_asks_for_a_smaller_distance():
    x, y = batch()
    values = []
    for alpha in (0.0, 0.1, 0.3, 1.0):
        torch.manual_seed(0)
        values.append(LGM(8, 6, alpha=alpha).double()(x, y).item())
    assert values == sorted(values)


def test_logits_are_log_densities_without_margin():
    x, _ = batch()
    loss = gaussian(alpha=5.0)
    components = torch.distributions.Normal(loss.means, (loss.log_var / 2).exp())
    want = components.log_prob(x[:, None]).sum(2) + 8 / 2 * math.log(2 * math.pi)
    torch.testing.assert_close(loss.logits(x), want)


@pytest.mark.parametrize("covariance", ["diagonal", "identity"])
def test_blocks_of_classes_change_nothing(covariance, monkeypatch):
    x, y = batch()
    loss = gaussian(covariance=covariance)
    want = value_and_gradients(loss, x, y)
    for block in (1, 2 * x.numel(), 5 * x.numel()):
        monkeypatch.setattr(module, "BLOCK", block)
        got = value_and_gradients(loss, x, y)
        for name in want:
            torch.testing.assert_close(got[name], want[name], rtol=1e-12, atol=1e-14)


def test_far_samples_keep_their_gradient():
    """d in the thousands: an implementation that exponentiates first has lost it there."""
    loss = LGM(8, 6)
    x = 100 + centres(loss)
    got = value_and_gradients(loss, x, torch.arange(6))
    assert got["loss"] > 1000
    assert (got["grad_embeddings"].norm(dim=1) > 1).all()


def test_variances_are_spared_weight_decay():
    assert set(LGM.no_weight_decay) == {"log_var"}
    assert LGM(8, 6, covariance="identity").log_var is None
