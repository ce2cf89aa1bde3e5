"""Adapters: what they are put on, that they start as nothing, train alone, and end up in the weights."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from chexalign.errors import UserError
from chexalign.recipe import LoraSpec
from chexalign.train import lora
from chexalign.train.freeze import freeze, part_of
from chexalign.train.pack import pack
from chexalign.train.prefix import shared_logps
from tests import fits, vlms

peft = pytest.importorskip("peft")
SPEC = LoraSpec(r=4, alpha=16)


def adapted(name: str = "llava_llama", frozen: tuple[Any, ...] = ("vision",), spec: LoraSpec = SPEC) -> Any:
    model = fits.model_of(name)
    freeze(model, frozen)
    return lora.add_lora(model, spec, frozen, seed=3)


def sums(model: Any, name: str = "llava_llama") -> torch.Tensor:
    examples, vision = vlms.examples(name, model, n_images=1, rows=3, branches=2)
    with torch.no_grad():
        return shared_logps(model, pack(examples, pad_id=0), vision).sums()


@pytest.mark.parametrize("name", vlms.FAMILIES)
def test_every_family_has_layers_to_adapt_and_none_outside_its_language_model(name: str) -> None:
    model = fits.model_of(name, vlms.FAMILIES[name].attentions[0])
    found = lora.targets(model, None)
    assert {part_of(layer) for layer in found} == {"language"}
    assert not any("lm_head" in layer for layer in found)
    per_layer = len(found) / model.config.get_text_config().num_hidden_layers
    assert per_layer == (6 if name in ("llava_phi", "chexagent2") else 7)


@pytest.mark.parametrize("name", ["llava_phi", "qwen3_vl", "gemma3", "chexagent2"])
def test_an_adapter_starts_as_nothing(name: str) -> None:
    plain = fits.model_of(name)
    assert torch.equal(sums(adapted(name), name), sums(plain.eval(), name))


def test_only_adapters_and_parts_that_are_free_are_trained() -> None:
    assert {part_of(n) for n in lora.trained(adapted(frozen=("vision", "projector")))} == {"language"}
    names = set(lora.trained(adapted(frozen=("vision",))))
    full = {name for name in names if "lora_" not in name}
    assert {part_of(name) for name in full} == {"projector"}
    assert {part_of(name) for name in names - full} == {"language"}
    assert "vision" in {part_of(name) for name in lora.trained(adapted(frozen=()))}


def test_the_seed_decides_where_adapters_start_and_leaves_torchs_generator_alone() -> None:
    before = torch.get_rng_state()
    one, two = lora.trained(adapted()), lora.trained(adapted())
    assert fits.equal(one, two)
    assert torch.equal(before, torch.get_rng_state())


def test_a_training_moves_the_adapters_and_the_base_weights_not_at_all(tmp_path: Path) -> None:
    model = adapted()
    base = {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}
    rows, vision = fits.rows_for("dpo", fits.model_of())
    log = fits.train(model, rows, fits.OBJECTIVES["dpo"][0], tmp_path, vision=vision, epochs=3)
    assert log.checks["prefix_sharing"]["shared"] is True
    assert log.rows[-1]["loss"] < log.rows[0]["loss"]
    assert all(torch.equal(p, base[name]) for name, p in model.named_parameters() if name in base)
    assert all(p.abs().sum() > 0 for name, p in model.named_parameters() if "lora_B" in name)


def test_dropout_of_adapters_is_the_one_dropout_that_stays_on(tmp_path: Path) -> None:
    rows, vision = fits.rows_for("dpo", fits.model_of())
    losses = []
    for dropout in (0.0, 0.5):
        model = adapted(spec=LoraSpec(r=4, alpha=16, dropout=dropout))
        log = fits.train(model, rows, fits.OBJECTIVES["dpo"][0], tmp_path / str(dropout), vision=vision, epochs=2)
        losses.append([row["loss"] for row in log.rows])
    assert losses[0][0] == losses[1][0]  # nothing is added yet, so there is nothing to drop
    assert losses[0][1:] != losses[1][1:]


@pytest.fixture
def moved() -> Any:
    """A model whose adapters add something, as after a training."""
    model = adapted()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.requires_grad:
                p += 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(len(name)))
    return model.eval()


def test_the_merged_model_answers_as_the_adapted_one(moved: Any) -> None:
    before = sums(moved)
    merged = lora.merge(moved)
    torch.testing.assert_close(sums(merged), before, rtol=1e-5, atol=1e-5)
    assert not lora.is_adapted(merged)
    assert merged.state_dict().keys() == fits.model_of().state_dict().keys()
    assert not torch.allclose(before, sums(fits.model_of().eval()), rtol=1e-3)


@pytest.mark.parametrize("gathered", [False, True])
def test_adapters_of_a_quantized_or_sharded_model_are_merged_into_fresh_weights(moved: Any, gathered: bool) -> None:
    weights = {k: v.clone() for k, v in moved.state_dict().items()} if gathered else None
    merged = lora.merge_into(fits.model_of(), moved, weights).eval()
    torch.testing.assert_close(sums(merged), sums(moved), rtol=1e-5, atol=1e-5)


def test_the_adapter_alone_makes_the_policy_again_by_plain_peft(moved: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    lora.save_adapter(moved, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"adapter_config.json", "adapter_model.safetensors", lora.OTHERS}
    base = fits.model_of()
    base.load_state_dict(load_file(tmp_path / lora.OTHERS), strict=False)
    again = peft.PeftModel.from_pretrained(base, tmp_path).eval()
    torch.testing.assert_close(sums(again), sums(moved), rtol=1e-5, atol=1e-5)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["r"] == 4


def test_targets_of_a_recipe_replace_those_of_the_family() -> None:
    found = lora.targets(fits.model_of(), ["q_proj", "v_proj"])
    assert {name.rpartition(".")[2] for name in found} == {"q_proj", "v_proj"}
    with pytest.raises(UserError, match="names qq_proj") as caught:
        lora.targets(fits.model_of(), ["q_proj", "qq_proj"])
    assert "down_proj" in caught.value.why


def test_a_head_that_is_the_embeddings_is_refused_since_merging_would_change_both() -> None:
    model = fits.model_of()
    assert lora.targets(model, ["lm_head"]) == ["lm_head"]
    model.lm_head.weight = model.get_input_embeddings().weight
    with pytest.raises(UserError, match="names lm_head"):
        lora.targets(model, ["lm_head"])


def test_without_peft_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "peft":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match="peft is not installed") as caught:
        adapted()
    assert "chexalign[lora]" in caught.value.fix


def test_four_bits_without_cuda_are_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(UserError, match="quantize is nf4"):
        lora.load_nf4(Path("nowhere"))
