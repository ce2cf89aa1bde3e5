"""The shared path must give the log-probs and the gradients of separate sequences, in every family."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch

from chexalign.policy.families import family_of
from chexalign.policy.families_causal import Family, visible
from chexalign.train.pack import Example, pack
from chexalign.train.prefix import TokenLogps, disagreement, separate_logps, shared_logps, sharing_refused
from tests import vlms

CASES = [(name, attn) for name, vlm in vlms.FAMILIES.items() for attn in vlm.attentions]
LOGP_TOLERANCE = 1e-5  # relative, of a completion's sum
# Of each parameter's gradient, relative to its norm or to a thousandth of the whole gradient's norm, whichever is
# larger: the gradient of a key's bias is 0 but for rounding.
GRADIENT_TOLERANCE = 1e-5


@functools.cache
def cached(name: str, attn: str) -> Any:
    return vlms.make(name, attn)


def batch_of(name: str, model: Any, **sizes: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    examples, vision = vlms.examples(name, model, **{"n_images": 1, "rows": 3, "branches": 2, **sizes})
    return pack(examples, pad_id=0), vision


def gradients(model: Any, logps: TokenLogps) -> dict[str, torch.Tensor]:
    """Of a loss that weighs each completion, and each token of it, differently."""
    model.zero_grad(set_to_none=True)
    weights = torch.linspace(-1, 1, len(logps.logps)) + 0.3 * logps.branches - 0.2 * logps.rows
    (weights * logps.logps).sum().backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def gradient_difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    whole = float(torch.stack([g.norm() for g in b.values()]).norm())
    return max(float((a[n] - g).norm() / max(float(g.norm()), 1e-3 * whole)) for n, g in b.items())


def assert_equal_paths(model: Any, batch: dict[str, torch.Tensor], vision: dict[str, torch.Tensor]) -> None:
    separate = separate_logps(model, batch, vision)
    truth = gradients(model, separate)
    shared = shared_logps(model, batch, vision)
    assert disagreement(shared, separate) < LOGP_TOLERANCE
    assert torch.equal(shared.rows, separate.rows)
    assert torch.equal(shared.branches, separate.branches)
    assert shared.shape == separate.shape
    assert gradient_difference(gradients(model, shared), truth) < GRADIENT_TOLERANCE


@pytest.mark.parametrize("branches", [1, 2, 3])
@pytest.mark.parametrize("n_images", [1, 2])
@pytest.mark.parametrize(("name", "attn"), CASES)
def test_the_shared_path_equals_separate_sequences(name: str, attn: str, n_images: int, branches: int) -> None:
    model = cached(name, attn)
    rows = 2 if branches == 3 else 3
    batch, vision = batch_of(name, model, n_images=n_images, rows=rows, branches=branches, seed=n_images + branches)
    assert_equal_paths(model, batch, vision)


@pytest.mark.parametrize(("name", "attn"), CASES)
def test_without_images_too(name: str, attn: str) -> None:
    model = cached(name, attn)
    batch, vision = batch_of(name, model, n_images=0)
    assert vision == {}
    assert_equal_paths(model, batch, vision)


@pytest.mark.parametrize("n_images", [1, 2])
@pytest.mark.parametrize(("name", "attn"), CASES)
def test_with_lora_too(name: str, attn: str, n_images: int) -> None:
    peft = pytest.importorskip("peft")
    lora = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj", "o_proj", "dense"], init_lora_weights=False)
    lora.task_type = peft.TaskType.CAUSAL_LM
    torch.manual_seed(1)
    model = peft.get_peft_model(vlms.make(name, attn), lora).eval()
    batch, vision = batch_of(name, model, n_images=n_images)
    assert_equal_paths(model, batch, vision)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize(
    "name", ["llava_llama", "llava_phi", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "gemma3", "chexagent2"]
)
def test_with_gradient_checkpointing_too(name: str, reentrant: bool) -> None:
    model = vlms.make(name)
    batch, vision = batch_of(name, model, n_images=2)
    truth = gradients(model, separate_logps(model, batch, vision))
    model.train()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    model.enable_input_require_grads()  # reentrant checkpoints need an input that has a gradient
    found = gradients(model, shared_logps(model, batch, vision))
    # With reentrant checkpoints a tower whose input has no gradient gets none, on both paths alike.
    assert gradient_difference(found, {name: truth[name] for name in found}) < GRADIENT_TOLERANCE
    assert any("layers.0" in name and "vi" not in name for name in found)


@pytest.mark.parametrize(("name", "attn"), CASES)
def test_images_and_order_matter_to_these_models(name: str, attn: str) -> None:
    """Otherwise equality would prove nothing about images and positions."""
    model = cached(name, attn)
    batch, vision = batch_of(name, model, n_images=2)
    truth = separate_logps(model, batch, vision)
    other = {**vision, "pixel_values": vision["pixel_values"].flip(-1)}
    assert disagreement(shared_logps(model, batch, other), truth) > 100 * LOGP_TOLERANCE
    first = (batch["segments"] > 0).any(0).int().argmax()
    shifted = {**batch, "positions": batch["positions"] + (torch.arange(batch["segments"].shape[1]) >= first)}
    assert disagreement(shared_logps(model, shifted, vision), truth) > 100 * LOGP_TOLERANCE


@pytest.mark.parametrize("name", vlms.FAMILIES)
def test_a_row_does_not_depend_on_the_rows_beside_it(name: str) -> None:
    model = cached(name, "eager")
    examples, _ = vlms.examples(name, model, n_images=0, rows=3, branches=2)
    together = shared_logps(model, pack(examples, pad_id=0), {}).sums()
    alone = torch.cat([shared_logps(model, pack([e], pad_id=5), {}).sums() for e in examples])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


# The traps: each runs without any error and gives wrong numbers.


@pytest.mark.parametrize("name", vlms.FAMILIES)
def test_trap_a_bool_mask_is_wrong_in_eager_and_ours_is_not_bool(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = cached(name, "eager")
    batch, vision = batch_of(name, model)
    truth = separate_logps(model, batch, vision)
    masks = family_of(model).inputs(model, batch, vision)["attention_mask"]
    for mask in masks.values() if isinstance(masks, dict) else [masks]:
        assert mask.dtype == torch.float32
        assert set(mask.unique().tolist()) == {0.0, torch.finfo(torch.float32).min}
    monkeypatch.setattr(Family, "_native", lambda self, mask, model: mask[:, None])
    assert disagreement(shared_logps(model, batch, vision), truth) > 100 * LOGP_TOLERANCE


@pytest.mark.parametrize("attn", ["sdpa", "eager"])
def test_trap_one_mask_is_wrong_for_gemma3_and_ours_are_two(attn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = cached("gemma3", attn)
    batch, vision = batch_of("gemma3", model, n_images=2)
    truth = separate_logps(model, batch, vision)
    family = family_of(model)
    ours = family.inputs(model, batch, vision)["attention_mask"]
    assert set(ours) == {"full_attention", "sliding_attention"}
    wrong = {
        "one mask for both": ours["full_attention"],
        "images not seen both ways": Family(family.config)._masks(model, batch),
        "a window over columns": family._masks(
            model, {**batch, "positions": torch.arange(batch["positions"].shape[1])[None]}
        ),
    }
    for what, masks in wrong.items():
        with monkeypatch.context() as patch:
            patch.setattr(type(family), "_masks", lambda self, model, batch, masks=masks: masks)
            assert disagreement(shared_logps(model, batch, vision), truth) > 100 * LOGP_TOLERANCE, what


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "paligemma", "gemma3", "llava_mistral"])
def test_trap_a_plain_causal_mask_is_wrong_for_the_others(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = cached(name, "sdpa")
    batch, vision = batch_of(name, model)
    truth = separate_logps(model, batch, vision)
    plain = {"attention_mask": visible(batch["segments"])[:, None], "position_ids": batch["positions"]}
    monkeypatch.setattr(type(family_of(model)), "inputs", lambda *_: plain)
    assert disagreement(shared_logps(model, batch, vision), truth) > 100 * LOGP_TOLERANCE


@pytest.mark.parametrize("attn", ["sdpa", "eager"])
def test_trap_deepstack_features_of_qwen3_survive(attn: str) -> None:
    model = cached("qwen3_vl", attn)
    batch, vision = batch_of("qwen3_vl", model)
    shared = shared_logps(model, batch, vision)
    found = gradients(model, shared)
    mergers = [name for name in found if "deepstack_merger_list" in name]
    assert len(mergers) > 2
    assert all(found[name].abs().max() > 0 for name in mergers)
    with torch.no_grad():  # the same images by embeddings, which is how the deep features get lost
        ids = batch["input_ids"]
        features = torch.cat(model.model.get_image_features(return_dict=True, **vision).pooler_output)
        embeddings = model.get_input_embeddings()(ids)
        embeddings[ids == model.config.image_token_id] = features
        handle = model.register_forward_pre_hook(
            lambda _, args, kwargs: (args, {**_without(kwargs, "input_ids", *vision), "inputs_embeds": embeddings}),
            with_kwargs=True,
        )
        lost = shared_logps(model, batch, vision)
        handle.remove()
    assert disagreement(lost, shared) > 100 * LOGP_TOLERANCE


def _without(kwargs: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name not in names}


def test_trap_no_key_value_cache_is_used_and_the_model_itself_is_called_once() -> None:
    """Under gradient checkpointing a cache is dropped with a warning, so a path through one would be wrong."""
    model = vlms.make("llava_llama")
    calls: list[dict[str, Any]] = []
    outputs: list[Any] = []
    model.register_forward_pre_hook(lambda _, args, kwargs: calls.append(kwargs), with_kwargs=True)
    model.register_forward_hook(lambda _, args, output: outputs.append(output))
    shared_logps(model, *batch_of("llava_llama", model))
    assert len(calls) == 1
    assert calls[0]["use_cache"] is False
    assert calls[0].get("past_key_values") is None
    assert outputs[0].past_key_values is None


@pytest.mark.parametrize("attn", ["sdpa", "eager"])
def test_trap_the_projector_reads_the_configured_layer_of_the_tower(attn: str) -> None:
    model = vlms.make("llava_llama", attn)
    batch, vision = batch_of("llava_llama", model, n_images=2)
    seen: list[torch.Tensor] = []
    model.model.multi_modal_projector.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    shared_logps(model, batch, vision)
    out = model.model.vision_tower(vision["pixel_values"], output_hidden_states=True)
    expected = out.hidden_states[model.config.vision_feature_layer][:, 1:]
    torch.testing.assert_close(seen[0], expected)
    assert not torch.allclose(seen[0], out.last_hidden_state[:, 1:], atol=1e-2)


# What the shared path costs and returns.


def test_the_tower_runs_once_per_image_and_the_head_on_completions_alone() -> None:
    model = vlms.make("llava_llama")
    batch, vision = batch_of("llava_llama", model, n_images=2, branches=3)
    towers: list[torch.Size] = []
    heads: list[torch.Size] = []
    model.model.vision_tower.register_forward_pre_hook(
        lambda _, args, kwargs: towers.append((args or (kwargs["pixel_values"],))[0].shape), with_kwargs=True
    )
    model.lm_head.register_forward_pre_hook(lambda _, args: heads.append(args[0].shape))
    shared_logps(model, batch, vision)
    assert [shape[0] for shape in towers] == [len(vision["pixel_values"])]
    n_prompt_columns = int((batch["segments"] == 0).any(0).sum())
    assert [shape[1] for shape in heads] == [batch["input_ids"].shape[1] - n_prompt_columns + 1]


def test_sums_and_counts_are_those_of_each_completion() -> None:
    model = cached("llava_llama", "sdpa")
    examples, vision = vlms.examples("llava_llama", model, n_images=1, rows=3, branches=2)
    found = shared_logps(model, pack(examples, pad_id=0), vision)
    assert found.counts().tolist() == [[len(c) for c in e.completions] for e in examples]
    assert found.logps.dtype == found.sums().dtype == torch.float32
    parts = found.logps.split([len(c) for e in examples for c in e.completions])
    torch.testing.assert_close(found.sums().flatten(), torch.stack([p.sum() for p in parts]))
    assert (found.logps < 0).all()


def test_a_log_prob_is_the_softmax_at_the_token_before() -> None:
    model = cached("llava_llama", "sdpa")
    example = Example("a", (1, 5, 6), ((7, 2), (8, 9, 2)), ())
    found = shared_logps(model, pack([example], pad_id=0), {})
    with torch.no_grad():
        logps = model(input_ids=torch.tensor([[1, 5, 6, 8, 9, 2]])).logits[0].log_softmax(-1)
    expected = torch.stack([logps[2, 8], logps[3, 9], logps[4, 2]])
    torch.testing.assert_close(found.logps[found.branches == 1], expected)


def test_log_probs_are_float32_under_a_bfloat16_model() -> None:
    model = vlms.make("llava_llama").to(torch.bfloat16)
    batch, vision = batch_of("llava_llama", model)
    vision = {name: value.to(torch.bfloat16) for name, value in vision.items()}
    shared = shared_logps(model, batch, vision)
    assert shared.logps.dtype == torch.float32
    assert disagreement(shared, separate_logps(model, batch, vision)) < 2e-2


@pytest.mark.parametrize("attn", ["sdpa", "eager"])
@pytest.mark.parametrize("name", ["llava_llama", "qwen3_vl", "gemma3"])
def test_log_probs_are_finite_and_agree_under_autocast(name: str, attn: str) -> None:
    model = cached(name, attn)
    batch, vision = batch_of(name, model)
    with torch.autocast("cpu", torch.bfloat16):
        shared, separate = shared_logps(model, batch, vision), separate_logps(model, batch, vision)
    assert shared.logps.dtype == torch.float32
    assert disagreement(shared, separate) < 2e-2
    assert all(g.isfinite().all() for g in gradients(model, shared).values())


def test_a_wrapped_model_is_called_through_its_wrapper() -> None:
    class Wrapper(torch.nn.Module):
        calls = 0

        def __init__(self, module: torch.nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            Wrapper.calls += 1
            return self.module(*args, **kwargs)

    model = cached("qwen3_vl", "sdpa")
    batch, vision = batch_of("qwen3_vl", model)
    wrapped = shared_logps(Wrapper(model), batch, vision)
    assert Wrapper.calls == 1
    assert disagreement(wrapped, shared_logps(model, batch, vision)) == 0.0


def test_disagreement_is_relative_above_one_nat_and_absolute_below() -> None:
    def logps(*values: float) -> TokenLogps:
        index = torch.arange(len(values))
        return TokenLogps(torch.tensor(values), index, torch.zeros_like(index), (len(values), 1))

    assert disagreement(logps(-10.0, -0.1), logps(-20.0, -0.1)) == pytest.approx(0.5)
    assert disagreement(logps(-1.0, -0.1), logps(-1.0, -0.3)) == pytest.approx(0.2)


def test_sharing_is_refused_where_attention_takes_no_mask() -> None:
    model = vlms.make("llava_llama")
    assert sharing_refused(model) is None
    model.config.text_config._attn_implementation = "flash_attention_2"
    assert "flash_attention_2" in (sharing_refused(model) or "")
