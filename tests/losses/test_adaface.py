import math

import numpy as np
import pytest
import torch

from facelearn.losses import AdaFace, ArcFace, CosFace
from tests.losses.conformance import (
    CASES,
    assert_matches_reference,
    batch,
    cosines,
    mean_surprise,
    put,
    reference,
    stored_value,
    value_and_gradients,
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_reference(case):
    """Statistics preset to (10, 3) and held; no clipping of angles."""

    def make(d, C):
        loss = AdaFace(d, C, momentum=0.0)
        put(loss, norm_mean=10.0, norm_std=3.0)
        return loss

    assert_matches_reference(make, "adaface", case, "paper")


def test_clipped_angles_are_another_loss_only_at_the_ends():
    pairs = {
        case: (stored_value("adaface", case, "paper"), stored_value("adaface", case, "with_code_clips"))
        for case in CASES
    }
    assert pairs["random_s0"][0] == pytest.approx(pairs["random_s0"][1], rel=1e-9)
    assert pairs["cos_pm1"][0] != pytest.approx(pairs["cos_pm1"][1], rel=1e-6)


@pytest.mark.parametrize("momentum", [0.01, 1.0])
def test_reference_over_three_steps(momentum):
    """The authors' own code: the statistics move first, with the unbiased standard deviation."""
    ref = reference("adaface", "steps")
    loss = AdaFace(32, 20, momentum=momentum).double()
    put(loss, weight=ref["weight"])
    for k in range(3):
        got = value_and_gradients(loss, ref[f"{k}/embeddings"], ref[f"{k}/labels"].long())
        stored = {
            name: ref[f"{k}/ema{momentum}/{name}"] for name in ("loss", "mean_after", "std_after", "grad_embeddings")
        }
        torch.testing.assert_close(got["loss"], stored["loss"].reshape(()), rtol=1e-9, atol=0)
        torch.testing.assert_close(loss.norm_mean, stored["mean_after"].reshape(()), rtol=1e-12, atol=0)
        torch.testing.assert_close(loss.norm_std, stored["std_after"].reshape(()), rtol=1e-12, atol=0)
        want = stored["grad_embeddings"]
        torch.testing.assert_close(got["grad_embeddings"], want, rtol=0, atol=1e-9 * float(want.abs().max()))


def test_second_derivation_over_steps():
    loss = AdaFace(8, 6, scale=8.0, margin=0.3, h=0.5, momentum=0.2).double()
    mean, std = 20.0, 100.0
    for seed in range(3):
        x, y = batch(seed)
        x = x * torch.linspace(0.01, 60, 12)[:, None]  # beyond 100 too
        n = np.clip(np.linalg.norm(x, axis=1), 1e-3, 100)
        mean, std = 0.2 * n.mean() + 0.8 * mean, 0.2 * n.std(ddof=1) + 0.8 * std
        logits = 8.0 * cosines(loss, x)
        for i, yi in enumerate(y.tolist()):
            z = min(1.0, max(-1.0, 0.5 * (n[i] - mean) / (std + 1e-3)))
            theta = math.acos(logits[i, yi] / 8.0)
            logits[i, yi] = 8.0 * (math.cos(theta - 0.3 * z) - (0.3 * z + 0.3))
        assert loss(x, y).item() == pytest.approx(mean_surprise(logits, y), rel=1e-10)
        assert (loss.norm_mean.item(), loss.norm_std.item()) == pytest.approx((mean, std), rel=1e-12)


def test_quality_trades_the_two_margins():
    """ẑ = -1 is ArcFace, ẑ = 0 CosFace, ẑ = 1 a negative angle and twice the additive margin."""
    x, y = batch()
    lengths = x.norm(dim=1, keepdim=True)
    loss = AdaFace(8, 6).double().eval()
    arcface = ArcFace(8, 6, margin=0.4, beyond_pi="plain").double()
    cosface = CosFace(8, 6, margin=0.4).double()
    for head in (arcface, cosface):
        put(head, weight=loss.weight.detach())
    put(loss, norm_mean=50.0, norm_std=1.0)
    torch.testing.assert_close(loss(x / lengths, y), arcface(x, y))
    torch.testing.assert_close(loss(50 * x / lengths, y), cosface(x, y))
    theta = torch.tensor([1.0], dtype=torch.float64)
    (good,) = loss.rows(torch.full((1, 8), 90.0), theta)
    assert good == 1
    assert loss.target(theta.cos(), (good,)).item() == pytest.approx(math.cos(1.0 - 0.4) - 0.8)


def test_concentration_zero_is_cosface():
    x, y = batch()
    loss, cosface = AdaFace(8, 6, h=0.0).double(), CosFace(8, 6, margin=0.4).double()
    put(loss, weight=cosface.weight.detach())
    torch.testing.assert_close(loss(x, y), cosface(x, y))


def test_length_gets_no_gradient():
    x, y = batch()
    got = value_and_gradients(AdaFace(8, 6).double(), x, y)["grad_embeddings"]
    assert (got * x).sum(1).abs().max() < 1e-12 * got.abs().max() * 100


def test_a_batch_of_one_leaves_the_spread_alone():
    loss = AdaFace(8, 6, momentum=0.5)
    x, y = batch(B=1, dtype=torch.float32)
    assert loss(x, y).isfinite()
    assert loss.norm_std == 100
    assert loss.norm_mean == pytest.approx(0.5 * x.norm().item() + 10)


def test_statistics_are_frozen_in_eval_and_restored():
    x, y = batch()
    loss, other = AdaFace(8, 6).double(), AdaFace(8, 6).double()
    loss(x, y)
    before = (loss.norm_mean.item(), loss.norm_std.item())
    assert before[0] != 20
    assert before[1] != 100
    loss.eval()(100 * x, y)
    assert (loss.norm_mean.item(), loss.norm_std.item()) == before
    other.load_state_dict(loss.state_dict())
    assert (other.norm_mean.item(), other.norm_std.item()) == before
