"""The report in Chromium: it fits a phone and a desk, shows every picture, and asks nobody for anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from selenium import webdriver

from facelearn import cli
from tests.browsers import needs_chromium, screen

pytestmark = needs_chromium


@pytest.fixture(scope="module", params=["en", "zh"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page")
    words = ["evaluate", "--weights", "arcface", "--on", "synthetic:identities=6,images_per_identity=4"]
    assert cli.main([*words, "--resamples", "20", "--language", request.param, "--out", str(out)]) == 0
    return out / "report_synthetic.html"


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_a_phone_and_a_desk(width: int, page: Path, browser: webdriver.Chrome) -> None:
    with screen(browser, width, 900):
        browser.get(page.resolve().as_uri())
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        sizes = browser.execute_script("return [...document.images].map(image => image.naturalWidth)")
        assert len(sizes) == 3 + 40
        assert min(sizes) > 0
        cut = "return [...document.querySelectorAll('.wide')].filter(e => e.scrollWidth > e.clientWidth).length"
        assert browser.execute_script(cut) == 0
    assert browser.get_log("browser") == []
