"""The tables of `course/{en,zh}/real_faces.md`, from `course/results/real_faces*.csv`.

    python tools/real_faces_page.py        # after `make real`

The prose of the pages is written by people. What follows from numbers stands between `<!-- real:NAME -->` and
`<!-- /real -->`, and is made here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from tools.chapters import Failed, reports, write_whole

ROOT = Path(__file__).resolve().parents[1]

LANGUAGES = ("en", "zh")
MARKED = re.compile(r"(<!-- real:(\w+) -->\n).*?(<!-- /real -->)", re.S)
LOSSES = {
    "softmax": "Softmax", "center": "Center", "triplet": "Triplet", "supcon": "SupCon", "cosface": "CosFace",
    "arcface": "ArcFace", "curricularface": "CurricularFace", "adaface": "AdaFace",
}  # fmt: skip
CONTROLS = ("synthetic", "untrained")
ASKED = LOSSES | {
    "normface": "NormFace", "mv_softmax": "MV-Arc-Softmax", "circleface": "CircleFace", "magface": "MagFace",
}  # fmt: skip
TANGENT, GAIN = "cosface at circle's contact", "gain of the norm"
NETS = ("net", "net + JB", "features + JB", "whole net", "whole net + lbp", "whole net + lbp + wide lbp + daisy")
WORDS = {
    "en": {
        "head": "| {first} | seeds | accuracy | ± seeds | seen threshold | EER | TAR@1e-2 | all pairs: EER | TAR@1e-2 |"
                " TAR@1e-3 |",
        "system": "system", "loss": "loss",
        "summary": "| loss | net, cosine | net + JB | features + JB | whole net | whole net + LBP |"
                   " whole net + LBP + wide LBP + DAISY |",
        "net": "Net, cosine of the embeddings", "net + JB": "Net, embedding + JB",
        "features + JB": "Net, features + JB",
        "whole net": "Whole net, cosine and features",
        "whole net + lbp": "Whole net + LBP",
        "whole net + lbp + wide lbp + daisy": "Whole net + LBP + wide LBP + DAISY",
        "pixels": "pixels, cosine", "hog": "HOG, cosine", "lbp": "LBP, cosine", "wide lbp": "wide LBP, cosine",
        "daisy": "DAISY, cosine",
        "pixels + JB": "pixels + JB", "hog + JB": "HOG + JB", "lbp + JB": "LBP + JB", "wide lbp + JB": "wide LBP + JB",
        "daisy + JB": "DAISY + JB",
        "hog + lbp": "HOG + LBP, JB on each", "pixels + hog + lbp": "pixels + HOG + LBP, JB on each",
        "lbp + wide lbp + daisy": "LBP + wide LBP + DAISY, JB on each",
        "synthetic": "Only drawn faces (ArcFace)", "untrained": "Not trained at all",
        "count": "Finished: {done} of {all} cells of loss and seed, each five trainings. {list}.",
        "seeds": "{loss} {n}",
        "seconds": "A training took {low:.0f} to {high:.0f} seconds of processor time, on one core of a machine busy"
                   " with other work.",
        "tests": "| question | loss | against | seeds | difference | p | p (Holm) |",
        "orl": "| training | seeds | EER on ORL |",
        "claims": "| chapter | difference | EER, points | | TAR@1e-3, points | |",
        "norms": "| | gain of the norm, % of the EER | |",
        "searched": "| loss | settings | rate | EER, search | EER | ± seeds | TAR@1e-3 | gain of the norm, % of EER |",
        "tried": "| loss | settings | rate | EER, search | EER | TAR@1e-3 |",
        TANGENT: "CosFace, touching CircleFace",
        "better": "better", "worse": "worse", "practically no difference": "no difference", "open": "open",
        "none": "Nothing is finished yet.",
        "stop": ", ",
    },
    "zh": {
        "head": "| {first} | 种子数 | 准确率 | 种子间标准差 | 见过的阈值 | EER | TAR@1e-2 | 全部样本对：EER |"
                " TAR@1e-2 | TAR@1e-3 |",
        "system": "系统", "loss": "损失",
        "summary": "| 损失 | 网络，余弦 | 网络 + JB | 中间特征 + JB | 整个网络 | 整个网络 + LBP |"
                   " 整个网络 + LBP + 宽 LBP + DAISY |",
        "net": "网络，嵌入的余弦", "net + JB": "网络，嵌入 + JB", "features + JB": "网络，中间特征 + JB",
        "whole net": "整个网络，余弦与特征",
        "whole net + lbp": "整个网络 + LBP",
        "whole net + lbp + wide lbp + daisy": "整个网络 + LBP + 宽 LBP + DAISY",
        "pixels": "像素，余弦", "hog": "HOG，余弦", "lbp": "LBP，余弦", "wide lbp": "宽 LBP，余弦",
        "daisy": "DAISY，余弦",
        "pixels + JB": "像素 + JB", "hog + JB": "HOG + JB", "lbp + JB": "LBP + JB", "wide lbp + JB": "宽 LBP + JB",
        "daisy + JB": "DAISY + JB",
        "hog + lbp": "HOG + LBP，各自做 JB", "pixels + hog + lbp": "像素 + HOG + LBP，各自做 JB",
        "lbp + wide lbp + daisy": "LBP + 宽 LBP + DAISY，各自做 JB",
        "synthetic": "只用合成人脸（ArcFace）", "untrained": "未经训练",
        "count": "已完成 {done} / {all} 组（每组是一种损失、一个种子，含五次训练）：{list}。",
        "seeds": "{loss} {n} 个种子",
        "seconds": "一次训练占用 {low:.0f} 到 {high:.0f} 秒处理器时间（单核，机器同时在跑其他任务）。",
        "tests": "| 比较 | 损失 | 对照 | 种子数 | 差值 | p | p（Holm） |",
        "orl": "| 训练方式 | 种子数 | ORL 上的 EER |",
        "claims": "| 章 | 差值 | EER，百分点 | | TAR@1e-3，百分点 | |",
        "norms": "| | 范数的收益，占 EER 的 % | |",
        "searched": "| 损失 | 设置 | 学习率 | 搜索时的 EER | EER | 种子间标准差 | TAR@1e-3 | 范数的收益，占 EER 的 % |",
        "tried": "| 损失 | 设置 | 学习率 | 搜索时的 EER | EER | TAR@1e-3 |",
        TANGENT: "与 CircleFace 相切的 CosFace",
        "better": "更好", "worse": "更差", "practically no difference": "无差别", "open": "未定",
        "none": "尚无完成的结果。",
        "stop": "，",
    },
}  # fmt: skip


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over the seeds of the rows that stand for all rotations."""
    groups = rows[rows["rotation"] == "all"].groupby(["system", "loss"], sort=False)
    means = groups.mean(numeric_only=True)
    return means.assign(seeds=groups.size(), sd=groups["accuracy"].std()).reset_index()


