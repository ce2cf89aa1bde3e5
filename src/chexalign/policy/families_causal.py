"""Masks and positions for rows that hold a prompt and several completions of it, in causal decoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from chexalign.errors import UserError

Batch = dict[str, torch.Tensor]  # input_ids, segments and positions, all [B, L] int64: see chexalign.train.pack

_OBEYED = ("sdpa", "eager")  # attention implementations that take a mask of one's own
_LAYERS = {"full_attention", "sliding_attention"}


@dataclass(frozen=True)
class Family:
    """A decoder that is causal throughout and counts positions one by one; also what is not known to differ."""

    config: Any
    accepts: frozenset[str] = frozenset()  # names of the arguments of the model's forward

    @property
    def text(self) -> Any:
        """The decoder's own config."""
        return self.config.get_text_config()

    @property
    def reason(self) -> str | None:
        """Why completions cannot share a prompt under this model, or None when they can."""
        if "position_ids" not in self.accepts:
            return "its forward takes no position_ids, and every completion goes on where the prompt ended"
        if self.text._attn_implementation not in _OBEYED:
            return f"attention implementation {self.text._attn_implementation} takes no mask of ours; sdpa and eager do"
        if unknown := set(getattr(self.text, "layer_types", None) or ()) - _LAYERS:
            return f"layers of type {', '.join(sorted(unknown))} do not go by an attention mask alone"
        return None

    @property
    def context(self) -> int | None:
        """Tokens of prompt and report together that the model is made for; None where its config does not say."""
        return getattr(self.text, "max_position_embeddings", None)

    @property
    def no_fp16(self) -> str | None:
        """Why the model cannot compute in float16, or None when nothing is known against it."""
        return None

    @property
    def supports_sharing(self) -> bool:
        """True when `inputs` can build a mask that the model's attention obeys."""
        return self.reason is None

    def inputs(self, model: Any, batch: Batch, vision: dict[str, Any]) -> dict[str, Any]:
        """Arguments of the model's forward by which each completion sees its prompt and itself, and nothing else.

        `model` is the unwrapped one. Masks are bool for sdpa; eager adds them to the scores, so there they are 0 and
        the dtype's lowest number (a bool mask would be added as 0 and 1, without any error).
        """
        return {
            "attention_mask": self._masks(model, batch),
            "position_ids": self._positions(model, batch, vision),
        }

    def token_types(self, ids: torch.Tensor, completion: torch.Tensor) -> dict[str, torch.Tensor]:
        """What the family's processor gives beside ids and a 2D mask; ids [B, T], completion [B, T] bool."""
        return {}

    def banned(self, tokenizer: Any, vocab_size: int) -> tuple[int, ...]:
        """Ids below `vocab_size` that no report may hold, whatever their probability."""
        return ()

    def image_inputs(self, processor: Any, images: Sequence[Image.Image]) -> dict[str, torch.Tensor]:
        """The images of one example as the model's forward takes them; `processor` may be the image processor alone."""
        if not images:
            return {}
        options = dict(getattr(processor, "images_kwargs", None) or {})
        found = self._process(getattr(processor, "image_processor", processor), images, options)
        return {name: torch.as_tensor(value) for name, value in found.items() if name in self._kept()}

    def collate_images(self, rows: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """One dict for the batch from one per example, in order; an example without images has an empty dict.

        Tensors are joined along their first dimension; where other dimensions differ, zeros fill them.
        """
        names = {name for row in rows for name in row} & self.accepts
        return {name: _joined([row[name] for row in rows if name in row]) for name in sorted(names)}

    def expand(self, tokenizer: Any, text: str, images: dict[str, torch.Tensor]) -> tuple[int, ...]:
        """Token ids of a prompt that holds one image token per image, each put out to as many as the image takes.

        For use where the family's joint processor cannot be had; `images` is what `image_inputs` returned.
        Raises: UserError when images and image tokens differ in number.
        """
        spans = self._spans(tokenizer, images) if images else []
        parts = text.split(self._image_token(tokenizer))
        if len(parts) != len(spans) + 1:
            raise UserError(
                f"A prompt has {len(parts) - 1} image tokens and {len(spans)} images.",
                "Each image needs one image token at the place where the model is to see it.",
                "Check the chat template of the model and the images of the study.",
            )
        whole = "".join(a + b for a, b in zip(parts, [*spans, ""], strict=True))
        return tuple(tokenizer(whole, add_special_tokens=False)["input_ids"])

    @property
    def expands(self) -> bool:
        """True when `expand` knows how many tokens an image takes."""
        return type(self)._spans is not Family._spans

    def _spans(self, tokenizer: Any, images: dict[str, torch.Tensor]) -> list[str]:
        """The text that stands for each image."""
        raise NotImplementedError(f"the processor of {self.config.model_type} places the image tokens itself")

    def _image_token(self, tokenizer: Any) -> str:
        return str(tokenizer.convert_ids_to_tokens(self.config.image_token_id))

    def _kept(self) -> frozenset[str]:
        """What `image_inputs` keeps: arguments of the forward, and what `expand` needs."""
        return self.accepts

    def _process(self, processor: Any, images: Sequence[Image.Image], options: dict[str, Any]) -> Any:
        return processor(list(images), return_tensors="pt", **options)

    def _positions(self, model: Any, batch: Batch, vision: dict[str, Any]) -> torch.Tensor:
        """[B, L], or [3, B, L] where positions have axes."""
        return batch["positions"]

    def _blocks(self, batch: Batch) -> torch.Tensor | None:
        """[B, L] block of each token, inside which attention goes both ways; -1 outside; None when there is none."""
        return None

    def _full(self, batch: Batch) -> torch.Tensor:
        """[B, L, L] bool: the mask of layers without a window."""
        mask = visible(batch["segments"])
        if (blocks := self._blocks(batch)) is not None:
            mask |= (blocks[:, :, None] == blocks[:, None, :]) & (blocks >= 0)[:, :, None]
        return mask

    def _masks(self, model: Any, batch: Batch) -> torch.Tensor | dict[str, torch.Tensor]:
        """One mask, or one per type of layer where the decoder mixes full and sliding attention."""
        full = self._full(batch)
        window = getattr(self.text, "sliding_window", None)
        types = set(getattr(self.text, "layer_types", None) or ())
        if not window or types == {"full_attention"}:
            return self._native(full, model)
        near = self._native(full & _within(batch["positions"], window), model)
        return {"full_attention": self._native(full, model), "sliding_attention": near} if types else near

    def _native(self, mask: torch.Tensor, model: Any) -> torch.Tensor:
        """[B, 1, L, L] from [B, L, L] bool, as the attention implementation reads it."""
        mask = mask[:, None]
        if self.text._attn_implementation == "sdpa":
            return mask
        dtype = model.get_input_embeddings().weight.dtype
        return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, torch.finfo(dtype).min)


def visible(segments: torch.Tensor) -> torch.Tensor:
    """[B, L, L] bool: the keys (last dimension) that each query sees, which are the prompt and its own completion.

    Never a later column. Padding sees itself, so that no row of the softmax is empty, and is seen by nothing else.
    """
    columns = torch.arange(segments.shape[1], device=segments.device)
    own = torch.where(segments < 0, -1 - columns, segments)  # each padding is a segment of its own
    query, key = own[:, :, None], own[:, None, :]
    return (columns[:, None] >= columns) & ((key == 0) | (key == query))


def _within(positions: torch.Tensor, window: int) -> torch.Tensor:
    """[B, L, L] bool: keys fewer than `window` positions back; by positions, since columns count other completions."""
    return (positions - window)[:, :, None] < positions[:, None, :]


def _joined(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    shapes = {t.shape[1:] for t in tensors}
    if len(shapes) == 1:
        return torch.cat(list(tensors))
    out = tensors[0].new_zeros(sum(map(len, tensors)), *(max(sizes) for sizes in zip(*shapes, strict=True)))
    start = 0
    for t in tensors:
        out[(slice(start, start + len(t)), *map(slice, t.shape[1:]))] = t
        start += len(t)
    return out
