"""How long the chapters take, by a rule that counts; the table in `course/{en,zh}/paths.md`.

    python tools/hours.py        # write the table anew; a test compares it with what the rule gives

Reading and running: a minute for every hundred words, for every displayed formula, for every code cell, exercises left
out. Exercises: what their headings say. Counted is the English text, since both languages are one lesson.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from facelearn.files import write_whole
from tools import chapters, contents
from tools.chapters import Chapter
from tools.prose import count_words

ROOT = Path(__file__).resolve().parents[1]
PATHS = {  # the playlists
    "short": "00 01 03 07 11 12 13 21",
    "ethics": "00 01 02 21",
    "engineer": "01 07 12 13 19 20 21",
}
MARKED = re.compile(r"(?<=<!-- hours -->\n).*?(?=<!-- /hours -->)", re.S)
NAMES = {
    "en": {"short": "short", "ethics": "ethics first", "engineer": "engineer", "all": "all chapters"},
    "zh": {"short": "捷径", "ethics": "伦理优先", "engineer": "工程师", "all": "全部章节"},
}
SUMS = {"en": ("", "chapters", "reading, hours", "exercises, hours"), "zh": ("", "章", "阅读（小时）", "练习（小时）")}


def minutes(chapter: Chapter) -> tuple[int, int]:
    """Of reading and running, and of the exercises."""
    tasks = {cell.index for cell in chapter.section("Exercises")}
    text = [cell for cell in chapter.prose if cell.index not in tasks]
    formulas = sum(len(chapters.formulas(cell.source)[0]) for cell in text)
    code = sum(cell.index not in tasks for cell in chapter.code)
    reading = count_words(text) / 100 + formulas + code
    return round(reading), sum(exercise.minutes for exercise in chapter.exercises)


def counted(course: Path) -> dict[str, tuple[int, int]]:
    """`{"12": (61, 60)}` of all that is written."""
    found = (Chapter(course / "en" / f"{name}.md") for name in chapters.names(course))
    return {chapter.number: minutes(chapter) for chapter in found}


def hours(course: Path) -> dict[str, tuple[float, float]]:
    """Of each playlist, and of all chapters; one that is not yet written counts as the mean of those that are."""
    took = {number: pair for number, pair in counted(course).items() if number.isdigit()}
    mean = tuple(sum(pair[part] for pair in took.values()) / len(took) for part in (0, 1))
    ways = PATHS | {"all": " ".join(row["number"] for row in contents.plan(course))}
    found = {way: [took.get(number, mean) for number in numbers.split()] for way, numbers in ways.items()}
    return {way: (sum(r for r, _ in pairs) / 60, sum(e for _, e in pairs) / 60) for way, pairs in found.items()}


def table(language: str, course: Path) -> str:
    lines = [SUMS[language], ("---",) * 4]
    for way, (reading, exercises) in hours(course).items():
        lines.append((NAMES[language][way], PATHS.get(way, ""), f"{reading:.0f}", f"{exercises:.0f}"))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


@chapters.reports
def main() -> int:
    course = ROOT / "course"
    for language in chapters.LANGUAGES:
        path = course / language / "paths.md"
        parts = MARKED.split(path.read_text(encoding="utf-8"))
        write_whole(path, table(language, course).join(parts))
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
