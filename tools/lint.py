"""Lints of the course: what makes a chapter readable on GitHub, in JupyterLab and on the site, in both languages.

    python tools/lint.py [12_arcface ...]     # what is wrong; exit code 1 if anything is
    python tools/lint.py --fix-urls           # rewrite every link to this repository after its address has changed

Every rule is a generator of (cell index, message); `RULES` lists them. CONTRIBUTING explains the rules to authors.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # also when started as a script

from tools import chapters, references  # noqa: E402
from tools.chapters import Cell, Page  # noqa: E402
from tools.prose import HAN, Problems, chinese, count_words, glossary, latex, untouched  # noqa: E402
from tools.urls import fix_urls, stale_urls, text_files  # noqa: E402


class Section(NamedTuple):
    """A section every chapter has, under exactly this heading; limits as (least, most), words as {language: most}."""

    zh: str
    en: str
    words: dict[str, int] | None = None
    lines: int | None = None
    code: tuple[int, int] | None = None
    items: tuple[int, int] | None = None
    table: bool = False


SECTIONS = [
    Section("一个问题", "One question", words={"zh": 100, "en": 60}),
    Section("学完你能", "You will be able to", lines=8),
    Section("先猜", "Predict first", code=(1, 1)),
    Section("直觉", "Intuition", words={"zh": 350, "en": 200}),
    Section("推导", "Derivation"),
    Section("从零实现", "From scratch", code=(3, 6)),
    Section("与 `facelearn` 对照", "Against `facelearn`", code=(1, 2)),
    Section("数值陷阱", "Numerical traps", code=(2, 4)),
    Section("一张图", "The figure to remember"),
    Section("实验", "Experiment"),
    Section("消融", "Ablation", code=(1, 2)),
    Section("常见误解", "Misconceptions", words={"zh": 250, "en": 150}, items=(2, 4)),
    Section("论文卡片", "Paper card", table=True),
    Section("实现之间的分歧", "Where public code disagrees", table=True),
    Section("小测", "Quiz"),
    Section("练习", "Exercises"),
    Section("小结", "Summary", lines=10),
    Section("延伸阅读", "Further reading", items=(3, 6)),
]
ABSOLUTE = re.compile(
    r"(?<![\w.:/<>)\]}*~])(?:~?/(?:[\w.+-]+/)+[\w.+-]*|/(?:home|root|tmp|Users|mnt|opt)\b)|\b[A-Z]:\\\w"
)


def _section(page: Page, english: str) -> list[Cell]:
    """The cells of a section, by its English name; none where it is missing (another rule says so)."""
    wanted = next(getattr(s, page.language) for s in SECTIONS if s.en == english)
    return next((cells for heading, cells in page.sections if heading == wanted), [])


def anchor(heading: str) -> str:
    """The fragment GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


# ---- form ---------------------------------------------------------------------------------------------------------


def lengths(page: Page) -> Problems:
    """35-55 cells; code cells: median at most 8 lines, 90 % at most 20, none over 30; no Han in code."""
    if not 35 <= len(page.cells) <= 55:
        yield 0, f"{len(page.cells)} cells: expected 35 to 55"
    sizes = [cell.lines for cell in page.code]
    if sizes and statistics.median(sizes) > 8:
        yield 0, f"code cells have a median of {statistics.median(sizes):g} lines: at most 8"
    if sum(size <= 20 for size in sizes) < 0.9 * len(sizes):
        yield 0, f"{sum(size > 20 for size in sizes)} of {len(sizes)} code cells have over 20 lines: at most 10 %"
    for cell in page.code:
        if cell.lines > 30:
            yield cell.index, f"{cell.lines} lines of code: at most 30"
        if match := re.search(rf"[\u3000-\u303f\uff00-\uffef]|{HAN}", cell.source):
            yield cell.index, f"{match[0]!r} in a code cell, which both languages share"


