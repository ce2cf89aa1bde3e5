"""Decoding over a shared prefill gives what one row at a time gives, on a tiny random Llava."""

import shutil
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare

from chexalign.demo.tiny import build_model, build_processor, train_tokenizer
from chexalign.policy.base import Ask, Decoding
from chexalign.policy.choose import inverse_cdf
from chexalign.policy.decode import decode
from chexalign.policy.hf import HFPolicy, save_checkpoint, token_texts
from chexalign.train.examples import Target, encode, encode_prompts
from chexalign.train.pack import Example, pack
from chexalign.train.prefix import shared_logps
from chexalign.train.vision import Pixels

SENTENCES = [
    "The heart is not enlarged. Both lungs are clear.",
    "There is a small effusion on the left side.",
    "A line ends in the upper vein. No air outside the lung.",
    "Old broken ribs on the right. The spine is bent a little.",
]
LIMIT = 12


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    tokenizer = train_tokenizer(SENTENCES, vocabulary=320)
    model = build_model(tokenizer, seed=3)
    with torch.no_grad():  # random weights say nearly the same for every prompt: make them sharper
        for p in model.model.language_model.parameters():
            p.mul_(4.0 if p.ndim == 2 else 1.0)
    save_checkpoint(model, build_processor(tokenizer), folder)
    return HFPolicy(folder)


