"""The reward of CheXPO-v2 as a judge: its two parts by hand, and the graphs that the rule labeler makes."""

from __future__ import annotations

import doctest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chexalign.errors import UserError
from chexalign.judges import chexpert_rules, graph, knowledge
from chexalign.judges.base import TextPair
from chexalign.judges.graph import Graph, jaccard
from chexalign.judges.graph_labeler import LabelerGraphs
from chexalign.judges.graph_radgraph import _graph
from chexalign.judges.knowledge import KnowledgeJudge, accuracy, answer_items
from chexalign.judges.probes import PROBES


def parts(candidate: str, reference: str, **options: Any) -> dict[str, float]:
    (found,) = KnowledgeJudge(**options).score([TextPair(candidate, reference)])
    assert found.value is not None
    assert found.value == pytest.approx((found.parts["accuracy"] + found.parts["graph"]) / 2)
    return found.parts


def graph_of(text: str) -> Graph:
    (found,) = LabelerGraphs().graphs([text])
    assert isinstance(found, Graph)
    return found


@pytest.mark.parametrize("module", [graph, knowledge])
def test_examples(module: Any) -> None:
    assert doctest.testmod(module).failed == 0


# Accuracy -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("candidate", "reference", "expected"),
    [
        ("<answer>Edema, mass</answer>", "<answer>mass</answer>", 1.0),  # any shared item will do, as published
        ("<answer>edema</answer>", "<answer>mass</answer>", 0.0),
        ("<answer>EDEMA.</answer>", "<answer> edema </answer>", 1.0),
        ("<ANSWER>edema\n</ANSWER>", "Edema. It is mild.", 1.0),
        ("<answer></answer>", "<answer> , </answer>", 1.0),  # neither has an item
        ("<answer></answer>", "<answer>edema</answer>", 0.0),
        ("<answer>edema</answer>", "<answer></answer>", 0.0),
        ("Yes. There is edema.", "Yes! It is there.", 1.0),
        ("No. There is no edema.", "Yes. It is there.", 0.0),
        ("abnormality", "no", 0.0),
        ("<think>No edema.</think> yes", "<answer>yes</answer>", 1.0),
        ("<answer>yes</answer><answer>no</answer>", "<answer>no</answer>", 0.0),  # two answers are none
    ],
)
def test_accuracy_by_hand(candidate: str, reference: str, expected: float) -> None:
    assert accuracy(candidate, reference) == expected


@pytest.mark.parametrize("text", ["", "<answer>", "</answer><answer>", "...", "<answer>x"])
def test_texts_without_a_proper_answer_are_read(text: str) -> None:
    assert answer_items(text) <= {"<answer>", "</answer><answer>", "<answer>x"}


# Graphs ---------------------------------------------------------------------------------------------------------------


def test_graphs_of_the_labeler_by_hand() -> None:
    found = graph_of(
        "Mild bibasilar atelectasis and left lower lobe opacity. No effusion on the right; tip in the SVC."
    )
    assert found.entities == {
        ("atelectasis", "disorder_present"),
        ("lung opacity", "disorder_present"),
        ("pleural effusion", "disorder_absent"),
        ("support devices", "devices_present"),
        *((place, "anatomy") for place in ("bilateral", "base", "left", "lower lobe", "superior vena cava")),
    }
    assert found.relations == {
        ("atelectasis", "bilateral", "located_at"),
        ("atelectasis", "base", "located_at"),
        ("lung opacity", "left", "located_at"),
        ("lung opacity", "lower lobe", "located_at"),
        ("support devices", "superior vena cava", "located_at"),
    }
    assert graph_of("Edema. No edema. Possible edema.").entities == {("edema", "disorder_present")}
    assert graph_of("Possible edema.").entities == {("edema", "disorder_uncertain")}
    assert graph_of("") == graph_of("Hello there.") == Graph()


def test_a_place_far_from_every_finding_is_none() -> None:
    found = graph_of("On the left a line of words that goes on for long ends in edema.")
    assert found == Graph(frozenset({("edema", "disorder_present")}))


def test_places_of_mentions_name_the_same_mentions() -> None:
    sentence = "no effusion or pneumothorax, the heart is enlarged and lungs are clear"
    placed = chexpert_rules.placed_mentions(sentence)
    assert tuple(mention for mention, _ in placed) == chexpert_rules.mentions(sentence)
    assert [sentence[slice(*span)] for _, span in placed[:3]] == ["effusion", "pneumothorax", "enlarged"]


@pytest.mark.parametrize(
    ("candidate", "reference", "expected"),
    [
        ("Left effusion.", "Left effusion.", (1.0, 1.0)),
        ("Left effusion.", "LEFT EFFUSION.", (1.0, 1.0)),
        ("Left effusion.", "Right effusion.", (1 / 3, 0.0)),
        ("Left effusion.", "Cardiomegaly.", (0.0, 0.0)),
        ("No effusion.", "Effusion.", (0.0, 1.0)),  # neither has a relation
        ("Hello there.", "Good day.", (1.0, 1.0)),
        ("Effusion. Edema.", "Effusion.", (0.5, 1.0)),
    ],
)
def test_graph_parts_by_hand(candidate: str, reference: str, expected: tuple[float, float]) -> None:
    found = parts(candidate, reference)
    assert (found["entities"], found["relations"]) == pytest.approx(expected)
    assert found["graph"] == pytest.approx(sum(expected) / 2)


