"""Which chapter needs which, drawn: a circle per chapter, below all that it needs; what is written is filled.

The column `needs` of `course/chapters.csv` is the source; `tools/contents.py` writes the drawings, the lint compares
the column with what each chapter says that it needs. A chapter names what it needs in words; what those need in turn
goes without saying, and so does the first chapter.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape
from itertools import chain

Row = dict[str, str]  # of chapters.csv
NAMED = re.compile(r"[Cc]hapters? ((?:\d\d(?:, | and )?)+)|第 ((?:\d\d、?)+) 章|\((\d\d)_\w+\.ipynb\)")
ALT = {
    "en": "Graph of the chapters: lines lead down from each chapter to those that need it; filled circles are written.",
    "zh": "章节关系图：连线从一章向下通到以它为基础的各章；实心圆表示已经写成。",
}
WIDTH, HEIGHT, STAGGER, RADIUS = 432, 92, 48, 15
ASIDE = 12  # room for a name that is wider than its place, left and right
# From left to right in a level, so that few lines cross.
ACROSS = "01 03 02 04 07 06 05 11 10 12 08 09 15 13 14 16 18 19 20 17 21"
FONT = "system-ui, 'Noto Sans', 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif"
STYLE = f"text{{font:11px {FONT};fill:#222;text-anchor:middle;paint-order:stroke;stroke:#fff;stroke-width:3px}}"


def named(text: str) -> set[str]:
    """The numbers of the chapters that a text speaks of."""
    return set(re.findall(r"\d\d", " ".join(chain(*NAMED.findall(text)))))


def direct(plan: list[Row]) -> dict[str, list[str]]:
    """Of each chapter, the chapters that it needs at once."""
    return {row["number"]: row["needs"].split() for row in plan}


def before(needs: dict[str, list[str]], number: str) -> set[str]:
    """All that a chapter needs, and what that needs in turn."""
    return set(needs[number]).union(*(before(needs, one) for one in needs[number]))


def places(needs: dict[str, list[str]]) -> dict[str, tuple[float, float]]:
    """Where each circle lies: a level below all that it needs; a crowded level alternates in height."""
    level: dict[str, int] = {}
    for number in needs:  # a chapter needs earlier ones alone
        level[number] = 1 + max((level[one] for one in needs[number]), default=-1)
    place: dict[str, tuple[float, float]] = {}
    top = 24.0
    for depth in range(max(level.values()) + 1):
        row = sorted((one for one in needs if level[one] == depth), key=f"{ACROSS} {' '.join(needs)}".index)
        crowded = len(row) > 4
        for k, number in enumerate(row):
            place[number] = WIDTH * (k + 0.5) / len(row), top + STAGGER * (crowded and k % 2)
        top += HEIGHT + STAGGER * crowded
    return place


def wrapped(name: str, widest: int = 16) -> list[str]:
    """A name in lines; a Chinese character is as wide as two letters."""
    lines = [""]
    for word in name.split():
        longer = f"{lines[-1]} {word}".strip()
        if len(longer) + len(re.findall(r"[^\x00-ÿ]", longer)) <= widest or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def drawing(plan: list[Row], language: str, written: set[str], link: Callable[[str], str] | None = None) -> str:
    """The graph as SVG; with `link`, which gives a written chapter's address, its circle leads there."""
    needs = direct(plan)
    place = places(needs)
    lines, circles = [], []
    for row in plan:
        number, (x, y) = row["number"], place[row["number"]]
        for x0, y0 in (place[one] for one in needs[number]):
            middle = y0 + 0.4 * (y - y0)  # sideways early, so that a line comes down between two circles
            lines.append(f'<path d="M{x0:.0f} {y0:.0f}C{x0:.0f} {middle:.0f} {x:.0f} {middle:.0f} {x:.0f} {y:.0f}"/>')
        fill, ink = ("#332288", "#fff") if number in written else ("#fff", "#555")
        name = [
            f'<text x="{x:.0f}" y="{y + RADIUS + 12 + 12 * k:.0f}">{escape(line)}</text>'
            for k, line in enumerate(wrapped(re.split("[:：]", row[language])[0]))
        ]
        circle = f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{RADIUS}" fill="{fill}" stroke="#332288"/>'
        digits = f'<text x="{x:.0f}" y="{y + 4:.0f}" style="fill:{ink};stroke:none;font-weight:700">{number}</text>'
        chapter = "".join([circle, digits, *name])
        circles.append(f'<a href="{link(number)}">{chapter}</a>' if link and number in written else f"<g>{chapter}</g>")
    height = max(y for _, y in place.values()) + RADIUS + 40
    wide = WIDTH + 2 * ASIDE
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{-ASIDE} 0 {wide} {height:.0f}" width="{WIDTH}"'
            f' role="{"group" if link else "img"}" aria-label="{ALT[language]}" class="prerequisites">',
            f"<style>.prerequisites {STYLE}.prerequisites a text{{fill:#332288;font-weight:600}}</style>",
            f'<rect x="{-ASIDE}" width="{wide}" height="{height:.0f}" rx="8" fill="#fff"/>',
            '<g fill="none" stroke="#88a" stroke-width="1.3">',
            *lines,
            "</g>",
            *circles,
            "</svg>\n",
        ]
    )
