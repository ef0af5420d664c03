"""Chapters as data: the one reader of a chapter (its `.md` source or its executed `.ipynb`), for all tools.

A chapter is called `12_arcface`; an appendix, a chapter under lighter rules, `A_toolkit`.

    chapter = Chapter(course / "en" / "12_arcface.md")
    chapter.title, chapter.needs, chapter.minutes, chapter.figures, chapter.questions, chapter.exercises

python tools/chapters.py copy-code en zh 12_arcface     # code cells of one language into the other, prose kept
"""

from __future__ import annotations

import argparse
import copy
import functools
import hashlib
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from facelearn.files import write_whole

ROOT = Path(__file__).resolve().parents[1]
LANGUAGES = ("en", "zh")
HEADINGS = {  # of the sections that every chapter has, in this order
    "One question": "一个问题",
    "You will be able to": "学完你能",
    "Predict first": "先猜",
    "Intuition": "直觉",
    "Derivation": "推导",
    "From scratch": "从零实现",
    "Against `facelearn`": "与 `facelearn` 对照",
    "Numerical traps": "数值陷阱",
    "The figure to remember": "一张图",
    "Experiment": "实验",
    "Ablation": "消融",
    "Misconceptions": "常见误解",
    "Paper card": "论文卡片",
    "Where public code disagrees": "实现之间的分歧",
    "Quiz": "小测",
    "Exercises": "练习",
    "Summary": "小结",
    "Further reading": "延伸阅读",
}

NAME = re.compile(r"(?:\d\d|[A-Z])_\w+")
CODE_BLOCK = re.compile(r"^(`{3,}|~{3,}).*?^\1`*\s*?$", re.M | re.S)
CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.S)
DISPLAY = re.compile(r"\$\$(.+?)\$\$", re.S)
INLINE = re.compile(r"(?<![\\$])\$(?!\$)([^$\n]+?)(?<!\\)\$(?!\$)")
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)[^)]*\)")
PLACE = re.compile(r'^<a id="([\w-]+)"></a>$', re.M)  # to link to; JupyterLab finds only ASCII names of headings
LINK = re.compile(r"(?<!!)\[([^\[\]]*)\]\(([^)\s]+)[^)]*\)")
ATTRIBUTE = re.compile(r"""\b(?:src|href)=["']([^"']+)["']""")
CITATION = re.compile(r"references\.md#([\w-]+)")
CODE_CELL = re.compile(r"^(`{3,})\{code-cell\}.*?^\1[ \t]*$", re.M | re.S)
OWN_FOLDER = re.compile(r'(?<="facelearn/course/)(?:en|zh)(?=")')  # in the first code cell, for Colab
FIGURE = re.compile(r"\*\*(?:Figure|图) (\d+)")
FOLDED = re.compile(r"\s*<details>\s*<summary>([^<]*)</summary>(.*?)</details>", re.S)
ANSWER, HINT = ("Answer", "答案"), ("Hint", "提示")
EXERCISE = re.compile(r"(\d+) · (.+?)\s*(★+)\D*(\d+) (?:min|分钟)")


class Failed(ValueError):
    """What a tool found wrong, in one line for people: `name: found ..., expected ...`."""


def reports(main: Callable[..., int]) -> Callable[..., int]:
    """A tool's `main` whose `Failed` and OSError are a line on stderr and exit code 1, not a traceback."""

    @functools.wraps(main)
    def reporting(*arguments: Any) -> int:
        try:
            return main(*arguments)
        except (Failed, OSError) as error:
            print(error, file=sys.stderr)
            return 1

    return reporting


