"""Answers are read and never guessed; the tax is a paired difference on the same questions."""

import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from chexalign.data.answers import answer_text, matches
from chexalign.errors import UserError
from chexalign.evaluate.answers import AnswersWorker, answer, asked
from chexalign.evaluate.tasks import Asked, compare_tasks, measure_tasks, task_estimates, tax_verdicts
from chexalign.ids import file_sha256
from chexalign.policy.base import Completion, Decoding
from chexalign.run_folder import RunFolder
from chexalign.stats import Bootstrap, PairedTests
from chexalign.types import Answer, ImageRef, Question
from tests.compared_runs import finished

PLAIN = Question(
    id="q",
    patient_id="p",
    study_id="s",
    task="view",
    part="all",
    kind="basic",
    answer_type="choose",
    text="Which view?",
    options=("PA", "AP", "lateral"),
    answers=("PA",),
    images=(),
    split="test",
    source="hand",
    license="CC0",
)
MULTI = replace(
    PLAIN, task="multi", answer_type="query", options=("edema", "mass", "fracture"), answers=("edema", "mass")
)


def many(n, task="view", **more):
    return [replace(PLAIN, id=f"{task}{i}", patient_id=f"p{i}", task=task, **more) for i in range(n)]


def said(questions, policy, right, orders=1):
    """Answers, right where `right` says so for the question and the order."""
    for i, q in enumerate(questions):
        for order in range(orders):
            yield read(q, policy, order, "PA" if right(i, order) else "AP", 2)


def read(question, policy, order, text, n_tokens):
    """What a policy wrote, read as an answer."""
    return answer(question, policy, order, Completion(text, n_tokens, None, "stop"))


def find(estimates, metric, policy="dpo", baseline=None):
    return next(e for e in estimates if (e.metric, e.policy, e.baseline) == (metric, policy, baseline))


def test_an_answer_is_right_wrong_or_unread():
    assert [read(PLAIN, "p", 0, text, 1).right for text in ("(A)", "AP", "I cannot tell", "")] == [
        True,
        False,
        None,
        None,
    ]
    assert read(MULTI, "p", 0, "mass, edema", 1).read == ("edema", "mass")
    with pytest.raises(ValueError, match="neither right nor wrong"):
        Answer("q", "p", "generation", 0, "x", 1, None, True)


@pytest.mark.parametrize(
    "question",
    [
        PLAIN,
        MULTI,
        replace(MULTI, answers=()),
        replace(PLAIN, answer_type="verify", options=("yes", "no"), answers=("no",)),
        replace(PLAIN, answer_type="verify", options=(), answers=("no",)),
        replace(PLAIN, answer_type="open", options=(), answers=("left lower lobe",)),
    ],
)
def test_what_is_learned_as_the_right_answer_is_read_as_right(question):
    assert matches(question.answer_type, answer_text(question), question.answers, question.options) is True
    assert answer_text(replace(question, rationale="The heart is large.")) == "The heart is large."


def test_the_tax_is_found_where_it_is_and_only_there():
    questions = many(200) + many(200, task="binary")
    everything = Asked(questions)
    sft = list(said(questions, "sft", lambda i, _: i % 10 != 0))
    dpo = list(said(questions, "dpo", lambda i, _: i % 10 != 0 and not (i < 200 and i % 4 == 1)))
    results = [measure_tasks("sft", everything, sft), measure_tasks("dpo", everything, dpo)]
    bootstrap = Bootstrap(everything.patients, seed=1, resamples=200)
    estimates = task_estimates(everything, results, bootstrap, split="test", baseline="sft")
    assert find(estimates, "task.view.accuracy", "sft").value == pytest.approx(0.9)
    assert find(estimates, "task.view.accuracy", baseline="sft").value == pytest.approx(-0.25)
    assert find(estimates, "task.binary.accuracy", baseline="sft").value == 0
    assert find(estimates, "task.mean.accuracy", baseline="sft").value == pytest.approx(-0.125)
    assert find(estimates, "task.mean.accuracy", "sft").value == pytest.approx(0.9)
    verdicts = {v.metric: v.verdict for v in tax_verdicts(estimates, bound=0.02)}
    assert verdicts == {"task.view.accuracy": "fail", "task.binary.accuracy": "pass", "task.mean.accuracy": "fail"}
    tests = compare_tasks(everything, results, PairedTests(everything.patients, seed=1, flips=999), baseline="sft")
    assert {t.metric: t.p_holm < 0.05 for t in tests} == {"task.view.accuracy": True, "task.binary.accuracy": False}


def test_what_cannot_be_read_counts_as_wrong_and_is_told():
    questions = many(40)
    answers = [read(q, "sft", 0, "PA" if i % 2 else "perhaps", 1) for i, q in enumerate(questions)]
    result = measure_tasks("sft", Asked(questions), answers)
    assert result.right.mean() == result.unread.mean() == 0.5
    assert np.isnan(result.same).all()


