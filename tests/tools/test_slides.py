"""Slides: what is kept of a chapter, what stays out, and in a browser that every slide fits and nothing is fetched."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import nbformat
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

from tools import chapters, slides
from tools.slides import condense, lead, sentences, width

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
DECKS = [("en", "12_arcface"), ("zh", "03_softmax")]  # one per language; all chapters have the same anatomy


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    for language, name in DECKS:
        slides.build([name], ROOT / "course", folder, (language,))
    return folder


# ---- prose ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It is 0.5, i.e. Not much. Then `a. B` follows.", ["It is 0.5, i.e. Not much.", "Then `a. B` follows."]),
        ("Let $x = 1. Y$ be. Then [A. B](c.md) ends.", ["Let $x = 1. Y$ be.", "Then [A. B](c.md) ends."]),
        ("**Trap 1.** It fails. Cure it.", ["**Trap 1.** It fails.", "Cure it."]),
        ("先看图。**结论**：可分。再看 $a。b$ 吗？是。", ["先看图。", "**结论**：可分。", "再看 $a。b$ 吗？", "是。"]),
    ],
)  # fmt: skip
def test_sentences_do_not_break_formulas_code_links_or_leads(text, expected):
    assert sentences(text) == expected


def test_a_paragraph_keeps_its_beginning_what_is_bold_and_what_leads_to_a_formula():
    text = f"First {'a' * 90}. Second {'b' * 90}. Third {'c' * 90}. **Bold** {'d' * 90}. Hence"
    kept = condense(text, leads_on=True, room=210)
    assert [word for word in ("First", "Second", "Third", "Bold", "Hence") if word in kept] == [
        "First",
        "Second",
        "Bold",
        "Hence",
    ]
    assert "Hence" not in condense(text, leads_on=False, room=210)
    assert condense("A" * 999 + ".", room=10) == "A" * 999 + "."  # at least one sentence
    assert width("损失") == 2 * width("ab")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**Trap 1: a trap.** It fails.", ("Trap 1: a trap", "It fails.")),
        ("**陷阱 1：度**：会出错。", ("陷阱 1：度", "会出错。")),
        ("**Trap 1: beyond** $x^2$. It fails. Badly.", ("Trap 1: beyond $x^2$", "It fails. Badly.")),
        ("**Really?** Yes.", ("Really?", "Yes.")),
        ("A **bold** word. It is no lead.", None),
        (f"**{'long ' * 30}.** It is no title.", None),
    ],
)
def test_a_bold_beginning_is_a_title(text, expected):
    assert lead(text) == expected


# ---- what is in a deck ----------------------------------------------------------------------------------------------


def visible(text: str) -> str:
    """Letters of a text alone: no tags, markup, blanks or punctuation."""
    return re.sub(r"[\W_]+", "", unescape(re.sub(r"<[^>]+>|data:[^\"]+", "", text)))


@pytest.mark.parametrize(("language", "name"), DECKS)
def test_neither_solutions_nor_answers_are_in_a_deck(out, language, name):
    deck = visible((out / language / f"{name}.html").read_text(encoding="utf-8"))
    cells = chapters.read(ROOT / "course" / language / f"{name}.ipynb")
    secrets = [line for c in cells if "solution" in c.tags for line in c.source.splitlines() if "solution" in line]
    for answer in re.findall(r"<details>(.*?)</details>", "\n".join(c.source for c in cells), re.S):
        secrets += re.findall(r"^- \*\*[A-E]\*\*(.*)", answer, re.M)
    assert len(secrets) >= 15
    assert [line for line in secrets if visible(line)[:24] in deck] == []
    exercises = [c.source for c in cells if "exercise" in c.tags]
    assert all(visible(source.partition("\n")[0]) in deck for source in exercises)  # the stubs are there


@pytest.mark.parametrize(("language", "name"), DECKS)
def test_every_figure_heading_and_question_is_there(out, language, name):
    deck = (out / language / f"{name}.html").read_text(encoding="utf-8")
    cells = [c for c in chapters.read(ROOT / "course" / language / f"{name}.ipynb") if "solution" not in c.tags]
    drawn = sum(any(k.startswith("image/") for k in o.get("data", {})) for c in cells for o in c.outputs)
    placed = sum(len(re.findall(r"^!\[", c.source, re.M)) for c in cells if c.kind == "markdown")
    assert deck.count("<figure>") == deck.count('src="data:image/') == drawn + placed > 5
    for cell in cells:
        for _, heading in chapters.headings(cell.source) if cell.kind == "markdown" else []:
            assert visible(chapters.INLINE.sub("", heading)) in visible(re.sub(r"\\\(.*?\\\)", "", deck)), heading
    assert deck.count('data-kind="quiz"') == sum(c.source.count("<details>") for c in cells)
    assert deck.count('data-kind="verdict"') >= 1


def test_a_deck_asks_no_other_place_for_anything(out):
    for path in [*out.glob("*/*.html"), *out.glob("lib/*.css")]:
        text = path.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|link|img|iframe)\b[^>]*?(?:src|href)="([^"]+)"|url\(([^)]+)\)', text)
        for target in (a or b for a, b in loaded):
            assert target.startswith("data:") or (path.parent / target).is_file(), f"{path.name}: {target[:80]}"
    assert {path.name for path in (out / "lib").iterdir()} >= {"LICENSE.reveal.js", "reveal.js", "tex-svg.js"}


def test_a_cell_tagged_no_slide_stays_out_and_an_unknown_chapter_is_named(tmp_path, capsys):
    deck = slides.Deck("99_long", "en", long_chapter(tmp_path)).html()
    assert "kept in the notes of nobody" not in deck
    assert slides.main(["77"]) == 1
    assert "77" in capsys.readouterr().err


# ---- in a browser ---------------------------------------------------------------------------------------------------


def long_chapter(folder: Path) -> Path:
    """A course with one chapter of what is too much for a slide."""
    text = "\n\n".join(f"Paragraph {i}: {'some words to fill a line or two ' * 5}." for i in range(12))
    code = "\n".join(f"variable_{i} = 'a line of code that is rather long for a slide, number {i}'" for i in range(30))
    table = "| number | text |\n|---|---|\n" + "\n".join(f"| {i} | {'cell ' * 20}|" for i in range(20))
    items = "\n".join(f"{i}. item {i} {'and so on ' * 9}" for i in range(1, 21))
    formula = "$$\n" + " + ".join(rf"\frac{{a_{{{i}}}}}{{b_{{{i}}}}}" for i in range(40)) + "\n$$"
    cells = [
        nbformat.v4.new_markdown_cell("# Long"),
        nbformat.v4.new_markdown_cell(f"## Derivation\n\n### 1 · Text\n\n{text}"),
        nbformat.v4.new_markdown_cell(f"### 2 · Formula\n\nIt is wide:\n\n{formula}"),
        nbformat.v4.new_markdown_cell("### 3 · Hidden\n\nkept in the notes of nobody", metadata={"tags": ["no-slide"]}),
        nbformat.v4.new_markdown_cell(f"## Summary\n\n{items}"),
        nbformat.v4.new_markdown_cell(f"## Paper card\n\n{table}"),
        nbformat.v4.new_markdown_cell("## From scratch\n\nCode."),
        nbformat.v4.new_code_cell(code),
    ]
    (folder / "en").mkdir(parents=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "en" / "99_long.ipynb")
    return folder


# Everything that shows text or a picture, with its box on the slide of 1280 x 720 and the size of its letters.
SEEN = """
const done = arguments[0], rows = [];
for (let i = 0; i < Reveal.getTotalSlides(); i++) {
  Reveal.slide(i);
  const slide = Reveal.getCurrentSlide(), frame = slide.getBoundingClientRect();
  for (const item of slide.querySelectorAll('h1, h2, p, li, td, th, pre, img, figcaption, mjx-container')) {
    if (item.closest('aside')) continue;
    const box = item.getBoundingClientRect();
    rows.push([i, item.tagName, box.left - frame.left, box.top - frame.top, box.right - frame.left,
      box.bottom - frame.top, parseFloat(getComputedStyle(item).fontSize), item.textContent.slice(0, 30)]);
  }
}
done({rows, clipped: [...document.querySelectorAll('.body')].filter(b => b.scrollHeight > b.clientHeight + 1).length});
"""
LEAST = {"P": 18, "LI": 25, "TD": 20, "TH": 20, "PRE": 15.5, "FIGCAPTION": 20, "H2": 36}


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync"):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    driver.set_page_load_timeout(300)
    driver.set_script_timeout(300)
    screen = {"width": 1280, "height": 720, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    yield driver
    driver.quit()


def opened(browser: webdriver.Chrome, deck: Path, least_code: float = LEAST["PRE"]) -> list[list]:
    """All boxes of a deck, after it has come up without an error and without a request to another place."""
    browser.get(deck.as_uri())
    WebDriverWait(browser, 300).until(lambda b: b.execute_script("return document.body.dataset.ready"))
    assert [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"] == []
    assert browser.execute_script("return document.querySelectorAll('mjx-merror').length") == 0
    assert browser.execute_script("return [...document.images].filter(i => !i.naturalWidth).length") == 0
    events = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    urls = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith(("file:", "data:"))] == []
    seen = browser.execute_async_script(SEEN)
    assert seen["clipped"] == 0
    for slide, tag, left, top, right, bottom, size, text in seen["rows"]:
        where = f"{deck.name}, slide {slide + 1}, {tag} {text!r}"
        assert min(left, top) >= 0, where
        assert right <= 1280, where
        assert bottom <= 720, where
        assert size >= (least_code if tag == "PRE" else LEAST.get(tag, 0)), f"{where}: letters of {size} px"
    return seen["rows"]


@pytest.mark.browser
@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Chromium and chromedriver (Debian: chromium-driver)")
class TestInABrowser:
    @pytest.mark.parametrize(("language", "name"), DECKS)
    def test_every_slide_fits_and_can_be_read(self, out, browser, language, name):
        rows = opened(browser, out / language / f"{name}.html")
        assert sum(tag == "MJX-CONTAINER" for _, tag, *_ in rows) > 30
        pictures = [bottom - top for _, tag, _, top, _, bottom, *_ in rows if tag == "IMG"]
        assert min(pictures) > 250

    def test_what_is_too_much_goes_on_to_further_slides_and_nothing_is_lost(self, browser, tmp_path):
        [deck] = slides.build(["99_long"], long_chapter(tmp_path / "course"), tmp_path / "out", ("en",))
        rows = opened(browser, deck, least_code=14)
        texts = [text for *_, text in rows]
        assert all(any(t.startswith(f"Paragraph {i}:") for t in texts) for i in range(12))
        assert all(any(t.startswith(f"item {i} ") for t in texts) for i in range(1, 21))
        assert [t for _, tag, *_, t in rows if tag == "TD" and t.isdigit()] == [str(i) for i in range(20)]
        numbers = "return [...document.querySelectorAll('.body > ol')].map(ol => [ol.start, ol.children.length])"
        lists = browser.execute_script(numbers)
        assert len(lists) > 1
        assert all(a[0] + a[1] == b[0] for a, b in itertools.pairwise(lists))  # numbered on