# ---- cells --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One cell; `index` counts from 0 as the gate and the lints print it."""

    index: int
    kind: str  # "markdown", "code" or "raw"
    source: str
    metadata: dict[str, Any] = field(default_factory=dict)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    count: int | None = None

    @property
    def tags(self) -> list[str]:
        return list(self.metadata.get("tags", []))

    @property
    def options(self) -> dict[str, Any]:
        """What both languages and both formats must share: tags and Jupyter's own settings."""
        return {"tags": self.tags, "jupyter": dict(self.metadata.get("jupyter", {}))}

    @property
    def shared(self) -> str:
        """What both languages must share of the code: all of it, save the folder in which Colab finds the notebook."""
        return OWN_FOLDER.sub("*", self.source)

    @property
    def first_line(self) -> str:
        lines = PLACE.sub("", self.source).splitlines()
        return next((line.strip() for line in lines if line.strip()), "")[:70]

    @property
    def where(self) -> str:
        return f"cell {self.index} ({self.first_line!r})"

    @property
    def pictures(self) -> bool:
        """Does its stored output hold a picture?"""
        return any(kind.startswith("image/") for output in self.outputs for kind in output.get("data", {}))

    @property
    def lines(self) -> int:
        """Lines that are not blank."""
        return sum(bool(line.strip()) for line in self.source.splitlines())


def read(path: Path) -> list[Cell]:
    """The cells of a page: a MyST Markdown source, or a notebook with its outputs."""
    text = path.read_text(encoding="utf-8")
    try:
        if path.suffix == ".md":
            return copy.deepcopy(_source(text))
        return [_cell(i, cell) for i, cell in enumerate(json.loads(text)["cells"])]
    except Exception as error:  # any parser's complaint, with the file's name
        raise Failed(f"{path}: not readable as {path.suffix}: {error!r}") from error


@functools.lru_cache(maxsize=256)
def _source(text: str) -> list[Cell]:
    """The cells of a MyST Markdown source; kept, for a quarter of a second is long where many ask."""
    import jupytext  # not where notebooks are run as plain scripts

    return [_cell(i, cell) for i, cell in enumerate(jupytext.reads(text, fmt="md:myst").cells)]


def _cell(index: int, cell: Any) -> Cell:
    outputs = [{**out, **{key: _joined(out[key]) for key in ("text", "data") if key in out}}
               for out in cell.get("outputs", [])]  # fmt: skip
    count = cell.get("execution_count")
    return Cell(index, cell["cell_type"], _joined(cell["source"]), dict(cell["metadata"]), outputs, count)


def _joined(value: Any) -> Any:
    """A notebook may keep a text as a list of its lines."""
    if isinstance(value, dict):
        return {key: _joined(item) for key, item in value.items()}
    lines = isinstance(value, list) and all(isinstance(line, str) for line in value)
    return "".join(value) if lines else value


# ---- pages and chapters -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Page:
    """A page in one language: `path` is its `.md` source or, of a chapter, the executed `.ipynb`."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def number(self) -> str:
        return number(self.name)

    @property
    def stem(self) -> str:
        return stem(self.name)

    @property
    def language(self) -> str:
        return self.path.parent.name

    @property
    def root(self) -> Path:
        """The project's folder."""
        return self.path.parents[2]

    @property
    def where(self) -> str:
        """The page as messages name it."""
        return f"{self.language}/{self.path.name}"

    @cached_property
    def cells(self) -> list[Cell]:
        return read(self.path)

    @property
    def prose(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.kind == "markdown"]

    @property
    def code(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.kind == "code"]

    @property
    def title(self) -> str:
        """The heading of level 1; a page without one is called by its name."""
        found = (text for cell in self.prose for level, text in headings(cell.source) if level == 1)
        return next(found, self.name)


class Figure(NamedTuple):
    """A numbered figure: its caption (the paragraph `**Figure 1.** ...`), the caption's cell and the cell above it."""

    number: int
    caption: str
    cell: Cell
    above: Cell | None  # a code cell draws the figure, a Markdown cell holds it as an image


class Question(NamedTuple):
    """A question of the quiz: its text, its choices, and what is said of each choice in the folded answer."""

    number: int
    text: str
    choices: dict[str, str]
    reasons: dict[str, str]

    @property
    def right(self) -> str:
        """The letters of the choices whose reason begins with `right` or `对`: one, if the question is well formed."""
        return "".join(letter for letter, reason in self.reasons.items() if re.match(r"right\b|对", reason))


