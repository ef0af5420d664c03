"""Self-checks of the exercises: one module per chapter, `check.arcface.ex1(my_function)`.

    from facelearn import check
    check.arcface.ex1(stable_target)        # ex1: to do | ex1: passed (visible checks) | ex1: <what is wrong>

The module of a chapter is loaded when it is first named. How one is written: `facelearn.check.framework`.
"""

from __future__ import annotations

import importlib
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    if name.startswith("_"):
        raise AttributeError(name)
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"there are no checks for {name!r}: no file facelearn/check/{name}.py") from None
