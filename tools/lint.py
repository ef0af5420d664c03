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
from itertools import groupby, takewhile, zip_longest
from pathlib import Path
from typing import NamedTuple

from tools import chapters, contents, prerequisites, references
from tools.chapters import HEADINGS, Cell, Chapter, Page
from tools.prose import HAN, Problems, chinese, count_words, glossary, latex, untouched
from tools.urls import fix_urls, stale_urls, text_files

ROOT = Path(__file__).resolve().parents[1]


class Limits(NamedTuple):
    """What a section may hold; limits as (least, most), words as {language: most}."""

    words: dict[str, int] | None = None
    lines: int | None = None
    code: tuple[int, int] | None = None
    items: tuple[int, int] | None = None
    table: bool = False


SECTIONS = {  # those of `HEADINGS` that have limits
    "One question": Limits(words={"zh": 100, "en": 60}),
    "You will be able to": Limits(lines=8),
    "Predict first": Limits(code=(1, 1)),
    "Intuition": Limits(words={"zh": 350, "en": 200}),
    "From scratch": Limits(code=(3, 6)),
    "Against `facelearn`": Limits(code=(1, 2)),
    "Numerical traps": Limits(code=(2, 4)),
    "Ablation": Limits(code=(1, 2)),
    "Misconceptions": Limits(words={"zh": 250, "en": 150}, items=(2, 4)),
    "Paper card": Limits(table=True),
    "Where public code disagrees": Limits(table=True),
    "Summary": Limits(lines=10),
    "Further reading": Limits(items=(3, 6)),
}
SOURCE_LINES, CODE_WIDTH, PRINTED_WIDTH, TABLE = 620, 88, 100, (6, 5)
WELL_FORMED = re.compile(r"<details><summary>[^<\n]+</summary>\n\n.*?\n\n</details>", re.S)
UNWRITTEN = re.compile(
    r"[Cc]hapters? ((?:\d\d(?:, | and )?)+)[^.;()\d]{0,20}not (?:yet )?written"
    r"|第 ((?:\d\d、?)+) 章[^。；（）\d]{0,9}未写"
)
ABSOLUTE = re.compile(
    r"(?<![\w.:/<>)\]}*~])(?:~?/(?:[\w.+-]+/)+[\w.+-]*|/(?:home|root|tmp|Users|mnt|opt)\b)|\b[A-Z]:\\\w"
)


