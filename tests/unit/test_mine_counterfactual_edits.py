"""Edits of rationales that are written by hand: what each kind changes, and that the rest stays as it is."""

from __future__ import annotations

from collections import Counter

import pytest

from chexalign.data.answers import matches
from chexalign.mine.edits.changes import asked_change, with_change
from chexalign.mine.edits.lists import written
from chexalign.mine.edits.negation import flipped, flips
from chexalign.mine.edits.others import Others, keyed_by_share
from chexalign.mine.edits.places import on_side, without_place
from chexalign.mine.edits.rules import RulesGenerator
from chexalign.mine.edits.words import exchanged_findings, kind_of, number_of
from chexalign.types import Evidence, Question

YES_NO = ("yes", "no")
COURSES = ("improved", "worsened", "unchanged", "new", "resolved")


def asked(text, answer_type, options, answers, rationale=None, *, evidence=(), id="q", kind="basic", part="", task="t"):
    """A question without images; `evidence` as texts of labels, absent ones with a minus before them."""
    labels = tuple(e if isinstance(e, Evidence) else Evidence("label", e.lstrip("-"), e[0] != "-") for e in evidence)
    shared = {"patient_id": "p", "study_id": "s", "images": (), "split": "train", "source": "hand", "license": "none"}
    return Question(
        id=id,
        task=task,
        part=part,
        kind=kind,
        answer_type=answer_type,
        text=text,
        options=options,
        answers=answers,
        rationale=rationale,
        evidence=labels,
        **shared,
    )


def edits_of(question, seed=1):
    (proposals,) = RulesGenerator(seed, Others.of([question])).propose([question])
    return proposals.edits


def texts_of(question, seed=1):
    return [edit.text for edit in edits_of(question, seed)]


@pytest.mark.parametrize(
    ("sentence", "other"),
    [
        ("There is a mild pleural effusion on the left.", "There is no pleural effusion on the left."),
        ("There is no pleural effusion.", "There is a pleural effusion."),
        ("There are no low lung volumes.", "There are low lung volumes."),
        ("The image shows an opacity in both lung bases.", "The image shows no opacity in either lung base."),
        ("No edema is seen on either side.", "Edema is seen on both sides."),
        ("No effusion or fracture is seen.", "An effusion and a fracture are seen."),
        ("A fracture is visible.", "No fracture is visible."),
        ("The heart is enlarged.", "The heart is not enlarged."),
        ("The heart is not enlarged.", "The heart is enlarged."),
        ("Heart size is normal.", "Heart size is abnormal."),
        ("Small effusion without pneumothorax.", "Small effusion with pneumothorax."),
        ("The film does not show a fracture.", "The film shows a fracture."),
        ("Mild cardiomegaly.", "No cardiomegaly."),
        ("there is edema.", "there is no edema."),
        ("Well seen.", None),
    ],
)
def test_a_sentence_is_denied_or_stated(sentence, other):
    assert flipped(sentence) == other


def test_one_clause_of_several_may_be_turned():
    found = flips("The lungs are clear and no fracture is seen.")
    assert "The lungs are clear and a fracture is seen." in found
    assert "The lungs are not clear and no fracture is seen." in found


@pytest.mark.parametrize(
    ("text", "one", "other", "expected"),
    [
        ("There is an opacity.", "opacity", "scar", "There is a scar."),
        ("There is a fracture.", "fracture", "edema", "There is edema."),
        ("Mild edema is seen.", "edema", "fracture", "A fracture is seen."),
        ("A fracture is seen.", "fracture", "low lung volumes", "Low lung volumes are seen."),
        ("There are low lung volumes.", "low lung volumes", "hiatal hernia", "There is a hiatal hernia."),
        ("An effusion, and no edema.", "effusion", "edema", "Edema, and no effusion."),
    ],
)
def test_findings_change_places_with_their_articles_and_verbs(text, one, other, expected):
    assert exchanged_findings(text, one, other) == expected


def test_words_are_counted_by_their_heads():
    assert number_of("pleural abnormality other than effusion") == "count"
    assert number_of("hyperinflated lungs") == "plural"
    assert number_of("aortic calcification") == "mass"
    assert number_of("zebra") is None


@pytest.mark.parametrize(
    ("right", "wrong", "kind"),
    [
        ("left", "both sides", "side"),
        ("mild", "severe", "severity"),
        ("upper", "lower", "location"),
        ("new", "resolved", "change"),
        ("edema", "pneumothorax", "finding"),
        ("frontal", "lateral", None),
    ],
)
def test_the_kind_follows_from_the_words_that_differ(right, wrong, kind):
    assert kind_of(right, wrong) == kind


