"""Lecture slides of each chapter in both languages, from the chapter's own cells; they work without a network.

    python tools/slides.py [12_arcface | 12 ...] [--out _slides] [--only en]     # all chapters where none is named

There is no second source. Headings give the slides: a section, a step of the derivation, a trap, a question of the
quiz, a figure is one slide (or two). Of a paragraph the slide keeps the beginning, what is bold, and the sentence that
leads to a formula; the whole of it stands in the speaker notes (key S). Formulas, lists, tables, figures and
captions come along, code only where the chapter writes the loss from scratch. Answers of the quiz and cells tagged
`solution` stay out, and so does a cell tagged `no-slide`. What is too much for one slide, `course/slides/deck.js`
carries over to the next as the deck opens, so that nothing is cut off.
"""

from __future__ import annotations

import argparse
import base64
import html
import importlib.util
import mimetypes
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # also when started as a script

from tools import chapters  # noqa: E402
from tools.chapters import HEADINGS, Cell, Failed, chosen  # noqa: E402

OUTPUT_LINES, BESIDE_FIGURE = 12, 2  # what is printed and longer is shown in the notebook
SLIDE, PARAGRAPH, CAPTION, TITLE = (
    800,
    (200, 420),
    230,
    90,
)  # characters there is room for; a Han character counts twice
STYLE = HtmlFormatter(style="a11y-high-contrast-light", nowrap=True)
WORDS = {
    "en": {"chapter": "Chapter {}", "verdict": "The verdict", "licence": "text and figures CC BY 4.0"},
    "zh": {"chapter": "第 {} 章", "verdict": "检验结果", "licence": "文字与图：CC BY 4.0"},
}
# Sections whose text is written for a slide already, or is a task that must be read whole.
WHOLE = {
    "One question",
    "You will be able to",
    "Predict first",
    "Paper card",
    "Where public code disagrees",
    "Exercises",
    "Summary",
    "Further reading",
}
CODE_SHOWN = {"From scratch"}
LEADS = {"From scratch", "Numerical traps", "Experiment", "Ablation"}  # `**Trap 1: ...**` begins a slide there
OUTPUT_SHOWN = {"Predict first", "Against `facelearn`", "Numerical traps", "Experiment", "Ablation"}


@dataclass
class Paragraph:
    """Prose to be condensed; `leads_on`: a formula, list or table follows."""

    text: str
    leads_on: bool = False


