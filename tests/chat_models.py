"""Small causal language models with random weights, in folders, for tests of judges that hold their model."""

from __future__ import annotations

import json
from pathlib import Path

from chexalign.demo.tiny import train_tokenizer

CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TEXTS = ["Compare the candidate with the reference. The heart is not enlarged.", "A small effusion on the left side."]


def tiny_llama(folder: Path, *, window: int = 2048, template: str | None = CHAT, seed: int = 3) -> Path:
    """A Llama of two layers with its tokenizer, saved with settings for generation that a judge must not follow."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = train_tokenizer(TEXTS, vocabulary=320)
    tokenizer.chat_template = template
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=window,
        initializer_range=0.5,  # far from ties, and from an answer that says one token again and again
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    settings = {"do_sample": True, "temperature": 9.0, "repetition_penalty": 3.0, "max_length": 5}
    (folder / "generation_config.json").write_text(json.dumps({**settings, "eos_token_id": tokenizer.eos_token_id}))
    return folder


def plain_answer(folder: Path, text: str, n: int) -> list[int]:
    """The n most probable tokens after a text, one prompt alone, each by a forward of everything before it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = AutoTokenizer.from_pretrained(folder)(text, add_special_tokens=False)["input_ids"]
    n_prompt = len(ids)
    with torch.inference_mode():
        for _ in range(n):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[n_prompt:]


def end_with(folder: Path, token: int) -> None:
    """Makes a token one of those that end an answer, as the settings of a checkpoint can."""
    path = folder / "generation_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "eos_token_id": [settings["eos_token_id"], token]}))
