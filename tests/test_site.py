"""The site: both languages build without a warning, and a browser finds nothing missing, on a desk or on a phone."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

pytest.importorskip("sphinx_book_theme", reason="needs the `site` extra")

WAIT = 60


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("site")
    made = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "site.py"), "--out", str(out)], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stdout + made.stderr  # Sphinx's warnings are errors
    return out


def pages(site: Path, language: str) -> list[str]:
    skipped = {"genindex.html", "search.html", "py-modindex.html"}
    return sorted(path.name for path in (site / language).glob("*.html") if path.name not in skipped)


def test_both_languages_have_the_same_pages_and_every_chapter(site):
    assert pages(site, "en") == pages(site, "zh")
    for language in ("en", "zh"):
        stems = {path.stem for path in (ROOT / "course" / language).glob("[0-9][0-9]_*.ipynb")}
        assert stems <= {name.removesuffix(".html") for name in pages(site, language)}
        contents = (site / language / "contents.html").read_text(encoding="utf-8")
        assert all(f"{stem}.html" in contents for stem in stems)


def test_every_link_inside_the_site_leads_somewhere(site):
    for language in ("en", "zh"):
        ids = {
            name: set(re.findall(r'\sid="([^"]+)"', (site / language / name).read_text(encoding="utf-8")))
            for name in pages(site, language)
        }
        for name in pages(site, language):
            text = (site / language / name).read_text(encoding="utf-8")
            for target in re.findall(r'(?:href|src)="([^"]+)"', text):
                if re.match(r"[a-z]+:|//|data:", target):
                    continue
                path, _, anchor = target.partition("#")
                file = (site / language / path.partition("?")[0]).resolve() if path else site / language / name
                assert file.exists(), f"{language}/{name}: {target}"
                if anchor and file.parent == site / language and file.name in ids:
                    assert anchor in ids[file.name], f"{language}/{name}: {target}"


def test_no_page_asks_another_server(site):
    for path in [*site.glob("en/*.html"), *site.glob("zh/*.html")]:
        loaded = re.findall(
            r'<(?:script|link|img|iframe)\b[^>]*?(?:src|href)="((?:https?:)?//[^"]+)"', path.read_text(encoding="utf-8")
        )
        assert loaded == [], path.name


# --- in a browser ----------------------------------------------------------------------------------------------------

browser_only = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Chromium and chromedriver (Debian: chromium-driver)"),
]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(site) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync"):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    driver.set_page_load_timeout(WAIT)
    yield driver
    driver.quit()


def open_page(browser: webdriver.Chrome, url: str) -> None:
    browser.get(url)
    WebDriverWait(browser, WAIT).until(lambda b: b.execute_script("return document.readyState") == "complete")
    rendered = "return !document.querySelector('.math') || !!document.querySelector('mjx-container')"
    WebDriverWait(browser, WAIT).until(lambda b: b.execute_script(rendered))


def severe(browser: webdriver.Chrome) -> list[str]:
    return [
        e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE" and "favicon" not in e["message"]
    ]


@pytest.mark.parametrize("language", ["en", "zh"])
class TestInABrowser:
    pytestmark = browser_only

    def test_every_page_loads_with_formulas_and_images_and_fits_a_phone(self, browser, site, address, language):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        )
        try:
            for name in pages(site, language):
                open_page(browser, f"{address}/{language}/{name}")
                assert severe(browser) == [], name
                assert browser.execute_script("return document.querySelectorAll('mjx-merror').length") == 0, name
                broken = "return [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
                assert browser.execute_script(broken) == [], name
                wide = browser.execute_script("return document.documentElement.scrollWidth")
                assert wide <= 390, f"{name} is {wide} px wide on a phone"
        finally:
            browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def test_the_switch_leads_to_the_same_page(self, browser, address, language):
        other = {"en": "zh", "zh": "en"}[language]
        open_page(browser, f"{address}/{language}/12_arcface.html")
        browser.execute_script("document.querySelector('a.language-switch').click()")
        WebDriverWait(browser, WAIT).until(lambda b: f"/{other}/12_arcface.html" in b.current_url)

    def test_search_finds_what_is_there_and_nothing_else(self, browser, address, language):
        found = {"en": "gradient", "zh": "决策边界"}[language]
        for word, some in ((found, True), ("ArcFace", True), ({"en": "xylophone", "zh": "量子力学"}[language], False)):
            open_page(browser, f"{address}/{language}/search.html?q={word}")
            WebDriverWait(browser, WAIT).until(
                lambda b: b.find_elements(By.CSS_SELECTOR, "#search-results .search-summary")
            )
            WebDriverWait(browser, WAIT).until(
                lambda b: (
                    not re.search(
                        "Searching|搜索中|正在搜索", b.find_element(By.CSS_SELECTOR, "#search-results h2").text
                    )
                )
            )
            hits = browser.find_elements(By.CSS_SELECTOR, "#search-results ul.search li")
            assert bool(hits) == some, word

    def test_dark_mode(self, browser, address, language):
        open_page(browser, f"{address}/{language}/12_arcface.html")
        browser.execute_script("document.documentElement.dataset.theme = 'dark'")
        body = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        figure = browser.execute_script(
            "return getComputedStyle(document.querySelector('.bd-content img')).backgroundColor"
        )
        assert max(map(int, re.findall(r"\d+", body)[:3])) < 64
        assert figure == "rgb(255, 255, 255)"  # figures are drawn for a light ground

    def test_the_explorer_is_there(self, browser, address, language):
        open_page(browser, f"{address}/{language}/explorer.html")
        browser.switch_to.frame(browser.find_element(By.CSS_SELECTOR, "iframe.explorer"))
        assert len(browser.find_elements(By.CSS_SELECTOR, "#boundary path[data-loss]")) == 4
        browser.switch_to.default_content()


def test_the_start_page_offers_both(site):
    text = (site / "index.html").read_text(encoding="utf-8")
    assert "en/index.html" in text
    assert "zh/index.html" in text
