"""What is marked as changed between two reports, and which findings match."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chexalign.present.changes import LabelChip, label_chips, sentence_changes, sentences

words = st.sampled_from(["the", "heart", "lungs", "clear", "normal", "effusion", "small", "left"])
texts = st.lists(st.lists(words, min_size=1, max_size=5).map(lambda w: " ".join(w) + "."), max_size=5).map(" ".join)


def marked(before, after):
    return [(s.kind, s.text) for s in sentence_changes(before, after)]


def test_sentences_keep_their_ends_and_decimals():
    assert sentences("A 1.5 cm nodule.  No effusion! Heart\nnormal") == [
        "A 1.5 cm nodule.",
        "No effusion!",
        "Heart normal",
    ]
    assert sentences("  ") == []


def test_kept_reworded_added_and_dropped():
    before = "The heart is normal in size. The lungs are clear. No effusion."
    after = "the lungs are clear. The heart is enlarged in size. A catheter is in place."
    assert marked(before, after) == [
        ("kept", "the lungs are clear."),
        ("reworded", "The heart is enlarged in size."),
        ("added", "A catheter is in place."),
        ("dropped", "No effusion."),
    ]


def test_only_the_words_that_differ_are_marked():
    sentence = sentence_changes("There is a small right effusion.", "There is a small left effusion.")[0]
    assert [(piece.text, piece.change) for piece in sentence.pieces] == [
        ("There is a small", "same"),
        ("right", "gone"),
        ("left", "new"),
        ("effusion.", "same"),
    ]
    assert sentence.text == "There is a small left effusion."


def test_words_lost_from_a_sentence_are_told():
    sentence = sentence_changes("No pleural effusion or pneumothorax.", "No pleural effusion.")[0]
    assert [piece.text for piece in sentence.pieces if piece.change == "gone"] == ["or pneumothorax."]


def test_a_sentence_said_twice_is_added_once():
    assert [kind for kind, _ in marked("No effusion.", "No effusion. No effusion.")] == ["kept", "added"]


@given(texts)
def test_a_text_against_itself_is_kept(text):
    assert {kind for kind, _ in marked(text, text)} <= {"kept"}


@given(texts, texts)
def test_no_sentence_is_lost(before, after):
    changes = marked(before, after)
    assert [text for kind, text in changes if kind != "dropped"] == sentences(after)
    carried = sum(kind in ("kept", "reworded") for kind, _ in changes)
    assert carried + sum(kind == "dropped" for kind, _ in changes) == len(sentences(before))


def test_labels_tell_what_changed_against_the_report_before():
    chips = label_chips(["Edema", "Cardiomegaly"], ["Cardiomegaly", "Fracture"], ["Edema", "Pneumonia"])
    assert chips == [
        LabelChip("Cardiomegaly", "match", "found"),
        LabelChip("Edema", "missed", "lost"),
        LabelChip("Fracture", "invented", "invented"),
        LabelChip("Pneumonia", "withdrawn", "withdrawn"),
    ]
    assert not any(chip.change for chip in label_chips(["Edema"], ["Edema"], ["Edema"]))


def test_labels_match_are_missed_or_invented():
    assert label_chips(["Edema", "Cardiomegaly"], ["Fracture", "Cardiomegaly"]) == [
        LabelChip("Cardiomegaly", "match"),
        LabelChip("Edema", "missed"),
        LabelChip("Fracture", "invented"),
    ]
