"""The checks of chapter 13 accept right answers, however written, and name what is wrong with others."""

import math

import pytest
import torch

from facelearn.check import margins as check
from facelearn.losses import ArcFace, CombinedMargin, CosFace
from tests.check.conformance import assert_named

# ---- right answers --------------------------------------------------------------------------------------------------


def with_acos(cos, m1, m2, m3):
    angle = m1 * cos.clamp(-1, 1).acos() + m2
    return angle.cos() - m3, angle > math.pi


def with_atan2(cos, m1, m2, m3):
    cos = cos.clamp(-1, 1)
    theta = torch.atan2(((1 - cos) * (1 + cos)).sqrt(), cos)
    return (m1 * theta + m2).cos() - m3, theta > (math.pi - m2) / m1


@pytest.mark.parametrize("answer", [with_acos, with_atan2])
def test_ex1_accepts(answer):
    assert check.ex1.examine(answer)


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


@pytest.mark.parametrize("answer", [by_invariants, by_differences])
def test_ex2_accepts(answer):
    assert check.ex2.examine(answer)


def half_way(cos):
    return cos - 0.2 * (1 - cos)


def squared(cos):
    return cos - 0.1 * (1 - cos) ** 2 - 0.05


@pytest.mark.parametrize("answer", [half_way, squared])
def test_ex3_accepts(answer):
    assert check.ex3.examine(answer)


@pytest.mark.parametrize("loss", check._STEMS)
def test_the_boundaries_that_are_shown_are_those_of_the_papers(loss):
    """Put back into the formulas: the target logit equals N_hard."""
    m, t = 0.4, 0.25
    theta2 = torch.linspace(0.9, 1.9, 11, dtype=torch.float64)
    theta1 = check.drawn(loss, theta2, m, t)
    c2 = theta2.cos()
    target, other = {
        "softmax": (theta1.cos(), c2),
        "sphereface": (((1 + m) * theta1).cos(), c2),
        "cosface": (theta1.cos() - 0.8 * m, c2),
        "arcface": ((theta1 + m).cos(), c2),
        "mv_softmax": ((theta1 + m).cos(), c2 + t * (c2 + 1)),
        "curricularface": ((theta1 + m).cos(), t * c2 + c2 * c2),
    }[loss]
    there = theta1.isfinite()
    assert int(there.sum()) >= 6
    torch.testing.assert_close(target[there], other[there])


# ---- planted wrong answers, and the word by which each is named ------------------------------------------------------

WRONG_1 = {
    "order": (lambda c, a, b, d: with_acos(c, a, a * b, d), "after the factor", "之后再加"),
    "degrees": (lambda c, a, b, d: with_acos(c, a, math.radians(b), d), "degrees", "度数"),
    "sign": (lambda c, a, b, d: (with_acos(c, a, b, -d)[0], with_acos(c, a, b, d)[1]), "adds it", "加上了"),
    "m2 forgotten": (
        lambda c, a, b, d: (with_acos(c, a, b, d)[0], c.acos() > math.pi / a),
        "m2 moves that place",
        "移动这个位置",
    ),
    "below -1": (
        lambda c, a, b, d: ((z := with_acos(c, a, b, d)[0]), z < -1),
        "not where it is below -1",
        "哪里小于 -1",
    ),
    "no clamp": (lambda c, a, b, d: ((a * c.acos() + b).cos() - d, a * c.acos() + b > math.pi), "clamp", "clamp"),
    "picked by if": (
        lambda c, a, b, d: (c - d, a * c.acos() + b > math.pi) if d > 0 else with_acos(c, a, b, d),
        "m1 = 1.2, m2 = 0.3, m3 = 0.2",
        "m1 = 1.2，m2 = 0.3，m3 = 0.2",
    ),
    "no gradient": (lambda c, a, b, d: tuple(v.detach() for v in with_acos(c, a, b, d)), "gradient", "梯度"),
}


@pytest.mark.parametrize("name", WRONG_1)
def test_ex1_names_what_is_wrong(name):
    answer, en, zh = WRONG_1[name]
    assert_named(check.ex1.examine(answer), en, zh)


def without_mining(theta1, theta2):
    return name if (name := by_invariants(theta1, theta2)) in check._STEMS[:4] else "arcface"


def without_softmax(theta1, theta2):
    return "sphereface" if by_invariants(theta1, theta2) == "softmax" else by_invariants(theta1, theta2)


WRONG_2 = {
    "always arcface": (lambda a, b: "arcface", "1/6", "1/6"),
    "no mining": (without_mining, "4/6: the boundary of mv_softmax was taken for arcface", "4/6：把 mv_softmax"),
    "softmax as a factor of 1": (without_softmax, "no margin", "没有间隔"),
    "a class name": (lambda a, b: "ArcFace", "expected one of softmax", "应返回 softmax"),
}


@pytest.mark.parametrize("name", WRONG_2)
def test_ex2_names_what_is_wrong(name):
    answer, en, zh = WRONG_2[name]
    assert_named(check.ex2.examine(answer), en, zh)


def beyond(rule):
    return lambda c: CombinedMargin(2, 2, m1=1.3, m2=0.3, m3=0.1, beyond_pi=rule).target(c, ())


WRONG_3 = {
    "turns up": (beyond("plain"), "it rises", "上升"),
    "flat": (beyond("clip"), "flat near", "平的"),
    "jumps": (lambda c: c - 0.1 - 0.3 * (c < 0), "jumps by 0.3", "跳了 0.3"),
    "no margin": (lambda c: c * 1.0, "more than no margin", "必须比没有间隔更高"),
    "rewards": (lambda c: c + 0.2 * (1 - c), "nowhere above", "处处不高于"),
    "CosFace": (lambda c: CosFace(2, 2, margin=0.3).target(c, ()), "CosFace", "CosFace"),
    "ArcFace": (lambda c: ArcFace(2, 2, margin=0.3, beyond_pi="linear").target(c, ()), "ArcFace", "ArcFace"),
    "detached": (lambda c: half_way(c).detach(), "no gradient", "传不回"),
    "acos": (lambda c: c - 0.05 * c.acos() ** 1.5, "not finite", "不是有限值"),
    "NaN": (lambda c: c - 0.1 * (c - 0.5).sqrt(), "NaN", "NaN"),
}


@pytest.mark.parametrize("name", WRONG_3)
def test_ex3_names_what_is_wrong(name):
    answer, en, zh = WRONG_3[name]
    assert_named(check.ex3.examine(answer), en, zh)


@pytest.mark.parametrize("exercise", [check.ex1, check.ex2, check.ex3])
def test_stubs_are_to_do(exercise):
    for stub in (lambda *inputs: ..., lambda *inputs: None):
        assert exercise.examine(stub).text.en == f"{exercise.name}: to do"