def sections(page: Page) -> Problems:
    """Every section of a chapter, in order, under its canonical heading, within its limits."""
    expected = [getattr(section, page.language) for section in SECTIONS]
    found = [heading for heading, _ in page.sections[1:]]
    if found != expected:
        missing, other = [h for h in expected if h not in found], [h for h in found if h not in expected]
        yield 0, f"sections: missing {missing}, not canonical {other}" + ("" if missing or other else ", or order")
    for cell in page.prose:
        starts = [text for level, text in chapters.headings(cell.source) if level <= 2]
        if len(starts) > 1 or (starts and not re.match(r"##? ", cell.source.lstrip())):
            yield cell.index, f"section {starts[-1]!r} must begin its own cell"
    for section in SECTIONS:
        cells = _section(page, section.en)
        prose = [cell for cell in cells if cell.kind == "markdown"]
        code = [cell for cell in cells if cell.kind == "code"]
        text = "\n".join(cell.source for cell in prose)
        amounts = [
            ("words", count_words(prose), section.words and (1, section.words[page.language])),
            ("lines", sum(cell.lines for cell in prose) - 1, section.lines and (1, section.lines)),
            ("code cells", len(code), section.code),
            ("list items", len(re.findall(r"^(?:[-*]|\d+\.) ", text, re.M)), section.items),
            ("tables", len(re.findall(r"^\|[ :|-]+\|\s*$", text, re.M)), (1, 9) if section.table else None),
        ]
        for what, amount, limits in amounts if cells else []:
            if limits and not limits[0] <= amount <= limits[1]:
                yield cells[0].index, f"{section.en}: {amount} {what}: expected {limits[0]} to {limits[1]}"


def special_sections(page: Page) -> Problems:
    """Title, derivation, from scratch, intuition, experiment, further reading: what only they have."""
    title = page.sections[0][1]
    start, name = "\n".join(cell.source for cell in title), page.path.stem
    other = {"en": "zh", "zh": "en"}[page.language]
    here = f"course/{page.language}/{name}.ipynb"
    links = chapters.images_and_links(start)[1]
    if not 2 <= len(title) <= 3 or not any("lesson.start(" in cell.source for cell in title):
        yield 0, "before the first section: expected title and banner (`lesson.start`), 2 or 3 cells"
    if [level for cell in page.prose for level, _ in chapters.headings(cell.source)].count(1) != 1:
        yield 0, "expected exactly one heading of level 1, the title"
    for what, good in [
        (f"link to ../{other}/{name}.ipynb", f"../{other}/{name}.ipynb" in links),
        (f"Colab badge to {here}", any("colab." in t and t.endswith(here) for t in links)),
        (f"Binder badge to {here}", any("mybinder." in t and t.endswith(here) for t in links)),
    ]:
        if not good:
            yield 0, f"title: no {what}"
    text = "\n".join(cell.source for cell in _section(page, "Derivation") if cell.kind == "markdown")
    steps = [int(number) for number in re.findall(r"^### (\d+) · ", text, re.M)]
    if not 1 <= len(steps) <= 12 or steps != list(range(1, len(steps) + 1)):
        yield 0, f"Derivation: steps {steps}: expected `### 1 · ...`, `### 2 · ...`, at most 12"
    if (lines := sum(cell.lines for cell in _section(page, "From scratch") if cell.kind == "code")) > 60:
        yield 0, f"From scratch: {lines} lines of code: at most 60"
    if any(chapters.formulas(cell.source)[0] for cell in _section(page, "Intuition") if cell.kind == "markdown"):
        yield 0, "Intuition: a display formula; geometry first, algebra later"
    figure = _section(page, "The figure to remember")
    if not any(cell.kind == "code" or chapters.IMAGE.search(cell.source) for cell in figure):
        yield 0, "The figure to remember: neither a code cell nor an image"
    if not any("nbval-check-output" in cell.tags for cell in _section(page, "Experiment")):
        yield 0, "Experiment: no code cell tagged nbval-check-output (the verdict)"
    for cell in _section(page, "Further reading"):
        for item in re.findall(r"^[-*] .*(?:\n  .*)*", cell.source, re.M):
            if not chapters.CITATION.search(item):
                yield cell.index, f"Further reading: no citation key in {item[:50]!r}"


