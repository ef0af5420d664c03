"""The lints over the course as it stands: every page in both languages, and what concerns no single page."""

import csv
import os
import sys
from pathlib import Path

import pytest

from facelearn.check.framework import language
from tools import chapters, lint
from tools.chapters import Chapter

ROOT = Path(__file__).resolve().parents[2]
PAGES = lint.all_pages(ROOT)


@pytest.mark.parametrize("page", PAGES, ids=[f"{page.language}-{page.path.stem}" for page in PAGES])
def test_page(page):
    problems = lint.check(page)
    assert not problems, "\n" + "\n".join(problems)


def test_every_chapter_begins_alike():
    """The lines that fetch the course on Colab and find the experiments."""
    starts = {}
    for page in PAGES:
        if isinstance(page, Chapter):
            (cell,) = [cell for cell in page.section("") if cell.kind == "code"]
            head, found, _ = cell.shared.partition('sys.path.insert(0, "..")\n')
            assert found, page.where
            starts.setdefault(head, []).append(page.where)
    assert len(starts) == 1, starts


@pytest.mark.parametrize("code", ["en", "zh"])
@pytest.mark.parametrize("name", chapters.names(ROOT / "course"))
def test_on_colab_a_notebook_finds_the_course_and_its_own_language(tmp_path, monkeypatch, name, code):
    """The first lines run where Colab puts a notebook, next to nothing; what the clone brings is made up."""
    (cell,) = [cell for cell in Chapter(ROOT / "course" / code / f"{name}.md").section("") if cell.kind == "code"]
    commands = []

    def clone(command):
        commands.append(command)
        for folder in ("course/en", "course/zh", "course/experiments"):
            (tmp_path / "facelearn" / folder).mkdir(parents=True)

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FACELEARN_LANG", raising=False)
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    monkeypatch.setattr(os, "system", clone)
    monkeypatch.setattr(sys, "path", [*sys.path])
    head = cell.source.partition('sys.path.insert(0, "..")')
    exec("".join(head[:2]), {})
    assert commands == [
        f"git clone -q --depth 1 https://github.com/{chapters.repository()} && pip install -q --no-deps ./facelearn"
    ]
    assert (Path.cwd() / sys.path[0] / "experiments").is_dir()
    assert language() == code
    exec("".join(head[:2]), {})  # run again, as a reader does
    assert len(commands) == 1
    assert language() == code


def test_project():
    problems = lint.check_project(ROOT)
    assert not problems, "\n" + "\n".join(problems)


def test_glossary_does_not_forbid_its_own_terms():
    with (ROOT / "course" / "glossary.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["en"] for row in rows}) == len(rows) >= 80
    for row in rows:
        assert None not in row.values()
        assert row["en"]
        assert row["zh"]
        for wrong in filter(None, row["zh_avoid"].split("|")):
            assert not [other["zh"] for other in rows if wrong in other["zh"]], wrong
