"""Checks of chapter 12: the gradient by hand, a test that finds the bug, a rule for θ + m > π."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from facelearn.check.framework import Case, Exercise, Mistake, Text, by_autograd, called_by, curve, detector
from facelearn.check.quiz import Quiz
from facelearn.losses import ArcFace

Loss = Callable[[Tensor, Tensor, Tensor, float, float], Tensor]

# ---- ex1: ∂L/∂x of one sample, by hand ------------------------------------------------------------------------------


def _gradient(x: Tensor, w: Tensor, y: int, s: float, m: float) -> Tensor:
    """By the library and autograd.  (d,), (C, d) -> (d,)"""
    head = ArcFace(w.shape[1], len(w), scale=s, margin=m).to(w.dtype)
    head.weight.data = w
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(head(x[None], torch.tensor([y])), x)[0]


def _samples(generator: torch.Generator) -> Iterator[Case]:
    for s, m, name in (
        (4.0, 0.5, Text("a random sample, s = 4, m = 0.5", "随机样本，s = 4，m = 0.5")),
        (16.0, 0.3, Text("a random sample, s = 16, m = 0.3", "随机样本，s = 16，m = 0.3")),
        (8.0, 0.0, Text("a random sample, m = 0", "随机样本，m = 0")),
    ):
        w = torch.randn(5, 6, generator=generator, dtype=torch.float64)
        x = torch.randn(6, generator=generator, dtype=torch.float64) + w[2]  # less than 90 degrees from its class
        yield Case(x, w, 2, s, m, name=name)


def _by_hand(x: Tensor, w: Tensor, y: int, s: float, m: float, *, slip: str) -> Tensor:
    """The gradient put together by the chapter's steps, with one slip."""
    m = math.radians(m) if slip == "degrees" else m
    length, w_hat = x.norm(), w if slip == "raw weights" else F.normalize(w)
    x_hat = x / length
    cos = w_hat @ x_hat  # (C,)
    theta, own = cos[y].clamp(-1, 1).acos(), F.one_hot(torch.tensor(y), len(w)).double()
    target = torch.where(own > 0, (theta + m).cos(), cos)
    p = (s * (cos if slip == "plain p" else target)).softmax(0)
    by_cos = torch.where(own > 0, (theta + m).sin() / theta.sin(), 1.0) if slip != "detached" else torch.ones_like(cos)
    weight = (p - own) * by_cos * (own if slip == "target only" else 1)
    along = w_hat if slip == "no projection" else w_hat - cos[:, None] * x_hat
    gradient = (1 if slip == "no scale" else s) * weight @ along / (1 if slip == "no length" else length)
    return -gradient if slip == "sign" else gradient


def _without_autograd(function: Callable[..., Any]) -> Text | None:
    """Still right where autograd is switched off; and finite for a sample on its own class direction."""
    w = torch.eye(3, dtype=torch.float64)
    x = torch.tensor([1.0, 0.5, 0.2], dtype=torch.float64)
    if by_autograd(function, x, w, 0, 8.0, 0.5):
        return Text(
            "the values are right, but they come from autograd; put them together from steps 6 to 8",
            "数值正确，但它来自自动求导；请用第 6 到第 8 步自己拼出来",
        )
    if not function(2 * w[0], w, 0, 8.0, 0.5).isfinite().all():
        return Text(
            "for x on its own class direction the gradient is not finite: where is 0 divided by 0?",
            "x 恰在自己的类方向上时，梯度不是有限值：哪里出现了 0 除以 0？",
        )
    return None


