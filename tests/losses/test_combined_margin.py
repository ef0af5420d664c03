import math

import pytest
import torch

from facelearn.losses import ArcFace, CombinedMargin, CosFace, NormFace, SphereFace
from facelearn.losses.margin import BEYOND_PI
from tests.losses.conformance import (
    assert_matches_reference,
    assert_same,
    batch,
    cosines,
    mean_surprise,
    stored_value,
)  # fmt: skip

CASES = ("random_s0", "near_centre", "opposite", "theta_sweep")


@pytest.mark.parametrize("case", CASES)
def test_reference(case):
    """The paper's (1, 0.3, 0.2), nothing done beyond π."""
    make = lambda d, C: CombinedMargin(d, C, m1=1.0, m2=0.3, m3=0.2)  # noqa: E731
    assert_matches_reference(make, "combined_margin", case, "1_0.3_0.2_plain")


@pytest.mark.parametrize("case", CASES)
def test_reference_with_a_factor(case):
    make = lambda d, C: CombinedMargin(d, C, m1=0.9, m2=0.4, m3=0.15)  # noqa: E731
    assert_matches_reference(make, "combined_margin", case, "0.9_0.4_0.15_plain")


def test_keeping_only_m3_is_another_loss():
    """What a well-known implementation returns for (1, 0.3, 0.2): CosFace."""
    got = stored_value("combined_margin", "random_s0", "1_0.3_0.2_cos_m3_only")
    assert stored_value("combined_margin", "random_s0", "1_0.3_0.2_plain") > 1.5 * got


@pytest.mark.parametrize(
    ("settings", "other"),
    [
        ({"m2": 0.0, "m3": 0.0}, lambda: NormFace(8, 6, scale=64.0)),
        ({"m2": 0.0, "m3": 0.35}, lambda: CosFace(8, 6)),
        *(
            ({"m2": 0.5, "m3": 0.0, "beyond_pi": rule}, lambda rule=rule: ArcFace(8, 6, beyond_pi=rule))
            for rule in BEYOND_PI
        ),
    ],
    ids=["normface", "cosface", *(f"arcface-{rule}" for rule in BEYOND_PI)],
)
def test_corners(settings, other):
    assert_same(CombinedMargin(8, 6, **settings).double(), other().double(), *batch())


@pytest.mark.parametrize("m1", [2, 3])
def test_factor_alone_is_spherefaces_psi_up_to_pi_over_m(m1):
    cos = torch.linspace(math.cos(math.pi / m1) + 1e-6, 1, 50, dtype=torch.float64)
    combined = CombinedMargin(2, 2, m1=m1, m2=0.0, m3=0.0).double()
    sphere = SphereFace(2, 2, margin=m1, scale=30.0).double()
    torch.testing.assert_close(combined.target(cos, ()), sphere.target(cos, ()), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("m1", "rule"), [(1.0, "mm"), *((m1, rule) for m1 in (0.9, 1.0, 1.35, 2.0) for rule in ("plain", "clip", "linear"))]
)
def test_second_derivation(m1, rule):
    x, y = batch(B=40)
    loss = CombinedMargin(8, 6, scale=16.0, m1=m1, m2=0.4, m3=0.15, beyond_pi=rule).double()
    cos = cosines(loss, x)
    logits, beyond = 16.0 * cos, 0
    for i, yi in enumerate(y.tolist()):
        theta = math.acos(cos[i, yi])
        target = math.cos(m1 * theta + 0.4)
        if m1 * theta + 0.4 > math.pi:
            beyond += 1
            join = math.cos((math.pi - 0.4) / m1)
            mm = cos[i, yi] - 0.4 * math.sin(0.4)
            target = {"plain": target, "mm": mm, "clip": -1.0, "linear": cos[i, yi] - (1 + join)}[rule]
        logits[i, yi] = 16.0 * (target - 0.15)
    assert loss(x, y).item() == pytest.approx(mean_surprise(logits, y), rel=1e-10)
    assert beyond > 0 or m1 < 1.3


@pytest.mark.parametrize("m1", [0.9, 1.0, 1.35])
def test_shape_of_the_rules_beyond_pi(m1):
    """linear falls without a jump, clip is flat, plain turns up."""
    cos = torch.linspace(0, math.pi, 4001, dtype=torch.float64).cos()
    for rule, falling in (("linear", True), ("clip", True), ("plain", False)):
        target = CombinedMargin(2, 2, m1=m1, m2=0.5, m3=0.1, beyond_pi=rule).double().target(cos, ())
        assert bool((target.diff() <= 1e-12).all()) == falling, rule
        assert target.diff().abs().max() < 3 * math.pi / 4000, rule
        assert target[0] == pytest.approx(math.cos(0.5) - 0.1)
