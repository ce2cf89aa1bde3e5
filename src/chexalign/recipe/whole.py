"""The whole recipe, and how `judge`, `pairs` and `train` of the file become arms."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from chexalign.ids import digest
from chexalign.recipe.blocks import Block, ComputeSpec, SFTSpec, check_arm_names, given, mistake
from chexalign.recipe.engines import ClusterSpec
from chexalign.recipe.judges import JudgeSpec, check_names, folder_name, named
from chexalign.recipe.mine import MinedArm, MineSpec, merge_train
from chexalign.recipe.questions import QuestionsSpec
from chexalign.recipe.stages import Arm, DataSpec, EvaluateSpec, PolicySpec, SampleSpec

_SLUG = r"^[a-z0-9_-]+$"


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
        description="preference runs over the same candidates; {} evaluates the policy as it is",
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

    @field_validator("evaluate")
    @classmethod
    def _split_studies(cls, spec: EvaluateSpec, info: ValidationInfo) -> EvaluateSpec:
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
