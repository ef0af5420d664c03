"""Checks of chapter 05: the soft margin by hand, another convention of semi-hard mining, a test for miners."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from facelearn.check.framework import Case, Exercise, Mistake, Text, by_autograd, detector
from facelearn.check.quiz import Quiz


def _squared(x: Tensor) -> Tensor:
    """(B, d) -> (B, B)"""
    return (x[:, None] - x).square().sum(2)


def _kinds(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Ordered pairs of one person, and of two: both (B, B)."""
    same = labels[:, None] == labels
    return same & ~torch.eye(len(labels), dtype=torch.bool), ~same


# ---- ex1: the gradient of the soft margin over all triplets ---------------------------------------------------------


def _soft_gradient(x: Tensor, labels: Tensor, slip: str = "") -> Tensor:
    if slip == "normalised":
        x = torch.nn.functional.normalize(x)
    d, (pair, negative) = _squared(x), _kinds(labels)
    if slip == "itself":
        pair = pair | torch.eye(len(x), dtype=torch.bool)
    triplet = pair[:, :, None] & negative[:, None, :]  # (a, p, n)
    root = d.sqrt() if slip == "plain" else d
    gap = root[:, :, None] - root[:, None, :]
    weight = {"hinge": (gap > 0).to(x.dtype), "reversed": torch.sigmoid(-gap)}.get(slip, torch.sigmoid(gap)) * triplet
    weight = weight / {"sum": 1, "batch": len(x)}.get(slip, max(int(triplet.sum()), 1))
    pull, push = weight.sum(2), weight.sum(1)  # (a, p), (a, n)
    if slip == "plain":
        safe = torch.where(root > 0, 2 * root, 1.0)
        pull, push = pull / safe, push / safe
    signed = pull - push
    if slip != "anchor":
        signed = signed + signed.T
    found = signed.sum(1, keepdim=True) * x - signed @ x
    return found * {"half": 1, "sign": -2}.get(slip, 2)


def _batches(generator: torch.Generator) -> Iterator[Case]:
    for labels, name in (
        ([0, 0, 1, 1], Text("two people, two images each", "两个人，每人两张")),
        ([7, 3, 7, 11, 3, 7, 15], Text("people with one, two and three images", "各有一张、两张、三张图像的人")),
    ):
        yield Case(
            torch.randn(len(labels), 6, generator=generator, dtype=torch.float64), torch.tensor(labels), name=name
        )
    x = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    yield Case(x, torch.tensor([1, 1, 1]), name=Text("one person alone", "只有一个人"))
    yield Case(x.clone(), torch.tensor([0, 1, 2]), name=Text("nobody twice", "每人只有一张图像"))
    yield Case(30 * x[[0, 1, 2, 0]], torch.tensor([0, 0, 1, 1]), name=Text("points far apart", "相距很远的点"))


def _by_hand(function: Callable[..., Any]) -> Text | None:
    x = torch.tensor([[1.0, 2.0], [0.5, -1.0], [2.0, 0.0]], dtype=torch.float64)
    if not by_autograd(function, x, torch.tensor([0, 0, 1])):
        return None
    return Text(
        "the values are right, but they come from autograd; put the three forces of step 3 together yourself",
        "数值正确，但它来自自动求导；请自己把第 3 步的三个力加起来",
    )


ex1 = Exercise(
    "ex1",
    _soft_gradient,
    _batches,
    mistakes=[
        Mistake(lambda x, labels, slip=slip: _soft_gradient(x, labels, slip), text)
        for slip, text in {
            "sign": Text("this is the force, the gradient has the other sign", "这是力，梯度的符号相反"),
            "half": Text("a factor of 2 is missing: the distances are squared", "少了系数 2：距离是平方的"),
            "anchor": Text(
                "only the anchor's row is filled; a triplet also moves its positive and its negative",
                "只算了锚点那一行；三元组还会移动它的正样本和负样本",
            ),
            "hinge": Text(
                "each triplet weighs 0 or 1: that is a hinge, the soft margin has a sigmoid",
                "每个三元组的权重非 0 即 1：那是合页函数；软间隔的权重是 sigmoid",
            ),
            "reversed": Text(
                "the weights run the wrong way: a large violation must weigh more",
                "权重的方向反了：违反得越多，权重应越大",
            ),
            "sum": Text("the mean over the triplets is asked for, not their sum", "要求的是对三元组取平均，不是求和"),
            "batch": Text(
                "the mean is over the triplets, not over the images of the batch", "应对三元组取平均，不是对批中的图像"
            ),
            "plain": Text("these are plain distances; here they are squared", "用的是未平方的距离；这里要用平方距离"),
            "itself": Text("an image is no positive of itself", "图像不是它自己的正样本"),
            "normalised": Text("x is not to be normalised here", "这里的 x 不作归一化"),
        }.items()
    ],
    rules=[_by_hand],
    rtol=1e-9,
    atol=1e-12,
)

