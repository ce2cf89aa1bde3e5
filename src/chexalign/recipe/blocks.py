"""What a block of a recipe is, and the blocks that say how a policy is trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
)
from pydantic_core import PydanticCustomError

PARAMETERS: dict[str, tuple[str, ...]] = {
    "dpo": ("beta",),
    "lc_dpo": ("beta", "alpha"),
    "ipo": ("tau",),
    "kto": ("beta",),
    "orpo": ("lambda",),
}
"""The parameters that each algorithm needs, as a recipe spells them."""

OPTIONAL_PARAMETERS: dict[str, tuple[str, ...]] = {
    "dpo": ("label_smoothing",),
    "lc_dpo": ("label_smoothing",),
    "ipo": ("reduction",),
    "kto": ("lambda_c", "lambda_r"),
    "orpo": (),
}
"""The parameters that each algorithm takes besides; it takes none of another's."""

OWN_PARAMETERS = ("beta", "alpha", "tau", "lambda", "reduction", "lambda_c", "lambda_r", "label_smoothing")

_RESERVED = ("sft", "sft_shuffled", "base", "reference")  # policies of every run, and the radiologist's text


class Block(BaseModel):
    """A part of a recipe: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    @model_serializer(mode="wrap")
    def _set_fields(self, handler: SerializerFunctionWrapHandler) -> Any:
        return given(handler(self))


class LoraSpec(Block):
    """Adapters on the language model in the place of training all of it (Hu et al. 2021, arXiv:2106.09685)."""

    r: int = Field(default=16, ge=1, description="rank of the adapters")
    alpha: float = Field(default=32, gt=0, description="an adapter's output is multiplied by alpha / r")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout before the adapters")
    targets: list[str] | None = Field(
        default=None,
        min_length=1,
        description="last names of the linear layers to adapt; when left out, those of attention and of the MLP",
        examples=["[q_proj, v_proj]"],
    )
    quantize: Literal["nf4"] | None = Field(
        default=None,
        description="4-bit weights under the adapters (QLoRA); needs CUDA and bitsandbytes",
        examples=["nf4"],
    )


class ComputeSpec(Block):
    """How training and generation are laid on the hardware."""

    precision: Literal["fp32", "bf16"] = Field(
        default="fp32", description="number format of the forward pass; weights are kept in fp32"
    )
    per_device_batch: int | None = Field(
        default=None,
        ge=1,
        description="rows that go through the model at once; when left out, a process's whole share of a batch",
        examples=[4],
    )
    gradient_checkpointing: bool = Field(
        default=False, description="less memory for about a third more time: the forward pass is run twice"
    )
    generate: Literal["fp32", "bf16", "fp16"] = Field(
        default="fp32", description="number format of weights and keys when policies write reports"
    )
    compile: bool = Field(default=False, description="torch.compile for policies that write reports")
    data_workers: int = Field(default=0, ge=0, description="processes that open images ahead of training")
    trackers: list[str] = Field(
        default=[],
        description="where transformers is to send the numbers of training, as `tensorboard`; never sent unasked",
    )

    def numerics(self) -> dict[str, Any]:
        """What is not at its default and can change the last bits of a training."""
        return self._set("precision", "per_device_batch", "gradient_checkpointing")

    def generation(self) -> dict[str, Any]:
        """What is not at its default and can change what policies write."""
        return self._set("generate", "compile")

    def _set(self, *names: str) -> dict[str, Any]:
        default = ComputeSpec()
        return {name: value for name in names if (value := getattr(self, name)) != getattr(default, name)}


class SFTSpec(Block):
    """Supervised fine-tuning on the SFT split's references."""

    epochs: int = Field(ge=1, description="passes over the SFT split", examples=[3])
    learning_rate: float = Field(gt=0, description="peak learning rate", examples=[1e-3])
    global_batch: int = Field(ge=1, description="studies per update", examples=[32])
    weight_decay: float = Field(default=0.01, ge=0, description="weight decay of AdamW")
    finding_weight: float = Field(
        default=1.0, gt=0, description="weight of the tokens of sentences that state a finding; others weigh 1"
    )
    max_steps: int | None = Field(
        default=None, ge=1, description="updates after which training stops; the schedule ends there", examples=[500]
    )