def table(part: pd.DataFrame, first: Callable[[pd.Series], str], head: str) -> str:
    """A line per row, in percent, best accuracy last."""
    lines = [
        [first(row), f"{row.seeds:.0f}", f"{_pct(row.accuracy)} {_span(row, 'accuracy')}", _pct(row.sd),
         _pct(row.accuracy_seen), f"{_pct(row.eer)} {_span(row, 'eer')}", f"{_pct(row.tar2, 1)} {_span(row, 'tar2')}",
         _pct(row.every_eer), _pct(row.every_tar2, 1), _pct(row.every_tar3, 1)]
        for _, row in part.sort_values("accuracy").iterrows()
    ]  # fmt: skip
    return _table(head, lines)


def classical(means: pd.DataFrame, words: dict[str, str]) -> str:
    part = means[means["loss"] == "classical"]
    return table(part, lambda row: words[row.system], words["head"].format(first=words["system"]))


def overview(means: pd.DataFrame, words: dict[str, str]) -> str:
    """Accuracy and its standard deviation between seeds: a line per loss, a column for each use of its net."""
    part = means[means["system"].isin(NETS) & means["loss"].isin([*LOSSES, *CONTROLS])]
    cells = {
        (row.system, row.loss): f"{_pct(row.accuracy, 1)}\u00a0±\u00a0{_pct(row.sd, 1)}" for _, row in part.iterrows()
    }
    order = part.groupby("loss")["accuracy"].max().sort_values().index
    lines = [[LOSSES.get(loss) or words[loss], *(cells.get((system, loss), "") for system in NETS)] for loss in order]
    return _table(words["summary"], lines) if lines else words["none"]


