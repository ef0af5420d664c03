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
    show: output Ablation 1         what the first code cell of a section prints
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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # also when started as a script

from tools import chapters, prose  # noqa: E402
from tools.chapters import Cell, Page  # noqa: E402
from tools.execute import Failed, chosen  # noqa: E402
from tools.lint import SECTIONS  # noqa: E402

LEAST, MOST = 12, 20  # slides of a deck, the title not counted
SHOW = re.compile(r"^show:[ \t]*(.*?)[ \t]*$", re.M)
CAPTION = re.compile(r"\*\*(?:Figure|图) ?(\d+)")
LICENCE = {"en": "text and figures CC BY 4.0", "zh": "文字与图：CC BY 4.0"}


@dataclass(frozen=True)
class Slide:
    """One slide as it is written; `shows`: the references, in order."""

    heading: str
    body: str
    notes: str

    @property
    def shows(self) -> list[str]:
        return SHOW.findall(self.body)


def read(path: Path) -> list[Slide]:
    slides = []
    for part in re.split(r"^## +", path.read_text(encoding="utf-8"), flags=re.M)[1:]:
        heading, _, rest = part.partition("\n")
        body, _, notes = rest.partition("\nNote:")
        slides.append(Slide(heading.strip(), body.strip(), notes.strip()))
    return slides


# ---- what a reference shows -----------------------------------------------------------------------------------------


class Chapter:
    """The executed notebook of a chapter in one language; `shown` gives Markdown for a reference."""

    def __init__(self, course: Path, language: str, name: str) -> None:
        self.page = Page(course / language / f"{name}.ipynb", language, ROOT)
        self.cells = [cell for cell in self.page.cells if "solution" not in cell.tags]
        self.title = chapters.headings(self.cells[0].source)[0][1]

    def shown(self, reference: str, folder: Path) -> str:
        """Markdown of what is referred to; pictures are written into `folder`."""
        match = re.fullmatch(r"(\w+) (.+?)(?:, (\d+)-(\d+)%)?", reference)
        pictures = {"figure": self._figure, "picture": self._picture}
        texts = {
            "formula": self._formula,
            "table": self._table,
            "code": self._code,
            "output": self._output,
            "question": self._question,
        }
        if match and match[1] in pictures:
            suffix, content, text = pictures[match[1]](match[2])
            return self._image(suffix, content, text, match, folder)
        if match and match[1] in texts:
            return texts[match[1]](match[2])
        raise Failed(f"expected {', '.join(pictures | texts)}, and which")

    def section(self, name: str) -> list[Cell]:
        """The cells of a section by its English name, or of a step of the derivation by its number."""
        wanted = next((getattr(s, self.page.language) for s in SECTIONS if s.en == name), None)
        found = next((cells for heading, cells in self.page.sections if heading == wanted), None)
        if found is None:
            raise Failed(f"no section {name!r}; a section has its English name, in both languages")
        return [cell for cell in found if cell in self.cells]

    def step(self, number: str) -> str:
        """The text of a step of the derivation."""
        text = "\n\n".join(cell.source for cell in self.section("Derivation") if cell.kind == "markdown")
        return _numbered(r"^### (\d+) · ", text, number, "step")

    def _figure(self, number: str) -> tuple[str, bytes, str]:
        for cell, before in zip(self.cells[1:], self.cells, strict=False):
            for block in cell.source.split("\n\n") if cell.kind == "markdown" else []:
                if (caption := CAPTION.match(block)) and caption[1] == number:
                    for data in (output.get("data", {}) for output in before.outputs):
                        if "image/png" in data:
                            return ".png", base64.b64decode(data["image/png"]), block
                    if image := chapters.IMAGE.search(cell.source):  # drawn beforehand, placed above its caption
                        return self._picture(Path(image[2]).name)
        raise Failed(f"no figure {number}")

    def _picture(self, name: str) -> tuple[str, bytes, str]:
        path = self.page.path.parents[1] / "assets" / name
        if not path.is_file():
            raise Failed(f"no file course/assets/{name}")
        texts = [alt for cell in self.cells for alt, file in chapters.IMAGE.findall(cell.source) if file.endswith(name)]
        return path.suffix, path.read_bytes(), texts[0] if texts else name

    def _image(self, suffix: str, content: bytes, text: str, reference: re.Match[str], folder: Path) -> str:
        if reference[3]:
            content = _part(content, int(reference[3]) / 100, int(reference[4]) / 100)
        file = re.sub(r"\W+", "_", f"{self.page.path.stem} {reference[0]}") + suffix
        (folder / file).write_bytes(content)
        text = " ".join(re.sub(r"[*`$]", "", text).split())
        return f"```{{image}} {file}\n:alt: {text}\n```"

    def _formula(self, number: str) -> str:
        step, _, which = number.partition(".")
        found = chapters.formulas(self.step(step))[0]
        if (not which and len(found) > 1) or not 1 <= int(which or 1) <= len(found):
            raise Failed(f"step {step} has {len(found)} display formulas: formula {step}.1 and so on")
        return f"$$\n{found[int(which or 1) - 1].strip()}\n$$"

    def _table(self, place: str) -> str:
        text = self.step(place) if place.isdigit() else "\n\n".join(cell.source for cell in self.section(place))
        found = next((block for block in text.split("\n\n") if block.startswith("|")), None)
        if found is None:
            raise Failed(f"no table in {place!r}")
        return chapters.LINK.sub(r"\1", found)  # its links lead into the course, nowhere from here

    def _code(self, name: str) -> str:
        for cell in self.cells:
            for node in ast.parse(cell.source).body if cell.kind == "code" and f" {name}" in cell.source else []:
                if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
                    source = ast.get_source_segment(cell.source, node) or ""
                    return _pre("code", highlight(source, PythonLexer(), STYLE), source)
        raise Failed(f"no function or class {name!r} in the chapter's own code")

    def _output(self, place: str) -> str:
        section, _, number = place.rpartition(" ")
        cells = [cell for cell in self.section(section) if cell.kind == "code"]
        if not number.isdigit() or not 1 <= int(number) <= len(cells):
            raise Failed(f"the section has {len(cells)} code cells: output {section} 1 and so on")
        text = "".join(output.get("text", "") for output in cells[int(number) - 1].outputs).rstrip()
        if not text:
            raise Failed("this cell prints nothing")
        return _pre("output", html.escape(text), text)

    def _question(self, number: str) -> str:
        text = "\n\n".join(cell.source for cell in self.section("Quiz"))
        return re.sub(
            r"<details>.*?</details>", "", _numbered(r"^\*\*(\d+)\.\*\* ", text, number, "question"), flags=re.S
        )