class TrainSpec(Block):
    """Preference training."""

    algorithm: str = Field(description="name of the loss (`chexalign list losses`)", examples=["dpo"])
    beta: float | None = Field(
        default=None,
        gt=0,
        validate_default=True,
        description="strength of the tie to the reference policy",
        examples=[0.1],
    )
    alpha: float | None = Field(
        default=None, ge=0, validate_default=True, description="length penalty per token (lc_dpo)", examples=[0.01]
    )
    tau: float | None = Field(
        default=None, gt=0, validate_default=True, description="regularization of IPO", examples=[0.1]
    )
    lambda_: float | None = Field(
        default=None,
        gt=0,
        alias="lambda",
        validate_default=True,
        description="weight of ORPO's odds ratio",
        examples=[0.5],
    )
    reduction: Literal["sum_logp", "mean_logp"] | None = Field(
        default=None,
        description="log-ratios of IPO: summed over a completion, or averaged over its tokens, as when left out",
        examples=["mean_logp"],
    )
    lambda_c: float | None = Field(
        default=None, gt=0, description="weight of KTO's desirable candidates; 1 when left out", examples=[1.0]
    )
    lambda_r: float | None = Field(
        default=None, gt=0, description="weight of KTO's undesirable candidates; 1 when left out", examples=[1.0]
    )
    sft_weight: float | None = Field(
        default=None, ge=0, description="weight of an SFT term on the chosen text; 0 when left out", examples=[0.1]
    )
    learning_rate: float = Field(gt=0, description="peak learning rate", examples=[2e-4])
    epochs: float = Field(default=1.0, gt=0, description="passes over the pairs")
    global_batch: int = Field(default=16, ge=1, description="pairs per update")
    warmup_ratio: float = Field(
        default=0.1, ge=0, lt=1, description="share of the updates that raise the learning rate"
    )
    max_grad_norm: float = Field(default=1.0, gt=0, description="gradients are clipped to this norm")
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5, description="assumed share of wrongly ordered pairs")

    max_steps: int | None = Field(
        default=None, ge=1, description="updates after which training stops; the schedule ends there", examples=[500]
    )
    hold_out: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="share of the pairs, by prompt, that are kept apart to measure the loss on",
        examples=[0.05],
    )
    eval_steps: int | None = Field(
        default=None,
        ge=1,
        description="updates from one look at the held-out pairs to the next; a tenth of all when left out",
        examples=[50],
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        description="looks without a better held-out loss after which training stops",
        examples=[3],
    )

    @field_validator("eval_steps", "patience")
    @classmethod
    def _needs_held_out(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("hold_out") is None:
            raise mistake("asks for held-out pairs, and train.hold_out keeps none", "give train.hold_out a share")
        return value

    @field_validator("beta", "alpha", "tau", "lambda_", "reduction", "lambda_c", "lambda_r", "label_smoothing")
    @classmethod
    def _belongs(cls, value: float | str | None, info: ValidationInfo) -> float | str | None:
        algorithm, name = info.data.get("algorithm"), str(info.field_name).rstrip("_")
        needed = PARAMETERS.get(str(algorithm))
        if needed is None:  # a plugin's loss checks its own parameters
            return value
        if value is None and name in needed:
            raise PydanticCustomError("missing_choice", f"{algorithm} needs {listed(needed)}", {})
        takes = needed + OPTIONAL_PARAMETERS[str(algorithm)]
        is_given = value != 0 if name == "label_smoothing" else value is not None
        if is_given and name not in takes:
            raise mistake(f"is no parameter of {algorithm}, which takes {listed(takes)}", f"remove {name}")
        return value

    def parameters(self) -> dict[str, float | str]:
        """The algorithm's own parameters that are set, by field name (`lambda_` for lambda), less label smoothing."""
        names = ("beta", "alpha", "tau", "lambda_", "reduction", "lambda_c", "lambda_r")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def given(block: dict[str, Any]) -> dict[str, Any]:
    """The keys of a block that have a value."""
    return {key: value for key, value in block.items() if value is not None}


def listed(names: tuple[str, ...]) -> str:
    """The names as a sentence has them."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def mistake(problem: str, fix: str) -> PydanticCustomError:
    """The error for a value that cannot be right, and what to do about it."""
    return PydanticCustomError("mistake", "{problem}", {"problem": problem, "fix": fix})


def check_arm_names(arms: Iterable[str]) -> None:
    """Raises: a mistake for a name that cannot be a folder's, or is that of a policy of every run."""
    for name in arms:
        if name in _RESERVED or not set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-"):
            raise mistake(
                f"has an arm named {name!r}", f"use lower-case letters, digits, _ and -; not {', '.join(_RESERVED)}"
            )
