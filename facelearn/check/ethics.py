"""Checks of chapter 02: equal trust in a yes, a threshold that keeps a promise to every group, an audit of a report."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from facelearn.check.framework import Case, Exercise, Mistake, Text
from facelearn.check.quiz import Quiz

Array = NDArray[Any]
Report = dict[str, Any]

# ---- ex1: the FAR at which an accepted pair of B is as trustworthy as one of A ---------------------------------------


def _equal_trust(far_a: float, frr_a: float, frr_b: float, share_a: float, share_b: float) -> float:
    """Odds that an accepted pair is genuine: share / (1 - share) * TAR / FAR, equal in both groups."""
    odds = share_a / (1 - share_a) * (1 - frr_a) / far_a
    return share_b / (1 - share_b) * (1 - frr_b) / odds


def _gates(generator: torch.Generator) -> Iterator[Case]:
    yield Case(0.01, 0.1, 0.1, 0.9, 0.9, name=Text("two groups that differ in nothing", "两组没有任何差别"))
    yield Case(0.01, 0.1, 0.1, 0.9, 0.99, name=Text("only the shares differ", "只有真实比对所占的比例不同"))
    yield Case(0.01, 0.1, 0.3, 0.9, 0.9, name=Text("only the FRRs differ", "只有 FRR 不同"))
    yield Case(0.2, 0.05, 0.1, 0.5, 0.75, name=Text("a lax gate", "很松的闸机"))
    for _ in range(4):
        far, a, b, p, q = (float(x) for x in torch.rand(5, generator=generator, dtype=torch.float64))
        yield Case(1e-4 + 0.02 * far, 0.3 * a, 0.3 * b, 0.3 + 0.6 * p, 0.3 + 0.6 * q)


ex1 = Exercise(
    "ex1",
    _equal_trust,
    _gates,
    rtol=1e-9,
    atol=1e-13,
    mistakes=[
        Mistake(
            lambda far_a, frr_a, frr_b, share_a, share_b: far_a,
            Text(
                "the same FAR in both groups: that leaves an accepted pair less trustworthy where impostors are more"
                " frequent",
                "两组取同样的 FAR：冒充者更多的那一组，“通过”就更不可信",
            ),
        ),
        Mistake(
            lambda far_a, frr_a, frr_b, share_a, share_b: _equal_trust(far_a, 0.0, 0.0, share_a, share_b),
            Text(
                "the FRRs have no effect; fewer genuine pairs pass where FRR is larger",
                "FRR 没有起作用；FRR 大的组，通过的真实比对更少",
            ),
        ),
        Mistake(
            lambda far_a, frr_a, frr_b, share_a, share_b: _equal_trust(far_a, 1 - frr_a, 1 - frr_b, share_a, share_b),
            Text(
                "FRR is taken for TAR: accepted genuine pairs are the share 1 - FRR",
                "把 FRR 当成了 TAR：通过的真实比对占 1 - FRR",
            ),
        ),
        Mistake(
            lambda far_a, frr_a, frr_b, share_a, share_b: _equal_trust(far_a, frr_a, frr_b, share_b, share_a),
            Text("the shares of the two groups are swapped", "两组的比例用反了"),
        ),
        Mistake(
            lambda far_a, frr_a, frr_b, share_a, share_b: far_a * (1 - frr_b) / (1 - frr_a) * share_b / share_a,
            Text(
                "shares are compared, not odds: impostors count with 1 - share",
                "比的是比例，应该比几率：冒充者占 1 - 比例",
            ),
        ),
        Mistake(
            lambda far_a, frr_a, frr_b, share_a, share_b: _equal_trust(far_a, frr_b, frr_a, 1 - share_a, 1 - share_b),
            Text("the ratio is upside down", "比值上下颠倒了"),
        ),
    ],
)

# ---- ex2: one threshold that keeps its promise to every group ----------------------------


def _guarantee(scores: Array, same: Array, people: Array, group: Array, far: float) -> tuple[float, Array]:
    """Every impostor score is tried; accepted is what lies ABOVE it."""
    letters = group[people]  # (P, 2)
    within = letters[:, 0] == letters[:, 1]
    kinds = np.unique(group)
    own = [within & (letters[:, 0] == kind) for kind in kinds]

    def kept(limit: float) -> bool:
        return all((scores[mine & ~same] > limit).mean() <= far for mine in own)

    limits = [limit for limit in np.unique(scores[within & ~same]) if kept(limit)]
    limit = float(min(limits))
    return limit, np.array([(scores[mine & same] <= limit).mean() for mine in own])


def _on(pairs: Callable[[Array, Array, Array, Array], Array]) -> Callable[..., tuple[float, Array]]:
    """A wrong answer: the FAR of these pairs taken together; FRRs as they should be."""

    def answer(scores: Array, same: Array, people: Array, group: Array, far: float) -> tuple[float, Array]:
        letters = group[people]
        keep = pairs(scores, same, people, group)
        impostor = scores[keep & ~same]
        limit = float(min(s for s in np.unique(impostor) if (impostor > s).mean() <= far))
        own = [(letters == kind).all(1) & same for kind in np.unique(group)]
        return limit, np.array([(scores[mine] <= limit).mean() for mine in own])

    return answer


def _within(scores: Array, same: Array, people: Array, group: Array) -> Array:
    letters = group[people]
    return np.asarray(letters[:, 0] == letters[:, 1])


def _any_side(scores: Array, same: Array, people: Array, group: Array, far: float) -> tuple[float, Array]:
    """Impostor pairs of a group: at least one of its people, the other from anywhere."""
    letters, kinds = group[people], np.unique(group)

    def kept(limit: float) -> bool:
        return all((scores[(letters == kind).any(1) & ~same] > limit).mean() <= far for kind in kinds)

    limit = float(min(s for s in np.unique(scores[~same]) if kept(s)))
    own = [(letters == kind).all(1) & same for kind in kinds]
    return limit, np.array([(scores[mine] <= limit).mean() for mine in own])


def _kindest(scores: Array, same: Array, people: Array, group: Array, far: float) -> tuple[float, Array]:
    """The lowest of the groups' own thresholds."""
    limit = min(_own(scores, same, (group[people] == kind).all(1), far) for kind in np.unique(group))
    own = [(group[people] == kind).all(1) & same for kind in np.unique(group)]
    return limit, np.array([(scores[mine] <= limit).mean() for mine in own])


