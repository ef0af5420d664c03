"""The checks of all exercises: what each of them must do, whatever it asks for.

What only one chapter knows stands in `answers/<stem>.py`: RIGHT, answers found by other ways than the check's own
reference, and WRONG, planted answers, each with words that the message for it must hold.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import inspect
import io
import itertools
import json
import math
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from facelearn.check import record
from facelearn.check.framework import Exercise
from tests.check.conformance import assert_message
from tools import chapters

Function = Callable[..., Any]
ENGLISH = Path(__file__).resolve().parents[2] / "course" / "en"
EXERCISES = [
    pytest.param(stem, name, id=f"{stem}-{name}")
    for stem, names in record._exercises().items()
    for name in names
    if name != "quiz"
]

# Exercises that a function which the chapter prints still passes: to be asked differently, and taken off this list.
RETYPED: set[tuple[str, str]] = set()


def exercise_of(stem: str, name: str) -> Exercise:
    return getattr(importlib.import_module(f"facelearn.check.{stem}"), name)


def answers(stem: str) -> types.ModuleType:
    return importlib.import_module(f"tests.check.answers.{stem}")


# ---- what every check says ------------------------------------------------------------------------------------------


def described(*inputs: Any) -> Any:
    """A stub with its docstring."""


def raising(*inputs: Any) -> Any:
    raise NotImplementedError


def forgetful(*inputs: Any) -> Any:
    result = inputs  # noqa: F841 - the learner's mistake


@pytest.mark.parametrize(("stem", "name"), EXERCISES)
def test_a_stub_is_to_do(stem, name):
    for stub in (None, ..., lambda *inputs: ..., lambda *inputs: None, described, raising):
        assert exercise_of(stem, name).examine(stub).text == (f"{name}: to do",) * 2


@pytest.mark.parametrize(("stem", "name"), EXERCISES)
def test_a_missing_return_is_told(stem, name):
    outcome = exercise_of(stem, name).examine(forgetful)
    assert outcome.kind == "return"
    assert_message(outcome, name)


@pytest.mark.parametrize(("stem", "name"), EXERCISES)
def test_every_mistake_is_told_as_itself(stem, name):
    for mistake in exercise_of(stem, name).mistakes:
        outcome = exercise_of(stem, name).examine(mistake.function)
        assert outcome.kind == "mistake", f"{mistake.text.en!r} is not told: {outcome.text.en}"
        assert outcome.text.en == f"{name}: {mistake.text.en}"
        assert_message(outcome, name)


@pytest.mark.parametrize(("stem", "name"), EXERCISES)
def test_right_answers_pass_however_they_are_written(stem, name):
    for answer in (*answers(stem).RIGHT[name], solution(stem, name)):
        outcome = exercise_of(stem, name).examine(answer)
        assert outcome.text == (f"{name}: passed (visible checks)",) * 2, answer


@pytest.mark.parametrize(("stem", "name"), EXERCISES)
def test_wrong_answers_are_named(stem, name):
    """An answer that is rejected because it crashes proves nothing, so none of them may crash."""
    exercise, planted = exercise_of(stem, name), answers(stem).WRONG[name]
    assert len(planted) + len(exercise.mistakes) >= 3, "plant at least three wrong answers"
    for place, (answer, words) in enumerate(planted):
        outcome = exercise.examine(answer)
        assert not outcome, f"planted answer {place} passes"
        assert outcome.kind not in ("to do", "exception", "exception at", "callable"), outcome.text.en
        assert words in outcome.text.en, f"planted answer {place}: {outcome.text.en!r} does not say {words!r}"
        assert_message(outcome, name)


# ---- no exercise is passed by retyping what the chapter prints ------------------------------------------------------

BESIDE = {"check", "experiment", "figures", "lesson", "plt"}  # what these give is no part of an answer


class TensorMath:
    """`math` whose functions take tensors too: who retypes `math.cos(m)` as `m.cos()` has retyped all the same."""

    def __getattr__(self, name: str) -> Any:
        plain = getattr(math, name)
        if not callable(plain):
            return plain
        return lambda *args, **more: (getattr(torch, name) if any(map(torch.is_tensor, args)) else plain)(*args, **more)


@functools.lru_cache
def cells(stem: str) -> list[tuple[list[ast.stmt], list[str]]]:
    """Of each code cell of a chapter: its statements, its tags."""
    (book,) = (path for path in ENGLISH.glob("*.ipynb") if chapters.stem(path.stem) == stem)
    found = [cell for cell in json.loads(book.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    return [(ast.parse("".join(cell["source"])).body, cell["metadata"].get("tags", [])) for cell in found]


def names_in(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def defining(statements: list[ast.stmt]) -> list[ast.stmt]:
    """Functions, classes, imports and the values that these name; no training, no picture, nothing only printed."""
    kept: list[ast.stmt] = []
    needed: set[str] = set()
    for part in reversed(statements):
        definition = isinstance(part, (ast.FunctionDef, ast.ClassDef))
        if isinstance(part, (ast.Assign, ast.AnnAssign)):
            targets = part.targets if isinstance(part, ast.Assign) else [part.target]
            definition = not names_in(part) & BESIDE and bool(set().union(*map(names_in, targets)) & needed)
        if definition or isinstance(part, (ast.Import, ast.ImportFrom)):
            kept.append(part)
            needed |= names_in(part)
    return kept[::-1]


@functools.lru_cache
def chapter(stem: str) -> dict[str, Any]:
    """What a chapter's cells define, solutions included; whatever fails without what was left out is left out too."""
    world: dict[str, Any] = {"__name__": f"chapter {stem}"}
    state = torch.random.get_rng_state()
    for statement in defining([part for statements, _ in cells(stem) for part in statements]):
        with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
            exec(compile(ast.Module([statement], []), stem, "exec"), world)
        world["math"] = TensorMath()
    torch.random.set_rng_state(state)
    return world


