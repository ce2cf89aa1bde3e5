"""The block of the recipe that says which questions are mined, and what is learned from them.

How confidence is made one number, which failures come first, what likeness weighs and whose wrong answers are rejected
have no default: the published code leaves them open, so a recipe names them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from chexalign.recipe.blocks import OWN_PARAMETERS, Block, TrainSpec, check_arm_names, mistake
from chexalign.recipe.engines import EndpointSpec
from chexalign.types import Aggregate, Span

Select = Literal["mined", "random", "confidence", "similarity"]
Modality = Literal["question", "rationale", "image", "findings"]
FailureRule = Literal["most_confident_wrong", "least_confident"]
Order = Literal["rank", "distance"]
Own = Literal["item", "patient"]
Index = Literal["exact", "hnsw"]
Groups = Literal["kind", "task", "kind_and_answer"]
QuotaRule = Literal["equal", "as_failed", "as_data"]
EncoderName = Literal["policy", "sentence", "open_clip"]
Likeness = Annotated[
    Annotated[str, Tag("[one]")] | Annotated[dict[Modality, float], Tag("[several]")],
    Discriminator(lambda value: "[several]" if isinstance(value, dict) else "[one]"),
]
SFT_AGAIN = "sft"  # as an algorithm: the right answers alone, as in SFT


class ConfidenceSpec(Block):
    """How the probabilities of an answer's tokens become one number."""

    aggregate: Aggregate = Field(description="what is made of the tokens' probabilities", examples=["geometric_mean"])
    span: Span = Field(description="the tokens that count: those of the short answer, or all", examples=["answer"])


class EncodersSpec(Block):
    """What turns texts and images into vectors; folders are of this machine."""

    text: EncoderName = Field(default="policy", description="what encodes questions and rationales")
    image: Literal["policy", "open_clip"] = Field(default="policy", description="what encodes images")
    text_folder: Path | None = Field(
        default=None, validate_default=True, description="folder of the text encoder, unless it is the policy"
    )
    image_folder: Path | None = Field(
        default=None, validate_default=True, description="folder of the image encoder, unless it is the policy"
    )

    @field_validator("text_folder", "image_folder")
    @classmethod
    def _belongs(cls, folder: Path | None, info: ValidationInfo) -> Path | None:
        name = str(info.field_name).removesuffix("_folder")
        if (folder is None) != (info.data.get(name) == "policy"):
            raise mistake(
                f"goes with mine.encoders.{name}, which is {info.data.get(name)}",
                "give a folder where the encoder is not the policy, and none where it is",
            )
        return folder


class CounterfactualSpec(Block):
    """Where wrong answers with a rationale come from, and what the verifier demands of them."""

    own: Literal["first", "never"] = Field(
        description="whether the policy's own wrong answer, where there is one, comes before edits of the right one",
        examples=["first"],
    )
    generator: Literal["rules", "llm"] = Field(default="rules", description="what edits the right answer")
    endpoint: EndpointSpec | None = Field(
        default=None,
        validate_default=True,
        description="the server of an `llm`",
        examples=["{url: 'http://127.0.0.1:8000/v1', model: medgemma}"],
    )
    prompt: Path | None = Field(default=None, description="prompt file of an `llm`; the packaged one when left out")
    proposals: int = Field(default=3, ge=1, description="edits that an `llm` is asked for, per question")
    temperature: float = Field(default=0.7, ge=0, description="softmax temperature of an `llm`")
    max_new_tokens: int = Field(default=256, ge=1, description="longest reply of an `llm`, in tokens")
    max_length_ratio: float = Field(
        default=1.5, ge=1, description="most that chosen and rejected may differ in words, as a ratio"
    )
    max_drop: float | None = Field(
        default=None,
        gt=0,
        description="most that the mean log-prob of a rejected token may lie below that of a chosen one, in nats; "
        "not looked at when left out",
        examples=[2.0],
    )

    @field_validator("endpoint")
    @classmethod
    def _of_llm(cls, endpoint: EndpointSpec | None, info: ValidationInfo) -> EndpointSpec | None:
        if (endpoint is None) == (info.data.get("generator") == "llm"):
            raise mistake(
                f"goes with the generator llm, and mine.counterfactual.generator is {info.data.get('generator')}",
                "give an endpoint for llm, and none for rules",
            )
        return endpoint

    def substance(self) -> dict[str, Any]:
        """The block as plain values, less how the server is reached."""
        kept: dict[str, Any] = self.model_dump(mode="json", exclude={"endpoint"})
        return kept | ({"endpoint": [self.endpoint.model, self.endpoint.extra_body]} if self.endpoint else {})


