"""CheXagent-2 by its published layout: names, shapes, the forward, what is read, what is written, what is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chexalign.errors import UserError
from chexalign.policy.base import Ask
from chexalign.policy.chexagent2.config import CheXagentConfig
from chexalign.policy.chexagent2.confirm import confirm
from chexalign.policy.chexagent2.files import check_weights, is_chexagent2, model_shapes
from chexalign.policy.chexagent2.model import CheXagentForCausalLM, float32_attention
from chexalign.policy.chexagent2.visual import sincos_table
from chexalign.policy.hf import HFPolicy
from chexalign.policy.native import load_config
from chexalign.train.freeze import freeze
from tests import chexagent2 as cx
from tests import fits, vlms


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cx.write(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def policy(published: Path) -> HFPolicy:
    return HFPolicy(published)


@pytest.fixture(scope="module")
def asks(tmp_path_factory: pytest.TempPathFactory) -> list[Ask]:
    return cx.asks(tmp_path_factory.mktemp("images"))


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A copy that the test may damage."""
    return Path(shutil.copytree(published, tmp_path / "copy"))


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


# The layout -------------------------------------------------------------------------------------------------------


def test_the_published_shape_has_the_published_number_of_parameters() -> None:
    found = model_shapes(CheXagentConfig())
    assert found == cx.shapes(cx.PUBLISHED)
    assert sum(int(np.prod(shape)) for shape in found.values()) == cx.PUBLISHED_PARAMETERS


def test_an_image_takes_1024_tokens() -> None:
    assert CheXagentConfig().image_seq_length == 1024


@pytest.mark.parametrize(("width", "side"), [(8, 4), (32, 3)])
def test_the_table_of_positions(width: int, side: int) -> None:
    expected = cx.position_table(cx.Sizes(0, 0, 0, 0, width, 0, 0, side, 0))
    torch.testing.assert_close(sincos_table(width, side), expected, rtol=0, atol=1e-6)


def test_a_model_from_its_config_alone_has_the_table_and_finite_weights() -> None:
    model = CheXagentForCausalLM(vlms.FAMILIES["chexagent2"].config())
    torch.testing.assert_close(model.model.visual.pos_embed, sincos_table(16, 2))
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
    assert model.lm_head.weight is not model.model.embed_tokens.weight


# The forward ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_logits_are_those_of_the_forward_written_out(published: Path, asks: list[Ask], attention: str) -> None:
    """Two images, one, and none; left-padded in one batch, against each sequence alone."""
    policy = HFPolicy(published)
    policy.model.set_attn_implementation(attention)
    inputs, weights = policy.encode(asks), cx.random_weights(cx.TINY)
    mask, images = inputs["attention_mask"], list(inputs["pixel_values"])
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    found = policy.model(**inputs, position_ids=positions).logits
    for row, ask in enumerate(asks):
        own = [images.pop(0) for _ in ask.images]
        ids = inputs["input_ids"][row][mask[row].bool()]
        expected = cx.logits(weights, cx.TINY, ids, own, policy.model.config.image_token_id)
        torch.testing.assert_close(found[row][mask[row].bool()], expected, rtol=1e-5, atol=1e-5)
        assert expected.std() > 0.5, "logits hardly vary: the test proves little"


