"""Lints of prose: formulas that GitHub renders, and Chinese as it is typeset. `tools/lint.py` runs them.

Every rule is a generator of (cell index, message) over the cells of one page in one language.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

from markdown_it import MarkdownIt

from tools import chapters
from tools.chapters import Cell, Page

Problems = Iterator[tuple[int, str]]

FORBIDDEN_MACROS = re.compile(
    r"\\(?:label|ref|eqref|tag|(?:re)?newcommand|def|require|operatorname|DeclareMathOperator|mbox|[hv]?phantom"
    r"|href|class|cssId|style|unicode|bbox)(?![A-Za-z])"
)
HAN = r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
WIDE = "，。；：？！、（）《》“”"
CODE, MATH = "\ue000", "\ue001"  # stand-ins for a code span and for an inline formula
WORD = rf"[A-Za-z0-9{CODE}{MATH}]"
CHINESE = {
    "half-width punctuation in a Chinese sentence": rf"{HAN} ?[,;:?!]|{HAN}\.(?=\s|$)|{WORD}[,;:?!] ?{HAN}",
    "half-width parenthesis next to Han: use （ ）": rf"{HAN} ?\(|\) ?{HAN}",
    "straight quote next to Han: use “ ”": rf"{HAN}[\"']|[\"']{HAN}",
    "three dots next to Han: use ……": rf"{HAN} ?\.{{3}}|\.{{3}} ?{HAN}",
    "no blank between Han and a word, number, code or formula": rf"{HAN}{WORD}|{WORD}{HAN}",
    "two Han characters separated by a blank": rf"{HAN} +{HAN}",
    "blank next to full-width punctuation": rf"(?:{HAN}|{WORD}) +[{WIDE}]|[{WIDE}] +(?:{HAN}|[A-Za-z0-9{CODE}])",
}
COMMONMARK = MarkdownIt("commonmark").enable("table")


def words_only(source: str) -> str:
    """Prose for rules on words: no code, formulas, link targets, HTML or emphasis marks."""
    text = chapters.DISPLAY.sub("\n", chapters.without_code(source))
    text = chapters.LINK.sub(r"\1", chapters.IMAGE.sub(r"\1", chapters.INLINE.sub(MATH, text)))
    return re.sub(r"\*+", "", re.sub(r"<[^>\n]*>|https?://\S+", "\n", text))


def count_words(cells: list[Cell]) -> int:
    text = "\n".join(words_only(c.source) for c in cells if c.kind == "markdown")
    text = re.sub(r"^#+ .*$", "", text, flags=re.M)
    return len(re.findall(rf"{HAN}|[A-Za-z0-9][\w'’.-]*", text))


# ---- Markdown that GitHub renders ---------------------------------------------------------------------------------


def latex(page: Page) -> Problems:
    """Only what GitHub's MathJax accepts, delimited as GitHub wants it."""
    for cell in page.prose:
        text = chapters.without_code(cell.source)
        display, inline = chapters.formulas(cell.source)
        for formula in display + inline:
            if match := FORBIDDEN_MACROS.search(formula):
                yield cell.index, f"{match[0]} does not render on GitHub: {formula.strip()[:60]!r}"
            if re.search(HAN, re.sub(r"\\text\{[^{}]*\}", "", formula)):
                yield cell.index, f"Han outside \\text{{}} in a formula: {formula.strip()[:60]!r}"
        for line in text.splitlines():
            if "$$" in line and line.strip() != "$$":
                yield cell.index, f"$$ must stand on a line of its own: {line.strip()[:60]!r}"
        if text.count("$$") % 2:
            yield cell.index, "an unpaired $$"
        rest = chapters.DISPLAY.sub("\n", text)
        for match in chapters.INLINE.finditer(rest):
            formula, before, after = match[1], rest[match.start() - 1 : match.start()], rest[match.end() :][:1]
            if before.strip():
                yield cell.index, f"{before + match[0]!r}: GitHub wants a blank or a new line before the opening $"
            if after.isalnum():
                yield cell.index, f"{match[0] + after!r}: GitHub wants a blank or punctuation after the closing $"
            if formula != formula.strip():
                yield cell.index, f"{match[0]!r}: no blank inside the dollars"
        if re.search(r"(?<!\\)\$", chapters.INLINE.sub("", rest).replace("$$", "")):
            yield cell.index, "an unpaired $, or an inline formula over the end of a line"


def untouched(page: Page) -> Problems:
    """Markdown runs before MathJax on GitHub: no formula may be changed or torn by it, no bold may stay raw."""
    for cell in page.prose:
        inline_tokens = [token for token in COMMONMARK.parse(cell.source) if token.type == "inline"]
        raw = ["\n".join(line.strip() for line in token.content.splitlines()) for token in inline_tokens]
        seen = [
            "".join(child.content if child.type == "text" else "\0" for child in token.children or [])
            for token in inline_tokens
        ]
        display, inline = chapters.formulas(cell.source)
        for formula in dict.fromkeys(inline):
            if sum(text.count(f"${formula}$") for text in seen) < inline.count(formula):
                yield cell.index, f"Markdown changes the formula ${formula}$ (\\{{ \\, \\| }}_ * <x | in a table ...?)"
        for formula in display:
            body = "\n".join(line.strip() for line in f"$${formula}$$".splitlines())
            if not any(body in text for text in raw):
                yield cell.index, f"Markdown tears the display formula {formula.strip()[:50]!r} (a blank line, a list?)"
        prose = [chapters.INLINE.sub("", text) for text in seen]
        if any("**" in text for text in prose):
            shown = next(text for text in prose if "**" in text)
            yield cell.index, f"raw asterisks: bold may not close between punctuation and a letter: {shown[:60]!r}"


# ---- words --------------------------------------------------------------------------------------------------------


def chinese(page: Page) -> Problems:
    """Full-width punctuation in Chinese sentences; one blank between Han and anything Latin."""
    for cell in page.prose if page.language == "zh" else []:
        for line in words_only(cell.source).splitlines():
            for rule, pattern in CHINESE.items():
                if match := re.search(pattern, line):
                    near = line[max(0, match.start() - 8) : match.end() + 8]
                    yield cell.index, f"{rule}: {near.replace(CODE, '`…`').replace(MATH, '$…$')!r}"


def glossary(page: Page) -> Problems:
    """Chinese pages use the glossary's terms."""
    if page.language != "zh":
        return
    with (page.root / "course" / "glossary.csv").open(encoding="utf-8", newline="") as file:
        terms = [(row["zh"], wrong) for row in csv.DictReader(file) for wrong in row["zh_avoid"].split("|") if wrong]
    for cell in page.prose:
        text = words_only(cell.source)
        for right, wrong in terms:
            if wrong in text:
                yield cell.index, f"{wrong!r}: the glossary has {right!r}"
