"""Scores of a run: what is asked, what is taken from the store, and what a budget leaves out."""

import pytest

from chexalign.errors import UserError
from chexalign.judges import stage
from chexalign.judges.budget import Budget, Drawn, choice_differs, keep, spread_kept, with_budget
from chexalign.judges.panel import PanelWorker, ranks
from chexalign.judges.stage import CandidateTexts, ScoresWorker, about_judge, make_judge, score_store_folder, with_calls
from chexalign.recipe import JudgeSpec
from chexalign.registry import Entry, Registry, registry
from chexalign.stage import StageKey, run_parts
from chexalign.types import Score
from tests.scored_runs import finished, run_with

TEXTS = [[f"word {'more ' * j}{i // 2}" for j in (0, 1, 2, 2)] for i in range(12)]
REFERENCES = [f"reference {i // 2}" for i in range(12)]  # so every text stands in two studies, and one of them twice
DISTINCT = 18


@pytest.fixture(autouse=True)
def plugins(monkeypatch):
    entries = [*registry("judges").entries(), Entry("judges", "slow", "tests.slow_judge:SlowJudge", "tests")]
    found = Registry("judges", entries)
    monkeypatch.setattr(stage, "registry", lambda kind: found)


@pytest.fixture
def run(tmp_path):
    return run_with(tmp_path / "runs" / "a", REFERENCES, TEXTS)


def slow(tmp_path, **options):
    return JudgeSpec(name="slow", options={"log": str(tmp_path), **options})


def asked(tmp_path):
    path = tmp_path / "asked"
    return path.read_text().splitlines() if path.exists() else []