def test_reasoning_is_compared_with_reasoning() -> None:
    """The published code puts the whole completion against the reasoning of the reference alone."""
    found = parts(
        "<think>Left effusion.</think><answer>edema</answer>", "<think>Left effusion.</think><answer>no</answer>"
    )
    assert found == {"accuracy": 0.0, "entities": 1.0, "relations": 1.0, "graph": 1.0}
    first = "<answer>yes</answer> Left effusion."
    assert parts(first, "<think>Left effusion.</think><answer>yes</answer>")["graph"] == 1.0


def test_each_pair_has_its_own_reference() -> None:
    """The published code compares a whole batch with the reference of its first row."""
    pairs = [TextPair("Edema.", "Edema."), TextPair("Mass.", "Mass."), TextPair("Mass.", "Edema.")]
    assert [j.value for j in KnowledgeJudge().score(pairs)] == [1.0, 1.0, 0.25]


def test_one_reward_alone() -> None:
    pair = TextPair("Yes. Left effusion.", "Yes. Right effusion.")
    found = {value: KnowledgeJudge(value=value).score([pair])[0].value for value in ("accuracy", "graph")}
    assert found == {"accuracy": 1.0, "graph": pytest.approx(1 / 6)}
    assert KnowledgeJudge(value="graph").version == "1-labeler-graph"


def test_empty_texts() -> None:
    found = KnowledgeJudge().score([TextPair("", "Edema."), TextPair("Edema.", " "), TextPair("", "")])
    assert [(j.value, j.status) for j in found] == [(0.0, "ok"), (None, "error"), (None, "error")]


# Properties -----------------------------------------------------------------------------------------------------------

SETS = st.frozensets(st.sampled_from("abcdef"))
TEXTS = st.text(max_size=40) | st.lists(
    st.sampled_from(
        ["no", "left", "effusion", "edema.", "right base", "<answer>", "</answer>", "<think>", "</think>", ","]
    )
).map(" ".join)


@given(SETS, SETS)
def test_jaccard_is_symmetric_and_1_only_for_equal_sets(one: frozenset[str], other: frozenset[str]) -> None:
    assert 0 <= jaccard(one, other) == jaccard(other, one) <= 1
    assert (jaccard(one, other) == 1) == (one == other)


@given(TEXTS, TEXTS)
def test_any_texts_have_a_symmetric_value_between_0_and_1(one: str, other: str) -> None:
    there, back, same = KnowledgeJudge().score([TextPair(one, other), TextPair(other, one), TextPair(one, one)])
    if there.value is not None and back.value is not None and there.parts and back.parts:
        assert 0 <= there.value == back.value <= 1
        assert same.value == 1.0


# Options, and RadGraph ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"graph": "x"}, {"value": "x"}, {"graph": "radgraph"}, {"python": "/usr/bin/python3"}]
)
def test_options_that_do_not_go_together(options: Any) -> None:
    with pytest.raises(UserError, match="judge knowledge"):
        KnowledgeJudge(**options)
    with pytest.raises(TypeError, match="batch_size"):
        KnowledgeJudge(batch_size=3)


def test_rules_are_cheap_and_radgraph_is_dear() -> None:
    assert (KnowledgeJudge().dear, KnowledgeJudge().version) == (False, "1-labeler")
    assert KnowledgeJudge(graph="radgraph", python="/nowhere/python").dear
    with pytest.raises(UserError, match="/nowhere/python"):
        KnowledgeJudge(graph="radgraph", python="/nowhere/python").score([TextPair("Edema.", "Edema.")])


@pytest.mark.parametrize("row", [{}, {"entities": 3, "relations": []}, {"entities": [["a"]], "relations": []}])
def test_a_row_that_is_no_graph(row: dict[str, Any]) -> None:
    assert _graph(row) == "the script gave no graph"
    assert _graph("it failed") == "it failed"


@pytest.mark.parametrize(
    ("name", "report"),
    [
        ("negation", "There is no effusion. The heart is enlarged."),
        ("side", "There is a left effusion. The heart is enlarged."),
        ("omission", "There is a left effusion. The heart is enlarged."),
        ("invention", "The heart is enlarged. The lungs are clear."),
    ],
)
def test_probes_that_labels_and_sides_answer(name: str, report: str) -> None:
    probe = next(probe for probe in PROBES if probe.name == name)
    case = probe.make(report)
    if case is None:
        pytest.skip("the report offers nothing to edit")
    found = [
        j.value
        for j in KnowledgeJudge(value="graph").score([TextPair(t, case.reference) for t in (case.better, case.worse)])
    ]
    assert found[0] is not None
    assert found[1] is not None
    assert probe.hit(found[0], found[1])
