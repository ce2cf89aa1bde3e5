"""The configuration of CheXagent-2: Phi's own fields, the vision tower's, and where image features go."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import PhiConfig, PreTrainedConfig, SiglipVisionConfig

from chexalign.errors import UserError
from chexalign.policy.chexagent2.tokenizer import token_ids

MODEL_TYPE = "chexagent"
# What config.json does not say, since the published code takes it from the repository of the tower.
_TOWER = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
_TOWER |= {"image_size": 512, "patch_size": 16}


@strict
class CheXagentConfig(PhiConfig):
    """Reads the published config.json, and what `save_pretrained` makes of it; the defaults are CheXagent-2-3b's.

    `image_token_id` stands where features of images go. The published file does not name it: where tokenizer files lie
    beside config.json, it and the end token are taken from them. The embeddings have rows that no token uses.
    """

    model_type = MODEL_TYPE
    sub_configs_defaults: ClassVar[dict[str, Any]] = {"vision_config": SiglipVisionConfig}

    vision_config: dict[str, Any] | PreTrainedConfig | None = None
    visual: dict[str, Any] | None = None  # the published block: image_size, output_dim, the name of the tower
    image_token_id: int | None = None
    context_tokens: int = 3072  # prompt and report; CheXalign trained with as many, beyond max_position_embeddings
    hidden_size: int = 2560
    intermediate_size: int = 10240
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Fills in what the published file leaves to the code beside it.

        Raises: UserError for a configuration of CheXagent-8B, which has the same model type.
        """
        if "qformer_config" in kwargs or "text_config" in kwargs:
            raise _the_older_one()
        visual = self.visual or {}
        if self.vision_config is None:
            self.vision_config = _TOWER | {k: v for k, v in visual.items() if k in _TOWER}
        kwargs.setdefault("partial_rotary_factor", 0.4)
        super().__post_init__(**kwargs)

    @property
    def image_seq_length(self) -> int:
        """Tokens that an image takes: one per patch."""
        side: int = self.vision_config.image_size // self.vision_config.patch_size  # type: ignore[union-attr]
        return side**2

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """The configuration; this is how AutoConfig makes it, which says in `name_or_path` where the file lies."""
        return super().from_dict(_completed(config_dict, kwargs.get("name_or_path")), **kwargs)

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The content of config.json, completed; this is how `from_pretrained` reads it."""
        found, kwargs = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        return _completed(found, pretrained_model_name_or_path), kwargs


def _completed(found: dict[str, Any], folder: str | PathLike[str] | None) -> dict[str, Any]:
    """With the ids of tokens where the file names no image token, and without the names of remote code."""
    found = {key: value for key, value in found.items() if key != "auto_map"}
    if found.get("image_token_id") is None and folder is not None and Path(folder).is_dir():
        found |= token_ids(Path(folder))
    return found


def _the_older_one() -> UserError:
    return UserError(
        "This is a configuration of CheXagent-8B.",
        "It has the model type of CheXagent-2 and nothing else in common with it.",
        "Use StanfordAIMI/CheXagent-2-3b or a checkpoint trained from it.",
    )
