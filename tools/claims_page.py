"""The tables of `course/{en,zh}/claims.md`: what every chapter claims, how sure it is, how it stood when run again.

Claims and verdicts come from the executed notebooks, figures from `course/results`, what is compared and how it is
judged from `course/experiments/claims.py`. The prose of the pages is written by people; what follows from numbers
stands between `<!-- claims:NAME -->` and `<!-- /claims -->`, and is made here.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import math
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from tools import chapters
from tools.chapters import Chapter, Failed

LANGUAGES = ("en", "zh")
MARKED = re.compile(r"(<!-- claims:(\w+) -->\n).*?(<!-- /claims -->)", re.S)
HOLDS = re.compile(r"^claim holds: (True|False)[^|\n]*\| (.+)$", re.M)
PARTS = {  # of the course, by the numbers of their chapters
    "start": (0, 2), "pairs": (3, 5), "norms": (6, 9), "margins": (10, 13), "hard": (14, 18), "scale": (19, 99),
}  # fmt: skip
COLUMNS = ["chapter", "setting", "seed", "numbers", "settings_hash", "date"]
NAMES_ZH = {  # parts of the names in `experiments/claims.py`
    "giving up rate - margin": "放弃学习率 - 放弃间隔",
    "giving up epochs - margin": "放弃轮数 - 放弃间隔",
    "giving up names - margin": "放弃正确的名字 - 放弃间隔",
    "a tenth of the classes - all": "十分之一的类 - 全部的类",
    "shipped - bold number": "要上线的损失 - 加粗的数字",
    "AUC, strangers: ": "AUC，陌生人：",
    "AUC: seen - strangers, ": "AUC：见过的人 - 陌生人，",
    "training accuracy: ": "训练准确率：",
    " people": " 人",
    "raw pixels": "原始像素",
    "shuffled labels": "打乱的标签",
    "untrained net": "未训练的网络",
    "lists in the wrong order, %": "名次排反的列表，%",
    "intervals from pairs that miss, %": "按样本对的区间未覆盖真值，%",
    "intervals from people that miss, %": "按人的区间未覆盖真值，%",
    "log of FAR B / A, few": "FAR 之比 B / A 的对数，B 很少",
    "log of FAR B / A, half": "FAR 之比 B / A 的对数，各半",
    "log of FAR of B, few / half": "B 的 FAR 之比的对数，很少 / 各半",
    "FRR of B - A, camera": "FRR 之差 B - A，摄像头造成的部分",
    "growth of ‖x‖, factor": "‖x‖ 增长的倍数",
    "growth of ‖w‖, factor": "‖w‖ 增长的倍数",
    "held-out accuracy, change": "留出准确率的变化",
    "outwards / sideways": "往外 / 往旁边",
    "contrastive": "对比损失",
    "own rates less 0.004": "各用各的学习率减去都用 0.004",
    "own rates": "各用各的学习率",
    "time over NormFace's, %": "比 NormFace 多用的时间，%",
    "active %": "活跃 %",
    "nearest of ": "取最近者，k = ",
    " of 1, ": " 1，",
    "- of ": "- ",
    "hardest": "最难",
    "random": "随机",
    "change from 8 to 24 epochs": "从 8 轮到 24 轮的变化",
    "24 epochs": "24 轮",
    "within / between": "类内 / 类间",
    "strong ring": "强环",
    "weak ring": "弱环",
    "mean norm": "只拉平均值",
    "division": "除法",
    "learnt likelihood": "学到的似然",
    "refitted - learnt": "重新拟合 - 学到的",
    "five times the rate, less half the gap": "学习率五倍的增益减去差距的一半",
    "softmax with center loss": "softmax 加中心损失",
    "training images named, %": "训练图像认对的百分比",
    "at once": "从第一步起",
    "annealed": "退火",
    "detached": "detach",
    "margin - annealing - scale": "间隔 - 退火 - 尺度",
    "accuracy, digits": "准确率，手写数字",
    " rad ": " 弧度 ",
    "none": "无间隔",
    "Curricular ": "CurricularFace ",
    "scatter, circle - frozen": "离散程度，Circle - 冻结",
    "constant": "恒定",
    "circle": "Circle",
    "frozen": "冻结",
    "common share": "共同份额",
    "pull": "拉力",
    "3 images": "3 张图像",
    "others come nearer, cosine": "其他人靠近了多少，余弦",
    "correlation in the pictures": "图像里的相关系数",
    "the same, one bar for all": "同上，所有图像用同一条线",
    "correlation by the mask": "掩码下的相关系数",
    "mask less one bar for all": "掩码减去同一条线",
    "correlation of margin and hardness": "间隔与难度的相关系数",
    "correlation in training": "训练中的相关系数",
    "inverted": "反过来",
    "shuffled": "打乱",
    ", npc": "，NPCFace",
    "less margin": "间隔更小",
    "scatter of the margins over m1": "间隔的离散程度 / m1",
    "gain in EER %, norm - chance": "EER 收益 %，范数 - 随机",
    "gain in EER %, norm": "EER 收益 %，范数",
    "unseen - seen": "未见过 - 见过",
    "unseen": "未见过",
    "MagFace: norm - where it rests": "MagFace：范数 - 静止处",
    "MagFace: norm and where it rests, correlation": "MagFace：范数与静止处的相关系数",
    ", ": "，",
}
WORDS: dict[str, dict[str, Any]] = {
    "en": {
        "short": "| | measured on, at rate | tightest comparison | needed | stored (seeds) | again | together | |",
        "long": "| | comparison | needed | stored (seeds) | again | together | |",
        "origin": "| chapter | verdict in the notebook | table | settings | run | again |",
        "all": "All comparisons",
        "faces": "faces", "digits": "digits", "both": "digits and faces", "tests": "tests of finished nets",
        "scale": ", s = {}", "rate": "; {}", "to": " to ", "and": ", ", "weakest": "{}, the tightest of {}",
        "above": "> {}", "below": "< {}", "within": "within ±{}", "none": "–", "never": "not yet",
        "stands": "stands", "uncertain": "**uncertain**", "falls": "**falls**",
        "count": "{n} claims in {chapters} chapters; {true} of their verdicts say True. Run again {done}: "
        "standing {stands}, uncertain {uncertain}, fallen {falls}. If all {done} were true, {chance} would be expected "
        "to come out uncertain and {chance_falls} to fall, by the scatter of the stored seeds alone.",
        "waiting": " Not run again yet: {}.",
        "alone": "By the new seeds alone, of the {n} comparisons listed below the mean lies on the claimed side in "
        "{side}, and the whole interval in {sure}.",
        "bad": "{link} {is}: {name}, needed {needed}; stored {old}, again {new}, together {all}.",
        "lfw": "| | measure | comparison and difference, 95 % interval | p after Holm | |",
        "better": "better", "worse": "worse", "practically no difference": "practically no difference", "open": "open",
        "gain of the norm": "gain of the norm, % of the EER",
        "net": " (the net)", "cosface at circle's contact": "CosFace at the point of contact",
        "list": ", ", "colon": ": ", "claim": "{} ({})", "seeds": "{} new",
        "names": {},
    },
    "zh": {
        "short": "| | 测量对象；学习率 | 余地最小的比较 | 论断要求 | 原有种子（个数） | 新种子 | 合在一起 | |",
        "long": "| | 比较 | 论断要求 | 原有种子（个数） | 新种子 | 合在一起 | |",
        "origin": "| 章 | notebook 里的判定 | 结果表 | 设置 | 运行日期 | 重跑日期 |",
        "all": "全部比较",
        "faces": "人脸", "digits": "手写数字", "both": "手写数字和人脸", "tests": "对现成网络的测试",
        "scale": "，s = {}", "rate": "；{}", "to": " 至 ", "and": "、", "weakest": "{}，{} 项里余地最小的",
        "above": "> {}", "below": "< {}", "within": "±{} 以内", "none": "–", "never": "尚未重跑",
        "stands": "成立", "uncertain": "**未定**", "falls": "**不成立**",
        "count": "{chapters} 章，{n} 条论断，其中 {true} 条在 notebook 里判定为 True。已重跑 {done} 条："
        "成立 {stands} 条，未定 {uncertain} 条，不成立 {falls} 条。即使这 {done} 条全都为真，"
        "单凭原有种子的波动，也预计会有 {chance} 条落到“未定”、{chance_falls} 条落到“不成立”。",
        "waiting": "尚未重跑：{}。",
        "alone": "只看新种子：下面列出的 {n} 项比较中，均值落在论断一侧的有 {side} 项，"
        "整个区间都在这一侧的有 {sure} 项。",
        "bad": "{link} {is}：{name}，要求 {needed}；原有种子 {old}，新种子 {new}，合在一起 {all}。",
        "lfw": "| | 指标 | 比较与差值，95% 区间 | Holm 校正后的 p | |",
        "better": "更好", "worse": "更差", "practically no difference": "实际上没有差别", "open": "未定",
        "gain of the norm": "范数的收益，EER 的 %",
        "net": "（网络）", "cosface at circle's contact": "切点处的 CosFace",
        "list": "、", "colon": "：", "claim": "{}（{}）", "seeds": "新 {} 个",
        "names": NAMES_ZH,
    },
}  # fmt: skip


def experiment() -> Any:
    return importlib.import_module("experiments.claims")


# ---- what the chapters say ------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def executed(course: Path, language: str, name: str) -> Chapter:
    return Chapter(course / language / f"{name}.md").executed


def verdicts(chapter: Chapter) -> list[tuple[bool, str]]:
    """What its verdict cells have printed: does the claim hold, and its short name."""
    text = "\n".join(str(out.get("text", "")) for cell in chapter.section("Experiment") for out in cell.outputs)
    found = [(holds == "True", words.strip()) for holds, words in HOLDS.findall(text)]
    if not found:
        raise Failed(f"{chapter.where}: Experiment: found no `claim holds: …` in the stored outputs, expected one")
    return found


def claim(chapter: Chapter) -> str:
    """What it claims, in its own words: the paragraph that begins with **Claim.**, up to the set-up."""
    found = re.search(r"\*\*(?:The claim|Claims?|论断)(.+)", chapter.prose_of("Experiment"))
    if not found:
        raise Failed(f"{chapter.where}: Experiment: found no paragraph with **Claim.** …, expected one")
    text = re.split(r"\*\*(?:Set-up|设置|Varied|变量)", found[1])[0]
    if text[0] in ":：" and "**" in text:  # the whole claim is bold
        bold, after = text.split("**", 1)
        text = bold + after[:1] * (after[:1] in "。." and not bold.endswith((".", "。")))
    text = " ".join(text.replace("**", "").strip(" .:：").split())
    text = re.sub(r"^（(.+?)）：", r"\1：", re.sub(r"^, for", "For", text))
    ending = {"en": ".", "zh": "。"}[chapter.language]
    return text[0].upper() + text[1:] + ("" if text.endswith(ending) else ending)


# ---- one claim ------------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """A claim as the page has it."""

    chapter: str
    label: str  # "10 (1)"
    claim: Any
    findings: list[Any]
    again: bool  # has it been run again?
    outcomes: list[str]  # of the findings, where it has

    @property
    def outcome(self) -> str:
        return str(experiment().worst(self.outcomes)) if self.again else "never"

    @property
    def order(self) -> list[int]:
        """Places of its comparisons, those that went worst first, then those with the least room."""
        claims = experiment()
        bad = [claims.RULE.index(one) for one in self.outcomes] if self.again else [0] * len(self.findings)
        return sorted(range(len(bad)), key=lambda k: (-bad[k], claims.room(self.findings[k])))

    @property
    def listed(self) -> list[int]:
        """Of comparisons that have one name the worst, in the order of the claim."""
        names = dict.fromkeys(one.name for one in self.findings)
        return [next(k for k in self.order if self.findings[k].name == name) for name in names]


def lines(table: pd.DataFrame) -> list[Line]:
    """Every claim, in course order."""
    claims, found = experiment(), []
    for chapter, several in claims.CLAIMS.items():
        for place, one in enumerate(several):
            again = claims.complete(one, table)
            findings = claims.read(one, table if again else None)
            label = chapter[:2] + (f" ({place + 1})" if len(several) > 1 else "")
            outcomes = [claims.outcome(finding) for finding in findings] if again else []
            found.append(Line(chapter, label, one, findings, again, outcomes))
    return found


@lru_cache(maxsize=2)
def judged(course: Path) -> list[Line]:
    """Every claim, by what has been run again so far; once in a process."""
    return lines(rerun(course))


def number(value: float, digits: int, sign: bool = True) -> str:
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", "−")


def interval(values: pd.Series, by: str, words: dict[str, Any]) -> str:
    """`+0.42 ± 0.09`, unbreakable; of a share `18 [9, 32]`, in percent; where every number counts `0.6 to 2.1`."""
    low, high = map(float, experiment().ends(values, by))
    half = max((high - low) / 2, 1e-9)
    digits = min(max(-math.floor(math.log10(half / 2)), 2 if half < 1 else 1), 4)
    if by == "share":
        return f"{values.mean():.0f}\u00a0[{low:.0f},\u00a0{high:.0f}]"
    if by == "every":
        return words["to"].join(number(end, digits, sign=low < 0) for end in (low, high))
    return f"{number(float(values.mean()), digits)}\u00a0±\u00a0{half:.{digits}f}"


def needed(finding: Any, words: dict[str, Any]) -> str:
    limit = f"{finding.limit:.3g}".replace("-", "−")
    return str(words[finding.kind].format(limit))


def figures(line: Line, place: int, words: dict[str, Any]) -> list[str]:
    """Cells of a comparison: what is needed, stored, again, together, how it stands."""
    one = line.findings[place]
    old = f"{interval(one.old, one.by, words)} ({len(one.old)})"
    if not line.again:
        return [needed(one, words), old, words["none"], words["none"], words["never"]]
    new = interval(one.new, one.by, words) + (f" ({len(one.new)})" if len(one.new) != 3 else "")
    return [needed(one, words), old, new, interval(one.values, one.by, words), words[line.outcomes[place]]]


def named(name: str, words: dict[str, Any]) -> str:
    for english in sorted(words["names"], key=len, reverse=True):
        name = name.replace(english, words["names"][english])
    return name.replace(" - ", " − ").replace("|", "\\|")


def where(one: Any, words: dict[str, Any]) -> str:
    """`faces, s = 8, 32; 0.004`."""
    scales = words["scale"].format(words["and"].join(map(str, one.scales))) if one.scales else ""
    rates = words["rate"].format(words["and"].join(f"{lr:g}" for lr in one.rates)) if one.rates else ""
    return f"{words[one.where]}{scales}{rates}"


def link(line: Line) -> str:
    return f"[{line.label}]({line.chapter}.ipynb)"


# ---- the sections ---------------------------------------------------------------------------------------------------


def part(found: list[Line], course: Path, language: str) -> str:
    """Of some chapters: the claims in their words, a small table, and all comparisons, folded."""
    words = WORDS[language]
    said, short, long = [], [], []
    for line in found:
        if line.chapter not in (before.chapter for before in found[: found.index(line)]):
            chapter = executed(course, language, line.chapter)
            number_ = line.chapter[:2]
            text = f"{words['colon']}{claim(chapter)}".replace("：$", "： $")  # a blank, or GitHub shows no formula
            said.append(f"- [{number_}]({line.chapter}.ipynb){text}")
        tight = line.findings[line.order[0]]
        name = named(tight.name, words)
        short.append([link(line), where(line.claim, words), name, *figures(line, line.order[0], words)[:-1],
                      words[line.outcome]])  # fmt: skip
        for place in line.listed:
            name = line.findings[place].name
            same = sum(one.name == name for one in line.findings)
            shown = words["weakest"].format(named(name, words), same) if same > 1 else named(name, words)
            long.append([link(line), shown, *figures(line, place, words)])
    folded = f"<details><summary>{words['all']}</summary>\n\n{_table(words['long'], long)}\n\n</details>"
    return "\n\n".join(["\n".join(said), _table(words["short"], short), folded])


def count(found: list[Line], course: Path, language: str) -> str:
    """How many stand, and how many would not by chance."""
    claims, words = experiment(), WORDS[language]
    true = sum(holds for name in claims.CLAIMS for holds, _ in verdicts(executed(course, language, name)))
    done = [line for line in found if line.again]
    outcomes = [line.outcome for line in done]
    by_chance = [expected(line.chapter, line.label) for line in done]
    numbers = {kind: outcomes.count(kind) for kind in claims.RULE}
    chance, falls = (f"{sum(one[k] for one in by_chance):.{d}f}" for k, d in ((0, 1), (1, 2)))
    text = words["count"].format(n=len(found), chapters=len(claims.CLAIMS), true=true, done=len(done), chance=chance,
                                 chance_falls=falls, **numbers)  # fmt: skip
    waiting = [link(line) for line in found if not line.again]
    text = str(text) + (words["waiting"].format(words["list"].join(waiting)) if waiting else "")
    alone, bad = [], []
    for line, place in [(of, place) for of in done for place in of.listed]:
        one = line.findings[place]
        mean = (one.new.mean(),) * 2 if one.by != "every" else claims.ends(one.new, one.by)
        both = (mean, claims.ends(one.new, one.by))
        alone.append([bool(claims.claimed(*ends, one.kind, one.limit)) for ends in both])
        if line.outcomes[place] != claims.STANDS:
            parts = dict(zip(("needed", "old", "new", "all", "is"), figures(line, place, words), strict=True))
            bad.append("- " + words["bad"].format(link=link(line), name=named(one.name, words), **parts))
    if alone:
        side, sure = (sum(column) for column in zip(*alone, strict=True))
        text += "\n\n" + words["alone"].format(n=len(alone), side=side, sure=sure)
    return "\n\n".join([text, *(["\n".join(bad)] if bad else [])])


@lru_cache(maxsize=64)
def expected(chapter: str, label: str) -> tuple[float, float]:
    """How probably this claim, if true, comes out uncertain and fallen."""
    claims = experiment()
    place = int(label[4]) - 1 if "(" in label else 0
    one = claims.CLAIMS[chapter][place]
    findings = claims.read(one)
    found: tuple[float, float] = claims.by_chance(findings, [claims.new_seeds(chapter, f) for f in findings])
    return found


def origin(found: list[Line], table: pd.DataFrame, course: Path, language: str) -> str:
    """Of each chapter: its verdicts, its table, the hash of its settings, when both were run."""
    claims, words = experiment(), WORDS[language]
    dates, rows = dated(course), []
    for chapter in claims.CLAIMS:
        settings = claims.stored(chapter)["settings_hash"].iloc[0]
        anew = table[table["chapter"] == chapter]
        holds = words["list"].join(str(one) for one, _ in verdicts(executed(course, language, chapter)))
        again = max(anew["date"]) if len(anew) else words["never"]
        rows.append([f"[{chapter[:2]}]({chapter}.ipynb)", holds, f"[{chapter}.csv](../results/{chapter}.csv)",
                     f"`{settings}`", dates[chapter], again])  # fmt: skip
    return _table(words["origin"], rows)


def photographs(course: Path, language: str) -> str:
    """What was asked of chapters on LFW: by the EER, or the gain of a norm; a line for each comparison."""
    from facelearn.figures import NAMES as figure_names

    words, rows = WORDS[language], []
    kinds, texts = ("", "net_"), {"chapter": str, "settings_hash": str}
    tables = {kind: pd.read_csv(course / "results" / f"real_faces_{kind}claims.csv", dtype=texts) for kind in kinds}
    table = pd.concat(one.assign(kind=kind) for kind, one in tables.items()).sort_values("chapter", kind="stable")
    there = {name[:2]: name for name in chapters.names(course)}
    for row in table[table["measure"] != "TAR@1e-3"].to_dict("records"):
        number_ = f"{int(row['chapter']):02d}"
        label = f"[{number_}]({there[number_]}.ipynb)" if number_ in there else number_
        span = f"{number(row['effect'], 2)} [{number(row['low'], 2)}, {number(row['high'], 2)}]"
        name = " − ".join(words.get(one) or figure_names.get(one, one) for one in row["comparison"].split(" - "))
        name += words["net"] * (row["kind"] == "net_")
        measure, verdict = (words.get(row[column], row[column]) for column in ("measure", "verdict"))
        rows.append(
            [
                label,
                measure,
                f"{name}{words['colon']}{span}",
                f"{row['p_holm']:.3f}".replace("0.000", "< 0.001"),
                verdict,
            ]
        )
    return _table(words["lfw"], rows)


def dated(course: Path) -> dict[str, str]:
    """When each table was made. `Failed` where a table has changed since."""
    with (course / "results" / "dates.csv").open(encoding="utf-8", newline="") as file:
        known = {row["table"]: row for row in csv.DictReader(file)}
    for name in experiment().CLAIMS:
        if name not in known or known[name]["sha256"] != digest(course, name):
            raise Failed(
                f"dates.csv: found another {name}.csv than is dated there: run `python tools/claims.py --page`"
            )
    return {name: row["date"] for name, row in known.items()}


def digest(course: Path, name: str) -> str:
    return hashlib.sha256((course / "results" / f"{name}.csv").read_bytes()).hexdigest()[:12]


def rerun(course: Path) -> pd.DataFrame:
    """The new rows; none where nothing was run again yet."""
    path = course / "results" / "claims.csv"
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS)
    return pd.read_csv(path, dtype={"settings_hash": str})


def render(page: str, course: Path, language: str) -> str:
    """The page with its marked sections made anew. `Failed` where a marker names no section, or one is missing."""
    table = rerun(course)
    found = judged(course)
    of_part = {
        name: [line for line in found if low <= int(line.chapter[:2]) <= high] for name, (low, high) in PARTS.items()
    }
    sections = {name: part(some, course, language) for name, some in of_part.items() if some}
    sections |= {"count": count(found, course, language), "origin": origin(found, table, course, language)}
    if (course / "results" / "real_faces_claims.csv").is_file():
        sections["lfw"] = photographs(course, language)
    if wrong := set(sections) ^ {name for _, name, _ in MARKED.findall(page)}:
        raise Failed(f"{language}/claims.md: sections: found amiss {', '.join(sorted(wrong))}, expected {[*sections]}")
    return MARKED.sub(lambda match: f"{match[1]}\n{sections[match[2]]}\n\n{match[3]}", page)


def _table(head: str, rows: list[list[str]]) -> str:
    rule = "|" + "---|" * (head.count("|") - 1)
    return "\n".join([head, rule, *("| " + " | ".join(cells) + " |" for cells in rows)])
