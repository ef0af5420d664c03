"""The tables of `course/{en,zh}/protocol.md`, from the stored runs; `tools/protocol.py` writes them.

Those of the learning rate: what was tried on `tune`, what it changes against one rate for all, and what becomes of the
chapters' comparisons (`course/experiments/rates.py`).

The prose of the pages is written by people. What follows from numbers stands between `<!-- protocol:NAME -->` and
`<!-- /protocol -->`, and is made here.
"""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from scipy.stats import spearmanr, t

from tools.chapters import Failed

LANGUAGES = ("en", "zh")
BASES = ("softmax", "normface")
ONE = 4e-3  # the rate of the chapters
LEVEL = 0.95
MARKED = re.compile(r"(<!-- protocol:(\w+) -->\n).*?(<!-- /protocol -->)", re.S)
NAMES_ZH = {  # parts of the names in `experiments/rates.py`, longer ones first
    "log of FAR B / A, few": "FAR 之比 B / A 的对数，B 很少",
    "log of FAR B / A, half": "FAR 之比 B / A 的对数，各半",
    "FRR of B - A, camera": "FRR 之差 B - A，摄像头造成的部分",
    "within / between": "类内 / 类间",
    "moving - frozen centres": "会移动 - 冻结的中心",
    "change from 8 to 24 epochs": "从 8 轮到 24 轮的变化",
    "24 epochs": "24 轮",
    "nearest of 64": "64 个里最近的",
    "hardest": "最难",
    "random": "随机",
    "strong ring": "强环",
    "weak ring": "弱环",
    "mean norm": "只拉平均值",
    "division": "除法",
    "training images named, %": "训练图像认对的百分比",
    "at once": "从第一步起",
    "annealed": "退火",
    "the whole way": "全程",
    "margin - annealing - scale": "间隔 - 退火 - 尺度",
    "none": "无间隔",
    "rad": "弧度",
    ", ": "，",
}
WORDS: dict[str, dict[str, Any]] = {
    "en": {
        "levels": "| loss | seeds | accuracy | EER | TAR@1e-2 | TAR@1e-3 |",
        "differences": "| loss | seeds | EER − softmax | EER − NormFace | TAR@1e-2 − softmax | TAR@1e-3 − softmax |",
        "settings": "| loss | tried | chosen | at the edge of its grid |",
        "rates": "| loss | {rates} | place | TAR@1e-3 |",
        "order": "Spearman's rank correlation between the two orders of the {n} losses: {eer:.2f} by EER, {tar:.2f} by "
        "TAR@1e-3. By EER {first} was first at {one} and is now in place {place}.",
        "not_run": "Not trained yet: `make protocol` does it, in about 40 minutes of one core.",
        "claims": "| chapter | comparison | needed | at {one} | seeds | rate | at that rate | seeds | |",
        "above": "above {limit:.2g}",
        "below": "below {limit:.2g}",
        "within": "within ±{limit:.2g}",
        "stands": "stands", "weaker": "weaker", "open": "open", "falls": "**falls**",
        "tally": "{n} comparisons: stands {stands}, weaker {weaker}, open {open}, falls {falls}.",
        "better": "Lower EER than {base}, interval clear of 0",
        "same": "No gain over {base} shown, the interval holds 0",
        "worse": "Higher EER than {base}, interval clear of 0",
        "alone": "One seed or none in common with {base}, so nothing is claimed",
        "diverged": "Diverged in at least one run, which is left out above",
        "count": "Runs done: {done} of {all} (the losses have {least} to {most} of {seeds} seeds).",
        "unfinished": " The tables below are not finished and rank nothing yet.",
        "none": "none",
        "single": "the only one of its kind",
        "beside": "softmax + {weight:g} × it",
        "late": ", from {start:.0%} of the steps on",
        "batches": "batches {identities_per_batch} × {images_per_identity}",
        "stop": ": ", "end": ".", "comma": ", ",
        "names": {},
    },
    "zh": {
        "levels": "| 损失 | 种子数 | 准确率 | EER | TAR@1e-2 | TAR@1e-3 |",
        "differences": "| 损失 | 种子数 | EER − softmax | EER − NormFace | TAR@1e-2 − softmax | TAR@1e-3 − softmax |",
        "settings": "| 损失 | 试过几组 | 选中的设置 | 落在网格边缘的参数 |",
        "rates": "| 损失 | {rates} | 名次 | TAR@1e-3 |",
        "order": "{n} 种损失前后两种排序的 Spearman 秩相关系数：按 EER 为 {eer:.2f}，按 TAR@1e-3 为 {tar:.2f}。"
        "统一用 {one} 时 EER 最低的是 {first}，现在排第 {place}。",
        "not_run": "还没有训练：`make protocol` 会补上，单核约 40 分钟。",
        "claims": "| 章 | 比较 | 论断要求 | {one} 下 | 种子数 | 学习率 | 该学习率下 | 种子数 | |",
        "above": "大于 {limit:.2g}",
        "below": "小于 {limit:.2g}",
        "within": "±{limit:.2g} 以内",
        "stands": "成立", "weaker": "变弱", "open": "未定", "falls": "**不成立**",
        "tally": "共 {n} 项比较：成立 {stands} 项，变弱 {weaker} 项，未定 {open} 项，不成立 {falls} 项。",
        "better": "EER 低于 {base}，区间不含 0",
        "same": "看不出比 {base} 好，区间含 0",
        "worse": "EER 高于 {base}，区间不含 0",
        "alone": "与 {base} 共有的种子不足两个，不下结论",
        "diverged": "至少有一次训练发散，上表未计入",
        "count": "已完成 {done} / {all} 次训练（各损失完成的种子数在 {least} 到 {most} 之间，计划为 {seeds}）。",
        "unfinished": "下面的表尚未完成，还不能用来排名。",
        "none": "无",
        "single": "同类设置只试了这一组",
        "beside": "softmax + {weight:g} × 该损失",
        "late": "，从总步数的 {start:.0%} 起加入",
        "batches": "每批 {identities_per_batch} × {images_per_identity}",
        "stop": "：", "end": "。", "comma": "、",
        "names": NAMES_ZH,
    },
}  # fmt: skip


