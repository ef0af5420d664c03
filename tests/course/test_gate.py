"""The language gate over the course as it stands: whatever chapters and pages there are."""

from pathlib import Path

import pytest

from tools import chapters, gate

COURSE = Path(__file__).resolve().parents[2] / "course"
NAMES = chapters.names(COURSE)


def test_there_are_chapters():
    assert NAMES, f"no chapter NN_stem in {COURSE}/en or {COURSE}/zh"


@pytest.mark.parametrize("name", NAMES + chapters.pages(COURSE))
def test_both_languages_are_one_lesson(name):
    problems = gate.check(name, COURSE, slug=chapters.repository())
    assert not problems, "\n" + "\n".join(problems)


def test_the_lock_names_only_pages_that_exist():
    locked = {row["chapter"] for row in gate.read_lock(COURSE)}
    assert locked <= {*NAMES, *chapters.pages(COURSE)}
