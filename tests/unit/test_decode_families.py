"""Greedy decoding over a shared prefill equals plain generate, alone and unpadded, in every family."""

import pytest
import torch

from chexalign.policy.base import Decoding
from chexalign.policy.decode import decode
from chexalign.policy.families import family_of
from tests import vlms

CASES = [(name, attn) for name, vlm in sorted(vlms.FAMILIES.items()) for attn in vlm.attentions]
LIMIT = 10


def left_padded(prompts, pad_id=0):
    width = max(map(len, prompts))
    ids = torch.tensor([[pad_id] * (width - len(p)) + list(p) for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    return {"input_ids": ids, "attention_mask": mask}


def generated(model, prompt, vision):
    """What generate writes for one prompt, given what the family's processor would give."""
    ids = torch.tensor([prompt])
    types = family_of(model).token_types(ids, torch.zeros_like(ids, dtype=torch.bool))
    out = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        **types,
        **vision,
        do_sample=False,
        max_new_tokens=LIMIT,
        min_new_tokens=LIMIT,
        eos_token_id=None,
        pad_token_id=0,
    )
    return out[0, len(prompt) :].tolist()


@pytest.mark.parametrize("n_images", [1, 2])
@pytest.mark.parametrize(("name", "attn"), CASES)
def test_greedy_decoding_equals_generate(name, attn, n_images):
    model = vlms.make(name, attn)
    family = family_of(model)
    alone = [vlms.examples(name, model, n_images=n_images, rows=1, branches=1, seed=seed) for seed in range(3)]
    prompts = [example.prompt_ids for (example,), _ in alone]
    assert len({len(p) for p in prompts}) > 1, "the batch is not ragged: the test proves less than it says"
    batch = left_padded(prompts) | family.collate_images([vision for _, vision in alone])
    found = decode(model, batch, seeds=[[0, 1]] * 3, decoding=Decoding(LIMIT), stop_id=-1)
    expected = [generated(model, p, vision) for p, (_, vision) in zip(prompts, alone, strict=True)]
    assert [row.tokens for row, _ in found] == expected
    assert [row.tokens for _, row in found] == expected
    assert len({tuple(tokens) for tokens in expected}) > 1, "the prompts do not matter: the test proves nothing"
