"""Checks of chapter 18: MagFace's gradient by hand, margins handed out by hardness, where the order of norms turns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from facelearn.check.framework import Case, Exercise, Mistake, Text, by_autograd, detector
from facelearn.check.quiz import Quiz

S, LOWER, UPPER, LOW, HIGH, WEIGHT = 8.0, 1.0, 20.0, 0.2, 0.8, 5.0
SLOPE = (HIGH - LOW) / (UPPER - LOWER)

# ---- ex1: MagFace's gradient in x -----------------------------------------------------------------------------------


def _magface_gradient(x: Tensor, w: Tensor, rest: float, slip: str = "") -> Tensor:
    """(d,), (d,), the log-sum-exp of the rivals -> (d,)"""
    n = torch.linalg.vector_norm(x)
    a, inside = n.clamp(LOWER, UPPER), float(LOWER < n < UPPER)
    if slip == "no clamp":
        a, inside = n, 1.0
    if slip == "clamp pulls":
        inside = 1.0
    cos = (x / n) @ w
    bent = cos.arccos() + LOW + SLOPE * (a - LOWER)
    unsure = torch.sigmoid(rest - S * bent.cos())  # 1 - p
    if slip == "sure":
        unsure = 1 - unsure
    push = unsure * S * bent.sin()
    if slip == "no margin":
        push = unsure * S * (1 - cos * cos).sqrt()
    price = 0.0 if slip == "no price" else WEIGHT * (1 / UPPER**2 - 1 / (a if slip == "1/a" else a**2))
    slope = 1.0 if slip == "no K" else SLOPE
    along = (0.0 if slip == "margin held" else push * slope) + price
    across = -(w - cos * x / n) / ((1 - cos * cos).sqrt() * (1.0 if slip == "no 1/n" else n))
    if slip == "along alone":
        push = push * 0
    if slip == "across alone":
        inside = 0.0
    found = push * across + inside * along * x / n
    return -found if slip == "sign" else found


def _samples(generator: torch.Generator) -> Iterator[Case]:
    def unit(v: Tensor) -> Tensor:
        return v / torch.linalg.vector_norm(v)

    plans = (
        (4.0, 0.6, 5.7, Text("a norm within the range", "范数在区间之内的样本")),
        (2.0, 1.3, 3.0, Text("far from its class direction", "离类方向很远的样本")),
        (12.0, 0.1, 5.7, Text("near its class direction", "离类方向很近的样本")),
        (0.5, 0.7, 5.7, Text("a norm below l_a", "范数小于 l_a 的样本")),
        (27.0, 0.7, 5.7, Text("a norm above u_a", "范数大于 u_a 的样本")),
    )
    for norm, angle, rest, name in plans:
        w = unit(torch.randn(6, generator=generator, dtype=torch.float64))
        side = torch.randn(6, generator=generator, dtype=torch.float64)
        side = unit(side - (side @ w) * w)
        yield Case(norm * (math.cos(angle) * w + math.sin(angle) * side), w, rest, name=name)


def _by_hand(function: Callable[..., Any]) -> Text | None:
    w = torch.tensor([0.6, 0.8], dtype=torch.float64)
    if not by_autograd(function, torch.tensor([1.0, 4.0], dtype=torch.float64), w, 5.7):
        return None
    return Text(
        "the values are right, but they come from autograd; derive the gradient by hand",
        "数值正确，但它来自自动求导；请手工推导这个梯度",
    )


ex1 = Exercise(
    "ex1",
    _magface_gradient,
    _samples,
    mistakes=[
        Mistake(lambda x, w, rest, slip=slip: _magface_gradient(x, w, rest, slip), text)
        for slip, text in {
            "along alone": Text(
                "the part across is missing: x also turns, and θ changes with it",
                "少了侧向的部分：x 一转动，θ 就跟着变",
            ),
            "across alone": Text(
                "the part along x is missing: norm, margin and price change with a",
                "少了沿 x 的部分：范数变了，间隔和代价 g 都跟着变",
            ),
            "no 1/n": Text(
                "the part across is too large by the norm: an embedding twice as long turns half as much",
                "侧向部分多乘了范数：长度加倍的嵌入，同样的位移只转一半的角度",
            ),
            "sure": Text(
                "the push has the factor 1 - p, not p: a sample that is sure is left alone",
                "推力的因子是 1 - p，不是 p：有把握的样本不受推",
            ),
            "1/a": Text("the derivative of 1/a is -1/a², not -1/a", "1/a 的导数是 -1/a²，不是 -1/a"),
            "no K": Text("∂m/∂a is K, not 1", "∂m/∂a 是 K，不是 1"),
            "no price": Text("the price λ g(a) is missing", "少了代价 λ g(a) 的导数"),
            "margin held": Text(
                "the margin is held constant; along x it grows with a", "把间隔当成了常数；沿 x 方向它随 a 增大"
            ),
            "no margin": Text("the sine must be that of θ + m(a), not of θ", "正弦应取 θ + m(a)，而不是 θ"),
            "no clamp": Text(
                "outside the range a is constant: its margin stays, and nothing pulls along x",
                "区间之外 a 是常数：间隔不再变，沿 x 方向也没有力",
            ),
            "clamp pulls": Text(
                "outside the range the margin is right, but nothing pulls along x there",
                "区间之外的间隔算对了，但那里沿 x 方向不应再有力",
            ),
            "sign": Text(
                "the sign is wrong: a gradient points to where the loss grows", "符号反了：梯度指向损失增大的方向"
            ),
        }.items()
    ],
    rules=[_by_hand],
    rtol=1e-9,
    atol=1e-11,
)

# ---- ex2: margins handed out by hardness ----------------------------------------------------------------------------


def _by_rank(margins: Tensor, cos: Tensor) -> Tensor:
    return margins.sort().values[cos.argsort(descending=True).argsort()]


def _by_counting(margins: Tensor, cos: Tensor) -> Tensor:
    return margins.sort().values[(cos[:, None] < cos).sum(1)]


def _by_placing(margins: Tensor, cos: Tensor) -> Tensor:
    found = torch.empty_like(margins)
    found[cos.argsort()] = margins.sort(descending=True).values
    return found


def _halves(margins: Tensor, cos: Tensor) -> Tensor:
    """The hard half gets the upper half of the margins, in any order."""
    order, half = cos.argsort(descending=True), len(cos) // 2
    found = torch.empty_like(margins)
    found[order[:half]] = margins.sort().values[:half].flip(0)
    found[order[half:]] = margins.sort().values[half:].flip(0)
    return found


def _evenly(margins: Tensor, cos: Tensor) -> Tensor:
    """Equal steps from the smallest margin to the largest: the right order, but not the margins that were drawn."""
    rank = cos.argsort(descending=True).argsort()
    return margins.min() + (margins.max() - margins.min()) * rank / (len(cos) - 1)


def _first_right(margins: Tensor, cos: Tensor) -> Tensor:
    """The hardest sample gets the largest margin, the others stay."""
    found = margins.clone()
    hard, large = cos.argmin(), margins.argmax()
    found[hard], found[large] = margins[large], margins[hard]
    return found


def _by_angle_of(margins: Tensor, cos: Tensor) -> Tensor:
    """By |cos|: right as long as no cosine is negative."""
    return _by_rank(margins, cos.abs())


_SHOWN = [
    (_by_rank, Text("a right one, with ranks", "按名次写的正确实现")),
    (_by_counting, Text("a right one, which counts who is easier", "数有多少样本比自己容易的正确实现")),
    (
        _by_placing,
        Text("a right one, which puts sorted margins into their places", "把排好的间隔放到对应位置的正确实现"),
    ),
    (
        lambda margins, cos: margins.sort().values[cos.argsort(descending=True)],
        Text("the sorted margins taken at the order, not at the rank", "用排序的下标而不是名次去取排好的间隔"),
    ),
    (
        lambda margins, cos: margins.sort().values[cos.argsort().argsort()],
        Text("the easiest gets the largest margin", "最容易的样本分到最大的间隔"),
    ),
    (lambda margins, cos: margins, Text("the margins as they were drawn", "间隔原样不动")),
    (lambda margins, cos: margins.sort().values, Text("sorted margins, whatever the cosines", "只排间隔，不看余弦")),
    (
        _halves,
        Text("larger margins to the harder half, but not in order", "难的一半分到了较大的间隔，但这一半内的次序不对"),
    ),
    (_evenly, Text("the right order, but margins that were not drawn", "次序正确，但给出的不是抽到的间隔")),
    (_first_right, Text("the hardest sample alone is served right", "只有最难的那个样本分对了")),
    (_by_angle_of, Text("by |cos|: wrong where a cosine is negative", "按 |cos| 排：余弦为负时就错了")),
    (
        lambda margins, cos: margins.mean() + (margins - margins.mean()) * (cos < cos.median()),
        Text("the mean margin for the easy ones", "容易的样本一律用平均间隔"),
    ),
]

ex2 = Exercise(
    "ex2",
    rules=[
        detector(
            _SHOWN,
            3,
            if_rejected=Text(
                "it is right: what it hands out are the drawn margins, the largest to the smallest cosine",
                "它是对的：分出去的正是抽到的那些间隔，余弦越小间隔越大",
            ),
            if_passed=Text(
                "on which margins and cosines would it give something else than a right one?",
                "换成什么样的间隔和余弦，它的结果会与正确的不同？",
            ),
        )
    ],
)

# ---- ex3: the angle with the shortest norm --------------------------------------------------------------------------


def _norm(theta: float, lam: float, rest: float, sure: bool = True) -> float:
    """Where the norm comes to rest, by bisection between l_a and u_a."""
    low, high = LOWER, UPPER
    for _ in range(100):
        a = (low + high) / 2
        bent = theta + LOW + SLOPE * (a - LOWER)
        unsure = 1 / (1 + math.exp(S * math.cos(bent) - rest)) if sure else 1.0
        outwards = lam * (1 / a**2 - 1 / UPPER**2) - unsure * S * SLOPE * math.sin(bent)
        low, high = (a, high) if outwards > 0 else (low, a)
    return (low + high) / 2


def _turning_angle(lam: float, rest: float, slip: str = "") -> float:
    """Golden section on the angle; the norm is flat there, so the slope of the push is used instead."""
    if slip == "lower":
        return math.pi / 2 - LOW
    if slip == "upper":
        return math.pi / 2 - HIGH
    low, high = 0.2, math.pi - HIGH
    for _ in range(200):
        theta = (low + high) / 2
        a = _norm(theta, lam, rest, slip != "right angle")
        bent = theta + LOW + SLOPE * (a - LOWER)
        p = 1 / (1 + math.exp(rest - S * math.cos(bent))) if slip != "right angle" else 0.0
        rising = math.cos(bent) + S * p * math.sin(bent) ** 2 > 0  # of (1 - p) sin at this norm
        low, high = (theta, high) if rising else (low, theta)
    found = (low + high) / 2
    return math.degrees(found) if slip == "degrees" else found + (LOW if slip == "bent" else 0.0)


def _worlds(generator: torch.Generator) -> Iterator[Case]:
    yield Case(5.0, math.log(299), name=Text("the course's values", "本课程的取值"))
    yield Case(20.0, math.log(299), name=Text("a higher price", "较高的代价"))
    yield Case(5.0, 3.0, name=Text("fewer rivals", "较少的对手"))
    yield Case(50.0, 1.0, name=Text("a high price, hardly any rival", "很高的代价、极少的对手"))
    yield Case(10.0, 7.5, name=Text("many rivals", "很多的对手"))


ex3 = Exercise(
    "ex3",
    _turning_angle,
    _worlds,
    mistakes=[
        Mistake(lambda lam, rest, slip=slip: _turning_angle(lam, rest, slip), text)
        for slip, text in {
            "lower": Text(
                "this has the margin at l_a; at the rest it is m(a), and a depends on θ",
                "这里用的是 l_a 处的间隔；静止处的间隔是 m(a)，而 a 又随 θ 变",
            ),
            "upper": Text(
                "this has the margin at u_a; at the rest it is m(a), and a depends on θ",
                "这里用的是 u_a 处的间隔；静止处的间隔是 m(a)，而 a 又随 θ 变",
            ),
            "right angle": Text(
                "this is where θ + m(a) = 90°; but 1 - p rises on, so the push is largest a little beyond",
                "这是 θ + m(a) = 90° 的地方；但 1 - p 还在增大，所以向里的力最大处还要再往后一点",
            ),
            "degrees": Text("the angle is wanted in radians", "角度的单位请用弧度"),
            "bent": Text("this has a margin added; wanted is θ", "这里多加了间隔；题目要的是 θ"),
        }.items()
    ],
    rtol=4e-4,
)

quiz = Quiz("quality")
