"""Lecture slides of a chapter in both languages, as its author wrote them; they work without a network.

    python tools/slides.py [12_arcface | 12 ...] [--out _slides] [--only en]     # without a name all

`course/slides/{en,zh}/12_arcface.md` holds the deck: `## heading`, a line or two of text, what to show of the chapter,
and after a line `Note:` what the lecturer says. A line `show: ...` brings in one thing from the executed notebook:

    show: figure 3                  the picture above the caption "Figure 3"
    show: figure 2, 5-48%           a part of it, from 5 to 48 % of its height (SVG only)
    show: picture 12_arcs.gif       a file of course/assets
    show: formula 4.2               the second display formula of step 4; `formula 4` where there is only one
    show: table 9                   the table of step 9; of a section by its English name: `table Paper card`
    show: code my_arcface           a function or class that the chapter defines
    show: output Ablation 1         what the first code cell of a section prints; `Ablation 1.2` the second table of it
    show: question 2                a question of the quiz with its choices, without the answer

Sphinx with sphinx-revealjs makes the HTML.
"""

from __future__ import annotations

import argparse
import ast
import base64
import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from tools import chapters, prose
from tools.chapters import HEADINGS, Cell, Chapter, Failed, Page

ROOT = Path(__file__).resolve().parents[1]
LEAST, MOST = 12, 20  # slides of a deck, the title not counted
SHOW = re.compile(r"^show:[ \t]*(.*?)[ \t]*$", re.M)
STYLE = HtmlFormatter(style="a11y-high-contrast-light", nowrap=True, noclasses=True)
LICENCE = {"en": "text and figures CC BY 4.0", "zh": "文字与图：CC BY 4.0"}


class Slide(NamedTuple):
    heading: str
    body: str  # Markdown, with lines `show: ...`
    notes: str

    @property
    def shows(self) -> list[str]:
        return SHOW.findall(self.body)


@dataclass(frozen=True)
class Deck(Page):
    """A deck in one language as it is written; `path` is `course/slides/LANGUAGE/NN_stem.md`."""

    @property
    def root(self) -> Path:
        return self.path.parents[3]

    @cached_property
    def slides(self) -> list[Slide]:
        found = []
        for part in re.split(r"^## +", self.path.read_text(encoding="utf-8"), flags=re.M)[1:]:
            heading, _, rest = part.partition("\n")
            body, _, notes = rest.partition("\nNote:")
            found.append(Slide(heading.strip(), body.strip(), notes.strip()))
        return found

    def markdown(self, folder: Path) -> str:
        """The deck for Sphinx, with what is shown in place of the references; pictures are written into `folder`."""
        chapter = Chapter(self.root / "course" / self.language / self.path.name).executed
        parts = [f"# {chapter.title}\n\nfacelearn · {self.number} · {LICENCE[self.language]}"]
        for number, slide in enumerate(self.slides, 1):
            try:
                body = SHOW.sub(lambda match: f"\n{shown(chapter, match[1], folder)}\n", slide.body)
            except Failed as error:
                where = f"slides/{self.where}, slide {number} ({slide.heading!r})"
                raise Failed(f"{where}: shows {slide.shows}: {error}") from None
            parts.append(f'## {slide.heading}\n\n{body}\n\n<aside class="notes">\n\n{slide.notes}\n\n</aside>')
        return "\n\n".join(parts) + "\n"


def problems(name: str, course: Path) -> Iterator[str]:
    """Where the decks of a chapter are not one lecture in two languages, one line each."""
    en, zh = (Deck(course / "slides" / language / f"{name}.md") for language in chapters.LANGUAGES)
    if missing := [f"slides/{deck.where}" for deck in (en, zh) if not deck.path.is_file()]:
        yield from (f"{file} is missing" for file in missing)
        return
    if len(en.slides) != len(zh.slides) or not LEAST <= len(en.slides) <= MOST:
        counts = f"en has {len(en.slides)} slides, zh has {len(zh.slides)}"
        yield f"{counts}: expected as many in both, {LEAST} to {MOST}"
    for i, (a, b) in enumerate(zip(en.slides, zh.slides, strict=False), 1):
        where = f"slide {i} ({a.heading!r}, {b.heading!r})"
        if a.shows != b.shows:
            yield f"{where}: en shows {a.shows}, zh shows {b.shows}"
        if sorted(chapters.formulas(a.body)[1]) != sorted(chapters.formulas(b.body)[1]):
            yield f"{where}: the formulas differ"
        yield from (f"{where}: {language} has no notes" for language, s in (("en", a), ("zh", b)) if not s.notes)
    for deck in (en, zh):
        for rule in (prose.latex, prose.untouched, prose.chinese, prose.glossary):
            yield from (f"slides/{deck.where}: {message}" for _, message in rule(deck))
        with tempfile.TemporaryDirectory() as folder:
            try:
                deck.markdown(Path(folder))
            except Failed as error:
                yield str(error)


