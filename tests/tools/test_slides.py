"""Slides: what a deck may refer to, both languages as one lecture; in a browser, that all fits and can be read."""

from __future__ import annotations

import shutil
from pathlib import Path

import jupytext
import nbformat
import pytest
from selenium import webdriver

from tests.browsers import needs_chromium, screen, wait
from tools import chapters, slides
from tools.chapters import Chapter

COURSE = Path(__file__).resolve().parents[2] / "course"
DECKS = [name for name in chapters.names(COURSE) if not chapters.is_appendix(name)]  # every chapter brings its slides
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg=="


def course(folder: Path, *decks: str) -> Path:
    """A course with one chapter, and these decks in en and zh."""
    picture = nbformat.v4.new_output("display_data", {"image/png": DOT})
    printed = nbformat.v4.new_output("stream", text="1 < 2\n\n")
    table = nbformat.v4.new_output("display_data", {"text/markdown": "| a |\n|---|\n| 7 |", "text/plain": "a\n7"})
    cells = [
        nbformat.v4.new_markdown_cell("# A title\n\n[中文](../zh/99_small.ipynb)"),
        nbformat.v4.new_markdown_cell(
            "## {D}\n\n### 1 · One\n\nText.\n\n$$\na = 1\n$$\n\n### 2 · Two\n\n$$\nb\n$$\n\n$$\nc\n$$\n\n"
            "| x |\n|---|\n| [y](notation.md) |\n\nEnd."
        ),
        nbformat.v4.new_code_cell("def my_loss(x):\n    y = x\n\n    return y", outputs=[printed, table, picture]),
        nbformat.v4.new_markdown_cell("**Figure 1.** A dot with $n = 1$.\n\nMore."),
        nbformat.v4.new_markdown_cell("![A sheet](../assets/sheet.svg)\n\n**Figure 2.** A sheet."),
        nbformat.v4.new_code_cell("def secret():\n    pass", metadata={"tags": ["solution"]}),
        nbformat.v4.new_markdown_cell(
            "## {Q}\n\n**1.** Why?\n\n- **A.** so\n\n"
            "<details><summary>Answer</summary>\n\n- **A** no: so\n\n</details>\n\n**2.** How?"
        ),
    ]
    for language, deck in zip(chapters.LANGUAGES, decks * 2, strict=False):
        words = {"en": ("Derivation", "Quiz"), "zh": ("推导", "小测")}[language]
        text = nbformat.writes(nbformat.v4.new_notebook(cells=cells))
        (folder / language).mkdir(parents=True)
        book = folder / language / "99_small.ipynb"
        book.write_text(text.replace("{D}", words[0]).replace("{Q}", words[1]), encoding="utf-8")
        jupytext.write(jupytext.read(book), book.with_suffix(".md"), fmt="md:myst")
        (folder / "slides" / language).mkdir(parents=True)
        (folder / "slides" / language / "99_small.md").write_text(deck, encoding="utf-8")
    (folder / "assets").mkdir()
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="72pt" height="100pt" viewBox="0 0 72 100"></svg>'
    (folder / "assets" / "sheet.svg").write_text(svg)
    return folder


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("formula 1", "$$\na = 1\n$$"),
        ("formula 2.2", "$$\nc\n$$"),
        ("table 2", "| y |"),
        ("code my_loss", "return"),
        ("output Derivation 1", "1 &lt; 2"),
        ("output Derivation 1.2", "| 7 |"),
        ("figure 1", "figure_1.png\n:alt: Figure 1. A dot with n = 1"),
        ("figure 2", "figure_2.svg\n:alt: A sheet"),
        ("picture sheet.svg, 10-60%", "picture_sheet_svg_10_60_.svg"),
        ("question 1", "- **A.** so"),
    ],
)
def test_a_reference_shows_what_the_chapter_has(tmp_path, reference, expected):
    shown = slides.shown(Chapter(course(tmp_path / "course", "") / "en" / "99_small.ipynb"), reference, tmp_path)
    assert expected in shown
    assert "no:" not in shown
    for file in tmp_path.glob("*10_60_.svg"):
        assert 'height="50.0" viewBox="0.0 10.0 72.0 50.0"' in file.read_text()


@pytest.mark.parametrize(
    ("reference", "complaint"),
    [
        ("figure 7", "no figure 7"),
        ("picture none.gif", "no file course/assets/none.gif"),
        ("formula 2", "step 2 has 2 display formulas"),
        ("formula 1.2", "step 1 has 1 display formulas"),
        ("formula 9", "no step 9; there are 1, 2"),
        ("table Quiz", "no table in 'Quiz'"),
        ("table 小测", "no section '小测'; expected one of One question"),
        ("code secret", "no function or class 'secret'"),
        ("output Quiz 1", "0 code cells"),
        ("output Derivation 1.3", "prints 2 texts and tables"),
        ("question 3", "no question 3; there are 1, 2"),
        ("figure 1, 0-50%", "only of an SVG"),
        ("cell 7", "expected figure, picture, formula"),
        ("image 1", "expected figure, picture"),
    ],
)
def test_an_unknown_reference_is_one_line_that_names_file_and_slide(tmp_path, reference, complaint):
    folder = course(tmp_path / "course", f"## A slide\n\nshow: {reference}\n\nNote:\nSay it.\n")
    with pytest.raises(chapters.Failed) as error:
        slides.Deck(folder / "slides" / "zh" / "99_small.md").markdown(tmp_path)
    [line] = str(error.value).splitlines()
    assert "slides/zh/99_small.md, slide 1 ('A slide')" in line
    assert reference in line
    assert complaint in line


