"""Checks of chapter 04: the gradient of the other form of SupCon, a balanced draw of pairs, a cure for the line."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from facelearn.check.framework import Case, Exercise, Mistake, Text, by_autograd
from facelearn.check.quiz import Quiz

# ---- ex1: the gradient of L_in with respect to the similarities -----------------------------------------------------

NOTHING = -1e30


def _slopes(s: Tensor, labels: Tensor, tau: float) -> Tensor:
    """(B, B), (B,) -> (B, B)"""
    return _slipped(s, labels, tau, "")


def _slipped(s: Tensor, labels: Tensor, tau: float, slip: str) -> Tensor:
    itself = torch.eye(len(s), dtype=torch.bool)
    positive = (labels[:, None] == labels) & ~itself
    rivals = positive if slip == "negatives alone" else torch.zeros_like(itself) if slip == "itself" else itself
    logits = s if slip == "cold" else s / tau
    p = logits.masked_fill(rivals, NOTHING).softmax(1)
    q = logits.masked_fill(~positive, NOTHING).softmax(1)
    if slip.startswith("outside"):  # with or without a guard for anchors that have no positive
        partners = positive.sum(1, keepdim=True)
        q = positive.to(s.dtype) / (partners if "NaN" in slip else partners.clamp(min=1))
    if slip == "sum":
        q = positive.to(s.dtype)
    has = positive.any(1)
    found = p - q if "unguarded" in slip else torch.where(has[:, None], p - q, 0.0)
    if slip == "both":
        found = found + found.T
    if slip == "columns":
        return _slipped(s.T, labels, tau, "").T
    scale = {"no tau": 1.0, "cold": 1.0, "times tau": 1 / tau}.get(slip, tau)
    count = len(s) if slip == "B" or "over B" in slip else 1 if slip == "total" else max(int(has.sum()), 1)
    return (-found if slip == "sign" else found) / (scale * count)


def _batches(generator: torch.Generator) -> Iterator[Case]:
    def similarities(batch: int, symmetric: bool = True) -> Tensor:
        x = torch.randn(batch, 5, generator=generator, dtype=torch.float64)
        other = x if symmetric else torch.randn(batch, 5, generator=generator, dtype=torch.float64)
        return F.normalize(x) @ F.normalize(other).T

    yield Case(
        similarities(7, symmetric=False),
        torch.tensor([0, 1, 0, 2, 1, 0, 2]),
        0.3,
        name=Text("three people, seven images, s_ij ≠ s_ji", "三个人、七张图像，s_ij ≠ s_ji"),
    )
    yield Case(
        similarities(6),
        torch.tensor([4, 4, 9, 4, 1, 4]),
        0.1,
        name=Text("two images without a partner", "有两张图像没有同伴"),
    )
    yield Case(similarities(5), torch.tensor([0, 0, 1, 1, 1]), 0.001, name=Text("τ = 0.001", "τ = 0.001"))
    yield Case(similarities(4), torch.tensor([0, 0, 0, 0]), 0.5, name=Text("one person alone", "只有一个人"))
    yield Case(similarities(3), torch.tensor([0, 1, 2]), 0.5, name=Text("no positive pair at all", "没有任何正样本对"))


def _by_hand(function: Callable[..., Any]) -> Text | None:
    s = torch.eye(4, dtype=torch.float64) / 2
    if not by_autograd(function, s, torch.tensor([0, 0, 1, 1]), 0.5):
        return None
    return Text(
        "the values are right, but they come from autograd; derive the gradient as step 7 does",
        "数值正确，但它来自自动求导；请像第 7 步那样自己推导",
    )


ex1 = Exercise(
    "ex1",
    _slopes,
    _batches,
    mistakes=[
        Mistake(lambda s, labels, tau, slip=slip: _slipped(s, labels, tau, slip), text)
        for slip, text in {
            **dict.fromkeys(
                (
                    f"outside{guard}{mean}"
                    for guard in ("", ", unguarded", ", unguarded NaN")
                    for mean in ("", ", over B")
                ),
                Text(
                    "this is the gradient of L_out: there all positives have the share 1/|P|; take the one with the"
                    " mean inside, which does not treat near and far positives alike",
                    "这是 L_out 的梯度：那里每个正样本的份额都是 1/|P|；题目要的是平均在对数里面的那个，"
                    "它对远近不同的正样本并不一视同仁",
                ),
            ),
            "sum": Text(
                "the positives of an anchor have a share of 1 together, not 1 each",
                "一个锚点的所有正样本合起来份额是 1，不是每个都是 1",
            ),
            "sign": Text(
                "the sign is that of the force; the gradient is its negative: more similarity to a negative raises the"
                " loss",
                "符号是力的符号；梯度是它的相反数：与负样本越相似，损失越大",
            ),
            "no tau": Text(
                "a factor 1/τ is missing: the similarity is divided by τ", "少了因子 1/τ：损失里的相似度是除以 τ 的"
            ),
            "times tau": Text("multiplied by τ; the chain rule divides by it", "乘了 τ；按链式法则应是除以 τ"),
            "cold": Text("τ is not used at all", "完全没有用到 τ"),
            "B": Text(
                "divided by B; the mean runs over the anchors that have a positive",
                "除以了 B；均值只对有正样本的锚点取",
            ),
            "total": Text(
                "this is the gradient of the sum; the loss is a mean over the anchors that have a positive",
                "这是求和的梯度；损失是对有正样本的锚点取平均",
            ),
            "itself": Text(
                "the anchor competes with itself: the diagonal belongs to no sum",
                "锚点与自己竞争了：对角线不该进入任何求和",
            ),
            "columns": Text(
                "these are softmaxes down the columns; an anchor is a row", "softmax 是沿着列做的；锚点是行"
            ),
            "both": Text(
                "s_ij and s_ji are added up; here they are two numbers, each with its own anchor",
                "把 s_ij 与 s_ji 加在了一起；这里它们是两个数，各属于自己的锚点",
            ),
        }.items()
    ],
    rules=[_by_hand],
    rtol=1e-9,
    atol=1e-12,
)

# ---- ex2: a balanced draw of pairs ----------------------------------------------------------------------------------


def _pairs(function: Callable[..., Any], labels: Tensor, count: int, seed: int) -> Tensor | Text:
    """What the learner draws; a text where it is not what was asked for, whatever the chances."""
    found = function(labels.clone(), count, torch.Generator().manual_seed(seed))
    if not isinstance(found, Tensor):
        return Text(f"expected a tensor, got {type(found).__name__}", f"应返回张量，得到的是 {type(found).__name__}")
    if tuple(found.shape) != (count, 2):
        return Text(
            f"expected shape ({count}, 2), got {tuple(found.shape)}",
            f"形状应为 ({count}, 2)，得到 {tuple(found.shape)}",
        )
    if found.dtype != torch.int64:
        return Text(
            f"expected int64, the numbers of images; got {found.dtype}", f"应为 int64 的图像编号，得到 {found.dtype}"
        )
    if int(found.min()) < 0 or int(found.max()) >= len(labels):
        return Text("an index points at no image", "有的下标没有对应的图像")
    i, j = found.T
    if (i == j).any():
        return Text("an image is paired with itself", "有图像与自己配成了一对")
    if (i > j).any():
        return Text(
            "a pair (i, j) with i > j: write the smaller index first", "有一对 (i, j) 的 i > j：小的下标写在前面"
        )
    if len(found.unique(dim=0)) < count:
        return Text("the same pair comes twice", "同一对出现了两次")
    same = int((labels[i] == labels[j]).sum())
    if same != count // 2:
        return Text(
            f"{same} positive pairs of {count}: exactly half were asked for, in every draw",
            f"{count} 对里有 {same} 个正样本对：要求每次恰好一半",
        )
    return found


def _drawn_fairly(function: Callable[..., Any]) -> Text | None:
    labels = torch.tensor([3, 7, 3, 7, 7, 3, 5, 5, 7, 7, 7, 7])  # three, seven and two images
    for count in (4, 40, 2):
        for seed in range(5):
            found = _pairs(function, labels, count, seed)
            if isinstance(found, Text):
                return found
    torch.manual_seed(1)
    one = _pairs(function, labels, 8, 0)
    torch.manual_seed(2)
    again, other = _pairs(function, labels, 8, 0), _pairs(function, labels, 8, 1)
    assert all(isinstance(x, Tensor) for x in (one, again, other))
    if not torch.equal(one, again):  # type: ignore[arg-type]
        return Text(
            "two draws with generators of the same seed differ: take all chance from the generator",
            "随机种子相同的两个 generator 抽出了不同的样本对：全部随机性都要来自 generator",
        )
    if torch.equal(one, other):  # type: ignore[arg-type]
        return Text("the draw does not depend on the generator", "抽取结果与 generator 无关")
    return _uniform(function, labels)


def _uniform(function: Callable[..., Any], labels: Tensor, draws: int = 500) -> Text | None:
    """Is every positive pair as likely as any other, and every negative one?"""
    i, j = torch.triu_indices(len(labels), len(labels), 1)
    same, code = labels[i] == labels[j], i * len(labels) + j
    seen: dict[bool, list[Tensor]] = {True: [], False: []}
    for seed in range(draws):
        found = _pairs(function, labels, 4, 100 + seed)
        if isinstance(found, Text):
            return found
        kind = labels[found[:, 0]] == labels[found[:, 1]]
        for wanted in (True, False):
            seen[wanted].append(found[kind == wanted])
    for wanted, name in ((True, Text("positive", "正")), (False, Text("negative", "负"))):
        possible = code[same == wanted]
        drawn = torch.cat(seen[wanted])
        count = (drawn[:, 0] * len(labels) + drawn[:, 1])[:, None].eq(possible).sum(0).double()  # of each pair
        mean = count.mean()
        if ((count - mean).abs() > 6 * mean.sqrt() + 3).any():
            often = int(count.sub(mean).abs().argmax())
            a, b = divmod(int(possible[often]), len(labels))
            rate, fair = count[often] / draws, mean / draws
            return Text(
                f"not every {name.en} pair is equally likely: images {a} and {b} come in {rate:.0%} of the draws, the"
                f" average {name.en} pair in {fair:.0%}. Did you draw a person first, or an image first?",
                f"{name.zh}样本对的机会不均等：图像 {a} 与 {b} 出现在 {rate:.0%} 的抽取里，"
                f"平均每个{name.zh}样本对是 {fair:.0%}。是不是先抽了人，或先抽了一张图像？",
            )
        two = (drawn[:, 0] * len(labels) + drawn[:, 1]).view(draws, 2).sort(1).values
        sets, often_together = two.unique(dim=0, return_counts=True)
        chance = draws / math.comb(len(possible), 2)
        if (most := int(often_together.max())) > chance + 6 * chance**0.5 + 3:
            a, b, c, d = (
                place for code in sets[often_together.argmax()].tolist() for place in divmod(code, len(labels))
            )
            return Text(
                f"pairs ({a}, {b}) and ({c}, {d}) come together in {most} of {draws} draws, expected {chance:.1f}:"
                " draw no blocks",
                f"({a}, {b}) 和 ({c}, {d}) 两对在 {draws} 次里同时出现 {most} 次，应为 {chance:.1f} 次：不要成块地抽",
            )
    return None


ex2 = Exercise("ex2", rules=[_drawn_fairly])

# ---- ex3: a term that keeps the coordinates apart -------------------------------------------------------------------


def _toy(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Eight people, eight samples of each, in six numbers; a matrix to four coordinates to begin from."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(64) // 8
    spread = torch.tensor([2.0, 1.5, 1.2, 1.0, 0.6, 0.3])
    means = torch.randn(8, 6, generator=generator) * spread
    noise = torch.randn(64, 6, generator=generator) * torch.tensor([0.3, 0.3, 0.3, 0.3, 0.6, 1.0])
    return means[labels] + noise, labels, torch.randn(4, 6, generator=generator)


def _trained(term: Callable[[Tensor], Any], seed: int) -> tuple[float, float]:
    """Effective dimension at the end of a training with positive pairs and `term`, and same / apart distance."""
    h, labels, start = _toy(seed)
    W = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([W], lr=0.03)
    i, j = torch.triu_indices(len(h), len(h), 1)
    same = labels[i] == labels[j]

    def laid_out() -> Tensor:
        x = h @ W.T
        return (x - x.mean(0)) / (x.std(0, unbiased=False) + 1e-6)

    for _ in range(300):
        x = laid_out()
        loss = F.pdist(x)[same].square().mean() / 2 + term(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x = laid_out().detach()
    D, covariance = F.pdist(x), x.T.cov()
    return float(covariance.trace() ** 2 / covariance.square().sum()), float(D[same].mean() / D[~same].mean())


def _keeps_apart(function: Callable[..., Any]) -> Text | None:
    generator = torch.Generator().manual_seed(0)
    x = F.batch_norm(torch.randn(20, 4, generator=generator), None, None, training=True).requires_grad_()
    before = x.detach().clone()
    value = function(x)
    if not isinstance(value, Tensor) or value.ndim:
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        return Text(f"expected a scalar tensor, got {got}", f"应返回标量张量，得到 {got}")
    if not torch.equal(x.detach(), before):
        return Text("your function changes its input x; work on a copy", "你的函数改动了输入 x；请在副本上计算")
    if not value.requires_grad:
        return Text(
            "no gradient flows from your term to x, so it cannot change the training",
            "你的这一项没有梯度传到 x，训练不会因它而改变",
        )
    for seed in (0, 1):
        try:
            dimension, ratio = _trained(function, seed)
        except RuntimeError as error:
            return Text(f"the training stops with {str(error)[:90]}", f"训练中断：{str(error)[:90]}")
        if not math.isfinite(dimension):
            return Text("the training ends in NaN", "训练变成了 NaN")
        if dimension < 2.5:
            return Text(
                f"with your term the toy net still ends in {dimension:.1f} directions of 4; without any it ends in"
                " about 1.5: what has to be different between two coordinates? And can plus and minus cancel in it?",
                f"加上你的这一项，小网络最后仍只用 4 个方向中的 {dimension:.1f} 个；"
                "什么都不加时约为 1.5 个：两个坐标之间，什么必须不同？正负会不会互相抵消？",
            )
        if ratio > 0.6:
            return Text(
                f"the directions are there ({dimension:.1f}), but the images of one person are {ratio:.2f} times as far"
                " apart as those of two: your term outweighs the pull",
                f"方向是有了（{dimension:.1f} 个），但同一人的图像之间的距离是"
                f"不同人之间的 {ratio:.2f} 倍：你的这一项压过了拉力",
            )
    return None


ex3 = Exercise("ex3", rules=[_keeps_apart])

quiz = Quiz("contrastive")
