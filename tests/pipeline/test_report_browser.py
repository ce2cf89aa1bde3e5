"""The report in a real browser: it paints, its cases sort, filter and turn, and nothing complains or is loaded."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BENCH = Path(__file__).parents[2] / "bench"
sys.path.insert(0, str(BENCH))
from browser import CHROMIUM, NAMES  # noqa: E402

MAX_BYTES = 3_000_000

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason=f"no browser found ({', '.join(NAMES)})"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["report_sample.py", str(path)])
        runpy.run_path(str(BENCH / "report_sample.py"), run_name="__main__")
    return path


def position(page):
    return page.run("document.getElementById('position').textContent")


def study(page):
    return page.run("document.querySelector('#case h3 a').textContent")


def listed(page):
    return page.run("[...document.querySelectorAll('#rows li b')].map((row) => row.textContent)")


def choose(page, name, value):
    page.run(
        f"(() => {{ const c = document.getElementById('{name}'); c.value = '{value}';"
        "c.dispatchEvent(new Event(c.type === 'search' ? 'input' : 'change')); })()"
    )


def test_the_page_paints_wide_and_narrow(page, report, tmp_path):
    picture = tmp_path / "report.png"
    for width in (1200, 420):
        page.open("about:blank")
        page.open(report.as_uri(), width=width)
        page.picture(picture, whole=True)
        pixels = np.asarray(Image.open(picture).convert("L"))
        assert pixels.shape[0] > 3000
        assert 0.005 < (pixels < 200).mean() < 0.5
        assert page.run("document.documentElement.scrollWidth") == width, "something sticks out on the right"


def test_the_first_case_is_the_worst_and_has_its_image(page, tmp_path):
    page.run("location.hash = '#order=worst'")
    page.wait("document.getElementById('browser').getBoundingClientRect().top < 100")
    assert position(page) == "1 of 12"
    deltas = page.run(
        "[...document.querySelectorAll('#rows li i')].map((e) => parseFloat(e.textContent.replace('−', '-')))"
    )
    assert deltas == sorted(deltas)
    assert deltas[0] < 0
    page.wait("document.querySelector('#case img').naturalWidth > 0")
    assert page.run("document.querySelector('#case .truth .text').textContent.length") > 10
    assert page.run("document.querySelectorAll('#case .card').length") == 2
    picture = tmp_path / "worst.png"
    page.picture(picture)
    assert 0.02 < (np.asarray(Image.open(picture).convert("L")) < 200).mean() < 0.6


def test_keys_turn_the_page_and_a_slash_searches(page):
    first = study(page)
    page.press("j")
    page.press("ArrowRight")
    assert position(page) == "3 of 12"
    page.press("k")
    page.press("ArrowLeft")
    page.press("ArrowLeft")
    assert (position(page), study(page)) == ("1 of 12", first)
    page.press("/")
    assert page.run("document.activeElement.id") == "search"
    for key in "-07":
        page.press(key)
    assert (position(page), study(page)) == ("1 of 1", "sample-07")
    page.press("Escape")
    assert page.run("document.activeElement.tagName") == "BODY"


def test_filters_and_orders(page):
    for order, check in (("improved", -1), ("worst", 1)):
        page.run(f"document.querySelector('[data-order={order}]').click()")
        shown = page.run(
            "[...document.querySelectorAll('#rows li i')].map((e) => parseFloat(e.textContent.replace('−', '-')))"
        )
        assert shown == sorted(shown, reverse=check < 0)
    page.run("document.querySelector('[data-order=longest]').click()")
    words = page.run("[...document.querySelectorAll('#rows li i')].map((e) => parseInt(e.textContent))")
    assert words == sorted(words, reverse=True)
    page.run("document.querySelector('[data-order=disagree]').click()")
    assert listed(page) == ["sample-02", "sample-05", "sample-07", "sample-11"]
    assert page.run("document.querySelector('.judged').textContent.includes('BERTScore')")
    page.run("document.querySelector('[data-order=run]').click()")
    choose(
        page,
        "finding",
        page.run("[...document.getElementById('finding').options].find((o) => o.text === 'Cardiomegaly').value"),
    )
    choose(page, "role", "reference")
    some = listed(page)
    assert 0 < len(some) < 12
    assert "Cardiomegaly" in page.run("document.querySelector('#case .truth .chips').textContent")
    choose(page, "role", "found")
    assert set(listed(page)) < set(some)
    choose(page, "search", "nothing like it")
    assert position(page) == "0 of 0"
    assert "No case fits" in page.run("document.getElementById('case').textContent")


def test_another_arm_and_all_policies(page):
    page.run("document.querySelector('[data-order=run]').click()")
    page.press("j")
    seen = study(page)
    choose(page, "arm", "dpo_bertscore")
    assert study(page) == seen
    assert page.run("[...document.querySelectorAll('#case .card')].map((c) => c.dataset.policy)") == [
        "sft",
        "dpo_bertscore",
    ]
    page.run("document.getElementById('all').click()")
    assert page.run("document.querySelectorAll('#case .card').length") == 4


def test_links_of_other_sections_open_their_case(page):
    page.run("document.querySelector('#judges a[href*=\"sample-05\"][href*=dpo_bertscore]').click()")
    page.wait("document.querySelector('#case h3 a').textContent === 'sample-05'")
    assert page.run("document.getElementById('arm').value") == "dpo_bertscore"


def test_a_text_cannot_become_part_of_the_page(page, report, one_browser, tmp_path):
    text = report.read_text()
    nasty = r"\u003cimg src=x onerror=document.title=1\u003e"
    broken = tmp_path / "nasty.html"
    broken.write_text(re.sub(r'"reference":"[^"]*"', lambda _: f'"reference":"{nasty}"', text))
    one_browser.open(broken.as_uri())
    assert page.run("document.querySelector('#case .truth .text').textContent").startswith("<img src=x")
    assert page.run("document.querySelectorAll('#case .truth img').length") == 0
    one_browser.requests.clear()


def test_paper_shows_numbers_and_the_case_in_view(page):
    page.call("Emulation.setEmulatedMedia", media="print")
    shown = "getComputedStyle(document.querySelector('{}')).display"
    assert page.run(shown.format(".list")) == "none"
    assert page.run(shown.format("#case")) != "none"
    page.call("Emulation.setEmulatedMedia", media="")


def test_a_complaint_would_be_seen(one_browser, report, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text(report.read_text().replace("<main>", '<main><img src="https://example.invalid/x.png">'))
    one_browser.complaints.clear()
    one_browser.open(broken.as_uri())
    one_browser.run("1")
    assert one_browser.complaints, "the page's policy must refuse the network"


def test_the_file_is_small_and_needs_no_other(report):
    text = report.read_text()
    assert len(text.encode()) < MAX_BYTES
    assert re.findall(r'(?:src|href|action)="(?!data:|#)', text) == []
    assert not re.search(r"@import|url\((?!#)", text)
