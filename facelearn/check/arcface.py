"""Checks of chapter 12: a target that stays finite, a test that finds the bug, a rule for θ + m > π."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from facelearn.check.framework import Case, Exercise, Mistake, Text, curve, detector
from facelearn.check.quiz import Quiz

Target = Callable[[Tensor, Any], Tensor]
ArcFace = Callable[[Tensor, Tensor, Tensor, float, float], Tensor]

# ---- ex1: cos(θ + m) with one margin per sample, finite in value and slope ------------------------------------------


def _angle(cos: Tensor) -> Tensor:
    """θ in float64; arccos is harmless where no gradient is asked of it."""
    return cos.detach().double().clamp(-1, 1).acos()


def _target(cos: Tensor, margins: Tensor) -> Tensor:
    return (_angle(cos) + margins.double()).cos().to(cos.dtype)


def _targets(generator: torch.Generator) -> Iterator[Case]:
    cos = 1.9 * torch.rand(64, generator=generator, dtype=torch.float64) - 0.95
    margins = torch.rand(64, generator=generator, dtype=torch.float64)
    yield Case(cos, margins, name=Text("random cosines, a margin each", "随机余弦，每个样本各有间隔"))
    edges = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)
    yield Case(edges, torch.full_like(edges, 0.5), name=Text("cos = 1, -1, 0", "cos = 1、-1、0"))
    above = torch.tensor([1 + 2**-23, -1 - 2**-23], dtype=torch.float32)
    yield Case(
        above, torch.full_like(above, 0.5), name=Text("cos = ±1.0000001 in float32", "float32 的 cos = ±1.0000001")
    )


def _moved(cos: Tensor, margins: Tensor, inside: float, under: float) -> Tensor:
    """The two cures that move the value: cosines kept `inside` ±1, a constant `under` the root."""
    cos = cos.clamp(inside - 1, 1 - inside)
    return cos * margins.cos() - (1 - cos * cos + under).sqrt() * margins.sin()


def _slopes(function: Target) -> Text | None:
    """sin(θ + m) / sin θ inside; at ±1, where no slope is right, a finite one."""
    for value in (None, 1.0, -1.0):
        cos = (
            torch.linspace(-0.9, 0.9, 19, dtype=torch.float64) if value is None else torch.tensor([value] * 2).double()
        )
        margins = torch.linspace(0.1, 0.9, len(cos), dtype=torch.float64)
        target = function(cos.requires_grad_(), margins)
        if not target.requires_grad:
            return Text("the values are right, but no gradient flows back to cos", "数值正确，但梯度传不回 cos")
        (slope,) = torch.autograd.grad(target.sum(), cos)
        if not slope.isfinite().all():
            bad = float(slope[~slope.isfinite()][0])
            return Text(
                f"the value at cos = {value:g} is right, but the gradient there is {bad}: guard the slope of the root "
                "(acos, which the exercise rules out, has the same infinite slope)",
                f"cos = {value:g} 处数值正确，但梯度是 {bad}：sqrt 的导数需要防护"
                "（题目不让用的 acos 也有同样的无穷大导数）",
            )
        angle = _angle(cos)
        if value is None and not torch.allclose(slope, (angle + margins).sin() / angle.sin(), rtol=1e-4):
            return Text(
                "the values are right, but the gradient is not sin(θ+m)/sin θ (something detached?)",
                "数值正确，但梯度不等于 sin(θ+m)/sin θ（有什么被 detach 了吗？）",
            )
    return None


ex1 = Exercise(
    "ex1",
    _target,
    _targets,
    mistakes=[
        Mistake(
            lambda cos, m: _target(cos, -m),
            Text(
                "this is cos(θ - m): look at the sign in the addition theorem", "这是 cos(θ - m)：检查加法定理里的符号"
            ),
        ),
        Mistake(
            lambda cos, m: _target(cos, m.deg2rad()),
            Text("the margin is taken for degrees; it is in radians", "把间隔当成了度数（弧度误作度）"),
        ),
        Mistake(
            lambda cos, m: cos * m.cos() - (1 - cos.clamp(-1, 1) ** 2) * m.sin(),
            Text("sin θ is the root of 1 - cos²; the root is missing", "sin θ 是 1 - cos² 的平方根；缺了开方"),
        ),
        Mistake(
            lambda cos, m: cos.clamp(-1, 1) - m,
            Text("this takes m off the cosine: CosFace's target", "这是从余弦里减去 m：CosFace 的目标"),
        ),
        *(
            Mistake(
                partial(_moved, inside=inside, under=under),
                Text(
                    "a small constant is finite, but not small: near ±1 the root of 1e-7 already moves sin θ by "
                    "3e-4; clamp to ±1 and guard the slope alone",
                    "小常数带来了有限的值，却不小：在 ±1 附近，1e-7 开方之后已经让 sin θ 偏了 3e-4；"
                    "请只截断到 ±1，另外单独防护导数",
                ),
            )
            for size in (1e-5, 1e-6, 1e-7, 1e-8)
            for inside, under in ((size, 0.0), (0.0, size))
        ),
    ],
    rules=[_slopes],
    rtol=1e-5,
    atol=1e-5,
)

# ---- ex2: a test that tells right from wrong ------------------------------------------------------------------------


def _loss(x: Tensor, w: Tensor, y: Tensor, s: float, m: float, *, kind: str) -> Tensor:
    """ArcFace, right or with one bug."""
    cos = (F.normalize(x) @ F.normalize(w).T).clamp(-1, 1)  # (B, C)
    m = math.radians(m) if kind == "degrees" else m
    sin = ((1 - cos) * (1 + cos)).clamp(min=1e-12).sqrt()
    moved = cos * math.cos(m) - sin * math.sin(m)
    if kind == "mm":
        moved = torch.where(cos > -math.cos(m), moved, cos - m * math.sin(m))
    own = F.one_hot(y, len(w)).bool()
    where = torch.ones_like(own) if kind == "all" else torch.zeros_like(own) if kind == "lost" else own
    return F.cross_entropy(s * torch.where(where, moved, cos), y)


def _implementation(kind: str) -> ArcFace:
    return lambda x, w, y, s, m: _loss(x, w, y, s, m, kind=kind)


_GIVEN = {
    "mm": Text(
        "a right implementation, which beyond θ + m = π goes on with cos θ - m sin m",
        "一个正确的实现（θ + m 超过 π 后取 cos θ - m sin m）",
    ),
    "plain": Text(
        "a right implementation, which beyond θ + m = π does nothing special",
        "一个正确的实现（θ + m 超过 π 后不作处理）",
    ),
    "lost": Text("the margin is computed, but never reaches the cross-entropy", "间隔算了，却没有进入交叉熵"),
    "degrees": Text("the margin is taken for degrees", "把间隔当成了度数（弧度误作度）"),
    "all": Text("the margin is added for every class, not for the target alone", "对所有类都加了间隔，而不只是目标类"),
}
_catches_bugs = detector(
    [(_implementation(kind), words) for kind, words in _GIVEN.items()],
    right=2,
    if_rejected=Text(
        "does it stay below π, allow a tolerance, compare with the right value?",
        "取样没有越过 π 吗？留了容差吗？用来比较的值对吗？",
    ),
    if_passed=Text("with a large s the loss is 0 for any of them", "s 太大时，它们的损失都是 0"),
)

ex2 = Exercise("ex2", rules=[_catches_bugs])

# ---- ex3: a continuous, falling rule beyond π -----------------------------------------------------------------------


def _falls_on(function: Callable[[Tensor, float], Tensor]) -> Text | None:
    for m in (0.2, 0.5, 1.0):
        angle = torch.linspace(0.01, math.pi - 0.01, 4001, dtype=torch.float64)
        value, slope = curve(function, angle.cos(), m)
        join = angle + m > math.pi
        if not torch.allclose(value[~join], (angle[~join] + m).cos(), atol=1e-5):
            return Text("up to θ + m = π it must stay cos(θ + m)", "在 θ + m ≤ π 处必须仍是 cos(θ + m)")
        jump = float(value[join][0] - value[~join][-1])
        if abs(jump) > 0.01:
            return Text(
                f"at m = {m:g} the target jumps by {jump:+.3f} at the join; it must be continuous",
                f"m = {m:g} 时目标在衔接处跳了 {jump:+.3f}；它必须连续",
            )
        steps = value[join].diff()
        if (steps > 1e-12).any():
            return Text(
                "beyond π the target rises: the worst samples are rewarded",
                "超过 π 之后目标上升：最差的样本反而得到奖励",
            )
        if (steps > -1e-9).any():
            return Text(
                "beyond π the target is flat: its own term has no gradient", "超过 π 之后目标是平的：目标项没有梯度"
            )
        if not (slope[join] > 0).all():
            return Text(
                "the values fall, but the gradient beyond π does not say so", "数值在下降，但 π 之后的梯度与之不符"
            )
        curve(function, torch.tensor([1.0, -1.0], dtype=torch.float64), m)  # finite there too
    return None


ex3 = Exercise("ex3", rules=[_falls_on])

quiz = Quiz("arcface")
