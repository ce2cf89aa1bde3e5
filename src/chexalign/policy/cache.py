"""A key-value cache with room for tokens to come, so that a token adds its own state and copies nothing else."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_ROOM = 64  # tokens, at the least; a quarter of what is there where that is more


class ReservedLayer(DynamicLayer):
    """A layer whose keys and values are views into buffers that are longer than they need be for now.

    The layer that transformers uses by default joins old and new by a copy of the whole cache at every token, which
    costs the more the more tokens of images there are.
    """

    keys: torch.Tensor
    values: torch.Tensor
    _buffers: tuple[torch.Tensor, torch.Tensor] | None = None  # [B, heads, room, width] each

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All keys and values, [B, heads, L, width], with the new ones at their end."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states, value_states
            return self.keys, self.values
        start, end = self.keys.shape[-2], self.keys.shape[-2] + key_states.shape[-2]
        if self._buffers is None or self._buffers[0].shape[-2] < end:
            self._reserve(end, repeats=1)
        assert self._buffers is not None
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, start:end] = new
        self._show(end)
        return self.keys, self.values

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Each row so many times, with room for what follows."""
        if self.get_seq_length() > 0:
            length = self.keys.shape[-2]
            self._reserve(length, repeats=repeats)
            self._show(length)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """These rows alone; their room stays."""
        if self._buffers is None:
            super().batch_select_indices(indices)
            return
        keys, values = self._buffers
        self._buffers = keys.index_select(0, indices), values.index_select(0, indices)
        self._show(self.keys.shape[-2])

    def _reserve(self, end: int, *, repeats: int) -> None:
        """Moves what is there to longer buffers, each row `repeats` times."""
        room = end + max(_ROOM, end // 4)
        self._buffers = _longer(self.keys, room, repeats), _longer(self.values, room, repeats)

    def _show(self, end: int) -> None:
        assert self._buffers is not None
        self.keys, self.values = (buffer[:, :, :end] for buffer in self._buffers)


def _longer(states: torch.Tensor, room: int, repeats: int) -> torch.Tensor:
    """[B * repeats, heads, room, width] from [B, heads, L, width]; what lies beyond L is not set."""
    rows, heads, length, width = states.shape
    buffer = states.new_empty(rows, repeats, heads, room, width)
    buffer[:, :, :, :length] = states[:, None]
    return buffer.flatten(0, 1)


def reserved_cache(config: Any) -> DynamicCache:
    """An empty cache for a decoder; layers with a sliding window, which hold little, are transformers' own."""
    cache = DynamicCache(config=config.get_text_config())
    cache.layers = [ReservedLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
