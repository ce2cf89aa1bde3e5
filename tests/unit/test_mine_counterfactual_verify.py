"""What the verifier rejects, one reason at a time; and that nothing passes that is right, empty or the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chexalign.data.answers import answer_text, matches
from chexalign.mine.edits.evidence import contradicts, course_of, state_of
from chexalign.mine.edits.others import Others
from chexalign.mine.edits.rules import RulesGenerator
from chexalign.mine.fluency import Heard, faults, has_more_faults
from chexalign.mine.records import Edit
from chexalign.mine.verify import Limits, question_fault, style_of, verify
from chexalign.types import Evidence
from tests.unit.test_mine_counterfactual_edits import YES_NO, asked

OPTIONS = ("edema", "fracture", "pleural effusion")
CHOSEN = "Edema. There is mild edema on the left."
QUESTION = asked("Which finding?", "choose", OPTIONS, ("edema",), CHOSEN, evidence=["edema", "-fracture"])


def edit(text, answers=("fracture",), kind="finding", origin="rules"):
    return Edit(text, kind, answers, origin)


def why(text, question=QUESTION, **more):
    heard, limits = more.pop("heard", None), more.pop("limits", None)
    return verify(question, answer_text(question), edit(text, **more), limits=limits, heard=heard)


def test_a_good_edit_passes():
    assert why("Fracture. There is a mild fracture on the left.") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Nothing of it. There is a fracture on the left side.", "unreadable"),
        ("", "unreadable"),
        (CHOSEN, "still_right"),
        ("Fracture. There is mild edema on the left.", "same_labels"),
        ("Fracture. There is a fracture on the left, small and old and hardly to be seen.", "length"),
        ("Fracture. It is a small fracture on the left", "style"),
        ("Fracture. A fracture. It is on the left.", "style"),
        ("(B) fracture. There is a fracture on the left.", "style"),
        ("Fracture. There is an fracture on the left.", "not_fluent"),
        ("Fracture. There is a a fracture on the left.", "not_fluent"),
        ("Fracture. There is no fracture not on the left.", "not_fluent"),
        ("Fracture. there is a fracture on the left.", "not_fluent"),
        ("Fracture. There is a fracture (on the left.", "not_fluent"),
        ("Fracture. There are a fracture , on the left.", "not_fluent"),
    ],
)
def test_each_reason(text, reason):
    assert why(text) == reason


def test_what_is_read_must_be_what_the_edit_says():
    assert why("Fracture. There is a fracture on the left.", answers=("pleural effusion",)) == "unreadable"
    assert why("Fracture. There is a fracture on the left.", answers=("edema",)) == "still_right"


def test_the_evidence_may_support_an_edit():
    there = replace(QUESTION, evidence=(*QUESTION.evidence[:1], Evidence("label", "fracture")))
    assert why("Fracture. There is a fracture on the left.", there) == "still_supported"
    boxed = replace(QUESTION, evidence=(Evidence("box", "Fracture", box=(0, 0, 0.5, 0.5), image=0),))
    assert why("Fracture. There is a fracture on the left.", boxed) == "still_supported"
    coded = replace(QUESTION, evidence=(Evidence("code", "Fractures, Bone/ribs"),))
    assert why("Fracture. There is a fracture on the left.", coded) == "still_supported"
    absent = replace(QUESTION, evidence=(Evidence("label", "fracture", present=False),))
    assert why("Fracture. There is a fracture on the left.", absent) is None


def test_a_box_elsewhere_supports_nothing_about_a_region():
    def region(left):
        marked = Evidence("box", "edema", box=(0, 0, 0.4, 0.4), image=0)
        other = Evidence("box", "fracture", box=(left, 0, left + 0.2, 0.4), image=0)
        return replace(QUESTION, kind="region", evidence=(marked, other))

    assert why("Fracture. There is a fracture on the left.", region(0.3)) == "still_supported"
    assert why("Fracture. There is a fracture on the left.", region(0.6)) is None


def test_a_finding_that_only_the_text_states_may_be_there():
    question = asked("Is it normal?", "verify", YES_NO, ("no",), "No. There is edema.", evidence=["edema"])
    assert verify(question, "No. There is edema.", edit("Yes. There is no edema.", ("yes",), "negation")) is None
    well = asked("Is there a fracture?", "verify", YES_NO, ("no",), "No. No fracture.", evidence=["-fracture", "edema"])
    assert verify(well, "No. No fracture.", edit("Yes. Severe edema.", ("yes",), "negation")) == "still_supported"


def test_a_finding_that_may_be_the_same_is_no_wrong_answer():
    question = asked("Name it.", "open", (), ("consolidation",), "Consolidation.", evidence=["consolidation"])
    assert why("Pneumonia.", question, answers=("pneumonia",)) == "still_supported"
    assert why("Pneumothorax.", question, answers=("pneumothorax",)) is None


def test_a_side_that_the_codes_name_is_right_too():
    question = asked("Which side?", "choose", ("left", "right"), ("left",), "Left. Edema on the left.")
    question = replace(question, evidence=(Evidence("code", "Pulmonary Edema/right"),))
    assert why("Right. Edema on the right.", question, answers=("right",), kind="side") == "still_supported"


def test_labels_count_where_the_labeler_knows_the_finding_and_the_question_does_not_say_more():
    def turned(finding):
        question = asked(
            f"Is there {finding}?", "verify", YES_NO, ("yes",), f"Yes. There is {finding}.", evidence=[finding]
        )
        return why(f"No. There is no {finding}.", question, answers=("no",), kind="negation")

    assert turned("edema") is None
    assert turned("pleural abnormality other than effusion") is None  # the labeler reads an effusion in both
    text = "No. No pleural abnormality other than effusion is seen."
    place = asked("Is it in the box?", "verify", YES_NO, ("no",), text, kind="region")
    other = "Yes. A pleural abnormality other than effusion is seen."
    assert why(other, place, answers=("yes",), kind="negation") is None
    options = ("catheter", "implanted device")  # both are devices to the labeler
    kind = asked("Kind?", "choose", options, ("catheter",), "Catheter.")
    assert why("Implanted device.", kind, answers=options[1:]) is None
    granuloma = asked("Name it.", "open", (), ("granuloma",), "Granuloma.")
    assert why("Nodule.", granuloma, answers=("nodule",)) == "same_labels"


def test_one_word_is_never_too_much_and_the_ratio_can_be_set():
    question = asked("Name it.", "open", (), ("edema",), "Edema.")
    assert why("Rib fracture.", question, answers=("rib fracture",)) is None
    assert why("Rib fracture.", question, answers=("rib fracture",), limits=Limits(spare_words=0)) == "length"
    assert why("Old rib fracture.", question, answers=("old rib fracture",), limits=Limits(ratio=4)) is None


def test_what_a_policy_finds_counts_tokens_and_fluency():
    text, limits = "Fracture. There is a fracture on the left.", Limits(max_drop=2.0)
    assert why(text, limits=limits, heard=(Heard(-1.0, 10), Heard(-2.9, 11))) is None
    assert why(text, limits=limits, heard=(Heard(-1.0, 10), Heard(-3.1, 11))) == "not_fluent"
    assert why(text, limits=limits, heard=(Heard(-1.0, 10), Heard(-1.0, 19))) == "length"
    assert why(text, heard=(Heard(-1.0, 10), Heard(-9.0, 11))) is None  # no limit was given


def test_the_own_answer_need_not_be_an_edit_but_must_be_wrong():
    own = {"kind": "own", "origin": "own"}
    assert why("Fracture. Mild edema on the left, I think.", **own) is None  # neither labels nor style
    assert why("Fracture", limits=Limits(ratio=2.0), **own) == "length"
    assert why(CHOSEN, **own) == "still_right"
    assert why("Who knows what this is on the left.", **own) == "unreadable"
    assert why("Fracture. There is is a fracture on the left.", **own) == "not_fluent"
    heard = (Heard(-1.0, 10), Heard(-9.0, 10))
    assert why("Fracture. There is a fracture on it.", limits=Limits(max_drop=1.0), heard=heard, **own) is None
    there = replace(QUESTION, evidence=(Evidence("label", "fracture"),))
    assert why("Fracture. There is a fracture on the left.", there, **own) == "still_supported"


@pytest.mark.parametrize("limits", [{"ratio": 0.9}, {"spare_words": -1}, {"max_drop": -0.1}])
def test_limits_that_cannot_be_are_refused(limits):
    with pytest.raises(ValueError, match="Limits"):
        Limits(**limits)


def fault(question):
    return question_fault(question, answer_text(question))


def test_a_question_without_an_answer_has_no_pair():
    assert fault(asked("Which?", "choose", OPTIONS, ())) == "no_answer"
    assert fault(asked("What?", "open", (), ("",))) == "no_answer"
    assert fault(asked("What?", "open", (), (" .",), "")) == "no_answer"
    assert fault(asked("Which?", "query", OPTIONS, ())) is None  # none of them is an answer


def test_a_rationale_that_is_not_read_as_right_is_nothing_to_choose():
    assert fault(asked("Is it?", "verify", YES_NO, ("yes",), "There is edema.")) == "answer_unreadable"
    assert fault(asked("Is it?", "verify", YES_NO, ("yes",), "No. There is none.")) == "answer_unreadable"
    assert fault(asked("Is it?", "verify", YES_NO, ("yes",), "")) == "answer_unreadable"


@pytest.mark.parametrize(
    "question",
    [
        asked("Is there edema?", "verify", YES_NO, ("yes",), evidence=["-edema"]),
        asked("Is there edema?", "verify", YES_NO, ("no",), evidence=["edema"]),
        asked("Which?", "choose", OPTIONS, ("edema",), evidence=["-edema"]),
        asked("Which?", "query", OPTIONS, ("edema", "fracture"), evidence=["edema", "-fracture"]),
        asked("Is this chest X-ray normal?", "verify", YES_NO, ("yes",), evidence=["edema"]),
        asked("Is there an abnormality?", "verify", YES_NO, ("yes",), evidence=["normal"]),
        asked("Side?", "choose", ("left", "right"), ("left",), evidence=[Evidence("code", "Pulmonary Edema/right")]),
        asked("Grade?", "choose", ("mild", "severe"), ("mild",), evidence=[Evidence("code", "Pulmonary Edema/severe")]),
    ],
)
def test_evidence_against_the_right_answer_drops_the_question(question):
    assert fault(question) == "contradicts_evidence"


@pytest.mark.parametrize(
    "question",
    [
        asked("Is there edema on the left?", "verify", YES_NO, ("no",), evidence=["edema"]),
        asked("Is the heart size normal?", "verify", YES_NO, ("yes",), evidence=["edema"]),
        asked("Is there no edema?", "verify", YES_NO, ("yes",), evidence=["-edema"]),
        asked("Is there edema in the box?", "verify", YES_NO, ("no",), evidence=["edema"], kind="region"),
        asked("Is there edema?", "verify", YES_NO, ("no",), evidence=["edema/left lung", "-edema/right lung"]),
        asked("Which has resolved?", "open", (), ("edema",), evidence=["-edema"], kind="compare"),
        asked("Which?", "choose", OPTIONS, ("edema",), evidence=["edema/left lung", "-edema/right lung"]),
    ],
)
def test_evidence_that_leaves_the_answer_open_does_not(question):
    assert not contradicts(question)


def test_the_course_of_a_finding_follows_from_the_codes_of_both_images():
    def compared(now, then, answer="new"):
        codes = [Evidence("code", f"Pulmonary Edema/{g}", image=i) for i, g in ((0, now), (1, then)) if g]
        evidence = (Evidence("label", "edema", present=bool(now)), *codes)
        return asked(
            "How has the edema changed?", "choose", ("new", "worsened"), (answer,), evidence=evidence, kind="compare"
        )

    assert [course_of(compared(*grades)) for grades in (("mild", ""), ("", "mild"), ("mild", "severe"))] == [
        "new",
        "resolved",
        "improved",
    ]
    assert course_of(compared("severe", "severe")) == "unchanged"
    assert contradicts(compared("severe", "mild"))
    assert not contradicts(compared("severe", "mild", "worsened"))
    assert state_of(compared("mild", ""), "edema") is None


def test_faults_of_grammar():
    assert set(faults("there is an lesion in an hour,, at an X-ray.")) == {"article", "spacing", "capital"}
    assert not faults("There is an opacity. An MRI was not done. Low lung volumes are seen.")
    assert faults("There are edema.")["article"] == faults("There is low lung volumes.")["article"] == 1
    assert not has_more_faults("A opacity.", than="A effusion is is.")
    assert faults(" ")["empty"] == 1


def test_a_style_is_the_number_of_sentences_the_end_and_the_form_of_the_answer():
    assert style_of("Yes. It is.") == style_of("No. It is not.")
    others = ("Yes. It is", "Yes, it is.", "(A) Yes. It is.", "<b>Yes. It is.", "yes. It is.", "**Yes**. It is.")
    assert len({style_of(text) for text in ("Yes. It is.", *others)}) == 7


WORDS = """yes no left right edema fracture none normal. (A) B. and or not There is a an mild, <answer> </answer> <b> It
has resolved improved from to severe on the both sides prior image"""
words = st.sampled_from([*WORDS.split(), "\n"])
prose = st.one_of(st.text(max_size=30), st.lists(words, max_size=12).map(" ".join))
names = st.one_of(
    st.sampled_from(["edema", "fracture", "left", "both sides", "mild", "new", "yes", "no", "a, b"]), prose
)


@st.composite
def questions(draw):
    answer_type = draw(st.sampled_from(["verify", "choose", "query", "open"]))
    options = tuple(draw(st.lists(names, max_size=4)))
    if answer_type == "choose" and len(options) < 2:
        options = ("left", "right")
    pool = st.sampled_from(options) if options else names
    answers = tuple(draw(st.lists(pool, max_size=3)))
    labels = draw(st.lists(st.tuples(names, st.booleans(), st.sampled_from(["label", "code"])), max_size=3))
    evidence = [Evidence(kind, name, present=there) for name, there, kind in labels]
    kind = draw(st.sampled_from(["basic", "region", "compare"]))
    rationale = draw(st.none() | prose | st.sampled_from(answers or ("none",)).map(lambda a: f"{a}. There is {a}."))
    return asked("Is it " + draw(prose), answer_type, options, answers, rationale, evidence=evidence, kind=kind)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(questions(), st.integers(0, 3))
@example(asked("?", "choose", ("", "a"), ("",), ". There is ."), 0)
@example(asked("?", "query", ("", "not"), ("not",), ""), 0)
def test_whatever_the_question_what_passes_is_wrong_and_another_text(question, seed):
    chosen = answer_text(question)
    (proposals,) = RulesGenerator(seed, Others.of([question])).propose([question])
    assert bool(proposals.edits) == (proposals.failed is None)
    assert proposals == RulesGenerator(seed, Others.of([question])).propose([question])[0]
    if question_fault(question, chosen) is not None:
        return
    for one in proposals.edits:
        if verify(question, chosen, one) is None:
            assert one.text.strip()
            assert one.text != chosen
            assert matches(question.answer_type, one.text, question.answers, question.options) is False


@settings(max_examples=150, deadline=None)
@given(prose, prose)
def test_any_own_answer_is_accepted_or_rejected_with_a_reason(text, chosen):
    question = asked("Is it?", "verify", YES_NO, ("yes",), chosen)
    reason = verify(question, chosen, Edit(text, "own", ("no",), "own"))
    assert reason is not None or matches("verify", text, ("yes",), YES_NO) is False
