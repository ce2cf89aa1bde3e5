"""The blocks of the recipe that say what a run works on and how: studies, policy, candidates, pairs, evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, ValidationInfo, field_validator, model_serializer

from chexalign.recipe.blocks import Block, LoraSpec, TrainSpec, given, mistake
from chexalign.recipe.engines import EndpointSpec
from chexalign.recipe.judges import JudgeRef, JudgeSpec, check_names

SplitName = Literal["sft", "prefer", "validation", "test"]
NormalizerName = Literal["raw", "chexalign-clean", "chexalign-struct-filter"]


class ColumnsSpec(Block):
    """The names that a table has for what a study is made of, where they are not these."""

    id: str = Field(default="id", description="column of the study's id; rows of one id are images of one study")
    patient: str = Field(default="patient", description="column of the patient, by whom studies are split")
    images: str = Field(default="images", description="column of the image's path, or of a list of paths")
    findings: str = Field(default="findings", description="column of the radiologist's findings")
    indication: str = Field(default="indication", description="column of the indication, if there is one")
    impression: str = Field(default="impression", description="column of the impression, if there is one")
    view: str = Field(
        default="view", description="column of the view, or of a list with one per image, if there is one"
    )
    split: str = Field(default="split", description="column of the split, if there is one")


class DataSpec(Block):
    """Where the studies come from, and how they are split by patient."""

    source: str = Field(description="name of the dataset (`chexalign list datasets`)", examples=["openi-phantom"])
    split: dict[SplitName, Annotated[int, Field(ge=0)]] = Field(
        description="number of studies per split", examples=["{sft: 1600, prefer: 900, test: 581}"]
    )
    images: Path | None = Field(
        default=None, description="folder with the images, for datasets that do not make their own"
    )
    image_size_px: int = Field(default=128, ge=16, description="side of the square images that the policy sees")
    views: list[Literal["frontal", "lateral"]] = Field(default=["frontal"], min_length=1, description="views to keep")
    archive: Path | None = Field(
        default=None, description="the reports, where they are not beside the rest of the collection or in a package"
    )
    root: Path | None = Field(
        default=None,
        description="folder of the collection in its official layout, or the file of a table",
        examples=["/data/mimic-cxr-jpg"],
    )
    prior: bool | None = Field(
        default=None, description="whether the newest earlier frontal image of the patient comes last; no when left out"
    )
    columns: ColumnsSpec | None = Field(
        default=None, description="names of a table's columns", examples=["{id: study_id, images: path}"]
    )
    normalizer: NormalizerName = Field(
        default="raw", description="what is done to references, which every judge compares with, before they are stored"
    )
    license: str | None = Field(
        default=None, description="license of a table's data", examples=["used under contract 7, not to be passed on"]
    )


class TinySpec(Block):
    """How the tiny policy's parts are trained before SFT."""

    vision_epochs: int = Field(default=8, ge=1, description="epochs of the vision tower on finding labels")
    language_epochs: int = Field(default=4, ge=1, description="epochs of the language model on the SFT split's text")
    caption_epochs: int = Field(default=4, ge=1, description="epochs of the projector on short captions")
    report_share: float = Field(
        default=0.25, ge=0, le=1, description="reports mixed into the captions, as a share of the SFT split"
    )
    presence: int = Field(
        default=0, ge=0, description="questions of yes and no about phantoms, learned after the captions; 0 for none"
    )
    variants: int = Field(default=3, ge=0, description="extra phantom images per study, for the vision tower alone")


class PolicySpec(Block):
    """The vision-language model to improve."""

    model: str = Field(description="`tiny`, or a folder in Hugging Face format", examples=["tiny"])
    freeze: list[Literal["vision", "projector", "language"]] = Field(
        default=["vision"], description="parts that no training changes"
    )
    max_images: int = Field(default=1, ge=1, description="images of a study given to the policy")
    max_tokens: int = Field(
        default=4096, ge=8, description="longest prompt with a completion, images included; longer ones are left out"
    )
    template: str = Field(default="findings@1", description="prompt template, name@version")
    trust_remote_code: bool = Field(
        default=False,
        description="whether Python code in the model's folder may be run, with all your rights; read it first",
    )
    lora: LoraSpec | None = Field(
        default=None,
        description="adapters on the language model, which is else trained in full",
        examples=["{r: 16, alpha: 32}"],
    )
    tiny: TinySpec | None = Field(
        default=None, validate_default=True, description="how the tiny policy is made, when model is tiny"
    )

    @field_validator("freeze")
    @classmethod
    def _leaves_a_part(cls, freeze: list[str]) -> list[str]:
        if {"vision", "projector", "language"} <= set(freeze):
            raise mistake("freezes every part, so that training would change nothing", "leave a part out")
        return freeze

    @field_validator("lora")
    @classmethod
    def _adapts_what_is_free(cls, lora: LoraSpec | None, info: ValidationInfo) -> LoraSpec | None:
        if lora is not None and "language" in info.data.get("freeze", ()):
            raise mistake("adapts the language model, which policy.freeze lists", "take language off policy.freeze")
        return lora

    @field_validator("tiny")
    @classmethod
    def _only_for_tiny(cls, tiny: TinySpec | None, info: ValidationInfo) -> TinySpec | None:
        model = info.data.get("model")
        if tiny is not None and model not in (None, "tiny"):
            raise mistake("says how to make the tiny policy, but policy.model is a folder", "remove policy.tiny")
        return TinySpec() if tiny is None and model == "tiny" else tiny


