"""Runs side by side: what is bold, what is shared, what is refused."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from chexalign import atomic
from chexalign.cli import main
from chexalign.compare.comparison import Comparison, compare_runs
from chexalign.compare.latex import escaped as latex_escaped
from chexalign.compare.latex import latex
from chexalign.compare.layout import DASH, lay_out
from chexalign.compare.long_form import FIELDS, long_form
from chexalign.compare.markdown import markdown
from chexalign.compare.page import page
from chexalign.compare.quoted import read_quoted
from chexalign.errors import UserError
from tests.compared_runs import ARM, finished_run, noisy, study

N = 60
SFT_GREEN, BETTER = noisy(N, 0.4, 1), [value + 0.2 for value in noisy(N, 0.4, 1)]


def run_of(root: Path, after: list[float], **more) -> Path:
    scores = {"sft": {"green": SFT_GREEN[: len(after)]}, ARM: {"green": after}}
    return finished_run(root, scores, **more).root


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A run whose arm is better than SFT."""
    return run_of(tmp_path_factory.mktemp("runs") / "planted", BETTER, words={ARM: 3})


def grid(found: Comparison, number: str):
    return next(grid for grid in found.grids if grid.number == number)


def bold(found: Comparison, number: str = "3") -> set[tuple[str, str]]:
    table = grid(found, number)
    return {
        (f"{line.run}/{line.system}", column.metric)
        for line in table.lines
        for column, cell in zip(table.columns, line.cells, strict=True)
        if cell.best
    }


def cell(found: Comparison, row: str, metric: str, number: str = "3"):
    table = grid(found, number)
    at = [column.metric for column in table.columns].index(metric)
    return next(line.cells[at] for line in table.lines if f"{line.run}/{line.system}" == row)


def problem(*folders: Path, **more) -> UserError:
    with pytest.raises(UserError) as caught:
        compare_runs(folders, **more)
    assert len(str(caught.value).splitlines()) == 3
    return caught.value


def test_a_planted_effect_is_bold_where_it_is_better_and_only_there(planted):
    found = compare_runs([planted])
    assert ("planted/dpo_green", "green") in bold(found)
    assert ("planted/dpo_green", "lc-green") not in bold(found)  # three times the words
    assert ("planted/sft", "lc-green") in bold(found)


