"""Checks of chapter 07: another normalisation, the scale for a wanted probability, the least loss in d dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from facelearn.check.framework import Case, Exercise, Mistake, Text, by_autograd
from facelearn.check.quiz import Quiz

# ---- ex1: the way back through a normalisation that also takes the mean off -----------------------------------------


def _pull_back(x: Tensor, g: Tensor) -> Tensor:
    """(B, d), (B, d) -> (B, d)"""
    centred = x - x.mean(1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True)
    flat = x.amax(1, keepdim=True) == x.amin(1, keepdim=True)  # its mean may be off by a rounding
    unit = centred / torch.where(flat, 1.0, length)
    g = g - g.mean(1, keepdim=True)
    return torch.where(flat, 0.0, (g - (g * unit).sum(1, keepdim=True) * unit) / length)


def _slipped(x: Tensor, g: Tensor, slip: str) -> Tensor:
    centred = x - {"plain": 0 * x, "batch": x.mean(0)}.get(slip, x.mean(1, keepdim=True))
    length = centred.norm(dim=1, keepdim=True)
    unit = centred / length
    if slip not in ("plain", "once"):
        g = g - g.mean(0 if slip == "batch" else 1, keepdim=True)
    tangent = g if slip == "no projection" else g - (g * unit).sum(1, keepdim=True) * unit
    root = {"deviation": x.shape[1] ** 0.5, "torch's deviation": (x.shape[1] - 1) ** 0.5}
    factor = {"no length": length}.get(slip, root.get(slip, 1.0))
    return factor * tangent / length


def _rows(generator: torch.Generator) -> Iterator[Case]:
    for batch, dim, name in ((4, 5, Text("four rows", "四行")), (1, 3, Text("a single row", "单独一行"))):
        x, g = (torch.randn(batch, dim, generator=generator, dtype=torch.float64) for _ in range(2))
        yield Case(3 * x + 2, g, name=name)
    x = torch.tensor([[1.0, 2.0, 4.0], [0.1, 0.1, 0.1]], dtype=torch.float64)
    yield Case(
        x, torch.ones(2, 3, dtype=torch.float64).cumsum(1), name=Text("a row of equal entries", "各项相等的一行")
    )


def _without_autograd(function: Callable[..., Any]) -> Text | None:
    x = torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.float64)
    if not by_autograd(function, x, x.flip(1)):
        return None
    return Text(
        "the values are right, but they come from autograd; work the Jacobian out as step 2 does",
        "数值正确，但它来自自动求导；请像第 2 步那样自己推出雅可比矩阵",
    )


ex1 = Exercise(
    "ex1",
    _pull_back,
    _rows,
    mistakes=[
        Mistake(lambda x, g, slip=slip: _slipped(x, g, slip), text)
        for slip, text in {
            "plain": Text(
                "this is the way back through x/‖x‖ of step 2; here the mean is taken off first",
                "这是第 2 步 x/‖x‖ 的结果；这里要先减去均值",
            ),
            "once": Text(
                "adding one number to all entries of x changes nothing in the output: so your gradient must be"
                " perpendicular to (1, …, 1), and it is not",
                "给 x 的每一项加上同一个数，输出不变：所以梯度必须与 (1, …, 1) 垂直，而你的不垂直",
            ),
            "no length": Text(
                "something of step 2 is missing: how does it depend on the length?",
                "缺了第 2 步的一个因子：与范数的关系呢？",
            ),
            "no projection": Text(
                "stretching the centred x changes nothing in the output, but your gradient has a part along it",
                "把减去均值后的 x 拉长，输出不变，但你的梯度沿这个方向还有分量",
            ),
            **dict.fromkeys(
                ("deviation", "torch's deviation"),
                Text("divide by the norm, not by the standard deviation", "应除以范数，而不是标准差"),
            ),
            "batch": Text(
                "the mean is that of one row, over its d entries, not that of the batch",
                "均值是一行之内 d 个分量的均值，不是整批的均值",
            ),
        }.items()
    ],
    rules=[_without_autograd],
    rtol=1e-9,
    atol=1e-12,
)

# ---- ex2: the scale for a wanted probability, with a margin ---------------------------------------------------------


def _scale_for(p: float, C: int, theta: float, m: float, phi: float) -> float:
    need = math.log((C - 1) * p / (1 - p))
    lead = math.cos(theta + m) - math.cos(phi)
    if need <= 0:
        return 0.0
    return need / lead if lead > 0 else math.inf


def _wishes(generator: torch.Generator) -> Iterator[Case]:
    right_angle = math.pi / 2
    yield Case(0.9, 1000, 0.0, 0.5, right_angle, name=Text("on its class direction", "落在类方向上"))
    yield Case(0.99, 50, 0.4, 0.3, 1.4, name=Text("off its class direction", "偏离类方向"))
    yield Case(0.9, 1000, 0.7, 0.0, 1.7, name=Text("m = 0, rivals beyond 90 degrees", "m = 0，对手在 90 度以外"))
    yield Case(0.5, 2, 0.3, 0.2, 1.0, name=Text("two classes, p = 0.5", "两个类、p = 0.5"))
    yield Case(0.3, 100, 0.3, 0.2, 1.4, name=Text("p = 0.3, a hundred classes", "p = 0.3、一百个类"))
    yield Case(0.001, 300, 0.3, 0.2, 1.0, name=Text("p below 1/C", "p 小于 1/C"))
    yield Case(0.001, 300, 0.8, 0.5, 1.0, name=Text("p below 1/C, a lead below 0", "p 小于 1/C、领先为负"))
    yield Case(0.9, 300, 0.8, 0.5, 1.0, name=Text("a lead below 0", "领先为负"))
    yield Case(0.9, 300, right_angle, 0.0, right_angle, name=Text("no lead", "毫无领先"))


def _wish(slip: str) -> Callable[..., float]:
    def function(p: float, C: int, theta: float, m: float, phi: float) -> float:
        m = {"lost": 0.0, "degrees": math.radians(m), "minus": -m}.get(slip, m)
        target = math.cos(theta) - m if slip == "cosface" else math.cos(theta + m)
        rivals = {"C": C, "own": 1}.get(slip, C - 1)
        need, lead = math.log(rivals * p / (1 - p)), target - math.cos(phi)
        if slip == "right angle":
            lead = target
        if slip == "lead first" and lead <= 0:
            return math.inf
        if need <= 0 and slip != "below":
            return 0.0
        return need / lead if lead > 1e-12 or (lead < 0 and slip == "negative") else math.inf

    return function


ex2 = Exercise(
    "ex2",
    _scale_for,
    _wishes,
    mistakes=[
        Mistake(_wish(slip), text)
        for slip, text in {
            "lost": Text(
                "the margin is not in it: the target logit is s cos(θ + m)", "没有用到间隔：目标 logit 是 s cos(θ + m)"
            ),
            "degrees": Text("the margin is taken for degrees; it is in radians", "把 m 当成了度；它的单位是弧度"),
            "minus": Text("cos(θ - m) in place of cos(θ + m)", "写成了 cos(θ - m)，应是 cos(θ + m)"),
            "cosface": Text("m is taken off the cosine: that is CosFace", "从余弦里减去了 m：那是 CosFace"),
            "C": Text("the own class is counted among its rivals", "把自己的类也算成了对手"),
            "own": Text("the number of rivals is missing", "缺了对手的个数"),
            "right angle": Text("the rivals stand at φ, not always at 90 degrees", "对手在 φ 处，不一定在 90 度处"),
            "below": Text(
                "a p of at most 1/C is there at s = 0 already; a scale is never negative",
                "p 不超过 1/C 时，s = 0 就已经够了；尺度不会是负数",
            ),
            "lead first": Text(
                "a p of at most 1/C is there at s = 0 also for a sample that does not lead",
                "p 不超过 1/C 时，没有领先的样本在 s = 0 也已经够了",
            ),
            "negative": Text(
                "who does not lead gets no further by any scale: what is then asked for?",
                "没有领先的样本，多大的尺度也没用：这时题目要求返回什么？",
            ),
        }.items()
    ],
    rtol=1e-9,
)

# ---- ex3: the least loss that d dimensions allow --------------------------------------------------------------------

# Scale, classes, dimension, and the least loss that long searches from many starts have found.
_ARRANGEMENTS = ((8.0, 10, 2, 0.366034), (5.0, 6, 3, 0.0266392), (4.0, 10, 3, 0.316984), (3.0, 7, 4, 0.213858))


def _is_least(function: Callable[..., Any]) -> Text | None:
    for scale, classes, dim, best in _ARRANGEMENTS:
        where = f"s = {scale:g}, C = {classes}, d = {dim}"
        try:
            got = float(function(scale, classes, dim))
        except (TypeError, ValueError, RuntimeError):
            return Text("expected one number", "应返回一个数")
        bound = math.log1p((classes - 1) * math.exp(-scale * classes / (classes - 1)))
        if not math.isfinite(got):
            return Text(f"got {got} for {where}", f"{where} 时得到 {got}")
        if got < bound * (1 - 1e-6):
            return Text(
                f"{got:.4g} for {where} lies below the floor of step 3: are all vectors of length 1, are all classes in"
                " the sum?",
                f"{where} 时得到 {got:.4g}，低于第 3 步的下界：向量的长度都是 1 吗？所有的类都在求和里吗？",
            )
        if got < best * (1 - 1e-3):
            return Text(
                f"{got:.4g} for {where} is less than d = {dim} allows: do the vectors have d entries?",
                f"{where} 时得到 {got:.4g}，d = {dim} 时做不到这么小：向量真的只有 d 个分量吗？",
            )
        if got > best * 1.01:
            return Text(
                f"{got:.4g} for {where} is not the least yet: has the search come to rest, from several starts?",
                f"{where} 时得到 {got:.4g}，还不是最小值：搜索收敛了吗？换过几个起点？",
            )
    return None


ex3 = Exercise("ex3", rules=[_is_least])

quiz = Quiz("l2_softmax")