def quiz(page: Page) -> Problems:
    """4 or 5 questions; under each a folded answer with a reason for every choice."""
    text = "\n\n".join(cell.source for cell in _section(page, "Quiz") if cell.kind == "markdown")
    parts = re.findall(r"(.*?)<details><summary>[^<]+</summary>\n\n(.*?)\n\n</details>", text, re.S)
    at = _section(page, "Quiz")[0].index if _section(page, "Quiz") else 0
    if not 4 <= len(parts) <= 5 or text.count("<details") != len(parts):
        yield at, f"Quiz: {len(parts)} well-formed questions of {text.count('<details')}: expected 4 or 5, blank lines "
        "inside <details>"
    for number, (question, answer) in enumerate(parts, 1):
        choices = re.findall(r"^- \*\*([A-E])\.?\*\*", question, re.M)
        reasons = dict(re.findall(r"^- \*\*([A-E])\.?\*\*(.*(?:\n .*)*)", answer, re.M))
        if not re.search(rf"^\*\*{number}\.\*\* \S", question, re.M):
            yield at, f"Quiz: question {number} does not start with `**{number}.** `"
        if len(choices) < 2 or choices != sorted(set(choices)):
            yield at, f"Quiz: question {number} has choices {choices}: expected `- **A.** ...`, `- **B.** ...`"
        if unexplained := [c for c in choices if len(reasons.get(c, "").strip(" ：:—")) < 8]:
            yield at, f"Quiz: question {number}: no reason for {', '.join(unexplained)}"


def exercises(page: Page) -> Problems:
    """Three exercises: statement with stars and minutes, stub, folded solution; both check themselves."""
    cells = _section(page, "Exercises")
    at, stem = cells[0].index if cells else 0, page.path.stem[3:]
    titles = [text for c in cells if c.kind == "markdown" for n, text in chapters.headings(c.source) if n == 3]
    if len(titles) != 3:
        yield at, f"Exercises: {len(titles)} headings of level 3: expected 3"
    for number, title in enumerate(titles, 1):
        if not re.match(rf"{number} · .*★.*\d+ (?:min|分钟)", title):
            yield at, f"Exercises: {title!r}: expected `{number} · title ★★ (15 min)` or `（15 分钟）`"
    for tag in ("exercise", "solution"):
        tagged = [cell for cell in page.code if tag in cell.tags]
        if len(tagged) != 3:
            yield at, f"{len(tagged)} cells tagged {tag}: expected 3"
        for number, cell in enumerate(tagged, 1):
            if f"check.{stem}.ex{number}(" not in cell.source:
                yield cell.index, f"{tag} {number} does not call check.{stem}.ex{number}(...)"
            if tag == "solution" and cell.options["jupyter"].get("source_hidden") is not True:
                yield cell.index, "solution is not folded: expected `jupyter: {source_hidden: true}`"


def captions(page: Page) -> Problems:
    """A figure is followed by its caption, numbered in the chapter; an image has a description."""
    notebook = page.path.with_suffix(".ipynb")
    shown = chapters.read(notebook) if notebook.is_file() else []
    for cell, after in zip(shown, [*shown[1:], None], strict=True):
        figure = any(kind.startswith("image/") for out in cell.outputs for kind in out.get("data", {}))
        if figure and not (after and re.match(r"\*\*(?:Figure|图) \d+", after.source)):
            yield cell.index, "a figure without caption: the next cell must start with `**Figure 1.**` / `**图 1**`"
    label = {"en": "Figure", "zh": "图"}[page.language]
    numbers = [int(n) for c in page.prose for n in re.findall(rf"^\*\*{label} (\d+)", c.source, re.M)]
    if numbers != list(range(1, len(numbers) + 1)):
        yield 0, f"figures are numbered {numbers}: expected 1, 2, 3 ..."


# ---- links --------------------------------------------------------------------------------------------------------


def links(page: Page) -> Problems:
    """Files and heading anchors exist, chapters are linked as notebooks, images have a description, keys are known."""
    keys = references.read_bib(page.root / "course" / "references.bib")
    for cell in page.prose:
        images, targets = chapters.images_and_links(cell.source)
        for alt, file in images:
            if len(alt.strip()) < 4:
                yield cell.index, f"image {file} has no description"
        for target in [*targets, *(file for _, file in images)]:
            if not re.match(r"\w+:", target):
                yield from ((cell.index, f"link {target}: {what}") for what in _broken(page, target, keys))


