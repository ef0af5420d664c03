"""What the learner has passed, on this computer alone: one JSON file, shown by `check.progress()`, sent nowhere.

A pass is written down where a person sits in front of the notebook: in a Jupyter kernel whose front end says that it
could be asked for input (JupyterLab, Notebook, VS Code). nbclient, nbconvert, nbval, nbgrader and jupyter-cache say
that it could not, and a plain script has no front end: none of them leaves a trace. Nor does a function whose name
holds `solution`, as those of the course's own solution cells do: Run All passes nobody.

The file lies in the user's data folder (Linux: ~/.local/share/facelearn/progress.json) or where the environment
variable FACELEARN_PROGRESS_FILE says; `off` there keeps nothing. It holds the moment of the first pass:

    {"format": 1, "passed": {"arcface": {"ex1": "2026-11-22T09:10:11+08:00"}}}
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import filelock
import platformdirs

from facelearn.check.framework import Exercise, Text, language
from facelearn.check.quiz import Quiz
from facelearn.files import write_whole

__all__ = ["Progress", "location", "note", "progress"]

Passed = dict[str, dict[str, str]]  # {"arcface": {"ex1": ISO date and time}}
VARIABLE, FORMAT, LOCK_SECONDS = "FACELEARN_PROGRESS_FILE", 1, 5
MESSAGES = {
    "damaged": Text(
        "{path} could not be read ({why}). It is kept as {aside}; a new file has been started",
        "{path} 无法读取（{why}）。原文件已保留为 {aside}，并新建了一份记录",
    ),
    "not kept": Text("passed, but not written down: {why}", "已通过，但没有记录下来：{why}"),
    "head": Text("chapter", "章节"),
    "exercise": Text("exercise {n}", "练习 {n}"),
    "quiz": Text("quiz", "小测"),
    "sum": Text(
        "{done} of {all} exercises and quizzes passed (visible checks)",
        "练习和小测共 {all} 项，已通过 {done} 项（可见检查）",
    ),
    "where": Text("Kept on this computer only: {path}", "记录只保存在本机：{path}"),
    "off": Text("Nothing is kept: {variable}=off", "不作记录：{variable}=off"),
    "nobody": Text(
        "Nothing is written down from here: a pass counts in a notebook that a person has open (JupyterLab, VS Code), "
        "not in a script, nor where nbclient or nbconvert runs the notebook",
        "在这里通过不会记录：只有在有人打开的 Notebook（JupyterLab、VS Code）里通过才算，"
        "脚本以及由 nbclient、nbconvert 运行的 Notebook 不算",
    ),
    "closed": Text(
        "Nothing can be written down: no right to write into {folder}", "无法记录：没有写入 {folder} 的权限"
    ),
}


class _Damaged(ValueError):
    """The file is not what this module writes."""


# ---- the file -----------------------------------------------------------------------------------------------------


def location() -> Path | None:
    """The file of passes: FACELEARN_PROGRESS_FILE, else in the user's data folder. None where the variable is `off`."""
    named = os.environ.get(VARIABLE, "")
    if named == "off":
        return None
    if named:
        return Path(named).expanduser().resolve()
    return platformdirs.user_data_path("facelearn", appauthor=False).resolve() / "progress.json"