@pytest.mark.slow
@torch.no_grad()
def test_so_they_are_at_the_published_widths() -> None:
    """Heads of 80 numbers of which 32 turn, 1,024 tokens per image of 512 pixels; one layer of each, few words."""
    sizes = cx.Sizes(640, 2560, 1, 32, 1024, 1, 16, 32, 16)
    weights = cx.random_weights(sizes, scale=0.03)
    tower = {"num_hidden_layers": 1, "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16}
    config = CheXagentConfig(
        vocab_size=640,
        num_hidden_layers=1,
        image_token_id=639,
        partial_rotary_factor=cx.ROTARY,
        vision_config={**tower, "image_size": 512, "patch_size": 16},
    )
    with torch.device("meta"):
        model = CheXagentForCausalLM(config)
    model = model.to_empty(device="cpu").eval()
    model.load_state_dict(weights)
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    model.model.visual.model.embeddings.position_ids.copy_(torch.arange(1024)[None])
    ids = torch.tensor([5, 6, *[639] * 1024, 7, 8, *[639] * 1024, 9, 10])
    images = torch.rand(2, 3, 512, 512, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = model(input_ids=ids[None], pixel_values=images, logits_to_keep=3).logits[0]
    expected = cx.logits(weights, sizes, ids, list(images), 639)[-3:]
    assert expected.std() > 0.5
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


UNUSED = ("visual.model.post_layernorm", "visual.model.head.")


def test_every_weight_but_those_of_the_pooling_head_matters(asks: list[Ask], policy: HFPolicy) -> None:
    model = policy.model
    freeze(model, [])
    logps = model(**policy.encode(asks)).logits.log_softmax(-1)
    logps[..., ::3].sum().backward()
    idle = {name for name, p in model.named_parameters() if p.grad is None}
    model.zero_grad(set_to_none=True)
    assert idle == {name for name in idle if any(piece in name for piece in UNUSED)}
    assert len(idle) == 13


def test_ids_where_features_go_do_not_reach_the_decoder(asks: list[Ask], policy: HFPolicy) -> None:
    inputs = policy.encode(asks[:1])
    before = policy.model(**inputs).logits
    rows = policy.model.model.embed_tokens.weight.data
    kept = rows[policy.model.config.image_token_id].clone()
    rows[policy.model.config.image_token_id] = 100.0
    after = policy.model(**inputs).logits
    rows[policy.model.config.image_token_id] = kept
    assert torch.equal(before, after)


def test_more_image_tokens_than_features_are_refused(asks: list[Ask], policy: HFPolicy) -> None:
    inputs = policy.encode(asks[:1])
    with pytest.raises(UserError, match="32 image tokens for 1 images of 16 tokens"):
        policy.model(**inputs | {"pixel_values": inputs["pixel_values"][:1]})


# Precision --------------------------------------------------------------------------------------------------------


def large_scores() -> tuple[Any, ...]:
    """An attention module, and queries, keys and values in bfloat16 whose scores are large, as Phi-2's are."""
    module = fits.model_of("chexagent2").model.layers[0].self_attn
    g = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, 4, 64, 8, generator=g) * scale for scale in (10.0, 10.0, 1.0))
    return module, query.bfloat16(), key.bfloat16(), value.bfloat16()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@torch.no_grad()
def test_scores_in_bfloat16_are_those_of_float32(attention: str) -> None:
    """Phi's own eager attention rounds them, and is several times as far off."""
    from transformers import AttentionInterface
    from transformers.models.phi.modeling_phi import eager_attention_forward

    module, *inputs = large_scores()
    ours = AttentionInterface().get_interface(attention, float32_attention)
    truth = torch.nn.functional.scaled_dot_product_attention(*(x.double() for x in inputs), scale=0.35)

    def error(attend: Any) -> float:
        found, _ = attend(module, *inputs, None, scaling=0.35, is_causal=False)
        return float((found.transpose(1, 2).double() - truth).abs().mean())

    assert error(eager_attention_forward) > 5 * error(ours)


def test_scores_stay_float32_under_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = fits.model_of("chexagent2", "eager"), []
    softmax = torch.nn.functional.softmax

    def looking(scores: torch.Tensor, **options: Any) -> torch.Tensor:
        seen.append((scores.dtype, torch.equal(scores, scores.bfloat16().float())))
        return softmax(scores, **options)

    monkeypatch.setattr(torch.nn.functional, "softmax", looking)
    with torch.autocast("cpu", torch.bfloat16):
        model(input_ids=torch.tensor([[5, 6, 7, 8]]))
    assert seen == [(torch.float32, False)] * 2


@pytest.mark.parametrize("by", ["weights", "autocast"])
def test_float16_is_refused(by: str) -> None:
    model = fits.model_of("chexagent2")
    ids = torch.tensor([[5, 6]])
    model = model.half() if by == "weights" else model
    with torch.autocast("cpu", torch.float16, enabled=by == "autocast"), pytest.raises(UserError, match="float16"):
        model(input_ids=ids)


@torch.no_grad()
def test_bfloat16_stays_near_float32(published: Path, asks: list[Ask], policy: HFPolicy) -> None:
    inputs = policy.encode(asks)
    halved = CheXagentForCausalLM.from_pretrained(published, dtype=torch.bfloat16)
    found, truth = halved(**inputs).logits.float(), policy.model(**inputs).logits
    assert float((found - truth).norm() / truth.norm()) < 0.03


# Reading a folder -------------------------------------------------------------------------------------------------


def test_a_published_folder_is_read_without_its_code(policy: HFPolicy) -> None:
    """`modeling_chexagent.py` in the folder raises when it is imported; config.json names another end token."""
    config = policy.model.config
    assert config.rope_parameters["partial_rotary_factor"] == cx.ROTARY
    assert config.eos_token_id == policy.tokenizer.eos_token_id == cx.BASE - 1
    assert config.image_token_id == cx.BASE + 2
    assert not hasattr(config, "auto_map")
    weights = cx.random_weights(cx.TINY)
    assert fits.equal(policy.model.state_dict(), {name: weights[name] for name in policy.model.state_dict()})