def _quantile(scores: Array, same: Array, people: Array, group: Array, far: float) -> tuple[float, Array]:
    own = [(group[people] == kind).all(1) for kind in np.unique(group)]
    limit = max(float(np.quantile(scores[mine & ~same], 1 - far)) for mine in own)
    return limit, np.array([(scores[mine & same] <= limit).mean() for mine in own])


def _below(scores: Array, same: Array, people: Array, group: Array, far: float) -> Array:
    """FRRs that leave out the genuine pairs at the threshold."""
    limit = _guarantee(scores, same, people, group, far)[0]
    return np.array([(scores[(group[people] == k).all(1) & same] < limit).mean() for k in np.unique(group)])


def _own(scores: Array, same: Array, mine: Array, far: float) -> float:
    impostor = scores[mine & ~same]
    return float(min(s for s in np.unique(impostor) if (impostor > s).mean() <= far))


def _tests(generator: torch.Generator) -> Iterator[Case]:
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))

    def draw(
        numbers: list[int], decimals: int, far: float, name: Text, sizes: tuple[int, ...] = (), images: int = 4
    ) -> Case:
        """People in groups of these numbers and unequal sizes; scores rise with the place in the list."""
        sizes = sizes or (6, 4, 5)[: len(numbers)]
        place = rng.permutation(np.repeat(np.arange(len(numbers)), sizes))
        group = np.array(numbers)[place]
        labels = np.repeat(np.arange(len(group)), images)
        first, second = np.triu_indices(len(labels), 1)
        people = np.stack([labels[first], labels[second]], 1)
        same = people[:, 0] == people[:, 1]
        level = 0.08 * place[people].mean(1) + 0.12 * (place[people][:, 0] == place[people][:, 1])
        scores = np.round(0.5 * same + level + 0.15 * rng.normal(size=len(same)), decimals)
        return Case(scores, same, people, group, far, name=name)

    yield draw([0, 1], 12, 0.05, Text("two groups", "两组"))
    yield draw([3, 7, 5], 12, 0.05, Text("three groups, numbered 3, 5 and 7", "三组，组号为 3、5、7"))
    yield draw([4, 2, 9], 12, 0.1, Text("three groups, numbered 2, 4 and 9", "三组，组号为 2、4、9"))
    yield draw([1, 0], 12, 0.29, Text("far = 0.29 of 100 pairs", "far = 0.29，各 100 对"), sizes=(2, 2), images=10)
    yield draw([1, 0], 1, 0.1, Text("two groups, many ties", "两组，分数并列很多"))
    yield draw([0, 1], 12, 0.0, Text("far = 0", "far = 0"))


