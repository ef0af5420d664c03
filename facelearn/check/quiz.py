"""The quiz of a chapter: who answers is told, of each choice, whether it is right and why.

    check.arcface.quiz(q1="B", q2="C", q3="", q4="", q5="")      # what is empty is to do

Questions, choices and reasons are written in the chapter, in both languages. `python tools/quiz.py` copies the reasons
to `quizzes/<stem>.json`, in base64: a handout whose folded answers were taken out still knows them, and nobody reads
one by accident. It is no secret: whoever decodes it has decided to look.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

from facelearn.check.framework import Outcome, Text, language

__all__ = ["Quiz", "veiled"]

FOLDER = Path(__file__).with_name("quizzes")
UNKNOWN = Text("expected one of {choices}, got {got!r}", "应为 {choices} 之一，得到的是 {got!r}")


def veiled(right: bool, reason: Text) -> str:
    """A choice as it is stored."""
    return base64.b64encode(json.dumps([right, *reason]).encode()).decode()


class Quiz:
    """The quiz of the chapter with this stem; call it with the letters chosen."""

    name = "quiz"  # as it stands in the record of passes

    def __init__(self, stem: str) -> None:
        self.stem = stem

    def questions(self) -> dict[str, dict[str, tuple[bool, Text]]]:
        """`{"q1": {"A": (is it right?, the reason)}}`."""
        stored = json.loads((FOLDER / f"{self.stem}.json").read_text(encoding="utf-8"))
        return {
            question: {letter: _unveiled(words) for letter, words in stored[question].items()} for question in stored
        }

    def __call__(self, **answers: str | None) -> Outcome:
        """Show a line for each answer, return whether all are right; `record` keeps a learner's pass.

        TypeError for a question that is not in the quiz.
        """
        from facelearn.check import record

        questions = self.questions()
        if unknown := sorted(set(answers) - set(questions)):
            raise TypeError(f"{', '.join(unknown)}: the questions are {', '.join(questions)}")
        chosen = {question: str(answers.get(question) or "").strip().upper() for question in questions}
        found = {q: questions[q].get(letter) or self._unknown(questions[q], letter) for q, letter in chosen.items()}
        todo = [question for question, letter in chosen.items() if not letter]
        lines = [f"quiz: {len(questions) - len(todo)} of {len(questions)}, to do: {' '.join(todo)}"] if todo else []
        told = [
            Text(*(f"**{q} {letter}** {reason}" for reason in found[q][1])) for q, letter in chosen.items() if letter
        ]
        text = Text(*("\n\n".join([*(getattr(line, code) for line in told), *lines]) for code in Text._fields))
        _show(getattr(text, language()), formatted=bool(told))
        outcome = Outcome(
            "to do" if todo else "passed" if all(right for right, _ in found.values()) else "choice", text
        )
        if outcome and (trouble := record.note(self, None)):
            print(getattr(trouble, language()))
        return outcome

    @staticmethod
    def _unknown(choices: dict[str, Any], letter: str) -> tuple[bool, Text]:
        return False, UNKNOWN.format(choices=", ".join(choices), got=letter)


def _unveiled(words: str) -> tuple[bool, Text]:
    right, en, zh = json.loads(base64.b64decode(words))
    return right, Text(en, zh)


def _show(text: str, formatted: bool) -> None:
    """In a notebook the reasons with their formulas; plain text elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if formatted and getattr(shell, "kernel", None) is not None:
        from IPython.display import Markdown, display

        display(Markdown(text))
    else:
        print(text.replace("**", "").replace("\n\n", "\n"))
