"""What the report says, `words.json`, in both languages: neither is the translation of the other."""

from __future__ import annotations

import json
import os
from importlib.resources import files

LANGUAGES = ("en", "zh")


def reader_language() -> str:
    """`zh` or `en`: what FACELEARN_LANG says, else the locale."""
    places = (os.environ.get(name) for name in ("FACELEARN_LANG", "LC_ALL", "LC_MESSAGES", "LANG"))
    return "zh" if next(filter(None, places), "").lower().startswith("zh") else "en"


def words(language: str) -> dict[str, str]:
    if language not in LANGUAGES:
        raise ValueError(f"language: found {language!r}, expected en or zh")
    both = json.loads(files("facelearn.report").joinpath("words.json").read_text(encoding="utf-8"))
    return {name: texts[language] for name, texts in both.items()}