class Difference(NamedTuple):
    """Mean of paired differences over `n` seeds with its t interval; no interval below two seeds."""

    mean: float
    half: float
    n: int

    @property
    def verdict(self) -> str:
        if self.n < 2:
            return "alone"
        return "same" if abs(self.mean) <= self.half else "better" if self.mean < 0 else "worse"


def difference(table: pd.DataFrame, loss: str, base: str, number: str) -> Difference:
    """loss − base on the seeds both have, a t interval over the seeds."""
    by_seed = {name: rows.set_index("seed")[number] for name, rows in table.groupby("loss")}
    if loss not in by_seed or base not in by_seed:
        return Difference(float("nan"), float("nan"), 0)
    pairs = (by_seed[loss] - by_seed[base]).dropna()
    n = len(pairs)
    half = float(t.ppf((1 + LEVEL) / 2, n - 1) * pairs.std(ddof=1) / n**0.5) if n > 1 else float("nan")
    return Difference(float(pairs.mean()), half, n)


def display(loss: str) -> str:
    """A loss's name for people: that of its class."""
    from facelearn.losses import REGISTRY

    return REGISTRY[loss].__name__


# ---- the sections ---------------------------------------------------------------------------------------------------


def levels(table: pd.DataFrame, words: dict[str, str]) -> str:
    """Mean ± standard deviation over the seeds, in percent; smallest EER first."""
    numbers = ("accuracy", "eer", "tar_1e2", "tar_1e3")
    lines = []
    for loss in _sorted(table):
        rows = table[table["loss"] == loss].dropna(subset=["eer"])
        cells = [_spread(100 * rows[number]) for number in numbers]
        lines.append([display(loss), str(len(rows)), *cells])
    return _table(words["levels"], lines)


def differences(table: pd.DataFrame, words: dict[str, str]) -> str:
    """Paired differences in points of percent, best first."""
    pairs = [("softmax", "eer"), ("normface", "eer"), ("softmax", "tar_1e2"), ("softmax", "tar_1e3")]
    lines = []
    for loss in _sorted(table):
        found = [difference(table, loss, base, number) for base, number in pairs]
        shown = ["" if base == loss else _points(d) for d, (base, _) in zip(found, pairs, strict=True)]
        lines.append([display(loss), str(found[0].n), *shown])
    return _table(words["differences"], lines)


def verdicts(table: pd.DataFrame, words: dict[str, str]) -> str:
    """Which losses gain over each base, which do not: every loss is named once for each."""
    lines = []
    for base in BASES:
        groups: dict[str, list[str]] = {"better": [], "same": [], "worse": [], "alone": []}
        for loss in _sorted(table):
            if loss != base:
                groups[difference(table, loss, base, "eer").verdict].append(loss)
        measured = groups["same"] or groups["worse"]  # then "better: none" is a finding
        shown = [kind for kind in groups if groups[kind] or (kind == "better" and measured)]
        lines += [_item(words, kind, groups[kind], display(base)) for kind in shown]
    if diverged := sorted(set(table[table["eer"].isna()]["loss"])):
        lines.append(_item(words, "diverged", diverged, ""))
    return "\n".join(lines)


