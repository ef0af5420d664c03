"""Checks of chapter 03: the gradient under label smoothing, a loss exact near zero, the decision boundary."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from facelearn.check.framework import Case, Exercise, Mistake, Text
from facelearn.check.quiz import Quiz

# ---- ex1: the gradient of the mean cross-entropy against smoothed labels -----------------------------------------


def _onehot(logits: Tensor, labels: Tensor) -> Tensor:
    return F.one_hot(labels, logits.shape[1]).to(logits.dtype)  # (B, C)


def _smoothed(logits: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    q = (1 - epsilon) * _onehot(logits, labels) + epsilon / logits.shape[1]  # (B, C)
    return (logits.softmax(1) - q) / len(logits)


def _others_only(logits: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    own, share = _onehot(logits, labels), epsilon / (logits.shape[1] - 1)
    return (logits.softmax(1) - (1 - epsilon) * own - share * (1 - own)) / len(logits)


def _lost_mass(logits: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    return (logits.softmax(1) - (1 - epsilon) * _onehot(logits, labels)) / len(logits)


def _over_the_batch(logits: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    return _smoothed(logits, labels, epsilon) + (logits.softmax(0) - logits.softmax(1)) / len(logits)


def _batches(generator: torch.Generator) -> Iterator[Case]:
    def draw(batch: int, classes: int, epsilon: float, size: float = 3.0) -> tuple[Tensor, Tensor, float]:
        logits = size * torch.randn(batch, classes, generator=generator, dtype=torch.float64)
        return logits, torch.randint(classes, (batch,), generator=generator), epsilon

    yield Case(*draw(6, 4, 0.1), name=Text("six samples, four classes", "六个样本、四个类的批次"))
    yield Case(*draw(4, 4, 0.3), name=Text("as many samples as classes", "样本数与类别数相等的批次"))
    yield Case(*draw(2, 3, 0.0), name=Text("epsilon = 0", "epsilon = 0"))
    yield Case(*draw(1, 3, 0.2), name=Text("a single sample", "单个样本"))
    yield Case(*draw(3, 5, 0.1, 1000.0), name=Text("logits of about ±1000", "±1000 左右的 logit"))


ex1 = Exercise(
    "ex1",
    _smoothed,
    _batches,
    mistakes=[
        Mistake(
            lambda logits, labels, epsilon: _smoothed(logits, labels, 0.0),
            Text(
                "this is the gradient for labels that are not smoothed: epsilon plays no part in it",
                "这是标签没有平滑时的梯度：epsilon 没有起作用",
            ),
        ),
        Mistake(
            _lost_mass,
            Text(
                "epsilon has been taken from the target and given to nobody: the q_j of a sample add up to 1",
                "从目标类拿走的 epsilon 没有分给任何类：一个样本的各个 q_j 之和应为 1",
            ),
        ),
        Mistake(
            _others_only,
            Text(
                "here epsilon is shared by the C - 1 other classes; by the formula all C classes get epsilon / C",
                "这里 epsilon 只分给了其余 C - 1 个类；按公式，全部 C 个类各得 epsilon / C",
            ),
        ),
        Mistake(
            lambda logits, labels, epsilon: -_smoothed(logits, labels, epsilon),
            Text("the sign is reversed: what the model believes comes first", "符号反了：模型的判断应当在前"),
        ),
        Mistake(
            lambda logits, labels, epsilon: len(logits) * _smoothed(logits, labels, epsilon),
            Text(
                "this is the gradient of the sum over the batch; the loss is the mean: divide by B",
                "这是对批次求和的梯度；损失是平均值，还要除以 B",
            ),
        ),
        Mistake(
            _over_the_batch,
            Text(
                "the softmax runs over the batch; it must run over the classes, along a row",
                "softmax 沿批次方向做了；应沿类别方向，即在每一行内做",
            ),
        ),
    ],
)

# ---- ex2: a cross-entropy in float32, exact where it is nearly zero ----------------------------------------------


def _careful(logits: Tensor, labels: Tensor) -> Tensor:
    own = _onehot(logits, labels).bool()  # (B, C)
    exact = logits.double()
    rest = exact.masked_fill(own, -torch.inf).logsumexp(1)  # (B,)
    return -F.logsigmoid(exact[own] - rest).mean().to(logits.dtype)


def _rounded(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels)


def _overflowing(logits: Tensor, labels: Tensor) -> Tensor:
    own = _onehot(logits, labels).bool()
    rest = logits.masked_fill(own, -torch.inf).logsumexp(1)
    return (rest - logits[own]).exp().log1p().mean()


def _one_plus(logits: Tensor, labels: Tensor) -> Tensor:
    own = _onehot(logits, labels).bool()
    rest = logits.masked_fill(own, -torch.inf).logsumexp(1)
    return (1 + (rest - logits[own]).exp()).log().mean()


def _target_in_the_sum(logits: Tensor, labels: Tensor) -> Tensor:
    return F.softplus(logits.logsumexp(1) - logits.gather(1, labels[:, None])[:, 0]).mean()


def _hardest_alone(logits: Tensor, labels: Tensor) -> Tensor:
    own = _onehot(logits, labels).bool()
    return F.softplus(logits.masked_fill(own, -torch.inf).amax(1) - logits[own]).mean()


def _sum(logits: Tensor, labels: Tensor) -> Tensor:
    return len(logits) * _careful(logits, labels)


def _extremes(generator: torch.Generator) -> Iterator[Case]:
    ordinary = 2 * torch.randn(5, 4, generator=generator)
    yield Case(ordinary, torch.tensor([0, 1, 2, 3, 0]), name=Text("ordinary logits", "普通的 logit"))

    def rows(*values: list[float]) -> Tensor:
        return torch.tensor(values)

    yield Case(rows([28.0, 0.0, -1.0]), torch.tensor([0]), name=Text("a loss of 1e-12", "1e-12 大小的损失"))
    close = rows([20.0, 1.0, 0.5, 1.5], [0.0, 19.0, 1.0, 0.0])
    yield Case(close, torch.tensor([0, 1]), name=Text("losses of about 2e-8", "2e-8 左右的损失"))
    yield Case(rows([1e4, 0.0, -1e4]), torch.tensor([2]), name=Text("wrong by 20,000", "错了 20,000 的样本"))
    mixed = rows([1e4, 1e4 - 1.0], [-1e4, -1e4 + 2.0], [0.5, -0.5])
    yield Case(mixed, torch.tensor([1, 0, 0]), name=Text("rows of very different size", "大小相差悬殊的各行"))


ex2 = Exercise(
    "ex2",
    _careful,
    _extremes,
    gradients=(0,),
    rtol=1e-4,
    atol=1e-30,
    mistakes=[
        Mistake(
            _rounded,
            Text(
                "near zero the digits are gone: somewhere a tiny number was added to 1, or two nearly equal logs were"
                " subtracted",
                "接近零时有效数字丢了：某处把极小的数加到了 1 上，或者让两个几乎相等的对数相减",
            ),
        ),
        Mistake(
            _one_plus,
            Text(
                "1 + e^(r - z_y) rounds to 1 before the logarithm sees it: there is a function for log(1 + t) of a"
                " tiny t",
                "1 + e^(r - z_y) 在取对数之前就舍入成了 1：t 极小时，log(1 + t) 有专门的函数",
            ),
        ),
        Mistake(
            _overflowing,
            Text(
                "near zero all is well, but e^(r - z_y) is infinite for a sample that is very wrong",
                "接近零时没有问题，但对错得离谱的样本，e^(r - z_y) 是无穷大",
            ),
        ),
        Mistake(
            _target_in_the_sum,
            Text(
                "the target is still in the sum: r is that of the other classes alone",
                "目标类还在求和里：r 只由其余各类得到",
            ),
        ),
        Mistake(
            _hardest_alone,
            Text(
                "the largest wrong logit alone stands for all the others; r is the log of the sum of all of them",
                "只用了最大的那个错误类的 logit；r 是其余所有类求和再取对数",
            ),
        ),
        Mistake(
            _sum, Text("this is the sum over the batch; the mean is asked for", "这是对批次求和；题目要的是平均值")
        ),
        Mistake(
            lambda logits, labels: -_careful(logits, labels),
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


def _abs_away(weight: Tensor, bias: Tensor, i: int, j: int, x: Tensor) -> Tensor:
    return 2 * x - _always_positive(weight, bias, i, j, x)


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
            _abs_away,
            Text(
                "an absolute value has dropped the sign of z_i - z_j: the step always goes along w_i - w_j",
                "绝对值丢掉了 z_i - z_j 的符号：这一步总是朝 w_i - w_j 的方向走",
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

quiz = Quiz("softmax")