STYLE = HtmlFormatter(style="a11y-high-contrast-light", nowrap=True, noclasses=True)


def _numbered(pattern: str, text: str, number: str, what: str) -> str:
    """The part of a text that begins with this number."""
    parts = re.split(pattern, text, flags=re.M)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    if number not in found:
        raise Failed(f"no {what} {number}; there are {', '.join(found) or 'none'}")
    return found[number]


def _part(svg: bytes, top: float, bottom: float) -> bytes:
    """A picture between two shares of its height."""
    text = svg.decode(errors="ignore")
    match = re.search(r'width="[\d.]+\w*" height="[\d.]+\w*" viewBox="([^"]+)"', text)
    if match is None:
        raise Failed("only of an SVG a part can be shown")
    x, y, width, height = map(float, match[1].split())
    y, height = y + top * height, (bottom - top) * height
    fresh = f'width="{width}" height="{height}" viewBox="{x} {y} {width} {height}"'
    return text.replace(match[0], fresh, 1).encode()


def _pre(kind: str, content: str, text: str) -> str:
    """Code or print-out, as large as its longest line allows on a slide of 1280 pixels."""
    size = min(24, int(1130 / 0.61 / max(map(len, text.splitlines()))))
    return f'<pre class="{kind}" style="font-size: {size}px">\n{content.rstrip()}\n</pre>'.replace(
        "\n\n", "\n&#8203;\n"
    )


# ---- what is wrong with a deck --------------------------------------------------------------------------------------


