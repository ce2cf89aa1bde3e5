"""The eyes of CheXagent-2: a SigLIP tower, fixed positions, and an MLP into the decoder's width."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import SiglipVisionModel


class CheXagentVisual(nn.Module):
    """Tower and connector; their parameters have the published names.

    The tower's last norm and pooling head are in the file and never run. `pos_embed` is a buffer, so that no choice of
    what to train reaches it: in the published code it takes no gradient either.
    """

    pos_embed: torch.Tensor

    def __init__(self, config: Any) -> None:
        super().__init__()
        tower, width = config.vision_config, config.hidden_size
        self.model = SiglipVisionModel._from_config(tower)
        self.register_buffer("pos_embed", sincos_table(tower.hidden_size, tower.image_size // tower.patch_size))
        self.attn_pool = nn.Sequential(nn.Linear(tower.hidden_size, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.ln_post = nn.LayerNorm(width, eps=1e-6)
        self.proj = nn.Parameter(torch.randn(width, width) * width**-0.5)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """[images, patches, width of the decoder] from [images, 3, height, width]; patches go row by row.

        Features are those of the last layer of the tower, before its last norm.
        """
        embedded = self.model.embeddings(pixel_values)
        features = self.model.encoder(inputs_embeds=embedded).last_hidden_state
        out: torch.Tensor = self.ln_post(self.attn_pool(features + self.pos_embed.to(features.dtype)))
        return out @ self.proj


def sincos_table(width: int, side: int) -> torch.Tensor:
    """[side * side, width] float32: sines and cosines of the column in the first half, of the row in the second."""
    frequencies = 10000 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(side, dtype=torch.float64)[:, None] * frequencies
    line = torch.cat([angles.sin(), angles.cos()], dim=1).float()  # [side, width / 2]
    return torch.cat([line.repeat(side, 1), line.repeat_interleave(side, 0)], dim=1)
