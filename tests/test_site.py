"""The site: both languages build without a warning, and a browser finds nothing missing, on a desk or on a phone."""

from __future__ import annotations

import csv
import functools
import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from facelearn.losses import REGISTRY
from tests.browsers import needs_chromium, resize, screen, wait
from tools import chapters, contents, site_pages
from tools import site as builder

ROOT = Path(__file__).resolve().parent.parent

pytest.importorskip("sphinx_book_theme", reason="needs the `site` extra")

LANGUAGES = ("en", "zh")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("site")
    made = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "site.py"), "--out", str(out)], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stdout + made.stderr  # Sphinx's warnings are errors
    return out


@pytest.fixture(scope="module")
def soups(site) -> dict[str, BeautifulSoup]:
    """Every page of both languages, by its path in the site."""
    found = [*site.glob("en/*.html"), *site.glob("zh/*.html"), site / "index.html"]
    return {path.relative_to(site).as_posix(): BeautifulSoup(path.read_text("utf-8"), "html.parser") for path in found}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def pages(site: Path, language: str) -> list[str]:
    skipped = {"genindex.html", "search.html", "py-modindex.html"}
    return sorted(path.name for path in (site / language).glob("*.html") if path.name not in skipped)


def articles(soups: dict[str, BeautifulSoup]) -> Iterator[tuple[str, BeautifulSoup]]:
    """What was written for a reader, without navigation."""
    for name, soup in soups.items():
        if (article := soup.find("article")) and "/genindex" not in name:
            yield name, article


def chapter_stems(language: str) -> set[str]:
    return {path.stem for path in (ROOT / "course" / language).glob("*.ipynb") if chapters.NAME.fullmatch(path.stem)}


def rows(soup: BeautifulSoup) -> list[list[BeautifulSoup]]:
    """The cells of the first table of a page, without its head."""
    return [line.find_all("td") for line in soup.find("article").find("table").find_all("tr")[1:]]


# ---- what is there --------------------------------------------------------------------------------------------------


def test_both_languages_have_the_same_pages_and_every_chapter(site):
    assert pages(site, "en") == pages(site, "zh")
    for language in LANGUAGES:
        written = chapter_stems(language) | {path.stem for path in (ROOT / "course" / language).glob("*.md")}
        there = {name.removesuffix(".html") for name in pages(site, language)}
        assert written - there == builder.IN_THE_PROJECT_ALONE


def test_the_answers_of_the_exam_bank_are_not_on_the_site(site):
    answers = (ROOT / "course" / "en" / "exam_answers.md").read_text(encoding="utf-8")
    (sentence,) = re.findall(r"B's genuine scores form a narrow hill", answers)
    assert not [path for path in site.rglob("*") if "exam_answers" in path.name]
    texts = (path.read_text("utf-8") for path in [*site.rglob("*.html"), *site.rglob("*.js"), *site.rglob("*.md")])
    assert not any(sentence in text for text in texts)


