"""Chapters as data: the cells of a page (`.md` source or executed `.ipynb`) and what stands in their prose.

python tools/chapters.py copy-code en zh 12_arcface     # code cells of one language into the other, prose kept
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jupytext

ROOT = Path(__file__).resolve().parents[1]
LANGUAGES = ("en", "zh")

CODE_BLOCK = re.compile(r"^(`{3,}|~{3,}).*?^\1`*\s*?$", re.M | re.S)
CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.S)
DISPLAY = re.compile(r"\$\$(.+?)\$\$", re.S)
INLINE = re.compile(r"(?<![\\$])\$(?!\$)([^$\n]+?)(?<!\\)\$(?!\$)")
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)[^)]*\)")
LINK = re.compile(r"(?<!!)\[([^\[\]]*)\]\(([^)\s]+)[^)]*\)")
ATTRIBUTE = re.compile(r"""\b(?:src|href)=["']([^"']+)["']""")
CITATION = re.compile(r"references\.md#([\w-]+)")
CODE_CELL = re.compile(r"^(`{3,})\{code-cell\}.*?^\1[ \t]*$", re.M | re.S)


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
    def first_line(self) -> str:
        return next((line.strip() for line in self.source.splitlines() if line.strip()), "")[:70]

    @property
    def lines(self) -> int:
        """Lines that are not blank."""
        return sum(bool(line.strip()) for line in self.source.splitlines())


def read(path: Path) -> list[Cell]:
    """The cells of a page: a MyST Markdown source, or a notebook with its outputs."""
    text = path.read_text(encoding="utf-8")
    try:
        book = jupytext.reads(text, fmt="md:myst" if path.suffix == ".md" else "ipynb")
    except Exception as error:  # any parser's complaint, with the file's name
        raise ValueError(f"{path}: not readable as {path.suffix}: {error}") from error
    return [
        Cell(i, c.cell_type, c.source, dict(c.metadata), list(c.get("outputs", [])), c.get("execution_count"))
        for i, c in enumerate(book.cells)
    ]


def names(course: Path) -> list[str]:
    """Stems of all chapters, in course order: `NN_stem`, found in either language and in either format."""
    found = {p.stem for lang in LANGUAGES for p in (course / lang).glob("*") if p.suffix in (".md", ".ipynb")}
    return sorted(name for name in found if re.fullmatch(r"\d\d_\w+", name))


def pages(course: Path) -> list[str]:
    """Stems of the other pages that a person writes in both languages; `references` is generated."""
    found = {p.stem for lang in LANGUAGES for p in (course / lang).glob("*.md")}
    return sorted(found - set(names(course)) - {"references"})


def repository(root: Path = ROOT) -> str:
    """`owner/name` from the one place where the repository's address stands, `[project.urls]` in pyproject.toml."""
    url = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
    match = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?", url)
    if not match:
        raise ValueError(f"pyproject.toml: Repository={url!r}: expected https://github.com/OWNER/NAME")
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


@dataclass(frozen=True)
class Page:
    """One page in one language, as the lints see it; `root` is the project's folder."""

    path: Path  # the .md source
    language: str
    root: Path

    @cached_property
    def cells(self) -> list[Cell]:
        return read(self.path)

    @property
    def prose(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.kind == "markdown"]

    @property
    def code(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.kind == "code"]

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


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8", newline="\n")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def copy_code(course: Path, source: str, target: str, name: str) -> int:
    """Put the code cells (with their tags) of `source`'s page into `target`'s, in order; return how many changed."""
    origin, goal = course / source / f"{name}.md", course / target / f"{name}.md"
    kinds = [[cell.kind for cell in read(path)] for path in (origin, goal)]
    if kinds[0] != kinds[1]:
        shortest = min(map(len, kinds))
        at = next((i for i in range(shortest) if kinds[0][i] != kinds[1][i]), shortest)
        raise ValueError(
            f"{name}: the order of cells differs at cell {at} ({source}: {kinds[0][at : at + 1]}, {target}: "
            f"{kinds[1][at : at + 1]}): first put an empty ```{{code-cell}} where one is missing"
        )
    old = goal.read_text(encoding="utf-8")
    fresh = [match[0] for match in CODE_CELL.finditer(origin.read_text(encoding="utf-8"))]
    changed = sum(a != b[0] for a, b in zip(fresh, CODE_CELL.finditer(old), strict=True))
    blocks = iter(fresh)
    write_whole(goal, CODE_CELL.sub(lambda _: next(blocks), old))
    return changed


def main() -> int:
    parser = argparse.ArgumentParser(description="Copy the code cells of a chapter from one language to the other.")
    parser.add_argument("command", choices=["copy-code"])
    parser.add_argument("source", choices=LANGUAGES)
    parser.add_argument("target", choices=LANGUAGES)
    parser.add_argument("name", help="the chapter, e.g. 12_arcface")
    args = parser.parse_args()
    try:
        changed = copy_code(ROOT / "course", args.source, args.target, args.name)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{args.name}: {changed} code cells of {args.target} replaced by those of {args.source}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
