"""Checks of chapter 09: the gradient of a log-variance, full covariances, a test that finds what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from facelearn.check.framework import Case, Exercise, Mistake, Text, by_autograd, called_by, detector
from facelearn.check.quiz import Quiz


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


# ---- ex1: the gradient with respect to the log-variances -------------------------------------------------------------


def _variance_gradient(
    x: Tensor, means: Tensor, log_var: Tensor, y: Tensor, alpha: float, lam: float, slip: str = ""
) -> Tensor:
    """(B, d), (C, d), (C, d), (B,) -> (C, d)"""
    alpha = 0.0 if slip == "no margin" else alpha
    q = (x[:, None] - means).square() * (-log_var).exp() * (2 if slip == "no half" else 1)  # (B, C, d)
    own = F.one_hot(y, len(means)).to(x.dtype)  # (B, C)
    margin = 1 + alpha * (F.one_hot(y, len(means)) if slip == "float32 margin" else own)
    half_log_det = log_var.sum(1) / 2 * (margin if slip == "margin on det" else 1)
    logits = -(own * 0 + 1 if slip == "plain p" else margin) * q.sum(2) / 2 - half_log_det
    outer = own - logits.softmax(1) if slip == "sign" else logits.softmax(1) - own
    by_logit = (margin[..., None] if slip != "plain slope" else 1) * q / 2 - (0 if slip == "no det" else 0.5)
    likelihood = own[..., None] * (-q if slip == "no det" else 1 - q) / 2
    if slip == "margin on det":
        by_logit = margin[..., None] * (q - 1) / 2
    if slip == "no likelihood":
        likelihood = likelihood * 0
    if slip == "whole margin":
        likelihood = own[..., None] * (1 - margin[..., None] * q) / 2
    found = outer[..., None] * by_logit + lam * likelihood
    found = found.sum(0) if slip == "sum" else found.mean(0)
    if slip == "variance":
        found = found * (-log_var).exp()
    return -found if slip == "step" else found


def _batches(generator: torch.Generator) -> Iterator[Case]:
    def draw(batch: int, classes: int, dim: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x, means, log_var = (_normal(generator, rows, dim) for rows in (batch, classes, classes))
        return x, means, log_var, torch.randint(classes, (batch,), generator=generator)

    yield Case(*draw(7, 4, 3), 0.3, 0.2, name=Text("seven samples, four classes", "七个样本、四个类的批次"))
    yield Case(*draw(1, 3, 2), 1.0, 0.5, name=Text("a single sample", "单个样本"))
    yield Case(*draw(5, 3, 4), 0.0, 0.0, name=Text("α = 0, λ = 0", "α = 0、λ = 0"))
    x, means, log_var, y = draw(4, 3, 2)
    yield Case(30 * x, means, log_var, y, 0.3, 0.1, name=Text("samples far from all means", "离所有均值都很远的样本"))


def _without_autograd(function: Callable[..., Any]) -> Text | None:
    generator = torch.Generator().manual_seed(1)
    x, means, log_var = (_normal(generator, rows, 2) for rows in (3, 2, 2))
    if not by_autograd(function, x, means, log_var, torch.tensor([0, 1, 1]), 0.3, 0.1):
        return None
    return Text(
        "the values are right, but they come from autograd; put the derivative together by hand",
        "数值正确，但它来自自动求导；请自己把导数推出来",
    )


ex1 = Exercise(
    "ex1",
    _variance_gradient,
    _batches,
    mistakes=[
        Mistake(partial(_variance_gradient, slip=slip), text)
        for slip, text in {
            "no margin": Text(
                "α is nowhere in it: the own logit of the loss has (1 + α) d_y",
                "哪里都没有用到 α：损失里自己的 logit 含有 (1 + α) d_y",
            ),
            "no half": Text("the ½ of d_k is missing", "缺了 d_k 里的 ½"),
            "plain p": Text(
                "the probabilities are those without a margin; the loss has the own distance times 1 + α in them",
                "概率里没有间隔；损失里的 p 是把到自己类的距离乘以 1 + α 之后算的",
            ),
            "plain slope": Text(
                "the own logit has (1 + α) d_y in it: so has its derivative",
                "自己的 logit 里是 (1 + α) d_y，求导之后这个系数还在",
            ),
            "margin on det": Text(
                "the margin multiplies d_y alone, not ½ log|Λ_y|", "间隔只乘在 d_y 上，不乘 ½ log|Λ_y|"
            ),
            "sign": Text(
                "the part of the posterior has the wrong sign: it is p - 1 for the own class",
                "后验那一部分的符号反了：对自己的类应是 p - 1",
            ),
            "no det": Text(
                "½ log|Λ| is missing: it stands in every logit and in the likelihood term",
                "缺了 ½ log|Λ|：每个 logit 里有它，似然项里也有它",
            ),
            "no likelihood": Text("the likelihood term is missing", "缺了似然项"),
            "whole margin": Text(
                "the margin stands in the logits alone; the likelihood term has d_y without it",
                "间隔只出现在 logit 里；似然项里的 d_y 不带间隔",
            ),
            "float32 margin": Text(
                "the margin is float32, as α times an integer one-hot is: 1.3 becomes 1.3000000119; convert it first",
                "间隔成了 float32：α 乘整数的 one-hot 就会这样，1.3 变成 1.3000000119；请先转换类型",
            ),
            "sum": Text(
                "this is the gradient of the sum over the batch; the loss is a mean: divide by B",
                "这是对批次求和的梯度；损失是平均值，要除以 B",
            ),
            "variance": Text(
                "this is the derivative by Λ; asked is that by log Λ, which is Λ times as large",
                "这是对 Λ 的导数；题目要的是对 log Λ 的导数，要再乘以 Λ",
            ),
            "step": Text("this is the way a step goes, minus the gradient", "这是下降的方向，也就是负梯度"),
        }.items()
    ],
    rules=[_without_autograd],
    rtol=1e-9,
    atol=1e-12,
)

# ---- ex2: log densities with full covariances ------------------------------------------------------------------------


def _full_scores(x: Tensor, means: Tensor, covariances: Tensor) -> Tensor:
    """(B, d), (C, d), (C, d, d) -> (B, C)"""
    root = torch.linalg.cholesky(covariances)
    differences = (x[:, None] - means).permute(1, 2, 0)  # (C, d, B)
    white = torch.linalg.solve_triangular(root, differences, upper=False)
    return -white.square().sum(1).T / 2 - root.diagonal(dim1=1, dim2=2).log().sum(1)


def _by_inverse(x: Tensor, means: Tensor, covariances: Tensor, slip: str = "") -> Tensor:
    differences = x[:, None] - means  # (B, C, d)
    diagonal = covariances.diagonal(dim1=1, dim2=2)
    if slip == "diagonal":
        return -(differences.square() / diagonal).sum(2) / 2 - diagonal.log().sum(1) / 2
    root = torch.linalg.cholesky(covariances)
    middle = covariances if slip == "not inverted" else torch.cholesky_inverse(root)
    q = torch.einsum("bcd,cde,bce->bc", differences, middle, differences)
    squares = root.diagonal(dim1=1, dim2=2).square()
    det = squares.prod(1).log() if slip == "det" else squares.log().sum(1)
    half = {"no half": 1.0}.get(slip, 0.5)
    constant = x.shape[1] / 2 * math.log(2 * math.pi) if slip == "constant" else 0.0
    if slip == "no det":
        det = det * 0
    if slip == "whole det":
        det = 2 * det
    if slip == "quarter det":
        det = det / 2
    if slip == "plus":
        det = -det
    return -half * q - det / 2 - constant


def _ellipses(generator: torch.Generator) -> Iterator[Case]:
    def draw(batch: int, classes: int, dim: int, size: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        root = _normal(generator, classes, dim, dim) / dim**0.5
        covariances = size * (root @ root.mT + 0.5 * torch.eye(dim, dtype=torch.float64))
        return size**0.5 * _normal(generator, batch, dim), size**0.5 * _normal(generator, classes, dim), covariances

    yield Case(*draw(5, 4, 3), name=Text("five samples, four classes, d = 3", "五个样本、四个类、d = 3"))
    yield Case(*draw(1, 2, 2), name=Text("a single sample, d = 2", "单个样本、d = 2"))
    yield Case(*draw(3, 1, 1), name=Text("one class, d = 1", "一个类、d = 1"))
    yield Case(*draw(3, 2, 300, 1e-4), name=Text("d = 300, variances near 1e-4", "d = 300、方差在 1e-4 左右"))


ex2 = Exercise(
    "ex2",
    _full_scores,
    _ellipses,
    mistakes=[
        Mistake(partial(_by_inverse, slip=slip), text)
        for slip, text in {
            "diagonal": Text(
                "only the diagonals of the covariances are used: these ellipses do not lean",
                "只用了协方差的对角线：这样的椭圆不会倾斜",
            ),
            "det": Text(
                "right where d is small; at d = 300 the determinant itself underflows: take its logarithm as a sum",
                "d 小的时候是对的；d = 300 时行列式本身下溢成 0：它的对数要用求和来算",
            ),
            "not inverted": Text(
                "Σ stands in the square, not its inverse: wide directions would count more, not less",
                "二次型里用的是 Σ，不是它的逆：这样散得宽的方向反而算得更重",
            ),
            "no half": Text("the square lacks its ½", "平方项缺了 ½"),
            "no det": Text("½ log|Σ| is missing: a wide class is spread thin", "缺了 ½ log|Σ|：类越宽，密度越低"),
            "whole det": Text("log|Σ| in place of ½ log|Σ|", "写成了 log|Σ|，应是 ½ log|Σ|"),
            "quarter det": Text(
                "¼ log|Σ| in place of ½ log|Σ|: the sum of the logarithms of a root's diagonal is ½ log|Σ| already",
                "写成了 ¼ log|Σ|，应是 ½ log|Σ|：Cholesky 因子的对角元取对数求和，已经是 ½ log|Σ|",
            ),
            "plus": Text(
                "½ log|Σ| is added; it must be taken off: a wide class is spread thin",
                "½ log|Σ| 加上去了；应当减去：类越宽，密度越低",
            ),
            "constant": Text(
                "the constant (d/2) log 2π is in it; asked are log densities without it, as in step 2",
                "多了常数 (d/2) log 2π；题目要的是去掉它之后的对数密度，与第 2 步一样",
            ),
        }.items()
    ],
    rtol=1e-8,
    atol=1e-8,
)

# ---- ex3: a test that tells right from wrong -------------------------------------------------------------------------


def _loss(x: Tensor, means: Tensor, log_var: Tensor, y: Tensor, alpha: float, lam: float, *, kind: str) -> Tensor:
    """L-GM, right or with one fault."""
    squares = (x[:, None] - means).square()  # (B, C, d)
    lam = 0.1 if kind == "fixed" else lam
    alpha = alpha**2 if kind == "squared" else alpha
    log_var = log_var[:, :1].expand_as(log_var) if kind == "first" else log_var
    d = (squares * (-log_var).exp()).sum(2) / (1 if kind == "no half" else 2)
    half_log_det = log_var.sum(1) * {"deviation": 1.0, "no det": 0.0, "mean": 0.5 / x.shape[1]}.get(kind, 0.5)
    own = F.one_hot(y, len(means)).to(x.dtype)  # (B, C)
    margin = {"all": 1 + alpha + 0 * own, "lost": 1 + 0 * own}.get(kind, 1 + alpha * own)
    logits = -margin * d - half_log_det
    if kind == "exp first":
        density = logits.exp()
        posterior = -((own * density).sum(1) / (density.sum(1) + 1e-8) + 1e-8).log()
    else:
        posterior = F.cross_entropy(logits, y, reduction="none")
    distance = squares.sum(2) / 2 if kind == "euclid" else margin * d if kind == "margin twice" else d
    likelihood = (own * (distance + (0 if kind == "no det there" else half_log_det))).sum(1)
    if kind in ("constant", "other constant"):
        likelihood = likelihood + x.shape[1] / 2 * math.log((2 if kind == "constant" else 1) * math.pi)
    total = posterior + lam * likelihood
    return total.sum() if kind == "sum" else total.mean()


_GIVEN = {
    "right": Text("a right implementation", "一个正确的实现"),
    "constant": Text(
        "a right implementation, which keeps the constant (d/2) log 2π", "一个正确的实现（保留了常数 (d/2) log 2π）"
    ),
    "other constant": Text(
        "a right implementation, whose constant is (d/2) log π", "一个正确的实现（常数是 (d/2) log π）"
    ),
    "euclid": Text("the likelihood term has the Euclidean distance", "似然项里用的是欧氏距离"),
    "no det there": Text("the likelihood term lacks ½ log|Λ|", "似然项里缺了 ½ log|Λ|"),
    "no det": Text("½ log|Λ| is in neither term", "两项里都没有 ½ log|Λ|"),
    "deviation": Text("½ log|Λ| is counted twice over", "½ log|Λ| 多算了一倍"),
    "exp first": Text("exponentials come before logarithms, with 1e-8 added", "先取指数后取对数，中间加了 1e-8"),
    "all": Text("the margin is given to every class", "所有类都加了间隔"),
    "lost": Text("the margin is lost", "间隔丢了"),
    "margin twice": Text("the margin is in the likelihood term too", "似然项里也乘了间隔"),
    "no half": Text("the distance lacks its ½", "距离缺了 ½"),
    "first": Text("all dimensions have the variance of the first", "各维都用了第一维的方差"),
    "mean": Text("log|Λ| is a mean over dimensions, not a sum", "log|Λ| 对各维取了平均，应当求和"),
    "fixed": Text("λ has no effect: it is always 0.1", "λ 不起作用：总是 0.1"),
    "squared": Text("α is squared", "α 被平方了"),
    "sum": Text("it is the sum over the batch", "是对批次求和，不是求平均"),
}
_catches_faults = detector(
    [(partial(_loss, kind=kind), words) for kind, words in _GIVEN.items()],
    right=3,
    if_rejected=Text(
        "is a constant that depends on d and λ alone free, is what you compare with right, is there a tolerance?",
        "只与 d 和 λ 有关的常数放过了吗？用来比较的值对吗？留了容差吗？",
    ),
    if_passed=Text(
        "does it change your numbers? Unequal variances, several α, λ, samples, dimensions, one sample far off?",
        "有这个错误时，你比较的数会变吗？试过不等的方差、几个 α 和 λ、多个样本和多维、离得很远的样本吗？",
    ),
)


def _from_elsewhere(function: Any) -> Text | None:
    code = getattr(function.function, "__code__", None)
    for name in sorted({"my_lgm", "LGM"} & (called_by(code) if code else set())):
        return Text(
            f"your test works, but it asks {name}: a fault that both have stays unseen; take the value from elsewhere",
            f"你的测试有效，但它借助了 {name}：两边都有的错误就看不见了；请用别的来源算出比较用的值",
        )
    return None


ex3 = Exercise("ex3", rules=[_catches_faults, _from_elsewhere])

quiz = Quiz("lgm")
