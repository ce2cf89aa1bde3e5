"""The mined questions of a report in a real browser: they paint, filter and turn, and the cases beside them stay."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chexalign.present.collect import collect
from chexalign.present.html import write_report
from tests.mined_reports import NASTY, mined_run, recipe

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from browser import CHROMIUM, NAMES

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason=f"no browser found ({', '.join(NAMES)})"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    run, made = mined_run(tmp_path_factory.mktemp("runs") / "mine"), recipe("mine")
    write_report(collect(run, made, ["sft", "sft_shuffled", *made.learners()]), run.report)
    return run.report


def position(page, prefix="mined-"):
    return page.run(f"document.getElementById('{prefix}position').textContent")


def shown(page):
    return page.run("document.querySelector('#mined-case h3 a').textContent")


def text(page, place):
    return page.run(f"document.querySelector('#mined-case {place}').textContent")


def choose(page, name, value):
    page.run(
        f"(() => {{ const c = document.getElementById('mined-{name}'); c.value = {value!r};"
        "c.dispatchEvent(new Event(c.type === 'search' ? 'input' : 'change')); })()"
    )


def to_the_questions(page):
    page.run("document.getElementById('mined-browser').scrollIntoView({behavior: 'instant'})")


def test_the_page_paints_wide_and_narrow(page, report, tmp_path):
    picture = tmp_path / "report.png"
    for width in (1200, 420):
        page.open("about:blank")
        page.open(report.as_uri(), width=width)
        page.picture(picture, whole=True)
        pixels = np.asarray(Image.open(picture).convert("L"))
        assert 0.005 < (pixels < 200).mean() < 0.5
        assert page.run("document.documentElement.scrollWidth") == width, "something sticks out on the right"


def test_the_first_question_is_the_surest_failure(page):
    to_the_questions(page)
    assert position(page) == "1 of 60"
    assert text(page, ".why-here").startswith("Seed: the policy is confidently wrong, with confidence 0.9")
    assert text(page, ".card.told h4").startswith("The policy's answer wrong, confidence 0.9")
    page.wait("document.querySelector('#mined-case img').naturalWidth > 0")
    assert page.run("[...document.querySelectorAll('#mined-case .card h4')].length") == 3
    assert page.run("document.querySelectorAll('#mined-case .card.rejected .s.added').length") >= 1


def test_keys_turn_the_browser_in_view(page):
    to_the_questions(page)
    first = shown(page)
    for key in ("j", "ArrowRight", "k"):
        page.press(key)
    assert (position(page), position(page, "")) == ("2 of 60", "1 of 24")
    page.press("k")
    assert shown(page) == first
    page.run("document.getElementById('browser').scrollIntoView({behavior: 'instant'})")
    page.press("j")
    assert (position(page), position(page, "")) == ("1 of 60", "2 of 24")
    to_the_questions(page)
    page.press("/")
    assert page.run("document.activeElement.id") == "mined-search"


def test_filters(page):
    choose(page, "place", "neighbor")
    assert position(page) == "1 of 30"
    assert text(page, ".why-here").startswith("Neighbor 1 of the seed q0")
    assert page.run("document.querySelectorAll('#mined-case .seed .films img').length") in (1, 2)
    choose(page, "type", "compare")
    kinds = page.run("[...document.querySelectorAll('#mined-rows small')].map((e) => e.textContent.split(' · ')[1])")
    assert set(kinds) == {"compare"}
    choose(page, "origin", "own")
    page.wait("document.querySelector('#mined-case .card.rejected em').textContent === \"the policy's own answer\"")
    assert page.run("document.querySelectorAll('#mined-case > .sheet:not(.seed) .films img').length") == 2
    for name in ("place", "type", "origin"):
        choose(page, name, "")
    choose(page, "origin", "none")
    assert "there is no pair" in text(page, ".card.rejected")
    choose(page, "origin", "")
    choose(page, "search", "no such words")
    assert position(page) == "0 of 0"
    assert "No question fits" in page.run("document.getElementById('mined-case').textContent")


def test_sets_and_links(page):
    page.run("document.querySelectorAll('#mined-browser [data-set]')[1].click()")
    assert text(page, ".why-here") == "Drawn at random."
    page.run("document.querySelectorAll('#mined-browser [data-set]')[0].click()")
    choose(page, "place", "neighbor")
    seed = page.run("document.querySelector('#mined-case .seed a').hash")
    page.run("document.querySelector('#mined-case .seed a').click()")
    page.wait("document.querySelector('#mined-case .why-here').textContent.startsWith('Seed')")
    assert seed.endswith(shown(page))
    page.run("document.querySelector('#holds a[href^=\"#mined=\"]').click()")
    page.wait("document.getElementById('mined-position').textContent === '1 of 60'")


def test_a_question_cannot_become_part_of_the_page(page):
    choose(page, "search", "onerror")
    assert position(page) == "1 of 1"
    assert text(page, ".truth .text") == NASTY
    assert page.run("document.querySelectorAll('#mined-case .truth img').length") == 0
    assert page.run("document.title") != "1"
