"""What several tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium import webdriver

from tests.browsers import chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    """Headless Chromium, one for a module of tests; its messages by `get_log("browser")`."""
    with chromium() as driver:
        yield driver
