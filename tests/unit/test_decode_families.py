"""Greedy decoding over a shared prefill equals plain generate, alone and unpadded, in every family."""

import math
from itertools import chain

import pytest
import torch

from chexalign.policy.base import Decoding
from chexalign.policy.decode import decode
from chexalign.policy.families import Family, family_of
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


@pytest.fixture
def unshared(monkeypatch):
    """Every family says that it takes no mask of ours."""
    monkeypatch.setattr(Family, "reason", property(lambda self: "a test says so"))


def ragged_batch(name, model, *, n_images):
    """Three prompts of different lengths as one batch, and what generate writes for each."""
    family = family_of(model)
    alone = [vlms.examples(name, model, n_images=n_images, rows=1, branches=1, seed=seed) for seed in range(3)]
    prompts = [example.prompt_ids for (example,), _ in alone]
    assert len({len(p) for p in prompts}) > 1, "the batch is not ragged: the test proves less than it says"
    batch = left_padded(prompts) | family.collate_images([vision for _, vision in alone])
    return batch, [generated(model, p, vision) for p, (_, vision) in zip(prompts, alone, strict=True)]


@pytest.mark.parametrize("n_images", [1, 2])
@pytest.mark.parametrize(("name", "attn"), CASES)
def test_greedy_decoding_equals_generate(name, attn, n_images):
    model = vlms.make(name, attn)
    batch, expected = ragged_batch(name, model, n_images=n_images)
    found = decode(model, batch, seeds=[[0, 1]] * 3, decoding=Decoding(LIMIT), stop_id=-1)
    assert [row.tokens for row, _ in found] == expected
    assert [row.tokens for _, row in found] == expected
    assert len({tuple(tokens) for tokens in expected}) > 1, "the prompts do not matter: the test proves nothing"


@pytest.mark.parametrize("name", sorted(vlms.FAMILIES))
def test_a_family_that_shares_nothing_is_decoded_by_generate_with_the_same_draws(name, request):
    """Positions and masks are then the model's own, two-dimensional ones."""
    model = vlms.make(name, "sdpa" if "sdpa" in vlms.FAMILIES[name].attentions else "eager")
    batch, expected = ragged_batch(name, model, n_images=1)
    drawing = {"seeds": [[3, 4], [5, 6], [7, 8]], "decoding": Decoding(LIMIT, temperature=1.0), "stop_id": -1}
    shared = decode(model, batch, **drawing)
    request.getfixturevalue("unshared")
    greedy = decode(model, batch, seeds=[[0, 1]] * 3, decoding=Decoding(LIMIT), stop_id=-1)
    assert [row.tokens for row, _ in greedy] == [row.tokens for _, row in greedy] == expected
    alone = decode(model, batch, **drawing)
    assert [[row.tokens for row in group] for group in alone] == [[row.tokens for row in group] for group in shared]
    for one, other in zip(chain(*alone), chain(*shared), strict=True):
        assert one.sum_logp == pytest.approx(other.sum_logp, rel=1e-4)


@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize("name", sorted(vlms.FAMILIES))
def test_texts_that_are_read_are_as_probable_as_when_they_were_drawn(name, shares, request):
    model = vlms.make(name, "sdpa" if "sdpa" in vlms.FAMILIES[name].attentions else "eager")
    batch, _ = ragged_batch(name, model, n_images=1)
    if not shares:
        request.getfixturevalue("unshared")
    seeds, drawing = [[3, 4], [5, 6], [7, 8]], Decoding(LIMIT, temperature=1.0)
    drawn = decode(model, batch, seeds=seeds, decoding=drawing, stop_id=-1)
    texts = [[row.tokens for row in group] for group in drawn]
    read = decode(model, batch, seeds=seeds, decoding=Decoding(LIMIT), stop_id=-1, texts=texts)
    assert [[row.tokens for row in group] for group in read] == texts
    for one, other in zip(chain(*read), chain(*drawn), strict=True):
        assert one.sum_logp == pytest.approx(other.sum_logp, rel=1e-4)


def test_banned_tokens_are_never_written_and_log_probs_stay_the_model_s():
    name = sorted(vlms.FAMILIES)[0]
    model = vlms.make(name, "sdpa")
    batch, expected = ragged_batch(name, model, n_images=1)
    banned = sorted({token for tokens in expected for token in tokens})
    greedy = decode(model, batch, seeds=[[0]] * 3, decoding=Decoding(LIMIT), stop_id=-1, banned=banned)
    drawn = decode(model, batch, seeds=[[1]] * 3, decoding=Decoding(LIMIT, temperature=5.0), stop_id=-1, banned=banned)
    for (row,) in greedy + drawn:
        assert not set(row.tokens) & set(banned)
        assert row.sum_logp < 0
    first = decode(model, batch, seeds=[[0]] * 3, decoding=Decoding(1), stop_id=-1)
    for (row,), (free,) in zip(greedy, first, strict=True):
        assert row.sum_logp < free.sum_logp  # a less probable token, by the model's own reckoning


@pytest.mark.parametrize(("name", "attn"), CASES)
def test_half_precision_is_decoded_like_full_up_to_rounding(name, attn):
    """The first token is compared: after it, rounding may lead another way."""
    model = vlms.make(name, attn)
    batch, expected = ragged_batch(name, model, n_images=1)
    model.to(torch.bfloat16)
    batch = {key: value.to(torch.bfloat16) if value.is_floating_point() else value for key, value in batch.items()}
    rows = [row for (row,) in decode(model, batch, seeds=[[0]] * 3, decoding=Decoding(LIMIT), stop_id=-1)]
    assert [len(row.tokens) for row in rows] == [LIMIT] * 3
    assert all(math.isfinite(row.sum_logp) for row in rows)
    assert sum(row.tokens[0] == tokens[0] for row, tokens in zip(rows, expected, strict=True)) >= 2
