"""One browser for the tests of a module, and the page of its `report` opened anew for each of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from browser import browser


@pytest.fixture(scope="module")
def one_browser():
    with browser() as page:
        yield page


@pytest.fixture
def page(one_browser, report):
    """The report's page; afterwards nothing may have complained, and nothing but the report been asked for."""
    one_browser.complaints.clear()
    one_browser.requests.clear()
    one_browser.open("about:blank")
    one_browser.open(report.as_uri())
    yield one_browser
    assert one_browser.complaints == []
    assert {url.partition("#")[0] for url in one_browser.requests} <= {report.as_uri(), "about:blank"}
