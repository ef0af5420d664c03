"""Headless Chromium for the tests that look at pages as a reader does."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

needs_chromium = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Chromium and chromedriver (Debian: chromium-driver)"),
]
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync")  # fmt: skip


@contextmanager
def chromium(*flags: str, log: str = "browser") -> Iterator[webdriver.Chrome]:
    """A browser of its own that asks nobody on the network; `log`: what `get_log` shall give."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in ("--headless=new", *FLAGS, *flags):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {log: "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def screen(browser: webdriver.Chrome, width: int, height: int) -> Iterator[None]:
    """A screen of this size, for as long as it is asked for."""
    resize(browser, width, height)
    try:
        yield
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def resize(browser: webdriver.Chrome, width: int, height: int) -> None:
    """The size of the screen; below 600 pixels it is a phone's. A page that is there is laid out again."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def wait(browser: webdriver.Chrome, condition: Callable[[webdriver.Chrome], Any], seconds: float = 60) -> None:
    """Until the condition is true, asked twenty times a second; selenium's own half second adds up over many pages."""
    WebDriverWait(browser, seconds, poll_frequency=0.05).until(condition)
