"""What several tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium import webdriver

from tests.browsers import chromium

#: Files of minutes and few tests: begun first, so that no process is left alone with one at the end.
LONG = ("test_site", "test_browser", "test_compile", "test_exam", "test_experiment", "test_slides", "test_cli")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    """Headless Chromium, one for a module of tests; its messages by `get_log("browser")`."""
    with chromium() as driver:
        yield driver