class Exercise(NamedTuple):
    """An exercise: what its heading `### 1 · title ★★ (15 min)` says, and the cells up to the next one."""

    where: str  # "en/12_arcface.md: exercise 1"
    number: int
    title: str
    stars: int
    minutes: int
    cells: list[Cell]

    @property
    def stub(self) -> Cell:
        """The code cell with the function that the reader writes."""
        return self._tagged("exercise")

    @property
    def solution(self) -> Cell:
        """The code cell right after the stub."""
        solution = self._tagged("solution")
        if solution.index != self.stub.index + 1:
            at = f"cell {solution.index}, expected in {self.stub.index + 1}, right after the exercise's"
            raise Failed(f"{self.where}: solution: found in {at}")
        return solution

    @property
    def hint(self) -> str | None:
        """What its last folded hint says."""
        texts = [cell.source for cell in self.cells if cell.kind == "markdown"]
        hints = [hint.strip() for text in texts for label, hint in FOLDED.findall(text) if label.strip() in HINT]
        return hints[-1] if hints else None

    def _tagged(self, tag: str) -> Cell:
        found = [cell for cell in self.cells if tag in cell.tags]
        if len(found) != 1:
            raise Failed(f"{self.where}: found {len(found)} cells tagged {tag}, expected 1")
        return found[0]


class Chapter(Page):
    """A chapter as it stands; lists hold what is well formed, single values raise `Failed` where they are missing."""

    @property
    def is_appendix(self) -> bool:
        return is_appendix(self.name)

    @property
    def executed(self) -> Chapter:
        """The notebook of this source, with outputs. `Failed` where it is missing or not what the source says."""
        notebook = Chapter(self.path.with_suffix(".ipynb"))
        how = f"`make execute CHAPTER={self.number}`"
        if not notebook.path.is_file():
            raise Failed(f"{notebook.where} is missing: {how}")
        if different := next(differences(self.cells, notebook.cells), None):
            raise Failed(f"{notebook.where}: {different}: {how}")
        return notebook

    @cached_property
    def sections(self) -> list[tuple[str, list[Cell]]]:
        """(heading, cells), the part before the first `##` under the heading ''."""
        parts: list[tuple[str, list[Cell]]] = [("", [])]
        for cell in self.cells:
            for level, text in headings(cell.source) if cell.kind == "markdown" else []:
                if level == 2:
                    parts.append((text, []))
            parts[-1][1].append(cell)
        return parts

    def section(self, english: str) -> list[Cell]:
        """The cells of a section by its English heading ('': the part before the first); none where it is missing."""
        wanted = HEADINGS[english] if self.language == "zh" and english else english
        return next((cells for heading, cells in self.sections if heading == wanted), [])

    def prose_of(self, english: str) -> str:
        return "\n\n".join(cell.source for cell in self.section(english) if cell.kind == "markdown")

    @cached_property
    def _aims(self) -> re.Match[str]:
        """Last paragraph of the goals: what a reader needs, and the minutes."""
        last = self.prose_of("You will be able to").strip().split("\n\n")[-1]
        found = re.match(r"(?:You need|[一-鿿]{2,8}：)\s*(.+?)[.。](?=[^.。]*?(\d+)\s*(?:minutes|分钟))", last, re.S)
        if not found:
            expected = {"en": "`You need ... About 60 minutes.`", "zh": "`需要的基础：……。约 60 分钟。`"}[self.language]
            raise Failed(f"{self.where}: goals: found as last paragraph {last[:60]!r}, expected {expected}")
        return found

    @property
    def needs(self) -> str:
        """What a reader needs to know, in Markdown."""
        return " ".join(self._aims[1].split())

    @property
    def minutes(self) -> int:
        """Of reading, without exercises."""
        return int(self._aims[2])

    @property
    def running(self) -> str:
        """Minutes of running on a CPU, as `lesson.start` has them."""
        found = re.search(r"lesson\.start\([^)]*minutes=([\d.]+)", "\n".join(cell.source for cell in self.code))
        if not found:
            raise Failed(f"{self.where}: found no code cell with lesson.start(..., minutes=...), expected one")
        return found[1]

    @property
    def badges(self) -> dict[str, str]:
        """Where the chapter can be run without installing anything: addresses by 'colab' and 'mybinder'."""
        links = [link for cell in self.section("") for link in images_and_links(cell.source)[1]]
        return {site: link for site in ("colab", "mybinder") for link in links if f"//{site}." in link}

    @cached_property
    def figures(self) -> list[Figure]:
        return [
            Figure(int(found[1]), paragraph.strip(), cell, self.cells[cell.index - 1] if cell.index else None)
            for cell in self.prose
            for paragraph in re.split(r"\n[ \t]*\n", cell.source)
            if (found := FIGURE.match(paragraph.strip()))
        ]

    @cached_property
    def questions(self) -> list[Question]:
        """The quiz, each question with its folded answer."""
        parts = re.split(r"^\*\*(\d+)\.\*\*[ \t]+", self.prose_of("Quiz"), flags=re.M)[1:]
        found = []
        for number, part in zip(parts[::2], parts[1::2], strict=True):
            answer = "".join(match[2] for match in FOLDED.finditer(part) if match[1].strip() in ANSWER)
            asked = FOLDED.sub("", part)
            text = re.split(r"^- \*\*[A-E]", asked, maxsplit=1, flags=re.M)[0].strip()
            found.append(Question(int(number), text, _lettered(asked), _lettered(answer)))
        return found

    @cached_property
    def exercises(self) -> list[Exercise]:
        found: list[Exercise] = []
        for cell in self.section("Exercises"):
            for level, heading in headings(cell.source) if cell.kind == "markdown" else []:
                if level == 3 and (match := EXERCISE.match(heading)):
                    number, title, stars, minutes = match.groups()
                    where = f"{self.where}: exercise {number}"
                    found.append(Exercise(where, int(number), title, len(stars), int(minutes), []))
            if found:
                found[-1].cells.append(cell)
        return found


