"""Chapter 13: right answers, each by another way than the check's own reference, and wrong ones."""

import math

import torch

from facelearn.check import margins as check
from facelearn.losses import ArcFace, CombinedMargin, CosFace

# ---- right answers --------------------------------------------------------------------------------------------------


def with_acos(cos, m1, m2, m3):
    angle = m1 * cos.clamp(-1, 1).acos() + m2
    return angle.cos() - m3, angle > math.pi


def with_atan2(cos, m1, m2, m3):
    cos = cos.clamp(-1, 1)
    theta = torch.atan2(((1 - cos) * (1 + cos)).sqrt(), cos)
    return (m1 * theta + m2).cos() - m3, theta > (math.pi - m2) / m1


def by_invariants(theta1, theta2):
    """What is constant on each boundary; the two that need an m look for it."""
    c1, c2 = theta1.cos(), theta2.cos()
    if torch.allclose(theta1, theta2):
        return "softmax"
    for name, constant in (("sphereface", theta2 / theta1), ("cosface", c1 - c2), ("arcface", theta2 - theta1)):
        if constant.std() < 1e-9:
            return name
    f = (theta1 + torch.linspace(0.1, 0.9, 4001, dtype=torch.float64)[:, None]).cos()  # (4001, n)
    mv = ((1 + f) / (1 + c2)).std(1).min()
    t = ((f - c2 * c2) * c2).sum(1, keepdim=True) / (c2 * c2).sum()
    return "mv_softmax" if mv < (f - c2 * (t + c2)).std(1).min() else "curricularface"


def by_differences(theta1, theta2):
    """dcos θ1 against dcos θ2 instead: slopes of the boundary."""
    ratio = theta1.diff() / theta2.diff()
    if (ratio - 1).abs().max() < 1e-9:
        return "softmax" if (theta1 - theta2).abs().max() < 1e-9 else "arcface"
    if ratio.std() < 1e-9:
        return "sphereface"
    return by_invariants(theta1, theta2)


def half_way(cos):
    return cos - 0.2 * (1 - cos)


def squared(cos):
    return cos - 0.1 * (1 - cos) ** 2 - 0.05


# ---- planted wrong answers, and the word by which each is named ------------------------------------------------------


def without_mining(theta1, theta2):
    return name if (name := by_invariants(theta1, theta2)) in check._STEMS[:4] else "arcface"


def without_softmax(theta1, theta2):
    return "sphereface" if by_invariants(theta1, theta2) == "softmax" else by_invariants(theta1, theta2)


def beyond(rule):
    return lambda c: CombinedMargin(2, 2, m1=1.3, m2=0.3, m3=0.1, beyond_pi=rule).target(c, ())


RIGHT = {
    "ex1": [with_acos, with_atan2],
    "ex2": [by_invariants, by_differences],
    "ex3": [half_way, squared],
}
WRONG = {
    "ex1": [
        (lambda c, a, b, d: with_acos(c, a, a * b, d), "after the factor"),
        (lambda c, a, b, d: with_acos(c, a, math.radians(b), d), "degrees"),
        (lambda c, a, b, d: (with_acos(c, a, b, -d)[0], with_acos(c, a, b, d)[1]), "adds it"),
        (lambda c, a, b, d: (with_acos(c, a, b, d)[0], c.acos() > math.pi / a), "m2 moves that place"),
        (lambda c, a, b, d: ((z := with_acos(c, a, b, d)[0]), z < -1), "not where it is below -1"),
        (lambda c, a, b, d: ((a * c.acos() + b).cos() - d, a * c.acos() + b > math.pi), "clamp"),
        (
            lambda c, a, b, d: (c - d, a * c.acos() + b > math.pi) if d > 0 else with_acos(c, a, b, d),
            "m1 = 1.2, m2 = 0.3, m3 = 0.2",
        ),
        (lambda c, a, b, d: tuple(v.detach() for v in with_acos(c, a, b, d)), "gradient"),
    ],
    "ex2": [
        (lambda a, b: "arcface", "1/6"),
        (without_mining, "4/6: the boundary of mv_softmax was taken for arcface"),
        (without_softmax, "no margin"),
        (lambda a, b: "ArcFace", "expected one of softmax"),
    ],
    "ex3": [
        (beyond("plain"), "it rises"),
        (beyond("clip"), "flat near"),
        (lambda c: c - 0.1 - 0.3 * (c < 0), "jumps by 0.3"),
        (lambda c: c * 1.0, "more than no margin"),
        (lambda c: c + 0.2 * (1 - c), "nowhere above"),
        (lambda c: CosFace(2, 2, margin=0.3).target(c, ()), "CosFace"),
        (lambda c: ArcFace(2, 2, margin=0.3, beyond_pi="linear").target(c, ()), "ArcFace"),
        (lambda c: half_way(c).detach(), "no gradient"),
        (lambda c: c - 0.05 * c.acos() ** 1.5, "gradient at c = 1 is"),
        (lambda c: c - 0.1 * (c - 0.5).sqrt(), "the value at c = 0.499955 is nan"),
    ],
}
