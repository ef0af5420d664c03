"""Checks of chapter 03: the gradient by hand, a cross-entropy that survives large logits, the decision boundary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from facelearn.check.framework import Case, Exercise, Mistake, Text

# ---- ex1: the gradient of the mean cross-entropy with respect to the logits ---------------------------------------


def _onehot(logits: Tensor, labels: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(labels, logits.shape[1]).to(logits.dtype)  # (B, C)


def _gradient(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.softmax(1) - _onehot(logits, labels)) / len(logits)  # (B, C)


def _batches(generator: torch.Generator) -> Iterator[Case]:
    def draw(batch: int, classes: int, size: float = 3.0) -> tuple[Tensor, Tensor]:
        logits = size * torch.randn(batch, classes, generator=generator, dtype=torch.float64)
        return logits, torch.randint(classes, (batch,), generator=generator)

    yield Case(*draw(6, 4), name=Text("six samples, four classes", "六个样本、四个类的批次"))
    yield Case(*draw(4, 4), name=Text("as many samples as classes", "样本数与类别数相等的批次"))
    yield Case(*draw(1, 3), name=Text("a single sample", "单个样本"))
    yield Case(*draw(3, 5, 1000.0), name=Text("logits of about ±1000", "±1000 左右的 logit"))


ex1 = Exercise(
    "ex1",
    _gradient,
    _batches,
    mistakes=[
        Mistake(
            lambda logits, labels: -_gradient(logits, labels),
            Text(
                "the sign is reversed: it is p - onehot, not onehot - p", "符号反了：应是 p - onehot，不是 onehot - p"
            ),
        ),
        Mistake(
            lambda logits, labels: len(logits) * _gradient(logits, labels),
            Text(
                "this is the gradient of the sum over the batch; the loss is the mean: divide by B",
                "这是对批次求和的梯度；损失是平均值，还要除以 B",
            ),
        ),
        Mistake(
            lambda logits, labels: logits.softmax(1) / len(logits),
            Text(
                "p alone is missing the target term: subtract the one-hot label",
                "只有 p，少了目标项：要减去 one-hot 标签",
            ),
        ),
        Mistake(
            lambda logits, labels: (logits.softmax(0) - _onehot(logits, labels)) / len(logits),
            Text(
                "the softmax runs over the batch; it must run over the classes, along a row",
                "softmax 沿批次方向做了；应沿类别方向，即在每一行内做",
            ),
        ),
        Mistake(
            lambda logits, labels: (logits - _onehot(logits, labels)) / len(logits),
            Text("logits are not probabilities: apply the softmax first", "logit 不是概率：先做 softmax"),
        ),
    ],
)

# ---- ex2: a cross-entropy that is finite and exact at any logits --------------------------------------------------


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    target = logits.gather(1, labels[:, None])[:, 0]  # (B,)
    return (logits.logsumexp(1) - target).mean()


def _floored(logits: Tensor, labels: Tensor) -> Tensor:
    return -logits.softmax(1).gather(1, labels[:, None]).clamp_min(1e-12).log().mean()


def _one_maximum(logits: Tensor, labels: Tensor) -> Tensor:
    shifted = logits - logits.max()  # the rows below the largest underflow
    return (shifted.exp().sum(1).log() - shifted.gather(1, labels[:, None])[:, 0]).mean()


def _maximum_lost(logits: Tensor, labels: Tensor) -> Tensor:
    return _cross_entropy(logits, labels) - logits.amax(1).mean()


BANNED = ("softmax", "log_softmax", "logsumexp", "cross_entropy")


class _Watch(TorchFunctionMode):
    """Notes which of the banned functions of torch are called."""

    def __init__(self) -> None:
        super().__init__()
        self.used: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.used |= {func.__name__.lstrip("_")} & set(BANNED)
        return func(*args, **(kwargs or {}))


def _by_hand(function: Callable[..., Any]) -> Text | None:
    with _Watch() as watch:
        function(torch.tensor([[1.0, 2.0]], dtype=torch.float64), torch.tensor([0]))
    name = next(iter(sorted(watch.used)), None)
    told = Text(
        "the values are right, but {name} does the work: use exp, log, sums and maxima",
        "数值正确，但活是 {name} 干的：请只用 exp、log、求和与最大值",
    )
    return told.format(name=name) if name else None


def _extremes(generator: torch.Generator) -> Iterator[Case]:
    logits = 2 * torch.randn(5, 4, generator=generator, dtype=torch.float64)
    yield Case(logits, torch.tensor([0, 1, 2, 3, 0]), name=Text("ordinary logits", "普通的 logit"))

    def rows(*values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64)

    yield Case(rows([1e4, 0.0, -1e4]), torch.tensor([0]), name=Text("right, logits ±1e4", "分对的样本、logit 为 ±1e4"))
    yield Case(rows([1e4, 0.0, -1e4]), torch.tensor([2]), name=Text("wrong, logits ±1e4", "分错的样本、logit 为 ±1e4"))
    yield Case(rows([-1e4, -1e4 - 1.0]), torch.tensor([1]), name=Text("all logits near -1e4", "全在 -1e4 附近的 logit"))
    mixed = rows([1e4, 1e4 - 1.0], [-1e4, -1e4 + 2.0], [0.5, -0.5])
    yield Case(mixed, torch.tensor([1, 0, 0]), name=Text("rows of very different size", "大小相差悬殊的各行"))


ex2 = Exercise(
    "ex2",
    _cross_entropy,
    _extremes,
    gradients=(0,),
    rtol=1e-9,
    atol=1e-9,
    rules=[_by_hand],
    mistakes=[
        Mistake(
            _one_maximum,
            Text(
                "the maximum is that of the whole batch: rows far below it underflow to log 0; each row needs its own",
                "这里取的是整个批次的最大值：比它小很多的行会下溢成 log 0；每一行要取自己的最大值",
            ),
        ),
        Mistake(
            _maximum_lost,
            Text(
                "the maximum was taken out and not put back: add it again after the logarithm",
                "最大值减掉之后没有加回来：取完对数要再加上",
            ),
        ),
        Mistake(
            lambda logits, labels: len(logits) * _cross_entropy(logits, labels),
            Text("this is the sum over the batch; the mean is asked for", "这是对批次求和；题目要的是平均值"),
        ),
        Mistake(
            _floored,
            Text(
                "a constant that keeps the logarithm away from 0 caps the loss: where the probability underflows the"
                " loss is -log of the constant, and no gradient is left",
                "为了避开 log 0 而引入的常数会给损失封顶：概率下溢时，损失等于 -log(该常数)，梯度也没有了",
            ),
        ),
        Mistake(
            lambda logits, labels: -_cross_entropy(logits, labels),
            Text("the sign is reversed: a loss is never negative here", "符号反了：这里的损失不会是负数"),
        ),
    ],
)

# ---- ex3: the nearest point of the decision boundary of two classes ----------------------------------------------


def _nearest(weight: Tensor, bias: Tensor, i: int, j: int, x: Tensor) -> Tensor:
    normal = weight[i] - weight[j]  # (d,)
    gap = normal @ x + bias[i] - bias[j]  # z_i - z_j at x
    return x - gap / (normal @ normal) * normal  # (d,)


def _no_bias(weight: Tensor, bias: Tensor, i: int, j: int, x: Tensor) -> Tensor:
    return _nearest(weight, 0 * bias, i, j, x)


def _wrong_length(weight: Tensor, bias: Tensor, i: int, j: int, x: Tensor) -> Tensor:
    normal = weight[i] - weight[j]
    return x - (normal @ x + bias[i] - bias[j]) / normal.norm() * normal


def _away(weight: Tensor, bias: Tensor, i: int, j: int, x: Tensor) -> Tensor:
    return 2 * x - _nearest(weight, bias, i, j, x)


def _beyond(weight: Tensor, bias: Tensor, i: int, j: int, x: Tensor) -> Tensor:
    return 2 * _nearest(weight, bias, i, j, x) - x


def _always_positive(weight: Tensor, bias: Tensor, i: int, j: int, x: Tensor) -> Tensor:
    normal = weight[i] - weight[j]
    return x - (normal @ x + bias[i] - bias[j]).abs() / (normal @ normal) * normal


def _undivided(weight: Tensor, bias: Tensor, i: int, j: int, x: Tensor) -> Tensor:
    normal = weight[i] - weight[j]
    return x - (normal @ x + bias[i] - bias[j]) * normal


def _displacement(weight: Tensor, bias: Tensor, i: int, j: int, x: Tensor) -> Tensor:
    return _nearest(weight, bias, i, j, x) - x


def _midway(weight: Tensor, bias: Tensor, i: int, j: int, x: Tensor) -> Tensor:
    normal, middle = weight[i] - weight[j], (weight[i] + weight[j]) / 2
    return x - normal @ (x - middle) / (normal @ normal) * normal


def _classifiers(generator: torch.Generator) -> Iterator[Case]:
    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    yield Case(draw(4, 2), draw(4), 0, 2, draw(2), name=Text("in the plane", "平面上的点"))
    yield Case(draw(3, 6), draw(3), 2, 1, draw(6), name=Text("in six dimensions", "六维空间里的点"))
    yield Case(draw(3, 2), torch.zeros(3, dtype=torch.float64), 0, 1, draw(2), name=Text("no bias", "没有偏置的分类器"))
    weight, bias, x = draw(3, 2), draw(3), draw(2)
    on_it = _nearest(weight, bias, 0, 1, x)
    yield Case(weight, bias, 0, 1, on_it, name=Text("x lies on the boundary", "恰在边界上的 x"))


ex3 = Exercise(
    "ex3",
    _nearest,
    _classifiers,
    mistakes=[
        Mistake(_no_bias, Text("the bias is left out: it shifts the boundary", "漏了偏置：它会平移边界")),
        Mistake(
            _wrong_length,
            Text(
                "divide by the squared norm of w_i - w_j: one norm makes the direction a unit vector, the other turns"
                " the difference of logits into a distance",
                "要除以 w_i - w_j 范数的平方：一个范数把方向变成单位向量，另一个把 logit 之差变成距离",
            ),
        ),
        Mistake(
            _undivided,
            Text(
                "nothing divides the difference of logits: divide by the squared norm of w_i - w_j",
                "logit 之差没有除以任何东西：要除以 w_i - w_j 范数的平方",
            ),
        ),
        Mistake(
            _always_positive,
            Text(
                "keep the sign of z_i - z_j (no absolute value): it says on which side x lies",
                "z_i - z_j 要保留符号（不取绝对值）：它说明 x 在边界的哪一侧",
            ),
        ),
        Mistake(
            _displacement,
            Text(
                "this is the step from x to the boundary; return the point, x + step",
                "这是从 x 到边界的位移；应返回那个点，即 x 加上位移",
            ),
        ),
        Mistake(
            _away, Text("the step goes away from the boundary: reverse its sign", "这一步离边界更远了：把符号反过来")
        ),
        Mistake(_beyond, Text("this is the mirror image of x: go half as far", "这是 x 关于边界的镜像：只走一半")),
        Mistake(
            _midway,
            Text(
                "this boundary halves the segment from w_i to w_j; logits are inner products, not distances",
                "这条边界平分了 w_i 到 w_j 的线段；logit 是内积，不是距离",
            ),
        ),
    ],
)

__all__ = ["ex1", "ex2", "ex3"]