# ---- what a reference shows -----------------------------------------------------------------------------------------


def shown(chapter: Chapter, reference: str, folder: Path) -> str:
    """Markdown of what is referred to; a picture is written into `folder`."""
    kind, _, rest = reference.partition(" ")
    what, _, part = rest.partition(", ")
    texts = {"formula": formula, "table": table, "code": code, "output": output, "question": question}
    pictures = {"figure": figure, "picture": asset}
    if kind in pictures and what:
        suffix, content, alt = pictures[kind](chapter, what)
        file = re.sub(r"\W+", "_", f"{chapter.name} {reference}") + suffix
        (folder / file).write_bytes(slice_of(content, part) if part else content)
        alt = " ".join(re.sub(r"[*`$]", "", alt).split())
        return f"```{{image}} {file}\n:alt: {alt}\n```"
    if kind not in texts or not rest:
        raise Failed(f"expected {', '.join(pictures | texts)}, and which")
    return texts[kind](chapter, rest)


def figure(chapter: Chapter, number: str) -> tuple[str, bytes, str]:
    """Suffix, bytes and description of a numbered figure: from an output, or of an image above the caption."""
    found = next((one for one in chapter.figures if str(one.number) == number), None)
    if found is None:
        raise Failed(f"no figure {number}; there are {', '.join(str(one.number) for one in chapter.figures) or 'none'}")
    for printed in found.above.outputs if found.above else []:
        if "image/png" in printed.get("data", {}):
            return ".png", base64.b64decode(printed["data"]["image/png"]), found.caption
    if not (image := chapters.IMAGE.search(found.cell.source)):
        raise Failed(f"figure {number} has neither a picture in the output above its caption nor an image in its cell")
    return asset(chapter, Path(image[2]).name)


def asset(chapter: Chapter, name: str) -> tuple[str, bytes, str]:
    path = chapter.root / "course" / "assets" / name
    if not path.is_file():
        raise Failed(f"no file course/assets/{name}")
    images = (image for cell in chapter.prose for image in chapters.IMAGE.findall(cell.source))
    return path.suffix, path.read_bytes(), next((alt for alt, file in images if file.endswith(f"/{name}")), name)


def slice_of(svg: bytes, part: str) -> bytes:
    """A picture between two shares of its height, `5-48%`."""
    text, shares = svg.decode(errors="ignore"), re.fullmatch(r"(\d+)-(\d+)%", part)
    size = re.search(r'width="[\d.]+\w*" height="[\d.]+\w*" viewBox="([^"]+)"', text)
    if not size or not shares:
        raise Failed(f"{part!r}: only of an SVG a part can be shown, such as 5-48%")
    x, y, width, height = map(float, size[1].split())
    top, bottom = (y + int(share) / 100 * height for share in shares.groups())
    fresh = f'width="{width}" height="{bottom - top}" viewBox="{x} {top} {width} {bottom - top}"'
    return text.replace(size[0], fresh, 1).encode()


def step(chapter: Chapter, number: str) -> str:
    """The text of a step of the derivation."""
    parts = re.split(r"^### (\d+) · ", chapter.prose_of("Derivation"), flags=re.M)
    steps = dict(zip(parts[1::2], parts[2::2], strict=True))
    if number not in steps:
        raise Failed(f"no step {number}; there are {', '.join(steps) or 'none'}")
    return steps[number]


def section(chapter: Chapter, name: str) -> list[Cell]:
    if name not in HEADINGS:
        raise Failed(f"no section {name!r}; expected one of {', '.join(HEADINGS)}")
    return [cell for cell in chapter.section(name) if "solution" not in cell.tags]


def formula(chapter: Chapter, number: str) -> str:
    at, _, which = number.partition(".")
    found = chapters.formulas(step(chapter, at))[0]
    if (not which and len(found) > 1) or which not in ("", *map(str, range(1, len(found) + 1))):
        raise Failed(f"step {at} has {len(found)} display formulas: formula {at}.1 and so on")
    return f"$$\n{found[int(which or 1) - 1].strip()}\n$$"


