"""Checks of chapter 01: TAR under weights and ties, the EER of two bell curves, a test that catches a leak."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr

from facelearn.check.framework import Case, Exercise, Mistake, Text, detector
from facelearn.check.quiz import Quiz

Array = NDArray[Any]
Folds = Callable[[Array, Array, Array], Any]

# ---- ex1: TAR at a FAR where each pair counts several times ---------------------------------------------------------


def _tar(scores: Array, same: Array, weights: Array, far: float) -> float:
    """By brute force: every pair copied as often as it counts, every score tried as a threshold."""
    scores, same = np.repeat(scores, weights), np.repeat(same, weights)
    best = 0.0
    for threshold in scores:
        accepted = scores >= threshold
        if accepted[~same].mean() <= far:
            best = max(best, float(accepted[same].mean()))
    return best


def _unweighted(scores: Array, same: Array, weights: Array, far: float) -> float:
    return _tar(scores, same, np.ones_like(weights), far)


def _strict(scores: Array, same: Array, weights: Array, far: float) -> float:
    """Accepts above the threshold, not at it, with genuine scores as the only thresholds."""
    scores, same = np.repeat(scores, weights), np.repeat(same, weights)
    found = [float((scores[same] > t).mean()) for t in scores[same] if (scores[~same] > t).mean() <= far]
    return max(found, default=0.0)


def _in_order(scores: Array, same: Array, weights: Array, far: float) -> float:
    """Takes tied scores one by one, genuine pairs first."""
    order = np.lexsort((~same, -scores))
    same, weights = same[order], weights[order]
    tar, reached = (np.cumsum(weights * kind) / (weights * kind).sum() for kind in (same, ~same))
    return float(tar[reached <= far].max(initial=0.0))


def _nearest(scores: Array, same: Array, weights: Array, far: float) -> float:
    """The point whose FAR is nearest to the wanted one, be it above."""
    scores, same = np.repeat(scores, weights), np.repeat(same, weights)
    rates = [((scores[~same] >= t).mean(), (scores[same] >= t).mean()) for t in np.unique(scores)[::-1]]
    return float(min(rates, key=lambda rate: (abs(rate[0] - far), -rate[1]))[1])


def _interpolated(scores: Array, same: Array, weights: Array, far: float) -> float:
    scores, same = np.repeat(scores, weights), np.repeat(same, weights)
    steps = np.unique(scores)[::-1]
    fars, tars = (np.append(0, [(scores[kind] >= t).mean() for t in steps]) for kind in (~same, same))
    return float(np.interp(far, fars, tars))


def _lists(generator: torch.Generator) -> Iterator[Case]:
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))

    def draw(size: int, decimals: int, high: int, far: float, name: Text) -> Case:
        same = np.arange(size) % 3 == 0
        scores = np.round(rng.normal(size=size) + 1.5 * same, decimals)
        return Case(scores, same, rng.integers(1 if high == 2 else 0, high, size=size), far, name=name)

    yield draw(90, 12, 2, 0.1, Text("no ties, every pair counts once", "没有并列、每对只计一次"))
    yield draw(90, 1, 2, 0.1, Text("many ties, every pair counts once", "并列很多、每对只计一次"))
    yield draw(90, 12, 4, 0.1, Text("no ties, pairs that count 0 to 3 times", "没有并列、各样本对计 0 到 3 次"))
    yield draw(90, 1, 4, 0.05, Text("many ties, pairs that count 0 to 3 times", "并列很多、各样本对计 0 到 3 次"))
    tied = np.array([0.9, 0.9, 0.8, 0.7, 0.2]), np.array([True, False, True, False, True])
    yield Case(*tied, np.array([1, 1, 2, 1, 1]), 0.6, name=Text("the best score is tied", "最高分并列"))
    lost = np.array([0.9, 0.9, 0.9, 0.2]), np.array([True, False, False, True])
    yield Case(*lost, np.ones(4, np.int64), 0.6, name=Text("no threshold keeps the FAR", "没有阈值满足 FAR"))


def _flags_too_fine(function: Callable[..., Any]) -> Text | None:
    scores, same = np.array([0.9, 0.8, 0.3, 0.2, 0.1]), np.array([True, True, False, False, False])
    for weights, far in ((np.ones(5, np.int64), 0.2), (np.array([1, 1, 1, 0, 1]), 0.4)):
        try:
            getattr(function, "function", function)(scores, same, weights, far)
        except ValueError:
            continue
        except Exception:
            function(scores, same, weights, far)  # told as an exception of the learner's function
        total = int(weights[~same].sum())
        return Text(
            f"FAR {far} is finer than one of {total} impostor pairs (their weights add up to {total}): no threshold can"
            " show it, so raise ValueError",
            f"冒充对的权重之和为 {total}，FAR {far} 比 1/{total} 还细：没有阈值能测出它，应抛出 ValueError",
        )
    try:
        getattr(function, "function", function)(scores, same, np.ones(5, np.int64), 1 / 3)
    except ValueError:
        return Text(
            "FAR 1/3 with three impostor pairs was refused; one of three is exactly what they can show",
            "3 个冒充对、FAR 为 1/3 时被拒绝了；三分之一恰好是它们测得出的",
        )
    return None


ex1 = Exercise(
    "ex1",
    _tar,
    _lists,
    rules=[_flags_too_fine],
    mistakes=[
        Mistake(_unweighted, Text("the weights have no effect", "权重没有起作用")),
        Mistake(
            _in_order,
            Text(
                "tied scores are taken one by one, genuine pairs first; a threshold accepts all of them or none",
                "并列的分数被逐个处理，而且真实对在前；一个阈值要么全接受，要么全不接受",
            ),
        ),
        Mistake(
            lambda s, same, w, far: _in_order(s, same, np.where(same, w, 1), far),
            Text("the weights of impostor pairs have no effect", "冒充对的权重没有起作用"),
        ),
        Mistake(
            _nearest,
            Text(
                "this takes the point whose FAR is nearest, even above the wanted one; FAR must not exceed it",
                "取了 FAR 最接近的点，哪怕超出目标；FAR 不得超过目标",
            ),
        ),
        Mistake(
            _interpolated,
            Text(
                "this interpolates between two thresholds; no threshold has that TAR",
                "这是在两个阈值之间插值；没有哪个阈值有这样的 TAR",
            ),
        ),
        Mistake(
            _strict,
            Text(
                "a pair is accepted at its threshold too: score >= threshold",
                "分数恰好等于阈值的样本对也要接受：score >= threshold",
            ),
        ),
    ],
)

# ---- ex2: EER of two normal distributions with spreads of their own -------------------------------------------------


def _gaussian(mean_genuine: float, sd_genuine: float, mean_impostor: float, sd_impostor: float) -> tuple[float, float]:
    """The threshold where both tails are equal, found by bisection, and the tail."""
    low, high = min(mean_genuine, mean_impostor) - 99.0, max(mean_genuine, mean_impostor) + 99.0
    for _ in range(200):
        middle = (low + high) / 2
        false_accepts = ndtr((mean_impostor - middle) / sd_impostor)
        low, high = (middle, high) if false_accepts > ndtr((middle - mean_genuine) / sd_genuine) else (low, middle)
    return middle, float(ndtr((mean_impostor - middle) / sd_impostor))


def _curves(generator: torch.Generator) -> Iterator[Case]:
    yield Case(0.5, 0.15, 0.0, 0.15, name=Text("equal spreads", "两个标准差相等"))
    for _ in range(4):
        a, b, c, d = (float(x) for x in torch.rand(4, generator=generator, dtype=torch.float64))
        yield Case(0.3 + a, 0.05 + 0.2 * b, 0.3 * c - 0.15, 0.05 + 0.2 * d)
    yield Case(2.0, 1.0, 2.0, 3.0, name=Text("equal means", "两个均值相等"))


def _from_z(z: Callable[..., float], sign: float = -1.0) -> Callable[..., tuple[float, float]]:
    """A wrong answer: the right threshold, another z."""
    return lambda *curve: (_gaussian(*curve)[0], float(ndtr(sign * z(*curve))))


ex2 = Exercise(
    "ex2",
    _gaussian,
    _curves,
    rtol=1e-6,
    atol=1e-9,
    mistakes=[
        Mistake(
            _from_z(lambda g, a, i, b: (g - i) / (a + b), 1.0),
            Text("this is 1 - EER: the sign under Φ is reversed", "这是 1 - EER：Φ 里的符号反了"),
        ),
        Mistake(
            lambda g, a, i, b: ((g + i) / 2, float(ndtr(-(g - i) / (a + b)))),
            Text(
                "the threshold is not midway between the means unless the spreads are equal: the wider curve pushes it"
                " away",
                "除非两个标准差相等，阈值并不在两个均值的正中：较宽的那条曲线会把它推远",
            ),
        ),
        Mistake(
            lambda g, a, i, b: ((g + i) / 2, float(ndtr(-(g - i) / math.sqrt(2 * (a * a + b * b))))),
            Text(
                "this treats both curves as equally wide (a pooled spread); set the two tails equal instead",
                "这是把两条曲线当成一样宽（合并标准差）；应当令两边的尾概率相等",
            ),
        ),
        Mistake(
            _from_z(lambda g, a, i, b: (g - i) / math.sqrt(a * a + b * b)),
            Text(
                "Φ(-Δ/√(σ²+σ²)) is 1 - AUC (a genuine score below an impostor's); add the spreads, not the variances",
                "Φ(-Δ/√(σ²+σ²)) 是 1 - AUC（真实对的分数低于冒充对的概率）；这里相加的是标准差，不是方差",
            ),
        ),
        Mistake(
            lambda *curve: _gaussian(*curve)[::-1],
            Text("threshold and EER are swapped", "阈值与 EER 的次序反了"),
        ),
    ],
)

# ---- ex3: a test that catches a threshold which has seen the test fold ----------------------------------------------


def _best(scores: Array, same: Array, rule: str) -> float:
    """A threshold with the most right decisions; of equally good ones the highest, the lowest, or midway below."""
    steps = np.append(np.unique(scores), np.inf)[::-1]  # (T,) strictest first
    right = [int(((scores >= t) == same).sum()) for t in steps]
    at = int(np.argmax(right)) if rule != "lowest" else len(right) - 1 - int(np.argmax(right[::-1]))
    if rule == "midway" and 0 < at < len(steps) - 1:
        return float((steps[at] + steps[at + 1]) / 2)
    return float(steps[at])


def _ten_folds(kind: str, rule: str = "highest") -> Folds:
    """Accuracies of the folds (F,), honestly or with a leak."""

    def accuracies(scores: Array, same: Array, folds: Array) -> Array:
        found, scores = [], np.asarray(scores, dtype=float)
        for fold in np.unique(folds):
            test = folds == fold
            used = {"own": test, "all": np.ones_like(test)}.get(kind, ~test)
            values = scores
            if kind == "scaled":  # each side on its own
                values = scores.copy()
                for part in (test, ~test):
                    values[part] = (scores[part] - scores[part].mean()) / (scores[part].std() + 1e-12)
            threshold = _best(values[used], same[used], rule)
            found.append(float(((values[test] >= threshold) == same[test]).mean()))
        return np.array(found)

    return accuracies


_HONEST = [
    (
        _ten_folds("honest", rule),
        Text(
            f"an honest implementation (of equally good thresholds it takes the one {en})",
            f"一个诚实的实现（在同样好的阈值中取{zh}）",
        ),
    )
    for rule, en, zh in (
        ("highest", "that is highest", "最高的"),
        ("lowest", "that is lowest", "最低的"),
        ("midway", "midway to the next score", "到下一个分数的中点"),
    )
]
_LEAKS = [
    (_ten_folds(kind, "midway"), words)
    for kind, words in (
        ("own", Text("each fold's threshold is chosen on that fold itself", "每一折的阈值就在这一折上选")),
        (
            "all",
            Text("one threshold is chosen on all folds, the test fold among them", "阈值在所有折上选，测试折也在其中"),
        ),
        (
            "scaled",
            Text(
                "the scores of the test fold are first standardised by their own mean and spread",
                "先用测试折自己的均值和标准差把分数标准化",
            ),
        ),
    )
]

ex3 = Exercise(
    "ex3",
    rules=[
        detector(
            _HONEST + _LEAKS,
            right=len(_HONEST),
            if_rejected=Text(
                "leave a gap between the scores, so that all good thresholds decide alike",
                "分数之间要留出空当，让所有好的阈值作出同样的判断",
            ),
        )
    ],
)

quiz = Quiz("verification")
