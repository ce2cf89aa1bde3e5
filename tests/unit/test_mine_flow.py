"""Mining on data that has nothing to mine, or must not be mined: every case is told, none goes on in silence."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from chexalign import atomic
from chexalign.cli import main
from chexalign.errors import UserError
from chexalign.mine.counterfactual import CounterfactualWorker
from chexalign.mine.found import found
from chexalign.mine.gallery import Gallery
from chexalign.mine.pairs import MinedPairsWorker
from chexalign.mine.select import load_selection
from chexalign.mine.vectors import feature_stage
from chexalign.mine.vectors.feature_stage import FeatureJob
from chexalign.recipe.load import load_recipe
from chexalign.recipe.mine import CounterfactualSpec, MineSpec
from chexalign.run_folder import RunFolder
from chexalign.stage import StageKey, run_parts
from chexalign.store import Manifest
from chexalign.train.lessons import lessons_of
from chexalign.train.questions import evaluated_patients, learned_questions, question_targets
from chexalign.types import Answer, Evidence, ImageRef, MinedItem
from chexalign.workflow import Workflow
from tests.compared_runs import finished, study
from tests.recipes import MINING, writer
from tests.unit.test_confidence import VERIFY

SOURCE, N = "rsna", 24
FINDINGS = ("effusion", "edema", "nodule")
SPEC = MineSpec.model_validate(
    {
        "collection": SOURCE,
        "confidence": {"aggregate": "mean", "span": "answer"},
        "failures": "most_confident_wrong",
        "seeds": 4,
        "likeness": {"findings": 1.0},
        "purity": [],
        "k": 3,
        "share": 0.25,
        "counterfactual": {"own": "first"},
        "arms": {"a": {"select": "mined", "train": {"algorithm": "dpo", "beta": 0.1, "learning_rate": 1e-4}}},
    }
)
IMAGE = ImageRef("x.png", "0" * 64, "frontal", 8, 8)


def question(i, **changes):
    finding, there = FINDINGS[i % 3], bool(i % 2)
    made = replace(
        VERIFY,
        id=f"q{i:02}",
        patient_id=f"m{i // 2}",
        kind=("basic", "region", "compare")[i % 3],
        text=f"Is there {finding}?",
        answers=("yes" if there else "no",),
        rationale=f"{'Yes. There is' if there else 'No. There is no'} {finding}.",
        evidence=(Evidence("label", finding, present=there),),
        images=(IMAGE,) * (2 if i % 3 == 2 else 1),
        source=SOURCE,
    )
    return replace(made, **changes)


def told(question, *, right, logps=(-0.1, -0.2)):
    """An answer that is right, wrong, or (None) cannot be read."""
    read = None if right is None else ("yes",) if (question.answers == ("yes",)) == right else ("no",)
    return Answer(
        question_id=question.id,
        policy="sft",
        scoring="generation",
        order=0,
        text=f"{read[0].capitalize()}. It is there." if read else "Perhaps",
        read=read,
        right=right,
        n_tokens=len(logps),
        token_logps=logps,
        answer_tokens=(0,) if read else None,
    )


@pytest.fixture
def run(tmp_path):
    """A run in which the policy answered every question, wrongly where `right` says so."""

    def make(right=lambda i: bool(i % 4), questions=None):
        run, asked = RunFolder(tmp_path), questions or [question(i) for i in range(N)]
        finished(run.studies, [study(0)])
        finished(run.questions(SOURCE), asked)
        finished(run.mine_answers, [told(q, right=right(i)) for i, q in enumerate(asked)])
        return run

    return make


def gallery(run, *, max_images=2, groups="kind", collections=(SOURCE,)):
    evaluated = evaluated_patients(run, collections)
    return Gallery.load(run, SOURCE, N, evaluated=evaluated, max_images=max_images, groups=groups)


def selection(run, *, collections=(SOURCE,), **changes):
    spec = SPEC.model_copy(update=changes)
    return load_selection(run, gallery(run, groups=spec.groups, collections=collections), spec, seed=1)


def test_a_recipe_without_the_block_is_told_where_to_begin(tmp_path, capsys):
    assert main.main(["mine", "quick", "--runs", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "has no block `mine`" in error
    assert "chexpo/openi" in error
    assert not list(tmp_path.iterdir())


def test_a_policy_that_fails_nothing_has_no_seeds(run):
    made = selection(run(right=lambda i: True))
    for select in ("mined", "similarity"):
        with pytest.raises(UserError, match="fails no question"):
            made.make(select)
    assert len(made.make("random")[0]) == made.budget == 6
    told_of = found(made, {}, resamples=20, level=0.9)
    assert told_of["counts"]["seeds"] == {}
    assert told_of["purity"] == []


def test_where_no_answer_is_read_only_the_whole_output_has_a_confidence(run):
    folder = run(right=lambda i: None)
    with pytest.raises(UserError, match="sure of none that it fails") as caught:
        selection(folder).make("mined")
    assert "can be read" in caught.value.fix
    output = SPEC.confidence.model_copy(update={"span": "output"})
    made = selection(folder, confidence=output)
    items, _ = made.make("mined")
    assert len(items) == 6
    assert {item.right for item in items} == {False}
    assert found(made, {}, resamples=20, level=0.9)["counts"]["unread"] == {"basic": 8, "compare": 8, "region": 8}


def test_quotas_may_part_yes_from_no(run):
    made = selection(run(right=lambda i: i not in (0, 1, 2, 4, 6, 8)), groups="kind_and_answer", seeds=2)
    assert made.gallery.count() == {f"{kind} {a}": 4 for kind in ("basic", "compare", "region") for a in ("no", "yes")}
    right = {made.gallery.questions[row].answers for row in selection(run(), groups="kind_and_answer").seeds()}
    assert right == {("no",)}  # nothing else is failed
    assert made.make("confidence")[1]["wanted"] == dict.fromkeys(made.gallery.count(), 1)


def test_a_policy_that_always_says_yes_is_seen_in_the_counts(run):
    asked = [question(i) for i in range(N)]
    made = selection(run(right=lambda i: bool(i % 2), questions=asked), share=0.25)
    items, account = made.make("confidence")
    assert {asked[int(item.question_id[1:])].answers for item in items} == {("no",)}
    assert account["yes_no"] == {"no": 6}
    assert found(made, {}, resamples=20, level=0.9)["yes_no"] == {"asked": {"no": 12, "yes": 12}, "failed": {"no": 12}}
    assert sum(made.make("random")[1]["yes_no"].values()) == 6


def test_a_set_larger_than_its_candidates_is_refused(run):
    made = selection(run(right=lambda i: i > 1), share=0.5)
    with pytest.raises(UserError, match="budget is 12, and there are 2 candidates") as caught:
        made.make("confidence")
    assert "mine.share" in caught.value.fix


def test_more_neighbors_than_there_are_questions_are_refused(run):
    with pytest.raises(UserError, match="40 neighbors are asked for"):
        selection(run(), k=40).make("mined")


def test_questions_with_too_many_images_are_counted_and_not_mined(run):
    folder = run()
    assert gallery(folder, max_images=1).count() == {"basic": 8, "region": 8}
    _, dropped = learned_questions(folder, SOURCE, N, held_out=set(), max_images=1)
    assert dropped == {"question_with_too_many_images": 8}
    with pytest.raises(UserError, match="SFT learned from no question") as caught:
        gallery(run(questions=[question(i) for i in (2, 5, 8)]), max_images=1)
    assert "max_images" in caught.value.fix


def test_a_question_without_an_image_is_not_mined(run):
    asked = [question(i, images=() if i < 2 else (IMAGE,)) for i in range(N)]
    assert len(gallery(run(questions=asked)).questions) == N - 2


SELECTS = ("mined", "random", "confidence", "similarity")


@pytest.mark.parametrize("select", SELECTS)
def test_a_collection_that_does_not_keep_patients_apart_leaks_none(run, select):
    """Of the patients m0 to m3 one question each is for testing; m4 has a study that is."""
    asked = [question(i, split="test" if i in (0, 2, 4, 6) else "train") for i in range(N)]
    asked = [replace(q, patient_id="p000") if q.patient_id == "m4" else q for q in asked]
    folder = run(right=lambda i: False, questions=asked)
    items, _ = selection(folder).make(select)
    patients = {q.id: q.patient_id for q in asked}
    assert not {patients[item.question_id] for item in items} & {"m0", "m1", "m2", "m3", "p000"}
    # SFT learns from none of them either: four questions and the two of the patient with a study.
    targets, dropped = question_targets(
        folder, {SOURCE: N}, held_out=evaluated_patients(folder, [SOURCE]), max_images=2
    )
    assert {target.id for target in targets}.isdisjoint(q.id for q in asked[:10])
    assert dropped == {"question_of_a_held_out_patient": 6}


@pytest.mark.parametrize("select", SELECTS)
def test_a_patient_whom_another_collection_tests_is_not_mined(run, select):
    folder = run(right=lambda i: False)
    other = [question(i, id=f"other{i}", source="other", split="validation") for i in range(4)]
    finished(folder.questions("other"), other)
    tested = {q.patient_id for q in other}
    patients = {q.id: q.patient_id for q in folder.questions(SOURCE).iter_rows()}
    items, _ = selection(folder, collections=(SOURCE, "other")).make(select)
    assert not {patients[item.question_id] for item in items} & tested
    assert {patients[item.question_id] for item in selection(folder).make("random")[0]} & tested


def counterfactuals(run, ids):
    worker = CounterfactualWorker(run, SOURCE, ids, CounterfactualSpec(own="first"), 100, 1)
    return run_parts(run.counterfactuals, worker, key=StageKey("counterfactuals", {}, {}, 1), n_parts=1)


def test_where_every_wrong_answer_is_rejected_training_says_why(run):
    """Questions whose evidence contradicts their answer, or that have none."""
    against = [(Evidence("label", FINDINGS[i % 3], present=not i % 2),) for i in range(4)]
    asked = [question(i, kind="basic", evidence=evidence) for i, evidence in enumerate(against)]
    asked += [question(4, answer_type="open", answers=())]
    folder = run(questions=asked)
    manifest = counterfactuals(folder, [q.id for q in asked])
    assert (manifest.rows, manifest.dropped) == (0, {"contradicts_evidence": 4, "no_answer": 1})
    finished(folder.mined("mined"), [MinedItem(q.id, q.kind, None, 0, None, None, None) for q in asked])
    worker = MinedPairsWorker(folder, SOURCE, "mined")
    pairs = run_parts(folder.pairs("a"), worker, key=StageKey("mined_pairs", {}, {}, 1), n_parts=1)
    assert (pairs.rows, pairs.dropped) == (0, {"no_wrong_answer": 5})
    sft = SPEC.arms["a"].train.model_copy(update={"algorithm": "sft"})
    for train in (SPEC.arms["a"].train, sft):
        with pytest.raises(UserError, match="arm a has no pair to learn from") as caught:
            lessons_of(folder, "a", train, verdicts=False, seed=1)
        assert "contradicts_evidence 4, no_answer 1" in caught.value.why
        assert len(str(caught.value).splitlines()) == 3


def test_the_policy_s_own_wrong_answer_comes_first_and_one_that_is_unread_is_none(run):
    asked = [question(i) for i in range(N)]
    folder = run(right=lambda i: (False, None, True)[i % 3], questions=asked)
    counterfactuals(folder, [q.id for q in asked])
    origins = {row.question_id: row.origin for row in folder.counterfactuals.iter_rows()}
    assert {origins[q.id] for i, q in enumerate(asked) if i % 3} == {"rules"}
    assert "own" in {origins.get(q.id) for i, q in enumerate(asked) if i % 3 == 0}


def test_questions_go_to_no_server_that_their_license_keeps_them_from(run, tmp_path):
    closed = "PhysioNet Credentialed Health Data License 1.5.0"
    folder = run(questions=[question(i, license=closed) for i in range(3)])
    server = "{own: first, generator: llm, endpoint: {url: '%s', model: m}}"
    recipe = load_recipe(writer(tmp_path)("{own: first}", server % "https://example.org/v1", MINING))
    collection, manifest = recipe.questions.collections[0], Manifest.load(folder.questions(SOURCE).folder)
    workflow = Workflow(recipe, folder, {repr(("questions", (collection,), {})): manifest})
    with pytest.raises(UserError, match="Credentialed"):
        workflow._questions_may_go_to(recipe.mine.counterfactual.endpoint)
    mine = recipe.mine.counterfactual.endpoint.model_copy(update={"endpoint_is_mine": True})
    workflow._questions_may_go_to(mine)


class Letters:
    """Encodes a text as the counts of its letters, and an image as one."""

    digest = "letters"
    asked = 0

    def texts(self, texts):
        Letters.asked += len(texts)
        return np.array([[t.count(c) + 0.5 for c in "aeiou"] for t in texts], np.float32)


@pytest.fixture
def job(run, monkeypatch):
    monkeypatch.setattr(feature_stage, "open_encoder", lambda name, folder: Letters())
    encoders = SimpleNamespace(text="sentence", text_folder="x", image="policy", image_folder=None)

    def make(**changes):
        folder = run(questions=[question(i, **changes) for i in range(N)])
        Letters.asked = 0
        return FeatureJob(
            folder, gallery(folder), encoders, ["question", "rationale", "findings"]
        ), folder.mine_features

    return make


def test_features_are_made_once_and_what_a_killed_writer_left_goes(job):
    _, folder = job()
    folder.mkdir(parents=True)
    (folder / ".question.npy.x.tmp").write_bytes(b"half")
    job()[0].features()
    assert not list(folder.glob(".*"))
    again, _ = job()
    again.features()
    assert Letters.asked == 0


@pytest.mark.parametrize("name", ["question", "rationale", "findings"])
def test_damaged_features_are_made_again(job, name):
    made, folder = job()
    made.features()
    path, before = folder / f"{name}.npy", (folder / f"{name}.npy").read_bytes()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))  # a number still, of the right type and size
    made.features()
    assert path.read_bytes() == before
    path.write_bytes(before[:-8])
    made.features()
    assert path.read_bytes() == before
    account = atomic.read_json(folder / f"{name}.json")
    atomic.write_json(folder / f"{name}.json", account | {"model": "another"})
    made.features()
    assert atomic.read_json(folder / f"{name}.json") == account


def test_features_follow_a_question_whose_words_change_though_its_id_does_not(job):
    job()[0].features()
    made, folder = job(rationale="No. Nothing of it is seen.", evidence=(Evidence("label", "mass"),))
    found = made.features()
    assert 0 < Letters.asked < N  # the rationales, each distinct one once
    np.testing.assert_allclose(
        found.features["rationale"].block(0, 1)[0, 1], Letters().texts(["No. Nothing of it is seen."])[0, 1]
    )
    assert found.features["findings"].shape[1] == 1
    assert found.features["findings"].block(0, N).all()
    assert folder.is_dir()
