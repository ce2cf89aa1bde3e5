"""Every source of questions has a page that says what it needs, what it counts and what it leaves out."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from chexalign.registry import registry

PAGES = Path(__file__).resolve().parents[2] / "docs" / "data"
REASON = re.compile(r'(?:dropped|why)\[\s*"(\w+)"')

# What the built-in example asks is told in docs/demo.md.
NAMES = [entry.name for entry in registry("questions").entries() if entry.target.startswith("chexalign.data.")]

every_source = pytest.mark.parametrize("name", NAMES)


@every_source
def test_there_is_a_page_with_what_a_reader_looks_for(name):
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert f"`{name}`" in text.splitlines()[0]
    root = " --root FOLDER" if "root" in inspect.signature(registry("questions").get(name)).parameters else ""
    assert f"    chexalign data prepare {name}{root}" in text
    assert "**Where to get it.**" in text
    assert "## Counts" in text
    assert "## Known traps" in text


@every_source
def test_the_class_says_what_it_needs_under_which_license(name):
    source = registry("questions").get(name)
    assert source.name == name
    assert source.license
    assert {"license", "needs"} <= source.describe.keys()
    assert (source.__doc__ or "").strip()


@pytest.mark.parametrize(
    "module", ["rsna", "siim", "nih_boxes", "ms_cxr", "ms_cxr_table", "mimic_views", "chexpert_views", "mimic_diseases"]
)
def test_every_reason_is_on_the_page(module):
    source = PAGES.parents[1] / "src/chexalign/data/tasks" / f"{module}.py"
    text = (PAGES / f"{module.removesuffix('_table').replace('_', '-')}.md").read_text(encoding="utf-8")
    assert [reason for reason in REASON.findall(source.read_text()) if f"`{reason}`" not in text] == []


@every_source
def test_the_overview_links_the_page(name):
    assert f"[`{name}`](data/{name}.md)" in (PAGES.parent / "data.md").read_text(encoding="utf-8")
