"""README and docs say what results/*.json hold, and say so in the right words."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from chexalign.recipe_load import load_recipe

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"
ARMS = {"dpo_label": "chexpert", "dpo_bertscore": "bertscore", "null_pairs": "chexpert"}
NAMES = (
    *("micro_f1_13_vs_mesh", "micro_f1_13_vs_reference", "chexpert", "bertscore", "rouge_l"),
    *("words", "findings_per_report", "repetition", "judge_score"),
)


def script(name: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, BENCH / f"{name}.py")
    assert spec
    assert spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(BENCH))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCH))
    return module


figures = script("figures")


def estimate(value: float, half: float, unit: str = "F1", **more: Any) -> dict[str, Any]:
    return {"value": value, "low": value - half, "high": value + half, "n": 600, "unit": unit, **more}


def demo(moves: dict[int, dict[str, float]], *, shuffled: float = 0.1) -> dict[str, Any]:
    """A made-up results/demo.json: SFT at 0.4, and each arm moved by so much on every metric, ± 0.02."""
    found: dict[str, Any] = {"demo.seconds.studies": estimate(30, 1, "s, summed over processes")}
    found["demo.counts.studies"] = {"value": 3250, "dropped": {"not_indexed": 87}, "unit": "rows"}
    for seed, arms in moves.items():
        for name in NAMES:
            found[f"demo.seed{seed}.{name}.sft"] = estimate(0.4, 0.02)
            found[f"demo.seed{seed}.{name}.sft_shuffled"] = estimate(shuffled, 0.02)
            for arm, move in arms.items():
                found[f"demo.seed{seed}.{name}.delta.{arm}"] = estimate(move, 0.02, "F1, difference", baseline="sft")
    return {"figures": found, "seeds": list(moves), "arms": ARMS}


def moved(label: float, bertscore: float, null: float) -> dict[str, float]:
    return {"dpo_label": label, "dpo_bertscore": bertscore, "null_pairs": null}


def test_pages_and_pictures_are_what_the_results_give():
    differ = []
    for path, wanted in figures.outputs().items():
        found = path.read_text(encoding="utf-8") if path.is_file() else ""
        if path.name == "demo.svg" and not same_matplotlib(found):
            continue
        if found != wanted:
            differ.append(str(path.relative_to(ROOT)))
    assert differ == [], "run `make figures`"


def same_matplotlib(svg: str) -> bool:
    """Whether this matplotlib is the pinned one, whose drawings are the committed ones."""
    import matplotlib

    return not svg or f"matplotlib=={matplotlib.__version__}\n" in (ROOT / "constraints.txt").read_text()


def test_no_page_has_an_open_marker():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = page.read_text(encoding="utf-8")
        assert text.count("<!-- figure: ") == len(figures.MARKER.findall(text)) == text.count("<!-- /figure -->")


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*.json")), ids=lambda path: path.stem)
def test_results_files_have_the_common_form(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    assert {"what", "command", "commit", "date", "machine", "versions", "seeds", "figures"} <= set(content)
    for key, figure in content["figures"].items():
        assert {"value", "unit", "n"} <= set(figure) or {"value", "unit", "checked"} <= set(figure), key
        for test in re.findall(r"tests/\S+?\.py", figure.get("checked", "")):
            assert (ROOT / test).is_file(), f"{key} rests on {test}"


def test_the_demo_was_measured_with_the_recipe_as_it_stands():
    path = ROOT / "results" / "demo.json"
    if not path.is_file():
        pytest.skip("not measured yet")
    then, now = json.loads(path.read_text(encoding="utf-8"))["recipe"], load_recipe("demo").to_dict()
    assert differences(then, now) == [], "run `make demo-seeds` and bench/measure_demo.py again"


def differences(then: Any, now: Any, where: str = "") -> list[str]:
    """Where two recipes differ; a setting that the older one did not have is no difference."""
    if isinstance(then, dict) and isinstance(now, dict):
        return [d for key in then for d in differences(then[key], now.get(key), f"{where}.{key}")]
    return [] if then == now else [where]


def test_what_is_not_measured_says_so():
    text = "A <!-- figure: demo.table -->old<!-- /figure --> and <!-- figure: demo.minutes value -->9<!-- /figure -->."
    page = figures.filled(text, {}, images="img")
    assert page.count(figures.NOT_YET) == 2
    assert "old" not in page
    assert figures.filled(page, {}, images="img") == page


def test_a_name_that_no_file_knows_is_an_error():
    with pytest.raises(KeyError):
        figures.rendered("demo.seed11.nonsense", {"demo": demo({11: moved(0, 0, 0)})}, images="img")


def test_numbers_carry_their_unit_s_decimals_and_a_true_minus():
    assert figures.cell(estimate(0.4, 0.02)) == "0.400 [0.380, 0.420]"
    assert figures.cell(estimate(0.4, 0.02), interval=False) == "0.400"
    assert figures.cell(estimate(-0.1, 0.02, baseline="sft")) == "**−0.100 [−0.120, −0.080]**"
    assert figures.cell(estimate(0.01, 0.02, baseline="sft")) == "+0.010 [−0.010, +0.030]"
    assert figures.cell({"value": 11115.9, "unit": "reports/s"}) == "11,116"
    assert figures.cell(None) == figures.cell({"value": None, "unit": "F1"}) == "–"


def test_claims_that_hold_everywhere():
    moves = {seed: moved(0.12, -0.05, 0.0) for seed in (11, 12)}
    one, two, three, four = figures.claims(figures.Demo(demo(moves))).splitlines()
    assert all("**Holds** on every seed." in line for line in (one, two, three))
    assert "reached on every seed" in two
    assert "Micro F1 against the codes: falls on every seed" in four
    assert "Length: shrinks on every seed" in four


def test_claims_that_hold_nowhere_say_so():
    moves = {seed: moved(0.01, 0.0, 0.1) for seed in (11, 12)}
    one, two, three, four = figures.claims(figures.Demo(demo(moves, shuffled=0.3))).splitlines()
    assert all("**Does not hold** on any seed." in line for line in (one, two, three))
    assert "reached on no seed" in two
    assert "no change shown on every seed" in four


def test_claims_that_hold_on_some_seeds_name_them():
    moves = {11: moved(0.12, 0.0, 0.0), 12: moved(0.0, 0.0, 0.0), 13: moved(0.05, 0.0, -0.1)}
    _, two, three, _ = figures.claims(figures.Demo(demo(moves))).splitlines()
    assert "**Holds** on seeds 11 and 13, **does not hold** on seed 12." in two
    assert "reached on seed 11" in two
    assert "**Holds** on every seed." in three


def test_an_interval_that_touches_zero_is_no_gain():
    assert figures.direction({"low": 0.0, "high": 0.1}) == 0
    assert figures.direction({"low": -0.1, "high": 0.0}) == 0
    assert figures.direction({"low": None, "high": None}) == 0


def test_every_block_renders_from_a_demo_and_the_drawing_repeats():
    content = demo({seed: moved(0.1, -0.05, 0.0) for seed in (11, 12, 13)})
    content |= {"commit": "0" * 40, "date": "2026-01-01", "machine": {"cpu": "x", "cores": 2}, "command": "c"}
    content["versions"] = {"python": "3.11"}
    for name, (stem, render) in figures.BLOCKS.items():
        if stem == "demo":
            assert figures.NOT_YET not in render(content), name
    draw = [figures.demo_svg(content["figures"], [11, 12, 13], list(ARMS)) for _ in range(2)]
    assert draw[0] == draw[1]
    assert ">dpo_label</text>" in draw[0]
    assert "3,250" in figures.pipeline_svg(content["figures"])