def problems(name: str, course: Path) -> Iterator[str]:
    """Where the decks of a chapter are not one lecture in two languages, one line each."""
    files = {language: course / "slides" / language / f"{name}.md" for language in chapters.LANGUAGES}
    if missing := [f"course/slides/{language}/{path.name}" for language, path in files.items() if not path.is_file()]:
        yield from (f"{file} is missing" for file in missing)
        return
    en, zh = (read(path) for path in files.values())
    if len(en) != len(zh) or not LEAST <= len(en) <= MOST:
        yield f"{name}: en has {len(en)} slides, zh has {len(zh)}: expected as many in both, {LEAST} to {MOST}"
    for i, (a, b) in enumerate(zip(en, zh, strict=False), 1):
        where = f"{name}, slide {i} ({a.heading!r}, {b.heading!r})"
        if a.shows != b.shows:
            yield f"{where}: en shows {a.shows}, zh shows {b.shows}"
        if sorted(chapters.formulas(a.body)[1]) != sorted(chapters.formulas(b.body)[1]):
            yield f"{where}: the formulas differ"
        yield from (f"{where}: {which} has no notes" for which, s in (("en", a), ("zh", b)) if not s.notes)
    for language, path in files.items():
        page = Page(path, language, course.parent)
        for rule in (prose.latex, prose.untouched, prose.chinese, prose.glossary):
            yield from (f"slides/{language}/{path.name}: {message}" for _, message in rule(page))


# ---- building -------------------------------------------------------------------------------------------------------


def markdown(name: str, language: str, course: Path, folder: Path) -> str:
    """A deck for Sphinx: references replaced by what they show."""
    chapter = Chapter(course, language, name)
    parts = [f"# {chapter.title}\n\nfacelearn · {name[:2]} · {LICENCE[language]}"]
    for number, slide in enumerate(read(course / "slides" / language / f"{name}.md"), 1):
        try:
            body = SHOW.sub(lambda match: f"\n{chapter.shown(match[1], folder)}\n", slide.body)
        except Failed as error:
            where = f"slides/{language}/{name}.md, slide {number} ({slide.heading!r})"
            raise Failed(f"{where}: shows {slide.shows}: {error}") from None
        parts.append(f'## {slide.heading}\n\n{body}\n\n<aside class="notes">\n\n{slide.notes}\n\n</aside>')
    return "\n\n".join(parts) + "\n"


def build(names: list[str], course: Path, out: Path, languages: tuple[str, ...] = chapters.LANGUAGES) -> list[Path]:
    """Write the decks of these chapters into `out/LANGUAGE`; return their files."""
    for language in languages:
        source = out / "source" / language
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir(parents=True)
        for name in names:
            (source / f"{name}.md").write_text(markdown(name, language, course, source), encoding="utf-8")
        links = "".join(f"- [{name}]({name}.md)\n" for name in names)
        (source / "index.md").write_text(f"# facelearn\n\n{links}", encoding="utf-8")
        command: list[str | Path] = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-E", "-b", "revealjs"]
        folders = [
            "-c",
            ROOT / "course" / "slides",
            "-d",
            out / "source" / f"doctrees_{language}",
            source,
            out / language,
        ]
        if subprocess.run([*command, *folders], env=os.environ | {"COURSE_LANG": language}).returncode:
            raise Failed("slides: Sphinx found something wrong, see above")
    return [out / language / f"{name}.html" for language in languages for name in names]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Lecture slides of the chapters, in both languages.")
    parser.add_argument("names", nargs="*", help="12_arcface or 12; all decks that are written where none is named")
    parser.add_argument("--out", type=Path, default=ROOT / "_slides")
    parser.add_argument("--only", choices=chapters.LANGUAGES, help="one language alone")
    options = parser.parse_args(arguments)
    course = ROOT / "course"
    try:
        written = sorted(path.stem for path in (course / "slides" / "en").glob("*.md"))
        names = chosen(course, options.names) if options.names else written
        if wrong := [problem for name in names for problem in problems(name, course)]:
            raise Failed("\n".join(wrong))
        decks = build(names, course, options.out.resolve(), (options.only,) if options.only else chapters.LANGUAGES)
    except (Failed, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(map(str, decks)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
