"""docs/results.md is what its script writes from results/matrix.json, and its verdicts follow from their rules."""

from __future__ import annotations

import json
import re

import pytest

from chexalign.recipe.load import load_recipe
from tests.unit.test_figures import ROOT, script

findings, words, results_page = script("results_findings"), script("results_words"), script("results_page")
SEEDS = (11, 12, 13)
ARMS = {name: arm.judge.name for name, arm in load_recipe("matrix").arms.items()}


def content(moves: dict[str, float] | None = None, *, tax: str = "pass", half: float = 0.02) -> dict:
    """A made-up results/matrix.json: every difference is 0 but for arms and metrics named in `moves`."""
    figures, measure = {}, script("measure_matrix")
    for i, seed in enumerate(SEEDS):
        for metric, (_, unit) in measure.METRICS.items():
            figures[f"matrix.seed{seed}.{metric}.sft"] = made_up(0.4, half, unit)
            for arm in ARMS:
                value = (moves or {}).get(f"{metric}.{arm}", (moves or {}).get(metric, 0.0)) + i / 1000
                key = f"matrix.seed{seed}.{metric}.delta.{arm}"
                figures[key] = made_up(value, half, f"{unit}, difference") | {"baseline": "sft"}
        for metric, unit in measure.ALONE.items():
            for arm in ARMS:
                figures[f"matrix.seed{seed}.{metric}.{arm}"] = made_up(0.0, half, unit) | {"baseline": "sft"}
    tasks = [f"{arm}.task.{task}.accuracy" for arm in ARMS for task in ("view", "binary", "multi_disease", "mean")]
    run = {"recipe_digest": "d" * 16, "commits": ["c" * 40], "load_before": [0.5]}
    return {
        "command": "make matrix",
        "date": "2026-01-02",
        "machine": {"cpu": "A processor", "cores": 2, "memory_gb": 8.0, "system": "Linux"},
        "versions": {"python": "3.11.7"},
        "seeds": list(SEEDS),
        "arms": ARMS,
        "recipe": load_recipe("matrix").to_dict(),
        "runs": [run | {"seed": seed} for seed in SEEDS],
        "verdicts": {
            f"seed{seed}": {"length": dict.fromkeys(ARMS, "no growth"), "tax": dict.fromkeys(tasks, tax)}
            for seed in SEEDS
        },
        "figures": figures,
    }


def made_up(value: float, half: float, unit: str) -> dict:
    return {"value": value, "low": value - half, "high": value + half, "level": 0.9, "n": 600, "unit": unit}


def test_the_page_is_what_the_script_writes():
    if not results_page.RESULTS.is_file():
        assert not results_page.PAGE.is_file()
        pytest.skip("results/matrix.json is not measured yet")
    text = results_page.page(json.loads(results_page.RESULTS.read_text(encoding="utf-8")))
    assert results_page.PAGE.read_text(encoding="utf-8") == text, "run `make figures`"


@pytest.mark.parametrize(
    ("sides", "word"),
    [
        ((1, 1, 1), findings.APPEARS),
        ((-1, -1, -1), findings.OPPOSITE),
        ((1, 0, 1), findings.MIXED),
        ((1, -1, 0), findings.MIXED),
        ((0, 0, 0), findings.ABSENT),
        ((0, -1, -1), findings.ABSENT),
        ((1, None, 1), findings.UNKNOWN),
        ((), findings.UNKNOWN),
    ],
)
def test_an_arm_s_verdict_follows_from_the_sides_of_its_intervals(sides, word):
    assert findings.verdict(sides) == word


def test_a_side_is_that_of_the_whole_interval():
    assert [findings.side(made_up(v, 0.02, "F1")) for v in (0.03, 0.01, -0.03)] == [1, 0, -1]
    assert findings.side(None) is None
    assert findings.side({"value": 1.0, "low": None, "high": None}) is None


def test_the_t_interval_of_three_seeds_by_hand():
    found = findings.t_interval([1.0, 2.0, 3.0], 0.90)  # sd 1, t(2) at 0.95 is 2.920
    assert found["value"] == 2.0
    assert found["high"] - 2.0 == pytest.approx(2.920 / 3**0.5, abs=1e-3)
    assert findings.t_interval([0.5], 0.90) == {"value": 0.5, "low": None, "high": None}


