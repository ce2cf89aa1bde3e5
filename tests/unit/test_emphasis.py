"""Weights on the tokens of sentences that state a finding."""

from __future__ import annotations

import math

import pytest
import torch

from chexalign.demo.tiny import train_tokenizer
from chexalign.train.batch import Example
from chexalign.train.emphasis import emphasize, finding_spans
from chexalign.train.features import FeatureTable
from chexalign.train.sft import sft_step

TEXT = "The lungs are clear. There is a small left pleural effusion. No pneumothorax."


def test_the_span_is_the_sentence_that_states_a_finding():
    ((start, end),) = finding_spans(TEXT)
    assert TEXT[start:end].strip() == "There is a small left pleural effusion."


def test_a_normal_report_has_no_span():
    assert finding_spans("The heart is normal. The lungs are clear.") == []


def test_weights_follow_the_sentences_token_by_token():
    tokenizer = train_tokenizer([TEXT], vocabulary=400)
    ids = tuple(tokenizer(TEXT, add_special_tokens=False)["input_ids"])
    (example,) = emphasize(tokenizer, [Example((1,), (*ids, 2), ())], [TEXT], weight=5.0)
    assert example.weights is not None
    heavy = [i for i, w in zip(example.completion_ids, example.weights, strict=True) if w == 5.0]
    assert tokenizer.decode(heavy).strip() == "There is a small left pleural effusion."
    assert set(example.weights) == {1.0, 5.0}
    assert example.weights[-1] == 1.0


def test_weight_one_leaves_the_examples_as_they_are():
    example = Example((1,), (5, 2), ())
    assert emphasize(None, [example], [TEXT], weight=1.0) == [example]


def test_one_weight_per_token_or_an_error():
    with pytest.raises(ValueError, match="one weight per completion token"):
        Example((1,), (5, 2), (), weights=(1.0,))


class _Uniform(torch.nn.Module):
    """Gives token i of the vocabulary the logit i, whatever comes before."""

    def __init__(self) -> None:
        super().__init__()
        self.model = self
        self.lm_head = torch.nn.Identity()

    def forward(self, input_ids, **_):
        from types import SimpleNamespace

        return SimpleNamespace(last_hidden_state=torch.arange(4.0).expand(*input_ids.shape, 4))


def test_the_loss_is_the_weighted_mean():
    logps = torch.arange(4.0).log_softmax(0)
    example = Example((0,), (3, 1), (), weights=(3.0, 1.0))
    loss, _ = sft_step(_Uniform(), [example], FeatureTable({}), pad_id=0)([0], 0)
    assert math.isclose(loss.item(), -float(3 * logps[3] + logps[1]) / 4, rel_tol=1e-6)
