"""Checks of chapter 00: the score of several enrolled pictures, a threshold from other people, alarms of a gallery."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from facelearn.check.framework import Case, Exercise, Mistake, Text
from facelearn.check.quiz import Quiz

# ---- ex1: the cosine with the mean of several pictures, from cosines alone ------------------------------------------


def _template_score(scores: Tensor, between: Tensor) -> Tensor:
    return scores.sum() / between.sum().sqrt()


def _enrolled(generator: torch.Generator) -> Iterator[Case]:
    def case(pictures: int, spread: float, name: Text | None = None) -> Case:
        person = torch.randn(8, generator=generator, dtype=torch.float64)
        x = F.normalize(person + spread * torch.randn(pictures + 1, 8, generator=generator, dtype=torch.float64))
        return Case(x[1:] @ x[0], x[1:] @ x[1:].T, name=name)

    for pictures in (3, 5, 9):
        yield case(pictures, 0.8)
    yield case(2, 0.8, Text("two enrolled pictures", "两张登记图"))
    yield case(1, 0.5, Text("one enrolled picture", "单张登记图"))
    strangers = F.normalize(torch.randn(5, 4, generator=generator, dtype=torch.float64))
    probe = -strangers.sum(0) / strangers.sum(0).norm() + 0.3 * strangers[0]  # cosines of both signs, a negative sum
    far = Text("a stranger, scores of both signs", "陌生人（分数有正有负）")
    yield Case(strangers @ F.normalize(probe, dim=0), strangers @ strangers.T, name=far)
    same = torch.full((4, 4), 1.0, dtype=torch.float64)
    yield Case(torch.full((4,), 0.3, dtype=torch.float64), same, name=Text("four equal pictures", "四张相同的登记图"))


ex1 = Exercise(
    "ex1",
    _template_score,
    _enrolled,
    rtol=1e-9,
    atol=1e-12,
    mistakes=[
        Mistake(
            lambda scores, between: scores.mean(),
            Text(
                "this is the mean of the cosines; the mean of unit vectors is shorter than 1, and a cosine divides by"
                " its length",
                "这是余弦的平均；单位向量的平均比 1 短，而余弦要除以它的长度",
            ),
        ),
        Mistake(
            lambda scores, between: scores.max(), Text("this is the best of the cosines", "这是几个余弦中最大的一个")
        ),
        Mistake(
            lambda scores, between: scores.sum() / between.sum(),
            Text("divided by the square of the length: a root is missing", "除以了长度的平方：少开了一次方"),
        ),
        Mistake(
            lambda scores, between: scores.mean() / between.sum().sqrt(),
            Text(
                "above the bar stands the mean, below it the length of the sum: one n too many",
                "分子用了平均，分母却是“和”的长度：多除了一个 n",
            ),
        ),
        Mistake(
            lambda scores, between: scores.sum() / between.triu().sum().sqrt(),
            Text(
                "each two pictures meet twice in the square of a sum: (i, j) and (j, i)",
                "和的平方里，两张不同的图要出现两次：(i, j) 与 (j, i)",
            ),
        ),
        Mistake(
            lambda scores, between: scores.sum() / (between.sum() - len(between)).sqrt(),
            Text(
                "the diagonal belongs to it too: in the square of a sum each picture also meets itself",
                "对角线也要算：和的平方里，每张图也与自己相遇一次",
            ),
        ),
        Mistake(
            lambda scores, between: scores.sum() / scores.norm() / len(scores) ** 0.5,
            Text("the length of the vector of scores is not that of the mean", "分数向量的长度不是平均向量的长度"),
        ),
    ],
)

# ---- ex2: a threshold for a wanted false accept rate, from pairs of other people ------------------------------------


def _calibrate(scores: Tensor, people: Tensor, test_people: Tensor, far: float) -> float:
    """Every score tried as a threshold, from below."""
    usable = (people[:, 0] != people[:, 1]) & ~torch.isin(people, test_people).any(1)
    impostor = scores[usable]
    for threshold in sorted(set(impostor.tolist())):
        if (impostor >= threshold).double().mean() <= far:
            return threshold
    return math.inf


def _slip(kind: str) -> Callable[[Tensor, Tensor, Tensor, float], float]:
    """A calibration with one slip."""

    def calibrate(scores: Tensor, people: Tensor, test_people: Tensor, far: float) -> float:
        met = torch.isin(people, test_people)
        usable = people[:, 0] != people[:, 1]
        if kind == "genuine":
            usable = torch.ones_like(usable)
        if kind == "only genuine":
            usable = ~usable
        if kind != "leak":
            usable &= ~{"both": met.all(1), "first": met[:, 0]}.get(kind, met.any(1))
        used = scores[usable]
        steps = used.unique()
        if kind == "strict":
            return next((t for t in steps.tolist() if (used >= t).double().mean() < far), math.inf)
        if kind == "float32":
            return next((t for t in steps.tolist() if (used >= t).float().mean().item() <= far), math.inf)
        if kind == "rounded":
            return float(torch.tensor(_calibrate(scores, people, test_people, far)))
        if kind == "above":
            return next(t for t in steps.tolist() if (used > t).double().mean() <= far)
        if kind == "quantile":
            return float(used.quantile(1 - far))
        if kind == "nearest":
            return min(steps.tolist(), key=lambda t: (abs(float((used >= t).double().mean()) - far), t))
        if kind == "split ties":
            place = int(far * len(used) + 1e-9)
            return float(used.sort(descending=True).values[place - 1]) if place else math.inf
        return next((t for t in steps.tolist() if (used >= t).double().mean() <= far), math.inf)

    return calibrate


def _pairs(generator: torch.Generator) -> Iterator[Case]:
    def case(decimals: int, far: float, name: Text) -> Case:
        people = torch.randint(12, (240, 2), generator=generator)
        people[::3, 1] = people[::3, 0]
        own = people[:, 0] == people[:, 1]
        tested = torch.tensor([3, 7, 8])
        noise = 0.2 * torch.randn(240, generator=generator, dtype=torch.float64)
        # the people of the test are alike: who lets them in gets another threshold
        alike = 0.3 * torch.isin(people, tested).sum(1)
        scores = (noise + 0.7 * own + alike * ~own).round(decimals=decimals)
        return Case(scores, people, tested, far, name=name)

    yield case(12, 0.1, Text("no ties", "无并列的分数"))
    yield case(12, 0.05, Text("no ties, a smaller rate", "无并列的分数（误识率更小）"))
    yield case(1, 0.1, Text("many ties", "大量并列的分数"))
    yield case(1, 0.25, Text("many ties, a larger rate", "大量并列的分数（误识率更大）"))
    few = torch.tensor([[0, 1], [0, 2], [1, 2], [2, 2]])
    tied = torch.tensor([0.4, 0.4, 0.1, 0.9], dtype=torch.float64)
    nobody = torch.tensor([9])
    three = torch.tensor([0.9, 0.5, 0.5, 0.5], dtype=torch.float64)
    four = torch.tensor([[0, 1], [0, 2], [1, 2], [2, 3]])
    yield Case(three, four, nobody, 0.5, name=Text("three tied scores", "三个并列的分数"))
    yield Case(tied, few, nobody, 0.5, name=Text("no score keeps the rate", "没有分数满足要求的列表"))
    yield Case(tied, few, nobody, 1.0, name=Text("a rate of 1", "误识率 1"))


_OTHERS = Text(
    "pairs with one person of the test are used too: one of the two is enough to let the test in",
    "用到了只含一位测试者的样本对：两人中有一人来自测试，就已经泄漏",
)
ex2 = Exercise(
    "ex2",
    _calibrate,
    _pairs,
    rtol=0,
    atol=0,
    mistakes=[
        Mistake(
            _slip("leak"),
            Text(
                "pairs with people of the test are used: the threshold has seen them",
                "用到了含有测试者的样本对：阈值已经见过他们",
            ),
        ),
        Mistake(_slip("both"), _OTHERS),
        Mistake(
            _slip("first"),
            Text("only the first person of each pair is looked up", "只查了每一对的第一个人在不在测试里"),
        ),
        Mistake(
            _slip("genuine"),
            Text(
                "pairs of one person are counted too; a false accept can only happen with two people",
                "把同一个人的样本对也算了进去；只有两个人的样本对才谈得上误识",
            ),
        ),
        Mistake(_slip("only genuine"), Text("these are the pairs of one person", "这些是同一个人的样本对")),
        Mistake(
            _slip("above"),
            Text(
                "a pair AT the threshold is accepted too: score >= threshold", "分数等于阈值时也会被接受：score >= 阈值"
            ),
        ),
        Mistake(
            _slip("strict"),
            Text(
                "a share of exactly far is allowed: at most",
                "比例恰好等于 far 是允许的：不超过，不是小于",
            ),
        ),
        Mistake(
            _slip("float32"),
            Text(
                "the share is taken in float32, where 0.1 is more than 0.1: use float64",
                "比例用 float32 计算，那里的 0.1 比 0.1 大：请用 float64",
            ),
        ),
        Mistake(
            _slip("rounded"),
            Text(
                "the threshold is rounded to float32: it may lie above the score that it stands for",
                "阈值舍入成了 float32：它可能比所代表的分数还高",
            ),
        ),
        Mistake(
            _slip("quantile"),
            Text(
                "a quantile between two scores knows nothing of ties: count how many pairs it lets in",
                "落在两个分数之间的分位数不管并列：数一数它放进了多少对",
            ),
        ),
        Mistake(
            _slip("nearest"),
            Text(
                "the nearest rate may lie above the wanted one; it must not", "最接近的误识率可能超过目标；不允许超过"
            ),
        ),
        Mistake(
            _slip("split ties"),
            Text(
                "the k-th score from above lets in all that tie with it, more than k",
                "从大到小第 k 个分数会连同与它并列的一起放进来，多于 k 个",
            ),
        ),
    ],
)

# ---- ex3: false alarms of a gallery of another size -----------------------------------------------------------------


def _alarm_rate(scores: Tensor, tau: float, size: int) -> float:
    people = scores.shape[1]
    dangerous = (scores >= tau).sum(1).tolist()  # how many of the gallery would raise an alarm, for each stranger
    quiet = [math.comb(people - count, size) / math.comb(people, size) for count in dangerous]
    return 1 - sum(quiet) / len(quiet)


def _strangers(generator: torch.Generator) -> Iterator[Case]:
    def scores(strangers: int, people: int) -> Tensor:
        each = torch.randn(strangers, 1, generator=generator, dtype=torch.float64)  # some resemble many
        return 0.15 * torch.randn(strangers, people, generator=generator, dtype=torch.float64) + 0.15 * each

    for size in (1, 4, 20):
        yield Case(scores(30, 40), 0.3, size)
    yield Case(scores(10, 12), 0.2, 12, name=Text("the whole gallery", "整个底库"))
    tied = torch.tensor([[0.5, 0.1, 0.1, 0.1], [0.5, 0.5, 0.5, 0.1]], dtype=torch.float64)
    yield Case(tied, 0.5, 2, name=Text("scores at the threshold", "分数恰好等于阈值"))


def _with(rate: Callable[[Tensor, int, int], Tensor | float]) -> Callable[[Tensor, float, int], float]:
    """A wrong answer that begins rightly: which scores reach the threshold."""
    return lambda scores, tau, size: float(rate((scores >= tau).double(), size, scores.shape[1]))


ex3 = Exercise(
    "ex3",
    _alarm_rate,
    _strangers,
    rtol=1e-5,  # a quotient of whole numbers is float32 in torch
    atol=1e-8,
    mistakes=[
        Mistake(
            _with(lambda hit, size, people: 1 - (1 - hit.mean()) ** size),
            Text(
                "this takes all strangers for alike; some resemble many people of the gallery, most hardly any: count"
                " for each stranger",
                "这把所有陌生人当成一样；有人像底库里的很多人，多数人几乎谁也不像：请对每个陌生人分别算",
            ),
        ),
        Mistake(
            _with(lambda hit, size, people: (1 - (1 - hit.mean(1)) ** size).mean()),
            Text(
                "this draws the same person of the gallery several times; nobody is enrolled twice",
                "这样会把底库里的同一个人抽中好几次；没有人会登记两次",
            ),
        ),
        Mistake(
            _with(lambda hit, size, people: min(1.0, size * float(hit.mean()))),
            Text(
                "size times the rate of one comparison, cut off at 1: a stranger who resembles three people raises one"
                " alarm, not three",
                "单次比较的误报率乘以 size，再截到 1：像三个人的陌生人只引发一次误报，不是三次",
            ),
        ),
        Mistake(
            _with(lambda hit, size, people: size * hit.mean()),
            Text(
                "this adds up alarms; a stranger who raises three raises one, and a rate stays below 1",
                "这是把误报次数加起来；一个陌生人引发三次也只算一次，比例不会超过 1",
            ),
        ),
        Mistake(
            _with(lambda hit, size, people: hit[:, :size].amax(1).mean()),
            Text(
                "this is one gallery, the first columns; asked is the mean over all that could be drawn",
                "这只是一个底库（前几列）；要的是所有可能抽法的平均",
            ),
        ),
        Mistake(
            _with(lambda hit, size, people: hit.amax(1).mean()),
            Text("this is the rate of the whole gallery", "这是整个底库的误报率"),
        ),
        Mistake(
            lambda scores, tau, size: 1 - _alarm_rate(scores, tau, size),
            Text("this is the share of strangers who raise no alarm", "这是没有引发误报的陌生人所占的比例"),
        ),
        Mistake(
            lambda scores, tau, size: _alarm_rate(scores, math.nextafter(tau, math.inf), size),
            Text("a score AT the threshold raises an alarm too", "分数等于阈值时也会引发误报"),
        ),
    ],
)

quiz = Quiz("start")