# ---- ex2: the nearest negative beyond the positive, else the farthest -----------------------------------------------


def _negative_for(d: Tensor, labels: Tensor, slip: str = "") -> Tensor:
    pair, negative = _kinds(labels)
    if slip == "itself":
        pair = pair | torch.eye(len(d), dtype=torch.bool)
    allowed = ~torch.eye(len(d), dtype=torch.bool) if slip == "own kind" else negative
    farther = d[:, None, :] >= d[:, :, None] if slip == "equal" else d[:, None, :] > d[:, :, None]
    beyond = farther & allowed[:, None, :]  # (a, p, n)
    if slip == "always nearest":
        beyond = allowed[:, None, :].expand(len(d), len(d), len(d))
    if slip == "ring":
        beyond = beyond & (d[:, None, :] < d[:, :, None] + 0.2)
    nearest = d[:, None, :].where(beyond, torch.inf).argmin(2)
    last = d.masked_fill(~allowed, torch.inf).argmin(1) if slip == "hardest" else d.masked_fill(~allowed, -1).argmax(1)
    fallback = torch.full_like(nearest, -1) if slip == "none" else last[:, None].expand_as(nearest)
    found = torch.where(beyond.any(2), nearest, fallback)
    if slip == "transposed":
        found = found.T
    if slip == "no mark":
        return found
    return torch.where(pair & negative.any(1, keepdim=True), found, 0 if slip == "zeros" else -1)


def _matrices(generator: torch.Generator) -> Iterator[Case]:
    for labels, name in (
        ([0, 0, 0, 1, 1, 2, 2, 2], Text("eight images of three people", "三个人的八张图像")),
        ([3, 1, 3, 0, 1, 1, 5], Text("people in any order", "人的顺序打乱")),
    ):
        x = torch.randn(len(labels), 3, generator=generator, dtype=torch.float64)
        yield Case(_squared(100 * x), torch.tensor(labels), name=name)
    line = torch.tensor([[0.0], [9.0], [1.0], [2.0]], dtype=torch.float64)
    yield Case(
        _squared(line),
        torch.tensor([0, 0, 1, 1]),
        name=Text("no negative beyond the positive", "没有比正样本更远的负样本"),
    )
    tie = torch.tensor([[0.0], [2.0], [-2.0], [3.0]], dtype=torch.float64)
    yield Case(
        _squared(tie),
        torch.tensor([0, 0, 1, 1]),
        name=Text("a negative exactly as far as the positive", "负样本与正样本恰好一样远"),
    )
    yield Case(_squared(line), torch.zeros(4, dtype=torch.long), name=Text("one person alone", "只有一个人"))


ex2 = Exercise(
    "ex2",
    _negative_for,
    _matrices,
    mistakes=[
        Mistake(lambda d, labels, slip=slip: _negative_for(d, labels, slip), text)
        for slip, text in {
            "itself": Text("an image makes no pair with itself", "图像不与自己成对"),
            "no mark": Text("where (a, p) is no pair, -1 is asked for", "(a, p) 不是正样本对时应返回 -1"),
            "zeros": Text(
                "where (a, p) is no pair, -1 is asked for: 0 is the position of an image",
                "(a, p) 不是正样本对时应返回 -1：0 是一张图像的位置",
            ),
            "none": Text(
                "where no negative is farther than the positive, the farthest is asked for, not -1",
                "没有比正样本更远的负样本时，应取最远的负样本，而不是 -1",
            ),
            "always nearest": Text(
                "you take the nearest negative of all; it must be farther from the anchor than the positive, if one is",
                "你取的是所有负样本中最近的；只要有比正样本更远的，就应取其中最近的",
            ),
            "hardest": Text(
                "where no negative is farther than the positive, you take the nearest; the farthest is asked for",
                "没有比正样本更远的负样本时，你取了最近的；要求取最远的",
            ),
            "ring": Text("the ring has no upper end here: however far", "这里的圆环没有上限：多远都可以"),
            "equal": Text(
                "a negative exactly as far as the positive is not farther than it", "与正样本恰好一样远，不算更远"
            ),
            "own kind": Text("an image of the same person is no negative", "同一个人的图像不是负样本"),
            "transposed": Text(
                "anchors are rows and positives columns, not the other way round", "行是锚点，列是正样本，你弄反了"
            ),
        }.items()
    ],
)

