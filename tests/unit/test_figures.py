"""README and docs say what results/*.json hold, and say so in the right words."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from chexalign import atomic
from chexalign.recipe.load import load_recipe
from chexalign.run_folder import RunFolder
from chexalign.store import Manifest
from chexalign.types import Estimate

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
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        text = page.read_text(encoding="utf-8")
        assert text.count("<!-- figure: ") == len(figures.MARKER.findall(text)) == text.count("<!-- /figure -->")


def test_no_marker_breaks_a_paragraph():
    """A line that begins with a comment is raw HTML in Markdown: it ends the paragraph, and stays as it is."""
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for line in page.read_text(encoding="utf-8").splitlines():
            if line.startswith("<!-- figure: "):
                assert (line.endswith(" -->") and line.count("<!--") == 1) or figures.NOT_YET in line, line


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


ISSUED = [
    *("micro_f1_13_vs_mesh.sft", "micro_f1_13_vs_mesh.sft_shuffled"),
    *(f"{metric}.delta.{arm}" for metric in ("micro_f1_13_vs_mesh", "judge_score") for arm in ARMS),
    *("judge_score.sft", "judge_score.sft_shuffled", "words.reference"),
]


def finished_run(root: Path, *, seed: int, settings: tuple[str, ...] = ()) -> Path:
    """A folder that looks like a finished run: recipe, estimates and manifests without rows."""
    recipe = load_recipe("demo", [f"seed={seed}", f"run={root.name}", *settings])
    run = RunFolder(root)
    atomic.write_text(run.recipe, recipe.to_yaml())
    rows = [made_up("words", "reference")]
    for metric in ("mesh.micro_f1_13", "chexpert.micro_f1_13", "chexpert", "bertscore", "rouge_l", "words"):
        rows += [made_up(metric, "sft"), made_up(metric, "sft_shuffled"), made_up(metric, "sft_shuffled", "sft")]
        rows += [made_up(metric, arm, "sft") for arm in ARMS]
    atomic.write_json(run.estimates, {"fingerprint": "x", "estimates": [dataclasses.asdict(row) for row in rows]})
    for name in ("studies", "candidates", "policy/sft", "predictions/sft", "predictions/dpo_label"):
        extra = {"validation_nll": 1.5} if name == "policy/sft" else {}
        Manifest(name, "x", {}, {}, seed, 7, {"tie": 3}, "x", 2.0, extra=extra).save(root / name)
    return root


def made_up(metric: str, policy: str, baseline: str | None = None) -> Estimate:
    return Estimate(metric, policy, "test", 0.2, 0.1, 0.3, 0.9, 600, 600, "bootstrap", baseline)


def test_runs_become_the_figures_that_were_asked_for(tmp_path):
    roots = [finished_run(tmp_path / f"seed{seed}", seed=seed) for seed in (12, 11)]
    found = script("measure_demo").result(roots, tmp_path / "none")
    assert found["seeds"] == [11, 12]
    for seed in (11, 12):
        assert {f"demo.seed{seed}.{name}" for name in ISSUED} <= set(found["figures"])
    assert found["figures"]["demo.seed11.judge_score.delta.dpo_bertscore"]["metric"] == "bertscore"
    assert found["figures"]["demo.seed11.judge_score.delta.null_pairs"]["metric"] == "chexpert"
    assert found["figures"]["demo.counts.reports"]["value"] == 10
    assert found["figures"]["demo.seconds.predictions"]["value"] == 4.0
    assert "demo.minutes" not in found["figures"]
    assert str(tmp_path) not in json.dumps(found)
    for figure in found["figures"].values():
        assert all((ROOT / test).is_file() for test in re.findall(r"tests/\S+?\.py", figure["checked"]))


def test_runs_of_the_matrix_become_its_figures(tmp_path):
    recipe = load_recipe("matrix", ["seed=12"])
    assert len(recipe.arms) == 10
    root = RunFolder(tmp_path / "m")
    atomic.write_text(root.recipe, recipe.to_yaml())
    rows = [made_up("mesh.micro_f1_13", "sft"), made_up("verbosity_vs_sft", "kto_bertscore")]
    for arm in recipe.arms:
        rows += [made_up(metric, arm, "sft") for metric in ("mesh.micro_f1_13", "lc-bertscore", "task.mean.accuracy")]
    length = [{"policy": "kto_bertscore", "judge": "bertscore", "verdict": "longer only"}]
    estimates = [dataclasses.asdict(row) for row in rows]
    atomic.write_json(root.estimates, {"fingerprint": "x", "estimates": estimates, "length": length})
    found = script("measure_matrix").result([root.root])
    assert found["seeds"] == [12]
    assert found["verdicts"] == {"seed12": {"length": {"kto_bertscore": "longer only"}, "tax": {}}}
    figures = found["figures"]
    assert {f"matrix.seed12.tax.mean.delta.{arm}" for arm in recipe.arms} <= figures.keys()
    assert figures["matrix.seed12.lc_bertscore.delta.dpo_chexpert"]["baseline"] == "sft"
    assert figures["matrix.seed12.verbosity_vs_sft.kto_bertscore"]["value"] == 0.2
    assert "matrix.minutes" not in figures
    for figure in figures.values():
        assert all((ROOT / test).is_file() for test in re.findall(r"tests/\S+?\.py", figure["checked"]))


def test_runs_of_different_recipes_are_not_put_together(tmp_path):
    roots = [finished_run(tmp_path / "a", seed=11), finished_run(tmp_path / "b", seed=12, settings=("train.beta=0.2",))]
    with pytest.raises(SystemExit, match="another recipe"):
        script("measure_demo").result(roots, tmp_path / "none")
    with pytest.raises(SystemExit, match="same seed"):
        script("measure_demo").result([roots[0], finished_run(tmp_path / "c", seed=11)], tmp_path / "none")
    with pytest.raises(SystemExit, match="no finished run"):
        script("measure_demo").result([tmp_path / "d"], tmp_path / "none")


def test_a_run_s_calls_are_added_up_and_a_refused_one_is_not(tmp_path):
    time_demo, measure, root = script("time_demo"), script("measure_demo"), tmp_path / "run"
    code = [sys.executable, "-c"]
    assert time_demo.timed([*code, "import time; time.sleep(0.3); raise SystemExit(130)"], root) == 130
    assert time_demo.timed([*code, "raise SystemExit(2)"], root) == 2
    assert time_demo.timed([*code, "import time; time.sleep(0.3)"], root) == 0
    finished_run(root, seed=11)
    account = atomic.read_json(root / "timing.json")
    assert time_demo.timed([*code, "pass"], root) == 0  # nothing left to do: the account stays
    assert account == atomic.read_json(root / "timing.json")
    assert [call["exit_code"] for call in account["calls"]] == [130, 0]
    assert 0.6 / 60 < account["minutes"] < 1
    assert account["peak_mb"] > 0
    figures = measure.result([root], tmp_path / "none")["figures"]
    assert figures["demo.minutes"]["value"] == pytest.approx(account["minutes"])


def test_time_is_not_reported_when_part_of_the_work_was_not_timed(tmp_path):
    time_demo, root = script("time_demo"), tmp_path / "run"
    Manifest("studies", "x", {}, {}, 11, 7, {}, "x", 2.0).save(root / "studies")
    assert time_demo.timed([sys.executable, "-c", "pass"], root) == 0
    assert "demo.minutes" not in script("measure_demo").result([finished_run(root, seed=11)], root)["figures"]
