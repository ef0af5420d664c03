"""Checks of chapter 11: the margin that clouds can hold, the gradient by the class weights, a foreign head read off."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from facelearn.check.framework import Case, Exercise, Mistake, Text, by_autograd
from facelearn.check.quiz import Quiz
from facelearn.losses import CosFace

# ---- ex1: the margin that clouds can hold ---------------------------------------------------------------------------


def _limit(classes: int, dimension: int, spread: float) -> float:
    """In the plane neighbours are 2π/C apart, in the simplex all are arccos(-1/(C - 1)) apart."""
    apart = 2 * math.pi / classes if dimension == 2 else math.acos(-1 / (classes - 1))
    return math.cos(spread) - math.cos(apart - spread)


def _clouds(generator: torch.Generator) -> Iterator[Case]:
    for classes, dimension, spread, name in (
        (8, 2, 0.1, Text("8 classes in the plane", "平面里 8 个类")),
        (5, 2, 0.0, Text("5 classes in the plane, no spread", "平面里 5 个类，spread = 0")),
        (10, 64, 0.3, Text("10 classes in 64 dimensions", "64 维里 10 个类")),
        (4, 3, 0.5, Text("4 classes in 3 dimensions", "3 维里 4 个类")),
        (12, 2, 0.4, Text("a cloud wider than half the gap", "张角超过间距一半")),
    ):
        yield Case(classes, dimension, spread, name=name)


def _slip(classes: int, dimension: int, spread: float, *, slip: str) -> float:
    apart = 2 * math.pi / classes if (dimension == 2) != (slip == "swapped") else math.acos(-1 / (classes - 1))
    spread = math.radians(spread) if slip == "degrees" else spread
    if slip == "clamped":
        return max(0.0, _limit(classes, dimension, spread))
    if slip == "float32":
        return float(torch.tensor(_limit(classes, dimension, spread)))
    if slip == "no spread":
        return 1 - math.cos(apart)
    if slip == "rival stays":
        return math.cos(spread) - math.cos(apart)
    if slip == "own stays":
        return 1 - math.cos(apart - spread)
    if slip == "two samples":
        return 1 - math.cos(apart - 2 * spread)
    if slip == "away":
        return math.cos(spread) - math.cos(apart + spread)
    return math.cos(spread) - math.cos((apart / 2 if slip == "half" else apart) - spread)


ex1 = Exercise(
    "ex1",
    _limit,
    _clouds,
    mistakes=[
        Mistake(partial(_slip, slip=slip), text)
        for slip, text in {
            "clamped": Text("where not even m = 0 is met, the answer is negative", "连 m = 0 都满足不了时，答案是负数"),
            "float32": Text("9 digits are asked: compute in float64", "要精确到 9 位：请用 float64 计算"),
            "no spread": Text(
                "this is the bound for samples on their class directions: where is the spread?",
                "这是样本恰好落在类方向上时的界：spread 到哪里去了？",
            ),
            "rival stays": Text(
                "the worst sample of a cloud is also nearer to a rival than its class direction is",
                "最差的样本不光离自己的类方向远，离对手也比类方向更近",
            ),
            "own stays": Text("the worst sample is not on its own class direction", "最差的样本并不落在自己的类方向上"),
            "two samples": Text(
                "the margin compares a sample with class directions, not with the samples of other classes",
                "间隔比较的是样本与类方向，不是与别类的样本",
            ),
            "away": Text("the worst sample leans towards the rival, not away", "最差的样本是偏向对手的，不是背离对手"),
            "half": Text("neighbours are a whole gap apart, not half of one", "相邻类相隔整个间距，不是一半"),
            "degrees": Text("the spread is given in radians", "spread 的单位是弧度"),
            "swapped": Text("the two arrangements are swapped", "两种排布弄反了"),
        }.items()
    ],
    rtol=1e-9,
    exact_dtype=False,
)

# ---- ex2: the gradient by the class weights -------------------------------------------------------------------------


def _by_weights(x: Tensor, w: Tensor, y: int, s: float, m: float) -> Tensor:
    """By the library and autograd.  (d,), (C, d) -> (C, d)"""
    head = CosFace(w.shape[1], len(w), scale=s, margin=m).to(w.dtype)
    with torch.enable_grad():
        weight = w.detach().clone().requires_grad_()
        loss = torch.func.functional_call(head, {"weight": weight}, (x[None], torch.tensor([y])))
        return torch.autograd.grad(loss, weight)[0]


def _samples(generator: torch.Generator) -> Iterator[Case]:
    for y, s, m, name in (
        (0, 8.0, 0.35, Text("a random sample, s = 8, m = 0.35", "随机样本，s = 8，m = 0.35")),
        (2, 4.0, 0.0, Text("m = 0, which is NormFace", "m = 0，即 NormFace")),
        (4, 2.0, 5.0, Text("a margin that nobody meets, m = 5", "谁也满足不了的间隔，m = 5")),
    ):
        w = torch.randn(5, 6, generator=generator, dtype=torch.float64)
        yield Case(2 * torch.randn(6, generator=generator, dtype=torch.float64) + w[y], w, y, s, m, name=name)


def _by_hand(x: Tensor, w: Tensor, y: int, s: float, m: float, *, slip: str) -> Tensor:
    """The gradient put together by hand, with one slip."""
    x_hat, length = F.normalize(x, dim=0), w.norm(dim=1, keepdim=True)
    cos = w @ x_hat / length[:, 0]  # (C,)
    own = F.one_hot(torch.tensor(y), len(w)).to(w)
    margin = {"plain p": 0.0, "float32": float(torch.tensor(m))}.get(slip, m)
    p = (s * (cos - margin * own)).softmax(0)
    along = (x if slip == "raw x" else x_hat) - (0 if slip == "no projection" else 1) * cos[:, None] * w / length
    kept = own if slip == "own row" else 1
    by_w = (p - own)[:, None] * along * torch.as_tensor(kept).reshape(-1, 1)
    by_w = by_w if slip == "no length" else by_w / length
    by_w = by_w if slip == "no scale" else s * by_w
    return -by_w if slip == "sign" else by_w


def _without_autograd(function: Callable[..., Any]) -> Text | None:
    x, w = torch.tensor([1.0, 0.5, 0.2], dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    if by_autograd(function, x, w, 0, 8.0, 0.5):
        return Text(
            "the values are right, but they come from autograd; put them together by hand",
            "数值正确，但它来自自动求导；请自己推出来",
        )
    return None


ex2 = Exercise(
    "ex2",
    _by_weights,
    _samples,
    mistakes=[
        Mistake(partial(_by_hand, slip=slip), text)
        for slip, text in {
            "sign": Text("this is the way w moves; the gradient is its opposite", "这是 w 移动的方向；梯度与它相反"),
            "plain p": Text("p is the softmax of the logits with the margin in them", "p 应由带间隔的 logit 算出"),
            "no projection": Text(
                "∂c/∂w_j is not x̂/‖w_j‖: moving w_j along itself changes no cosine",
                "∂c/∂w_j 不是 x̂/‖w_j‖：沿自身移动 w_j，余弦不变",
            ),
            "raw x": Text("the embedding enters as a unit vector", "嵌入要先除以自己的范数"),
            "no length": Text("the length of each class weight is missing", "缺了各个类权重的范数"),
            "no scale": Text("the logits are s times the cosines: an s is missing", "logit 是余弦的 s 倍：缺了 s"),
            "float32": Text(
                "the margin has 7 digits only: m times an integer tensor (one_hot) is float32",
                "间隔只剩 7 位：m 乘以整数张量（one_hot）得到的是 float32",
            ),
            "own row": Text("the other rows have a gradient too: they are pushed", "其他行也有梯度：它们被推开"),
        }.items()
    ],
    rules=[_without_autograd],
    rtol=1e-9,
    atol=1e-12,
)

# ---- ex3: scale and margin of a foreign head ------------------------------------------------------------------------

Head = Callable[[Tensor, Tensor], Tensor]


def _head(cos: Tensor, y: Tensor, *, s: float, m: float, kind: str = "target") -> Tensor:
    """Logits (B, C) from cosines (B, C): CosFace in one of its forms, or another loss."""
    own = F.one_hot(y, cos.shape[1]).to(cos)
    if kind == "target":
        return s * (cos - m * own)
    if kind == "rivals":  # added to the others: the same loss
        return s * (cos + m * (1 - own))
    if kind == "outside":  # the margin is not multiplied by the scale
        return s * cos - m * own
    if kind == "everywhere":  # cancels in the softmax
        return s * (cos - m)
    if kind == "shifted":  # a constant for all classes beside the margin
        return s * (cos - m * own) + 7
    if kind == "bent":  # a margin on the angle of every class, and logits that are angles
        return s * (math.pi / 2 - cos.clamp(-1, 1).arccos())
    if kind == "hard":  # rivals above the target are lifted
        target = cos.gather(1, y[:, None]) - m
        return s * torch.where(own > 0, target, torch.where(cos > target, cos + 0.2, cos))
    if kind == "times":
        return s * torch.where(own > 0, (1 - m) * cos, cos)
    return s * torch.where(own > 0, (cos.clamp(-1, 1).arccos() + m).cos(), cos)  # radians


_HEADS: list[tuple[Head, tuple[float, float] | None, Text]] = [
    (partial(_head, s=30.0, m=0.4), (30.0, 0.4), Text("s (cos θ_y - m)", "s (cos θ_y - m)")),
    (
        partial(_head, s=64.0, m=0.35, kind="rivals"),
        (64.0, 0.35),
        Text("the margin is added to the other classes", "间隔加在其他类上"),
    ),
    (
        partial(_head, s=16.0, m=4.0, kind="outside"),
        (16.0, 0.25),
        Text("the margin is taken off after the scale", "间隔在乘尺度之后才减"),
    ),
    (partial(_head, s=20.0, m=0.0), (20.0, 0.0), Text("no margin at all", "完全没有间隔")),
    (
        partial(_head, s=20.0, m=0.3, kind="everywhere"),
        (20.0, 0.0),
        Text("the margin is taken off all classes alike", "间隔从所有类上一起减掉"),
    ),
    (
        partial(_head, s=32.0, m=0.2, kind="shifted"),
        (32.0, 0.2),
        Text("a constant is added to all logits", "所有 logit 都加了同一个常数"),
    ),
    (
        partial(_head, s=64.0, m=0.5, kind="radians"),
        None,
        Text("cos(θ_y + m), that is ArcFace", "cos(θ_y + m)，即 ArcFace"),
    ),
    (
        partial(_head, s=8.0, m=0.0, kind="bent"),
        None,
        Text("the logits are angles, not cosines", "logit 用的是角度，不是余弦"),
    ),
    (
        partial(_head, s=32.0, m=0.2, kind="hard"),
        None,
        Text("rivals above the target get a higher logit (MV-Softmax)", "高于目标的对手 logit 更大（MV-Softmax）"),
    ),
    (
        partial(_head, s=30.0, m=0.35, kind="times"),
        None,
        Text("the target cosine is multiplied", "目标余弦被乘了一个系数"),
    ),
]


def _reads(function: Callable[[Head], Any]) -> Text | None:
    for head, right, name in _HEADS:
        got = function(partial(head))
        if right is None or isinstance(got, str):
            if right is None and got == "other":
                continue
            if right is None:
                return Text(
                    f'{name.en}: no cosine margin describes it, "other" is asked; ask at more than one cosine',
                    f'{name.zh}：没有哪个余弦间隔能描述它，应返回 "other"；请在多个余弦处都问一问',
                )
            return Text(
                f"{name.en}: its loss is CosFace's, got {got!r}", f"{name.zh}：它的损失就是 CosFace，得到 {got!r}"
            )
        try:
            s, m = (float(value) for value in got)
        except (TypeError, ValueError):
            kind = type(got).__name__
            return Text(f'expected two numbers (s, m) or "other", got {kind}', f'应返回 (s, m) 或 "other"，得到 {kind}')
        if not math.isclose(s, right[0], rel_tol=1e-4):
            return Text(f"{name.en}: s is wrong", f"{name.zh}：尺度 s 不对")
        if not math.isclose(m, right[1], rel_tol=1e-4, abs_tol=1e-4):
            return Text(
                f"{name.en}: m is wrong; a softmax sees differences of logits alone, and m is a cosine",
                f"{name.zh}：间隔 m 不对；softmax 只看 logit 之差，而 m 以余弦为单位",
            )
    return None


ex3 = Exercise("ex3", rules=[_reads])

quiz = Quiz("cosface")