def test_every_page_is_in_the_navigation(site, soups):
    for language in LANGUAGES:
        bar = soups[f"{language}/index.html"].find(class_="bd-sidebar-primary")
        there = {link["href"].partition("#")[0] for link in bar.find_all("a", href=True)}
        assert set(pages(site, language)) - {"index.html"} <= there


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_chapter_list_says_what_is_needed_how_long_it_takes_and_where_to_run_it(soups, language):
    planned = rows(soups[f"{language}/contents.html"])
    found = [cells for cells in planned if cells[1].a]
    letters = [chapters.number(name) for name in chapters.names(ROOT / "course") if chapters.is_appendix(name)]
    assert [cells[0].text for cells in planned] == [*(f"{number:02}" for number in range(22)), *letters]
    assert letters
    for cells in planned:
        if cells not in found:
            assert cells[2].text in site_pages.WORDS[language]["unwritten"]
    for page in ("index", "contents"):
        assert contents.state(ROOT / "course", language) in soups[f"{language}/{page}.html"].article.text
    assert [cells[1].a["href"] for cells in found] == [f"{stem}.html" for stem in sorted(chapter_stems(language))]
    for _, title, needs, reading, running, run in found:
        stem = title.a["href"].removesuffix(".html")
        source = (ROOT / "course" / language / f"{stem}.md").read_text(encoding="utf-8")
        assert len(needs.text) > 10
        assert needs.text.split("（")[0].split(" (")[0].split("、")[0].split(",")[0] in re.sub(r"[\[\]`$]", "", source)
        assert re.search(rf"{reading.text.strip()} ?(minutes|分钟)", source)
        assert f"minutes={running.text.strip()}" in source
        colab, binder = (link["href"] for link in run.find_all("a"))
        path = f"course/{language}/{stem}.ipynb"
        assert colab == f"https://colab.research.google.com/github/{chapters.repository()}/blob/main/{path}"
        assert binder == f"https://mybinder.org/v2/gh/{chapters.repository()}/main?urlpath=lab/tree/{path}"
        in_chapter = {link["href"] for link in soups[f"{language}/{stem}.html"].article.find_all("a", href=True)}
        assert {colab, binder} <= in_chapter


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_table_of_losses_has_a_row_with_a_picture_for_every_loss(site, soups, language):
    found = rows(soups[f"{language}/losses.html"])
    with (ROOT / "course" / "losses.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert (
        [row["stem"] for row in table] == [cells[0].img["src"].split("/")[-1][:-4] for cells in found] == list(REGISTRY)
    )
    assert all(None not in row for row in table)  # as many cells as columns
    described = [cells[0].img["alt"] for cells in found]
    assert all(bool(re.search("[一-鿿]", text)) == (language == "zh") for text in described)
    for row, cells in zip(table, found, strict=True):
        assert f"facelearn.losses.{REGISTRY[row['stem']].__name__}" in cells[1].a["href"]
        there = any(stem.startswith(row["chapter"]) for stem in chapter_stems(language))
        assert (re.search("not yet|尚未", cells[1].text) is None) == there
        assert f"/facelearn/losses/{row['stem']}.py" in cells[1].find_all("a")[-1]["href"]
        math = {span.text.removeprefix(r"\(").removesuffix(r"\)") for span in cells[2].find_all(class_="math")}
        assert {row[name].strip("$") for name in ("target", "others", "boundary") if row[name]} <= math
        assert row["lfw"] in cells[4].text
        assert row[f"lfw_{language}"] in cells[4].text  # a figure, with the data and the net it belongs to
        assert bool(row["lfw"]) == bool(row["lfw_en"]) == bool(row["lfw_zh"]) == bool(row["lfw_source"])
        assert re.sub(r"\$.*?\$", "", row[f"fails_{language}"])[:12] in cells[5].text or "$" in row[f"fails_{language}"]
        assert bool(row["boundary"] or row[f"remark_{language}"])
    made = soups[f"{language}/losses.html"].article.find_all("table")[1].find_all("tr")[1:]
    assert [line.find_all("td")[1].text for line in made] == [
        row["setting"] for row in site_pages.table(ROOT / "course" / "assets" / "losses" / "pictures.csv")
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_was_measured_on_five_digits_says_so(soups, language):
    made = soups[f"{language}/losses.html"].article.find_all("table")[1].find_all("tr")[1:]
    marked = {line.a["href"].split(".")[-1] for line in made if {"en": "five", "zh": "五"}[language] in line.text}
    assert marked == {"CurricularFace", "CircleFace"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_term_is_explained_in_the_language_of_the_page(soups, language):
    terms = site_pages.table(ROOT / "course" / "glossary.csv")
    found = [[cell.text for cell in cells] for cells in rows(soups[f"{language}/glossary.html"])]
    assert sorted(cells[0] for cells in found) == sorted(row[language] for row in terms)
    assert all(bool(re.search("[一-鿿]", cells[2])) == (language == "zh") for cells in found)


@pytest.mark.parametrize("language", LANGUAGES)
def test_chapters_have_their_numbers_in_the_navigation(soups, language):
    bar = soups[f"{language}/index.html"].find(class_="bd-sidebar-primary")
    found = {link["href"][:-5]: link.text.strip() for link in bar.find_all("a", href=True)}
    for stem in chapter_stems(language):
        assert found[stem] == f"{chapters.number(stem)} · {soups[f'{language}/{stem}.html'].h1.text.rstrip('#')}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_solutions_and_answers_to_a_guess_are_folded(soups, language):
    for stem in chapter_stems(language):
        article = soups[f"{language}/{stem}.html"].article
        solved = article.select(".cell.tag_solution")
        assert len(solved) == len(chapters.Chapter(ROOT / "course" / language / f"{stem}.md").exercises) >= 3
        for cell in [*solved, *article.select(".cell.tag_hide-output")]:
            fold = cell.find("details")
            assert not fold.has_attr("open")
            assert fold.find(class_="collapsed").text in site_pages.WORDS[language].values()
            hidden = cell.select(".cell_output") + (cell.select("pre") if cell in solved else [])
            assert hidden
            assert all(fold in part.parents for part in hidden)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_models_page_shows_what_was_measured(soups, language):
    nets = json.loads((ROOT / "facelearn" / "zoo" / "zoo.json").read_text(encoding="utf-8"))["nets"]
    found = {cells[0].text: [cell.text for cell in cells[1:]] for cells in rows(soups[f"{language}/models.html"])}
    assert found.keys() == nets.keys()
    for name, net in nets.items():
        shown = " ".join(found[name])
        for key in ("eer", "tar@1e-02", "tar@1e-03"):
            number = net["measured"]["numbers"][key]
            assert all(f"{100 * number[bound]:.2f}%" in shown for bound in ("value", "low", "high"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_data_page_names_every_script(soups, language):
    text = soups[f"{language}/data.html"].article.text
    assert all(path.name in text for path in (ROOT / "data_scripts").glob("[!_]*.py"))


# ---- links ----------------------------------------------------------------------------------------------------------


def test_every_link_inside_the_site_leads_somewhere(site, soups):
    ids = {name: {tag["id"] for tag in soup.find_all(id=True)} for name, soup in soups.items()}
    broken = []
    for name, soup in soups.items():
        for tag in soup.find_all(["a", "img", "script", "link", "iframe"]):
            target = tag.get("href") or tag.get("src") or ""
            if not target or re.match(r"[a-z]+:|//", target):
                continue
            path, _, anchor = target.partition("#")
            file = (site / name).parent / unquote(path.partition("?")[0]) if path else site / name
            place = file.resolve().relative_to(site.resolve()).as_posix()
            if not file.exists() or (anchor and place in ids and unquote(anchor) not in ids[place]):
                broken.append((name, target))
    assert broken == []


def test_no_page_asks_another_server(soups):
    for name, soup in soups.items():
        loaded = [tag.get("src") or tag.get("href") for tag in soup.find_all(["script", "link", "img", "iframe"])]
        assert [target for target in loaded if re.match(r"(https?:)?//", target or "")] == [], name


def test_a_dead_address_is_named_and_our_own_is_not_asked(tmp_path, monkeypatch):
    """`make links` on a page of three addresses: one answers, one does not, one is this repository's."""
    (tmp_path / "live").mkdir()
    with served(tmp_path / "live") as address:
        own = f"https://github.com/{chapters.repository()}/blob/main/none"
        page = f"# Page\n\n[live]({address}/) [dead]({address}/none) [ours]({own})\n"
        monkeypatch.setattr(builder, "static", lambda folder: folder.mkdir(parents=True))
        monkeypatch.setattr(builder, "gather", lambda _, source: (source / "index.md").write_text(page, "utf-8"))
        monkeypatch.delenv("http_proxy", raising=False)
        with pytest.raises(chapters.Failed):
            builder.build(tmp_path, ("en",), "linkcheck")
    found = (tmp_path / "linkcheck_en" / "output.json").read_text(encoding="utf-8").splitlines()
    status = {row["uri"].removeprefix(address): row["status"] for row in map(json.loads, found)}
    assert status == {"/": "working", "/none": "broken", own: "ignored"}


# ---- for every reader -----------------------------------------------------------------------------------------------


def test_every_picture_is_described(soups):
    for name, soup in soups.items():
        for image in soup.find_all("img"):
            text = image.get("alt", "").strip()
            assert len(text) > 8, f"{name}: {image['src']}"
            assert not re.search(r"\.(png|gif|svg|jpe?g)$|^[\w-]+$", text), f"{name}: {image['src']}: {text}"


def test_figures_are_described_by_their_captions(soups):
    for name, article in articles(soups):
        captions = re.findall(r"^(?:Figure|图) \d+", article.text, re.M)
        outputs = article.select(".cell_output img")
        assert all(re.match(r"(Figure|图) \d+", image["alt"]) for image in outputs), name
        assert len({image["alt"].split(".")[0].split(" ")[1] for image in outputs}) <= len(captions), name
        assert not any(re.search(r"[$\\{}]|\*\*|\]\(", image["alt"]) for image in outputs), name


def test_captions_are_read_aloud_without_markup():
    text = (
        r"**Figure 2.** The slope $\partial L / \partial\cos\theta_j \le 0$ of [Deng](references.md#a), *in* `float32`."
    )
    assert builder.plain(text) == "Figure 2. The slope ∂ L / ∂ cos θ_j ≤ 0 of Deng, in float32."
    assert builder.plain(r"norm $\lVert x \rVert$ is $10^{-3}$") == "norm ‖ x ‖ is 10^-3"


def test_headings_come_in_order_and_pages_say_their_language(soups):
    for name, soup in soups.items():
        language = "zh-CN" if name.startswith("zh/") else "en"
        assert soup.html["lang"] == language, name
        if switch := soup.find("a", class_="language-switch"):
            assert switch["lang"] == switch["hreflang"] == {"en": "zh-CN", "zh-CN": "en"}[language]
    for name, article in articles(soups):
        levels = [int(tag.name[1]) for tag in article.find_all(re.compile("^h[1-6]$"))]
        assert levels[:1] == [1], name
        assert levels.count(1) == 1, name
        assert all(after <= before + 1 for before, after in pairwise(levels)), (name, levels)


def test_frames_and_buttons_have_names(soups):
    for name, soup in soups.items():
        assert all(frame.get("title") for frame in soup.find_all("iframe")), name
        for button in soup.find_all("button"):
            assert button.text.strip() or button.get("aria-label") or button.get("title"), f"{name}: {button}"


# ---- in a browser ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(site) -> Iterator[str]:
    with served(site) as address:
        yield address


def open_page(browser: webdriver.Chrome, url: str) -> None:
    browser.get(url)
    wait(browser, lambda b: b.execute_script("return document.readyState") == "complete")
    typeset = "document.querySelector('.math') ? MathJax.startup.promise.then(() => arguments[0]()) : arguments[0]()"
    browser.execute_async_script(typeset)


def severe(browser: webdriver.Chrome) -> list[str]:
    return [
        e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE" and "favicon" not in e["message"]
    ]


# Text whose contrast with the nearest painted ground is below WCAG 2.2 AA: 4.5, or 3 where it is large.
CONTRAST = """
const number = c => (c.match(/[\\d.]+/g) || []).map(Number);
const channel = v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const light = c => .2126 * channel(c[0]) + .7152 * channel(c[1]) + .0722 * channel(c[2]);
const ground = e => { for (; e; e = e.parentElement) { const c = number(getComputedStyle(e).backgroundColor);
  if (c.length === 3 || c[3] > .9) return c; } return [255, 255, 255]; };
const poor = {}, walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const e = walker.currentNode.parentElement, style = getComputedStyle(e);
  if (!walker.currentNode.data.trim() || !e.checkVisibility({visibilityProperty: true, opacityProperty: true})
      || !e.getClientRects().length || e.closest('svg, script, style, mjx-assistive-mml, .headerlink')) continue;
  const [a, b] = [light(number(style.color)), light(ground(e))].sort((x, y) => y - x);
  const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
  const ratio = (a + .05) / (b + .05);
  if (ratio < (large ? 3 : 4.5)) poor[walker.currentNode.data.trim().slice(0, 30)] = [ratio, style.color, ground(e)];
}
return poor;
"""


# What is set badly: a line that begins with punctuation, slanted Chinese, what sticks out of its column. Where a number
# of characters is given, formulas and code have to fit, and output of lines up to that; without one they may scroll.
FAULTS = r"""
const article = document.querySelector('article'), faults = {}, fits = arguments[0];
if (!article) return faults;
const note = (kind, text) => (faults[kind] ??= []).push(text.trim().slice(0, 40));
const shown = e => e.checkVisibility(), box = e => e.getBoundingClientRect();
const letter = (node, i) => {
  const range = document.createRange();
  range.setStart(node, i); range.setEnd(node, i + 1);
  return range.getClientRects()[0];
};
const walker = document.createTreeWalker(article, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT,
  node => node.matches?.('pre, svg, script, mjx-container *') ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
for (let before = null, last = null, node; (node = walker.nextNode());) {  // what stands before: null after a blank
  const formula = node.nodeName === 'MJX-CONTAINER' && node, text = node.nodeType === 3 && node;
  if (!formula && !text) continue;
  const block = node.parentElement.closest('p, li, td, th, dd, dt, h1, h2, h3, summary');
  if (block !== last || block?.matches('dt')) before = null;  // a signature is code
  last = block;
  if (formula) before = () => box(formula);
  for (let i = 0; i < (text?.data?.length ?? 0); i++) {
    if (before && /[，。；：？！、）”’》】,.;:?!)\]]/.test(text.data[i])) {
      const here = letter(text, i), there = before();
      if (here && there && here.left < there.left && here.top > there.top + 4)
        note('line begins with', text.data.slice(i, i + 12));
    }
    before = text.data[i].trim() && (() => letter(text, i));
  }
}
for (const e of article.querySelectorAll(':not(mjx-container *)'))
  if (/[\u3400-\u9fff]/.test(e.textContent) && getComputedStyle(e).fontStyle !== 'normal' && shown(e))
    note('slanted', e.textContent);
for (const e of article.querySelectorAll('pre, mjx-math, table, img, iframe')) {
  const formula = e.nodeName === 'MJX-MATH', column = e.closest('div.math, p, li, dd, h1, h2, h3') ?? e.parentElement;
  if (!shown(e) || (formula && e.closest('table'))) continue;  // the table is asked
  if (box(e).right > innerWidth + 1 || (!formula && e.scrollWidth > e.clientWidth + 1)) {
    let frame = e;
    while (frame !== article && !/auto|scroll/.test(getComputedStyle(frame).overflowX)) frame = frame.parentElement;
    if (frame === article || box(frame).right > innerWidth + 1) note('cut', e.outerHTML);
  }
  if (!fits) continue;
  if (formula && box(e).width > column.clientWidth + 1) note('formula', e.parentElement.outerHTML);
  const longest = Math.max(...e.innerText.split('\n').map(line => line.length));
  if (e.nodeName === 'PRE' && e.scrollWidth > e.clientWidth + 1 && !(e.closest('.cell_output') && longest > fits))
    note('code', e.innerText);
}
return faults;
"""


@pytest.mark.parametrize("language", LANGUAGES)
class TestInABrowser:
    pytestmark = needs_chromium

    def test_every_page_loads_with_formulas_and_images_and_is_set_well(self, browser, site, address, language):
        with screen(browser, 1280, 800):
            for name in pages(site, language):
                browser.get("about:blank")  # so that no long page is laid out for the next one's sake
                resize(browser, 1280, 800)
                open_page(browser, f"{address}/{language}/{name}")
                assert severe(browser) == [], name
                assert browser.execute_script("return document.querySelectorAll('mjx-merror').length") == 0, name
                broken = "return [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
                assert browser.execute_script(broken) == [], name
                assert browser.execute_script(FAULTS, 100) == {}, name
                resize(browser, 390, 844)
                browser.execute_async_script("requestAnimationFrame(() => setTimeout(arguments[0]))")
                assert browser.execute_script(FAULTS, 0) == {}, name
                wide = browser.execute_script("return document.documentElement.scrollWidth")
                assert wide <= 390, f"{name} is {wide} px wide on a phone"
                switch = browser.find_element(By.CSS_SELECTOR, "a.language-switch")
                assert switch.is_displayed(), name
                assert switch.rect["y"] >= 0, name

    def test_terms_come_in_the_order_of_their_language(self, browser, address, language):
        open_page(browser, f"{address}/{language}/glossary.html")
        order = """const terms = [...document.querySelectorAll('tbody tr')].map(row => row.cells[0].innerText.trim());
        const order = new Intl.Collator(arguments[0]).compare;
        return terms.slice(1).map((term, i) => [terms[i], term]).filter(([a, b]) => order(a, b) > 0)"""
        wrong = browser.execute_script(order, {"en": "en", "zh": "zh-CN-u-co-pinyin"}[language])
        if language == "zh":  # Latin comes first here; 长 has two sounds; of letters with one sound either may be first
            alike = ("夹加", "加夹", "链练", "练链", "权全", "全权", "阈预", "预阈")
            wrong = [
                (a, b) for a, b in wrong if re.match("[一-鿿]", a) and "长" not in a + b and a[0] + b[0] not in alike
            ]
        assert wrong == []

    def test_the_landing_page_shows_on_one_screen_what_is_learnt(self, browser, address, language):
        for width, height in ((1280, 800), (390, 844)):
            with screen(browser, width, height):
                open_page(browser, f"{address}/{language}/index.html")
                seen = [e for e in browser.find_elements(By.CSS_SELECTOR, "article img") if e.is_displayed()]
                goals = browser.find_element(By.CSS_SELECTOR, ".column ul")
                assert seen
                assert max(e.rect["y"] + e.rect["height"] for e in [*seen, goals]) <= height, (width, height)

    def test_the_switch_leads_to_the_same_page(self, browser, address, language):
        other = {"en": "zh", "zh": "en"}[language]
        open_page(browser, f"{address}/{language}/12_arcface.html")
        browser.find_element(By.CSS_SELECTOR, "a.language-switch").click()
        wait(browser, lambda b: f"/{other}/12_arcface.html" in b.current_url)

    def test_search_finds_what_is_there_and_nothing_else(self, browser, address, language):
        found = {"en": "gradient", "zh": "决策边界"}[language]
        for word, some in ((found, True), ("ArcFace", True), ({"en": "xylophone", "zh": "量子力学"}[language], False)):
            open_page(browser, f"{address}/{language}/search.html?q={word}")
            wait(browser, lambda b: b.find_elements(By.CSS_SELECTOR, "#search-results .search-summary"))
            wait(
                browser,
                lambda b: (
                    not re.search(
                        "Searching|搜索中|正在搜索", b.find_element(By.CSS_SELECTOR, "#search-results h2").text
                    )
                ),
            )
            hits = browser.find_elements(By.CSS_SELECTOR, "#search-results ul.search li")
            assert bool(hits) == some, word

    def test_light_and_dark_text_has_contrast_and_figures_keep_their_colours(self, browser, address, language):
        for name in ("index", "12_arcface", "losses", "contents", "models"):
            open_page(browser, f"{address}/{language}/{name}.html")
            for theme in ("light", "dark"):
                browser.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
                assert browser.execute_script(CONTRAST) == {}, (name, theme)
            body = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
            assert max(map(int, re.findall(r"\d+", body)[:3])) < 64
            for image in browser.find_elements(By.CSS_SELECTOR, "article img:not([src*=badge])"):
                assert image.value_of_css_property("background-color") in (
                    "rgba(255, 255, 255, 1)",
                    "rgb(255, 255, 255)",
                )
                assert image.value_of_css_property("filter") == "none"

    def test_who_moves_by_keyboard_sees_where_they_are(self, browser, address, language):
        open_page(browser, f"{address}/{language}/index.html")
        body = browser.find_element(By.TAG_NAME, "body")
        seen = set()
        for _ in range(12):
            body.send_keys(Keys.TAB)
            focused = browser.switch_to.active_element
            width = focused.value_of_css_property("outline-width")
            shadow = focused.value_of_css_property("box-shadow")
            assert float(width.removesuffix("px")) >= 2 or shadow != "none", focused.get_attribute("outerHTML")[:200]
            seen.add(focused.get_attribute("outerHTML")[:200])
        assert len(seen) > 5

    def test_an_explorer_is_there_as_high_and_as_dark_as_the_page_wants(self, browser, address, language):
        margins, points, pairs = ("#boundary path[data-loss]", 6), ("#dots .dot", 36), ("#dots .dot", 4)
        ways = ("#table tr[data-way]", 5)
        explorers = {"explorer": margins, "index": margins, "mining": points, "circle": pairs, "scale": ways}
        for name, (drawn, many) in explorers.items():
            open_page(browser, f"{address}/{language}/{name}.html")
            browser.execute_script("document.documentElement.dataset.theme = 'dark'")
            frame = browser.find_element(By.CSS_SELECTOR, "iframe.explorer")
            wait(browser, lambda b, frame=frame: frame.get_attribute("style"))
            browser.switch_to.frame(frame)
            ask = browser.execute_script
            wait(browser, lambda b: b.execute_script("return document.documentElement.dataset.theme"))
            assert ask("return document.documentElement.dataset.theme") == "dark"
            assert ask("return document.documentElement.lang").startswith(language)
            assert ask("return document.documentElement.scrollHeight <= innerHeight + 1")  # nothing to scroll inside
            assert len(browser.find_elements(By.CSS_SELECTOR, drawn)) == many
            browser.switch_to.default_content()