def count(table: pd.DataFrame, words: dict[str, str]) -> str:
    """How much of the plan is done: a table cut short says so."""
    protocol = importlib.import_module("experiments.protocol")
    losses, seeds = len(protocol.GRIDS), len(protocol.FINAL_SEEDS)
    runs = [int((table["loss"] == loss).sum()) for loss in protocol.GRIDS]
    said = words["count"].format(done=sum(runs), all=losses * seeds, least=min(runs), most=max(runs), seeds=seeds)
    return said + (words["unfinished"] if sum(runs) < losses * seeds else "")


def chosen(recipes: dict[str, Any], words: dict[str, str]) -> str:
    """The chosen settings, how many were tried, and what lies at the edge of its grid."""
    protocol = importlib.import_module("experiments.protocol")
    lines = []
    for loss, recipe in recipes.items():
        edge = words["comma"].join(f"`{edge}`" for edge in protocol.edges(recipe))
        if len(protocol.GRIDS[loss]) > 2 and len(protocol.alike(recipe)) == 1:
            edge = words["single"]
        lines.append([display(loss), str(len(protocol.GRIDS[loss])), _recipe(recipe, words), edge or words["none"]])
    return _table(words["settings"], lines)


def rates(search: pd.DataFrame, table: pd.DataFrame, settings: dict[str, Any], words: dict[str, Any]) -> str:
    """On `tune`: EER in percent at each rate, the chosen one bold, and what the own rate changes; best first.

    What stands at `ONE` is the search's.
    """
    protocol, own = importlib.import_module("experiments.protocol"), settings["rates"]
    numbers = ["eer", "tar_1e3"]
    known = {(row["loss"], row["setting"]): 100 * row[numbers] for _, row in pd.concat([search, table]).iterrows()}
    found = {(loss, ONE): known[loss, protocol.words(recipe)] for loss, recipe in settings["losses"].items()}
    for loss, text in known:
        if lr := json.loads(text).get("lr"):
            found[loss, lr] = known[loss, text]
    old = pd.DataFrame({loss: found[loss, ONE] for loss in own}).T.astype(float)
    now = pd.DataFrame({loss: found[loss, lr] for loss, lr in own.items()}).T.astype(float)
    every = sorted({lr for _, lr in found})
    lines = []
    for loss in now.sort_values("eer", kind="stable").index:
        cells = [f"{found[loss, lr]['eer']:.2f}" if (loss, lr) in found else "" for lr in every]
        cells = [f"**{cell}**" if lr == own[loss] else cell for lr, cell in zip(every, cells, strict=True)]
        lines.append([display(loss), *cells, *_moved(old, now, loss)])
    shown = _table(words["rates"].format(rates=" | ".join(f"EER, {lr:g}" for lr in every)), lines)
    return shown + "\n\n" + _order(old, now, words)


def _moved(old: pd.DataFrame, now: pd.DataFrame, loss: str) -> tuple[str, str]:
    """The place of a loss by EER, and its TAR, in two tables: `13 → 1`, `56.2 → 64.4`."""
    places = (int(one["eer"].rank(method="min")[loss]) for one in (old, now))
    tars = (f"{one['tar_1e3'][loss]:.1f}" for one in (old, now))
    return " → ".join(map(str, places)), " → ".join(tars)


def _order(old: pd.DataFrame, now: pd.DataFrame, words: dict[str, Any]) -> str:
    """How far the order of the losses moved from one table to the other."""
    eer, tar = (float(spearmanr(now[name], old[name]).statistic) for name in ("eer", "tar_1e3"))
    first = str(old["eer"].idxmin())
    place = _moved(old, now, first)[0].split()[-1]
    return words["order"].format(n=len(now), eer=eer, tar=tar, first=display(first), place=place, one=f"{ONE:g}")


def own_rates(table: pd.DataFrame, finals: Path, words: dict[str, Any]) -> str:
    """The finals with each loss at its own rate, as far as they are there, and how the order moved."""
    if not finals.is_file():
        return words["not_run"]
    now = pd.read_csv(finals)
    shown = [count(now, words), levels(now, words), differences(now, words)]
    if len(now["loss"].unique()) == len(table["loss"].unique()):
        old, new = (100 * one.groupby("loss")[["eer", "tar_1e3"]].mean() for one in (table, now))
        shown.append(_order(old, new.loc[old.index], words))
    return "\n\n".join(shown)