def test_auto_classes_read_it_once_the_door_was_opened(published: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    config = load_config(published)
    assert type(AutoConfig.from_pretrained(published)) is type(CheXagentConfig.from_pretrained(published))
    assert CheXagentConfig.from_pretrained(published).to_diff_dict() == config.to_diff_dict()
    for auto in (AutoModelForImageTextToText, AutoModelForCausalLM):
        assert type(auto.from_pretrained(published)) is CheXagentForCausalLM


def test_what_the_configuration_leaves_out_is_that_of_the_published_model(tmp_path: Path) -> None:
    cx.write_tokenizer(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "chexagent", "visual": {"image_size": 512}}))
    config = CheXagentConfig.from_pretrained(tmp_path)
    assert model_shapes(config) == cx.shapes(cx.PUBLISHED)
    assert (config.rope_parameters["partial_rotary_factor"], config.rope_parameters["rope_theta"]) == (0.4, 10000.0)
    assert (config.layer_norm_eps, config.hidden_act, config.vision_config.layer_norm_eps) == (1e-5, "gelu_new", 1e-6)


def test_the_older_model_of_the_same_type_is_refused(folder: Path) -> None:
    change(folder / "config.json", qformer_config={})
    assert not is_chexagent2(folder)
    with pytest.raises(UserError, match="CheXagent-8B"):
        CheXagentConfig.from_pretrained(folder)


def test_missing_weights_are_never_drawn_at_random(folder: Path) -> None:
    weights = cx.random_weights(cx.TINY)
    gone = ["lm_head.bias", *(name for name in weights if ".attn_pool." in name)]
    cx.write_weights(folder, {name: t for name, t in weights.items() if name not in gone})
    with pytest.raises(UserError, match=r"missing: lm_head.bias, model.visual.attn_pool.0.bias, .* and 2 others"):
        HFPolicy(folder)


def test_weights_of_another_shape_or_name_are_named(folder: Path) -> None:
    weights = cx.random_weights(cx.TINY)
    weights["more"] = torch.zeros(1)
    weights["model.visual.proj"] = torch.zeros(3, 3)
    cx.write_weights(folder, weights)
    with pytest.raises(UserError, match=r"unknown: more; of another shape: model\.visual\.proj"):
        HFPolicy(folder)


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_shard_that_is_missing_or_cut_is_named(damage: str, folder: Path) -> None:
    shard = folder / "model-00002-of-00003.safetensors"
    shard.unlink() if damage == "gone" else shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(UserError, match=r"model-00002-of-00003\.safetensors is missing or cut short"):
        HFPolicy(folder)


def test_a_folder_without_a_tokenizer_is_refused(folder: Path) -> None:
    (folder / "merges.txt").unlink()
    with pytest.raises(UserError, match=r"lacks processor_config\.json"):
        HFPolicy(folder)


def test_headers_alone_tell_how_many_values_there_are(published: Path) -> None:
    expected = sum(int(np.prod(shape)) for shape in cx.shapes(cx.TINY).values())
    assert check_weights(published, load_config(published)) == expected


# Confirming -------------------------------------------------------------------------------------------------------


def test_a_folder_is_held_against_what_is_assumed(published: Path) -> None:
    points = {point.what: point for point in confirm(published)}
    differing = {what for what, point in points.items() if not point.agrees}
    assert differing == {
        *("config.json hidden_size", "config.json num_hidden_layers", "config.json vocab_size"),
        *("config.json partial_rotary_factor", "config.json image_size", "values in the weights"),
        *("id of the end token", "id of the first image mark"),
    }
    assert points["the table of positions is sines and cosines of column, then row"].found is True
    assert points["kinds of numbers"].found == "F32"
    assert points["tokenizer_config.json add_bos_token"].found is None
    assert str(points["config.json hidden_size"]).startswith("DIFFERS")
    assert str(points["config.json hidden_act"]).startswith("agrees")


def test_another_table_of_positions_is_told(folder: Path) -> None:
    weights = cx.random_weights(cx.TINY)
    weights["model.visual.pos_embed"] = weights["model.visual.pos_embed"].flip(1)
    cx.write_weights(folder, weights)
    assert not next(point for point in confirm(folder) if "table" in point.what).agrees


def test_the_examples_of_its_page_run(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "chexagent2.md").read_text()
    load, hold = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(load.replace("FOLDER", str(published)), names)
    assert type(names["model"]) is CheXagentForCausalLM
    exec(hold.replace("FOLDER", str(published)), names)
    assert "values in the weights: assumed 3140746752" in capsys.readouterr().out


def test_what_its_page_names_exists() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "chexagent2.md").read_text()
    tests = "".join(path.read_text() for path in (root / "tests" / "unit").glob("test_chexagent2*.py"))
    assert [name for name in re.findall(r"`(test_\w+)`", page) if f"def {name}(" not in tests] == []
