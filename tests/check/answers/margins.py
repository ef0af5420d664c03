"""Chapter 13: right answers, each by another way than the check's own reference, and wrong ones."""

import math

import torch

from facelearn.check import margins as check
from facelearn.losses import ArcFace, CombinedMargin, CosFace

# ---- right answers --------------------------------------------------------------------------------------------------


def guarded(square):
    inside = square > 0
    return torch.where(inside, torch.where(inside, square, 1.0).sqrt(), 0.0)


def by_rotation(cos, k, m2, m3):
    """cos and sin of kθ + m2 by turning k times through θ, then through m2."""
    cos = cos.clamp(-1, 1)
    turned, across, sin = math.cos(m2) * torch.ones_like(cos), math.sin(m2) * torch.ones_like(cos), guarded(1 - cos**2)
    for _ in range(k):
        turned, across = turned * cos - across * sin, across * cos + turned * sin
    return turned - m3, cos < math.cos((math.pi - m2) / k)


def by_polynomials(cos, k, m2, m3):
    """Chebyshev's polynomials of both kinds: cos kθ = T_k(c), sin kθ = sin θ · U_{k-1}(c)."""
    cos = cos.clamp(-1, 1)
    first, second = {1: (cos, 1 + 0 * cos), 2: (2 * cos**2 - 1, 2 * cos), 3: (4 * cos**3 - 3 * cos, 4 * cos**2 - 1)}[k]
    sin = guarded((1 - cos) * (1 + cos))
    return first * math.cos(m2) - sin * second * math.sin(m2) - m3, cos < math.cos((math.pi - m2) / k)


def with_acos(cos, k, m2, m3):
    angle = k * cos.clamp(-1, 1).acos() + m2
    return angle.cos() - m3, angle > math.pi


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
    """Most in the middle: a polynomial that vanishes at both ends."""
    return cos - 0.12 * (1 - cos) * (1 + cos) ** 4


def by_its_margin(cos):
    """cos(θ + δ(θ)) with the δ that was ordered, a bell about 45 degrees."""
    theta = torch.atan2(guarded((1 - cos) * (1 + cos)), cos)
    return (theta + 0.4 * torch.exp(-(((theta - 0.8) / 0.42) ** 2))).cos()


# ---- planted wrong answers, and the word by which each is named ------------------------------------------------------


def unguarded(cos, k, m2, m3):
    turned, across = math.cos(m2) * torch.ones_like(cos), math.sin(m2) * torch.ones_like(cos)
    cos = cos.clamp(-1, 1)
    for _ in range(k):
        turned, across = turned * cos - across * (1 - cos**2).sqrt(), across * cos + turned * (1 - cos**2).sqrt()
    return turned - m3, cos < math.cos((math.pi - m2) / k)


def root_of_one_minus_square(cos, k, m2, m3):
    multiple = by_rotation(cos, k, 0.0, 0.0)[0]
    return multiple * math.cos(m2) - guarded(1 - multiple**2) * math.sin(m2) - m3, cos < math.cos((math.pi - m2) / k)


def without_mining(theta1, theta2):
    return name if (name := by_invariants(theta1, theta2)) in check._STEMS[:4] else "arcface"


def without_softmax(theta1, theta2):
    return "sphereface" if by_invariants(theta1, theta2) == "softmax" else by_invariants(theta1, theta2)


def beyond(rule):
    return lambda c: CombinedMargin(2, 2, m1=1.3, m2=0.3, m3=0.1, beyond_pi=rule).target(c, ())


RIGHT = {
    "ex1": [by_rotation, by_polynomials],
    "ex2": [by_invariants, by_differences],
    "ex3": [half_way, by_its_margin],
}
WRONG = {
    "ex1": [
        (lambda c, k, b, d: by_rotation(c, k, k * b, d), "after the factor"),
        (lambda c, k, b, d: by_rotation(c, k, math.radians(b), d), "degrees"),
        (lambda c, k, b, d: (by_rotation(c, k, b, -d)[0], by_rotation(c, k, b, d)[1]), "adds it"),
        (lambda c, k, b, d: (by_rotation(c, k, b, d)[0], c < math.cos(math.pi / k)), "m2 moves that place"),
        (lambda c, k, b, d: ((z := by_rotation(c, k, b, d)[0]), z < -1), "not where it is below -1"),
        (with_acos, "acos forms an angle"),
        (unguarded, "has an infinite derivative there"),
        (lambda c, k, b, d: by_rotation(c.clamp(-1 + 1e-7, 1 - 1e-7), k, b, d), "12 digits are asked for"),
        (root_of_one_minus_square, "once kθ has passed π"),
        (lambda c, k, b, d: tuple(v.detach() for v in by_rotation(c, k, b, d)), "gradient"),
    ],
    "ex2": [
        (lambda a, b: "arcface", "1/6"),
        (without_mining, "4/6: a boundary of mv_softmax was taken for arcface"),
        (without_softmax, "true of both"),
        (lambda a, b: "ArcFace", "expected one of softmax"),
    ],
    "ex3": [
        (beyond("plain"), "it rises"),
        (beyond("clip"), "flat near"),
        (lambda c: c - 0.1 - 0.3 * (c < 0), "jumps at"),
        (lambda c: c * 1.0, "at 45 degrees it asks for 0.0"),
        (lambda c: c + 0.2 * (1 - c), "above cos θ"),
        (lambda c: 2 * c - 1, "at 100 degrees"),
        (lambda c: 1.0001 * c - 0.2, "at 5 degrees"),
        (lambda c: CosFace(2, 2, margin=0.3).target(c, ()), "at 5 degrees"),
        (lambda c: ArcFace(2, 2, margin=0.3, beyond_pi="linear").target(c, ()), "at 5 degrees"),
        (lambda c: half_way(c).detach(), "no gradient"),
        (lambda c: c - 0.05 * c.acos() ** 1.5, "gradient at c = 1 is"),
        (lambda c: c - 0.1 * (c - 0.5).sqrt(), "the value at c = 0.499955 is nan"),
    ],
}
