"""What the check of every exercise must do; the tests of each chapter's checks call `assert_check`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from facelearn.check.framework import Exercise, Outcome

Function = Callable[..., Any]
CJK = re.compile(r"[\u3400-\u9fff]")


def assert_check(exercise: Exercise, solution: Function, wrong: Sequence[Function | tuple[Function, str]]) -> None:
    """The check accepts the solution, and rejects each planted wrong answer with a message in both languages.

    A planted answer may come as `(function, "fragment")`: the fragment must stand in the English message. An answer
    that is rejected because it crashes proves nothing, so it must not crash.
    """
    assert len(wrong) >= 3, f"{exercise.name}: plant at least three wrong answers"
    for stub in (None, ..., lambda *args, **keywords: None, _not_implemented):
        assert exercise.examine(stub).text == (f"{exercise.name}: to do",) * 2

    accepted = exercise.examine(solution)
    assert accepted, f"the solution is rejected: {accepted.text.en}"
    assert accepted.text == (f"{exercise.name}: passed (visible checks)",) * 2

    for place, planted in enumerate(wrong):
        function, fragment = planted if isinstance(planted, tuple) else (planted, "")
        outcome = exercise.examine(function)
        where = f"{exercise.name}, planted answer {place} ({getattr(function, '__name__', function)})"
        assert not outcome, f"{where} passes"
        assert outcome.kind not in ("to do", "exception", "exception at", "callable"), f"{where}: {outcome.text.en}"
        assert_message(outcome, exercise.name)
        assert fragment in outcome.text.en, f"{where}: {outcome.text.en!r} does not say {fragment!r}"

    for mistake in exercise.mistakes:
        outcome = exercise.examine(mistake.function)
        assert outcome.kind == "mistake", f"{mistake.text.en!r} is not told: {outcome.text.en}"
        told = f"another is told instead: {outcome.text.en!r}, not {mistake.text.en!r}"
        assert outcome.text.en == f"{exercise.name}: {mistake.text.en}", told
        assert_message(outcome, exercise.name)


def assert_message(outcome: Outcome, name: str) -> None:
    """One line in each language, each in its own script, with more than the name in it."""
    for line in outcome.text:
        assert line.startswith(f"{name}: "), line
        assert len(line) > len(name) + 6, line
        assert "\n" not in line, line
    assert CJK.search(outcome.text.zh), outcome.text.zh
    assert not CJK.search(outcome.text.en), outcome.text.en


def _not_implemented(*args: Any, **keywords: Any) -> None:
    raise NotImplementedError


def assert_named(outcome: Outcome, en: str, zh: str) -> None:
    """The answer was tried and rejected, and the message names the mistake in both languages."""
    assert not outcome
    assert outcome.kind != "to do"
    assert en in outcome.text.en, outcome.text.en
    assert zh in outcome.text.zh, outcome.text.zh
