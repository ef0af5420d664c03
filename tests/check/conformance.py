"""What the message of a check must be."""

from __future__ import annotations

import re

from facelearn.check.framework import Outcome

CJK = re.compile(r"[\u3400-\u9fff]")


def assert_message(outcome: Outcome, name: str) -> None:
    """One line in each language, each in its own script, with more than the name in it."""
    for line in outcome.text:
        assert line.startswith(f"{name}: "), line
        assert len(line) > len(name) + 6, line
        assert "\n" not in line, line
    assert CJK.search(outcome.text.zh), outcome.text.zh
    assert not CJK.search(outcome.text.en), outcome.text.en