@dataclass
class Slide:
    """One slide: where it belongs, its title, what it shows (prose, or HTML), what the lecturer reads (Markdown)."""

    section: str
    title: str
    body: list[str | Paragraph] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    kind: str = "text"

    def show(self) -> str:
        """HTML. The less there is on the slide, the more it keeps of each paragraph."""
        least, most = PARAGRAPH
        room = min(most, max(least, SLIDE // max(1, len(self.body))))
        return "".join(
            to_html(condense(item.text, leads_on=item.leads_on, room=room)) if isinstance(item, Paragraph) else item
            for item in self.body
        )


# ---- prose: sentences and what is kept of them ----------------------------------------------------------------------

ATOM = re.compile(r"(?<![\\$])\$[^$\n]+\$|(`+).+?\1|\[[^\[\]]*\]\([^)\s]+\)")
FIGURE = re.compile(r"\*\*(?:Figure|图) \d+")
ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|et al|etc|vs|cf|Fig|Eq|No)\.$")
LEAD = re.compile(r"[-*]?\s*\*\*([^*]+?)[.。：:]?\*\*[：:.。]?\s*")
END = re.compile(r"(?<=[.!?])[\"”’)*_]*\s+(?=[A-Z*$\"“‘(\[`\ue000\d])|(?<=[。！？])[”’）]*(?=[^”’）\s])")


def sentences(text: str) -> list[str]:
    """The sentences of a paragraph, formulas, code and links unbroken."""
    atoms: list[str] = []

    def hide(match: re.Match[str]) -> str:
        atoms.append(match[0])
        return f"\ue000{len(atoms) - 1}\ue001"

    masked, parts, start = ATOM.sub(hide, " ".join(text.split())), [], 0
    for match in END.finditer(masked):
        piece = masked[start : match.end()].strip()
        if not ABBREVIATION.search(piece) and not LEAD.fullmatch(piece):  # `**Trap 1.**` alone is no sentence
            parts.append(piece)
            start = match.end()
    parts.append(masked[start:].strip())
    return [re.sub(r"\ue000(\d+)\ue001", lambda m: atoms[int(m[1])], part) for part in parts if part]


def width(text: str) -> int:
    """Room that a text takes, in Latin characters; a formula is shorter than its source."""
    text = re.sub(r"\\[a-zA-Z]+|[{}$*\\]", "x", text)
    return len(text) + len(re.findall(r"[\u3000-\u9fff\uff00-\uffef]", text))


def beginning(parts: list[str], room: int) -> int:
    """How many sentences fit, at least one."""
    used, count = 0, 0
    for part in parts:
        used += width(part)
        if count and used > room:
            break
        count += 1
    return count


def join(parts: list[str]) -> str:
    return "".join(part if part[-1:] > "\u3000" else f"{part} " for part in parts).strip()


def condense(text: str, *, leads_on: bool = False, room: int = PARAGRAPH[0]) -> str:
    """What a slide keeps of a paragraph: its beginning, what is bold, and the last sentence where a formula follows."""
    parts = sentences(text)
    first, last = beginning(parts, room), len(parts) - 1
    leads_on = leads_on or parts[last][-1] in ":："
    return join([s for i, s in enumerate(parts) if i < first or "**" in s or (i == last and leads_on)])


def blocks(source: str) -> list[str]:
    """The blocks of a Markdown cell; a display formula is one of its own, folded answers are none."""
    source = re.sub(r"<details>.*?</details>", "", source, flags=re.S)
    source = re.sub(r"^(\$\$.*?\$\$)[ \t]*$", r"\n\1\n", source, flags=re.M | re.S)
    return [block.strip("\n") for block in re.split(r"\n\s*\n", source) if block.strip()]


def is_text(block: str) -> bool:
    return not re.match(r"#|\||\$\$|!\[|<|```|\s*(?:[-*]|\d+\.) ", block)


def announces(block: str) -> bool:
    return is_text(block) and block[-1:] in (":", "：")


def lead(text: str) -> tuple[str, str] | None:
    """The bold beginning of a paragraph as a title, and the rest: `**Trap 1.** It fails.`, `**At** $x$. It fails.`"""
    if match := re.match(r"\*\*([^*]+?)(?:[.。：:?？]\*\*|\*\*[：:.。])\s*", text):
        title = match[1] + ("?" if "?**" in match[0] else "？" if "？**" in match[0] else "")
        return (title, text[match.end() :]) if width(title) <= TITLE else None
    first, *rest = sentences(text)
    if first.startswith("**") and rest and width(first) <= TITLE:
        return first.replace("**", "").rstrip(".。"), join(rest)
    return None


def is_list(block: str) -> bool:
    return bool(re.match(r"(?:[-*]|\d+\.) ", block))


def short_list(block: str) -> str:
    """A list with each item condensed."""
    items = re.split(r"\n(?=(?:[-*]|\d+\.) )", block)
    return "\n".join(condense(item) for item in items)


# ---- HTML -----------------------------------------------------------------------------------------------------------


def _math(content: str, options: dict[str, Any]) -> str:
    text = html.escape(content.strip())
    return f"\\[{text}\\]" if options["display_mode"] else f"\\({text}\\)"


MARKDOWN = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin, renderer=_math, double_inline=True)


def to_html(markdown: str) -> str:
    """HTML of a block; links inside the course lead nowhere from here and become text."""
    text = chapters.LINK.sub(lambda m: m[0] if re.match(r"https?:", m[2]) else m[1], markdown)
    return re.sub(
        r"(\\\(.*?\\\))([，。；：！？、）,.;:!?)]+)", r"<span class='keep'>\1&#8288;\2</span>", MARKDOWN.render(text)
    )


def code_html(source: str) -> str:
    return f'<pre class="code"><code>{highlight(source.strip(), PythonLexer(), STYLE)}</code></pre>'


def data_uri(kind: str, content: str | bytes) -> str:
    if isinstance(content, str):
        content = content.encode() if kind == "image/svg+xml" else base64.b64decode(content)
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def picture(uri: str, caption: str, alt: str, printed: str) -> str:
    text = f"<figcaption>{to_html(caption)}</figcaption>" if caption else ""
    return f'<figure><img src="{uri}" alt="{html.escape(alt)}">{printed}{text}</figure>'


# ---- cells to slides ------------------------------------------------------------------------------------------------


