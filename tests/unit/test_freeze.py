"""Parts of the models that people train, by the parameter names that transformers gives them."""

import pytest
import torch

from chexalign.train.freeze import freeze, part_of


def llava():
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    vision = CLIPVisionConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    return LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=LlamaConfig(**TEXT)))


def qwen2_vl():
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    text = TEXT | {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}}
    vision = {"depth": 1, "embed_dim": 8, "hidden_size": 8, "num_heads": 1}
    return Qwen2VLForConditionalGeneration(Qwen2VLConfig(vision_config=vision, text_config=text))


def idefics3():
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, LlamaConfig

    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = Idefics3Config(vision_config=vision, text_config=LlamaConfig(**TEXT), scale_factor=2, pad_token_id=0)
    return Idefics3ForConditionalGeneration(config)


def paligemma():
    from transformers import GemmaConfig, PaliGemmaConfig, PaliGemmaForConditionalGeneration, SiglipVisionConfig

    vision = SiglipVisionConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    text = GemmaConfig(**TEXT, head_dim=8)
    return PaliGemmaForConditionalGeneration(PaliGemmaConfig(vision_config=vision, text_config=text, hidden_size=8))


def chexagent2():
    from transformers import SiglipVisionConfig

    from chexalign.policy.chexagent2.config import CheXagentConfig
    from chexalign.policy.chexagent2.model import CheXagentForCausalLM

    vision = SiglipVisionConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    return CheXagentForCausalLM(CheXagentConfig(**TEXT, vision_config=vision))


TEXT = {
    "vocab_size": 32,
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
}
MODELS = {"llava": llava, "qwen2_vl": qwen2_vl, "idefics3": idefics3, "paligemma": paligemma}
MODELS["chexagent2"] = chexagent2
# How each library names a part: a piece of the name that only that part has.
PIECES = {
    "llava": {"vision": "vision_tower", "projector": "multi_modal_projector"},
    "qwen2_vl": {"vision": "visual.blocks", "projector": "visual.merger"},
    "idefics3": {"vision": "vision_model", "projector": "connector"},
    "paligemma": {"vision": "vision_tower", "projector": "multi_modal_projector"},
    "chexagent2": {"vision": "visual.model", "projector": "visual.attn_pool"},
}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    with torch.device("meta"):  # names alone, no weights
        model = MODELS[request.param]()
    model.style = request.param
    return model


def test_each_part_of_a_model_is_found(model):
    names = [name for name, _ in model.named_parameters()]
    parts = {part: [n for n in names if part_of(n) == part] for part in ("vision", "projector", "language")}
    for part, piece in PIECES[model.style].items():
        found = [n for n in names if piece in n]
        assert found
        assert set(found) <= set(parts[part])
    assert parts["language"]
    assert not [n for n in parts["language"] if "vision" in n or "visual" in n or "projector" in n or "connector" in n]
    assert any("self_attn" in n for n in parts["language"])


def test_freezing_makes_exactly_the_other_parts_trainable(model):
    for parts in ({"vision"}, {"vision", "projector"}, set(), {"language"}):
        freeze(model, parts)
        trainable = {part_of(name) for name, p in model.named_parameters() if p.requires_grad}
        frozen = {part_of(name) for name, p in model.named_parameters() if not p.requires_grad}
        assert frozen == parts
        assert trainable == {"vision", "projector", "language"} - parts


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.vision_tower.encoder.layers.0.weight", "vision"),
        ("base_model.model.model.vision_tower.encoder.layers.0.lora_A.default.weight", "vision"),
        ("vision_model.embeddings.patch_embedding.weight", "vision"),
        ("visual.patch_embed.proj.weight", "vision"),
        ("visual.merger.mlp.0.weight", "projector"),
        ("model.visual.deepstack_merger_list.0.linear_fc1.weight", "projector"),
        ("model.connector.modality_projection.proj.weight", "projector"),
        ("model.language_model.layers.0.mlp.up_proj.weight", "language"),
        ("model.text_model.embed_tokens.weight", "language"),
        ("model.visual.model.head.attention.in_proj_weight", "vision"),
        ("model.visual.attn_pool.2.bias", "projector"),
        ("model.visual.proj", "projector"),
        ("visual.blocks.0.attn.proj.weight", "vision"),
        ("lm_head.weight", "language"),
        ("model.language_model.supervisual.weight", "language"),
    ],
)
def test_parts_by_name(name, part):
    assert part_of(name) == part
