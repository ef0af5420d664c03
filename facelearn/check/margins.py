"""Checks of chapter 13: the family and where it breaks, a loss known by its boundary, a margin of one's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from facelearn.check.framework import Case, Exercise, Mistake, Text, curve
from facelearn.losses import ArcFace, CosFace
from facelearn.losses.sphereface import psi

# ---- ex1: the family, and where it turns up -------------------------------------------------------------------------


def _family(cos: Tensor, m1: float, m2: float, m3: float) -> tuple[Tensor, Tensor]:
    angle = m1 * cos.acos() + m2
    return angle.cos() - m3, angle > math.pi


def _members(generator: torch.Generator) -> Iterator[Case]:
    cos = 1.9 * torch.rand(64, generator=generator, dtype=torch.float64) - 0.95
    for members, name in (
        ((1.0, 0.5, 0.0), Text("ArcFace, m = 0.5", "ArcFace，m = 0.5")),
        ((1.0, 0.0, 0.35), Text("CosFace, m = 0.35", "CosFace，m = 0.35")),
        ((3.0, 0.0, 0.0), Text("a factor of 3", "倍数为 3")),
        ((1.0, 0.0, 0.0), Text("no margin", "没有间隔")),
        ((1.2, 0.3, 0.2), Text("m1 = 1.2, m2 = 0.3, m3 = 0.2", "m1 = 1.2，m2 = 0.3，m3 = 0.2")),
    ):
        yield Case(cos, *members, name=name)


def _agrees_with_the_losses(function: Callable[..., Any]) -> Text | None:
    """To 1e-12 what chapters 10 to 12 compute, each in its own way and without an arccos; finite at cos = ±1."""
    cos = torch.linspace(-0.999, 0.999, 401, dtype=torch.float64)
    sphere = psi(cos, 3.0)
    for name, members, wanted, where in (
        ("ArcFace", (1.0, 0.5, 0.0), ArcFace(2, 2, margin=0.5, beyond_pi="plain").target(cos, ()), cos > -2),
        ("CosFace", (1.0, 0.0, 0.35), CosFace(2, 2, margin=0.35).target(cos, ()), cos > -2),
        ("SphereFace", (3.0, 0.0, 0.0), sphere, cos.acos() <= math.pi / 3),
    ):
        target = function(cos, *members)[0]
        if (off := float((target - wanted)[where].abs().max())) > 1e-12:
            return Text(f"{name} differs by {off:.0e}: more than 1e-12", f"与 {name} 相差 {off:.0e}，超过了 1e-12")
    ends = torch.tensor([1 + 1e-7, -1 - 1e-7], dtype=torch.float64)
    if not function(ends, 1.0, 0.5, 0.0)[0].isfinite().all():
        return Text(
            "rounding can take a cosine to slightly above 1, and yours then gives NaN: clamp",
            "舍入可能使余弦略大于 1，这时你的函数给出 NaN：需要 clamp",
        )
    return None


ex1 = Exercise(
    "ex1",
    _family,
    _members,
    gradients=(0,),
    mistakes=[
        Mistake(
            lambda cos, m1, m2, m3: ((m1 * (cos.acos() + m2)).cos() - m3, m1 * (cos.acos() + m2) > math.pi),
            Text("m2 is added after the factor m1, not before", "m2 应在乘以 m1 之后再加，而不是之前"),
        ),
        Mistake(
            lambda cos, m1, m2, m3: (
                _family(cos, m1, math.radians(m2), 0)[0] - m3,
                _family(cos, m1, math.radians(m2), 0)[1],
            ),
            Text("m2 is taken for degrees; it is in radians", "把 m2 当成了度；它的单位是弧度"),
        ),
        Mistake(
            lambda cos, m1, m2, m3: (_family(cos, m1, m2, -m3)[0], _family(cos, m1, m2, m3)[1]),
            Text("m3 is taken off the cosine; yours adds it", "m3 是从余弦里减去的；你把它加上了"),
        ),
        Mistake(
            lambda cos, m1, m2, m3: (_family(cos, m1, m2, m3)[0], cos.acos() > math.pi / m1),
            Text(
                "the target is right, but the formula turns up where m1 θ + m2 reaches π: m2 moves that place",
                "目标正确；但公式是在 m1 θ + m2 到达 π 时掉头的：m2 会移动这个位置",
            ),
        ),
        Mistake(
            lambda cos, m1, m2, m3: (_family(cos, m1, m2, m3)[0], _family(cos, m1, m2, m3)[0] < -1),
            Text(
                "the target is right, but 'broken' asks where it turns up, not where it is below -1",
                "目标正确；但“失效”问的是它在哪里掉头上升，而不是哪里小于 -1",
            ),
        ),
    ],
    rules=[_agrees_with_the_losses],
)

# ---- ex2: a loss known by its boundary as drawn ---------------------------------------------------------------------

_STEMS = ("softmax", "sphereface", "cosface", "arcface", "mv_softmax", "curricularface")


def drawn(loss: str, theta2: Tensor, m: float, t: float) -> Tensor:
    """θ1 on the boundary as the papers draw it, in radians; NaN where there is none.  (n,) -> (n,)"""
    cos = theta2.cos()
    theta1: Tensor = {
        "softmax": lambda: theta2.clone(),
        "sphereface": lambda: theta2 / (1 + m),
        "cosface": lambda: (cos + 0.8 * m).acos(),
        "arcface": lambda: theta2 - m,
        "mv_softmax": lambda: ((1 + t) * cos + t).acos() - m,
        "curricularface": lambda: (cos * (t + cos)).acos() - m,
    }[loss]()
    return torch.where(theta1 >= 0, theta1, torch.nan)


def _names_all_six(function: Callable[[Tensor, Tensor], Any]) -> Text | None:
    generator = torch.Generator().manual_seed(0)
    right: dict[str, bool] = {}
    answers: dict[str, Any] = {}
    for _ in range(3):
        for loss in _STEMS:
            m, t = (low + high * float(torch.rand((), generator=generator)) for low, high in ((0.3, 0.3), (0.1, 0.3)))
            theta2 = torch.linspace(0.9, 1.9, 41, dtype=torch.float64)
            theta1 = drawn(loss, theta2, m, t)
            there = theta1.isfinite()
            answer = function(theta1[there], theta2[there])
            if answer not in _STEMS:
                return Text(
                    f"expected one of {', '.join(_STEMS)}, got {answer!r}",
                    f"应返回 {'、'.join(_STEMS)} 之一，得到的是 {answer!r}",
                )
            if right.setdefault(loss, True) and answer != loss:
                right[loss], answers[loss] = False, answer
    wrong = [loss for loss in _STEMS if not right[loss]]
    if not wrong:
        return None
    first, score = wrong[0], f"{6 - len(wrong)}/6"
    hints = {
        "softmax": Text("a factor of 1, or an arc of 0, is no margin", "倍数为 1 或弧长为 0，就是没有间隔"),
        "sphereface": Text("θ2 / θ1 is constant on its boundary", "它的边界上 θ2 / θ1 是常数"),
        "cosface": Text("cos θ1 - cos θ2 is constant on its boundary", "它的边界上 cos θ1 - cos θ2 是常数"),
        "arcface": Text(
            "θ2 - θ1 is constant on its boundary (t = 0 is ArcFace too: ask for the simplest first)",
            "它的边界上 θ2 - θ1 是常数（t = 0 也是 ArcFace：先试最简单的）",
        ),
        "mv_softmax": Text(
            "(1 + cos(θ1 + m)) / (1 + cos θ2) is constant, for one m that you have to look for",
            "对某个要找的 m，(1 + cos(θ1 + m)) / (1 + cos θ2) 是常数",
        ),
        "curricularface": Text(
            "cos(θ1 + m) = cos θ2 (t + cos θ2), for one m and t that you have to look for; "
            "do not divide by cos θ2, which passes 0",
            "对某组要找的 m 和 t，cos(θ1 + m) = cos θ2 (t + cos θ2)；不要除以 cos θ2，它会经过 0",
        ),
    }
    return Text(
        f"{score}: the boundary of {first} was taken for {answers[first]}. {hints[first].en}",
        f"{score}：把 {first} 的边界认成了 {answers[first]}。{hints[first].zh}",
    )


ex2 = Exercise("ex2", rules=[_names_all_six])

# ---- ex3: a margin of one's own -------------------------------------------------------------------------------------


def _is_a_margin(function: Callable[[Tensor], Any]) -> Text | None:
    angle = torch.linspace(0.0, math.pi, 20_001, dtype=torch.float64)
    value, slope = curve(function, angle.cos())
    jumps = value.diff().abs()
    if (jump := float(jumps.max())) > 0.02:
        where = math.degrees(float(angle[int(jumps.argmax())]))
        return Text(f"it jumps by {jump:.3f} at {where:.1f} degrees", f"它在 {where:.1f} 度处跳了 {jump:.3f}")
    if (value.diff() > 1e-12).any():
        where = math.degrees(float(angle[int((value.diff() > 1e-12).nonzero()[0])]))
        return Text(
            f"beyond {where:.1f} degrees it rises: a worse sample gets a better logit",
            f"从 {where:.1f} 度起它上升：更差的样本得到更高的 logit",
        )
    inside = (angle > 0.02) & (angle < math.pi - 0.02)
    if (value[inside].diff() > -1e-9).any():
        where = math.degrees(float(angle[inside][int((value[inside].diff() > -1e-9).nonzero()[0])]))
        return Text(
            f"it is flat near {where:.1f} degrees: no pull there", f"它在 {where:.1f} 度附近是平的：那里没有拉力"
        )
    if (value > angle.cos() + 1e-9).any() or float((angle.cos() - value).max()) < 0.05:
        return Text(
            "it must ask for more than no margin: nowhere above cos θ, and somewhere at least 0.05 below it",
            "它的要求必须比没有间隔更高：处处不高于 cos θ，并在某处至少低 0.05",
        )
    if (known := _known(angle, value)) is not None:
        return Text(f"this is {known}, which exists already", f"这就是 {known}，已经有了")
    if not (slope[inside] > 0).all():
        return Text("the values fall, but the gradient does not say so", "数值在下降，但梯度与之不符")
    return None


def _known(angle: Tensor, value: Tensor) -> str | None:
    """Which of the pure margins a target is, where none of them has reached π."""
    near = (angle > 0.2) & (angle < 1.2)
    theta, cos = angle[near], value[near].clamp(-1, 1)
    if float((theta.cos() - value[near]).std()) < 1e-6:
        return "CosFace"
    shift = cos.acos() - theta
    if float(value[near].abs().max()) < 1 and float(shift.std()) < 1e-6:
        return "ArcFace"
    if float(value[near].abs().max()) < 1 and float((cos.acos() / theta).std()) < 1e-6:
        return "SphereFace"
    return None


ex3 = Exercise("ex3", rules=[_is_a_margin])