def nets(means: pd.DataFrame, words: dict[str, str]) -> str:
    """A table for each way of using a net, with a line per loss."""
    blocks = []
    for system in NETS:
        part = means[(means["system"] == system) & means["loss"].isin([*LOSSES, *CONTROLS])]
        if len(part):
            head = words["head"].format(first=words["loss"])
            block = table(part, lambda row: LOSSES.get(row.loss) or words[row.loss], head)
            blocks.append(f"**{words[system]}**\n\n{block}")
    return "\n\n".join(blocks) or words["none"]


def differences(tests: pd.DataFrame, words: dict[str, str]) -> str:
    """Paired differences of accuracy in points."""
    lines = []
    for _, row in tests.iterrows():
        span = f"{100 * row.value:+.2f} [{100 * row.low:+.2f}, {100 * row.high:+.2f}]".replace("-", "−")
        against = words[row.against] if row.against_loss == "classical" else LOSSES[row.against_loss]
        chance = (f"{p:.3f}" if p >= 0.001 else "< 0.001" for p in (row.p, row.p_holm))
        lines.append([words[row.system], LOSSES[row.loss], against, f"{row.seeds:.0f}", span, *chance])
    return _table(words["tests"], lines) if lines else words["none"]


def count(means: pd.DataFrame, words: dict[str, str], seeds: int = 3) -> str:
    part = means[(means["system"] == "net") & means["loss"].isin(LOSSES)]
    done = {row.loss: min(int(row.seeds), seeds) for _, row in part.iterrows()}
    listed = words["stop"].join(words["seeds"].format(loss=LOSSES[k], n=n) for k, n in done.items())
    return words["count"].format(done=sum(done.values()), all=seeds * len(LOSSES), list=listed or words["none"])


def seconds(means: pd.DataFrame, words: dict[str, str]) -> str:
    spent = means[(means["system"] == "net") & means["loss"].isin(LOSSES)]["seconds"]
    return words["seconds"].format(low=spent.min(), high=spent.max()) if len(spent) else words["none"]


def orl(means: pd.DataFrame, words: dict[str, str]) -> str:
    part = means[means["orl_eer"].notna()].sort_values("orl_eer")
    lines = [
        [LOSSES.get(row.loss) or words[row.loss], f"{row.seeds:.0f}", _pct(row.orl_eer, 1)]
        for _, row in part.iterrows()
    ]
    return _table(words["orl"], lines) if lines else words["none"]


def asked(claims: pd.DataFrame, words: dict[str, str]) -> str:
    """The chapters' questions: a line per comparison, differences in points with what they are read as."""
    part = claims[claims["measure"] != GAIN]
    lines = []
    for (chapter, comparison), rows in part.groupby(["chapter", "comparison"], sort=False):
        cells = (cell for _, row in rows.iterrows() for cell in (_signed(row), words[row.verdict]))
        lines.append([str(chapter), _compared(str(comparison), words), *cells])
    return _table(words["claims"], lines) if lines else words["none"]


def norms(claims: pd.DataFrame, words: dict[str, str]) -> str:
    """Chapter 18: what is gained where the shortest embeddings are rejected; differences, then each loss by itself."""
    part = claims[claims["measure"] == GAIN]
    lines = [
        [
            _compared(row.comparison, words) + " †" * row.claim.startswith("not planned"),
            _signed(row),
            words[row.verdict],
        ]
        for _, row in part.iterrows()
    ]
    return _table(words["norms"], lines) if lines else words["none"]


