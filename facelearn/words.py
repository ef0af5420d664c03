"""Things with settings, in words: `arcface:scale=16,margin=0.4`, `synthetic:size=48,seed=7`."""

from __future__ import annotations

from typing import Any

CONSTANTS = {"true": True, "false": False, "none": None}


def parse(text: str, what: str) -> tuple[str, dict[str, Any]]:
    """`arcface:scale=16,margin=.4` -> ("arcface", {"scale": 16, "margin": 0.4}). ValueError names `what`."""
    head, _, tail = text.partition(":")
    settings = {}
    for part in filter(None, tail.split(",")):
        key, equals, value = part.partition("=")
        if not (equals and key.strip()):
            raise ValueError(f"{what}: {part!r} in {text!r}; expected name=value")
        settings[key.strip()] = _value(value.strip())
    return head.strip(), settings


def spell(head: str, settings: dict[str, Any]) -> str:
    """The inverse of `parse`."""
    names = {value: name for name, value in CONSTANTS.items()}
    plain = lambda value: names[value] if value is None or isinstance(value, bool) else value  # noqa: E731
    return head + (":" if settings else "") + ",".join(f"{name}={plain(v)}" for name, v in settings.items())


def _value(text: str) -> Any:
    if text.lower() in CONSTANTS:
        return CONSTANTS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