class SampleSpec(Block):
    """How candidate reports are drawn."""

    n: int = Field(default=4, ge=2, description="candidates per prompt")
    temperature: float = Field(default=1.0, gt=0, description="softmax temperature of the draws")
    top_p: float = Field(default=1.0, gt=0, le=1, description="nucleus mass; 1 keeps every token")
    top_k: int | None = Field(default=None, ge=1, description="most probable tokens to draw from", examples=[50])
    max_new_tokens: int = Field(default=96, ge=1, description="longest candidate, in tokens")
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default=60,
        description="prompts generated together, or `auto` for what fits; part of the recipe, as it can change bits",
    )
    part_size: int = Field(
        default=60, ge=1, description="prompts per part of the table; an interrupted run loses one part"
    )
    split: SplitName = Field(default="prefer", description="split whose studies are prompts")
    max_dropped: float = Field(
        default=0.01, ge=0, le=1, description="share of the prompts that may be left out, for images that are damaged"
    )
    endpoint: EndpointSpec | None = Field(
        default=None,
        description="a server that draws the candidates; when left out, they are drawn in process",
        examples=["{url: 'http://127.0.0.1:8000/v1', model: medgemma}"],
    )

    def substance(self) -> dict[str, Any]:
        """The block as plain values, less what changes no candidate."""
        kept = self.model_dump(mode="json", exclude={"max_dropped", "endpoint"})
        return kept | ({"endpoint": [self.endpoint.model, self.endpoint.extra_body]} if self.endpoint else {})


class PairsSpec(Block):
    """How scores become preference pairs."""

    rule: str = Field(description="name of the pair rule (`chexalign list pair_rules`)", examples=["best_worst"])
    min_margin: float = Field(default=1e-8, ge=0, description="least score difference of a pair")
    options: dict[str, int | float] = Field(
        default={}, description="the rule's own options", examples=["{k: 2}", "{max_ratio: 1.2}"]
    )
    require_probes: list[str] = Field(
        default=[],
        description="probes that the judge must pass before its scores become pairs (`chexalign probe`)",
        examples=["[negation, omission]"],
    )

    @model_serializer(mode="wrap")
    def _set_fields(self, handler: SerializerFunctionWrapHandler) -> Any:
        # What is empty is not written, as before it could be given, so that finished pairs stay valid.
        return {key: value for key, value in given(handler(self)).items() if value not in ({}, [])}


class Arm(Block):
    """One preference run over the shared candidates."""

    judge: JudgeRef = Field(description="the judge that orders candidates")
    pairs: PairsSpec = Field(description="how scores become pairs")
    train: TrainSpec = Field(description="how the policy learns from the pairs")


class EvaluateSpec(Block):
    """How policies are compared."""

    metrics: list[JudgeRef] = Field(
        default=[JudgeSpec(name=name) for name in ("chexpert", "bertscore", "rouge_l", "bleu_4")],
        min_length=1,
        description="judges that score the reports",
        examples=["[chexpert, bertscore]"],
    )
    split: SplitName = Field(default="test", description="split that is reported on")
    bootstrap: int = Field(default=1000, ge=1, description="resamples over patients")
    level: float = Field(default=0.90, gt=0, lt=1, description="coverage of the intervals")
    batch_size: int = Field(default=60, ge=1, description="sequences generated together")
    max_new_tokens: int = Field(default=96, ge=1, description="longest report, in tokens; as in sampling unless set")
    temperature: float = Field(default=0.0, ge=0, description="softmax temperature of the reports; 0 is greedy")
    interval: Literal["percentile", "bca"] = Field(
        default="percentile", description="kind of the intervals; docs/statistics.md compares them"
    )

    @model_serializer(mode="wrap")
    def _set_fields(self, handler: SerializerFunctionWrapHandler) -> Any:
        # A default that is younger than finished runs is not written, so that they stay valid.
        young = {"temperature": 0.0, "interval": "percentile"}
        return {key: value for key, value in given(handler(self)).items() if key not in young or value != young[key]}

    @field_validator("metrics")
    @classmethod
    def _metric_names(cls, metrics: list[JudgeSpec]) -> list[JudgeSpec]:
        check_names(metrics)
        if any(metric.name == "panel" for metric in metrics):
            raise mistake("names a panel, which ranks candidates of one prompt", "name the judges of the panel")
        return metrics
