"""Examples from texts: what is dropped, and what is refused. What a prompt is made of: tests/unit/test_decode.py."""

from types import SimpleNamespace

import pytest

from chexalign.errors import UserError
from chexalign.policy.base import Ask
from chexalign.train.examples import Target, drop_long, encode
from chexalign.train.pack import Example


def test_long_examples_are_dropped_by_their_longest_completion_and_never_cut():
    examples = [Example(str(n), (1,) * n, ((2, 3), (2,) * n), ()) for n in (1, 4, 9)]
    assert drop_long(examples, max_tokens=8) == (examples[:2], {"longer_than_the_context": 1})
    assert drop_long(examples, max_tokens=18) == (examples, {})
    assert drop_long(examples, max_tokens=2) == ([], {"longer_than_the_context": 3})


@pytest.mark.parametrize("texts", [("",), ("The lungs are clear.", " \n\t")])
def test_an_empty_completion_is_refused_before_anything_is_encoded(texts):
    with pytest.raises(UserError, match="pair-7 is empty") as caught:
        encode(SimpleNamespace(), [Target("pair-7", Ask("Findings:", ()), texts)])
    assert "lungs" not in str(caught.value)