ONE = "## A\n\n文字 $x$。\n\nshow: figure 1\n\nNote:\n备注。\n\n"


@pytest.mark.parametrize(
    ("en", "zh", "complaint"),
    [
        (ONE * 12, ONE * 13, "en has 12 slides, zh has 13"),
        (ONE * 11, ONE * 11, "12 to 20"),
        (ONE * 21, ONE * 21, "12 to 20"),
        (ONE * 12, ONE.replace("figure 1", "figure 2") + ONE * 11, "slide 1 ('A', 'A'): en shows ['figure 1'], zh"),
        (ONE * 12, ONE * 11 + ONE.replace("$x$", "$y$"), "slide 12 ('A', 'A'): the formulas differ"),
        (ONE * 12, ONE * 11 + ONE.replace("备注。", ""), "zh has no notes"),
        (ONE * 12, ONE * 12 + "边距", "'间隔'"),
    ],
)  # fmt: skip
def test_both_languages_are_one_lecture(tmp_path, en, zh, complaint):
    folder = course(tmp_path / "course", en, zh)
    shutil.copy(COURSE / "glossary.csv", folder)
    assert any(complaint in problem for problem in slides.problems("99_small", folder))
    (folder / "slides" / "zh" / "99_small.md").write_text(en, encoding="utf-8")
    assert (list(slides.problems("99_small", folder)) == []) == (en == ONE * 12)
    (folder / "slides" / "zh" / "99_small.md").unlink()
    assert list(slides.problems("99_small", folder)) == ["slides/zh/99_small.md is missing"]


@pytest.mark.parametrize("name", DECKS)
def test_the_decks_of_the_course_are_without_fault(name):
    assert list(slides.problems(name, COURSE)) == []


def test_the_command_names_what_is_wrong(capsys):
    assert slides.main(["77"]) == 1
    assert "77" in capsys.readouterr().err


# Everything that shows text or a picture, with its box on the slide and the size of its letters, which is what is left
# of it where a formula was too wide.
SEEN = """
const rows = [];
for (const slide of Reveal.getSlides()) {
  Reveal.slide(...Object.values(Reveal.getIndices(slide)));
  for (const item of slide.querySelectorAll('h1, h2, p, li, td, th, pre, img, mjx-container > svg')) {
    if (item.closest('aside')) continue;
    const box = item.getBoundingClientRect(), style = getComputedStyle(item), whole = item.viewBox?.baseVal.width;
    rows.push({tag: item.tagName, slide: slide.querySelector('h1, h2').textContent, left: box.left, top: box.top,
      right: box.left + Math.max(box.width, item.tagName === 'PRE' ? item.scrollWidth : 0), bottom: box.bottom,
      letters: whole ? 1000 * box.width / whole : parseFloat(style.fontSize)});
  }
}
return rows;
"""


def look(browser: webdriver.Chrome, deck: Path) -> list[dict]:
    """All boxes of a deck, after it has come up without an error and without a request to another place."""
    browser.get_log("browser")  # what other tests left
    browser.get(deck.as_uri())
    ready = (
        "return window.Reveal?.isReady() && !!document.querySelector('.slides') && !!window.MathJax?.startup?.promise"
    )
    wait(browser, lambda b: b.execute_script(ready))
    browser.execute_async_script("MathJax.startup.promise.then(arguments[0])")
    assert [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"] == []
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in loaded if not name.startswith(("file:", "data:"))] == []
    assert browser.execute_script("return document.querySelectorAll('g[data-mjx-error]').length") == 0
    assert browser.execute_script("return [...document.images].filter(i => !i.naturalWidth).length") == 0
    return browser.execute_script(SEEN)


class TestInABrowser:
    pytestmark = needs_chromium

    def test_every_slide_fits_and_can_be_read(self, browser, tmp_path):
        decks = slides.build(DECKS, COURSE, tmp_path)
        assert len(decks) == 2 * len(DECKS) >= 6
        for deck in decks:
            with screen(browser, 1280, 720):
                rows = look(browser, deck)
            assert sum(row["tag"] == "svg" for row in rows) > 3
            for row in rows:
                where = f"{deck.parent.name}/{deck.name}: {row}"
                assert min(row["left"], row["top"]) >= 0, where
                assert row["right"] <= 1280, where
                assert row["bottom"] <= 700, where
                assert row["letters"] >= {"PRE": 15, "svg": 19}.get(row["tag"], 28), where
                large = row["bottom"] - row["top"] > 250 or row["right"] - row["left"] > 1100  # high, or of full width
                assert row["tag"] != "IMG" or large, where

    def test_what_sticks_out_is_seen(self, browser, tmp_path):
        deck = "## Long $x$\n\n" + "Too much text for a slide. " * 60 + "\n\nNote:\nNo.\n"
        [en, _] = slides.build(["99_small"], course(tmp_path / "course", deck), tmp_path / "out")
        with screen(browser, 1280, 720):
            assert max(row["bottom"] for row in look(browser, en)) > 720
