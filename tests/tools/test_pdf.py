"""Chapters on paper: no Chinese character is missing, formulas are set, what should wait for the end does."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.browsers import needs_chromium
from tools import chapters, pdf
from tools.chapters import Chapter, Failed

COURSE = Path(__file__).resolve().parents[2] / "course"
NAME = "12_arcface"
HAN = re.compile(r"[\u4e00-\u9fff]")


def on_paper(language: str) -> list:
    return pdf.for_print(Chapter(COURSE / language / f"{NAME}.md")).cells


@pytest.mark.parametrize("name", chapters.names(COURSE))
@pytest.mark.parametrize("language", chapters.LANGUAGES)
def test_answers_stand_at_the_end_and_nothing_else_is_lost(language, name):
    chapter = Chapter(COURSE / language / f"{name}.md")
    cells = pdf.for_print(chapter).cells
    end = next(i for i, cell in enumerate(cells) if 'class="end"' in cell.source)
    before, after = ("\n".join(cell.source for cell in part) for part in (cells[:end], cells[end:]))
    reasons = [reason for question in chapter.questions for reason in question.reasons.values()]
    plain = [re.split(r"[\[\]]", reason)[0] for reason in reasons]  # links become text
    assert len(reasons) >= 10 * (not chapter.is_appendix)
    assert all(reason in after for reason in plain)
    assert [reason for reason in plain if reason in before and len(reason) > 20] == []
    assert [exercise for exercise in chapter.exercises if exercise.solution.source not in after] == []
    asked = [cell.source for cell in chapter.section("Predict first")[-1:]]
    guess = [cell for cell in cells[:end] if cell.source in asked]
    assert [cell.get("outputs") for cell in guess if cell.cell_type == "code"] in ([], [[]])
    for cell in chapter.cells:
        if not {"solution", "remove-cell"} & set(cell.tags):
            parts = [cell.source] if cell.kind == "code" else [text for _, text in chapters.headings(cell.source)]
            assert [part for part in parts if part not in before] == []
    assert "badge" not in before
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert [link for _, link in chapters.LINK.findall(prose) if "://" not in link] == []


def test_of_an_animation_four_moments_are_printed():
    address = pdf.picture(COURSE / "assets" / "12_arcs.gif")
    assert address.startswith("data:image/png;base64,iVBOR")
    assert pdf.picture(COURSE / "assets" / "13_boundaries.svg").startswith("data:image/svg+xml;base64,")


def test_folds_that_hide_no_answer_are_opened():
    text = "<details><summary>{}</summary>\n\n{}\n\n</details>"
    text = text.format("More", "A proof.") + "\n\n" + text.format("提示", "想。")
    assert pdf.on_paper(text, COURSE / "zh").split() == ["**More**", "A", "proof."]


def test_an_unknown_chapter_is_named(capsys):
    assert pdf.main(["77"]) == 1
    assert "77" in capsys.readouterr().err


@pytest.fixture(scope="module")
def driver():
    driver = pdf.browser()
    yield driver
    driver.quit()


def text_of(content: bytes) -> str:
    return subprocess.run(["pdftotext", "-", "-"], input=content, capture_output=True, check=True).stdout.decode()


needs_printing = [
    *needs_chromium,
    pytest.mark.skipif(not shutil.which("pdftotext"), reason="needs pdftotext (Debian: poppler-utils)"),
    pytest.mark.skipif(
        not shutil.which("fc-list") or not subprocess.run(["fc-list", ":lang=zh"], capture_output=True).stdout,
        reason="needs a font with Chinese characters (Debian: fonts-noto-cjk)",
    ),
]


class TestPrinted:
    pytestmark = needs_printing

    @pytest.mark.parametrize("language", chapters.LANGUAGES)
    def test_every_character_is_there_and_formulas_are_set(self, driver, language):
        printed = pdf.printed(Chapter(COURSE / language / f"{NAME}.md"), driver)
        text = text_of(printed)
        wanted = Counter(HAN.findall("".join(re.sub(r"!\[[^\]]*\]", "", cell.source) for cell in on_paper(language))))
        found = Counter(HAN.findall(text))
        assert (sum(wanted.values()) > 5000) == (language == "zh")
        assert wanted - found == Counter()
        assert not re.search(r"\$|\\(?:frac|theta|cos|text)\b", re.sub(r"`[^`]*`", "", text))
        prose = [cell.source for cell in on_paper(language) if cell.cell_type == "markdown"]
        formulas = sum(len(kind) for source in prose for kind in chapters.formulas(source))
        assert driver.execute_script("return document.querySelectorAll('mjx-container').length") == formulas > 150
        wide = (
            "return [...document.querySelectorAll('pre, table')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
        )
        assert driver.execute_script(wide) == 0

    @pytest.mark.parametrize(
        ("extra", "complaint"),
        [
            ("\U00031350", "no font has 1 characters (\U00031350)"),
            ("$\\frac$", "formulas that MathJax refuses: Missing"),
        ],
    )
    def test_what_cannot_be_shown_is_named(self, driver, monkeypatch, extra, complaint):
        page = pdf.page
        monkeypatch.setattr(pdf, "page", lambda chapter: page(chapter).replace("</body>", f"{extra}</body>"))
        with pytest.raises(Failed, match=re.escape(complaint)):
            pdf.printed(Chapter(COURSE / "zh" / f"{NAME}.md"), driver)