def anchor(heading: str) -> str:
    """The fragment GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


# ---- form ---------------------------------------------------------------------------------------------------------


def lengths(chapter: Chapter) -> Problems:
    """35-56 cells in a chapter; code cells: median at most 8 lines, 90 % at most 20, none over 30; no Han in code."""
    if not chapter.is_appendix and not 35 <= len(chapter.cells) <= 56:
        yield 0, f"{len(chapter.cells)} cells: expected 35 to 56"
    sizes = [cell.lines for cell in chapter.code]
    if sizes and statistics.median(sizes) > 8:
        yield 0, f"code cells have a median of {statistics.median(sizes):g} lines: at most 8"
    if sum(size <= 20 for size in sizes) < 0.9 * len(sizes):
        yield 0, f"{sum(size > 20 for size in sizes)} of {len(sizes)} code cells have over 20 lines: at most 10 %"
    for cell in chapter.code:
        if cell.lines > 30:
            yield cell.index, f"{cell.lines} lines of code: at most 30"
        if match := re.search(rf"[\u3000-\u303f\uff00-\uffef]|{HAN}", cell.source):
            yield cell.index, f"{match[0]!r} in a code cell, which both languages share"


def sections(chapter: Chapter) -> Problems:
    """Every section of a chapter, in order, under its canonical heading, within its limits.

    An appendix has the goals first and the exercises last, and between them sections of its own.
    """
    expected = list(HEADINGS) if chapter.language == "en" else list(HEADINGS.values())
    found = [heading for heading, _ in chapter.sections[1:]]
    if chapter.is_appendix:
        first, last = (expected[list(HEADINGS).index(name)] for name in ("You will be able to", "Exercises"))
        expected = [first, *[heading for heading in found if heading not in expected], last]
    if found != expected:
        missing, other = [h for h in expected if h not in found], [h for h in found if h not in expected]
        yield 0, f"sections: missing {missing}, not canonical {other}" + ("" if missing or other else ", or order")
    for cell in chapter.prose:
        starts = [text for level, text in chapters.headings(cell.source) if level <= 2]
        if len(starts) > 1 or (starts and not re.match(r"##? ", chapters.PLACE.sub("", cell.source).lstrip())):
            yield cell.index, f"section {starts[-1]!r} must begin its own cell"
    for name, limits in SECTIONS.items():
        cells = chapter.section(name)
        prose = [cell for cell in cells if cell.kind == "markdown"]
        code = [cell for cell in cells if cell.kind == "code"]
        text = "\n".join(cell.source for cell in prose)
        amounts = [
            ("words", count_words(prose), limits.words and (1, limits.words[chapter.language])),
            ("lines", sum(cell.lines for cell in prose) - 1, limits.lines and (1, limits.lines)),
            ("code cells", len(code), limits.code),
            ("list items", len(re.findall(r"^(?:[-*]|\d+\.) ", text, re.M)), limits.items),
            ("tables", len(re.findall(r"^\|[ :|-]+\|\s*$", text, re.M)), (1, 9) if limits.table else None),
        ]
        for what, amount, allowed in amounts if cells else []:
            if allowed and not allowed[0] <= amount <= allowed[1]:
                yield cells[0].index, f"{name}: {amount} {what}: expected {allowed[0]} to {allowed[1]}"


def opening(chapter: Chapter) -> Problems:
    """What stands before the first section: one title, links, the banner."""
    title, name = chapter.section(""), chapter.name
    other = {"en": "zh", "zh": "en"}[chapter.language]
    here = f"course/{chapter.language}/{name}.ipynb"
    links = [link for cell in title for link in chapters.images_and_links(cell.source)[1]]
    if not 2 <= len(title) <= 3 or not any("lesson.start(" in cell.source for cell in title):
        yield 0, "before the first section: expected title and banner (`lesson.start`), 2 or 3 cells"
    if [level for cell in chapter.prose for level, _ in chapters.headings(cell.source)].count(1) != 1:
        yield 0, "expected exactly one heading of level 1, the title"
    folders = [folder for cell in title for folder in chapters.OWN_FOLDER.findall(cell.source)]
    if folders != [chapter.language]:
        yield 0, f'Colab begins in {folders}: expected one line os.chdir("facelearn/course/{chapter.language}")'
    for what, good in [
        (f"link to ../{other}/{name}.ipynb", f"../{other}/{name}.ipynb" in links),
        (f"Colab badge to {here}", chapter.badges.get("colab", "").endswith(here)),
        (f"Binder badge to {here}", chapter.badges.get("mybinder", "").endswith(here)),
    ]:
        if not good:
            yield 0, f"title: no {what}"


def special_sections(chapter: Chapter) -> Problems:
    """Derivation, from scratch, intuition, experiment, further reading: what only they have."""
    steps = [int(number) for number in re.findall(r"^### (\d+) · ", chapter.prose_of("Derivation"), re.M)]
    if not 1 <= len(steps) <= 12 or steps != list(range(1, len(steps) + 1)):
        yield 0, f"Derivation: steps {steps}: expected `### 1 · ...`, `### 2 · ...`, at most 12"
    if (lines := sum(cell.lines for cell in chapter.section("From scratch") if cell.kind == "code")) > 60:
        yield 0, f"From scratch: {lines} lines of code: at most 60"
    if any(chapters.formulas(cell.source)[0] for cell in chapter.section("Intuition") if cell.kind == "markdown"):
        yield 0, "Intuition: a display formula; geometry first, algebra later"
    figure = chapter.section("The figure to remember")
    if not any(cell.kind == "code" or chapters.IMAGE.search(cell.source) for cell in figure):
        yield 0, "The figure to remember: neither a code cell nor an image"
    if not any("nbval-check-output" in cell.tags for cell in chapter.section("Experiment")):
        yield 0, "Experiment: no code cell tagged nbval-check-output (the verdict)"
    for cell in chapter.section("Further reading"):
        for item in re.findall(r"^[-*] .*(?:\n  .*)*", cell.source, re.M):
            if not chapters.CITATION.search(item):
                yield cell.index, f"Further reading: no citation key in {item[:50]!r}"


def quiz(chapter: Chapter) -> Problems:
    """4 or 5 questions; under each a folded answer with a reason for every choice."""
    text = chapter.prose_of("Quiz")
    at = next((cell.index for cell in chapter.section("Quiz")), 0)
    formed = len(WELL_FORMED.findall(text))
    if not 4 <= formed <= 5 or text.count("<details") != formed:
        found = f"{formed} well-formed questions of {text.count('<details')}"
        yield at, f"Quiz: {found}: expected 4 or 5, blank lines inside <details>"
    if [question.number for question in chapter.questions] != list(range(1, formed + 1)):
        yield at, f"Quiz: question {len(chapter.questions) + 1} does not start with `**1.** `, `**2.** ` ..."
    for question in chapter.questions:
        number, _, choices, reasons = question
        if len(question.right) != 1:
            word = {"en": "right", "zh": "对"}[chapter.language]
            yield at, f"Quiz: question {number}: {len(question.right)} reasons begin with `{word}`: expected 1"
        if len(choices) < 2 or list(choices) != sorted(choices):
            yield at, f"Quiz: question {number} has choices {[*choices]}: expected `- **A.** ...`, `- **B.** ...`"
        if unexplained := [letter for letter in choices if len(reasons.get(letter, "")) < 8]:
            yield at, f"Quiz: question {number}: no reason for {', '.join(unexplained)}"


def quiz_check(chapter: Chapter) -> Problems:
    """One code cell in which the reader answers all questions and is told."""
    answers = ", ".join(f'q{question.number}=""' for question in chapter.questions)
    expected, cells = f"check.{chapter.stem}.quiz({answers})", chapter.section("Quiz")
    if cells and [cell.source for cell in cells if cell.kind == "code"] != [expected]:
        yield cells[0].index, f"Quiz: expected one code cell `{expected}`"


def exercises(chapter: Chapter) -> Problems:
    """Three exercises, in an appendix any number: statement with stars and minutes, stub, folded solution.

    Stub and solution check themselves.
    """
    cells = chapter.section("Exercises")
    at, stem = cells[0].index if cells else 0, chapter.stem
    titles = [text for c in cells if c.kind == "markdown" for n, text in chapters.headings(c.source) if n == 3]
    wanted = max(1, len(titles)) if chapter.is_appendix else 3
    if len(titles) != wanted:
        yield at, f"Exercises: {len(titles)} headings of level 3: expected {wanted}"
    for number, title in enumerate(titles, 1):
        if number not in [exercise.number for exercise in chapter.exercises if title.startswith(f"{number} · ")]:
            yield at, f"Exercises: {title!r}: expected `{number} · title ★★ (15 min)` or `（15 分钟）`"
    for tag in ("exercise", "solution"):
        tagged = [cell for cell in chapter.code if tag in cell.tags]
        if len(tagged) != wanted:
            yield at, f"{len(tagged)} cells tagged {tag}: expected {wanted}"
        for number, cell in enumerate(tagged, 1):
            if f"check.{stem}.ex{number}(" not in cell.source:
                yield cell.index, f"{tag} {number} does not call check.{stem}.ex{number}(...)"
            if tag == "solution" and cell.options["jupyter"].get("source_hidden") is not True:
                yield cell.index, "solution is not folded: expected `jupyter: {source_hidden: true}`"


def captions(chapter: Chapter) -> Problems:
    """A figure is followed by its caption, numbered in the chapter; an image has a description."""
    shown = _stored(chapter)
    for cell, after in zip_longest(shown, shown[1:]):
        if cell.pictures and not (after and chapters.FIGURE.match(after.source)):
            yield cell.index, "a figure without caption: the next cell must start with `**Figure 1.**` / `**图 1**`"
    numbers = [figure.number for figure in chapter.figures]
    if numbers != list(range(1, len(numbers) + 1)):
        yield 0, f"figures are numbered {numbers}: expected 1, 2, 3 ..."


def short(chapter: Chapter) -> Problems:
    """A source of at most 620 lines."""
    lines = len(chapter.path.read_text(encoding="utf-8").splitlines())
    if lines > SOURCE_LINES:
        yield 0, f"{lines} lines of source: at most {SOURCE_LINES}"


def code_width(chapter: Chapter) -> Problems:
    """Code that fits its column on the site."""
    for cell in chapter.code:
        if (width := max(map(len, cell.source.splitlines()), default=0)) > CODE_WIDTH:
            yield cell.index, f"a line of code of {width} characters: at most {CODE_WIDTH}"


def printed(chapter: Chapter) -> Problems:
    """What a cell prints fits its column: lines of at most 100 characters, tables of at most 6 rows and 5 columns."""
    for cell in _stored(chapter):
        for output in cell.outputs:
            data = output.get("data", {})
            text = output.get("text", "" if "text/html" in data else data.get("text/plain", ""))
            if (width := max(map(len, text.splitlines()), default=0)) > PRINTED_WIDTH:
                yield cell.index, f"a printed line of {width} characters: at most {PRINTED_WIDTH}"
            for rows, columns in _tables(text, data.get("text/html", "")):
                if rows > TABLE[0] or columns > TABLE[1]:
                    yield cell.index, f"a printed table of {rows} rows and {columns} columns: at most {TABLE}"


def _tables(text: str, html: str) -> Iterator[tuple[int, int]]:
    """Rows (less the head) and columns of HTML tables, and of lines that two blanks divide into equally many parts."""
    for table in re.findall(r"<table.*?</table>", html, re.S):
        rows = [len(re.findall(r"<t[dh][ >]", row)) for row in re.findall(r"<tr.*?</tr>", table, re.S)]
        if rows:
            yield len(rows) - ("<thead" in table), max(rows)
    lines = [re.split(r" {2,}| \| ", line.strip()) if line.strip() else [] for line in text.splitlines()]
    for columns, group in groupby(lines, key=len):
        block = [" ".join(line) for line in group]
        if columns > 1 and len(block) > 1:
            yield len(block) - (not re.search(r"\d", block[0])), columns


def _stored(chapter: Chapter) -> list[Cell]:
    """The cells of the notebook, none where it has not been made yet (the gate says so)."""
    notebook = Chapter(chapter.path.with_suffix(".ipynb"))
    return notebook.cells if notebook.path.is_file() else []


def hidden_guess(chapter: Chapter) -> Problems:
    """What the cell of "Predict first" prints is folded, on the site by a tag, in JupyterLab by its own setting."""
    for cell in chapter.section("Predict first"):
        hidden = "hide-output" in cell.tags and cell.options["jupyter"].get("outputs_hidden") is True
        if cell.kind == "code" and not hidden:
            yield cell.index, "the guess is spoiled: expected `tags: [hide-output]`, `jupyter: {outputs_hidden: true}`"


def hints(chapter: Chapter) -> Problems:
    """Each exercise has a folded hint before its solution."""
    for exercise in chapter.exercises:
        before = list(takewhile(lambda cell: "solution" not in cell.tags, exercise.cells))
        if not exercise._replace(cells=before).hint:
            label = chapters.HINT[chapter.language == "zh"]
            yield before[0].index, f"exercise {exercise.number}: expected <details><summary>{label}</summary> in it"


def optional(chapter: Chapter) -> Problems:
    """What may be skipped is marked one way: a ★ that ends a step's heading, or a folded part called optional."""
    labels = {"en": ("Answer", "Hint", "Optional: "), "zh": ("答案", "提示", "选读：")}[chapter.language]
    tasks = {cell.index for cell in chapter.section("Exercises")}
    for cell in chapter.prose:
        for level, heading in chapters.headings(cell.source):
            if "★" in heading and cell.index not in tasks and not (level == 3 and re.fullmatch(r"[^★]+ ★", heading)):
                yield cell.index, f"{heading!r}: expected an optional step to be `### 9 · title ★`"
        if cell.source.count("<details") != len(WELL_FORMED.findall(cell.source)):
            yield cell.index, "<details>: expected <summary> on the same line, and blank lines inside"
        for label in re.findall(r"<summary>(.*?)</summary>", cell.source):
            if not (label in labels[:2] or label.startswith(labels[2])):
                yield cell.index, f"<summary>{label}: expected {labels[0]}, {labels[1]} or {labels[2]}..."


