"""Prompts follow from template and study alone."""

from dataclasses import replace

import pytest

from chexalign.data.templates import TEMPLATES, get_template
from chexalign.errors import UserError
from chexalign.types import ImageRef, Study

FRONTAL = ImageRef("f.png", "0", "frontal", 8, 8)
LATERAL, UNKNOWN = replace(FRONTAL, view="lateral"), replace(FRONTAL, view="unknown")
PRIOR = replace(FRONTAL, role="prior")
STUDY = Study("s1", "p1", (), "Cough.", "The lungs are clear.", None, (), "test", "hand", "CC0")


def test_a_prompt_by_hand():
    prompt = get_template("findings@1").fill(STUDY)
    assert prompt.text == "Indication: Cough. Findings:"
    assert (prompt.study_id, prompt.task, prompt.template) == ("s1", "findings", "findings@1")


@pytest.mark.parametrize("indication", [None, ""])
def test_without_an_indication_none_is_written(indication):
    assert get_template("findings@1").fill(replace(STUDY, indication=indication)).text == "Findings:"


def test_braces_in_an_indication_are_text():
    study = replace(STUDY, indication="{indication} {0} {x!r}")
    assert get_template("findings@1").fill(study).text == "Indication: {indication} {0} {x!r} Findings:"


def test_the_id_follows_from_template_study_and_text():
    fill = get_template("findings@1").fill
    same = replace(STUDY, reference="Other words.", split="sft", codes=("normal",))
    assert fill(STUDY).id == fill(same).id
    others = [fill(replace(STUDY, id="s2")), fill(replace(STUDY, indication=None)), get_template("codes@1").fill(STUDY)]
    assert len({p.id for p in [fill(STUDY), *others]}) == 4


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_template_tells_the_reference(name):
    study = replace(STUDY, reference="zebra", impression="zebra", codes=("zebra",))
    assert "zebra" not in TEMPLATES[name].fill(study, question="Where?", options=["left", "right"]).text


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_have_a_name_a_version_and_a_task(name):
    _, _, version = name.partition("@")
    assert TEMPLATES[name].name == name
    assert TEMPLATES[name].task in ("findings", "codes", "structured_findings", "vqa", "multiple_choice")
    assert version.isdigit()


@pytest.mark.parametrize("name", [name for name, template in TEMPLATES.items() if not template.asks])
@pytest.mark.parametrize("images", [(), (FRONTAL,), (FRONTAL, LATERAL), (FRONTAL, PRIOR), (UNKNOWN,), (LATERAL,)])
@pytest.mark.parametrize("indication", [None, "Cough."])
def test_every_study_has_a_prompt_of_every_template_that_asks_no_question(name, images, indication):
    text = TEMPLATES[name].fill(replace(STUDY, images=images, indication=indication)).text
    assert text
    assert "{" not in text


def test_an_unknown_template_names_those_that_exist():
    with pytest.raises(UserError, match="findings@2") as caught:
        get_template("findings@2")
    assert "codes@1, findings@1" in caught.value.why


def test_structured_findings_are_asked_for_as_in_the_paper():
    fill = get_template("structured_findings@1").fill
    assert fill(STUDY).text == 'Given the indication: "Cough.", write a structured findings section for the CXR.'
    assert 'indication: "None",' in fill(replace(STUDY, indication=None)).text


def filled(name: str, *images: ImageRef, indication: str | None = "Cough.") -> str:
    return get_template(name).fill(replace(STUDY, images=images, indication=indication)).text


def test_the_views_of_a_study_s_own_images_are_named():
    assert "this frontal chest X-ray" in filled("findings_by_view@1", FRONTAL, PRIOR)
    assert "this frontal and lateral chest X-ray" in filled("findings_by_view@1", FRONTAL, LATERAL)
    assert "for this chest X-ray" in filled("findings_by_view@1", UNKNOWN)
    assert filled("findings_by_view@1", FRONTAL).startswith("Indication: Cough.\nWrite")
    assert filled("findings_by_view@1", FRONTAL, indication=None).startswith("Write")


def test_images_that_a_policy_is_not_shown_are_not_spoken_of():
    study = replace(STUDY, images=(FRONTAL, LATERAL, PRIOR))
    words = [get_template("findings_by_view@1").showing(n).fill(study).text for n in (1, 2, 3)]
    assert ["lateral" in text for text in words] == [False, True, True]
    places = [get_template("maira2_findings@1").showing(n).fill(study).text.count("<image>") for n in (1, 2, 3, 9)]
    assert places == [1, 2, 3, 3]
    assert get_template("chexagent_findings@1").showing(9).n_images == 2


def test_an_earlier_image_is_spoken_of_only_where_there_is_one():
    assert "earlier frontal view" in filled("findings_with_prior@1", FRONTAL, PRIOR)
    assert "earlier" not in filled("findings_with_prior@1", FRONTAL, LATERAL)


def test_chexagent_8b_has_two_prompts_and_two_images():
    with_lateral, with_prior = (
        filled("chexagent_findings@1", FRONTAL, LATERAL),
        filled("chexagent_findings@1", FRONTAL, PRIOR),
    )
    assert with_lateral != with_prior
    assert filled("chexagent_findings@1", FRONTAL, LATERAL, PRIOR) == with_lateral


def test_maira_2_has_a_place_for_every_image():
    texts = [
        filled("maira2_findings@1", *images)
        for images in ((FRONTAL,), (FRONTAL, LATERAL), (FRONTAL, PRIOR), (FRONTAL, LATERAL, PRIOR))
    ]
    assert [text.count("<image>") for text in texts] == [1, 2, 2, 3]
    assert ["PRIOR_REPORT: N/A" in text for text in texts] == [False, False, True, True]
    assert all(text.endswith(" INDICATION: Cough. TECHNIQUE: N/A COMPARISON: N/A") for text in texts)
    assert "INDICATION: N/A" in filled("maira2_findings@1", FRONTAL, indication=None)


def test_llava_rad_is_told_the_indication_where_there_is_one():
    assert filled("llava_rad_findings@1", FRONTAL).endswith("given the following indication: Cough.")
    assert filled("llava_rad_findings@1", FRONTAL, indication=None).endswith("the radiology image.")


def test_a_multiple_choice_is_put_as_in_chexbench():
    prompt = get_template("multiple_choice@1").fill(STUDY, question="Which side?", options=["left", "right", "both"])
    assert prompt.text == (
        "Which side?\nOptions: (A) left, (B) right, (C) both\n"
        "Directly answer the question by choosing one option: (A), (B), (C)."
    )
    assert prompt.task == "multiple_choice"


def test_a_question_without_one_names_what_is_not_known():
    assert get_template("vqa@1").fill(STUDY, question="Is {this} it?").text == "Is {this} it?"
    assert get_template("vqa@1").asks
    assert not get_template("findings@1").asks
    with pytest.raises(UserError, match="does not fit the study s1") as caught:
        get_template("multiple_choice@1").fill(STUDY, question="Which side?")
    assert caught.value.why.endswith("letters, options.")
