"""Checks of chapter 08: a ring without a unit, a test that catches published faults, where an image comes to rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from facelearn.check.framework import Case, Exercise, Mistake, Text, by_autograd, detector
from facelearn.check.quiz import Quiz

# ---- ex1: the gradient of a ring that measures norms by their own mean ----------------------------------------------


def _relative_gradient(x: Tensor, slip: str = "") -> Tensor:
    """(B, d) -> (B, d)"""
    norms = torch.linalg.vector_norm(x, dim=1, keepdim=True)  # (B, 1)
    share = norms / norms.mean()
    middle = 1.0 if "constant" in slip else share.square().mean()
    slope = (share - middle) / (len(x) * norms.mean())
    factor = {"no half": 2.0, "sum": len(x), "no mean": norms.mean(), "sign": -1.0}.get(slip, 1.0)
    unit = x if slip == "long" else x / (norms if "unguarded" in slip else torch.where(norms > 0, norms, 1.0))
    return factor * slope * unit


def _batches(generator: torch.Generator) -> Iterator[Case]:
    sizes = (
        (5, 3, Text("five rows", "五行")),
        (2, 7, Text("two rows", "两行")),
        (40, 16, Text("forty rows", "四十行")),
    )
    for batch, dim, name in sizes:
        x = torch.randn(batch, dim, generator=generator, dtype=torch.float64)
        yield Case(3 * x, name=name)
    yield Case(torch.tensor([[3.0, 4.0]], dtype=torch.float64), name=Text("a single row", "单独一行"))
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    yield Case(x, name=Text("a row of zeros", "有一行全为零"))


def _by_hand(function: Callable[..., Any]) -> Text | None:
    if not by_autograd(function, torch.tensor([[3.0, 4.0], [1.0, 0.0]], dtype=torch.float64)):
        return None
    return Text(
        "the values are right, but they come from autograd; derive the gradient by hand",
        "数值正确，但它来自自动求导；请手工推导这个梯度",
    )


ex1 = Exercise(
    "ex1",
    _relative_gradient,
    _batches,
    mistakes=[
        Mistake(lambda x, slip=slip: _relative_gradient(x, slip), text)
        for slip, text in {
            **dict.fromkeys(
                ("constant", "constant, unguarded"),
                Text(
                    "the mean norm is held constant; it depends on every row: stretching the whole batch must change"
                    " nothing, so Σ x_i · g_i must be 0",
                    "把平均范数当成了常数；它与每一行都有关：整批一起放大时损失不变，所以 Σ x_i · g_i 应为 0",
                ),
            ),
            "no half": Text("twice too large: the loss has a ½", "大了一倍：损失里有 ½"),
            "sum": Text("this is B times too large: L is a mean over the batch", "是正确值的 B 倍：L 是整批的平均"),
            "no mean": Text(
                "a factor is missing: with embeddings ten times as long the gradient is a tenth",
                "缺了一个因子：嵌入变成十倍时，梯度应是十分之一",
            ),
            "sign": Text(
                "the sign is wrong: a gradient points to where the loss grows", "符号反了：梯度指向损失增大的方向"
            ),
            "long": Text(
                "the direction is x/‖x‖, not x: ∂n/∂x is a unit vector", "方向是 x/‖x‖，不是 x：∂n/∂x 是单位向量"
            ),
            "unguarded": Text("a row of zeros gives NaN: it has no direction", "全为零的行得到 NaN：它没有方向"),
        }.items()
    ],
    rules=[_by_hand],
    rtol=1e-9,
    atol=1e-12,
)

# ---- ex2: a test that catches the factor two ------------------------------------------------------------------------


def _norms(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=1)


def _by_rows(x: Tensor, radius: Tensor) -> Tensor:
    return torch.stack([(row.norm() - radius) ** 2 for row in x]).sum() / (2 * len(x))


def _expanded(x: Tensor, radius: Tensor) -> Tensor:
    """n² - 2 n R + R² over 2."""
    return (x.square().sum(1) - 2 * radius * _norms(x) + radius.square()).mean() / 2


def _two_wishes(x: Tensor, radius: Tensor) -> Tensor:
    n = _norms(x)
    return ((n.mean() - radius).square() + n.var(correction=0)) / 2


def _first_row_alone(x: Tensor, radius: Tensor) -> Tensor:
    others = _norms(x)[1:].sum()
    return (_norms(x) - radius).square().mean() / 2 + (others - others.detach()) / 5


_SHOWN = [
    (lambda x, radius: (_norms(x) - radius).square().mean() / 2, Text("the formula as it stands", "照公式写的实现")),
    (_by_rows, Text("a right one, row by row", "逐行计算的正确实现")),
    (_expanded, Text("a right one, with the square multiplied out", "把平方展开的正确实现")),
    (_two_wishes, Text("a right one: both wishes of step 4", "按第 4 步的两个目标写的正确实现")),
    (lambda x, radius: (_norms(x) - radius).square().mean(), Text("no ½", "没有 ½")),
    (lambda x, radius: (_norms(x) - radius).square().sum() / 2, Text("a sum over the batch", "对整批求和")),
    (
        lambda x, radius: (_norms(x).mean() - radius).square() / 2,
        Text("the mean norm against R, not each norm", "拿平均范数而不是每个范数与 R 比较"),
    ),
    (
        lambda x, radius: (_norms(x).square() - radius.square()).square().mean() / 2,
        Text("squared norms", "用范数的平方"),
    ),
    (lambda x, radius: (_norms(x) - radius).abs().mean() / 2, Text("the absolute difference", "差的绝对值")),
    (
        lambda x, radius: (_norms(x) - radius.detach()).square().mean() / 2,
        Text("R gets no gradient", "R 得不到梯度"),
    ),
    (
        lambda x, radius: (_norms(x).detach() + 0 * x.sum() - radius).square().mean() / 2,
        Text("the gradient in x is zero", "对 x 的梯度恒为零"),
    ),
    (
        lambda x, radius: ((_norms(x) - radius) / _norms(x).mean().detach()).square().mean() / 2,
        Text("divided by the mean norm", "除以了平均范数"),
    ),
    (lambda x, radius: (_norms(x) - radius).square().mean() / 2 + 1, Text("1 too much", "多了 1")),
    (
        lambda x, radius: 10 * F.smooth_l1_loss(_norms(x), radius.expand(len(x)), beta=10.0),
        Text("straight instead of square beyond a distance of 10", "距离超过 10 就由平方变成线性"),
    ),
    (_first_row_alone, Text("the gradient is right in the first row alone", "只有第一行的梯度是对的")),
    (
        lambda x, radius: (x.square().sum(1).sqrt() - radius).square().mean() / 2,
        Text("NaN as its gradient at x = 0", "在 x = 0 处梯度是 NaN"),
    ),
    (
        lambda x, radius: (_norms(x) - radius).clamp(min=0).square().mean() / 2,
        Text("who is too short is left alone", "不管范数太小的样本"),
    ),
    (
        lambda x, radius: (_norms(x) - radius).square().mean() / 2 - (radius - radius.detach()),
        Text("the value is right, the gradient in R is not", "值正确，对 R 的梯度不对"),
    ),
]

ex2 = Exercise(
    "ex2",
    rules=[
        detector(
            _SHOWN,
            4,
            if_rejected=Text(
                "it is right; compare in float64 with a small tolerance", "它是对的；请用 float64，并留一点容差"
            ),
            if_passed=Text(
                "which batch, or which gradient, would tell it from the right one?",
                "用什么样的一批、哪个梯度，能把它与正确的区分开？",
            ),
        )
    ],
)

# ---- ex3: where a perfect image comes to rest -----------------------------------------------------------------------


def _unsure(n: float, w: float, rivals: float) -> float:
    """1 - p of an image on its own class direction, whose rivals have the logit 0."""
    lead = w * n - math.log(rivals)
    return math.exp(-lead) / (1 + math.exp(-lead)) if lead > 0 else 1 / (1 + math.exp(lead))


def _rest(lam: float, R: float, w: float, C: int, slip: str = "") -> float:
    if lam == 0:
        return math.inf if slip != "stays" else R
    rivals = C if slip == "all" else C - 1
    if slip == "full":
        return R + w / lam
    if slip == "at R":
        return R + w * _unsure(R, w, rivals) / lam
    strength = {"double": 2 * lam, "half": lam / 2}.get(slip, lam)
    size = 1.0 if slip == "no w" else w
    low, high = R, R + size / strength
    for _ in range(200):
        middle = (low + high) / 2
        if strength * (middle - R) < size * _unsure(middle, w, rivals):
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _images(generator: torch.Generator) -> Iterator[Case]:
    yield Case(0.1, 8.0, 1.4, 300, name=Text("the course's values", "本课程的取值"))
    yield Case(1.0, 2.0, 0.7, 10, name=Text("a strong ring, ten classes", "较强的环、十个类"))
    yield Case(0.01, 1.0, 1.0, 1000, name=Text("a weak ring", "很弱的环"))
    yield Case(1e-4, 0.5, 0.2, 1_000_000, name=Text("a million classes", "一百万个类"))
    yield Case(1e-6, 64.0, 0.005, 1_000_000, name=Text("a short class weight", "很短的类权重"))
    yield Case(0.3, 12.0, 1.5, 300, name=Text("a large radius", "很大的半径"))
    yield Case(1e-3, 8.0, 1.4, 300, name=Text("λ = 0.001", "λ = 0.001"))
    yield Case(2.0, 1.0, 3.0, 2, name=Text("two classes", "两个类"))
    yield Case(0.0, 8.0, 1.4, 300, name=Text("λ = 0", "λ = 0"))


ex3 = Exercise(
    "ex3",
    _rest,
    _images,
    mistakes=[
        Mistake(lambda lam, R, w, C, slip=slip: _rest(lam, R, w, C, slip), text)
        for slip, text in {
            "full": Text(
                "the push is w only for an image that has p = 0; here it is (1 - p) w",
                "只有 p = 0 时推力才是 w；这里是 (1 - p) w",
            ),
            "at R": Text(
                "p is that of an image at R; it must be that of the place where the image comes to rest",
                "p 取的是图像在 R 处的值；应取它静止处的值",
            ),
            "all": Text("the own class is counted among its rivals", "把自己的类也算成了对手"),
            "double": Text(
                "the spring is λ (n - R): the ½ is gone after differentiating", "弹簧力是 λ (n - R)：求导后 ½ 就没有了"
            ),
            "half": Text(
                "the spring is λ (n - R): the ½ is gone after differentiating", "弹簧力是 λ (n - R)：求导后 ½ 就没有了"
            ),
            "no w": Text("the push is (1 - p) w: its factor w is missing", "推力是 (1 - p) w：少了因子 w"),
            "stays": Text(
                "without a spring nothing holds the image: the push gets small but never 0",
                "没有弹簧，就没有什么能拉住图像：推力会变小，但不会变成 0",
            ),
        }.items()
    ],
    rtol=1e-9,
)

quiz = Quiz("ring")
