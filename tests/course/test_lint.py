"""The lints over the course as it stands: every page in both languages, and what concerns no single page."""

import csv
from pathlib import Path

import pytest

from tools import lint
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