@pytest.mark.parametrize(
    ("text", "side", "expected"),
    [
        ("Edema on the left is seen.", "right", "Edema on the right is seen."),
        ("Edema in both lung bases.", "left", "Edema at the left lung base."),
        ("Edema in the right upper lobe.", "both", "Edema in both upper lobes."),
        ("On the left, not on the right.", "right", "On the right, not on the left."),
        ("A left-sided effusion.", "right", "A right-sided effusion."),
        ("A bilateral effusion.", "left", "A left effusion."),
    ],
)
def test_what_is_on_a_side_moves_to_another(text, side, expected):
    assert on_side(text, side) == expected


def test_a_place_can_be_left_out():
    assert without_place("Edema at the left lung base in the box is seen.") == "Edema in the box is seen."


@pytest.mark.parametrize("stated", COURSES)
@pytest.mark.parametrize("to", COURSES)
def test_every_course_has_a_form_of_as_many_sentences(stated, to):
    told = {
        "improved": ["The edema has improved from severe to mild."],
        "worsened": ["The edema has worsened from mild to severe."],
        "unchanged": ["The edema is unchanged and severe, as on the prior image."],
        "new": ["There is mild edema.", "It was absent on the prior image."],
        "resolved": ["The edema of the prior image has resolved."],
    }
    other = with_change(told[stated], to)
    if stated == to == "new":
        assert other is None
    else:
        assert len(other) == len(told[stated])
        assert (other == told[stated]) == (stated == to)


def test_a_course_is_told_without_grades_where_the_rationale_has_none():
    assert with_change(["The effusions have decreased since yesterday."], "new") == [
        "The effusions are new since yesterday."
    ]
    assert with_change(["The lungs are clear."], "new") is None
    assert with_change(["There is severe edema.", "It was absent on the prior image."], "improved") == [
        "There is mild edema.",
        "It was severe on the prior image.",
    ]


def test_the_change_that_is_asked_about_is_read_from_the_words():
    assert asked_change(asked("Is there less edema than before?", "verify", YES_NO, ("yes",))) == "improved"
    assert asked_change(asked("Has it improved or worsened?", "verify", YES_NO, ("yes",))) is None


def test_yes_and_no_turn_what_they_rest_on():
    yes = asked("Is there edema?", "verify", YES_NO, ("yes",), "Yes. There is mild edema.", evidence=["edema"])
    assert texts_of(yes) == ["No. There is no edema."]
    no = asked("Is there a fracture?", "verify", YES_NO, ("no",), "No, there is no fracture.")
    assert texts_of(no) == ["Yes, there is a fracture."]
    lettered = asked("Is there edema?", "verify", YES_NO, ("no",), "(B) no. Edema is not seen. <answer>no</answer>")
    assert texts_of(lettered)[0] == "(A) yes. Edema is seen. <answer>yes</answer>"


def test_the_sentence_about_the_finding_is_turned_first():
    text = "Yes. The left costophrenic angle is blunted. A small pleural effusion is present."
    question = asked("Is there a pleural effusion?", "verify", YES_NO, ("yes",), text, evidence=["pleural effusion"])
    assert texts_of(question)[0] == "No. The left costophrenic angle is blunted. No pleural effusion is present."


def test_a_side_or_grade_that_is_asked_about_is_exchanged():
    no = asked("Is the effusion on the left?", "verify", YES_NO, ("no",), "No. The effusion is on the right.")
    assert (edits_of(no)[0].text, edits_of(no)[0].kind) == ("Yes. The effusion is on the left.", "side")
    yes = asked("Is the effusion mild?", "verify", YES_NO, ("yes",), "Yes. The effusion is mild.")
    assert edits_of(yes)[0].kind == "severity"
    assert edits_of(yes)[0].text in ("No. The effusion is moderate.", "No. The effusion is severe.")


def test_a_healthy_chest_gets_a_finding_and_an_ill_one_none():
    well = asked(
        "Is this normal?", "verify", YES_NO, ("yes",), "Yes. No abnormal finding is seen.", evidence=["normal"]
    )
    assert texts_of(well)[0].startswith("No. ")
    assert texts_of(well)[0].endswith((" is seen.", " are seen."))
    ill = asked(
        "Is this normal?", "verify", YES_NO, ("no",), "No. There is an effusion on the left.", evidence=["effusion"]
    )
    assert "Yes. There is no abnormality." not in texts_of(ill)  # the list calls it pleural effusion
    ill = asked("Is this normal?", "verify", YES_NO, ("no",), "No. Edema on both sides is seen.", evidence=["edema"])
    assert texts_of(ill)[:2] == ["Yes. No abnormality is seen.", "Yes. No abnormality on either side is seen."]


def test_a_choice_gets_another_option_in_the_same_words():
    options = ("edema", "fracture", "cardiomegaly")
    text = "(A) edema. There is edema on the left in the box."
    found = {e.answers: e for e in reversed(edits_of(asked("Which?", "choose", options, ("edema",), text)))}
    assert found["fracture",].text == "(B) fracture. There is a fracture on the left in the box."
    assert found["cardiomegaly",].text == "(C) cardiomegaly. There is cardiomegaly in the box."
    assert {e.kind for e in found.values()} == {"finding"}
    attribute = asked("Which view?", "choose", ("PA", "lateral"), ("PA",), "PA. This is a PA view.")
    assert [(e.text, e.kind) for e in edits_of(attribute)] == [("Lateral. This is a lateral view.", "attribute")]


