"""Checks of chapter 06: the gradient of the joint loss, centres without a start, a measure that sees neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from facelearn.check.framework import Case, Exercise, Mistake, Text
from facelearn.check.quiz import Quiz


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


# ---- ex1: the gradient of the joint loss with respect to the features -----------------------------------------------


def _of_softmax(x: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    p = (x @ weight.T).softmax(1)  # (B, C)
    return (p - F.one_hot(labels, len(weight))) @ weight / len(x)  # (B, d)


def _joint_gradient(x: Tensor, weight: Tensor, centers: Tensor, labels: Tensor, lam: float) -> Tensor:
    softmax = _of_softmax(x, weight, labels)
    return softmax + lam * (x - centers[labels]) / len(x) if lam else softmax


def _mixed(x: Tensor, weight: Tensor, centers: Tensor, labels: Tensor, lam: float) -> Tensor:
    pull = (x - centers[labels]) / len(x) if lam else torch.zeros_like(x)
    return (1 - lam) * _of_softmax(x, weight, labels) + lam * pull


def _batches(generator: torch.Generator) -> Iterator[Case]:
    def draw(batch: int, classes: int, dimension: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x, weight, centers = (_normal(generator, rows, dimension) for rows in (batch, classes, classes))
        return x, weight, centers, torch.randint(classes, (batch,), generator=generator)

    yield Case(*draw(6, 4, 3), 0.3, name=Text("six samples, four classes", "六个样本、四个类的批次"))
    yield Case(*draw(1, 3, 2), 2.0, name=Text("a single sample", "单个样本"))
    x, weight, centers, labels = draw(5, 4, 3)
    yield Case(x, weight, centers, labels, 0.0, name=Text("λ = 0", "λ = 0"))
    lost = centers.clone()
    lost[labels[0]] = torch.inf
    yield Case(x, weight, lost, labels, 0.0, name=Text("λ = 0, one centre infinite", "λ = 0、有一个中心是无穷大"))


ex1 = Exercise(
    "ex1",
    _joint_gradient,
    _batches,
    mistakes=[
        Mistake(
            lambda x, w, c, y, lam: _of_softmax(x, w, y) + lam * (x - c[y]) / len(x),
            Text(
                "at λ = 0 the term must be left out, not multiplied by 0: a centre that ran off to infinity gives"
                " 0 · ∞ = NaN",
                "λ = 0 时要把这一项去掉，而不是乘以 0：中心若跑到无穷远，0 · ∞ 就是 NaN",
            ),
        ),
        Mistake(
            lambda x, w, c, y, lam: _joint_gradient(x, w, c, y, -lam),
            Text(
                "the pull has the wrong sign: the gradient is x - c, the step against it goes to the centre",
                "拉力的符号反了：梯度是 x - c，沿负梯度走才是走向中心",
            ),
        ),
        Mistake(
            lambda x, w, c, y, lam: _joint_gradient(x, w, c, y, 2 * lam),
            Text(
                "the pull is twice too strong: the loss is half the squared distance",
                "拉力大了一倍：损失是距离平方的一半",
            ),
        ),
        Mistake(
            lambda x, w, c, y, lam: _joint_gradient(x, w, c, y, lam * len(x)),
            Text(
                "the pull is not divided by B: both terms are means over the batch",
                "拉力没有除以 B：两项都是对批次取平均",
            ),
        ),
        Mistake(
            lambda x, w, c, y, lam: len(x) * _joint_gradient(x, w, c, y, lam),
            Text(
                "this is the gradient of the sum over the batch; both terms are means: divide by B",
                "这是对批次求和的梯度；两项都是平均值，要除以 B",
            ),
        ),
        Mistake(
            lambda x, w, c, y, lam: _joint_gradient(x, w, w, y, lam),
            Text(
                "the pull goes to the class weight w_y; it must go to the centre c_y",
                "拉向了类权重 w_y；应拉向中心 c_y",
            ),
        ),
        Mistake(
            _mixed,
            Text(
                "softmax keeps its full weight: add λ times the pull, do not mix with 1 - λ",
                "softmax 的权重不变：直接加上 λ 倍的拉力，不要再乘 1 - λ",
            ),
        ),
    ],
)

# ---- ex2: centres of which the start is no part ----------------------------------------------------------------------

Pair = tuple[Tensor, Tensor]


def _counted(total: Tensor, x: Tensor, labels: Tensor) -> Pair:
    """Σ x_i and B_j of every class.  (C, d), (C,)"""
    return torch.zeros_like(total).index_add(0, labels, x), labels.bincount(minlength=len(total)).to(total.dtype)


def _followed(total: Tensor, mass: Tensor, x: Tensor, labels: Tensor, alpha: float) -> Pair:
    sums, count = _counted(total, x, labels)
    beta = alpha * count / (1 + count)  # (C,)
    new = total - beta[:, None] * (total - sums / count.clamp(min=1)[:, None])
    return new, mass + beta * (1 - mass)


def _divided(total: Tensor, mass: Tensor, x: Tensor, labels: Tensor, alpha: float) -> Pair:
    new, weight = _followed(total, mass, x, labels, alpha)
    return new / weight.clamp(min=1e-12)[:, None], weight


def _without_one(total: Tensor, mass: Tensor, x: Tensor, labels: Tensor, alpha: float) -> Pair:
    sums, count = _counted(total, x, labels)
    beta = alpha * (count > 0)
    return total - beta[:, None] * (total - sums / count.clamp(min=1)[:, None]), mass + beta * (1 - mass)


def _growing(total: Tensor, mass: Tensor, x: Tensor, labels: Tensor, alpha: float) -> Pair:
    count = _counted(total, x, labels)[1]
    return _followed(total, mass, x, labels, alpha)[0], mass + alpha * count / (1 + count)


def _counting(total: Tensor, mass: Tensor, x: Tensor, labels: Tensor, alpha: float) -> Pair:
    return _followed(total, mass, x, labels, alpha)[0], mass + _counted(total, x, labels)[1]


def _summed_up(total: Tensor, mass: Tensor, x: Tensor, labels: Tensor, alpha: float) -> Pair:
    sums, count = _counted(total, x, labels)
    beta = alpha * count / (1 + count)
    return total - beta[:, None] * (total - sums), mass + beta * (1 - mass)


def _absent_decay(total: Tensor, mass: Tensor, x: Tensor, labels: Tensor, alpha: float) -> Pair:
    new, weight = _followed(total, mass, x, labels, alpha)
    absent = _counted(total, x, labels)[1] == 0
    return torch.where(absent[:, None], (1 - alpha) * total, new), torch.where(absent, (1 - alpha) * mass, weight)


def _visits(generator: torch.Generator) -> Iterator[Case]:
    total, x = _normal(generator, 5, 3), _normal(generator, 7, 3)
    mass = torch.rand(5, generator=generator, dtype=torch.float64)
    some = torch.tensor([0, 2, 2, 4, 0, 2, 0])
    yield Case(total, mass, x, some, 0.5, name=Text("classes 1 and 3 absent", "第 1、3 类（从 0 数起）不在批次里"))
    yield Case(0 * total, 0 * mass, x, some, 0.5, name=Text("the first batch", "第一个批次"))
    each = Text("each class once, α = 1", "每类各一个样本、α = 1")
    yield Case(total, mass, x[:5], torch.arange(5), 1.0, name=each)
    yield Case(total, mass, x, torch.full((7,), 3), 0.3, name=Text("all of one class", "全部同属一类"))


def _absent_stay(function: Callable[..., Any]) -> Text | None:
    total = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(4, 3)
    mass = torch.tensor([0.1, 0.3, 0.7, 0.9], dtype=torch.float64)
    x, labels = torch.ones(2, 3, dtype=torch.float64), torch.tensor([1, 1])
    moved, weight = function(total.clone(), mass.clone(), x, labels, 0.5)
    absent = [0, 2, 3]
    if torch.equal(moved[absent], total[absent]) and torch.equal(weight[absent], mass[absent]):
        return None
    return Text(
        "a class that is not in the batch must keep its total and its mass to the last bit",
        "不在批次里的类，total 和 mass 都必须一位不差",
    )


ex2 = Exercise(
    "ex2",
    _followed,
    _visits,
    rules=[_absent_stay],
    mistakes=[
        Mistake(
            _divided,
            Text(
                "return the total itself: the centre is total / mass, and dividing here would count it twice",
                "应返回 total 本身：中心才是 total / mass，在这里除就重复了",
            ),
        ),
        Mistake(
            _without_one,
            Text(
                "here a visit always counts with α; by the paper's rule with α B / (1 + B)",
                "这里每次都以 α 计入；按论文的规则应是 α B / (1 + B)",
            ),
        ),
        Mistake(
            _growing,
            Text(
                "the mass grows without bound: what was there must shrink by 1 - β, as the total does",
                "mass 会无限增长：原有的部分要像 total 那样先乘 1 - β",
            ),
        ),
        Mistake(
            _counting,
            Text(
                "the mass counts images; it must be the weight with which features are in the total",
                "这里的 mass 在数图像；它应是特征在 total 里所占的权重",
            ),
        ),
        Mistake(
            _summed_up,
            Text(
                "the total moves towards the sum of a class's features; it must move towards their mean",
                "total 朝一个类的特征之和移动；应朝它们的均值移动",
            ),
        ),
        Mistake(
            _absent_decay,
            Text(
                "a class that is not in the batch shrinks: its β is 0, nothing may move",
                "不在批次里的类变小了：它的 β 是 0，什么都不该动",
            ),
        ),
    ],
)

# ---- ex3: a measure that sees neighbours, and that no scale, shift or turn can fool ---------------------------------


def _classes(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Features of six classes, one of them with a single image; labels; the mean of each one's class."""
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 5])
    means = 3 * _normal(generator, 6, 4) + torch.tensor([5.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    x = means[labels] + _normal(generator, len(labels), 4)
    true = torch.stack([x[labels == j].mean(0) for j in range(6)])[labels]
    return x, labels, true


def _two_meet(x: Tensor, labels: Tensor) -> Tensor:
    """Classes 0 and 1 come 50 times as near to each other, the others move out: S_b stays, and every class's shape."""
    means = torch.stack([x[labels == j].mean(0) for j in range(6)])  # (6, d)
    middle, others = means[:2].mean(0), means[2:].mean(0)
    moved = torch.cat([middle + 0.02 * (means[:2] - middle), means[2:]])
    spread = (means - means.mean(0)).square().sum() - (moved - moved.mean(0)).square().sum()  # what S_b has lost
    room = (means[2:] - others).square().sum()
    moved[2:] = others + ((room + spread) / room).sqrt() * (means[2:] - others)
    return x + (moved - means)[labels]


def _is_a_measure(function: Callable[[Tensor, Tensor], Any]) -> Text | None:
    generator = torch.Generator().manual_seed(0)
    x, labels, means = _classes(generator)
    turn, _ = torch.linalg.qr(_normal(generator, 4, 4))

    def value(features: Tensor) -> float:
        return float(function(features, labels))

    try:
        before = value(x)
    except (TypeError, ValueError, RuntimeError):
        return Text("expected one number", "应返回一个数")
    if not math.isfinite(before):
        return Text(
            f"got {before}: is a class with a single image divided by 0, or its own distance, 0, among the neighbours?",
            f"得到 {before}：只有一张图的类是不是被除以 0 了？到自己的距离 0 是不是也算成了邻居？",
        )
    unmoved = [
        (0.1 * x, Text("features x 0.1 change it", "特征乘以 0.1 之后它变了")),
        (10 * x, Text("features x 10 change it", "特征乘以 10 之后它变了")),
        (x + 7, Text("a shift of all features changes it", "所有特征平移之后它变了")),
        (x @ turn, Text("a rotation of all features changes it", "所有特征旋转之后它变了")),
    ]
    for features, text in unmoved:
        if abs(value(features) - before) > 1e-6 * max(1e-12, abs(before)):
            end = Text("; ratios of distances do not change", "；而距离之比并没有变")
            return Text(text.en + end.en, text.zh + end.zh)
    if not value(means + 0.5 * (x - means)) < before - 1e-9:
        return Text(
            "each class shrunk to half its size about its own mean, and the measure did not fall",
            "每个类都向自己的均值缩小了一半，它却没有下降",
        )
    if not value(_two_meet(x, labels)) > before + 1e-6 * abs(before):
        return Text(
            "two classes came very near to each other while within / between stayed, and the measure did not rise:"
            " it sees averages alone",
            "有两个类靠得非常近，而类内与类间之比没有变，它却没有上升：它只看到了平均值",
        )
    if abs(value(means)) > 1e-9:
        return Text("where every class is a single point it must be 0", "每个类都缩成一个点时，它必须是 0")
    return None


ex3 = Exercise("ex3", rules=[_is_a_measure])

quiz = Quiz("center")
