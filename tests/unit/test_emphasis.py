"""Weights on the tokens of sentences that state a finding."""

from __future__ import annotations

from chexalign.demo.tiny import train_tokenizer
from chexalign.train.emphasis import emphasize, finding_spans
from chexalign.train.pack import Example

TEXT = "The lungs are clear. There is a small left pleural effusion. No pneumothorax."


def test_the_span_is_the_sentence_that_states_a_finding():
    ((start, end),) = finding_spans(TEXT)
    assert TEXT[start:end].strip() == "There is a small left pleural effusion."


def test_a_normal_report_has_no_span():
    assert finding_spans("The heart is normal. The lungs are clear.") == []


def test_weights_follow_the_sentences_token_by_token():
    tokenizer = train_tokenizer([TEXT], vocabulary=400)
    ids = tuple(tokenizer(TEXT, add_special_tokens=False)["input_ids"])
    (example,) = emphasize(tokenizer, [Example("a", (1,), ((*ids, 2),), ())], [TEXT], weight=5.0)
    assert example.weights is not None
    heavy = [i for i, w in zip(example.completions[0], example.weights, strict=True) if w == 5.0]
    assert tokenizer.decode(heavy).strip() == "There is a small left pleural effusion."
    assert set(example.weights) == {1.0, 5.0}
    assert example.weights[-1] == 1.0


def test_weight_one_leaves_the_examples_as_they_are():
    example = Example("a", (1,), ((5, 2),), ())
    assert emphasize(None, [example], [TEXT], weight=1.0) == [example]
