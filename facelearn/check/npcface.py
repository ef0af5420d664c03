"""Checks of chapter 17: the gradient that is stopped, four deviations told apart, how many seeds a bound needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from facelearn.check.framework import Case, Exercise, Mistake, Text, by_autograd
from facelearn.check.quiz import Quiz

SETTINGS = {"s": 8.0, "m": 0.5, "m0": 0.3, "m1": 0.4, "t": 1.3, "a": 0.1}

# ---- ex1: what would flow through the margin, were it no constant ---------------------------------------------------


def _leak(c: Tensor, y: int, s: float, m: float, m0: float, m1: float, t: float, a: float, slip: str = "") -> Tensor:
    """Gradient with the margin differentiated, less that with the margin held: (C,) -> (C,)"""
    p = c[y]
    theta = p.arccos()
    hard = c > (theta + m).cos()
    if slip != "own":
        hard[y] = False
    count = hard.sum()
    if count == 0 or (p <= 0 and slip != "beyond"):
        return torch.zeros_like(c)
    taken = t * c + a if slip == "emphasised" else c
    margin = m0 + m1 * (taken * hard).sum() / count
    logits = torch.where(hard, t * c + a, c)
    logits[y] = (theta + margin).cos() if p > 0 or slip == "beyond" else p
    unsure = 1 - (s * logits).softmax(0)[y]
    push = s * unsure * (theta + margin).sin() * m1
    if slip == "sine":
        push = push / theta.sin()
    factor = {"sign": -1.0, "no m1": 1 / m1 if m1 else 0.0, "no s": 1 / s, "times t": t}.get(slip, 1.0)
    return factor * push * hard / (1 if slip == "no mean" else count)


def _images(generator: torch.Generator) -> Iterator[Case]:
    for size, own, name in (
        (12, 0.6, Text("twelve classes", "十二个类")),
        (40, 0.8, Text("forty classes", "四十个类")),
        (7, 0.3, Text("a hard positive", "难正样本")),
    ):
        c = 0.9 * torch.rand(size, generator=generator, dtype=torch.float64) - 0.3
        c[2] = own
        yield Case(c, 2, *SETTINGS.values(), name=name)
    c = torch.tensor([0.5, 0.4, 0.35, 0.1], dtype=torch.float64)
    yield Case(c, 0, 16.0, 0.2, 0.5, 0.2, 1.0, 0.0, name=Text("other settings", "另一组设置"))
    lone = torch.tensor([0.1, -0.2, 0.95, 0.0], dtype=torch.float64)
    yield Case(lone, 2, *SETTINGS.values(), name=Text("no hard negative", "没有难负样本"))
    beyond = torch.tensor([0.1, -0.2, 0.3, 0.0], dtype=torch.float64)
    yield Case(beyond, 1, *SETTINGS.values(), name=Text("an image beyond 90°", "夹角超过 90° 的图像"))


def _by_hand(function: Callable[..., Any]) -> Text | None:
    c = torch.tensor([0.5, 0.4, 0.35, 0.1], dtype=torch.float64)
    if not by_autograd(function, c, 0, *SETTINGS.values()):
        return None
    return Text(
        "the values are right, but they come from autograd; derive them by hand",
        "数值正确，但它们来自自动求导；请手工推导",
    )


ex1 = Exercise(
    "ex1",
    _leak,
    _images,
    mistakes=[
        Mistake(lambda c, y, s, m, m0, m1, t, a, slip=slip: _leak(c, y, s, m, m0, m1, t, a, slip), text)
        for slip, text in {
            "sign": Text(
                "the sign is wrong: a larger margin makes the loss larger, and a larger c_j makes the margin larger",
                "符号反了：间隔越大损失越大，而 c_j 越大间隔越大",
            ),
            "no mean": Text(
                "the margin holds the MEAN over the hard negatives: each of them moves it by m1 / h",
                "间隔用的是难负样本余弦的平均值：对其中每一个求导只得 m1 / h",
            ),
            "own": Text("the own class is counted among the hard negatives", "把自己的类也算进了难负样本"),
            "emphasised": Text(
                "the margin is taken from t c + a; it is the mean of the cosines as they were",
                "算间隔时用了 t c + a；应当对原来的余弦求平均",
            ),
            "beyond": Text(
                "beyond 90° there is no margin, so nothing can flow through it",
                "夹角超过 90° 时没有间隔，也就没有梯度流过它",
            ),
            "sine": Text(
                "1 / sin θ belongs to the derivative by c_y; T by m_i has -sin(θ + m_i) alone",
                "1 / sin θ 是对 c_y 求导才有的；T 对 m_i 求导只有 -sin(θ + m_i)",
            ),
            "no m1": Text("the factor m1 is missing", "少了因子 m1"),
            "no s": Text("the logit is s T: a factor s is missing", "logit 是 s T：少了因子 s"),
            "times t": Text(
                "t belongs to the negatives' own logits; the margin holds the original cosines",
                "t 只用在负类自己的 logit 里；算间隔用的是原来的余弦",
            ),
        }.items()
    ],
    rules=[_by_hand],
    rtol=1e-9,
    atol=1e-12,
)

# ---- ex2: four deviations, alone and together -----------------------------------------------------------------------

NAMES = ("mask", "mean", "flow", "focal")


def deviating(slips: frozenset[str]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """NPCFace as a public re-implementation has it, with some of its deviations."""

    def loss(x: Tensor, w: Tensor, y: Tensor) -> Tensor:
        s, m, m0, m1, t, a = SETTINGS.values()
        c = F.normalize(x) @ F.normalize(w).T
        own = y[:, None]
        p = c.gather(1, own).clamp(-1, 1)
        bar = (p.detach().arccos() + (m0 if "mask" in slips else m)).cos()
        hard = (c > bar).scatter(1, own, False)
        others = torch.where(hard, t * c + a, c)
        mean = ((others if "mean" in slips else c) * hard).sum(1, keepdim=True) / hard.sum(1, keepdim=True).clamp(min=1)
        margin = m0 + m1 * (mean if "flow" in slips else mean.detach())
        sine = (1 - p * p).clamp(min=1e-12).sqrt()
        target = torch.where(p > 0, p * margin.cos() - sine * margin.sin(), p)
        value = F.cross_entropy(s * others.scatter(1, own, target), y)
        return (1 - (-value).exp()).square() * value if "focal" in slips else value

    return loss


def _told(slips: frozenset[str]) -> Text:
    if not slips:
        return Text("a loss without any deviation", "没有任何偏差的损失")
    names = ", ".join(name for name in NAMES if name in slips)
    return Text(f"a loss with the deviations {names}", f"带有偏差 {names.replace(', ', '、')} 的损失")


def _diagnosis(function: Callable[..., Any]) -> Text | None:
    for size in range(len(NAMES) + 1):
        for chosen in map(frozenset, combinations(NAMES, size)):
            found = function(deviating(chosen))
            if not isinstance(found, (set, frozenset)):
                kind = type(found).__name__
                return Text(f"expected a set of names, got {kind}", f"应返回名字的集合（set），得到的是 {kind}")
            if strange := sorted(map(str, found - set(NAMES))):
                known = ", ".join(NAMES)
                return Text(
                    f"unknown name {strange[0]!r}: expected some of {known}",
                    f"未知的名字 {strange[0]!r}：可用的是 {known}",
                )
            told = _told(chosen)
            if missed := [name for name in NAMES if name in chosen - found]:
                return Text(
                    f"{told.en}: you do not find {missed[0]!r}; on which batch would it alone change something?",
                    f"{told.zh}：你漏了 {missed[0]!r}；在什么样的批次上，只有它会使结果改变？",
                )
            if extra := [name for name in NAMES if name in found - chosen]:
                return Text(
                    f"{told.en}: you report {extra[0]!r}, which it does not have; do two deviations change one number?",
                    f"{told.zh}：你报告了 {extra[0]!r}，这个损失却没有这种偏差；会不会是另一种偏差也改变了同一个数？",
                )
    return None


ex2 = Exercise("ex2", rules=[_diagnosis])

# ---- ex3: how many seeds a bound needs ------------------------------------------------------------------------------


def _quantile(degrees: int, level: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, level))


def _seeds(sd: float, bound: float, mean: float, slip: str = "") -> float:
    room = bound if slip == "centred" else bound - abs(mean)
    if slip == "signed":
        room = bound - mean
    if room <= 0:
        return math.inf
    n = 2
    while True:
        level = 0.95 if slip == "one side" else 0.975
        wide = 1.959963984540054 if slip == "normal" else _quantile(n if slip == "degrees" else n - 1, level)
        if wide * sd / (n if slip == "no root" else n**0.5) < (2 * room if slip == "whole" else room):
            return float(n)  # an int is as good
        n += 1


def _plans(generator: torch.Generator) -> Iterator[Case]:
    yield Case(0.1, 0.15, 0.0, name=Text("centred", "均值为 0"))
    yield Case(0.8, 1.2, 0.0, name=Text("TAR, centred", "TAR，均值为 0"))
    yield Case(0.3, 0.15, 0.0, name=Text("a large scatter", "标准差较大"))
    yield Case(0.3, 0.15, 0.1, name=Text("a mean that is off by two thirds of the bound", "均值偏离了界限的三分之二"))
    yield Case(0.3, 0.15, -0.1, name=Text("the same with the other sign", "同样大小、符号相反的均值"))
    yield Case(0.01, 0.15, 0.0, name=Text("hardly any scatter", "标准差极小"))
    yield Case(1.0, 0.1, 0.05, name=Text("more than a thousand seeds", "一千多个种子"))
    yield Case(0.1, 0.15, 0.15, name=Text("a mean at the bound", "均值正好在界限上"))
    yield Case(0.1, 0.15, -0.4, name=Text("a mean beyond the bound", "均值超出界限"))


ex3 = Exercise(
    "ex3",
    _seeds,
    _plans,
    mistakes=[
        Mistake(lambda sd, bound, mean, slip=slip: _seeds(sd, bound, mean, slip), text)
        for slip, text in {
            "centred": Text(
                "the interval stands round the mean: what room is left for its half-width?",
                "区间以均值为中心：留给半宽的余地还有多少？",
            ),
            "signed": Text("a negative mean uses up room as a positive one does", "均值是负的，也照样占掉余地"),
            "normal": Text(
                "1.96 is the quantile of the normal law; with few seeds Student's t is wider",
                "1.96 是正态分布的分位数；种子少时 t 分布更宽",
            ),
            "one side": Text(
                "95 % in the middle leave 2.5 % on either side: the quantile is that of 0.975",
                "中间占 95%，两侧各剩 2.5%：要用 0.975 的分位数",
            ),
            "degrees": Text("t has n - 1 degrees of freedom", "t 分布的自由度是 n - 1"),
            "no root": Text("the half-width falls with the root of n", "半宽与 n 的平方根成反比"),
            "whole": Text(
                "compared with the whole width of the band; the half-width must fit on either side",
                "你拿半宽去比 ±bound 的总宽度了；应当是左右两侧各容得下一个半宽",
            ),
        }.items()
    ],
)

quiz = Quiz("npcface")
