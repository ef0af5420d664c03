import math

import pytest
import torch

from facelearn.losses import CurricularFace
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


@pytest.mark.parametrize("case", [case for case in CASES if case != "single_class"])
@pytest.mark.parametrize("rule", ["mm", "plain"])
@pytest.mark.parametrize("t", [0.0, 0.3])
def test_reference(t, rule, case):
    """The new batch weighs 0.01, and t has moved before it is used."""

    def make(d, C):
        loss = CurricularFace(d, C, beyond_pi=rule).double()
        put(loss, t=t)
        return loss

    loss = assert_matches_reference(make, "curricularface", case, f"t{t}_{rule}")
    want = reference("curricularface", case)[f"t{t}_{rule}/t_new"]
    torch.testing.assert_close(loss.t, want.reshape(()), rtol=1e-12, atol=1e-15)


def test_reference_over_four_steps():
    """The authors' own code, t from 0 on ("mm")."""
    ref = reference("curricularface", "steps")
    loss = CurricularFace(32, 12, beyond_pi="mm").double()
    put(loss, weight=ref["weight"])
    for k in range(4):
        got = value_and_gradients(loss, ref[f"{k}/embeddings"], ref[f"{k}/labels"].long())
        torch.testing.assert_close(got["loss"], ref[f"{k}/loss"].reshape(()), rtol=1e-9, atol=0)
        torch.testing.assert_close(loss.t, ref[f"{k}/t_after"].reshape(()), rtol=1e-12, atol=0)
        for name in ("grad_embeddings", "grad_weight"):
            want = ref[f"{k}/{name}"]
            torch.testing.assert_close(got[name], want, rtol=0, atol=1e-7 * float(want.abs().max()))


def test_momentum_as_printed_in_the_paper_is_another_loss():
    ours, paper = (stored_value("curricularface", "random_s0", f"t0.3_plain{k}") for k in ("", "_a0.99_paper_text"))
    assert ours != pytest.approx(paper, rel=1e-3)


def test_second_derivation_over_steps():
    loss = CurricularFace(8, 6, scale=8.0, margin=0.3, momentum=0.25, beyond_pi="plain").double()
    t = 0.0
    for seed in range(4):
        x, y = batch(seed)
        cos, logits = cosines(loss, x), []
        t = 0.25 * sum(cos[range(12), y]) / 12 + 0.75 * t
        for row, yi in zip(cos, y.tolist(), strict=True):
            T = math.cos(math.acos(row[yi]) + 0.3)
            logits.append([8.0 * (T if j == yi else c if c <= T else c * (t + c)) for j, c in enumerate(row)])
        assert loss(x, y).item() == pytest.approx(mean_surprise(logits, y), rel=1e-10)
        assert loss.t.item() == pytest.approx(t, rel=1e-10)


def test_state_is_frozen_in_eval_and_by_momentum_zero():
    x, y = batch()
    loss = CurricularFace(8, 6).double()
    loss(x, y)
    before = loss.t.clone()
    loss.eval()(x, y)
    assert torch.equal(loss.t, before)
    assert before != 0
    loss.train().momentum = 0.0
    loss(x, y)
    assert torch.equal(loss.t, before)
    other = CurricularFace(8, 6).double()
    other.load_state_dict(loss.state_dict())
    assert torch.equal(other.t, before)


def test_slope_of_hard_negatives_is_t_plus_2c_and_can_be_negative():
    loss = CurricularFace(2, 3).double()
    target_cos = torch.tensor([[-0.9]], dtype=torch.float64)  # everything below counts as hard
    c = torch.tensor([[-0.5, -0.15, -0.05, 0.4]], dtype=torch.float64, requires_grad=True)
    t = torch.tensor([[0.2]], dtype=torch.float64)
    (slope,) = torch.autograd.grad(loss.others(c, target_cos, (t,)).sum(), c)
    torch.testing.assert_close(slope, (0.2 + 2 * c).detach())
    assert (slope < 0).tolist() == [[True, True, False, False]]


def test_at_the_start_half_of_the_hard_negatives_are_pulled_closer():
    """64 dimensions, 300 classes, random: nearly all negatives are hard, and every other slope is negative."""
    torch.manual_seed(0)
    loss = CurricularFace(64, 300)
    x, y = torch.randn(128, 64), torch.randint(300, (128,))
    cos = torch.from_numpy(cosines(loss, x)).requires_grad_()
    target_cos = cos.detach().gather(1, y[:, None])
    others = loss.others(cos, target_cos, (torch.zeros(128, 1),))
    hard = others.detach() != cos.detach()
    (slope,) = torch.autograd.grad(others.sum(), cos)
    assert hard.float().mean() > 0.97
    assert (slope[hard] < 0).float().mean() == pytest.approx(0.5, abs=0.05)


def test_t_grows_as_training_succeeds():
    torch.manual_seed(0)
    loss = CurricularFace(8, 6, momentum=0.2)
    x, y = batch(dtype=torch.float32)
    optimizer = torch.optim.Adam([x.requires_grad_(), *loss.parameters()], lr=0.1)
    for _ in range(40):
        optimizer.zero_grad()
        loss(x, y).backward()
        optimizer.step()
    assert loss.t > 0.5