ex2 = Exercise(
    "ex2",
    _guarantee,
    _tests,
    rtol=1e-12,
    atol=1e-12,
    mistakes=[
        Mistake(
            _on(lambda *pairs: np.ones(len(pairs[0]), bool)),
            Text(
                "the FAR of all impostor pairs together is kept, pairs across groups among them; ask it of each group",
                "只保证了全部冒充对合起来的 FAR（还混入了跨组的冒充对）；要逐组保证",
            ),
        ),
        Mistake(
            _on(_within),
            Text(
                "the FAR of both groups together is kept; the worse group exceeds it",
                "只保证了各组合起来的 FAR；较差的那一组超过了 far",
            ),
        ),
        Mistake(
            _any_side,
            Text(
                "impostor pairs across groups are counted; a group's are those of two of its own people",
                "算进了跨组的冒充对；一个组的冒充对是本组两个人的样本对",
            ),
        ),
        Mistake(
            _kindest,
            Text(
                "this is the lowest of the groups' thresholds: one group keeps the FAR, the others do not",
                "取了各组阈值中最低的一个：只有一组满足 FAR，别的组不满足",
            ),
        ),
        Mistake(
            _quantile,
            Text(
                "a quantile lies between two scores, where no pair is; take the score of an impostor pair",
                "分位数落在两个分数之间，那里没有样本对；要取某个冒充对的分数",
            ),
        ),
        Mistake(
            lambda *inputs: (_guarantee(*inputs)[0], _below(*inputs)),
            Text(
                "a genuine pair at the threshold does not pass either: it counts for FRR",
                "分数恰好等于阈值的真实对也不算通过：要计入 FRR",
            ),
        ),
        Mistake(
            lambda *inputs: (_guarantee(*inputs)[0], 1 - _guarantee(*inputs)[1]),
            Text("TARs are returned; the FRRs are asked for", "返回的是 TAR；题目要的是 FRR"),
        ),
    ],
)

# ---- ex3: an audit of a made-up report ----------------------------


def _limit(group: Mapping[str, Any]) -> float:
    """The upper limit of a FAR as the exercise defines it."""
    k, pairs = group["accepted"], group["impostor"]
    return float(3 / pairs if k == 0 else (k + 2 * k**0.5) / pairs)


def _audit(report: Report) -> list[str]:
    groups, claims = report["groups"].values(), report["claims"]
    found = []
    if claims["one threshold"] and len({group["threshold"] for group in groups}) > 1:
        found.append("threshold")
    if any(group["from"] != "same group" for group in groups):
        found.append("impostors")
    if any(_limit(group) > claims["far at most"] for group in groups):
        found.append("far")
    return found


def _report(**changes: Any) -> Report:
    """A sound report of two groups; `b_accepted=0` changes one entry of B, `far=` the claim."""
    sound = {"impostor": 200_000, "accepted": 9, "threshold": 0.4, "from": "same group"}
    report: Report = {
        "groups": {"A": dict(sound), "B": dict(sound)},
        "claims": {"one threshold": True, "far at most": 1e-4},
    }
    for name, value in changes.items():
        letter, _, entry = name.partition("_")
        if entry:
            report["groups"].setdefault(letter.upper(), dict(sound))[entry] = value
        else:
            report["claims"]["far at most" if name == "far" else "one threshold"] = value
    return report


