"""Checks of chapter 13: the family without an angle, a loss known by its boundary, a margin to order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from facelearn.check.framework import Case, Exercise, Mistake, Text, curve
from facelearn.check.quiz import Quiz

# ---- ex1: the family from cosines alone, and where it turns up ------------------------------------------------------


def _family(cos: Tensor, k: int, m2: float, m3: float) -> tuple[Tensor, Tensor]:
    angle = k * cos.acos() + m2
    return angle.cos() - m3, angle > math.pi


def _positive_root(cos: Tensor, k: int, m2: float, m3: float) -> tuple[Tensor, Tensor]:
    multiple = (k * cos.acos()).cos()  # cos kθ
    across = (1 - multiple**2).clamp(min=0).sqrt()
    return multiple * math.cos(m2) - across * math.sin(m2) - m3, k * cos.acos() > math.pi - m2


def _members(generator: torch.Generator) -> Iterator[Case]:
    cos = 1.9 * torch.rand(64, generator=generator, dtype=torch.float64) - 0.95
    for members, name in (
        ((1, 0.5, 0.0), Text("ArcFace, m = 0.5", "ArcFace，m = 0.5")),
        ((1, 0.0, 0.35), Text("CosFace, m = 0.35", "CosFace，m = 0.35")),
        ((3, 0.0, 0.0), Text("a factor of 3", "倍数为 3")),
        ((1, 0.0, 0.0), Text("no margin", "没有间隔")),
        ((2, 0.3, 0.2), Text("k = 2, m2 = 0.3, m3 = 0.2", "k = 2，m2 = 0.3，m3 = 0.2")),
        ((3, 0.2, 0.1), Text("k = 3, m2 = 0.2, m3 = 0.1", "k = 3，m2 = 0.2，m3 = 0.1")),
    ):
        yield Case(cos, *members, name=name)


ANGLES = {"acos", "arccos", "asin", "arcsin", "atan", "arctan", "atan2", "arctan2", "angle"}


class _Watch(TorchFunctionMode):
    """Notes which functions of torch that form an angle are called."""

    def __init__(self) -> None:
        super().__init__()
        self.used: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.used |= {func.__name__.rstrip("_")} & ANGLES
        return func(*args, **(kwargs or {}))


def _forms_no_angle(function: Callable[..., Any]) -> Text | None:
    with _Watch() as watch:
        function(torch.tensor([0.3, -0.4], dtype=torch.float64), 2, 0.3, 0.1)
    told = Text(
        "right, but {name} forms an angle: use cosines and sines alone",
        "数值正确，但 {name} 算出了角度：只能用余弦和正弦",
    )
    return told.format(name=min(watch.used)) if watch.used else None


def _exact_and_finite_at_the_ends(function: Callable[..., Any]) -> Text | None:
    near = torch.tensor([1 - 1e-13, 1 - 1e-9, -1 + 1e-9], dtype=torch.float64)
    off = float((function(near, 2, 0.3, 0.1)[0] - _family(near, 2, 0.3, 0.1)[0]).abs().max())
    if not off < 1e-12:
        return Text(
            f"near cos = ±1 it is off by {off:.0e}: 12 digits are asked for (a clamp that stops before 1?)",
            f"在 cos = ±1 附近相差 {off:.0e}：题目要 12 位有效数字（clamp 是不是没到 1 就截断了？）",
        )
    ends = torch.tensor([1.0, 1 + 1e-7, -1.0, -1 - 1e-7], dtype=torch.float64, requires_grad=True)
    value = function(ends, 2, 0.3, 0.1)[0]
    if not value.isfinite().all():
        return Text(
            "rounding can take a cosine to slightly above 1, and yours then gives NaN: clamp",
            "舍入可能使余弦略大于 1，这时你的函数给出 NaN：需要 clamp",
        )
    (slope,) = torch.autograd.grad(value.sum(), ends)
    if not slope.isfinite().all():
        return Text(
            "the gradient at cos = ±1 is not finite: the root has an infinite derivative there (trap 2 of chapter 12)",
            "cos = ±1 处的梯度不是有限的：根号在那里的导数是无穷大（第 12 章的陷阱 2）",
        )
    return None


ex1 = Exercise(
    "ex1",
    _family,
    _members,
    gradients=(0,),
    rtol=1e-10,
    atol=1e-12,
    mistakes=[
        Mistake(
            lambda cos, k, m2, m3: ((k * (cos.acos() + m2)).cos() - m3, k * (cos.acos() + m2) > math.pi),
            Text("m2 is added after the factor k, not before", "m2 应在乘以 k 之后再加，而不是之前"),
        ),
        Mistake(
            _positive_root,
            Text(
                "sin kθ is not the non-negative root of 1 - cos² kθ once kθ has passed π: build it up as cos kθ",
                "kθ 超过 π 之后，sin kθ 就不是 1 - cos² kθ 的非负根了：要像 cos kθ 那样逐步算出来",
            ),
        ),
        Mistake(
            lambda cos, k, m2, m3: (
                _family(cos, k, math.radians(m2), 0)[0] - m3,
                _family(cos, k, math.radians(m2), 0)[1],
            ),
            Text("m2 is taken for degrees; it is in radians", "把 m2 当成了度；它的单位是弧度"),
        ),
        Mistake(
            lambda cos, k, m2, m3: (_family(cos, k, -m2, m3)[0], _family(cos, k, m2, m3)[1]),
            Text(
                "this is cos(kθ - m2): the sign in front of the sines is reversed",
                "这是 cos(kθ - m2)：两个正弦之积前面的符号反了",
            ),
        ),
        Mistake(
            lambda cos, k, m2, m3: (_family(cos, k, m2, -m3)[0], _family(cos, k, m2, m3)[1]),
            Text("m3 is taken off the cosine; yours adds it", "m3 是从余弦里减去的；你把它加上了"),
        ),
        Mistake(
            lambda cos, k, m2, m3: (_family(cos, k, m2, m3)[0], cos.acos() > math.pi / k),
            Text(
                "the target is right, but the formula turns up where kθ + m2 reaches π: m2 moves that place",
                "目标正确；但公式是在 kθ + m2 到达 π 时掉头的：m2 会移动这个位置",
            ),
        ),
        Mistake(
            lambda cos, k, m2, m3: (_family(cos, k, m2, m3)[0], _family(cos, k, m2, m3)[1].logical_not()),
            Text("the target is right, but the mask is the wrong way round", "目标正确；但掩码反了"),
        ),
        Mistake(
            lambda cos, k, m2, m3: (_family(cos, k, m2, m3)[0], _family(cos, k, m2, m3)[0] < -1),
            Text(
                "the target is right, but 'broken' asks where it turns up, not where it is below -1",
                "目标正确；但“失效”问的是它在哪里掉头上升，而不是哪里小于 -1",
            ),
        ),
    ],
    rules=[_forms_no_angle, _exact_and_finite_at_the_ends],
)

# ---- ex2: a loss known by its boundary as drawn ---------------------------------------------------------------------

_STEMS = ("softmax", "sphereface", "cosface", "arcface", "mv_softmax", "curricularface")


def drawn(loss: str, theta2: Tensor, m: float, t: float) -> Tensor:
    """θ1 on the boundary as the papers draw it, in radians; NaN where there is none.  (n,) -> (n,)"""
    cos = theta2.cos()
    theta1: Tensor = {
        "softmax": lambda: theta2.clone(),
        "sphereface": lambda: theta2 / (1 + m),
        "cosface": lambda: (cos + 0.8 * m).acos(),
        "arcface": lambda: theta2 - m,
        "mv_softmax": lambda: ((1 + t) * cos + t).acos() - m,
        "curricularface": lambda: (cos * (t + cos)).acos() - m,
    }[loss]()
    return torch.where(theta1 >= 0, theta1, torch.nan)


def _names_all_six(function: Callable[[Tensor, Tensor], Any]) -> Text | None:
    generator = torch.Generator().manual_seed(0)
    right: dict[str, bool] = {}
    answers: dict[str, Any] = {}
    for _ in range(3):
        for loss in _STEMS:
            m, t = (low + high * float(torch.rand((), generator=generator)) for low, high in ((0.3, 0.3), (0.1, 0.3)))
            theta2 = torch.linspace(0.9, 1.9, 41, dtype=torch.float64)
            theta1 = drawn(loss, theta2, m, t)
            there = theta1.isfinite()
            answer = function(theta1[there], theta2[there])
            if answer not in _STEMS:
                return Text(
                    f"expected one of {', '.join(_STEMS)}, got {answer!r}",
                    f"应返回 {'、'.join(_STEMS)} 之一，得到的是 {answer!r}",
                )
            if right.setdefault(loss, True) and answer != loss:
                right[loss], answers[loss] = False, answer
    wrong = [loss for loss in _STEMS if not right[loss]]
    if not wrong:
        return None
    first, score = wrong[0], f"{6 - len(wrong)}/6"
    return Text(
        f"{score}: a boundary of {first} was taken for {answers[first]}. Is what you tested true of both?",
        f"{score}：有一条 {first} 的边界被认成了 {answers[first]}。你检验的性质是不是两者都满足？",
    )


ex2 = Exercise("ex2", rules=[_names_all_six])

# ---- ex3: a margin to order -----------------------------------------------------------------------------------------


def _is_as_ordered(function: Callable[[Tensor], Any]) -> Text | None:
    angle = torch.linspace(0.0, math.pi, 20_001, dtype=torch.float64)
    value, slope = curve(function, angle.cos())

    def at(place: Tensor) -> str:
        return f"{math.degrees(float(angle[:-1][place][0])):.1f}"

    rises = value.diff() > 1e-12
    if (jumps := value.diff().abs() > 0.02).any():
        return Text(f"it jumps at {at(jumps)} degrees", f"它在 {at(jumps)} 度处有跳变")
    if rises.any():
        return Text(
            f"from {at(rises)} degrees on it rises: a worse sample gets a better logit",
            f"从 {at(rises)} 度起它上升：更差的样本得到更高的 logit",
        )
    inside = (angle[:-1] > 0.02) & (angle[:-1] < math.pi - 0.02)
    if (flat := inside & (value.diff() > -1e-9)).any():
        return Text(f"it is flat near {at(flat)} degrees: no pull there", f"它在 {at(flat)} 度附近是平的：那里没有拉力")
    asked = (value.clamp(-1, 1).acos() - angle).rad2deg()  # δ of step 4
    if (value > angle.cos() + 1e-9).any():
        most = angle[(value - angle.cos()).argmax()]
        return Text(
            f"at {math.degrees(float(most)):.0f} degrees it is above cos θ: less than no margin",
            f"在 {math.degrees(float(most)):.0f} 度处它高于 cos θ：比没有间隔还低",
        )
    for degrees, low, high in ((5, 0.0, 5.0), (45, 20.0, 90.0), (100, 0.0, 8.0)):
        found = round(float(asked[round(20_000 * degrees / 180)]), 9) + 0.0  # no -0.0
        if not low - 1e-6 <= found <= high:
            wanted = f"at least {low:.0f}" if low else f"at most {high:.0f}"
            words = f"至少 {low:.0f}" if low else f"至多 {high:.0f}"
            return Text(
                f"at {degrees} degrees it asks for {found:.1f} degrees: {wanted} are ordered",
                f"在 {degrees} 度处它要求 {found:.1f} 度：订的是{words} 度",
            )
    if not (slope[1:-1] > 0).all():
        return Text("the values fall, but the gradient does not say so", "数值在下降，但梯度与之不符")
    return None


ex3 = Exercise("ex3", rules=[_is_as_ordered])

quiz = Quiz("margins")
