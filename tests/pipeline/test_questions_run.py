"""A recipe with questions learns from some of them, asks the others, and tells what alignment costs."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from chexalign.cli import main
from chexalign.data import collect
from chexalign.data.questions import TEST, TRAIN, Draft, Picture, QuestionItem
from chexalign.errors import UserError
from chexalign.evaluate.stage import read_numbers
from chexalign.recipe import CollectionSpec
from chexalign.run_folder import RunFolder
from chexalign.store import Manifest
from chexalign.workflow.stages import question_items
from tests.made_up import install, install_letters, tiny_checkpoint

pytestmark = [pytest.mark.pipeline]
VIEWS = ("PA", "AP", "lateral")


class Views:
    """Which view is it? 30 to learn from, of which three are of a patient whose study is held out, and 24 to ask."""

    name, license = "made-views", "CC0"

    def __init__(self, *, picture: str) -> None:
        self.picture = picture

    def items(self):
        shown = (Picture(self.picture, "frontal"),)
        items = []
        for i in range(54):
            draft = Draft("view", "view", "all", "choose", "Which view?", VIEWS, (VIEWS[i % 3],))
            patient = f"s{9 + i // 10:03}" if i in (0, 10, 20) else f"q{i}"  # studies of the test split are s008 on
            items.append(QuestionItem(f"i{i}", patient, TRAIN if i < 30 else TEST, shown, (draft,)))
        return items, {}


@pytest.fixture
def settings(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch)
    install_letters(monkeypatch)
    real = collect.registry
    made = SimpleNamespace(get=lambda _: Views)
    monkeypatch.setattr(collect, "registry", lambda kind: made if kind == "questions" else real(kind))
    source = f"source: made-views, options: {{picture: {tmp_path / 'x.png'}}}"
    given = (
        *(f"policy={{model: {tiny_checkpoint(tmp_path / 'policy')}}}", "workers=1", "threads=1"),
        "sft={epochs: 1, learning_rate: 1.0e-3, global_batch: 8}",
        *("data.split={sft: 4, prefer: 4, test: 4}", "sample.n=3", "sample.max_new_tokens=8", "evaluate.bootstrap=20"),
        "arms={dpo: {judge: letters, pairs: {rule: best_worst}, train: {algorithm: dpo, beta: 0.1, "
        "learning_rate: 1.0e-3, global_batch: 4}}}",
        "evaluate.metrics=[chexpert, rouge_l]",
        f"questions={{collections: [{{{source}, sft: 20}}], scoring: [generation, likelihood], max_new_tokens: 8, "
        "confidence: {aggregate: mean, span: output}}",
    )
    return [part for setting in given for part in ("--set", setting)]


def test_a_plan_counts_questions_and_answers_before_anything_is_spent(settings, capsys):
    assert main.main(["plan", "quick", "--json", *settings]) == 0
    rows = {row["stage"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["questions/made-views"]["rows"] == 54
    assert rows["answers/made-views"]["rows"] == 24 * 2 * 2 * 2  # orders, policies, scorings
    assert main.main(["plan", "quick", *settings, "--set", "questions.split=validation"]) == 2
    assert "has no question of the split validation" in capsys.readouterr().err


def test_tasks_that_are_not_wanted_are_left_out(settings):
    source, spec = Views(picture="x.png"), CollectionSpec(source="made-views", tasks=["view"])
    items, dropped = question_items(source, spec)
    assert (len(items), dropped) == (54, {})
    odd = [replace(item, drafts=(replace(item.drafts[0], task="other"),)) for item in items[::2]]
    source.items = lambda: ([*items[1::2], *odd], {"malformed_row": 1})
    assert question_items(source, spec)[1] == {"malformed_row": 1, "task_not_wanted": 27}
    with pytest.raises(UserError, match="has no task 'views'"):
        question_items(source, CollectionSpec(source="made-views", tasks=["views"]))


def test_questions_are_learned_from_and_asked(settings, runs_folder, capsys):
    assert main.main(["run", "quick", "--runs", str(runs_folder), *settings]) == 0
    run = RunFolder(runs_folder / "quick")
    sft = Manifest.load(run.policy("sft"))
    assert sft is not None
    assert sft.rows == 4 + 20
    assert sft.dropped == {"question_of_a_held_out_patient": 3}
    answers = run.answers("made-views", "dpo").rows()
    assert len(answers) == 24 * 2 * 2  # orders, scorings
    numbers = read_numbers(run)
    by = {(e.metric, e.policy, e.baseline): e for e in numbers.estimates}
    assert by["task.view.accuracy", "sft", None].n == 24
    assert by["task.view.by_likelihood", "dpo", "sft"].n == 24
    assert by["task.mean.accuracy", "dpo", "sft"].low is not None
    assert {v.metric for v in numbers.tax} == {"task.view.accuracy", "task.mean.accuracy"}
    assert {"task.view.accuracy", "vqa.basic.accuracy"} <= {c.metric for c in numbers.comparisons}
    assert by["vqa.choose.accuracy", "sft", None].value == by["task.view.accuracy", "sft", None].value
    assert by["vqa.all.accuracy", "dpo", "sft"].n == 24
    assert {(c.ece.policy, c.group, c.ece.n) for c in numbers.calibration} == {
        (policy, group, 24) for policy in ("sft", "dpo") for group in ("all", "basic", "choose")
    }
    assert by["vqa.basic.ece", "dpo", "sft"].low is not None
    assert all(a.token_logps for a in answers if a.scoring == "generation")
    assert by["verbosity_vs_sft", "dpo", None].n == 4
    assert [v.judge for v in numbers.length] == ["letters"]
    assert json.loads(run.estimates.read_text())["references"] == run.normalizer == "raw"
    before = run.estimates.read_bytes()
    assert main.main(["run", "quick", "--runs", str(runs_folder), *settings]) == 0
    assert run.estimates.read_bytes() == before
    assert main.main(["evaluate", "quick", "--runs", str(runs_folder), *settings]) == 0
    assert "task.view.accuracy" in capsys.readouterr().out
