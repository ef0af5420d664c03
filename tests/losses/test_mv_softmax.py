import math

import pytest
import torch

from facelearn.losses import ArcFace, CosFace, MVSoftmax
from tests.losses.conformance import (
    CASES,
    assert_matches_reference,
    assert_same,
    batch,
    cosines,
    mean_surprise,
    stored_value,
    value_and_gradients,
)  # fmt: skip


@pytest.mark.parametrize("case", [case for case in CASES if case != "single_class"])
@pytest.mark.parametrize("mode", ["adaptive", "fixed"])
@pytest.mark.parametrize("kind", ["arc", "am"])
def test_reference(kind, mode, case):
    """t as in the paper (0 is off), margin on all samples, no rule beyond π."""
    make = lambda d, C: MVSoftmax(d, C, kind=kind, mode=mode, scale=32.0, t=0.2)  # noqa: E731
    assert_matches_reference(make, "mv_softmax", case, f"{kind}_{mode}")


@pytest.mark.parametrize(("kind", "other"), [("arc", "easy_zero"), ("am", "easy_margin")])
def test_margin_on_easy_samples_only_is_another_loss(kind, other):
    paper = stored_value("mv_softmax", "random_s0", f"{kind}_adaptive")
    assert stored_value("mv_softmax", "random_s0", f"{kind}_{other}") != pytest.approx(paper, rel=0.01)


@pytest.mark.parametrize("mode", ["adaptive", "fixed"])
@pytest.mark.parametrize(
    ("kind", "other"),
    [("arc", lambda: ArcFace(8, 6, scale=32.0, beyond_pi="plain")), ("am", lambda: CosFace(8, 6, scale=32.0))],
)
def test_without_emphasis_it_is_the_plain_margin(kind, other, mode):
    assert_same(MVSoftmax(8, 6, kind=kind, mode=mode, t=0.0).double(), other().double(), *batch())


@pytest.mark.parametrize("mode", ["adaptive", "fixed"])
@pytest.mark.parametrize(("kind", "margin"), [("arc", None), ("arc", 0.2), ("am", None), ("am", 0.1)])
def test_second_derivation(kind, margin, mode):
    x, y = batch()
    loss = MVSoftmax(8, 6, kind=kind, margin=margin, mode=mode, scale=16.0, t=0.3).double()
    m = margin or {"arc": 0.5, "am": 0.35}[kind]
    cos, logits, hard = cosines(loss, x), [], 0
    for row, yi in zip(cos, y.tolist(), strict=True):
        f = math.cos(math.acos(row[yi]) + m) if kind == "arc" else row[yi] - m
        logits.append([])
        for j, c in enumerate(row):
            if j == yi:
                logits[-1].append(16.0 * f)
            elif c > f:
                hard += 1
                logits[-1].append(16.0 * (1.3 * c + 0.3 if mode == "adaptive" else c + 0.3))
            else:
                logits[-1].append(16.0 * c)
    assert 0 < hard < 60
    assert loss(x, y).item() == pytest.approx(mean_surprise(logits, y), rel=1e-10)


def test_hard_negatives_push_1_plus_t_times_as_hard():
    """∂others/∂c: 1 + t above the target, 1 below; "fixed" leaves it at 1."""
    target_cos = torch.tensor([[0.5]], dtype=torch.float64)
    for mode, above in (("adaptive", 1.3), ("fixed", 1.0)):
        loss = MVSoftmax(2, 3, t=0.3, mode=mode).double()
        cos = torch.tensor([[math.cos(math.acos(0.5) + 0.5) + 0.01, -0.5]], dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(loss.others(cos, target_cos, ()).sum(), cos)
        torch.testing.assert_close(slope, torch.tensor([[above, 1.0]], dtype=torch.float64))


def test_emphasis_never_lowers_the_loss():
    x, y = batch()
    values = []
    for t in (0.0, 0.1, 0.3, 1.0):
        torch.manual_seed(0)
        values.append(value_and_gradients(MVSoftmax(8, 6, t=t).double(), x, y)["loss"].item())
    assert values == sorted(values)