def disagreements(chapter: Chapter) -> Problems:
    """At most five rows on what public code does otherwise."""
    name = "Where public code disagrees"
    rows = len(re.findall(r"^\|", chapter.prose_of(name), re.M)) - 2
    if rows > 5:
        yield chapter.section(name)[0].index, f"{name}: {rows} rows: at most 5"


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
    elif name and file.suffix == ".md" and chapters.NAME.fullmatch(file.stem):
        yield "link to the .ipynb, which is what a reader opens"
    elif fragment:
        source = file.with_suffix(".md") if file.suffix == ".ipynb" else file
        texts = [cell.source for cell in chapters.read(source)]
        known = {anchor(heading) for text in texts for _, heading in chapters.headings(text)}
        known |= {place for text in texts for place in chapters.PLACE.findall(text)}
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


def unwritten(page: Page) -> Problems:
    """A chapter is called unwritten only until it is written."""
    written = {chapters.number(name) for name in chapters.names(page.root / "course")}
    for cell in page.prose:
        for numbers in UNWRITTEN.findall(cell.source):
            if there := written & set(re.findall(r"\d\d", "".join(numbers))):
                yield cell.index, f"chapter {', '.join(sorted(there))} is called unwritten: expected a link to it"


def needed(chapter: Chapter) -> Problems:
    """It needs what `course/chapters.csv` says; chapter 00, and what the others need in turn, it may leave out."""
    course, number = chapter.root / "course", chapter.number
    needs = prerequisites.direct(contents.plan(course)) if (course / "chapters.csv").is_file() else {}
    if number in needs:
        told, start = prerequisites.named(chapter.needs), {min(needs)}
        missing, other = set(needs[number]) - told - start, told - prerequisites.before(needs, number)
        if missing or other:
            yield 0, f"needs: names {sorted(told)}; chapters.csv: expected {sorted(missing)}, not {sorted(other)}"