def test_noise_is_not_bold(tmp_path):
    same = [value + change for value, change in zip(SFT_GREEN, [0.03, -0.03] * (N // 2), strict=True)]
    assert not {metric for _, metric in bold(compare_runs([run_of(tmp_path / "noise", same)])) if metric == "green"}


def test_a_run_against_itself_has_no_bold(planted):
    found = compare_runs([planted, planted])
    assert found.labels == ["planted", "planted (2)"]
    assert [pair for table in found.grids for pair in bold(found, table.number)] == []


def test_two_runs_are_compared_on_the_same_studies(tmp_path, planted):
    best = run_of(tmp_path / "best", [value + 0.3 for value in noisy(N, 0.4, 1)])
    assert ("best/dpo_green", "green") in bold(compare_runs([planted, best]))
    assert ("best/dpo_green", "green") in bold(compare_runs([best, planted]))


def test_the_test_of_the_run_decides_within_it(tmp_path):
    root = run_of(tmp_path / "tested", BETTER)
    content = atomic.read_json(root / "estimates.json")
    for row in content["comparisons"]:
        row["p"] = row["p_holm"] = 0.5
    atomic.write_json(root / "estimates.json", content)
    assert ("tested/dpo_green", "green") not in bold(compare_runs([root]))


def test_numbers_are_those_of_the_estimates_with_n_and_source(planted):
    found = compare_runs([planted])
    rows = {
        (e["metric"], e["policy"]): e
        for e in json.loads((planted / "estimates.json").read_text())["estimates"]
        if not e["baseline"]
    }
    shown = cell(found, "planted/dpo_green", "green")
    assert shown.estimate.value == rows["green", ARM]["value"]
    assert (shown.estimate.n, shown.estimate.n_clusters) == (N, N)
    assert shown.source == "planted/estimates.json: green of dpo_green"


def test_length_control_is_the_judge_s_own_formula(planted):
    from chexalign.judges.normalize import count_words
    from tests.compared_runs import TEXTS

    ratios = [max(3 * count_words(TEXTS[i % 3]) / count_words(TEXTS[i % 4]), 1.0) for i in range(N)]
    wanted = sum(score / ratio for score, ratio in zip(BETTER, ratios, strict=True)) / N
    assert cell(compare_runs([planted]), "planted/dpo_green", "lc-green").estimate.value == pytest.approx(wanted)


def test_runs_with_different_studies_are_compared_on_what_they_share(tmp_path, planted):
    fewer = run_of(tmp_path / "fewer", BETTER[:40], studies=[study(i) for i in range(40)])
    found = compare_runs([planted, fewer])
    shown = cell(found, "planted/sft", "green")
    assert shown.estimate.n == 40
    assert shown.estimate.value == pytest.approx(sum(SFT_GREEN[:40]) / 40)
    assert "estimates.json" not in shown.source
    assert any("planted 60, fewer 40" in note and "40 studies" in note for note in found.notes)
    told = problem(planted, fewer, same_studies=True)
    assert "planted 60, fewer 40; all have 40" in told.what


def test_the_order_of_studies_does_not_matter(tmp_path, planted):
    turned = run_of(tmp_path / "turned", BETTER)
    reverse = finished_run(
        tmp_path / "reverse",
        {"sft": {"green": SFT_GREEN[::-1]}, ARM: {"green": BETTER[::-1]}},
        studies=[study(i) for i in range(N)][::-1],
    ).root
    found = compare_runs([turned, reverse])
    assert [pair for pair in bold(found) if pair[1] == "green"] == []


def test_few_patients_have_no_interval_and_the_reason(tmp_path):
    found = compare_runs([run_of(tmp_path / "few", BETTER[:12])])
    shown = lay_out(grid(found, "3"))
    assert shown.rows[0].cells[0].interval == ""
    assert any("12 clusters, fewer than 20" in text for text in [*shown.footnotes, *shown.head])


def test_nothing_shared_is_refused(tmp_path, planted):
    other = run_of(tmp_path / "other", BETTER[:30], studies=[study(i) for i in range(100, 130)])
    assert "share no study" in problem(planted, other).what


def test_another_version_of_a_judge_is_refused_by_name(tmp_path, planted):
    newer = run_of(tmp_path / "newer", BETTER, versions={"green": "2"})
    told = problem(planted, newer)
    assert "green@1 in planted" in told.what
    assert "green@2 in newer" in told.what


def test_other_options_of_a_judge_are_refused(tmp_path, planted):
    other = run_of(tmp_path / "other", BETTER)
    for policy in ("sft", ARM):
        path = other / "metrics" / "green" / policy / "manifest.json"
        content = atomic.read_json(path)
        atomic.write_json(path, {**content, "config": {"blocks": [{"name": "green", "model": "models/judge"}]}})
    assert "other options in planted" in problem(planted, other).what


def test_another_reference_is_refused(tmp_path, planted):
    changed = [study(0, "Another text about the heart."), *(study(i) for i in range(1, N))]
    told = problem(planted, run_of(tmp_path / "changed", BETTER, studies=changed))
    assert "s000" in told.what
    assert "Another text" not in str(told)


def test_another_split_is_refused(tmp_path, planted):
    root = run_of(tmp_path / "validated", BETTER)
    text = (root / "recipe.yaml").read_text().replace("split: test", "split: prefer")
    (root / "recipe.yaml").write_text(text)
    assert "split test" in problem(planted, root).what


def test_a_study_that_is_there_twice_is_refused(tmp_path):
    root = run_of(tmp_path / "twice", BETTER)
    from chexalign.run_folder import RunFolder
    from tests.compared_runs import finished

    finished(RunFolder(root).studies, [study(0), *(study(i) for i in range(N))])
    assert "s000 twice" in problem(root).what


def test_what_is_no_run_is_refused(tmp_path, planted):
    assert "no run folder" in problem(tmp_path).what
    root = run_of(tmp_path / "unfinished", BETTER)
    (root / "estimates.json").unlink()
    assert "no estimates yet" in problem(root).what
    (root / "recipe.yaml").write_text("run: [")
    assert "cannot be read" in problem(root).what


def test_a_missing_metric_is_a_dash_with_its_reason(tmp_path, planted):
    scores = {"sft": {"green": SFT_GREEN, "bertscore": SFT_GREEN}, ARM: {"green": BETTER, "bertscore": BETTER}}
    more = finished_run(tmp_path / "more", scores, skipped=["chexbert"]).root
    found = compare_runs([planted, more])
    absent = cell(found, "planted/sft", "bertscore")
    assert absent.estimate is None
    assert absent.why == "bertscore is not among the metrics of planted"
    assert "metrics/chexbert/sft is not there" in str(cell(found, "more/sft", "chexbert").why)
    shown = lay_out(grid(found, "3"))
    column = [c.metric for c in grid(found, "3").columns].index("bertscore")
    assert shown.rows[0].cells[column].value == DASH
    assert absent.why in shown.footnotes
    assert ("more/dpo_green", "bertscore") in bold(found)


def test_unscored_reports_are_left_out_and_counted(tmp_path):
    root = run_of(tmp_path / "gaps", [None, *BETTER[1:]])
    shown = cell(compare_runs([root]), "gaps/dpo_green", "green")
    assert shown.estimate.n == N - 1
    assert "n = 59 / 59" in lay_out(grid(compare_runs([root]), "9")).footnotes or shown.estimate.n == N - 1


def test_labels_are_told_by_set_and_by_label(tmp_path):
    scores = {
        "sft": {"green": SFT_GREEN, "chexbert": SFT_GREEN},
        ARM: {"green": BETTER, "chexbert": [0.9] * N},
    }
    found = compare_runs([finished_run(tmp_path / "labels", scores).root])
    assert ("labels/dpo_green", "chexbert.micro_f1_14") in bold(found, "4")
    assert cell(found, "labels/dpo_green", "chexbert.average_f1", "4").estimate.value == pytest.approx(1.0)
    assert cell(found, "labels/dpo_green", "chexbert.f1.Cardiomegaly", "11").estimate.value == pytest.approx(1.0)
    cases = [column.label for column in grid(found, "11").columns]
    assert f"Cardiomegaly ({N // 5})" in [label.replace("F1 of ", "").split(",")[0] for label in cases]
    assert any("an uncertain label counts as positive" in note for note in grid(found, "4").notes)
    row = lay_out(grid(found, "10")).rows[0]
    assert all(c.n == f"{N} / {N}" for c in row.cells if c.interval)


def asked(root: Path, sft: list[bool], arm: list[bool], first: int = 0) -> Path:
    return run_of(root, BETTER, answers={"sft": sft, ARM: arm}, first_question=first)


RIGHT, HALF = [True] * 80, [True, True, False, False] * 20


def test_accuracies_are_told_by_task_with_the_verdict_on_the_tax(tmp_path):
    found = compare_runs([asked(tmp_path / "asked", RIGHT, HALF)], quoted=read_quoted("paper"))
    assert cell(found, "asked/dpo_green", "task.view.accuracy", "5").estimate.value == pytest.approx(0.5)
    assert bold(found, "5") >= {("asked/sft", "task.mean.accuracy"), ("asked/sft", "task.view.accuracy")}
    assert any("view fail" in note for note in grid(found, "5").notes)
    assert sum(line.quoted is not None for line in grid(found, "5").lines) == 2


def test_runs_that_asked_different_questions_are_compared_on_what_they_share(tmp_path, planted):
    one = asked(tmp_path / "one", HALF, HALF)
    other = asked(tmp_path / "other", HALF[:60], RIGHT[:60], first=20)
    found = compare_runs([one, other, planted])
    shown = cell(found, "one/sft", "task.mean.accuracy", "5")
    assert (shown.estimate.n, shown.source.split(":")[0]) == (60, "one/answers")
    assert ("other/dpo_green", "task.mean.accuracy") in bold(found, "5")
    assert cell(found, "planted/sft", "task.mean.accuracy", "5").why == "planted asked no questions"
    assert any("60 that all asked" in note for note in grid(found, "5").notes)
    apart = compare_runs([one, asked(tmp_path / "apart", RIGHT, RIGHT, first=200)])
    assert bold(apart, "5") == set()
    assert any("share no question" in note for note in grid(apart, "5").notes)


def test_the_same_answers_twice_are_not_bold(tmp_path):
    one = asked(tmp_path / "one", HALF, RIGHT)
    assert bold(compare_runs([one, one]), "5") == set()


def test_predictions_of_another_split_are_refused(tmp_path):
    from chexalign.run_folder import RunFolder
    from tests.compared_runs import finished

    root = run_of(tmp_path / "mixed", BETTER)
    predictions = RunFolder(root).predictions(ARM)
    finished(predictions, predictions.rows()[:-1])
    assert "not those of the split test" in problem(root).what


def test_times_pairs_and_splits_are_those_of_the_manifests(planted):
    found = compare_runs([planted])
    assert cell(found, f"planted/{ARM}", "train.seconds_per_epoch", "1").estimate.value == 15.0
    assert cell(found, f"planted/{ARM}", "train.relative_seconds", "1").estimate.value == 1.0
    chosen = cell(found, f"planted/{ARM}, chosen", "score.median", "8")
    assert (chosen.estimate.value, chosen.estimate.n, chosen.estimate.n_clusters) == (1.5, 40, 38)
    assert chosen.source.endswith("part-00000.json: extra.audit.chosen.score.median")
    assert cell(found, "planted/openi-phantom", "studies.test", "6").estimate.value == N


def test_the_csv_reads_back_to_the_same_numbers(planted):
    found = compare_runs([planted], quoted=read_quoted("paper"))
    rows = list(csv.DictReader(io.StringIO(long_form(found))))
    assert tuple(rows[0]) == FIELDS
    there = {(row["table"], row["row"], row["column"]): row for row in rows}
    for table in found.grids:
        for line in table.lines:
            for column, one in zip(table.columns, line.cells, strict=True):
                if one.text is None and one.estimate is not None:
                    row = there[table.number, f"{line.run}/{line.system}", column.metric]
                    assert float(row["value"]) == one.estimate.value
                    assert (float(row["low"]) if row["low"] else None) == one.estimate.low
                    assert row["source"]
    assert all(row["value"] or row["method"].startswith("no value") for row in rows)


def test_quoted_numbers_are_marked_and_never_bold(tmp_path, planted):
    own = tmp_path / "own.yaml"
    own.write_text("- {system: Other, source: 'Them, 2020', data: MIMIC, percent: true, values: {green: 99.9}}\n")
    found = compare_runs([planted], quoted=read_quoted(str(own)))
    line = next(line for line in grid(found, "3").lines if line.quoted)
    assert line.cells[0].estimate.value == pytest.approx(0.999)
    assert ("planted/dpo_green", "green") in bold(found)
    assert "quoted from Them, 2020; MIMIC, not computed here" in lay_out(grid(found, "3")).footnotes


@pytest.mark.parametrize(
    "text", ["[", "- {system: x}", "values: 3", "- {system: x, source: y, data: z, values: {a: b}}"]
)
def test_a_quoted_file_that_is_wrong_is_told(tmp_path, text):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_quoted(str(path))
    assert "list of systems" in str(caught.value)
    with pytest.raises(UserError):
        read_quoted(str(tmp_path / "absent.yaml"))


def test_the_paper_s_averages_follow_from_its_rows():
    golden = atomic.read_json(Path(__file__).parents[1] / "golden" / "stats" / "paper.json")["tasks"]
    tasks = ("view", "binary", "single_disease", "multi_disease", "vqa", "reasoning")
    quoted = {one.system: one.values for one in read_quoted("paper")}
    for row, name in (("sft", "CheXagent-2, SFT"), ("dpo_green", "CheXagent-2 + DPO (GREEN)")):
        values = [quoted[name][f"task.{task}.accuracy"] for task in tasks]
        assert values == golden[row]["accuracies"]
        assert round(sum(values) / 6, 1) == quoted[name]["task.mean.accuracy"] == golden[row]["average"]
    four = quoted["CheXagent-2-3b"]
    assert round(sum(v for k, v in four.items() if "average" not in k) / 4 + 1e-9, 1) == four["chexbert.average_f1"]


def tex_knows(name: str) -> bool:
    """Whether the LaTeX that is installed has a file of that name."""
    if shutil.which("kpsewhich") is None:
        return False
    return subprocess.run(["kpsewhich", name], capture_output=True, timeout=60).returncode == 0


NASTY = r"a_b & 50% $x$ {y} #1 ~ ^ \ <b> | * `"


@pytest.fixture(scope="module")
def everything(planted):
    """Every table with names that every format has a meaning for."""
    found = compare_runs([planted], quoted=read_quoted("paper"))
    lines = [replace(found.grids[0].lines[0], system=NASTY), *found.grids[0].lines[1:]]
    return replace(found, grids=[replace(found.grids[0], lines=lines), *found.grids[1:]])


def test_latex_is_balanced_and_escaped(everything):
    text = latex(everything)
    bare = re.sub(r"\\[\\{}&%$#_]", "", text)
    depth = 0
    for sign in bare:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert depth == 0
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == len(everything.grids)
    assert latex_escaped(NASTY) in text
    assert text.isascii()
    for table in re.findall(r"\\toprule(.*?)\\bottomrule", text, re.DOTALL):
        rows = [re.sub(r"\\&", "", row) for row in table.split("\\\\\n") if "&" in row]
        assert len({row.count("&") for row in rows}) == 1


EVERY_TABLE = {"1", "3", "4", "5", "6", "8", "9", "10", "11", "Figure 3"}
_MISSING = [name for name in ("booktabs.sty", "graphicx.sty") if not tex_knows(name)]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.skipif(bool(_MISSING), reason=f"LaTeX has no {' and no '.join(_MISSING)}")
def test_latex_of_every_table_compiles(tmp_path, everything):
    with_answers = compare_runs([asked(tmp_path / "asked", RIGHT, HALF)], quoted=read_quoted("paper"))
    assert {grid.number for found in (everything, with_answers) for grid in found.grids} == EVERY_TABLE
    for name, found in (("one", everything), ("two", with_answers)):
        (tmp_path / f"{name}.tex").write_text(latex(found))
        text = f"\\usepackage{{booktabs}}\\usepackage{{graphicx}}\\begin{{document}}\\input{{{name}}}\\end{{document}}"
        (tmp_path / "x.tex").write_text(f"\\documentclass{{article}}{text}")
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "x.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60)
        log = (tmp_path / "x.log").read_text(errors="replace")
        assert done.returncode == 0, log[-2000:]
        assert not re.findall(r"^(?:! |Overfull|Missing character).*", log, re.MULTILINE)


def test_markdown_keeps_its_tables(everything):
    text = markdown(everything)
    blocks = [block for block in text.split("\n\n") if block.startswith("| Run")]
    assert len(blocks) == len(everything.grids)
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    assert "<b>" not in text


def test_the_page_is_whole_and_loads_nothing(everything):
    text = page(everything)
    assert "default-src 'none'" in text
    assert "<svg" in text
    assert "&lt;b&gt;" in text
    assert not re.findall(r"<(?:script|link|img|iframe)\b|url\((?!#)|@import", text)


def test_no_text_of_a_report_is_written(everything):
    for write in (page, markdown, latex, long_form):
        assert "pleural effusion. No" not in write(everything)
        assert "heart is enlarged" not in write(everything)


def test_the_command_writes_all_formats_for_its_owner_only(tmp_path, planted, capsys):
    out = tmp_path / "out"
    assert main.main(["compare", str(planted), "--to", str(out)]) == 0
    names = ["compare.html", "compare.md", "compare.tex", "compare.csv"]
    assert capsys.readouterr().out.split() == [str(out / name) for name in names]
    assert all(stat.S_IMODE((out / name).stat().st_mode) == 0o600 for name in names)
    assert main.main(["compare", str(planted), "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("table,row,column")
    assert main.main(["compare", str(planted), "--json"]) == 0
    assert {row["table"] for row in json.loads(capsys.readouterr().out)} >= {"1", "3", "8"}
    assert main.main(["compare", str(planted), "--format", "docx"]) == 2
    assert main.main(["compare", str(planted), "--format", "md,csv"]) == 2
