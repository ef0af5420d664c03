import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from facelearn.losses import ArcFace, CosFace, ElasticFace
from tests.losses.conformance import (
    assert_matches_reference,
    assert_same,
    batch,
    cosines,
    put,
    reference,
    value_and_gradients,
)  # fmt: skip

CASES = ("random_s0", "near_centre", "cos_pm1", "opposite", "theta_sweep")
BASE = {"arc": lambda: ArcFace(8, 6, beyond_pi="plain"), "cos": lambda: CosFace(8, 6)}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["arc", "cos"])
def test_reference(kind, case):
    """With the margins that were drawn there."""

    class Injected(ElasticFace):
        def draw_margins(self, batch_size):
            return reference("elasticface", case)[f"{kind}_margins"].reshape(batch_size)

    make = lambda d, C: Injected(d, C, kind=kind)  # noqa: E731
    assert_matches_reference(make, "elasticface", case, f"{kind}_paper")


@pytest.mark.parametrize("plus", [False, True])
@pytest.mark.parametrize("kind", ["arc", "cos"])
def test_without_spread_it_is_the_plain_margin(kind, plus):
    assert_same(ElasticFace(8, 6, kind=kind, std=0.0, plus=plus).double(), BASE[kind]().double(), *batch())


@pytest.mark.parametrize("kind", ["arc", "cos"])
def test_eval_takes_the_mean_margin(kind):
    assert_same(ElasticFace(8, 6, kind=kind, std=0.5).double().eval(), BASE[kind]().double(), *batch())


@pytest.mark.parametrize("kind", ["arc", "cos"])
def test_second_derivation(kind):
    """A head of one margin for each sample."""
    x, y = batch()
    loss = ElasticFace(8, 6, kind=kind, std=0.1, reduction="none", generator=torch.Generator().manual_seed(5)).double()
    g = torch.Generator().manual_seed(5)
    margins = {"arc": 0.5, "cos": 0.35}[kind] + 0.1 * torch.randn(12, generator=g, dtype=torch.float64)
    got = loss(x, y)
    for i in range(12):
        single = BASE[kind]().double()
        single.margin = margins[i].item()
        put(single, weight=loss.weight.detach())
        torch.testing.assert_close(got[i], single(x[i : i + 1], y[i : i + 1]))


def test_margins_are_drawn_from_a_normal_distribution():
    torch.manual_seed(0)
    margins = ElasticFace(8, 6, margin=0.4, std=0.05).draw_margins(20_000)
    assert margins.mean().item() == pytest.approx(0.4, abs=0.002)
    assert margins.std().item() == pytest.approx(0.05, rel=0.02)
    assert ((margins - 0.4).abs() < 0.05).float().mean().item() == pytest.approx(0.683, abs=0.015)


def test_draws_follow_the_generator_or_the_global_seed():
    x, y = batch()
    values = []
    for seed in (1, 1, 2):
        torch.manual_seed(0)
        loss = ElasticFace(8, 6, std=0.1, generator=torch.Generator().manual_seed(seed)).double()
        values += [loss(x, y).item(), loss(x, y).item()]
    assert values[:2] == values[2:4]
    assert len(set(values)) == 4  # anew in every call, and another seed draws otherwise
    torch.manual_seed(7)
    loss = ElasticFace(8, 6, std=0.1).double()
    pairs = []
    for _ in range(2):
        torch.manual_seed(1)
        pairs.append(loss(x, y).item())
    assert pairs[0] == pairs[1]


@pytest.mark.parametrize("seed", range(5))
def test_plus_gives_the_hardest_the_largest_margin(seed):
    """Rank correlation of cos θ_y and margin: exactly -1. Indexing the sorted margins by argsort(cos) instead of the
    rank, as the authors' code does, leaves the two nearly unrelated."""
    x, y = batch(seed, B=40)
    loss = ElasticFace(8, 6, std=0.1, plus=True, generator=torch.Generator().manual_seed(seed)).double()
    target_cos = torch.from_numpy(cosines(loss, x)[np.arange(40), y])
    (margins,) = loss.rows(x, target_cos)
    assert spearmanr(target_cos, margins).statistic == pytest.approx(-1)
    loss.generator.manual_seed(seed)
    drawn = loss.draw_margins(40)
    torch.testing.assert_close(margins.sort().values, drawn.sort().values)  # handed out, not changed
    careless = drawn.sort(descending=True).values[target_cos.argsort()]
    assert abs(spearmanr(target_cos, careless).statistic) < 0.6


def test_plus_is_the_plain_loss_with_margins_handed_out():
    x, y = batch()
    plus = ElasticFace(8, 6, std=0.1, plus=True, generator=torch.Generator().manual_seed(0)).double()
    plain = ElasticFace(8, 6, std=0.1, generator=torch.Generator().manual_seed(0)).double()
    put(plain, weight=plus.weight.detach())
    cos = cosines(plus, x)[range(12), y]
    order = torch.from_numpy(np.argsort(-cos))  # from easy to hard
    margins = plain.draw_margins(12).sort().values

    class Injected(ElasticFace):
        def draw_margins(self, batch_size):
            return margins

    by_hand = Injected(8, 6).double()
    put(by_hand, weight=plus.weight.detach())
    a, b = value_and_gradients(plus, x, y), value_and_gradients(by_hand, x[order], y[order])
    torch.testing.assert_close(a["loss"], b["loss"])
    torch.testing.assert_close(a["grad_weight"], b["grad_weight"])