# ---- ex3: a test for miners -----------------------------------------------------------------------------------------


def _ring(d: Tensor, labels: Tensor, margin: float, slip: str = "") -> Tensor:
    pair, negative = _kinds(labels)
    if slip == "itself":
        pair = pair | torch.eye(len(d), dtype=torch.bool)
    if slip == "own kind":
        negative = ~torch.eye(len(d), dtype=torch.bool)
    d_ap, d_an = d[:, :, None], d[:, None, :]
    margin = {"fixed": 1.0, "square": margin**2}.get(slip, margin)
    if slip == "from the positive":
        d_an = d[None, :, :]
    lower = d_ap <= d_an if slip == "lower end" else d_ap < d_an
    top = (d_ap.sqrt() + margin) ** 2 if slip == "plain" else d_ap + margin
    upper = d_an <= top if slip == "upper end" else d_an < top
    inside = {"hard too": upper, "easy too": lower}.get(slip, lower & upper)
    found = pair[:, :, None] & negative[:, None, :] & inside
    if slip == "transposed":
        found = found.transpose(0, 1)
    if slip == "nearest":
        place = d_an.where(found, torch.inf).argmin(2, keepdim=True)
        found = torch.zeros_like(found).scatter_(2, place, True) & found
    return found


def _by_loops(d: Tensor, labels: Tensor, margin: float) -> Tensor:
    found = torch.zeros(len(d), len(d), len(d), dtype=torch.bool)
    for a in range(len(d)):
        for p in range(len(d)):
            for n in range(len(d)):
                if a != p and labels[a] == labels[p] and labels[a] != labels[n]:
                    found[a, p, n] = bool(d[a, p] < d[a, n]) and bool(d[a, n] < d[a, p] + margin)
    return found


_WRONG = {
    "hard too": Text("hard triplets are taken too", "把难的三元组也取了"),
    "easy too": Text("the ring has no upper end", "圆环没有上限"),
    "itself": Text("the anchor is its own positive", "把锚点当成了自己的正样本"),
    "own kind": Text("images of the same person pass for negatives", "把同一个人的图像当成了负样本"),
    "from the positive": Text(
        "the negative is measured from the positive, not from the anchor", "负样本的距离是从正样本量的，不是从锚点"
    ),
    "plain": Text("the margin is added to the plain distance", "间隔加在了未平方的距离上"),
    "nearest": Text("only the nearest negative of the ring is taken", "只取了圆环里最近的一个负样本"),
    "lower end": Text("a negative exactly as far as the positive is taken", "负样本与正样本恰好一样远时也取了"),
    "fixed": Text("the margin is always 1, whatever is asked for", "不管要求多大，间隔总取 1"),
    "square": Text("the margin is squared", "间隔被平方了"),
    "transposed": Text("anchor and positive have changed places in the output", "输出里锚点和正样本换了位置"),
    "upper end": Text("a negative exactly at the outer end of the ring is taken", "负样本恰好在圆环的外缘上时也取了"),
}

ex3 = Exercise(
    "ex3",
    rules=[
        detector(
            [
                (_ring, Text("a right miner, which compares whole arrays", "一个正确的挖掘函数（整块数组比较）")),
                (_by_loops, Text("a right miner, in three loops", "一个正确的挖掘函数（三重循环）")),
                *(
                    (lambda d, labels, margin, slip=slip: _ring(d, labels, margin, slip), text)
                    for slip, text in _WRONG.items()
                ),
            ],
            right=2,
        )
    ],
)

quiz = Quiz("triplet")