def scored(run, spec, name, *, budget=None, part_size=5, key=None):
    rows = len(run.candidates.rows())
    worker = ScoresWorker(spec, CandidateTexts(run), part_size, score_store_folder(run), budget)
    table, n_parts = run.scores(name), -(-rows // part_size)
    manifest = run_parts(table, worker, key=StageKey("scores", {}, key or {}, 1), n_parts=n_parts)
    return table, with_calls(table, manifest)


def test_equal_texts_of_a_run_are_asked_about_once_and_of_another_run_never(run, tmp_path):
    table, manifest = scored(run, slow(tmp_path), "slow")
    assert len(asked(tmp_path)) == len(set(asked(tmp_path))) == DISTINCT
    assert manifest.extra["calls"] == {"computed": 18, "stored": 0, "duplicates": 30, "refused": 0, "saved": 30 / 48}
    values = {row.candidate_id: row.value for row in table.rows()}
    assert values == {c.id: len(c.text.split()) for c in run.candidates.rows()}
    other = run_with(run.root.parent / "b", REFERENCES, TEXTS)
    _, second = scored(other, slow(tmp_path), "slow")
    assert len(asked(tmp_path)) == DISTINCT
    assert second.extra["calls"] == {"computed": 0, "stored": 18, "duplicates": 30, "refused": 0, "saved": 1.0}
    assert second.content == manifest.content


def test_a_cheap_judge_keeps_the_order_of_the_candidates_and_writes_no_store(run):
    table, manifest = scored(run, JudgeSpec(name="rouge_l"), "rouge_l")
    assert [row.candidate_id for row in table.rows()] == [c.id for c in run.candidates.rows()]
    assert not score_store_folder(run).exists()
    assert manifest.extra["calls"]["stored"] == 0
    assert sum(manifest.extra["calls"][name] for name in ("computed", "duplicates")) == 48


def test_a_wrapper_shares_what_is_kept_of_the_judge_inside(run, tmp_path):
    scored(run, slow(tmp_path), "slow")
    lc = JudgeSpec(name="lc", of=slow(tmp_path))
    table, manifest = scored(run, lc, "lc-slow")
    assert manifest.extra["calls"]["computed"] == 0
    assert {row.judge for row in table.rows()} == {"lc-slow@1-1"}
    both = JudgeSpec(name="sum", of=[slow(tmp_path), lc], options={"weights": [2, -1]})
    table, manifest = scored(run, both, "sum")
    assert manifest.extra["calls"] == {"computed": 0, "stored": 36, "duplicates": 60, "refused": 0, "saved": 1.0}
    assert len(asked(tmp_path)) == DISTINCT
    row = table.rows()[0]
    parts = dict(row.parts)
    assert row.value == pytest.approx(2 * parts["slow"] - parts["lc-slow"])
    assert [name for name, _ in row.notes] == ["slow.said", "lc-slow.said"]


def test_a_text_that_breaks_the_judge_keeps_its_row_with_the_reason(tmp_path):
    run = run_with(tmp_path / "runs" / "a", ["reference"], [["one", "broken secret", "one two", "broken secret"]])
    table, _ = scored(run, slow(tmp_path), "slow")
    found = {row.candidate_id: (row.value, row.status, row.reason) for row in table.rows()}
    error = (None, "error", "the judge raised ValueError")
    assert found == {"c0-0": (1.0, "ok", None), "c0-1": error, "c0-2": (2.0, "ok", None), "c0-3": error}


def test_scores_of_another_version_of_the_judge_are_not_mixed_in(run, tmp_path, monkeypatch):
    from tests.slow_judge import SlowJudge

    first = about_judge(slow(tmp_path)).substance()
    _, before = scored(run, slow(tmp_path), "slow", key=first)
    monkeypatch.setattr(SlowJudge, "version", "2")
    second = about_judge(slow(tmp_path)).substance()
    assert (first, second) == ({"version": "1", "parts": "by digest"}, {"version": "2", "parts": "by digest"})
    run.scores("slow").part_path(3).unlink()  # as if the run had been stopped in the middle
    table, after = scored(run, slow(tmp_path), "slow", key=second)
    assert {row.judge for row in table.rows()} == {"slow@2"}
    assert after.fingerprint != before.fingerprint
    assert after.extra["calls"]["stored"] == 0


def test_damaged_rows_of_the_store_are_asked_for_again_and_counted(run, tmp_path, capsys):
    _, first = scored(run, slow(tmp_path), "slow")
    (folder,) = score_store_folder(run).iterdir()
    paths = sorted(folder.glob("*.parquet"))
    lost = sum(int(path.stem.rpartition("-")[2]) for path in paths[:2])
    for path in paths[:2]:
        path.write_bytes(path.read_bytes()[:-9])
    other = run_with(run.root.parent / "b", REFERENCES, TEXTS)
    table, second = scored(other, slow(tmp_path), "slow")
    assert second.content == first.content
    assert (second.extra["calls"]["computed"], second.extra["calls"]["stored"]) == (lost, DISTINCT - lost)
    assert second.extra["calls"]["damaged"] == lost
    told = capsys.readouterr().err
    assert f"note: {lost} rows of the score store were damaged" in told
    assert paths[0].name in told
    assert with_calls(table, second) == second
    assert capsys.readouterr().err == "", "it is told once"
    third = run_with(run.root.parent / "c", REFERENCES, TEXTS)
    assert "damaged" not in scored(third, slow(tmp_path), "slow")[1].extra["calls"]


def test_where_a_server_is_does_not_change_what_it_says_and_its_model_does(tmp_path):
    def options(**server):
        made = make_judge(
            JudgeSpec(name="green_style", options={"url": "http://127.0.0.1:1/v1", "model": "m", **server})
        )
        given = {"url": "http://127.0.0.1:1/v1", "model": "m", "texts": "raw", **server}
        return stage._substance(made, given), stage._is_dear(made)

    assert options() == options(url="http://127.0.0.1:2/v1", concurrency=3)
    assert options()[1]
    assert options(model="n") != options()
    assert options()[0] == {"model": "m", "texts": "raw"}
    (tmp_path / "prompt").write_text("a")
    first = stage._substance(object(), {"prompt": str(tmp_path / "prompt")})
    (tmp_path / "prompt").write_text("b")
    assert stage._substance(object(), {"prompt": str(tmp_path / "prompt")}) != first


def test_a_sum_needs_one_weight_per_judge_and_tells_whose_text_is_unscored():
    spec = {"name": "sum", "of": ["rouge_l", "chexpert"], "options": {"weights": [1, 0.5]}}
    judge = make_judge(JudgeSpec.model_validate(spec))
    assert judge.name == "sum-rouge_l-and-chexpert"
    found = judge.score([stage.TextPair("Clear lungs.", "Clear lungs."), stage.TextPair("a", "")])
    assert found[0].value == 1.5
    assert found[0].parts["rouge_l.recall"] == found[0].parts["chexpert"] == 1.0
    assert (found[1].value, found[1].status) == (None, "error")
    assert found[1].reason.startswith("rouge_l: ")
    for weights in ([1], [1, 2, 3], [0, 0], [1, float("nan")], [1, "2"]):
        with pytest.raises(UserError, match="one weight"):
            make_judge(JudgeSpec.model_validate(spec | {"options": {"weights": weights}}))
    with pytest.raises(UserError, match="judge sum with of"):
        make_judge(JudgeSpec.model_validate(spec | {"options": {}}))


@pytest.mark.parametrize(
    ("firsts", "share", "kept"),
    [
        ([3, 1, 2, 0], 0.5, {0, 3}),
        ([3, 1, 2, 0], 0.9, {0, 3}),
        ([3, 1, 2, 0], 0.1, {0, 3}),  # a pair needs two
        ([5, 4, 3, 2, 1, 0], 0.67, {0, 1, 4, 5}),
        ([1, 1, 1, 1], 0.5, {0, 3}),  # of equal values the lower draw is the higher
        ([3, None, 2, 0], 0.5, {0, 1, 3}),  # what the cheap judge cannot say is asked
        ([None, None], 0.5, {0, 1}),
    ],
)
def test_a_budget_keeps_the_ends_of_the_cheap_judges_order(firsts, share, kept):
    drawn = [Drawn(str(i), f"text {i}", first) for i, first in enumerate(firsts)]
    assert keep(drawn, share) == {str(i) for i in kept}


def test_a_budget_counts_equal_texts_once():
    drawn = [Drawn(str(i), text, float(len(text))) for i, text in enumerate(["aaa", "b", "aaa", "cc"])]
    assert keep(drawn, 0.5) == {"0", "1", "2"}
    assert keep(drawn[:1] * 4, 0.5) == frozenset(), "of one text nothing can be chosen"


def test_a_budget_refuses_the_rest_and_says_how_often_it_is_wrong(tmp_path, monkeypatch):
    texts = [[f"{'w ' * (j + 1)}{i}" for j in range(4)] for i in range(100)]
    run = run_with(tmp_path / "runs" / "a", [f"w reference {i}" for i in range(100)], texts)
    scored(run, JudgeSpec(name="rouge_l"), "rouge_l")
    budget = Budget(run, 0.5, "rouge_l", 0.3, seed=4)
    plan = budget.plan()
    assert len(plan.checked) == 30
    assert plan.refused == Budget(run, 0.5, "rouge_l", 0.3, seed=4).plan().refused
    assert len(plan.refused) == 70 * 2
    table, manifest = scored(run, slow(tmp_path), "slow", budget=budget)
    rows = {row.candidate_id: row for row in table.rows()}
    assert len(rows) == 400
    assert {i for i, row in rows.items() if row.status == "refused"} == plan.refused
    assert {(row.value, row.reason) for row in rows.values() if row.status == "refused"} == {(None, "budget")}
    assert manifest.extra["calls"]["refused"] == 140
    assert manifest.extra["calls"]["saved"] == 140 / 400
    manifest = with_budget(table, manifest, budget, split="prefer", level=0.9)
    found = manifest.extra["budget"]["differs"]
    # rouge_l puts the shortest first and the others in order, so its ends are those of the number of words
    assert (found["value"], found["n"], manifest.extra["budget"]["prompts"]) == (0.0, 30, 100)
    assert found["low"] == 0.0
    assert 0.05 < found["high"] < 0.15
    assert with_budget(table, manifest, budget, split="prefer", level=0.9) == manifest


def test_a_choice_differs_where_a_better_or_worse_candidate_was_not_asked_about():
    prompts = {str(p): [Drawn(f"{p}{i}", f"t{i}", float(-i)) for i in range(4)] for p in range(4)}
    kept = {p: keep(drawn, 0.5) for p, drawn in prompts.items()}
    assert kept["1"] == {"10", "13"}
    values = [(9, 5, 6, 1), (5, 9, 6, 1), (9, 9, 1, 1), (None, 2, 1, None)]
    scores = {f"{p}{i}": value for p, row in enumerate(values) for i, value in enumerate(row)}
    from chexalign.judges.budget import Plan

    found = choice_differs(Plan(prompts, kept, frozenset(prompts)), scores, split="prefer", level=0.9)
    assert (found.value, found.n) == (0.5, 4), "missed are the best of the second and both of the fourth"
    full = (9 - 1) + (9 - 1) + (9 - 1) + (2 - 1)
    assert spread_kept(Plan(prompts, kept, frozenset(prompts)), scores) == (8 + 4 + 8 + 0) / full
    assert spread_kept(Plan(prompts, kept, frozenset()), scores) is None
    nothing = choice_differs(Plan(prompts, kept, frozenset()), scores, split="prefer", level=0.9)
    assert (nothing.value, nothing.low) == (None, None)


def test_a_panel_counts_ties_half_and_leaves_out_whom_a_judge_did_not_score(tmp_path):
    assert ranks({"a": 3.0, "b": 1.0, "c": 2.0}) == {"a": 1.0, "b": 0.0, "c": 0.5}
    assert ranks({"a": 1.0, "b": 1.0}) == {"a": 0.5, "b": 0.5}
    run = run_with(tmp_path / "runs" / "a", ["r", "r", "r"], [["a", "b", "c"], ["d", "e"], ["f"]])
    values = {
        "x": {"c0-0": 9, "c0-1": 5, "c0-2": 5, "c1-0": 1, "c1-1": None, "c2-0": 1},
        "y": {"c0-0": 0.1, "c0-1": 0.9, "c0-2": 0.5, "c1-0": 1, "c1-1": 2, "c2-0": 1},
    }
    for name, of in values.items():
        error = ("error", "why")
        finished(
            run.scores(name), [Score(i, f"{name}@1", v, (), *(() if v is not None else error)) for i, v in of.items()]
        )
    worker = PanelWorker(run, "panel@1", ["x", "y"])
    worker.setup()
    rows = {row.candidate_id: row for row in worker.part(0).rows}
    assert [rows[f"c0-{i}"].value for i in range(3)] == [0.5, 0.625, 0.375]
    assert dict(rows["c0-1"].parts) == {"x": 0.25, "y": 1.0}
    alone = "no other candidate of the prompt is scored"
    assert [rows[i].reason for i in ("c1-0", "c1-1", "c2-0")] == [alone, "x: unscored", alone]
    with pytest.raises(UserError, match="ranks the candidates of one prompt") as e:
        make_judge(JudgeSpec.model_validate({"name": "panel", "of": ["rouge_l", "bleu_4"]})).score([])
    assert "evaluate.metrics" in e.value.fix