def test_the_order_of_options_is_controlled():
    questions = many(40)
    result = measure_tasks("sft", Asked(questions), said(questions, "sft", lambda i, order: order == 0 or i < 10, 3))
    assert result.right.mean() == 1
    assert result.right_other_order.mean() == 0.25
    assert result.same.mean() == 0.25


def test_labels_of_sets_have_an_f1():
    questions = [replace(MULTI, id=f"m{i}", patient_id=f"p{i}") for i in range(30)]
    everything = Asked(questions)
    answers = [read(q, "sft", 0, "edema, fracture", 3) for q in questions]
    estimates = task_estimates(
        everything,
        [measure_tasks("sft", everything, answers)],
        Bootstrap(everything.patients, seed=1, resamples=50),
        split="test",
        baseline="sft",
    )
    assert find(estimates, "task.multi.micro_f1", "sft").value == pytest.approx(2 * 1 / (2 + 2))
    assert find(estimates, "task.multi.accuracy", "sft").value == 0


def test_questions_of_several_collections_and_parts_have_groups_of_their_own():
    questions = [
        replace(PLAIN, id=f"{source}{part}", source=source, part=part) for source in "ab" for part in ("x", "y")
    ]
    assert set(Asked(questions).groups()) == {
        "view",
        "view.a",
        "view.b",
        "view.a.x",
        "view.a.y",
        "view.b.x",
        "view.b.y",
    }
    assert set(Asked(many(2)).groups()) == {"view"}
    assert Asked(questions).patients == ["a/p", "a/p", "b/p", "b/p"]


def test_too_few_patients_have_no_interval_and_an_open_verdict():
    questions = many(10)
    everything = Asked(questions)
    results = [measure_tasks(n, everything, said(questions, n, lambda i, _: True)) for n in ("sft", "dpo")]
    bootstrap = Bootstrap(everything.patients, seed=1, resamples=50)
    estimates = task_estimates(everything, results, bootstrap, split="test", baseline="sft")
    assert find(estimates, "task.view.accuracy").low is None
    assert {v.verdict for v in tax_verdicts(estimates, bound=0.02)} == {"open"}


class Parrot:
    """A policy that says one thing, and finds the shortest option the most probable."""

    def generate(self, asks, *, decoding, seeds):
        return [[Completion("(A)", 2, -1.0, "stop")] for _ in asks]

    def read(self, asks, texts):
        return [[Completion(text, len(text), -float(len(text) ** 2), "stop") for text in row] for row in texts]

    def batch_size(self, ask, *, decoding, draws):
        return 4


class Source:
    def open(self):
        return Parrot()


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "x.png"
    Image.new("L", (8, 8)).save(path)
    image = ImageRef(str(path), file_sha256(path), "frontal", 8, 8)
    questions = [
        *many(5, images=(image,)),
        replace(MULTI, id="set", images=(image,)),
        replace(PLAIN, id="two", images=(image, image)),
        replace(PLAIN, id="none"),
        replace(PLAIN, id="other", split="train"),
    ]
    folder = RunFolder(tmp_path / "run")
    finished(folder.questions("hand"), questions)
    return folder


def worker(run, **more):
    return AnswersWorker(run, "hand", "sft", Source(), "test", Decoding(8), part_size=4, max_images=1, **more)


def test_each_question_is_asked_in_every_order_and_by_likelihood(run):
    made = worker(run, orders=2, scoring=("generation", "likelihood"))
    made.setup()
    parts = [made.part(i) for i in range(2)]
    rows = [row for part in parts for row in part.rows]
    written = [row for row in rows if row.scoring == "generation"]
    assert len(written) == 6 * 2
    assert {row.order for row in written} == {0, 1}
    scored = [row for row in rows if row.scoring == "likelihood"]
    assert {row.text for row in scored} <= {"PA", "AP"}
    assert {row.question_id for row in scored} == {f"view{i}" for i in range(5)}
    dropped = parts[0].dropped | parts[1].dropped
    assert dropped == {"no_image": 1, "more_images_than_the_policy_is_given": 1}
    assert next(row for row in written if (row.question_id, row.order) == ("view0", 0)).right


def test_a_split_without_questions_is_refused_and_a_limit_is_spread(run):
    with pytest.raises(UserError, match="none of the split validation"):
        asked(run, "hand", "validation")
    assert [q.id for q in asked(run, "hand", "test", 4)] == ["view0", "view2", "view4", "two"]


def test_missing_answers_are_left_out(run):
    everything = Asked(asked(run, "hand", "test"))
    result = measure_tasks("sft", everything, [read(everything.questions[0], "sft", 0, "PA", 1)])
    assert math.isnan(result.right[1])
    assert np.nansum(result.right) == 1
