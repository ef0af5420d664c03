"""Checks of chapter 14: where a hard class is pushed harder, a test of a curriculum, how long the sign is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from scipy.special import betaincinv, ndtri
from torch import Tensor

from facelearn.check.framework import Case, Exercise, Mistake, Text, detector
from facelearn.check.quiz import Quiz

# ---- ex1: from which cosine on CurricularFace pushes harder than ArcFace --------------------------------------------


def _from_here(s: float, t: float, slip: str = "") -> float:
    """The positive root of s c (t + c - 1) + log(t + 2c), between (1 - t) / 2 and 1 - t."""
    low, high = (1 - t) / 2, 1 - t
    if slip in ("derivative", "value"):
        return low if slip == "derivative" else high
    if slip == "no t":
        low, high = 1e-9, 2.0
    scale = {"no s": 1.0}.get(slip, s)
    for _ in range(200):
        c = (low + high) / 2
        gain = scale * c * (t + c - 1)
        gain += math.log(2 * c) if slip == "no t" else math.log(t + 2 * c)
        low, high = (c, high) if gain < 0 else (low, c)
    return (low + high) / 2


def _curricula(generator: torch.Generator) -> Iterator[Case]:
    yield Case(8.0, 0.5, name=Text("s = 8, t = 0.5", "s = 8、t = 0.5"))
    yield Case(32.0, 0.5, name=Text("s = 32, t = 0.5", "s = 32、t = 0.5"))
    yield Case(64.0, 0.1, name=Text("s = 64, t = 0.1", "s = 64、t = 0.1"))
    yield Case(16.0, 0.0, name=Text("t = 0", "t = 0"))
    yield Case(0.01, 0.3, name=Text("a tiny scale", "极小的尺度"))
    yield Case(8.0, 0.999, name=Text("t near 1", "t 接近 1"))
    yield Case(1000.0, 0.2, name=Text("a huge scale", "极大的尺度"))


ex1 = Exercise(
    "ex1",
    _from_here,
    _curricula,
    mistakes=[
        Mistake(lambda s, t, slip=slip: _from_here(s, t, slip), text)
        for slip, text in {
            "derivative": Text(
                "that is where the derivative passes 1; the logit there is still lower than c, and p_j with it",
                "这是导数超过 1 的地方；那里的 logit 仍比 c 低，p_j 也就更小",
            ),
            "value": Text(
                "that is where the logit passes c; its derivative is above 1 already before",
                "这是 logit 超过 c 的地方；还没到这里，导数就已经大于 1 了",
            ),
            "no s": Text(
                "the scale is missing: p_j goes with exp(s · logit)", "缺了尺度：p_j 与 exp(s · logit) 成正比"
            ),
            "no t": Text(
                "the derivative of c (t + c) is t + 2c: you have lost its t", "c (t + c) 的导数是 t + 2c：漏了其中的 t"
            ),
        }.items()
    ],
    rtol=1e-8,
    atol=1e-9,
)

# ---- ex2: a test of a curriculum ------------------------------------------------------------------------------------


class _Head:
    """CurricularFace on cosines, m = 0.5, β = 0.01: `head(cos (B, C), y (B,))` gives the logits over s; one slip."""

    def __init__(self, slip: str = "") -> None:
        self.slip, self.training = slip, True
        self.t = torch.zeros((), dtype=torch.float64)

    def train(self) -> _Head:
        self.training = True
        return self

    def eval(self) -> _Head:
        self.training = False
        return self

    def __call__(self, cos: Tensor, y: Tensor) -> Tensor:
        slip, own = self.slip, y[:, None]
        c = cos.gather(1, own)  # (B, 1)
        theta = c.clamp(-1, 1).acos()
        target = (theta + 0.5).cos()
        seen = {"with margin": target, "all": cos, "median": c.median()}.get(slip, c).mean()
        beta = {"0.99": 0.99}.get(slip, 0.01)
        new = beta * (seen if slip == "gradient" else seen.detach()) + (1 - beta) * self.t
        moves = self.training or slip == "eval"
        t = self.t if not moves or slip == "late" else new
        if moves:
            self.t = new.detach()
        bar = c if slip == "plain bar" else target
        hard = cos > bar
        if slip == "half the batch":
            hard = hard & (torch.arange(len(cos)) < max(1, len(cos) // 2))[:, None]
        if slip == "positive only":
            hard = hard & (cos > 0)
        inside = {"multiplied": (1 + t) * cos + t}.get(slip, cos * (t + cos))
        if slip == "loops":
            rows = [
                [
                    target[i, 0] if j == int(y[i]) else (v * (t + v) if v > target[i, 0] else v)
                    for j, v in enumerate(row)
                ]
                for i, row in enumerate(cos)
            ]
            return torch.stack([torch.stack(row) for row in rows])
        if slip == "added":
            out = cos + hard * (t * cos + cos.square() - cos)
            return out * (1 - torch.zeros_like(cos).scatter(1, own, 1.0)) + torch.zeros_like(cos).scatter(
                1, own, target
            )
        out = torch.where(hard, inside, cos)
        return out if slip == "own unchanged" else out.scatter(1, own, target)


def _maker(slip: str) -> Callable[[], _Head]:
    return lambda: _Head(slip)


_SHOWN = [
    (_maker(slip), text)
    for slip, text in {
        "": Text("the formula as it stands", "照公式写的实现"),
        "loops": Text("a right one, in two loops", "用两重循环写的正确实现"),
        "added": Text("a right one, that adds the difference", "先算差值再加上去的正确实现"),
        "eval": Text("t moves in eval() too", "eval() 时 t 也在动"),
        "0.99": Text("the new batch weighs 0.99", "新批次的权重是 0.99"),
        "late": Text("t is used before this batch has moved it", "这一批用的还是旧的 t，用完才更新"),
        "with margin": Text("t follows the cosine with its margin", "t 跟踪的是加了间隔的余弦"),
        "all": Text("t follows all cosines, not the target's", "t 跟踪所有余弦，而不只是目标余弦"),
        "gradient": Text("a gradient flows through t", "梯度流过了 t"),
        "plain bar": Text("hard means above the target cosine without its margin", "判断难易没加间隔"),
        "multiplied": Text("MV-Softmax's emphasis", "用了 MV-Softmax 的加重方式"),
        "positive only": Text("cosines below 0 are never hard", "负的余弦一律不算难"),
        "half the batch": Text("only the first half of the batch is emphasised", "只加重了前半批"),
        "own unchanged": Text("the own class gets no target logit", "自己的类没有换成目标 logit"),
    }.items()
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
                "which batch, which call, which value or gradient would tell it from the right one?",
                "换什么样的批次、再怎样调用、看数值还是看梯度，才能把它与正确的实现区分开？",
            ),
        )
    ],
)

# ---- ex3: how many batches until few are pulled the wrong way -------------------------------------------------------


def _batches_until(share: float, d: int, mean: float, beta: float, slip: str = "") -> float:
    if slip == "Gaussian":
        quantile = float(ndtri(share)) / d**0.5
    else:
        quantile = 2 * float(betaincinv((d - 1) / 2, (d - 1) / 2, share / 2 if slip == "two tails" else share)) - 1
    t = -quantile if slip == "not twice" else -2 * quantile
    if t <= 0:
        return 0.0
    if t >= mean:
        return math.inf
    if slip == "one batch":
        return float(math.ceil(t / (beta * mean)))
    k = math.log1p(-t / mean) / math.log1p(-beta)
    return float(math.floor(k) if slip == "floor" else math.ceil(k))


def _starts(generator: torch.Generator) -> Iterator[Case]:
    yield Case(0.01, 64, 0.8, 0.01, name=Text("1 % in 64 dimensions", "64 维、1%"))
    yield Case(0.1, 64, 0.3, 0.01, name=Text("10 %, a poor net", "10%，网络还很差"))
    yield Case(0.05, 512, 0.7, 0.01, name=Text("512 dimensions", "512 维"))
    yield Case(0.2, 3, 0.95, 0.05, name=Text("three dimensions", "3 维"))
    yield Case(0.001, 8, 0.6, 0.01, name=Text("t can never get there", "t 永远到不了"))
    yield Case(0.5, 64, 0.8, 0.01, name=Text("half are allowed", "允许一半"))
    yield Case(0.02, 16, 0.9, 0.99, name=Text("β as the paper prints it", "论文里印的 β"))


ex3 = Exercise(
    "ex3",
    _batches_until,
    _starts,
    mistakes=[
        Mistake(lambda share, d, mean, beta, slip=slip: _batches_until(share, d, mean, beta, slip), text)
        for slip, text in {
            "not twice": Text(
                "a class is pulled towards the sample where c < -t/2: t is twice the quantile",
                "c < -t/2 时类才被拉向样本：t 是分位数绝对值的两倍",
            ),
            "Gaussian": Text(
                "a normal distribution is not exact: cosines end at ±1, which shows in few dimensions",
                "正态分布只是近似：余弦不超出 ±1，低维时看得出差别",
            ),
            "two tails": Text("only one tail counts: cosines far below 0", "只该算远低于 0 的那一侧尾部"),
            "one batch": Text(
                "t does not climb by β · mean in each batch: the old t is forgotten by 1 - β each time",
                "t 并不是每批增加 β · mean：旧的 t 每次都要乘以 1 - β",
            ),
            "floor": Text("one batch too few: rounded down", "少了一批：向下取整了"),
        }.items()
    ],
    rtol=0,
    atol=0,
)

quiz = Quiz("hard_negatives")
