"""`chexalign judge` says how many calls were made and saved, and what a budget costs in right choices."""

import json

import pytest

from chexalign.cli import main
from chexalign.errors import UserError
from chexalign.recipe import JudgeSpec
from chexalign.recipe.load import load_recipe
from chexalign.store import Manifest
from chexalign.workflow import Workflow
from tests.scored_runs import run_with

ARM = "arms={{a: {{judge: {judge}, pairs: {{rule: best_worst}}}}}}"
BUDGETED = "{name: rouge_l, budget: {share: 0.5, first: chexpert}}"


@pytest.fixture
def quick(runs_folder, monkeypatch):
    """A run of the recipe `quick` with 30 prompts of 4 candidates, two of them equal."""
    texts = [[f"No effusion {'. The heart is large' * (j % 3)} {i}." for j in range(4)] for i in range(30)]
    run = run_with(runs_folder / "quick", [f"No effusion, case {i}." for i in range(30)], texts)
    monkeypatch.setattr(Workflow, "candidates", lambda self: Manifest.load(run.candidates.folder))
    monkeypatch.setattr(Workflow, "studies", lambda self: Manifest.load(run.studies.folder))
    return run


def judged(runs_folder, *args, judge="rouge_l"):
    sets = ["--set", ARM.format(judge=judge), "--set", "workers=1", "--set", "evaluate.metrics=[chexpert]"]
    return main.main(["judge", "quick", "--runs", str(runs_folder), *sets, *args])


def test_what_was_saved_is_told(quick, runs_folder, capsys):
    assert judged(runs_folder) == 0
    told = f"{quick.scores('rouge_l').folder}: 120 rows; judged 90, 25.0% of calls saved (30 duplicates)\n"
    assert capsys.readouterr().out == told
    assert judged(runs_folder, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out).values()
    assert (row["rows"], row["calls"]["computed"]) == (120, 90)


def test_a_budget_is_for_this_time_and_says_what_it_loses(quick, runs_folder, capsys):
    assert judged(runs_folder, "--budget", "0.5") == 0
    cheap, first, second = capsys.readouterr().out.splitlines()
    assert cheap.startswith(f"{quick.scores('chexpert').folder}: 120 rows; judged ")
    assert "over the budget" in first
    assert second.startswith("  best or worst differs in ")
    assert second.endswith("as far apart, by 20 of 30 scored in full")
    assert {row.status for row in quick.scores("rouge_l").iter_rows()} == {"ok", "refused"}
    assert len(quick.scores("chexpert").rows()) == 120
    assert judged(runs_folder) == 0
    assert {row.status for row in quick.scores("rouge_l").iter_rows()} == {"ok"}


def test_a_budget_in_the_recipe_holds_for_candidates_alone(quick, runs_folder, capsys, monkeypatch):
    assert judged(runs_folder, judge=BUDGETED) == 0
    assert "over the budget" in capsys.readouterr().out
    recipe = load_recipe("quick", [ARM.format(judge=BUDGETED)])
    seen = []
    monkeypatch.setattr(Workflow, "predictions", lambda self, name: Manifest.load(quick.candidates.folder))
    monkeypatch.setattr(Workflow, "_scored", lambda self, table, worker, key, rows, label: seen.append(worker))
    work = Workflow(recipe, quick)
    work.metric(recipe.resolved_arms()["a"].judge, "sft")
    assert seen[0].budget is None
    assert seen[0].judge.budget is None


def test_a_panel_ranks_and_its_judges_have_tables_of_their_own(quick, runs_folder, capsys):
    assert judged(runs_folder, "--json", judge="{name: panel, of: [chexpert, rouge_l]}") == 0
    tables = [quick.scores(name) for name in ("rouge_l", "chexpert", "panel-chexpert-and-rouge_l")]
    rows = json.loads(capsys.readouterr().out)
    assert list(rows) == [str(table.folder) for table in tables]
    assert ["calls" in row for row in rows.values()] == [True, True, False]
    ranked = tables[-1].rows()
    assert [row.candidate_id for row in ranked] == [c.id for c in quick.candidates.rows()]
    parts = [dict(row.parts) for row in ranked[:4]]
    assert [part["chexpert"] for part in parts] == [5 / 6, 1 / 6, 1 / 6, 5 / 6]
    assert [row.value for row in ranked[:4]] == [(p["chexpert"] + p["rouge_l"]) / 2 for p in parts]
    recipe = load_recipe(
        "quick", [ARM.format(judge="{name: panel, of: [chexpert, rouge_l]}"), "evaluate.metrics=[bleu_4]"]
    )
    assert [judge.name for judge in recipe.measured()] == ["bleu_4", "chexpert", "rouge_l"]
    assert judged(runs_folder, "--budget=0.5", judge="{name: panel, of: [chexpert, rouge_l]}") == 0
    assert {row.status for row in tables[-1].iter_rows()} == {"ok", "error"}
    assert {row.reason for row in tables[-1].iter_rows()} == {None, "rouge_l: unscored"}


@pytest.mark.parametrize("share", ["0", "1", "-2", "nan"])
def test_a_budget_that_is_no_share_is_refused(share, runs_folder, capsys):
    assert judged(runs_folder, f"--budget={share}") == 2
    assert "lies between 0 and 1" in capsys.readouterr().err


def test_texts_that_may_not_be_passed_on_are_not_sent_to_a_judge(quick, runs_folder, monkeypatch):
    import dataclasses

    recipe = load_recipe("quick")
    studies = [dataclasses.replace(study, license="PhysioNet credentialed") for study in quick.studies.rows()]
    monkeypatch.setattr(type(quick.studies), "column", lambda self, part, name: [study.license for study in studies])
    options = {"url": "https://judges.example.org/v1", "model": "m"}
    judge = JudgeSpec.model_validate({"name": "lc", "of": {"name": "green_style", "options": options}})
    with pytest.raises(UserError, match="would send studies to another machine"):
        Workflow(recipe, quick).scores(judge)