def searched(search: pd.DataFrame, measured: pd.DataFrame, words: dict[str, str]) -> str:
    """The settings that the search chose, and what they reached on other people; lowest EER last."""
    found = search[search["chosen"]].set_index("loss")["eer"]
    means = measured.groupby("loss")[["EER", "TAR@1e-3", GAIN]].mean()
    spread = measured.groupby(["loss", "seed"])["EER"].mean().groupby("loss").std()
    settings = measured.drop_duplicates("loss").set_index("loss")
    lines = []
    for loss in means.sort_values("EER", ascending=False).index:
        _, _, given = settings["words"][loss].partition(":")
        eer, tar, gain = means.loc[loss]
        numbers = (f"{found[loss]:.2f}", f"{eer:.2f}", f"{spread[loss]:.2f}", f"{tar:.1f}", f"{gain:.1f}")
        given = f"`{given}`" if given else ""
        lines.append([_compared(loss, words), given, f"{settings['lr'][loss]:g}", *numbers])
    return _table(words["searched"], lines) if lines else words["none"]


def tried(search: pd.DataFrame, measured: pd.DataFrame, words: dict[str, str]) -> str:
    """Every setting of the search, and what the chosen ones reached on other people."""
    means = measured.groupby("loss")[["EER", "TAR@1e-3"]].mean()
    lines = []
    for row in search.to_dict("records"):
        _, _, given = row["words"].partition(":")
        loss, chosen = row["loss"], row["chosen"]
        reached = [f"{means['EER'][loss]:.2f}", f"{means['TAR@1e-3'][loss]:.1f}"] if chosen else ["", ""]
        lines.append([_compared(loss, words), f"`{given}`", f"{row['lr']:g}", f"{row['eer']:.2f}", *reached])
    return _table(words["tried"], lines) if lines else words["none"]


def _compared(comparison: str, words: dict[str, str]) -> str:
    return " − ".join(words.get(loss) or ASKED[loss] for loss in comparison.split(" - "))


def _signed(row: pd.Series) -> str:
    return f"{row.effect:+.2f} [{row.low:+.2f}, {row.high:+.2f}]".replace("-", "−")


def render(page: str, results: Path, language: str) -> str:
    """The page with its marked sections made anew. `Failed` where a marker names no section, or one is missing."""
    words = WORDS[language]
    means = summary(pd.read_csv(results / "real_faces.csv", dtype={"rotation": str}))
    tests = pd.read_csv(results / "real_faces_tests.csv")
    claims, search, measured = _asked(results, "real_faces_claims")
    net_claims, net_search, net_measured = _asked(results, "real_faces_net_claims")
    sections = {
        "claims": asked(claims, words), "norms": norms(claims, words), "searched": searched(search, measured, words),
        "of_the_net": asked(net_claims, words), "net_tried": tried(net_search, net_measured, words),
        "count": count(means, words), "classical": classical(means, words),
        "overview": overview(means, words), "nets": nets(means, words),
        "tests": differences(tests, words), "orl": orl(means, words), "seconds": seconds(means, words),
    }  # fmt: skip
    if wrong := set(sections) ^ {name for _, name, _ in MARKED.findall(page)}:
        raise Failed(
            f"{language}/real_faces.md: sections: found amiss {', '.join(sorted(wrong))}, expected {[*sections]}"
        )
    return MARKED.sub(lambda match: f"{match[1]}\n{sections[match[2]]}\n\n{match[3]}", page)


def _asked(results: Path, name: str) -> tuple[pd.DataFrame, ...]:
    """Comparisons, what was tried, and each training's numbers."""
    return tuple(pd.read_csv(results / f"{name}{part}.csv") for part in ("", "_search", "_losses"))


def _pct(share: float, digits: int = 2) -> str:
    return f"{100 * share:.{digits}f}" if share == share else ""


def _span(row: pd.Series, name: str) -> str:
    return f"[{_pct(row[f'{name}_low'], 1)}, {_pct(row[f'{name}_high'], 1)}]"


def _table(head: str, lines: list[list[str]]) -> str:
    rule = "|" + " --- |" * (head.count("|") - 1)
    return "\n".join([head, rule, *("| " + " | ".join(line) + " |" for line in lines)])


@reports
def main(root: Path = ROOT) -> int:
    for language in LANGUAGES:
        path = root / "course" / language / "real_faces.md"
        text = path.read_text(encoding="utf-8")
        write_whole(path, render(text, root / "course" / "results", language))
    return 0


if __name__ == "__main__":
    sys.exit(main())