def _read(path: Path) -> Passed:
    """The passes in the file, none where there is no file. `_Damaged` for anything that was not written here."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:  # not UTF-8, not JSON
        raise _Damaged(str(error)) from error
    if isinstance(found, dict) and isinstance(found.get("format"), int) and found["format"] > FORMAT:
        raise OSError(f"{path}: format {found['format']}, written by a newer facelearn; expected {FORMAT}")
    passed = found.get("passed") if isinstance(found, dict) else None
    if not isinstance(passed, dict) or not all(map(_is_chapter, passed.values())):
        raise _Damaged(f'expected {{"format": {FORMAT}, "passed": {{chapter: {{exercise: date}}}}}}')
    return passed


def _is_chapter(dates: Any) -> bool:
    try:
        return isinstance(dates, dict) and all(datetime.fromisoformat(date) for date in dates.values())
    except (TypeError, ValueError):
        return False


def _write(path: Path, passed: Passed) -> None:
    text = json.dumps({"format": FORMAT, "passed": passed}, indent=2, sort_keys=True)
    write_whole(path, (text + "\n").encode())


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One notebook at a time: whoever reads, changes and writes holds the lock beside the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(path.with_name(path.name + ".lock"), timeout=LOCK_SECONDS):
            yield
    except filelock.Timeout:
        raise OSError(f"{path}: locked by another process for {LOCK_SECONDS} seconds") from None


def _read_or_set_aside(path: Path) -> tuple[Passed, Text | None]:
    """The passes; where the file is damaged it is renamed, not lost, and the text says so. Under the lock alone."""
    try:
        return _read(path), None
    except _Damaged as error:
        names = (path.with_name(f"{path.stem}.damaged-{n}{path.suffix}") for n in range(1, 10_000))
        aside = next(name for name in names if not name.exists())
        path.rename(aside)
        return {}, MESSAGES["damaged"].format(path=path, why=error, aside=aside.name)


# ---- writing a pass down ------------------------------------------------------------------------------------------


def note(exercise: Exercise | Quiz, function: Any) -> Text | None:
    """Write down that the learner passed; whatever hinders it comes back as one line and never stops the notebook."""
    chapter, path = _chapter(exercise), location()
    if chapter is None or path is None or not _person_present() or "solution" in getattr(function, "__name__", ""):
        return None
    try:
        with _alone(path):
            passed, trouble = _read_or_set_aside(path)
            if exercise.name not in passed.get(chapter, {}):
                moment = datetime.now().astimezone().isoformat(timespec="seconds")
                passed.setdefault(chapter, {})[exercise.name] = moment
                _write(path, passed)
        return trouble
    except (OSError, NotImplementedError) as error:  # the second: a file system without locks
        return MESSAGES["not kept"].format(why=error)


def _person_present() -> bool:
    """Does the cell that runs come from a front end that could ask somebody a question?"""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    parent: dict[str, Any] = getattr(getattr(shell, "kernel", None), "get_parent", dict)()
    return bool(parent.get("content", {}).get("allow_stdin"))


def _chapter(exercise: Exercise | Quiz) -> str | None:
    """The module of `facelearn.check` in which the exercise stands; None for an exercise made elsewhere."""
    package = __package__ + "."
    modules = [(name, module) for name, module in sys.modules.items() if name.startswith(package)]
    return next((n.removeprefix(package) for n, m in modules if getattr(m, exercise.name, None) is exercise), None)


# ---- showing it ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Progress:
    """What was passed and when: a table in a notebook, plain text elsewhere."""

    rows: list[tuple[str, dict[str, str]]]  # the chapter in words, {"ex1": date, or "" where it is still open}
    notes: list[str]
    language: str

    def _table(self) -> list[list[str]]:
        exercises = sorted({name for _, dates in self.rows for name in dates})
        heads = [_say(re.sub(r"ex\d+", "exercise", n), self.language, n=n.removeprefix("ex")) for n in exercises]
        body = [[words, *(dates.get(name, " ") or "–" for name in exercises)] for words, dates in self.rows]
        return [[_say("head", self.language), *heads], *body]

    def _repr_markdown_(self) -> str:
        head, *body = [[cell.replace("|", "\\|") for cell in row] for row in self._table()]
        lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body)]
        return "\n".join([*lines, "", *("\n".join((line, "")) for line in self.notes)])

    def __repr__(self) -> str:
        table = self._table()
        widths = [max(map(_columns, column)) for column in zip(*table, strict=True)]
        padded = [[c + " " * (w - _columns(c)) for c, w in zip(row, widths, strict=True)] for row in table]
        return "\n".join(["   ".join(row).rstrip() for row in padded] + self.notes)


def progress(reset: bool | str = False) -> Progress:
    """See `facelearn.check.progress`."""
    path, code, known = location(), language(), _exercises()
    if not isinstance(reset, bool) and reset not in known:
        raise ValueError(f"reset={reset!r}: expected True, or one chapter of {', '.join(known)}")
    passed, trouble = ({}, None) if path is None else _forget(path, reset) if reset else _look(path)
    titles = _titles(code)
    stems = sorted({*known, *passed}, key=lambda stem: (titles.get(stem, "99"), stem))
    dates = {stem: dict.fromkeys(known.get(stem, []), "") | passed.get(stem, {}) for stem in stems}
    rows = [(titles.get(stem, stem), {name: date[:10] for name, date in dates[stem].items()}) for stem in stems]
    done, total = (sum(map(len, group.values())) for group in (passed, dates))
    notes = [getattr(trouble, code)] if trouble else []
    notes.append(_say("sum", code, done=done, all=total))
    notes.append(_say("off", code, variable=VARIABLE) if path is None else _say("where", code, path=path))
    if path is not None and (hindrance := _hindrance(path)):
        notes.append(getattr(hindrance, code))
    return Progress(rows, notes, code)


def _hindrance(path: Path) -> Text | None:
    """Why a pass in this session would not be written down, if it would not."""
    if not _person_present():
        return MESSAGES["nobody"]
    folder = next(folder for folder in path.parents if folder.exists())
    if not os.access(folder, os.W_OK):
        return MESSAGES["closed"].format(folder=folder)
    return None


def _look(path: Path) -> tuple[Passed, Text | None]:
    """The passes, read without a lock: the file is whole at any moment."""
    try:
        return _read(path), None
    except _Damaged:
        with _alone(path):
            return _read_or_set_aside(path)


def _forget(path: Path, reset: bool | str) -> tuple[Passed, Text | None]:
    with _alone(path):
        passed, trouble = _read_or_set_aside(path)
        passed = {stem: dates for stem, dates in passed.items() if reset is not True and stem != reset}
        _write(path, passed)
    return passed, trouble


def _say(message: str, code: str, **values: object) -> str:
    return str(getattr(MESSAGES[message].format(**values), code))


def _columns(text: str) -> int:
    """Columns of a terminal: a Han character takes two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _exercises() -> dict[str, list[str]]:
    """`{"arcface": ["ex1", "ex2", "ex3", "quiz"]}`: every chapter that has checks."""
    package = importlib.import_module(__package__)
    stems = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    found = {stem: vars(importlib.import_module(f"{__package__}.{stem}")) for stem in stems}
    names = {
        stem: sorted(n for n in members if re.fullmatch(r"ex\d+|quiz", n) and isinstance(members[n], (Exercise, Quiz)))
        for stem, members in found.items()
    }
    return {stem: exercises for stem, exercises in names.items() if exercises}


def _titles(code: str) -> dict[str, str]:
    """`{"arcface": "12 ArcFace: a margin on the angle"}` from the notebooks around; none outside the course."""
    from facelearn.lesson import course_folder  # with matplotlib and pandas: a notebook has them, a check need not

    try:
        books = sorted((course_folder() / code).glob("[0-9A-Z]*_*.ipynb"))
    except FileNotFoundError:
        return {}
    titles = {}
    for book in books:
        try:
            cells = json.loads(book.read_bytes())["cells"]
            text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
            title = re.search(r"^# (.+)$", text, re.M)
        except (OSError, ValueError, KeyError, TypeError):  # a notebook somebody is just editing: its name will do
            title = None
        number, _, stem = book.stem.partition("_")
        titles[stem] = f"{number} {title[1].strip() if title else stem}"
    return titles