def claims(table: pd.DataFrame, words: dict[str, Any]) -> str:
    """The chapters' comparisons at 4e-3 and at each loss's own rate, with the verdict of `experiments/rates.py`."""
    experiment = importlib.import_module("experiments.rates")
    lines, verdicts = [], []
    for chapter, pairs in experiment.compared(table).items():
        for before, now in pairs:
            verdicts.append(experiment.verdict(before, now))
            needed = words[now.kind].format(limit=now.limit)
            old, new = ([_interval(one.values), str(len(one.values))] for one in (before, now))
            name, rate = _named(now.name, words["names"]), f"{experiment.SETTINGS['rates'][chapter]:g}"
            lines.append([f"[{chapter[:2]}]({chapter}.ipynb)", name, needed, *old, rate, *new, words[verdicts[-1]]])
    counts = {kind: verdicts.count(kind) for kind in ("stands", "weaker", "open", "falls")}
    tally = words["tally"].format(n=len(verdicts), **counts)
    return _table(words["claims"].format(one=f"{ONE:g}"), lines) + "\n\n" + tally


def render(page: str, course: Path, language: str) -> str:
    """The page with its marked sections made anew. `Failed` where a marker names no section."""
    results, words = course / "results", WORDS[language]
    finals = results / "protocol.csv"
    columns = ["loss", "seed", "accuracy", "eer", "tar_1e2", "tar_1e3"]
    table = pd.read_csv(finals) if finals.is_file() else pd.DataFrame(columns=columns)
    settings = json.loads((course / "settings.json").read_text(encoding="utf-8"))
    search, further = (pd.read_csv(results / name) for name in ("search.csv", "search_rates.csv"))
    sections = {
        "count": lambda: count(table, words),
        "levels": lambda: levels(table, words),
        "differences": lambda: differences(table, words),
        "verdicts": lambda: verdicts(table, words),
        "settings": lambda: chosen(settings["losses"], words),
        "rates": lambda: rates(search, further, settings, words),
        "own_rates": lambda: own_rates(table, results / "protocol_rates.csv", words),
        "claims": lambda: claims(pd.read_csv(results / "rates.csv"), words),
    }
    if wrong := set(sections) ^ {name for _, name, _ in MARKED.findall(page)}:
        raise Failed(
            f"{language}/protocol.md: sections: found amiss {', '.join(sorted(wrong))}, expected {[*sections]}"
        )
    return MARKED.sub(lambda match: f"{match[1]}\n{sections[match[2]]()}\n\n{match[3]}", page)


# ---- cells ----------------------------------------------------------------------------------------------------------


def _sorted(table: pd.DataFrame) -> list[str]:
    """Losses by mean paired difference in EER to softmax, smallest first; without one, at the end."""
    found = {loss: difference(table, loss, "softmax", "eer").mean for loss in dict.fromkeys(table["loss"])}
    return sorted(found, key=lambda loss: (found[loss] != found[loss], found[loss]))


def _spread(percent: pd.Series) -> str:
    if percent.empty:
        return ""
    return f"{percent.mean():.2f}" + (f" ± {percent.std(ddof=1):.2f}" if len(percent) > 1 else "")


def _points(d: Difference) -> str:
    """`−0.62 [−0.81, −0.43]`, in points of percent."""
    if not d.n:
        return ""
    ends = f" [{100 * (d.mean - d.half):+.2f}, {100 * (d.mean + d.half):+.2f}]" if d.n > 1 else ""
    return f"{100 * d.mean:+.2f}{ends}".replace("-", "−")


def _interval(values: pd.Series) -> str:
    """`−0.62 ± 0.19`, the 95 % t interval over the seeds."""
    half = t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():+.2f} ± {half:.2f}".replace("-", "−")


def _named(name: str, parts: dict[str, str]) -> str:
    for english, other in parts.items():
        name = name.replace(english, other)
    return name.replace(" - ", " − ")


def _recipe(recipe: dict[str, Any], words: dict[str, str]) -> str:
    """A recipe as a reader would type it."""
    parts = [f"`{_code(name, value)}`" for name, value in recipe["arguments"].items()]
    if beside := recipe.get("beside_softmax"):
        late = words["late"].format(**beside) if beside["start"] else ""
        parts.append(words["beside"].format(**beside) + late)
    if "batches" in recipe:
        parts.append(words["batches"].format(**recipe["batches"]))
    return words["comma"].join(parts)


def _code(name: str, value: Any) -> str:
    if isinstance(value, dict):  # the base loss of DiscFace
        inner = ", ".join(_code(key, v) for key, v in value.items() if key != "stem")
        return f"{name}={display(value['stem'])}({inner})"
    return f"{name}={value!r}"


def _item(words: dict[str, str], kind: str, losses: list[str], base: str) -> str:
    names = words["comma"].join(map(display, losses)) or words["none"]
    return f"- {words[kind].format(base=base)}{words['stop']}{names}{words['end']}"


def _table(head: str, lines: list[list[str]]) -> str:
    rule = "|" + "---|" * (head.count("|") - 1)
    return "\n".join([head, rule, *("| " + " | ".join(cells) + " |" for cells in lines)])