@pytest.fixture(scope="module")
def asks(tmp_path_factory):
    """Prompts of different lengths: without, with one and with two images."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(5)
    paths = []
    for i in range(3):
        path = folder / f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (128, 128), dtype=np.uint8)).save(path)
        paths.append(path)
    return [
        Ask("Findings:", (paths[0],)),
        Ask("Indication: cough for a week, and a line was put in. Findings:", (paths[1],)),
        Ask("Indication: fall. Findings:", (paths[1], paths[2])),
    ]


def rows_of(policy, asks, *, decoding, seeds):
    stop_id = policy.tokenizer.eos_token_id
    return decode(policy.model, policy.encode(asks), seeds=seeds, decoding=decoding, stop_id=stop_id)


def cut(tokens, stop_id):
    """The tokens up to and with the first end token."""
    return tokens[: tokens.index(stop_id) + 1] if stop_id in tokens else tokens


def test_greedy_decoding_equals_generate_on_a_ragged_batch(policy, asks):
    inputs = policy.encode(asks)
    assert len(set(inputs["attention_mask"].sum(1).tolist())) == 3
    stop_id = policy.tokenizer.eos_token_id
    for limit in (1, LIMIT, 60):
        expected = policy.model.generate(**inputs, do_sample=False, max_new_tokens=limit)
        expected = [cut(row, stop_id) for row in expected[:, inputs["input_ids"].shape[1] :].tolist()]
        found = rows_of(policy, asks, decoding=Decoding(limit), seeds=[[0]] * 3)
        assert [row.tokens for (row,) in found] == expected
    assert len({tuple(tokens) for tokens in expected}) == 3, "the prompts do not matter: the test proves nothing"


def stop_ids_by_step(policy, asks, n):
    """A token that greedy decoding writes at step n of some row but at no earlier step of it."""
    rows = [row.tokens for (row,) in rows_of(policy, asks, decoding=Decoding(40), seeds=[[0]] * len(asks))]
    return next(row[n] for row in rows if row[n] not in row[:n])


@pytest.mark.parametrize("n", [0, 1, 4])
def test_rows_that_end_early_do_not_disturb_the_others(policy, asks, n):
    """With another end token some rows end first and are dropped from the batch."""
    stop_id = stop_ids_by_step(policy, asks, n)
    whole = [row.tokens for (row,) in rows_of(policy, asks, decoding=Decoding(20), seeds=[[0]] * 3)]
    found = decode(
        policy.model, policy.encode(asks), seeds=[[0, 1]] * 3, decoding=Decoding(20), stop_id=stop_id
    )  # greedy: the seeds do not matter
    for (first, second), tokens in zip(found, whole, strict=True):
        assert first.tokens == second.tokens == cut(tokens, stop_id)
        assert first.stopped == (stop_id in tokens)


def test_several_end_tokens_end_a_row(policy, asks):
    """Many checkpoints name more than one, e.g. end of text and end of turn."""
    stop_id = stop_ids_by_step(policy, asks, 3)
    one = decode(policy.model, policy.encode(asks), seeds=[[0]] * 3, decoding=Decoding(20), stop_id=stop_id)
    two = decode(policy.model, policy.encode(asks), seeds=[[0]] * 3, decoding=Decoding(20), stop_id=[1, stop_id])
    assert [row.tokens for (row,) in one] == [row.tokens for (row,) in two]
    assert [row.stopped for (row,) in one] == [row.stopped for (row,) in two]


def test_temperature_0_gives_every_row_its_own_greedy_text(policy, asks):
    found = policy.generate(asks, decoding=Decoding(LIMIT), seeds=[[1, 2, 3]] * 3)
    assert [len(group) for group in found] == [3, 3, 3]
    for ask, group in zip(asks, found, strict=True):
        ((alone,),) = policy.generate([ask], decoding=Decoding(LIMIT), seeds=[[9]])
        for completion in group:
            assert (completion.text, completion.n_tokens, completion.finish) == (
                alone.text,
                alone.n_tokens,
                alone.finish,
            )
            assert completion.sum_logp == pytest.approx(alone.sum_logp, abs=1e-4)


SAMPLING = Decoding(LIMIT, temperature=1.0)


@pytest.mark.parametrize("decoding", [SAMPLING, replace(SAMPLING, temperature=0.7, top_p=0.9)], ids=["plain", "top_p"])
def test_a_draw_depends_on_its_seed_and_not_on_its_neighbors(policy, asks, decoding):
    seeds = [[11, 12], [13, 14], [15, 16]]
    together = rows_of(policy, asks, decoding=decoding, seeds=seeds)
    again = rows_of(policy, asks, decoding=decoding, seeds=seeds)
    turned = rows_of(policy, asks[::-1], decoding=decoding, seeds=[row[::-1] for row in seeds[::-1]])
    assert together == again
    for i, ask in enumerate(asks):
        for j, seed in enumerate(seeds[i]):
            ((alone,),) = rows_of(policy, [ask], decoding=decoding, seeds=[[seed]])
            assert together[i][j].tokens == turned[2 - i][1 - j].tokens == alone.tokens
            assert together[i][j].sum_logp == pytest.approx(alone.sum_logp, abs=1e-3)
    assert len({tuple(row.tokens) for group in together for row in group}) == 6


def test_equal_seeds_of_one_ask_give_equal_texts(policy, asks):
    ((first, second, third),) = rows_of(policy, asks[:1], decoding=SAMPLING, seeds=[[4, 4, 5]])
    assert first.tokens == second.tokens != third.tokens


def test_a_longer_limit_only_adds_tokens(policy, asks):
    short = rows_of(policy, asks, decoding=replace(SAMPLING, max_new_tokens=5), seeds=[[1], [2], [3]])
    long = rows_of(policy, asks, decoding=SAMPLING, seeds=[[1], [2], [3]])
    assert [row.tokens for (row,) in short] == [row.tokens[:5] for (row,) in long]


def first_logits(policy, ask):
    with torch.inference_mode():
        return policy.model(**policy.encode([ask])).logits[0, -1].float()


N_SEEDS = 2_000


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_first_token_follows_the_softmax(policy, asks, temperature):
    decoding = Decoding(1, temperature=temperature)
    (group,) = rows_of(policy, asks[:1], decoding=decoding, seeds=[list(range(N_SEEDS))])
    probs = (first_logits(policy, asks[0]) / temperature).softmax(-1).double().numpy()
    counts = np.bincount([row.tokens[0] for row in group], minlength=len(probs))
    common = probs * N_SEEDS >= 5  # the rest in one bin, as the test asks for
    observed = np.append(counts[common], counts[~common].sum())
    expected = np.append(probs[common], probs[~common].sum()) * N_SEEDS
    assert common.sum() >= 2
    assert chisquare(observed, expected * (N_SEEDS / expected.sum())).pvalue > 0.01


@pytest.mark.parametrize("top_p", [0.3, 0.6, 0.9])
def test_top_p_stays_in_the_nucleus_and_uses_all_of_it(policy, asks, top_p):
    (group,) = rows_of(policy, asks[:1], decoding=Decoding(1, 1.0, top_p), seeds=[list(range(N_SEEDS))])
    probs = first_logits(policy, asks[0]).softmax(-1).double()
    order = probs.argsort(descending=True)
    size = int((probs[order].cumsum(-1) < top_p).sum()) + 1  # the smallest set that reaches top_p
    nucleus = set(order[:size].tolist())
    drawn = {row.tokens[0] for row in group}
    assert drawn <= nucleus
    likely = {t for t in nucleus if probs[t] / probs[order[:size]].sum() * N_SEEDS > 20}
    assert likely <= drawn


def test_the_inverse_of_the_cumulative_distribution_by_hand():
    logits = torch.tensor([0.5, 0.125, 0.25, 0.125]).log().expand(8, 4)
    uniform = torch.tensor([0.0, 0.49, 0.51, 0.62, 0.63, 0.87, 0.88, 1 - 2**-53], dtype=torch.float64)
    assert inverse_cdf(logits, uniform, 1.0).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    # with 0.7 the nucleus is {0, 2}, in that order, with probabilities 2/3 and 1/3
    edges = torch.tensor([0.0, 0.66, 0.67, 1 - 2**-53], dtype=torch.float64)
    assert inverse_cdf(logits[:4], edges, 0.7).tolist() == [0, 0, 2, 2]


def test_a_tiny_top_p_is_greedy():
    logits = torch.randn(50, 20, generator=torch.Generator().manual_seed(1))
    uniform = torch.linspace(0, 1 - 2**-53, 50, dtype=torch.float64)
    assert inverse_cdf(logits, uniform, 1e-9).equal(logits.argmax(-1))


def test_a_token_without_probability_is_never_drawn():
    logits = torch.tensor([-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]).expand(3, 5)
    uniform = torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64)
    assert inverse_cdf(logits, uniform, 1.0).tolist() == [1, 3, 3]


@pytest.mark.parametrize("decoding", [Decoding(LIMIT), SAMPLING, Decoding(LIMIT, 0.5, 0.8)], ids=["0", "1", "0.5"])
def test_sum_logp_is_what_training_computes(policy, asks, decoding):
    """At temperature 1 and without top_p, whatever the text was drawn with."""
    groups = rows_of(policy, asks, decoding=decoding, seeds=[[21, 22]] * 3)
    prompts = encode_prompts(policy, asks)
    examples = [
        Example(ask.prompt, prompt, tuple(tuple(row.tokens) for row in group), tuple(str(path) for path in ask.images))
        for ask, prompt, group in zip(asks, prompts, groups, strict=True)
    ]
    vision = Pixels(policy.model, policy.processor).inputs([e.images for e in examples])
    with torch.no_grad():
        logps = shared_logps(policy.model, pack(examples, pad_id=policy.tokenizer.pad_token_id), vision)
    assert [row.sum_logp for group in groups for row in group] == pytest.approx(
        logps.sums().flatten().tolist(), abs=1e-4
    )


@pytest.mark.parametrize("decoding", [Decoding(LIMIT), SAMPLING, Decoding(LIMIT, 0.5, 0.8)], ids=["0", "1", "0.5"])
def test_token_logps_are_those_of_a_forward_over_the_text(policy, asks, decoding):
    """At temperature 1 and without top_p, whatever the text was drawn with; each ask alone and without any packing."""
    told = replace(decoding, token_logps=True)
    stop_id = policy.tokenizer.eos_token_id
    groups = rows_of(policy, asks, decoding=told, seeds=[[21, 22]] * 3)
    for ask, group in zip(asks, groups, strict=True):
        prompt = policy.encode([ask])
        for row in group:
            own = torch.tensor([row.tokens])
            ids = torch.cat([prompt["input_ids"], own], 1)
            with torch.no_grad():
                logits = policy.model(
                    input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=prompt["pixel_values"]
                ).logits
            at = prompt["input_ids"].shape[1] - 1
            expected = logits[0, at:-1].log_softmax(-1).gather(1, own.T)[:, 0]
            assert row.logps == pytest.approx(expected.tolist(), abs=1e-5)
            assert sum(row.logps) == pytest.approx(row.sum_logp, abs=1e-9)
            assert len(row.logps) == len(row.tokens)
            assert (row.tokens[-1] == stop_id) == row.stopped
    assert rows_of(policy, asks, decoding=decoding, seeds=[[21]] * 3)[0][0].logps is None


def test_completions_tell_tokens_only_when_asked(policy, asks):
    plain = policy.generate(asks, decoding=SAMPLING, seeds=[[1, 2]] * 3)
    told = policy.generate(asks, decoding=replace(SAMPLING, token_logps=True), seeds=[[1, 2]] * 3)
    for first, second in zip(chain(*plain), chain(*told), strict=True):
        assert first.token_logps is first.token_texts is None
        assert replace(second, token_logps=None, token_texts=None) == first
        assert len(second.token_logps) == len(second.token_texts) == second.n_tokens
        assert "".join(second.token_texts).strip() == second.text
        assert sum(second.token_logps) == pytest.approx(second.sum_logp, abs=1e-9)


def test_the_characters_of_tokens_make_the_text():
    """Where a character takes several tokens the last has it, and what a later token changes waits for that token."""
    words = {1: b" a", 2: b"\xe2\x80", 3: b"\x94", 4: b"b", 5: b"", 6: b"\xe2"}

    def text(tokens):
        return b"".join(words[t] for t in tokens).decode("utf-8", "replace").removeprefix(" ")

    assert token_texts([1, 2, 3, 4, 5], text) == ("a", "", "\u2014", "b", "")
    assert "".join(token_texts([1, 6], text)) == text([1, 6])
    assert token_texts([], text) == ()


def test_a_text_that_reaches_the_limit_says_so(policy, asks):
    (group,) = policy.generate(asks[:1], decoding=replace(SAMPLING, max_new_tokens=3), seeds=[list(range(20))])
    for completion in group:
        assert (completion.finish == "length") <= (completion.n_tokens == 3)
    assert {c.finish for c in group if c.n_tokens < 3} <= {"stop"}
    stop_id = stop_ids_by_step(policy, asks[:1], 2)
    ((row,),) = decode(policy.model, policy.encode(asks[:1]), seeds=[[0]], decoding=Decoding(3), stop_id=stop_id)
    assert (len(row.tokens), row.stopped) == (3, True)  # an end token at the limit is an end
    ((row,),) = decode(policy.model, policy.encode(asks[:1]), seeds=[[0]], decoding=Decoding(2), stop_id=stop_id)
    assert (len(row.tokens), row.stopped) == (2, False)


def test_asks_without_images_are_answered(policy, asks):
    ask = replace(asks[1], images=())
    ((completion,),) = policy.generate([ask], decoding=Decoding(4), seeds=[[0]])
    assert completion.n_tokens <= 4


def test_asks_with_and_without_images_share_a_batch(policy, asks):
    mixed = [replace(asks[0], images=()), *asks]
    together = policy.generate(mixed, decoding=Decoding(LIMIT), seeds=[[0]] * 4)
    for ask, (completion,) in zip(mixed, together, strict=True):
        ((alone,),) = policy.generate([ask], decoding=Decoding(LIMIT), seeds=[[0]])
        assert completion.text == alone.text


def test_training_and_inference_read_the_same_prompt(policy, asks):
    """Text and end token of a completion follow the prompt that the policy is asked with."""
    examples = encode(policy, [Target("p", ask, ("Both lungs are clear.", "A small effusion.")) for ask in asks])
    for ask, example in zip(asks, examples, strict=True):
        assert list(example.prompt_ids) == policy.encode([ask])["input_ids"][0].tolist()
        for text, tokens in zip(("Both lungs are clear.", "A small effusion."), example.completions, strict=True):
            assert tokens[-1] == policy.model.generation_config.eos_token_id
            assert policy.tokenizer.decode(tokens[:-1]).strip() == text
        assert example.images == tuple(str(path) for path in ask.images)
        assert example.prompt_ids.count(policy.model.config.image_token_index) == 16 * len(ask.images)


def test_plain_transformers_writes_the_same_report_from_the_checkpoint(policy, asks):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(policy.folder).eval()
    processor = AutoProcessor.from_pretrained(policy.folder)
    for ask in asks:
        content = [*({"type": "image", "path": str(path)} for path in ask.images), {"type": "text", "text": ask.prompt}]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        out = model.generate(**inputs, do_sample=False, max_new_tokens=LIMIT)
        text = processor.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()
        ((found,),) = policy.generate([ask], decoding=Decoding(LIMIT), seeds=[[0]])
        assert found.text == text


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="c++ is not installed: torch.compile cannot build its code")
def test_a_compiled_decoder_writes_the_same(policy, asks):
    """Shapes are dynamic, so that a cache that grows with every token is compiled once and not at each step."""
    drawing = {"decoding": Decoding(LIMIT, temperature=1.0), "seeds": [[1, 2], [3, 4], [5, 6]]}
    found = HFPolicy(policy.folder, compiled=True).generate(asks, **drawing)
    expected = policy.generate(asks, **drawing)
    assert [[c.text for c in group] for group in found] == [[c.text for c in group] for group in expected]


def test_texts_of_others_have_the_log_probs_of_training(policy, asks):
    texts = [["Clear.", "A small effusion on the left."], ["No."], ["Clear.", "No.", "The spine is bent."]]
    found = policy.read(asks, texts)
    assert [[completion.text for completion in row] for row in found] == texts
    for ask, row in zip(asks, found, strict=True):
        examples = encode(policy, [Target("t", ask, tuple(c.text for c in row))])
        vision = Pixels(policy.model, policy.processor).inputs([e.images for e in examples])
        with torch.no_grad():
            logps = shared_logps(policy.model, pack(examples, pad_id=policy.tokenizer.pad_token_id), vision)
        assert [c.sum_logp for c in row] == pytest.approx(logps.sums()[0].tolist(), rel=1e-4)
        assert [c.n_tokens for c in row] == logps.counts()[0].tolist()


def test_what_was_written_is_as_probable_when_it_is_read(policy, asks):
    written = policy.generate(asks, decoding=Decoding(LIMIT), seeds=[[0]] * len(asks))
    whole = [i for i, (c,) in enumerate(written) if c.finish == "stop" and c.text]
    read = policy.read([asks[i] for i in whole], [[written[i][0].text] for i in whole]) if whole else []
    for i, (again,) in zip(whole, read, strict=True):
        if again.n_tokens == written[i][0].n_tokens:  # other tokens may spell the same text
            assert again.sum_logp == pytest.approx(written[i][0].sum_logp, rel=1e-4)
