"""Checks of chapter 21: an interval for a recipe, a loss of one's own, a report with every field."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from scipy.optimize import least_squares
from scipy.special import stdtr, stdtrit

from facelearn.check import conformance
from facelearn.check.framework import Case, Exercise, Mistake, Text
from facelearn.check.quiz import Quiz
from facelearn.losses import MarginHead
from facelearn.losses.sphereface import psi

Array = np.ndarray

# ---- ex1: other trainings and other people --------------------------------------------------------------------------

TRAININGS, PEOPLE, WORLDS = 5, 60, 400
# name, spread of people, of trainings
_WORLDS: dict[str, tuple[float, float]] = {"people": (3.0, 0.05), "trainings": (0.3, 1.0), "both": (3.4, 1.0)}
_WHERE = {
    "people": Text("people differ and trainings do not", "人与人差别大、各次训练几乎没有差别"),
    "trainings": Text("trainings differ and people hardly do", "各次训练差别大、人与人差别很小"),
    "both": Text("both differ", "两者都有差别"),
}


def _world(people: float, trainings: float, draws: np.random.Generator) -> Array:
    """Differences (S, K) of true mean 0.7: the same K people under S trainings."""
    d = 0.7 + trainings * draws.normal(size=(TRAININGS, 1)) + people * draws.normal(size=(1, PEOPLE))
    return d + draws.normal(size=(TRAININGS, PEOPLE))


def _covers(interval: Callable[..., Any]) -> Text | None:
    found: dict[str, tuple[float, float]] = {}
    for name, (people, trainings) in _WORLDS.items():
        draws, inside, wide = np.random.default_rng(7), 0, 0.0
        for _ in range(WORLDS):
            d = _world(people, trainings, draws)
            given = d.copy()
            ends = interval(given)
            if not np.array_equal(given, d):
                return Text("your function changes its input", "你的函数改动了输入")
            try:
                low, high = (float(end) for end in ends)
            except (TypeError, ValueError):
                return Text("expected two numbers, low and high", "应返回两个数：下端和上端")
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                return Text(
                    f"expected low <= high, got {low:g} and {high:g}", f"应有下端 ≤ 上端，得到 {low:g} 和 {high:g}"
                )
            inside += low <= 0.7 <= high
            wide += (high - low) / 2
        ideal = 2.776 * math.sqrt(trainings**2 / TRAININGS + people**2 / PEOPLE)
        found[name] = inside / WORLDS, wide / WORLDS / ideal
    bad = [name for name, (share, _) in found.items() if share < 0.92]
    if "people" in bad and "trainings" in bad:
        why = Text("; S · K numbers are no S · K observations", "；S · K 个数并不是 S · K 次独立观测")
    elif "people" in bad:
        why = Text("; it asks what other trainings would give, not what other people would",
                   "；它只问换一次训练会怎样，没问换一批人会怎样")  # fmt: skip
    elif "trainings" in bad and found["trainings"][0] > 0.8:
        why = Text("; both scatters seem to be in it, but it is made for many trainings (z or t? n or n - 1?)",
                   "；两种波动看来都在里面，但它是按许多次训练算的（z 还是 t？除以 n 还是 n - 1？）")  # fmt: skip
    elif "trainings" in bad:
        why = Text("; it asks what other people would give, not what another training would",
                   "；它只问换一批人会怎样，没问换一次训练会怎样")  # fmt: skip
    else:
        why = Text("; each variance adds to the other", "；两份方差要相加")
    for name in bad:
        share, where = found[name][0], _WHERE[name]
        return Text(
            f"where {where.en} it holds the truth in {share:.0%} of the worlds, expected 95 %{why.en}",
            f"当{where.zh}时，它只在 {share:.0%} 的世界里包含真值，应为 95 %{why.zh}",
        )
    if found["trainings"][1] < 0.9:  # with n - 1 and t 0.94 or more
        return Text("where trainings differ it is too narrow: the variance of five divides by n - 1",
                    "当各次训练有差别时，它太窄：五个数的方差要除以 n - 1")  # fmt: skip
    for name, (_, width) in found.items():
        if width > 1.12:
            where = _WHERE[name]
            return Text(
                f"it holds the truth; where {where.en} it is {width:.1f} times as wide as it need be (what adds up?)",
                f"它包含真值；但当{where.zh}时，宽度是所需的 {width:.1f} 倍（该相加的是什么？）",
            )
    return None


ex1 = Exercise("ex1", rules=[_covers])

# ---- ex2: a loss of one's own ---------------------------------------------------------------------------------------


SCALE = 8
_KNOWN = Text("this margin is in the package already: take one that none of its losses has",
              "这种间隔库里已经有了：请换一种库里没有的")  # fmt: skip


def _own(make: Callable[..., Any]) -> Text | None:
    head = make(conformance.DIM, conformance.CLASSES)
    found = conformance.findings(getattr(make, "function", make))
    if found:
        return found[0]
    if type(head).target.__module__.startswith("facelearn.losses"):  # a loss of the package, or a subclass of it
        return _KNOWN
    if head.scale != SCALE:
        return Text(f"expected the scale {SCALE}, got {head.scale:g}", f"尺度应为 {SCALE}，得到 {head.scale:g}")
    return _new(head)


def _new(head: MarginHead) -> Text | None:
    """Is the target steep enough everywhere, and one that the package does not have?"""
    cos = torch.linspace(-0.999, 0.999, 400, dtype=torch.float64)
    head = head.double().eval()
    x = torch.stack([cos, (1 - cos**2).sqrt()], 1) @ torch.eye(2, conformance.DIM, dtype=torch.float64)
    nobody = [torch.zeros_like(cos) for _ in head.row_sums(cos[:, None], cos[:, None])]  # sums over no wrong class
    with torch.no_grad():
        target = head.target(cos, (*head.rows(x, cos), *nobody)).expand_as(cos)
    if float(target.diff().min()) <= 0:
        return Text(
            "somewhere the target does not rise with the cosine: a worse sample gets a logit as good or better",
            "目标值在某处没有随余弦上升：更差的样本反而得到同样好或更好的 logit",
        )
    if float((target - cos).max()) > 1e-9:
        return Text("somewhere the target exceeds the cosine: there the margin makes it easier",
                    "目标值在某处超过了余弦：间隔反而让样本更容易过关")  # fmt: skip
    theta, middle = cos.arccos(), cos.abs() < 0.7
    asked = (cos - target)[middle]
    if float(asked.min()) < 0.02:
        return Text(
            "between 45° and 135° it must ask for at least 0.02 more than the cosine",
            "在 45° 到 135° 之间，它要求的至少要比余弦多 0.02",
        )
    bent = (target[middle].clamp(-1, 1).arccos() - theta[middle], target[middle].clamp(-1, 1).arccos() / theta[middle])
    # SphereFace asks for cos θ - ψ(θ), over 1 + λ
    eased = [asked / (cos - psi(cos, m))[middle] for m in (2, 3, 4)]
    if any(float(kept.max() - kept.min()) < 1e-3 for kept in (asked, *bent, *eased)):
        return _KNOWN
    return _KNOWN if _combined(theta.numpy(), target.numpy()) else None


def _combined(theta: Array, target: Array) -> bool:
    """Is it cos(m1 θ + m2) - m3 between 45° and 90°, before any of its rules beyond π begins?"""
    part = (theta > math.pi / 4) & (theta < math.pi / 2)
    theta, target = theta[part], target[part]

    def away(m: Array) -> Array:
        return np.asarray(np.cos(m[0] * theta + m[1]) - m[2] - target)

    found = least_squares(away, (1.0, 0.3, 0.1), xtol=1e-12, ftol=1e-12, gtol=1e-12)
    return bool(np.abs(found.fun).max() < 1e-5)


ex2 = Exercise("ex2", rules=[_own])

# ---- ex3: the report ------------------------------------------------------------------------------------------------


def _holm(p: Array, slip: str = "") -> Array:
    order = p.argsort()
    factors: Array = np.arange(len(p), 0, -1)
    if slip == "no holm":
        factors = np.ones(len(p))
    if slip == "bonferroni":
        factors = np.full(len(p), len(p))
    found = np.empty(len(p))
    steps = p[order] * factors
    found[order] = steps if slip == "no maximum" else np.maximum.accumulate(steps)
    return found


def _report(eer: dict[str, list[float]], tune: dict[str, float], bound: float, slip: str = "") -> dict[str, Any]:
    ship = min(eer, key=lambda loss: np.mean(eer[loss])) if slip == "bold" else min(tune, key=lambda loss: tune[loss])
    others = [loss for loss in eer if loss != ship]
    n = len(eer[ship])
    d = np.array([np.subtract(eer[loss], eer[ship]) for loss in others])  # (k, n)
    error = d.std(1, ddof=slip != "ddof") / math.sqrt(n)
    if slip == "unpaired":
        error = np.array([math.sqrt((np.var(eer[loss], ddof=1) + np.var(eer[ship], ddof=1)) / n) for loss in others])
    mean = d.mean(1)
    told = _holm(2 * stdtr(n - 1, -np.abs(mean) / error), slip) < 0.05
    below = stdtr(n - 1, (np.abs(mean) - bound) / error)
    same = _holm(np.minimum(1, 2 * below) if slip == "doubled" else below, slip) < 0.05
    if slip == "same by bonferroni":
        same = _holm(below, "bonferroni") < 0.05
    if slip == "same is not told":
        same = ~told
    if slip == "never both":
        same &= ~told
    tail = {"two-sided": 0.025 / len(others), "alone": 0.05}.get(slip, 0.05 / len(others))
    cost = (error * stdtrit(n - 1, 1 - tail) - mean).max()
    if slip == "no interval":
        cost = (-mean).max()
    if slip == "mine":
        cost = (error * stdtrit(n - 1, 1 - tail) + mean).max()
    names = np.array(others)
    return {
        "ship": ship,
        "regret": float(cost if slip == "negative" else max(0.0, cost)),
        "told": ", ".join(sorted(names[told])),
        "same": ", ".join(sorted(names[same])),
        "open": ", ".join(sorted(names[~told & ~same])),
    }


def _tables(generator: torch.Generator) -> Iterator[Case]:
    plans: list[tuple[list[float], float, int, Text]] = [
        ([2.0, 2.03, 1.96, 2.2, 2.5, 2.9, 3.4], 0.03, 5, Text("seven losses", "七个损失")),
        ([2.0, 2.04, 2.08, 2.11, 2.13, 2.4], 0.04, 6, Text("six losses, six seeds", "六个损失、六个种子")),
        ([1.5, 2.1, 2.2, 2.9], 0.02, 5, Text("one that is far better than the rest", "有一个远好于其余的损失")),
        ([2.0, 1.99, 2.0, 2.01, 2.35], 0.06, 8, Text("close losses, eight seeds", "彼此接近的损失、八个种子")),
        ([3.0, 2.95, 3.02, 3.3, 3.35], 0.05, 5, Text("five losses", "五个损失")),
    ]
    for means, spread, n, name in plans:
        people = 0.3 * torch.randn(n, generator=generator, dtype=torch.float64)
        eer, tune = {}, {}
        for k, mean in enumerate(means):
            noise = spread * torch.randn(n, generator=generator, dtype=torch.float64)
            eer[f"loss {'bdacfeg'[k]}"] = (mean + people + noise).tolist()
            tune[f"loss {'bdacfeg'[k]}"] = 1.9 + 0.01 * k
        yield Case(eer, tune, 0.2, name=name)
    ladder = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]) / math.sqrt(2.5)  # standard deviation 1
    close = {"loss b": [2.0, 2.3, 1.9, 2.4, 2.1]}
    for name, pair in (
        (Text("p of .03 and .04", "p 为 0.03 和 0.04"), (3.31, 2.99)),
        (Text("p of .012 and .03", "p 为 0.012 和 0.03"), (4.37, 3.31)),
    ):
        for loss, t in zip(("loss a", "loss c"), pair, strict=True):
            close[loss] = (np.array(close["loss b"]) + 0.1 * (ladder + t / math.sqrt(5))).tolist()
        yield Case(dict(close), {"loss b": 1.9, "loss a": 1.95, "loss c": 2.0}, 0.2, name=name)
    sure = {"loss b": close["loss b"]}
    for loss, gap, spread in (("loss a", 0.08, 0.01), ("loss c", 0.5, 0.05)):
        sure[loss] = (np.array(close["loss b"]) + gap + spread * ladder).tolist()
    yield Case(sure, {"loss b": 1.9, "loss a": 1.95, "loss c": 2.0}, 0.2,
               name=Text("a sure gap that is too small to matter", "差距确实存在，但小得无所谓"))  # fmt: skip
    near = {"loss b": close["loss b"]}
    for loss, t in (("loss a", 3.0), ("loss c", 2.6)):  # p_same .02 and .03
        near[loss] = (np.array(close["loss b"]) + 0.2 / t * math.sqrt(5) * ladder).tolist()
    yield Case(near, {"loss b": 1.9, "loss a": 1.95, "loss c": 2.0}, 0.2,
               name=Text("two that are the same", "两个都相同"))  # fmt: skip


def _slipped(slip: str) -> Callable[..., Any]:
    return lambda eer, tune, bound: _report(eer, tune, bound, slip)


ex3 = Exercise(
    "ex3",
    lambda eer, tune, bound: _report(eer, tune, bound),
    _tables,
    mistakes=[
        Mistake(_slipped(slip), text)
        for slip, text in {
            "bold": Text("the loss was chosen on `open`; `tune` chooses", "这个损失是在 open 上挑的；应由 tune 来挑"),
            "no holm": Text("each p-value is taken by itself: Holm is missing", "每个 p 值都单独看待：少了 Holm 校正"),
            "bonferroni": Text(
                "that is Bonferroni: every p times k; Holm takes fewer at each step",
                "这是 Bonferroni：每个 p 都乘 k；Holm 的乘数逐步减小",
            ),
            "no maximum": Text("a larger p must never get a smaller adjusted one", "较大的 p 校正后不能反而更小"),
            "unpaired": Text(
                "the seeds are paired: the error is that of the differences", "种子是配对的：标准误应取自差值"
            ),
            "ddof": Text("the standard deviation of n differences divides by n - 1", "n 个差值的标准差应除以 n - 1"),
            "same is not told": Text(
                "not told apart is not the same: `same` needs the two one-sided tests",
                "分不出高下不等于相同：`same` 要靠两个单侧检验",
            ),
            "same by bonferroni": Text(
                "`same` is a family of its own: Holm, not p times k for each",
                "`same` 也是一组检验：用 Holm，而不是每个 p 都乘 k",
            ),
            "doubled": Text(
                "`same`: the larger of two one-sided p-values, not twice that",
                "`same`：取两个单侧 p 值里较大的一个，不要再乘 2",
            ),
            "never both": Text(
                "a loss can be told apart and the same: a sure gap below the bound",
                "一个损失可以既分出高下又相同：差距确实存在，但小于界限",
            ),
            "two-sided": Text("regret has one side: all of its 5 % lies there", "遗憾值只有一侧：5 % 全部放在这一侧"),
            "alone": Text(
                "the limit of the regret must hold for all others at once", "遗憾值的上限必须对其余损失同时成立"
            ),
            "no interval": Text("the regret is a mean; it must be an upper limit", "遗憾值写成了均值；它应是上限"),
            "mine": Text(
                "the regret has the wrong sign: shipped minus other", "遗憾值的符号反了：应是上线的减去另一个"
            ),
            "negative": Text("a regret is at least 0", "遗憾值至少为 0"),
        }.items()
    ],
)

quiz = Quiz("capstone")
