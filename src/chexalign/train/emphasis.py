"""Weights that make sentences with a finding count more in supervised training, since normal ones outnumber them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from chexalign.judges.chexpert import positives
from chexalign.train.pack import Example

_SENTENCE = re.compile(r"[^.!?]*[.!?]*\s*")


def finding_spans(text: str) -> list[tuple[int, int]]:
    """Character ranges of the sentences that state a finding, uncertain ones included, by the rule labeler."""
    spans = [m.span() for m in _SENTENCE.finditer(text) if m.group().strip()]
    return [(start, end) for start, end in spans if positives(text[start:end]) - {"No Finding"}]


def emphasize(tokenizer: Any, examples: Sequence[Example], texts: Sequence[str], *, weight: float) -> list[Example]:
    """The examples with this weight on the tokens of sentences that state a finding, and 1 on all others.

    `texts` are those that the completions were tokenized from; the end token weighs 1.
    """
    if weight == 1.0:
        return list(examples)
    offsets = tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    out = []
    for example, text, tokens in zip(examples, texts, offsets, strict=True):
        spans = finding_spans(text)
        # A token that begins with the space before a sentence belongs to that sentence, hence its end.
        weights = [weight if any(a < end <= b for a, b in spans) else 1.0 for _, end in tokens]
        out.append(dataclasses.replace(example, weights=(*weights, 1.0)))
    return out