REPORTS: list[tuple[Report, Text]] = [
    (_report(), Text("a sound report", "一份没有问题的报告")),
    (_report(b_threshold=0.5), Text("B has a threshold of its own", "B 组另有阈值")),
    (
        _report(b_threshold=0.5, one=False),
        Text("B has a threshold of its own, and the report says so", "B 组另有阈值，而且报告说明了"),
    ),
    (_report(b_from="anyone"), Text("B's impostors come from both groups", "B 组的冒充者取自两组")),
    (
        _report(a_from="anyone", b_from="anyone"),
        Text("all impostors come from both groups", "各组的冒充者都取自两组"),
    ),
    (
        _report(b_accepted=0, b_impostor=2000),
        Text("no false accept in 2,000 pairs of B", "B 组的 2,000 个冒充对中没有一个误识"),
    ),
    (
        _report(b_accepted=0, b_impostor=40_000),
        Text("no false accept in 40,000 pairs of B", "B 组的 40,000 个冒充对中没有一个误识"),
    ),
    (
        _report(b_accepted=18),
        Text("18 false accepts in 200,000 pairs of B", "B 组的 200,000 个冒充对中有 18 个误识"),
    ),
    (
        _report(b_accepted=30),
        Text("30 false accepts in 200,000 pairs of B", "B 组的 200,000 个冒充对中有 30 个误识"),
    ),
    (
        _report(b_accepted=30, a_accepted=0, a_impostor=2_000_000),
        Text("A, with ten times as many pairs, hides B's 30 false accepts", "A 组样本对是十倍，掩盖了 B 组 30 个误识"),
    ),
    (_report(b_from="group A"), Text("B's impostors come from A", "B 组的冒充者取自 A 组")),
    (_report(far=1e-3, b_accepted=100), Text("FAR 1e-3 claimed, 100 of 200,000", "声称 FAR 1e-3，20 万对误识 100 对")),
    (_report(far=1e-5), Text("FAR 1e-5 claimed, 9 of 200,000", "声称 FAR 1e-5，20 万对误识 9 对")),
    (_report(b_accepted=14), Text("14 false accepts in 200,000 pairs of B", "B 组的 200,000 个冒充对中有 14 个误识")),
    (
        _report(b_accepted=0, b_impostor=25_000),
        Text("no false accept in 25,000 pairs of B", "B 组的 25,000 个冒充对中没有一个误识"),
    ),
    (
        _report(c_threshold=0.3, c_from="anyone"),
        Text("a third group differs from the first two", "第三组与前两组不同"),
    ),
    (
        _report(b_threshold=0.5, b_from="anyone", b_accepted=0, b_impostor=2000),
        Text("all three faults", "三处问题都有"),
    ),
]  # fmt: skip


def _reads_reports(function: Callable[..., Any]) -> Text | None:
    for report, name in REPORTS:
        given = copy.deepcopy(report)
        answer = function(given)
        if given != report:
            return Text("your function changes the report; leave it as it is", "你的函数改动了报告；请不要改动它")
        if isinstance(answer, str) or not isinstance(answer, (list, tuple, set, frozenset)):
            return Text(
                f"expected a list of names such as ['far'], got {answer!r:.60}",
                f"应返回名称的列表，例如 ['far']；得到的是 {answer!r:.60}",
            )
        said, right = {str(one) for one in answer}, set(_audit(report))
        if unknown := said - {"threshold", "impostors", "far"}:
            return Text(
                f"{sorted(unknown)[0]!r:.40} is none of the three names: 'threshold', 'impostors', 'far'",
                f"{sorted(unknown)[0]!r:.40} 不是三个名称之一：'threshold'、'impostors'、'far'",
            )
        if missing := sorted(right - said):
            return Text(f"{name.en}: {missing[0]!r} is not reported", f"{name.zh}：没有报告 {missing[0]!r}")
        if extra := sorted(said - right):
            return Text(f"{name.en}: {extra[0]!r} is reported, wrongly", f"{name.zh}：误报了 {extra[0]!r}")
    return None


ex3 = Exercise("ex3", rules=[_reads_reports])

quiz = Quiz("ethics")