class Deck:
    """Builds the slides of one chapter in one language, cell by cell."""

    def __init__(self, name: str, language: str, course: Path) -> None:
        self.name, self.language, self.course = name, language, course
        self.words = WORDS[language]
        self.canonical = {heading[language == "zh"]: heading[0] for heading in HEADINGS.items()}
        self.slides: list[Slide] = []
        self.section = self.heading = self.title = ""  # English name of the section; its heading; that of the step
        cells = chapters.read(course / language / f"{name}.ipynb")
        for cell, following in zip_longest(cells, cells[1:]):
            if {"solution", "no-slide", "remove-cell"} & set(cell.tags):
                continue
            if cell.kind == "markdown":
                self.prose(cell.source)
            elif cell.kind == "code" and self.section:
                self.code(cell, following)
        self.slides = [slide for slide in self.slides if slide.body or slide.kind == "title"]

    @property
    def now(self) -> Slide:
        return self.slides[-1]

    def new(self, title: str, kind: str = "text") -> Slide:
        self.slides.append(Slide(self.heading, title, kind=kind))
        return self.now

    # -- prose

    def prose(self, source: str) -> None:
        parts = blocks(source)  # a caption stands on the slide of its figure
        for before, block, after in zip(["", *parts], parts, [*parts[1:], ""], strict=False):
            if match := re.match(r"(#+)\s+(.+)", block):
                self.begin(len(match[1]), match[2].strip(), block.partition("\n")[2].strip())
            elif image := chapters.IMAGE.match(block):
                self.image(image[1], image[2], after if FIGURE.match(after) else before if announces(before) else "")
            elif self.section and not FIGURE.match(block) and not (announces(block) and after.startswith("![")):
                self.block(block, leads_on=bool(after) and not is_text(after) and not after.startswith("#"))

    def begin(self, level: int, heading: str, rest: str) -> None:
        """A heading begins a slide; the chapter's title its own."""
        if level == 1:
            self.heading = heading
            self.slides.append(Slide("", heading, kind="title"))
            return
        if level == 2:
            self.heading, self.section = heading, self.canonical.get(heading, heading)
        self.title = heading
        self.new(heading)
        if rest:
            self.block(rest, leads_on=False)

    def block(self, block: str, *, leads_on: bool) -> None:
        if self.section == "Quiz":
            self.question(block)
        elif block.startswith("<"):
            return
        elif self.section in WHOLE or not (is_text(block) or is_list(block)):
            self.now.body.append(to_html(block))
        elif is_list(block):
            self.now.body.append(to_html(short_list(block)))
            self.now.notes.append(block)
        else:
            self.paragraph(block, leads_on=leads_on)

    def paragraph(self, text: str, *, leads_on: bool) -> None:
        """`**Trap 1.** ...` begins a slide of that title; several such leads in one paragraph become a list."""
        parts = [
            part.strip() for part in re.split(r"(?:^|(?<=[.。!！?？:：])\s*)(?=\*\*[^*]+\*\*)", text) if part.strip()
        ]
        if self.section in LEADS and len(parts) > 1 and all(LEAD.match(part) for part in parts):
            self.now.body.append(to_html("\n".join(f"- {condense(part)}" for part in parts)))
        elif self.section in LEADS and (found := lead(text)):
            self.new(found[0], kind="lead").body.append(Paragraph(found[1], leads_on))
        else:
            self.now.body.append(Paragraph(text, leads_on))
        self.now.notes.append(text)

    def question(self, block: str) -> None:
        """A question of the quiz and its choices, on a slide of its own."""
        if match := re.match(r"\*\*(\d+)\.\*\*\s*", block):
            self.new(f"{self.heading} {match[1]}", kind="quiz")
            block = block[match.end() :]
        self.now.body.append(to_html(block))

    def image(self, alt: str, file: str, caption: str) -> None:
        path = (self.course / self.language / file).resolve()
        kind = mimetypes.guess_type(path.name)[0] or "image/png"
        self.figure(data_uri(kind, path.read_bytes()), caption, alt)

    # -- code

    def code(self, cell: Cell, following: Cell | None) -> None:
        """What a code cell shows: source, print-out, verdict, figures."""
        if "exercise" in cell.tags or self.section in CODE_SHOWN:
            source = re.sub(r"\n+check\.\w+\.ex\d.*", "", cell.source, flags=re.S) if cell.tags else cell.source
            if not any(self.pictures(cell)):
                self.now.body.append(code_html(source))
        printed = "".join(
            "".join(out.get("text", "")) for out in cell.outputs if out["output_type"] == "stream"
        ).rstrip()
        if "claim holds" in printed:
            self.new(self.words["verdict"], kind="verdict")
        if self.section == "Predict first":  # the class guesses before it sees what comes out
            printed = printed if "\n" in printed else ""
            self.new(self.title)
        lines = printed.count("\n") + 1 if printed and self.section in OUTPUT_SHOWN else 0
        caption = following.source.partition("\n\n")[0] if following and following.kind == "markdown" else ""
        beside = any(self.pictures(cell)) and lines <= BESIDE_FIGURE  # a line or two go under the figure
        shown = f'<pre class="output"><samp>{html.escape(printed)}</samp></pre>' if lines else ""
        if lines > OUTPUT_LINES:
            self.now.notes.append(f"    {printed}".replace("\n", "\n    "))
        elif shown and not beside:
            self.now.body.append(shown)
        for uri in self.pictures(cell):
            self.figure(uri, caption, caption, shown if beside else "")
        if self.now.kind != "text" or self.now.title != self.title:  # what comes next is another matter
            self.new(self.title)

    def pictures(self, cell: Cell) -> Iterator[str]:
        for output in cell.outputs:
            data = output.get("data", {})
            for kind in ("image/svg+xml", "image/gif", "image/png"):
                if kind in data:
                    content = data[kind]
                    yield data_uri(kind, content if isinstance(content, str) else "".join(content))
                    break

    def figure(self, uri: str, caption: str, alt: str, printed: str = "") -> None:
        """A figure has a slide of its own, with as much of its caption as there is room for."""
        title = self.now.title
        slide = self.new(title, kind="figure")
        parts = sentences(caption)
        slide.body.append(picture(uri, join(parts[: beginning(parts, CAPTION)]), re.sub(r"[*$\\`]", "", alt), printed))
        if caption:
            slide.notes.append(caption)
        self.new(title)  # what comes next does not belong under the figure; dropped where nothing does

    # -- the whole

    def html(self) -> str:
        parts = [self._title(self.slides[0]), *(self._slide(slide) for slide in self.slides[1:])]
        page = (ROOT / "course" / "slides" / "deck.html").read_text(encoding="utf-8")
        values = {"language": self.language, "title": html.escape(self.slides[0].title), "slides": "\n".join(parts)}
        return re.sub(r"\{\{ (\w+) \}\}", lambda match: values[match[1]], page)

    def _title(self, slide: Slide) -> str:
        label = self.words["chapter"].format(self.name[:2])
        return (
            f'<section><div class="page title"><p class="section">facelearn · {label}</p>'
            f"<h1>{to_html(slide.title)[3:-5]}</h1><p class='licence'>{self.words['licence']}</p></div></section>"
        )

    def _slide(self, slide: Slide) -> str:
        title = to_html(slide.title.removesuffix("："))[3:-5]
        section = to_html(slide.section)[3:-5] if slide.section != slide.title else "&nbsp;"
        notes = html.escape("\n\n".join(slide.notes))
        return (
            f'<section data-kind="{slide.kind}"><div class="page {slide.kind}"><header><p class="section">{section}</p>'
            f"<h2>{title}</h2></header><div class='body'>{slide.show()}</div></div>"
            + (f'<aside class="notes mathjax_ignore"><pre>{notes}</pre></aside>' if notes else "")
            + "</section>"
        )


