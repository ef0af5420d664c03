"""A made-up project with one chapter in both languages that every rule of the gate and the lints accepts.

`appendix` adds an appendix, which is what the lighter rules need and no more.

The tests break one thing at a time and ask whether the rule that should notice it does.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import chapters, gate, references

NAME = "12_arcface"
SLUG = "facelearn/facelearn"
PNG = "iVBORw0KGgo="

COLAB = "https://colab.research.google.com/github/{slug}/blob/main/course/{lang}/12_arcface.ipynb"
BINDER = "https://mybinder.org/v2/gh/{slug}/main?urlpath=lab/tree/course/{lang}/12_arcface.ipynb"


def _title(lang: str, title: str, other: str) -> str:
    there = {"en": "zh", "zh": "en"}[lang]
    badges = [
        f"[![Open in Colab](https://colab.research.google.com/badge.svg)]({COLAB.format(slug=SLUG, lang=lang)})",
        f"[![Launch on Binder](https://mybinder.org/badge.svg)]({BINDER.format(slug=SLUG, lang=lang)})",
    ]
    return "\n".join([f"# {title}", "", f"[{other}](../{there}/12_arcface.ipynb)", *badges])


def _quiz(lang: str, number: int) -> str:
    question, answer, yes, no = {
        "en": (
            "Which way does it bend?",
            "Answer",
            "right, because the angle grows",
            "wrong, because the norm is fixed",
        ),
        "zh": ("它往哪边弯？", "答案", "对，因为夹角变大了一点", "不对，因为范数在这里是固定的"),
    }[lang]
    choices = "- **A.** $x$\n- **B.** $y$"
    reasons = f"- **A** {yes}\n- **B** {no}"
    folded = f"<details><summary>{answer}</summary>\n\n{reasons}\n\n</details>"
    return f"**{number}.** {question}\n\n{choices}\n\n{folded}"


def _both(en: str, zh: str, **metadata: Any) -> dict[str, Any]:
    return {"kind": "markdown", "en": en, "zh": zh, "metadata": metadata, "outputs": []}


def _code(source: str, *outputs: Any, **metadata: Any) -> dict[str, Any]:
    zh = source.replace('/course/en"', '/course/zh"')
    return {"kind": "code", "en": source, "zh": zh, "metadata": metadata, "outputs": list(outputs)}


def _printed(text: str) -> Any:
    return new_output("stream", name="stdout", text=text)


def _exercise(number: int) -> list[dict[str, Any]]:
    call = f"check.arcface.ex{number}(mine)"
    en, zh = (f"<details><summary>{word}</summary>\n\n{text}\n\n</details>" for word, text in
              {"Hint": "Slowly.", "提示": "慢慢来。"}.items())  # fmt: skip
    return [
        _both(
            f"### {number} · Turn it ★★ (15 min)\n\nDo it.\n\n{en}",
            f"### {number} · 转一转 ★★（15 分钟）\n\n做一做。\n\n{zh}",
        ),
        _code(f"def mine(x): ...\n\n{call}", _printed(f"ex{number}: to do\n"), tags=["exercise"]),
        _code(call, _printed(f"ex{number}: passed\n"), tags=["solution"], jupyter={"source_hidden": True}),
    ]


def good_cells() -> list[dict[str, Any]]:
    table_en, table_zh = "| a | b |\n|---|---|\n| 1 | 2 |", "| 甲 | 乙 |\n|---|---|\n| 1 | 2 |"
    refs = "\n".join("- [Deng {}, 2019](references.md#arcface2019)" for _ in range(3))
    figure = new_output("display_data", data={"image/png": PNG, "text/plain": "<figure>"})
    return [
        _both(_title("en", "ArcFace", "中文"), _title("zh", "ArcFace：一段弧", "English")),
        _code(
            'os.chdir("facelearn/course/en")\nlesson.start("12_arcface", minutes=0.5)',
            _printed("budget cpu | device cpu\n"),
        ),
        _both("## One question\n\nWhat does an arc buy?", "## 一个问题\n\n一段弧能换来什么？"),
        _both("## You will be able to\n\n- turn $x$ by $m$", "## 学完你能\n\n- 把 $x$ 转过 $m$"),
        _both("## Predict first\n\nHow far?", "## 先猜\n\n有多远？"),
        _code("guess = None", tags=["hide-output"], jupyter={"outputs_hidden": True}),
        _both("## Intuition\n\nTwo points on a circle.", "## 直觉\n\n圆上的两个点。"),
        _both("## Derivation\n\nThree steps.", "## 推导\n\n分几步走。"),
        _both(
            "### 1 · Turn\n\n$$\nT = \\cos(\\theta + m) \\\\ \\text{if small}\n$$",
            "### 1 · 转\n\n$$\nT = \\cos(\\theta + m) \\\\ \\text{若很小}\n$$",
        ),
        _both("### 2 · Look\n\nSee [symbols](notation.md#symbols).", "### 2 · 看\n\n见[符号表](notation.md#符号)。"),
        _both("## From scratch\n\nLine by line, `cos` first.", "## 从零实现\n\n一行一行来，先算 `cos` 再说。"),
        *[_code(f"a{i} = {i}") for i in range(3)],
        _both("## Against `facelearn`\n\nEqual.", "## 与 `facelearn` 对照\n\n相等。"),
        _code("print(True)", _printed("True\n")),
        _both("## Numerical traps\n\nIt breaks.", "## 数值陷阱\n\n它会坏。"),
        _code("1 / 0", new_output("error", ename="ZeroDivisionError", evalue="x"), tags=["raises-exception"]),
        _code("b = 1"),
        _both("## The figure to remember\n\nLook.", "## 一张图\n\n请看。"),
        _code("lesson.show(fig)", figure),
        _both("**Figure 1.** The arcs open.", "**图 1** 弧慢慢张开。"),
        _both("## Experiment\n\nWe test it.", "## 实验\n\n试一试。"),
        _code('lesson.verdict("it opens")', _printed("claim holds: True\n"), tags=["nbval-check-output"]),
        _both("## Ablation\n\nWithout.", "## 消融\n\n去掉它。"),
        _code("c = 1"),
        _both("## Misconceptions\n\n- one\n- two", "## 常见误解\n\n- 其一\n- 其二"),
        _both(f"## Paper card\n\n{table_en}", f"## 论文卡片\n\n{table_zh}"),
        _both(f"## Where public code disagrees\n\n{table_en}", f"## 实现之间的分歧\n\n{table_zh}"),
        _both(f"## Quiz\n\n{_quiz('en', 1)}", f"## 小测\n\n{_quiz('zh', 1)}"),
        *[_both(_quiz("en", i), _quiz("zh", i)) for i in (2, 3, 4)],
        _code('check.arcface.quiz(q1="", q2="", q3="", q4="")', _printed("quiz: 0 of 4\n")),
        _both("## Exercises\n\nThree.", "## 练习\n\n三道题。"),
        *[cell for number in (1, 2, 3) for cell in _exercise(number)],
        _both("## Summary\n\nIt turns.", "## 小结\n\n它会转。"),
        _both(
            f"## Further reading\n\n{refs.replace('{}', 'et al.')}",
            f"## 延伸阅读\n\n{refs.replace('{}', '等').replace('等, 2019', '等，2019')}",
        ),
    ]


@dataclass
class Project:
    """A project on disk; `write()` again after changing `cells`."""

    root: Path
    cells: list[dict[str, Any]] = field(default_factory=good_cells)
    name: str = NAME

    @property
    def course(self) -> Path:
        return self.root / "course"

    def path(self, lang: str, kind: str = "md") -> Path:
        return self.course / lang / f"{self.name}.{kind}"

    def find(self, start: str) -> dict[str, Any]:
        """The cell whose English text starts so."""
        return next(cell for cell in self.cells if cell["en"].startswith(start))

    def notebook(self, lang: str) -> Any:
        cells, count = [], 0
        for cell in copy.deepcopy(self.cells):
            if cell["kind"] == "markdown":
                cells.append(new_markdown_cell(cell[lang], metadata=cell["metadata"]))
                continue
            count += bool(cell[lang].strip())
            options = {"execution_count": count, "outputs": cell["outputs"], "metadata": cell["metadata"]}
            cells.append(new_code_cell(cell[lang], **options))
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        return new_notebook(cells=cells, metadata={"kernelspec": kernel})

    def write(self) -> Project:
        """Source and notebook of both languages, as if just executed."""
        for lang in ("en", "zh"):
            book = self.notebook(lang)
            self.path(lang).write_text(jupytext.writes(book, fmt="md:myst"), encoding="utf-8")
            book.metadata["facelearn"] = {"code": chapters.code_hashes(chapters.read(self.path(lang)))}
            nbformat.write(book, self.path(lang, "ipynb"))
        return self

    def accept(self) -> None:
        gate.accept(self.course, self.name, "Ann: both texts, line by line", slug=SLUG)

    def gate(self) -> list[str]:
        return gate.check(self.name, self.course, slug=SLUG)


def appendix(project: Project) -> Project:
    """An appendix beside the chapter of the project: parts of that, under a heading of its own."""
    starts = ("# ArcFace", "os.chdir", "## You will", "## Experiment", "lesson.show", "**Figure 1", "## Exercises")
    cells = [copy.deepcopy(project.find(start)) for start in starts]
    cells += [cell for number in (1, 2) for cell in _exercise(number)]
    for cell in cells:
        for lang, old, new in (("en", "## Experiment", "## Arcs"), ("zh", "## 实验", "## 弧")):
            cell[lang] = cell[lang].replace(NAME, "A_arcface").replace(old, new)
    added = Project(project.root, cells, "A_arcface").write()
    added.accept()
    return added


def make(root: Path) -> Project:
    """A project in which nothing is wrong."""
    project = Project(root)
    for lang, heading in (("en", "Symbols"), ("zh", "符号")):
        (project.course / lang).mkdir(parents=True)
        (project.course / lang / "notation.md").write_text(f"# {heading}\n", encoding="utf-8")
    bib = "@misc{arcface2019,\n  author = {Deng, Jiankang},\n  title = {{ArcFace}},\n  year = {2019},\n}\n"
    (project.course / "references.bib").write_text(bib, encoding="utf-8")
    entries = references.read_bib(project.course / "references.bib")
    for lang in ("en", "zh"):
        page = references.render(entries, lang)
        (project.course / lang / "references.md").write_text(page, encoding="utf-8")
    (project.course / "glossary.csv").write_text("en,zh,zh_avoid,note\nmargin,间隔,边距|裕度,\n", encoding="utf-8")
    url = f'[project.urls]\nRepository = "https://github.com/{SLUG}"\n'
    (root / "pyproject.toml").write_text("[project]\n" + url, encoding="utf-8")
    project.write().accept()
    return project
