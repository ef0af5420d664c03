"""The scale calculator: its numbers are those of the package, and it can be used without a mouse, in both languages."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from facelearn.losses import step_costs
from facelearn.losses.costs import OPTIMIZERS
from tests.browsers import needs_chromium, screen
from tools import explorers

PAGE = Path(__file__).resolve().parent.parent / "course" / "site" / "explorer_scale.html"
PARTS = ("weights", "gradient", "optimizer", "scratch", "flop", "sent")
WAYS: dict[str, dict[str, Any]] = {
    "dense": {"tile": None, "ranks": 1, "sample_rate": 1.0},
    "tiled": {"ranks": 1, "sample_rate": 1.0},
    "denseRanks": {"tile": None, "sample_rate": 1.0},
    "ranks": {"sample_rate": 1.0},
    "partial": {},
}
pytestmark = needs_chromium


@pytest.fixture
def page(browser) -> webdriver.Chrome:
    browser.get("about:blank")
    browser.get(f"{PAGE.as_uri()}?lang=en")
    return browser


def ask(page: webdriver.Chrome, expression: str, *arguments: object) -> Any:
    return page.execute_script(f"return ({expression})(...arguments)", *arguments)


def of_the_package(way: str, s: dict[str, Any]) -> dict[str, int]:
    options = {"ranks": s["ranks"], "sample_rate": s["rate"], **WAYS[way]}
    found = step_costs(s["classes"], s["dim"], s["batch"], optimizer=s["optimizer"], itemsize=s["itemsize"], **options)
    return {part: getattr(found, part) for part in PARTS}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_number_is_that_of_the_package(page, optimizer):
    for classes, dim, batch, ranks, rate in product(
        (1_000, 93_431, 10_000_000), (64, 512), (16, 1024), (1, 3, 64), (0.05, 0.1, 1)
    ):
        for itemsize in (2, 4, 8):
            s = {"classes": classes, "dim": dim, "batch": batch, "ranks": ranks, "rate": rate,
                 "optimizer": optimizer, "itemsize": itemsize}  # fmt: skip
            got = ask(page, "s => Object.fromEntries(Object.keys(WAYS).map(way => [way, costsOf(way, s)]))", s)
            assert got == {way: of_the_package(way, s) for way in WAYS}, s


def test_the_table_and_the_bars_show_them(page):
    page.execute_script("start({C: 6.5, B: 8, R: 2}); controls(); draw()")
    s = ask(page, "() => read()")
    assert s == {"classes": 3_200_000, "dim": 512, "batch": 256, "ranks": 4, "rate": 0.1, "optimizer": "AdamW",
                 "itemsize": 4}  # fmt: skip
    for way in WAYS:
        found = of_the_package(way, s)
        cells = [cell.text for cell in page.find_elements(By.CSS_SELECTOR, f"#table tr[data-way={way}] td")]
        for shown, part in zip(cells, PARTS[:4], strict=False):
            assert float(shown) == pytest.approx(found[part] / 1e9, rel=0.05)
        widths = [
            float(bar.get_attribute("width"))
            for bar in page.find_elements(By.CSS_SELECTOR, f"#parts rect[data-way={way}]")
        ]
        for width, part in zip(widths, PARTS[:4], strict=True):
            assert width / sum(widths) == pytest.approx(found[part] / sum(found[p] for p in PARTS[:4]), abs=2e-3)


def test_as_many_classes_fit_as_it_says(page):
    s = ask(page, "() => read()")
    for way, bytes_ in product(WAYS, (16e9, 80e9)):
        most = ask(page, "most", way, s, bytes_)
        memory = [
            sum(of_the_package(way, {**s, "classes": round(most * by)})[part] for part in PARTS[:4])
            for by in (0.999, 1.001)
        ]
        assert memory[0] <= bytes_ < memory[1], way


def test_the_answers_are_right(page):
    answers = {n: [words[f"answer{n}"] for words in ask(page, "() => TEXT").values()] for n in (1, 2, 3)}

    def gb(part: str = "memory", classes: int = 1_000_000, **more: Any) -> float:
        return getattr(step_costs(classes, 512, more.pop("batch", 1024), **more), part) / 1e9

    dense, tiles = {"tile": None}, {}
    first = [gb(batch=256, **dense), gb("scratch", batch=512, **dense), gb("scratch", batch=4096, **dense)]
    rest = first[0] - gb("scratch", batch=256, **dense)
    second = [gb(**dense), gb(**dense, ranks=8), gb(**tiles), gb(ranks=8)]
    third = [gb(ranks=8), gb("flop", ranks=8) / 1e3, gb("flop", ranks=8, sample_rate=0.1) / 1e3]
    for n, numbers in ((1, [*first, rest]), (2, second), (3, third)):
        for words, number in product(answers[n], numbers):
            assert f"{number:.1f}" in words, (n, number, words)
    for words in answers[3]:
        assert f"{gb(ranks=8, sample_rate=0.1):.2f}" in words
    shared = gb(**dense, ranks=8) - gb("scratch", **dense, ranks=8)
    assert all(f"{shared:.1f}" in words for words in answers[2])
    assert all("409" in words for words in answers[1])  # 0.8 d


def test_everything_works_by_keyboard(page):
    page.find_element(By.ID, "C").send_keys(*[Keys.ARROW_RIGHT] * 20)
    assert page.find_element(By.ID, "C-value").text == "10,000,000"
    page.find_element(By.CSS_SELECTOR, "input[value='80']").send_keys(Keys.SPACE)
    page.find_element(By.CSS_SELECTOR, "input[value=SGD]").send_keys(Keys.SPACE)
    said = page.find_element(By.ID, "says").text
    assert said.startswith("Into 80 GB fit: tiles, one device; ")
    address = page.current_url
    page.get("about:blank")
    page.get(address)  # as a link that somebody was sent
    assert page.find_element(By.ID, "says").text == said
    page.find_element(By.ID, "reset").click()
    assert ask(page, "() => [state.C, state.optimizer, state.device]") == [6, "AdamW", "16"]


@pytest.mark.parametrize(("language", "width"), list(product(("en", "zh"), (390, 1280))))
def test_fits_phone_and_desk_in_both_languages_without_errors(browser, language, width):
    with screen(browser, width, 800):
        browser.get("about:blank")
        browser.get(f"{PAGE.as_uri()}?lang={language}")
        for settings in ("{}", "{C: 3, d: 5, B: 4, R: 0, r: 1}", "{C: 8, d: 11, B: 13, R: 8, optimizer: 'SGD'}"):
            browser.execute_script(f"start({settings}); controls(); draw()")
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
            assert "NaN" not in browser.page_source
            text = browser.find_element(By.TAG_NAME, "body").text
            assert "undefined" not in text
            assert bool(re.search("[一-鿿]{4}", text)) == (language == "zh")
        assert browser.find_element(By.TAG_NAME, "html").get_attribute("lang").startswith(language)
        assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_both_languages_have_the_same_words_and_nothing_comes_from_outside(page):
    words = ask(page, "() => TEXT")
    assert words["en"].keys() == words["zh"].keys()
    assert not re.search(r"(src|href)\s*=|url\(|import\s|fetch\(", PAGE.read_text(encoding="utf-8"))


def test_what_the_explorers_share_is_the_same_in_all():
    text = PAGE.read_text(encoding="utf-8")
    assert len(explorers.SHARED.findall(text)) == 2
    assert explorers.filled(text, explorers.SOURCE.read_text(encoding="utf-8")) == text, "run tools/explorers.py"