# ---- files ----------------------------------------------------------------------------------------------------------


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise Failed(f"{name.replace('_', '-')} is not installed: `make setup` installs it")
    return Path(spec.origin).parent


def library(folder: Path) -> None:
    """reveal.js and MathJax from the installed packages: a deck loads nothing from another place."""
    folder.mkdir(parents=True, exist_ok=True)
    reveal = _package("sphinx_revealjs") / "_static" / "revealjs"
    files = [reveal / "dist" / "reveal.js", reveal / "dist" / "reveal.css", reveal / "plugin" / "notes" / "notes.js"]
    files += [_package("sphinx-mathjax-offline") / "static" / "mathjax" / "tex-svg.js", ROOT / "course/slides/deck.js"]
    for file in files:
        shutil.copy2(file, folder / file.name)
    shutil.copy2(reveal / "LICENSE", folder / "LICENSE.reveal.js")
    style = (ROOT / "course" / "slides" / "deck.css").read_text(encoding="utf-8")
    chapters.write_whole(folder / "deck.css", style + STYLE.get_style_defs(".code") + "\n")


def index(out: Path) -> str:
    """Links to the decks that are there."""
    decks = sorted(path.relative_to(out).as_posix() for path in out.glob("[ez][nh]/*.html"))
    links = "".join(f'<li><a href="{deck}">{deck.removesuffix(".html")}</a></li>' for deck in decks)
    return f'<!doctype html><meta charset="utf-8"><title>facelearn: slides</title><ul>{links}</ul>\n'


def build(names: list[str], course: Path, out: Path, languages: tuple[str, ...] = chapters.LANGUAGES) -> list[Path]:
    """Write the decks of these chapters and what they need; return the decks."""
    library(out / "lib")
    decks = []
    for language in languages:
        (out / language).mkdir(exist_ok=True)
        for name in names:
            decks.append(out / language / f"{name}.html")
            chapters.write_whole(decks[-1], Deck(name, language, course).html())
    chapters.write_whole(out / "index.html", index(out))
    return decks


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Lecture slides from the chapters, in both languages.")
    parser.add_argument("names", nargs="*", help="12_arcface or 12; all chapters where none is named")
    parser.add_argument("--out", type=Path, default=ROOT / "_slides")
    parser.add_argument("--only", choices=chapters.LANGUAGES, help="one language alone")
    options = parser.parse_args(arguments)
    course = ROOT / "course"
    try:
        names = chosen(options.names, chapters.names(course))
        decks = build(names, course, options.out, (options.only,) if options.only else chapters.LANGUAGES)
    except (Failed, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(map(str, decks)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
