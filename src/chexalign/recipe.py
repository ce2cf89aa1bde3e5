"""The recipe: what a run does, as frozen records; `chexalign.recipe_load` reads it from YAML.

The judge, the pair rule, the algorithm and the algorithm's own parameters have no default:
they are the scientific choices of a run, so a recipe names them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from chexalign.ids import digest
from chexalign.recipe_blocks import (
    OPTIONAL_PARAMETERS,
    OWN_PARAMETERS,
    PARAMETERS,
    Block,
    ComputeSpec,
    LoraSpec,
    SFTSpec,
    TrainSpec,
    check_arm_names,
    given,
    mistake,
)
from chexalign.recipe_engines import ClusterSpec, EndpointSpec
from chexalign.recipe_judges import BudgetSpec, JudgeRef, JudgeSpec, check_names, folder_name, named
from chexalign.recipe_mine import MinedArm, MineSpec, merge_train
from chexalign.recipe_questions import CollectionSpec, QuestionsSpec

__all__ = [
    "OPTIONAL_PARAMETERS",
    "OWN_PARAMETERS",
    "PARAMETERS",
    "Arm",
    "Block",
    "BudgetSpec",
    "ClusterSpec",
    "CollectionSpec",
    "ColumnsSpec",
    "ComputeSpec",
    "DataSpec",
    "EndpointSpec",
    "EvaluateSpec",
    "JudgeSpec",
    "LoraSpec",
    "MineSpec",
    "MinedArm",
    "PairsSpec",
    "PolicySpec",
    "QuestionsSpec",
    "Recipe",
    "SFTSpec",
    "SampleSpec",
    "TinySpec",
    "TrainSpec",
    "folder_name",
]

SplitName = Literal["sft", "prefer", "validation", "test"]
NormalizerName = Literal["raw", "chexalign-clean", "chexalign-struct-filter"]

_SLUG = r"^[a-z0-9_-]+$"


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


class Recipe(Block):
    """A whole run. `judge`, `pairs` and `train` of the file end up in `arms`, one entry per preference run."""

    run: str = Field(pattern=_SLUG, description="name of the run, its folder under runs/", examples=["demo"])
    seed: int = Field(default=11, ge=0, description="every random choice is keyed by it")
    data: DataSpec = Field(description="studies")
    policy: PolicySpec = Field(description="model")
    sft: SFTSpec | None = Field(
        default=None,
        validate_default=True,
        description="supervised fine-tuning before sampling; required for the tiny policy",
    )
    questions: QuestionsSpec | None = Field(
        default=None,
        description="questions about images, to learn from and to be asked",
        examples=["{collections: [{source: rsna, root: /data/rsna}]}"],
    )
    mine: MineSpec | None = Field(
        default=None,
        description="hard questions, and the policies that learn from them",
        examples=["{collection: openi-phantom-questions, ...}"],
    )
    sample: SampleSpec = Field(default_factory=SampleSpec, validate_default=True, description="candidates")
    arms: dict[str, Arm] = Field(
        description="preference runs over the same candidates",
        examples=["{dpo_label: {judge: chexpert}}"],
    )
    evaluate: EvaluateSpec = Field(default_factory=EvaluateSpec, validate_default=True, description="comparison")
    compute: ComputeSpec | None = Field(
        default=None,
        description="hardware of training and generation",
        examples=["{precision: bf16, per_device_batch: 4}"],
    )
    cluster: ClusterSpec | None = Field(
        default=None,
        description="machines that sample and judge; when left out, processes of this one do",
        examples=["{address: auto, actors: 8, gpus_per_actor: 1}"],
    )
    threads: int = Field(
        default=2, ge=1, description="threads of a training process; sums can differ in the last bit with it"
    )
    workers: int = Field(
        default=2, ge=1, description="processes of the stages that can use several; results do not depend on it"
    )

    @model_validator(mode="before")
    @classmethod
    def _fold_arms(cls, raw: Any) -> Any:
        return _resolve(raw) if isinstance(raw, dict) else raw

    @field_validator("sft")
    @classmethod
    def _sft_studies(cls, sft: SFTSpec | None, info: ValidationInfo) -> SFTSpec | None:
        policy = info.data.get("policy")
        if sft is None and policy is not None and policy.model == "tiny":
            raise PydanticCustomError("missing_choice", "the tiny policy writes reports only after SFT", {})
        if sft is not None:
            _need_studies(info, "sft")
        return sft

    @field_validator("sample", "evaluate")
    @classmethod
    def _split_studies(cls, spec: SampleSpec | EvaluateSpec, info: ValidationInfo) -> SampleSpec | EvaluateSpec:
        if info.field_name == "evaluate" or info.data.get("mine") is None:  # who only mines draws no candidates
            _need_studies(info, spec.split)
        return spec

    @field_validator("mine")
    @classmethod
    def _mines_what_is_learned(cls, mine: MineSpec | None, info: ValidationInfo) -> MineSpec | None:
        if mine is None or "questions" not in info.data:
            return mine
        questions: QuestionsSpec | None = info.data["questions"]
        if mine.collection not in ({c.source for c in questions.collections if c.sft} if questions else set()):
            raise mistake(
                f"names the collection {mine.collection!r}, and SFT learns from none of its questions",
                "add it to questions.collections, with a number of questions as its `sft`",
            )
        return mine

    @field_validator("arms")
    @classmethod
    def _arm_names(cls, arms: dict[str, Arm], info: ValidationInfo) -> dict[str, Arm]:
        mine: MineSpec | None = info.data.get("mine")
        if not arms and mine is None and "mine" in info.data:  # else what is wrong with it is told
            raise mistake("names no preference run, and nothing is mined", "name an arm, or give a block `mine`")
        if both := sorted(arms.keys() & (mine.arms.keys() if mine else set())):
            raise mistake(f"has an arm named {both[0]!r}, as mine.arms has", "give every policy a name of its own")
        check_arm_names(arms)
        if arms and "sample" in info.data:
            _need_studies(info, info.data["sample"].split)
        check_names((judge for arm in arms.values() for judge in arm.judge.tables), once=False)
        return arms

    @field_validator("evaluate")
    @classmethod
    def _one_meaning(cls, spec: EvaluateSpec, info: ValidationInfo) -> EvaluateSpec:
        judges = [judge.unlimited for arm in info.data.get("arms", {}).values() for judge in arm.judge.measures]
        if "metrics" not in spec.model_fields_set:  # the default gives way to what the arms say of a judge
            own = {folder_name(judge): judge for judge in judges}
            spec = spec.model_copy(update={"metrics": [own.get(folder_name(m), m) for m in spec.metrics]})
        check_names([*spec.metrics, *judges], once=False)
        return spec

    def measured(self) -> list[JudgeSpec]:
        """The judges that score predictions: `evaluate.metrics`, and the arms' own, or those of their panels."""
        judges = {folder_name(judge): judge for judge in self.evaluate.metrics}
        for judge in (judge for arm in self.arms.values() for judge in arm.judge.measures):
            judges.setdefault(folder_name(judge), judge)
        return list(judges.values())

    def resolved_arms(self) -> dict[str, Arm]:
        """The preference runs by name, every block complete."""
        return dict(self.arms)

    def mined_arms(self) -> dict[str, MinedArm]:
        """The trainings on mined questions by name."""
        return dict(self.mine.arms) if self.mine else {}

    def learners(self) -> dict[str, Arm | MinedArm]:
        """Every policy that is trained after SFT, by name."""
        return {**self.resolved_arms(), **self.mined_arms()}

    def to_dict(self) -> dict[str, Any]:
        """The resolved recipe as plain values, defaults written out; `Recipe.model_validate` takes it back."""
        return self.model_dump(mode="json", by_alias=True)

    def to_yaml(self) -> str:
        """The resolved recipe as YAML, every default written out."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, default_flow_style=None, width=120)

    def digest(self) -> str:
        """A digest of all that can change a result: equal for equal recipes, whatever `workers` is."""
        return digest(self.substance())

    def substance(self) -> dict[str, Any]:
        """The resolved recipe less what changes no result: how work is spread, tried again and refused."""
        kept = {key: value for key, value in self.to_dict().items() if key not in ("workers", "cluster", "compute")}
        kept["sample"] = self.sample.substance()
        for name, arm in self.arms.items():
            kept["arms"][name]["judge"] = arm.judge.substance()
        if self.mine is not None:
            kept["mine"] = self.mine.substance()
        kept["evaluate"]["metrics"] = [metric.substance() for metric in self.evaluate.metrics]
        numerics = {**self.compute.numerics(), **self.compute.generation()} if self.compute else {}
        return {**kept, "compute": numerics} if numerics else kept


def _resolve(raw: dict[Any, Any]) -> dict[Any, Any]:
    """A recipe's plain values with `judge`, `pairs` and `train` folded into `arms`; nothing is validated.

    Each arm is the top-level blocks merged with its own; its judge replaces the whole judge. When an arm names another
    algorithm, it does not inherit the parameters of the first.
    """
    result = {key: value for key, value in raw.items() if key not in ("judge", "pairs", "train", "arms")}
    base = {key: raw[key] for key in ("judge", "pairs", "train") if key in raw}
    arms = raw.get("arms")
    if arms is None and not base and raw.get("mine") is not None:
        result["arms"] = {}
    elif arms is None:
        result["arms"] = {_arm_name(base): base}
    elif isinstance(arms, dict):
        result["arms"] = {name: _merge(base, {} if arm is None else arm) for name, arm in arms.items()}
    else:
        result["arms"] = arms
    sample, evaluate = raw.get("sample"), raw.get("evaluate", {})
    if isinstance(evaluate, dict):
        longest = sample.get("max_new_tokens") if isinstance(sample, dict) else None
        result["evaluate"] = given({"max_new_tokens": longest, **given(evaluate)})
    return result


def _merge(base: dict[str, Any], arm: Any) -> Any:
    if not isinstance(arm, dict):
        return arm
    merged = {**base, **arm}
    if "train" in arm and "train" in base:
        merged["train"] = merge_train(arm["train"], base["train"])
    mine, theirs = arm.get("pairs"), base.get("pairs")
    if isinstance(mine, dict) and isinstance(theirs, dict):
        # Options are the other rule's.
        kept = {
            k: v
            for k, v in theirs.items()
            if k != "options" or mine.get("rule", theirs.get("rule")) == theirs.get("rule")
        }
        merged["pairs"] = {**kept, **mine}
    return merged


def _arm_name(base: dict[str, Any]) -> str:
    """ "dpo_chexpert"; "train" stands in where a part is missing, as validation will say."""
    train, judge = base.get("train"), named(base.get("judge"))
    try:
        algorithm = train["algorithm"] if isinstance(train, dict) else "train"
        return f"{algorithm}_{folder_name(JudgeSpec.model_validate(judge))}"
    except (KeyError, ValueError):
        return "train"


def _need_studies(info: ValidationInfo, split: str) -> None:
    data = info.data.get("data")
    if data is not None and not data.split.get(split):
        raise mistake(f"works on the split {split!r}, which has no studies", f"give data.split.{split} a number")
