"""Self-checks of the exercises: one module per chapter, `check.arcface.ex1(my_function)`.

    from facelearn import check
    check.arcface.ex1(stable_target)        # ex1: to do | ex1: passed (visible checks) | ex1: <what is wrong>

    check.progress()                        # what has been passed, and when

The module of a chapter is loaded when it is first named. How one is written: `facelearn.check.framework`.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facelearn.check.record import Progress


def progress(reset: bool | str = False) -> Progress:
    """What the learner has passed on this computer: a table of chapters, exercises and dates of the first pass.

    reset  True forgets every pass, `"arcface"` those of that chapter

    In the language of the notebook's folder. The passes lie in one file, named below the table and sent nowhere;
    `facelearn.check.record` says where, what counts, and how FACELEARN_PROGRESS_FILE puts it elsewhere or turns it
    off. A file that cannot be read is kept under another name. OSError where the file cannot be read or written at
    all, ValueError where `reset` names no chapter.
    """
    from facelearn.check import record

    return record.progress(reset)


def __getattr__(name: str) -> ModuleType:
    if name.startswith("_"):
        raise AttributeError(name)
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"there are no checks for {name!r}: no file facelearn/check/{name}.py") from None
