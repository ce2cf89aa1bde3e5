"""Prompts follow from template and study alone."""

from dataclasses import replace

import pytest

from chexalign.data.templates import TEMPLATES, get_template
from chexalign.errors import UserError
from chexalign.types import Study

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
    assert "zebra" not in TEMPLATES[name].fill(study).text


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_have_a_name_and_a_version(name):
    word, _, version = name.partition("@")
    assert TEMPLATES[name].name == name
    assert word == TEMPLATES[name].task
    assert version.isdigit()


def test_an_unknown_template_names_those_that_exist():
    with pytest.raises(UserError, match="findings@2") as caught:
        get_template("findings@2")
    assert "codes@1, findings@1" in caught.value.why


def test_structured_findings_are_asked_for_as_in_the_paper():
    fill = get_template("structured_findings@1").fill
    assert fill(STUDY).text == 'Given the indication: "Cough.", write a structured findings section for the CXR.'
    assert 'indication: "None",' in fill(replace(STUDY, indication=None)).text