def _lettered(text: str) -> dict[str, str]:
    """`{"A": "words"}` of a list `- **A.** words`."""
    items = re.findall(r"^- \*\*([A-E])\.?\*\*[ \t：:]*(.*(?:\n[ \t]+\S.*)*)", text, re.M)
    return {letter: " ".join(words.split()) for letter, words in items}


# ---- source and notebook ------------------------------------------------------------------------------------------


def differences(source: Sequence[Cell], notebook: Sequence[Cell]) -> Iterator[str]:
    """Where the cells of a notebook are not those of its source."""
    if len(source) != len(notebook):
        yield f"number of cells: .md has {len(source)}, .ipynb has {len(notebook)}"
    for a, b in zip(source, notebook, strict=False):
        if (a.kind, a.source, a.options) != (b.kind, b.source, b.options):
            yield f"{a.where}: .md and .ipynb differ"


def code_hashes(cells: Iterable[Cell]) -> list[str]:
    """For each code cell a hash of it and of all code above it: what its stored output was made by.

    They are the same in both languages. `tools/execute.py` writes those of the code that it has run into the
    notebook's own metadata: of a cell's metadata `jupytext --sync` keeps only what the source has too.
    """
    hashes, chain = [], hashlib.sha256()
    for cell in cells:
        if cell.kind == "code":
            chain.update(f"{cell.shared}\0".encode())
            hashes.append(chain.hexdigest()[:12])
    return hashes


def foreign_output(source: Iterable[Cell], notebook: Path) -> str | None:
    """The first code cell whose outputs, as stored in `notebook`, were made by other code, in words."""
    stored = json.loads(notebook.read_text(encoding="utf-8"))["metadata"].get("facelearn", {}).get("code", [])
    if not stored:
        return "the stored outputs were not made by `make execute`: execute the chapter"
    code = [cell for cell in source if cell.kind == "code"]
    for cell, digest, made_by in zip_longest(code, code_hashes(code), stored):
        if cell is None:
            return f"{len(stored)} code cells were executed, found {len(code)}: execute the chapter"
        if digest != made_by:
            return f"{cell.where}: the stored output is of other code, here or in a cell above: execute the chapter"
    return None


# ---- the course ---------------------------------------------------------------------------------------------------


def names(course: Path) -> list[str]:
    """Names of all chapters, then of all appendices, in course order, found in either language and either format."""
    found = {p.stem for lang in LANGUAGES for p in (course / lang).glob("*") if p.suffix in (".md", ".ipynb")}
    return sorted(name for name in found if NAME.fullmatch(name))


def number(name: str) -> str:
    """`12` of `12_arcface`; of an appendix its letter."""
    return name.partition("_")[0]


def stem(name: str) -> str:
    """`arcface` of `12_arcface`: what its loss, its check and its experiment are called."""
    return name.partition("_")[2]