ex1 = Exercise(
    "ex1",
    _gradient,
    _samples,
    mistakes=[
        Mistake(partial(_by_hand, slip=slip), text)
        for slip, text in {
            "sign": Text("this is the way x moves; the gradient is its opposite", "这是 x 移动的方向；梯度与它相反"),
            "degrees": Text("the margin is taken for degrees; it is in radians", "把 m 当成了度；它的单位是弧度"),
            "no length": Text("the length of x is missing: see step 7", "缺了 x 的范数：见第 7 步"),
            "no scale": Text("the logits are s times the cosines: an s is missing", "logit 是余弦的 s 倍：缺了 s"),
            "target only": Text(
                "this is the own class's pull alone; the other classes push too", "这只是自己类的拉力；其他类也在推"
            ),
            "detached": Text(
                "the derivative ∂T/∂c of step 6 is missing: this is what a detached margin gives",
                "缺了第 6 步的导数 ∂T/∂c：这是 detach 了间隔才有的梯度",
            ),
            "plain p": Text(
                "p is the softmax of the logits with the margin in them; yours has none", "p 应由带间隔的 logit 算出"
            ),
            "no projection": Text(
                "∂c/∂x is not ŵ/‖x‖: moving along x changes no angle (step 7)",
                "∂c/∂x 不是 ŵ/‖x‖：沿 x 移动不改变夹角（第 7 步）",
            ),
            "raw weights": Text("the class weights are not divided by their norms", "类权重没有除以各自的范数"),
        }.items()
    ],
    rules=[_without_autograd],
    rtol=1e-9,
    atol=1e-12,
)

# ---- ex2: a test that tells right from wrong ------------------------------------------------------------------------


def _loss(x: Tensor, w: Tensor, y: Tensor, s: float, m: float, *, kind: str) -> Tensor:
    """ArcFace, right or with one bug."""
    cos = ((x if kind == "raw" else F.normalize(x)) @ F.normalize(w).T).clamp(-1, 1)  # (B, C)
    m = {"degrees": math.radians(m), "minus": -m, "double": 2 * m, "lost": 0.0}.get(kind, m)
    sin = ((1 - cos) * (1 + cos)).clamp(min=1e-12).sqrt()
    moved = cos - m if kind == "cosface" else cos * math.cos(m) - sin * math.sin(m)
    if kind == "mm":
        moved = torch.where(cos > -math.cos(m), moved, cos - m * math.sin(m))
    own = F.one_hot(y, len(w)).bool()
    return F.cross_entropy(s * torch.where(own | (kind == "all"), moved, cos), y)


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
    "degrees": Text("the margin is taken for degrees", "把 m 当成了度；它的单位是弧度"),
    "all": Text("the margin is added for every class, not for the target alone", "对所有类都加了间隔，而不只是目标类"),
    "cosface": Text("m is taken off the cosine: that is CosFace", "从余弦里减去了 m：那是 CosFace"),
    "minus": Text("cos(θ - m) in place of cos(θ + m); at θ = 0 they are equal", "写成了 cos(θ - m)；θ = 0 时相等"),
    "double": Text("the margin is added twice", "间隔加了两次"),
    "raw": Text("the embedding is not divided by its norm", "嵌入没有除以范数"),
}
_catches_bugs = detector(
    [(partial(_loss, kind=kind), words) for kind, words in _GIVEN.items()],
    right=2,
    if_rejected=Text(
        "is the value you compare with right, is there a tolerance, does θ + m stay below π?",
        "用来比较的值对吗？留了容差吗？θ + m 没有超过 π 吗？",
    ),
    if_passed=Text(
        "does this bug change your number, and by more than your tolerance? With a large s all losses are 0",
        "有了这个错误，你测的那个数会变吗？变化超过容差吗？s 太大时，损失都是 0",
    ),
)


def _by_hand_alone(function: Any) -> Text | None:
    code = getattr(function.function, "__code__", None)
    for name in sorted({"my_arcface", "ArcFace", "target"} & (called_by(code) if code else set())):
        return Text(
            f"your test works, but it asks {name}: a bug that both have stays unseen; work a loss out by hand",
            f"你的测试有效，但它借助了 {name}：两边都有的错误就看不见了；请手算出一个损失值",
        )
    return None


ex2 = Exercise("ex2", rules=[_catches_bugs, _by_hand_alone])

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
