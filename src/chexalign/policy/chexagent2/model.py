"""CheXagent-2 as a transformers model, by the names of the published weights and without their code."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import GenerationMixin, PhiModel, PhiPreTrainedModel, initialization
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, slice_logits_to_keep
from transformers.models.phi.modeling_phi import (
    PhiAttention,
    PhiDecoderLayer,
    PhiRotaryEmbedding,
    apply_rotary_pos_emb,
    repeat_kv,
)

from chexalign.errors import UserError
from chexalign.policy.chexagent2.config import CheXagentConfig
from chexalign.policy.chexagent2.visual import CheXagentVisual, sincos_table


def float32_attention(
    module: PhiAttention,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention whose scores and softmax are float32 under every dtype and autocast; [B, heads, T, width] each.

    Scores of Phi-2 are large: bfloat16 keeps 8 bits of them, so a score of 100 would be off by up to 0.25.
    """
    key, value = repeat_kv(key, module.num_key_value_groups), repeat_kv(value, module.num_key_value_groups)
    with torch.autocast(query.device.type, enabled=False):
        scores = query.float() @ key.float().transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = nn.functional.softmax(scores, dim=-1, dtype=torch.float32).to(value.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class CheXagentAttention(PhiAttention):
    """Phi's attention, with float32 scores where attention is eager; the kernels of sdpa keep them in float32."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None,
        past_key_values: Any = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """[B, T, width] from the same; rotates the first part of each head by the positions."""
        shape, turned = (*hidden_states.shape[:-1], -1, self.head_dim), self.rotary_ndims
        linears = (self.q_proj, self.k_proj, self.v_proj)
        query, key, value = (linear(hidden_states).view(shape).transpose(1, 2) for linear in linears)
        if self.qk_layernorm:
            query, key = self.q_layernorm(query), self.k_layernorm(key)
        q, k = apply_rotary_pos_emb(query[..., :turned], key[..., :turned], *position_embeddings)
        query, key = torch.cat([q, query[..., turned:]], -1), torch.cat([k, key[..., turned:]], -1)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, float32_attention)
        dropout = self.attention_dropout if self.training else 0.0
        out, weights = attend(self, query, key, value, attention_mask, dropout=dropout, scaling=self.scaling, **kwargs)
        return self.dense(out.reshape(*shape[:-2], -1)), weights


class CheXagentDecoderLayer(PhiDecoderLayer):
    """Phi's layer: attention and MLP side by side, both after one norm."""

    def __init__(self, config: CheXagentConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.self_attn = CheXagentAttention(config, layer_idx=layer_idx)


class CheXagentPreTrainedModel(PhiPreTrainedModel):
    """What both classes below share."""

    config_class = CheXagentConfig
    _no_split_modules = ["CheXagentDecoderLayer", "SiglipEncoderLayer"]  # noqa: RUF012
    _can_record_outputs = {"hidden_states": CheXagentDecoderLayer, "attentions": CheXagentAttention}  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, CheXagentVisual):
            side = round(len(module.pos_embed) ** 0.5)
            initialization.copy_(module.pos_embed, sincos_table(module.pos_embed.shape[1], side))
            initialization.normal_(module.proj, std=len(module.proj) ** -0.5)


class CheXagentModel(CheXagentPreTrainedModel, PhiModel):
    """The decoder without its head, and `visual`."""

    def __init__(self, config: CheXagentConfig) -> None:
        CheXagentPreTrainedModel.__init__(self, config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(CheXagentDecoderLayer(config, i) for i in range(config.num_hidden_layers))
        self.rotary_emb = PhiRotaryEmbedding(config=config)
        self.final_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.token_dropout = nn.Dropout(config.embd_pdrop)
        self.embed_dropout = nn.Dropout(0.0)  # Phi's place for dropout, which image features do not pass
        self.visual = CheXagentVisual(config)
        self.gradient_checkpointing = False
        self.post_init()

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Phi's forward over the embedded tokens, those of images replaced by features in reading order.

        Raises: UserError when there are more or fewer image tokens than features.
        """
        if inputs_embeds is None:
            inputs_embeds = self.token_dropout(self.embed_tokens(input_ids))
        if pixel_values is not None:
            inputs_embeds = self._placed(input_ids, inputs_embeds, self.visual(pixel_values))
        return super().forward(inputs_embeds=inputs_embeds, **kwargs)

    def _placed(
        self, input_ids: torch.LongTensor | None, embedded: torch.Tensor, features: torch.Tensor
    ) -> torch.Tensor:
        if input_ids is None:
            raise ValueError("images need input_ids, which say where they go")
        places = input_ids == self.config.image_token_id
        there, wanted = int(places.sum()), features.shape[:-1].numel()
        if there != wanted:
            raise UserError(
                f"A batch holds {there} image tokens for {len(features)} images of {features.shape[1]} tokens each.",
                "The model would see images at the wrong places, or not at all.",
                "Make the inputs with the processor of the checkpoint, and cut no prompt.",
            )
        return embedded.masked_scatter(places[..., None], features.to(embedded.dtype))


class CheXagentForCausalLM(CheXagentPreTrainedModel, GenerationMixin):
    """CheXagent-2 with its language head, which has a bias and weights of its own."""

    def __init__(self, config: CheXagentConfig) -> None:
        super().__init__(config)
        self.model = CheXagentModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.LongTensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits [B, logits_to_keep or T, vocabulary]; `pixel_values` [images of the whole batch, 3, 512, 512].

        Raises: UserError under float16.
        """
        _refuse_float16(self)
        out = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        logits = self.lm_head(slice_logits_to_keep(out.last_hidden_state, logits_to_keep))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=out.past_key_values,
            hidden_states=out.hidden_states,
            attentions=out.attentions,
        )


def _refuse_float16(model: Any) -> None:
    kind = model.device.type
    cast = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16
    if cast or model.dtype == torch.float16:
        raise UserError(
            "CheXagent-2 is asked to compute in float16.",
            "The attention of Phi-2 leaves its range, and the logits become NaN.",
            "Use bf16, or fp32 where there is no bfloat16.",
        )