class MinedArm(Block):
    """One training on questions of a mined set."""

    select: Select = Field(
        description="mined: likeness to confident failures; confidence: these failures alone; similarity: likeness to "
        "questions drawn at random; random: a draw",
        examples=["mined"],
    )
    train: TrainSpec = Field(description="how the policy learns; the algorithm `sft` learns the right answers alone")

    @field_validator("train")
    @classmethod
    def _sft_has_none(cls, train: TrainSpec) -> TrainSpec:
        given = [name.rstrip("_") for name in train.parameters()] + ["label_smoothing"] * bool(train.label_smoothing)
        if train.algorithm == SFT_AGAIN and given:
            raise mistake(f"gives {given[0]}, and {SFT_AGAIN} learns right answers as they are", f"remove {given[0]}")
        return train


class MineSpec(Block):
    """Hard questions: which are looked for among those of SFT, how many, and the policies that learn from them."""

    collection: str = Field(description="source of the questions, one of questions.collections")
    ask: int | None = Field(
        default=None, ge=1, description="questions of SFT that the policy is asked, spread evenly; all when left out"
    )
    max_new_tokens: int = Field(default=64, ge=1, description="longest answer, in tokens")
    batch_size: int = Field(default=60, ge=1, description="questions asked together")
    confidence: ConfidenceSpec = Field(description="confidence of an answer")
    failures: FailureRule = Field(description="which failures come first", examples=["most_confident_wrong"])
    seeds: int = Field(ge=1, description="failures that are expanded", examples=[400])
    likeness: Likeness = Field(description="a published combination, or a weight per modality", examples=["q+e+d+v"])
    k: int = Field(default=10, ge=1, description="neighbors of each seed")
    order: Order = Field(default="rank", description="order in which neighbors are taken")
    own: Own = Field(default="item", description="what of a seed is not its neighbor: itself, or all of its patient")
    index: Index = Field(default="exact", description="how neighbors are searched")
    encoders: EncodersSpec = Field(default_factory=EncodersSpec, description="encoders")
    share: float = Field(default=0.05, gt=0, le=1, description="size of a set, as a share of the questions of SFT")
    groups: Groups = Field(
        default="kind",
        description="types of question that quotas are for; `kind_and_answer` parts yes from no, so that neither is "
        "what a set teaches",
    )
    quota: QuotaRule = Field(default="equal", description="how types share a set")
    purity: list[str] = Field(
        default=["q+e", "q+e+d", "e+v", "q+v", "q+e+d+v", "q+e+d-v", "q+e-v"],
        description="combinations whose purity curves are computed",
    )
    counterfactual: CounterfactualSpec = Field(description="wrong answers with a rationale")
    arms: dict[str, MinedArm] = Field(
        min_length=1,
        description="policies that learn from mined sets",
        examples=["{dpo_mined: {select: mined}, dpo_random: {select: random}}"],
    )

    @model_validator(mode="before")
    @classmethod
    def _fold_arms(cls, raw: Any) -> Any:
        """Folds `train`, which the file writes once, into the arms."""
        if not isinstance(raw, dict) or "train" not in raw:
            return raw
        kept = {key: value for key, value in raw.items() if key != "train"}
        if isinstance(raw.get("arms"), dict):
            kept["arms"] = {name: _with_train(arm, raw["train"]) for name, arm in raw["arms"].items()}
        return kept

    @field_validator("arms")
    @classmethod
    def _arm_names(cls, arms: dict[str, MinedArm]) -> dict[str, MinedArm]:
        check_arm_names(arms)
        return arms

    @property
    def selects(self) -> list[Select]:
        """The sets that some arm learns from, each once, in the order of the arms."""
        return list(dict.fromkeys(arm.select for arm in self.arms.values()))

    def substance(self) -> dict[str, Any]:
        """The block as plain values, less what changes no result."""
        return {**self.model_dump(mode="json", by_alias=True), "counterfactual": self.counterfactual.substance()}

    def baselines(self) -> list[str]:
        """The arms that are there to be compared with: those that learn from a draw at random."""
        return [name for name, arm in self.arms.items() if arm.select == "random"]


def _with_train(arm: Any, base: Any) -> Any:
    arm = {} if arm is None else arm
    return {**arm, "train": merge_train(arm.get("train"), base)} if isinstance(arm, dict) else arm


def merge_train(mine: Any, base: Any) -> Any:
    """An arm's own block of training over a common one; another algorithm inherits no parameter of the first."""
    if not (isinstance(mine, dict) and isinstance(base, dict)):
        return mine if mine is not None else base
    other = "algorithm" in mine and mine["algorithm"] != base.get("algorithm")
    return {**{name: value for name, value in base.items() if not (other and name in OWN_PARAMETERS)}, **mine}