# ---- all together -------------------------------------------------------------------------------------------------

EVERY_PAGE: list[Callable[[Page], Problems]] = [latex, untouched, chinese, glossary, links, absolute_paths, unwritten]
EVERY_APPENDIX: list[Callable[[Chapter], Problems]] = [
    lengths, sections, opening, exercises, captions, code_width, printed, hints, optional, needed,
]  # fmt: skip
EVERY_CHAPTER = [*EVERY_APPENDIX, special_sections, short, quiz, quiz_check, hidden_guess, disagreements]


def check(page: Page) -> list[str]:
    """Everything that is wrong with one page in one language, one line each."""
    found = [(rule.__name__, *problem) for rule in EVERY_PAGE for problem in rule(page)]
    if isinstance(page, Chapter):
        rules = EVERY_APPENDIX if page.is_appendix else EVERY_CHAPTER
        found += [(rule.__name__, *problem) for rule in rules for problem in rule(page)]
    return [f"{page.where}: cell {index}: {rule}: {problem}" for rule, index, problem in found]


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
    for path, text in contents.pages(root).items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            problems.append(
                f"{path.relative_to(root)} does not list the chapters there are: `python tools/contents.py`"
            )
    return problems


def all_pages(root: Path) -> list[Page]:
    course = root / "course"
    kinds: dict[type[Page], list[str]] = {Chapter: chapters.names(course), Page: chapters.pages(course)}
    found = [kind(course / lang / f"{n}.md") for kind, stems in kinds.items() for n in stems for lang in ("en", "zh")]
    return [page for page in found if page.path.is_file()]


@chapters.reports
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Lints of the course.")
    parser.add_argument("names", nargs="*", help="12_arcface or 12, or a page; all where none is named")
    parser.add_argument("--fix-urls", action="store_true", help="rewrite the links to this repository")
    args = parser.parse_args(arguments)
    if args.fix_urls:
        print("\n".join(str(path.relative_to(ROOT)) for path in fix_urls(ROOT)) or "nothing to change")
        return 0
    every = all_pages(ROOT)
    names = chapters.chosen(args.names, list(dict.fromkeys(page.name for page in every)))
    pages = [page for page in every if page.name in names]
    problems = [problem for page in pages for problem in check(page)] + check_project(ROOT)
    print("\n".join(problems) or f"{len(pages)} pages are clean")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
