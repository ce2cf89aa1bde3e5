"""Whole prompts of models whose checkpoints do not say how theirs look."""

from __future__ import annotations

from pathlib import Path

import pytest

from chexalign.errors import UserError
from chexalign.policy.formats import content_of

IMAGE = {"type": "image"}
CHAT_TEMPLATES = Path(__file__).resolve().parents[2] / "recipes/chat_templates"


def rendered(name: str, prompt: str, *, n_images: int = 1, answer: str | None = None) -> str:
    """What transformers makes of a user's turn with the template."""
    from transformers.utils.chat_template_utils import render_jinja_template

    turns = [{"role": "user", "content": content_of(prompt, n_images=n_images)}]
    if answer is not None:
        turns.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    texts, _ = render_jinja_template(
        conversations=[turns],
        chat_template=(CHAT_TEMPLATES / f"{name}.jinja").read_text(),
        add_generation_prompt=answer is None,
    )
    return texts[0]


def test_images_go_before_a_text_without_marks():
    assert content_of("What?", n_images=2) == [IMAGE, IMAGE, {"type": "text", "text": "What?"}]
    assert content_of("What?", n_images=0) == [{"type": "text", "text": "What?"}]


def test_images_go_where_the_text_has_marks():
    found = content_of("Given <image> and<image> Write.", n_images=2)
    texts = ["Given ", " and", " Write."]
    assert found == [part for text in texts for part in ({"type": "text", "text": text}, IMAGE)][:-1]
    assert content_of("<image>", n_images=1) == [IMAGE]


@pytest.mark.parametrize("n_images", [0, 1, 3])
def test_as_many_images_as_marks(n_images):
    with pytest.raises(UserError, match="has places for 2 images"):
        content_of("<image> and <image>", n_images=n_images)


def test_chexagent_8b_in_its_published_form():
    assert rendered("chexagent", "Describe it") == " USER: <s>Describe it ASSISTANT: <s>"
    assert rendered("chexagent", "Describe it", answer="Clear.") == " USER: <s>Describe it ASSISTANT: <s>Clear.</s>"


def test_llava_rad_in_vicuna_s_conversation():
    text = rendered("llava_rad", "Describe it")
    assert text.startswith("A chat between a curious user and an artificial intelligence assistant.")
    assert text.endswith("answers to the user's questions. USER: <image>\nDescribe it ASSISTANT:")
    assert rendered("llava_rad", "Describe it", answer="Clear.").endswith("ASSISTANT: Clear.</s>")
