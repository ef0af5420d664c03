"""Checks of chapter 16: the force of a residual on an embedding, a test for displacements, the best shared shift."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from facelearn.check.framework import Case, Exercise, Mistake, Text, by_autograd, detector
from facelearn.check.quiz import Quiz

# ---- ex1: the force of the discrepancy on an embedding --------------------------------------------------------------


def _force(x: Tensor, w: Tensor, v: Tensor, slip: str = "") -> Tensor:
    """-∂‖x̂ - ŵ - v‖ / ∂x, row by row.  (B, d), (B, d), (d,) -> (B, d)"""
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    own = x / length
    away = own - (w if slip == "long w" else F.normalize(w)) - {"no v": 0.0, "plus v": -1.0}.get(slip, 1.0) * v
    size = torch.linalg.vector_norm(away, dim=1, keepdim=True)
    arrow = away / torch.where(size > 0, size, 1.0)
    if slip in ("square", "half square"):
        arrow = away if slip == "half square" else 2 * away
    across = arrow if slip == "radial" else arrow - (arrow * own).sum(1, keepdim=True) * own
    scale = {"no norm": 1.0, "sign": -length, "mean": len(x) * length}.get(slip, length)
    return -across / scale


def _batches(generator: torch.Generator) -> Iterator[Case]:
    for batch, dim, name in (
        (6, 4, Text("six rows", "六行的一批")),
        (3, 2, Text("rows in the plane", "平面上的三行")),
        (40, 16, Text("forty rows", "四十行的一批")),
    ):
        x, w = (3 * torch.randn(batch, dim, generator=generator, dtype=torch.float64) for _ in range(2))
        yield Case(x, w, 0.2 * torch.randn(dim, generator=generator, dtype=torch.float64), name=name)
    x = torch.tensor([[3.0, 4.0], [0.0, 2.0]], dtype=torch.float64)
    w = torch.tensor([[0.6, 0.8], [2.0, 0.0]], dtype=torch.float64)
    nothing = torch.zeros(2, dtype=torch.float64)
    yield Case(x, w, nothing, name=Text("an image on its class direction, v = 0", "恰好落在类方向上的图像（v = 0）"))
    x, w = torch.tensor([[[2.0, 0.0], [0.0, 3.0]], [[0.0, 4.0], [0.0, 1.0]]], dtype=torch.float64)
    v = torch.tensor([1.0, -1.0], dtype=torch.float64)
    yield Case(x, w, v, name=Text("one row with x̂ = ŵ + v, one with x̂ = ŵ", "一行 x̂ = ŵ + v，一行 x̂ = ŵ"))


def _by_hand(function: Callable[..., Any]) -> Text | None:
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)
    if not by_autograd(function, x, w, 0.1 * w[0]):
        return None
    return Text(
        "the values are right, but they come from autograd; derive the force by hand",
        "数值正确，但它来自自动求导；请手工推导这个力",
    )


ex1 = Exercise(
    "ex1",
    _force,
    _batches,
    mistakes=[
        Mistake(lambda x, w, v, slip=slip: _force(x, w, v, slip), text)
        for slip, text in {
            "radial": Text(
                "a part of it lies along x; lengthening x changes no direction, so the force has no part along x",
                "你的结果有一部分沿着 x；拉长 x 并不改变方向，所以力不应有沿 x 的分量",
            ),
            "no norm": Text(
                "a factor is missing: an embedding twice as long turns half as far under the same step",
                "缺了一个因子：嵌入长一倍，同样的一步只能让它转过一半的角度",
            ),
            "sign": Text("it points away: the force is minus the gradient", "方向反了：力是梯度的相反数"),
            "square": Text(
                "this is the force of the squared length; the loss has the length itself: its arrow has length 1",
                "这是长度平方给出的力；损失里用的是长度本身，箭头长度为 1",
            ),
            "half square": Text(
                "this is the force of half the squared length; the loss has the length itself: its arrow has length 1",
                "这是长度平方的一半给出的力；损失里用的是长度本身，箭头长度为 1",
            ),
            "plus v": Text(
                "the sign of v is wrong: the residual is measured from v, so v is taken off",
                "v 的符号反了：残差从 v 量起，要减去 v",
            ),
            "no v": Text(
                "v is missing: the residual is measured from v, not from 0", "漏了 v：残差从 v 量起，不是从 0"
            ),
            "mean": Text("divided by B: each row has a loss of its own here", "多除了一个 B：这里每一行各有自己的损失"),
            "long w": Text("the rows of w are not normalised", "w 的各行没有归一化"),
        }.items()
    ],
    rules=[_by_hand],
    rtol=1e-9,
    atol=1e-12,
)

# ---- ex2: a test for displacements ----------------------------------------------------------------------------------


def _right(xi: Tensor, bound: float) -> Tensor:
    return xi * (bound / torch.linalg.vector_norm(xi).clamp(min=bound))


def _cases_by_length(xi: Tensor, bound: float) -> Tensor:
    length = xi.detach().square().sum().sqrt()
    return xi if length <= bound else bound * xi / xi.square().sum().sqrt()


def _by_division(xi: Tensor, bound: float) -> Tensor:
    return xi / torch.maximum(torch.linalg.vector_norm(xi) / bound, torch.ones((), dtype=xi.dtype))


def _held(xi: Tensor, bound: float) -> Tensor:
    return xi * (bound / torch.linalg.vector_norm(xi).clamp(min=bound)).detach()


def _slow_inside(xi: Tensor, bound: float) -> Tensor:
    v, length = _right(xi, bound), float(xi.detach().norm())
    return (v + v.detach()) / 2 if 0 < length < bound else v


_SHOWN = [
    (_right, Text("the chapter's own", "本章的写法")),
    (_cases_by_length, Text("a right one, with `if` on the length", "用 `if` 判断长度的正确实现")),
    (_by_division, Text("a right one that divides by max(‖ξ‖/b, 1)", "除以 max(‖ξ‖/b, 1) 的正确实现")),
    (
        lambda xi, bound: F.normalize(xi, dim=0) * torch.linalg.vector_norm(xi).clamp(max=bound),
        Text("one that never leaves ξ = 0", "从 ξ = 0 出发就永远不动的实现"),
    ),
    (
        lambda xi, bound: xi * (bound / xi.norm()).clamp(max=1),
        Text("one whose gradient at 0 is NaN", "在 0 处梯度为 NaN 的实现"),
    ),
    (
        lambda xi, bound: xi.clamp(-bound, bound),
        Text("one that bounds each coordinate by itself", "逐个坐标截断的实现"),
    ),
    (lambda xi, bound: bound * F.normalize(xi + 1e-12, dim=0), Text("one that is always b long", "长度恒为 b 的实现")),
    (
        lambda xi, bound: xi * torch.tanh(xi.norm() / bound + 1e-9) * bound / (xi.norm() + 1e-9 * bound),
        Text("one that shortens inside the bound too", "在界内也缩短的实现"),
    ),
    (lambda xi, bound: _right(xi.detach(), bound) + 0 * xi.sum(), Text("one without a gradient", "没有梯度的实现")),
    (_held, Text("one whose gradient beyond the bound has a part along ξ", "超出界之后，梯度仍带有沿 ξ 的分量的实现")),
    (_slow_inside, Text("one whose gradient inside the bound is half as large", "界内梯度只有一半的实现")),
    (lambda xi, bound: _right(xi, bound) + bound / 9, Text("one with a constant added", "多加了一个常数的实现")),
    (lambda xi, bound: xi, Text("one without a bound", "没有界的实现")),
    (lambda xi, bound: -_right(xi, bound), Text("one that turns ξ round", "把 ξ 反过来的实现")),
]

ex2 = Exercise(
    "ex2",
    rules=[
        detector(
            _SHOWN,
            3,
            if_rejected=Text(
                "it is right; compare in float64 with a small tolerance", "它是对的；请用 float64，并留一点容差"
            ),
            if_passed=Text(
                "which ξ, or which gradient, would tell it from a right one?",
                "用哪个 ξ、哪个梯度，能把它与正确的区分开？",
            ),
        )
    ],
)

# ---- ex3: the best shared shift -------------------------------------------------------------------------------------


def _best_shift(residuals: Tensor, bound: float, slip: str = "") -> Tensor:
    """The v of length at most b with the smallest mean of ‖ε - v‖, by projected gradient descent.  (N, d) -> (d,)"""
    reach = float("inf") if slip in ("shortened", "free") else bound

    def within(v: Tensor, limit: float) -> Tensor:
        return v * min(1.0, limit / max(float(v.norm()), 1e-30))

    v = within(residuals.mean(0), reach)
    if slip != "mean":
        for _ in range(5000):
            away = residuals - v
            size = torch.linalg.vector_norm(away, dim=1, keepdim=True).clamp(min=1e-12)
            step = (away / size).mean(0) / (1 / size).mean()
            moved = within(v + step, reach)
            if float((moved - v).norm()) < 1e-13:
                break
            v = moved
    if slip == "always":
        return bound * v / v.norm()
    return within(v, bound) if slip == "shortened" else v


def _clouds(generator: torch.Generator) -> Iterator[Case]:
    def cloud(number: int, dim: int) -> Tensor:
        return torch.randn(number, dim, generator=generator, dtype=torch.float64)

    shift = torch.tensor([0.3, -0.1, 0.2, 0.0], dtype=torch.float64)
    skewed = cloud(30, 4).exp() * torch.tensor([2.0, 0.5, 0.2, 1.0], dtype=torch.float64) - 1
    yield Case(skewed, 5.0, name=Text("a bound that does not matter", "界不起作用的一组残差"))
    yield Case(skewed, 0.2, name=Text("a bound that matters", "界起作用的一组残差"))
    far = 0.2 * cloud(20, 4) + shift
    far[0] = 50.0
    yield Case(far, 1.0, name=Text("one residual far outside", "混有一个极远残差的一组残差"))
    yield Case(0.4 * cloud(200, 16), 0.05, name=Text("200 residuals in 16 dimensions", "16 维里的 200 个残差"))
    yield Case(0.3 * cloud(9, 2) + shift[:2], 0.05, name=Text("nine residuals in the plane", "平面上的九个残差"))


ex3 = Exercise(
    "ex3",
    _best_shift,
    _clouds,
    mistakes=[
        Mistake(lambda residuals, bound, slip=slip: _best_shift(residuals, bound, slip), text)
        for slip, text in {
            "mean": Text(
                "this is the mean (shortened to b): it minimises the squared lengths; here one far residual must not"
                " count more than a near one",
                "这是（缩到 b 以内的）均值，它最小化的是长度的平方；本题里，远的残差不应比近的更有分量",
            ),
            "shortened": Text(
                "the best v without a bound, shortened afterwards, is not the best within the bound",
                "先不管界求出最好的 v，再缩短，得到的并不是界内最好的",
            ),
            "free": Text("this v is longer than the bound", "这个 v 超出了界"),
            "always": Text("v may be shorter than b: at most b", "v 可以比 b 短：b 只是上限"),
        }.items()
    ],
    rtol=1e-5,
    atol=1e-6,
)

quiz = Quiz("discface")