def is_appendix(name: str) -> bool:
    """Is it a chapter under lighter rules: no experiment, no quiz, no slides?"""
    return name[0].isalpha()


def chosen(wanted: Iterable[str], known: Sequence[str]) -> list[str]:
    """Full names of what is meant by `12_arcface` or `12`; all that are known where nothing is named."""
    names = [next((name for name in known if want in (name, number(name))), want) for want in wanted]
    if unknown := sorted(set(names) - set(known)):
        raise Failed(f"chapter: found {', '.join(unknown)}, expected one of {', '.join(known) or 'none'}")
    return names or list(known)


def pages(course: Path) -> list[str]:
    """Stems of the other pages that a person writes in both languages; `references` is generated."""
    found = {p.stem for lang in LANGUAGES for p in (course / lang).glob("*.md")}
    return sorted(found - set(names(course)) - {"references"})


def repository(root: Path = ROOT) -> str:
    """`owner/name` from the one place where the repository's address stands, `[project.urls]` in pyproject.toml."""
    url = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
    match = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?", url)
    if not match:
        raise Failed(f"pyproject.toml: Repository: found {url!r}, expected https://github.com/OWNER/NAME")
    return match[1]


def without_code(source: str) -> str:
    """Markdown with code blocks dropped and each code span as one private-use character (a stand-in for a word)."""
    return CODE_SPAN.sub("\ue000", CODE_BLOCK.sub("", source))


def formulas(source: str) -> tuple[list[str], list[str]]:
    """Display and inline formulas of a Markdown cell, delimiters dropped, in order."""
    text = without_code(source)
    return DISPLAY.findall(text), INLINE.findall(DISPLAY.sub("", text))


def images_and_links(source: str) -> tuple[list[tuple[str, str]], list[str]]:
    """`(alt text, file)` of the images, and the targets of links (also of links round an image)."""
    text = without_code(source)
    images = IMAGE.findall(text)
    links = [target for _, target in LINK.findall(IMAGE.sub("image", text))]
    return images, links + ATTRIBUTE.findall(text)


def headings(source: str) -> list[tuple[int, str]]:
    """`(level, text)` of the headings in a Markdown cell."""
    text = CODE_BLOCK.sub("", source)
    return [(len(h), t.strip()) for h, t in re.findall(r"^(#{1,6})[ \t]+(.+?)[ \t]*#*$", text, re.M)]


def copy_code(course: Path, source: str, target: str, name: str) -> int:
    """Put the code cells (with their tags) of `source`'s page into `target`'s, in order; return how many changed."""
    origin, goal = course / source / f"{name}.md", course / target / f"{name}.md"
    kinds = [[cell.kind for cell in read(path)] for path in (origin, goal)]
    if kinds[0] != kinds[1]:
        shortest = min(map(len, kinds))
        at = next((i for i in range(shortest) if kinds[0][i] != kinds[1][i]), shortest)
        raise Failed(
            f"{name}: cell {at}: found {kinds[0][at : at + 1]} in {source}, {kinds[1][at : at + 1]} in {target}, "
            "expected the same: first put an empty ```{code-cell} where one is missing"
        )
    old = goal.read_text(encoding="utf-8")
    text = OWN_FOLDER.sub(target, origin.read_text(encoding="utf-8"))
    fresh = [match[0] for match in CODE_CELL.finditer(text)]
    changed = sum(a != b[0] for a, b in zip(fresh, CODE_CELL.finditer(old), strict=True))
    blocks = iter(fresh)
    write_whole(goal, CODE_CELL.sub(lambda _: next(blocks), old))
    return changed


@reports
def main() -> int:
    parser = argparse.ArgumentParser(description="Copy the code cells of a chapter from one language to the other.")
    parser.add_argument("command", choices=["copy-code"])
    parser.add_argument("source", choices=LANGUAGES)
    parser.add_argument("target", choices=LANGUAGES)
    parser.add_argument("name", help="the chapter, e.g. 12_arcface")
    args = parser.parse_args()
    changed = copy_code(ROOT / "course", args.source, args.target, args.name)
    print(f"{args.name}: {changed} code cells of {args.target} replaced by those of {args.source}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