def overall(key: str, **more) -> str:
    return findings.CLAIMS[key].overall(findings.Matrix(content(**more)))


def test_a_finding_has_the_verdict_of_its_arms_or_holds_in_part():
    assert overall("judge", moves={"chexpert": 0.1, "bertscore": 0.1}) == findings.APPEARS
    assert overall("judge", moves={"chexpert": -0.1, "bertscore": -0.1}) == findings.OPPOSITE
    assert overall("judge") == findings.ABSENT
    assert overall("judge", moves={"chexpert": 0.1}) == findings.IN_PART
    assert overall("judge", moves={"chexpert": 0.0195}) == findings.MIXED  # one seed alone lies above 0
    assert overall("judge", moves={"chexpert": -0.1}) == findings.AGAINST
    assert overall("judge", moves={"chexpert": -0.1, "bertscore": 0.1}) == findings.DIFFERS
    assert overall("other_judge", moves={"bertscore.dpo_chexpert": 0.1}) == findings.IN_PART


def test_no_accuracy_is_lost_where_every_run_says_so():
    assert overall("tax.mean") == overall("tax.multi_disease") == findings.APPEARS
    assert overall("tax.mean", tax="fail") == findings.OPPOSITE
    assert overall("tax.view", tax="open") == findings.ABSENT
    assert overall("tax.view", tax="unheard of") == findings.UNKNOWN


def test_a_policy_that_guesses_has_nothing_to_lose():
    assert overall("tax.presence") == findings.NOTHING  # 0.4, of two answers
    assert overall("tax.presence", tax="fail") == findings.OPPOSITE
    made = content()
    for seed in SEEDS:
        made["figures"][f"matrix.seed{seed}.tax.presence.sft"] = made_up(0.55, 0.02, "accuracy")
    assert findings.CLAIMS["tax.presence"].overall(findings.Matrix(made)) == findings.APPEARS
    made["figures"]["matrix.seed12.tax.presence.sft"] = made_up(0.53, 0.02, "accuracy")
    assert findings.CLAIMS["tax.presence"].overall(findings.Matrix(made)) == findings.NOTHING


def test_lc_dpo_is_compared_with_dpo_over_seeds():
    moves = {"words.dpo_chexpert": 20.0, "words.lc_dpo_chexpert": 5.0, "words.lc_dpo_bertscore": 3.0}
    matrix = findings.Matrix(content(moves))
    assert findings.shorter(matrix, "chexpert")["value"] == pytest.approx(-15.0)
    found = findings.CLAIMS["shorter"].verdicts(matrix)
    assert found == {"chexpert": findings.APPEARS, "bertscore": findings.OPPOSITE}


def test_every_claim_has_its_section_and_every_table_its_columns():
    assert [key for finding in words.FINDINGS for key in finding.claims] == list(findings.CLAIMS)
    text = results_page.page(content({"words": 30.0}))
    assert text.startswith("<!-- Generated ")
    assert all(f"## {finding.title}\n" in text for finding in words.FINDINGS)
    assert not re.search(r"[{}]|\bNone\b|\bnan\b", text)
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1
    assert "**Reports grow longer: appears.** Appears: all 10." in text
    assert "0.249 to 0.328" in text  # the paper's, from the file that `compare --quoted paper` reads
    assert "82.2% before and 82.2% after" in text
    assert "55.8 to 140.2 words" in text


def test_what_a_run_did_not_measure_is_told():
    made = content()
    made["figures"] = {key: f for key, f in made["figures"].items() if "macro" not in key and "seed13.words" not in key}
    matrix = findings.Matrix(made)
    assert {findings.CLAIMS[key].overall(matrix) for key in ("mesh_macro", "words", "shorter")} == {findings.UNKNOWN}
    assert "not measured: all 10" in results_page.summary(matrix)
    results_page.page(made)


def test_readme_tells_the_findings():
    text = script("figures").matrix_findings(content())
    assert text.count("\n- ") + 1 == len(findings.CLAIMS)
    assert "docs/results.md" in text
    assert (ROOT / "README.md").read_text(encoding="utf-8").count("<!-- figure: matrix.findings -->") == 1
