"""The stage: whose wrong answer comes first, what is dropped and why, and equal rows wherever parts are made."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace

import pytest

from chexalign.errors import UserError
from chexalign.mine.counterfactual import CounterfactualWorker, with_account
from chexalign.mine.leakage import leakage
from chexalign.policy.base import AskError, Completion
from chexalign.recipe.mine import CounterfactualSpec
from chexalign.run_folder import RunFolder
from chexalign.spread import Threads
from chexalign.stage import StageKey, run_parts
from chexalign.store import Manifest
from chexalign.types import Answer, Counterfactual, ImageRef
from tests.compared_runs import finished
from tests.unit.test_mine_counterfactual_edits import YES_NO, asked

IMAGE = ImageRef("x.png", "0" * 64, "frontal", 8, 8)
QUESTIONS = [
    asked("Is there edema?", "verify", YES_NO, ("yes",), "Yes. There is mild edema.", id="a", evidence=["edema"]),
    asked("Is there edema?", "verify", YES_NO, ("no",), "No. There is no edema.", id="b", evidence=["-edema"]),
    asked("Is there edema?", "verify", YES_NO, ("yes",), "Yes. There is edema.", id="c", evidence=["-edema"]),
    asked("Which view?", "choose", ("PA", "AP"), ("PA",), "PA. This is a PA view.", id="d"),
    asked("Which view?", "choose", ("PA", "AP"), (), id="e"),
    asked("Which view?", "choose", ("PA", "AP"), ("PA",), "PA. The scapulae are not in the way.", id="f"),
]
PATIENTS = {question.id: question.patient_id for question in QUESTIONS}
OWN = {
    "a": ("No. There is no edema today.", ("no",), False),
    "b": ("No. There is no edema.", ("no",), True),
    "d": ("Perhaps.", None, None),
    "f": ("AP. The scapulae are in the way of the lungs.", ("AP",), False),
}


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path)
    questions = [replace(question, images=(IMAGE,)) for question in QUESTIONS]
    answers = [Answer(id_, "sft", "generation", 0, text, 5, read, right) for id_, (text, read, right) in OWN.items()]
    for table, rows in ((folder.questions("hand"), questions), (folder.mine_answers, answers)):
        finished(table, rows)
    return folder


def worker(run, ids="abcdef", *, own="first", part_size=100, policy=None, **more):
    spec = CounterfactualSpec(own=own, **more)
    return CounterfactualWorker(run, "hand", list(ids), spec, part_size, seed=1, policy=policy)


def made(one, index=0):
    one.setup()
    return one.part(index)


def test_the_own_wrong_answer_comes_first_and_edits_after(run):
    part = made(worker(run))
    found = {row.question_id: row for row in part.rows}
    assert found["a"] == Counterfactual("a", "Yes. There is mild edema.", OWN["a"][0], "own", "own", ("no",), 1)
    assert (found["b"].rejected, found["b"].origin) == ("Yes. There is edema.", "rules")
    assert (found["d"].rejected, found["d"].kind) == ("AP. This is an AP view.", "attribute")
    assert found["f"].origin == "own"
    assert dict(part.dropped) == {"contradicts_evidence": 1, "no_answer": 1}
    assert part.extra == {"proposals": 4, "rejected": {}}


def test_without_own_answers_the_last_reason_drops_a_question(run):
    part = made(worker(run, own="never"))
    assert {row.question_id: row.rejected for row in part.rows} == {
        "a": "No. There is no edema.",
        "b": "Yes. There is edema.",
        "d": "AP. This is an AP view.",
    }
    assert dict(part.dropped) == {"contradicts_evidence": 1, "no_answer": 1, "same_labels": 1}
    assert part.extra["rejected"] == {"same_labels": 1}


def test_a_rejected_own_answer_is_counted_and_the_edit_taken(run):
    rows = [Answer("a", "sft", "generation", 0, "No. " + "There is no edema. " * 5, 5, ("no",), False)]
    finished(run.mine_answers, rows)
    part = made(worker(run, "a"))
    assert [(row.origin, row.tries) for row in part.rows] == [("rules", 2)]
    assert part.extra == {"proposals": 2, "rejected": {"length": 1}}


def test_parts_are_the_same_however_many_make_them(run):
    found = []
    for n in (1, 2):
        table = RunFolder(run.root / f"made{n}").counterfactuals
        one = pickle.loads(pickle.dumps(worker(run, part_size=2)))
        key = StageKey("counterfactuals", {}, {}, 1)
        made = run_parts(table, one, key=key, n_parts=one.n_parts, spread=Threads(n))
        manifest = with_account(table, made, PATIENTS, seed=1)
        assert (manifest.extra["proposals"], manifest.extra["rejected"]) == (4, {})
        assert {row["metric"] for row in manifest.extra["leakage"]} > {"counterfactual.longer_is_chosen.words"}
        assert Manifest.load(table.folder) == manifest == with_account(table, manifest, PATIENTS, seed=1)
        found.append((table.rows(), manifest.content, manifest.dropped))
    assert found[0] == found[1]
    assert [row.question_id for row in found[0][0]] == ["a", "b", "d", "f"]


def test_a_question_that_is_not_there_is_a_mistake(run):
    with pytest.raises(UserError, match="1 of the mined questions are not among those of hand, as z"):
        worker(run, "az").setup()


def test_what_proposes_is_told_by_its_version(run):
    assert worker(run).version == "rules@1"
    endpoint = {"url": "http://127.0.0.1:9/v1", "model": "m"}
    assert worker(run, generator="llm", endpoint=endpoint).version.startswith("llm@")


@dataclass
class Policy:
    """Finds a text with the word AP improbable, and cannot read the image of one question."""

    read_texts: list = field(default_factory=list)

    def read(self, asks, texts):
        for index, ask in enumerate(asks):
            if "edema" in ask.prompt and len(asks) > 1:
                raise AskError(UserError("a", "b", "c"), index=index, reason="image_unreadable")
        self.read_texts += texts
        return [[Completion(t, 10, -50.0 if "AP" in t else -10.0, "stop") for t in group] for group in texts]


@dataclass(frozen=True)
class Source:
    def open(self):
        return Policy()


def test_a_policy_rejects_what_it_finds_improbable_and_a_damaged_image_drops_its_question(run):
    one = worker(run, "abd", own="never", policy=Source(), max_drop=2.0)
    part = made(one)
    assert [row.question_id for row in part.rows] == []
    assert dict(part.dropped) == {"image_unreadable": 2, "not_fluent": 1}
    assert one._policy.read_texts == [["PA. This is a PA view.", "AP. This is an AP view."]]
    assert len(made(worker(run, "d", own="never", policy=Source(), max_drop=5.0)).rows) == 1


def test_leakage_is_told_with_intervals_by_patient():
    row = Counterfactual("q0", "Yes. It is.", "No.", "side", "rules", ("no",), 1)
    rows = [replace(row, question_id=f"q{i}") for i in range(60)]
    rows[30:] = [replace(r, chosen="No.", rejected="No.", kind="own", origin="own") for r in rows[30:]]
    found = {e.metric: e for e in leakage(rows, {f"q{i}": f"p{i // 2}" for i in range(60)}, split="train", seed=1)}
    difference = found["counterfactual.difference.words"]
    assert (difference.value, difference.n_clusters, difference.baseline) == (1.0, 30, "rejected")
    assert difference.low < 1.0 < difference.high
    assert found["counterfactual.longer_is_chosen.characters"].value == 0.75
    assert found["counterfactual.kind.side"].value == found["counterfactual.origin.own"].value == 0.5
    assert found["counterfactual.origin.llm"].value == 0.0


def test_leakage_of_nothing_has_no_value():
    found = leakage([], {}, split="train", seed=1)
    assert {estimate.value for estimate in found} == {None}
