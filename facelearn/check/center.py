"""Checks of chapter 06: the gradient of the joint loss, the rule that moves the centres, a measure without a scale."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from facelearn.check.framework import Case, Exercise, Mistake, Text


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

# ---- ex2: the rule that moves the centres ----------------------------------------------------------------------------


def _sums(centers: Tensor, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Σ (c_j - x_i) and n_j of every class.  (C, d), (C, 1)"""
    total = torch.zeros_like(centers).index_add_(0, labels, centers[labels] - x)
    return total, labels.bincount(minlength=len(centers))[:, None].to(centers.dtype)


def _moved(centers: Tensor, x: Tensor, labels: Tensor, alpha: float) -> Tensor:
    total, count = _sums(centers, x, labels)
    return centers - alpha * total / (1 + count)


def _without_one(centers: Tensor, x: Tensor, labels: Tensor, alpha: float) -> Tensor:
    total, count = _sums(centers, x, labels)
    return centers - alpha * total / count.clamp(min=1)


def _last_one_wins(centers: Tensor, x: Tensor, labels: Tensor, alpha: float) -> Tensor:
    _, count = _sums(centers, x, labels)
    moved = centers.clone()
    for i, j in enumerate(labels.tolist()):
        moved[j] = centers[j] - alpha * (centers[j] - x[i]) / (1 + count[j])
    return moved


def _absent_decay(centers: Tensor, x: Tensor, labels: Tensor, alpha: float) -> Tensor:
    sums = torch.zeros_like(centers).index_add_(0, labels, x)
    count = _sums(centers, x, labels)[1]
    return centers - alpha * (centers * count.clamp(min=1) - sums) / (1 + count)


def _step_alone(centers: Tensor, x: Tensor, labels: Tensor, alpha: float) -> Tensor:
    total, count = _sums(centers, x, labels)
    return total / (1 + count)


def _visits(generator: torch.Generator) -> Iterator[Case]:
    centers, x = _normal(generator, 5, 3), _normal(generator, 7, 3)
    some = torch.tensor([0, 2, 2, 4, 0, 2, 0])
    yield Case(centers, x, some, 0.5, name=Text("classes 1 and 3 absent", "类 1 和类 3 不在批次里"))
    yield Case(centers, x[:5], torch.arange(5), 1.0, name=Text("each class once, α = 1", "每类各一个样本、α = 1"))
    yield Case(centers, x, torch.full((7,), 3), 0.3, name=Text("all of one class", "全部同属一类"))
    yield Case(centers, x, some, 0.0, name=Text("α = 0", "α = 0"))


def _absent_stay(function: Callable[..., Any]) -> Text | None:
    centers = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(4, 3)
    moved = function(centers.clone(), torch.ones(2, 3, dtype=torch.float64), torch.tensor([1, 1]), 0.5)
    if torch.equal(moved[[0, 2, 3]], centers[[0, 2, 3]]):
        return None
    return Text(
        "a class that is not in the batch must keep its centre to the last bit", "不在批次里的类，中心必须一位不差"
    )


ex2 = Exercise(
    "ex2",
    _moved,
    _visits,
    rules=[_absent_stay],
    mistakes=[
        Mistake(
            _without_one,
            Text("this divides by n_j; the rule divides by 1 + n_j", "这里除以的是 n_j；规则要除以 1 + n_j"),
        ),
        Mistake(
            lambda c, x, y, alpha: c - alpha * _sums(c, x, y)[0],
            Text(
                "the sum is not divided by 1 + n_j: a class with many samples overshoots",
                "求和之后没有除以 1 + n_j：样本多的类会冲过头",
            ),
        ),
        Mistake(
            lambda c, x, y, alpha: c - alpha * _sums(c, x, y)[0] / len(x),
            Text(
                "this divides by the batch size, which is a gradient step; the rule counts the samples of each class",
                "这里除以批大小，那是梯度下降；规则数的是每一类自己的样本",
            ),
        ),
        Mistake(
            lambda c, x, y, alpha: 2 * c - _moved(c, x, y, alpha),
            Text("the centre flees from its samples: reverse the sign", "中心在远离自己的样本：把符号反过来"),
        ),
        Mistake(
            _last_one_wins,
            Text(
                "of several samples of one class only the last moves the centre: assignment by index overwrites;"
                " index_add adds",
                "同类有多个样本时，只有最后一个起了作用：按索引赋值会互相覆盖；要累加请用 index_add",
            ),
        ),
        Mistake(
            _absent_decay,
            Text(
                "a class that is not in the batch moves towards 0: its missing mean is taken for the origin",
                "不在批次里的类被拉向了 0：它没有均值，却被当成了原点",
            ),
        ),
        Mistake(
            _step_alone,
            Text("this is Δ; return the moved centres, c - α Δ", "这是 Δ；应返回移动之后的中心，即 c - α Δ"),
        ),
    ],
)

# ---- ex3: a measure of compactness that no scale, shift or turn can fool --------------------------------------------


def _classes(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Features of six classes, one of them with a single image; labels; the mean of each one's class."""
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 5])
    means = 3 * _normal(generator, 6, 4) + torch.tensor([5.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    x = means[labels] + _normal(generator, len(labels), 4)
    true = torch.stack([x[labels == j].mean(0) for j in range(6)])[labels]
    return x, labels, true


def _is_a_measure(function: Callable[[Tensor, Tensor], Any]) -> Text | None:
    generator = torch.Generator().manual_seed(0)
    x, labels, means = _classes(generator)

    def value(features: Tensor) -> float:
        return float(function(features, labels))

    try:
        before = value(x)
    except (TypeError, ValueError, RuntimeError):
        return Text("expected one number", "应返回一个数")
    middle = x.mean(0)
    turn, _ = torch.linalg.qr(_normal(generator, 4, 4))
    scaled = {factor: value(factor * x) for factor in (0.1, 10.0)}
    results = (before, *scaled.values())
    if not all(torch.tensor(results).isfinite()):
        return Text(
            f"got {before}: is a class with a single image divided by 0?",
            f"得到 {before}：只有一张图的类是不是被除以 0 了？",
        )

    def same(other: float) -> bool:
        return abs(other - before) <= 1e-6 * max(1e-12, abs(before))

    for factor, other in scaled.items():
        if not same(other):
            return Text(
                f"the attack fools it: features x {factor:g} change it from {before:.4g} to {other:.4g}",
                f"它被攻击骗过了：特征乘以 {factor:g}，它就从 {before:.4g} 变成 {other:.4g}",
            )
    if not same(value(x + 7.0)):
        return Text(
            "a shift of all features changes it; distances between features do not change",
            "所有特征平移之后它变了；而特征之间的距离并没有变",
        )
    if not same(value(x @ turn)):
        return Text(
            "a rotation of all features changes it; distances between features do not change",
            "所有特征旋转之后它变了；而特征之间的距离并没有变",
        )
    if not value(means + 0.5 * (x - means)) < before - 1e-9:
        return Text(
            "each class shrunk to half its size about its own mean, and the measure did not fall",
            "每个类都向自己的均值缩小了一半，它却没有下降",
        )
    if not value(x - 0.5 * (means - middle)) > before + 1e-9:
        return Text(
            "the classes came nearer to one another, none shrank, and the measure did not rise",
            "各类互相靠近，谁也没有缩小，它却没有上升",
        )
    if abs(value(means)) > 1e-9:
        return Text("where every class is a single point it must be 0", "每个类都缩成一个点时，它必须是 0")
    return None


ex3 = Exercise("ex3", rules=[_is_a_measure])

__all__ = ["ex1", "ex2", "ex3"]
