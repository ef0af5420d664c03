"""Checks of chapter 10: the derivative of ψ, a test that finds a wrong staircase, the smallest λ that will do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from facelearn.check.framework import Case, Exercise, Mistake, Text, by_autograd, detector
from facelearn.check.quiz import Quiz
from facelearn.losses.sphereface import psi

# ---- ex1: ∂ψ/∂c without an angle ------------------------------------------------------------------------------------


def _slope(c: Tensor, m: int, *, slip: str = "") -> Tensor:
    """(-1)^k m U_{m-1}(c), by the recursion of sin mθ / sin θ; or with one slip.  (N,) -> (N,)"""
    before, now = torch.zeros_like(c), torch.ones_like(c)  # U_{-1}, U_0
    for _ in range(m - 1):
        before, now = now, 2 * c * now - before
    k = (m * c.clamp(-1, 1).acos() / math.pi).floor()
    k = k if slip == "last" else k.clamp(max=m - 1)
    sign = torch.ones_like(c) if slip == "no sign" else 1 - 2 * (k % 2)
    slope = sign * (1 if slip == "no factor" else m) * now
    return -slope * ((1 - c) * (1 + c)).sqrt() if slip == "angle" else slope


def _cosines(generator: torch.Generator) -> Iterator[Case]:
    for m in (2, 3, 5, 1, 8):
        c = 2 * torch.rand(64, generator=generator, dtype=torch.float64) - 1
        yield Case(c, m, name=Text(f"random cosines, m = {m}", f"随机余弦，m = {m}"))
    for m in (3, 4):
        name = Text(f"c = 1 and c = -1, m = {m}", f"c = 1 和 c = -1，m = {m}")
        yield Case(torch.tensor([1.0, -1.0], dtype=torch.float64), m, name=name)
        joins = torch.arange(1, m, dtype=torch.float64) * math.pi / m
        yield Case(joins.cos(), m, name=Text(f"the joins, m = {m}", f"各衔接处，m = {m}"))


def _no_tools(function: Any) -> Text | None:
    if not by_autograd(function, torch.linspace(-0.9, 0.9, 7, dtype=torch.float64), 3):
        return None
    return Text("right, but by autograd; write the derivative out", "结果正确，但用了自动求导；请把导数写出来")


ex1 = Exercise(
    "ex1",
    _slope,
    _cosines,
    mistakes=[
        Mistake(partial(_slope, slip=slip), text)
        for slip, text in {
            "no sign": Text(
                "this is the derivative of cos mθ, which turns back; ψ falls on every piece",
                "这是 cos mθ 的导数，它会掉头；ψ 在每一段上都下降",
            ),
            "no factor": Text("the factor m of the inner derivative is missing", "缺了内层求导得到的因子 m"),
            "angle": Text(
                "this is the derivative by θ; asked is that by c = cos θ", "这是对 θ 的导数；要求的是对 c 的导数"
            ),
            "last": Text(
                "at c = -1 the sign is wrong: θ = π still belongs to the last piece, k = m - 1",
                "c = -1 处符号错了：θ = π 仍属于最后一段，k = m - 1",
            ),
        }.items()
    ],
    rules=[_no_tools],
    rtol=1e-9,
    atol=1e-9,
)

# ---- ex2: a test that finds a wrong staircase -----------------------------------------------------------------------


def _stairs(cos: Tensor, m: int, *, kind: str) -> Tensor:
    """ψ, right or with one bug.  (N,) -> (N,)"""
    if kind == "polynomial":
        return psi(cos, m)
    if kind == "detached":
        return psi(cos.detach(), m) + 0 * cos
    theta = cos.clamp(-1, 1).acos()
    steps = m * (theta.rad2deg() if kind == "degrees" else theta).detach() / math.pi
    wrong = {"no k": 0 * steps, "rounded": steps.round(), "late": (steps - 0.5).floor().clamp(min=0)}
    k = wrong.get(kind, steps.floor()).clamp(max=m - 1)
    sign = 1 - 2 * (k % 2)
    if kind == "mirrored":
        return sign * (m * theta).cos()
    if kind == "half":
        return sign * (m * theta).cos() - k
    if kind == "always 4":
        return psi(cos, 4)
    return sign * (m * theta).cos() - 2 * k


_GIVEN = {
    "polynomial": Text("a right implementation, by polynomials", "一个正确的实现（用多项式）"),
    "arccos": Text("a right implementation, by arccos", "一个正确的实现（用 arccos）"),
    "no k": Text("cos mθ alone, which turns back", "只有 cos mθ，它会掉头"),
    "mirrored": Text("the sign (-1)^k without - 2k", "有符号 (-1)^k，却没有 - 2k"),
    "half": Text("- k in place of - 2k", "把 - 2k 写成了 - k"),
    "rounded": Text("k rounded, not rounded down", "k 取了四舍五入，而不是向下取整"),
    "late": Text("k rises in the middle of a piece", "k 在一段的中间才增加"),
    "degrees": Text("k from an angle in degrees", "用以度为单位的角度去算 k"),
    "always 4": Text("right for m = 4, and m = 4 whatever is asked", "不管给什么 m，都按 m = 4 计算"),
    "detached": Text("right values, but no gradient flows back", "数值正确，但梯度传不回去"),
}

ex2 = Exercise(
    "ex2",
    rules=[
        detector(
            [(partial(_stairs, kind=kind), words) for kind, words in _GIVEN.items()],
            right=2,
            if_rejected=Text(
                "is your value right, is there a tolerance, do you stay off the ends cos = ±1?",
                "你的数值对吗？留了容差吗？有没有避开 cos = ±1 的端点？",
            ),
            if_passed=Text(
                "at which angle and which m does it differ from ψ, in value or in gradient?",
                "它在哪个角度、哪个 m 上与 ψ 不同：数值还是梯度？",
            ),
        )
    ],
)

# ---- ex3: the smallest λ at which the embedding still grows ---------------------------------------------------------


def _least(theta: Tensor, m: int, r: float, *, slip: str = "") -> Tensor:
    """The smallest λ in [1, 100] with (λ cos θ + ψ(θ)) / (1 + λ) >= r, else 100; or with one slip.  (N,) -> (N,)"""
    cos = (theta.deg2rad() if slip == "degrees" else theta).cos()
    goal = (m * theta).cos() if slip == "no k" else psi(cos, m)
    room = cos if slip == "no share" else cos - r
    found = (r - goal) / torch.where(room == 0, 1e-300, room)
    if slip != "negative":
        found = torch.where((cos <= r) & (goal < r), torch.inf, found)
    return found.clamp(min=0 if slip == "no floor" else 1, max=torch.inf if slip == "no cap" else 100)


def _angles(generator: torch.Generator) -> Iterator[Case]:
    for m, r in ((2, 0.1), (4, 0.0), (3, -0.2), (1, 0.1)):
        theta = math.pi * torch.rand(64, generator=generator, dtype=torch.float64)
        yield Case(theta, m, r, name=Text(f"random angles, m = {m}, r = {r:g}", f"随机角度，m = {m}，r = {r:g}"))
    theta = torch.tensor([0.0, math.pi / 3, 1.4, math.pi / 2, 3.0, math.pi], dtype=torch.float64)
    yield Case(theta, 2, 0.1, name=Text("angles from 0 to π, m = 2, r = 0.1", "从 0 到 π 的角度，m = 2，r = 0.1"))


ex3 = Exercise(
    "ex3",
    _least,
    _angles,
    mistakes=[
        Mistake(partial(_least, slip=slip), text)
        for slip, text in {
            "negative": Text(
                "where cos θ <= r no λ will do; your division is negative there, which becomes 1 and not 100",
                "cos θ <= r 时没有哪个 λ 够用；你的除法在那里得到负数，于是成了 1，而不是 100",
            ),
            "no k": Text("cos mθ turns back; T has ψ in it", "cos mθ 会掉头；T 里用的是 ψ"),
            "no share": Text(
                "λ stands in the denominator of T too: r has to be multiplied by 1 + λ",
                "T 的分母里也有 λ：r 要乘上 1 + λ",
            ),
            "degrees": Text("the angles are in radians already", "角度已经是弧度"),
            "no floor": Text("λ may not go below 1", "λ 不能低于 1"),
            "no cap": Text("λ may not exceed 100", "λ 不能超过 100"),
        }.items()
    ],
)

quiz = Quiz("sphereface")
