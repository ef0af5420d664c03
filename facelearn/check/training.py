"""Checks of chapter 19: the fault behind a training log, runs that undo an alias, the length at which a row rests."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facelearn.check.framework import Case, Exercise, Mistake, Text
from facelearn.check.quiz import Quiz
from facelearn.losses.margin import cos_of_sum
from facelearn.verification import all_pairs, evaluate_pairs

# ---- ex1: which fault made this log ---------------------------------------------------------------------------------

FAULTS = {
    "rate": Text("the learning rate is a thousand times too large", "学习率大了一千倍"),
    "degrees": Text("the margin is turned into degrees, and taken for radians", "间隔换算成了度数，却仍当弧度用"),
    "scale": Text("the cosines are not multiplied by the scale", "余弦没有乘以尺度"),
    "names": Text("every training image has the name of somebody at random", "每张训练图像的名字都是随机的"),
    "frozen": Text("the optimiser was given the class weights, not the net", "优化器只拿到了类权重，没有拿到网络"),
}
DIM = 16


def crowd(people: int, seed: int, shots: int = 10, nuisance: float = 1.5) -> tuple[Tensor, Tensor]:
    """Made-up people: six numbers say who it is, ten how the picture was taken, 32 measurements mix both.

    (people · shots, 32), (people · shots,)
    """
    draws = torch.Generator().manual_seed(seed)
    mix = torch.randn(16, 32, generator=torch.Generator().manual_seed(0)) / 4
    who = torch.randn(people, 6, generator=draws).repeat_interleave(shots, 0)
    how = nuisance * torch.randn(len(who), 10, generator=draws)
    seen = torch.tanh(torch.cat([who, how], 1) @ mix) + 0.1 * torch.randn(len(who), 32, generator=draws)
    return seen, torch.arange(people).repeat_interleave(shots)


def log(fault: str, seed: int, people: int, scale: float, margin: float, steps: int = 200) -> dict[str, Any]:
    """What a training with this fault writes down every 20 steps; "" is a sound one."""
    (x, labels), (strangers, theirs) = crowd(people, seed), crowd(40, seed + 1000)
    draws = torch.Generator().manual_seed(seed)
    if fault == "names":
        labels = torch.randint(people, (len(labels),), generator=draws)
    s, m = (1.0 if fault == "scale" else scale), (math.degrees(margin) if fault == "degrees" else margin)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, DIM))
        weight = nn.Parameter(torch.randn(people, DIM) / DIM**0.5)
    learnt = [weight, *([] if fault == "frozen" else net.parameters())]
    optimizer = torch.optim.AdamW(learnt, lr=10.0 if fault == "rate" else 0.01, weight_decay=0)
    found: dict[str, Any] = {"people": people, "dim": DIM, "scale": scale, "margin": margin}
    found |= {name: [] for name in ("step", "loss", "accuracy", "eer")}
    for step in range(steps + 1):
        batch = torch.randint(len(labels), (64,), generator=draws)
        y = labels[batch]
        cos = (F.normalize(net(x[batch])) @ F.normalize(weight).T).clamp(-0.9999, 0.9999)
        target = cos_of_sum(cos.gather(1, y[:, None]), m, "linear")
        loss = F.cross_entropy(s * cos.scatter(1, y[:, None], target), y)
        if step % 20 == 0:
            with torch.no_grad():
                eer = evaluate_pairs(net(strangers), *all_pairs(theirs)).eer
            row = (step, loss.item(), float((cos.argmax(1) == y).float().mean()), eer)
            for name, value in zip(("step", "loss", "accuracy", "eer"), row, strict=True):
                found[name].append(value)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return found


#: people, scale and margin of the logs that are handed out
WORLDS = ((40, 8.0, 0.5), (30, 6.0, 0.6), (50, 10.0, 0.4), (36, 9.0, 0.5))
#: with so many people a first loss is too small at 7.8, and sound at 17.3: no number alone parts these from the others
CROWDED = {"scale": (1500, 8.0, 0.5), "frozen": (1500, 12.0, 0.6)}


@lru_cache
def _logs() -> list[tuple[str, dict[str, Any]]]:
    return [
        (fault, log(fault, 77 + 10 * place + turn, *WORLDS[(place + turn) % len(WORLDS)]))
        for turn in range(2)
        for place, fault in enumerate(FAULTS)
    ] + [(fault, log(fault, 97, *world)) for fault, world in CROWDED.items()]


def _named(function: Callable[..., Any]) -> Text | None:
    for fault, made in _logs():
        given = {name: list(value) if isinstance(value, list) else value for name, value in made.items()}
        answer = function(given)
        if answer not in FAULTS:
            known = ", ".join(FAULTS)
            return Text(f"found {answer!r}; expected one of {known}", f"得到 {answer!r}；应是 {known} 之一")
        if answer != fault:
            C, s, m = made["people"], made["scale"], made["margin"]
            first_loss = math.log(C - 1) + s * math.sin(m) + s**2 / (2 * DIM)
            world = f"C = {C}, s = {s:g}, m = {m:g}, L0 = {first_loss:.1f}"
            first, last = (", ".join(f"{made[name][at]:.2f}" for name in ("loss", "accuracy", "eer")) for at in (0, -1))
            return Text(
                f"a log ({world}; loss, accuracy, EER first {first}, last {last}) was made where"
                f" {FAULTS[fault].en}; your answer was {answer!r}",
                f"有一份日志（{world}；损失、准确率、EER 开头是 {first}，结尾是 {last}）的故障是"
                f"{FAULTS[fault].zh}；你的回答是 {answer!r}",
            )
    return None


ex1 = Exercise("ex1", rules=[_named])

# ---- ex2: further runs that pull a pair out of its alias group ------------------------------------------------------


def _fraction(order: tuple[int, ...]) -> np.ndarray:
    """A screen of 8 factors in 16 runs, its columns in this order."""
    free = np.array(list(itertools.product((-1, 1), repeat=4)))
    a, b, c, d = free.T
    return np.stack([a, b, c, d, b * c * d, a * c * d, a * b * c, a * b * d], 1)[:, list(order)]


_ASKED = [
    (tuple(range(8)), (0, 1)),
    (tuple(range(8)), (5, 7)),
    ((7, 2, 5, 0, 1, 6, 3, 4), (2, 6)),
    ((3, 4, 6, 7, 5, 0, 2, 1), (1, 0)),
]


def _untangled(function: Callable[..., Any]) -> Text | None:
    for order, (i, j) in _ASKED:
        first = _fraction(order)
        handed = first.copy()
        given = function(handed, i, j)
        if not np.array_equal(handed, first):
            return Text(
                "your function has changed `design` itself, so old runs and new are the same; copy it first",
                "你的函数改动了 `design` 本身，于是新旧训练成了同一批；请先复制一份",
            )
        more = np.asarray(given)
        if more.ndim != 2 or more.shape[1] != 8 or not 1 <= len(more) <= 16:
            return Text(
                f"found runs of shape {more.shape}; expected (n, 8) with n from 1 to 16",
                f"得到形状为 {more.shape} 的训练；应是 (n, 8)，n 从 1 到 16",
            )
        if not np.isin(more, (-1, 1)).all():
            return Text("each level is 1 or -1", "每个水平只能是 1 或 -1")
        both = np.vstack([first, more])
        pair = both[:, i] * both[:, j]
        block = np.r_[-np.ones(16), np.ones(len(more))]
        products = {(k, n): both[:, k] * both[:, n] for k, n in itertools.combinations(range(8), 2)}
        tied = [name for name, column in products.items() if set(name) != {i, j} and abs(pair @ column) == len(both)]
        if len(tied) == 3 and {tuple(row) for row in more} == {tuple(row) for row in first}:
            return Text(
                "these are the same 16 runs again (with all signs turned, too: each run's mirror image is in the"
                " design); no pair is separated from another",
                "这还是原来那 16 次训练（把符号全部翻转也一样：每次训练的镜像本来就在设计里），"
                "没有任何一对与另一对分开",
            )
        if len(tied) == 3:
            return Text(
                f"columns {i} and {j}: in all {len(both)} runs together their product still equals three others",
                f"第 {i}、{j} 列：在全部 {len(both)} 次训练里，它们之积仍与另外三个积相同",
            )
        if tied:
            return Text(
                f"columns {i} and {j}: their product still equals that of columns {tied[0][0]} and {tied[0][1]}",
                f"第 {i}、{j} 列：它们之积仍等于第 {tied[0][0]}、{tied[0][1]} 列之积",
            )
        if any(abs(pair @ column) > 0 for name, column in products.items() if set(name) != {i, j}):
            return Text(
                f"columns {i} and {j}: their product is not equal to another any more, but still correlated with one",
                f"第 {i}、{j} 列：它们之积不再等于别的积，但仍与某一个相关",
            )
        if any(abs(pair @ both[:, k]) > 0 for k in range(8)):
            return Text(
                f"columns {i} and {j}: now their product is correlated with a single factor",
                f"第 {i}、{j} 列：现在它们之积与某个因素本身相关了",
            )
        if abs(pair @ block) > 0:
            return Text(
                f"columns {i} and {j}: their product is correlated with old runs against new ones",
                f"第 {i}、{j} 列：它们之积与新旧两批训练之差相关",
            )
    return None


ex2 = Exercise("ex2", rules=[_untangled])

# ---- ex3: where the length of a row comes to rest -------------------------------------------------------------------


def _rest(rate: float, decay: float, pull: float, slip: str = "") -> float:
    kept = 1 - (decay if slip == "decay alone" else rate * decay)
    loss = {"small": 2 * rate * decay, "one": 1 - kept}.get(slip, 1 - kept**2)
    if slip == "steady":
        return rate * pull / loss**0.5  # a gradient of one size, whatever the length
    if slip == "along":
        return (pull / decay) ** 0.5
    size = {"no rate": pull, "no pull": rate}.get(slip, rate * pull)
    fourth = size**2 / loss * (kept**2 if slip == "after the step" else 1)
    return fourth**0.25


def _rows(generator: torch.Generator) -> Iterator[Case]:
    yield Case(0.1, 0.5, 1.0, name=Text("rate 0.1, decay 0.5, pull 1", "学习率 0.1，衰减 0.5，拉力 1"))
    yield Case(0.1, 5e-4, 0.3, name=Text("a weak decay", "很弱的衰减"))
    yield Case(0.02, 0.05, 4.0, name=Text("a strong pull", "很强的拉力"))
    yield Case(1.0, 0.3, 2.0, name=Text("a large rate", "很大的学习率"))


def _endless(function: Callable[..., Any]) -> Text | None:
    """Without decay the answer is infinity; asked last, so that a division by 0 hides no other mistake."""
    try:
        getattr(function, "function", function)(0.1, 0.0, 1.0)
    except ZeroDivisionError:
        pass
    else:
        if float(function(0.1, 0.0, 1.0)) == math.inf:
            return None
    return Text(
        "without decay nothing shortens the row: every step across makes it longer, without end; return infinity",
        "没有衰减，就没有什么使行变短：每走一步它都变长，没有尽头；应返回无穷大",
    )


def _any_rate(function: Callable[..., Any]) -> Text | None:
    """Here 1 - ηλ is negative; asked after the mistakes, whose roots of it would hide them."""
    found, wanted = float(function(3.0, 0.5, 1.0)), _rest(3.0, 0.5, 1.0)
    if math.isclose(found, wanted, rel_tol=1e-9):
        return None
    return Text(
        "rate 3, decay 0.5, pull 1: got {found:.6g}, expected {wanted:.6g}; where 1 - ηλ is negative its square counts",
        "学习率 3、衰减 0.5、拉力 1 时得到 {found:.6g}，应为 {wanted:.6g}；1 - ηλ 为负时，起作用的仍是它的平方",
    ).format(found=found, wanted=wanted)


ex3 = Exercise(
    "ex3",
    _rest,
    _rows,
    mistakes=[
        Mistake(lambda rate, decay, pull, slip=slip: _rest(rate, decay, pull, slip), text)
        for slip, text in {
            "small": Text(
                "this is the limit of a small rate; the shrinking acts on the square: (1 - ηλ)², not 1 - 2ηλ",
                "这是学习率很小时的极限；缩小作用在平方上：是 (1 - ηλ)²，不是 1 - 2ηλ",
            ),
            "one": Text(
                "the length itself does not grow by the step: step and row stand at right angles, squares are added",
                "步长不是直接加到长度上的：步与行互相垂直，相加的是平方",
            ),
            "steady": Text(
                "the gradient is taken to have one size; it is the pull over the length (step 5)",
                "把梯度当成大小不变；它等于拉力除以长度（第 5 步）",
            ),
            "along": Text(
                "the step is taken to point along the row; it stands across (step 5)",
                "把这一步当成沿着行的方向；它与行垂直（第 5 步）",
            ),
            "decay alone": Text(
                "a step shrinks the row by 1 - ηλ: rate times decay, not decay alone",
                "一步把行缩小到 1 - ηλ 倍：是学习率乘以衰减，不是衰减本身",
            ),
            "after the step": Text(
                "decay acts on w alone, and the step is added after it (step 5)",
                "衰减只作用在 w 上，走的那一步是之后才加上的（第 5 步）",
            ),
            "no rate": Text("the step is the rate times the gradient", "一步是学习率乘以梯度"),
            "no pull": Text(
                "the step is the rate times the gradient, pull included", "一步是学习率乘以梯度，梯度里有拉力"
            ),
        }.items()
    ],
    rules=[_any_rate, _endless],
    rtol=1e-9,
)

quiz = Quiz("training")
