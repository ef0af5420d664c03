"""Which chapters there are: the line in both READMEs, the list in `course/README.md`, and the graph of who needs whom.

    python tools/contents.py

`course/chapters.csv` has the plan: number, needs and subject of every chapter; what is written is what lies in
`course`. Line and list stand between `<!-- chapters -->` and `<!-- /chapters -->`.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable
from pathlib import Path

from facelearn.files import write_whole
from tools import chapters, prerequisites

ROOT = Path(__file__).resolve().parents[1]
MARKED = re.compile(r"(<!-- chapters -->).*?(<!-- /chapters -->)", re.S)
STATE = {
    "en": "{written} of {planned} chapters are written ({numbers}); the others follow in the same form.",
    "zh": "计划 {planned} 章，已写成 {written} 章（{numbers}），其余会以同样的形式陆续补上。",
}
WHOLE = {"en": "All {planned} chapters are written.", "zh": "{planned} 章已全部写成。"}
APPENDICES = {"en": " Appendix: {}.", "zh": "附录：{}。"}


def plan(course: Path) -> list[dict[str, str]]:
    """`number`, `needs`, and the subject in `en` and `zh`, of every chapter, written or not."""
    with (course / "chapters.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def state(course: Path, language: str) -> str:
    """One line: how many chapters are planned, how many are written, and which; and which appendices there are."""
    names, planned = chapters.names(course), len(plan(course))
    written, letters = (
        [chapters.number(n) for n in names if chapters.is_appendix(n) == kind] for kind in (False, True)
    )
    words, comma = WHOLE if len(written) == planned else STATE, {"en": ", ", "zh": "、"}[language]
    line = words[language].format(written=len(written), planned=planned, numbers=comma.join(written))
    return line + (APPENDICES[language].format(comma.join(letters)) if letters else "")


def listed(course: Path) -> str:
    """What stands in `course/README.md`: what is written and which chapters it needs, the line, the graph."""
    rows, needs = ["| | English | 中文 | needs 需要 |", "|---|---|---|---|"], prerequisites.direct(plan(course))
    for name in chapters.names(course):
        titles = [(chapters.Chapter(course / lang / f"{name}.md").title, lang) for lang in chapters.LANGUAGES]
        cells, number = [f"[{title}]({lang}/{name}.ipynb)" for title, lang in titles], chapters.number(name)
        rows.append(f"| {' | '.join([number, *cells, ', '.join(needs.get(number, []))])} |")
    table, lines = "\n".join(rows), "\n".join(state(course, language) for language in chapters.LANGUAGES)
    graphs = "\n".join(f"![{prerequisites.ALT[lang]}](assets/chapters_{lang}.svg)" for lang in chapters.LANGUAGES)
    return f"\n\n{table}\n\n{lines}\n\n{graphs}\n\n"


def graph(course: Path, language: str, link: Callable[[str], str] | None = None) -> str:
    """Which chapter needs which, as SVG; `link`: see `prerequisites.drawing`."""
    written = {chapters.number(name) for name in chapters.names(course)}
    return prerequisites.drawing(plan(course), language, written, link)


def pages(root: Path) -> dict[Path, str]:
    """The pages with such marks, and the pictures of the list, as they should be."""
    course, fresh = root / "course", {}
    parts = {
        "README.md": lambda: state(course, "en"),
        "README.zh.md": lambda: state(course, "zh"),
        "course/README.md": lambda: listed(course),
    }
    for name, write in parts.items():
        path = root / name
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if found := MARKED.search(text):
            fresh[path] = text.replace(found[0], found[1] + write() + found[2])
    if course / "README.md" in fresh:
        fresh |= {course / "assets" / f"chapters_{lang}.svg": graph(course, lang) for lang in chapters.LANGUAGES}
    return fresh


@chapters.reports
def main() -> int:
    for path, text in pages(ROOT).items():
        write_whole(path, text)
    print(state(ROOT / "course", "en"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
