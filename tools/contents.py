"""Which chapters there are: the line in both READMEs and the list in `course/README.md`.

    python tools/contents.py

`course/chapters.csv` has the plan, number and subject of every chapter; what is written is what lies in `course`.
Both stand between `<!-- chapters -->` and `<!-- /chapters -->`.
"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

from facelearn.files import write_whole
from tools import chapters

ROOT = Path(__file__).resolve().parents[1]
MARKED = re.compile(r"(<!-- chapters -->).*?(<!-- /chapters -->)", re.S)
STATE = {
    "en": "{written} of {planned} chapters are written ({numbers}); the others follow in the same form.",
    "zh": "计划 {planned} 章，已写成 {written} 章（{numbers}），其余会以同样的形式陆续补上。",
}


def plan(course: Path) -> list[dict[str, str]]:
    """`number`, and the subject in `en` and `zh`, of every chapter, written or not."""
    with (course / "chapters.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def state(course: Path, language: str) -> str:
    """One line: how many chapters are planned, how many are written, and which."""
    there = [name[:2] for name in chapters.names(course)]
    numbers = {"en": ", ", "zh": "、"}[language].join(there)
    return STATE[language].format(written=len(there), planned=len(plan(course)), numbers=numbers)


def listed(course: Path) -> str:
    """The table of `course/README.md`: the chapters that are written, in both languages; then the line in both."""
    rows = ["| | English | 中文 |", "|---|---|---|"]
    for name in chapters.names(course):
        titles = [(chapters.Chapter(course / lang / f"{name}.md").title, lang) for lang in chapters.LANGUAGES]
        rows.append(f"| {name[:2]} | " + " | ".join(f"[{t}]({lang}/{name}.ipynb)" for t, lang in titles) + " |")
    table, lines = "\n".join(rows), "\n".join(state(course, language) for language in chapters.LANGUAGES)
    return f"\n\n{table}\n\n{lines}\n\n"


def pages(root: Path) -> dict[Path, str]:
    """The pages with such marks, as they should be."""
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
    return fresh


@chapters.reports
def main() -> int:
    for path, text in pages(ROOT).items():
        write_whole(path, text)
    print(state(ROOT / "course", "en"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
