"""The sheets for a wall: one page each, with every loss and every picture on it."""

from __future__ import annotations

import re

import pytest

from facelearn import figures
from facelearn.losses import REGISTRY
from tests.tools.test_pdf import needs_printing, text_of
from tools import pdf, sheets

LANGUAGES = ("en", "zh")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_table_has_every_loss_with_its_picture(language):
    text = sheets.losses(language)
    names = [re.sub(r"<br>.*", "", cell) for cell in re.findall(r'<td class="name"[^>]*>(.*?)</td>', text)]
    assert names == [figures.NAMES[stem] for stem in REGISTRY]
    assert text.count('<img src="data:image/png;base64,') == len(REGISTRY)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_poster_is_the_figure_with_its_caption(language):
    text = sheets.poster(language)
    assert text.count("data:image/svg+xml;base64,") == 1
    for name in ("SphereFace", "MV-Arc-Softmax", "CurricularFace"):
        assert name in re.sub(r"<img[^>]*>", "", text)


@pytest.mark.parametrize("name", list(sheets.SHEETS))
@pytest.mark.parametrize("language", LANGUAGES)
class TestPrinted:
    pytestmark = needs_printing

    def test_it_is_one_page(self, browser, language, name):
        content = pdf.on_pages(sheets.SHEETS[name](language), name, browser, {"preferCSSPageSize": True})
        text = text_of(content)
        assert text.count("\f") == 1
        assert {"en": "CC BY 4.0", "zh": "文字与图"}[language] in text