def functions(stem: str) -> dict[str, Function]:
    """The functions that the chapter's own cells define, without exercises and solutions."""
    shown = [statements for statements, tags in cells(stem) if not {"exercise", "solution"} & set(tags)]
    names = {part.name for statements in shown for part in statements if isinstance(part, ast.FunctionDef)}
    return {name: chapter(stem)[name] for name in sorted(names)}


def cell_of(stem: str, name: str, tag: str) -> tuple[list[ast.stmt], str]:
    """The cell with this tag that calls the check: its statements, and the name of the function that it hands over."""
    for statements, tags in cells(stem):
        for node in itertools.chain.from_iterable(map(ast.walk, statements)) if tag in tags else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func) == f"check.{stem}.{name}":
                return statements, ast.unparse(node.args[0])
    raise AssertionError(f"{stem}: no cell with the tag {tag} calls check.{stem}.{name}")


def solution(stem: str, name: str) -> Function:
    return chapter(stem)[cell_of(stem, name, "solution")[1]]


def count_of_arguments(stem: str, name: str) -> int:
    """Of the stub that the chapter gives to this check."""
    statements, stub = cell_of(stem, name, "exercise")
    return next(len(part.args.args) for part in statements if getattr(part, "name", "") == stub)


def constants(stem: str, function: str, place: int) -> list[Any]:
    """The constants with which the chapter's cells call a function, at this place of its arguments."""
    calls = [node for statements, _ in cells(stem) for part in statements for node in ast.walk(part)]
    found = [
        node.args[place].value
        for node in calls
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == function and len(node.args) > place
        if isinstance(node.args[place], ast.Constant)
    ]
    return list(dict.fromkeys(found))


def variants(stem: str, name: str, function: Function, arity: int) -> Iterator[Function]:
    """The function as it stands and every partial application of it that takes `arity` arguments.

    What is not the learner's is a default, a constant that the chapter's own calls have there, 0 or a unit matrix.
    """
    parameters = list(inspect.signature(function).parameters.values())
    places = range(len(parameters))
    if len(parameters) <= arity:  # leave some of the learner's arguments unused
        for used in itertools.combinations(range(arity), len(parameters)):
            yield lambda *inputs, used=used: function(*(inputs[i] for i in used))
        return
    fillers = [
        [*([] if p.default is p.empty else [p.default]), *constants(stem, name, i), 0.0, unit_matrix]
        for i, p in enumerate(parameters)
    ]
    for free in itertools.combinations(places, arity):
        fixed = [i for i in places if i not in free]
        for values in itertools.product(*(fillers[i] for i in fixed)):
            there = dict(zip(fixed, values, strict=True))

            def partial(*inputs: Any, free: Any = free, there: Any = there) -> Any:
                mine = {i: value(*inputs) if value is unit_matrix else value for i, value in there.items()}
                return function(*(mine[i] if i in mine else inputs[free.index(i)] for i in places))

            yield partial


def unit_matrix(first: Any, *others: Any) -> torch.Tensor:
    size = first.shape[-1]
    return torch.eye(size if size < 100 else 1, dtype=first.dtype)  # a long curve is no batch of logits


def passes(exercise: Exercise, function: Function) -> bool:
    """Does the function pass, or one of its outputs where it returns several?"""
    seen: list[Any] = []

    def kept(*inputs: Any) -> Any:
        seen[:] = [function(*inputs)]
        return seen[0]

    if exercise.examine(kept):
        return True
    several = len(seen[0]) if seen and isinstance(seen[0], tuple) else 0
    return any(exercise.examine(lambda *inputs, i=i: function(*inputs)[i]) for i in range(several))


def retyped(stem: str, name: str) -> list[str]:
    """The chapter's own functions that pass a check."""
    exercise, arity = exercise_of(stem, name), count_of_arguments(stem, name)
    return [
        own
        for own, function in functions(stem).items()
        if any(passes(exercise, variant) for variant in itertools.islice(variants(stem, own, function, arity), 200))
    ]


@pytest.mark.parametrize(("stem", "name"), EXERCISES)
def test_no_function_of_the_chapter_passes(stem, name):
    found = retyped(stem, name)
    if (stem, name) in RETYPED:
        assert found, "passed by no function of the chapter any more: take it off RETYPED"
    else:
        assert not found, f"passed by what the chapter itself prints: {', '.join(found)}"


def test_a_function_of_the_chapter_would_be_found(monkeypatch):
    """The test above can fail: here a cell prints a solution, with one argument more than the exercise asks for."""
    printed = ast.parse("def printed(kind, cos, m): return solution_3(cos, m) if kind == 'falls' else cos")
    called = ast.parse("printed('falls', cos, 0.5)")
    shown = [*cells("arcface"), (printed.body + called.body, [])]
    chapter.cache_clear()
    monkeypatch.setitem(globals(), "cells", lambda stem: shown)
    assert retyped("arcface", "ex3") == ["printed"]
    chapter.cache_clear()