def test_without_a_rationale_the_answer_is_the_edit():
    assert texts_of(asked("Which side?", "choose", ("left", "right"), ("left",))) == ["(B) right"]
    assert texts_of(asked("Is it?", "verify", (), ("no",))) == ["yes"]
    assert edits_of(asked("Which?", "choose", ("one", "two"), ("one",)))[0].kind == "answer"


def test_a_list_has_one_item_exchanged_first():
    options = ("edema", "fracture", "mass", "nodule")
    question = asked("Which?", "query", options, ("edema", "mass"), "Edema and mass.")
    found = edits_of(question)
    assert all(len(edit.answers) == 2 for edit in found[:4])
    assert {len(edit.answers) for edit in found[4:]} == {1, 3}
    assert all(matches("query", edit.text, edit.answers, options) for edit in found)
    assert edits_of(asked("Which?", "query", options, (), "None."))[0].text in (
        "Edema.",
        "Fracture.",
        "Mass.",
        "Nodule.",
    )


def test_a_list_in_a_rationale_of_sentences_has_one_item_exchanged_or_stays():
    text = "The hila are full. <answer>edema</answer>"
    question = asked("Which?", "query", ("edema", "mass"), ("edema",), text)
    assert written(question, ("mass",)) == "The hila are full. <answer>mass</answer>"
    assert written(question, ("edema", "mass")) is None


def test_a_free_answer_becomes_that_of_another_question_or_has_a_word_exchanged():
    questions = [asked("Where?", "open", (), (where,), id=where) for where in ("heart", "left lower lobe", "spine")]
    generator = RulesGenerator(1, Others.of(questions))
    heart, lobe, _ = generator.propose(questions)
    assert {edit.text for edit in heart.edits} == {"left lower lobe", "spine"}
    assert [edit.kind for edit in lobe.edits[:2]] == ["side", "location"]
    assert lobe.edits[0].text == "right lower lobe"


def test_an_answer_comes_first_as_often_as_it_is_right():
    first = Counter(keyed_by_share({"often": 3, "seldom": 1}, "key", i)[0] for i in range(2000))
    assert 1400 < first["often"] < 1600


def test_a_wrong_answer_is_worded_as_where_it_is_right():
    def edema(id, answer, rationale, text="Is there edema?"):
        return asked(text, "verify", YES_NO, (answer,), rationale, id=id)

    known = [
        *(edema(f"no{i}", "no", "No. The image shows no edema.") for i in range(3)),
        edema("two", "no", "No. There is none. There was none."),
        edema("other", "no", "No. Edema is not seen.", text="Is there edema in the box?"),
    ]
    question = edema("yes", "yes", "Yes. The image shows mild edema on the left.")
    found = RulesGenerator(1, Others.of([*known, question])).propose([question])[0].edits
    assert [edit.text for edit in found] == [
        "No. The image shows no edema.",
        "No. The image shows no edema on the left.",
    ]
    assert {edit.kind for edit in found} == {"negation"}
    back = RulesGenerator(1, Others.of([*known, question])).propose(known[:1])[0].edits
    assert back[0].text == "Yes. The image shows mild edema on the left."


def test_of_several_wordings_the_one_most_like_the_right_one_comes_first():
    options = ("edema", "fracture")
    wordings = ("A fracture is seen on the left.", "There is a fracture.", "The image shows a rib fracture.")
    known = [asked("Which?", "choose", options, ("fracture",), f"Fracture. {w}", id=w) for w in wordings]
    question = asked("Which?", "choose", options, ("edema",), "Edema. The image shows mild edema.")
    found = RulesGenerator(1, Others.of(known)).propose([question])[0].edits
    assert found[0].text == "Fracture. The image shows a rib fracture."
    assert {edit.text for edit in found[:3]} == {f"Fracture. {w}" for w in wordings}
    assert found[3].text == "Fracture. The image shows a fracture."


def test_edits_follow_from_the_id_and_the_seed_and_no_option_is_favored():
    options = ("edema", "fracture", "nodule", "mass")
    questions = [
        asked("Which?", "choose", options, ("edema",), "Edema. There is edema.", id=f"q{i}") for i in range(600)
    ]
    first = [proposals.edits[0].answers[0] for proposals in RulesGenerator(1).propose(questions)]
    assert first[:10] == [p.edits[0].answers[0] for q in questions[:10] for p in RulesGenerator(1).propose([q])]
    assert first != [proposals.edits[0].answers[0] for proposals in RulesGenerator(2).propose(questions)]
    assert all(150 < n < 250 for n in Counter(first).values())


def test_nothing_to_edit_is_said():
    assert RulesGenerator(1).propose([asked("What?", "verify", YES_NO, (), None)])[0].failed == "no_rule"
