"""Code that a checkpoint brings is named, and never run unasked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chexalign.errors import UserError
from chexalign.policy.base import Ask, Decoding
from chexalign.policy.hf import HFPolicy, save_checkpoint
from chexalign.policy.remote import check_remote, register_remote, remote_code_of
from tests import vlms
from tests.unit.test_families import image_processor, picture, tokenizer

MAIRA2 = {
    "model_type": "maira2",
    "auto_map": {"AutoConfig": "configuration_maira2.Maira2Config", "AutoModelForCausalLM": "modeling_maira2.Maira2"},
}
# Of the same model type as CheXagent-2, and told from it by these parts.
CHEXAGENT_8B = {
    "model_type": "chexagent",
    "qformer_config": {},
    "text_config": {"model_type": "mistral"},
    "auto_map": {"AutoModelForCausalLM": "modeling_chexagent.CheXagentForConditionalGeneration"},
}
LLAVA_RAD = {"model_type": "llava", "mm_vision_tower": "biomedclip_cxr_518"}


def folder(path: Path, config: Any, **others: Any) -> Path:
    (path / "config.json").write_text(json.dumps(config))
    for name, value in others.items():
        (path / f"{name}.json").write_text(json.dumps(value))
    return path


def test_the_classes_that_would_be_run_are_named(tmp_path):
    tokenizer = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": [None, "tokenization_own.Own"]}}
    found = remote_code_of(folder(tmp_path, MAIRA2, tokenizer_config=tokenizer))
    assert found == ("configuration_maira2.Maira2Config", "modeling_maira2.Maira2", "tokenization_own.Own")


@pytest.mark.parametrize("config", [MAIRA2, CHEXAGENT_8B])
def test_code_is_refused_unless_the_recipe_allows_it(tmp_path, config):
    path = folder(tmp_path, config)
    with pytest.raises(UserError, match="carries its own Python code: ") as caught:
        check_remote(path, allowed=False)
    assert "with all your rights" in caught.value.why
    assert "policy.trust_remote_code: true" in caught.value.fix
    check_remote(path, allowed=True)


@pytest.mark.parametrize("kind", ["llava", "qwen2_5_vl", "gemma3", "paligemma"])
def test_code_that_transformers_replaces_by_its_own_is_not_run(tmp_path, kind):
    path = folder(tmp_path, {"model_type": kind, "auto_map": {"AutoModel": "modeling_old.Old"}})
    assert remote_code_of(path) == ()
    check_remote(path, allowed=False)


def test_chexagent_2_needs_none_of_its_code(tmp_path):
    path = folder(tmp_path, {"model_type": "chexagent", "auto_map": {"AutoModel": "modeling_chexagent.CheXagent"}})
    check_remote(path, allowed=False)


def test_code_in_another_repository_is_refused_even_if_allowed(tmp_path):
    path = folder(tmp_path, {"model_type": "own", "auto_map": {"AutoModel": "someone/else--modeling.Own"}})
    with pytest.raises(UserError, match="is in another repository: someone/else"):
        check_remote(path, allowed=True)


@pytest.mark.parametrize("allowed", [False, True])
def test_a_model_without_any_code_is_refused(tmp_path, allowed):
    with pytest.raises(UserError, match="the type 'newer_vl', which transformers does not know"):
        check_remote(folder(tmp_path, {"model_type": "newer_vl"}), allowed=allowed)


@pytest.mark.parametrize("allowed", [False, True])
def test_the_layout_of_the_original_llava_code_is_told(tmp_path, allowed):
    with pytest.raises(UserError, match="layout of the original LLaVA code"):
        check_remote(folder(tmp_path, LLAVA_RAD), allowed=allowed)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"auto_map": 3}', '{"auto_map": {"AutoModel": 3}, "model_type": null}']
)
def test_files_that_say_nothing_name_no_code(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    assert remote_code_of(tmp_path) == ()
    check_remote(tmp_path, allowed=False)


# A model as MAIRA-2 is one: transformers' Llava under a type and names of its own.
CODE = """
from transformers import LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

class OwnConfig(LlavaConfig):
    model_type = "own_llava"

class Own(LlavaForConditionalGeneration):
    config_class = OwnConfig

class OwnProcessor(LlavaProcessor):
    pass
"""
MAPS = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.Own"}
CHAT = (
    "{% for m in messages %}{% for c in m.content %}{% if c.type == 'image' %}<image> "
    "{% else %}{{ c.text }} {% endif %}{% endfor %}{% endfor %}"
)


@pytest.fixture
def own(tmp_path, monkeypatch) -> Path:
    """A tiny Llava, saved and then made one that only its own code can load."""
    from transformers import LlavaProcessor, dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    path = tmp_path / "own"
    options = {"patch_size": 4, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    processor = LlavaProcessor(image_processor("llava_llama"), tokenizer(), chat_template=CHAT, **options)
    save_checkpoint(vlms.make("llava_llama"), processor, path)
    (path / "modeling_own.py").write_text(CODE)
    change(path / "config.json", model_type="own_llava", auto_map=MAPS)
    change(path / "processor_config.json", processor_class="OwnProcessor")
    change(path / "processor_config.json", auto_map={"AutoProcessor": "modeling_own.OwnProcessor"})
    return path


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_with_leave_a_model_of_its_own_code_writes_and_is_saved(own, tmp_path):
    picture(16, 16).save(tmp_path / "a.png")
    asks = [Ask("what is seen", (tmp_path / "a.png",)), Ask("seen", ())]
    check_remote(own, allowed=True)
    register_remote(own)
    policy = HFPolicy(own)
    assert (type(policy.model).__name__, type(policy.processor).__name__) == ("Own", "OwnProcessor")
    rows = policy.generate(asks, decoding=Decoding(5), seeds=[[0]] * 2)
    assert all(row[0].n_tokens for row in rows)
    save_checkpoint(policy.model, policy.processor, tmp_path / "saved")
    assert (tmp_path / "saved/modeling_own.py").is_file()
    assert HFPolicy(tmp_path / "saved").generate(asks, decoding=Decoding(5), seeds=[[0]] * 2) == rows


def test_code_that_does_not_run_is_told(own):
    (own / "modeling_own.py").write_text("raise AttributeError('is_tf_available')")
    with pytest.raises(UserError, match=r"does not run: modeling_own\.OwnConfig \(AttributeError\)") as caught:
        register_remote(own)
    assert "sample.endpoint" in caught.value.fix


@pytest.mark.parametrize(("entry", "named"), [("AutoConfig", "configuration"), ("AutoModelForCausalLM", "model")])
def test_code_without_a_part_is_told(own, entry, named):
    change(own / "config.json", auto_map={k: v for k, v in MAPS.items() if k != entry})
    with pytest.raises(UserError, match=f"names no {named}"):
        register_remote(own)


def test_a_folder_without_code_changes_nothing(tmp_path):
    register_remote(folder(tmp_path, {"model_type": "llava"}))


def test_a_recipe_that_allows_the_code_makes_it_known(own):
    from transformers import AutoConfig

    from chexalign.cli.checks import check_names
    from chexalign.recipe.load import load_recipe

    policy = f"policy={{model: {own}, trust_remote_code: true}}"
    check_names(load_recipe("quick", [policy]))
    assert type(AutoConfig.from_pretrained(own)).__name__ == "OwnConfig"
    with pytest.raises(UserError, match="carries its own Python code"):
        check_names(load_recipe("quick", [f"policy={{model: {own}}}"]))