def table(chapter: Chapter, place: str) -> str:
    text = step(chapter, place) if place.isdigit() else "\n\n".join(cell.source for cell in section(chapter, place))
    found = next((block for block in text.split("\n\n") if block.startswith("|")), None)
    if found is None:
        raise Failed(f"no table in {place!r}")
    return chapters.LINK.sub(r"\1", found)  # its links lead into the course, nowhere from here


def code(chapter: Chapter, name: str) -> str:
    """A function or class that the chapter's own cells define."""
    for cell in chapter.code:
        for node in ast.parse(cell.source).body if "solution" not in cell.tags else []:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
                source = ast.get_source_segment(cell.source, node) or ""
                return verbatim("code", highlight(source, PythonLexer(), STYLE), source)
    raise Failed(f"no function or class {name!r} in the chapter's own code")


def output(chapter: Chapter, place: str) -> str:
    """What the n-th code cell of a section prints: lines, tables of `lesson.table`; `n.k` for the k-th of them."""
    name, _, number = place.rpartition(" ")
    number, _, which = number.partition(".")
    cells = [cell for cell in section(chapter, name) if cell.kind == "code"]
    if number not in map(str, range(1, len(cells) + 1)):
        raise Failed(f"the section has {len(cells)} code cells: output {name} 1 and so on")
    found = []
    for printed in cells[int(number) - 1].outputs:
        text = printed.get("text", "").rstrip()
        if text or "text/markdown" in printed.get("data", {}):
            found.append(verbatim("output", html.escape(text), text) if text else printed["data"]["text/markdown"])
    if which not in ("", *map(str, range(1, len(found) + 1))) or not found:
        raise Failed(f"this cell prints {len(found)} texts and tables")
    return found[int(which) - 1] if which else "\n\n".join(found)


def question(chapter: Chapter, number: str) -> str:
    """A question of the quiz with its choices, without the answer."""
    found = next((one for one in chapter.questions if str(one.number) == number), None)
    if found is None:
        raise Failed(
            f"no question {number}; there are {', '.join(str(one.number) for one in chapter.questions) or 'none'}"
        )
    return "\n".join([f"{found.text}\n", *(f"- **{letter}.** {text}" for letter, text in found.choices.items())])


def verbatim(kind: str, content: str, text: str) -> str:
    """Code or print-out, as large as its longest line allows on a slide of 1280 pixels; no line is empty in HTML."""
    size = min(24, int(1130 / 0.61 / max(map(len, text.splitlines()))))
    content = "\n".join(line or "&#8203;" for line in content.rstrip().split("\n"))
    return f'<pre class="{kind}" style="font-size: {size}px">\n{content}\n</pre>'


# ---- building -------------------------------------------------------------------------------------------------------


def build(names: list[str], course: Path, out: Path, languages: tuple[str, ...] = chapters.LANGUAGES) -> list[Path]:
    """Write the decks of these chapters into `out/LANGUAGE`; return their files."""
    for language in languages:
        source = out / "source" / language
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir(parents=True)
        for name in names:
            text = Deck(course / "slides" / language / f"{name}.md").markdown(source)
            (source / f"{name}.md").write_text(text, encoding="utf-8")
        links = "".join(f"- [{name}]({name}.md)\n" for name in names)
        (source / "index.md").write_text(f"# facelearn\n\n{links}", encoding="utf-8")
        command: list[str | Path] = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-E", "-b", "revealjs"]
        command += ["-c", ROOT / "course" / "slides", "-d", out / "source" / f"doctrees_{language}"]
        command += [source, out / language]
        if subprocess.run(command, env=os.environ | {"COURSE_LANG": language}).returncode:
            raise Failed("slides: Sphinx found something wrong, see above")
    return [out / language / f"{name}.html" for language in languages for name in names]


@chapters.reports
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Lecture slides of the chapters, in both languages.")
    parser.add_argument("names", nargs="*", help="12_arcface or 12; all decks that are written where none is named")
    parser.add_argument("--out", type=Path, default=ROOT / "_slides")
    parser.add_argument("--only", choices=chapters.LANGUAGES, help="one language alone")
    options = parser.parse_args(arguments)
    course = ROOT / "course"
    written = sorted(path.stem for path in (course / "slides" / "en").glob("*.md"))
    names = chapters.chosen(options.names, chapters.names(course)) if options.names else written
    if wrong := [f"{name}: {problem}" for name in names for problem in problems(name, course)]:
        raise Failed("\n".join(wrong))
    languages = (options.only,) if options.only else chapters.LANGUAGES
    print("\n".join(map(str, build(names, course, options.out.resolve(), languages))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