def _broken(page: Page, target: str, keys: dict[str, dict[str, str]]) -> Iterator[str]:
    name, _, fragment = target.partition("#")
    file = (page.path.parent / name).resolve() if name else page.path
    if name == "references.md":
        if fragment not in keys:
            yield "no such key in course/references.bib"
        return
    if not file.is_relative_to(page.root.resolve()) or target.startswith("/"):
        yield "leaves the repository"
    elif not file.exists() and not file.with_suffix(".md").is_file():
        yield "no such file"
    elif re.match(r"\d\d_\w+\.md$", file.name) and name:
        yield "link to the .ipynb, which is what a reader opens"
    elif fragment:
        source = file.with_suffix(".md") if file.suffix == ".ipynb" else file
        known = {anchor(text) for c in chapters.read(source) for _, text in chapters.headings(c.source)}
        if fragment.lower() not in known:
            yield "no such heading"


def absolute_paths(page: Page) -> Problems:
    """No path of somebody's machine, in prose or code."""
    for cell in page.cells:
        text = cell.source
        if cell.kind == "markdown":  # keep code spans here, drop formulas and the targets of links to the web
            text = re.sub(r"\w+://[^\s)]+", "", chapters.INLINE.sub("", chapters.DISPLAY.sub("", text)))
        if match := ABSOLUTE.search(text):
            yield cell.index, f"absolute path {match[0]!r}"


# ---- all together -------------------------------------------------------------------------------------------------

EVERY_PAGE = [latex, untouched, chinese, glossary, links, absolute_paths]
CHAPTER = [lengths, sections, special_sections, quiz, exercises, captions]
RULES: list[Callable[[Page], Problems]] = [*EVERY_PAGE, *CHAPTER]


def check(page: Page) -> list[str]:
    """Everything that is wrong with one page in one language, one line each."""
    rules = RULES if re.match(r"\d\d_", page.path.stem) else EVERY_PAGE
    where = f"{page.language}/{page.path.name}"
    return [f"{where}: cell {i}: {rule.__name__}: {problem}" for rule in rules for i, problem in rule(page)]


def check_project(root: Path) -> list[str]:
    """What concerns no single page: links to the repository, and the generated references."""
    slug = chapters.repository(root)
    problems = [
        f"{path.relative_to(root)}: {url}: expected {slug}; `python tools/lint.py --fix-urls`"
        for path in text_files(root)
        for url in stale_urls(path.read_text(encoding="utf-8"), slug)
    ]
    entries = references.read_bib(root / "course" / "references.bib")
    for language in chapters.LANGUAGES:
        path = root / "course" / language / "references.md"
        if not path.is_file() or path.read_text(encoding="utf-8") != references.render(entries, language):
            problems.append(f"{path.relative_to(root)} is not what references.bib says: `python tools/references.py`")
    return problems


def all_pages(root: Path) -> list[Page]:
    course = root / "course"
    found = [
        course / lang / f"{n}.md" for n in chapters.names(course) + chapters.pages(course) for lang in ("en", "zh")
    ]
    return [Page(path, path.parent.name, root) for path in found if path.is_file()]


def main() -> int:
    parser = argparse.ArgumentParser(description="Lints of the course.")
    parser.add_argument("names", nargs="*", help="pages, e.g. 12_arcface; all where none is named")
    parser.add_argument("--fix-urls", action="store_true", help="rewrite the links to this repository")
    args = parser.parse_args()
    try:
        if args.fix_urls:
            print("\n".join(str(path.relative_to(ROOT)) for path in fix_urls(ROOT)) or "nothing to change")
            return 0
        pages = [page for page in all_pages(ROOT) if not args.names or page.path.stem in args.names]
        problems = [problem for page in pages for problem in check(page)] + check_project(ROOT)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(problems) or f"{len(pages)} pages are clean")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
