"""The reasons of the quizzes, from the chapters to the checks: `facelearn/check/quizzes/<stem>.json`.

    python tools/quiz.py [12_arcface | 12 ...]      # all chapters whose check has a quiz where none is named

A reason begins with `right` or `wrong` in English, with 对 or 错 in Chinese; exactly one choice of a question is right.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # also when started as a script

from facelearn.check.framework import Text  # noqa: E402
from facelearn.check.quiz import FOLDER, Quiz, veiled  # noqa: E402
from tools import chapters  # noqa: E402
from tools.chapters import Chapter, Failed  # noqa: E402


def with_quiz(course: Path) -> list[str]:
    """The chapters whose check has a quiz."""
    found = []
    for name in chapters.names(course):
        try:
            check = importlib.import_module(f"facelearn.check.{chapters.stem(name)}")
        except ModuleNotFoundError:
            continue
        if isinstance(getattr(check, "quiz", None), Quiz):
            found.append(name)
    return found


def gathered(course: Path, name: str) -> dict[str, dict[str, str]]:
    """`{"q1": {"A": stored form}}` of a chapter; an error where the languages disagree or not one choice is right."""
    en, zh = (Chapter(course / language / f"{name}.md") for language in chapters.LANGUAGES)
    if len(en.questions) != len(zh.questions):
        raise Failed(f"{name}: found {len(en.questions)} questions in English and {len(zh.questions)} in Chinese")
    found = {}
    for first, second in zip(en.questions, zh.questions, strict=True):
        at = f"{name}: question {first.number}"
        if not list(first.choices) == list(second.choices) == list(first.reasons) == list(second.reasons):
            raise Failed(f"{at}: expected the same letters as choices and as reasons, in both languages")
        if first.right != second.right or len(first.right) != 1:
            where = f"{first.right or 'none'} in English and {second.right or 'none'} in Chinese"
            raise Failed(f"{at}: found as right {where}, expected one and the same")
        found[f"q{first.number}"] = {
            letter: veiled(letter == first.right, Text(first.reasons[letter], second.reasons[letter]))
            for letter in first.reasons
        }
    return found


def write(course: Path, name: str, folder: Path = FOLDER) -> Path:
    folder.mkdir(exist_ok=True)
    target = folder / f"{chapters.stem(name)}.json"
    chapters.write_whole(target, json.dumps(gathered(course, name), indent=1) + "\n")
    return target


@chapters.reports
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Copy the reasons of quizzes from the chapters to the checks.")
    parser.add_argument("names", nargs="*", help="12_arcface or 12; all chapters whose check has a quiz by default")
    parser.add_argument("--course", type=Path, default=ROOT / "course", help="folder of the course")
    args = parser.parse_args(arguments)
    for name in chapters.chosen(args.names, with_quiz(args.course)):
        print(write(args.course, name).name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
