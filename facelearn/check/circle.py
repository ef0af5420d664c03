"""Checks of chapter 15: where a free point meets the circle, a test of published faults, the circle of many pairs."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from facelearn.check.framework import Case, Exercise, Mistake, Text, detector
from facelearn.check.quiz import Quiz

# ---- ex1: where a free point meets the circle ------------------------------------------------------------------------


def _entry(points: Tensor, m: float, slip: str = "") -> Tensor:
    """(N, 2), columns s_n and s_p -> (N, 2)"""
    s_n, s_p = points.T
    a_n, a_p = s_n + m, 1 + m - s_p
    goal = torch.tensor([-m, 1 + m], dtype=points.dtype)
    if slip == "always T":
        return torch.tensor([m, 1 - m], dtype=points.dtype).expand_as(points).clone()
    if slip == "goal":
        return goal.expand_as(points).clone()
    if slip in ("corner", "diagonal"):  # another direction: the points P + t v with |P + t v - (0, 1)| = √2 m
        aim = torch.tensor([0.0, 1.0], dtype=points.dtype) - points
        v = aim if slip == "corner" else torch.tensor([-1.0, 1.0], dtype=points.dtype).expand_as(points)
        c = points - torch.tensor([0.0, 1.0], dtype=points.dtype)
        a, b, d = v.square().sum(1).clamp(min=1e-12), (v * c).sum(1), c.square().sum(1) - 2 * m * m
        t = ((-b - (b * b - a * d).clamp(min=0).sqrt()) / a).clamp(min=0)
        return points + t[:, None] * v
    radius = {"radius": 2.0, "tangent": 0.0}.get(slip)
    if radius is not None:  # where the way meets another line: the circle of radius 2m, or the tangent
        way = goal - points
        c = points - torch.tensor([0.0, 1.0], dtype=points.dtype)
        if slip == "tangent":
            t = ((s_n - s_p + 1 - 2 * m) / (a_n + a_p)).clamp(min=0)
        else:
            a, b, d = way.square().sum(1), (way * c).sum(1), c.square().sum(1) - 4 * m * m
            t = ((-b - (b * b - a * d).clamp(min=0).sqrt()) / a).clamp(min=0)
        return points + t[:, None] * way
    share = 2 * m * (a_n + a_p) / (a_n.square() + a_p.square())
    if slip != "inside":
        share = share.clamp(max=1)
    found = torch.stack([-m + share * a_n, 1 + m - share * a_p], 1)
    return found.flip(1) if slip == "swapped" else found


def _places(generator: torch.Generator) -> Iterator[Case]:
    for m, name in ((0.25, Text("six points, m = 0.25", "六个点，m = 0.25")), (0.4, Text("m = 0.4", "m = 0.4"))):
        yield Case(0.05 + 0.85 * torch.rand(6, 2, generator=generator, dtype=torch.float64), m, name=name)
    straight = torch.tensor([[0.6, 0.4], [0.9, 0.1]], dtype=torch.float64)
    yield Case(straight, 0.1, name=Text("points on the line through T", "在过 T 的直线上的点"))
    inside = torch.tensor([[0.1, 0.9], [0.0, 1.0], [0.7, 0.6]], dtype=torch.float64)
    yield Case(inside, 0.25, name=Text("two points that are inside already", "有两个点已在圆内"))


ex1 = Exercise(
    "ex1",
    _entry,
    _places,
    mistakes=[
        Mistake(lambda points, m, slip=slip: _entry(points, m, slip), text)
        for slip, text in {
            "always T": Text(
                "every point ends at T here; most of them meet the circle elsewhere",
                "所有点都到了 T；多数点碰到圆的地方并不是 T",
            ),
            "goal": Text(
                "this is O; the way meets the circle twice, and the first time is asked for",
                "这是 O；路径与圆有两个交点，要求的是先遇到的那个",
            ),
            "corner": Text(
                "the way leads to (0, 1): so it would with α differentiated; step 8 says where it leads here",
                "路径朝向 (0, 1)：那是对 α 求导时的情形；这里朝向哪里，见第 8 步",
            ),
            "diagonal": Text(
                "the way has a slope of -1: that is the frozen loss, whose weights are equal",
                "你的路径斜率是 -1：那是冻结权重时的走法，两个权重相等",
            ),
            "radius": Text("the radius is √2 m, not 2 m", "半径是 √2 m，不是 2 m"),
            "tangent": Text(
                "this is where the way meets the tangent, not the circle", "这是路径与切线的交点，不是与圆的交点"
            ),
            "inside": Text("a point that is inside the circle already stays where it is", "已经在圆内的点应原样返回"),
            "swapped": Text("the columns are s_n, s_p, in this order", "列的次序是 s_n、s_p"),
        }.items()
    ],
    rtol=1e-9,
    atol=1e-11,
)

# ---- ex2: a test of published faults --------------------------------------------------------------------------------


def _one_anchor(s_p: Tensor, s_n: Tensor, m: float, gamma: float, slip: str = "") -> Tensor:
    own_p, own_n = (s_p, s_n) if slip == "differentiated" else (s_p.detach(), s_n.detach())
    a_p, a_n = 1 + m - own_p, own_n + m
    if slip == "no m":
        a_p, a_n = 1 - own_p, own_n
    if slip != "unclamped":
        a_p, a_n = a_p.clamp(min=0), a_n.clamp(min=0)
    if slip == "frozen":
        a_p, a_n = torch.full_like(a_p, 2 * m), torch.full_like(a_n, 2 * m)
    d_p, d_n = (m, 1 - m) if slip == "margins" else (1 - m, m)
    pull, push = -gamma * a_p * (s_p - d_p), gamma * a_n * (s_n - d_n)
    if slip == "sign":
        pull, push = -pull, -push
    if slip == "outside":
        return gamma * F.softplus((pull / gamma).logsumexp(0) + (push / gamma).logsumexp(0))
    if slip == "hardest":
        return F.softplus(pull.max() + push.max())
    if slip == "argument":
        return pull.logsumexp(0) + push.logsumexp(0)
    if slip == "means":
        mean = lambda x: x.logsumexp(0) - math.log(len(x))  # noqa: E731
        return F.softplus(mean(pull) + mean(push))
    if slip == "overflow":
        return torch.log1p(pull.exp().sum() * push.exp().sum())
    if slip == "two sums":
        return F.softplus(pull.logsumexp(0)) + F.softplus(push.logsumexp(0))
    return -F.logsigmoid(-pull.logsumexp(0) - push.logsumexp(0))


def _every_pair(s_p: Tensor, s_n: Tensor, m: float, gamma: float) -> Tensor:
    pull = -gamma * (1 + m - s_p.detach()).clamp(min=0) * (s_p - 1 + m)
    push = gamma * (s_n.detach() + m).clamp(min=0) * (s_n - m)
    every = (pull[:, None] + push).flatten()
    return torch.cat([every.new_zeros(1), every]).logsumexp(0)


def _shifted(s_p: Tensor, s_n: Tensor, m: float, gamma: float) -> Tensor:
    """The greatest exponent taken out by hand."""
    pull = -gamma * (1 + m - s_p.detach()).clamp(min=0) * (s_p - 1 + m)
    push = gamma * (s_n.detach() + m).clamp(min=0) * (s_n - m)
    top_p, top_n = pull.max().detach(), push.max().detach()
    z = top_p + (pull - top_p).exp().sum().log() + top_n + (push - top_n).exp().sum().log()
    return z.clamp(min=0) + torch.log1p((-z.abs()).exp())


_FAULTS = {
    "differentiated": Text("α gets a gradient", "α 参与求导"),
    "unclamped": Text("α may be negative", "α 可以为负"),
    "no m": Text("α_n = s_n and α_p = 1 - s_p, without m", "α_n = s_n、α_p = 1 - s_p，少了 m"),
    "frozen": Text("the weights do not depend on the similarities", "权重与相似度无关"),
    "margins": Text("m and 1 - m have changed places", "m 与 1 - m 换了位置"),
    "sign": Text("the sign is turned round", "符号反了"),
    "outside": Text("γ stands outside the logarithm", "γ 写在对数外面"),
    "hardest": Text("only the hardest of each kind counts", "正、负样本各只算了最难的一个"),
    "argument": Text("the outer log(1 + …) is missing", "少了最外层的 log(1 + ……)"),
    "means": Text("means in place of sums", "求和写成了求平均"),
    "overflow": Text("infinite at γ = 256 in float32", "γ = 256、float32 时得到无穷大"),
    "two sums": Text("positives and negatives each have a logarithm of their own", "正、负样本各用一个对数"),
}

ex2 = Exercise(
    "ex2",
    rules=[
        detector(
            [
                (_one_anchor, Text("a right one, by log-sum-exp", "用 log-sum-exp 写的正确实现")),
                (
                    _every_pair,
                    Text("a right one, over all pairs of the two kinds", "对正、负样本的所有组合求和的正确实现"),
                ),
                (_shifted, Text("a right one, which takes the greatest exponent out", "先提出最大指数的正确实现")),
                *(
                    (lambda s_p, s_n, m, gamma, slip=slip: _one_anchor(s_p, s_n, m, gamma, slip), text)
                    for slip, text in _FAULTS.items()
                ),
            ],
            right=3,
            if_rejected=Text(
                "it is right; leave a small tolerance, in float32 a larger one",
                "这个实现是对的；请留一点容差，float32 的要再大些",
            ),
            if_passed=Text(
                "which similarities, which γ, or which gradient would tell it from the right one?",
                "用什么样的相似度、多大的 γ，看哪个梯度，才能把它与正确的实现区分开？",
            ),
        )
    ],
)

# ---- ex3: the circle of many pairs ----------------------------------------------------------------------------------


def _radius(m: float, gamma: float, K: int, N: int, slip: str = "") -> float:
    many = {"sum": math.log(K + N), "negatives": math.log(N), "none": 0.0, "base": math.log10(K * N)}.get(
        slip, math.log(K * N)
    )
    square = 2 * m * m + many / gamma if slip == "plus" else 2 * m * m - many / gamma
    if slip in ("twice", "scale"):
        square = 2 * m * m - many * {"twice": 2, "scale": 1 / (2 * m)}[slip] / gamma
    if slip == "one m":
        square = m * m - many / gamma
    if square <= 0:
        return 0.0
    return square if slip == "square" else math.sqrt(square)


def _sizes(generator: torch.Generator) -> Iterator[Case]:
    yield Case(0.25, 256.0, 3, 124, name=Text("γ = 256, m = 0.25, batches of 32 × 4", "γ = 256，m = 0.25，批为 32 × 4"))
    yield Case(0.4, 80.0, 7, 56, name=Text("γ = 80, m = 0.4", "γ = 80，m = 0.4"))
    yield Case(0.25, 64.0, 1, 1, name=Text("one pair of each kind", "正、负各一个"))
    yield Case(0.4, 1000.0, 1, 50_000, name=Text("50,000 negatives", "五万个负样本"))
    yield Case(0.25, 16.0, 3, 124, name=Text("γ = 16: no such place", "γ = 16：没有这样的位置"))


ex3 = Exercise(
    "ex3",
    _radius,
    _sizes,
    mistakes=[
        Mistake(lambda m, gamma, K, N, slip=slip: _radius(m, gamma, K, N, slip), text)
        for slip, text in {
            "none": Text(
                "K and N change nothing here; each of the sums has that many terms",
                "你的结果与 K、N 无关；可是两个和分别有 K 项和 N 项",
            ),
            "sum": Text(
                "the two sums are multiplied: log K + log N, not log (K + N)",
                "两个和是相乘的：log K + log N，不是 log(K + N)",
            ),
            "negatives": Text("the K positives count as well as the N negatives", "N 个负样本算了，K 个正样本也要算"),
            "plus": Text("more pairs mean a larger loss: the circle shrinks", "样本对越多，损失越大：圆会缩小"),
            "twice": Text("twice too much is taken off", "减去的量多了一倍"),
            "scale": Text(
                "divide by γ itself, not by the scale s = 2 m γ: the weights are not frozen here",
                "除数是 γ 本身，不是尺度 s = 2mγ：这里的权重没有冻结",
            ),
            "one m": Text("with one pair of each kind the radius must be √2 m", "正、负各一个时，半径应为 √2 m"),
            "base": Text("the logarithm of the loss is the natural one", "损失里的对数是自然对数"),
            "square": Text("this is the square of the radius", "这是半径的平方"),
        }.items()
    ],
    rtol=1e-9,
)

quiz = Quiz("circle")
